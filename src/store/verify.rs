//! Is it still what it was? The archive is hashed again, and the tree compared with it entry by entry.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::aci::{self, Data, Entry, EntryKind, ReadOptions, Sink, Summary};
use crate::schema::ImageId;
use crate::sys::unowned::with_subordinate_ids;
use crate::sys::xattr;

use super::layout::Store;
use super::walk::walk;
use super::{Error, Image, Kind, Origin, Result};

/// So much is told about one image.
const MOST_TOLD: usize = 100;

/// Something that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// What: `archive`, `manifest`, a path of the tree.
    pub place: String,
    /// How it differs.
    pub what: String,
}

impl Store {
    /// Hashes an image's archive again and compares its manifest and tree with what is in it. No damage: an empty list.
    ///
    /// What this user may not read is not compared, and what was not kept at import (owners, devices) is not missed.
    ///
    /// # Errors
    /// [`Kind::Io`] where nothing can be said.
    pub fn verify(&self, image: &Image, read: &ReadOptions) -> Result<Vec<Damage>> {
        let mut damage = Damages::default();
        let archive = match image.archive() {
            Ok(archive) => archive,
            Err(error) => return Ok(vec![Damage { place: "archive".into(), what: crate::error::chain(&error) }]),
        };
        let Some(tree) = self.trees().find(&image.tree_name()) else {
            return Ok(vec![Damage { place: "rootfs".into(), what: "it is gone".into() }]);
        };
        match compare_with(archive, read, &tree, image.origin(), &mut damage)? {
            Ok((summary, seen)) => {
                if summary.image_id != *image.id() {
                    damage.add("archive", format!("its hash is now {}", summary.image_id));
                }
                if summary.manifest != image.manifest_bytes() {
                    damage.add("manifest", "it differs from the archive's");
                }
                find_strangers(&tree, &seen, image.implied(), &mut damage)?;
            }
            Err(error) => damage.add("archive", crate::error::chain(&error)),
        }
        Ok(damage.told)
    }

    /// The names of all directories that are images by their name, and of what else lies where images are.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn names(&self) -> Result<(Vec<ImageId>, Vec<String>)> {
        let path = self.images();
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Default::default()),
            Err(error) => return Err(Error::new(Kind::Io, format!("list {}", path.display())).because(error)),
        };
        let mut images = Vec::new();
        let mut others = Vec::new();
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            match name.parse() {
                Ok(id) => images.push(id),
                Err(_) => others.push(name),
            }
        }
        images.sort();
        Ok((images, others))
    }
}

/// What is found out about a tree that came from elsewhere, and the archive that it is said to be of.
pub(super) struct Compared {
    pub(super) summary: Summary,
    /// Directories without an entry of their own, relative to the root file system.
    pub(super) implied: Vec<Vec<u8>>,
    pub(super) damage: Vec<Damage>,
}

/// Reads an archive and compares a tree with it that nobody has vouched for.
///
/// # Errors
/// [`Kind::Io`]; those of the archive.
pub(super) fn compare(archive: File, tree: &Path, origin: &Origin) -> Result<Result<Compared, aci::Error>> {
    let mut damage = Damages::default();
    let read = ReadOptions::default();
    let (summary, seen) = match compare_with(archive, &read, tree, origin, &mut damage)? {
        Ok(was) => was,
        Err(error) => return Ok(Err(error)),
    };
    let above = |name: &Vec<u8>| {
        let ends = name.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        ends.map(|end| name[..end].to_vec()).collect::<Vec<_>>()
    };
    let implied: BTreeSet<Vec<u8>> = seen.iter().flat_map(above).filter(|name| !seen.contains(name)).collect();
    for name in &implied {
        // As extracting makes them.
        let path = tree.join(OsStr::from_bytes(name));
        let plain = rustix::fs::lstat(&path).is_ok_and(|stat| {
            let own = (stat.st_uid, stat.st_gid) == (0, 0) || !rustix::process::geteuid().is_root();
            let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            directory && mode(&stat) & 0o7777 == 0o755 && own && time(&stat) == (0, 0) && !has_flags(&stat)
        });
        let plain = plain && File::open(&path).is_ok_and(|file| has_list(file.as_fd()).is_ok_and(|has| !has));
        if !plain {
            damage.add(
                String::from_utf8_lossy(name),
                "owner, mode or time are not those of a directory without an entry",
            );
        }
    }
    let implied: Vec<Vec<u8>> =
        implied.iter().filter_map(|name| Some(name.strip_prefix(b"rootfs/")?.to_vec())).collect();
    find_strangers(tree, &seen, &implied, &mut damage)?;
    let beside = std::fs::read_dir(tree).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let beside = beside.map_err(|error| Error::new(Kind::Io, format!("list {}", tree.display())).because(error))?;
    for entry in beside.iter().filter(|entry| !matches!(entry.file_name().as_bytes(), b"rootfs" | b"manifest")) {
        damage.add(entry.file_name().to_string_lossy(), "it is not in the archive");
    }
    Ok(Ok(Compared { summary, implied, damage: damage.told }))
}

