//! A further process in a container that runs.
//!
//! It is made as the container's own was: a stage enters the namespaces, its child beside it joins the groups, takes on its identity and
//! waits for its limits. What namespaces those are the container's first process decides, as it could have left them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{Mode, OFlags};
use rustix::process::{
    DumpableBehavior, Pid, PidfdFlags, WaitId, WaitIdOptions, chdir, chroot, fchdir, pidfd_open, set_dumpable_behavior,
    setsid, waitid,
};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};

use super::compile::{APP, Facts, process_steps};
use super::launch::{
    self, Said, become_root, hand_over, leave, pass_on, put_into_groups, set_limits, tell, use_terminal,
};
use super::process;
use crate::executor::complaint::Complaint;
use crate::executor::container::{Container, Entry, Group, Kept, Status, write_pid};
use crate::executor::isolation::Report;
use crate::executor::linux::inside::{self, Reach};
use crate::executor::linux::steps::{ProcessStep, Step};
use crate::executor::{Error, Kind};
use crate::oci::bundle::{self, Config};
use crate::sys::linux::channel::{self, Channel};
use crate::sys::linux::process as sys;

/// Makes `process` in the container and gives its number and itself, once it is its program. It is the caller's child. The caller has
/// one thread.
///
/// # Errors
/// The container does not run; what could not be done.
pub fn enter(container: &Container, process: &bundle::Process, wish: &Entry) -> Result<(Pid, OwnedFd), Error> {
    let id = &container.kept.id;
    let doing = || format!("execute a process in the container {id}");
    let failed = |error: io::Error| Error::new(Kind::Io, doing()).because(error);
    container.can_be_entered(process, wish)?;
    let config = container.config()?;
    let linux = config.linux.clone().unwrap_or_default();
    let steps: Vec<Step> = process_steps(process, &linux, &Facts::detect(), &mut Report::new())?
        .into_iter()
        .map(|step| Step::Process { app: APP, step })
        .collect();
    let init = container.kept.process.and_then(|process| Pid::from_raw(process.pid));
    let init = init.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    let of = pidfd_open(init, PidfdFlags::empty()).map_err(|e| failed(e.into()))?;
    if container.status() == Status::Stopped {
        return Err(failed(io::Error::other("container not running")));
    }
    let console = wish.console.as_ref().map(OwnedFd::try_clone).transpose().map_err(failed)?;
    let flags = namespaces(&config, init)?;
    let (near, far) = channel::pair().map_err(failed)?;
    let users = config.namespace("user").is_some();
    // A mount namespace has its root; in the host's own the container's is only its first process's.
    let root = match config.namespace("mount") {
        Some(_) => None,
        None => Some(root_of(&container.kept, init).map_err(failed)?),
    };
    let (mut near, mut born) =
        (Some(near), Some(Entering { process, steps: &steps, wish, channel: far, console, users, root }));
    let stage = sys::clone(0, || {
        drop(near.take());
        let Some(entering) = born.take() else { return 1 };
        let Ok(channel) = entering.channel.as_fd().try_clone_to_owned() else { return 1 };
        let channel = Channel::from(channel);
        let mut entering = Some(entering);
        let done = set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .map_err(io::Error::from)
            .and_then(|()| if flags == 0 { Ok(()) } else { sys::enter(of.as_fd(), flags) })
            .and_then(|()| sys::clone_beside(0, || entering.take().map_or(1, Entering::live)));
        match done {
            Ok(_) => 0,
            Err(error) => {
                let error = Error::new(Kind::Io, "enter the container's namespaces").because(error);
                tell(&channel, &Said::Broken(Complaint::from(&error)));
                1
            }
        }
    });
    drop(born);
    let stage = stage.map_err(failed)?;
    let channel = near.ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
    let mut child = None;
    let done = watch(&channel, &stage, &mut child, container, &steps, wish);
    match (done, child) {
        (Ok(()), Some(child)) => Ok(child),
        (done, child) => {
            if let Some((_, handle)) = child {
                let _ = sys::send_signal(handle.as_fd(), libc::SIGKILL);
                let _ = waitid(WaitId::PidFd(handle.as_fd()), WaitIdOptions::EXITED);
            }
            Err(done.err().unwrap_or_else(|| failed(io::Error::other("it ended without a word"))))
        }
    }
}

