//! Where trees are kept: the one interface between the store and the ways a host has to share a tree.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::schema::ImageId;

use super::incoming::Incoming;
use super::{Error, Kind, Result, Streams};

/// The name of a sealed tree: an image ID (what the image unpacked to), or `plan-` and a hash of what was rendered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TreeName(String);

impl TreeName {
    /// What `id` unpacked to.
    pub(crate) fn image(id: &ImageId) -> Self {
        Self(id.to_string())
    }

    /// What the render plan with this hash (hexadecimal) came to.
    pub(crate) fn plan(hash: &str) -> Self {
        Self(format!("plan-{hash}"))
    }

    /// The image whose tree it is, if it is one's.
    pub(crate) fn image_id(&self) -> Option<ImageId> {
        self.0.parse().ok()
    }

    /// The name of a file or dataset of [`Trees::names`], if it is one of ours.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let ours = text.starts_with("plan-") || text.parse::<ImageId>().is_ok();
        let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        (ours && plain).then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for TreeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Keeps trees. A tree is a directory that holds `rootfs`; once it is sealed it never changes.
///
/// Implementations: [`Directories`]; ZFS datasets with a snapshot each.
pub trait Trees: Send + Sync + fmt::Debug {
    /// A private, empty directory to make a tree in; or, where trees can be cloned, one that begins as `base` is.
    /// Whoever asks with a base looks at [`Draft::begun`] to see which of both it got.
    fn draft(&self, base: Option<&TreeName>) -> Result<Box<dyn Draft>>;

    /// The directory of a sealed tree, the one that holds `rootfs`.
    fn find(&self, name: &TreeName) -> Option<PathBuf>;

    /// All sealed trees.
    fn names(&self) -> Result<Vec<TreeName>>;

    /// Puts sealed trees out of everybody's sight, each at once; what takes long comes after. One that is not there is none.
    fn discard(&self, names: &[TreeName]) -> Result<Box<dyn Discarded>>;

    /// Removes drafts that killed processes left; gives the bytes freed.
    fn sweep(&self) -> Result<u64>;

    /// Trees as streams, where the host has them.
    fn streams(&self) -> Option<&dyn Streams> {
        None
    }

    /// Whether an executor stacks several of these trees (overlay) or needs one tree for an image.
    fn stacks(&self) -> bool;
}

/// Trees out of sight; dropping takes them apart too, as does a later [`Trees::sweep`].
pub trait Discarded: Send {
    /// Takes them apart; gives the bytes freed.
    fn free(self: Box<Self>) -> Result<u64>;
}

/// A tree in the making; one that is dropped unsealed goes.
pub trait Draft: Send {
    /// The directory to fill: `rootfs` belongs in here.
    fn path(&self) -> &Path;

    /// Whether it began as the base that was asked for; else it began empty.
    fn begun(&self) -> bool {
        false
    }

    /// Publishes it, whole, under its name. Somebody who was first wins, and this one goes: both are the same.
    fn seal(self: Box<Self>, name: &TreeName) -> Result<()>;
}

/// Trees as directories below `<root>/trees`.
#[derive(Debug)]
pub struct Directories {
    root: PathBuf,
}

impl Directories {
    /// Below this root of a store.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    fn directory(&self, name: &TreeName) -> PathBuf {
        self.root.join("trees").join(&name.0)
    }
}

impl Trees for Directories {
    fn draft(&self, _: Option<&TreeName>) -> Result<Box<dyn Draft>> {
        Ok(Box::new(DirectoryDraft { incoming: Incoming::new(&self.root, "tree")?, trees: self.root.join("trees") }))
    }

    fn find(&self, name: &TreeName) -> Option<PathBuf> {
        Some(self.directory(name)).filter(|path| path.is_dir())
    }

    fn names(&self) -> Result<Vec<TreeName>> {
        let path = self.root.join("trees");
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::new(Kind::Io, format!("list {}", path.display())).because(error)),
        };
        Ok(entries.flatten().filter_map(|entry| TreeName::read(entry.file_name().to_str()?)).collect())
    }

    fn discard(&self, names: &[TreeName]) -> Result<Box<dyn Discarded>> {
        let incoming = Incoming::new(&self.root, "gone")?;
        for name in names {
            match fs::rename(self.directory(name), incoming.path().join(&name.0)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::new(Kind::Io, format!("remove the tree {name}")).because(error));
                }
                _ => {}
            }
        }
        Ok(Box::new(DiscardedDirectories { incoming }))
    }

    fn sweep(&self) -> Result<u64> {
        // Drafts lie under `incoming`, which the store itself sweeps.
        Ok(0)
    }

    fn stacks(&self) -> bool {
        cfg!(target_os = "linux")
    }
}

struct DiscardedDirectories {
    incoming: Incoming,
}

impl Discarded for DiscardedDirectories {
    fn free(self: Box<Self>) -> Result<u64> {
        self.incoming.free()
    }
}

struct DirectoryDraft {
    incoming: Incoming,
    trees: PathBuf,
}

impl Draft for DirectoryDraft {
    fn path(&self) -> &Path {
        self.incoming.path()
    }

    fn seal(mut self: Box<Self>, name: &TreeName) -> Result<()> {
        let target = self.trees.join(&name.0);
        self.incoming.publish(&target).map(drop)
    }
}
