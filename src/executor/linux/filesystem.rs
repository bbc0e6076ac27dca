//! An app's file system: its rootfs and what is mounted into it, carried out in the app's own mount namespace.
//!
//! Everything here runs with the pod's full privilege beside a hostile rootfs. The descriptor of the rootfs is the one
//! way in; no path that an image has a say in is ever resolved against the host.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, chmodat, fstat, makedev, mkdirat, mknodat, openat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use rustix::process::{fchdir, pivot_root};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};

use super::inside::{self, Reach, is};
use super::steps::AppStep;
use crate::executor::{Error, Kind};
use crate::sys::linux::mount::{self, Attributes, FsOption};

const SAFE: Attributes =
    Attributes::MOUNT_ATTR_NOSUID.union(Attributes::MOUNT_ATTR_NODEV).union(Attributes::MOUNT_ATTR_NOEXEC);

/// Character devices that every app finds (`linux.dev.*`): name, major, minor.
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

const DEVICE_LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// An app's file system while it is put together.
#[derive(Default)]
pub struct Filesystem {
    pub(super) root: Option<OwnedFd>,
    /// The pod's shared memory, as the calling process's mount namespace has it.
    shared_memory: Option<OwnedFd>,
    dev: Option<OwnedFd>,
    empty: Option<OwnedFd>,
    /// What a container's bind mounts show, in the order of these, taken before anything was mounted.
    pub(super) sources: std::collections::VecDeque<OwnedFd>,
    /// Both ends of the terminal that is the app's `/dev/console`.
    pub console: Option<(OwnedFd, OwnedFd)>,
    /// What the user has to be told.
    pub warnings: Vec<String>,
}

impl Filesystem {
    /// An empty one, in a pod with this shared memory.
    pub fn new(shared_memory: Option<OwnedFd>) -> Self {
        Self { shared_memory, ..Self::default() }
    }

    /// Does what `step` says.
    ///
    /// # Errors
    /// The system's refusal, naming the step.
    pub fn apply(&mut self, step: &AppStep) -> Result<(), Error> {
        let failed = |error: io::Error| {
            let missing = is(&error, Errno::NOENT);
            Error::new(if missing { Kind::Missing } else { Kind::Io }, step.describe()).because(told(error))
        };
        self.carry_out(step).map_err(failed)
    }

