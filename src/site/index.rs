//! What a site has, as a file of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Error, Kind, Result};
use crate::schema::{AcIdentifier, ImageId};

/// Where it is.
pub(super) const PATH: &str = "index.json";
/// The version that is written and read.
const FORMAT: u32 = 1;

/// What a document root has, by prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// Of this form.
    format: u32,
    /// One a prefix.
    pub sections: Vec<Section>,
}

/// What there is below one prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Section {
    /// The prefix that the pages are for.
    pub prefix: AcIdentifier,
    /// The template of the pages.
    pub template: String,
    /// Where on the site its images begin.
    pub directory: String,
    /// URLs of public keys, as the pages have them.
    pub keys: Vec<String>,
    /// The images.
    pub images: Vec<Published>,
    /// Files that are being changed, and may be of any of the images, half there, or none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) moving: Vec<String>,
}

/// An image of a site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// Its name.
    pub name: AcIdentifier,
    /// Its labels.
    pub labels: BTreeMap<AcIdentifier, String>,
    /// Its ID.
    pub id: ImageId,
    /// Bytes of its file.
    pub bytes: u64,
    /// SHA-512 of its file, as it is compressed.
    pub sha512: String,
    /// When it was published first.
    pub published: String,
    /// What its signatures' names end in.
    pub signatures: Vec<String>,
    /// Its files on the site.
    pub files: Vec<String>,
    /// Those of them beside which there is a map of their chunks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chunks: Vec<String>,
}

impl Published {
    /// An index of a site that has not decided yet where it is.
    pub(super) fn without_files(&self) -> Self {
        Self { files: Vec::new(), chunks: Vec::new(), ..self.clone() }
    }
}

impl Default for Index {
    fn default() -> Self {
        Self { format: FORMAT, sections: Vec::new() }
    }
}

impl Index {
    /// What the file says, nothing where there is none.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] where it is not one of ours, or of a later version.
    pub(super) fn parse(bytes: Option<&[u8]>) -> Result<Self> {
        let Some(bytes) = bytes else { return Ok(Self::default()) };
        let corrupt = || Error::new(Kind::Corrupt, format!("understand {PATH} of the site"));
        let index: Self = serde_json::from_slice(bytes).map_err(|error| corrupt().because(error))?;
        if index.format != FORMAT {
            return Err(corrupt().because(format!("it is of form {}, and {FORMAT} is known here", index.format)));
        }
        for section in &index.sections {
            let files = section.images.iter().flat_map(|image| image.files.iter().chain(&image.chunks));
            let files = files.chain(&section.moving);
            for path in files {
                super::names::check(path)
                    .map_err(|why| corrupt().because(format!("`{}`: {why}", path.escape_debug())))?;
            }
            super::names::section_is_sound(section).map_err(|why| corrupt().because(why))?;
        }
        Ok(index)
    }

    pub(super) fn write(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::new(Kind::Corrupt, format!("write {PATH}")).because(error))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// What there is below just this prefix.
    pub(crate) fn section(&self, prefix: &AcIdentifier) -> Option<&Section> {
        self.sections.iter().find(|section| section.prefix == *prefix)
    }

    /// The nearest prefix that covers `name`.
    pub(crate) fn section_for(&self, name: &AcIdentifier) -> Option<&Section> {
        let covering = self.sections.iter().filter(|section| super::names::covers(&section.prefix, name));
        covering.max_by_key(|section| section.prefix.len())
    }

    pub(super) fn set(&mut self, section: Section) {
        self.sections.retain(|other| other.prefix != section.prefix);
        self.sections.push(section);
        self.sections.sort_by(|one, other| one.prefix.cmp(&other.prefix));
    }
}
