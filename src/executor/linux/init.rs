//! The pod's first process: sets the pod's namespaces up, starts the apps' processes, reaps everything, and takes the
//! whole pod with it when it ends, as the kernel has it for the first process of a pid namespace.
//!
//! It ends when its supervisor does: the channel reads as end of file then, and the kernel is asked for a signal too.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use rustix::process::{DumpableBehavior, Pid, Signal, WaitOptions, WaitStatus, pivot_root, wait};

use super::doors::Door;
use super::filesystem::Filesystem;
use super::message::{Order, Report};
use super::process::{Process, identity, join_groups, keep_capabilities, open_groups, separate_groups};
use super::readiness::{self, Readiness};
use super::steps::{Namespace, PodStep, ProcessStep, Step};
use crate::executor::complaint::{Complaint, shortened};
use crate::executor::listening::{self, Listening};
use crate::executor::plan::{PodPlan, Stream};
use crate::executor::relay::until;
use crate::executor::supervise::{End, Streams};
use crate::executor::users::Identity;
use crate::executor::{Error, Kind, Phase, Step as _};
use crate::pod::Part;
use crate::sys::linux::channel::Channel;
use crate::sys::linux::mount::{self, Attributes, FsOption};
use crate::sys::linux::process::{self as sys, namespace};
use crate::sys::signals;

/// A pod in which nothing happens for so long has started.
const SETTLED: Duration = Duration::from_millis(300);

/// The most ended processes that are reaped at once.
const TURN: usize = 256;

/// What the first process knows.
pub struct Init<'a> {
    /// The plan, for what the apps are.
    pub plan: &'a PodPlan,
    /// All steps; those on the host are done.
    pub steps: &'a [Step],
    /// The apps' standard streams.
    pub streams: Vec<Streams>,
    /// To the supervisor.
    pub channel: Channel,
    /// The sockets that apps find open; those of the pod's own network are added.
    pub sockets: Vec<Listening>,
    /// The namespaces that the apps share, once they are there.
    pub shared: Vec<(Namespace, OwnedFd)>,
    /// The step that fails on purpose once it is done.
    pub fault: Option<&'a Step>,
}

/// An app whose file system stands.
struct App {
    namespace: OwnedFd,
    /// Where whoever enters it later asks for the way.
    door: Door,
    /// Who its processes are, or why that cannot be told.
    identity: Result<Identity, Complaint>,
    /// The control groups that its processes join.
    groups: Vec<OwnedFd>,
    /// Both ends of its console; the near one is kept open so that the far one stays usable.
    console: Option<(OwnedFd, OwnedFd)>,
    /// By which it says that it is ready.
    readiness: Option<Readiness>,
}

