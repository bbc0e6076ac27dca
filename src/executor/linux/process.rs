//! From a child of the pod's first process to the app's program: standard streams, identity, limits, exec.
//!
//! All of it runs in the app's own mount namespace, so that paths are the app's. Until exec the process cannot be
//! traced or looked into by the app's other processes: it is not dumpable, as the first process made it.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, FsWord, Mode, OFlags, Uid, chownat, fchown, fstat, fstatfs};
use rustix::io::Errno;
use rustix::process::{ioctl_tiocsctty, setsid};
use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::isatty;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities, set_keep_capabilities, set_no_new_privs,
};

use super::inside;
use super::isolators::capabilities::CapabilitySet as Capabilities;
use super::isolators::default_calls;
use super::isolators::seccomp::Filter;
use super::steps::{ProcessStep, SecurityModule};
use crate::executor::decided::{self, Moment};
use crate::executor::listening::{self, Listening};
use crate::executor::plan::AppPlan;
use crate::executor::supervise::Streams;
use crate::executor::users::{Identity, Rootfs};
use crate::executor::{Error, Kind};
use crate::id::Id;
use crate::sys::linux::process as sys;

/// The file system of pipes that have no name.
const PIPEFS_MAGIC: FsWord = 0x5049_5045;

/// A process that is about to become a program of an app.
pub struct Process<'a> {
    /// The app.
    pub app: &'a AppPlan,
    /// The program and its arguments.
    pub exec: &'a [String],
    /// Who it is.
    pub identity: &'a Identity,
    /// What is done to it, in this order.
    pub steps: Vec<&'a ProcessStep>,
    /// `AC_METADATA_URL`.
    pub metadata_url: Option<&'a str>,
    /// Names of the sockets that it was handed over.
    pub listening: Vec<&'a str>,
    /// `NOTIFY_SOCKET`.
    pub notify: Option<String>,
    /// The step that fails on purpose once it is done.
    pub fault: Option<&'a ProcessStep>,
    /// Whether the session keyring that it finds is its app's alone: a user has 200 keyrings unless told, and so many pods.
    pub has_keyring: bool,
}

