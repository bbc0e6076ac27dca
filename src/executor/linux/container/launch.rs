//! Making a container: its process comes to be, sets itself up, and waits to be told to go on.
//!
//! ```text
//!  maker            stage                       the container's process
//!    │──clone────────▶│ joins others' namespaces
//!    │                │──clone, beside itself────▶│
//!    │◀──────────────────────────────────── born ─│
//!    │ groups, ids, oom score                     │
//!    │─── go ─────────────────────────────────────▶ mounts
//!    │◀───────────────────────────────── mounted ─│
//!    │ limits; hooks: prestart, createRuntime     │
//!    │─── go ─────────────────────────────────────▶ hooks: createContainer; root, identity, program
//!    │◀─────────────────────────────────── ready ─│
//!    │ pid file, state                            │
//!    │─── go ─────────────────────────────────────▶ waits at the socket `start`
//! ```

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen, socket_with,
};
use rustix::process::{
    DumpableBehavior, Pid, Resource, Rlimit, WaitId, WaitIdOptions, ioctl_tiocsctty, prlimit, set_dumpable_behavior,
    setsid, waitid,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::compile::{Facts, LIMITS, compile};
use super::groups;
use super::process::{self, Program};
use super::profile::Profile;
use crate::executor::complaint::Complaint;
use crate::executor::container::{
    Container, Group, Groups, Kept, Root, Started, Status, Wish, connected, hooks, look, state, write_pid,
};
use crate::executor::isolation::Verdict;
use crate::executor::journal::{self, Journal};
use crate::executor::linux::filesystem::Filesystem;
use crate::executor::linux::steps::{AppStep, IdMap, Namespace, ProcessStep, Step};
use crate::executor::linux::{LinuxHost, NAME, host, init};
use crate::executor::{Compiled, Error, Kind, Step as _};
use crate::id::Id;
use crate::oci::bundle::{Bundle, Config, ConsoleSize};
use crate::sys::linux::channel::{self, Channel};
use crate::sys::linux::process::{self as sys, Child, namespace};

/// What the processes say to their maker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Said {
    /// The sender is the container's process, in its namespaces.
    Born,
    /// The file system stands; the host's is still in sight.
    Mounted,
    /// It has only to become its program.
    Ready,
    /// It could not.
    Broken(Complaint),
}

/// Makes the terminal `near`, `far` the calling process's own, and hands its near end out by the socket `to`.
pub(super) fn use_terminal(to: OwnedFd, near: &OwnedFd, far: &OwnedFd, size: Option<ConsoleSize>) -> io::Result<()> {
    if let Some(ConsoleSize { height, width }) = size.filter(|size| size.height != 0 && size.width != 0) {
        let size = rustix::termios::Winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(far, size)?;
    }
    Channel::from(to).send(b"/dev/console", &[near.as_fd()])?;
    for number in 0..3 {
        sys::place(far.as_fd(), number)?;
    }
    Ok(ioctl_tiocsctty(rustix::stdio::stdin())?)
}

/// The socket below `directory`, which may have a longer path than addresses have room for.
fn address(directory: &OwnedFd) -> io::Result<SocketAddrUnix> {
    Ok(SocketAddrUnix::new(format!("/proc/self/fd/{}/start", directory.as_raw_fd()))?)
}

fn socket() -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Makes the container `id` of `bundle`, up to where its program starts. Gives it, and what does not hold of what was asked for. The
/// caller has one thread.
///
/// # Errors
/// What could not be done: nothing is left of it.
pub fn create(root: &Root, id: &str, bundle: &Bundle, wish: &Wish) -> Result<(Container, Vec<Verdict>), Error> {
    look(root, id, bundle, wish)?;
    let rootfs = bundle.directory.join(bundle.config.root.clone().unwrap_or_default().path);
    let mut facts = Facts { mounted: host::mounted_on(&rootfs), ..Facts::detect() };
    if wish.options.groups == Groups::Systemd {
        facts.manager = groups::manager(&facts.trees);
    }
    let compiled = compile(bundle, id, &wish.options, &facts)?;
    compiled.report.judge(wish.strict)?;
    let me = std::process::id().cast_signed();
    let maker = Started::of(me).ok_or_else(|| Error::new(Kind::Io, "find this process in /proc"))?;
    let groups = groups_of(&compiled, &facts);
    let kept = Kept {
        id: id.to_owned(),
        oci_version: bundle.config.oci_version.clone(),
        bundle: bundle.directory.clone(),
        rootfs,
        created: format!("{:.9}", jiff::Timestamp::now()),
        owner: rustix::process::geteuid().as_raw(),
        maker,
        process: None,
        groups,
        jail: None,
        report: compiled.report.clone(),
    };
    let unmet = compiled.report.unmet().cloned().collect();
    let container = Container::make(root, kept, &bundle.config)?;
    match make(container.clone(), bundle, wish, &compiled) {
        Ok(container) => Ok((container, unmet)),
        // Its groups' processes are ended with them.
        Err(error) => Err(journal::undone(error, container.remove(false).map(drop))),
    }
}

