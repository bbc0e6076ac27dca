//! Signals as something to wait for beside descriptors.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::pipe::{PipeFlags, pipe_with};

/// The signals that are passed on to who has something to do with them: what a service is controlled by, what a terminal sends.
/// Those that stop a process are not among them: they stop whoever gets them, and no one else.
pub const FORWARDED: [i32; 9] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGTERM,
    libc::SIGCONT,
    libc::SIGWINCH,
];

/// What whoever starts a process may have it ignore for good: `nohup` does with hang-ups, and shells do with the others for what they
/// put behind them.
const MAY_BE_IGNORED: [i32; 3] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT];

static PIPE: AtomicI32 = AtomicI32::new(-1);

/// The signals that a process watches. Of several the one made last has those that come, until it is dropped.
#[derive(Debug)]
pub struct Watch {
    near: OwnedFd,
    far: OwnedFd,
    /// What each did before.
    signals: Vec<(i32, libc::sighandler_t)>,
    /// Where they were noted before.
    before: i32,
}

extern "C" fn note(signal: libc::c_int) {
    let pipe = PIPE.load(Ordering::Relaxed);
    let byte = u8::try_from(signal).unwrap_or(0);
    // SAFETY: write(2) may be called in a handler; the descriptor is open as long as the handler is installed. The
    // interrupted code's errno is what it was.
    unsafe {
        let errno = errno_place();
        let kept = *errno;
        libc::write(pipe, (&raw const byte).cast(), 1);
        *errno = kept;
    }
}

#[allow(unsafe_code)]
unsafe fn errno_place() -> *mut libc::c_int {
    #[cfg(target_os = "freebsd")]
    // SAFETY: gives this thread's own errno.
    return unsafe { libc::__error() };
    #[cfg(not(target_os = "freebsd"))]
    // SAFETY: gives this thread's own errno.
    return unsafe { libc::__errno_location() };
}

impl Watch {
    /// Watches `signals` from now on, in place of what they do by default. Hang-ups and interrupts that whoever started
    /// this process had it ignore, as `nohup` and shells do for what runs behind them, stay ignored.
    pub fn new(signals: &[i32]) -> io::Result<Self> {
        let (near, far) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let before = PIPE.swap(far.as_raw_fd(), Ordering::Relaxed);
        let mut watched = Vec::new();
        for &signal in signals {
            if MAY_BE_IGNORED.contains(&signal) && is_ignored(signal)? {
                continue;
            }
            watched.push((signal, install(signal, note as extern "C" fn(libc::c_int) as libc::sighandler_t)?));
        }
        Ok(Self { near, far, signals: watched, before })
    }

    /// The next signal that has come, if one has.
    pub fn next(&self) -> Option<i32> {
        let mut byte = [0_u8];
        matches!(rustix::io::read(&self.near, &mut byte), Ok(1)).then(|| i32::from(byte[0]))
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.near.as_fd()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        PIPE.store(self.before, Ordering::Relaxed);
        for &(signal, before) in &self.signals {
            // What cannot be given back stays as it is: the pipe is gone then, and nothing is written.
            let _ = install(signal, before);
        }
        let _ = &self.far;
    }
}

/// Gives the handler that there was.
fn install(signal: i32, handler: libc::sighandler_t) -> io::Result<libc::sighandler_t> {
    // SAFETY: the action is zeroed and filled; `note` does only what a handler may.
    let (done, before) = unsafe {
        let (mut action, mut before): (libc::sigaction, libc::sigaction) = (std::mem::zeroed(), std::mem::zeroed());
        action.sa_sigaction = handler;
        action.sa_flags = libc::SA_RESTART;
        libc::sigemptyset(&raw mut action.sa_mask);
        (libc::sigaction(signal, &raw const action, &raw mut before), before.sa_sigaction)
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(before) }
}

fn is_ignored(signal: i32) -> io::Result<bool> {
    // SAFETY: only asks; the kernel fills what is zeroed.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(signal, std::ptr::null(), &raw mut action) < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(action.sa_sigaction == libc::SIG_IGN)
    }
}