    /// The rootfs, once it stands.
    pub fn root(&self) -> io::Result<BorrowedFd<'_>> {
        self.root.as_ref().map(AsFd::as_fd).ok_or_else(|| io::Error::other("there is no rootfs yet"))
    }

    fn carry_out(&mut self, step: &AppStep) -> io::Result<()> {
        match step {
            AppStep::MountOverlay { lower, upper, work, at, user_marks } => {
                let mount = overlay(lower, upper, work, *user_marks)?;
                self.stand(mount, at)
            }
            AppStep::CopyRootfs { lower, at } => {
                for layer in lower {
                    crate::executor::copy::tree(layer, at)?;
                }
                let mount = mount::copy(host_directory(at)?.as_fd(), false)?;
                mount::restrict(mount.as_fd(), Attributes::MOUNT_ATTR_NODEV, false)?;
                self.stand(mount, at)
            }
            AppStep::MountProc => {
                let proc = mount::create("proc", &[FsOption::Value("source", "proc")], SAFE)?;
                self.mount_system("/proc", proc.as_fd())
            }
            AppStep::MountSys { bind } => {
                let sys = if *bind {
                    let copy = mount::copy(host_directory(Path::new("/sys"))?.as_fd(), true)?;
                    mount::restrict(copy.as_fd(), SAFE | Attributes::MOUNT_ATTR_RDONLY, true)?;
                    copy
                } else {
                    mount::create("sysfs", &[FsOption::Value("source", "sysfs")], SAFE | Attributes::MOUNT_ATTR_RDONLY)?
                };
                self.mount_system("/sys", sys.as_fd())
            }
            AppStep::MountGroups { groups } => self.mount_groups(groups),
            AppStep::MountDev { bind } => self.mount_dev(*bind),
            AppStep::MountPts { gid } => self.mount_pts(*gid),
            AppStep::MountShm => {
                let copy = match &self.shared_memory {
                    Some(shared) => mount::copy(shared.as_fd(), false)?,
                    None => return Err(io::Error::other("the pod has no shared memory")),
                };
                self.mount_in_dev("shm", copy.as_fd())
            }
            AppStep::MountMqueue => {
                let queues = mount::create("mqueue", &[FsOption::Value("source", "mqueue")], SAFE)?;
                self.mount_in_dev("mqueue", queues.as_fd())
            }
            AppStep::Mask { path } => self.mask(path, Reach::NoLinks),
            AppStep::Freeze { path } => self.freeze(path, SAFE, Reach::NoLinks),
            AppStep::Hide { path } => self.mask(path, Reach::Anywhere),
            AppStep::MakeReadOnly { path } => self.freeze(path, Attributes::empty(), Reach::Anywhere),
            AppStep::MountVolume { source, target, recursive, read_only, follow_links, device } => {
                self.mount_volume(source, target, *recursive, *read_only, *follow_links, *device)
            }
            AppStep::ProvideFile { path, content, replace } => self.provide(path, content, *replace),
            AppStep::FreezeRootfs => mount::restrict(self.root()?, Attributes::MOUNT_ATTR_RDONLY, false),
            AppStep::PivotRoot => {
                fchdir(self.root()?)?;
                // With both names `.`, the old root ends up over the new one and is let go of: no directory is needed.
                pivot_root(".", ".")?;
                rustix::mount::unmount(".", UnmountFlags::DETACH)?;
                rustix::process::chdir("/")?;
                Ok(())
            }
            of_container => self.carry_out_of_container(of_container),
        }
    }

    /// Puts the rootfs where the app's mount namespace can pivot into it.
    fn stand(&mut self, mount: OwnedFd, at: &Path) -> io::Result<()> {
        mount::attach(mount.as_fd(), host_directory(at)?.as_fd())?;
        self.root = Some(mount);
        Ok(())
    }

    /// Mounts one of the kernel's own trees. An image that has a link in its place is refused: what would be mounted
    /// over is not what the app sees.
    fn mount_system(&mut self, path: &str, what: BorrowedFd<'_>) -> io::Result<()> {
        let place = inside::directory(self.root()?, Path::new(path), Reach::NoLinks)?;
        mount::attach(what, place.fd.as_fd())
    }

    /// What programs size themselves by. A kernel without a place for it in sysfs has no groups.
    fn mount_groups(&mut self, groups: &[(String, PathBuf)]) -> io::Result<()> {
        let place = inside::open(self.root()?, Path::new("/sys/fs/cgroup"), OFlags::PATH, Reach::NoLinks)?;
        let shown = |group: &Path| {
            let copy = mount::copy(host_directory(group)?.as_fd(), false)?;
            mount::restrict(copy.as_fd(), SAFE | Attributes::MOUNT_ATTR_RDONLY, false)?;
            io::Result::Ok(copy)
        };
        if let [(name, group)] = groups
            && name.is_empty()
        {
            return mount::attach(shown(group)?.as_fd(), place.as_fd());
        }
        let options =
            [FsOption::Value("source", "cgroup"), FsOption::Value("mode", "0755"), FsOption::Value("size", "0")];
        let trees = mount::create("tmpfs", &options, SAFE)?;
        mount::attach(trees.as_fd(), place.as_fd())?;
        for (name, group) in groups {
            mkdirat(&trees, name.as_str(), Mode::from_raw_mode(0o755))?;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let place = openat(&trees, name.as_str(), flags, Mode::empty())?;
            mount::attach(shown(group)?.as_fd(), place.as_fd())?;
        }
        mount::restrict(trees.as_fd(), Attributes::MOUNT_ATTR_RDONLY, false)
    }

    fn mount_dev(&mut self, bind: bool) -> io::Result<()> {
        let options =
            [FsOption::Value("source", "dev"), FsOption::Value("mode", "0755"), FsOption::Value("size", "64k")];
        // The nodes stand in a tree below the one that the app sees, which is covered for good: an app may make nodes, as
        // it has the capability by default, but nowhere where the kernel lets it open them, or it would have the host's disks.
        let nodes = if bind {
            host_directory(Path::new("/dev"))?
        } else {
            let nodes =
                mount::create("tmpfs", &options, Attributes::MOUNT_ATTR_NOSUID | Attributes::MOUNT_ATTR_NOEXEC)?;
            self.mount_system("/dev", nodes.as_fd())?;
            for (name, major, minor) in DEVICES {
                mknodat(&nodes, name, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(major, minor))?;
                // Whatever the umask of whoever started us.
                chmodat(&nodes, name, Mode::from_raw_mode(0o666), AtFlags::empty())?;
            }
            nodes
        };
        let dev = mount::create("tmpfs", &options, SAFE)?;
        self.mount_system("/dev", dev.as_fd())?;
        for (name, ..) in DEVICES {
            let node = openat(&nodes, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
            let copy = mount::copy(node.as_fd(), false)?;
            mount::attach(copy.as_fd(), empty_file(dev.as_fd(), name)?.as_fd())?;
        }
        for (name, target) in DEVICE_LINKS {
            symlinkat(target, &dev, name)?;
        }
        for name in ["pts", "shm", "mqueue"] {
            mkdirat(&dev, name, Mode::from_raw_mode(0o755))?;
        }
        self.dev = Some(dev);
        Ok(())
    }

    fn mount_in_dev(&mut self, name: &str, what: BorrowedFd<'_>) -> io::Result<()> {
        let dev = self.dev.as_ref().ok_or_else(|| io::Error::other("there is no /dev yet"))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let place = openat(dev, name, flags, Mode::empty())?;
        mount::attach(what, place.as_fd())
    }

    fn mount_pts(&mut self, gid: Option<u32>) -> io::Result<()> {
        let gid = gid.map(|gid| gid.to_string());
        let mut options = vec![
            FsOption::Value("source", "devpts"),
            FsOption::Value("ptmxmode", "0666"),
            FsOption::Value("mode", "0620"),
        ];
        if let Some(gid) = &gid {
            options.push(FsOption::Value("gid", gid));
        }
        let pts = mount::create("devpts", &options, Attributes::MOUNT_ATTR_NOSUID | Attributes::MOUNT_ATTR_NOEXEC)?;
        self.mount_in_dev("pts", pts.as_fd())?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let master = openat(&pts, "ptmx", flags, Mode::empty())?;
        unlockpt(&master)?;
        // By the terminal's own descriptor: /dev/pts/0 could be another one's by now.
        let slave = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        let dev = self.dev.as_ref().ok_or_else(|| io::Error::other("there is no /dev yet"))?;
        let copy = mount::copy(slave.as_fd(), false)?;
        mount::attach(copy.as_fd(), empty_file(dev.as_fd(), "console")?.as_fd())?;
        self.console = Some((master, slave));
        Ok(())
    }

    fn mask(&mut self, path: &Path, reach: Reach) -> io::Result<()> {
        let place = match inside::open(self.root()?, path, OFlags::PATH, reach) {
            Ok(place) => place,
            Err(error) if is(&error, Errno::NOENT) || is(&error, Errno::NOTDIR) => return Ok(()),
            Err(error) => return Err(error),
        };
        let hidden = if FileType::from_raw_mode(fstat(&place)?.st_mode) == FileType::Directory {
            match &self.empty {
                Some(empty) => mount::copy(empty.as_fd(), false)?,
                // The first stands itself in its place: before Linux 6.15 a mount that stands nowhere cannot be copied.
                None => {
                    let options = [FsOption::Value("size", "0"), FsOption::Value("mode", "0555")];
                    let empty = mount::create("tmpfs", &options, SAFE | Attributes::MOUNT_ATTR_RDONLY)?;
                    self.empty = Some(empty.try_clone()?);
                    empty
                }
            }
        } else {
            // The null device is the app's own, which nothing of the image has touched; a container's /dev is its own business.
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let null = match &self.dev {
                Some(dev) => openat(dev, "null", flags, Mode::empty())?,
                None => rustix::fs::open("/dev/null", flags, Mode::empty())?,
            };
            let about = fstat(&null)?;
            let device = FileType::from_raw_mode(about.st_mode) == FileType::CharacterDevice;
            if !device || about.st_rdev != makedev(1, 3) {
                return Err(io::Error::other("/dev/null is not that device"));
            }
            mount::copy(null.as_fd(), false)?
        };
        mount::attach(hidden.as_fd(), place.as_fd())
    }

    fn freeze(&mut self, path: &Path, besides: Attributes, reach: Reach) -> io::Result<()> {
        let place = match inside::open(self.root()?, path, OFlags::PATH, reach) {
            Ok(place) => place,
            Err(error) if is(&error, Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error),
        };
        let copy = mount::copy(place.as_fd(), true)?;
        mount::restrict(copy.as_fd(), besides | Attributes::MOUNT_ATTR_RDONLY, true)?;
        mount::attach(copy.as_fd(), place.as_fd())
    }

    fn mount_volume(
        &mut self,
        source: &Path,
        target: &Path,
        recursive: bool,
        read_only: bool,
        follow_links: bool,
        device: bool,
    ) -> io::Result<()> {
        let source_fd = inside::open_source(source, follow_links)?;
        let kind = FileType::from_raw_mode(fstat(&source_fd)?.st_mode);
        let is_directory = kind == FileType::Directory;
        // What was a device when that was decided has to be one still.
        if device && !matches!(kind, FileType::CharacterDevice | FileType::BlockDevice) {
            return Err(io::Error::other("it is no device"));
        }
        let copy = mount::copy(source_fd.as_fd(), recursive)?;
        mount::make_private(copy.as_fd())?;
        let mut attributes = if device { Attributes::empty() } else { Attributes::MOUNT_ATTR_NODEV };
        if read_only {
            attributes |= Attributes::MOUNT_ATTR_RDONLY;
        }
        mount::restrict(copy.as_fd(), attributes, recursive)?;
        if let (true, Some(name)) = (device, target.strip_prefix("/dev").ok().and_then(Path::to_str)) {
            let dev = self.dev.as_ref().ok_or_else(|| io::Error::other("there is no /dev yet"))?;
            return mount::attach(copy.as_fd(), empty_file(dev.as_fd(), name)?.as_fd());
        }
        let place = if is_directory {
            inside::directory(self.root()?, target, Reach::SameMount)?
        } else {
            inside::file(self.root()?, target, Reach::SameMount)?
        };
        if let Some(what) = place.masks {
            self.warnings.push(format!("a volume masks {what} at {} [vol.target.warn]", target.display()));
        }
        mount::attach(copy.as_fd(), place.fd.as_fd())
    }

    fn provide(&mut self, path: &Path, content: &str, replace: bool) -> io::Result<()> {
        let root = self.root()?;
        if !replace {
            match inside::open(root, path, OFlags::PATH, Reach::Anywhere) {
                // A link that leads to nothing is as good as none; what else is wrong with it is the image's own.
                Err(error) if is(&error, Errno::NOENT) => {}
                _ => return Ok(()),
            }
            match inside::file(root, path, Reach::SameMount) {
                Ok(place) if place.masks.is_none() => return fill(place.fd, content),
                Ok(_) => return Ok(()),
                // It leads into a volume, which is not the image's to be written to: the file takes the link's place.
                Err(error) if is(&error, Errno::XDEV) => {}
                Err(error) => return Err(error),
            }
        }
        let parent = match inside::directory(root, path.parent().unwrap_or(Path::new("/")), Reach::SameMount) {
            // The directory itself is a volume: what is in there is nobody else's.
            Err(error) if is(&error, Errno::XDEV) && !replace => return Ok(()),
            other => other?.fd,
        };
        let name = path.file_name().ok_or_else(|| io::Error::from(Errno::ISDIR))?;
        match unlinkat(&parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = openat(&parent, name, flags, Mode::from_raw_mode(0o644))?;
        fill(file, content)
    }
}

/// Fills a file that was made just now.
fn fill(file: OwnedFd, content: &str) -> io::Result<()> {
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o644))?;
    io::Write::write_all(&mut std::fs::File::from(file), content.as_bytes())
}

