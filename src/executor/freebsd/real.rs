//! The real system.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Component, Path};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid, fchmod, fchown, mkdirat, openat, statat, unlinkat};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, waitpid};

use super::system::{Found, Hidden, Mounted, NewMount, Setting, System, Turn, Value};
use super::variables::Variable;
use crate::id::Id;
use crate::sys::freebsd::{jail, kernel, mount, named, network, process, resource};
use crate::sys::passing;
use crate::whole;

/// The system that this process runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Real;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What is read of a file of the host that is a few lines long.
const SMALL: u64 = 1 << 16;

impl System for Real {
    fn turn(&mut self) -> io::Result<Turn> {
        /// Of the host, not of a root: there is one packet filter.
        const TURNS: &str = "/var/run/jetpack.turn";
        let file = fs::File::options().write(true).create(true).truncate(false).mode(0o600).open(TURNS)?;
        file.lock()?;
        Ok(Box::new(file))
    }

    fn mount(&mut self, new: NewMount<'_>) -> io::Result<()> {
        let options: Vec<(&str, &str)> = new.options.iter().map(|(name, value)| (&**name, &**value)).collect();
        mount::mount(new.kind, new.on, &options, new.read_only, new.update).map_err(|error| named("nmount", error))
    }

    fn unmount(&mut self, on: &Path, force: bool) -> io::Result<()> {
        mount::unmount(on, force).map_err(|error| named("unmount", error))
    }

    fn mounts(&mut self) -> io::Result<Vec<Mounted>> {
        let of = |found: mount::Mounted| Mounted {
            kind: found.kind,
            from: found.from,
            on: found.on,
            read_only: found.read_only,
        };
        Ok(mount::all()?.into_iter().map(of).collect())
    }

    fn look(&mut self, path: &Path, follow_links: bool) -> io::Result<Found> {
        if follow_links {
            return Ok(found(FileType::from_raw_mode(fs::metadata(path)?.mode() as _)));
        }
        let (parent, name) = split(path)?;
        let Some(name) = name else { return Ok(Found::Directory) };
        let parent = walk(open_root(Path::new("/"))?, &parent)?;
        let about = statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(about.st_mode) {
            FileType::Symlink => Err(link(&name)),
            kind => Ok(found(kind)),
        }
    }

    fn make_directory(&mut self, path: &Path, mode: u32, owner: Option<(Id, Id)>) -> io::Result<()> {
        new_directory(path)?;
        let made = openat(CWD, path, DIRECTORY, Mode::empty())?;
        if let Some((uid, gid)) = owner {
            fchown(&made, Some(Uid::from_raw(uid.get())), Some(Gid::from_raw(gid.get())))?;
        }
        // After the owner, as changing that clears bits; and against the umask.
        let mode = u16::try_from(mode & 0o7777).map_err(io::Error::other)?;
        Ok(fchmod(&made, Mode::from_raw_mode(mode))?)
    }

    fn remove_directory(&mut self, path: &Path) -> io::Result<()> {
        crate::store::remove_tree(path)
    }

