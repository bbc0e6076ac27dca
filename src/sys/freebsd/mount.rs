//! Mounts.

use std::io;
use std::mem::offset_of;
use std::path::{Path, PathBuf};

use super::{Pairs, c_path, c_string, check, explained};

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// `zfs`, `nullfs`, `devfs`.
    pub kind: String,
    /// What is mounted: a directory, a dataset, the name of a pseudo file system.
    pub from: String,
    /// Where.
    pub on: PathBuf,
    /// Whether nothing can be written to it.
    pub read_only: bool,
}

/// Mounts a file system. `options` are those of `nmount(2)`; an empty value makes the name a flag.
///
/// # Errors
/// The kernel's, with its words where it has any.
pub fn mount(kind: &str, on: &Path, options: &[(&str, &str)], read_only: bool, update: bool) -> io::Result<()> {
    let mut pairs = Pairs::new();
    pairs.push("fstype", Some(c_string(kind)?.into_bytes_with_nul()))?;
    pairs.push("fspath", Some(c_path(on)?.into_bytes_with_nul()))?;
    for (name, value) in options {
        let value = if value.is_empty() { None } else { Some(c_string(value)?.into_bytes_with_nul()) };
        pairs.push(name, value)?;
    }
    let mut flags = 0;
    if read_only {
        flags |= libc::MNT_RDONLY;
        // ZFS looks at the option when a mount is updated, and puts the flag right after its property otherwise.
        pairs.push("ro", None)?;
    }
    if update {
        flags |= libc::MNT_UPDATE;
    }
    pairs.push("errmsg", Some(vec![0; 255]))?;
    let mut vectors = pairs.vectors();
    // SAFETY: each vector points to a buffer of its length in `pairs`, which lives across the call; the kernel writes to
    // the buffer of `errmsg` only.
    let done = unsafe { libc::nmount(vectors.as_mut_ptr(), vectors.len() as libc::c_uint, flags) };
    if done == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    let message = pairs.parts.last().and_then(Option::as_deref).unwrap_or_default();
    Err(explained(error, message))
}

/// Unmounts what is mounted last at `on`. `force`: even while it is used.
///
/// # Errors
/// The kernel's: `EBUSY` while it is used, `EINVAL` where nothing is mounted.
pub fn unmount(on: &Path, force: bool) -> io::Result<()> {
    let on = c_path(on)?;
    // SAFETY: the path lives across the call.
    check(unsafe { libc::unmount(on.as_ptr(), if force { libc::MNT_FORCE } else { 0 }) })
}

/// All mounts, in the order of mounting.
///
/// # Errors
/// The kernel's.
pub fn all() -> io::Result<Vec<Mounted>> {
    loop {
        // SAFETY: without a buffer the call counts.
        let count = unsafe { libc::getfsstat(std::ptr::null_mut(), 0, libc::MNT_NOWAIT) };
        check(count)?;
        // Room for some that come meanwhile.
        let room = usize::try_from(count).unwrap_or(0) + 16;
        let mut found: Vec<libc::statfs> = Vec::with_capacity(room);
        let bytes = libc::c_long::try_from(room * size_of::<libc::statfs>()).map_err(io::Error::other)?;
        // SAFETY: the buffer has `bytes` bytes.
        let got = unsafe { libc::getfsstat(found.as_mut_ptr(), bytes, libc::MNT_NOWAIT) };
        check(got)?;
        let got = usize::try_from(got).unwrap_or(0);
        if got >= room {
            continue;
        }
        // SAFETY: the kernel has written `got` whole structures.
        unsafe { found.set_len(got) };
        return Ok(found.iter().map(mounted).collect());
    }
}

fn mounted(found: &libc::statfs) -> Mounted {
    Mounted {
        kind: text(&found.f_fstypename),
        from: text(&found.f_mntfromname),
        on: PathBuf::from(std::ffi::OsString::from(text(&found.f_mntonname))),
        read_only: found.f_flags & libc::MNT_RDONLY as u64 != 0,
    }
}

fn text(from: &[libc::c_char]) -> String {
    let bytes: Vec<u8> = from.iter().take_while(|&&byte| byte != 0).map(|&byte| byte.to_ne_bytes()[0]).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

// `struct statfs` of FreeBSD 12 and later (`STATFS_VERSION` 0x20140518), on 64-bit machines.
#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<libc::iovec>() == 16);
    assert!(size_of::<libc::statfs>() == 2344 && offset_of!(libc::statfs, f_flags) == 8);
    assert!(offset_of!(libc::statfs, f_fstypename) == 280);
    assert!(offset_of!(libc::statfs, f_mntfromname) == 296 && offset_of!(libc::statfs, f_mntonname) == 1320);
    assert!(libc::MNT_RDONLY == 1 && libc::MNT_UPDATE == 0x1_0000 && libc::MNT_FORCE == 0x8_0000);
};
