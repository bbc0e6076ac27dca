//! Trees of the store as ZFS datasets: each sealed by a snapshot, from which apps' root file systems are cloned.
//!
//! ```text
//! <root>                      user property appc:version; made by `jetpack init`
//! <root>/images               mounted nowhere; what is below it at <mount point of root>/trees/<name>
//! <root>/images/<id>          one a tree, snapshot @sealed, then readonly=on; id: the first 32 hex digits of the image ID
//! <root>/images/new-<random>  a tree in the making; renamed when it is sealed
//! <root>/images/gone-<random> a tree that was discarded while others are clones of it; destroyed with the last of them
//! <root>/images/recv-<name>   a tree that is received ([`super::streams`]), likewise
//! <root>/pods                 mounted nowhere
//! <root>/pods/<uuid>          the clone of a pod's only app, mounted in the pod's directory
//! <root>/pods/<uuid>/<app>    those of several apps
//! ```
//! The whole name of a tree is kept in the user property `appc:tree`.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::system::{Program, Programs, System};
use crate::store::{Discarded, Draft, Error, Kind, Result, Store, Streams, TreeName, Trees};

/// The name of the snapshot that seals a tree.
pub(crate) const SEALED: &str = "sealed";

/// How the last component of a dataset begins that is no tree any more.
const GONE: &str = "gone-";

/// Trees below one root dataset.
pub(crate) struct Datasets<S> {
    system: Mutex<S>,
    pub(super) root: String,
    mountpoint: PathBuf,
}

impl<S> fmt::Debug for Datasets<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "datasets below {}", self.root)
    }
}

impl<S: Programs + Clone + Send + 'static> Datasets<S> {
    /// Below the dataset `root`, which `jetpack init` has made; trees are mounted below `mountpoint`/trees.
    pub fn new(system: S, root: &str, mountpoint: &Path) -> Self {
        Self { system: Mutex::new(system), root: root.to_owned(), mountpoint: mountpoint.to_owned() }
    }

    /// Another handle on these datasets, apart from this value.
    pub(super) fn another(&self) -> Self {
        Self { system: Mutex::new(self.system().clone()), root: self.root.clone(), mountpoint: self.mountpoint.clone() }
    }

    pub(super) fn system(&self) -> MutexGuard<'_, S> {
        // A panic elsewhere leaves no half-made value behind: each call is one program.
        self.system.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn zfs(&self, arguments: &[&str]) -> io::Result<String> {
        self.system().run(Program::Zfs, arguments, "")?.success()
    }

    pub(super) fn dataset(&self, short: &str) -> String {
        format!("{}/images/{short}", self.root)
    }

    /// Whether nothing but trees began as this one is.
    fn has_trees_only(&self, dataset: &str) -> bool {
        let images = format!("{}/images/", self.root);
        let clones = self.zfs(&["get", "-H", "-p", "-o", "value", "clones", &format!("{dataset}@{SEALED}")]);
        clones.is_ok_and(|told| told.trim().split(',').all(|clone| clone.starts_with(&images)))
    }

    /// Takes a tree out of sight that cannot be destroyed as long as there are clones of it. Gives its new name.
    fn set_aside(&self, dataset: &str, directory: &Path) -> Result<String> {
        let aside = self.dataset(&format!("{GONE}{}", uuid::Uuid::new_v4().simple()));
        // Who is killed on the way leaves one that nobody finds, and that the next to seal the same takes for his.
        let steps: [&[&str]; 3] = [
            &["set", "mountpoint=none", dataset],
            &["inherit", "appc:tree", dataset],
            &["rename", "-f", dataset, &aside],
        ];
        for step in steps {
            self.zfs(step).map_err(|error| failed(format!("take {dataset} out of sight"), error))?;
        }
        let _ = std::fs::remove_dir(directory);
        Ok(aside)
    }

    pub(super) fn directory(&self, short: &str) -> PathBuf {
        self.mountpoint.join("trees").join(short)
    }
}

/// The part of a tree's name that names its dataset and its directory.
pub(super) fn short(name: &TreeName) -> String {
    let name = name.to_string();
    match name.split_once('-') {
        Some(("plan", hash)) => format!("plan-{}", hash.get(..32).unwrap_or(hash)),
        Some((_, id)) => id.get(..32).unwrap_or(id).to_owned(),
        None => name,
    }
}

pub(super) fn failed(doing: String, error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => Kind::Missing,
        io::ErrorKind::ResourceBusy => Kind::Busy,
        _ => Kind::Io,
    };
    Error::new(kind, doing).because(error)
}