/// The container's groups, with what is `asked` for below them in place of those that it is asked for of.
fn below(container: &Container, asked: &str) -> Result<Vec<Group>, Error> {
    let wrong = |why: &str| Error::new(Kind::Refused, format!("join the control group {asked}")).because(why);
    let (controllers, path) = match asked.split_once(':') {
        Some((controllers, path)) => (controllers.split(',').collect(), path),
        None => (Vec::new(), asked),
    };
    let path = Path::new(path.trim_start_matches('/'));
    if !path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(wrong("it leads out of the container's"));
    }
    let mut groups = container.kept.groups.clone();
    let meant = |group: &Group| {
        controllers.is_empty() || controllers.iter().any(|one| group.controllers.iter().any(|has| has == one))
    };
    let mut found = false;
    for group in groups.iter_mut().filter(|group| meant(group)) {
        found = true;
        group.path.push(path);
    }
    if found { Ok(groups) } else { Err(wrong("the container has none of these")) }
}

/// The root of the container's first process, which is the rootfs unless that has left it.
fn root_of(kept: &Kept, init: Pid) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = |path: &Path| rustix::fs::open(path, flags, Mode::empty());
    let root = open(Path::new(&format!("/proc/{}/root", init.as_raw_pid())))?;
    let (its, rootfs) = (rustix::fs::fstat(&root)?, rustix::fs::fstat(open(&kept.rootfs)?)?);
    if (its.st_dev, its.st_ino) != (rootfs.st_dev, rootfs.st_ino) {
        return Err(io::Error::other("its process has another root than the rootfs"));
    }
    Ok(root)
}

/// All kinds that the container's process has and the caller has not: it may have some of its own making.
fn namespaces(config: &Config, init: Pid) -> Result<u64, Error> {
    let failed = |error: io::Error| Error::new(Kind::Io, "find the container's namespaces").because(error);
    let mut flags = 0;
    for (name, kind) in super::compile::NAMESPACES {
        let file = |of: &str| std::fs::read_link(format!("/proc/{of}/ns/{}", kind.file()));
        let Ok(own) = file("self") else { continue };
        let differs = own != file(&init.as_raw_pid().to_string()).map_err(failed)?;
        // One that is the caller's own cannot be entered, where it is one of users.
        if differs && (name != "user" || config.namespace("user").is_some()) {
            flags |= kind.bit();
        }
    }
    Ok(flags)
}

fn watch(
    channel: &Channel,
    stage: &sys::Child,
    child: &mut Option<(Pid, OwnedFd)>,
    container: &Container,
    steps: &[Step],
    wish: &Entry,
) -> Result<(), Error> {
    let failed = |error: io::Error| Error::new(Kind::Io, "execute a process in the container").because(error);
    let groups =
        wish.group.as_deref().map_or_else(|| Ok(container.kept.groups.clone()), |asked| below(container, asked))?;
    let mut reaped = false;
    let mut ready = false;
    loop {
        let message = channel.receive(true).map_err(failed)?;
        if !std::mem::replace(&mut reaped, true) {
            let _ = waitid(WaitId::PidFd(stage.handle.as_fd()), WaitIdOptions::EXITED);
        }
        // Once it is ready, that there is nothing more to hear means that it has become its program.
        let Some(message) = message else {
            return if ready { Ok(()) } else { Err(failed(io::Error::other("it ended without a word"))) };
        };
        if let Some(listener) = message.descriptors.first() {
            pass_on(container, &message.bytes, listener.as_fd())?;
            continue;
        }
        match serde_json::from_slice(&message.bytes).map_err(|error| failed(error.into()))? {
            Said::Born => {
                let pid = Pid::from_raw(message.sender).ok_or_else(|| failed(io::Error::other("it has no number")))?;
                let handle = pidfd_open(pid, PidfdFlags::empty()).map_err(|e| failed(e.into()))?;
                *child = Some((pid, handle));
                put_into_groups(pid, &groups)?;
                set_limits(Some(pid), steps)?;
                for step in steps {
                    if let Step::Process { step: step @ ProcessStep::SetOomScore { value }, .. } = step {
                        std::fs::write(format!("/proc/{}/oom_score_adj", pid.as_raw_pid()), value.to_string())
                            .map_err(|error| Error::new(Kind::Io, step.describe()).because(error))?;
                    }
                }
            }
            Said::Ready => {
                ready = true;
                let pid = child.as_ref().map(|(pid, _)| *pid);
                if let (Some(file), Some(pid)) = (&wish.pid_file, pid) {
                    write_pid(file, pid)?;
                }
            }
            Said::Mounted => {}
            Said::Broken(complaint) => return Err(complaint.into()),
        }
        channel.send(b"go", &[]).map_err(failed)?;
    }
}

