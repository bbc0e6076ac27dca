//! Content codings: servers compress pages, asked or not.

use std::io::Read;

use flate2::read::{MultiGzDecoder, ZlibDecoder};
use ureq::http::{HeaderMap, header};

/// How a body is coded on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// As it is.
    Plain,
    /// `gzip`.
    Gzip,
    /// `deflate`, which is zlib.
    Deflate,
}

impl Coding {
    /// What the headers say. Several at once, or one that nobody asked for and we do not know, is an error that says so.
    pub fn of(headers: &HeaderMap) -> Result<Self, String> {
        let values = headers.get_all(header::CONTENT_ENCODING).iter();
        let words = values.flat_map(|value| value.to_str().unwrap_or("?").split(','));
        let words = words.map(|word| word.trim().to_ascii_lowercase());
        let mut coding = Self::Plain;
        for word in words.filter(|word| !word.is_empty() && word != "identity") {
            coding = match (coding, word.as_str()) {
                (Self::Plain, "gzip" | "x-gzip") => Self::Gzip,
                (Self::Plain, "deflate") => Self::Deflate,
                _ => return Err(format!("the server sends it in the content coding `{}`", word.escape_debug())),
            };
        }
        Ok(coding)
    }

    /// The body as it was before it was coded. Its length is for the reader to bound.
    pub fn decoded(self, body: impl Read + Send + 'static) -> Box<dyn Read + Send> {
        match self {
            Self::Plain => Box::new(body),
            Self::Gzip => Box::new(MultiGzDecoder::new(body)),
            Self::Deflate => Box::new(ZlibDecoder::new(body)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> Result<Coding, String> {
        Coding::of(&values.iter().map(|value| (header::CONTENT_ENCODING, value.parse().unwrap())).collect())
    }

    #[test]
    fn codings_are_known_by_any_spelling_and_others_are_told() {
        assert_eq!(of(&[]), Ok(Coding::Plain));
        assert_eq!(of(&["identity"]), Ok(Coding::Plain));
        assert_eq!(of(&["GZIP"]), Ok(Coding::Gzip));
        assert_eq!(of(&["", "x-gzip"]), Ok(Coding::Gzip));
        assert_eq!(of(&["deflate"]), Ok(Coding::Deflate));
        assert!(of(&["br"]).unwrap_err().contains("`br`"));
        assert!(of(&["gzip, gzip"]).is_err());
    }
}
