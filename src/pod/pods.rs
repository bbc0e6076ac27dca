//! All pods below one root: made, found, removed.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::directory::{io_error, make_directory};
use super::{Bounds, Error, Kind, PodDir};
use crate::store::{ground, remove_tree};

/// All pods below one root.
#[derive(Clone, Debug)]
pub struct Pods {
    root: PathBuf,
}

fn of_root(error: ground::Error) -> Error {
    let kind = if *error.kind() == ground::Kind::Io { Kind::Io } else { Kind::Corrupt };
    Error::new(kind, "come to the pods").because(error)
}

impl Pods {
    /// The pods below `root`, the directory that `--root` names.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The pods below `root`, for whoever does something to them: nobody else may write to the root, and it is where it was made.
    ///
    /// # Errors
    /// [`Kind::Corrupt`], with what the root is.
    pub fn open(root: &Path) -> Result<Self, Error> {
        ground::check(root).map_err(of_root)?;
        ground::identity(root).map_err(of_root)?;
        Ok(Self::new(root))
    }

    /// What undoing `pod` may touch.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] where the root is another's.
    pub(crate) fn bounds(&self, pod: &PodDir) -> Result<Bounds, Error> {
        let root = ground::identity(&self.root).map_err(of_root)?;
        Ok(Bounds { uuid: pod.uuid, directory: self.directory(pod.uuid), root })
    }

    /// Makes a root that came from elsewhere one of its own. The pods that came with it are forgotten: their directories go,
    /// what their journals name outside of them is the other root's. Gives which they were.
    ///
    /// # Errors
    /// [`Kind::Busy`] where one of them runs here.
    pub(crate) fn adopt(&self) -> Result<Vec<Uuid>, Error> {
        let mut forgotten = Vec::new();
        for mut pod in self.list()? {
            match pod.lock() {
                Err(error) if *error.kind() == Kind::Missing => {}
                locked => locked?,
            }
            forgotten.push(pod.uuid);
            self.remove(pod)?;
        }
        ground::adopt(&self.root).map_err(of_root)?;
        Ok(forgotten)
    }

    /// Where the directory of the pod `uuid` is as long as that is not removed.
    pub fn directory(&self, uuid: Uuid) -> PathBuf {
        self.pods().join(uuid.to_string())
    }

    fn pods(&self) -> PathBuf {
        self.root.join("pods")
    }

    pub(super) fn names(&self) -> PathBuf {
        self.root.join("names")
    }

    fn making(&self) -> PathBuf {
        self.pods().join("making")
    }

    fn removing(&self) -> PathBuf {
        self.pods().join("removing")
    }

    /// Makes a new pod's directory, its lock held: until it is, the directory has a name that nobody looks at.
    pub(crate) fn create(&self, uuid: Uuid) -> Result<PodDir, Error> {
        ground::identify(&self.root).map_err(of_root)?;
        // That of the pods that go too, as a full disk must not keep one from going.
        for directory in [self.pods(), self.making(), self.removing()] {
            make_directory(&directory)?;
        }
        let path = self.directory(uuid);
        let failed = || format!("make the directory {}", path.display());
        // Whoever sweeps waits for those who are about to give theirs its name.
        let making = File::open(self.making()).and_then(|making| making.lock_shared().map(|()| making));
        let _making = making.map_err(io_error(failed()))?;
        let mut pod = PodDir { uuid, path: self.making().join(uuid.to_string()), lock: None };
        fs::DirBuilder::new().mode(0o700).create(&pod.path).map_err(io_error(failed()))?;
        let locked = pod.lock().and_then(|()| fs::rename(&pod.path, &path).map_err(io_error(failed())));
        if let Err(error) = locked {
            // What stays is swept.
            let _ = fs::remove_dir_all(&pod.path);
            return Err(error);
        }
        pod.path = path;
        Ok(pod)
    }

    /// Takes away what processes left that were killed before a pod of theirs had its name.
    pub fn sweep(&self) -> Result<(), Error> {
        let failed = || format!("sweep {}", self.making().display());
        let making = match File::open(self.making()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            making => making.map_err(io_error(failed()))?,
        };
        making.lock().map_err(io_error(failed()))?;
        for entry in fs::read_dir(self.making()).map_err(io_error(failed()))? {
            let entry = entry.map_err(io_error(failed()))?;
            remove_tree(&entry.path()).map_err(io_error(failed()))?;
        }
        Ok(())
    }

    /// Every pod, in no order. Costs one directory.
    pub fn list(&self) -> Result<Vec<PodDir>, Error> {
        let mut found = Vec::new();
        for directory in [self.pods(), self.removing()] {
            let entries = match fs::read_dir(&directory) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(io_error(format!("read {}", directory.display()))(error)),
            };
            for entry in entries {
                let entry = entry.map_err(io_error(format!("read {}", directory.display())))?;
                if let Some(uuid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                    found.push(PodDir { uuid, path: entry.path(), lock: None });
                }
            }
        }
        Ok(found)
    }

    /// The pod of this UUID.
    pub(crate) fn get(&self, uuid: Uuid) -> Result<PodDir, Error> {
        let path = self.directory(uuid);
        if path.is_dir() {
            return Ok(PodDir { uuid, path, lock: None });
        }
        Err(Error::new(Kind::Missing, format!("find pod {uuid}")).because("there is no such pod"))
    }

    /// The pod that a person means: a UUID, the beginning of one, or the name of a living pod.
    pub fn find(&self, text: &str) -> Result<PodDir, Error> {
        if let Ok(uuid) = text.parse::<Uuid>() {
            return self.get(uuid);
        }
        if let Some(pod) = self.named(text)? {
            return Ok(pod);
        }
        let hexadecimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        let prefix = text.to_ascii_lowercase();
        let mut pods = if hexadecimal { self.list()? } else { Vec::new() };
        pods.retain(|pod| pod.uuid.to_string().starts_with(&prefix));
        let doing = || format!("find pod {text}");
        match pods.len() {
            0 => Err(Error::new(Kind::Missing, doing()).because("there is no pod of that name or UUID")),
            1 => Ok(pods.remove(0)),
            many => {
                Err(Error::new(Kind::Busy, doing()).because(format!("{many} pods begin like that; give more of it")))
            }
        }
    }

    /// Lets go of the pod's name and removes the directory. What its journal names must be undone.
    pub(crate) fn remove(&self, pod: PodDir) -> Result<(), Error> {
        self.forget_name(&pod);
        let failed = || format!("remove pod {}", pod.uuid);
        make_directory(&self.removing())?;
        let gone = self.removing().join(pod.uuid.to_string());
        if pod.path != gone {
            match fs::rename(&pod.path, &gone) {
                // Somebody else has removed it, which is what was to be done.
                Err(_) if !pod.path.exists() => {}
                // One of its name that was left half removed makes room.
                Err(_) if gone.exists() => {
                    remove_tree(&gone).map_err(io_error(failed()))?;
                    fs::rename(&pod.path, &gone).map_err(io_error(failed()))?;
                }
                renamed => renamed.map_err(io_error(failed()))?,
            }
        }
        remove_tree(&gone).map_err(io_error(failed()))
    }
}