/// The process before it becomes its program.
struct Entering<'a> {
    process: &'a bundle::Process,
    steps: &'a [Step],
    wish: &'a Entry,
    channel: Channel,
    console: Option<OwnedFd>,
    users: bool,
    root: Option<OwnedFd>,
}

impl Entering<'_> {
    fn live(mut self) -> i32 {
        let steps = launch::process_steps(self.steps);
        let error = match self.set_up(&steps) {
            Ok(program) => {
                tell(&self.channel, &Said::Ready);
                if leave(&self.channel).is_err() {
                    return 1;
                }
                program.execute(&steps, |listener, profile| hand_over(&self.channel, &listener, profile))
            }
            Err(error) => error,
        };
        tell(&self.channel, &Said::Broken(Complaint::from(&error)));
        1
    }

    fn set_up(&mut self, steps: &[&ProcessStep]) -> Result<process::Program, Error> {
        let failed = |doing: &'static str| move |error: io::Error| Error::new(Kind::Io, doing).because(error);
        tell(&self.channel, &Said::Born);
        leave(&self.channel)?;
        sys::reset_signals().map_err(failed("reset the signals"))?;
        setsid().map_err(|e| failed("make a session")(e.into()))?;
        let mut keep = vec![self.channel.as_fd().as_raw_fd()];
        keep.extend(self.console.as_ref().map(AsRawFd::as_raw_fd));
        keep.extend(self.root.as_ref().map(AsRawFd::as_raw_fd));
        sys::close_from(3 + self.wish.preserve, &keep).map_err(failed("close what was inherited"))?;
        (3..3 + self.wish.preserve)
            .filter(|number| !keep.contains(number))
            .try_for_each(sys::keep_open)
            .map_err(failed("keep what is to be kept"))?;
        sys::rename("jetpack-oci");
        if !self.wish.keep_keyring {
            sys::join_session_keyring().map_err(failed("leave the caller's keyring"))?;
        }
        if self.users {
            become_root().map_err(failed("become root of the user namespace"))?;
        }
        if let Some(root) = self.root.take() {
            fchdir(&root)
                .and_then(|()| chroot("."))
                .and_then(|()| chdir("/"))
                .map_err(|e| failed("change to the rootfs")(e.into()))?;
        }
        if let Some(console) = self.console.take() {
            terminal()
                .and_then(|(near, far)| use_terminal(console, &near, &far, self.process.console_size))
                .map_err(failed("set up the terminal"))?;
        }
        process::prepare(self.process, steps)
    }
}

/// A terminal of the container's own: both its ends.
fn terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let root = inside::root()?;
    let near = match inside::open(root.as_fd(), Path::new("/dev/pts/ptmx"), flags, Reach::Anywhere) {
        Ok(near) => near,
        Err(_) => rustix::fs::open("/dev/ptmx", flags | OFlags::CLOEXEC, Mode::empty())?,
    };
    if rustix::fs::fstat(&near)?.st_rdev != rustix::fs::makedev(5, 2) {
        return Err(io::Error::other("/dev/pts/ptmx is not that device"));
    }
    unlockpt(&near)?;
    let far = ioctl_tiocgptpeer(&near, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    Ok((near, far))
}
