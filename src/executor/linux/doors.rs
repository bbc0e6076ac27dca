//! The way into a running pod: the namespaces as the pod's first process made them, and who the processes of its apps are.
//!
//! ```text
//! <pod>/door-0    a socket for each app, by number: whoever connects is sent all that, as JSON with the descriptors
//! ```
//! A process of an app chooses what namespaces it is in by now, and what stands there at `/etc/passwd`: whoever enters the pod beside
//! it goes by what was made at the start instead. The pod's directory is open to its owner alone, and to no process of the pod.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen, socket_with,
};
use serde::{Deserialize, Serialize};

use super::steps::Namespace;
use crate::executor::users::Identity;
use crate::pod::PodDir;
use crate::sys::linux::channel::Channel;
use crate::sys::linux::process::{self as sys, namespace};

/// How long the pod's first process, which does nothing that takes time, may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is told of an app beside descriptors: those of the namespaces in this order, that of its mounts last.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    /// Those that all apps share, that of the users first.
    shared: Vec<Namespace>,
    identity: Option<Identity>,
}

/// The way to an app, as the pod's first process keeps it.
#[derive(Debug)]
pub struct Door {
    listener: OwnedFd,
}

impl Door {
    /// To app number `app` of the pod in this directory.
    ///
    /// # Errors
    /// The system's.
    pub fn new(directory: &Path, app: usize) -> io::Result<Self> {
        let listener = socket()?;
        let directory = place(directory)?;
        let address = address(&directory, app)?;
        match rustix::fs::unlinkat(&directory, name(app), rustix::fs::AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        bind(&listener, &address)?;
        listen(&listener, 16)?;
        rustix::io::ioctl_fionbio(&listener, true)?;
        Ok(Self { listener })
    }

    /// Shows the way to whoever waits for it.
    pub fn show(&self, shared: &[(Namespace, OwnedFd)], mount: &OwnedFd, identity: Option<&Identity>) {
        let told = Told { shared: shared.iter().map(|(kind, _)| *kind).collect(), identity: identity.cloned() };
        let Ok(told) = serde_json::to_vec(&told) else { return };
        let descriptors: Vec<_> = shared.iter().map(|(_, open)| open.as_fd()).chain([mount.as_fd()]).collect();
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        while let Ok(visitor) = accept_with(&self.listener, flags) {
            // One who does not wait for the answer has gone.
            let _ = Channel::from(visitor).send(&told, &descriptors);
        }
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

fn name(app: usize) -> String {
    format!("door-{app}")
}

fn place(directory: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// By a descriptor, as addresses have room for short paths only.
fn address(directory: &OwnedFd, app: usize) -> io::Result<SocketAddrUnix> {
    Ok(SocketAddrUnix::new(format!("/proc/self/fd/{}/{}", directory.as_raw_fd(), name(app)))?)
}

fn socket() -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
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
    /// The system's; [`io::ErrorKind::NotFound`] when the pod has ended meanwhile.
    pub fn open(pod: &PodDir, app: usize) -> io::Result<Self> {
        let gone = || io::Error::new(io::ErrorKind::NotFound, "the pod has ended");
        let to = socket()?;
        set_socket_timeout(&to, Timeout::Recv, Some(PATIENCE))?;
        let directory = place(pod.path())?;
        match connect(&to, &address(&directory, app)?) {
            Ok(()) => {}
            Err(rustix::io::Errno::CONNREFUSED | rustix::io::Errno::NOENT) => return Err(gone()),
            Err(error) => return Err(error.into()),
        }
        let mut message = Channel::from(to).receive(true)?.ok_or_else(gone)?;
        let told: Told = serde_json::from_slice(&message.bytes)?;
        let mount = message.descriptors.pop().filter(|_| message.descriptors.len() == told.shared.len());
        let mount = mount.ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { shared: told.shared.into_iter().zip(message.descriptors).collect(), mount, identity: told.identity })
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