impl Init<'_> {
    /// Runs until the supervisor is gone. Gives the exit status.
    pub fn run(mut self) -> i32 {
        let mut apps = match self.set_up() {
            Ok(apps) => apps,
            Err(error) => {
                self.tell(&Report::Broken(Complaint::from(&error)), &[]);
                return 125;
            }
        };
        match self.serve(&mut apps) {
            Ok(()) => 0,
            Err(error) => {
                self.tell(
                    &Report::Warning(shortened(format!(
                        "the pod's first process failed to {}",
                        crate::error::chain(&error)
                    ))),
                    &[],
                );
                125
            }
        }
    }

    fn tell(&self, report: &Report, descriptors: &[BorrowedFd<'_>]) {
        if let Ok(bytes) = serde_json::to_vec(report) {
            // Nobody is left to be told that the supervisor is gone.
            let _ = self.channel.send(&bytes, descriptors);
        }
    }

    /// Tells the supervisor something in the name of another process of the pod: with its process id.
    fn tell_of(&self, process: Pid, report: &Report) {
        if let Ok(bytes) = serde_json::to_vec(report) {
            let _ = self.channel.send_for(process, &bytes);
        }
    }

    fn set_up(&mut self) -> Result<Vec<App>, Error> {
        let failed = |doing: &str| {
            let doing = doing.to_owned();
            move |error: std::io::Error| Error::new(Kind::Io, doing.clone()).because(error)
        };
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(|e| failed("ask to end with the supervisor")(e.into()))?;
        // No process of the pod may look into this one: it has the host's program, descriptors and privilege.
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .map_err(|e| failed("protect the pod's first process")(e.into()))?;
        sys::reset_signals().map_err(failed("reset the signals"))?;
        self.let_go_of_what_was_inherited().map_err(failed("close what was inherited"))?;
        sys::rename("jetpack-init");
        // Before anything of an app is here: the caller's keys are not the pod's.
        sys::join_session_keyring().map_err(failed("leave the caller's keyring"))?;
        // Whoever reads what the supervisor says is not to wait for the pod's end.
        crate::sys::background::nothing_as(&[0, 1, 2]).map_err(failed("let go of the standard streams"))?;
        let mut listener = None;
        let mut shared_memory = None;
        let mut readiness: Vec<Option<Readiness>> = self.plan.apps.iter().map(|_| None).collect();
        for whole in self.steps {
            if let Step::Pod(step) = whole {
                let doing = |error: std::io::Error| Error::new(Kind::Io, step.describe()).because(error);
                match step {
                    PodStep::SeparateMounts => {
                        let root = super::inside::root().map_err(doing)?;
                        mount::make_private(root.as_fd()).map_err(doing)?;
                    }
                    PodStep::EnterNetwork { path } => {
                        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
                        let network = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| doing(e.into()))?;
                        sys::enter(network.as_fd(), namespace::NET).map_err(doing)?;
                    }
                    PodStep::ListenForMetadata { not } => listener = Some(listening::on_loopback(not).map_err(doing)?),
                    PodStep::OwnDirectory { path, uid, gid } => {
                        std::os::unix::fs::lchown(path, Some(uid.get()), Some(gid.get())).map_err(doing)?;
                    }
                    PodStep::Listen(listen) => self.sockets.extend(listening::open(listen, None).map_err(doing)?),
                    PodStep::ListenForReadiness { app } => {
                        let listens = Readiness::listen(self.plan.uuid, &self.plan.apps[*app].name);
                        readiness[*app] = Some(listens.map_err(doing)?);
                    }
                    PodStep::MakeSharedMemory => {
                        let attributes = Attributes::MOUNT_ATTR_NOSUID
                            | Attributes::MOUNT_ATTR_NODEV
                            | Attributes::MOUNT_ATTR_NOEXEC;
                        let options = [FsOption::Value("mode", "1777"), FsOption::Value("size", "64m")];
                        // Attached, each app finds a copy in its own namespace, which can be copied further: before Linux 6.15 a
                        // mount that stands nowhere cannot. From here on nobody needs what is in that directory.
                        let place = Part::Images.of(&self.plan.directory);
                        let made = mount::create("tmpfs", &options, attributes).map_err(doing)?;
                        let over = place_for(&place).map_err(doing)?;
                        mount::attach(made.as_fd(), over.as_fd()).map_err(doing)?;
                        shared_memory = Some(place);
                    }
                    of_namespaces => carry_out(of_namespaces).map_err(doing)?,
                }
                self.injected(whole)?;
            }
        }
        let mut apps = Vec::new();
        let own = own_namespace(Namespace::Mount).map_err(failed("open the pod's mount namespace"))?;
        self.keep_namespaces().map_err(failed("open the pod's namespaces"))?;
        for (number, readiness) in readiness.into_iter().enumerate() {
            let app = self.set_up_app(number, shared_memory.as_deref(), own.as_fd())?;
            apps.push(App { readiness, ..app });
        }
        // Where no socket is put that a program finds.
        self.channel.raise(listening::above(self.sockets.len())).map_err(failed("keep the supervisor in reach"))?;
        leave_host_tree().map_err(failed("let go of the host's file systems"))?;
        let kept = self.steps.iter().filter_map(|step| match step {
            Step::Process { step: ProcessStep::BoundCapabilities { keep }, .. } => Some(keep),
            _ => None,
        });
        keep_capabilities(kept.fold(0, |all, keep| all | keep))?;
        let terminal = self.plan.apps.iter().zip(&apps).find(|(plan, _)| plan.stdio.stdout == Stream::Tty);
        let terminal = terminal.and_then(|(_, app)| app.console.as_ref()).map(|(near, _)| near);
        let ready = Report::Ready { listener: listener.is_some(), terminal: terminal.is_some() };
        let descriptors = listener.iter().map(AsFd::as_fd).chain(terminal.into_iter().map(AsFd::as_fd));
        self.tell(&ready, &descriptors.collect::<Vec<_>>());
        Ok(apps)
    }

    /// Locks of images, what whoever started the supervisor left open: a process of the pod has no use for it, and an app could name it.
    fn let_go_of_what_was_inherited(&self) -> std::io::Result<()> {
        let streams = self.streams.iter().flat_map(|of| [&of.stdin, &of.stdout, &of.stderr]);
        let sockets = self.sockets.iter().map(|socket| &socket.socket);
        let mut keep: Vec<_> = streams.chain(sockets).map(AsRawFd::as_raw_fd).collect();
        keep.push(self.channel.as_fd().as_raw_fd());
        sys::close_from(3, &keep)
    }

    fn set_up_app(&mut self, number: usize, shared: Option<&Path>, own: BorrowedFd<'_>) -> Result<App, Error> {
        let name = &self.plan.apps[number].name;
        let failed = |error: std::io::Error| {
            Error::new(Kind::Io, format!("make the mount namespace of app {name}")).because(error)
        };
        let groups = open_groups(self.steps_of(number))?;
        sys::unshare(namespace::MOUNT).map_err(failed)?;
        let namespace = own_namespace(Namespace::Mount).map_err(failed)?;
        let mut filesystem = Filesystem::new(shared.map(place_for).transpose().map_err(failed)?);
        for whole in self.steps {
            match whole {
                Step::App { app, step } if *app == number => {
                    filesystem.apply(step).and_then(|()| self.injected(whole)).map_err(|error| {
                        let inner = Error::new(*error.kind(), format!("start app {name}"));
                        inner.because(crate::error::chain(&error))
                    })?;
                }
                _ => {}
            }
        }
        // Once, before anything of the app runs: what it makes of these files later is its own business.
        let plan = &self.plan.apps[number];
        let identity = identity(&plan.user, &plan.group).map_err(|error| Complaint::from(&error));
        sys::enter(own, namespace::MOUNT).map_err(failed)?;
        let door = Door::new(&self.plan.directory, number)
            .map_err(|error| Error::new(Kind::Io, format!("make the way into app {name}")).because(error))?;
        if let Some((near, far)) = &filesystem.console {
            rustix::io::ioctl_fionbio(near, true).map_err(|error| failed(error.into()))?;
            self.use_terminal(number, far).map_err(failed)?;
        }
        for warning in filesystem.warnings {
            self.tell(&Report::Warning(shortened(format!("app {name}: {warning}"))), &[]);
        }
        Ok(App { namespace, door, identity, groups, console: filesystem.console, readiness: None })
    }

    /// For whoever enters the pod later, to find what was made here and not what an app has made of it.
    fn keep_namespaces(&mut self) -> std::io::Result<()> {
        let made = self.steps.iter().find_map(|step| match step {
            Step::MakeNamespaces { namespaces, .. } => Some(namespaces.clone()),
            _ => None,
        });
        let mut shown = made.unwrap_or_default();
        shown.retain(|namespace| *namespace != Namespace::Mount);
        let entered = |step: &Step| matches!(step, Step::Pod(PodStep::EnterNetwork { .. }));
        if self.steps.iter().any(entered) && !shown.contains(&Namespace::Net) {
            shown.push(Namespace::Net);
        }
        let open = shown.into_iter().map(|namespace| Ok((namespace, own_namespace(namespace)?)));
        self.shared = open.collect::<std::io::Result<_>>()?;
        Ok(())
    }

    fn injected(&self, step: &Step) -> Result<(), Error> {
        match self.fault {
            Some(fault) if std::ptr::eq(fault, step) => Err(crate::executor::journal::injected(step.describe())),
            _ => Ok(()),
        }
    }

    /// The streams of the app that are to be a terminal are its console.
    fn use_terminal(&mut self, number: usize, far: &OwnedFd) -> std::io::Result<()> {
        let stdio = self.plan.apps[number].stdio;
        let streams = &mut self.streams[number];
        for (stream, place) in [
            (stdio.stdin, &mut streams.stdin),
            (stdio.stdout, &mut streams.stdout),
            (stdio.stderr, &mut streams.stderr),
        ] {
            if stream == Stream::Tty {
                *place = far.try_clone()?;
                streams.terminal = true;
            }
        }
        Ok(())
    }

    /// Whoever talks without end is heard in turn, and delays nothing else.
    fn serve(&mut self, apps: &mut [App]) -> Result<(), Error> {
        let failed = |doing: &'static str| move |error: std::io::Error| Error::new(Kind::Io, doing).because(error);
        let signals = sys::signal_descriptor(&[libc::SIGCHLD]).map_err(failed("watch the pod's processes"))?;
        let mut running: HashMap<Pid, (usize, Phase)> = HashMap::new();
        let mut settled = false;
        let mut unreaped = false;
        loop {
            let mut ready = vec![PollFd::new(&self.channel, PollFlags::IN), PollFd::new(&signals, PollFlags::IN)];
            // What is written to a console that nobody looks at goes nowhere, and must not block who writes.
            let blind = apps.iter().zip(&self.streams).filter(|(_, streams)| !streams.terminal);
            let blind: Vec<&OwnedFd> =
                blind.filter_map(|(app, _)| app.console.as_ref()).map(|(near, _)| near).collect();
            ready.extend(blind.iter().map(|near| PollFd::new(*near, PollFlags::IN)));
            let listening = apps.iter().filter_map(|app| app.readiness.as_ref());
            let settles = if settled { None } else { Some(Instant::now() + SETTLED) };
            let wakes = listening.clone().map(Readiness::wakes).chain([settles, unreaped.then(Instant::now)]);
            ready.extend(listening.filter_map(Readiness::listens).map(|socket| PollFd::new(socket, PollFlags::IN)));
            ready.extend(apps.iter().map(|app| PollFd::new(&app.door, PollFlags::IN)));
            match poll(&mut ready, until(wakes).as_ref()) {
                Ok(0) if !settled && !unreaped => {
                    crate::sys::memory::trim();
                    settled = true;
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(failed("wait for the pod's processes")(error.into())),
            }
            for app in apps.iter() {
                app.door.show(&self.shared, &app.namespace, app.identity.as_ref().ok());
            }
            let mut nowhere = [0_u8; 1024];
            for near in &blind {
                // Once: there may be no end to it.
                let _ = rustix::io::read(near, &mut nowhere);
            }
            for (number, app) in apps.iter_mut().enumerate() {
                if let Some(text) = app.readiness.as_mut().and_then(Readiness::heard) {
                    self.tell(&Report::Notified { app: number, text }, &[]);
                }
            }
            while sys::next_signal(signals.as_fd()).is_some() {}
            unreaped = true;
            for _ in 0..TURN {
                let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) else {
                    unreaped = false;
                    break;
                };
                if let (Some((app, phase)), Some(end)) = (running.remove(&pid), ended(status)) {
                    self.tell(&Report::Ended { app, phase, end }, &[]);
                }
            }
            loop {
                let message = match self.channel.receive(false) {
                    Ok(Some(message)) => message,
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                    // The supervisor is gone.
                    Ok(None) | Err(_) => return Ok(()),
                };
                match serde_json::from_slice(&message.bytes) {
                    Ok(Order::Start { app, phase, metadata_url }) => {
                        match self.start(apps, app, phase, metadata_url.as_deref()) {
                            Ok(pid) => drop(running.insert(pid, (app, phase))),
                            Err(error) => {
                                self.tell(&Report::Failed { app, phase, why: Complaint::from(&error) }, &[]);
                                self.tell(&Report::Ended { app, phase, end: End::Status(125) }, &[]);
                            }
                        }
                    }
                    Ok(Order::Signal { app, signal }) => {
                        for (pid, _) in running.iter().filter(|(_, (running, _))| *running == app) {
                            let _ = signals::send(*pid, signal);
                        }
                    }
                    // What sees this pod alone is the first process of its pid namespace; of one app all else is that app's.
                    Ok(Order::Clear { .. }) if self.plan.apps.len() == 1 && rustix::process::getpid().is_init() => {
                        signals::send_to_all_seen(libc::SIGKILL);
                    }
                    Ok(Order::Clear { .. }) => {}
                    Err(error) => return Err(Error::new(Kind::Io, "understand the supervisor").because(error)),
                }
            }
        }
    }

    fn start(&self, apps: &[App], number: usize, phase: Phase, metadata_url: Option<&str>) -> Result<Pid, Error> {
        let plan = &self.plan.apps[number];
        let failed = |error: std::io::Error| {
            Error::new(Kind::Io, format!("start a process of app {}", plan.name)).because(error)
        };
        // The app's limits hold for what it is before its program, so that it could not always say itself why it is none.
        let mut failure = None;
        // Until it has become its program, so that it has this memory, it cannot be looked into, as this process cannot.
        let child = sys::lend(|| {
            let entered = self.enter(&apps[number], number, phase);
            let ready = entered.and_then(|()| apps[number].identity.as_ref().map_err(|why| why.clone().into()));
            let error = match ready {
                Ok(identity) => {
                    let steps = self.steps_of(number).collect();
                    let exec = match phase {
                        Phase::PreStart => plan.pre_start.as_deref().unwrap_or_default(),
                        Phase::Main => &plan.exec,
                        Phase::PostStop => plan.post_stop.as_deref().unwrap_or_default(),
                    };
                    let main = phase == Phase::Main;
                    let sockets = self.sockets.iter().filter(|socket| main && socket.app == number);
                    let notify = apps[number].readiness.as_ref().filter(|_| main);
                    let fault = match self.fault {
                        Some(Step::Process { step, .. }) => Some(step),
                        _ => None,
                    };
                    let process = Process {
                        fault,
                        has_keyring: self.plan.apps.len() == 1,
                        app: plan,
                        exec,
                        identity,
                        steps,
                        metadata_url,
                        listening: sockets.map(|socket| socket.name.as_str()).collect(),
                        notify: notify.map(|_| readiness::notify_address(self.plan.uuid, &plan.name)),
                    };
                    process.become_program()
                }
                Err(error) => error,
            };
            let status = match error.kind() {
                Kind::NoProgram => 127,
                Kind::NotExecutable => 126,
                _ => 125,
            };
            failure = Some(error);
            status
        });
        let child = child.map_err(failed)?;
        match failure {
            Some(error) => self.tell(&Report::Failed { app: number, phase, why: Complaint::from(&error) }, &[]),
            None => self.tell_of(child.pid, &Report::Started { app: number, phase }),
        }
        Ok(child.pid)
    }

    /// Into the app's file system, with the app's standard streams.
    fn enter(&self, app: &App, number: usize, phase: Phase) -> Result<(), Error> {
        join_groups(&app.groups)?;
        separate_groups(self.steps_of(number))?;
        sys::enter(app.namespace.as_fd(), namespace::MOUNT)
            .map_err(|e| Error::new(Kind::Io, "enter the app's file system").because(e))?;
        let sockets = self.sockets.iter().filter(|socket| phase == Phase::Main && socket.app == number);
        Process::connect(&self.streams[number], &sockets.collect::<Vec<_>>())
    }

    fn steps_of(&self, number: usize) -> impl Iterator<Item = &ProcessStep> {
        self.steps.iter().filter_map(move |step| match step {
            Step::Process { app, step } if *app == number => Some(step),
            _ => None,
        })
    }
}

