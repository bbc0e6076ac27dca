//! Linux: processes and namespaces, mounts by descriptor, the channel between a supervisor and its pod.

#![allow(unsafe_code)]

pub(crate) mod bpf;
pub mod channel;
pub(crate) mod mount;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod sender;
pub(crate) mod subordinate;
