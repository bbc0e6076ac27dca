//! A directory that is written out whole or not at all.

use std::path::{Path, PathBuf};

use appc::whole::DraftDirectory;

use crate::error::CommandError;

/// Beside its final place and private until it is published; removed when it is not.
pub struct Output {
    target: PathBuf,
    directory: DraftDirectory,
}

impl Output {
    /// For `target`, which must not exist.
    pub fn new(target: &Path) -> Result<Self, CommandError> {
        let target = std::path::absolute(target)?;
        let directory = DraftDirectory::new(&target).map_err(|error| not_made(&target, &error))?;
        Ok(Self { target, directory })
    }

    /// Where to write.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Gives it its name: `rootfs` of what was written alone, or all.
    pub fn publish(self, rootfs_only: bool) -> Result<(), CommandError> {
        let published = if rootfs_only { self.directory.publish_part("rootfs") } else { self.directory.publish() };
        published.map_err(|error| not_made(&self.target, &error))
    }
}

fn not_made(target: &Path, error: &std::io::Error) -> CommandError {
    match error.kind() {
        std::io::ErrorKind::AlreadyExists => failed("write", target, "it is there already"),
        _ => failed("write", target, error),
    }
}

/// What could not be done with a file, and why.
pub fn failed(doing: &str, path: &Path, why: impl std::fmt::Display) -> CommandError {
    CommandError::failed(format!("{doing} {}: {why}", path.display()))
}
