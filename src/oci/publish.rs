//! What is made appears whole, under its name, or not at all.

use std::fs::File;
use std::io;
use std::path::Path;

use super::{Error, Kind, Result};
use crate::whole::{Draft, DraftDirectory, Overwrite};

/// Makes the file `out` of what `work` writes, beside it first.
///
/// # Errors
/// [`Kind::Exists`] where it is there and is not to be replaced; [`Kind::Io`]; those of `work`. Nothing is left then.
pub fn write_file<T>(out: &Path, overwrite: Overwrite, work: impl FnOnce(&mut File) -> Result<T>) -> Result<T> {
    let failed = |error: io::Error| Error::new(Kind::Io, format!("write {}", out.display())).because(error);
    named(out)?;
    if overwrite == Overwrite::Refuse && out.symlink_metadata().is_ok() {
        return Err(exists(out));
    }
    let mut draft = Draft::new(out, 0o666).map_err(failed)?;
    let done = work(draft.file())?;
    draft.publish(overwrite).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(out),
        _ => failed(error),
    })?;
    Ok(done)
}

/// Makes the directory `out` of what `work` puts into one beside it.
///
/// # Errors
/// As for files.
pub fn write_directory<T>(out: &Path, work: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let failed = |error: io::Error| Error::new(Kind::Io, format!("make {}", out.display())).because(error);
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(out),
        _ => failed(error),
    };
    named(out)?;
    let draft = DraftDirectory::new(out).map_err(failed)?;
    let done = work(draft.path())?;
    draft.publish().map_err(failed)?;
    Ok(done)
}

fn named(out: &Path) -> Result<()> {
    match out.file_name() {
        Some(_) => Ok(()),
        None => Err(Error::new(Kind::Refused, format!("make {}", out.display())).because("it has no name")),
    }
}

fn exists(out: &Path) -> Error {
    Error::new(Kind::Exists, format!("make {}", out.display())).because("it is there already")
}

/// A directory for nobody else, removed with the value.
///
/// # Errors
/// [`Kind::Io`].
pub fn private_directory(parent: &Path) -> Result<tempfile::TempDir> {
    tempfile::Builder::new()
        .prefix(".export.")
        .tempdir_in(parent)
        .map_err(|error| Error::new(Kind::Io, format!("make a directory in {}", parent.display())).because(error))
}
