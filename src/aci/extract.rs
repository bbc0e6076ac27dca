//! Extraction into a directory that is nobody else's yet.
//!
//! ```text
//! <into>/manifest       bytes as they came
//!        rootfs/...     the tree
//! ```
//! Every name is opened from a handle on its directory, no component of it through a symbolic link; everything is created
//! exclusively. While the tree grows its directories are the extractor's alone (0700); owners, modes, xattrs and times of
//! directories follow at the end, the deepest first. Publishing the directory, and removing it where this failed, is the caller's.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{
    self, AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, chownat, fchmod, fchown, futimens, linkat,
    makedev, mkdirat, mknodat, openat, symlinkat, utimensat,
};
use rustix::io::Errno;

use super::tar::printable;
use super::{Data, Entry, EntryKind, Error, Findings, Kind, ReadOptions, Result, Sink, Summary, Time, read};
use crate::diagnostic::Diagnostic;
use crate::sys::unowned::{with_all_ids, with_subordinate_ids};
use crate::sys::{beneath, xattr};

/// Bytes of what is remembered until the end: directories with their xattrs, devices that were left out. Each takes 100 beside its
/// name, so that is some 100,000.
const MAX_WAITING: usize = 20 << 20;
/// Directories above each other that are made: those of the longest path that Linux takes.
const MAX_DEPTH: usize = 2048;
/// Names in one note on what was left out.
const MAX_TOLD: usize = 8;
/// How the note on owners begins.
pub(crate) const OWNERS_LEFT_OUT: &str = "owners that were not applied";
/// How the note on attributes begins.
pub(crate) const XATTRS_LEFT_OUT: &str = "extended attributes that were not applied";

/// How the note on setuid and setgid bits begins.
const MODES_LEFT_OUT: &str = "setuid and setgid bits that were not applied without their owner";
/// How the notes begin on what another user might have applied.
pub(crate) const LEFT_OUT: [&str; 3] = [OWNERS_LEFT_OUT, MODES_LEFT_OUT, XATTRS_LEFT_OUT];

/// How to extract.
#[derive(Clone, Debug)]
pub struct ExtractOptions {
    /// How to read; [`Findings::Fail`] always holds.
    pub read: ReadOptions,
    /// What becomes of owners and groups.
    pub owners: Owners,
    /// What becomes of device nodes.
    pub devices: Devices,
    /// Whether `trusted.*`, `user.overlay.*` and all of `security.*` are applied, not just `security.capability`.
    pub privileged_xattrs: bool,
    /// Whether all is on disk when this returns: one `syncfs`, no `fsync` a file.
    pub sync: bool,
}

impl Default for ExtractOptions {
    /// For the user who runs this: root applies owners, others do where they can. No devices, no privileged xattrs.
    fn default() -> Self {
        let root = rustix::process::geteuid().is_root();
        Self {
            read: ReadOptions::default(),
            owners: if root { Owners::Apply } else { Owners::WherePossible },
            devices: Devices::LeaveOut,
            privileged_xattrs: false,
            sync: true,
        }
    }
}

/// What becomes of owners and groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owners {
    /// Applied, or it is an error.
    Apply,
    /// Applied where the system allows it; what it does not allow is told.
    WherePossible,
    /// All belongs to who runs this, which is told.
    Ignore,
    /// Of an ordinary user, who is root in a user namespace: applied there, with his subordinate ids. What those do not have is told. Only
    /// there all of the tree can be read, changed and removed.
    Subordinate,
}

impl Owners {
    /// Those of trees that nobody handles but who knows about subordinate ids.
    pub fn of_pods() -> Self {
        #[cfg(target_os = "linux")]
        if crate::sys::linux::subordinate::wanted() {
            return Self::Subordinate;
        }
        ExtractOptions::default().owners
    }
}

/// What becomes of device nodes. Making them takes root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Devices {
    /// Made.
    Make,
    /// Left out, which is told.
    LeaveOut,
}

