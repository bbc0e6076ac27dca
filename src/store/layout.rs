//! The store's directories, their version and the lock over them.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::schema::ImageId;

use super::{Directories, Draft, Error, Kind, Partials, Result, TreeName, Trees, ground, origin};

/// What `<root>/version` says for the layout drawn in the module's documentation.
const VERSION: u32 = 1;

/// The images below one root.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    trees: Arc<dyn Trees>,
}

/// The store's lock, held until it is dropped.
#[must_use]
pub(super) struct Held(#[expect(dead_code, reason = "held for its lock")] File);

impl Store {
    /// The store below `root`, which need not be there yet: it is made by the first import. Trees are directories.
    ///
    /// # Errors
    /// [`Kind::Future`] where a newer version made it, [`Kind::Corrupt`] where its version cannot be read.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let root = absolute(root.into())?;
        let trees = Arc::new(Directories::new(&root));
        Self::open_with(root, trees)
    }

    /// A store whose trees are kept elsewhere.
    pub fn open_with(root: impl Into<PathBuf>, trees: Arc<dyn Trees>) -> Result<Self> {
        let store = Self { root: absolute(root.into())?, trees };
        store.check_version()?;
        Ok(store)
    }

    /// The directory that everything is below.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Transfers that are not whole. The root is there when this returns.
    ///
    /// # Errors
    /// Those of [`ground::make`].
    pub(crate) fn partials(&self) -> Result<Partials> {
        ground::make(&self.root)?;
        Ok(Partials::new(self.root.join("partial")))
    }

    /// Removes what killed processes left of transfers, unless it is younger than `grace`; gives the bytes freed.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn sweep_partials(&self, grace: Duration) -> Result<u64> {
        let swept = Partials::new(self.root.join("partial")).sweep(0, grace);
        swept.map_err(|error| Error::new(Kind::Io, "remove what is left of transfers").because(error))
    }

    /// Where trees are kept.
    pub fn trees(&self) -> &dyn Trees {
        &*self.trees
    }

    /// A tree in the making; where the host can, it begins as `base` is ([`Draft::begun`]).
    pub(crate) fn draft_tree(&self, base: Option<&TreeName>) -> Result<Box<dyn Draft>> {
        self.prepare()?;
        let _held = self.hold_shared()?;
        self.trees.draft(base)
    }

    /// Publishes a tree.
    pub(crate) fn seal_tree(&self, draft: Box<dyn Draft>, name: &TreeName) -> Result<()> {
        let _held = self.hold_shared()?;
        draft.seal(name)
    }

    pub(super) fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    pub(super) fn image_directory(&self, id: &ImageId) -> PathBuf {
        self.images().join(id.as_str())
    }

    /// Makes what is missing of the layout.
    pub(super) fn prepare(&self) -> Result<()> {
        let failed = |error| Error::new(Kind::Io, format!("make the store {}", self.root.display())).because(error);
        ground::make(&self.root)?;
        for name in ["incoming", "trees", "images"] {
            // Images bring setuid programs: nobody else on the host may reach them.
            match fs::DirBuilder::new().mode(0o700).create(self.root.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
                _ => {}
            }
        }
        if !self.root.join("version").exists() {
            origin::replace(&self.root.join("version"), format!("{VERSION}\n").as_bytes())?;
        }
        Ok(())
    }

    /// Shared: what is being published now is not swept away meanwhile.
    pub(super) fn hold_shared(&self) -> Result<Held> {
        let file = self.lock_file()?;
        file.lock_shared().map_err(|error| self.lock_failed(error))?;
        Ok(Held(file))
    }

    /// Exclusive: nobody publishes meanwhile.
    pub(super) fn hold_exclusive(&self) -> Result<Held> {
        let file = self.lock_file()?;
        file.lock().map_err(|error| self.lock_failed(error))?;
        Ok(Held(file))
    }

    /// Exclusive if nobody holds it now.
    pub(super) fn try_hold_exclusive(&self) -> Result<Option<Held>> {
        let file = self.lock_file()?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Held(file))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(self.lock_failed(error)),
        }
    }

    fn lock_file(&self) -> Result<File> {
        let path = self.root.join("lock");
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        opened.map_err(|error| self.lock_failed(error))
    }

    fn lock_failed(&self, error: io::Error) -> Error {
        Error::new(Kind::Io, format!("lock the store {}", self.root.display())).because(error)
    }

    fn check_version(&self) -> Result<()> {
        let path = self.root.join("version");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::new(Kind::Io, format!("read {}", path.display())).because(error)),
        };
        match text.trim().parse::<u32>() {
            Ok(VERSION) => Ok(()),
            Ok(version) if version > VERSION => {
                let error = Error::new(Kind::Future, format!("use the store {}", self.root.display()));
                Err(error.because(format!(
                    "a newer version made it: its layout is {version}, this program knows up to {VERSION}"
                )))
            }
            _ => {
                let error = Error::new(Kind::Corrupt, format!("use the store {}", self.root.display()));
                let path = path.display();
                Err(error.because(format!(
                    "{path} does not hold a version of a layout; the images are as they were: echo {VERSION} > {path}"
                )))
            }
        }
    }
}

/// Trees are handed to mounts and other processes: their paths have to hold from anywhere.
fn absolute(path: PathBuf) -> Result<PathBuf> {
    std::path::absolute(&path).map_err(|error| Error::new(Kind::Io, format!("find {}", path.display())).because(error))
}
