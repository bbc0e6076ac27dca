//! Access control lists (`acl(9)`).

use std::ffi::{CStr, c_void};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use super::check;

type List = *mut c_void;
type Get = unsafe extern "C" fn(libc::c_int, libc::c_int) -> List;
type IsTrivial = unsafe extern "C" fn(List, *mut libc::c_int) -> libc::c_int;
type Free = unsafe extern "C" fn(List) -> libc::c_int;

/// Those of NFSv4, which ZFS has (`ACL_TYPE_NFS4` of `sys/acl.h`).
const NFS4: libc::c_int = 4;

/// A function of the running system's library, whatever version of it this was linked against; none where it is linked statically.
fn look_up(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: a name that ends with a NUL.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!found.is_null()).then_some(found)
}

/// Whether the list of an open file says no more than its mode; so it is where there are no lists, or nobody to ask for them.
///
/// # Errors
/// The kernel's.
pub fn is_trivial(file: BorrowedFd<'_>) -> io::Result<bool> {
    let names = (look_up(c"acl_get_fd_np"), look_up(c"acl_is_trivial_np"), look_up(c"acl_free"));
    let (Some(get), Some(is_trivial), Some(free)) = names else { return Ok(true) };
    // SAFETY: the functions of these names have these types (acl_get(3), acl_is_trivial_np(3), acl_free(3)).
    let (get, is_trivial, free) = unsafe {
        (
            std::mem::transmute::<*mut c_void, Get>(get),
            std::mem::transmute::<*mut c_void, IsTrivial>(is_trivial),
            std::mem::transmute::<*mut c_void, Free>(free),
        )
    };
    // SAFETY: the descriptor is open; the list is ours until it is freed, and is not used after that.
    let (list, mut trivial) = (unsafe { get(file.as_raw_fd(), NFS4) }, 0);
    if list.is_null() {
        let error = io::Error::last_os_error();
        let none = matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP));
        return if none { Ok(true) } else { Err(error) };
    }
    // SAFETY: a list that was just given, and a place for a number.
    let told = check(unsafe { is_trivial(list, &raw mut trivial) });
    // SAFETY: as above.
    unsafe { free(list) };
    told.map(|()| trivial != 0)
}
