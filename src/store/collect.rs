//! Taking images away.

use std::fs::{self, File};
use std::io;

use crate::schema::ImageId;

use super::image::is_at;
use super::incoming::Incoming;
use super::layout::Store;
use super::{Error, Kind, Result, TreeName, sweep};

impl Store {
    /// Takes an image away, and its tree; gives the bytes freed.
    ///
    /// Errors: [`Kind::Missing`]; [`Kind::Busy`] while somebody holds it.
    pub fn remove(&self, id: &ImageId) -> Result<u64> {
        let _held = self.hold_exclusive()?;
        self.take(id)?.ok_or_else(|| {
            Error::new(Kind::Missing, format!("remove image {id}")).because("the store does not have it")
        })
    }

    /// Takes an image out of sight and then apart. `None` when it is not there. The store's lock is held.
    fn take(&self, id: &ImageId) -> Result<Option<u64>> {
        let directory = self.image_directory(id);
        let failed = |error: io::Error| Error::new(Kind::Io, format!("remove image {id}")).because(error);
        let lock = match File::open(&directory) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        match lock.try_lock() {
            Ok(()) if is_at(&lock, &directory) => {}
            Ok(()) => return Ok(None),
            Err(fs::TryLockError::WouldBlock) => {
                return Err(Error::new(Kind::Busy, format!("remove image {id}")).because("it is in use"));
            }
            Err(fs::TryLockError::Error(error)) => return Err(failed(error)),
        }
        let incoming = Incoming::new(self.root(), "gone")?;
        let gone = incoming.path().join("image");
        fs::rename(&directory, &gone).map_err(failed)?;
        // The image first: a kill between both leaves a tree that no image names, which is rubbish.
        let tree = self.trees().remove(&TreeName::image(id))?;
        Ok(Some(tree + sweep::remove(&gone).map_err(failed)?))
    }
}
