//! Root file systems made of images: which images, in which order, what of each; made once, shared by all pods.
//!
//! ```text
//!  image -- resolve --> graph of images -- order, whitelists --> plan: passes, lowest first
//!                                                                 |
//!               nothing left out: one tree a pass, stacked <------+------> merged into one tree, written once
//! ```
//! A plan is decided when the image is fetched and kept beside it, so that an image goes on being the same tree whatever is
//! fetched later; fetching it again decides anew. It is also decided when something of it has gone.
//!
//! Trees are stacked (an overlay's lower directories) where the host does that and no whitelist leaves anything out; else
//! there is one tree, under the name `plan-<hash of the plan>`: files shared by reflink, hard link or copied, in that
//! order. Neither is ever written to; [`Store::render_into`](crate::store::Store::render_into) makes a tree that may be.
//!
//! Clauses: `render.*`, `dep.match.*`, `im.deps.*`, `im.pwl.*`.

pub(crate) mod attributes;
mod graph;
mod merge;
mod resolve;
mod tree;
mod verify;
mod whitelist;
mod write;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::Failure;
use crate::schema::ImageId;
use crate::store;

pub use graph::{Graph, Pass};
pub use merge::{Laid, Merged, Source};
pub use resolve::{Fetcher, Pull, Resolver};
pub use tree::Plan;
pub use whitelist::Whitelists;
pub(crate) use write::copy_content;
pub use write::{Sharing, Written};

/// Why a root file system could not be made.
pub type Error = Failure<Kind>;

/// The renderer's result.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A dependency is not there.
    Missing,
    /// A dependency is not the one asked for.
    Refused,
    /// The dependencies go round.
    Cycle,
    /// More images or passes than anybody needs.
    TooMany,
    /// What shall be made is there already.
    Exists,
    /// The store holds damage.
    Corrupt,
    /// The system did not do it.
    Io,
}

impl Kind {
    fn of(error: &store::Error) -> Self {
        match error.kind() {
            store::Kind::Missing => Self::Missing,
            store::Kind::Refused => Self::Refused,
            store::Kind::Corrupt | store::Kind::Future => Self::Corrupt,
            _ => Self::Io,
        }
    }
}

/// A root file system that apps begin from. Never write to it. While a value of it lives, nothing of it is collected.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// Directories to be stacked, the lowest first; one where there is one tree.
    pub layers: Vec<PathBuf>,
    /// The images that it is made of, the lowest first, the image itself last.
    pub images: Vec<ImageId>,
    #[expect(dead_code, reason = "held for their locks")]
    held: Vec<Arc<File>>,
}
