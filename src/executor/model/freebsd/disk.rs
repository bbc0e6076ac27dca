//! Datasets of images as directories of this system, so that the store's own files can be in them.
//!
//! ```text
//! <place>/data-<id>            what a dataset holds while it is mounted nowhere; mounted it is at its mount point
//!         snapshot-<guid>      what a snapshot holds
//!         receiving-<id>       what has come of a stream
//! ```
//! The model's state is the truth, and is written at once. What has to be made is made before under `place`, where nobody sees it;
//! [`Inner::settle`] puts it where the state says, and takes away what the state does not know. So a call that is killed has
//! been done or not, as one of the kernel would.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::zfs::Dataset;
use super::{DATASET, Inner};
use crate::executor::copy;
use crate::store::remove_tree;

/// Where the directories are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Of what is not mounted.
    pub place: PathBuf,
}

/// The directory of a dataset, found again wherever it was moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Content {
    /// Names it while it is mounted nowhere.
    pub(super) id: u64,
    pub(super) inode: u64,
}

/// What has come of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Receiving {
    pub(super) id: u64,
    pub(super) to: u64,
    pub(super) from: u64,
    pub(super) features: u32,
    pub(super) name: String,
}

/// A number that nothing else has.
pub(super) fn number() -> u64 {
    // Two halves of a random one are as good.
    let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
    (high ^ low) >> 1 | 1
}

fn words(error: io::Error) -> String {
    format!("internal error: {error}")
}

impl Inner {
    /// The place of directories, of datasets that have one.
    pub(super) fn place_of(&self, dataset: &str) -> Option<PathBuf> {
        let disk = self.state.disk.as_ref()?;
        dataset.strip_prefix(DATASET)?.strip_prefix("/images/").map(|_| disk.place.clone())
    }

    /// Makes what a new dataset holds: nothing, or what a snapshot does.
    pub(super) fn make_content(&self, dataset: &str, of: Option<u64>) -> Result<Option<Content>, String> {
        let Some(place) = self.place_of(dataset) else { return Ok(None) };
        let id = number();
        let directory = place.join(format!("data-{id}"));
        fs::create_dir_all(&directory).map_err(words)?;
        if let Some(guid) = of {
            copy::tree(&place.join(format!("snapshot-{guid}")), &directory).map_err(words)?;
        }
        let inode = fs::metadata(&directory).map_err(words)?.ino();
        Ok(Some(Content { id, inode }))
    }

    /// Keeps what a dataset holds now; gives the snapshot's GUID.
    pub(super) fn keep_content(&self, dataset: &str) -> Result<Option<u64>, String> {
        let (Some(place), Some(from)) = (self.place_of(dataset), self.directory_of(dataset)) else { return Ok(None) };
        let guid = number();
        let directory = place.join(format!("snapshot-{guid}"));
        fs::create_dir_all(&directory).map_err(words)?;
        copy::tree(&from, &directory).map_err(words)?;
        Ok(Some(guid))
    }

    /// Where the content of a dataset is, as the state says.
    pub(super) fn directory_of(&self, name: &str) -> Option<PathBuf> {
        let dataset = self.state.datasets.get(name)?;
        let content = dataset.content.as_ref()?;
        match self.mounted_at(name, dataset) {
            Some(on) => Some(on.to_owned()),
            None => Some(self.place_of(name)?.join(format!("data-{}", content.id))),
        }
    }

    fn mounted_at<'d>(&self, name: &str, dataset: &'d Dataset) -> Option<&'d Path> {
        let on = dataset.mountpoint.as_deref()?;
        self.state.mounts.iter().any(|mount| mount.kind == "zfs" && mount.from == name).then_some(on)
    }

    /// Puts the content of a dataset that goes out of sight, before the state forgets it.
    pub(super) fn hide_content(&self, name: &str) -> Result<(), String> {
        let content = self.state.datasets.get(name).and_then(|dataset| dataset.content.as_ref());
        let (Some(content), Some(place)) = (content, self.place_of(name)) else { return Ok(()) };
        match self.directory_of(name) {
            Some(from) => fs::rename(from, place.join(format!("gone-{}", content.id))).map_err(words),
            None => Ok(()),
        }
    }

    /// Makes the directories what the state says.
    pub(super) fn settle(&self) -> io::Result<()> {
        let Some(disk) = &self.state.disk else { return Ok(()) };
        fs::create_dir_all(&disk.place)?;
        let mut known = BTreeSet::new();
        let inode = |path: &Path| fs::symlink_metadata(path).ok().map(|about| about.ino());
        for (name, dataset) in &self.state.datasets {
            known.extend(dataset.guids.values().map(|guid| disk.place.join(format!("snapshot-{guid}"))));
            known.extend(dataset.receiving.iter().map(|of| disk.place.join(format!("receiving-{}", of.id))));
            let (Some(content), Some(wanted)) = (&dataset.content, self.directory_of(name)) else { continue };
            if inode(&wanted) != Some(content.inode) {
                let trees = disk.place.with_file_name("trees");
                let places = [Some(disk.place.as_path()), wanted.parent(), Some(trees.as_path())];
                let mut candidates =
                    places.into_iter().flatten().filter_map(|place| fs::read_dir(place).ok()).flatten();
                let is = |entry: &io::Result<fs::DirEntry>| {
                    entry.as_ref().is_ok_and(|entry| inode(&entry.path()) == Some(content.inode))
                };
                if let Some(Ok(found)) = candidates.find(is) {
                    // What was mounted on is empty, and lies beneath.
                    let _ = fs::remove_dir(&wanted);
                    if let Some(parent) = wanted.parent() {
                        fs::create_dir_all(parent)?;
                    }
                    fs::rename(found.path(), &wanted)?;
                }
            }
            known.insert(wanted);
        }
        for entry in fs::read_dir(&disk.place)?.flatten().filter(|entry| !known.contains(&entry.path())) {
            match entry.file_type()?.is_dir() {
                true => remove_tree(&entry.path())?,
                false => fs::remove_file(entry.path())?,
            }
        }
        Ok(())
    }
}