/// What an archive is, and the names in it.
type Was = aci::Result<(Summary, HashSet<Vec<u8>>)>;

fn compare_with(archive: File, read: &ReadOptions, tree: &Path, origin: &Origin, damage: &mut Damages) -> Result<Was> {
    let root =
        File::open(tree).map_err(|error| Error::new(Kind::Io, format!("open {}", tree.display())).because(error))?;
    let left_out = |what| origin.notes.iter().any(|note| note.starts_with(what));
    let mut comparison = Comparison {
        root: root.as_fd(),
        as_root: rustix::process::geteuid().is_root(),
        owners_left_out: left_out(aci::OWNERS_LEFT_OUT),
        attributes_left_out: left_out(aci::XATTRS_LEFT_OUT),
        seen: HashSet::new(),
        damage,
    };
    let summary = aci::read(archive, read, &mut comparison);
    Ok(summary.map(|summary| (summary, comparison.seen)))
}

#[derive(Default)]
struct Damages {
    told: Vec<Damage>,
}

impl Damages {
    fn add(&mut self, place: impl Into<String>, what: impl Into<String>) {
        if self.told.len() < MOST_TOLD {
            self.told.push(Damage { place: place.into(), what: what.into() });
        }
    }
}

/// Compares each entry with what it was unpacked to.
struct Comparison<'a> {
    root: BorrowedFd<'a>,
    /// Whether this process is root's, wherever it looks at an entry.
    as_root: bool,
    /// Not all owners could be applied at import.
    owners_left_out: bool,
    /// Not all attributes could be applied at import.
    attributes_left_out: bool,
    seen: HashSet<Vec<u8>>,
    damage: &'a mut Damages,
}

impl Sink for Comparison<'_> {
    fn entry(&mut self, entry: &Entry, data: &mut Data<'_, '_>) -> aci::Result<()> {
        let Some(_) = entry.in_rootfs() else { return Ok(()) };
        self.seen.insert(entry.name.clone());
        let root = self.root;
        let stat = || rustix::fs::statat(root, entry.name.as_slice(), AtFlags::SYMLINK_NOFOLLOW);
        let there = stat();
        // Capabilities of a file read otherwise out of the user namespace that they were given in.
        let privileged = entry.xattrs.iter().any(|(name, _)| name.starts_with(b"security."));
        if privileged || !there.as_ref().is_ok_and(is_own) {
            let failed = |error: io::Error| aci::Error::new(aci::Kind::Io, "look at the tree").because(error);
            return with_subordinate_ids(|| self.look(entry, stat(), data)).map_err(failed)?;
        }
        self.look(entry, there, data)
    }
}

