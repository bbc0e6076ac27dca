//! The FreeBSD executor.
//!
//! ```text
//! supervisor (host)                    datasets, mounts, devfs, epair, jail, rctl, pf: steps, each with its undo
//!   └─ one process an app              attaches to the pod's jail, chroots into its own rootfs, becomes the program
//!
//! <pod>/root/                          the jail's root
//!            <app>/rootfs/             the app's root: a clone of the image's sealed snapshot, or a copy without ZFS
//! <pod>/copies/<app>/rootfs/           a copy that the app sees read-only at its root
//! <pod>/volumes/<n>/                   empty volumes
//! ```
//! One jail a pod, so that its apps share processes, network, IPC and host name. [`compile()`] decides, purely; `host`
//! does what was decided on a [`System`]: the real one, or the model of [`crate::executor::model`]. All the system is
//! asked for stands in that trait; what a program is run for and what a system call is for is decided above it.
//!
//! The rootfs is hostile: nothing of it is opened or mounted on through a symbolic link, and after each mount the mount
//! table is asked whether it stands where it was meant to.

pub(crate) mod begin;
pub(crate) mod changed;
pub(crate) mod compile;
pub mod container;
mod context;
pub mod datasets;
mod doctor;
#[cfg(target_os = "freebsd")]
pub(crate) mod enter;
pub mod facts;
pub(crate) mod host;
mod jail;
#[cfg(target_os = "freebsd")]
mod launch;
#[cfg(target_os = "freebsd")]
mod programs;
#[cfg(target_os = "freebsd")]
mod real;
mod resources;
pub(crate) mod steps;
mod streams;
pub mod system;
pub mod usage;
pub(crate) mod variables;

/// What journals of pods on this system begin with.
#[cfg(target_os = "freebsd")]
pub(crate) const NAME: &str = "freebsd";

pub use compile::compile;
pub use context::Context;
pub use doctor::{ANCHORS, attempt, diagnose};
pub use facts::HostFacts;
pub use host::FreeBsd;
#[cfg(target_os = "freebsd")]
pub(crate) use jail::name_of as jail_name;
#[cfg(target_os = "freebsd")]
pub(crate) use launch::{answers, signal_all};
#[cfg(target_os = "freebsd")]
pub use real::Real;
pub use steps::Step;
pub use system::System;