    fn make_target(&mut self, root: &Path, inside: &Path, file: bool) -> io::Result<Option<Hidden>> {
        let (parent, name) = split(inside)?;
        let Some(name) = name else { return Ok(None) };
        let parent = make(open_root(root)?, &parent)?;
        let (found, names) = match statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(about) => (Some(FileType::from_raw_mode(about.st_mode)), about.st_nlink),
            Err(Errno::NOENT) => (None, 0),
            Err(error) => return Err(error.into()),
        };
        let new_file = || {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            own(&openat(&parent, &name, flags, Mode::from_raw_mode(0o644))?)
        };
        match (found, file) {
            (Some(FileType::Symlink), _) => Err(link(&name)),
            (None, true) => new_file().map(|()| None),
            (Some(FileType::RegularFile), true) if names == 1 => Ok(Some(Hidden::File)),
            (Some(FileType::RegularFile), true) => {
                // The kernel mounts on no file that has other names (EINVAL of `vfs_domount_first`).
                unlinkat(&parent, &name, AtFlags::empty())?;
                new_file().map(|()| Some(Hidden::File))
            }
            (Some(FileType::Directory), true) => Err(Errno::ISDIR.into()),
            (Some(_), true) => Err(Errno::INVAL.into()),
            (None, false) => make(parent, std::slice::from_ref(&name)).map(|_| None),
            (Some(FileType::Directory), false) => {
                let place = enter(&parent, &name)?;
                let inside = rustix::fs::Dir::read_from(&place)?;
                let mut names = inside.filter_map(Result::ok).map(|entry| entry.file_name().to_owned());
                Ok(names.any(|name| !matches!(name.to_bytes(), b"." | b"..")).then_some(Hidden::Content))
            }
            (Some(_), false) => {
                unlinkat(&parent, &name, AtFlags::empty())?;
                make(parent, std::slice::from_ref(&name)).map(|_| Some(Hidden::File))
            }
        }
    }

    fn write_file(&mut self, root: &Path, inside: &Path, content: &str, replace: bool) -> io::Result<bool> {
        let (parent, name) = split(inside)?;
        let Some(name) = name else { return Err(Errno::ISDIR.into()) };
        let parent = make(open_root(root)?, &parent)?;
        if statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            if !replace {
                return Ok(false);
            }
            unlinkat(&parent, &name, AtFlags::empty())?;
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&parent, &name, flags, Mode::from_raw_mode(0o644))?;
        own(&file)?;
        fs::File::from(file).write_all(content.as_bytes())?;
        Ok(true)
    }

    fn copy_tree(&mut self, from: &Path, into: &Path) -> io::Result<()> {
        new_directory(into)?;
        crate::executor::copy::tree(from, into)
    }

    fn claim(&mut self, file: &Path, content: &str) -> io::Result<()> {
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)?;
        }
        whole::create(file, 0o644, content.as_bytes())
    }

    fn release(&mut self, file: &Path, content: &str) -> io::Result<()> {
        match fs::read_to_string(file) {
            Ok(found) if found == content => fs::remove_file(file),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn read_text(&mut self, file: &Path) -> io::Result<String> {
        let mut text = String::new();
        fs::File::open(file)?.take(SMALL).read_to_string(&mut text)?;
        Ok(text)
    }

    fn privileged(&mut self) -> bool {
        rustix::process::geteuid().is_root()
    }

    fn create_jail(&mut self, parameters: &[(String, Value)]) -> io::Result<i32> {
        let value = |value| match value {
            &Value::Number(number) => jail::Value::Number(number),
            Value::Text(text) => jail::Value::Text(text),
            Value::New => jail::Value::Number(jail::NEW),
            Value::Inherit => jail::Value::Number(jail::INHERIT),
            Value::Flag => jail::Value::Flag,
            Value::Addresses(addresses) => jail::Value::Addresses(addresses),
        };
        let parameters: Vec<_> = parameters.iter().map(|(name, of)| (name.as_str(), value(of))).collect();
        jail::create(&parameters).map_err(|error| named("jail_set", error))
    }

    fn allow_child(&mut self, name: &str) -> io::Result<()> {
        jail::allow_child(name).map_err(|error| named("jail_set", error))
    }

    fn find_jail(&mut self, name: &str) -> io::Result<Option<i32>> {
        jail::find(name).map_err(|error| named("jail_get", error))
    }

    fn remove_jail(&mut self, id: i32) -> io::Result<()> {
        match jail::remove(id) {
            Ok(()) => {
                wait_for_end(id);
                Ok(())
            }
            // Gone since it was found.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            Err(error) => Err(named("jail_remove", error)),
        }
    }

    fn has_interface(&mut self, name: &str) -> bool {
        network::exists(name)
    }

    fn move_interface(&mut self, interface: &str, jail: i32) -> io::Result<()> {
        network::move_to_jail(interface, jail).map_err(|error| named("ioctl(SIOCSIFVNET)", error))
    }

    fn configure(&mut self, jail: i32, settings: &[Setting]) -> io::Result<()> {
        let (mut read, write) = io::pipe()?;
        let child = inside(jail, write.as_fd(), |_| {
            settings.iter().try_for_each(|setting| {
                set(setting).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", setting.describe())))
            })
        })?;
        drop(write);
        let mut told = String::new();
        read.read_to_string(&mut told)?;
        if child.succeeded()? { Ok(()) } else { Err(io::Error::other(told.trim().to_owned())) }
    }

    fn add_rule(&mut self, rule: &str) -> io::Result<()> {
        resource::add_rule(rule).map_err(|error| named("rctl_add_rule", error))
    }

    fn remove_rules(&mut self, subject: &str) -> io::Result<()> {
        match resource::remove_rules(subject) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENOSYS | libc::EOPNOTSUPP)) => Ok(()),
            done => done.map_err(|error| named("rctl_remove_rule", error)),
        }
    }

    fn usage(&mut self, subject: &str) -> io::Result<Vec<(String, u64)>> {
        resource::usage(subject).map_err(|error| named("rctl_get_racct", error))
    }

    fn sysctl(&mut self, name: &str) -> io::Result<i64> {
        kernel::number(name)
    }

    fn variable(&mut self, name: &str) -> io::Result<Variable> {
        kernel::kind(name).map(Variable::of)
    }

    fn has_module(&mut self, file: &str, module: &str) -> bool {
        kernel::has(file, module)
    }

    fn version(&mut self) -> String {
        kernel::text("kern.osrelease").unwrap_or_default()
    }
}

