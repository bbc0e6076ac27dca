//! A directory that is written out whole or not at all.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::CommandError;

/// Beside its final place and private until it is published; removed when it is not.
pub struct Output {
    target: PathBuf,
    directory: tempfile::TempDir,
}

impl Output {
    /// For `target`, which must not exist.
    pub fn new(target: &Path) -> Result<Self, CommandError> {
        let target = std::path::absolute(target)?;
        if target.symlink_metadata().is_ok() {
            return Err(failed("write", &target, "it is there already"));
        }
        let Some(parent) = target.parent() else { return Err(failed("write", &target, "it is no directory's name")) };
        let directory = tempfile::Builder::new().prefix(".jetpack-").tempdir_in(parent);
        let directory = directory.map_err(|error| failed("write to", parent, error))?;
        appc::sys::unfinished::note(directory.path());
        Ok(Self { target, directory })
    }

    /// Where to write.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Gives it its name: `rootfs` of what was written alone, or all.
    pub fn publish(self, rootfs_only: bool) -> Result<(), CommandError> {
        let written = if rootfs_only { self.path().join("rootfs") } else { self.path().to_owned() };
        if !rootfs_only {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&written, fs::Permissions::from_mode(0o755))
                .map_err(|error| failed("open to all", &written, error))?;
        }
        // Onto an empty directory made meanwhile a rename works; onto anything else it fails.
        fs::rename(&written, &self.target).map_err(|error| failed("write", &self.target, error))?;
        if !rootfs_only {
            // It is no longer where the guard would look for it.
            let _ = self.directory.keep();
        }
        Ok(())
    }
}

/// What could not be done with a file, and why.
pub fn failed(doing: &str, path: &Path, why: impl std::fmt::Display) -> CommandError {
    CommandError::failed(format!("{doing} {}: {why}", path.display()))
}
