//! Starting a pod's apps on the real system.

use std::collections::{HashMap, VecDeque};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read as _};
use std::mem::ManuallyDrop;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus, waitpid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::real::{Real, sockets_in};
use super::{Context, FreeBsd, Step, System as _};
use crate::executor::complaint::Complaint;
use crate::executor::decided::{self, Moment};
use crate::executor::listening::{self, Listening};
use crate::executor::plan::{AppPlan, Isolation, Metadata, Network, PodPlan, Stream};
use crate::executor::supervise::{End, Event, Launch, Pod, Streams};
use crate::executor::users::{Identity, Otherwise, Rootfs};
use crate::executor::{Error, Kind, Phase, Step as _};
use crate::sys::freebsd::{jail, named, process, queue::Queue};
use crate::sys::signals;

/// How long killed processes may take to be gone before what they hold is taken away all the same.
const REAPING: Duration = Duration::from_secs(5);

/// A pod in its jail.
pub struct JailedPod {
    plan: PodPlan,
    contexts: Vec<Context>,
    /// Whether it has a network for its metadata service to answer in.
    answers: bool,
    jail: i32,
    streams: Vec<Streams>,
    queue: Queue,
    children: HashMap<i32, (usize, Phase)>,
    events: VecDeque<Event>,
    terminal: Option<OwnedFd>,
    sockets: Vec<Listening>,
    limits: Vec<Option<u64>>,
}

impl Launch for FreeBsd<Real> {
    type Pod = JailedPod;

    fn launch(&mut self, plan: &PodPlan, steps: &[Step], mut streams: Vec<Streams>) -> Result<JailedPod, Error> {
        let failed = |error: io::Error| Error::new(Kind::Io, "watch the pod's processes").because(error);
        // Processes whose parent has ended come to this one, so that none is lost.
        process::adopt_strays().map_err(failed)?;
        let name = super::jail::name(plan);
        let jail = self.system.find_jail(&name).map_err(failed)?;
        let jail = jail.ok_or_else(|| Error::new(Kind::Missing, format!("find the jail {name}")))?;
        let contexts = (0..plan.apps.len()).map(|app| Context::among(steps, app).cloned());
        let contexts = contexts.collect::<Result<_, _>>()?;
        let mut terminal = None;
        for (streams, app) in streams.iter_mut().zip(&plan.apps) {
            let wants = [app.stdio.stdin, app.stdio.stdout, app.stdio.stderr].contains(&Stream::Tty);
            if wants && terminal.is_none() {
                let (near, far) = pseudo_terminal().map_err(|error| failed(error.into()))?;
                let again = || rustix::io::fcntl_dupfd_cloexec(&far, 3).map_err(|error| failed(error.into()));
                *streams = Streams { stdin: again()?, stdout: again()?, stderr: again()?, terminal: true };
                terminal = Some(near);
            }
        }
        Ok(JailedPod {
            plan: plan.clone(),
            contexts,
            answers: answers(plan, steps),
            jail,
            streams,
            queue: Queue::new().map_err(failed)?,
            children: HashMap::new(),
            events: self.warnings.drain(..).map(Event::Warning).collect(),
            terminal,
            sockets: sockets(jail, steps)?,
            limits: memory_limits(plan, steps),
        })
    }
}

/// Whether the pod has a network for its metadata service to answer in: the host's, or its own.
pub(crate) fn answers(plan: &PodPlan, steps: &[Step]) -> bool {
    plan.network == Network::Host || steps.iter().any(|step| matches!(step, Step::SetUpNetwork { .. }))
}

/// The sockets that apps are to find open.
fn sockets(jail: i32, steps: &[Step]) -> Result<Vec<Listening>, Error> {
    let mut sockets = Vec::new();
    for step in steps {
        let Step::Listen { listen, on_host, address } = step else { continue };
        let open = || listening::open(listen, address.map(Into::into));
        let opened = if *on_host {
            open()
        } else {
            let made = sockets_in(jail, || Ok(open()?.into_iter().map(|one| one.socket).collect()));
            let named = |socket| Listening { app: listen.app, name: listen.name.clone(), socket };
            made.map(|sockets| sockets.into_iter().map(named).collect())
        };
        sockets.extend(opened.map_err(|error| Error::new(Kind::Busy, step.describe()).because(error))?);
    }
    Ok(sockets)
}

impl Pod for JailedPod {
    fn prepare(&mut self) -> Result<Vec<Event>, Error> {
        // Nothing has happened yet but what was found as the steps were applied.
        Ok(self.events.drain(..).collect())
    }

