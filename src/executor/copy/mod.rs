//! Copies of files and trees, from descriptor to descriptor: of rendered layers where overlay cannot be had, and between an app
//! and the host.
//!
//! Whoever owns the trees may change them meanwhile. So what is copied is looked at by the descriptor that it is then read from, what
//! is made is dressed by a descriptor of it, and nothing is opened before it is known to be a file or a directory: a device would
//! do something, a FIFO would wait.

mod places;

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, chmodat, chownat, fstat, linkat,
    mkdirat, mknodat, openat, readlinkat, renameat, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

pub(super) use places::{Source, Target};

use super::{Error, Kind};
use crate::render::{attributes, copy_content};
use crate::sys::beneath;

/// How a user wants files copied.
#[derive(Clone, Copy)]
pub struct Options<'t> {
    /// Device nodes, FIFOs and sockets too; and on the way out what gives rights on the host: setuid and setgid bits, file
    /// capabilities.
    pub special: bool,
    /// Put a file in the place of a directory, or a directory in the place of a file.
    pub overwrite: bool,
    /// Copy what the source leads to where it is a link.
    pub follow: bool,
    /// Hears of what is passed over: its path, and what it is.
    pub tell: &'t dyn Fn(&Path, &str),
}

/// What a copy does with what it meets.
#[derive(Clone, Copy)]
struct Manner<'t> {
    /// Anything is copied, not files, directories and links alone.
    special: bool,
    /// Bits and attributes that give rights are kept.
    rights: bool,
    /// Owners are kept.
    owners: bool,
    /// What is of another kind gives way.
    replace: bool,
    /// A layer: directories that are there already take on what they are in it, and nobody looks on meanwhile.
    layer: bool,
    tell: &'t dyn Fn(&Path, &str),
}

/// Directories in directories: each takes two descriptors and some stack.
const DEEPEST: usize = 2048;

/// Copies the tree at `from` over what is at `to`, with owners, modes, times and attributes; names of one file stay
/// names of one file. What lies in the way of something of another kind goes, with all below it.
pub fn tree(from: &Path, to: &Path) -> io::Result<()> {
    let source = openat(CWD, from, DIRECTORY, Mode::empty())?;
    let target = openat(CWD, to, DIRECTORY, Mode::empty())?;
    let manner = Manner { special: true, rights: true, owners: true, replace: true, layer: true, tell: &|_, _| {} };
    Copier::new(manner, target.as_fd())?.contents(source.as_fd(), target.as_fd(), b"", 0)?;
    dress(&source, &target)
}

/// Gives an open file or directory the owner, attributes, mode and times of another; owners as far as this user may.
pub(crate) fn dress(from: impl AsFd, to: impl AsFd) -> io::Result<()> {
    dress_as(from, to, true, true)
}

/// Gives one the looks of another: its owner only with `owners`, what gives rights to whoever runs it only with `rights`.
fn dress_as(from: impl AsFd, to: impl AsFd, owners: bool, rights: bool) -> io::Result<()> {
    let about = fstat(&from)?;
    // Owner first: a change of it takes away setuid bits and capabilities. Mode last: it may forbid attributes.
    if owners {
        owned(rustix::fs::fchown(&to, Some(Uid::from_raw(about.st_uid)), Some(Gid::from_raw(about.st_gid))))?;
    }
    let of_rights = |name: &[u8]| name.starts_with(b"security.") || name.starts_with(b"trusted.");
    attributes::copy(&from, &to, |name| rights || !of_rights(name))?;
    let directory = FileType::from_raw_mode(about.st_mode) == FileType::Directory;
    let bits = if rights || directory { 0o7777 } else { 0o777 };
    rustix::fs::fchmod(&to, Mode::from_raw_mode(about.st_mode & bits))?;
    Ok(rustix::fs::futimens(&to, &times(&about))?)
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// For a look at whatever it is: opening it so does nothing.
const LOOK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A copy from an app or to one, which is ready before the app's own view of the system is entered.
pub(super) struct Copy<'t> {
    manner: Manner<'t>,
    again: Again,
}

impl<'t> Copy<'t> {
    /// With all `rights` where the host's files are copied to an app. On the host files of an ordinary user's pods are his own, whatever
    /// ids he has in them.
    pub(super) fn new(options: &Options<'t>, rights: bool) -> io::Result<Self> {
        let Options { special, overwrite, tell, .. } = *options;
        let owners = rights || rustix::process::geteuid().is_root();
        let rights = rights || special && owners;
        let manner = Manner { special, rights, owners, replace: overwrite, layer: false, tell };
        Ok(Self { manner, again: Again::new()? })
    }

