//! The walk over a layout, by handles: nothing is followed, and what is not a regular file is never opened for reading.

use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, RawMode, Stat, fstat, major, minor, openat, readlinkat, statat,
};

use super::entry::Entries;
use super::pattern::Pattern;
use super::{BuildOptions, sparse};
use crate::aci::tar::{Kind as EntryKind, Time, printable};
use crate::aci::{Error, Kind, Result};
use crate::diagnostic::Diagnostic;
use crate::sys::xattr;

/// Labels that the host gives; they say nothing about the image and would differ from host to host.
const HOST_XATTRS: [&[u8]; 4] = [b"security.selinux", b"security.ima", b"security.evm", b"security.SMACK64"];

/// Something in the tree, as it shall be written.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) name: Vec<u8>,
    pub(super) kind: EntryKind,
    pub(super) target: Vec<u8>,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Time,
    pub(super) size: u64,
    pub(super) device: (u32, u32),
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Default for Found {
    fn default() -> Self {
        Self {
            name: Vec::new(),
            kind: EntryKind::File,
            target: Vec::new(),
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: Time::default(),
            size: 0,
            device: (0, 0),
            xattrs: Vec::new(),
        }
    }
}

/// A layout about to be walked.
pub(super) struct Walk<'a> {
    layout: BorrowedFd<'a>,
    /// What `rootfs` is called there.
    rootfs: &'a OsStr,
    exclude: Vec<Pattern>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(layout: BorrowedFd<'a>, rootfs: &'a OsStr, options: &BuildOptions) -> Result<Self> {
        let exclude = options.exclude.iter().map(|pattern| {
            Pattern::new(pattern.as_bytes())
                .map_err(|what| Error::new(Kind::Refused, format!("leave out what matches `{pattern}`")).because(what))
        });
        Ok(Self { layout, rootfs, exclude: exclude.collect::<Result<_>>()? })
    }

    /// The layout's own manifest.
    pub(super) fn manifest(&self) -> Result<Vec<u8>> {
        let failed = |error: io::Error| Error::new(Kind::Io, "read the manifest of the layout").because(error);
        let file = open(self.layout, OsStr::new("manifest")).map_err(|error| failed(error.into()))?;
        let mut manifest = Vec::new();
        File::from(file).read_to_end(&mut manifest).map_err(failed)?;
        Ok(manifest)
    }

    /// The newest modification time under `rootfs`, in whole seconds.
    pub(super) fn newest(&self) -> Result<i64> {
        let mut newest = i64::MIN;
        self.visit(&mut |_, _, stat, _| {
            newest = newest.max(time(stat).seconds);
            Ok(())
        })?;
        Ok(newest)
    }

    /// Hands all that is under `rootfs` to `entries`, and `rootfs` itself. What is later than `latest` becomes it.
    pub(super) fn run(&self, entries: &mut Entries<'_, '_>, latest: Option<i64>) -> Result<()> {
        let mut packer = Packer::default();
        let latest = latest.map(|seconds| Time { seconds, nanos: 0 });
        let when = |time: Time| latest.map_or(time, |latest| time.min(latest));
        self.visit(&mut |directory, name, stat, path| packer.pack(entries, directory, name, stat, path, when))
    }

    /// Calls `visit` with directory, name, status and path of `rootfs` and all below it that is not left out, sorted.
    fn visit(&self, visit: &mut Visit<'_>) -> Result<()> {
        let stat = status(self.layout, self.rootfs)
            .map_err(|error| Error::new(Kind::Io, "read `rootfs` of the layout").because(error))?;
        if FileType::from_raw_mode(stat.st_mode as RawMode) != FileType::Directory {
            return Err(Error::new(Kind::Invalid, "read `rootfs` of the layout")
                .clause("aci.rootfs.dir")
                .because("it is not a directory"));
        }
        visit(self.layout, self.rootfs, &stat, b"rootfs")?;
        self.below(self.layout, self.rootfs, &mut b"rootfs".to_vec(), visit)
    }

    fn below(&self, directory: BorrowedFd<'_>, name: &OsStr, path: &mut Vec<u8>, visit: &mut Visit<'_>) -> Result<()> {
        let failed =
            |error: io::Error, path: &[u8]| Error::new(Kind::Io, format!("read `{}`", printable(path))).because(error);
        let handle = enter(directory, name).map_err(|error| failed(error.into(), path))?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&handle).map_err(|error| failed(error.into(), path))? {
            let entry = entry.map_err(|error| failed(error.into(), path))?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push(entry.file_name().to_bytes().to_vec());
            }
        }
        names.sort_unstable();
        for name in names {
            let length = path.len();
            path.push(b'/');
            path.extend_from_slice(&name);
            if !self.exclude.iter().any(|pattern| pattern.matches(&path[b"rootfs/".len()..])) {
                let name = OsStr::from_bytes(&name);
                let stat = status(handle.as_fd(), name).map_err(|error| failed(error, path))?;
                visit(handle.as_fd(), name, &stat, path)?;
                if FileType::from_raw_mode(stat.st_mode as RawMode) == FileType::Directory {
                    self.below(handle.as_fd(), name, path, visit)?;
                }
            }
            path.truncate(length);
        }
        Ok(())
    }
}

