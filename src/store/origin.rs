//! Where an image came from.

use std::fs;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Error, Kind, Result};
use crate::whole::{self, Durability};

/// Where an image came from, when, who vouched for it, and what this store could not keep of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Origin {
    /// The file or URL that it was read from, without credentials.
    pub source: String,
    /// When it was last imported; the newest import wins when a name fits several images.
    #[serde(with = "stamp")]
    pub imported: Timestamp,
    /// Fingerprints of the keys whose signatures were good.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signed_by: Vec<String>,
    /// The file that those signatures stand in, in base64: whoever gets the image from here can ask his own keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// How the archive is compressed.
    #[serde(default)]
    pub compression: String,
    /// Size of the archive as it came, in bytes: what a dependency's `size` is about.
    #[serde(default)]
    pub archive_bytes: u64,
    /// Size of the archive without compression, in bytes.
    #[serde(default)]
    pub tree_bytes: u64,
    /// What a person should know: what could not be kept, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Origin {
    /// An import from `source`, now.
    pub fn new(source: impl Into<String>) -> Self {
        Self {
            source: source.into(),
            imported: Timestamp::now(),
            signed_by: Vec::new(),
            signature: None,
            compression: String::new(),
            archive_bytes: 0,
            tree_bytes: 0,
            notes: Vec::new(),
        }
    }

    /// The note on files whose owners could not be kept, where there are some.
    pub fn lost_owners(&self) -> Option<&str> {
        self.notes.iter().map(String::as_str).find(|note| note.starts_with(crate::aci::OWNERS_LEFT_OUT))
    }

    /// What could not be kept is what could not when the tree was made, which was `first`.
    pub(super) fn keep_lost(&mut self, first: &Self) {
        let lost = |note: &String| crate::aci::LEFT_OUT.iter().any(|begins| note.starts_with(begins));
        self.notes.retain(|note| !lost(note));
        self.notes.extend(first.notes.iter().filter(|note| lost(note)).cloned());
    }

    pub(super) fn read(directory: &Path) -> Result<Self> {
        let path = directory.join("origin");
        let text = fs::read_to_string(&path)
            .map_err(|error| Error::new(Kind::Corrupt, format!("read {}", path.display())).because(error))?;
        toml::from_str(&text).map_err(|error: toml::de::Error| {
            Error::new(Kind::Corrupt, format!("understand {}", path.display())).because(error.message())
        })
    }

    /// Puts it into `directory` by rename, so that a reader sees the old one or the new one.
    pub(super) fn write(&self, directory: &Path) -> Result<()> {
        let path = directory.join("origin");
        let text = toml::to_string(self)
            .map_err(|error| Error::new(Kind::Io, format!("write {}", path.display())).because(error))?;
        replace(&path, text.as_bytes())
    }
}

/// Replaces the file `path` by one with `content`, whole or not at all.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let failed = |error| Error::new(Kind::Io, format!("write {}", path.display())).because(error);
    whole::replace(path, 0o600, content, Durability::Usual).map_err(failed)
}

/// A time as text.
mod stamp {
    use jiff::Timestamp;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(time)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
