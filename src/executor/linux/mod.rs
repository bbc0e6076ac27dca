//! The Linux executor.
//!
//! ```text
//! supervisor (host)                    steps on the host, streams, statuses
//!   └─ the pod's first process         pid, mount, ipc, uts, net (and user) namespaces; reaps; starts apps
//!        └─ one process an app         own mount namespace, pivoted into its own rootfs; becomes the app's program
//! ```
//! The rootfs and everything in it is hostile: paths in it are resolved by openat2 within it, or name by name, and what is mounted and
//! where are descriptors.

mod bus;
mod carrier;
pub(crate) mod cni;
mod compile;
pub mod container;
pub mod delegation;
mod doctor;
pub(crate) mod doors;
pub(crate) mod enter;
mod facts;
pub(crate) mod filesystem;
mod groups;
mod host;
mod init;
pub(crate) mod inside;
pub mod isolators;
mod message;
mod network;
mod parameters;
mod pod;
mod ports;
mod process;
mod readiness;
pub mod steps;
pub mod systemd;
pub mod usage;
mod walk;

pub use compile::compile;
pub use doctor::diagnose;
pub use facts::HostFacts;
pub use host::LinuxHost;
pub use pod::LinuxPod;
pub(crate) use pod::end_pod_of;

/// Whether pods are connected to the network `default` here without root.
pub(crate) fn carries(cni: &super::plan::Cni) -> bool {
    carrier::find(cni.rootless).is_ok() && carrier::fits(cni.bridge.v4).is_ok()
}

/// What journals of pods on Linux begin with.
pub(crate) const NAME: &str = "linux";
