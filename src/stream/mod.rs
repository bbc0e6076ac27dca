//! Sets of images from one ZFS pool to another: what `zfs send` gives of their trees, in the order in which trees stand on each other,
//! with their archives beside them.
//!
//! ```text
//! "appc zfs stream 1\n"
//! frame: kind (1 byte), length (4 bytes, the highest first, at most 1 MiB), content
//!   I     the index, JSON: the trees that will come, each with its GUID and that of its base; images that are left out
//!   T     a tree begins, JSON: what the store knows of the image; how much of it is left out as it came before
//!   Z...  . what zfs send gave, in pieces
//!   A...  . the archive, in pieces; of an image only
//!   ...   further trees
//!   E     the end; without it the stream broke
//!   X     in the place of any: the sending side failed, and why
//! ```
//! An image is its archive and the tree that this was unpacked to, which is compared with it before either is believed. What was
//! rendered is a tree of its own: it is taken where this store would decide for the same and it holds the same files, else it is
//! rendered here when it is needed.
//!
//! A stream that broke goes on with the first tree that is not whole: [`Token`] says which, and how much of it is there. All before
//! it are images already.
//!
//! Invariants: nothing of a stream decides what is trusted; nothing is published that was not checked; what has come in part
//! is nobody's until it is whole, and gone with [`Store::collect`](crate::store::Store::collect).

mod export;
mod frames;
mod import;
mod token;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use export::{Export, LeftOut};
pub use import::{Import, Outcome, tokens};
pub use token::Token;

/// Why images did not travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// This store's trees are no datasets.
    Unsupported,
    /// Something is not there that is needed.
    Missing,
    /// The stream broke: it may go on.
    Interrupted,
    /// It is no stream of ours, or not in order.
    Malformed,
    /// It came and is not what it should be, or not for this pool.
    Refused,
    /// The store or the system did not do it.
    Local,
}

/// Why images did not travel.
pub type Error = crate::error::Failure<Kind>;

type Result<T, E = Error> = std::result::Result<T, E>;

/// What will come.
#[derive(Debug, Serialize, Deserialize)]
struct Index {
    trees: Vec<Announced>,
    /// Trees that are left out: the other side has them.
    #[serde(default, rename = "leftOut")]
    left_out: Vec<String>,
}

/// A tree that will come.
#[derive(Debug, Serialize, Deserialize)]
struct Announced {
    tree: String,
    /// The image whose root file system it is, where it is a rendered one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    of: Option<String>,
    /// The image's name and labels, for people.
    #[serde(default)]
    name: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    guid: u64,
    /// The tree that it comes as the difference to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base: Option<Base>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Base {
    tree: String,
    guid: u64,
}

/// How a tree begins.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    tree: String,
    blocks: Blocks,
    /// Bytes of the archive that are not sent again.
    #[serde(default, rename = "archiveFrom")]
    archive_from: u64,
    /// Bytes of the whole archive.
    #[serde(default, rename = "archiveBytes")]
    archive_bytes: u64,
    /// What the store knows of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<crate::store::Origin>,
}

/// How much of what zfs send gives comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Blocks {
    /// All.
    Whole,
    /// What was missing.
    Rest,
    /// Nothing: all of it came before.
    There,
}

fn local(error: crate::store::Error) -> Error {
    let kind = match error.kind() {
        crate::store::Kind::Missing => Kind::Missing,
        crate::store::Kind::Refused => Kind::Refused,
        _ => Kind::Local,
    };
    error.of_kind(kind)
}

/// The store's streams.
fn streams(store: &crate::store::Store) -> Result<&dyn crate::store::Streams> {
    store.trees().streams().ok_or_else(|| {
        Error::new(Kind::Unsupported, format!("use {} for ZFS streams", store.root().display()))
            .because("its images are directories and not datasets")
    })
}