impl Process<'_> {
    /// Gives the calling process its standard streams, the sockets that it is handed over and a session of its own, and closes
    /// everything else: what is left open is in reach of whatever path an app names, through procfs.
    pub fn connect(streams: &Streams, sockets: &[&Listening]) -> Result<(), Error> {
        let failed = |error: io::Error| Error::new(Kind::Io, "connect the standard streams").because(error);
        setsid().map_err(|error| failed(error.into()))?;
        let ends: [(BorrowedFd<'_>, i32); 3] =
            [(streams.stdin.as_fd(), 0), (streams.stdout.as_fd(), 1), (streams.stderr.as_fd(), 2)];
        for (end, number) in ends {
            sys::place(end, number).map_err(failed)?;
        }
        if streams.terminal {
            let terminal = ends.iter().map(|(end, _)| end).find(|end| isatty(end)).unwrap_or(&ends[0].0);
            ioctl_tiocsctty(terminal).map_err(|error| failed(error.into()))?;
        }
        listening::hand_over(sockets)
            .map_err(|e| Error::new(Kind::Io, "hand the listening sockets over").because(e))?;
        sys::close_from(listening::above(sockets.len()), &[])
            .map_err(|e| Error::new(Kind::Io, "close what was inherited").because(e))
    }

    /// Does all steps and becomes the program. Comes back only with the reason why it could not.
    pub fn become_program(self) -> Error {
        match self.prepare() {
            Ok((path, arguments, environment)) => {
                let error = sys::execute(&path, &arguments, &environment);
                let path = Path::new(std::ffi::OsStr::from_bytes(path.as_bytes())).to_owned();
                decided::not_executed(&path, error)
            }
            Err(error) => error,
        }
    }

    fn prepare(&self) -> Result<(CString, Vec<CString>, Vec<CString>), Error> {
        let environment = self.environment();
        let candidates = decided::program(self.exec, &environment)?;
        let arguments = self.exec.iter().map(|word| text(word)).collect::<Result<Vec<_>, _>>()?;
        if !self.has_keyring {
            sys::join_session_keyring().map_err(|e| Error::new(Kind::Io, "leave the caller's keyring").because(e))?;
        }
        rustix::process::umask(Mode::from_raw_mode(0o022));
        sys::reset_signals().map_err(|e| Error::new(Kind::Io, "reset the signals").because(e))?;
        for step in &self.steps {
            carry_out(step, Some(self.identity))?;
            if self.fault.is_some_and(|fault| std::ptr::eq(fault, *step)) {
                return Err(crate::executor::journal::injected(step.describe()));
            }
        }
        self.lay_down_capabilities()?;
        let path = find_program(self.exec, candidates)?;
        let environment = environment.iter().map(|(name, value)| text(&format!("{name}={value}")));
        let environment = environment.collect::<Result<Vec<_>, _>>()?;
        self.filter()?;
        Ok((CString::new(path.as_os_str().as_bytes()).map_err(nul)?, arguments, environment))
    }

    /// The program is looked for with no more power than it will have: not past directories that are closed to the app's user,
    /// and not into processes that are closed to it.
    fn lay_down_capabilities(&self) -> Result<(), Error> {
        let failed = |error: Errno| Error::new(Kind::Io, "lay down capabilities").because(io::Error::from(error));
        let mut left = CapabilitySet::empty();
        if rustix::process::geteuid().is_root() {
            left = CapabilitySet::all();
            for step in &self.steps {
                if let ProcessStep::BoundCapabilities { keep } = step {
                    left &= CapabilitySet::from_bits_retain(*keep);
                }
            }
        }
        if self
            .steps
            .iter()
            .any(|step| matches!(step, ProcessStep::FilterSystemCalls { .. } | ProcessStep::RefuseSystemCalls { .. }))
        {
            left |= CapabilitySet::SYS_ADMIN;
        }
        let left = capabilities(None).map_err(failed)?.permitted & left;
        let sets = CapabilitySets { effective: left, permitted: left, inheritable: CapabilitySet::empty() };
        set_capabilities(None, sets).map_err(failed)
    }

    /// The filters come last of all, as they bind whatever comes after them. Of two that refuse a call the later one's error
    /// counts: the app's own.
    fn filter(&self) -> Result<(), Error> {
        for step in &self.steps {
            let program = match step {
                ProcessStep::RefuseSystemCalls { keep, allowed } => {
                    default_calls::program(Capabilities(*keep), allowed)?
                }
                ProcessStep::FilterSystemCalls { retain, calls, errno } => {
                    let filter = Filter { retain: *retain, calls: calls.clone(), errno: *errno };
                    filter.program()?.iter().map(|op| (op.code, op.jt, op.jf, op.k)).collect()
                }
                _ => continue,
            };
            sys::install_filter(&program).map_err(|e| Error::new(Kind::Io, step.describe()).because(e))?;
        }
        Ok(())
    }

    fn environment(&self) -> BTreeMap<String, String> {
        let moment = Moment {
            metadata_url: self.metadata_url,
            terminal: isatty(stdout()),
            sockets: &self.listening,
            notify: self.notify.as_deref(),
        };
        decided::environment(&self.app.environment, self.identity, &moment)
    }
}

/// The control groups that `steps` of an app join, opened for joining while the host's tree is in sight.
pub fn open_groups<'a>(steps: impl IntoIterator<Item = &'a ProcessStep>) -> Result<Vec<OwnedFd>, Error> {
    let mut groups = Vec::new();
    for step in steps {
        if let ProcessStep::JoinGroups { paths } = step {
            for path in paths {
                let file = rustix::fs::open(path.join("cgroup.procs"), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
                groups.push(file.map_err(|e| Error::new(Kind::Io, step.describe()).because(io::Error::from(e)))?);
            }
        }
    }
    Ok(groups)
}

/// Gives the calling process the view of the control groups that `steps` ask for, once it has joined its own.
pub fn separate_groups<'a>(steps: impl IntoIterator<Item = &'a ProcessStep>) -> Result<(), Error> {
    match steps.into_iter().find(|step| **step == ProcessStep::SeparateGroups) {
        Some(step) => {
            sys::unshare(sys::namespace::CGROUP).map_err(|e| Error::new(Kind::Io, step.describe()).because(e))
        }
        None => Ok(()),
    }
}

/// Moves the calling process into groups of [`open_groups`].
pub fn join_groups(groups: &[OwnedFd]) -> Result<(), Error> {
    for group in groups {
        // Whoever writes 0 means itself.
        rustix::io::write(group, b"0")
            .map_err(|e| Error::new(Kind::Io, "join the control groups").because(io::Error::from(e)))?;
    }
    Ok(())
}

