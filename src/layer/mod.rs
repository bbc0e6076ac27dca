//! What an app changed of the tree that it began from, as a list, and as an image that depends on the one that the tree was.
//!
//! ```text
//!  layers of the parent --+
//!                         +-- compare (where something may differ) --> changes --> archive: manifest, rootfs/...
//!  what the app left -----+                                                       pathWhitelist for what is gone
//! ```
//! `Whence` says where something may differ: wherever an overlay's upper layer has a name, everywhere for a copy, and for a clone
//! too, whose unchanged files are known by their inodes. It saves looking, and decides nothing: what differs is what `compare`
//! finds to differ, so that all ways come to the same archive, bit for bit.
//!
//! What differs is content, kind, mode, owner, attributes, device and link target; a time alone is no difference. The names of one
//! file are carried all together or not at all. Times later than the newest of what went in are that one, or `SOURCE_DATE_EPOCH`.
//! What the executor made in the tree ([`Ours`]) is not the app's.
//!
//! The trees are hostile, and nobody changes them meanwhile: everything is done by descriptors, and no link is followed.
//!
//! Clauses: `im.deps.*`, `im.pwl.*`, `aci.preserve.*`.

mod compare;
mod inputs;
#[cfg(test)]
mod laws;
mod manifest;
mod names;
mod stack;
mod write;
mod zfs;

use std::collections::HashSet;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::aci::printable;
use crate::aci::{Change, EntryChange};
use crate::error::Failure;
use compare::{Key, Wanted};

pub use inputs::Inputs;
pub use manifest::Describe;
pub(crate) use stack::Level;
pub use write::{Commit, Form};
pub use zfs::named;

/// Why it cannot be told what was changed, or an image be made of it.
pub type Error = Failure<Kind>;

/// This room's result.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The specification has no way to say it.
    Refused,
    /// What was given is not there.
    Missing,
    /// The system did not do it.
    Io,
}

/// What an app left of its tree.
#[derive(Clone, Copy, Debug)]
pub struct Left<'a> {
    /// The root of the tree.
    pub root: BorrowedFd<'a>,
    /// The layers that the app's image is, the lowest first.
    pub layers: &'a [PathBuf],
    /// Where something may differ.
    pub(crate) whence: &'a Whence,
    /// What is there for the executor's sake.
    pub ours: &'a Ours,
}

/// Where a tree may differ from the one that it began as.
#[derive(Debug)]
pub(crate) enum Whence {
    /// Everywhere: it is a copy.
    Everywhere,
    /// Everywhere, but files that have the inode of the original with all its times are the original: it is a clone. The file system
    /// itself names these paths.
    Clone(HashSet<Vec<u8>>),
    /// Where these trees have something: the upper layer of an overlay, and layers that were laid on top of the image's.
    #[cfg_attr(not(any(target_os = "linux", test)), expect(dead_code, reason = "there are overlays on Linux alone"))]
    Uppers(Vec<OwnedFd>),
}

/// What an executor makes in a tree for its own purposes.
#[derive(Clone, Debug, Default)]
pub struct Ours {
    places: Vec<Vec<u8>>,
    files: Vec<(Vec<u8>, String)>,
}

impl Ours {
    /// Something is mounted at `path` of the tree that is stacked of `layers`, and what is beneath was nothing to be seen.
    pub(crate) fn place(&mut self, tree: &Level, path: &Path) {
        self.places.extend(tree.resolve(&inside(path)));
    }

    /// A file with this content was provided: in the place of whatever is there, or where a link leads to nothing.
    pub(crate) fn file(&mut self, tree: &Level, path: &Path, content: &str, replace: bool) {
        let resolved = match (path.parent(), path.file_name()) {
            (Some(above), Some(name)) if replace => tree.resolve(&inside(above)).map(|above| {
                let name = name.as_encoded_bytes();
                if above.is_empty() { name.to_vec() } else { [&above[..], b"/", name].concat() }
            }),
            _ => tree.resolve(&inside(path)),
        };
        self.files.extend(resolved.map(|path| (path, content.to_owned())));
    }

    fn is_place(&self, path: &[u8]) -> bool {
        self.places.iter().any(|place| place == path)
    }

    fn content_of(&self, path: &[u8]) -> Option<&str> {
        self.files.iter().find(|(file, _)| file == path).map(|(_, content)| content.as_str())
    }

    /// Whether a directory may be there for the sake of what is below it.
    fn leads_to(&self, path: &[u8]) -> bool {
        let all = self.places.iter().chain(self.files.iter().map(|(file, _)| file));
        all.into_iter().any(|other| other.strip_prefix(path).is_some_and(|rest| rest.starts_with(b"/")))
    }
}

/// A path in a rootfs, relative to it and in one spelling.
fn inside(path: &Path) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt as _;
    use std::path::Component;
    let names = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.as_bytes()),
        _ => None,
    });
    names.collect::<Vec<_>>().join(&b'/')
}

/// What was changed, added and removed, in the order of an archive; of a directory that is gone, itself.
///
/// # Errors
/// [`Kind::Io`] naming the path.
pub fn changes(left: &Left<'_>) -> Result<Vec<EntryChange>> {
    let found = compare::compare(left, Wanted::Changes, None)?;
    let gone = found.removed.iter().map(|path| (Key::of(path), Change::Removed, Vec::new()));
    let carried = found.carried.into_iter().filter_map(|(key, carried)| Some((key, carried.change?)));
    let mut all: Vec<_> = carried.map(|(key, (change, fields))| (key, change, fields)).chain(gone).collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(all.into_iter().map(|(key, change, fields)| EntryChange { name: shown(&key.path()), change, fields }).collect())
}

/// A path for people.
fn shown(path: &[u8]) -> String {
    format!("/{}", printable(path))
}
