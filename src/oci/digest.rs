//! Digests: what blobs are called, and the check that a blob is what it is called.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use super::{Error, Kind, Result};

/// `sha256:` and 64 hexadecimal digits in lower case, or `sha512:` and 128.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// The SHA-256 that has these hexadecimal digits.
    pub(super) fn sha256(hex: &str) -> Self {
        Self(format!("sha256:{hex}"))
    }

    /// The SHA-256 of `bytes`.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self::sha256(&hex(&sha2::Sha256::digest(bytes)))
    }

    /// Algorithm and digits.
    pub(crate) fn parts(&self) -> (&str, &str) {
        self.0.split_once(':').unwrap_or(("", ""))
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Holds `bytes` against it.
    ///
    /// # Errors
    /// [`Kind::Corrupt`].
    pub(crate) fn check(&self, bytes: &[u8]) -> Result<()> {
        let mut hash = Hash::of(self);
        hash.update(bytes);
        hash.is(self).map_err(|why| corrupt(self, why))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let right = text.split_once(':').is_some_and(|(algorithm, digits)| {
            let length = match algorithm {
                "sha256" => 64,
                "sha512" => 128,
                _ => 0,
            };
            digits.len() == length
                && length > 0
                && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        });
        if right {
            return Ok(Self(text.to_owned()));
        }
        let shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
        let error = Error::new(Kind::Invalid, format!("read the digest `{shown}`")).clause("x.oci.digest");
        Err(error.because("it is neither `sha256:` and 64 hexadecimal digits nor `sha512:` and 128, in lower case"))
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map_err(|error: Error| crate::error::chain(&error))
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

/// A hash in progress.
pub(super) enum Hash {
    Sha256(sha2::Sha256),
    Sha512(Box<sha2::Sha512>),
}

impl Hash {
    fn of(digest: &Digest) -> Self {
        match digest.parts().0 {
            "sha512" => Self::Sha512(Box::default()),
            _ => Self::Sha256(sha2::Sha256::new()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    fn is(self, digest: &Digest) -> Result<(), String> {
        let found = match self {
            Self::Sha256(hash) => format!("sha256:{}", hex(&hash.finalize())),
            Self::Sha512(hash) => format!("sha512:{}", hex(&hash.finalize())),
        };
        if found == digest.0 { Ok(()) } else { Err(format!("it is {found}")) }
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn corrupt(digest: &Digest, why: impl Into<String>) -> Error {
    Error::new(Kind::Corrupt, format!("read the blob {digest}")).clause("x.oci.digest").because(why.into())
}

/// A blob as it is read, held against its digest and size at its end.
pub(super) struct Checked<R> {
    source: R,
    digest: Option<Digest>,
    hash: Option<Hash>,
    size: Option<u64>,
    read: u64,
    verdict: Verdict,
}

/// What became of a blob: known when it was read to its end.
#[derive(Clone, Default)]
pub(super) struct Verdict(Arc<Mutex<Option<Result<(), Fault>>>>);

#[derive(Clone)]
struct Fault {
    clause: &'static str,
    why: String,
}

impl Verdict {
    /// What was wrong with the blob; nothing where it is right.
    ///
    /// # Errors
    /// [`Kind::Corrupt`], also where it was not read to its end.
    pub(super) fn of(&self, doing: &str) -> Result<()> {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            Some(Ok(())) => Ok(()),
            Some(Err(fault)) => Err(Error::new(Kind::Corrupt, doing).clause(fault.clause).because(fault.why)),
            None => Err(Error::new(Kind::Corrupt, doing).because("it was not read to its end")),
        }
    }

    /// What came of reading a blob where something else failed: the blob's own fault is the reason.
    pub(super) fn or(&self, doing: &str, error: Error) -> Error {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match known {
            Some(Err(_)) => self.of(doing).err().unwrap_or(error),
            _ => error,
        }
    }
}

impl<R: Read> Checked<R> {
    /// `source` is to have this digest, where one is known, and this many bytes.
    pub(super) fn new(source: R, digest: Option<&Digest>, size: Option<u64>) -> (Self, Verdict) {
        let verdict = Verdict::default();
        let hash = digest.map(Hash::of);
        (Self { source, digest: digest.cloned(), hash, size, read: 0, verdict: verdict.clone() }, verdict)
    }

    fn end(&mut self) -> io::Result<()> {
        let judged = match (self.size, self.hash.take(), &self.digest) {
            (Some(size), ..) if size != self.read => {
                Err(Fault { clause: "x.oci.size", why: format!("it has {} bytes, {size} were promised", self.read) })
            }
            (_, Some(hash), Some(digest)) => {
                hash.is(digest).map_err(|why| Fault { clause: "x.oci.digest", why: format!("{why}, not {digest}") })
            }
            // Looked at before.
            _ => return Ok(()),
        };
        self.judge(judged)
    }

    fn judge(&mut self, judged: Result<(), Fault>) -> io::Result<()> {
        let why = judged.as_ref().err().map(|fault| fault.why.clone());
        *self.verdict.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(judged);
        match why {
            Some(why) => Err(io::Error::new(io::ErrorKind::InvalidData, why)),
            None => Ok(()),
        }
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(into)?;
        if count == 0 && !into.is_empty() {
            self.end()?;
            return Ok(0);
        }
        if let Some(hash) = &mut self.hash {
            hash.update(&into[..count]);
        }
        self.read += count as u64;
        if let Some(size) = self.size.filter(|size| self.read > *size) {
            let why = format!("it goes on behind the {size} bytes that were promised");
            self.judge(Err(Fault { clause: "x.oci.size", why }))?;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn only_digests_are_digests() {
        assert_eq!(Digest::of(b""), EMPTY.parse().unwrap());
        for wrong in ["", "sha256:", "md5:00", &EMPTY.to_uppercase(), &EMPTY[1..], "sha256:../../etc/passwd"] {
            assert!(wrong.parse::<Digest>().is_err(), "{wrong}");
        }
    }

    fn read(bytes: &[u8], digest: &Digest, size: u64) -> Result<()> {
        let (mut checked, verdict) = Checked::new(bytes, Some(digest), Some(size));
        let _ = checked.read_to_end(&mut Vec::new());
        verdict.of("read it")
    }

    #[test]
    fn a_blob_is_what_it_is_called_or_it_is_told_what_is_wrong() {
        assert!(read(b"abc", &Digest::of(b"abc"), 3).is_ok());
        assert_eq!(read(b"abd", &Digest::of(b"abc"), 3).unwrap_err().clause_id(), Some("x.oci.digest"));
        assert_eq!(read(b"abc", &Digest::of(b"abc"), 2).unwrap_err().clause_id(), Some("x.oci.size"));
        assert_eq!(read(b"abc", &Digest::of(b"abc"), 4).unwrap_err().clause_id(), Some("x.oci.size"));
        let (_, verdict) = Checked::new(&b"abc"[..], Some(&Digest::of(b"abc")), Some(3));
        assert!(verdict.of("read it").is_err());
    }
}
