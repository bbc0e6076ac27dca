//! Removing trees of any shape.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

#[cfg(target_os = "freebsd")]
use crate::sys::freebsd::flags;
use crate::sys::unowned::with_all_ids;

/// Removes the directory `path` and all below it; gives the bytes of the files that this was the last link of.
///
/// No recursion and two descriptors at a time, however deep an image went: directories found on the way are moved up
/// beside the one that held them. Nothing is followed. Flags of FreeBSD that forbid it are taken away. Directories without permissions are given them first, so that an ordinary
/// user can remove what he owns; so he can what belongs to his subordinate ids. A second call goes on where a killed one stopped.
pub(crate) fn remove(path: &Path) -> io::Result<u64> {
    with_all_ids(|| take_apart(path))
}

fn take_apart(path: &Path) -> io::Result<u64> {
    let Some(name) = path.file_name() else { return Err(io::ErrorKind::InvalidInput.into()) };
    let parent = File::open(path.parent().unwrap_or(Path::new(".")))?;
    let name = CString::new(name.as_bytes())?;
    let Some(top) = open_directory(parent.as_fd(), &name)? else { return Ok(0) };
    let mut freed = 0;
    let mut moved = 0_u64;
    loop {
        let mut left = 0;
        for entry in list(top.as_fd())? {
            let (entry_name, kind) = entry;
            if kind != FileType::Directory {
                freed += unlink(top.as_fd(), &entry_name)?;
                continue;
            }
            left += 1;
            let Some(directory) = open_directory(top.as_fd(), &entry_name)? else { continue };
            for (inner, kind) in list(directory.as_fd())? {
                if kind == FileType::Directory {
                    // Its `..` changes with the move, which needs the permission to write to it.
                    drop(open_directory(directory.as_fd(), &inner)?);
                    move_up(&directory, &inner, &top, &mut moved)?;
                } else {
                    freed += unlink(directory.as_fd(), &inner)?;
                }
            }
            absent_is_fine(rustix::fs::unlinkat(&top, &entry_name, AtFlags::REMOVEDIR))?;
        }
        if left == 0 {
            break;
        }
    }
    absent_is_fine(rustix::fs::unlinkat(&parent, &name, AtFlags::REMOVEDIR))?;
    Ok(freed)
}

/// Removes the tree at `path`, whatever its modes and flags, following nothing; one that is not there is removed already.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // Directories without permissions, or more of them above each other than descriptors. Not at once: it moves what it
        // finds, which can need space, and removing is what frees space.
        Err(_) => remove(path).map(drop),
    }
}

/// Opens a directory, making it ours to change if need be; `None` when it is not there (any more).
fn open_directory(parent: BorrowedFd<'_>, name: &CString) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = match rustix::fs::openat(parent, name, flags, Mode::empty()) {
        Err(rustix::io::Errno::ACCESS) => {
            // Only what lies in a directory of the store's own gets here, and a link is not opened afterwards either way.
            rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
            rustix::fs::openat(parent, name, flags, Mode::empty())
        }
        other => other,
    };
    match opened {
        Ok(directory) => {
            let stat = rustix::fs::fstat(&directory)?;
            // What cannot be done for all that is told when it is tried.
            #[cfg(target_os = "freebsd")]
            if flags::hinder(stat.st_flags) {
                let _ = flags::clear(directory.as_fd());
            }
            let mode = Mode::from_raw_mode(stat.st_mode);
            if !mode.contains(Mode::RWXU) {
                rustix::fs::fchmod(&directory, mode | Mode::RWXU)?;
            }
            Ok(Some(directory))
        }
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn list(directory: BorrowedFd<'_>) -> io::Result<Vec<(CString, FileType)>> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => kind_of(directory, name)?,
            kind => kind,
        };
        entries.push((name.to_owned(), kind));
    }
    Ok(entries)
}

fn kind_of(directory: BorrowedFd<'_>, name: &std::ffi::CStr) -> io::Result<FileType> {
    let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode))
}

fn unlink(directory: BorrowedFd<'_>, name: &CString) -> io::Result<u64> {
    let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
    #[cfg(target_os = "freebsd")]
    if stat.is_ok_and(|stat| flags::hinder(stat.st_flags)) {
        let _ = flags::clear_at(directory, name);
    }
    let bytes = match stat {
        Ok(stat) if stat.st_nlink == 1 => u64::try_from(stat.st_blocks).unwrap_or(0) * 512,
        Ok(_) => 0,
        Err(rustix::io::Errno::NOENT) => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    absent_is_fine(rustix::fs::unlinkat(directory, name, AtFlags::empty()))?;
    Ok(bytes)
}

fn move_up(from: &OwnedFd, name: &CString, top: &OwnedFd, moved: &mut u64) -> io::Result<()> {
    loop {
        *moved += 1;
        let target = format!("swept-{moved}");
        match rename_new(from, name, top, &target) {
            Err(rustix::io::Errno::EXIST | rustix::io::Errno::NOTEMPTY | rustix::io::Errno::NOTDIR) => {}
            other => return absent_is_fine(other),
        }
    }
}

#[cfg(target_os = "linux")]
fn rename_new(from: &OwnedFd, name: &CString, top: &OwnedFd, target: &str) -> rustix::io::Result<()> {
    rustix::fs::renameat_with(from, name, top, target, rustix::fs::RenameFlags::NOREPLACE)
}

#[cfg(not(target_os = "linux"))]
fn rename_new(from: &OwnedFd, name: &CString, top: &OwnedFd, target: &str) -> rustix::io::Result<()> {
    // Onto an empty directory or nothing: both lose nothing that is not to go anyway.
    rustix::fs::renameat(from, name, top, target)
}

fn absent_is_fine(done: rustix::io::Result<()>) -> io::Result<()> {
    match done {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
