//! Two trees side by side: what of the second is not as it is in the first.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{FileType, Mode, Stat, fstat, openat, readlinkat};

use super::names::{self, File};
use super::stack::{Level, Named, about, enter, inode, kind, names, open};
use super::{Error, Kind, Left, Result, Whence, shown};
use crate::aci::build::{attributes, time};
use crate::aci::{Change, Time};
use crate::sys::xattr;

/// What shall be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// What differs.
    Changes,
    /// All that the tree is, whether it differs or not.
    Everything,
}

/// A path with its components before those of its neighbours: no byte sorts before the one between them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key(Vec<u8>);

impl Key {
    pub(super) fn of(path: &[u8]) -> Self {
        Self(path.iter().map(|&byte| if byte == b'/' { 0 } else { byte }).collect())
    }

    pub(super) fn path(&self) -> Vec<u8> {
        self.0.iter().map(|&byte| if byte == 0 { b'/' } else { byte }).collect()
    }

    /// Whether this is below the directory `other`.
    pub(super) fn is_below(&self, other: &Self) -> bool {
        other.0.is_empty() && !self.0.is_empty()
            || self.0.strip_prefix(&other.0[..]).is_some_and(|rest| rest.first() == Some(&0))
    }

    /// The directories that it is in, the root last.
    pub(super) fn above(&self) -> impl Iterator<Item = Self> {
        let ends = self.0.iter().enumerate().rev().filter(|(_, byte)| **byte == 0).map(|(end, _)| end);
        ends.chain([0]).map(|end| Self(self.0[..end].to_vec()))
    }
}

/// Something that the image shall hold.
#[derive(Clone, Debug)]
pub(super) struct Carried {
    /// How it differs; nothing for what comes along: a directory on the way, or what is as it was.
    pub(super) change: Option<(Change, Vec<&'static str>)>,
    /// Its time, where that is not what the tree says.
    pub(super) time: Option<Time>,
    /// Whether it is what the parent has there, which is not to be seen in the tree.
    pub(super) parents: bool,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) carried: BTreeMap<Key, Carried>,
    /// What the parent has and the tree does not, nothing having taken its place.
    pub(super) removed: Vec<Vec<u8>>,
    /// Times of directories that say nothing of what the app did.
    times: BTreeMap<Key, Time>,
}

impl Found {
    /// Carries something that differs for another reason than what it is, and the directories on the way.
    pub(super) fn carry(&mut self, key: Key, field: &'static str) {
        for above in key.above() {
            let time = self.times.get(&above).copied();
            self.carried.entry(above).or_insert(Carried { change: None, time, parents: false });
        }
        let carried = self.carried.entry(key).or_insert(Carried { change: None, time: None, parents: false });
        carried.change.get_or_insert_with(|| (Change::Changed, vec![field]));
    }

    fn has_below(&self, key: &Key) -> bool {
        let mut from = self.carried.range(key.clone()..).map(|(other, _)| other).skip_while(|other| *other == key);
        from.next().is_some_and(|next| next.is_below(key))
    }
}

/// What of the tree is not as it is in its layers, or all of it. Times later than `latest` say nothing.
pub(super) fn compare(left: &Left<'_>, wanted: Wanted, latest: Option<Time>) -> Result<Found> {
    let mut comparer = Comparer { left, wanted, latest, found: Found::default(), files: Vec::new(), path: Vec::new() };
    let done = comparer.run();
    let Comparer { found, path, .. } = comparer;
    done.map_err(|error| Error::new(Kind::Io, format!("look at {}", shown(&path))).because(error))?;
    Ok(found)
}

struct Comparer<'a> {
    left: &'a Left<'a>,
    wanted: Wanted,
    latest: Option<Time>,
    found: Found,
    /// Those that have, or had, several names.
    files: Vec<File>,
    /// Where we are.
    path: Vec<u8>,
}

/// Where in a directory something may differ.
enum Look {
    Everywhere,
    Among(Vec<OwnedFd>),
}

impl Look {
    fn at(left: &Left<'_>, wanted: Wanted) -> io::Result<Self> {
        match left.whence {
            Whence::Uppers(uppers) if wanted == Wanted::Changes => {
                uppers.iter().map(OwnedFd::try_clone).collect::<io::Result<_>>().map(Self::Among)
            }
            _ => Ok(Self::Everywhere),
        }
    }

    /// For the directory `name` of the one that this is for.
    fn inside(&self, name: &[u8]) -> io::Result<Self> {
        let Self::Among(uppers) = self else { return Ok(Self::Everywhere) };
        let mut below = Vec::new();
        for upper in uppers {
            if about(upper.as_fd(), name)?.is_some_and(|about| kind(&about) == FileType::Directory) {
                let directory = enter(upper.as_fd(), name)?;
                // What is beneath an opaque directory is gone without a word; one that was renamed shows another's content.
                let marks = xattr::list(directory.as_fd())?;
                if marks.iter().any(|mark| mark.ends_with(b".overlay.opaque") || mark.ends_with(b".overlay.redirect")) {
                    return Ok(Self::Everywhere);
                }
                below.push(directory);
            }
        }
        Ok(if below.is_empty() { Self::Everywhere } else { Self::Among(below) })
    }
}