fn groups_of(compiled: &Compiled<Step>, facts: &Facts) -> Vec<Group> {
    let made = compiled.steps.iter().filter_map(|step| match step {
        Step::MakeGroup { path } => Some((path, false)),
        Step::StartScope(scope) => Some((&scope.path, true)),
        _ => None,
    });
    let of = |(path, scope): (&PathBuf, bool)| {
        let tree = facts.trees.0.iter().find(|tree| path.starts_with(&tree.root))?;
        Some(Group { path: path.clone(), unified: tree.unified, controllers: tree.controllers.clone(), scope })
    };
    made.filter_map(of).collect()
}

fn make(mut container: Container, bundle: &Bundle, wish: &Wish, compiled: &Compiled<Step>) -> Result<Container, Error> {
    let failed = |error: io::Error| Error::new(Kind::Io, "make the container's process").because(error);
    let mut journal = Journal::create(&container.directory().join("journal"), NAME, None, compiled.steps.len())?;
    // Until the container's process is in its place.
    let _first = First::of(&compiled.steps)?;
    journal.apply_all(&mut LinuxHost::default(), &compiled.steps)?;
    let listener = socket().map_err(failed)?;
    let directory = open_directory(container.directory()).map_err(failed)?;
    bind(&listener, &address(&directory).map_err(failed)?).map_err(|e| failed(e.into()))?;
    listen(&listener, 1).map_err(|e| failed(e.into()))?;
    drop(directory);
    let console = wish.console.as_ref().map(OwnedFd::try_clone).transpose().map_err(failed)?;
    let (near, far) = channel::pair().map_err(failed)?;
    let born = Born { bundle, steps: &compiled.steps, kept: &container.kept, wish, channel: far, listener, console };
    let stage = fork(&compiled.steps, near, born)?;
    let mut child = None;
    let done = watch(&stage, &mut child, &mut container, bundle, wish, &compiled.steps);
    if done.is_err()
        && let Some(child) = &child
    {
        end(child);
    }
    done.map(|()| container)
}

/// A process that waits in the container's scope, which systemd makes around one, and which has to be there before it is bounded.
struct First {
    /// What it waits at; with its owner's end it ends.
    _door: Channel,
    process: Child,
}

impl First {
    fn of(steps: &[Step]) -> Result<Option<Self>, Error> {
        let scope = steps.iter().find_map(|step| match step {
            Step::StartScope(scope) => Some((step, scope)),
            _ => None,
        });
        let Some((step, scope)) = scope else { return Ok(None) };
        let failed = |error: io::Error| Error::new(Kind::Unsupported, step.describe()).because(error);
        let (near, far) = channel::pair().map_err(failed)?;
        let mut near = Some(near);
        let process = sys::clone(0, || {
            drop(near.take());
            // Until the other end is closed, be it by an end of its owner.
            let _ = far.receive(true);
            0
        });
        drop(far);
        // The child's copy is gone, this one is not.
        let door = near.ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
        let first = Self { _door: door, process: process.map_err(failed)? };
        scope.start(first.process.pid.as_raw_pid()).map_err(failed)?;
        Ok(Some(first))
    }
}

impl Drop for First {
    fn drop(&mut self) {
        let _ = sys::send_signal(self.process.handle.as_fd(), libc::SIGKILL);
        let _ = waitid(WaitId::PidFd(self.process.handle.as_fd()), WaitIdOptions::EXITED);
    }
}

/// The stage, and what it is heard by.
struct Stage {
    channel: Channel,
    process: Child,
}

