//! Writing a merged tree: sharing what can be shared, copying the rest.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::attributes;
use super::merge::{Merged, Source};

/// How files get from the trees that they come from into the one that is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// The new tree is as unchanging as the old ones: a file may be one and the same.
    Frozen,
    /// Somebody will write to the new tree: files may share blocks, never more.
    Apart,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Files that are copies sharing blocks with the original.
    pub(crate) reflinked: u64,
    /// Files that are the original.
    pub linked: u64,
    /// Files that were copied.
    pub copied: u64,
    /// Bytes that were copied.
    pub bytes: u64,
}

/// Makes `rootfs` in the private directory `target` out of `sources`, one open root a pass. Hard links within a pass are hard
/// links in the result. Metadata is all that the sources have; owners where it says so, and without them no rights that go with them.
///
/// # Errors
/// Those of the system, with the path. What was written stays: it is the caller's private directory.
pub(super) fn write(
    merged: &Merged,
    sources: &[File],
    target: &File,
    sharing: Sharing,
    owners: bool,
) -> io::Result<Written> {
    rustix::fs::mkdirat(target, "rootfs", Mode::RWXU)?;
    let mut writer = Writer::new(sources, target, sharing, owners)?;
    for (path, source) in merged.paths() {
        if !path.is_empty() {
            writer.place(path, source.pass).map_err(|error| at(path, error))?;
        }
    }
    // From below upwards: what is made in a directory changes its time, and its mode may forbid making anything.
    for (path, source) in merged.paths().rev().filter(|(_, source)| source.directory) {
        writer.finish_directory(path, source.pass).map_err(|error| at(path, error))?;
    }
    Ok(writer.written)
}

/// Makes what `merged` is of the directory `target`, whose `rootfs` is a copy of the first source: what is of that stays as it is,
/// so that a file system goes on sharing it.
///
/// # Errors
/// As of [`write`].
pub(super) fn amend(merged: &Merged, sources: &[File], target: &File, owners: bool) -> io::Result<()> {
    let mut writer = Writer::new(sources, target, Sharing::Apart, owners)?;
    // What an image's tree has beside its files is that image's.
    match rustix::fs::unlinkat(target, "manifest", AtFlags::empty()) {
        Err(Errno::NOENT) | Ok(()) => {}
        Err(error) => return Err(at(b"manifest", error.into())),
    }
    let mut touched: HashSet<Vec<u8>> = HashSet::new();
    let mut goes: Vec<Vec<u8>> = Vec::new();
    // All of the first source is in the tree, so it tells what is there.
    for (path, directory) in writer.there()? {
        let stays = merged.source(&path).is_some_and(|source| source.pass == 0 || source.directory && directory);
        if !stays {
            goes.push(path);
        }
    }
    // From below upwards.
    for path in goes.iter().rev() {
        writer.touch(path, &mut touched)?;
        writer.remove(path).map_err(|error| at(path, error))?;
    }
    for (path, source) in merged.paths().filter(|(path, source)| source.pass != 0 && !path.is_empty()) {
        if source.directory && writer.has_directory(path) {
            touched.insert(path.to_vec());
            continue;
        }
        writer.touch(path, &mut touched)?;
        writer.place(path, source.pass).map_err(|error| at(path, error))?;
        if source.directory {
            touched.insert(path.to_vec());
        }
    }
    let root = merged.source(b"").is_some_and(|source| source.pass != 0);
    let of_directory =
        |(path, source): &(&[u8], Source)| source.directory && (touched.contains(*path) || root && path.is_empty());
    for (path, source) in merged.paths().rev().filter(of_directory) {
        writer.finish_directory(path, source.pass).map_err(|error| at(path, error))?;
    }
    Ok(())
}

struct Writer<'a> {
    sources: &'a [File],
    root: File,
    reflinks: bool,
    hard_links: bool,
    owners: bool,
    /// Where the first name of a file with several names in one pass went.
    groups: HashMap<(usize, u64, u64), Vec<u8>>,
    /// The pass for which a file of several names was hard-linked: another pass's are other files.
    shared: HashMap<(u64, u64), usize>,
    /// Passes from whose file system no hard link leads here.
    refused: HashSet<usize>,
    written: Written,
}

impl<'a> Writer<'a> {
    fn new(sources: &'a [File], target: &File, sharing: Sharing, owners: bool) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = File::from(rustix::fs::openat(target, "rootfs", flags, Mode::empty())?);
        Ok(Self {
            sources,
            root,
            reflinks: true,
            hard_links: sharing == Sharing::Frozen,
            owners,
            groups: HashMap::new(),
            shared: HashMap::new(),
            refused: HashSet::new(),
            written: Written::default(),
        })
    }

