//! Pods on disk: made, found, locked, removed. Drawn in the [module above](super).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::status::{AppStatus, Status};
use super::{Bounds, Error, Kind};
use crate::schema::PodManifest;
use crate::store::{ground, remove_tree};
use crate::whole::{self, Durability};

/// All pods below one root.
#[derive(Clone, Debug)]
pub struct Pods {
    root: PathBuf,
}

/// Where a pod is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Left unfinished by whoever was making it.
    Embryo,
    /// Being made.
    Preparing,
    /// Ready to be run.
    Prepared,
    /// Its supervisor lives.
    Running,
    /// It has run.
    Exited,
    /// Being removed.
    Removing,
}

impl State {
    /// All of them, in the order of a pod's life.
    pub const ALL: [Self; 6] =
        [Self::Embryo, Self::Preparing, Self::Prepared, Self::Running, Self::Exited, Self::Removing];
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Embryo => "embryo",
            Self::Preparing => "preparing",
            Self::Prepared => "prepared",
            Self::Running => "running",
            Self::Exited => "exited",
            Self::Removing => "removing",
        })
    }
}

/// The directory of one pod.
#[derive(Debug)]
pub struct PodDir {
    uuid: Uuid,
    path: PathBuf,
    /// Held exclusively by who has it in hand.
    lock: Option<File>,
}

fn io_error(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let doing = doing.into();
    move |error| Error::new(Kind::Io, doing).because(error)
}

