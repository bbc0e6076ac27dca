//! Files and directories that are being made beside their places: they go when the user ends the program.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Signal, getpid, kill_process};

use super::signals::Watch;

static NOTED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Directories may grow while they are taken away.
const ROUNDS: usize = 100;

/// Something is being made at `path`, which is no longer there once it has its name.
pub fn note(path: &Path) {
    NOTED.lock().unwrap_or_else(PoisonError::into_inner).push(path.to_owned());
}

/// From now on SIGINT, SIGTERM and SIGHUP take away what is noted before they end this process as they would have.
pub fn remove_at_signals() -> io::Result<()> {
    let watch = Watch::new(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP])?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || wait(watch)).map(drop)
}

fn wait(watch: Watch) {
    let signal = loop {
        if let Some(signal) = watch.next() {
            break signal;
        }
        match poll(&mut [PollFd::new(&watch, PollFlags::IN)], None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
    };
    for path in NOTED.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        remove(path);
    }
    // The signal does again what it does by default.
    drop(watch);
    if let Some(signal) = Signal::from_named_raw(signal) {
        let _ = kill_process(getpid(), signal);
    }
}

fn remove(path: &Path) {
    for _ in 0..ROUNDS {
        match fs::symlink_metadata(path) {
            Err(_) => return,
            Ok(about) if about.is_dir() => drop(fs::remove_dir_all(path)),
            Ok(_) => drop(fs::remove_file(path)),
        }
    }
}
