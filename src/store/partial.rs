//! What has come of transfers, for the next process when this one is killed, and one transfer for all who want the same.
//!
//! ```text
//! <directory>/<sha256 of the key>/   locked by who transfers; removed with the transfer's end, good or bad
//!                        archive     the bytes as they came, from the first on
//!                        note        what tells whether the other side still has the same; the writer's business
//! ```
//! Nothing in here is believed: what is taken up again is checked from its first byte on, as if it came just now. Files are for
//! their owner's eyes: a password may have been shown to get them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt as _, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};

use super::image::is_at;

/// Fewer bytes are soon there again.
const WORTH_KEEPING: u64 = 64 << 10;

/// Transfers of processes that are gone that are kept at most.
const MOST: usize = 16;

/// The most that is read of a note.
const MAX_NOTE: u64 = 64 << 10;

/// A directory of transfers. Cheap to clone; made when there is something to keep.
#[derive(Clone, Debug)]
pub struct Partials(PathBuf);

/// A transfer. It is this value's alone while it lives, and goes with it unless it is [kept](Partial::keep).
#[derive(Debug)]
pub struct Partial {
    path: PathBuf,
    lock: File,
    archive: File,
    held: u64,
    resumed: bool,
    note: Option<String>,
    keep: bool,
    /// Fewer bytes are not kept.
    least: u64,
}

impl Partials {
    /// Those below `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self(directory.into())
    }

    /// The transfer of `key`, as far as it came before. Waits while another process is at it, which `waiting` is told; says
    /// whether that was so: what was wanted may be there by now.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn open(&self, key: &str, waiting: &dyn Fn()) -> io::Result<(Partial, bool)> {
        let path = self.path(key);
        let mut waited = false;
        let private = |path: &Path| match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        };
        loop {
            private(&self.0)?;
            // Somebody whose transfer ended may take one or both away at any moment.
            let lock = match private(&path).and_then(|()| File::open(&path)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            match lock.try_lock() {
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => {
                    if !waited {
                        waiting();
                    }
                    waited = true;
                    lock.lock()?;
                }
                Err(fs::TryLockError::Error(error)) => return Err(error),
            }
            if is_at(&lock, &path) {
                let _ = self.sweep(MOST, Duration::ZERO);
                return Ok((Partial::at(path, lock)?, waited));
            }
        }
    }

    /// Whether anything is kept of the transfer of `key`, or somebody is at it.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.path(key).is_dir()
    }

    /// The bytes that the next one who opens it will find.
    pub(crate) fn held(&self, key: &str) -> u64 {
        let path = self.path(key);
        let bytes = fs::metadata(path.join("archive")).map_or(0, |about| about.len());
        if path.join("note").exists() { bytes.saturating_sub(1) } else { 0 }
    }

    fn path(&self, key: &str) -> PathBuf {
        let name: String = Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
        self.0.join(name)
    }

    /// Removes what killed processes left, but for the `newest` and what is younger than `grace`; gives the bytes freed.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn sweep(&self, newest: usize, grace: Duration) -> io::Result<u64> {
        let listed = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            listed => listed?,
        };
        let now = SystemTime::now();
        let mut left: Vec<(Duration, u64, PathBuf, File)> = listed
            .flatten()
            .filter_map(|entry| {
                let lock = File::open(entry.path()).ok()?;
                lock.try_lock().ok()?;
                // Its transfer may have ended before it was locked, and another one have begun in its place.
                is_at(&lock, &entry.path()).then_some(())?;
                let about = fs::metadata(entry.path().join("archive")).or_else(|_| entry.metadata()).ok()?;
                let age = now.duration_since(about.modified().ok()?).unwrap_or_default();
                Some((age, about.len(), entry.path(), lock))
            })
            .collect();
        left.sort_by_key(|(age, ..)| *age);
        let mut freed = 0;
        for (age, bytes, path, _lock) in left.into_iter().skip(newest) {
            if age >= grace {
                fs::remove_dir_all(&path)?;
                freed += bytes;
            }
        }
        // One with something in it stays.
        let _ = fs::remove_dir(&self.0);
        Ok(freed)
    }
}

