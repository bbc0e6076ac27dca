//! The types of the specification.
//!
//! `generated.rs` is written from the JSON Schemas under `schema/` and never edited; the other files are behaviour on
//! those types. Past the front door there are no raw strings: a value of one of these types is well-formed.
//! Keys that the specification does not know are kept in `extra` and written back.

// The generator documents what the schemas describe and formats on its own.
#[allow(missing_docs, clippy::all)]
#[rustfmt::skip]
mod generated;
mod difference;
mod findings;
pub mod identifiers;
pub mod isolator;
pub mod json;
pub mod manifest;
pub mod patch;
pub mod quantity;
mod rules;
mod shape;
pub(crate) mod suggest;
pub mod tables;
mod text;
pub mod validate;
mod walk;

pub use difference::Difference;
pub use generated::error::ConversionError;
pub use generated::*;
pub use isolator::{Isolator, IsolatorValue};
pub use quantity::Quantity;
pub use suggest::nearest;
pub use text::{refusal, why_not};
pub use validate::{
    Compat, Kind, Options, Profile, Purpose, Report, image_manifest, image_manifest_and_findings, is_told_by_executor,
    pod_manifest, pod_manifest_and_findings, validate_manifest,
};
