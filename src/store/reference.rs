//! What a person writes to name an image.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::discovery::{ImageName, RegistryName};
use crate::schema::ImageId;

use super::{Error, Kind};

/// An image as it is named on a command line.
///
/// ```text
/// sha512-9f86d081884c7d65…   an image ID, whole
/// sha512-9f86                the beginning of one
/// example.com/app:1.2,os=linux   a name, a version, labels
/// ./app.aci  /tmp/app.aci  app.aci   a file
/// https://example.com/app.aci   a URL
/// docker://example.com/app:1.2   an image in a registry of OCI images
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageRef {
    /// A whole image ID.
    Id(ImageId),
    /// The beginning of an image ID: `sha512-` and at least one digit.
    Prefix(String),
    /// A name with the labels that have to match.
    Name(ImageName),
    /// A file outside the store.
    File(PathBuf),
    /// A file on a server.
    Url(url::Url),
    /// An image in a registry.
    Registry(RegistryName),
}

impl FromStr for ImageRef {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if let Some(digits) = text.strip_prefix("sha512-") {
            if let Ok(id) = text.parse() {
                return Ok(Self::Id(id));
            }
            let hexadecimal = digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            if !digits.is_empty() && digits.len() < 128 && hexadecimal {
                return Ok(Self::Prefix(text.to_owned()));
            }
            let message = "an image ID is `sha512-` and up to 128 lower-case hexadecimal digits";
            return Err(refuse(text).because(message).clause("types.imageid.form"));
        }
        if let Some((scheme, _)) = text.split_once("://") {
            // Schemes are told apart without regard to case (RFC 3986, 3.1).
            if ["http", "https", "file"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
                return url::Url::parse(text).map(Self::Url).map_err(|error| refuse(text).because(error));
            }
            if RegistryName::is_meant(text) {
                let name: Result<RegistryName, crate::discovery::Error> = text.parse();
                return name.map(Self::Registry).map_err(|error| error.of_kind(Kind::Reference));
            }
            let why =
                format!("`{}` is no way to get an image; https, http, file and docker are", scheme.escape_debug());
            return Err(refuse(text).because(why));
        }
        if text.starts_with('/') || text.starts_with("./") || text.starts_with("../") || text.ends_with(".aci") {
            return Ok(Self::File(PathBuf::from(text)));
        }
        text.parse().map(Self::Name).map_err(|error: crate::discovery::Error| error.of_kind(Kind::Reference))
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Prefix(prefix) => f.write_str(prefix),
            Self::Name(name) => name.fmt(f),
            Self::File(path) => path.display().fmt(f),
            Self::Url(url) => url.fmt(f),
            Self::Registry(name) => name.fmt(f),
        }
    }
}

fn refuse(text: &str) -> Error {
    Error::new(Kind::Reference, format!("read the image reference `{text}`"))
}