impl Comparison<'_> {
    fn look(&mut self, entry: &Entry, there: rustix::io::Result<Stat>, data: &mut Data<'_, '_>) -> aci::Result<()> {
        let stat = match there {
            Ok(stat) => stat,
            // Left out at import, which the origin's notes tell.
            Err(Errno::NOENT) if matches!(entry.kind, EntryKind::Character | EntryKind::Block) => return Ok(()),
            Err(Errno::NOENT) if entry.kind == EntryKind::Hardlink && self.is_gone(&entry.target) => return Ok(()),
            Err(error) => {
                self.damage.add(entry.display_name(), error.to_string());
                return Ok(());
            }
        };
        match self.compare(entry, &stat, data) {
            Ok(Some(what)) => self.damage.add(entry.display_name(), what),
            Err(Different::System(Errno::ACCESS)) | Ok(None) => {}
            Err(Different::System(error)) => self.damage.add(entry.display_name(), error.to_string()),
            Err(Different::Archive(error)) => return Err(error),
        }
        Ok(())
    }
}

/// Whether it belongs to this process's own user and group.
fn is_own(stat: &Stat) -> bool {
    (stat.st_uid, stat.st_gid) == (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

enum Different {
    System(Errno),
    Archive(aci::Error),
}

impl From<Errno> for Different {
    fn from(error: Errno) -> Self {
        Self::System(error)
    }
}

impl Comparison<'_> {
    fn is_gone(&self, name: &[u8]) -> bool {
        rustix::fs::statat(self.root, name, AtFlags::SYMLINK_NOFOLLOW).is_err_and(|error| error == Errno::NOENT)
    }

    fn compare(&self, entry: &Entry, stat: &Stat, data: &mut Data<'_, '_>) -> Result<Option<String>, Different> {
        let differs = |what: &str| Ok(Some(what.to_owned()));
        let kind = FileType::from_raw_mode(stat.st_mode);
        if entry.kind == EntryKind::Hardlink {
            let target = rustix::fs::statat(self.root, entry.target.as_slice(), AtFlags::SYMLINK_NOFOLLOW)?;
            let same = (target.st_dev, target.st_ino) == (stat.st_dev, stat.st_ino);
            return if same { Ok(None) } else { differs("it is no longer the same file as the one it is linked to") };
        }
        let expected = match entry.kind {
            EntryKind::Directory => FileType::Directory,
            EntryKind::Symlink => FileType::Symlink,
            EntryKind::Fifo => FileType::Fifo,
            EntryKind::Character => FileType::CharacterDevice,
            EntryKind::Block => FileType::BlockDevice,
            EntryKind::File | EntryKind::Hardlink => FileType::RegularFile,
        };
        if kind != expected {
            return differs("it is of another kind");
        }
        if kind == FileType::Symlink {
            let target = rustix::fs::readlinkat(self.root, entry.name.as_slice(), Vec::new())?;
            if target.as_bytes() != entry.target {
                return differs("it leads elsewhere");
            }
        }
        let owned = (stat.st_uid, stat.st_gid) == (entry.uid, entry.gid);
        // Without the owner, setuid and setgid were not given either.
        let kept = if owned { 0o7777 } else { 0o1777 };
        if kind != FileType::Symlink && mode(stat) & kept != entry.mode & kept {
            return differs("its mode differs");
        }
        let owners_kept = self.as_root || rustix::process::geteuid().is_root() && !self.owners_left_out;
        if owners_kept && !owned {
            return differs("its owner differs");
        }
        if has_flags(stat) {
            return differs("it has file flags");
        }
        if time(stat) != (entry.mtime.seconds, i64::from(entry.mtime.nanos)) {
            return differs("its time differs");
        }
        match kind {
            FileType::RegularFile => match self.compare_content(entry, stat, data)? {
                None => self.compare_attributes(entry),
                different => Ok(different),
            },
            FileType::Directory => self.compare_attributes(entry),
            _ => Ok(None),
        }
    }

    fn compare_attributes(&self, entry: &Entry) -> Result<Option<String>, Different> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(self.root, entry.name.as_slice(), flags, Mode::empty())?;
        let failed = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        if has_list(file.as_fd()).map_err(failed)? {
            return Ok(Some("it has an access control list".to_owned()));
        }
        let is = attributes(file.as_fd()).map_err(failed)?;
        let was: BTreeMap<_, _> = entry.xattrs.iter().filter(|(name, _)| is_kept(name)).cloned().collect();
        let other = |name: &&Vec<u8>| match is.get(*name) {
            Some(value) => was.get(*name) != Some(value),
            None => !self.attributes_left_out,
        };
        let different = is.keys().chain(was.keys()).find(other);
        Ok(different.map(|name| format!("its attribute {} differs", String::from_utf8_lossy(name))))
    }

    fn compare_content(
        &self,
        entry: &Entry,
        stat: &Stat,
        data: &mut Data<'_, '_>,
    ) -> Result<Option<String>, Different> {
        let differs = |what: String| Ok(Some(what));
        if u64::try_from(stat.st_size).ok() != Some(entry.size) {
            return differs(format!("it has {} bytes instead of {}", stat.st_size, entry.size));
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(self.root, entry.name.as_slice(), flags, Mode::empty())?;
        let mut buffer = Vec::new();
        while let Some((offset, expected)) = data.next().map_err(Different::Archive)? {
            buffer.resize(expected.len(), 0);
            let mut filled = 0;
            while filled < buffer.len() {
                match rustix::io::pread(&file, &mut buffer[filled..], offset + filled as u64)? {
                    0 => break,
                    more => filled += more,
                }
            }
            if buffer[..filled] != *expected {
                let at = buffer.iter().zip(expected).take_while(|(is, was)| is == was).count();
                return differs(format!("its content differs at byte {}", offset + at as u64));
            }
        }
        Ok(None)
    }
}

/// The attributes of an open file that come from its image: others are the system's own.
pub(crate) fn attributes(file: BorrowedFd<'_>) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let names = xattr::list(file)?.into_iter().filter(|name| is_kept(name));
    names.map(|name| Ok((name.clone(), xattr::get(file, &name)?))).collect()
}

fn is_kept(name: &[u8]) -> bool {
    name == b"security.capability" || name.starts_with(b"user.") && !name.starts_with(b"user.overlay.")
}

/// Whether it has what lets more or less be done with a file than its mode says; no image brings it.
#[cfg(target_os = "freebsd")]
pub(crate) fn has_flags(stat: &Stat) -> bool {
    // ZFS notes by this one what a backup has to look at.
    const ARCHIVE: u32 = 0x800;
    stat.st_flags & !ARCHIVE != 0
}

/// Whether it has a list that says more than its mode; no image brings one.
#[cfg(target_os = "freebsd")]
pub(crate) fn has_list(file: BorrowedFd<'_>) -> io::Result<bool> {
    crate::sys::freebsd::acl::is_trivial(file).map(|trivial| !trivial)
}

/// There are none.
#[cfg(not(target_os = "freebsd"))]
pub(crate) fn has_flags(_: &Stat) -> bool {
    false
}

/// There are none.
#[cfg(not(target_os = "freebsd"))]
pub(crate) fn has_list(_: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(false)
}

// The fields' widths differ between systems.
#[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
fn mode(stat: &Stat) -> u32 {
    u32::from(stat.st_mode)
}

#[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
fn time(stat: &Stat) -> (i64, i64) {
    (stat.st_mtime as i64, stat.st_mtime_nsec as i64)
}

/// What is in the tree and not in the archive.
fn find_strangers(tree: &Path, seen: &HashSet<Vec<u8>>, implied: &[Vec<u8>], damage: &mut Damages) -> Result<()> {
    let kept: HashSet<&[u8]> = implied.iter().map(Vec::as_slice).collect();
    let look = |path: &[u8], _| {
        let name = if path.is_empty() { b"rootfs".to_vec() } else { [b"rootfs/".as_slice(), path].concat() };
        let known = seen.contains(&name) || kept.contains(path);
        if !known {
            damage.add(String::from_utf8_lossy(&name), "it is not in the archive");
        }
        known
    };
    let walked = with_subordinate_ids(|| walk(&tree.join("rootfs"), look)).and_then(|walked| walked);
    walked.map_err(|error| Error::new(Kind::Io, format!("list {}", tree.display())).because(error))
}
