//! Taking away: one image, or all that nobody needs.
//!
//! Under the store's lock it is only decided and put out of sight; what takes long is done after that, below `incoming`.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use crate::schema::{ImageId, ImageManifest};

use super::image::is_at;
use super::incoming::Incoming;
use super::layout::Store;
use super::trees::Discarded;
use super::{Error, Kind, Listed, Result, TreeName};

/// What is in use though no living process holds it: what the pods that are kept were made of.
#[derive(Clone, Debug, Default)]
pub struct Uses {
    /// Images of pods, each with who uses it.
    pub images: HashMap<ImageId, String>,
    /// Layers that pods stand on, as [`Rendered`](crate::render::Rendered) gave them, likewise.
    pub layers: HashMap<PathBuf, String>,
}

/// What was taken away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Images that no pod and no image needed.
    pub images: Vec<ImageId>,
    /// Trees that no image needed.
    pub trees: u64,
    /// Space that came free, in bytes, as far as files occupied it alone.
    pub bytes: u64,
}

/// Out of sight, not yet taken apart: one directory and so one descriptor, however much goes.
#[must_use]
struct Gone {
    incoming: Incoming,
    trees: HashSet<TreeName>,
}

impl Store {
    /// Takes an image away, and its tree; gives the bytes freed. What depends on it can then not be run before it is
    /// fetched again.
    ///
    /// # Errors
    /// [`Kind::Missing`]; [`Kind::Busy`] while somebody holds it or a pod stands on it.
    pub fn remove(&self, id: &ImageId, uses: &Uses) -> Result<u64> {
        let gone = {
            let _held = self.hold_exclusive()?;
            let mut gone = Gone::new(self)?;
            let doing = || format!("remove image {id}");
            let layer = self.trees().find(&TreeName::image(id)).map(|tree| tree.join("rootfs"));
            if let Some(who) = uses.images.get(id).or_else(|| uses.layers.get(&layer?)) {
                return Err(Error::new(Kind::Busy, doing()).because(format!("{who} uses it")));
            }
            match self.put_out_of_sight(id, &mut gone)? {
                Taken::Yes => {}
                Taken::Busy => return Err(Error::new(Kind::Busy, doing()).because("it is in use")),
                Taken::Absent => return Err(Error::new(Kind::Missing, doing()).because("the store does not have it")),
            }
            gone.part(self)?
        };
        gone.free()
    }

    /// Takes away all images that no pod and no image needs and that were not imported within `grace`, all trees that no image
    /// needs, and what killed processes left behind.
    ///
    /// Pods say by `uses`, which is called while nothing is being published, what they stand on; what living processes hold
    /// stays in any case.
    ///
    /// # Errors
    /// [`Kind::Io`], and what `uses` says, nothing being taken away then.
    pub fn collect(&self, grace: Duration, uses: impl FnOnce() -> Result<Uses>) -> Result<Collected> {
        let mut collected = Collected::default();
        if !self.root().exists() {
            return Ok(collected);
        }
        self.prepare()?;
        let gone = {
            let _held = self.hold_exclusive()?;
            let mut gone = Gone::new(self)?;
            let uses = uses()?;
            self.gather_abandoned(&mut gone)?;
            let listed = self.list()?;
            let needed = self.needed(&listed, &uses, grace)?;
            for id in self.unneeded(&listed, &needed, &uses)? {
                if matches!(self.put_out_of_sight(&id, &mut gone)?, Taken::Yes) {
                    collected.images.push(id);
                }
            }
            collected.trees = self.gather_trees(&needed, &uses, &mut gone)?;
            gone.part(self)?
        };
        collected.bytes = gone.free()? + self.trees().sweep()? + self.sweep_partials(grace)?;
        self.sweep_received()?;
        Ok(collected)
    }

    /// The images that [`Store::collect`] would take away now.
    ///
    /// # Errors
    /// Those of [`Store::collect`].
    pub fn collectable(&self, grace: Duration, uses: impl FnOnce() -> Result<Uses>) -> Result<Vec<ImageId>> {
        if !self.root().exists() {
            return Ok(Vec::new());
        }
        self.prepare()?;
        let _held = self.hold_exclusive()?;
        let (uses, listed) = (uses()?, self.list()?);
        let needed = self.needed(&listed, &uses, grace)?;
        self.unneeded(&listed, &needed, &uses)
    }

    fn unneeded(&self, listed: &[Listed], needed: &Needed, uses: &Uses) -> Result<Vec<ImageId>> {
        let unneeded = listed.iter().map(|image| &image.id).filter(|id| !needed.images.contains(id));
        // What has an image's name and cannot be read is nobody's but a pod's that was made of it before.
        let known: HashSet<&ImageId> = listed.iter().map(|image| &image.id).collect();
        let names = self.names()?.0;
        let unread = names.iter().filter(|id| !known.contains(id) && !uses.images.contains_key(id));
        Ok(unneeded.chain(unread).cloned().collect())
    }