fn make_directory(path: &Path) -> Result<(), Error> {
    let made = fs::DirBuilder::new().mode(0o700).recursive(true).create(path);
    made.map_err(io_error(format!("make the directory {}", path.display())))
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
        let directory = self.pods().join(pod.uuid.to_string());
        Ok(Bounds { uuid: pod.uuid, directory, root })
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

    fn pods(&self) -> PathBuf {
        self.root.join("pods")
    }

    fn names(&self) -> PathBuf {
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
        let path = self.pods().join(uuid.to_string());
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
        let path = self.pods().join(uuid.to_string());
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

    /// The pod that has this name.
    pub fn named(&self, name: &str) -> Result<Option<PodDir>, Error> {
        if !fit_name(name) {
            return Ok(None);
        }
        let Ok(uuid) = fs::read_to_string(self.names().join(name)) else { return Ok(None) };
        let Ok(uuid) = uuid.trim().parse() else { return Ok(None) };
        match self.get(uuid) {
            Ok(pod) if pod.read_text("name").ok().as_deref() == Some(name) => Ok(Some(pod)),
            _ => Ok(None),
        }
    }

    /// Gives `pod` a name that no living pod has.
    pub fn name(&self, pod: &PodDir, name: &str) -> Result<(), Error> {
        let doing = || format!("name the pod {name}");
        if !fit_name(name) {
            return Err(Error::new(Kind::Invalid, doing()).because(NAMES));
        }
        make_directory(&self.names())?;
        let guard = self.names().join(".lock");
        let guard = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(guard);
        let guard = guard.and_then(|guard| guard.lock().map(|()| guard)).map_err(io_error(doing()))?;
        if let Some(other) = self.named(name)?
            && other.uuid != pod.uuid
            && matches!(other.state(), State::Running | State::Prepared | State::Preparing)
        {
            return Err(Error::new(Kind::Busy, doing()).because(format!("pod {} has that name", other.uuid)));
        }
        pod.write("name", name.as_bytes())?;
        publish(&self.names(), name, pod.uuid.to_string().as_bytes())?;
        drop(guard);
        Ok(())
    }

    /// Gives it another name than it has, or none had.
    ///
    /// # Errors
    /// As [`Pods::name`]: it has its old one then.
    pub fn rename(&self, pod: &PodDir, name: &str) -> Result<(), Error> {
        let before = self.own_name(pod);
        self.name(pod, name)?;
        if let Some(before) = before.filter(|before| before != name) {
            let _ = fs::remove_file(self.names().join(before));
        }
        Ok(())
    }

    /// The name that leads to this pod.
    fn own_name(&self, pod: &PodDir) -> Option<String> {
        let name = pod.given_name()?;
        self.named(&name).ok()?.filter(|owner| owner.uuid == pod.uuid).map(|_| name)
    }

    /// Lets go of the pod's name and removes the directory. What its journal names must be undone.
    pub(crate) fn remove(&self, pod: PodDir) -> Result<(), Error> {
        if let Some(name) = self.own_name(&pod) {
            let _ = fs::remove_file(self.names().join(name));
        }
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

/// There while the pod's processes are held.
const PAUSED: &str = "paused";

/// What names of pods are.
pub const NAMES: &str = "a name is 1 to 63 lower-case letters, digits and single dashes between them";

/// Whether a pod may be called that: as AC names are, and short enough for a host name.
pub fn fit_name(name: &str) -> bool {
    name.len() <= 63 && name.parse::<crate::schema::AcName>().is_ok()
}

fn publish(directory: &Path, name: &str, bytes: &[u8]) -> Result<(), Error> {
    let place = directory.join(name);
    // No pod outlives its host.
    whole::replace(&place, 0o600, bytes, Durability::Fleeting).map_err(io_error(format!("write {}", place.display())))
}

/// Writes the caller's process id over whatever stands in a lock, in the width of the longest there is: a reader never finds it empty,
/// and ext4 writes a file out when one that was cut to nothing is closed, which waits for the disk.
fn sign(lock: &File) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    lock.write_all_at(format!("{:<10}\n", std::process::id()).as_bytes(), 0)
}

impl PodDir {
    /// The pod's UUID.
    pub fn uuid(&self) -> Uuid {
        self.uuid
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the pod in hand: waits for nobody.
    ///
    /// # Errors
    /// [`Kind::Busy`] when another process has it; [`Kind::Missing`] when it is gone meanwhile.
    pub fn lock(&mut self) -> Result<(), Error> {
        if self.lock.is_some() {
            return Ok(());
        }
        let doing = || format!("take pod {} in hand", self.uuid);
        let mut options = OpenOptions::new();
        // One that is being removed gets nothing new in it.
        options.create(!self.is_going()).truncate(false).read(true).write(true).mode(0o600);
        let gone = || Error::new(Kind::Missing, doing()).because("it was removed just now");
        let place = self.path.join("lock");
        let file = match options.open(&place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(gone()),
            opened => opened.map_err(io_error(doing()))?,
        };
        // Whoever looks at the state holds the lock shared for a moment.
        let mut patience = 50;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(fs::TryLockError::WouldBlock) if patience > 0 && !self.in_hand() => {
                    patience -= 1;
                    std::thread::sleep(std::time::Duration::from_millis(2));
                }
                Err(fs::TryLockError::WouldBlock) => {
                    return Err(Error::new(Kind::Busy, doing()).because("another process has it in hand"));
                }
                Err(fs::TryLockError::Error(error)) => return Err(io_error(doing())(error)),
            }
        }
        let is_at = |file: &File| Some((file.metadata().ok()?.dev(), file.metadata().ok()?.ino()));
        let now = fs::symlink_metadata(&place).ok().map(|about| (about.dev(), about.ino()));
        if is_at(&file) != now {
            return Err(gone());
        }
        // On a full disk it does not say whose it is, and is held all the same.
        let _ = sign(&file);
        self.lock = Some(file);
        Ok(())
    }

    fn is_going(&self) -> bool {
        self.path.parent().and_then(Path::file_name).is_some_and(|name| name == "removing")
    }

    /// Whether somebody has the pod in hand, whatever its lock says of who that is.
    pub(crate) fn in_hand(&self) -> bool {
        let Ok(file) = File::open(self.path.join("lock")) else { return false };
        matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock))
    }

    /// The process id of whoever has the pod in hand, as long as it is in hand.
    pub fn supervisor(&self) -> Option<i32> {
        if !self.in_hand() {
            return None;
        }
        let pid = self.read_text("lock").ok().and_then(|pid| pid.trim().parse().ok()).filter(|pid| *pid > 0);
        // A lock that was damaged means no less, and the status says it too.
        pid.or_else(|| {
            let status: serde_json::Value = self.read_json("status").ok()?;
            i32::try_from(status["supervisor"].as_i64()?).ok().filter(|pid| *pid > 0)
        })
    }

    /// Writes the caller's process id into the lock that it holds, after it has become another process.
    pub fn sign_lock(&self) -> Result<(), Error> {
        let Some(file) = self.lock.as_ref() else { return Ok(()) };
        sign(file).map_err(io_error(format!("take pod {} in hand", self.uuid)))
    }

    /// Waits until nobody has the pod in hand, which is when it has ended.
    pub fn wait(&self) -> Result<(), Error> {
        let doing = format!("wait for pod {}", self.uuid);
        match File::open(self.path.join("lock")) {
            Ok(file) => file.lock_shared().map_err(io_error(doing)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(io_error(doing)(error)),
        }
    }

    /// Waits for no longer than `patience` until nobody has the pod in hand. Says whether that has come.
    pub fn wait_for(&self, patience: std::time::Duration) -> Result<bool, Error> {
        let doing = || format!("wait for pod {}", self.uuid);
        let file = match File::open(self.path.join("lock")) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            Err(error) => return Err(io_error(doing())(error)),
        };
        let end = std::time::Instant::now() + patience;
        loop {
            match file.try_lock_shared() {
                Ok(()) => return Ok(true),
                Err(fs::TryLockError::WouldBlock) if std::time::Instant::now() < end => {
                    std::thread::sleep(std::time::Duration::from_millis(2));
                }
                Err(fs::TryLockError::WouldBlock) => return Ok(false),
                Err(fs::TryLockError::Error(error)) => return Err(io_error(doing())(error)),
            }
        }
    }

    /// How long its apps may take that are asked to stop, as its supervisor has it.
    pub fn grace(&self) -> Option<std::time::Duration> {
        let status: serde_json::Value = self.read_json("status").ok()?;
        let told: Option<u64> = self.read_json("grace").ok();
        Some(std::time::Duration::from_secs(told.or_else(|| status["grace"].as_u64())?))
    }

    /// Sends a signal to whoever has the pod in hand.
    ///
    /// # Errors
    /// [`Kind::Missing`] when nobody has.
    pub fn signal_supervisor(&self, signal: i32) -> Result<(), Error> {
        use rustix::process::{Pid, Signal, kill_process};
        let missing = || Error::new(Kind::Missing, format!("signal pod {}", self.uuid)).because("it does not run");
        let pid = self.supervisor().and_then(Pid::from_raw).ok_or_else(missing)?;
        let signal = Signal::from_named_raw(signal).ok_or_else(missing)?;
        match kill_process(pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(io_error(format!("signal pod {}", self.uuid))(error.into())),
        }
    }

    /// Marks a pod that is not to wait for somebody to start it: when nobody has it in hand, it has ended.
    pub(crate) fn mark_begun(&self) -> Result<(), Error> {
        self.write("begun", b"")
    }

    /// Marks that its processes are held, or go on.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn mark_paused(&self, paused: bool) -> Result<(), Error> {
        if paused {
            return self.write(PAUSED, b"");
        }
        match fs::remove_file(self.path.join(PAUSED)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(io_error(format!("remove {}", self.path.join(PAUSED).display()))(error))
            }
            _ => Ok(()),
        }
    }

    /// Whether its processes are held.
    pub fn is_paused(&self) -> bool {
        self.path.join(PAUSED).exists() && self.state() == State::Running
    }

    /// Whether it has been run, however far that went.
    pub fn has_started(&self) -> bool {
        self.path.join("journal").exists()
    }

    /// Where the pod is in its life.
    pub fn state(&self) -> State {
        let in_hand = self.lock.is_some() || self.in_hand();
        let has = |name: &str| self.path.join(name).exists();
        if self.is_going() {
            State::Removing
        } else if has("status") {
            if in_hand { State::Running } else { State::Exited }
        } else if in_hand {
            State::Preparing
        } else if has("journal") || has("begun") {
            // Its supervisor was gone before an app was started.
            State::Exited
        } else if has("plan") {
            State::Prepared
        } else {
            State::Embryo
        }
    }

    /// Writes one of the pod's files, whole or not at all.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        publish(&self.path, name, bytes)
    }

    /// Writes one of the pod's files as JSON.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), Error> {
        let bytes =
            serde_json::to_vec(value).map_err(|error| Error::new(Kind::Io, format!("write {name}")).because(error))?;
        self.write(name, &bytes)
    }

    /// Sees to it that the file `name` can be written at the end, though the disk be full by then: sets aside as much.
    ///
    /// # Errors
    /// There is no such room now.
    pub(crate) fn set_aside(&self, name: &str, bytes: usize) -> Result<(), Error> {
        fs::write(self.spare(name), vec![b' '; bytes]).map_err(io_error(format!("set room for {name} aside")))
    }

    fn spare(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.spare"))
    }

    /// Writes one of the pod's files as JSON, into what was set aside where there is no other room.
    ///
    /// # Errors
    /// That of the first attempt.
    pub(crate) fn write_json_somehow(&self, name: &str, value: &impl Serialize) -> Result<(), Error> {
        let Err(error) = self.write_json(name, value) else { return Ok(()) };
        #[cfg(target_os = "linux")]
        if self.write_into_spare(name, value).is_ok() {
            return Ok(());
        }
        Err(error)
    }

    /// Changes places with what was there, whose room is what is set aside from then on.
    #[cfg(target_os = "linux")]
    fn write_into_spare(&self, name: &str, value: &impl Serialize) -> io::Result<()> {
        let (spare, place) = (self.spare(name), self.path.join(name));
        use std::io::Write as _;
        let mut file = OpenOptions::new().write(true).open(&spare)?;
        let bytes = serde_json::to_vec(value)?;
        file.write_all(&bytes)?;
        file.set_len(bytes.len() as u64)?;
        if place.exists() { whole::exchange(&spare, &place) } else { fs::rename(&spare, &place) }
    }

    /// Reads one of the pod's files.
    pub(crate) fn read(&self, name: &str) -> Result<Vec<u8>, Error> {
        let path = self.path.join(name);
        fs::read(&path).map_err(|error| {
            let kind = if error.kind() == io::ErrorKind::NotFound { Kind::Missing } else { Kind::Io };
            Error::new(kind, format!("read {}", path.display())).because(error)
        })
    }

    fn read_text(&self, name: &str) -> Result<String, Error> {
        let corrupt = || Error::new(Kind::Corrupt, format!("read {}", self.path.join(name).display()));
        String::from_utf8(self.read(name)?).map_err(|error| corrupt().because(error))
    }

    /// Reads one of the pod's files as JSON.
    ///
    /// # Errors
    /// [`Kind::Missing`], [`Kind::Corrupt`], [`Kind::Io`].
    pub fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<T, Error> {
        let corrupt = || Error::new(Kind::Corrupt, format!("read {}", self.path.join(name).display()));
        serde_json::from_slice(&self.read(name)?).map_err(|error| corrupt().because(error))
    }

    /// Reads one of the pod's files as JSON that need not be there.
    ///
    /// # Errors
    /// [`Kind::Corrupt`], [`Kind::Io`]: what is there and does not read is not the same as nothing.
    pub fn read_json_if_there<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        match self.read_json(name) {
            Err(error) if *error.kind() == Kind::Missing => Ok(None),
            read => read.map(Some),
        }
    }

    /// Takes back that the pod was started, once what its journal names is undone: it is prepared again.
    pub(crate) fn forget_start(&self) -> Result<(), Error> {
        // The journal last: without a status and with it the pod has ended; but for the mark of one that began at once.
        for name in ["grace", PAUSED, "status", "journal", "begun"] {
            match fs::remove_file(self.path.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(io_error(format!("remove {}", self.path.join(name).display()))(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The pod's name, if it has one.
    pub fn given_name(&self) -> Option<String> {
        self.read_text("name").ok()
    }

    /// How its apps are. Nothing when it was never started.
    pub fn status(&self) -> Option<Status> {
        self.read_json("status").ok()
    }

    /// How its apps are; a status that does not read is an error, and none is nothing.
    ///
    /// # Errors
    /// [`Kind::Corrupt`], [`Kind::Io`].
    pub fn read_status(&self) -> Result<Option<Status>, Error> {
        self.read_json_if_there("status")
    }

    /// Whether its supervisor was gone before it could write down how the pod ended.
    pub fn is_lost(&self) -> bool {
        let begun = self.has_started() && self.state() == State::Exited;
        begun && self.status().is_none_or(|status| status.ended.is_none())
    }

    /// How its apps are; of a pod that was never started, that they are the planned ones.
    pub fn status_or_plan(&self) -> Status {
        let planned = || -> Status {
            let plan: Option<PodManifest> = self.read_json("manifest").ok();
            let names = plan.into_iter().flat_map(|plan| plan.apps).map(|app| app.name.to_string());
            let apps = names.map(|name| AppStatus { name, ..AppStatus::default() }).collect();
            Status { apps, ..Status::default() }
        };
        let mut status = self.status().unwrap_or_else(planned);
        if self.state() != State::Running {
            // A supervisor that was killed leaves numbers that are other processes' by now.
            status.apps.iter_mut().for_each(|app| app.pid = None);
        }
        status
    }

    /// Where its metadata service is, while it runs and has one.
    pub(crate) fn metadata_url(&self) -> Option<String> {
        let status: serde_json::Value = self.read_json("status").ok()?;
        status["metadata_url"].as_str().map(str::to_owned)
    }

    /// Makes a directory of the pod's.
    pub(crate) fn make_directory(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.path.join(name);
        make_directory(&path)?;
        Ok(path)
    }
}
