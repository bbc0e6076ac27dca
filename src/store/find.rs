//! Finding an image by what a person, a pod or a dependency says.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use crate::discovery::ImageName;
use crate::schema::{AcIdentifier, Difference, ImageId};

use super::layout::Store;
use super::{Error, Image, ImageRef, Kind, Listed, Result};

/// Hexadecimal digits without `sha512-` count as the beginning of an ID from this length on, where no image is called so.
const BARE_DIGITS: usize = 4;
/// How many candidates an error names.
const CANDIDATES: usize = 8;

/// What a reference led to.
#[derive(Clone, Debug)]
pub struct Found {
    /// The image.
    pub image: Image,
    /// Older imports that fit as well and lost.
    pub older: Vec<ImageId>,
}

impl Store {
    /// The image that `reference` means; the newest import where a name fits several.
    ///
    /// # Errors
    /// [`Kind::Missing`]; [`Kind::Ambiguous`] for the beginning of several IDs; [`Kind::Reference`] for a file or a
    /// URL, which are outside the store.
    pub fn find(&self, reference: &ImageRef) -> Result<Image> {
        self.look_up(reference).map(|found| found.image)
    }

    /// The image that a reference means, and what else fits.
    ///
    /// # Errors
    /// Those of [`Store::find`].
    pub fn look_up(&self, reference: &ImageRef) -> Result<Found> {
        match reference {
            ImageRef::Id(id) => Ok(Found { image: self.image(id)?, older: Vec::new() }),
            ImageRef::Prefix(prefix) => self.by_prefix(prefix),
            ImageRef::Name(name) => match self.newest(&name.name, &name.labels)? {
                Some(found) => Ok(found),
                None if is_bare_prefix(name) => {
                    self.by_prefix(&format!("sha512-{}", &*name.name)).map_err(|error| match error.kind() {
                        Kind::Missing => missing(reference),
                        _ => error,
                    })
                }
                None => Err(missing(reference)),
            },
            ImageRef::File(_) | ImageRef::Url(_) | ImageRef::Registry(_) => {
                let error = Error::new(Kind::Reference, format!("find {reference} in the store"));
                Err(error.because("it names a place outside the store; fetch it first"))
            }
        }
    }

    /// The newest import that is called `name` and has these labels.
    ///
    /// # Errors
    /// [`Kind::Io`], [`Kind::Corrupt`].
    pub(crate) fn newest(&self, name: &AcIdentifier, labels: &BTreeMap<AcIdentifier, String>) -> Result<Option<Found>> {
        let mut fitting = self.fitting(name, labels)?.into_iter();
        for listed in fitting.by_ref() {
            // Collected since the list was made: the next one.
            if let Some(image) = self.try_image(&listed.id)? {
                return Ok(Some(Found { image, older: fitting.map(|listed| listed.id).collect() }));
            }
        }
        Ok(None)
    }

    /// All images that are called `name` and have these labels, the newest import first.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub(crate) fn fitting(&self, name: &AcIdentifier, labels: &BTreeMap<AcIdentifier, String>) -> Result<Vec<Listed>> {
        let mut images = self.list()?;
        images.retain(|image| {
            let label = |name: &str| image.labels.get(name).map(String::as_str);
            Difference::find(Some(name), labels, &image.name, label).is_none()
        });
        Ok(images)
    }

    /// The ID that `reference` means, without opening the image: a damaged one is found too.
    ///
    /// # Errors
    /// Those of [`Store::find`].
    pub fn identify(&self, reference: &ImageRef) -> Result<ImageId> {
        match reference {
            ImageRef::Id(id) => Ok(id.clone()),
            ImageRef::Prefix(prefix) => self.id_by_prefix(prefix),
            _ => self.find(reference).map(|image| image.id().clone()),
        }
    }

    fn by_prefix(&self, prefix: &str) -> Result<Found> {
        Ok(Found { image: self.image(&self.id_by_prefix(prefix)?)?, older: Vec::new() })
    }

    fn id_by_prefix(&self, prefix: &str) -> Result<ImageId> {
        let path = self.images();
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries.collect::<io::Result<Vec<_>>>(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        let entries =
            entries.map_err(|error| Error::new(Kind::Io, format!("list {}", path.display())).because(error))?;
        let names = entries.iter().filter_map(|entry| entry.file_name().into_string().ok());
        let mut ids: Vec<ImageId> =
            names.filter(|name| name.starts_with(prefix)).filter_map(|name| name.parse().ok()).collect();
        ids.sort();
        match ids.as_slice() {
            [] => Err(Error::new(Kind::Missing, format!("find image {prefix}")).because("no image's ID begins so")),
            [id] => Ok(id.clone()),
            several => {
                let mut candidates: Vec<&str> = several.iter().map(|id| id.as_str()).take(CANDIDATES).collect();
                if several.len() > CANDIDATES {
                    candidates.push("…");
                }
                let error = Error::new(Kind::Ambiguous, format!("find image {prefix}"));
                Err(error.because(format!("{} images begin so: {}", several.len(), candidates.join(", "))))
            }
        }
    }
}

fn is_bare_prefix(name: &ImageName) -> bool {
    let digits = name.name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    digits && name.labels.is_empty() && (BARE_DIGITS..128).contains(&name.name.len())
}

fn missing(reference: &ImageRef) -> Error {
    Error::new(Kind::Missing, format!("find image {reference}")).because("the store has none that fits")
}
