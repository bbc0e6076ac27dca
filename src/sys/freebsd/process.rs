//! Processes: fork, descriptors, login classes, ids, exec.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::process::ExitStatusExt as _;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::process::Pid;

use super::{c_path, c_string, check};
use crate::id::Id;
pub use crate::sys::execute::execute;
use crate::sys::ids::Ids;

unsafe extern "C" {
    fn setloginclass(name: *const libc::c_char) -> libc::c_int;
}

/// `PROC_NO_NEW_PRIVS_CTL` and its argument, from FreeBSD 14.0 on.
const NO_NEW_PRIVILEGES: libc::c_int = 19;
const NO_NEW_PRIVILEGES_ENABLE: libc::c_int = 1;

/// Makes a child and runs `body` in it; the child ends with what `body` gives, or with 125 when it panics. Other threads may
/// run, as one that answers for the metadata service does: a lock that they hold stays locked for ever in the child, so
/// `body` takes none but the allocator's and the run-time linker's, which fork(2) takes itself and leaves free
/// (`thr_fork.c` of libthr).
///
/// # Errors
/// fork(2)'s.
pub fn fork(body: impl FnOnce() -> i32) -> io::Result<Pid> {
    // SAFETY: what the child needs of the memory that threads share is in a consistent state, as said above.
    match unsafe { libc::fork() } {
        0 => {
            let code = std::panic::catch_unwind(AssertUnwindSafe(body)).unwrap_or(125);
            exit(code)
        }
        pid => Pid::from_raw(pid).filter(|_| pid > 0).ok_or_else(io::Error::last_os_error),
    }
}

