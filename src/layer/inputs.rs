//! What goes into an image besides its parent: files and directories of the host, known by what they hold.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat};
use sha2::{Digest as _, Sha256};

use super::stack::{about, enter, kind, names, open};
use super::{Error, Kind, Result};
use crate::aci::Time;
use crate::aci::build::time;
use crate::aci::printable;

/// What is known of inputs. Who owns them and when they were changed makes no other inputs of them.
#[derive(Clone)]
pub struct Inputs {
    hash: Sha256,
    /// The newest of their times.
    pub newest: Option<Time>,
}

impl std::fmt::Debug for Inputs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inputs").field("newest", &self.newest).finish_non_exhaustive()
    }
}

impl Default for Inputs {
    fn default() -> Self {
        Self { hash: Sha256::new(), newest: None }
    }
}

impl Inputs {
    /// Adds words.
    pub fn add_words(&mut self, words: &[u8]) {
        self.hash.update((words.len() as u64).to_le_bytes());
        self.hash.update(words);
    }

    /// Adds what is at a path of the host: content, kinds, modes and names of all of it.
    ///
    /// # Errors
    /// [`Kind::Missing`], [`Kind::Io`] naming what cannot be read.
    pub fn add(&mut self, path: &Path) -> Result<()> {
        let mut at = path.as_os_str().as_bytes().to_vec();
        let done = openat(CWD, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
            .map_err(io::Error::from)
            .and_then(|opened| {
                let about = fstat(&opened)?;
                self.about(&about, b"");
                match kind(&about) {
                    FileType::Directory => self.directory(opened.as_fd(), &mut at),
                    FileType::RegularFile => self.content(&mut File::from(opened)),
                    _ => Err(io::Error::other("it is neither a file nor a directory")),
                }
            });
        done.map_err(|error| {
            let missing = error.kind() == io::ErrorKind::NotFound;
            Error::new(if missing { Kind::Missing } else { Kind::Io }, format!("read {}", printable(&at)))
                .because(error)
        })
    }

    /// The hash of all that was added, in hexadecimal digits.
    pub fn digest(self) -> String {
        self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn about(&mut self, about: &Stat, name: &[u8]) {
        self.add_words(name);
        self.hash.update(u64::from(about.st_mode).to_le_bytes());
        // A directory's tells when something came or went, which building does too.
        if kind(about) != FileType::Directory {
            self.newest = self.newest.max(Some(time(about)));
        }
    }

    fn directory(&mut self, directory: BorrowedFd<'_>, at: &mut Vec<u8>) -> io::Result<()> {
        let mut all = names(directory)?;
        all.sort_unstable();
        self.hash.update((all.len() as u64).to_le_bytes());
        for name in all {
            let length = at.len();
            at.push(b'/');
            at.extend_from_slice(&name);
            let about = about(directory, &name)?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            self.about(&about, &name);
            match kind(&about) {
                FileType::Directory => self.directory(enter(directory, &name)?.as_fd(), at)?,
                FileType::RegularFile => self.content(&mut open(directory, &name)?)?,
                FileType::Symlink => {
                    let target = readlinkat(directory, OsStr::from_bytes(&name), Vec::new())?;
                    self.add_words(target.as_bytes());
                }
                _ => {}
            }
            at.truncate(length);
        }
        Ok(())
    }

    fn content(&mut self, file: &mut File) -> io::Result<()> {
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                count => hash.update(&buffer[..count]),
            }
        }
        self.hash.update(hash.finalize());
        Ok(())
    }
}
