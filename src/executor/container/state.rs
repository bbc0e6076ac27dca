//! What is kept of a container, and what it is doing.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Entry;
use crate::executor::isolation::Report;
use crate::executor::{Error, Host, Kind, journal};
use crate::oci::bundle::{Config, Process};
use crate::store::ground;
use crate::whole::{self, Durability};

/// Where containers are kept.
#[derive(Clone, Debug)]
pub struct Root(pub PathBuf);

/// What a container is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is being made.
    Creating,
    /// It waits to be started.
    Created,
    /// Its program runs.
    Running,
    /// It runs, and was made to stand still.
    Paused,
    /// Its process has ended.
    Stopped,
}

impl Status {
    /// Its name in the specification.
    pub fn word(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

/// A process, by its number and when it was started, which no other has both of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Its number on the host.
    pub pid: i32,
    /// When, as the kernel counts it: on Linux ticks after the host's start, on FreeBSD microseconds since 1970.
    pub at: u64,
}

/// A control group of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its directory.
    pub path: PathBuf,
    /// Whether it is in the unified tree.
    pub unified: bool,
    /// The controllers of its tree.
    pub controllers: Vec<String>,
    /// Whether systemd has it as a scope, and is to know of its bounds.
    #[serde(default)]
    pub scope: bool,
}

/// What is kept of a container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kept {
    /// Its name.
    pub id: String,
    /// The version that its configuration is of.
    pub(crate) oci_version: String,
    /// Its bundle's directory.
    pub bundle: PathBuf,
    /// Its root file system on the host.
    pub rootfs: PathBuf,
    /// When it was made.
    pub created: String,
    /// Who made it.
    pub owner: u32,
    /// Who makes it.
    pub maker: Started,
    /// Its process, once there is one.
    pub process: Option<Started>,
    /// Its control groups, on Linux.
    #[serde(default)]
    pub groups: Vec<Group>,
    /// Its jail, on FreeBSD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jail: Option<String>,
    /// What holds and what does not.
    pub report: Report,
}

/// A container on disk.
#[derive(Clone, Debug)]
pub struct Container {
    directory: PathBuf,
    /// What is kept of it.
    pub kept: Kept,
}

impl Started {
    /// Whether it is still there.
    pub(crate) fn alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }
}

impl Root {
    /// Looks whether nobody else can write to it: what is in it is undone, by root of the host too.
    ///
    /// # Errors
    /// [`Kind::Refused`]: somebody can.
    pub fn look(&self) -> Result<(), Error> {
        ground::check(&self.0)
            .map_err(|error| Error::new(Kind::Refused, "find the containers").because(crate::error::chain(&error)))
    }

    /// Where the container's files are.
    ///
    /// # Errors
    /// [`Kind::Refused`]: it is no name.
    pub fn place(&self, id: &str) -> Result<PathBuf, Error> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
        if id.is_empty() || id.len() > 1024 || id == "." || id == ".." || !id.chars().all(plain) {
            return Err(Error::new(Kind::Refused, format!("use {} as a container's id", id.escape_debug()))
                .because("invalid container ID format: it is letters, digits and `_+-.`"));
        }
        Ok(self.0.join(id))
    }

    /// The container called `id`.
    ///
    /// # Errors
    /// [`Kind::Missing`]; [`Kind::Corrupt`].
    pub fn open(&self, id: &str) -> Result<Container, Error> {
        let directory = self.place(id)?;
        let doing = || format!("find the container {id}");
        let text = fs::read(directory.join("state.json")).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::new(Kind::Missing, doing()).because("container does not exist"),
            _ => Error::new(Kind::Io, doing()).because(error),
        })?;
        let kept = serde_json::from_slice(&text).map_err(|error| Error::new(Kind::Corrupt, doing()).because(error))?;
        Ok(Container { directory, kept })
    }

    /// All containers, by name; those that are not what they should be are passed over.
    ///
    /// # Errors
    /// The system's.
    pub fn all(&self) -> Result<Vec<Container>, Error> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::new(Kind::Io, "list the containers").because(error)),
        };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut all: Vec<Container> = names.filter_map(|name| self.open(&name).ok()).collect();
        all.sort_by(|one, other| one.kept.id.cmp(&other.kept.id));
        Ok(all)
    }
}

