//! Names, ids, paths and other short strings: what the generated newtypes can do beside being well-formed.

use std::fmt;
use std::path::Path;

use super::{
    AbsPath, AcIdentifier, AcName, AcVersion, Capability, EnvName, Errno, ImageId, Ipv4, NonEmptyString, OctalMode,
    SelinuxPart,
};

macro_rules! text {
    ($($type:ty),* $(,)?) => {$(
        impl $type {
            /// The text.
            pub fn as_str(&self) -> &str {
                self
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                self
            }
        }

        impl PartialEq<str> for $type {
            fn eq(&self, other: &str) -> bool {
                self.as_str() == other
            }
        }

        impl PartialEq<&str> for $type {
            fn eq(&self, other: &&str) -> bool {
                self.as_str() == *other
            }
        }
    )*};
}

text!(
    AbsPath,
    AcIdentifier,
    AcName,
    AcVersion,
    Capability,
    EnvName,
    Errno,
    ImageId,
    Ipv4,
    NonEmptyString,
    OctalMode,
    SelinuxPart,
);

impl ImageId {
    /// What every image id begins with (types.imageid.algo).
    pub const PREFIX: &'static str = "sha512-";

    /// The id of an image whose uncompressed archive has this SHA-512.
    pub fn from_digest(digest: &[u8; 64]) -> Self {
        use fmt::Write;
        let mut text = String::with_capacity(Self::PREFIX.len() + 128);
        text.push_str(Self::PREFIX);
        for byte in digest {
            write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        }
        text.parse().expect("a prefix and 128 hex digits are an image id")
    }

    /// The 128 hex digits.
    pub fn hex(&self) -> &str {
        &self.as_str()[Self::PREFIX.len()..]
    }
}

impl AbsPath {
    /// The path as the file system's functions take it.
    pub fn as_path(&self) -> &Path {
        Path::new(self.as_str())
    }

    /// Its components, without `.` and empty ones. There are no `..`.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.as_str().split('/').filter(|part| !part.is_empty() && *part != ".")
    }

    /// Its place written in one way: no `.`, no doubled or trailing slash.
    #[must_use]
    pub fn clean(&self) -> Self {
        let mut text = String::with_capacity(self.len());
        for part in self.components() {
            text.push('/');
            text.push_str(part);
        }
        if text.is_empty() {
            text.push('/');
        }
        Self::try_from(text).expect("a path stays absolute when its parts are joined again")
    }

    /// Whether `other` is this place or lies below it.
    pub fn contains(&self, other: &Self) -> bool {
        let mut others = other.components();
        self.components().all(|part| others.next() == Some(part))
    }
}

impl OctalMode {
    /// The permission bits.
    pub fn bits(&self) -> u32 {
        u32::from_str_radix(self, 8).expect("three or four octal digits are a number")
    }
}

impl AcVersion {
    /// The version taken apart. `None` only for numbers beyond 64 bits.
    pub fn semver(&self) -> Option<semver::Version> {
        semver::Version::parse(self).ok()
    }

    /// The version of the specification that this crate follows.
    pub fn current() -> Self {
        crate::SPEC_VERSION.parse().expect("the specification's version is well-formed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> AbsPath {
        text.parse().unwrap()
    }

    #[test]
    fn an_image_id_is_the_digest_in_lower_case_hex() {
        let id = ImageId::from_digest(&[0xab; 64]);
        assert_eq!(id.hex(), "ab".repeat(64));
        assert_eq!(id.as_str().parse::<ImageId>().unwrap(), id);
    }

    #[test]
    fn an_image_id_of_other_length_case_or_algorithm_is_refused() {
        let short = format!("sha512-{}", "a".repeat(127));
        let upper = format!("sha512-{}", "A".repeat(128));
        let other = format!("sha256-{}", "a".repeat(128));
        for text in [short.as_str(), &upper, &other, "sha512-", ""] {
            assert!(text.parse::<ImageId>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_path_with_dots_nul_or_no_root_is_refused() {
        for text in ["", "a", "/..", "/a/../b", "/a/..", "../a", "/a\0", "/\n/../a"] {
            assert!(text.parse::<AbsPath>().is_err(), "{text:?}");
        }
        for text in ["/", "/...", "/a..b", "/..a/b", "/a/", "/a//b", "/ü/\n"] {
            assert!(text.parse::<AbsPath>().is_ok(), "{text:?}");
        }
    }

    #[test]
    fn cleaning_keeps_the_place_and_one_spelling() {
        assert_eq!(path("//a/./b//").clean(), "/a/b");
        assert_eq!(path("//.").clean(), "/");
    }

    #[test]
    fn a_path_contains_itself_and_what_lies_below_but_no_namesake() {
        assert!(path("/a").contains(&path("/a/")));
        assert!(path("/a/").contains(&path("/a/b")));
        assert!(path("/").contains(&path("/a")));
        assert!(!path("/a").contains(&path("/ab")));
        assert!(!path("/a/b").contains(&path("/a")));
    }

    #[test]
    fn identifiers_follow_the_expression_of_the_text() {
        for text in ["a", "example.com/app", "a-b.c_d~e/f", "1/2"] {
            assert!(text.parse::<AcIdentifier>().is_ok(), "{text}");
        }
        for text in ["", "A", "a--b", "a//b", "-a", "a/", "a b", "a.-b", "a\n", "example.com/~user/app"] {
            assert!(text.parse::<AcIdentifier>().is_err(), "{text:?}");
        }
    }
}
