//! Running pods.
//!
//! ```text
//! PodPlan ──compile (pure)──▶ [Step] + Report ──journal──▶ Host ──▶ running pod
//!   plan.rs      linux/ freebsd/     isolation.rs     journal.rs    supervise.rs drives the apps
//! ```
//! [`plan`] says what shall be true; an executor's `compile` makes steps of it without touching anything, and the
//! [`isolation`] report beside them. A [`Host`] applies and undoes steps: the real one, or a model of one. The
//! [`journal`] has every step before it is applied, so that whatever a killed supervisor left can be taken away.
//!
//! Clauses: pod.*, env.*, vol.*, net.*, iso.*, linux.*, log.*

use std::fmt::Debug;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub mod changed;
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
pub(crate) mod complaint;
pub mod consent;
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
pub mod container;
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
pub mod copy;
pub(crate) mod decided;
pub mod finding;
pub mod freebsd;
pub mod host_name;
pub mod inputs;
pub mod isolation;
pub mod journal;
pub mod level;
pub mod lifecycle;
#[cfg(target_os = "linux")]
pub mod linux;
pub(crate) mod listening;
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
pub mod local;
pub mod logs;
pub mod model;
pub mod plan;
pub mod planning;
pub mod relay;
pub mod supervise;
pub mod users;

use crate::error::Failure;

/// What goes wrong with a pod.
pub type Error = Failure<Kind>;

/// Kinds of errors of an executor.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The plan cannot hold on this host, or contradicts itself: nothing was done.
    Refused,
    /// The host does not have what is needed (namespaces, a kernel module, a program).
    Unsupported,
    /// Something that the plan names is not there: a volume's source, a working directory, a user.
    Missing,
    /// Something is there already, or in use.
    Busy,
    /// The app's program was not found (exit code 127).
    NoProgram,
    /// The app's program cannot be executed (exit code 126).
    NotExecutable,
    /// What was found on disk is not what this executor wrote.
    Corrupt,
    /// The system refused.
    Io,
    /// A step failed, and undoing what was done failed too.
    Undo,
    /// A fault was injected by a test.
    Injected,
    /// The supervisor was stopped by a test: nothing was undone.
    Interrupted,
}

/// One change of a host, as data. A step does one thing.
pub trait Step: Clone + Debug + Serialize + DeserializeOwned {
    /// What it does, in words that read on after "failed to": `create the directory /x`.
    fn describe(&self) -> String;

    /// Whether what it made stays when the apps have ended, until the pod is removed: what they wrote and said.
    fn outlives_apps(&self) -> bool {
        false
    }

    /// Whether there is nothing of it on the host to be taken back: it only looks, or ends with the pod's processes.
    fn leaves_nothing(&self) -> bool {
        false
    }

    /// Whether what it made is the pod's: to undo anything else would be to take from others.
    fn belongs(&self, pod: &crate::pod::Bounds) -> bool;

    /// Whether a process of the pod does it, once the host has done its own.
    fn done_inside(&self) -> bool {
        false
    }
}

/// Where steps are carried out: a real system, or a model of one that refuses what the real one refuses.
pub trait Host {
    /// The steps it knows.
    type Step: Step;

    /// Does what `step` says.
    ///
    /// # Errors
    /// The system's refusal, with [`Step::describe`] as what was being done.
    fn apply(&mut self, step: &Self::Step) -> Result<(), Error>;

    /// Takes back what `step` did. Succeeds when it was never done, half done, or taken back already.
    fn undo(&mut self, step: &Self::Step) -> Result<(), Error>;
}

/// What `compile` gives: steps for a host, and what they hold and do not hold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compiled<S> {
    /// The steps, in the order of their application.
    pub steps: Vec<S>,
    /// What is enforced, modified and ignored.
    pub report: isolation::Report,
}

/// Which of an app's processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The pre-start handler.
    PreStart,
    /// The main process.
    Main,
    /// The post-stop handler.
    PostStop,
}

/// Removes the tree at `path`, which belongs to a pod, without following any link and whatever its modes; one that is not
/// there is removed already.
///
/// # Errors
/// [`Kind::Io`], naming the path.
pub fn remove_tree(path: &Path) -> Result<(), Error> {
    crate::store::remove_tree(path)
        .map_err(|error| Error::new(Kind::Io, format!("remove {}", path.display())).because(error))
}
