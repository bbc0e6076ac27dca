//! File flags (`chflags(1)`).

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use super::check;

/// Those that keep even root from changing or removing what has them, and which a process in a jail can set on UFS. Those of the
/// superuser go up to secure level 0.
const HINDERING: libc::c_ulong =
    libc::UF_IMMUTABLE | libc::UF_APPEND | libc::UF_NOUNLINK | libc::SF_IMMUTABLE | libc::SF_APPEND | libc::SF_NOUNLINK;

/// Whether these flags of a file keep it from being removed, or what is in it.
pub fn hinder(flags: impl Into<libc::c_ulong>) -> bool {
    flags.into() & HINDERING != 0
}

/// Takes all flags off the open file.
///
/// # Errors
/// The kernel's: `EOPNOTSUPP` where the file system has no flags.
pub fn clear(file: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the descriptor is open across the call.
    check(unsafe { libc::fchflags(file.as_raw_fd(), 0) })
}

/// Takes all flags off what is called `name` in an open directory, a link itself.
///
/// # Errors
/// As for [`clear`].
pub fn clear_at(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    // SAFETY: the descriptor is open, and the name lives, across the call.
    check(unsafe { libc::chflagsat(directory.as_raw_fd(), name.as_ptr(), 0, libc::AT_SYMLINK_NOFOLLOW) })
}
