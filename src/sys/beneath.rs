//! Opening what is below a directory without following a symbolic link, in no component of the path.
//!
//! Linux does the whole walk in one call (`openat2`, since 5.6); elsewhere, and for paths longer than a system call takes, each
//! component is opened from the one before. Both give a descriptor or an error: there is no way back to a path.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Mode, OFlags, openat};

/// Handle of a directory that serves as the start of further calls and nothing else.
#[cfg(target_os = "linux")]
pub(crate) const HANDLE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);
/// Handle of a directory that serves as the start of further calls.
#[cfg(not(target_os = "linux"))]
pub const HANDLE: OFlags = OFlags::DIRECTORY;

/// Opens `path`, relative to and below `root`. It holds no `..`; the empty path is `root` itself. Nothing is created.
///
/// # Errors
/// `ELOOP` or `ENOTDIR` where a component is a symbolic link, and those of `open(2)`.
pub fn open(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if path.is_empty() {
        return Ok(openat(root, ".", flags, Mode::empty())?);
    }
    if path.split(|&byte| byte == b'/').any(|name| matches!(name, b"" | b"..")) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    #[cfg(target_os = "linux")]
    if path.len() < usize::try_from(libc::PATH_MAX).unwrap_or(0) {
        use rustix::fs::{ResolveFlags, openat2};
        use rustix::io::Errno;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match openat2(root, OsStr::from_bytes(path), flags, Mode::empty(), resolve) {
            // Kernels before 5.6, and seccomp filters that know no better.
            Err(Errno::NOSYS) => {}
            opened => return Ok(opened?),
        }
    }
    walk(root, path, flags)
}

/// Opens a path beneath, one component after the other; `path` was looked at.
fn walk(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    let step = HANDLE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut directory: Option<OwnedFd> = None;
    let mut rest = path;
    loop {
        let from = directory.as_ref().map_or(root, |directory| directory.as_fd());
        let slash = rest.iter().position(|&byte| byte == b'/');
        let name = OsStr::from_bytes(&rest[..slash.unwrap_or(rest.len())]);
        match slash {
            None => return Ok(openat(from, name, flags, Mode::empty())?),
            Some(slash) => {
                directory = Some(openat(from, name, step, Mode::empty())?);
                rest = &rest[slash + 1..];
            }
        }
    }
}

/// Sets the mode of `name` in `directory`, which is no symbolic link and need not be one that can be opened.
#[allow(unsafe_code)]
pub(crate) fn set_mode(directory: BorrowedFd<'_>, name: &[u8], mode: u32) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let name = std::ffi::CString::new(name)?;
    #[allow(clippy::unnecessary_cast)] // mode_t is narrower elsewhere
    let mode = mode as libc::mode_t;
    // SAFETY: the descriptor is open, and the name ends with a NUL.
    let done =
        unsafe { libc::fchmodat(directory.as_raw_fd(), name.as_ptr(), mode, AtFlags::SYMLINK_NOFOLLOW.bits() as _) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_component_may_be_a_symbolic_link_however_the_path_is_walked() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/b/file"), "").unwrap();
        symlink("a", root.join("link")).unwrap();
        symlink("/", root.join("a/out")).unwrap();
        symlink("file", root.join("a/b/last")).unwrap();
        let handle = fs::File::open(root).unwrap();
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW;
        for refused in ["../x", "a/../a/b", "/etc/passwd", "a//b"] {
            assert!(open(handle.as_fd(), refused.as_bytes(), flags).is_err(), "{refused}");
        }
        for open in [open, walk] {
            let open = |path: &str| open(handle.as_fd(), path.as_bytes(), flags);
            assert!(open("a/b/file").is_ok());
            assert!(open("a/b").is_ok());
            for refused in ["link/b/file", "a/out/etc", "a/b/last", "a/none"] {
                assert!(open(refused).is_err(), "{refused}");
            }
        }
    }
}