/// A process that joins others' namespaces and leaves a child of this one in new ones.
fn fork(steps: &[Step], near: Channel, born: Born<'_>) -> Result<Stage, Error> {
    let failed = |error: io::Error| Error::new(Kind::Io, "make the container's process").because(error);
    let (flags, _) = host::namespaces_of(steps);
    let (mut near, mut born) = (Some(near), Some(born));
    let process = sys::clone(0, || {
        drop(near.take());
        let Some(born) = born.take() else { return 1 };
        let channel = match born.channel.as_fd().try_clone_to_owned() {
            Ok(channel) => Channel::from(channel),
            Err(_) => return 1,
        };
        let joined = join(steps).and_then(|()| {
            let mut born = Some(born);
            // The view of the control groups is separated once its process is in its own.
            let flags = flags & !(namespace::CGROUP | namespace::TIME);
            let child = sys::clone_beside(flags, || born.take().map_or(1, Born::live));
            child.map(drop).map_err(|error| {
                let doing = if flags & namespace::USER == 0 {
                    "make the namespaces"
                } else {
                    "make the namespaces, with one for users"
                };
                Error::new(Kind::Unsupported, doing).because(error)
            })
        });
        match joined {
            Ok(()) => 0,
            Err(error) => {
                tell(&channel, &Said::Broken(Complaint::from(&error)));
                1
            }
        }
    });
    drop(born);
    // The child's copy is gone, this one is not.
    let channel = near.ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
    Ok(Stage { channel, process: process.map_err(failed)? })
}

fn join(steps: &[Step]) -> Result<(), Error> {
    let failed = |step: &Step, error: io::Error| {
        let missing = error.kind() == io::ErrorKind::NotFound;
        Error::new(if missing { Kind::Missing } else { Kind::Io }, step.describe()).because(error)
    };
    let files = steps.iter().filter_map(|step| match step {
        Step::JoinNamespace { kind, path } => Some((step, *kind, path)),
        _ => None,
    });
    // All before the first is entered: it may be one in which they are not seen.
    let open = files.map(|(step, kind, path)| {
        let open = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        open.map(|open| (step, kind, open)).map_err(|e| failed(step, e.into()))
    });
    let open = open.collect::<Result<Vec<_>, _>>()?;
    for (step, kind, open) in &open {
        // The kernel looks that it is one of this kind.
        sys::enter(open.as_fd(), kind.bit()).map_err(|error| failed(step, error))?;
    }
    let new_clocks = steps
        .iter()
        .any(|step| matches!(step, Step::MakeNamespaces { namespaces, .. } if namespaces.contains(&Namespace::Time)));
    if new_clocks {
        // For children only, and only before there is one its offsets can be set.
        sys::unshare(namespace::TIME).map_err(|e| Error::new(Kind::Unsupported, "make a time namespace").because(e))?;
    }
    for step in steps {
        if let Step::SetClocks { ahead } = step {
            let lines: String = ahead.iter().map(|(clock, secs, nanos)| format!("{clock} {secs} {nanos}\n")).collect();
            std::fs::write("/proc/self/timens_offsets", lines).map_err(|error| failed(step, error))?;
        }
    }
    Ok(())
}

/// Until its process has only to become its program.
fn watch(
    stage: &Stage,
    child: &mut Option<(Pid, OwnedFd)>,
    container: &mut Container,
    bundle: &Bundle,
    wish: &Wish,
    steps: &[Step],
) -> Result<(), Error> {
    let failed = |error: io::Error| Error::new(Kind::Io, "set up the container").because(error);
    let config = &bundle.config;
    let mut reaped = false;
    loop {
        let message = stage.channel.receive(true).map_err(failed)?;
        if !std::mem::replace(&mut reaped, true) {
            let _ = waitid(WaitId::PidFd(stage.process.handle.as_fd()), WaitIdOptions::EXITED);
        }
        let Some(message) = message else {
            return Err(failed(io::Error::other("its process ended without a word")));
        };
        match serde_json::from_slice(&message.bytes).map_err(|error| failed(error.into()))? {
            Said::Born => {
                let pid = Pid::from_raw(message.sender).ok_or_else(|| failed(io::Error::other("it has no number")))?;
                let handle = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty());
                *child = Some((pid, handle.map_err(|e| failed(e.into()))?));
                container.kept.process = Started::of(message.sender);
                bring_in(pid, container, steps)?;
            }
            Said::Mounted => {
                // While it is still root: those of others cannot be set by everyone who is.
                set_limits(child.as_ref().map(|(pid, _)| *pid), steps)?;
                // Those of older days run before `start` is over; here they can only run before it begins, and are told what then is.
                hooks::run("prestart", &config.hooks.prestart, &container.shown(Status::Created))?;
                let state = container.shown(Status::Creating);
                hooks::run("createRuntime", &config.hooks.create_runtime, &state)?;
            }
            Said::Ready => {
                let pid = child.as_ref().map(|(pid, _)| *pid);
                container.save()?;
                if let (Some(file), Some(pid)) = (&wish.pid_file, pid) {
                    write_pid(file, pid)?;
                }
                return stage.channel.send(b"go", &[]).map_err(failed);
            }
            Said::Broken(complaint) => return Err(complaint.into()),
        }
        stage.channel.send(b"go", &[]).map_err(failed)?;
    }
}

