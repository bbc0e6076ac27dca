//! Copies of a rendered layer, for hosts where overlay cannot be had.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, chmodat, chownat, linkat, mkdirat,
    mknodat, openat, readlinkat, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use crate::render::{attributes, copy_content};

/// Copies the tree at `from` over what is at `to`, with owners, modes, times and attributes; names of one file stay
/// names of one file. What lies in the way of something of another kind goes, with all below it.
pub fn tree(from: &Path, to: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let source = openat(CWD, from, flags, Mode::empty())?;
    let target = openat(CWD, to, flags, Mode::empty())?;
    let mut links = std::collections::HashMap::new();
    contents(source.as_fd(), target.as_fd(), target.as_fd(), c"", &mut links)?;
    dress(&source, &target)
}

/// Gives an open file or directory the owner, attributes, mode and times of another; owners as far as this user may.
pub fn dress(from: impl AsFd, to: impl AsFd) -> io::Result<()> {
    let about = rustix::fs::fstat(&from)?;
    // Owner first: a change of it takes away setuid bits and capabilities. Mode last: it may forbid attributes.
    owned(rustix::fs::fchown(&to, Some(Uid::from_raw(about.st_uid)), Some(Gid::from_raw(about.st_gid))))?;
    attributes::copy(&from, &to)?;
    rustix::fs::fchmod(&to, Mode::from_raw_mode(about.st_mode & 0o7777))?;
    Ok(rustix::fs::futimens(&to, &times(&about))?)
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
                return dress(&source, &target);
            }
            FileType::Symlink => {
                clear(to, new)?;
                symlinkat(readlinkat(from, name, Vec::new())?, to, new)?;
            }
            FileType::RegularFile => {
                clear(to, new)?;
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let mut source = File::from(openat(from, name, flags, Mode::empty())?);
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let mut target = File::from(openat(to, new, flags, Mode::from_raw_mode(0o600))?);
                // The kernel shares the blocks where the file system can.
                copy_content(&mut source, &mut target)?;
                return dress(&source, &target);
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

/// Removes what is at `name`, if there is something: with all below it where it is a directory.
fn clear(at: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    match unlinkat(at, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        // The second is FreeBSD's word for a directory.
        Err(Errno::ISDIR | Errno::PERM) => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let directory = openat(at, name, flags, Mode::empty())?;
            for entry in Dir::read_from(&directory)?.collect::<Result<Vec<_>, _>>()? {
                if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                    clear(directory.as_fd(), entry.file_name())?;
                }
            }
            Ok(unlinkat(at, name, AtFlags::REMOVEDIR)?)
        }
        Err(error) => Err(error.into()),
    }
}

fn adopt(at: BorrowedFd<'_>, name: &CStr, about: &Stat, with_mode: bool) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(about.st_uid), Gid::from_raw(about.st_gid));
    owned(chownat(at, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW))?;
    if with_mode {
        chmodat(at, name, Mode::from_raw_mode(about.st_mode & 0o7777), AtFlags::empty())?;
    }
    Ok(utimensat(at, name, &times(about), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Without privilege everything stays ours.
fn owned(changed: rustix::io::Result<()>) -> io::Result<()> {
    match changed {
        Ok(()) | Err(Errno::PERM | Errno::INVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn times(about: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: about.st_atime as _, tv_nsec: about.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: about.st_mtime as _, tv_nsec: about.st_mtime_nsec as _ },
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_layer_laid_over_another_replaces_what_is_of_another_kind_and_keeps_what_files_are() {
        let directory = tempfile::tempdir().unwrap();
        let [lower, upper, to] = ["lower", "upper", "to"].map(|name| directory.path().join(name));
        for path in
            [lower.join("file/deep/down"), lower.join("both"), upper.join("link"), upper.join("both"), to.clone()]
        {
            fs::create_dir_all(path).unwrap();
        }
        fs::write(lower.join("file/deep/down/x"), "x").unwrap();
        fs::write(lower.join("both/lower"), "x").unwrap();
        symlink("/etc", lower.join("link")).unwrap();
        fs::write(upper.join("file"), "content").unwrap();
        fs::hard_link(upper.join("file"), upper.join("both/second")).unwrap();
        fs::write(upper.join("link/x"), "x").unwrap();
        let hole = File::create(upper.join("hole")).unwrap();
        hole.set_len(8 << 20).unwrap();
        let name = "user.test";
        let given = rustix::fs::setxattr(upper.join("file"), name, b"kept", rustix::fs::XattrFlags::empty());
        let _ = rustix::fs::setxattr(lower.join("both"), name, b"gone", rustix::fs::XattrFlags::empty());
        fs::set_permissions(upper.join("file"), fs::Permissions::from_mode(0o440)).unwrap();
        fs::set_permissions(&upper, fs::Permissions::from_mode(0o711)).unwrap();

        tree(&lower, &to).unwrap();
        tree(&upper, &to).unwrap();

        assert_eq!(fs::read_to_string(to.join("file")).unwrap(), "content");
        assert_eq!(to.join("file").metadata().unwrap().ino(), to.join("both/second").metadata().unwrap().ino());
        assert_eq!(to.join("file").metadata().unwrap().mode() & 0o7777, 0o440);
        assert_eq!(to.metadata().unwrap().mode() & 0o7777, 0o711);
        assert!(to.join("both/lower").exists() && to.join("link").symlink_metadata().unwrap().is_dir());
        let (was, is) = (upper.join("hole").metadata().unwrap(), to.join("hole").metadata().unwrap());
        assert_eq!((is.len(), is.blocks()), (was.len(), was.blocks()));
        assert_eq!(is.modified().unwrap(), was.modified().unwrap());
        match given {
            Err(error) => println!("skipped: attributes cannot be set here: {error}"),
            Ok(()) => {
                let mut value = [0; 16];
                let length = rustix::fs::getxattr(to.join("file"), name, &mut value[..]).unwrap();
                assert_eq!(&value[..length], b"kept");
                assert!(rustix::fs::getxattr(to.join("both"), name, &mut value[..]).is_err());
            }
        }
    }
}
