//! Finding and making things inside a rootfs. The rootfs is hostile: nothing is resolved outside it, nothing through
//! links of procfs, and where the kernel's own trees go no links are followed at all.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat, openat2, readlinkat, unlinkat,
};
use rustix::io::Errno;

use super::walk;

/// How far a resolution may go, beyond staying inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Links inside the rootfs are followed, mounts crossed.
    Anywhere,
    /// Links are followed, no mount is crossed: where a volume goes.
    SameMount,
    /// No links: where the kernel's own trees go.
    NoLinks,
}

impl Reach {
    pub(super) fn flags(self) -> ResolveFlags {
        let base = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        match self {
            Self::Anywhere => base,
            Self::SameMount => base | ResolveFlags::NO_XDEV,
            Self::NoLinks => base | ResolveFlags::NO_SYMLINKS,
        }
    }
}

/// A descriptor of `path` inside `root`.
pub fn open(root: BorrowedFd<'_>, path: &Path, flags: OFlags, reach: Reach) -> io::Result<OwnedFd> {
    match openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), reach.flags()) {
        // Kernels before 5.6, and seccomp filters that know no better; or somebody moves things as long as we look.
        Err(Errno::NOSYS | Errno::AGAIN) => walk::open(root, path, flags, reach),
        opened => Ok(opened?),
    }
}

/// A place to mount on: its descriptor, and whether something that was there is hidden or removed by it.
pub struct Place {
    /// The directory or file.
    pub fd: OwnedFd,
    /// Existing content was masked (`vol.target.warn`).
    pub masks: Option<&'static str>,
}

/// How many links that lead to nothing are made good on the way to a place, as many as the kernel follows.
const LINKS: u32 = 40;

/// The directory `path` inside `root`, made with its parents as 0:0 0755 where missing (`vol.target.create`,
/// `vol.target.perm`); where a link leads to nothing, what it leads to is made. A file in its place is removed
/// (`vol.target.file`).
pub fn directory(root: BorrowedFd<'_>, path: &Path, reach: Reach) -> io::Result<Place> {
    directory_by(root, path, reach, LINKS)
}

fn directory_by(root: BorrowedFd<'_>, path: &Path, reach: Reach, links: u32) -> io::Result<Place> {
    let mut sofar = PathBuf::from("/");
    let mut current = open(root, &sofar, OFlags::PATH | OFlags::DIRECTORY, reach)?;
    let mut masks = None;
    let names: Vec<&OsStr> = path
        .components()
        .filter_map(|part| match part {
            Component::Normal(_) | Component::ParentDir => Some(part.as_os_str()),
            _ => None,
        })
        .collect();
    for (index, name) in names.iter().enumerate() {
        sofar.push(name);
        let last = index + 1 == names.len();
        let found = open(root, &sofar, OFlags::PATH | OFlags::DIRECTORY, reach);
        current = match found {
            Ok(fd) => fd,
            Err(error) if is(&error, Errno::NOTDIR) && last => {
                remove_file(current.as_fd(), Path::new(name))?;
                masks = Some("a file");
                make_directory(current.as_fd(), Path::new(name))?
            }
            Err(error) if is(&error, Errno::NOENT) => match make_directory(current.as_fd(), Path::new(name)) {
                Err(error) if is(&error, Errno::EXIST) && links > 0 => {
                    let mut there = led_to(current.as_fd(), &sofar)?;
                    there.extend(&names[index + 1..]);
                    return directory_by(root, &there, reach, links - 1);
                }
                made => made?,
            },
            Err(error) => return Err(error),
        };
    }
    if masks.is_none() && !is_empty(current.as_fd())? {
        masks = Some("a directory that is not empty");
    }
    Ok(Place { fd: current, masks })
}

/// The file `path` inside `root` to mount a file on, made empty where missing, and then open for writing.
pub fn file(root: BorrowedFd<'_>, path: &Path, reach: Reach) -> io::Result<Place> {
    file_by(root, path, reach, LINKS)
}

fn file_by(root: BorrowedFd<'_>, path: &Path, reach: Reach, links: u32) -> io::Result<Place> {
    match open(root, path, OFlags::PATH, reach) {
        Ok(fd) if FileType::from_raw_mode(fstat(&fd)?.st_mode) == FileType::Directory => {
            Err(io::Error::from(Errno::ISDIR))
        }
        Ok(fd) => Ok(Place { fd, masks: Some("a file") }),
        Err(error) if is(&error, Errno::NOENT) => {
            let parent = path.parent().unwrap_or(Path::new("/"));
            let name = path.file_name().ok_or_else(|| io::Error::from(Errno::ISDIR))?;
            let parent = directory_by(root, parent, reach, links)?.fd;
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::RDWR | OFlags::CLOEXEC;
            match openat(&parent, name, flags, Mode::from_raw_mode(0o644)) {
                Err(Errno::EXIST) if links > 0 => file_by(root, &led_to(parent.as_fd(), path)?, reach, links - 1),
                made => Ok(Place { fd: made?, masks: None }),
            }
        }
        Err(error) => Err(error),
    }
}

/// Where the link `path`, the last name of which is in `parent`, leads.
fn led_to(parent: BorrowedFd<'_>, path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::from(Errno::NOENT))?;
    let target = readlinkat(parent, name, Vec::new())?;
    Ok(path.parent().unwrap_or(Path::new("/")).join(OsStr::from_bytes(target.as_bytes())))
}

fn make_directory(parent: BorrowedFd<'_>, name: &Path) -> io::Result<OwnedFd> {
    mkdirat(parent, name, Mode::from_raw_mode(0o755))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(parent, name, flags, Mode::empty())?)
}

fn remove_file(parent: BorrowedFd<'_>, name: &Path) -> io::Result<()> {
    Ok(unlinkat(parent, name, AtFlags::empty())?)
}

fn is_empty(directory: BorrowedFd<'_>) -> io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let readable = openat(directory, ".", flags, Mode::empty())?;
    for entry in rustix::fs::Dir::new(readable)? {
        let name = entry?;
        if !matches!(name.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The regular file `path` inside `root`, for reading; nothing when it is not there or not a regular file.
pub fn regular(root: BorrowedFd<'_>, path: &Path) -> io::Result<Option<File>> {
    // A fifo in the place of the file must not make us wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let fd = match open(root, path, flags, Reach::Anywhere) {
        Ok(fd) => fd,
        Err(error) if is(&error, Errno::NOENT) || is(&error, Errno::NOTDIR) || is(&error, Errno::LOOP) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let is_file = FileType::from_raw_mode(fstat(&fd)?.st_mode) == FileType::RegularFile;
    Ok(is_file.then(|| File::from(fd)))
}

/// The root directory of this process.
pub fn root() -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open("/", flags, Mode::empty())?)
}

/// Whether an error is this one of the system's.
pub fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

/// Opens a path of the host without following any symbolic link, as volumes demand (decision 46).
pub fn open_source(path: &Path, follow_links: bool) -> io::Result<OwnedFd> {
    if follow_links {
        return Ok(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?);
    }
    open(root()?.as_fd(), path, OFlags::PATH, Reach::NoLinks)
}
