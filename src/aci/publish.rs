//! An image as a layout of its own: extracted in private, published by one rename.

use std::fs;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::schema;

use super::{Error, ExtractOptions, Kind, Result, Summary, import, private};

/// Extracts an image into the new directory `into`, which becomes a layout: `manifest` and `rootfs`.
///
/// The directory appears whole, by rename from a private one beside it, or not at all.
/// Errors: [`Kind::Exists`] where there is something named `into`; those of [`import`];
/// [`Kind::Invalid`] with place and clause where the manifest is not valid. Nothing is left then.
pub fn extract(source: impl Read + Send, into: &Path, options: &ExtractOptions) -> Result<Summary> {
    let failed = |error: io::Error| Error::new(Kind::Io, format!("make {}", into.display())).because(error);
    let exists = || Error::new(Kind::Exists, format!("make {}", into.display())).because("it is there already");
    if into.symlink_metadata().is_ok() {
        return Err(exists());
    }
    let name = into
        .file_name()
        .ok_or_else(|| Error::new(Kind::Refused, format!("make {}", into.display())).because("it has no name"))?;
    let parent = into.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (private, handle) = private::directory(parent, name).map_err(failed)?;
    let summary = import(source, handle.as_fd(), options)?;
    schema::image_manifest(&summary.manifest, &schema::Options::default())
        .map_err(|found| Error::new(Kind::Invalid, format!("make {}", into.display())).manifest(&found))?;
    handle.set_permissions(fs::Permissions::from_mode(0o755)).map_err(failed)?;
    match rename(private.path(), into) {
        Ok(()) => {
            let _ = private.keep();
            Ok(summary)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(exists()),
        Err(error) => Err(failed(error)),
    }
}

/// Gives a directory its name, unless something has it.
#[cfg(target_os = "linux")]
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

/// There is no way to forbid replacing: an empty directory that came up since would be, and nothing else.
#[cfg(not(target_os = "linux"))]
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}
