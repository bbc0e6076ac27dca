//! Copies of a rendered layer, for hosts where overlay cannot be had.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, chmodat, chownat, linkat, mkdirat,
    mknodat, openat, readlinkat, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

/// Copies the tree at `from` over what is at `to`, with owners, modes and times; names of one file stay names of one file.
pub fn tree(from: &Path, to: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let source = openat(CWD, from, flags, Mode::empty())?;
    let target = openat(CWD, to, flags, Mode::empty())?;
    let mut links = std::collections::HashMap::new();
    let about = rustix::fs::fstat(&source)?;
    contents(source.as_fd(), target.as_fd(), target.as_fd(), c"", &mut links)?;
    adopt(target.as_fd(), c".", &about, true)
}

type Links = std::collections::HashMap<(u64, u64), Vec<u8>>;

fn contents(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    top: BorrowedFd<'_>,
    path: &CStr,
    links: &mut Links,
) -> io::Result<()> {
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let about = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let mut full = path.to_bytes().to_vec();
        if !full.is_empty() {
            full.push(b'/');
        }
        full.extend_from_slice(name.to_bytes());
        let kind = FileType::from_raw_mode(about.st_mode);
        if kind != FileType::Directory && about.st_nlink > 1 {
            if let Some(first) = links.get(&(about.st_dev, about.st_ino)) {
                clear(to, name)?;
                linkat(top, first.as_slice(), to, name, AtFlags::empty())?;
                continue;
            }
            links.insert((about.st_dev, about.st_ino), full.clone());
        }
        let item = Item { from, name, to, new: name, full: &full, about: &about };
        item.copy(kind, top, links)?;
    }
    Ok(())
}

/// Copies what is at `name` in `from` to `new` in `to`, with all below it.
pub fn entry(from: BorrowedFd<'_>, name: &CStr, to: BorrowedFd<'_>, new: &CStr) -> io::Result<()> {
    let about = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let mut links = Links::new();
    let item = Item { from, name, to, new, full: new.to_bytes(), about: &about };
    item.copy(FileType::from_raw_mode(about.st_mode), to, &mut links)
}

/// One thing to be copied.
struct Item<'a> {
    from: BorrowedFd<'a>,
    name: &'a CStr,
    to: BorrowedFd<'a>,
    new: &'a CStr,
    /// The path of the copy, seen from the top.
    full: &'a [u8],
    about: &'a Stat,
}

impl Item<'_> {
    fn copy(&self, kind: FileType, top: BorrowedFd<'_>, links: &mut Links) -> io::Result<()> {
        let Self { from, name, to, new, full, about } = *self;
        let directory = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match kind {
            FileType::Directory => {
                let target = match openat(to, new, directory, Mode::empty()) {
                    Ok(target) => target,
                    Err(_) => {
                        clear(to, new)?;
                        mkdirat(to, new, Mode::from_raw_mode(0o700))?;
                        openat(to, new, directory, Mode::empty())?
                    }
                };
                let source = openat(from, name, directory, Mode::empty())?;
                let path = CString::new(full).map_err(io::Error::other)?;
                contents(source.as_fd(), target.as_fd(), top, &path, links)?;
            }
            FileType::Symlink => {
                clear(to, new)?;
                symlinkat(readlinkat(from, name, Vec::new())?, to, new)?;
            }
            FileType::RegularFile => {
                clear(to, new)?;
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let source: OwnedFd = openat(from, name, flags, Mode::empty())?;
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let target = openat(to, new, flags, Mode::from_raw_mode(0o600))?;
                // The kernel shares the blocks where the file system can.
                io::copy(&mut File::from(source), &mut File::from(target))?;
            }
            // A name that nobody listens behind; FreeBSD makes none by mknod.
            FileType::Socket if cfg!(target_os = "freebsd") => return clear(to, new),
            kind => {
                clear(to, new)?;
                // What is no device has no number there, which FreeBSD does not take for none.
                let device = matches!(kind, FileType::CharacterDevice | FileType::BlockDevice);
                let number = if device { about.st_rdev } else { 0 };
                mknodat(to, new, kind, Mode::from_raw_mode(about.st_mode & 0o7777), number)?;
            }
        }
        adopt(to, new, about, kind != FileType::Symlink)
    }
}

/// Removes what is not a directory at `name`, if there is something.
fn clear(at: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    match unlinkat(at, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn adopt(at: BorrowedFd<'_>, name: &CStr, about: &Stat, with_mode: bool) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(about.st_uid), Gid::from_raw(about.st_gid));
    match chownat(at, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW) {
        // Without privilege everything stays ours.
        Ok(()) | Err(Errno::PERM | Errno::INVAL) => {}
        Err(error) => return Err(error.into()),
    }
    if with_mode {
        chmodat(at, name, Mode::from_raw_mode(about.st_mode & 0o7777), AtFlags::empty())?;
    }
    let times = Timestamps {
        last_access: Timespec { tv_sec: about.st_atime as _, tv_nsec: about.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: about.st_mtime as _, tv_nsec: about.st_mtime_nsec as _ },
    };
    utimensat(at, name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}