impl Partial {
    fn at(path: PathBuf, lock: File) -> io::Result<Self> {
        let mut archive = open(&path)?;
        if archive.metadata()?.nlink() > 1 {
            // Versions before this one gave it away by a link: it is an image's by now.
            archive = afresh(&path)?;
        }
        let mut note = String::new();
        let noted =
            File::open(path.join("note")).and_then(|file| file.take(MAX_NOTE).read_to_string(&mut note)).is_ok();
        // The last byte is asked for again: behind the end of something whole there is nothing to be asked for.
        let held = if noted { archive.metadata()?.len().saturating_sub(1) } else { 0 };
        archive.set_len(held)?;
        Ok(Self {
            path,
            lock,
            archive,
            held,
            resumed: false,
            note: noted.then_some(note),
            keep: false,
            least: WORTH_KEEPING,
        })
    }

    /// Bytes that have come before, and what was noted of them.
    pub(crate) fn held(&self) -> Option<(u64, &str)> {
        self.note.as_deref().filter(|_| self.held > 0).map(|note| (self.held, note))
    }

    /// Whether what came before was taken up.
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// Goes on behind what is held.
    pub(crate) fn resume(&mut self) {
        self.resumed = true;
    }

    /// Forgets what has come behind the first `bytes`.
    ///
    /// # Errors
    /// What the system says.
    pub fn hold(&mut self, bytes: u64) -> io::Result<()> {
        self.held = self.held.min(bytes);
        self.archive.set_len(self.held)
    }

    /// Forgets what has come. Nothing of what comes is taken up after a kill where there is no note.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn begin(&mut self, note: Option<&str>) -> io::Result<()> {
        (self.held, self.resumed, self.note) = (0, false, note.map(str::to_owned));
        // Not what is open: that may have been given away.
        self.archive = afresh(&self.path)?;
        let path = self.path.join("note");
        match note {
            Some(note) => crate::whole::replace(&path, 0o600, note.as_bytes(), crate::whole::Durability::Usual),
            None => match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        }
    }

    /// Adds what `source` gives. Errors of reading are its own.
    ///
    /// # Errors
    /// The inner one where the bytes could not be kept.
    pub(crate) fn fill(&mut self, source: &mut impl Read) -> io::Result<io::Result<()>> {
        let mut piece = vec![0; 64 << 10];
        loop {
            match source.read(&mut piece) {
                Ok(0) => return Ok(Ok(())),
                Ok(count) => match self.archive.write_all(&piece[..count]) {
                    Ok(()) => self.held += count as u64,
                    Err(error) => return Ok(Err(error)),
                },
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// What is held, from its first byte on.
    ///
    /// # Errors
    /// What the system says.
    pub fn reader(&self) -> io::Result<io::Take<File>> {
        Ok(File::open(self.path())?.take(self.held))
    }

    /// Where what has come is, until it is given.
    pub(crate) fn path(&self) -> PathBuf {
        self.path.join("archive")
    }

    /// Where what comes is written, and how many bytes are there and need not be.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn writer(&self) -> io::Result<(File, u64)> {
        Ok((self.archive.try_clone()?, self.held))
    }

    /// Moves what has come to another name on the same file system. Here nothing of it is left, which the next transfer would write
    /// into if this process were killed before it takes the rest away.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn give(&self, to: &Path) -> io::Result<()> {
        fs::rename(self.path(), to)
    }

    /// Leaves it for the next one, if that saves anything.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    /// Leaves it for the next one in any case: more belongs to it than is in here.
    pub(crate) fn keep_any(&mut self) {
        (self.keep, self.least) = (true, 0);
    }
}

/// The archive of the transfer at `path`, which is made where there is none.
fn open(path: &Path) -> io::Result<File> {
    let mut how = OpenOptions::new();
    how.read(true).append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(path.join("archive"))
}

