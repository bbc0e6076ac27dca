//! A site in a directory of this host.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{Content, Error, Kind, Place, Result, digest_of};

/// Where files are made before they have their names; without a publisher it is rubbish.
const UNFINISHED: &str = ".publishing";
/// The most of a small file that is read.
const MAX_SMALL: u64 = 64 << 20;

/// A directory, for one publisher at a time.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    made: u64,
    _lock: File,
}

impl Directory {
    /// The document root at `root`, made where it is not there; waits for whoever publishes to it.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn open(root: &Path) -> Result<Self> {
        let failed = |error: io::Error| Error::new(Kind::Io, format!("open {}", root.display())).because(error);
        DirBuilder::new().recursive(true).mode(0o755).create(root).map_err(failed)?;
        let lock = File::open(root).map_err(failed)?;
        lock.lock().map_err(failed)?;
        match fs::remove_dir_all(root.join(UNFINISHED)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        Ok(Self { root: root.to_owned(), made: 0, _lock: lock })
    }

    /// Makes a file out of sight and gives it its name.
    fn place(&mut self, path: &str, make: impl FnOnce(&Path) -> io::Result<()>) -> Result<()> {
        let target = self.root.join(path);
        let unfinished = self.root.join(UNFINISHED);
        self.made += 1;
        let new = unfinished.join(self.made.to_string());
        let parent = target.parent().unwrap_or(&self.root);
        let placed = DirBuilder::new().recursive(true).mode(0o700).create(&unfinished).and_then(|()| {
            make(&new)?;
            DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
            fs::rename(&new, &target)?;
            // Two names of one file stay two where one is renamed to the other.
            let _ = fs::remove_file(&new);
            File::open(parent)?.sync_all()
        });
        placed.map_err(|error| failed("write", &target, error))
    }
}

fn write(new: &Path, source: &mut dyn Read) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(new)?;
    io::copy(source, &mut file)?;
    file.sync_all()
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir(self.root.join(UNFINISHED));
    }
}

impl Place for Directory {
    fn read(&mut self, path: &str) -> Result<Option<Vec<u8>>> {
        let path = self.root.join(path);
        let read = File::open(&path).and_then(|file| {
            let mut bytes = Vec::new();
            file.take(MAX_SMALL).read_to_end(&mut bytes).map(|_| bytes)
        });
        found(read).map_err(|error| failed("read", &path, error))
    }

    fn digest(&mut self, path: &str) -> Result<Option<String>> {
        let path = self.root.join(path);
        let digest = File::open(&path).and_then(digest_of).map(|(digest, _)| digest);
        found(digest).map_err(|error| failed("read", &path, error))
    }

    fn put(&mut self, path: &str, content: &Content<'_>) -> Result<()> {
        self.place(path, |new| write(new, &mut content.open()?))
    }

    fn copy(&mut self, from: &str, path: &str, _: Option<&Content<'_>>) -> Result<()> {
        let from = self.root.join(from);
        // Where files cannot have two names they are two.
        self.place(path, |new| fs::hard_link(&from, new).or_else(|_| write(new, &mut File::open(&from)?)))
    }

    fn remove(&mut self, path: &str) -> Result<()> {
        let target = self.root.join(path);
        found(fs::remove_file(&target)).map_err(|error| failed("remove", &target, error))?;
        // Directories that hold nothing any more go along.
        let mut parent = target.parent();
        while let Some(directory) =
            parent.filter(|directory| *directory != self.root && directory.starts_with(&self.root))
        {
            if fs::remove_dir(directory).is_err() {
                break;
            }
            parent = directory.parent();
        }
        Ok(())
    }

    fn is_locked(&self) -> bool {
        true
    }
}

fn found<T>(done: io::Result<T>) -> io::Result<Option<T>> {
    match done {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

fn failed(doing: &str, path: &Path, error: io::Error) -> Error {
    Error::new(Kind::Io, format!("{doing} {}", path.display())).because(error)
}
