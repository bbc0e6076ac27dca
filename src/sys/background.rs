//! Leaving a process behind.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, setsid, waitpid};

/// Held by the process left behind until whoever left it may go.
#[derive(Debug)]
pub struct Leash(OwnedFd);

/// Who one is after [`leave_behind`].
#[derive(Debug)]
pub enum Side {
    /// The process left behind.
    Behind(Leash),
    /// The one that called. Holds the other's exit status when that ended before it let go.
    Ahead(Option<i32>),
}

/// Makes a process that goes on while the caller returns: a session of its own, nothing as standard input and output.
/// Its standard error stays until `Leash::let_go`. The caller waits until then and must have one thread.
///
/// # Errors
/// The system's.
pub fn leave_behind() -> io::Result<Side> {
    let (near, far) = pipe_with(PipeFlags::CLOEXEC)?;
    // SAFETY: the caller has one thread, so the child finds no lock held.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            drop(near);
            setsid()?;
            nothing_as(&[0, 1])?;
            close_inherited()?;
            Ok(Side::Behind(Leash(far)))
        }
        pid => {
            drop(far);
            let mut byte = [0_u8];
            loop {
                match rustix::io::read(&near, &mut byte) {
                    Ok(1) => return Ok(Side::Ahead(None)),
                    Err(rustix::io::Errno::INTR) => {}
                    Ok(_) | Err(_) => break,
                }
            }
            let ended = waitpid(Pid::from_raw(pid), WaitOptions::empty())?;
            let status = ended.and_then(|(_, status)| status.exit_status());
            Ok(Side::Ahead(Some(status.unwrap_or(125))))
        }
    }
}

/// Closes what whoever started this program left open to it beyond the standard streams: a pipe would never end, a lock never be
/// free, for as long as this process goes on. All that is this program's own is closed at exec, by which it is told from that.
fn close_inherited() -> io::Result<()> {
    for number in open_numbers()? {
        // SAFETY: asks for flags, and closes what no value of this program stands for.
        unsafe {
            let flags = libc::fcntl(number, libc::F_GETFD);
            if flags >= 0 && flags & libc::FD_CLOEXEC == 0 {
                libc::close(number);
            }
        }
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn open_numbers() -> io::Result<Vec<i32>> {
    let entries = std::fs::read_dir("/proc/self/fd")?;
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(numbers.filter(|number| *number > 2).collect())
}

/// There is no directory that tells: all that could be, up to a number that nobody passes on.
#[cfg(not(target_os = "linux"))]
fn open_numbers() -> io::Result<std::ops::Range<i32>> {
    // SAFETY: no memory is involved.
    Ok(3..unsafe { libc::getdtablesize() }.min(1 << 16))
}

impl Leash {
    /// From here on nobody waits for this process.
    pub(crate) fn let_go(self) {
        // Nobody is there to be told when this fails.
        let _ = rustix::io::write(&self.0, b"g");
        let _ = nothing_as(&[2]);
    }
}

/// Makes nothing of the standard streams of these numbers.
///
/// # Errors
/// The system's.
pub(crate) fn nothing_as(numbers: &[i32]) -> io::Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    for number in numbers {
        // SAFETY: the standard streams stay open under their numbers.
        if unsafe { libc::dup2(null.as_fd().as_raw_fd(), *number) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