/// A new archive in place of the one that is there.
fn afresh(path: &Path) -> io::Result<File> {
    match fs::remove_file(path.join("archive")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => open(path),
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        let much = || self.archive.metadata().is_ok_and(|about| about.len() >= self.least);
        if self.keep && self.note.is_some() && much() {
            return;
        }
        // What cannot be removed now is found by the next sweep.
        let _ = fs::remove_dir_all(&self.path);
        if let Some(parent) = self.path.parent() {
            let _ = fs::remove_dir(parent);
        }
        let _ = self.lock.unlock();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    fn open(partials: &Partials) -> (Partial, bool) {
        partials.open("key", &|| {}).unwrap()
    }

    fn text(partial: &Partial) -> Vec<u8> {
        let mut bytes = Vec::new();
        partial.reader().unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_is_kept_is_there_again_but_for_its_last_byte() {
        let directory = tempfile::tempdir().unwrap();
        let partials = Partials::new(directory.path().join("partial"));
        let bytes = vec![7; 100 << 10];
        let (mut first, waited) = open(&partials);
        assert!(!waited && first.held().is_none());
        first.begin(Some("n")).unwrap();
        first.fill(&mut &bytes[..]).unwrap().unwrap();
        first.keep();
        drop(first);
        let (mut second, _) = open(&partials);
        assert_eq!(second.held(), Some((bytes.len() as u64 - 1, "n")));
        assert_eq!(text(&second), bytes[1..]);
        second.begin(None).unwrap();
        assert_eq!((second.held(), text(&second)), (None, Vec::new()));
        second.keep();
        drop(second);
        assert!(!directory.path().join("partial").exists());
    }

    /// What a kill at this moment leaves.
    fn kill(partial: Partial) {
        partial.lock.unlock().unwrap();
        std::mem::forget(partial);
    }

    #[test]
    fn what_was_given_away_is_written_no_more_wherever_the_giver_was_killed() {
        let directory = tempfile::tempdir().unwrap();
        let partials = Partials::new(directory.path().join("partial"));
        let given = directory.path().join("image");
        let bytes = vec![7; 100 << 10];
        let come = || {
            let (mut partial, _) = open(&partials);
            assert_eq!(partial.held(), None);
            partial.begin(Some("n")).unwrap();
            partial.fill(&mut &bytes[..]).unwrap().unwrap();
            partial
        };
        let mut partial = come();
        partial.give(&given).unwrap();
        partial.begin(Some("another")).unwrap();
        partial.fill(&mut &b"others"[..]).unwrap().unwrap();
        assert_eq!(fs::read(&given).unwrap(), bytes);
        drop(partial);
        let partial = come();
        partial.give(&given).unwrap();
        kill(partial);
        drop(come());
        assert_eq!(fs::read(&given).unwrap(), bytes);
        // As versions before this one did.
        let partial = come();
        fs::remove_file(&given).unwrap();
        fs::hard_link(partial.path(), &given).unwrap();
        kill(partial);
        drop(come());
        assert_eq!(fs::read(&given).unwrap(), bytes);
    }

    #[test]
    fn whoever_wants_the_same_waits_and_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let partials = Partials::new(directory.path().join("partial"));
        let (first, _) = open(&partials);
        let (told, telling) = mpsc::channel();
        let second = thread::spawn({
            let partials = partials.clone();
            move || partials.open("key", &|| told.send(()).unwrap()).unwrap().1
        });
        telling.recv().unwrap();
        drop(first);
        assert!(second.join().unwrap());
    }

    #[test]
    fn no_more_than_some_are_kept_and_none_that_somebody_is_at() {
        let directory = tempfile::tempdir().unwrap();
        let partials = Partials::new(directory.path().join("partial"));
        for number in 0..MOST + 3 {
            let (mut partial, _) = partials.open(&number.to_string(), &|| {}).unwrap();
            partial.begin(Some("n")).unwrap();
            partial.fill(&mut &vec![0; WORTH_KEEPING as usize][..]).unwrap().unwrap();
            partial.keep();
        }
        let (alive, _) = partials.open("alive", &|| {}).unwrap();
        let count = || fs::read_dir(directory.path().join("partial")).map_or(0, Iterator::count);
        assert_eq!(count(), MOST + 1);
        assert_eq!(partials.sweep(0, Duration::from_secs(3600)).unwrap(), 0);
        assert_eq!(partials.sweep(0, Duration::ZERO).unwrap(), MOST as u64 * WORTH_KEEPING);
        assert_eq!(count(), 1);
        drop(alive);
        assert_eq!(count(), 0);
    }

    #[test]
    fn a_transfer_that_begins_while_others_are_swept_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let partials = Partials::new(directory.path().join("partial"));
        let done = std::sync::atomic::AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !done.load(std::sync::atomic::Ordering::Relaxed) {
                        // Another one may have taken away what was to be.
                        let _ = partials.sweep(0, Duration::ZERO);
                    }
                });
            }
            let began = (0..3000).map(|_| {
                let (mut partial, _) = open(&partials);
                partial.begin(Some("n")).is_ok() && partial.path().exists()
            });
            let lost = began.filter(|there| !there).count();
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            assert_eq!(lost, 0);
        });
    }
}
