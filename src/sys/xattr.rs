//! Extended attributes by descriptor, under the names that Linux gives them (`user.mime_type`, `security.capability`).
//!
//! FreeBSD keeps the user's in a name space of their own, without prefix; the others mean nothing there.

use std::io;
use std::os::fd::BorrowedFd;

/// Bytes of one value that Linux allows.
#[cfg(target_os = "linux")]
const MOST: usize = 64 << 10;
/// Bytes of one value, or of all names, that are taken of an image or a volume.
#[cfg(target_os = "freebsd")]
const LONGEST: usize = 16 << 20;

/// Names of all attributes, sorted. None where the file system knows none.
#[cfg(target_os = "linux")]
pub(crate) fn list(file: BorrowedFd<'_>) -> io::Result<Vec<Vec<u8>>> {
    use rustix::fs::flistxattr;
    use rustix::io::Errno;
    let mut names = vec![0; 1024];
    let length = match flistxattr(file, &mut names[..]) {
        Err(Errno::RANGE) => {
            names.resize(MOST, 0);
            flistxattr(file, &mut names[..])?
        }
        Err(Errno::OPNOTSUPP) => 0,
        length => length?,
    };
    let mut names: Vec<_> =
        names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect();
    names.sort();
    Ok(names)
}

/// The value of the attribute `name`.
#[cfg(target_os = "linux")]
pub fn get(file: BorrowedFd<'_>, name: &[u8]) -> io::Result<Vec<u8>> {
    let mut value = vec![0; MOST];
    let length = rustix::fs::fgetxattr(file, name, &mut value[..])?;
    value.truncate(length);
    Ok(value)
}

/// Gives the attribute `name` a value.
#[cfg(target_os = "linux")]
pub fn set(file: BorrowedFd<'_>, name: &[u8], value: &[u8]) -> io::Result<()> {
    Ok(rustix::fs::fsetxattr(file, name, value, rustix::fs::XattrFlags::empty())?)
}

/// Takes the attribute `name` away.
#[cfg(target_os = "linux")]
pub(crate) fn remove(file: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    Ok(rustix::fs::fremovexattr(file, name)?)
}

/// Names of the user's attributes, sorted. None where the file system knows none.
#[cfg(target_os = "freebsd")]
#[allow(unsafe_code)]
pub fn list(file: BorrowedFd<'_>) -> io::Result<Vec<Vec<u8>>> {
    use std::os::fd::AsRawFd;
    let told = whole(|buffer, room| {
        // SAFETY: the buffer is as long as told; without one the call counts.
        unsafe { libc::extattr_list_fd(file.as_raw_fd(), libc::EXTATTR_NAMESPACE_USER, buffer, room) }
    });
    let buffer = match told {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(Vec::new()),
        told => told?,
    };
    let mut names = Vec::new();
    // Each name stands behind its length.
    let mut rest = buffer.as_slice();
    while let [count, more @ ..] = rest {
        let Some((name, more)) = more.split_at_checked(usize::from(*count)) else { break };
        names.push([b"user.", name].concat());
        rest = more;
    }
    names.sort();
    Ok(names)
}

/// The value of the attribute `name`.
#[cfg(target_os = "freebsd")]
#[allow(unsafe_code)]
pub fn get(file: BorrowedFd<'_>, name: &[u8]) -> io::Result<Vec<u8>> {
    use std::os::fd::AsRawFd;
    let name = user(name)?;
    whole(|buffer, room| {
        // SAFETY: the name ends with a NUL, the buffer is as long as told; without one the call counts.
        unsafe { libc::extattr_get_fd(file.as_raw_fd(), libc::EXTATTR_NAMESPACE_USER, name.as_ptr(), buffer, room) }
    })
}

/// All of what a call gives that fills a buffer as read(2) does, without a word of what did not fit, and that tells the length
/// where it is given none (`sys_extattr_get_fd(2)` of 13.2). A file system takes values of any length here.
///
/// # Errors
/// The system's; [`io::ErrorKind::FileTooLarge`] of what no other system could take.
#[cfg(target_os = "freebsd")]
fn whole(call: impl Fn(*mut libc::c_void, usize) -> libc::ssize_t) -> io::Result<Vec<u8>> {
    let size = |told: libc::ssize_t| usize::try_from(told).map_err(|_| io::Error::last_os_error());
    loop {
        let length = size(call(std::ptr::null_mut(), 0))?;
        if length > LONGEST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        // One byte more than there was tells whether it has grown meanwhile.
        let mut buffer = vec![0u8; length + 1];
        let got = size(call(buffer.as_mut_ptr().cast(), buffer.len()))?;
        if got <= length {
            buffer.truncate(got);
            return Ok(buffer);
        }
    }
}

/// Gives the attribute `name` a value.
#[cfg(target_os = "freebsd")]
#[allow(unsafe_code)]
pub fn set(file: BorrowedFd<'_>, name: &[u8], value: &[u8]) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let name = user(name)?;
    // SAFETY: the name ends with a NUL, the value is as long as told.
    let length = unsafe {
        libc::extattr_set_fd(
            file.as_raw_fd(),
            libc::EXTATTR_NAMESPACE_USER,
            name.as_ptr(),
            value.as_ptr().cast(),
            value.len(),
        )
    };
    if length < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Takes the attribute `name` away.
#[cfg(target_os = "freebsd")]
#[allow(unsafe_code)]
pub fn remove(file: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let name = user(name)?;
    // SAFETY: the name ends with a NUL.
    let done = unsafe { libc::extattr_delete_fd(file.as_raw_fd(), libc::EXTATTR_NAMESPACE_USER, name.as_ptr()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(target_os = "freebsd")]
fn user(name: &[u8]) -> io::Result<std::ffi::CString> {
    let name = name.strip_prefix(b"user.").ok_or_else(|| io::Error::from_raw_os_error(libc::EOPNOTSUPP))?;
    Ok(std::ffi::CString::new(name)?)
}
