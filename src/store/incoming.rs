//! Work in progress: private directories that are rubbish as soon as nobody holds their lock.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use super::image::is_at;
use super::layout::Store;
use super::{Error, Kind, Result, sweep};

/// Each takes a descriptor until it is gone; what is more waits for the next time.
const MOST_AT_ONCE: usize = 256;

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
                Ok(directory) if is_at(&directory, &path) => {
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

    /// Takes it apart; gives the bytes freed.
    pub(super) fn free(mut self) -> Result<u64> {
        self.published = true;
        sweep::remove(&self.path)
            .map_err(|error| Error::new(Kind::Io, format!("remove {}", self.path.display())).because(error))
    }

    /// Gives it its final name. `false` when somebody else had published there first; then this one goes when it is dropped.
    pub(super) fn publish(&mut self, target: &Path) -> Result<bool> {
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
    /// What killed processes left under `incoming`, each with its lock. Nobody may publish meanwhile.
    pub(super) fn abandoned(&self) -> Result<Vec<(PathBuf, File)>> {
        let parent = self.root().join("incoming");
        let entries = match fs::read_dir(&parent) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::new(Kind::Io, format!("list {}", parent.display())).because(error)),
        };
        let left = entries.flatten().filter_map(|entry| {
            let directory = File::open(entry.path()).ok()?;
            directory.try_lock().ok()?;
            Some((entry.path(), directory))
        });
        Ok(left.take(MOST_AT_ONCE).collect())
    }

    /// Removes what killed processes left, if nobody is publishing at the moment.
    pub(super) fn tidy(&self) -> Result<()> {
        let abandoned = match self.try_hold_exclusive()? {
            Some(_held) => self.abandoned()?,
            None => Vec::new(),
        };
        for (path, _lock) in abandoned {
            // What cannot be removed is no reason not to import; collecting tells.
            let _ = sweep::remove(&path);
        }
        Ok(())
    }
}

/// `rename` onto a directory that is there and not empty.
fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists)
}
