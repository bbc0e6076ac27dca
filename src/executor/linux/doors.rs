//! The way into a running pod: the namespaces that its first process made, which the supervisor keeps open, and who the processes of
//! its apps are.
//!
//! ```text
//! <pod>/doors     JSON: the supervisor's descriptors of the namespaces, each app's ids
//! ```
//! A process of an app chooses what namespaces it is in by now, and what stands there at `/etc/passwd`: whoever enters the pod beside
//! it goes by what was made at the start instead.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::steps::Namespace;
use crate::executor::users::Identity;
use crate::pod::PodDir;
use crate::sys::linux::process::{self as sys, namespace};

/// The name of the file in the pod's directory.
const FILE: &str = "doors";

#[derive(Debug, Default, Serialize, Deserialize)]
struct Doors {
    /// Those that all apps share, that of the users first.
    shared: Vec<(Namespace, RawFd)>,
    /// One entry an app.
    apps: Vec<Door>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Door {
    mount: RawFd,
    identity: Option<Identity>,
}

/// What the supervisor keeps open.
#[derive(Debug)]
pub struct Kept {
    directory: PathBuf,
    doors: Doors,
    open: Vec<OwnedFd>,
}

impl Kept {
    /// Nothing yet, of the pod in this directory.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), doors: Doors::default(), open: Vec::new() }
    }

    /// The namespaces that the apps share.
    pub fn share(&mut self, kinds: Vec<Namespace>, open: Vec<OwnedFd>) {
        self.doors.shared = kinds.into_iter().zip(open.iter().map(AsRawFd::as_raw_fd)).collect();
        self.open.extend(open);
    }

    /// The mount namespace of the next app, and who its processes are.
    ///
    /// # Errors
    /// It did not come.
    pub fn add(&mut self, open: Vec<OwnedFd>, identity: Option<Identity>) -> io::Result<()> {
        let mount = open.into_iter().next().ok_or(io::ErrorKind::UnexpectedEof)?;
        self.doors.apps.push(Door { mount: mount.as_raw_fd(), identity });
        self.open.push(mount);
        Ok(())
    }

    /// Tells where to find them.
    ///
    /// # Errors
    /// The system's.
    pub fn tell(&self) -> io::Result<()> {
        let fresh = self.directory.join(format!("{FILE}.new"));
        fs::write(&fresh, serde_json::to_vec(&self.doors)?)?;
        fs::rename(fresh, self.directory.join(FILE))
    }

    /// Lets go of them: the pod ends, and its first process is to be the last that is in them.
    pub fn close(&mut self) {
        self.open.clear();
    }
}

/// The way to one app.
#[derive(Debug)]
pub struct Way {
    shared: Vec<(Namespace, OwnedFd)>,
    mount: OwnedFd,
    /// Who the app's processes are; nothing where it could not be told, and none of them runs.
    pub identity: Option<Identity>,
}

impl Way {
    /// To app number `app` of a pod that runs.
    ///
    /// # Errors
    /// The system's; the pod has ended meanwhile.
    pub fn open(pod: &PodDir, app: usize) -> io::Result<Self> {
        let gone = || io::Error::new(io::ErrorKind::NotFound, "the pod has ended");
        let supervisor = pod.supervisor().ok_or_else(gone)?;
        let mut doors: Doors = serde_json::from_slice(&pod.read(FILE).map_err(io::Error::other)?)?;
        if app >= doors.apps.len() {
            return Err(gone());
        }
        let Door { mount, identity } = doors.apps.swap_remove(app);
        let open = |number: RawFd| {
            let path = format!("/proc/{supervisor}/fd/{number}");
            Ok::<_, io::Error>(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
        };
        let shared = doors.shared.into_iter().map(|(kind, number)| Ok((kind, open(number)?)));
        let way = Self { shared: shared.collect::<io::Result<_>>()?, mount: open(mount)?, identity };
        // Had the supervisor gone before, its number could mean another process.
        if pod.supervisor() == Some(supervisor) { Ok(way) } else { Err(gone()) }
    }

    /// Takes the calling process to where the app was started; its children too as to processes.
    ///
    /// # Errors
    /// The system's.
    pub fn enter(&self) -> io::Result<()> {
        self.enter_those(|_| true)
    }

    /// Takes it no further than to the app's files, with the ids that they have there.
    ///
    /// # Errors
    /// The system's.
    pub fn enter_files(&self) -> io::Result<()> {
        self.enter_those(|kind| kind == Namespace::User)
    }

    fn enter_those(&self, wanted: impl Fn(Namespace) -> bool) -> io::Result<()> {
        for (kind, open) in self.shared.iter().filter(|(kind, _)| wanted(*kind)) {
            // The kernel looks that it is one of this kind.
            sys::enter(open.as_fd(), kind.bit())?;
        }
        sys::enter(self.mount.as_fd(), namespace::MOUNT)
    }
}
