//! Writing where the other side may take its time: standard streams are shared, and whoever else has one may have made it non-blocking.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// What fits in for sure where poll(2) says that there is room.
pub(crate) const PIECE: usize = libc::PIPE_BUF;

/// A descriptor that is written to, waiting for room where it has none. Nothing is kept back.
#[derive(Debug)]
pub struct Patient<'a>(BorrowedFd<'a>);

impl<'a> Patient<'a> {
    /// One that writes to `stream`.
    pub fn new(stream: &'a impl AsFd) -> Self {
        Self(stream.as_fd())
    }
}

/// How a line of a program's own reads, which stands among what others say.
pub(crate) type Voice = fn(&str) -> String;

/// Standard output.
pub fn stdout() -> Patient<'static> {
    Patient(rustix::stdio::stdout())
}

/// Standard error.
pub fn stderr() -> Patient<'static> {
    Patient(rustix::stdio::stderr())
}

impl Write for Patient<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match rustix::io::write(self.0, bytes) {
                Err(Errno::AGAIN) => drop(has_room(self.0, None)?),
                Err(Errno::INTR) => {}
                done => return Ok(done?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits until something can be written to `stream`, for as long as `patience` has it, or until that is known to be in vain.
///
/// # Errors
/// The system's.
pub(crate) fn has_room(stream: BorrowedFd<'_>, patience: Option<&Timespec>) -> io::Result<bool> {
    match poll(&mut [PollFd::from_borrowed_fd(stream, PollFlags::OUT)], patience) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use rustix::pipe::{PipeFlags, pipe_with};

    use super::*;

    #[test]
    fn all_that_is_written_arrives_where_writing_does_not_wait() {
        let (near, far) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        rustix::io::ioctl_fionbio(&far, true).unwrap();
        let what: Vec<u8> = (0..1_000_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        let reader = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            let mut got = Vec::new();
            std::fs::File::from(near).read_to_end(&mut got).unwrap();
            got
        });
        Patient::new(&far).write_all(&what).unwrap();
        drop(far);
        assert!(reader.join().unwrap() == what);
    }
}
