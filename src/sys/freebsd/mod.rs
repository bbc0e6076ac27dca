//! FreeBSD's own system calls: jails, mounts, resource rules, the network of a jail, processes, what the kernel says of
//! itself.

#![allow(unsafe_code)]

pub mod acl;
pub mod flags;
pub mod jail;
pub mod kernel;
pub mod mount;
pub mod network;
pub mod process;
pub mod queue;
pub mod resource;

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

fn c_string(text: &str) -> io::Result<CString> {
    CString::new(text).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The names of errors that these calls give, as manual pages have them.
const NAMES: [(libc::c_int, &str); 31] = [
    (libc::EPERM, "EPERM"),
    (libc::ENOENT, "ENOENT"),
    (libc::ESRCH, "ESRCH"),
    (libc::EIO, "EIO"),
    (libc::ENXIO, "ENXIO"),
    (libc::ENOEXEC, "ENOEXEC"),
    (libc::EBADF, "EBADF"),
    (libc::EDEADLK, "EDEADLK"),
    (libc::ENOMEM, "ENOMEM"),
    (libc::EACCES, "EACCES"),
    (libc::EFAULT, "EFAULT"),
    (libc::EBUSY, "EBUSY"),
    (libc::EEXIST, "EEXIST"),
    (libc::EXDEV, "EXDEV"),
    (libc::ENODEV, "ENODEV"),
    (libc::ENOTDIR, "ENOTDIR"),
    (libc::EISDIR, "EISDIR"),
    (libc::EINVAL, "EINVAL"),
    (libc::ENOSPC, "ENOSPC"),
    (libc::EROFS, "EROFS"),
    (libc::EMLINK, "EMLINK"),
    (libc::ERANGE, "ERANGE"),
    (libc::EAGAIN, "EAGAIN"),
    (libc::EOPNOTSUPP, "EOPNOTSUPP"),
    (libc::EAFNOSUPPORT, "EAFNOSUPPORT"),
    (libc::EADDRINUSE, "EADDRINUSE"),
    (libc::EADDRNOTAVAIL, "EADDRNOTAVAIL"),
    (libc::ENETUNREACH, "ENETUNREACH"),
    (libc::ELOOP, "ELOOP"),
    (libc::ENAMETOOLONG, "ENAMETOOLONG"),
    (libc::ENOSYS, "ENOSYS"),
];

/// The error of a system call with the call's name and its own, as people look for them: `nmount: EBUSY: Device busy`.
pub fn named(call: &str, error: io::Error) -> io::Error {
    let number = error.raw_os_error();
    let name =
        NAMES.iter().find(|(known, _)| Some(*known) == number).map_or(String::new(), |(_, name)| format!("{name}: "));
    io::Error::new(error.kind(), format!("{call}: {name}{error}"))
}

/// What the kernel wrote into the buffer that it was given for a message.
fn explained(error: io::Error, message: &[u8]) -> io::Error {
    let text = message.split(|&byte| byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        return error;
    }
    let name = NAMES.iter().find(|(known, _)| Some(*known) == error.raw_os_error()).map_or("", |(_, name)| name);
    io::Error::new(error.kind(), format!("{} ({name}: {error})", String::from_utf8_lossy(text)))
}

/// A list of names and values as `jail_set(2)` and `nmount(2)` take them, owning what it points to.
struct Pairs {
    parts: Vec<Option<Vec<u8>>>,
}

impl Pairs {
    fn new() -> Self {
        Self { parts: Vec::new() }
    }

    /// `value` as bytes, as it stands; nothing: the name alone is a flag.
    fn push(&mut self, name: &str, value: Option<Vec<u8>>) -> io::Result<()> {
        self.parts.push(Some(c_string(name)?.into_bytes_with_nul()));
        self.parts.push(value);
        Ok(())
    }

    /// The vectors of the system call. They live as long as `self` is neither changed nor dropped.
    fn vectors(&mut self) -> Vec<libc::iovec> {
        let vector = |part: &mut Option<Vec<u8>>| match part {
            Some(bytes) => libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() },
            None => libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 },
        };
        self.parts.iter_mut().map(vector).collect()
    }
}