/// Reads an archive once: hashes and checks all of it, and extracts `rootfs` and `manifest` into the open, empty directory `into`.
///
/// What was not applied (owners, devices, xattrs) is told by notes among the summary's diagnostics.
///
/// # Errors
/// Those of [`read`], and [`Kind::Io`] where the file system refuses; `into` then holds a part and is to be removed.
pub fn import(source: impl Read + Send, into: BorrowedFd<'_>, options: &ExtractOptions) -> Result<Summary> {
    let reading = ReadOptions { findings: Findings::Fail, ..options.read.clone() };
    let mut tree = Tree {
        root: into,
        options,
        parent: None,
        directories: BTreeMap::new(),
        waiting: 0,
        left: BTreeSet::new(),
        later: Vec::new(),
        later_bytes: 0,
        told: Told::default(),
    };
    let mut summary = read(source, &reading, &mut tree)?;
    let implied = tree.directories.iter().filter(|(_, directory)| directory.implied);
    summary.implied = implied.map(|(name, _)| name.clone()).collect();
    tree.finish()?;
    summary.diagnostics.extend(tree.told.notes());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let failed = |error: Errno| Error::new(Kind::Io, "write the manifest").because(io::Error::from(error));
    let manifest = openat(into, "manifest", flags, Mode::from_raw_mode(0o644)).map_err(failed)?;
    write_at(&manifest, &summary.manifest, 0).map_err(failed)?;
    if options.sync {
        sync(into).map_err(|error| Error::new(Kind::Io, "write the tree to disk").because(io::Error::from(error)))?;
    }
    Ok(summary)
}

#[cfg(target_os = "linux")]
pub(crate) fn sync(directory: BorrowedFd<'_>) -> rustix::io::Result<()> {
    fs::syncfs(directory)
}

/// There is no syncfs: all file systems are, and only ZFS waits for it (`zfs_sync` does, `ffs_sync` of UFS is told not to). The files
/// right below the directory are waited for on any; on UFS what lies deeper may be lost with the host for half a minute, which
/// `jetpack image verify` finds.
#[cfg(not(target_os = "linux"))]
pub(crate) fn sync(directory: BorrowedFd<'_>) -> rustix::io::Result<()> {
    fs::sync();
    for entry in fs::Dir::read_from(directory)? {
        let entry = entry?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        if entry.file_type() == fs::FileType::RegularFile {
            fs::fsync(openat(directory, entry.file_name(), flags, Mode::empty())?)?;
        }
    }
    fs::fsync(directory)
}

/// A tree that grows.
struct Tree<'a> {
    root: BorrowedFd<'a>,
    options: &'a ExtractOptions,
    /// The directory of the entry before, open.
    parent: Option<(Vec<u8>, OwnedFd)>,
    /// What directories shall be like in the end. Read backwards, children come before their parents.
    directories: BTreeMap<Vec<u8>, Directory>,
    /// Bytes of `directories` and `left`.
    waiting: usize,
    /// Device nodes that were left out: hard links to them are too.
    left: BTreeSet<Vec<u8>>,
    /// What is given its owner in a user namespace, some at once.
    later: Vec<Later>,
    later_bytes: usize,
    told: Told,
}

/// So many are given their owners at once.
const AT_ONCE: usize = 4096;
/// And with so many bytes of names and attributes, which the archive chooses.
const BYTES_AT_ONCE: usize = 4 << 20;

/// What waits for its owner.
struct Later {
    name: Vec<u8>,
    kind: EntryKind,
    metadata: Metadata,
}

/// What a directory shall be like.
struct Directory {
    /// It has no entry of its own so far.
    implied: bool,
    metadata: Metadata,
}