/// The kernel's word for a link where none may be says little.
fn told(error: io::Error) -> io::Error {
    if is(&error, Errno::LOOP) {
        io::Error::new(error.kind(), "a symbolic link stands in the way")
    } else if is(&error, Errno::XDEV) {
        io::Error::new(error.kind(), "the path leads into another mount")
    } else {
        error
    }
}

fn empty_file(directory: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(openat(directory, name, flags, Mode::from_raw_mode(0o644))?)
}

pub(super) fn host_directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// The overlay of `lower` (lowest first) with what is written in `upper`. Layers are named by descriptor, so that
/// neither the length nor the characters of their paths matter.
fn overlay(lower: &[PathBuf], upper: &Path, work: &Path, user_marks: bool) -> io::Result<OwnedFd> {
    let layers = lower.iter().rev().map(|path| host_directory(path)).collect::<io::Result<Vec<_>>>()?;
    // The rootfs directory itself is what `upper` is: at first what the image made it. Overlay makes `work/work`.
    if let Some(top) = lower.last()
        && !work.join("work").exists()
    {
        crate::executor::copy::dress(File::open(top)?, File::open(upper)?)?;
    }
    let (upper, work) = (host_directory(upper)?, host_directory(work)?);
    let name = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let names: Vec<String> = layers.iter().map(name).collect();
    let joined = names.join(":");
    let (upper, work) = (name(&upper), name(&work));
    let mut options = vec![FsOption::Value("source", "rootfs")];
    // A value may have 255 characters; beyond that, layers are added one by one (Linux 6.5).
    if joined.len() < 256 {
        options.push(FsOption::Value("lowerdir", &joined));
    } else {
        options.extend(names.iter().map(|name| FsOption::Value("lowerdir+", name)));
    }
    options.push(FsOption::Value("upperdir", &upper));
    options.push(FsOption::Value("workdir", &work));
    // Nothing of a pod's writable layer is to survive a crash of the host: no sync when it is unmounted.
    options.push(FsOption::Flag("volatile"));
    if user_marks {
        options.push(FsOption::Flag("userxattr"));
    }
    mount::create("overlay", &options, Attributes::MOUNT_ATTR_NODEV)
}
