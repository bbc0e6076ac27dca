//! An image in the store, held.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::schema::{ImageId, ImageManifest};

use super::layout::Store;
use super::{Error, Kind, Origin, Result, TreeName};

/// An image in the store. While a value of it lives, nobody collects the image.
#[derive(Clone, Debug)]
pub struct Image {
    id: ImageId,
    manifest: Arc<ImageManifest>,
    bytes: Arc<[u8]>,
    origin: Origin,
    directory: PathBuf,
    implied: Arc<[Vec<u8>]>,
    lock: Arc<File>,
    new: bool,
}

impl Image {
    /// The SHA-512 of its archive.
    pub fn id(&self) -> &ImageId {
        &self.id
    }

    /// What it says about itself.
    pub fn manifest(&self) -> &ImageManifest {
        &self.manifest
    }

    /// The manifest byte for byte as it came.
    pub fn manifest_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where it came from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether the import that gave this value brought the image into the store, so that nobody had it before.
    pub fn is_new(&self) -> bool {
        self.new
    }

    /// The archive, byte for byte as it came.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] where it is gone.
    pub fn archive(&self) -> Result<File> {
        let path = self.directory.join("archive");
        File::open(&path).map_err(|error| Error::new(Kind::Corrupt, format!("open {}", path.display())).because(error))
    }

    /// Where the archive is, for as long as this value lives.
    pub fn archive_path(&self) -> PathBuf {
        self.directory.join("archive")
    }

    /// Directories of its tree that have no entry of their own in the archive, relative to the root file system.
    pub(crate) fn implied(&self) -> &[Vec<u8>] {
        &self.implied
    }

    /// A second hold on the same image, for whoever outlives this value (a pod's supervisor).
    pub(crate) fn hold(&self) -> Arc<File> {
        Arc::clone(&self.lock)
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn brought_in(self, new: bool) -> Self {
        Self { new, ..self }
    }

    pub(super) fn tree_name(&self) -> TreeName {
        TreeName::image(&self.id)
    }
}

impl Store {
    /// The image with this ID.
    ///
    /// # Errors
    /// [`Kind::Missing`]; [`Kind::Corrupt`] where its files are damaged.
    pub fn image(&self, id: &ImageId) -> Result<Image> {
        self.try_image(id)?
            .ok_or_else(|| Error::new(Kind::Missing, format!("find image {id}")).because("the store does not have it"))
    }

    /// The image with this ID, `None` when it is not there.
    pub fn try_image(&self, id: &ImageId) -> Result<Option<Image>> {
        let directory = self.image_directory(id);
        let Some(lock) = lock_shared(&directory)? else { return Ok(None) };
        let path = directory.join("manifest");
        let damaged = || Error::new(Kind::Corrupt, format!("read {}", path.display()));
        let bytes = fs::read(&path).map_err(|error| damaged().because(error))?;
        let manifest = serde_json::from_slice(&bytes).map_err(|error| damaged().because(error))?;
        let origin = Origin::read(&directory)?;
        let implied = read_implied(&directory)?.into();
        let (manifest, bytes, lock) = (Arc::new(manifest), bytes.into(), Arc::new(lock));
        Ok(Some(Image { id: id.clone(), manifest, bytes, origin, directory, implied, lock, new: false }))
    }

    /// What `image` unpacked to: the directory that holds `rootfs`.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] where it is gone.
    pub fn tree(&self, image: &Image) -> Result<PathBuf> {
        self.trees().find(&image.tree_name()).ok_or_else(|| {
            Error::new(Kind::Corrupt, format!("find the files of image {}", image.id())).because("its tree is gone")
        })
    }
}

/// Paths that end with a NUL each; without any there is no file.
fn read_implied(directory: &Path) -> Result<Vec<Vec<u8>>> {
    let path = directory.join("implied");
    match fs::read(&path) {
        Ok(bytes) => Ok(bytes.split(|byte| *byte == 0).filter(|path| !path.is_empty()).map(<[u8]>::to_vec).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::new(Kind::Corrupt, format!("read {}", path.display())).because(error)),
    }
}

/// The lock on a directory that is there; `None` when it is not, or went while we waited.
pub(crate) fn lock_shared(directory: &Path) -> Result<Option<File>> {
    let failed = |error| Error::new(Kind::Io, format!("lock {}", directory.display())).because(error);
    loop {
        let file = match File::open(directory) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        file.lock_shared().map_err(failed)?;
        if is_at(&file, directory) {
            return Ok(Some(file));
        }
    }
}

/// Whether `file` is what `path` names now.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    match (fs::symlink_metadata(path), file.metadata()) {
        (Ok(now), Ok(then)) => (now.dev(), now.ino()) == (then.dev(), then.ino()),
        _ => false,
    }
}
