//! Who has a pod in hand: a lock on a file of its directory, held as long as its supervisor lives.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::time::{Duration, Instant};

use super::directory::io_error;
use super::{Error, Kind, Part, PodDir};

/// Writes the caller's process id over whatever stands in a lock, in the width of the longest there is: a reader never finds it empty,
/// and ext4 writes a file out when one that was cut to nothing is closed, which waits for the disk.
fn sign(lock: &File) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    lock.write_all_at(format!("{:<10}\n", std::process::id()).as_bytes(), 0)
}

impl PodDir {
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
        let place = self.place(Part::Lock);
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
                    std::thread::sleep(Duration::from_millis(2));
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

    /// Whether somebody has the pod in hand, whatever its lock says of who that is.
    pub(crate) fn in_hand(&self) -> bool {
        let Ok(file) = File::open(self.place(Part::Lock)) else { return false };
        matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock))
    }

    /// The process id of whoever has the pod in hand, as long as it is in hand.
    pub fn supervisor(&self) -> Option<i32> {
        if !self.in_hand() {
            return None;
        }
        let pid = self.read_text(Part::Lock).ok().and_then(|pid| pid.trim().parse().ok()).filter(|pid| *pid > 0);
        // A lock that was damaged means no less, and the status says it too.
        pid.or_else(|| {
            let status: serde_json::Value = self.read_json(Part::Status).ok()?;
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
        match File::open(self.place(Part::Lock)) {
            Ok(file) => file.lock_shared().map_err(io_error(doing)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(io_error(doing)(error)),
        }
    }

    /// Waits for no longer than `patience` until nobody has the pod in hand. Says whether that has come.
    pub fn wait_for(&self, patience: Duration) -> Result<bool, Error> {
        let doing = || format!("wait for pod {}", self.uuid);
        let file = match File::open(self.place(Part::Lock)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            Err(error) => return Err(io_error(doing())(error)),
        };
        let end = Instant::now() + patience;
        loop {
            match file.try_lock_shared() {
                Ok(()) => return Ok(true),
                Err(fs::TryLockError::WouldBlock) if Instant::now() < end => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(fs::TryLockError::WouldBlock) => return Ok(false),
                Err(fs::TryLockError::Error(error)) => return Err(io_error(doing())(error)),
            }
        }
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
}