    /// Does it. The error names what could not be copied.
    pub(super) fn run(self, source: &Source, target: &Target) -> io::Result<()> {
        let Self { manner, again } = self;
        let mut copier =
            Copier { manner, again, top: target.directory.as_fd(), links: Links::new(), own: None, at: Vec::new() };
        let done = match target.name.as_deref().or(source.called.as_deref()) {
            Some(new) => copier.copy(source.fd.as_fd(), source.entry(target), new, new.to_bytes(), 0),
            None => copier.within(target.directory.as_fd()).and_then(|()| {
                let directory = openat(&source.fd, c".", DIRECTORY, Mode::empty())?;
                copier.contents(directory.as_fd(), target.directory.as_fd(), b"", 0)
            }),
        };
        let name = copier.at;
        done.map_err(|error| match name.contains(&b'/') || target.name.is_none() && !name.is_empty() {
            true => io::Error::new(error.kind(), format!("{}: {error}", OsStr::from_bytes(&name).display())),
            false => error,
        })
    }
}

/// Why nothing can be copied to `to`.
pub(super) fn no_place(to: &Path, error: io::Error) -> Error {
    Error::new(Kind::Io, format!("write to {}", to.display())).because(error)
}

/// Opens again what a descriptor of it was looked at by: nobody can have put something else in its place.
struct Again {
    /// The host's own procfs, whatever an app has mounted there in its view of the system.
    #[cfg(target_os = "linux")]
    proc: OwnedFd,
}

impl Again {
    #[cfg(target_os = "linux")]
    fn new() -> io::Result<Self> {
        let proc = openat(CWD, "/proc", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        if rustix::fs::fstatfs(&proc)?.f_type != rustix::fs::PROC_SUPER_MAGIC {
            return Err(io::Error::other("no procfs is mounted at /proc"));
        }
        Ok(Self { proc })
    }

    #[cfg(target_os = "freebsd")]
    fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(target_os = "linux")]
    fn read(&self, it: BorrowedFd<'_>) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(openat(&self.proc, format!("self/fd/{}", it.as_raw_fd()), flags, Mode::empty())?.into())
    }

    #[cfg(target_os = "freebsd")]
    fn read(&self, it: BorrowedFd<'_>) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::EMPTY_PATH;
        Ok(openat(it, c"", flags, Mode::empty())?.into())
    }

    #[cfg(target_os = "linux")]
    fn set_mode(&self, it: BorrowedFd<'_>, mode: Mode) -> io::Result<()> {
        Ok(chmodat(&self.proc, format!("self/fd/{}", it.as_raw_fd()), mode, AtFlags::empty())?)
    }

    #[cfg(target_os = "freebsd")]
    fn set_mode(&self, it: BorrowedFd<'_>, mode: Mode) -> io::Result<()> {
        Ok(chmodat(it, c"", mode, AtFlags::EMPTY_PATH)?)
    }
}

/// A file, wherever a name of it stands.
type Identity = (u64, u64);

fn identity(about: &Stat) -> Identity {
    // The fields have other widths elsewhere.
    #[allow(clippy::unnecessary_cast)]
    (about.st_dev as u64, about.st_ino as u64)
}

/// Where the first name of a file was copied to, seen from the top, and the file that was made there.
type Links = HashMap<Identity, (Vec<u8>, Identity)>;

struct Copier<'a> {
    manner: Manner<'a>,
    again: Again,
    /// The directory that paths of copies are seen from.
    top: BorrowedFd<'a>,
    links: Links,
    /// The directory that is made of the first one, which must not be found again in what is copied.
    own: Option<Identity>,
    /// What is being copied, for errors.
    at: Vec<u8>,
}

impl<'a> Copier<'a> {
    fn new(manner: Manner<'a>, top: BorrowedFd<'a>) -> io::Result<Self> {
        Ok(Self { manner, again: Again::new()?, top, links: Links::new(), own: None, at: Vec::new() })
    }

    fn within(&mut self, directory: BorrowedFd<'_>) -> io::Result<()> {
        if self.own.is_none() && !self.manner.layer {
            self.own = Some(identity(&fstat(directory)?));
        }
        Ok(())
    }

    /// Copies what is in `from` into `to`, which is at `path` seen from the top.
    fn contents(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, path: &[u8], depth: usize) -> io::Result<()> {
        for name in names(from)? {
            let mut full = path.to_vec();
            if !full.is_empty() {
                full.push(b'/');
            }
            full.extend_from_slice(name.to_bytes());
            self.at.clone_from(&full);
            let source = match openat(from, &*name, LOOK, Mode::empty()) {
                // It went meanwhile.
                Err(Errno::NOENT) => continue,
                opened => opened?,
            };
            let entry = Entry { from, name: &name, to };
            self.copy(source.as_fd(), entry, &name, &full, depth)?;
        }
        Ok(())
    }