fn set(setting: &Setting) -> io::Result<()> {
    match setting {
        Setting::Address { interface, address, prefix, optional } => {
            match network::add_address(interface, *address, *prefix) {
                // The kernel gives loopback its own address when it is raised, and may have no IPv6.
                Err(_) if *optional => Ok(()),
                done => done.map_err(|error| named("ioctl(SIOCAIFADDR)", error)),
            }
        }
        Setting::Raise { interface } => network::raise(interface).map_err(|error| named("ioctl(SIOCSIFFLAGS)", error)),
        Setting::DefaultRoute { gateway } => {
            network::add_default_route(*gateway).map_err(|error| named("write(RTM_ADD)", error))
        }
        Setting::Sysctl { name, value } => kernel::set(name, value).map_err(|error| named("sysctl", error)),
    }
}

/// Waits for a removed jail to be gone: killed processes still hold its mounts for a moment. A connection that was closed a
/// moment ago keeps it for a minute, which nothing waits for.
fn wait_for_end(id: i32) {
    let patience = Instant::now() + Duration::from_millis(300);
    while Instant::now() < patience && jail::lingers(id).unwrap_or(false) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Does something in a jail, by a child that attaches to it and tells how it went. The child has `through` as its only
/// descriptor but the standard streams.
fn inside(
    jail: i32,
    through: BorrowedFd<'_>,
    what: impl FnOnce(BorrowedFd<'static>) -> io::Result<()>,
) -> io::Result<Child> {
    let child = process::fork(|| {
        let done = (|| {
            // A directory that is open would keep this process out of the jail.
            let through = process::keep_only(through, 3)?;
            jail::attach(jail).map_err(|error| named("jail_attach", error))?;
            what(through)
        })();
        match done {
            Ok(()) => 0,
            Err(error) => {
                // Who takes sockets from here takes a byte for the end of them.
                let told = format!(" {error}");
                let _ = rustix::io::write(process::kept().unwrap_or(through), told.as_bytes());
                1
            }
        }
    })?;
    Ok(Child(child))
}

struct Child(Pid);

impl Child {
    fn succeeded(self) -> io::Result<bool> {
        loop {
            match waitpid(Some(self.0), WaitOptions::empty()) {
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                Ok(ended) => return Ok(ended.is_some_and(|(_, status)| status.exit_status() == Some(0))),
            }
        }
    }
}

/// Sockets that `make` makes in the jail's network. They are made by a child that attaches, and belong to this process.
pub(super) fn sockets_in<S: AsFd>(jail: i32, make: impl FnOnce() -> io::Result<Vec<S>>) -> io::Result<Vec<OwnedFd>> {
    let (here, there) = passing::pair()?;
    let child = inside(jail, there.as_fd(), |through| {
        make()?.iter().try_for_each(|socket| passing::send(through, socket.as_fd()))
    })?;
    drop(there);
    let mut received = Vec::new();
    let ended = loop {
        match passing::receive(&here) {
            Ok(socket) => received.push(socket),
            Err(error) => break error,
        }
    };
    let mut told = String::new();
    // The end of the sockets is the beginning of a complaint, if there is one.
    fs::File::from(here).take(SMALL).read_to_string(&mut told)?;
    match child.succeeded()? {
        true if ended.kind() == io::ErrorKind::UnexpectedEof => Ok(received),
        true => Err(ended),
        false => Err(io::Error::other(told)),
    }
}

fn found(kind: FileType) -> Found {
    match kind {
        FileType::Directory => Found::Directory,
        FileType::RegularFile => Found::File,
        _ => Found::Other,
    }
}

/// Makes a directory where there is none. It looks first: to make one that is there on a read-only mount is EROFS here, not
/// EEXIST.
fn new_directory(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir_all(path),
        found => found.map(drop),
    }
}

fn open_root(root: &Path) -> io::Result<OwnedFd> {
    Ok(openat(CWD, root, DIRECTORY, Mode::empty())?)
}

/// The directories on the way to a path, and its last component.
fn split(path: &Path) -> io::Result<(Vec<OsString>, Option<OsString>)> {
    let mut all = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => all.push(name.to_owned()),
            Component::RootDir | Component::CurDir => {}
            _ => return Err(Errno::INVAL.into()),
        }
    }
    let last = all.pop();
    Ok((all, last))
}