    fn metadata_listener(&mut self) -> Result<Option<TcpListener>, Error> {
        if self.plan.metadata != Metadata::Own || !self.answers {
            return Ok(None);
        }
        let not = listening::claimed(&self.plan);
        let made = sockets_in(self.jail, || Ok(vec![listening::on_loopback(&not)?]));
        made.map(|made| made.into_iter().next().map(TcpListener::from))
            .map_err(|error| Error::new(Kind::Io, "listen for the metadata service").because(error))
    }

    fn terminal(&mut self) -> Option<OwnedFd> {
        self.terminal.take()
    }

    fn start(&mut self, app: usize, phase: Phase, metadata_url: Option<&str>) -> Result<(), Error> {
        let failed = |error: io::Error| Error::new(Kind::Io, "start a process").because(error);
        let start = Start {
            plan: &self.plan,
            app,
            exec: decided::command(&self.plan.apps[app], phase),
            context: &self.contexts[app],
            otherwise: None,
            jail: self.jail,
            metadata_url,
            sockets: self.sockets.iter().filter(|one| phase == Phase::Main && one.app == app).collect(),
        };
        let (mut read, write) = io::pipe().map_err(failed)?;
        let streams = &self.streams[app];
        let pid = process::fork(|| tell(&start, streams, write.as_fd())).map_err(failed)?;
        drop(write);
        let raw = pid.as_raw_nonzero().get();
        // Ends at exec, which closes the other end, or with the child.
        let mut told = Vec::new();
        read.read_to_end(&mut told).map_err(failed)?;
        match complained(&told) {
            Some(error) => self.events.push_back(Event::Failed { app, phase, error }),
            None => self.events.push_back(Event::Started { app, phase, pid: raw }),
        }
        self.children.insert(raw, (app, phase));
        // One that has ended already is found by `events` all the same.
        let _ = self.queue.watch(raw);
        self.queue.ring().map_err(failed)
    }

    fn signal(&mut self, app: usize, signal: i32) -> Result<(), Error> {
        for (&pid, _) in self.children.iter().filter(|(_, (of, _))| *of == app) {
            let Some(pid) = Pid::from_raw(pid) else { continue };
            match signals::send(pid, signal) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(error) => {
                    return Err(Error::new(Kind::Io, format!("send signal {signal}")).because(io::Error::from(error)));
                }
            }
        }
        Ok(())
    }

    fn clear(&mut self, _: usize) -> Result<(), Error> {
        if self.plan.apps.len() != 1 {
            return Ok(());
        }
        signal_all(self.jail, libc::SIGKILL)
            .map_err(|error| Error::new(Kind::Io, "end what an app has left behind").because(error))
    }

    fn kill(&mut self) {
        // Nobody is started any more who could be handed them, and they keep the jail's network from going.
        self.sockets.clear();
        // Kills what runs inside, at once, strays and all. The steps' undo finds the jail gone.
        let _ = jail::remove(self.jail);
        // Until they are reaped the killed hold the jail, its network and its mounts. They are all ours, strays too.
        let patience = Instant::now() + REAPING;
        loop {
            match waitpid(None, WaitOptions::NOHANG) {
                Ok(Some((pid, _))) => drop(self.children.remove(&pid.as_raw_nonzero().get())),
                Ok(None) if Instant::now() < patience => std::thread::sleep(Duration::from_millis(1)),
                Err(Errno::INTR) => {}
                Ok(None) | Err(_) => break,
            }
        }
        let _ = self.queue.ring();
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }

    fn events(&mut self) -> Result<Vec<Event>, Error> {
        let failed = |error: io::Error| Error::new(Kind::Io, "watch the pod's processes").because(error);
        self.queue.drain().map_err(failed)?;
        while let Some(reaped) = process::reap().map_err(failed)? {
            // Strays that came to this process are reaped and no more.
            let Some((app, phase)) = self.children.remove(&reaped.pid) else { continue };
            let end = match reaped.status.signal() {
                Some(signal) => End::Signal(signal),
                None => End::Status(reaped.status.code().unwrap_or(0)),
            };
            if end == End::Signal(libc::SIGKILL) && self.limits[app].is_some_and(|limit| reaped.most_resident >= limit)
            {
                self.events.push_back(Event::OutOfMemory { app });
            }
            self.events.push_back(Event::Ended { app, phase, end });
        }
        Ok(self.events.drain(..).collect())
    }
}

