//! Images by content.
//!
//! ```text
//! <root>/version               the layout's version; a store from the future is refused
//! <root>/identity              where it was made ([`ground`])
//! <root>/lock                  shared while publishing, exclusive while collecting; never held over long work
//! <root>/index                 a cache of what `images` says, one JSON object a line; may be thrown away at any time
//! <root>/builds/<hash>        the ID of the image that a build with these inputs gave; may be thrown away
//! <root>/incoming/<random>/    work in progress, locked while alive; without a lock it is rubbish
//! <root>/partial/              transfers that are not whole ([`Partials`])
//! <root>/trees/<name>/rootfs/  a sealed tree: what an image unpacked to, or what a render plan came to
//! <root>/images/<id>/archive   the image file, byte for byte as it came
//!                    manifest  the manifest, byte for byte as it stands in the archive
//!                    origin    where it came from, when, who signed it, what could not be kept (TOML)
//!                    implied   directories that were made without an entry of their own
//!                    plan      how its root file system is made, once that was decided (JSON)
//! ```
//!
//! Invariants: a directory under `images` is complete and its hash was checked; its tree was sealed before it was
//! published; `manifest` never changes, the others change by rename, `archive` only to the same compressed otherwise; nothing outside this
//! module and [`crate::render`] writes below these directories. Where trees are kept is [`Trees`]' business:
//! directories here, ZFS datasets on a host that has them; all else is plain files.
//!
//! Locks: an [`Image`] holds a shared lock on its directory for as long as the value lives, so that an image in use
//! is never collected under its user; removal needs the exclusive one. A lock dies with its process: there is
//! nothing to clean up after a kill but what [`Store::collect`] finds under `incoming` and `trees`.
//!
//! Clauses: `aci.id.*`, `aci.guide.recreate`, `dep.match.*`, `im.deps.size`.

mod builds;
mod collect;
mod find;
pub(crate) mod ground;
mod image;
mod import;
mod incoming;
mod index;
mod layout;
mod origin;
mod partial;
mod received;
mod reference;
mod streams;
mod sweep;
mod trees;
mod verify;
mod walk;
mod wanted;

use crate::error::Failure;

pub use collect::{Collected, Uses};
pub use find::Found;
pub use image::Image;
pub(crate) use image::lock_shared as hold;
#[cfg(feature = "net")]
pub(crate) use import::open_file;
pub use import::{Accept, Import, OF_MANIFEST};
pub use index::Listed;
pub use layout::Store;
pub use origin::Origin;
pub(crate) use origin::replace;
pub use partial::{Partial, Partials};
pub use received::{Received, Vouch};
pub use reference::ImageRef;
pub use streams::{Progress, Sent, Snapshot, Streams};
pub(crate) use sweep::remove_tree;
pub use trees::{Directories, Discarded, Draft, TreeName, Trees};
pub use verify::Damage;
pub(crate) use verify::{attributes, has_flags, has_list};
pub(crate) use walk::walk;
pub use wanted::Wanted;

/// Why the store could not do what was asked.
pub type Error = Failure<Kind>;

/// The store's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// What was asked for is not in the store.
    Missing,
    /// A short reference fits several images.
    Ambiguous,
    /// Not a reference at all.
    Reference,
    /// Somebody uses it.
    Busy,
    /// The image is not valid, or not the one that was wanted.
    Refused,
    /// The store holds something that it cannot hold: damage, or a hand from outside.
    Corrupt,
    /// A newer version wrote this store.
    Future,
    /// The root is a copy, or was moved.
    Foreign,
    /// Somebody else could write to the root.
    Unsafe,
    /// The system did not do it.
    Io,
}