/// The directory below `from`, each component opened from the one before, no link followed.
fn walk(from: OwnedFd, names: &[OsString]) -> io::Result<OwnedFd> {
    names.iter().try_fold(from, |at, name| enter(&at, name))
}

/// The directory below `from`, as [`walk`] finds it; what is missing is made as 0:0 0755 (`vol.target.create`).
fn make(from: OwnedFd, names: &[OsString]) -> io::Result<OwnedFd> {
    names.iter().try_fold(from, |at, name| match enter(&at, name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            mkdirat(&at, name, Mode::from_raw_mode(0o755))?;
            let made = openat(&at, name, DIRECTORY, Mode::empty())?;
            own(&made)?;
            fchmod(&made, Mode::from_raw_mode(0o755))?;
            Ok(made)
        }
        opened => opened,
    })
}

/// Makes what was made in a rootfs 0:0, whatever group its directory has, which is its own at first (open(2)).
fn own(made: &OwnedFd) -> io::Result<()> {
    Ok(fchown(made, Some(Uid::ROOT), Some(Gid::ROOT))?)
}

/// A directory in another. What the kernel says of a link (too many links) helps nobody.
fn enter(at: &OwnedFd, name: &OsString) -> io::Result<OwnedFd> {
    openat(at, name, DIRECTORY, Mode::empty()).map_err(|error| match statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(about) if FileType::from_raw_mode(about.st_mode) == FileType::Symlink => link(name),
        _ => error.into(),
    })
}

fn link(name: &OsString) -> io::Error {
    let why = format!("{} is a symbolic link, which is not followed", Path::new(name).display());
    io::Error::new(io::ErrorKind::InvalidInput, why)
}
