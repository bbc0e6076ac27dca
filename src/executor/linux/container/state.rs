//! What is kept of a container, and what it is doing.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

use crate::executor::isolation::Report;
use crate::executor::linux::steps::Step;
use crate::executor::linux::{LinuxHost, NAME};
use crate::executor::{Error, Kind, journal};
use crate::oci::bundle::Config;

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
    /// Ticks after the host's start.
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
    /// Its control groups.
    pub groups: Vec<Group>,
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
    /// The process of this number, as long as it has not ended.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // Its name may hold anything but ends at the last parenthesis.
        let mut fields = stat.rsplit(')').next()?.split_ascii_whitespace();
        let state = fields.next()?;
        let at = fields.nth(18)?.parse().ok()?;
        (!["Z", "X", "x"].contains(&state)).then_some(Self { pid, at })
    }

    /// Whether it is still there.
    pub(crate) fn alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }
}

impl Root {
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
        let written = write(&container.directory.join("config.json"), &text).map_err(failed);
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
        write(&self.directory.join("state.json"), &text).map_err(failed)
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

    /// What hooks and `state` are told of it.
    pub fn shown(&self, status: Status) -> serde_json::Value {
        let annotations = self.config().map(|config| config.annotations).unwrap_or_default();
        state(&self.kept, status, self.kept.process.filter(|_| status != Status::Stopped), &annotations)
    }

    fn freezer(&self) -> Option<(&Group, &'static str)> {
        let of = |group: &Group| group.unified || group.controllers.iter().any(|name| name == "freezer");
        let group = self.kept.groups.iter().find(|group| of(group))?;
        Some((group, if group.unified { "cgroup.freeze" } else { "freezer.state" }))
    }

    fn frozen(&self) -> bool {
        let Some((group, file)) = self.freezer() else { return false };
        let state = fs::read_to_string(group.path.join(file)).unwrap_or_default();
        matches!(state.trim(), "FROZEN" | "FREEZING" | "1")
    }

    /// Makes all its processes stand still, or go on.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] without a group for that.
    pub fn freeze(&self, freeze: bool) -> Result<(), Error> {
        let doing = if freeze { "pause" } else { "resume" };
        let doing = || format!("{doing} the container {}", self.kept.id);
        let (group, file) = self
            .freezer()
            .ok_or_else(|| Error::new(Kind::Unsupported, doing()).because("it has no control group for that"))?;
        let failed = |error: io::Error| Error::new(Kind::Io, doing()).because(error);
        let (word, reached) = match (group.unified, freeze) {
            (true, true) => ("1", "frozen 1"),
            (true, false) => ("0", "frozen 0"),
            (false, true) => ("FROZEN", "FROZEN"),
            (false, false) => ("THAWED", "THAWED"),
        };
        let seen = group.path.join(if group.unified { "cgroup.events" } else { file });
        for _ in 0..1000 {
            fs::write(group.path.join(file), word).map_err(failed)?;
            let state = fs::read_to_string(&seen).map_err(failed)?;
            if state.lines().any(|line| line == reached) {
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        // What cannot be stopped whole is not left half stopped.
        if freeze {
            let _ = fs::write(group.path.join(file), if group.unified { "0" } else { "THAWED" });
        }
        Err(failed(io::Error::other("some process does not follow")))
    }

    /// The numbers of all its processes, those in groups below too.
    pub fn processes(&self) -> Vec<i32> {
        fn collect(path: &Path, all: &mut Vec<i32>) {
            let text = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
            all.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
            for entry in fs::read_dir(path).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    collect(&entry.path(), all);
                }
            }
        }
        let mut all = Vec::new();
        let last =
            |group: &&Group| group.unified || group.controllers.iter().any(|name| name == "pids" || name == "devices");
        match self.kept.groups.iter().find(last).or(self.kept.groups.first()) {
            Some(group) => collect(&group.path, &mut all),
            None => all.extend(self.kept.process.filter(|process| process.alive()).map(|process| process.pid)),
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Sends a signal to its process.
    ///
    /// # Errors
    /// [`Kind::Missing`]: it does not run.
    pub fn signal(&self, signal: i32) -> Result<(), Error> {
        let doing = || format!("signal the container {}", self.kept.id);
        let gone = || Error::new(Kind::Missing, doing()).because("container not running");
        let process = self.kept.process.filter(|process| process.alive()).ok_or_else(gone)?;
        send(process, signal).map_err(|error| match error.raw_os_error() {
            Some(libc::ESRCH) => gone(),
            _ => Error::new(Kind::Io, doing()).because(error),
        })
    }

    /// Sends a signal to all its processes.
    pub fn signal_all(&self, signal: i32) {
        for pid in self.processes() {
            if let Some(process) = Started::of(pid) {
                let _ = send(process, signal);
            }
        }
    }

    /// Takes back what was done to the host for it, and forgets it.
    ///
    /// # Errors
    /// What could not be taken back: it is still known then.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        let path = self.directory.join("journal");
        if path.exists() {
            let steps: Vec<Step> = journal::read(&path, NAME)?;
            journal::undo_all(&mut LinuxHost::default(), &steps)?;
        }
        crate::executor::remove_tree(&self.directory)
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

fn send(process: Started, signal: i32) -> io::Result<()> {
    let pid = Pid::from_raw(process.pid).ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
    let handle = pidfd_open(pid, PidfdFlags::empty())?;
    // Now that it can be no other's, whether it is the one that was meant.
    if !process.alive() {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    crate::sys::linux::process::send_signal(handle.as_fd(), signal)
}

/// Writes a file so that it is never seen half written.
///
/// # Errors
/// The system's.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let fresh = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let made = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&fresh);
    let done = made.and_then(|mut file| file.write_all(bytes)).and_then(|()| fs::rename(&fresh, path));
    if done.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    done
}
