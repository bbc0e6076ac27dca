//! Tests of the library and its programs from outside: one program, a module a subject.
//!
//! Tests share a process and run beside each other, so none may change what all of it shares (working directory,
//! environment, umask, limits, signals) but to what every test is content with. A test that has to, starts a child.

#![forbid(unsafe_code)]

mod archives;
mod command_line;
mod delta;
mod discover;
#[cfg(target_os = "linux")]
mod documentation;
mod drafts;
mod fetch;
mod manifests;
mod metadata_service;
mod metadata_under_attack;
mod oci;
mod oci_runtime;
mod patch_manifest;
mod pods;
mod publish;
mod render;
mod resume;
mod rooms;
mod schemas;
mod signatures;
mod signify;
#[cfg(target_os = "linux")]
mod snapshots;
mod store;
mod streams;
mod support;
mod transport;
mod validate;
