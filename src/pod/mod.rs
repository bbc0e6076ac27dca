//! Pods: from a template to a manifest that says everything, and the directory that is a pod on disk.
//!
//! ```text
//! <root>/pods/<uuid>/    lock        held by the pod's supervisor as long as it lives; its process id is in it
//!                        manifest    the reified pod manifest, as the metadata service shows it
//!                        images/APP  each app's image manifest, byte for byte
//!                        plan        what shall be true (executor::plan)
//!                        report      what is enforced, modified, ignored (executor::isolation)
//!                        journal     every step applied (executor::journal)
//!                        name        what it is called, where it has a name
//!                        configured  what of the configuration it was made with
//!                        grace       seconds that its apps may take to end, where `stop` told
//!                        input       where whoever attaches hands over what apps read, when nobody waits for its end
//!                        window      the size of the window that its terminal is seen in then
//!                        paused      there while its processes are held
//!                        door-N      on Linux: the way into app N as long as it runs (executor::linux::doors)
//!                        networks    what CNI plugins answered
//!                        model       on a model of a host: where that is
//!                        begun       there when the pod was started by what prepared it
//!                        status      how the apps are and how they ended; where the metadata service is
//!                        status.spare  room for it on a full disk
//!                        logs/APP    what the apps said
//!                        network     on Linux: the pod's network namespace, where one has to have a place
//!                        apps/       on Linux: writable layers
//!                        root/ copies/    on FreeBSD: the root of its jail; trees of apps where nothing can lie over an image's
//!                        volumes/    empty volumes
//!                        export/     what an app's image is built of when it is exported
//!                        inputs/     what a command that builds an image has copied for it
//! <root>/pods/making/    pods that do not have their names yet: whose maker holds no lock on it is gone
//! <root>/pods/removing/  pods that go
//! <root>/names/<name>    the UUID of the living pod of that name
//! ```
//! Invariants: a state is derived from what is there and from the lock, never stored; a pod's directory without its lock
//! held belongs to whoever takes the lock.
//! Clauses: pod.*, pm.*

mod bounds;
mod directory;
pub mod events;
mod hand;
mod input;
pub mod names;
mod part;
mod pods;
pub(crate) mod reify;
mod state;
pub mod status;
mod uses;

pub use bounds::Bounds;
pub use directory::PodDir;
pub use part::Part;
pub use pods::Pods;
pub use reify::{ResolvedImage, reify};
pub use state::State;

/// What goes wrong with pods on their way to being run.
pub type Error = crate::error::Failure<Kind>;

/// Kinds of errors.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The manifest cannot be run as it is.
    Invalid,
    /// There is no such pod, or no such image.
    Missing,
    /// The name is taken, the pod still runs, or more than one pod is meant.
    Busy,
    /// A pod's files are not what they should be.
    Corrupt,
    /// The system refused.
    Io,
}
