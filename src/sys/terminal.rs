//! Terminals: raw for as long as another one is shown through them, and of the same size.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

/// A terminal made raw; as it was again when this is dropped.
#[derive(Debug)]
pub struct Raw {
    terminal: OwnedFd,
    before: Termios,
}

impl Raw {
    /// Makes `terminal` raw. Nothing when it is not a terminal.
    ///
    /// # Errors
    /// The system's.
    pub fn new(terminal: impl AsFd) -> io::Result<Option<Self>> {
        if !isatty(&terminal) {
            return Ok(None);
        }
        let before = tcgetattr(&terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&terminal, OptionalActions::Drain, &raw)?;
        Ok(Some(Self { terminal: terminal.as_fd().try_clone_to_owned()?, before }))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // The terminal may be gone by now.
        let _ = tcsetattr(&self.terminal, OptionalActions::Drain, &self.before);
    }
}

/// Gives the terminal `to` the size of `from`. One that is not a terminal has no size.
pub fn copy_size(from: impl AsFd, to: impl AsFd) {
    if let Ok(size) = tcgetwinsize(from) {
        let _ = tcsetwinsize(to, size);
    }
}
