//! From a name, a URL or a file to an image in the store: discovery, transport, trust and import in one pass.
//!
//! ```text
//! name -> discovery -> endpoints, in order -> signature -> keys trusted for the name?
//!                                          -> image: network -> signature's hash -> store (decompress, hash, check,
//!                                             extract) -> signature holds? name and labels as asked? -> published
//! ```
//! Invariants: nothing is published that was not checked to its last byte; a signature is wanted of all that comes over
//! a network unless the operator switched that off; an endpoint that does not deliver image and signature leads to the
//! next, one that delivers something wrong ends the fetch. What a server says is unchanged is not transferred again, and of an image
//! with a map of its chunks ([`crate::chunks`]) only those that archives of the store lack: what comes of both is checked as if it
//! had come over the network.
//!
//! Images of registries (`docker://`) come another way: the registry says which manifest a name is, its layers are converted as they
//! come ([`crate::oci`]) and imported through a pipe; which image a digest gave is remembered.
//!
//! Clauses: disc.match, disc.match.rule, disc.sigpolicy, disc.auth.401, im.name.discovered, im.deps.size

mod cached;
mod chunked;
mod registry;
mod remote;
mod source;
mod streamed;
mod transfer;

pub use remote::{Event, Remote, Tell};

/// Why an image was not fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Nobody says where it is.
    NotFound,
    /// It could not be transferred.
    Unavailable,
    /// There is no signature where one is wanted.
    Unsigned,
    /// No signature by a key that is trusted for it.
    Untrusted,
    /// It came, and is not a valid image or not the one asked for.
    Refused,
    /// The cache, the keys or the store could not be used.
    Local,
}

/// Why a fetch failed.
pub type Error = crate::error::Failure<Kind>;
