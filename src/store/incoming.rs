//! Work in progress: private directories that are rubbish as soon as nobody holds their lock.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use super::layout::Store;
use super::{Error, Kind, Result, sweep};

/// A private directory below `<root>/incoming`, locked while this value lives and removed when it is dropped
/// without having been published.
#[derive(Debug)]
pub struct Incoming {
    path: PathBuf,
    directory: File,
    published: bool,
}

impl Incoming {
    pub(super) fn new(root: &Path, purpose: &str) -> Result<Self> {
        let parent = root.join("incoming");
        let failed = |error| Error::new(Kind::Io, format!("make a directory in {}", parent.display())).because(error);
        loop {
            let made = tempfile::Builder::new().prefix(&format!("{purpose}-")).tempdir_in(&parent).map_err(failed)?;
            // From here on it is this value that removes it.
            let path = made.keep();
            let locked = File::open(&path).and_then(|directory| {
                directory.lock()?;
                Ok(directory)
            });
            // A sweep may have found it in the moment before it was locked; then it is gone, or about to be.
            match locked {
                Ok(directory) if still_there(&path, &directory) => {
                    return Ok(Self { path, directory, published: false });
                }
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
        }
    }

    /// The directory, for as long as this value lives.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its final name. `false` when somebody else had published there first; then this one goes.
    pub(super) fn publish(mut self, target: &Path) -> Result<bool> {
        match fs::rename(&self.path, target) {
            Ok(()) => {
                self.published = true;
                Ok(true)
            }
            Err(error) if is_taken(&error) => Ok(false),
            Err(error) => Err(Error::new(Kind::Io, format!("publish {}", target.display())).because(error)),
        }
    }
}

impl AsFd for Incoming {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.published {
            // What cannot be removed now is found by the next sweep.
            let _ = sweep::remove(&self.path);
        }
    }
}

impl Store {
    /// Removes what killed processes left under `incoming`. Gives the bytes that this freed.
    pub(super) fn sweep_incoming(&self) -> Result<u64> {
        let parent = self.root().join("incoming");
        let entries = match fs::read_dir(&parent) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(Error::new(Kind::Io, format!("list {}", parent.display())).because(error)),
        };
        let mut freed = 0;
        for entry in entries.flatten() {
            let path = entry.path();
            let Ok(directory) = File::open(&path) else { continue };
            if directory.try_lock().is_ok() {
                freed += sweep::remove(&path).unwrap_or(0);
            }
        }
        Ok(freed)
    }
}

fn still_there(path: &Path, directory: &File) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    match (fs::symlink_metadata(path), directory.metadata()) {
        (Ok(now), Ok(then)) => (now.dev(), now.ino()) == (then.dev(), then.ino()),
        _ => false,
    }
}

/// `rename` onto a directory that is there and not empty.
fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists)
}