#[derive(Clone)]
struct Metadata {
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: Time,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Metadata {
    fn of(entry: &Entry, xattrs: Vec<(Vec<u8>, Vec<u8>)>) -> Self {
        Self { mode: entry.mode, uid: entry.uid, gid: entry.gid, mtime: entry.mtime, xattrs }
    }
}

impl Sink for Tree<'_> {
    fn entry(&mut self, entry: &Entry, data: &mut Data<'_, '_>) -> Result<()> {
        if entry.in_rootfs().is_none() {
            return Ok(());
        }
        if entry.name.iter().filter(|&&byte| byte == b'/').count() > MAX_DEPTH {
            return Err(too_big(entry, "it has too many directories above each other"));
        }
        let failed = |error: Errno| failure(entry, error);
        if entry.kind == EntryKind::Directory {
            return self.directory(entry);
        }
        let (parent, name) = split(&entry.name);
        self.enter(parent, entry)?;
        if entry.kind == EntryKind::File {
            return self.file(entry, name, data);
        }
        let name = OsStr::from_bytes(name);
        // Set by `enter`.
        let Some((_, parent)) = &self.parent else { return Err(failed(Errno::BADF)) };
        match entry.kind {
            EntryKind::Hardlink if self.left.contains(&entry.target) => {
                return self.leave_out(entry);
            }
            EntryKind::Hardlink => {
                let (directory, target) = split(&entry.target);
                // Without AT_SYMLINK_FOLLOW a symbolic link is linked itself. Owner, mode and times are the target's.
                let link = || {
                    let from = beneath::open(self.root, directory, beneath::HANDLE)?;
                    Ok(linkat(from, OsStr::from_bytes(target), parent, name, AtFlags::empty())?)
                };
                // One that has its owner by now is not this user's to link, where links are protected.
                return with_all_ids(link).map_err(|error| failed(errno(&error)));
            }
            EntryKind::Symlink => symlinkat(OsStr::from_bytes(&entry.target), parent, name).map_err(failed)?,
            EntryKind::Fifo => mknodat(parent, name, FileType::Fifo, Mode::RWXU, 0).map_err(failed)?,
            EntryKind::Character | EntryKind::Block if self.options.devices == Devices::LeaveOut => {
                return self.leave_out(entry);
            }
            EntryKind::Character | EntryKind::Block => {
                let kind =
                    if entry.kind == EntryKind::Block { FileType::BlockDevice } else { FileType::CharacterDevice };
                let device = makedev(entry.device.0, entry.device.1);
                mknodat(parent, name, kind, Mode::RWXU, device).map_err(failed)?;
            }
            EntryKind::File | EntryKind::Directory => {}
        }
        for (attribute, _) in &entry.xattrs {
            self.told.xattrs.add(format!("{} of {}", printable(attribute), entry.display_name()));
        }
        let metadata = Metadata::of(entry, Vec::new());
        if self.waits(&metadata) {
            return self.later(entry, metadata);
        }
        self.told.apply_at(self.options.owners, parent.as_fd(), &entry.name, entry.kind, &metadata).map_err(failed)
    }
}