/// Sends a signal to every process in a jail.
pub(crate) fn signal_all(jail: i32, signal: i32) -> io::Result<()> {
    // Who is in the jail sees what is in it, and nothing else; an open directory would keep it out.
    let child = process::fork(|| {
        process::close_from(0);
        let attached = jail::attach(jail).is_ok();
        if attached {
            signals::send_to_all_seen(signal);
        }
        i32::from(!attached)
    })?;
    waitpid(Some(child), WaitOptions::empty())?;
    Ok(())
}

/// What each app may have resident before its processes are killed, where the kernel sees to it. It tells nobody why it
/// killed one.
fn memory_limits(plan: &PodPlan, steps: &[Step]) -> Vec<Option<u64>> {
    let rules = |step: &Step| matches!(step, Step::AddRules { rules, .. } if rules.iter().any(|rule| rule.starts_with("memoryuse:")));
    let counts = steps.iter().any(rules);
    let limit = |isolator: &Isolation| match isolator {
        Isolation::Memory { limit, .. } => *limit,
        _ => None,
    };
    let of = |app: &AppPlan| app.isolators.iter().chain(&plan.isolators).filter_map(limit).filter(|_| counts).min();
    plan.apps.iter().map(of).collect()
}

/// A terminal of the host's, which shows inside as it is opened there: `/dev/pts` comes with the first.
pub(super) fn pseudo_terminal() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&near)?;
    unlockpt(&near)?;
    let name = ptsname(&near, Vec::new())?;
    let far = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    Ok((near, far))
}

/// In a child: becomes the program, or tells why not and gives the exit status for that.
pub(super) fn tell(start: &Start<'_>, streams: &Streams, over: BorrowedFd<'_>) -> i32 {
    let error = match start.become_program(streams, over) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    let told = serde_json::to_vec(&Complaint::from(&error)).unwrap_or_default();
    // Nobody is there to be told when this fails.
    let _ = rustix::io::write(process::kept().unwrap_or(over), &told);
    match error.kind() {
        Kind::NoProgram => 127,
        Kind::NotExecutable => 126,
        _ => 125,
    }
}

/// What a child told, if it told anything: it became no program.
pub(super) fn complained(told: &[u8]) -> Option<Error> {
    serde_json::from_slice::<Complaint>(told).ok().map(Error::from)
}

pub(super) fn ended(status: WaitStatus) -> End {
    match status.terminating_signal() {
        Some(signal) => End::Signal(signal),
        None => End::Status(status.exit_status().unwrap_or(0)),
    }
}

/// A process on its way to its program.
pub(super) struct Start<'a> {
    pub(super) plan: &'a PodPlan,
    pub(super) app: usize,
    /// The program and its arguments.
    pub(super) exec: &'a [String],
    pub(super) context: &'a Context,
    /// How it differs from the app's own processes.
    pub(super) otherwise: Option<&'a Otherwise>,
    pub(super) jail: i32,
    pub(super) metadata_url: Option<&'a str>,
    /// What it finds open beside its standard streams.
    pub(super) sockets: Vec<&'a Listening>,
}

