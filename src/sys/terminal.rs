//! Terminals: raw for as long as another one is shown through them, and of the same size.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, Winsize, isatty, tcgetattr, tcgetpgrp, tcgetwinsize,
    tcsetattr, tcsetwinsize,
};

/// What ends the input of a terminal unless it was told otherwise.
const END: u8 = 4;

/// Which of this process's standard streams are terminals.
pub(crate) fn own() -> [bool; 3] {
    [isatty(rustix::stdio::stdin()), isatty(rustix::stdio::stdout()), isatty(rustix::stdio::stderr())]
}

/// What kind of terminal ours is, for who sees another through it.
pub(crate) fn kind() -> String {
    let fit = |kind: &String| {
        (1..=64).contains(&kind.len())
            && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-+._".contains(&byte))
    };
    std::env::var("TERM").ok().filter(fit).unwrap_or_else(|| "xterm".to_owned())
}

/// Whether `stream` is a terminal that belongs to others now: who reads it nevertheless is stopped.
pub(crate) fn is_others(stream: impl AsFd) -> bool {
    let stream = stream.as_fd();
    isatty(stream) && tcgetpgrp(stream).is_ok_and(|group| group != rustix::process::getpgrp())
}

/// What has to be typed into `terminal` so that whoever reads there finds the end.
pub(crate) fn end_of_input(terminal: impl AsFd) -> u8 {
    match tcgetattr(terminal) {
        Ok(now) if now.local_modes.contains(LocalModes::ICANON) => match now.special_codes[SpecialCodeIndex::VEOF] {
            // Both systems' word for none.
            0 | 0xff => END,
            code => code,
        },
        _ => END,
    }
}

/// A terminal made raw; as it was again when this is dropped.
#[derive(Debug)]
pub struct Raw {
    terminal: OwnedFd,
    before: Termios,
}

impl Raw {
    /// Makes `terminal` raw. Nothing when it is not a terminal, or belongs to others now.
    ///
    /// # Errors
    /// The system's.
    pub fn new(terminal: impl AsFd) -> io::Result<Option<Self>> {
        if !isatty(&terminal) || is_others(&terminal) {
            return Ok(None);
        }
        let before = tcgetattr(&terminal)?;
        let made = Self { terminal: terminal.as_fd().try_clone_to_owned()?, before };
        made.set()?;
        Ok(Some(made))
    }

    /// Sets the terminal again, after others have had the terminal.
    pub fn again(&self) {
        if !is_others(&self.terminal) {
            // It may be gone by now.
            let _ = self.set();
        }
    }

    fn set(&self) -> io::Result<()> {
        let mut raw = self.before.clone();
        raw.make_raw();
        Ok(tcsetattr(&self.terminal, OptionalActions::Drain, &raw)?)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // The terminal may be gone by now.
        let _ = tcsetattr(&self.terminal, OptionalActions::Drain, &self.before);
    }
}

/// Rows and columns.
pub(crate) type Size = (u16, u16);

/// The size of a terminal; nothing: it is none.
pub fn size(of: impl AsFd) -> Option<Size> {
    tcgetwinsize(of).ok().map(|size| (size.ws_row, size.ws_col))
}

/// Gives a terminal a size.
pub(crate) fn set_size(to: impl AsFd, (ws_row, ws_col): Size) {
    // What is no terminal any more has none.
    let _ = tcsetwinsize(to, Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 });
}

/// Gives the terminal `to` the size of `from`. One that is not a terminal has no size.
pub(crate) fn copy_size(from: impl AsFd, to: impl AsFd) {
    if let Ok(size) = tcgetwinsize(from) {
        let _ = tcsetwinsize(to, size);
    }
}
