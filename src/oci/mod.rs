//! OCI and Docker images, in and out.
//!
//! ```text
//!  layout, `docker save` archive, registry -> source: manifest, configuration, blobs by digest
//!     layers, each read once: digest, size, names -> merge (pure) -> what is to be written, entry by entry
//!     configuration -> config (pure) -> image manifest, and annotations that keep what it has no place for
//!        -> read again: entries copied into one ACI (squashed) or one a layer
//!  ACIs with what they depend on -> restore (pure): configuration, layers -> export: layout or `docker save` archive
//! ```
//! Nothing is unpacked on the way: layers are tar streams and so are ACIs, so entries are copied from one to the other with all that
//! they say, by whoever runs this. A layer is read twice, once for its names and its digests and once for its contents.
//!
//! Invariants: nothing of a blob is believed before its digest and size were those that were promised, and both are looked at each time
//! that it is read; an image appears whole, by rename, or not at all; memory holds names, never contents, and is bounded by
//! the limits below; names lead nowhere but below the root.
//!
//! Limits: manifests and configurations of 4 MiB, `MAX_LAYERS` layers, 2 million files and directories, 256 MiB of names
//! and what directories are like, 16 GiB a layer when decompressed.
//!
//! Rules of ours: `x.oci.*`.

pub mod bundle;
mod config;
mod digest;
mod emit;
mod export;
mod format;
mod import;
mod layer;
mod layout;
mod merge;
mod publish;
#[cfg(feature = "net")]
pub mod registry;
mod restore;
mod source;
mod tarball;
mod users;

use crate::error::Failure;

pub use config::{Converted, PREFIX, REFERENCE, STOP_SIGNAL};
pub use digest::Digest;
pub use export::{ExportOptions, Open, Part, Staged, stage};
pub use format::{Platform, host_platforms};
pub use import::{Conversion, Form, ImportOptions, Written, identifier};
pub use layout::{into_archive, into_layout, tag_of};
pub use publish::{private_directory, write_directory, write_file};
pub use source::{Blob, Layers, Pick, Source};

/// Layers of one image that are accepted; Docker itself knows 127.
pub(crate) const MAX_LAYERS: usize = 512;

/// Errors of this module. Those with a clause id are the image's fault.
pub type Error = Failure<Kind>;

/// Result with this module's [`Error`].
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of error it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The image breaks a rule; it is given.
    Invalid,
    /// A blob is not what its digest says.
    Corrupt,
    /// The image passes a limit.
    TooBig,
    /// Something that is not done here, such as a layer that is to be had elsewhere.
    Unsupported,
    /// There is no such image, or a part of it is missing.
    Missing,
    /// What shall be made is there already.
    Exists,
    /// The host or the arguments do not allow it.
    Refused,
    /// Reading or writing failed.
    Io,
}

/// An archive's error as one of this module.
fn archive(error: crate::aci::Error) -> Error {
    use crate::aci::Kind as Archive;
    let kind = match error.kind() {
        Archive::Invalid => Kind::Invalid,
        Archive::TooBig => Kind::TooBig,
        Archive::Exists => Kind::Exists,
        Archive::Refused => Kind::Refused,
        Archive::Encrypted | Archive::Unsupported => Kind::Unsupported,
        Archive::Io => Kind::Io,
    };
    error.of_kind(kind)
}
