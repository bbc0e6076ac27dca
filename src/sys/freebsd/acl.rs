//! Access control lists (`acl(9)`).

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use super::check;

type List = *mut c_void;

unsafe extern "C" {
    fn acl_get_fd_np(fd: libc::c_int, kind: libc::c_int) -> List;
    fn acl_is_trivial_np(list: List, trivial: *mut libc::c_int) -> libc::c_int;
    fn acl_free(list: List) -> libc::c_int;
}

/// Those of NFSv4, which ZFS has (`ACL_TYPE_NFS4` of `sys/acl.h`).
const NFS4: libc::c_int = 4;

/// Whether the list of an open file says no more than its mode; so it is where there are no lists.
///
/// # Errors
/// The kernel's.
pub fn is_trivial(file: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: the descriptor is open; the list is ours until it is freed, and is not used after that.
    let (list, mut trivial) = (unsafe { acl_get_fd_np(file.as_raw_fd(), NFS4) }, 0);
    if list.is_null() {
        let error = io::Error::last_os_error();
        let none = matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP));
        return if none { Ok(true) } else { Err(error) };
    }
    // SAFETY: a list that was just given, and a place for a number.
    let told = check(unsafe { acl_is_trivial_np(list, &raw mut trivial) });
    // SAFETY: as above.
    unsafe { acl_free(list) };
    told.map(|()| trivial != 0)
}
