//! Mounts by descriptor: what is mounted and where it goes are descriptors, never paths that could change meanwhile.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

/// What a mount allows, as bits of mount_setattr(2).
pub use rustix::mount::MountAttrFlags as Attributes;

/// One option of a file system: a flag, or a key and its value.
#[derive(Clone, Copy)]
pub enum FsOption<'a> {
    /// `userxattr`
    Flag(&'a str),
    /// `mode=0755`
    Value(&'a str, &'a str),
}

/// A new mount of file system `kind` that stands nowhere yet.
///
/// # Errors
/// The system's; when the file system has left a message, that.
pub fn create(kind: &str, options: &[FsOption<'_>], attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    let explain = |error: rustix::io::Errno| explained(context.as_fd(), error);
    for option in options {
        match option {
            FsOption::Flag(key) => fsconfig_set_flag(context.as_fd(), *key),
            FsOption::Value(key, value) => fsconfig_set_string(context.as_fd(), *key, *value),
        }
        .map_err(explain)?;
    }
    fsconfig_create(context.as_fd()).map_err(explain)?;
    Ok(fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// The kernel writes into the context what it did not like.
fn explained(context: BorrowedFd<'_>, error: rustix::io::Errno) -> io::Error {
    let mut message = [0_u8; 512];
    let fallback = io::Error::from(error);
    match rustix::io::read(context, &mut message) {
        Ok(length) if length > 2 => {
            let text = String::from_utf8_lossy(&message[2..length]).trim().to_owned();
            io::Error::new(fallback.kind(), format!("{text} ({fallback})"))
        }
        _ => fallback,
    }
}

/// A copy of what is at `what` that stands nowhere yet, with all that is mounted below it when `recursive`.
pub fn copy(what: BorrowedFd<'_>, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(open_tree(what, "", flags)?)
}

/// Puts the mount `what` over `target`.
pub fn attach(what: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(what, "", target, "", flags)?)
}

/// The number of the mount that a descriptor's file is in.
///
/// # Errors
/// The system's: this process's procfs is not at `/proc`.
pub fn number(of: BorrowedFd<'_>) -> io::Result<u64> {
    let about = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", of.as_raw_fd()))?;
    let number = about.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
    number.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Adds attributes to the mount `what`, and to all below it when `recursive`.
pub fn restrict(what: BorrowedFd<'_>, attributes: MountAttrFlags, recursive: bool) -> io::Result<()> {
    change(what, u64::from(attributes.bits()), 0, 0, recursive)
}

/// Keeps what is mounted in one namespace from showing in another, for the mount `what` and all below it.
pub fn make_private(what: BorrowedFd<'_>) -> io::Result<()> {
    change(what, 0, 0, libc::MS_PRIVATE, true)
}

/// Sets and clears attributes of the mount `what`, and sets what shows of mounts in it elsewhere, as a flag of mount(2); of all below it
/// too when `recursive`.
///
/// # Errors
/// The system's: `EPERM` for what is locked in the calling process's user namespace.
pub fn change(what: BorrowedFd<'_>, set: u64, clear: u64, propagation: u64, recursive: bool) -> io::Result<()> {
    apply(what, &libc::mount_attr { attr_set: set, attr_clr: clear, propagation, userns_fd: 0 }, recursive)
}

/// Maps the ids of the mount `what`, which stands nowhere yet, as the user namespace `users` does.
///
/// # Errors
/// The system's: `EINVAL` where the file system cannot.
pub fn map_ids(what: BorrowedFd<'_>, users: BorrowedFd<'_>) -> io::Result<()> {
    let userns_fd = u64::try_from(users.as_raw_fd()).unwrap_or(0);
    apply(what, &libc::mount_attr { attr_set: libc::MOUNT_ATTR_IDMAP, attr_clr: 0, propagation: 0, userns_fd }, false)
}

fn apply(what: BorrowedFd<'_>, attributes: &libc::mount_attr, recursive: bool) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty string, the attributes are passed with their size and copied by the kernel.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            what.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const *attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
