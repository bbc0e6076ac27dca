//! A container's file system: what bundles ask for beyond what pods have, carried out in the container's own mount namespace.
//!
//! Sources are the caller's, targets the root file system's, which is hostile: a target is a descriptor that was found within the root, and
//! is mounted on by that descriptor, whatever links somebody who shares a volume puts there meanwhile (CVE-2021-30465, CVE-2023-27561,
//! CVE-2025-52565). The kernel's own trees go where no link leads (CVE-2019-19921, CVE-2025-52881).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, chownat, fstat, makedev, mkdirat, mknodat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions, chroot, fchdir, pidfd_send_signal, waitid};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};

use super::mounts::{Mount, Source};
use crate::executor::linux::filesystem::{Filesystem, host_directory};
use crate::executor::linux::host::clone_mapped;
use crate::executor::linux::inside::{self, Reach, is};
use crate::executor::linux::steps::{AppStep, IdMap, Node, Step};
use crate::executor::{Error, Kind};
use crate::sys::linux::mount::{self, Attributes, FsOption};
use crate::sys::linux::process::namespace;

/// The kernel's own trees, which are what programs believe them to be only where no link leads there.
const TREES: [&str; 2] = ["proc", "sysfs"];

impl Filesystem {
    /// Takes what bind mounts of `steps` show, and the root file system, before anything is mounted: it is shown as it is on the host, and
    /// goes on to show what is mounted there as far as that is asked for. After this nothing that is mounted shows outside, unless the
    /// container's mounts are the host's.
    ///
    /// # Errors
    /// The system's, naming the mount.
    pub fn take_sources(&mut self, steps: &[Step]) -> Result<(), Error> {
        let mut own = false;
        for step in steps {
            let Step::App { step, .. } = step else { continue };
            let failed = |error: io::Error| {
                let kind = if is(&error, Errno::NOENT) { Kind::Missing } else { Kind::Io };
                Error::new(kind, step.describe()).because(error)
            };
            match step {
                AppStep::StandRootfs { at, propagation, shared } => {
                    if !shared {
                        let root = inside::root().map_err(failed)?;
                        mount::change(root.as_fd(), 0, 0, *propagation, true).map_err(failed)?;
                    }
                    self.root = Some(mount::copy(host_directory(at).map_err(failed)?.as_fd(), true).map_err(failed)?);
                    own = true;
                }
                AppStep::UseRootfs { at } => self.root = Some(host_directory(at).map_err(failed)?),
                AppStep::Mount(Mount { source: Source::Bind { path, recursive }, ids, .. }) => {
                    let flags = OFlags::PATH | OFlags::CLOEXEC;
                    let open = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| failed(e.into()))?;
                    let copy = mount::copy(open.as_fd(), *recursive).map_err(failed)?;
                    if let Some(ids) = ids {
                        let users = user_namespace(ids)?;
                        mount::map_ids(copy.as_fd(), users.as_fd()).map_err(failed)?;
                    }
                    self.sources.push_back(copy);
                }
                _ => {}
            }
        }
        if !own {
            return Ok(());
        }
        let root = inside::root().and_then(|root| mount::make_private(root.as_fd()));
        root.map_err(|e| Error::new(Kind::Io, "separate the mounts from the host's").because(e))
    }

    /// What only containers have.
    pub(in super::super) fn carry_out_of_container(&mut self, step: &AppStep) -> io::Result<()> {
        match step {
            AppStep::StandRootfs { at, .. } => mount::attach(self.root()?, host_directory(at)?.as_fd()),
            AppStep::Mount(mount) => self.mount(mount),
            AppStep::MakeNode(node) => self.make_node(node),
            AppStep::Link { path, target } => self.link(path, target),
            AppStep::ShowConsole => self.show_console(),
            AppStep::Propagate { flag, recursive } => mount::change(self.root()?, 0, 0, *flag, *recursive),
            AppStep::UseRootfs { .. } => Ok(()),
            AppStep::ChangeRoot => {
                fchdir(self.root()?)?;
                chroot(".")?;
                Ok(rustix::process::chdir("/")?)
            }
            AppStep::MoveRoot => {
                fchdir(self.root()?)?;
                mount::attach(self.root()?, inside::root()?.as_fd())?;
                chroot(".")?;
                Ok(rustix::process::chdir("/")?)
            }
            _ => Err(io::Error::other("it is none of a container's")),
        }
    }

    fn mount(&mut self, asked: &Mount) -> io::Result<()> {
        let mounted = match &asked.source {
            Source::Itself => {
                let there = inside::open(self.root()?, &asked.target, OFlags::PATH, Reach::Anywhere)?;
                mount::change(there.as_fd(), asked.set, asked.clear, 0, false)?;
                there
            }
            Source::Bind { .. } => {
                let taken = self.sources.pop_front().ok_or_else(|| io::Error::other("its source was not taken"))?;
                // Kernels from 6.8 on list mounts by when they were made: a copy of now stands behind what was mounted before it. Those
                // before 6.15 copy nothing that is mounted nowhere.
                let source = mount::copy(taken.as_fd(), true).unwrap_or(taken);
                if asked.set | asked.clear != 0 {
                    mount::change(source.as_fd(), asked.set, asked.clear, 0, false)?;
                }
                let directory = FileType::from_raw_mode(fstat(&source)?.st_mode) == FileType::Directory;
                let place = self.place(&asked.target, directory)?;
                mount::attach(source.as_fd(), place.as_fd())?;
                source
            }
            Source::New { kind, options } => {
                let covers = inside::open(self.root()?, &asked.target, OFlags::PATH, Reach::Anywhere).is_ok();
                let place = if TREES.contains(&kind.as_str()) {
                    inside::directory(self.root()?, &asked.target, Reach::NoLinks)?.fd
                } else {
                    self.place(&asked.target, true)?
                };
                let mut options = options.clone();
                if kind == "tmpfs" && covers && !options.iter().any(|(name, _)| name == "mode") {
                    // As what it covers.
                    options.push(("mode".to_owned(), Some(format!("{:o}", fstat(&place)?.st_mode & 0o7777))));
                }
                let options: Vec<FsOption<'_>> = options
                    .iter()
                    .map(|(name, value)| match value {
                        Some(value) => FsOption::Value(name, value),
                        None => FsOption::Flag(name),
                    })
                    .collect();
                let made = mount::create(kind, &options, attributes(asked.set))?;
                if asked.copy_up {
                    // What the kernel has there is a link, which is followed to its directory.
                    let path = |fd: BorrowedFd<'_>| PathBuf::from(format!("/proc/self/fd/{}/.", fd.as_raw_fd()));
                    let mode = Mode::from_raw_mode(fstat(&made)?.st_mode & 0o7777);
                    crate::executor::copy::tree(&path(place.as_fd()), &path(made.as_fd()))?;
                    rustix::fs::chmod(path(made.as_fd()), mode)?;
                }
                mount::attach(made.as_fd(), place.as_fd())?;
                made
            }
            Source::Groups { trees, links } => self.show_groups(asked, trees, links)?,
        };
        if asked.set_below | asked.clear_below != 0 {
            mount::change(mounted.as_fd(), asked.set_below, asked.clear_below, 0, true)?;
        }
        for (flag, recursive) in &asked.propagation {
            mount::change(mounted.as_fd(), 0, 0, *flag, *recursive)?;
        }
        Ok(())
    }

    /// The place to mount a directory or a file on, made where nothing is.
    fn place(&self, target: &Path, directory: bool) -> io::Result<OwnedFd> {
        let root = self.root()?;
        match inside::open(root, target, OFlags::PATH, Reach::Anywhere) {
            Ok(there) => match (FileType::from_raw_mode(fstat(&there)?.st_mode) == FileType::Directory, directory) {
                (true, false) => Err(Errno::ISDIR.into()),
                (false, true) => Err(Errno::NOTDIR.into()),
                _ => Ok(there),
            },
            Err(error) if is(&error, Errno::NOENT) && directory => {
                Ok(inside::directory(root, target, Reach::Anywhere)?.fd)
            }
            Err(error) if is(&error, Errno::NOENT) => Ok(inside::file(root, target, Reach::Anywhere)?.fd),
            Err(error) => Err(error),
        }
    }

    fn show_groups(
        &self,
        asked: &Mount,
        trees: &[(String, PathBuf)],
        links: &[(String, String)],
    ) -> io::Result<OwnedFd> {
        let place = self.place(&asked.target, true)?;
        let shown = |path: &Path| {
            let copy = mount::copy(host_directory(path)?.as_fd(), false)?;
            mount::change(copy.as_fd(), asked.set, 0, 0, false)?;
            Ok::<_, io::Error>(copy)
        };
        if let [(name, path)] = trees
            && name.is_empty()
        {
            let copy = shown(path)?;
            mount::attach(copy.as_fd(), place.as_fd())?;
            return Ok(copy);
        }
        let options = [FsOption::Value("source", "tmpfs"), FsOption::Value("mode", "755")];
        let read_only = Attributes::MOUNT_ATTR_RDONLY;
        let above = mount::create("tmpfs", &options, attributes(asked.set).difference(read_only))?;
        mount::attach(above.as_fd(), place.as_fd())?;
        for (name, path) in trees {
            mkdirat(&above, name, Mode::from_raw_mode(0o755))?;
            let below = rustix::fs::openat(&above, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
            mount::attach(shown(path)?.as_fd(), below.as_fd())?;
        }
        for (name, target) in links {
            symlinkat(target, &above, name)?;
        }
        mount::restrict(above.as_fd(), attributes(asked.set).intersection(read_only), false)?;
        Ok(above)
    }

    fn make_node(&self, node: &Node) -> io::Result<()> {
        let (kind, device) = match node.kind {
            'c' => (FileType::CharacterDevice, makedev(node.major, node.minor)),
            'b' => (FileType::BlockDevice, makedev(node.major, node.minor)),
            _ => (FileType::Fifo, 0),
        };
        if node.bind {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            let hosts = rustix::fs::open(&node.path, flags, Mode::empty())?;
            let about = fstat(&hosts)?;
            if FileType::from_raw_mode(about.st_mode) != kind || about.st_rdev != device {
                return Err(io::Error::other("the host has another device of that name"));
            }
            let place = self.place(&node.path, false)?;
            return mount::attach(mount::copy(hosts.as_fd(), false)?.as_fd(), place.as_fd());
        }
        let (parent, name) = self.beside(&node.path)?;
        let mode = Mode::from_raw_mode(node.mode);
        match mknodat(&parent, name, kind, mode, device) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let there = statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
                if FileType::from_raw_mode(there.st_mode) == kind && there.st_rdev == device {
                    return Ok(());
                }
                match unlinkat(&parent, name, AtFlags::empty()) {
                    Ok(()) => mknodat(&parent, name, kind, mode, device)?,
                    // Something is mounted there, by the bundle's own word.
                    Err(Errno::BUSY) => return Ok(()),
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) => return Err(error.into()),
        }
        let (uid, gid) = (Uid::from_raw(node.uid.get()), Gid::from_raw(node.gid.get()));
        Ok(chownat(&parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// The directory that a path is in, made where it is not there, and the last name.
    fn beside<'a>(&self, path: &'a Path) -> io::Result<(OwnedFd, &'a std::ffi::OsStr)> {
        let name = path.file_name().ok_or_else(|| io::Error::from(Errno::ISDIR))?;
        Ok((self.place(path.parent().unwrap_or(Path::new("/")), true)?, name))
    }

    fn link(&self, path: &Path, target: &str) -> io::Result<()> {
        let (parent, name) = self.beside(path)?;
        if path == Path::new("/dev/ptmx") {
            // One that is a device of the image would lead to the host's terminals.
            match unlinkat(&parent, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT | Errno::BUSY | Errno::ISDIR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        match symlinkat(target, &parent, name) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn show_console(&mut self) -> io::Result<()> {
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let near = match inside::open(self.root()?, Path::new("/dev/pts/ptmx"), flags, Reach::Anywhere) {
            // A container without terminals of its own has one of the host's.
            Err(error) if is(&error, Errno::NOENT) => {
                rustix::fs::open("/dev/ptmx", flags | OFlags::CLOEXEC, Mode::empty())?
            }
            open => open?,
        };
        if fstat(&near)?.st_rdev != makedev(5, 2) {
            return Err(io::Error::other("/dev/pts/ptmx is not that device"));
        }
        unlockpt(&near)?;
        let far = ioctl_tiocgptpeer(&near, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        let place = self.place(Path::new("/dev/console"), false)?;
        mount::attach(mount::copy(far.as_fd(), false)?.as_fd(), place.as_fd())?;
        self.console = Some((near, far));
        Ok(())
    }
}

fn attributes(bits: u64) -> Attributes {
    Attributes::from_bits_retain(u32::try_from(bits).unwrap_or(0))
}

/// A user namespace that maps like this, for as long as it is open.
fn user_namespace(ids: &IdMap) -> Result<OwnedFd, Error> {
    let failed = |error: io::Error| Error::new(Kind::Io, "map the ids of a mount").because(error);
    let child = clone_mapped(namespace::USER, Some(ids), || {
        rustix::event::pause();
        0
    })?;
    let file = format!("/proc/{}/ns/user", child.pid.as_raw_nonzero());
    let open = rustix::fs::open(file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let _ = pidfd_send_signal(&child.handle, Signal::KILL);
    let _ = waitid(WaitId::PidFd(child.handle.as_fd()), WaitIdOptions::EXITED);
    open.map_err(|e| failed(e.into()))
}
