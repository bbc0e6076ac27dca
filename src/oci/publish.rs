//! What is made appears whole, under its name, or not at all.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Error, Kind, Result};
use crate::aci::{self, private};

/// Makes the file `out` of what `work` writes, beside it first.
///
/// Errors: [`Kind::Exists`] where it is there and is not to be replaced; [`Kind::Io`]; those of `work`. Nothing is left then.
pub fn write_file<T>(out: &Path, replace: bool, work: impl FnOnce(&mut File) -> Result<T>) -> Result<T> {
    let failed = |error: io::Error| Error::new(Kind::Io, format!("write {}", out.display())).because(error);
    let (parent, name) = place(out)?;
    if !replace && out.symlink_metadata().is_ok() {
        return Err(exists(out));
    }
    let mut file = private::file(parent, name, 0o666).map_err(failed)?;
    let done = work(file.as_file_mut())?;
    let persisted = if replace { file.persist(out) } else { file.persist_noclobber(out) };
    persisted.map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => exists(out),
        _ => failed(error.error),
    })?;
    Ok(done)
}

/// Makes the directory `out` of what `work` puts into one beside it.
///
/// Errors: as for files.
pub fn write_directory<T>(out: &Path, work: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let failed = |error: io::Error| Error::new(Kind::Io, format!("make {}", out.display())).because(error);
    let (parent, name) = place(out)?;
    if out.symlink_metadata().is_ok() {
        return Err(exists(out));
    }
    let (private, handle) = private::directory(parent, name).map_err(failed)?;
    let done = work(private.path())?;
    handle.set_permissions(fs::Permissions::from_mode(0o755)).map_err(failed)?;
    match aci::rename(private.path(), out) {
        Ok(()) => {
            let _ = private.keep();
            Ok(done)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(exists(out)),
        Err(error) => Err(failed(error)),
    }
}

fn place(out: &Path) -> Result<(&Path, &std::ffi::OsStr)> {
    let name = out
        .file_name()
        .ok_or_else(|| Error::new(Kind::Refused, format!("make {}", out.display())).because("it has no name"))?;
    Ok((out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")), name))
}

fn exists(out: &Path) -> Error {
    Error::new(Kind::Exists, format!("make {}", out.display())).because("it is there already")
}

/// A directory for nobody else, removed with the value.
///
/// Errors: [`Kind::Io`].
pub fn private_directory(parent: &Path) -> Result<tempfile::TempDir> {
    tempfile::Builder::new()
        .prefix(".export.")
        .tempdir_in(parent)
        .map_err(|error| Error::new(Kind::Io, format!("make a directory in {}", parent.display())).because(error))
}