/// Into its control groups, and what has to be done from outside before it goes on.
fn bring_in(pid: Pid, container: &Container, steps: &[Step]) -> Result<(), Error> {
    put_into_groups(pid, &container.kept.groups)?;
    for step in steps {
        let failed = |error: io::Error| Error::new(Kind::Io, step.describe()).because(error);
        match step {
            Step::MakeNamespaces { ids: Some(ids), .. } => map_ids(pid, ids)?,
            Step::Process { step: ProcessStep::SetOomScore { value }, .. } => {
                let file = format!("/proc/{}/oom_score_adj", pid.as_raw_nonzero());
                std::fs::write(file, value.to_string()).map_err(failed)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// As the kernel lets whoever is root, or as helpers of the system let others.
fn map_ids(pid: Pid, ids: &IdMap) -> Result<(), Error> {
    if !rustix::process::geteuid().is_root() {
        let several = ids.users.len() > 1 || ids.users.iter().any(|(.., count)| *count > 1);
        return if several { host::map_subordinate_ids(pid.as_raw_pid(), ids) } else { host::map_own_ids(pid, ids) };
    }
    for (file, map) in [("uid_map", &ids.users), ("gid_map", &ids.groups)] {
        let lines = map.iter().map(|(inside, outside, count)| format!("{inside} {outside} {count}\n"));
        std::fs::write(format!("/proc/{}/{file}", pid.as_raw_pid()), lines.collect::<String>())
            .map_err(|error| Error::new(Kind::Io, "map the ids of the user namespace").because(error))?;
    }
    Ok(())
}

pub(super) fn put_into_groups(pid: Pid, groups: &[Group]) -> Result<(), Error> {
    for group in groups {
        std::fs::write(group.path.join("cgroup.procs"), pid.as_raw_nonzero().to_string()).map_err(|error| {
            Error::new(Kind::Io, format!("join the control group {}", group.path.display())).because(error)
        })?;
    }
    Ok(())
}

pub(super) fn set_limits<'a>(pid: Option<Pid>, steps: impl IntoIterator<Item = &'a Step>) -> Result<(), Error> {
    for step in steps {
        let Step::Process { step: limit @ ProcessStep::SetLimit { resource, soft, hard }, .. } = step else { continue };
        let kind = LIMITS.iter().find(|(name, _)| name == resource).map_or(Resource::Nofile, |(_, kind)| *kind);
        let some = |value: u64| (value != u64::MAX).then_some(value);
        prlimit(pid, kind, Rlimit { current: some(*soft), maximum: some(*hard) })
            .map_err(|e| Error::new(Kind::Io, limit.describe()).because(io::Error::from(e)))?;
    }
    Ok(())
}

fn end((_, handle): &(Pid, OwnedFd)) {
    let _ = sys::send_signal(handle.as_fd(), libc::SIGKILL);
    let _ = waitid(WaitId::PidFd(handle.as_fd()), WaitIdOptions::EXITED);
}

pub(super) fn tell(channel: &Channel, said: &Said) {
    if let Ok(bytes) = serde_json::to_vec(said) {
        // Nobody is left to be told that the maker is gone.
        let _ = channel.send(&bytes, &[]);
    }
}

/// Waits for leave to go on.
pub(super) fn leave(channel: &Channel) -> Result<(), Error> {
    match channel.receive(true) {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(Error::new(Kind::Io, "hear from the maker").because("it has gone")),
        Err(error) => Err(Error::new(Kind::Io, "hear from the maker").because(error)),
    }
}

/// The container's process before it becomes its program.
struct Born<'a> {
    bundle: &'a Bundle,
    steps: &'a [Step],
    kept: &'a Kept,
    wish: &'a Wish,
    channel: Channel,
    listener: OwnedFd,
    console: Option<OwnedFd>,
}

impl Born<'_> {
    fn live(mut self) -> i32 {
        let steps: Vec<&ProcessStep> = process_steps(self.steps);
        let program = match self.set_up(&steps) {
            Ok(program) => program,
            Err(error) => {
                tell(&self.channel, &Said::Broken(Complaint::from(&error)));
                return 1;
            }
        };
        let Self { channel, listener, bundle, kept, .. } = self;
        tell(&channel, &Said::Ready);
        if leave(&channel).is_err() {
            return 1;
        }
        drop(channel);
        let Ok(starter) = accept_with(&listener, SocketFlags::CLOEXEC) else { return 1 };
        drop(listener);
        let starter = Channel::from(starter);
        if leave(&starter).is_err() {
            return 1;
        }
        let error = started(program, &steps, &bundle.config, kept, &starter);
        let status = match error.kind() {
            Kind::NoProgram => 127,
            Kind::NotExecutable => 126,
            _ => 1,
        };
        tell(&starter, &Said::Broken(Complaint::from(&error)));
        status
    }

    fn set_up(&mut self, steps: &[&ProcessStep]) -> Result<Program, Error> {
        let failed = |doing: &'static str| move |error: io::Error| Error::new(Kind::Io, doing).because(error);
        let config = &self.bundle.config;
        tell(&self.channel, &Said::Born);
        leave(&self.channel)?;
        // No process of the container may look into this one: it has the host's program, descriptors and privilege.
        set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .map_err(|e| failed("protect the container's process")(e.into()))?;
        sys::reset_signals().map_err(failed("reset the signals"))?;
        setsid().map_err(|e| failed("make a session")(e.into()))?;
        self.let_go_of_what_was_inherited().map_err(failed("close what was inherited"))?;
        sys::rename("jetpack-oci");
        rustix::process::umask(Mode::empty());
        if !self.wish.keep_keyring {
            sys::join_session_keyring().map_err(failed("leave the caller's keyring"))?;
        }
        if new(self.steps, Namespace::Cgroup) {
            sys::unshare(namespace::CGROUP).map_err(failed("separate the view of the control groups"))?;
        }
        let mut files = Filesystem::default();
        files.take_sources(self.steps)?;
        if config.namespace("user").is_some() {
            become_root().map_err(failed("become root of the user namespace"))?;
        }
        for step in self.steps {
            if let Step::Pod(step) = step {
                init::carry_out(step).map_err(|e| Error::new(Kind::Io, step.describe()).because(e))?;
            }
        }
        let hooked = self.shown();
        for step in self.steps {
            let Step::App { step, .. } = step else { continue };
            if matches!(step, AppStep::PivotRoot | AppStep::MoveRoot | AppStep::ChangeRoot) {
                tell(&self.channel, &Said::Mounted);
                leave(&self.channel)?;
                hooks::run("createContainer", &config.hooks.create_container, &hooked)?;
            }
            files.apply(step)?;
        }
        if let (Some((near, far)), Some(console)) = (files.console.take(), self.console.take()) {
            let size = config.process.as_ref().and_then(|process| process.console_size);
            use_terminal(console, &near, &far, size).map_err(failed("set up the terminal"))?;
        }
        drop(files);
        let process = config.process.as_ref().ok_or_else(|| Error::new(Kind::Refused, "find the process"))?;
        process::prepare(process, steps)
    }

    /// What hooks are told that run in the container, where its process has another number.
    fn shown(&self) -> Value {
        let me = Started { pid: std::process::id().cast_signed(), at: 0 };
        state(self.kept, Status::Creating, Some(me), &self.bundle.config.annotations)
    }

    fn let_go_of_what_was_inherited(&self) -> io::Result<()> {
        let mut keep = vec![self.channel.as_fd().as_raw_fd(), self.listener.as_raw_fd()];
        keep.extend(self.console.as_ref().map(AsRawFd::as_raw_fd));
        sys::close_from(3 + self.wish.preserve, &keep)?;
        // Those above are this process's own and end with it; what is kept for the program is for it.
        (3..3 + self.wish.preserve).filter(|number| !keep.contains(number)).try_for_each(sys::keep_open)
    }
}

fn new(steps: &[Step], kind: Namespace) -> bool {
    steps.iter().any(|step| matches!(step, Step::MakeNamespaces { namespaces, .. } if namespaces.contains(&kind)))
}

/// What the process itself does of `steps`: scores and limits are set from outside, by who may.
pub(super) fn process_steps(steps: &[Step]) -> Vec<&ProcessStep> {
    let own = steps.iter().filter_map(|step| match step {
        Step::Process { step, .. } => Some(step),
        _ => None,
    });
    own.filter(|step| !matches!(step, ProcessStep::SetOomScore { .. } | ProcessStep::SetLimit { .. })).collect()
}

pub(super) fn become_root() -> io::Result<()> {
    let may = !std::fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.trim() == "deny");
    sys::become_user(Id::ROOT, Id::ROOT, may.then_some(&[]))
}