    /// Copies what `source` is a look at, the entry's name for it, to `new`, which is `full` seen from the top.
    fn copy(
        &mut self,
        source: BorrowedFd<'_>,
        entry: Entry<'_>,
        new: &CStr,
        full: &[u8],
        depth: usize,
    ) -> io::Result<()> {
        let to = entry.to;
        let about = fstat(source)?;
        let kind = FileType::from_raw_mode(about.st_mode);
        if let Some(what) = special(kind).filter(|_| !self.manner.special) {
            if depth == 0 && full == new.to_bytes() && self.own.is_none() {
                return Err(io::Error::other(format!("it is {what}")));
            }
            (self.manner.tell)(Path::new(OsStr::from_bytes(full)), what);
            return Ok(());
        }
        if kind == FileType::Directory {
            return self.directory(source, &about, to, new, full, depth);
        }
        if about.st_nlink > 1 && self.linked(identity(&about), to, new)? {
            return Ok(());
        }
        // A name that nobody listens behind; FreeBSD makes none by mknod.
        if kind == FileType::Socket && cfg!(target_os = "freebsd") {
            return clear(to, new);
        }
        let slot = self.slot(to, new)?;
        let at = slot.name();
        match kind {
            FileType::RegularFile => {
                let mut source = self.again.read(source)?;
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let mut target = File::from(openat(to, at, flags, Mode::from_raw_mode(0o600))?);
                // The kernel shares the blocks where the file system can.
                copy_content(&mut source, &mut target)?;
                dress_as(&source, &target, self.manner.owners, self.manner.rights)?;
            }
            FileType::Symlink => {
                symlinkat(readlinkat(entry.from, entry.name, Vec::new())?, to, at)?;
                self.adopt(to, at, &about)?;
            }
            kind => {
                // What is no device has no number there, which FreeBSD does not take for none.
                let device = matches!(kind, FileType::CharacterDevice | FileType::BlockDevice);
                let number = if device { about.st_rdev } else { 0 };
                mknodat(to, at, kind, Mode::from_raw_mode(0o600), number)?;
                self.adopt(to, at, &about)?;
            }
        }
        if about.st_nlink > 1 {
            let made = identity(&statat(to, at, AtFlags::SYMLINK_NOFOLLOW)?);
            self.links.insert(identity(&about), (full.to_vec(), made));
        }
        slot.publish()
    }

    fn directory(
        &mut self,
        source: BorrowedFd<'_>,
        about: &Stat,
        to: BorrowedFd<'_>,
        new: &CStr,
        full: &[u8],
        depth: usize,
    ) -> io::Result<()> {
        if depth == DEEPEST {
            return Err(io::Error::other(format!("directories stand more than {DEEPEST} deep")));
        }
        if self.own == Some(identity(about)) {
            return Err(io::Error::other("a directory cannot be copied into itself"));
        }
        let (target, made) = match openat(to, new, DIRECTORY, Mode::empty()) {
            Ok(target) => (target, false),
            Err(Errno::NOENT) => (make_directory(to, new)?, true),
            Err(_) if self.manner.replace => {
                clear(to, new)?;
                (make_directory(to, new)?, true)
            }
            Err(Errno::NOTDIR | Errno::LOOP | Errno::MLINK) => {
                return Err(io::Error::other("what is there is no directory, and a directory is copied"));
            }
            Err(error) => return Err(error.into()),
        };
        self.within(target.as_fd())?;
        let source = openat(source, c".", DIRECTORY, Mode::empty())?;
        self.contents(source.as_fd(), target.as_fd(), full, depth + 1)?;
        self.at = full.to_vec();
        if made || self.manner.layer {
            dress_as(&source, &target, self.manner.owners, self.manner.rights)
        } else {
            Ok(())
        }
    }

    /// Makes `new` one more name of the file that was made of the same one, if there is one and its place is still its own.
    fn linked(&mut self, of: Identity, to: BorrowedFd<'_>, new: &CStr) -> io::Result<bool> {
        let Some((first, made)) = self.links.get(&of) else { return Ok(false) };
        let slash = first.iter().rposition(|&byte| byte == b'/');
        let (above, name) = slash.map_or((&first[..0], &first[..]), |at| (&first[..at], &first[at + 1..]));
        let above = beneath::open(self.top, above, beneath::HANDLE)?;
        let slot = self.slot(to, new)?;
        match linkat(&above, name, to, slot.name(), AtFlags::empty()) {
            // It went to another file system, or has as many names as it may have.
            Err(Errno::XDEV | Errno::MLINK) => return Ok(false),
            linked => linked?,
        }
        if identity(&statat(to, slot.name(), AtFlags::SYMLINK_NOFOLLOW)?) != *made {
            return Err(io::Error::other("another file has come in its place meanwhile"));
        }
        slot.publish()?;
        Ok(true)
    }

