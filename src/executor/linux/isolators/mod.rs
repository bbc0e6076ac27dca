//! What isolates an app on Linux, computed: capability sets, system call filters, control group settings.
//!
//! Nothing here touches the host; the steps that do are compiled from what these modules give.

pub(super) mod bpf;
pub mod capabilities;
pub mod cgroup;
pub(crate) mod default_calls;
mod errno;
pub(super) mod outcome;
pub(crate) mod seccomp;
mod seccomp_sets;