impl<S: Programs + Clone + Send + 'static> Trees for Datasets<S> {
    fn draft(&self, base: Option<&TreeName>) -> Result<Box<dyn Draft>> {
        let name = format!("new-{}", uuid::Uuid::new_v4().simple());
        let dataset = self.dataset(&name);
        let path = self.directory(&name);
        let mountpoint = format!("mountpoint={}", path.display());
        let base = base.map(short).filter(|base| self.directory(base).is_dir());
        let made = match &base {
            Some(base) => {
                let snapshot = format!("{}@{SEALED}", self.dataset(base));
                self.zfs(&["clone", "-o", &mountpoint, "-o", "readonly=off", &snapshot, &dataset])
            }
            None => self.zfs(&["create", "-o", &mountpoint, &dataset]),
        };
        made.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                let why = format!("{error}; {} was not set up for images", self.root);
                failed(format!("make the dataset {dataset}"), io::Error::new(error.kind(), why))
            }
            _ => failed(format!("make the dataset {dataset}"), error),
        })?;
        Ok(Box::new(Making {
            datasets: self.another(),
            dataset: Some(dataset),
            path,
            begun: base.is_some(),
            sealed: false,
        }))
    }

    fn find(&self, name: &TreeName) -> Option<PathBuf> {
        Some(self.directory(&short(name))).filter(|path| path.join("rootfs").is_dir())
    }

    fn names(&self) -> Result<Vec<TreeName>> {
        let images = format!("{}/images", self.root);
        let listed = self
            .zfs(&["get", "-H", "-r", "-d", "1", "-t", "filesystem", "-o", "value", "appc:tree", &images])
            .map_err(|error| failed(format!("list the datasets below {images}"), error))?;
        Ok(listed.lines().filter_map(TreeName::read).collect())
    }

    fn discard(&self, names: &[TreeName]) -> Result<Box<dyn Discarded>> {
        let (mut freed, mut later) = (0, Vec::new());
        for name in names {
            let dataset = self.dataset(&short(name));
            let used = self.zfs(&["get", "-H", "-p", "-o", "value", "used", &dataset]);
            match self.zfs(&["destroy", "-r", &dataset]) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // Other trees began as it is.
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy && self.has_trees_only(&dataset) => {
                    later.push(self.set_aside(&dataset, &self.directory(&short(name)))?);
                }
                // A pod's rootfs is a clone of it: in use, whatever the store thinks.
                Err(error) => return Err(failed(format!("destroy {dataset}"), error)),
                Ok(_) => {
                    // What it was mounted on, which zfs leaves behind.
                    let _ = std::fs::remove_dir(self.directory(&short(name)));
                    freed += used.ok().and_then(|used| used.trim().parse::<u64>().ok()).unwrap_or(0);
                }
            }
        }
        Ok(Box::new(Destroyed { datasets: self.another(), freed, later }))
    }

    fn sweep(&self) -> Result<u64> {
        let images = format!("{}/images", self.root);
        let listed = self
            .zfs(&[
                "list",
                "-H",
                "-p",
                "-r",
                "-d",
                "1",
                "-t",
                "filesystem",
                "-o",
                "name,used,creation,mountpoint",
                &images,
            ])
            .map_err(|error| failed(format!("list the datasets below {images}"), error))?;
        // A draft is made and filled in one go: an old one is what a killed process left.
        const OLD: u64 = 24 * 60 * 60;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut freed = 0;
        for line in listed.lines() {
            let mut fields = line.split('\t');
            let (Some(name), Some(used), Some(creation)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            // The parent is listed, too.
            let Some(last) = name.strip_prefix(&*images).and_then(|rest| rest.strip_prefix('/')) else { continue };
            let old = creation.parse::<u64>().is_ok_and(|creation| creation + OLD < now);
            // What was set aside, or was about to be, goes with the last tree that began as it was.
            let aside = last.starts_with(GONE) || fields.next() == Some("none");
            if (aside || last.starts_with("new-") && old) && self.zfs(&["destroy", "-r", name]).is_ok() {
                freed += used.parse::<u64>().unwrap_or(0);
            }
        }
        Ok(freed)
    }

    fn stacks(&self) -> bool {
        false
    }

    fn streams(&self) -> Option<&dyn Streams> {
        Some(self)
    }
}

/// ZFS frees in the background: what is left to do is what others were clones of.
struct Destroyed<S> {
    datasets: Datasets<S>,
    freed: u64,
    later: Vec<String>,
}

impl<S: Programs + Clone + Send + 'static> Discarded for Destroyed<S> {
    fn free(self: Box<Self>) -> Result<u64> {
        for dataset in &self.later {
            // One that still has clones goes with them, by a later sweep.
            let _ = self.datasets.zfs(&["destroy", "-r", dataset]);
        }
        Ok(self.freed)
    }
}

pub(super) struct Making<S: Programs + Clone + Send + 'static> {
    pub(super) datasets: Datasets<S>,
    pub(super) dataset: Option<String>,
    pub(super) path: PathBuf,
    pub(super) begun: bool,
    /// Whether it has its snapshot already: it was received with it.
    pub(super) sealed: bool,
}