/// Does what `step` says to the calling process, which becomes one of `identity`'s where it says so.
pub(super) fn carry_out(step: &ProcessStep, identity: Option<&Identity>) -> Result<(), Error> {
    let failed = |error: io::Error| Error::new(Kind::Io, step.describe()).because(error);
    let refused = |error: Errno| failed(error.into());
    match step {
        // Done before this process was in the app's file system.
        ProcessStep::JoinGroups { .. } | ProcessStep::SeparateGroups => Ok(()),
        ProcessStep::Label { module: SecurityModule::Apparmor, label } => {
            let label = format!("exec {label}");
            match write_own("attr/apparmor/exec", &label) {
                // Before Linux 5.1 modules had no directories of their own.
                Err(error) if inside::is(&error, Errno::NOENT) => write_own("attr/exec", &label),
                done => done,
            }
            .map_err(failed)
        }
        ProcessStep::Label { module: SecurityModule::Selinux, label } => write_own("attr/exec", label).map_err(failed),
        ProcessStep::SetOomScore { value } => write_own("oom_score_adj", &value.to_string()).map_err(failed),
        ProcessStep::ChangeDirectory { path } => {
            change_directory(path).map_err(|error| decided::no_directory(path).because(error))
        }
        ProcessStep::BoundCapabilities { keep } => bound_capabilities(*keep).map_err(refused),
        ProcessStep::BecomeUser { supplementary, set_groups, .. } => {
            let Some(&Identity { uid, gid, .. }) = identity else { return Err(failed(Errno::INVAL.into())) };
            // The filter is installed after this, which takes a privilege; exec takes all that is not bounded away.
            set_keep_capabilities(true).map_err(refused)?;
            let mut groups = vec![gid];
            groups.extend(supplementary.iter().filter(|other| **other != gid));
            give_streams(uid);
            let become_it = sys::become_user(uid, gid, if *set_groups { Some(&groups) } else { None });
            become_it.map_err(|error| {
                let unmapped = inside::is(&error, Errno::INVAL);
                failed(if unmapped { io::Error::other(format!("the pod has no {uid}:{gid}")) } else { error })
            })?;
            let permitted = capabilities(None).map_err(refused)?.permitted;
            let sets = CapabilitySets { effective: permitted, permitted, inheritable: CapabilitySet::empty() };
            set_capabilities(None, sets).map_err(refused)?;
            clear_ambient_capability_set().map_err(refused)
        }
        ProcessStep::ForbidNewPrivileges => set_no_new_privs(true).map_err(refused),
        ProcessStep::RefuseSystemCalls { .. } | ProcessStep::FilterSystemCalls { .. } => Ok(()),
        of_container => super::container::process::carry_out_of_container(of_container),
    }
}