    fn needed(&self, listed: &[Listed], uses: &Uses, grace: Duration) -> Result<Needed> {
        let by_id: HashMap<&ImageId, &Listed> = listed.iter().map(|image| (&image.id, image)).collect();
        let young = |image: &Listed| {
            let age = Timestamp::now().duration_since(image.imported);
            Duration::try_from(age).is_ok_and(|age| age < grace)
        };
        let root = |image: &Listed| uses.images.contains_key(&image.id) || young(image) || self.is_held(&image.id);
        let mut needed = Needed::default();
        let mut waiting: Vec<&Listed> = listed.iter().filter(|image| root(image)).collect();
        while let Some(image) = waiting.pop() {
            if !needed.images.insert(image.id.clone()) || !image.composed {
                continue;
            }
            let directory = self.image_directory(&image.id);
            let below: Vec<ImageId> = match made_of(&directory) {
                Some((images, tree)) => {
                    needed.trees.insert(tree);
                    images
                }
                // Not rendered yet: whatever it could be made of.
                None => self.possible_dependencies(&directory, listed),
            };
            waiting.extend(below.iter().filter_map(|id| by_id.get(id).copied()));
        }
        Ok(needed)
    }

    fn possible_dependencies(&self, directory: &Path, listed: &[Listed]) -> Vec<ImageId> {
        let manifest = fs::read(directory.join("manifest")).ok();
        let manifest = manifest.and_then(|bytes| serde_json::from_slice::<ImageManifest>(&bytes).ok());
        let names: BTreeSet<&str> =
            manifest.iter().flat_map(|manifest| &manifest.dependencies).map(|d| d.image_name.as_str()).collect();
        listed.iter().filter(|image| names.contains(image.name.as_str())).map(|image| image.id.clone()).collect()
    }

    /// Whether a living process holds the image at this moment.
    fn is_held(&self, id: &ImageId) -> bool {
        File::open(self.image_directory(id)).is_ok_and(|directory| directory.try_lock().is_err())
    }

    fn gather_trees(&self, needed: &Needed, uses: &Uses, gone: &mut Gone) -> Result<u64> {
        let mut trees = 0;
        for name in self.trees().names()? {
            let of_image = name.image_id().is_some_and(|id| self.image_directory(&id).exists());
            let Some(path) = self.trees().find(&name) else { continue };
            let in_use = uses.layers.contains_key(&path.join("rootfs"))
                || File::open(&path).is_ok_and(|directory| directory.try_lock().is_err());
            if of_image || needed.trees.contains(&name) || in_use {
                continue;
            }
            // An image's own tree was counted with the image.
            if gone.trees.insert(name) {
                trees += 1;
            }
        }
        Ok(trees)
    }

    /// The store's lock is held.
    fn put_out_of_sight(&self, id: &ImageId, gone: &mut Gone) -> Result<Taken> {
        let directory = self.image_directory(id);
        let failed = |error: io::Error| Error::new(Kind::Io, format!("remove image {id}")).because(error);
        let lock = match File::open(&directory) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Taken::Absent),
            Err(error) => return Err(failed(error)),
        };
        match lock.try_lock() {
            Ok(()) if is_at(&lock, &directory) => {}
            Ok(()) => return Ok(Taken::Absent),
            Err(fs::TryLockError::WouldBlock) => return Ok(Taken::Busy),
            Err(fs::TryLockError::Error(error)) => return Err(failed(error)),
        }
        // The image first: a kill between both leaves a tree that no image names, which is rubbish.
        gone.take(&directory).map_err(failed)?;
        gone.trees.insert(TreeName::image(id));
        Ok(Taken::Yes)
    }

    fn gather_abandoned(&self, gone: &mut Gone) -> Result<()> {
        let failed = |error: io::Error| Error::new(Kind::Io, "gather what was left behind").because(error);
        for (path, lock) in self.abandoned()? {
            gone.take(&path).map_err(failed)?;
            drop(lock);
        }
        Ok(())
    }
}

enum Taken {
    Yes,
    Busy,
    Absent,
}

#[derive(Default)]
struct Needed {
    images: HashSet<ImageId>,
    trees: HashSet<TreeName>,
}

impl Gone {
    fn new(store: &Store) -> Result<Self> {
        Ok(Self { incoming: Incoming::new(store.root(), "gone")?, trees: HashSet::new() })
    }

    fn take(&mut self, directory: &Path) -> io::Result<()> {
        let Some(name) = directory.file_name() else { return Err(io::ErrorKind::InvalidInput.into()) };
        fs::rename(directory, self.incoming.path().join(name))
    }

    /// Puts the trees out of sight too; what is left to do needs no lock.
    fn part(self, store: &Store) -> Result<Parted> {
        Ok(Parted { trees: store.trees().discard(&Vec::from_iter(self.trees))?, directories: self.incoming })
    }
}

/// Nobody sees it any more.
#[must_use]
struct Parted {
    directories: Incoming,
    trees: Box<dyn Discarded>,
}

impl Parted {
    fn free(self) -> Result<u64> {
        Ok(self.trees.free()? + self.directories.free()?)
    }
}

/// The images and the tree of a plan that was kept beside an image.
fn made_of(directory: &Path) -> Option<(Vec<ImageId>, TreeName)> {
    #[derive(Deserialize)]
    struct Plan {
        tree: String,
        passes: Vec<Pass>,
    }
    #[derive(Deserialize)]
    struct Pass {
        image: ImageId,
    }
    let plan: Plan = serde_json::from_slice(&fs::read(directory.join("plan")).ok()?).ok()?;
    Some((plan.passes.into_iter().map(|pass| pass.image).collect(), TreeName::read(&plan.tree)?))
}
