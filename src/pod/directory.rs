//! The directory of one pod, and its files.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::{Error, Kind, Part};
use crate::whole::{self, Durability};

/// The directory of one pod.
#[derive(Debug)]
pub struct PodDir {
    pub(super) uuid: Uuid,
    pub(super) path: PathBuf,
    /// Held exclusively by who has it in hand.
    pub(super) lock: Option<File>,
}

pub(super) fn io_error(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let doing = doing.into();
    move |error| Error::new(Kind::Io, doing).because(error)
}

pub(super) fn make_directory(path: &Path) -> Result<(), Error> {
    let made = fs::DirBuilder::new().mode(0o700).recursive(true).create(path);
    made.map_err(io_error(format!("make the directory {}", path.display())))
}

pub(super) fn publish(directory: &Path, name: &str, bytes: &[u8]) -> Result<(), Error> {
    let place = directory.join(name);
    // No pod outlives its host.
    whole::replace(&place, 0o600, bytes, Durability::Fleeting).map_err(io_error(format!("write {}", place.display())))
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|error| {
        let kind = if error.kind() == io::ErrorKind::NotFound { Kind::Missing } else { Kind::Io };
        Error::new(kind, format!("read {}", path.display())).because(error)
    })
}

impl PodDir {
    /// The pod's UUID.
    pub fn uuid(&self) -> Uuid {
        self.uuid
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn is_going(&self) -> bool {
        self.path.parent().and_then(Path::file_name).is_some_and(|name| name == "removing")
    }

    /// Writes one of the pod's files, whole or not at all.
    pub(crate) fn write(&self, part: Part, bytes: &[u8]) -> Result<(), Error> {
        publish(&self.path, part.name(), bytes)
    }

    /// Writes a file in one of the pod's directories, whole or not at all.
    pub(crate) fn write_in(&self, part: Part, name: &str, bytes: &[u8]) -> Result<(), Error> {
        publish(&self.place(part), name, bytes)
    }

    /// Takes one of the pod's files away, where it is there.
    pub(super) fn remove(&self, part: Part) -> Result<(), Error> {
        let place = self.place(part);
        match fs::remove_file(&place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(io_error(format!("remove {}", place.display()))(error))
            }
            _ => Ok(()),
        }
    }

    /// Writes one of the pod's files as JSON.
    pub fn write_json(&self, part: Part, value: &impl Serialize) -> Result<(), Error> {
        let bytes = serde_json::to_vec(value)
            .map_err(|error| Error::new(Kind::Io, format!("write {}", part.name())).because(error))?;
        self.write(part, &bytes)
    }

    /// Sees to it that one of the pod's files can be written at the end, though the disk be full by then: sets aside as much.
    ///
    /// # Errors
    /// There is no such room now.
    pub(crate) fn set_aside(&self, part: Part, bytes: usize) -> Result<(), Error> {
        let failed = io_error(format!("set room for {} aside", part.name()));
        fs::write(self.spare(part), vec![b' '; bytes]).map_err(failed)
    }

    fn spare(&self, part: Part) -> PathBuf {
        self.path.join(format!("{}.spare", part.name()))
    }

    /// Writes one of the pod's files as JSON, into what was set aside where there is no other room.
    ///
    /// # Errors
    /// That of the first attempt.
    pub(crate) fn write_json_somehow(&self, part: Part, value: &impl Serialize) -> Result<(), Error> {
        let Err(error) = self.write_json(part, value) else { return Ok(()) };
        #[cfg(target_os = "linux")]
        if self.write_into_spare(part, value).is_ok() {
            return Ok(());
        }
        Err(error)
    }

    /// Changes places with what was there, whose room is what is set aside from then on.
    #[cfg(target_os = "linux")]
    fn write_into_spare(&self, part: Part, value: &impl Serialize) -> io::Result<()> {
        let (spare, place) = (self.spare(part), self.place(part));
        use std::io::Write as _;
        let mut file = fs::OpenOptions::new().write(true).open(&spare)?;
        let bytes = serde_json::to_vec(value)?;
        file.write_all(&bytes)?;
        file.set_len(bytes.len() as u64)?;
        if place.exists() { whole::exchange(&spare, &place) } else { fs::rename(&spare, &place) }
    }

    /// Reads one of the pod's files.
    pub(crate) fn read(&self, part: Part) -> Result<Vec<u8>, Error> {
        read(&self.place(part))
    }

    /// Reads a file in one of the pod's directories.
    pub(crate) fn read_in(&self, part: Part, name: &str) -> Result<Vec<u8>, Error> {
        read(&self.place(part).join(name))
    }

    pub(super) fn read_text(&self, part: Part) -> Result<String, Error> {
        let corrupt = || Error::new(Kind::Corrupt, format!("read {}", self.place(part).display()));
        String::from_utf8(self.read(part)?).map_err(|error| corrupt().because(error))
    }

    /// Reads one of the pod's files as JSON.
    ///
    /// # Errors
    /// [`Kind::Missing`], [`Kind::Corrupt`], [`Kind::Io`].
    pub fn read_json<T: DeserializeOwned>(&self, part: Part) -> Result<T, Error> {
        let corrupt = || Error::new(Kind::Corrupt, format!("read {}", self.place(part).display()));
        serde_json::from_slice(&self.read(part)?).map_err(|error| corrupt().because(error))
    }

    /// Reads one of the pod's files as JSON that need not be there.
    ///
    /// # Errors
    /// [`Kind::Corrupt`], [`Kind::Io`]: what is there and does not read is not the same as nothing.
    pub fn read_json_if_there<T: DeserializeOwned>(&self, part: Part) -> Result<Option<T>, Error> {
        match self.read_json(part) {
            Err(error) if *error.kind() == Kind::Missing => Ok(None),
            read => read.map(Some),
        }
    }

    /// Makes a directory of the pod's.
    pub(crate) fn make_directory(&self, part: Part) -> Result<(), Error> {
        make_directory(&self.place(part))
    }

    /// Makes a directory in one of the pod's directories, and that one.
    pub(crate) fn make_in(&self, part: Part, name: &str) -> Result<(), Error> {
        make_directory(&self.place(part).join(name))
    }
}