    /// Gives what was made at `name` the owner, mode and times of `about`, if it is still what was made.
    fn adopt(&self, at: BorrowedFd<'_>, name: &CStr, about: &Stat) -> io::Result<()> {
        let made = openat(at, name, LOOK, Mode::empty())?;
        let kind = FileType::from_raw_mode(about.st_mode);
        if FileType::from_raw_mode(fstat(&made)?.st_mode) != kind {
            return Err(io::Error::other("something else has come in its place meanwhile"));
        }
        let (uid, gid) = (Uid::from_raw(about.st_uid), Gid::from_raw(about.st_gid));
        if self.manner.owners {
            owned(chownat(&made, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH))?;
        }
        if kind != FileType::Symlink {
            self.again.set_mode(made.as_fd(), Mode::from_raw_mode(about.st_mode & 0o7777))?;
        }
        Ok(utimensat(&made, c"", &times(about), AtFlags::EMPTY_PATH)?)
    }

    /// A place for something new that is no directory.
    fn slot<'s>(&self, to: BorrowedFd<'s>, name: &'s CStr) -> io::Result<Slot<'s>> {
        if self.manner.layer {
            clear(to, name)?;
            return Ok(Slot { to, name, temporary: None });
        }
        if statat(to, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|there| is_directory(&there)) {
            if !self.manner.replace {
                return Err(io::Error::other("a directory is there, and no directory is copied"));
            }
            clear(to, name)?;
        }
        let temporary = CString::new(format!(".jetpack-{}", uuid::Uuid::new_v4().simple()))?;
        Ok(Slot { to, name, temporary: Some(temporary) })
    }
}

fn is_directory(about: &Stat) -> bool {
    FileType::from_raw_mode(about.st_mode) == FileType::Directory
}

/// Names what is neither file, directory nor link.
fn special(kind: FileType) -> Option<&'static str> {
    match kind {
        FileType::RegularFile | FileType::Directory | FileType::Symlink => None,
        FileType::Fifo => Some("a FIFO"),
        FileType::Socket => Some("a socket"),
        FileType::CharacterDevice | FileType::BlockDevice => Some("a device node"),
        _ => Some("neither file, directory nor link"),
    }
}

/// Where something stands, and the directory that its copy goes to.
#[derive(Clone, Copy)]
struct Entry<'a> {
    from: BorrowedFd<'a>,
    name: &'a CStr,
    to: BorrowedFd<'a>,
}

/// What a directory holds.
fn names(directory: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

/// A new directory. One that is not empty was put in its place by somebody else.
fn make_directory(to: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    mkdirat(to, name, Mode::from_raw_mode(0o700))?;
    let made = openat(to, name, DIRECTORY, Mode::empty())?;
    if !names(made.as_fd())?.is_empty() {
        return Err(io::Error::other("something else has come in its place meanwhile"));
    }
    Ok(made)
}

/// Where something new is made: under its own name, or under another until it is whole.
struct Slot<'a> {
    to: BorrowedFd<'a>,
    name: &'a CStr,
    temporary: Option<CString>,
}

impl Slot<'_> {
    fn name(&self) -> &CStr {
        self.temporary.as_deref().unwrap_or(self.name)
    }

    fn publish(mut self) -> io::Result<()> {
        if let Some(temporary) = &self.temporary {
            renameat(self.to, &**temporary, self.to, self.name)?;
            self.temporary = None;
        }
        Ok(())
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = unlinkat(self.to, &**temporary, AtFlags::empty());
        }
    }
}

/// Removes what is at `name`, if there is something: with all below it where it is a directory.
fn clear(at: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    match unlinkat(at, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        // The second is FreeBSD's word for a directory.
        Err(Errno::ISDIR | Errno::PERM) => {
            let directory = on_same_mount(at, name)?;
            for name in names(directory.as_fd())? {
                clear(directory.as_fd(), &name)?;
            }
            Ok(unlinkat(at, name, AtFlags::REMOVEDIR)?)
        }
        Err(error) => Err(error.into()),
    }
}

