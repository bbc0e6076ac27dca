//! Which image a build gave: by the hash of all that went into it.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;

use crate::schema::ImageId;

use super::layout::Store;
use super::{Error, Image, Kind, Result, origin};

impl Store {
    /// The image that a build with these inputs (a hash in hexadecimal digits) gave, if it is there still.
    ///
    /// # Errors
    /// [`Kind::Io`], [`Kind::Corrupt`].
    pub fn built(&self, inputs: &str) -> Result<Option<Image>> {
        let path = self.builds().join(inputs);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::new(Kind::Io, format!("read {}", path.display())).because(error)),
        };
        // What cannot be read is as good as not there: it is made again.
        text.trim().parse::<ImageId>().map_or(Ok(None), |id| self.try_image(&id))
    }

    /// Remembers what a build gave; forgets builds whose images have gone.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn remember_build(&self, inputs: &str, image: &Image) -> Result<()> {
        let builds = self.builds();
        let failed = |error| Error::new(Kind::Io, format!("write below {}", builds.display())).because(error);
        match fs::DirBuilder::new().mode(0o700).create(&builds) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
            _ => {}
        }
        for entry in fs::read_dir(&builds).map_err(failed)?.flatten() {
            let id = fs::read_to_string(entry.path()).ok().and_then(|text| text.trim().parse::<ImageId>().ok());
            if !id.is_some_and(|id| self.image_directory(&id).exists()) {
                let _ = fs::remove_file(entry.path());
            }
        }
        origin::replace(&builds.join(inputs), format!("{}\n", image.id()).as_bytes())
    }

    fn builds(&self) -> PathBuf {
        self.root().join("builds")
    }
}
