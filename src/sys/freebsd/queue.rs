//! Waiting for processes to end, by a descriptor (`kqueue(2)`).

use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::check;

/// A queue of events. Its descriptor is readable when something has happened.
#[derive(Debug)]
pub struct Queue {
    descriptor: OwnedFd,
}

impl Queue {
    /// One that hears of ended children and of nothing else yet; a forked child does not have it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new() -> io::Result<Self> {
        // SAFETY: makes a descriptor that nobody else owns.
        let descriptor = unsafe {
            let descriptor = libc::kqueue();
            check(descriptor)?;
            OwnedFd::from_raw_fd(descriptor)
        };
        let queue = Self { descriptor };
        queue.change(0, libc::EVFILT_USER, libc::EV_ADD | libc::EV_CLEAR, 0)?;
        // Strays whose parents have ended come to this process: nobody else hears of their end, nor reaps them.
        let signal = usize::try_from(libc::SIGCHLD).map_err(io::Error::other)?;
        queue.change(signal, libc::EVFILT_SIGNAL, libc::EV_ADD, 0)?;
        Ok(queue)
    }

    /// Lets the descriptor become readable when process `pid` ends.
    ///
    /// # Errors
    /// `ESRCH` when it has ended already.
    pub fn watch(&self, pid: i32) -> io::Result<()> {
        let pid = usize::try_from(pid).map_err(io::Error::other)?;
        self.change(pid, libc::EVFILT_PROC, libc::EV_ADD | libc::EV_ONESHOT, libc::NOTE_EXIT)
    }

    /// Lets the descriptor become readable now.
    ///
    /// # Errors
    /// The kernel's.
    pub fn ring(&self) -> io::Result<()> {
        self.change(0, libc::EVFILT_USER, 0, libc::NOTE_TRIGGER)
    }

    /// Takes what has happened, without waiting.
    ///
    /// # Errors
    /// The kernel's.
    pub fn drain(&self) -> io::Result<()> {
        loop {
            // SAFETY: plain data, for which zeros are a valid value.
            let mut events: [libc::kevent; 16] = unsafe { std::mem::zeroed() };
            let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: the list of events is passed with its length; the time lives across the call.
            let got = unsafe {
                libc::kevent(
                    self.descriptor.as_raw_fd(),
                    std::ptr::null(),
                    0,
                    events.as_mut_ptr(),
                    events.len() as libc::c_int,
                    &raw const now,
                )
            };
            check(got)?;
            if got < events.len() as libc::c_int {
                return Ok(());
            }
        }
    }

    fn change(&self, ident: usize, filter: i16, flags: u16, fflags: u32) -> io::Result<()> {
        // SAFETY: plain data, for which zeros are a valid value.
        let mut event: libc::kevent = unsafe { std::mem::zeroed() };
        event.ident = ident;
        event.filter = filter;
        event.flags = flags;
        event.fflags = fflags;
        // SAFETY: one change is passed, and no room for events.
        check(unsafe {
            libc::kevent(self.descriptor.as_raw_fd(), &raw const event, 1, std::ptr::null_mut(), 0, std::ptr::null())
        })
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

// `struct kevent` of FreeBSD 12 and later, on 64-bit machines.
#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<libc::kevent>() == 64 && offset_of!(libc::kevent, filter) == 8);
    assert!(offset_of!(libc::kevent, fflags) == 12 && offset_of!(libc::kevent, udata) == 24);
    assert!(libc::EVFILT_PROC == -5 && libc::EVFILT_SIGNAL == -6 && libc::EVFILT_USER == -11);
};
