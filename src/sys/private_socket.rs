//! Unix sockets of programs that serve, which only their user and root may connect to.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::Mode;

/// A socket, and the lock that says that somebody serves it. What comes behind a program that is gone replaces what it left.
#[derive(Debug)]
pub struct PrivateSocket {
    /// What is listened to.
    pub listener: UnixListener,
    /// `<path>.lock`, locked as long as this lives.
    pub lock: File,
}

impl PrivateSocket {
    /// Listens on `path`.
    ///
    /// # Errors
    /// [`ErrorKind::AddrInUse`] when another serves it; [`ErrorKind::AlreadyExists`] when what is there is no socket; the system's.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let lock = File::options().write(true).create(true).truncate(false).open(&name)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ErrorKind::AddrInUse.into()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        match fs::symlink_metadata(path) {
            Ok(about) if about.file_type().is_socket() => fs::remove_file(path)?,
            Ok(_) => return Err(io::Error::new(ErrorKind::AlreadyExists, "it is there and is no socket")),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        // The mode at birth: between a bind and a chmod others could connect.
        let umask = rustix::process::umask(Mode::from_raw_mode(0o177));
        let bound = UnixListener::bind(path);
        rustix::process::umask(umask);
        Ok(Self { listener: bound?, lock })
    }
}