impl Tree<'_> {
    /// Leaves a device out, or another name of one.
    fn leave_out(&mut self, entry: &Entry) -> Result<()> {
        self.told.devices.add(entry.display_name());
        self.left.insert(entry.name.clone());
        self.wait(entry.name.len(), entry)
    }

    fn directory(&mut self, entry: &Entry) -> Result<()> {
        let metadata = Metadata::of(entry, entry.xattrs.clone());
        match self.directories.get_mut(&entry.name) {
            Some(known) if known.implied => {
                *known = Directory { implied: false, metadata };
                Ok(())
            }
            Some(_) => Err(failure(entry, Errno::EXIST)),
            None => {
                let (parent, _) = split(&entry.name);
                self.enter(parent, entry)?;
                self.make(&entry.name, Directory { implied: false, metadata }, entry)
            }
        }
    }

    /// Counts what is remembered of a name until the end.
    fn wait(&mut self, bytes: usize, entry: &Entry) -> Result<()> {
        self.waiting += bytes + 100;
        if self.waiting <= MAX_WAITING {
            return Ok(());
        }
        Err(too_big(entry, "the archive has too many directories and devices"))
    }

    /// Makes the directory `name` in the current one, for the sake of `entry`.
    fn make(&mut self, name: &[u8], directory: Directory, entry: &Entry) -> Result<()> {
        let (_, last) = split(name);
        let parent = self.parent.as_ref().map_or(self.root, |(_, parent)| parent.as_fd());
        mkdirat(parent, OsStr::from_bytes(last), Mode::RWXU).map_err(|error| failure(entry, error))?;
        let xattrs: usize = directory.metadata.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.directories.insert(name.to_vec(), directory);
        self.wait(name.len() + xattrs, entry)
    }

    /// Makes `path` the current directory, and the parts of it that have no entry so far.
    fn enter(&mut self, path: &[u8], entry: &Entry) -> Result<()> {
        if self.parent.as_ref().is_some_and(|(current, _)| current == path) {
            return Ok(());
        }
        let opened = if path.is_empty() || self.directories.contains_key(path) {
            beneath::open(self.root, path, beneath::HANDLE)
        } else {
            let (above, last) = split(path);
            self.enter(above, entry)?;
            let metadata = Metadata { mode: 0o755, uid: 0, gid: 0, mtime: Time::default(), xattrs: Vec::new() };
            self.make(path, Directory { implied: true, metadata }, entry)?;
            let parent = self.parent.as_ref().map_or(self.root, |(_, parent)| parent.as_fd());
            beneath::open(parent, last, beneath::HANDLE)
        };
        self.parent = Some((path.to_vec(), opened.map_err(|error| failure(entry, errno(&error)))?));
        Ok(())
    }

    fn file(&mut self, entry: &Entry, name: &[u8], data: &mut Data<'_, '_>) -> Result<()> {
        let failed = |error: Errno| failure(entry, error);
        let Some((_, parent)) = &self.parent else { return Err(failed(Errno::BADF)) };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(parent, OsStr::from_bytes(name), flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        while let Some((offset, bytes)) = data.next()? {
            write_at(&file, bytes, offset).map_err(failed)?;
        }
        if entry.extents.is_some() {
            fs::ftruncate(&file, entry.size).map_err(failed)?;
        }
        let metadata = Metadata::of(entry, entry.xattrs.clone());
        if self.waits(&metadata) {
            return self.later(entry, metadata);
        }
        self.told.apply(self.options, &file, &entry.name, &metadata).map_err(failed)
    }

    /// Whether that takes a user namespace in which the user is root: owners beyond root's, and what lends out the owner's rights.
    fn waits(&self, metadata: &Metadata) -> bool {
        let privileged = |(name, _): &(Vec<u8>, Vec<u8>)| name.starts_with(b"security.");
        self.options.owners == Owners::Subordinate
            && ((metadata.uid, metadata.gid) != (0, 0)
                || metadata.mode & 0o6000 != 0
                || metadata.xattrs.iter().any(privileged))
    }

    fn later(&mut self, entry: &Entry, metadata: Metadata) -> Result<()> {
        let xattrs: usize = metadata.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.later_bytes += entry.name.len() + xattrs;
        self.later.push(Later { name: entry.name.clone(), kind: entry.kind, metadata });
        if self.later.len() < AT_ONCE && self.later_bytes < BYTES_AT_ONCE { Ok(()) } else { self.catch_up() }
    }

    /// Gives what is no directory what it waits for.
    fn catch_up(&mut self) -> Result<()> {
        let later = std::mem::take(&mut self.later);
        self.later_bytes = 0;
        if later.is_empty() {
            return Ok(());
        }
        let (root, options, told) = (self.root, self.options, &mut self.told);
        as_root(options, |options| {
            later.iter().try_for_each(|Later { name, kind, metadata }| {
                let done = match kind {
                    EntryKind::File => beneath::open(root, name, OFlags::RDONLY)
                        .and_then(|file| Ok(told.apply(options, &file, name, metadata)?)),
                    _ => beneath::open(root, split(name).0, beneath::HANDLE)
                        .and_then(|parent| Ok(told.apply_at(options.owners, parent.as_fd(), name, *kind, metadata)?)),
                };
                done.map_err(|error| unfinished(name, error))
            })
        })
    }

    /// Gives all directories what they wait for.
    fn finish(&mut self) -> Result<()> {
        self.parent = None;
        self.catch_up()?;
        let directories = std::mem::take(&mut self.directories);
        let waits = directories.values().any(|directory| self.waits(&directory.metadata));
        let (root, told) = (self.root, &mut self.told);
        let mut finish = |options: &ExtractOptions| {
            directories.iter().rev().try_for_each(|(name, Directory { metadata, .. })| {
                beneath::open(root, name, OFlags::RDONLY | OFlags::DIRECTORY)
                    .and_then(|directory| Ok(told.apply(options, &directory, name, metadata)?))
                    .map_err(|error| unfinished(name, error))
            })
        };
        if waits { as_root(self.options, finish) } else { finish(self.options) }
    }
}

