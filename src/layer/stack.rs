//! The tree that an app began from, as the layers that it is stacked of, looked at without a mount: by descriptors, the topmost
//! of each name counts, and directories merge (decision 27).

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, openat, statat};
use rustix::io::Errno;

pub(super) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// As many links are followed as the kernel follows.
const LINKS: u32 = 40;

/// A directory of the tree: the directories of the layers that it is merged of, the topmost first.
#[derive(Debug, Default)]
pub(crate) struct Level(Vec<OwnedFd>);

/// What a name stands for.
pub(crate) enum Named<'l> {
    Nothing,
    /// A directory, with what the topmost layer says about it.
    Directory(Stat, Level),
    /// Anything else, and the directory that it is in.
    Other(Stat, BorrowedFd<'l>),
}

impl Level {
    /// The root of what is stacked of `layers`, the lowest first.
    pub(crate) fn root(layers: &[PathBuf]) -> io::Result<Self> {
        let open = |layer: &PathBuf| {
            Ok(openat(CWD, layer, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
        };
        layers.iter().rev().map(open).collect::<io::Result<_>>().map(Self)
    }

    /// What the topmost layer says about this directory.
    pub(crate) fn about(&self) -> io::Result<Option<Stat>> {
        self.0.first().map(|top| Ok(rustix::fs::fstat(top)?)).transpose()
    }

    /// The topmost of the directories.
    pub(crate) fn top(&self) -> Option<BorrowedFd<'_>> {
        self.0.first().map(AsFd::as_fd)
    }

    /// What `name` stands for in this directory.
    pub(crate) fn find(&self, name: &[u8]) -> io::Result<Named<'_>> {
        let mut found: Option<(Stat, Vec<OwnedFd>)> = None;
        for directory in &self.0 {
            let Some(about) = about(directory.as_fd(), name)? else { continue };
            if kind(&about) == FileType::Directory {
                let below = enter(directory.as_fd(), name)?;
                found.get_or_insert_with(|| (about, Vec::new())).1.push(below);
            } else if found.is_none() {
                return Ok(Named::Other(about, directory.as_fd()));
            } else {
                // It hides what is beneath.
                break;
            }
        }
        Ok(found.map_or(Named::Nothing, |(about, below)| Named::Directory(about, Self(below))))
    }

    /// The topmost of the directories that have `name`.
    pub(super) fn holder(&self, name: &[u8]) -> io::Result<Option<BorrowedFd<'_>>> {
        for directory in &self.0 {
            if about(directory.as_fd(), name)?.is_some() {
                return Ok(Some(directory.as_fd()));
            }
        }
        Ok(None)
    }

    /// The names of all that is in this directory, sorted.
    pub(super) fn names(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut all = Vec::new();
        for directory in &self.0 {
            all.append(&mut names(directory.as_fd())?);
        }
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }

    fn duplicate(&self) -> io::Result<Self> {
        self.0.iter().map(OwnedFd::try_clone).collect::<io::Result<_>>().map(Self)
    }

    /// The directory at `path`, relative to this one, whose components are no links.
    pub(crate) fn at(&self, path: &[u8]) -> io::Result<Option<Self>> {
        let mut level = self.duplicate()?;
        for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            level = match level.find(name)? {
                Named::Directory(_, below) => below,
                _ => return Ok(None),
            };
        }
        Ok(Some(level))
    }

    /// Where `path` leads, links followed inside the tree: what is there of the result are no links.
    ///
    /// # Errors
    /// `ELOOP`; `ENOTDIR` where a file stands on the way.
    pub(crate) fn resolve(&self, path: &[u8]) -> io::Result<Vec<u8>> {
        let mut at: Vec<Vec<u8>> = Vec::new();
        let mut rest: Vec<Vec<u8>> = components(path);
        rest.reverse();
        let mut links = 0;
        while let Some(name) = rest.pop() {
            if name == b".." {
                at.pop();
                continue;
            }
            let found = match self.at(&at.join(&b'/'))? {
                Some(level) => match level.find(&name)? {
                    Named::Other(about, from) => Some((kind(&about), target(from, &name, &about)?)),
                    _ => None,
                },
                None => None,
            };
            match found {
                Some((FileType::Symlink, target)) => {
                    links += 1;
                    if links > LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    if target.starts_with(b"/") {
                        at.clear();
                    }
                    let mut more = components(&target);
                    more.reverse();
                    rest.extend(more);
                }
                Some(_) if !rest.is_empty() => return Err(Errno::NOTDIR.into()),
                _ => at.push(name),
            }
        }
        Ok(at.join(&b'/'))
    }
}

fn components(path: &[u8]) -> Vec<Vec<u8>> {
    let all = path.split(|&byte| byte == b'/');
    all.filter(|name| !matches!(*name, b"" | b".")).map(<[u8]>::to_vec).collect()
}

fn target(from: BorrowedFd<'_>, name: &[u8], about: &Stat) -> io::Result<Vec<u8>> {
    if kind(about) != FileType::Symlink {
        return Ok(Vec::new());
    }
    Ok(rustix::fs::readlinkat(from, OsStr::from_bytes(name), Vec::new())?.into_bytes())
}

/// What is at `name`; nothing where nothing is.
pub(super) fn about(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<Option<Stat>> {
    match statat(directory, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(about) => Ok(Some(about)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn enter(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    Ok(openat(directory, OsStr::from_bytes(name), DIRECTORY, Mode::empty())?)
}

/// A regular file, for reading; without waiting, should it be none any more.
pub(super) fn open(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(directory, OsStr::from_bytes(name), flags, Mode::empty())?);
    match kind(&rustix::fs::fstat(&file)?) {
        FileType::RegularFile => Ok(file),
        _ => Err(io::Error::other("it was replaced while it was looked at")),
    }
}

pub(super) fn names(directory: BorrowedFd<'_>) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(name.to_vec());
        }
    }
    Ok(names)
}

pub(super) fn kind(about: &Stat) -> FileType {
    FileType::from_raw_mode(about.st_mode)
}

/// What tells a file from all others.
#[allow(clippy::unnecessary_cast)] // the widths of these differ from system to system
pub(super) fn inode(about: &Stat) -> (u64, u64) {
    (about.st_dev as u64, about.st_ino as u64)
}