/// Packs what is in a tree, one thing after the other.
#[derive(Default)]
pub(super) struct Packer {
    /// Files with several names: device and inode of the first.
    linked: HashMap<(u64, u64), Vec<u8>>,
    /// Whether holes are looked for in all files, so that nothing depends on the file system that the tree is on.
    thorough: bool,
}

impl Packer {
    pub(super) fn thorough() -> Self {
        Self { thorough: true, ..Self::default() }
    }

    /// Hands what is at `name` in `directory` to `entries` under the name `path`, its time being what `when` makes of it.
    pub(super) fn pack(
        &mut self,
        entries: &mut Entries<'_, '_>,
        directory: BorrowedFd<'_>,
        name: &OsStr,
        stat: &Stat,
        path: &[u8],
        when: impl Fn(Time) -> Time,
    ) -> Result<()> {
        let failed = |error: io::Error| Error::new(Kind::Io, format!("read `{}`", printable(path))).because(error);
        let describe = |stat: &Stat| Found { mtime: when(time(stat)), ..describe(stat) };
        let kind = match FileType::from_raw_mode(stat.st_mode as RawMode) {
            FileType::RegularFile => EntryKind::File,
            FileType::Directory => EntryKind::Directory,
            FileType::Symlink => EntryKind::Symlink,
            FileType::CharacterDevice => EntryKind::Character,
            FileType::BlockDevice => EntryKind::Block,
            FileType::Fifo => EntryKind::Fifo,
            _ => {
                entries.tell(
                    Diagnostic::warning("x.aci.build-socket", "a socket cannot be packed and was left out")
                        .entry(printable(path)),
                );
                return Ok(());
            }
        };
        let mut found = Found { name: path.to_vec(), kind, ..describe(stat) };
        if kind != EntryKind::Directory && stat.st_nlink > 1 {
            #[allow(clippy::unnecessary_cast)] // narrower elsewhere
            let inode = (stat.st_dev as u64, stat.st_ino as u64);
            if let Some(first) = self.linked.get(&inode) {
                found.kind = EntryKind::Hardlink;
                found.target = first.clone();
                found.size = 0;
                return entries.empty(&found);
            }
            self.linked.insert(inode, path.to_vec());
        }
        match kind {
            EntryKind::File => {
                let file = open(directory, name).map_err(|error| failed(error.into()))?;
                // What was opened may be newer than what was looked at.
                let stat = fstat(&file).map_err(|error| failed(error.into()))?;
                if FileType::from_raw_mode(stat.st_mode as RawMode) != FileType::RegularFile {
                    return Err(failed(io::Error::other("it was replaced while it was read")));
                }
                found = Found { name: found.name, kind, ..describe(&stat) };
                found.xattrs = xattrs(file.as_fd(), path, entries).map_err(failed)?;
                let mut file = File::from(file);
                let extents = sparse::extents(&mut file, &stat, self.thorough).map_err(failed)?;
                entries.file(&found, &mut file, extents.as_deref())
            }
            EntryKind::Directory => {
                let handle = enter(directory, name).map_err(|error| failed(error.into()))?;
                found.xattrs = xattrs(handle.as_fd(), path, entries).map_err(failed)?;
                entries.empty(&found)
            }
            EntryKind::Symlink => {
                let target = readlinkat(directory, name, Vec::new()).map_err(|error| failed(error.into()))?;
                found.target = CString::into_bytes(target);
                entries.empty(&found)
            }
            _ => entries.empty(&found),
        }
    }
}

type Visit<'v> = dyn FnMut(BorrowedFd<'_>, &OsStr, &Stat, &[u8]) -> Result<()> + 'v;

fn status(directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<Stat> {
    Ok(statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn enter(directory: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    openat(directory, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Without waiting, should the file have become a pipe since it was looked at.
fn open(directory: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    openat(directory, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
}

#[allow(clippy::unnecessary_cast, clippy::cast_lossless)] // the widths of these differ from system to system
fn describe(stat: &Stat) -> Found {
    let device = (major(stat.st_rdev) as u32, minor(stat.st_rdev) as u32);
    let kind = FileType::from_raw_mode(stat.st_mode as RawMode);
    Found {
        mode: stat.st_mode as u32 & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: time(stat),
        size: if kind == FileType::RegularFile { stat.st_size as u64 } else { 0 },
        device: if kind.is_char_device() || kind.is_block_device() { device } else { (0, 0) },
        ..Found::default()
    }
}

/// When a file was modified last.
#[allow(clippy::unnecessary_cast)] // the widths of these differ from system to system
pub(crate) fn time(stat: &Stat) -> Time {
    Time { seconds: stat.st_mtime as i64, nanos: stat.st_mtime_nsec as u32 }
}

fn xattrs(file: BorrowedFd<'_>, path: &[u8], entries: &mut Entries<'_, '_>) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut all = attributes(file)?;
    // A PAX record's key ends there.
    for (name, _) in all.extract_if(.., |(name, _)| name.contains(&b'=')) {
        let what = format!("the extended attribute {} cannot be packed and was left out", printable(&name));
        entries.tell(Diagnostic::warning("x.aci.build-xattr", what).entry(printable(path)));
    }
    Ok(all)
}

/// The attributes of an open file that are of the image and not of the host.
pub(crate) fn attributes(file: BorrowedFd<'_>) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let names = xattr::list(file)?.into_iter().filter(|name| !HOST_XATTRS.contains(&&name[..]));
    names.map(|name| xattr::get(file, &name).map(|value| (name, value))).collect()
}
