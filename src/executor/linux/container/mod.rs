//! Containers of OCI bundles on Linux.
//!
//! ```text
//!  config.json ──compile (pure)──▶ [Step] + Report ──journal──▶ host: groups
//!                                       │
//!  create ──▶ stage, which joins others' namespaces ──▶ the container's process, in new ones: mounts, identity, waits
//!  start  ──────────────────────────────────────────────▶ says so by the socket `start`; the process becomes its program
//! ```

pub mod compile;
pub(crate) mod devices;
pub mod enter;
mod features;
mod filesystem;
pub mod groups;
pub mod launch;
pub mod mounts;
pub(crate) mod process;
pub mod profile;
mod running;
pub mod stats;

pub use features::features;
pub use groups::update;