/// What is done to the calling process's own namespaces, be they a pod's or a container's.
pub(super) fn carry_out(step: &PodStep) -> std::io::Result<()> {
    match step {
        PodStep::SetHostname { name } => Ok(rustix::system::sethostname(name.as_bytes())?),
        PodStep::SetDomainName { name } => Ok(rustix::system::setdomainname(name.as_bytes())?),
        PodStep::RaiseLoopback => crate::sys::loopback::bring_up(),
        PodStep::SetParameter { key, value } => set_parameter(key, value),
        _ => Err(Errno::INVAL.into()),
    }
}

/// Through the host's procfs: which namespace is meant is decided by who writes.
fn set_parameter(key: &str, value: &str) -> std::io::Result<()> {
    let sys = rustix::fs::open("/proc/sys", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let path = super::parameters::path(key);
    let file = super::inside::open(sys.as_fd(), &path, OFlags::WRONLY, super::inside::Reach::NoLinks)?;
    std::io::Write::write_all(&mut std::fs::File::from(file), value.as_bytes())
}

fn ended(status: WaitStatus) -> Option<End> {
    status.exit_status().map(End::Status).or_else(|| status.terminating_signal().map(End::Signal))
}

/// A directory of the host's.
fn place_for(path: &Path) -> std::io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Seen through the host's procfs, in which this process has a place too.
fn own_namespace(namespace: Namespace) -> std::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(format!("/proc/self/ns/{}", namespace.file()), flags, Mode::empty())?)
}

/// From here on this process has an empty, read-only directory as its root. What it still needs, it has open.
fn leave_host_tree() -> std::io::Result<()> {
    let options = [FsOption::Value("size", "0"), FsOption::Value("mode", "0555")];
    let empty = mount::create("tmpfs", &options, Attributes::MOUNT_ATTR_RDONLY)?;
    // Any directory will do: what stands there afterwards is gone with the old root.
    let place = rustix::fs::open("/proc", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    mount::attach(empty.as_fd(), place.as_fd())?;
    rustix::process::fchdir(&empty)?;
    pivot_root(".", ".")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")?;
    Ok(())
}