impl Container {
    /// Makes the directory of a new one, whose name nobody else has then.
    ///
    /// # Errors
    /// [`Kind::Busy`]: there is one of that name.
    pub(crate) fn make(root: &Root, kept: Kept, config: &Config) -> Result<Self, Error> {
        let (directory, id) = (root.place(&kept.id)?, kept.id.clone());
        let doing = || format!("make the container {id}");
        let failed = |error: io::Error| Error::new(Kind::Io, doing()).because(error);
        fs::DirBuilder::new().recursive(true).mode(0o711).create(&root.0).map_err(failed)?;
        fs::DirBuilder::new().mode(0o700).create(&directory).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                Error::new(Kind::Busy, doing()).because(format!("container with id exists already: {id}"))
            }
            _ => failed(error),
        })?;
        let container = Self { directory, kept };
        let text = serde_json::to_vec(config).map_err(|error| failed(error.into()))?;
        let written =
            whole::replace(&container.directory.join("config.json"), 0o600, &text, Durability::Usual).map_err(failed);
        if let Err(error) = written.and_then(|()| container.save()) {
            let _ = crate::executor::remove_tree(&container.directory);
            return Err(error);
        }
        Ok(container)
    }

    /// Its directory.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where its process waits to be told to go on.
    pub(crate) fn door(&self) -> PathBuf {
        self.directory.join("start")
    }

    /// Writes down what is kept.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn save(&self) -> Result<(), Error> {
        let failed =
            |error: io::Error| Error::new(Kind::Io, format!("keep the container {}", self.kept.id)).because(error);
        let text = serde_json::to_vec(&self.kept).map_err(|error| failed(error.into()))?;
        whole::replace(&self.directory.join("state.json"), 0o600, &text, Durability::Usual).map_err(failed)
    }

    /// Its configuration, as it was when it was made.
    ///
    /// # Errors
    /// [`Kind::Corrupt`].
    pub fn config(&self) -> Result<Config, Error> {
        let doing = || format!("read the configuration of container {}", self.kept.id);
        let text = fs::read(self.directory.join("config.json"))
            .map_err(|error| Error::new(Kind::Corrupt, doing()).because(error))?;
        serde_json::from_slice(&text).map_err(|error| Error::new(Kind::Corrupt, doing()).because(error))
    }

    /// What it is doing.
    pub fn status(&self) -> Status {
        match self.kept.process {
            None if self.kept.maker.alive() => Status::Creating,
            None => Status::Stopped,
            Some(process) if !process.alive() => Status::Stopped,
            Some(_) if self.door().exists() => Status::Created,
            Some(_) if self.frozen() => Status::Paused,
            Some(_) => Status::Running,
        }
    }

    /// Looks whether it waits to be started.
    ///
    /// # Errors
    /// [`Kind::Refused`]: it does not.
    pub(crate) fn waits(&self) -> Result<(), Error> {
        match self.status() {
            Status::Created => Ok(()),
            status => Err(Error::new(Kind::Refused, format!("start the container {}", self.kept.id))
                .because(format!("cannot start a container in the {} state", status.word()))),
        }
    }

    /// Looks whether a further process can be made in it.
    ///
    /// # Errors
    /// [`Kind::Refused`]: it cannot.
    pub(crate) fn can_be_entered(&self, process: &Process, entry: &Entry) -> Result<(), Error> {
        let refused = |why: String| {
            Error::new(Kind::Refused, format!("execute a process in the container {}", self.kept.id)).because(why)
        };
        match self.status() {
            Status::Running | Status::Created => {}
            Status::Paused if entry.though_paused => {}
            Status::Paused => return Err(refused("cannot exec in a paused container".to_owned())),
            status => {
                return Err(refused(format!("cannot exec in a {} container: container not running", status.word())));
            }
        }
        process.look().map_err(refused)?;
        if process.terminal != entry.console.is_some() {
            return Err(refused("a terminal takes a console socket, and nothing else does".to_owned()));
        }
        Ok(())
    }

    /// Takes back by `host` what was done for it, and forgets it. With `salvage` what can be read of a damaged journal is enough; what
    /// cannot is given.
    ///
    /// # Errors
    /// What could not be taken back: it is still known then.
    pub(crate) fn remove_by<H: Host>(&self, host: &mut H, executor: &str, salvage: bool) -> Result<Vec<Error>, Error> {
        let path = self.directory.join("journal");
        let mut lost = Vec::new();
        if path.exists() {
            let (steps, why) = journal::read_somehow(&path, executor, salvage)?;
            lost.extend(why);
            journal::undo_all(host, &steps)?;
        }
        crate::executor::remove_tree(&self.directory)?;
        Ok(lost)
    }

    /// What hooks and `state` are told of it.
    pub fn shown(&self, status: Status) -> serde_json::Value {
        let annotations = self.config().map(|config| config.annotations).unwrap_or_default();
        state(&self.kept, status, self.kept.process.filter(|_| status != Status::Stopped), &annotations)
    }

    /// Sends a signal to its process.
    ///
    /// # Errors
    /// [`Kind::Missing`]: it does not run.
    pub fn signal(&self, signal: i32) -> Result<(), Error> {
        let doing = || format!("signal the container {}", self.kept.id);
        let gone = || Error::new(Kind::Missing, doing()).because("container not running");
        let process = self.kept.process.filter(|process| process.alive()).ok_or_else(gone)?;
        process.send(signal).map_err(|error| match error.raw_os_error() {
            Some(libc::ESRCH) => gone(),
            _ => Error::new(Kind::Io, doing()).because(error),
        })
    }
}

impl Kept {
    /// Who made it, by name where that is known without asking.
    pub fn owner_name(&self) -> String {
        if self.owner == 0 { "root".to_owned() } else { self.owner.to_string() }
    }
}

/// What hooks and `state` are told of a container.
pub(crate) fn state(
    kept: &Kept,
    status: Status,
    process: Option<Started>,
    annotations: &BTreeMap<String, String>,
) -> serde_json::Value {
    serde_json::json!({
        "ociVersion": kept.oci_version,
        "id": kept.id,
        "status": status,
        "pid": process.map_or(0, |process| process.pid),
        "bundle": kept.bundle,
        "rootfs": kept.rootfs,
        "created": kept.created,
        "owner": kept.owner_name(),
        "annotations": annotations,
    })
}
