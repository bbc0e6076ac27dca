//! What an image that is asked for has to be.

use std::collections::BTreeMap;

use crate::schema::{AcIdentifier, Difference, ImageId, ImageManifest};

use super::{Error, Kind, Result};

/// What an image that is brought in has to be; what is `None` or empty does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: Option<AcIdentifier>,
    /// Labels that it has to have, with these values.
    pub labels: BTreeMap<AcIdentifier, String>,
    /// Its ID.
    pub id: Option<ImageId>,
    /// The size of its archive as it is transferred, in bytes; no more than this is read.
    pub size: Option<u64>,
}

impl Wanted {
    /// Whether an image is the one that is wanted; the error says what differs.
    ///
    /// # Errors
    /// [`Kind::Refused`] with the clause.
    pub(crate) fn check(&self, id: &ImageId, manifest: &ImageManifest, archive_bytes: u64, source: &str) -> Result<()> {
        let other = |clause, why: String| {
            Err(Error::new(Kind::Refused, format!("accept {source}")).clause(clause).because(why))
        };
        if let Some(wanted) = self.id.as_ref().filter(|wanted| *wanted != id) {
            return other("dep.match.id", format!("its ID is {id}, not {wanted}"));
        }
        if let Some(wanted) = self.size.filter(|wanted| *wanted != archive_bytes) {
            return other("im.deps.size", format!("it has {archive_bytes} bytes, not {wanted}"));
        }
        let label = |name: &str| manifest.label(name);
        match Difference::find(self.name.as_ref(), &self.labels, &manifest.name, label) {
            Some(difference @ Difference::Name { .. }) => other("im.name.discovered", difference.to_string()),
            Some(difference @ Difference::Label { .. }) => other("dep.match.discovery", difference.to_string()),
            None => Ok(()),
        }
    }
}
