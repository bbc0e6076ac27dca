//! A place with things around it that must not change.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// A directory with a victim outside of where images are extracted.
pub struct World(pub tempfile::TempDir);

impl World {
    pub fn new() -> Self {
        let world = tempfile::tempdir().unwrap();
        fs::create_dir_all(world.path().join("outside/sub")).unwrap();
        fs::write(world.path().join("outside/file"), "precious").unwrap();
        fs::write(world.path().join("victim"), "precious").unwrap();
        symlink("file", world.path().join("outside/link")).unwrap();
        fs::create_dir(world.path().join("inside")).unwrap();
        Self(world)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// What attacks aim at.
    pub fn outside(&self) -> String {
        self.path("outside").to_str().unwrap().to_owned()
    }

    /// A hash of everything outside of where images go: names, kinds, modes, owners, times, links and content.
    pub fn surroundings(&self) -> String {
        let mut hash = Sha256::new();
        for name in ["outside", "victim"] {
            digest(&self.path(name), &mut hash);
        }
        // The place itself: whatever was dropped beside the target would change its time.
        let names: Vec<_> = names(self.0.path());
        format!("{:x?} {names:?}", hash.finalize())
    }
}

/// What is in a directory, sorted.
pub fn names(path: &Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

fn digest(path: &Path, hash: &mut Sha256) {
    let metadata = fs::symlink_metadata(path).unwrap();
    hash.update(path.as_os_str().as_bytes());
    let facts =
        (metadata.mode(), metadata.uid(), metadata.gid(), metadata.mtime(), metadata.mtime_nsec(), metadata.nlink());
    hash.update(format!("{facts:?}"));
    if metadata.is_dir() {
        for name in names(path) {
            digest(&path.join(name), hash);
        }
    } else if metadata.is_symlink() {
        hash.update(fs::read_link(path).unwrap().as_os_str().as_bytes());
    } else if metadata.is_file() {
        hash.update(fs::read(path).unwrap());
    }
}