/// Does `work` where the user is root and has subordinate ids; where that is not to be had after all, as far as it goes without.
fn as_root(options: &ExtractOptions, work: impl FnOnce(&ExtractOptions) -> Result<()>) -> Result<()> {
    let options = ExtractOptions { owners: Owners::WherePossible, ..options.clone() };
    with_subordinate_ids(|| work(&options))
        .map_err(|error| Error::new(Kind::Io, "give files their owners").because(error))?
}

fn unfinished(name: &[u8], error: io::Error) -> Error {
    Error::new(Kind::Io, format!("extract `{}`", printable(name))).because(error)
}

/// What was not applied.
#[derive(Default)]
struct Told {
    owners: Names,
    modes: Names,
    devices: Names,
    xattrs: Names,
}

/// Some names, and how many more there were.
#[derive(Default)]
struct Names {
    first: Vec<String>,
    count: usize,
}

impl Names {
    fn add(&mut self, name: impl Into<String>) {
        if self.count < MAX_TOLD {
            self.first.push(name.into());
        }
        self.count += 1;
    }

    fn note(&self, rule: impl Into<Cow<'static, str>>, what: &str) -> Option<Diagnostic> {
        let more = if self.count > self.first.len() { ", ..." } else { "" };
        (self.count > 0)
            .then(|| Diagnostic::note(rule, format!("{what} ({}): {}{more}", self.count, self.first.join(", "))))
    }
}

impl Told {
    /// Tells whether `change`, which sets the owner of `name`, was done.
    fn owner(
        &mut self,
        owners: Owners,
        name: &[u8],
        wanted: (u32, u32),
        change: impl FnOnce() -> rustix::io::Result<()>,
    ) -> rustix::io::Result<bool> {
        let done = match owners {
            Owners::Ignore => Ok(()),
            // It is his already.
            Owners::Subordinate if wanted == (0, 0) => return Ok(true),
            _ => change(),
        };
        match (owners, done) {
            (Owners::Ignore, _) | (Owners::WherePossible | Owners::Subordinate, Err(Errno::PERM | Errno::INVAL)) => {
                // Who is not root is root in its own pods.
                if wanted != (0, 0) {
                    self.owners.add(printable(name));
                }
                Ok(false)
            }
            (_, done) => done.map(|()| true),
        }
    }

    /// Applies owner, mode, xattrs and time, in the order in which one does not take away the other: a change of owner
    /// clears setuid and capabilities, a mode without write permission forbids user xattrs, an ACL holds the mode's group bits.
    fn apply(
        &mut self,
        options: &ExtractOptions,
        file: &OwnedFd,
        name: &[u8],
        metadata: &Metadata,
    ) -> rustix::io::Result<()> {
        let (uid, gid) = owner(metadata.uid, metadata.gid);
        let owned = self.owner(options.owners, name, (metadata.uid, metadata.gid), || fchown(file, uid, gid))?;
        let mode = if owned { metadata.mode } else { self.unlent(name, metadata.mode) };
        let (early, late): (Vec<_>, Vec<_>) =
            metadata.xattrs.iter().partition(|(attribute, _)| attribute.starts_with(b"user."));
        for (attribute, value) in early {
            self.xattr(options, file, name, attribute, value)?;
        }
        fchmod(file, Mode::from_raw_mode(mode as _))?;
        for (attribute, value) in late {
            self.xattr(options, file, name, attribute, value)?;
        }
        futimens(file, &times(metadata.mtime))
    }