    /// What the tree holds, parents first, and whether each is a directory.
    fn there(&self) -> io::Result<Vec<(Vec<u8>, bool)>> {
        let mut all = Vec::new();
        let mut left = vec![Vec::new()];
        while let Some(above) = left.pop() {
            let path: &[u8] = if above.is_empty() { b"." } else { &above };
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let directory = rustix::fs::openat(&self.root, path, flags, Mode::empty())?;
            for entry in rustix::fs::Dir::read_from(&directory)? {
                let entry = entry?;
                let name = entry.file_name().to_bytes();
                if matches!(name, b"." | b"..") {
                    continue;
                }
                let path = if above.is_empty() { name.to_vec() } else { [&above, b"/".as_slice(), name].concat() };
                let stat = rustix::fs::statat(&self.root, path.as_slice(), AtFlags::SYMLINK_NOFOLLOW)?;
                let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
                if is_directory {
                    left.push(path.clone());
                }
                all.push((path, is_directory));
            }
        }
        all.sort();
        Ok(all)
    }

    /// That the directory which holds `path` is about to be changed.
    fn touch(&self, path: &[u8], touched: &mut HashSet<Vec<u8>>) -> io::Result<()> {
        let above = path.iter().rposition(|byte| *byte == b'/').map_or(&path[..0], |end| &path[..end]);
        if touched.insert(above.to_vec()) && !self.owners {
            // Its own mode may forbid it; it is given back in the end.
            let above = if above.is_empty() { b".".as_slice() } else { above };
            rustix::fs::chmodat(&self.root, above, Mode::RWXU, AtFlags::empty())?;
        }
        Ok(())
    }