/// Ends this process at once: nothing that its parent has registered runs.
pub fn exit(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// Closes every descriptor from `first` on, directories among them, which would keep a process out of a jail.
pub fn close_from(first: RawFd) {
    // SAFETY: called by children that are about to become another program and use none of these descriptors again.
    unsafe { libc::closefrom(first) }
}

/// Closes every descriptor from `first` on but those of `keep`.
pub fn close_all_but(first: RawFd, keep: &[RawFd]) {
    let last = keep.iter().copied().max().unwrap_or(first - 1);
    for number in (first..last).filter(|number| !keep.contains(number)) {
        // SAFETY: called by children that are about to become another program and use none of these descriptors again.
        unsafe { libc::close(number) };
    }
    close_from(first.max(last + 1));
}

/// The number of what [`keep_only`] has kept; before, none.
static KEPT: AtomicI32 = AtomicI32::new(-1);

/// Keeps only the descriptors below `number` and `fd`, which becomes that descriptor and is closed at exec.
///
/// # Errors
/// The kernel's.
pub fn keep_only(fd: BorrowedFd<'_>, number: RawFd) -> io::Result<BorrowedFd<'static>> {
    let kept = place_closing(fd, number)?;
    KEPT.store(number, Ordering::Relaxed);
    close_from(number + 1);
    Ok(kept)
}

/// What [`keep_only`] has kept, once it has.
pub fn kept() -> Option<BorrowedFd<'static>> {
    let number = KEPT.load(Ordering::Relaxed);
    // SAFETY: a child that has called `keep_only` has it open for the rest of its life.
    (number >= 0).then(|| unsafe { BorrowedFd::borrow_raw(number) })
}

/// Makes `fd` the descriptor of number `number`, which stays open at exec. `fd` itself is left as it is.
///
/// # Errors
/// The kernel's.
pub fn place(fd: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    if fd.as_raw_fd() == number {
        // SAFETY: plain fcntl on a borrowed descriptor.
        return check(unsafe { libc::fcntl(number, libc::F_SETFD, 0) });
    }
    // SAFETY: the numbers in question (standard streams and those above them that a service protocol names) belong to no
    // Rust owner in the child that calls this.
    check(unsafe { libc::dup2(fd.as_raw_fd(), number) })
}

/// Gives `fd` the number `number`, as [`place`] does, to be closed at exec; gives it under that number.
///
/// # Errors
/// The kernel's.
pub fn place_closing(fd: BorrowedFd<'_>, number: RawFd) -> io::Result<BorrowedFd<'static>> {
    place(fd, number)?;
    // SAFETY: plain fcntl; then the descriptor is open for the rest of this process's life.
    unsafe {
        check(libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC))?;
        Ok(BorrowedFd::borrow_raw(number))
    }
}

/// Makes the session's login class `name`, which resource rules can be about.
///
/// # Errors
/// `EPERM` without privilege, `EINVAL` or `ENAMETOOLONG` for a bad name.
pub fn set_login_class(name: &str) -> io::Result<()> {
    let name = c_string(name)?;
    // SAFETY: the name lives across the call.
    check(unsafe { setloginclass(name.as_ptr()) })
}

/// Makes `path` the root of this process.
///
/// # Errors
/// The kernel's: `EPERM` with open directories.
pub fn change_root(path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    // SAFETY: the path lives across the call.
    check(unsafe { libc::chroot(path.as_ptr()) })
}

/// The ids of this process: groups (the primary one first), group, user; looks that they took.
///
/// # Errors
/// The kernel's; one that says so when an id did not take.
pub fn become_user(uid: Id, gid: Id, supplementary: &[Id]) -> io::Result<()> {
    let (uid, gid) = (uid.get(), gid.get());
    let mut groups = vec![gid];
    groups.extend(supplementary.iter().map(|group| group.get()).filter(|&group| group != gid));
    let count = libc::c_int::try_from(groups.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    // SAFETY: the list is passed with its length; the others involve no memory.
    unsafe {
        check(libc::setgroups(count, groups.as_ptr()))?;
        check(libc::setgid(gid))?;
        check(libc::setuid(uid))?;
    }
    let ids = Ids::own()?;
    // The primary group is one of the list until FreeBSD 14, and need not be from 15 on.
    ids.took(uid, gid, |further| {
        further.iter().all(|group| groups.contains(group))
            && groups.iter().all(|group| *group == gid || further.contains(group))
    })?;
    // SAFETY: no memory is involved.
    if uid != 0 && unsafe { libc::setuid(0) } == 0 {
        return Err(io::Error::other(format!("user {uid} could become root again")));
    }
    Ok(())
}

/// Forbids this process and those it makes to gain privileges by executing programs.
///
/// # Errors
/// `EINVAL` before FreeBSD 14.
pub fn forbid_new_privileges() -> io::Result<()> {
    let mut enable = NO_NEW_PRIVILEGES_ENABLE;
    // SAFETY: the argument is a pointer to an int that lives across the call.
    check(unsafe { libc::procctl(libc::P_PID, libc::getpid().into(), NO_NEW_PRIVILEGES, (&raw mut enable).cast()) })
}

/// Makes this process the one that its descendants come to when their parents have ended.
///
/// # Errors
/// The kernel's. To be that already is none.
pub fn adopt_strays() -> io::Result<()> {
    // SAFETY: the request takes no argument. The id is named, as not every release takes 0 for the caller's own.
    let done = check(unsafe {
        libc::procctl(libc::P_PID, libc::getpid().into(), libc::PROC_REAP_ACQUIRE, std::ptr::null_mut())
    });
    match done {
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => Ok(()),
        done => done,
    }
}

/// A child that has ended, and is no more.
#[derive(Debug)]
pub struct Reaped {
    /// Which it was.
    pub pid: i32,
    /// How it ended.
    pub status: ExitStatus,
    /// The most memory that it had resident, in bytes, as the kernel's clock has seen it.
    pub most_resident: u64,
}

/// Takes a child that has ended, of whatever parent, where there is one. Never waits.
///
/// # Errors
/// The kernel's.
pub fn reap() -> io::Result<Option<Reaped>> {
    loop {
        let mut status = 0;
        // SAFETY: plain data, for which zeros are a valid value.
        let mut used: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: both are written within the call.
        let pid = unsafe { libc::wait4(-1, &raw mut status, libc::WNOHANG, &raw mut used) };
        match check(pid).map_err(|error| (error.raw_os_error(), error)) {
            Ok(()) if pid == 0 => return Ok(None),
            Ok(()) => {
                let most_resident = u64::try_from(used.ru_maxrss).unwrap_or(0).saturating_mul(1024);
                return Ok(Some(Reaped { pid, status: ExitStatus::from_raw(status), most_resident }));
            }
            Err((Some(libc::EINTR), _)) => {}
            Err((Some(libc::ECHILD), _)) => return Ok(None),
            Err((_, error)) => return Err(error),
        }
    }
}

/// Gives every signal its default action and blocks none, as a new program expects.
///
/// # Errors
/// The kernel's.
pub fn reset_signals() -> io::Result<()> {
    /// `_SIG_MAXSIG`
    const LAST: libc::c_int = 128;
    for signal in 1..=LAST {
        if signal != libc::SIGKILL && signal != libc::SIGSTOP {
            // SAFETY: SIG_DFL installs no handler. Numbers that are no signals are refused.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
    }
    // SAFETY: an emptied set is a valid set.
    check(unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut())
    })
}

/// Makes the terminal on standard input the controlling terminal of this process, in a session of its own.
///
/// # Errors
/// The kernel's.
pub fn take_terminal() -> io::Result<()> {
    // SAFETY: no memory is involved; TIOCSCTTY takes no argument.
    unsafe {
        check(libc::setsid())?;
        check(libc::ioctl(0, libc::TIOCSCTTY, 0))
    }
}

// As <sys/procctl.h>, <sys/wait.h> and <sys/signal.h> have them.
const _: () = {
    assert!(libc::P_PID == 0 && libc::PROC_REAP_ACQUIRE == 2);
    assert!(libc::PROC_TRACE_CTL == 7 && libc::PROC_TRACE_CTL_DISABLE == 2);
    assert!(size_of::<libc::sigset_t>() == 16);
};
#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<libc::sigaction>() == 32 && size_of::<libc::passwd>() == 80);
    assert!(size_of::<libc::rusage>() == 144 && std::mem::offset_of!(libc::rusage, ru_maxrss) == 32);
};