    /// Dresses what cannot be opened, or is not to be, by its directory.
    fn apply_at(
        &mut self,
        owners: Owners,
        parent: BorrowedFd<'_>,
        name: &[u8],
        kind: EntryKind,
        metadata: &Metadata,
    ) -> rustix::io::Result<()> {
        let last = split(name).1;
        let (uid, gid) = owner(metadata.uid, metadata.gid);
        let change = || chownat(parent, last, uid, gid, AtFlags::SYMLINK_NOFOLLOW);
        let owned = self.owner(owners, name, (metadata.uid, metadata.gid), change)?;
        if kind != EntryKind::Symlink {
            let mode = if owned { metadata.mode } else { self.unlent(name, metadata.mode) };
            beneath::set_mode(parent, last, mode).map_err(|error| errno(&error))?;
        }
        utimensat(parent, last, &times(metadata.mtime), AtFlags::SYMLINK_NOFOLLOW)
    }

    /// A mode without setuid and setgid: as somebody else's they would lend out rights that the image never had.
    fn unlent(&mut self, name: &[u8], mode: u32) -> u32 {
        if mode & 0o6000 != 0 {
            self.modes.add(printable(name));
        }
        mode & 0o1777
    }

    fn xattr(
        &mut self,
        options: &ExtractOptions,
        file: &OwnedFd,
        name: &[u8],
        attribute: &[u8],
        value: &[u8],
    ) -> rustix::io::Result<()> {
        // An ordinary user's overlays take the last for marks of their own: a file that has it might not be seen at all.
        let privileged =
            [b"trusted.".as_slice(), b"security.", b"user.overlay."].iter().any(|prefix| attribute.starts_with(prefix));
        let wanted = match attribute {
            b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default" => true,
            _ if privileged => options.privileged_xattrs,
            _ => attribute.starts_with(b"user."),
        };
        let set = if wanted { xattr::set(file.as_fd(), attribute, value) } else { Ok(()) };
        match set.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO)) {
            Ok(()) if wanted => Ok(()),
            Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::IO | Errno::ROFS)) => Err(error),
            // By policy, or because the system does not want this one.
            _ => {
                self.xattrs.add(format!("{} of {}", printable(attribute), printable(name)));
                Ok(())
            }
        }
    }

    fn notes(self) -> Vec<Diagnostic> {
        [
            self.owners.note("x.aci.extract-owner", OWNERS_LEFT_OUT),
            self.modes.note("x.aci.extract-mode", MODES_LEFT_OUT),
            self.devices.note("x.aci.extract-device", "device nodes that were left out"),
            self.xattrs.note("x.aci.extract-xattr", XATTRS_LEFT_OUT),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

fn failure(entry: &Entry, error: Errno) -> Error {
    Error::new(Kind::Io, format!("extract `{}`", entry.display_name())).because(io::Error::from(error))
}

fn too_big(entry: &Entry, what: &str) -> Error {
    Error::new(Kind::TooBig, format!("extract `{}`", entry.display_name())).clause("x.aci.limits").because(what)
}

/// A path's directory and last component.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

fn owner(uid: u32, gid: u32) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
}

fn times(mtime: Time) -> Timestamps {
    let time = Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

fn write_at(file: &OwnedFd, mut bytes: &[u8], mut offset: u64) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(file, bytes, offset) {
            Ok(0) => return Err(Errno::IO),
            Ok(count) => {
                bytes = &bytes[count..];
                offset += count as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
