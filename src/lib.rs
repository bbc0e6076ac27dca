//! The App Container Specification (appc 0.8.11): types, validator, discovery, store, executors.
//!
//! ```text
//!  name -> discovery -> transport -> trust -> aci -> store -> render -> rootfs
//!  pod manifest -> pod::reify -> executor: plan -> compile -> steps -> running pod
//! ```
//! Each arrow is one module with one way in. A later module calls an earlier one; never back: of these rooms each uses
//! only those before it, and the programs use them all (`tests/rooms.rs`).
//! ```text
//!  diagnostic error spec id schema sys whole aci chunks discovery validate transport trust site store render stream layer oci
//!  metadata pod executor config fetch
//! ```
//!
//! Beside it, a crate of its own: `appc-codec` (`src/codec`), the inner loops of DEFLATE and SHA-512.
//!
//! Without features: types, rules, archive reading, discovery logic; pure and safe Rust, no I/O of its own.
//! `net` adds transport and trust, `run` everything that touches a host, `cli` the binaries.

#![cfg_attr(not(feature = "run"), forbid(unsafe_code))]
#![allow(rustdoc::private_intra_doc_links)] // the documentation of modules is for who changes them, too

/// The version of the specification that this crate follows.
pub const SPEC_VERSION: &str = "0.8.11";

pub mod aci;
#[cfg(all(feature = "net", feature = "run", unix))]
pub mod chunks;
#[cfg(all(feature = "run", unix))]
pub mod config;
pub mod diagnostic;
pub mod discovery;
pub mod error;
#[cfg(all(feature = "run", unix))]
pub mod executor;
#[cfg(all(feature = "net", feature = "run", unix))]
pub mod fetch;
pub mod id;
#[cfg(all(feature = "run", unix))]
pub mod layer;
#[cfg(all(feature = "run", unix))]
pub mod metadata;
#[cfg(all(feature = "run", unix))]
pub mod oci;
#[cfg(all(feature = "run", unix))]
pub mod pod;
#[cfg(all(feature = "run", unix))]
pub mod render;
pub mod schema;
#[cfg(all(feature = "net", feature = "run", unix))]
pub mod site;
pub mod spec;
#[cfg(all(feature = "run", unix))]
pub mod store;
#[cfg(all(feature = "run", unix))]
pub mod stream;
#[cfg(all(feature = "run", unix))]
pub mod sys;
#[cfg(feature = "net")]
pub mod transport;
#[cfg(feature = "net")]
pub mod trust;
pub mod validate;
#[cfg(any(feature = "net", all(feature = "run", unix)))]
pub mod whole;