pub(super) fn bound_capabilities(keep: u64) -> rustix::io::Result<()> {
    for number in (0..64).filter(|number| keep & (1 << number) == 0) {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
            Ok(()) => {}
            // Beyond the last capability of this kernel.
            Err(Errno::INVAL) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Takes from the calling process, the pod's first, what neither it needs to start processes nor an app may have.
pub fn keep_capabilities(of_apps: u64) -> Result<(), Error> {
    let failed = |error: Errno| Error::new(Kind::Io, "drop capabilities").because(io::Error::from(error));
    let own = CapabilitySet::SYS_ADMIN
        | CapabilitySet::SYS_CHROOT
        | CapabilitySet::SYS_RESOURCE
        | CapabilitySet::SETUID
        | CapabilitySet::SETGID
        | CapabilitySet::SETPCAP
        | CapabilitySet::KILL
        | CapabilitySet::CHOWN
        | CapabilitySet::FOWNER
        | CapabilitySet::DAC_OVERRIDE
        | CapabilitySet::DAC_READ_SEARCH
        | CapabilitySet::MAC_ADMIN;
    let keep = own | CapabilitySet::from_bits_retain(of_apps);
    bound_capabilities(keep.bits()).map_err(failed)?;
    let permitted = capabilities(None).map_err(failed)?.permitted & keep;
    let sets = CapabilitySets { effective: permitted, permitted, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(failed)
}

/// Gives the calling process's user what of its standard streams was made for it, pipes and the app's own terminal,
/// and its console: they can be opened by their names only by who owns them. What cannot be given can still be used.
fn give_streams(uid: Id) {
    let uid = uid.get();
    let flags = OFlags::PATH | OFlags::NOFOLLOW;
    let console = inside::root()
        .and_then(|root| inside::open(root.as_fd(), Path::new("/dev/console"), flags, inside::Reach::NoLinks))
        .and_then(|console| Ok((fstat(&console)?, console)));
    let Ok((about, console)) = console else { return };
    if FileType::from_raw_mode(about.st_mode) != FileType::CharacterDevice {
        return;
    }
    let _ = chownat(&console, "", Some(Uid::from_raw(uid)), None, AtFlags::EMPTY_PATH);
    for stream in [stdin(), stdout(), stderr()] {
        // The host's terminals are in another file system.
        let own = fstat(stream).is_ok_and(|stream| stream.st_dev == about.st_dev);
        let pipe = fstatfs(stream).is_ok_and(|system| system.f_type == PIPEFS_MAGIC);
        if own || pipe {
            let _ = fchown(stream, Some(Uid::from_raw(uid)), None);
        }
    }
}

/// Writes a file of this process's own in procfs, after making sure that it is procfs.
fn write_own(name: &str, value: &str) -> io::Result<()> {
    let path = Path::new("/proc/self").join(name);
    let fd = inside::open(inside::root()?.as_fd(), &path, OFlags::WRONLY, inside::Reach::Anywhere)?;
    if rustix::fs::fstatfs(&fd)?.f_type != rustix::fs::PROC_SUPER_MAGIC {
        return Err(io::Error::other("/proc is not procfs"));
    }
    io::Write::write_all(&mut std::fs::File::from(fd), value.as_bytes())
}

/// Goes there and makes sure of being inside: a working directory that leads outside the root shows in its name.
fn change_directory(path: &Path) -> io::Result<()> {
    let root = inside::root()?;
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let directory = inside::open(root.as_fd(), path, flags, inside::Reach::Anywhere)?;
    rustix::process::fchdir(&directory)?;
    let name = rustix::process::getcwd(Vec::new())?;
    if name.to_bytes().starts_with(b"/") { Ok(()) } else { Err(io::Error::other("it is outside the rootfs")) }
}

/// Whoever the manifest's words mean in the rootfs that is the calling process's root.
pub fn identity(user: &str, group: &str) -> Result<Identity, Error> {
    with_rootfs(|rootfs| Identity::find(user, group, rootfs))
}

/// Has `find` look at what the calling process's root knows about users.
pub fn with_rootfs<T>(find: impl FnOnce(Rootfs<'_>) -> Result<T, Error>) -> Result<T, Error> {
    let reading = |what: &str| {
        let doing = format!("read {what} of the rootfs");
        move |error: io::Error| Error::new(Kind::Io, doing.clone()).because(error)
    };
    let root = inside::root().map_err(reading("/"))?;
    let file = |path: &str| {
        let file = inside::regular(root.as_fd(), Path::new(path)).map_err(reading(path))?;
        Ok::<_, Error>(file.map(io::BufReader::new))
    };
    let (mut passwd, mut groups) = (file("/etc/passwd")?, file("/etc/group")?);
    let owner = |path: &Path| {
        let about = inside::open(root.as_fd(), path, OFlags::PATH, inside::Reach::Anywhere)
            .and_then(|fd| Ok(fstat(fd)?))
            .map_err(|e| Error::new(Kind::Missing, format!("find the owner of {}", path.display())).because(e))?;
        Ok((about.st_uid, about.st_gid))
    };
    find(Rootfs {
        passwd: passwd.as_mut().map(|file| file as &mut dyn io::BufRead),
        group: groups.as_mut().map(|file| file as &mut dyn io::BufRead),
        owner: &owner,
    })
}

/// The path of the program: as it is when it has a slash, else along `PATH` (decision 41).
///
/// It is executed by this path and not by a descriptor: that would show in the program's name, and keep scripts from being found
/// by their interpreters. The kernel follows links of procfs once more then, should an app have put one there meanwhile. They lead
/// nowhere but where the program itself may go: nothing that was inherited is open, root and working directory are the app's, and
/// what this process runs until then is a file that nobody can write.
pub(super) fn find_program(exec: &[String], candidates: Vec<PathBuf>) -> Result<PathBuf, Error> {
    let sought = !exec.first().is_some_and(|program| program.contains('/'));
    let mut why = None;
    for candidate in candidates {
        match executable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(error) if !sought || error.kind() == io::ErrorKind::PermissionDenied => {
                why = Some(decided::not_executed(&candidate, error));
            }
            Err(_) => {}
        }
    }
    Err(why.unwrap_or_else(|| decided::nowhere(exec)))
}

/// How many interpreters of interpreters the kernel takes.
const INTERPRETERS: usize = 5;
/// The longest path that the kernel takes, with the zero at its end.
const LONGEST_PATH: usize = 4096;

/// Whether this can be executed, and all that executes it: files of the rootfs and of what is mounted there, never by a link of procfs,
/// which could lead elsewhere.
fn executable(path: &Path) -> io::Result<()> {
    let root = inside::root()?;
    let here = rustix::process::getcwd(Vec::new())?;
    let here = PathBuf::from(OsStr::from_bytes(here.to_bytes()));
    let mut path = here.join(path);
    for depth in 0..INTERPRETERS {
        let named = |error: io::Error| match depth {
            0 => error,
            _ => io::Error::new(error.kind(), format!("the interpreter {}: {error}", path.display())),
        };
        let look = |flags| inside::open(root.as_fd(), &path, flags, inside::Reach::Anywhere);
        let file = look(OFlags::PATH).map_err(named)?;
        if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
            return Err(named(Errno::ACCESS.into()));
        }
        sys::may_execute(file.as_fd()).map_err(named)?;
        // What may be executed and not read is for the kernel to look into.
        let Ok(file) = look(OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY) else { return Ok(()) };
        match interpreter(&std::fs::File::from(file)) {
            Some(next) => path = here.join(next),
            None => return Ok(()),
        }
    }
    Err(Errno::LOOP.into())
}

/// What executes a file: the interpreter that a script or a dynamic program names. Of what is neither, and of what the kernel will not
/// take, it is nothing.
fn interpreter(file: &std::fs::File) -> Option<PathBuf> {
    use std::os::unix::fs::FileExt as _;
    let mut head = [0_u8; 256];
    let length = file.read_at(&mut head, 0).ok()?;
    let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    if let Some(line) = head[..length].strip_prefix(b"#!") {
        let line = line.split(|&byte| byte == b'\n').next()?;
        return line.split(|byte| matches!(byte, b' ' | b'\t' | 0)).find(|word| !word.is_empty()).map(path);
    }
    // Of 32 or 64 bits; the number of the machine that it is for does not matter.
    let wide = match head.get(..6)? {
        [0x7f, b'E', b'L', b'F', class @ (1 | 2), 1] => *class == 2,
        _ => return None,
    };
    let number = |bytes: &[u8], at: usize, length: usize| {
        let bytes = bytes.get(at..at + length)?;
        Some(bytes.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)))
    };
    let of_width = |bytes: &[u8], (narrow, wider): (usize, usize)| {
        if wide { number(bytes, wider, 8) } else { number(bytes, narrow, 4) }
    };
    let (size_at, count_at) = if wide { (54, 56) } else { (42, 44) };
    let (table, size, count) = (of_width(&head, (28, 32))?, number(&head, size_at, 2)?, number(&head, count_at, 2)?);
    for index in 0..count {
        let mut entry = [0_u8; 56];
        let entry = entry.get_mut(..usize::try_from(size).ok()?)?;
        file.read_exact_at(entry, table.checked_add(index * size)?).ok()?;
        // `PT_INTERP`
        if number(entry, 0, 4)? != 3 {
            continue;
        }
        let length = usize::try_from(of_width(entry, (16, 32))?).ok().filter(|&length| length <= LONGEST_PATH)?;
        let mut name = vec![0; length];
        file.read_exact_at(&mut name, of_width(entry, (4, 8))?).ok()?;
        return name.split(|&byte| byte == 0).next().map(path);
    }
    None
}

fn text(word: &str) -> Result<CString, Error> {
    CString::new(word).map_err(nul)
}

fn nul(error: std::ffi::NulError) -> Error {
    Error::new(Kind::Refused, "pass a word with a NUL character to a program").because(error)
}