/// From being told to go on to being the program.
fn started(program: Program, steps: &[&ProcessStep], config: &Config, kept: &Kept, starter: &Channel) -> Error {
    let me = Started { pid: std::process::id().cast_signed(), at: 0 };
    let told = state(kept, Status::Created, Some(me), &config.annotations);
    if let Err(error) = hooks::run("startContainer", &config.hooks.start_container, &told) {
        return error;
    }
    program.execute(steps, |listener, profile| hand_over(starter, &listener, profile))
}

/// Who is told of calls gets the filter's descriptor from whoever sees its socket.
pub(super) fn hand_over(to: &Channel, listener: &OwnedFd, profile: &Profile) -> io::Result<()> {
    let text = serde_json::to_vec(&(&profile.listener, &profile.metadata))?;
    to.send(&text, &[listener.as_fd()])
}

/// Tells the container's process to go on, and waits until it has become its program. Gives the failures of hooks that keep it
/// from nothing.
///
/// # Errors
/// It does not wait; why it has become none.
pub fn start(container: &Container) -> Result<Vec<Error>, Error> {
    let id = &container.kept.id;
    let failed = |error: io::Error| Error::new(Kind::Io, format!("start the container {id}")).because(error);
    container.waits()?;
    let config = container.config()?;
    let to = socket().map_err(failed)?;
    let directory = open_directory(container.directory()).map_err(failed)?;
    connect(&to, &address(&directory).map_err(failed)?).map_err(|e| failed(e.into()))?;
    let to = Channel::from(to);
    to.send(b"go", &[]).map_err(failed)?;
    loop {
        let Some(message) = to.receive(true).map_err(failed)? else { break };
        if let Some(listener) = message.descriptors.first() {
            pass_on(container, &message.bytes, listener.as_fd())?;
            continue;
        }
        if let Ok(Said::Broken(complaint)) = serde_json::from_slice(&message.bytes) {
            let _ = std::fs::remove_file(container.door());
            return Err(complaint.into());
        }
    }
    std::fs::remove_file(container.door()).map_err(failed)?;
    let state = container.shown(container.status());
    // As the specification has it, one that fails is told, and the container runs on.
    Ok(hooks::run_all("poststart", &config.hooks.poststart, &state))
}

/// Gives the filter's descriptor to who is to be told of calls, as the specification has it.
pub(super) fn pass_on(container: &Container, bytes: &[u8], listener: BorrowedFd<'_>) -> Result<(), Error> {
    let failed = |error: io::Error| Error::new(Kind::Io, "hand the system call filter to its listener").because(error);
    let (path, metadata): (Option<PathBuf>, Option<String>) =
        serde_json::from_slice(bytes).map_err(|error| failed(error.into()))?;
    let Some(path) = path else { return Ok(()) };
    let socket = connected(&path).map_err(failed)?;
    let process = container.kept.process.map_or(0, |process| process.pid);
    let told = serde_json::json!({
        "ociVersion": container.kept.oci_version, "fds": ["seccompFd"], "pid": process, "metadata": metadata.unwrap_or_default(),
        "state": container.shown(container.status()),
    });
    Channel::from(socket).send(told.to_string().as_bytes(), &[listener]).map_err(failed)
}