impl Comparer<'_> {
    fn run(&mut self) -> io::Result<()> {
        let parent = Level::root(self.left.layers)?;
        let new = fstat(self.left.root)?;
        let root = openat(self.left.root, ".", super::stack::DIRECTORY, Mode::empty())?;
        let look = Look::at(self.left, self.wanted)?;
        let everywhere = matches!(look, Look::Everywhere);
        let old = parent.about()?;
        self.directory(old.as_ref(), &parent, root.as_fd(), &new, &look)?;
        if self.wanted == Wanted::Changes {
            let files = std::mem::take(&mut self.files);
            names::settle(&mut self.found, files, (!everywhere).then_some((&parent, self.left.root)))?;
        }
        Ok(())
    }

    /// Compares what is in a directory, then the directory itself.
    fn directory(
        &mut self,
        old: Option<&Stat>,
        beneath: &Level,
        new: BorrowedFd<'_>,
        about: &Stat,
        look: &Look,
    ) -> io::Result<()> {
        let mut all = match look {
            Look::Everywhere => beneath.names()?.into_iter().chain(names(new)?).collect::<Vec<_>>(),
            Look::Among(uppers) => {
                let names = uppers.iter().map(|upper| names(upper.as_fd())).collect::<io::Result<Vec<_>>>()?;
                names.into_iter().flatten().collect()
            }
        };
        all.sort_unstable();
        all.dedup();
        let mut listed = false;
        for name in all {
            let length = self.path.len();
            if length > 0 {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(&name);
            listed |= self.entry(beneath, new, &name, look)?;
            self.path.truncate(length);
        }
        let key = Key::of(&self.path);
        let fields = match old {
            Some(old) if self.wanted == Wanted::Changes => {
                let mut fields = common(old, about);
                let before = beneath.top().map(attributes).transpose()?.unwrap_or_default();
                if before != attributes(new)? {
                    fields.push("xattrs");
                }
                fields
            }
            _ => Vec::new(),
        };
        let change = match old {
            None => Some((Change::Added, fields)),
            Some(_) => (!fields.is_empty()).then_some((Change::Changed, fields)),
        };
        // Made or changed to hold what is there for the executor's sake, and nothing else.
        let leads = old.is_none() && self.left.ours.leads_to(&self.path);
        let plain = about.st_mode & 0o7777 == 0o755 && (about.st_uid, about.st_gid) == (0, 0);
        let below = self.found.has_below(&key);
        if leads && plain && !below {
            return Ok(());
        }
        let mut when = None;
        // Something came and went, or the executor made something.
        if let (Some(old), Some(latest)) = (old, self.latest)
            && time(about) > latest
            && !listed
        {
            when = Some(time(old).min(latest));
        }
        if change.is_some() || below || self.wanted == Wanted::Everything || self.path.is_empty() {
            self.found.carried.insert(key, Carried { change, time: when, parents: false });
        } else if let Some(when) = when {
            self.found.times.insert(key, when);
        }
        Ok(())
    }

    /// Compares what has one name in both. Gives whether the name came or went.
    fn entry(&mut self, beneath: &Level, new: BorrowedFd<'_>, name: &[u8], look: &Look) -> io::Result<bool> {
        let old = beneath.find(name)?;
        let is = about(new, name)?.filter(|about| kind(about) != FileType::Socket);
        let ours = self.left.ours;
        let provided = match (&is, ours.content_of(&self.path)) {
            (Some(about), Some(content)) => is_file_of(new, name, about, content)?,
            _ => false,
        };
        if provided || ours.is_place(&self.path) {
            if self.wanted == Wanted::Everything {
                self.parents(&old)?;
            }
            return Ok(false);
        }
        match (old, is) {
            (Named::Nothing, None) => Ok(false),
            (_, None) => {
                self.found.removed.push(self.path.clone());
                Ok(true)
            }
            (Named::Directory(was, beneath), Some(is)) if kind(&is) == FileType::Directory => {
                let new = enter(new, name)?;
                self.directory(Some(&was), &beneath, new.as_fd(), &is, &look.inside(name)?)?;
                Ok(false)
            }
            (old, Some(is)) if kind(&is) == FileType::Directory => {
                let new = enter(new, name)?;
                self.directory(None, &Level::default(), new.as_fd(), &is, &Look::Everywhere)?;
                let key = Key::of(&self.path);
                let carried = self.found.carried.get_mut(&key);
                let replaced = matches!(old, Named::Other(..));
                if let (true, Some(carried)) = (replaced, &carried) {
                    let time = carried.time;
                    let change = Some((Change::Changed, vec!["kind"]));
                    self.found.carried.insert(key, Carried { change, time, parents: false });
                    return Ok(false);
                }
                Ok(carried.is_some())
            }
            (old, Some(is)) => {
                let listed = matches!(old, Named::Nothing);
                let mut before = None;
                let change = match &old {
                    _ if self.wanted == Wanted::Everything => None,
                    Named::Nothing => Some((Change::Added, Vec::new())),
                    Named::Other(was, from) if kind(was) == kind(&is) => {
                        before = Some(was);
                        let fields = self.differences((*from, was), (new, &is), name)?;
                        (!fields.is_empty()).then_some((Change::Changed, fields))
                    }
                    _ => Some((Change::Changed, vec!["kind"])),
                };
                let key = Key::of(&self.path);
                if is.st_nlink > 1 || before.is_some_and(|was| was.st_nlink > 1) {
                    let file = File { key: key.clone(), is: inode(&is), was: before.map(inode) };
                    self.files.push(file);
                }
                if change.is_some() || self.wanted == Wanted::Everything {
                    self.found.carried.insert(key, Carried { change, time: None, parents: false });
                }
                Ok(listed)
            }
        }
    }

    /// What differs between two things of one kind that are no directories.
    fn differences(
        &self,
        (from, was): (BorrowedFd<'_>, &Stat),
        (to, is): (BorrowedFd<'_>, &Stat),
        name: &[u8],
    ) -> io::Result<Vec<&'static str>> {
        if inode(was) == inode(is) || self.is_cloned(was, is) {
            return Ok(Vec::new());
        }
        let mut fields = common(was, is);
        match kind(is) {
            FileType::RegularFile => {
                let (mut old, mut new) = (open(from, name)?, open(to, name)?);
                if attributes(old.as_fd())? != attributes(new.as_fd())? {
                    fields.push("xattrs");
                }
                if was.st_size != is.st_size {
                    fields.extend(["size", "content"]);
                } else if !same_content(&mut old, &mut new)? {
                    fields.push("content");
                }
            }
            FileType::Symlink => {
                let target = |directory| readlinkat(directory, OsStr::from_bytes(name), Vec::new());
                if target(from)? != target(to)? {
                    fields.push("target");
                }
            }
            FileType::CharacterDevice | FileType::BlockDevice if was.st_rdev != is.st_rdev => fields.push("device"),
            _ => {}
        }
        Ok(fields)
    }

    /// Whether a clone's file is the original's: no one can set when its inode was changed last.
    fn is_cloned(&self, was: &Stat, is: &Stat) -> bool {
        let Whence::Clone(named) = self.left.whence else { return false };
        let about = |stat: &Stat| {
            (stat.st_ino, stat.st_size, time(stat), stat.st_ctime, stat.st_ctime_nsec, stat.st_nlink, stat.st_mode)
        };
        about(was) == about(is) && !named.contains(&self.path)
    }

    /// Carries what the parent has here, with all below it.
    fn parents(&mut self, old: &Named<'_>) -> io::Result<()> {
        let key = Key::of(&self.path);
        match old {
            Named::Nothing => return Ok(()),
            Named::Directory(_, level) => {
                for name in level.names()? {
                    let length = self.path.len();
                    self.path.push(b'/');
                    self.path.extend_from_slice(&name);
                    self.parents(&level.find(&name)?)?;
                    self.path.truncate(length);
                }
            }
            Named::Other(..) => {}
        }
        self.found.carried.insert(key, Carried { change: None, time: None, parents: true });
        Ok(())
    }
}

/// What differs of that which everything has. The mode of a link means nothing.
fn common(was: &Stat, is: &Stat) -> Vec<&'static str> {
    let mut fields = Vec::new();
    if kind(is) != FileType::Symlink && was.st_mode & 0o7777 != is.st_mode & 0o7777 {
        fields.push("mode");
    }
    if (was.st_uid, was.st_gid) != (is.st_uid, is.st_gid) {
        fields.push("owner");
    }
    fields
}

/// Whether it is the file that was provided, as it was provided.
fn is_file_of(directory: BorrowedFd<'_>, name: &[u8], about: &Stat, content: &str) -> io::Result<bool> {
    let plain = kind(about) == FileType::RegularFile && about.st_mode & 0o7777 == 0o644;
    if !plain || u64::try_from(about.st_size).ok() != Some(content.len() as u64) {
        return Ok(false);
    }
    let mut bytes = Vec::new();
    open(directory, name)?.take(content.len() as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes == content.as_bytes())
}

fn same_content(one: &mut std::fs::File, other: &mut std::fs::File) -> io::Result<bool> {
    let (mut first, mut second) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let (length, others) = (fill(one, &mut first)?, fill(other, &mut second)?);
        if first[..length] != second[..others] {
            return Ok(false);
        }
        if length == 0 {
            return Ok(true);
        }
    }
}

/// Reads until there is no more, or no room.
fn fill(file: &mut std::fs::File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}
