//! Linux: processes and namespaces, mounts by descriptor, the channel between a supervisor and its pod.

#![allow(unsafe_code)]

pub mod channel;
pub mod mount;
pub mod process;
pub mod program;
pub mod sender;
pub mod subordinate;