    fn remove(&self, path: &[u8]) -> io::Result<()> {
        let flags = if self.has_directory(path) { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        Ok(rustix::fs::unlinkat(&self.root, path, flags)?)
    }

    fn has_directory(&self, path: &[u8]) -> bool {
        let stat = rustix::fs::statat(&self.root, path, AtFlags::SYMLINK_NOFOLLOW);
        stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
    }

    fn place(&mut self, path: &[u8], pass: usize) -> io::Result<()> {
        let source = self.sources[pass].as_fd();
        let stat = rustix::fs::statat(source, path, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            return Ok(rustix::fs::mkdirat(&self.root, path, Mode::RWXU)?);
        }
        let file = (pass, device(&stat), inode(&stat));
        if links(&stat) > 1
            && let Some(first) = self.groups.get(&file)
        {
            return Ok(rustix::fs::linkat(&self.root, first.as_slice(), &self.root, path, AtFlags::empty())?);
        }
        let reflinked = kind == FileType::RegularFile && self.reflinks && self.reflink(source, path, &stat)?;
        if !reflinked && !self.hard_link(source, path, pass, &stat)? {
            match kind {
                FileType::RegularFile => self.copy(source, path, &stat)?,
                FileType::Symlink => {
                    let to = rustix::fs::readlinkat(source, path, Vec::new())?;
                    rustix::fs::symlinkat(to.as_c_str(), &self.root, path)?;
                    self.dress_path(path, &stat)?;
                }
                _ => {
                    make_node(&self.root, path, kind, &stat)?;
                    self.dress_path(path, &stat)?;
                }
            }
        }
        if links(&stat) > 1 {
            self.groups.insert(file, path.to_vec());
        }
        Ok(())
    }

    /// A second name for a file. `false` where that is not to be, or not possible.
    fn hard_link(&mut self, source: BorrowedFd<'_>, path: &[u8], pass: usize, stat: &Stat) -> io::Result<bool> {
        let file = (device(stat), inode(stat));
        // Two passes over one image bring two files, as extracting it twice would.
        if !self.hard_links
            || self.refused.contains(&pass)
            || self.shared.get(&file).is_some_and(|other| *other != pass)
        {
            return Ok(false);
        }
        match rustix::fs::linkat(source, path, &self.root, path, AtFlags::empty()) {
            Ok(()) => {
                self.shared.insert(file, pass);
                self.written.linked += 1;
                Ok(true)
            }
            Err(Errno::MLINK) => Ok(false),
            Err(Errno::XDEV | Errno::PERM | Errno::OPNOTSUPP | Errno::ACCESS) => {
                self.refused.insert(pass);
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn reflink(&mut self, source: BorrowedFd<'_>, path: &[u8], stat: &Stat) -> io::Result<bool> {
        let from = open_file(source, path)?;
        let to = self.create(path)?;
        if clone_file(&to, &from) {
            self.written.reflinked += 1;
            self.dress_file(&from, &to, stat)?;
            return Ok(true);
        }
        // One file system, one answer; asking for every file again would only cost.
        self.reflinks = false;
        rustix::fs::unlinkat(&self.root, path, AtFlags::empty())?;
        Ok(false)
    }

    fn copy(&mut self, source: BorrowedFd<'_>, path: &[u8], stat: &Stat) -> io::Result<()> {
        let mut from = open_file(source, path)?;
        let mut to = self.create(path)?;
        self.written.bytes += copy_content(&mut from, &mut to)?;
        self.written.copied += 1;
        self.dress_file(&from, &to, stat)
    }

    fn create(&self, path: &[u8]) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.root, path, flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    /// Owner first (it takes away setuid bits and capabilities), then attributes, mode and times.
    fn dress_file(&self, from: &File, to: &File, stat: &Stat) -> io::Result<()> {
        if self.owners {
            rustix::fs::fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
        }
        attributes::copy(from, to, |_| true)?;
        rustix::fs::fchmod(to, self.mode(stat))?;
        Ok(rustix::fs::futimens(to, &times(stat))?)
    }

    fn dress_path(&self, path: &[u8], stat: &Stat) -> io::Result<()> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        if self.owners {
            let (owner, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
            rustix::fs::chownat(&self.root, path, Some(owner), Some(group), flags)?;
        }
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            // Made by us in a private directory a moment ago, and no link.
            rustix::fs::chmodat(&self.root, path, self.mode(stat), AtFlags::empty())?;
        }
        Ok(rustix::fs::utimensat(&self.root, path, &times(stat), flags)?)
    }

    fn mode(&self, stat: &Stat) -> Mode {
        let mode = Mode::from_raw_mode(stat.st_mode);
        // They would lend out rights of somebody else than the owner was.
        if self.owners { mode } else { mode - (Mode::SUID | Mode::SGID) }
    }

    fn finish_directory(&self, path: &[u8], pass: usize) -> io::Result<()> {
        let path = if path.is_empty() { b".".as_slice() } else { path };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let from = File::from(rustix::fs::openat(&self.sources[pass], path, flags, Mode::empty())?);
        let to = File::from(rustix::fs::openat(&self.root, path, flags, Mode::empty())?);
        let stat = rustix::fs::fstat(&from)?;
        // Those that another image's directory has are not this one's.
        for name in crate::store::attributes(to.as_fd())?.into_keys() {
            crate::sys::xattr::remove(to.as_fd(), &name)?;
        }
        self.dress_file(&from, &to, &stat)
    }
}

fn open_file(root: BorrowedFd<'_>, path: &[u8]) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(root, path, flags, Mode::empty())?.into())
}

/// Copies what is there and leaves holes where holes are. Gives the bytes copied.
pub(crate) fn copy_content(from: &mut File, to: &mut File) -> io::Result<u64> {
    let length = from.metadata()?.len();
    to.set_len(length)?;
    let mut copied = 0;
    let mut at = 0;
    while at < length {
        let data = match rustix::fs::seek(&*from, rustix::fs::SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(Errno::NXIO) => break,
            // A file system that knows no holes.
            Err(_) => at,
        };
        let hole = rustix::fs::seek(&*from, rustix::fs::SeekFrom::Hole(data)).unwrap_or(length);
        from.seek(SeekFrom::Start(data))?;
        to.seek(SeekFrom::Start(data))?;
        // Within the kernel where it can.
        let done = io::copy(&mut (&*from).take(hole - data), &mut &*to)?;
        copied += done;
        if done < hole - data {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was copied"));
        }
        at = hole;
    }
    to.flush()?;
    Ok(copied)
}

#[cfg(target_os = "linux")]
fn clone_file(to: &File, from: &File) -> bool {
    rustix::fs::ioctl_ficlone(to, from).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn clone_file(_: &File, _: &File) -> bool {
    // FreeBSD has no call that shares blocks or fails.
    false
}

fn make_node(root: &File, path: &[u8], kind: FileType, stat: &Stat) -> io::Result<()> {
    // What is no device has no number there, which FreeBSD does not take for none.
    let device = matches!(kind, FileType::CharacterDevice | FileType::BlockDevice);
    Ok(rustix::fs::mknodat(root, path, kind, Mode::RUSR | Mode::WUSR, if device { stat.st_rdev } else { 0 })?)
}

fn times(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: stat.st_atime as _, tv_nsec: stat.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: stat.st_mtime as _, tv_nsec: stat.st_mtime_nsec as _ },
    }
}

// The fields' widths differ between systems.
#[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
fn device(stat: &Stat) -> u64 {
    stat.st_dev as u64
}

#[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
fn inode(stat: &Stat) -> u64 {
    stat.st_ino as u64
}

#[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
fn links(stat: &Stat) -> u64 {
    stat.st_nlink as u64
}

fn at(path: &[u8], error: io::Error) -> io::Error {
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    io::Error::new(error.kind(), format!("/{}: {error}", path.display()))
}
