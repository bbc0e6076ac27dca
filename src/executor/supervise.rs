//! The life of a running pod, on any system: apps start, end, are stopped; what they say is logged; the pod ends when
//! all its apps have (decision 43).
//!
//! ```text
//! app:  pre-start ──ok──▶ main ──any end──▶ post-stop ──▶ done
//!           └──failed──▶ done            (decision 42)
//! ```

use std::net::TcpListener;
use std::os::fd::{BorrowedFd, OwnedFd};

use super::plan::PodPlan;
use super::{Error, Host, Phase};
pub use crate::pod::status::End;

/// A host that can start a pod once its steps are applied.
pub trait Launch: Host {
    /// The pod, started.
    type Pod: Pod + 'static;

    /// Makes what the apps need to be started in. `streams` has the app's ends of the standard streams, one entry an
    /// app of the plan. The caller has one thread only.
    fn launch(&mut self, plan: &PodPlan, steps: &[Self::Step], streams: Vec<Streams>) -> Result<Self::Pod, Error>;
}

/// A running pod, as its supervisor sees it.
pub trait Pod {
    /// Waits until apps can be started. Gives what happened meanwhile.
    ///
    /// # Errors
    /// What could not be set up.
    fn prepare(&mut self) -> Result<Vec<Event>, Error>;

    /// The listening socket inside the pod's network for the metadata service, when the plan asks for one.
    fn metadata_listener(&mut self) -> Result<Option<TcpListener>, Error>;

    /// The near end of the pod's terminal, when an app's streams are one. Gives it once.
    fn terminal(&mut self) -> Option<OwnedFd> {
        None
    }

    /// Starts a process of an app. Whether it could be started comes as an event.
    fn start(&mut self, app: usize, phase: Phase, metadata_url: Option<&str>) -> Result<(), Error>;

    /// Sends a signal to the running process of an app. One that has ended already is no error.
    fn signal(&mut self, app: usize, signal: i32) -> Result<(), Error>;

    /// Ends what the processes of an app have left behind, before it is started again. Of a pod of several apps it cannot be told
    /// whose a process is: nothing is ended there.
    fn clear(&mut self, app: usize) -> Result<(), Error>;

    /// Ends every process of the pod, at once. Dropping the pod waits until they are gone.
    fn kill(&mut self);

    /// Readable when [`Pod::events`] has something to give.
    fn descriptor(&self) -> BorrowedFd<'_>;

    /// What has happened since the last call; never waits.
    fn events(&mut self) -> Result<Vec<Event>, Error>;
}

/// The app's ends of its standard streams.
#[derive(Debug)]
pub struct Streams {
    /// Standard input.
    pub stdin: OwnedFd,
    /// Standard output.
    pub stdout: OwnedFd,
    /// Standard error.
    pub stderr: OwnedFd,
    /// Whether the three are a terminal that the app's processes get as controlling terminal.
    pub terminal: bool,
}

/// Something that happened in a pod.
#[derive(Debug)]
pub enum Event {
    /// A process of an app is about to become its program.
    Started {
        /// Index of the app.
        app: usize,
        /// Which of its processes.
        phase: Phase,
        /// Its process id on the host.
        pid: i32,
    },
    /// A process of an app could not be started. An `Ended` follows.
    Failed {
        /// Index of the app.
        app: usize,
        /// Which of its processes.
        phase: Phase,
        /// Why.
        error: Error,
    },
    /// A process of an app has ended.
    Ended {
        /// Index of the app.
        app: usize,
        /// Which of its processes.
        phase: Phase,
        /// How.
        end: End,
    },
    /// The kernel killed the process of an app whose end comes next, as there was no more memory for it.
    OutOfMemory {
        /// Index of the app.
        app: usize,
    },
    /// An app says something about itself, as sd_notify(3) has it.
    Notified {
        /// Index of the app.
        app: usize,
        /// Lines `NAME=VALUE`.
        text: String,
    },
    /// Something to tell the user.
    Warning(String),
    /// Something failed that undoes nothing.
    Trouble(Error),
    /// The pod itself is no more.
    Gone,
}