impl Start<'_> {
    fn become_program(&self, streams: &Streams, tell: BorrowedFd<'_>) -> Result<std::convert::Infallible, Error> {
        let io = |doing: String| move |error: io::Error| Error::new(Kind::Io, doing).because(error);
        let context = self.context;
        for (number, stream) in [&streams.stdin, &streams.stdout, &streams.stderr].into_iter().enumerate() {
            let number = i32::try_from(number).unwrap_or(0);
            process::place(stream.as_fd(), number).map_err(io("connect the standard streams".to_owned()))?;
        }
        if streams.terminal {
            process::take_terminal().map_err(io("take the terminal".to_owned()))?;
        } else {
            rustix::process::setsid().map_err(|error| io("make a session".to_owned())(error.into()))?;
        }
        // An open directory keeps a process out of a jail, and everything else is nobody's business inside.
        let number = listening::above(self.sockets.len());
        // Out of the way of the sockets; it is not to be closed when this fails, as it is what tells so.
        let tell = ManuallyDrop::new(
            rustix::io::fcntl_dupfd_cloexec(tell, number)
                .map_err(|error| io("keep the way to the supervisor".to_owned())(error.into()))?,
        );
        listening::hand_over(&self.sockets).map_err(io("hand the listening sockets over".to_owned()))?;
        process::keep_only(tell.as_fd(), number).map_err(io("close the supervisor's descriptors".to_owned()))?;
        process::set_login_class(&context.login_class)
            .map_err(|error| named("setloginclass", error))
            .map_err(io(format!("set the login class {}", context.login_class)))?;
        jail::attach(self.jail)
            .map_err(|error| named("jail_attach", error))
            .map_err(io(format!("attach to the jail {}", context.jail)))?;
        process::change_root(&context.root)
            .map_err(|error| named("chroot", error))
            .map_err(io(format!("change the root to {}", context.root.display())))?;
        std::env::set_current_dir("/").map_err(io("change to the root".to_owned()))?;
        let who = self.who()?;
        std::env::set_current_dir(&context.working_directory)
            .map_err(|error| decided::no_directory(&context.working_directory).because(error))?;
        process::become_user(who.uid, who.gid, &context.supplementary_gids)
            .map_err(io(format!("become user {} and group {}", who.uid, who.gid)))?;
        rustix::process::umask(Mode::from_raw_mode(0o022));
        process::reset_signals().map_err(io("reset the signals".to_owned()))?;
        if context.no_new_privileges {
            process::forbid_new_privileges().map_err(io("forbid new privileges".to_owned()))?;
        }
        self.execute(&who)
    }

    /// Decided from the rootfs alone, which is this process's root by now (decision 40).
    fn who(&self) -> Result<Identity, Error> {
        let own = with_rootfs(|rootfs| Identity::find(&self.context.user, &self.context.group, rootfs))?;
        let Some(otherwise) = self.otherwise else { return Ok(own) };
        Ok(with_rootfs(|rootfs| otherwise.identity(&own, rootfs))?.unwrap_or(own))
    }

    fn execute(&self, user: &Identity) -> Result<std::convert::Infallible, Error> {
        let names: Vec<_> = self.sockets.iter().map(|socket| socket.name.as_str()).collect();
        let moment = Moment {
            metadata_url: self.metadata_url,
            terminal: rustix::termios::isatty(rustix::stdio::stdout()),
            sockets: &names,
            notify: None,
        };
        let environment = decided::environment(&self.context.environment, user, &moment);
        let exec = self.exec;
        let path = find(exec, decided::program(exec, &environment)?)?;
        let nul = |_| Error::new(Kind::Refused, "execute the program").because("an argument or variable holds a NUL");
        let arguments =
            exec.iter().map(|word| CString::new(word.as_str())).collect::<Result<Vec<_>, _>>().map_err(nul)?;
        let environment = environment.iter().map(|(name, value)| CString::new(format!("{name}={value}")));
        let environment = environment.collect::<Result<Vec<_>, _>>().map_err(nul)?;
        let program = CString::new(path.as_os_str().as_bytes()).map_err(nul)?;
        let error = process::execute(&program, &arguments, &environment);
        let unmarked =
            error.raw_os_error() == Some(libc::ENOEXEC) && self.plan.apps[self.app].os.as_deref() == Some("linux");
        let error = named("execve", error);
        // Of programs without a note of their system the kernel knows by itself FreeBSD's only.
        let error = match unmarked {
            true => io::Error::new(error.kind(), format!("{error}; {}", super::doctor::UNMARKED)),
            false => error,
        };
        Err(decided::not_executed(&path, error))
    }
}

/// Does something with what this process's root says of users.
pub(super) fn with_rootfs<T>(find: impl FnOnce(Rootfs<'_>) -> Result<T, Error>) -> Result<T, Error> {
    let open = |path: &str| {
        // A fifo in the place of the file must not make us wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let failed = |e| Error::new(Kind::Io, format!("read {path} of the rootfs")).because(e);
        let file = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Err(error) => return Err(failed(io::Error::from(error))),
        };
        let is_file = file.metadata().map_err(failed)?.is_file();
        Ok::<_, Error>(is_file.then(|| io::BufReader::new(file)))
    };
    let (mut passwd, mut group) = (open("/etc/passwd")?, open("/etc/group")?);
    let owner = |path: &Path| {
        let about = std::fs::metadata(path);
        about
            .map(|about| (about.uid(), about.gid()))
            .map_err(|error| Error::new(Kind::Missing, format!("find the owner of {}", path.display())).because(error))
    };
    let rootfs = Rootfs {
        passwd: passwd.as_mut().map(|file| file as &mut dyn io::BufRead),
        group: group.as_mut().map(|file| file as &mut dyn io::BufRead),
        owner: &owner,
    };
    find(rootfs)
}

/// The first of the candidates that can be executed; of one, what keeps it from that the kernel says better.
pub(super) fn find(exec: &[String], candidates: Vec<PathBuf>) -> Result<PathBuf, Error> {
    let executable =
        |path: &PathBuf| std::fs::metadata(path).is_ok_and(|about| about.is_file() && about.mode() & 0o111 != 0);
    let sought = !exec.first().is_some_and(|program| program.contains('/'));
    candidates.into_iter().find(|path| !sought || executable(path)).ok_or_else(|| decided::nowhere(exec))
}
