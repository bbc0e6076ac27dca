//! From a child of the pod's first process to the app's program: standard streams, identity, limits, exec.
//!
//! All of it runs in the app's own mount namespace, so that paths are the app's. Until exec the process cannot be
//! traced or looked into by the app's other processes: it is not dumpable, as the first process made it.

use std::collections::HashMap;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    Access, AtFlags, CWD, FileType, FsWord, Mode, OFlags, Uid, accessat, chownat, fchown, fstat, fstatfs,
};
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
use crate::executor::listening;
use crate::executor::plan::AppPlan;
use crate::executor::supervise::Streams;
use crate::executor::users::{self, User};
use crate::executor::{Error, Kind};
use crate::sys::linux::process as sys;

/// The file system of pipes that have no name.
const PIPEFS_MAGIC: FsWord = 0x5049_5045;

/// A process that is about to become a program of an app.
pub struct Process<'a> {
    /// The app.
    pub app: &'a AppPlan,
    /// The program and its arguments.
    pub exec: &'a [String],
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
}

impl Process<'_> {
    /// Gives the calling process its standard streams and a session of its own.
    pub fn connect(streams: &Streams) -> Result<(), Error> {
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
        Ok(())
    }

    /// Does all steps and becomes the program. Comes back only with the reason why it could not.
    pub fn become_program(self) -> Error {
        match self.prepare() {
            Ok((path, arguments, environment)) => {
                let error = sys::execute(&path, &arguments, &environment);
                let path = Path::new(std::ffi::OsStr::from_bytes(path.as_bytes())).to_owned();
                refused(&path, error)
            }
            Err(error) => error,
        }
    }

    fn prepare(&self) -> Result<(CString, Vec<CString>, Vec<CString>), Error> {
        let Some(program) = self.exec.first() else {
            return Err(Error::new(Kind::NoProgram, "find the program").because("exec is empty"));
        };
        let arguments = self.exec.iter().map(|word| text(word)).collect::<Result<Vec<_>, _>>()?;
        sys::join_session_keyring().map_err(|e| Error::new(Kind::Io, "leave the caller's keyring").because(e))?;
        rustix::process::umask(Mode::from_raw_mode(0o022));
        sys::reset_signals().map_err(|e| Error::new(Kind::Io, "reset the signals").because(e))?;
        let mut user = None;
        for step in &self.steps {
            carry_out(step, &mut user)?;
            if self.fault.is_some_and(|fault| std::ptr::eq(fault, *step)) {
                return Err(crate::executor::journal::injected(step.describe()));
            }
        }
        let environment = self.environment(user.as_ref());
        let path = find_program(program, environment.get("PATH").map(String::as_str))?;
        let environment = environment.iter().map(|(name, value)| text(&format!("{name}={value}")));
        let environment = environment.collect::<Result<Vec<_>, _>>()?;
        let first = u32::try_from(listening::above(self.listening.len())).unwrap_or(u32::MAX);
        sys::close_on_exec_from(first).map_err(|e| Error::new(Kind::Io, "close descriptors at exec").because(e))?;
        self.filter()?;
        Ok((CString::new(path.as_os_str().as_bytes()).map_err(nul)?, arguments, environment))
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

    /// The plan's variables, what the rootfs says about the user where the plan is silent, and the service's URL.
    fn environment(&self, user: Option<&User>) -> HashMap<String, String> {
        let mut environment: HashMap<String, String> = self.app.environment.iter().cloned().collect();
        if let Some(User { name: Some(name), home, shell, .. }) = user {
            let known =
                [("USER", Some(name)), ("LOGNAME", Some(name)), ("HOME", home.as_ref()), ("SHELL", shell.as_ref())];
            for (variable, value) in known {
                if let Some(value) = value {
                    environment.entry(variable.to_owned()).or_insert_with(|| value.clone());
                }
            }
        }
        if let Some(url) = self.metadata_url {
            environment.insert("AC_METADATA_URL".to_owned(), url.to_owned());
        }
        if !self.listening.is_empty() {
            environment.extend(listening::variables(&self.listening));
        }
        if let Some(address) = &self.notify {
            environment.insert("NOTIFY_SOCKET".to_owned(), address.clone());
        }
        environment
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

fn carry_out(step: &ProcessStep, user: &mut Option<User>) -> Result<(), Error> {
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
        ProcessStep::ChangeDirectory { path } => change_directory(path).map_err(|error| {
            Error::new(Kind::Missing, step.describe()).clause("im.app.workdir.missing").because(error)
        }),
        ProcessStep::BoundCapabilities { keep } => bound_capabilities(*keep).map_err(refused),
        ProcessStep::BecomeUser { user: name, group, supplementary, set_groups } => {
            let (found, gid) = look_up(name, group)?;
            // The filter is installed after this, which takes a privilege; exec takes all that is not bounded away.
            set_keep_capabilities(true).map_err(refused)?;
            let mut groups = vec![gid];
            groups.extend(supplementary.iter().filter(|other| **other != gid));
            give_streams(found.uid);
            let become_it = sys::become_user(found.uid, gid, if *set_groups { Some(&groups) } else { None });
            become_it.map_err(|error| {
                let unmapped = inside::is(&error, Errno::INVAL);
                failed(if unmapped { io::Error::other(format!("the pod has no {}:{gid}", found.uid)) } else { error })
            })?;
            let permitted = capabilities(None).map_err(refused)?.permitted;
            let sets = CapabilitySets { effective: permitted, permitted, inheritable: CapabilitySet::empty() };
            set_capabilities(None, sets).map_err(refused)?;
            clear_ambient_capability_set().map_err(refused)?;
            *user = Some(found);
            Ok(())
        }
        ProcessStep::ForbidNewPrivileges => set_no_new_privs(true).map_err(refused),
        ProcessStep::RefuseSystemCalls { .. } | ProcessStep::FilterSystemCalls { .. } => Ok(()),
    }
}

fn bound_capabilities(keep: u64) -> rustix::io::Result<()> {
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
fn give_streams(uid: u32) {
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

fn look_up(user: &str, group: &str) -> Result<(User, u32), Error> {
    let reading = |what: &str| {
        let doing = format!("read {what} of the rootfs");
        move |error: io::Error| Error::new(Kind::Io, doing.clone()).because(error)
    };
    let root = inside::root().map_err(reading("/"))?;
    let file = |path: &str| inside::read(root.as_fd(), Path::new(path), users::LIMIT).map_err(reading(path));
    let (passwd, groups) = (file("/etc/passwd")?, file("/etc/group")?);
    let owner = |path: &Path| {
        let about = inside::open(root.as_fd(), path, OFlags::PATH, inside::Reach::Anywhere)
            .and_then(|fd| Ok(fstat(fd)?))
            .map_err(|e| Error::new(Kind::Missing, format!("find the owner of {}", path.display())).because(e))?;
        Ok((about.st_uid, about.st_gid))
    };
    let rootfs = users::Rootfs { passwd: passwd.as_deref(), group: groups.as_deref(), owner: &owner };
    Ok((users::user(user, &rootfs)?, users::group(group, &rootfs)?))
}

/// The path of the program: as it is when it has a slash, else along `PATH` (decision 41).
fn find_program(program: &str, path: Option<&str>) -> Result<PathBuf, Error> {
    if program.contains('/') {
        return match executable(Path::new(program)) {
            Ok(()) => Ok(PathBuf::from(program)),
            Err(error) => Err(refused(Path::new(program), error)),
        };
    }
    let mut why = None;
    // Of nothing the directories of PATH themselves would be found.
    let directories = path.unwrap_or("/bin:/usr/bin").split(':').filter(|_| !program.is_empty());
    for directory in directories {
        let directory = if directory.is_empty() { "." } else { directory };
        let candidate = Path::new(directory).join(program);
        match executable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(error) if inside::is(&error, Errno::ACCESS) => why = Some(refused(&candidate, error)),
            Err(_) => {}
        }
    }
    Err(why.unwrap_or_else(|| {
        Error::new(Kind::NoProgram, format!("find the program {program}"))
            .clause("im.app.exec.path-search")
            .because("no directory of PATH has it in the rootfs")
    }))
}

fn executable(path: &Path) -> io::Result<()> {
    // A link of procfs must not lead to a file outside.
    let about = rustix::fs::stat(path)?;
    if FileType::from_raw_mode(about.st_mode) == FileType::Directory {
        return Err(Errno::ACCESS.into());
    }
    Ok(accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)?)
}

fn refused(path: &Path, error: io::Error) -> Error {
    let missing = inside::is(&error, Errno::NOENT) || inside::is(&error, Errno::NOTDIR);
    let kind = if missing { Kind::NoProgram } else { Kind::NotExecutable };
    Error::new(kind, format!("execute {} of the rootfs", path.display())).clause("im.app.exec.slash").because(error)
}

fn text(word: &str) -> Result<CString, Error> {
    CString::new(word).map_err(nul)
}

fn nul(error: std::ffi::NulError) -> Error {
    Error::new(Kind::Refused, "pass a word with a NUL character to a program").because(error)
}