/// A directory that nothing is mounted on: what is mounted there is not to be emptied.
#[cfg(target_os = "linux")]
fn on_same_mount(at: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    use crate::sys::linux::mount;
    use rustix::fs::{ResolveFlags, openat2};
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    match openat2(at, name, DIRECTORY, Mode::empty(), resolve) {
        // Kernels before 5.6, and seccomp filters that know no better.
        Err(Errno::NOSYS) => {}
        opened => return Ok(opened?),
    }
    let directory = openat(at, name, DIRECTORY, Mode::empty())?;
    match mount::number(directory.as_fd())? == mount::number(at)? {
        true => Ok(directory),
        false => Err(Errno::XDEV.into()),
    }
}

#[cfg(target_os = "freebsd")]
fn on_same_mount(at: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    let directory = openat(at, name, DIRECTORY, Mode::empty())?;
    match fstat(&directory)?.st_dev == fstat(at)?.st_dev {
        true => Ok(directory),
        false => Err(Errno::XDEV.into()),
    }
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

    use appc_needs::{Need, skip};

    use super::*;

    /// Copies `x` of one directory to `x` of another, `rounds` times, while `change` changes both.
    fn in_a_race(rounds: usize, special: bool, change: impl Fn(&Path, &Path) + Send + 'static) -> tempfile::TempDir {
        use std::sync::Arc;
        use std::sync::atomic::{AtomicBool, Ordering};
        let directory = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| directory.path().join(name));
        for path in [&from, &to] {
            fs::create_dir(path).unwrap();
        }
        let secret = directory.path().join("secret");
        fs::write(&secret, "secret").unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        change(&from, &to);
        let over = Arc::new(AtomicBool::new(false));
        let changer = {
            let (over, from, to) = (Arc::clone(&over), from.clone(), to.clone());
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    change(&from, &to);
                }
            })
        };
        let options = Options { special, overwrite: true, follow: false, tell: &|_, _| {} };
        for _ in 0..rounds {
            let copied = Source::on_host(&from.join("x"), false)
                .and_then(|source| Copy::new(&options, false)?.run(&source, &Target::on_host(&to)?));
            if copied.is_ok()
                && let Ok(text) = fs::symlink_metadata(to.join("x")).and_then(|about| match about.is_file() {
                    true => fs::read_to_string(to.join("x")),
                    false => Ok(String::new()),
                })
            {
                assert_ne!(text, "secret");
            }
        }
        over.store(true, Ordering::Relaxed);
        changer.join().unwrap();
        let about = secret.metadata().unwrap();
        assert_eq!((about.mode() & 0o7777, about.nlink()), (0o600, 1));
        assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
        directory
    }

    /// CVE-2018-15664 and its like: a file, a FIFO, a link and a directory take turns at the name that is copied.
    #[test]
    fn what_becomes_something_else_while_it_is_copied_is_waited_for_and_followed_never() {
        in_a_race(3000, false, |from, _| {
            let x = from.join("x");
            let new = from.join("new");
            for turn in 0..4 {
                match turn {
                    0 => fs::write(&new, "mine").unwrap(),
                    1 => mknodat(CWD, &new, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap(),
                    2 => symlink("../secret", &new).unwrap(),
                    _ => {
                        let _ = fs::remove_file(&x);
                        let _ = fs::create_dir(&x);
                        let _ = fs::remove_dir(&x);
                        continue;
                    }
                }
                fs::rename(&new, &x).unwrap();
            }
        });
    }

    /// Whatever is made at the target is replaced at once by a link to what only its owner may read.
    #[test]
    fn what_is_swapped_for_a_link_while_it_is_made_changes_nothing_elsewhere() {
        in_a_race(3000, true, |from, to| {
            let x = from.join("x");
            if fs::symlink_metadata(&x).is_err() {
                mknodat(CWD, &x, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
                chmodat(CWD, &x, Mode::from_raw_mode(0o666), AtFlags::empty()).unwrap();
            }
            let link = to.join("link");
            for entry in fs::read_dir(to).unwrap().flatten() {
                if entry.file_name() != "link" {
                    let _ = symlink("../secret", &link);
                    let _ = fs::rename(&link, entry.path());
                }
            }
        });
    }

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
            Err(error) => skip(Need::Attributes, format_args!("attributes cannot be set here: {error}")),
            Ok(()) => {
                let mut value = [0; 16];
                let length = rustix::fs::getxattr(to.join("file"), name, &mut value[..]).unwrap();
                assert_eq!(&value[..length], b"kept");
                assert!(rustix::fs::getxattr(to.join("both"), name, &mut value[..]).is_err());
            }
        }
    }
}
