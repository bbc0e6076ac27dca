//! An image as a layout of its own: extracted in private, published by one rename.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;

use crate::schema;
use crate::whole::DraftDirectory;

use super::{Error, ExtractOptions, Kind, Result, Summary, import};

/// Extracts an image into the new directory `into`, which becomes a layout: `manifest` and `rootfs`.
///
/// The directory appears whole, by rename from a private one beside it, or not at all.
///
/// # Errors
/// [`Kind::Exists`] where there is something named `into`; those of [`import`];
/// [`Kind::Invalid`] with place and clause where the manifest is not valid. Nothing is left then.
pub fn extract(source: impl Read + Send, into: &Path, options: &ExtractOptions) -> Result<Summary> {
    let failed = |error: io::Error| Error::new(Kind::Io, format!("make {}", into.display())).because(error);
    let exists = || Error::new(Kind::Exists, format!("make {}", into.display())).because("it is there already");
    if into.symlink_metadata().is_ok() {
        return Err(exists());
    }
    if into.file_name().is_none() {
        return Err(Error::new(Kind::Refused, format!("make {}", into.display())).because("it has no name"));
    }
    let private = DraftDirectory::new(into).map_err(failed)?;
    let summary = import(source, private.handle().as_fd(), options)?;
    schema::image_manifest(&summary.manifest, &schema::Options::default())
        .map_err(|found| Error::new(Kind::Invalid, format!("make {}", into.display())).manifest(&found))?;
    match private.publish() {
        Ok(()) => Ok(summary),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(exists()),
        Err(error) => Err(failed(error)),
    }
}