/// Gives this process the signals that a program expects, whatever whoever started it had blocked or ignored: no child's exit
/// status would be had, and nobody could ask it to end. What may be ignored for good stays so, and `SIGPIPE` as Rust has it.
pub fn begin_afresh() {
    for signal in 1..=LAST {
        let kept = MAY_BE_IGNORED.contains(&signal) || signal == libc::SIGPIPE;
        if !kept && is_ignored(signal).unwrap_or(false) {
            // Of what is none the number is refused.
            let _ = restore(signal);
        }
    }
    // SAFETY: an emptied set is a valid set, and this thread is the only one.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// The highest number of a signal.
#[cfg(target_os = "freebsd")]
const LAST: i32 = 128;
/// The highest number of a signal.
#[cfg(not(target_os = "freebsd"))]
const LAST: i32 = 64;

/// Lets `signal` do what it does by default, whatever whoever started this process wanted.
pub fn restore(signal: i32) -> io::Result<()> {
    install(signal, libc::SIG_DFL).map(drop)
}

/// Lets this process be ended by writing into a pipe that nobody reads any more, as programs that list things are.
/// Rust's start-up switches that off, and `println!` then panics. Not for processes that look after others.
pub fn end_at_broken_pipe() {
    // Without it writing fails instead, which is told.
    let _ = install(libc::SIGPIPE, libc::SIG_DFL);
}

/// Lets writing into a pipe that nobody reads fail instead: for who feeds programs that may end before.
pub fn outlive_broken_pipes() {
    // Without it this process ends, which is told too.
    let _ = install(libc::SIGPIPE, libc::SIG_IGN);
}

/// Signals by their names.
pub const NAMES: [(&str, i32); 29] = [
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("USR2", libc::SIGUSR2),
    ("SEGV", libc::SIGSEGV),
    ("SYS", libc::SIGSYS),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("CHLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
];

/// The number of a signal: by its name, with or without `SIG`, by `RTMIN+3` as those have none, or by its number.
pub fn named(text: &str) -> Option<i32> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let known = NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    let numbered = || text.parse().ok().filter(|number| (1..=LAST).contains(number));
    let (least, most) = real_time();
    let of_those = || match name.strip_prefix("RTMIN") {
        Some("") => Some(least),
        Some(more) => least.checked_add(more.strip_prefix('+')?.parse().ok().filter(|more| *more >= 0)?),
        None => most.checked_sub(match name.strip_prefix("RTMAX")? {
            "" => 0,
            less => less.strip_prefix('-')?.parse().ok().filter(|less| *less >= 0)?,
        }),
    };
    known.or_else(numbered).or_else(|| of_those().filter(|number| (least..=most).contains(number)))
}

/// The first and the last of those that have no meaning of their own.
#[cfg(target_os = "linux")]
fn real_time() -> (i32, i32) {
    (libc::SIGRTMIN(), libc::SIGRTMAX())
}
/// The first and the last of those that have no meaning of their own.
#[cfg(not(target_os = "linux"))]
fn real_time() -> (i32, i32) {
    (65, 126)
}

/// Sends a signal to a process, of those without names too.
///
/// # Errors
/// The system's.
pub(crate) fn send(process: rustix::process::Pid, signal: i32) -> rustix::io::Result<()> {
    // SAFETY: the kernel looks at both numbers.
    let sent = unsafe { libc::kill(process.as_raw_nonzero().get(), signal) };
    if sent < 0 { Err(last_error()) } else { Ok(()) }
}

/// Sends a signal to every process that this one sees, but itself: for one that sees those of a pod alone.
pub(crate) fn send_to_all_seen(signal: i32) {
    // SAFETY: nothing is passed but numbers. That nobody is there is no failure.
    unsafe { libc::kill(-1, signal) };
}

fn last_error() -> rustix::io::Errno {
    rustix::io::Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(rustix::io::Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_named_as_people_and_images_name_them() {
        for (text, number) in [
            ("TERM", libc::SIGTERM),
            ("sigquit", libc::SIGQUIT),
            ("15", 15),
            ("SIGRTMIN+3", real_time().0 + 3),
            ("rtmin", real_time().0),
            ("RTMAX-1", real_time().1 - 1),
        ] {
            assert_eq!(named(text), Some(number), "{text}");
        }
        for wrong in ["", "0", "-1", "999", "SIGFOO", "RTMIN+99", "RTMIN-1", "RTMIN+-1", "RTMAX+1", "SIG"] {
            assert_eq!(named(wrong), None, "{wrong}");
        }
    }
}
