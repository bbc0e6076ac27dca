//! The way from whoever attaches to a pod that was left running to what its apps read: a named pipe in the pod's directory, which the
//! pod's supervisor reads, and no process of the pod ever has.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags, mkfifoat, open, unlink};
use rustix::io::Errno;

use super::{Error, Kind, Part, PodDir};
use crate::sys::terminal::Size;

impl PodDir {
    /// Makes it anew, and gives the end to read from, which does not block, and has no end as long as it is open.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub(crate) fn make_input(&self) -> Result<OwnedFd, Error> {
        let path = self.place(Part::Input);
        let make = || -> io::Result<OwnedFd> {
            for old in [&path, &self.place(Part::Window)] {
                match unlink(old) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR)?;
            // Open for writing too, it does not end with the first that goes away.
            let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            Ok(open(&path, flags, Mode::empty())?)
        };
        make().map_err(|error| Error::new(Kind::Io, format!("make {}", path.display())).because(error))
    }

    /// The end to write to, which does not block. Nothing: no app of it reads what others hand over, or nobody looks after it.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn open_input(&self) -> Result<Option<OwnedFd>, Error> {
        let path = self.place(Part::Input);
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match open(&path, flags, Mode::empty()) {
            Ok(input) => Ok(Some(input)),
            Err(Errno::NOENT | Errno::NXIO) => Ok(None),
            Err(error) => Err(Error::new(Kind::Io, format!("open {}", path.display())).because(io::Error::from(error))),
        }
    }

    /// Says how large the window is in which its terminal is seen, and has it take that size.
    ///
    /// # Errors
    /// Those of [`PodDir::write_json`] and [`PodDir::signal_supervisor`].
    pub fn set_window(&self, size: Size) -> Result<(), Error> {
        self.write_json(Part::Window, &size)?;
        self.signal_supervisor(libc::SIGWINCH)
    }

    /// How large whoever attached last has said that it is.
    pub(crate) fn window(&self) -> Option<Size> {
        self.read_json(Part::Window).ok()
    }
}