impl<S: Programs + Clone + Send + 'static> Draft for Making<S> {
    fn path(&self) -> &Path {
        &self.path
    }

    fn begun(&self) -> bool {
        self.begun
    }

    fn seal(mut self: Box<Self>, name: &TreeName) -> Result<()> {
        let Some(dataset) = self.dataset.clone() else { return Ok(()) };
        let short = short(name);
        let (new, directory) = (self.datasets.dataset(&short), self.datasets.directory(&short));
        let doing = |what: &str| format!("{what} {dataset}");
        let mountpoint = format!("mountpoint={}", directory.display());
        let tree = format!("appc:tree={name}");
        let snapshot = format!("{dataset}@{SEALED}");
        if !self.sealed {
            self.datasets.zfs(&["snapshot", &snapshot]).map_err(|error| failed(doing("seal"), error))?;
        }
        match self.datasets.zfs(&["rename", "-f", &dataset, &new]) {
            // Somebody was first with the same tree: this one goes when it is dropped. Who was killed before the last step
            // has left one that nobody finds; it is as good as ours.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if self.datasets.find(name).is_some() {
                    return Ok(());
                }
            }
            renamed => {
                renamed.map_err(|error| failed(doing("publish"), error))?;
                self.dataset = Some(new.clone());
            }
        }
        // `find` and `names` see it from here on.
        self.datasets
            .zfs(&["set", "readonly=on", &mountpoint, &tree, &new])
            .map_err(|error| failed(doing("publish"), error))?;
        if self.dataset.as_ref() == Some(&new) {
            self.dataset = None;
            // What it was mounted on, which zfs leaves behind.
            let _ = std::fs::remove_dir(&self.path);
        }
        Ok(())
    }
}

impl<S: Programs + Clone + Send + 'static> Drop for Making<S> {
    fn drop(&mut self) {
        if let Some(dataset) = self.dataset.take() {
            // What cannot be destroyed now is found by `sweep`.
            let _ = self.datasets.zfs(&["destroy", "-r", &dataset]);
            let _ = std::fs::remove_dir(&self.path);
        }
    }
}

/// What `jetpack init` made or found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Initialised {
    /// Datasets that were made; those that were there already are adopted.
    pub made: Vec<String>,
    /// Where the root dataset is mounted.
    pub mountpoint: PathBuf,
}

/// Makes the datasets below `root`, adopting what is there. The root is mounted when this is done.
///
/// # Errors
/// What `zfs` says: no pool, no permission, nowhere to mount the root at.
pub fn initialise(system: &mut dyn System, root: &str, mountpoint: &Path) -> io::Result<Initialised> {
    let mut made = Vec::new();
    let mut zfs = |arguments: &[&str]| system.run(Program::Zfs, arguments, "")?.success();
    let at = mountpoint.display();
    let sets = [
        // Images bring programs, setuid ones too, which a dataset above may forbid, as those of /tmp and /var/tmp do.
        (
            root.to_owned(),
            vec![format!("mountpoint={at}"), "exec=on".to_owned(), "setuid=on".to_owned(), "appc:version=1".to_owned()],
        ),
        // Only what is below these two is mounted.
        (format!("{root}/images"), vec![format!("mountpoint={at}/trees"), "canmount=off".to_owned()]),
        (format!("{root}/pods"), vec!["mountpoint=none".to_owned(), "canmount=off".to_owned()]),
    ];
    for (dataset, properties) in sets {
        let there = zfs(&["list", "-H", "-p", "-o", "name,mountpoint", &dataset]);
        match there {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut arguments = vec!["create", "-p"];
                for property in &properties {
                    arguments.extend(["-o", property]);
                }
                arguments.push(&dataset);
                zfs(&arguments)?;
                made.push(dataset);
            }
            Err(error) => return Err(error),
        }
    }
    // One that is there need not be mounted: images would be kept beside it, as plain directories.
    if zfs(&["get", "-H", "-p", "-o", "value", "mounted", root])?.trim() == "no" {
        zfs(&["mount", root])?;
    }
    let found = zfs(&["get", "-H", "-p", "-o", "value", "mountpoint", root])?;
    Ok(Initialised { made, mountpoint: PathBuf::from(found.trim()) })
}

/// The store below `root`: its trees are datasets where `root` is where a dataset made by [`initialise`] is mounted,
/// directories elsewhere.
///
/// # Errors
/// Those of [`Store::open`](crate::store::Store::open).
pub fn open_store<S: System + Clone + Send + 'static>(mut system: S, root: &Path) -> Result<Store> {
    let mounts = system.mounts().map_err(|error| failed("read the mount table".to_owned(), error))?;
    match mounts.iter().rev().find(|mount| mount.on == root) {
        Some(mount) if mount.kind == "zfs" => {
            let trees = Datasets::new(system, &mount.from, root);
            Store::open_with(root, std::sync::Arc::new(trees))
        }
        _ => Store::open(root),
    }
}
