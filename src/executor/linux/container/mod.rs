//! Containers of OCI bundles: what `jetpack-oci` makes, starts and removes.
//!
//! ```text
//!  config.json ──compile (pure)──▶ [Step] + Report ──journal──▶ host: groups
//!                                       │
//!  create ──▶ stage, which joins others' namespaces ──▶ the container's process, in new ones: mounts, identity, waits
//!  start  ──────────────────────────────────────────────▶ says so by the socket `start`; the process becomes its program
//!
//! <root>/<id>/config.json    as it was when the container was made
//!             state.json     its process, by number and start time; its groups
//!             journal        what was done to the host, as of a pod
//!             start          the socket by which the process is told to go on; gone once it has been
//! ```
//! The steps are those of pods and some more; there is no supervisor and no process of ours inside: the container's process is the child of
//! whoever called, as an engine's monitor wants to wait for it. What it is doing is derived: a process that is there no longer has
//! stopped, one with its socket is created, any other runs.
//!
//! Whoever wrote the configuration is trusted with the host, as is who may call at all. The root file system is not.
//!
//! Rules of ours: `x.oci.runtime`.

pub mod compile;
pub(crate) mod devices;
pub mod enter;
mod filesystem;
pub mod groups;
pub(crate) mod hooks;
pub mod launch;
pub mod mounts;
pub(crate) mod process;
pub mod profile;
pub mod state;
pub mod stats;
