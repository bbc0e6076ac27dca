//! The supervisor: applies a pod's steps, drives its apps from start to end, and takes back what must not outlive them.

use std::any::Any;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::Mode;
use rustix::io::Errno;

use serde::Serialize;
use uuid::Uuid;

use super::journal::{self, Journal};
use super::logs::Logs;
use super::plan::{AppPlan, PodPlan, Stream};
use super::relay::{Input, Outlet, until};
use super::supervise::{End, Event, Launch, Pod};
use super::{Compiled, Error, Kind, Phase, Step};
use crate::diagnostic::visible;
use crate::metadata::{Answering, Offer};
use crate::pod::PodDir;
use crate::pod::status::{AppStatus, Cause, Status};
use crate::sys::background::Leash;
use crate::sys::memory::PageByPage;
use crate::sys::output::Voice;
use crate::sys::signals::{self, FORWARDED, Watch};
use crate::sys::terminal::{self, Raw};

/// The exit code of an app that was not started for a reason that shells have no code for.
const NOT_STARTED: i32 = 125;

/// After so long it is tried again to write what could not be written.
const AGAIN: Duration = Duration::from_secs(1);

/// So long somebody is kept waiting for the end of a pod to be written down.
const PATIENCE: Duration = Duration::from_secs(10);

/// A pod in which nothing happens for so long has started.
const SETTLED: Duration = Duration::from_millis(300);

/// How long an app waits that is started again: at first, at most, and after how long a life it is at first again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));
const LIVED: Duration = Duration::from_secs(10);

/// What an app says about itself as often as it likes is written down no more often than this.
const SAYING: Duration = Duration::from_millis(200);

/// How a pod is supervised.
#[derive(Debug)]
pub struct Supervision {
    /// Whether what apps say is passed through.
    pub foreground: bool,
    /// How long apps that are asked to stop may take before they are killed.
    pub grace: Duration,
    /// The most bytes that the log of an app has before it is moved aside.
    pub log_limit: u64,
    /// What goes wrong on purpose.
    pub fault: journal::Fault,
    /// Let go of when every app is started or has failed to be, unless all have failed.
    pub leash: Option<Leash>,
    /// Whether the pod is removed when it has ended, so that nobody will ask how.
    pub passing: bool,
    /// The root that the pod belongs to.
    pub root: Option<Uuid>,
    /// How what is told reads.
    pub voice: Voice,
    /// The socket of whoever wants to hear that the apps are ready, as sd_notify(3) has it.
    pub notify: Option<OsString>,
}

impl Default for Supervision {
    fn default() -> Self {
        Self {
            foreground: true,
            grace: Duration::from_secs(10),
            log_limit: super::logs::LIMIT,
            fault: journal::Fault::None,
            leash: None,
            passing: false,
            root: None,
            voice: str::to_owned,
            notify: None,
        }
    }
}

/// How a pod ended.
#[derive(Debug)]
pub struct Ending {
    /// How its apps ended.
    pub status: Status,
    /// The error that kept the first failing app from being started, where that is how it failed and nobody was told yet.
    pub failure: Option<Error>,
    /// The exit code of the first app that failed, else 0 (decision 43).
    pub code: i32,
    /// Dropping it waits for the end of what the system still takes down of the pod.
    pub remains: Option<Remains>,
}

/// What is left of a killed pod for the moment that its end takes.
#[derive(Debug)]
pub struct Remains(#[expect(dead_code, reason = "held for what dropping it does")] Box<dyn Any>);

/// Runs the pod in `directory` until all its apps have ended. From the start of the first app on nothing that fails undoes the
/// pod: it is told, counted in its status, and tried again where that can help. `metadata` is asked once, when the pod is being set up. The
/// caller has one thread.
///
/// # Errors
/// What kept the pod from being started: everything is undone then, but for the directory itself.
pub fn run<H: Launch>(
    host: &mut H,
    directory: &PodDir,
    plan: &PodPlan,
    compiled: &Compiled<H::Step>,
    metadata: impl FnOnce() -> Result<Option<Offer>, Error>,
    supervision: Supervision,
    executor: &str,
) -> Result<Ending, Error> {
    let voice = supervision.voice;
    let watch = Watch::new(&FORWARDED).map_err(|e| Error::new(Kind::Io, "watch for signals").because(e))?;
    // What a pod finds is made the same whoever starts it.
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let mut journal =
        Journal::create(&directory.path().join("journal"), executor, supervision.root, compiled.steps.len())?;
    journal.inject(supervision.fault);
    journal.apply_all(host, &compiled.steps)?;
    let (mut ending, pod) = match supervise(host, directory, plan, compiled, metadata, supervision, &watch) {
        Ok(ended) => ended,
        Err(error) => {
            // Nothing was started: nothing is to stay.
            journal::undo_all(host, &compiled.steps)?;
            return Err(error);
        }
    };
    let stays = |step: &&H::Step| !step.outlives_apps() && !step.leaves_nothing();
    let passing: Vec<_> = compiled.steps.iter().filter(stays).cloned().collect();
    if passing.is_empty() {
        // The system takes its namespaces down while the caller goes on.
        ending.remains = Some(Remains(Box::new(pod)));
    } else {
        drop(pod);
        // The journal keeps what stays for whoever collects the pod.
        if let Err(error) = journal::undo_all(host, &passing) {
            tell(voice, &error);
        }
    }
    Ok(ending)
}

fn supervise<H: Launch>(
    host: &mut H,
    directory: &PodDir,
    plan: &PodPlan,
    compiled: &Compiled<H::Step>,
    metadata: impl FnOnce() -> Result<Option<Offer>, Error>,
    supervision: Supervision,
    watch: &Watch,
) -> Result<(Ending, H::Pod), Error> {
    // Where a rename can make two files change places.
    if cfg!(target_os = "linux") && !supervision.passing {
        let room = ROOM + plan.apps.len() * ROOM_OF_APP;
        directory.set_aside("status", room).map_err(|e| Error::new(Kind::Io, "make room for the status").because(e))?;
    }
    let logs = directory.path().join("logs");
    let (logs, streams, input) =
        Logs::open(plan, &logs, supervision.foreground, supervision.log_limit, supervision.voice)?;
    let mut pod = host.launch(plan, &compiled.steps, streams)?;
    let unoffered = |e| Error::new(Kind::Io, "offer the metadata service").because(e);
    // While the pod's first process sets it up.
    let offer = metadata()?.map(Offer::prepare).transpose().map_err(unoffered)?;
    let warnings = pod.prepare()?;
    let listener = pod.metadata_listener()?;
    let mut url = None;
    // Questions are answered until this is dropped, which is after the last app has ended.
    let mut answering = None;
    if let Some(offer) = offer {
        let (known, begun) = offer.begin(listener).map_err(unoffered)?;
        (url, answering) = (Some(known), Some(begun));
    }
    let apps = plan.apps.iter().map(|app| AppStatus { name: app.name.clone(), ..AppStatus::default() }).collect();
    let status = Status { started: Some(now()), apps, ..Status::default() };
    let mut life = Life {
        plan,
        directory,
        pod: &mut pod,
        logs,
        url,
        answering,
        pages: None,
        status,
        running: vec![None; plan.apps.len()],
        waiting: vec![true; plan.apps.len()],
        restarts: vec![Restarting::default(); plan.apps.len()],
        came_up: false,
        leash: supervision.leash,
        notify: supervision.notify,
        input,
        terminal: None,
        terminals: terminal::own(),
        unsaid: None,
        first_failure: None,
        failures: plan.apps.iter().map(|_| None).collect(),
        stopping: None,
        grace: supervision.grace,
        passing: supervision.passing,
        // Somebody waits for it to end.
        awaited: supervision.foreground,
        unsaved: false,
        again: None,
    };
    life.happen(warnings);
    life.connect_terminal(supervision.foreground)?;
    (0..plan.apps.len()).for_each(|app| life.start_first(app));
    life.watch(watch);
    Ok((life.end(watch), pod))
}

fn now() -> String {
    format!("{:.6}", jiff::Timestamp::now())
}

/// What the file `status` says.
#[derive(Serialize)]
struct Kept<'a> {
    #[serde(flatten)]
    status: &'a Status,
    /// For commands that are run in the pod later; its token is the pod's own secret.
    metadata_url: Option<&'a str>,
    /// Whoever has the pod in hand, should the lock not say so.
    supervisor: u32,
    /// How many seconds apps have that are asked to stop, where nobody says otherwise.
    grace: u64,
}

/// What is set aside for a status, in bytes: an empty one's, and an app's in it.
const ROOM: usize = 4 << 10;
const ROOM_OF_APP: usize = 2 << 10;

struct Life<'a, P: Pod> {
    plan: &'a PodPlan,
    directory: &'a PodDir,
    pod: &'a mut P,
    logs: Logs,
    url: Option<String>,
    answering: Option<Answering>,
    /// Once the pod has started, after which this process makes no children but to become other programs.
    pages: Option<PageByPage>,
    status: Status,
    /// What runs of each app.
    running: Vec<Option<Phase>>,
    /// Which apps have neither been started nor failed to be.
    waiting: Vec<bool>,
    /// When apps are started again that have ended.
    restarts: Vec<Restarting>,
    /// Whether the main process of any app was started.
    came_up: bool,
    leash: Option<Leash>,
    notify: Option<OsString>,
    /// What we pass on of our own input.
    input: Option<Input>,
    /// The near end of the pod's terminal that is shown through ours, and ours, raw as long as it is.
    terminal: Option<(OwnedFd, Option<Raw>)>,
    /// Which of our streams were terminals at first.
    terminals: [bool; 3],
    /// When it is time to write down what an app has said about itself.
    unsaid: Option<Instant>,
    /// The first app that failed, and how.
    first_failure: Option<(usize, Phase, End)>,
    failures: Vec<Option<Error>>,
    /// When patience ends.
    stopping: Option<Instant>,
    grace: Duration,
    passing: bool,
    awaited: bool,
    /// Whether the status on the disk is an old one.
    unsaved: bool,
    /// When to try again to write what could not be written.
    again: Option<Instant>,
}

/// An app that may be started again.
#[derive(Clone, Copy, Default)]
struct Restarting {
    at: Option<Instant>,
    /// How long it waited the last time.
    pause: Option<Duration>,
    /// When its main process was started.
    since: Option<Instant>,
}

/// What has come for a supervisor.
#[derive(Default)]
struct Came {
    nothing: bool,
    from_pod: bool,
    asked: bool,
    input: bool,
    sources: Vec<usize>,
}

impl<P: Pod> Life<'_, P> {
    fn start(&mut self, app: usize, phase: Phase) {
        self.running[app] = Some(phase);
        if let Err(error) = self.pod.start(app, phase, self.url.as_deref()) {
            let end = End::Status(NOT_STARTED);
            self.happen(vec![Event::Failed { app, phase, error }, Event::Ended { app, phase, end }]);
        }
    }

    /// Something failed that undoes nothing.
    fn trouble(&mut self, error: &dyn std::error::Error) {
        let words = format!("failed to {}", crate::error::chain(error));
        self.logs.tell(&words);
        self.status.troubles.count += 1;
        self.status.troubles.last = Some(words);
    }

    /// Shows the pod's terminal through ours, which is raw meanwhile.
    fn connect_terminal(&mut self, foreground: bool) -> Result<(), Error> {
        let failed = |error: io::Error| Error::new(Kind::Io, "connect the terminal").because(error);
        let Some(near) = self.pod.terminal() else { return Ok(()) };
        let app = self.plan.apps.iter().position(|app| app.stdio.stdout == Stream::Tty).unwrap_or(0);
        self.logs.add_terminal(app, near.try_clone().map_err(failed)?, foreground)?;
        if !foreground {
            return Ok(());
        }
        terminal::copy_size(io::stdin(), &near);
        self.input = Some(Input::typed(near.try_clone().map_err(failed)?).map_err(failed)?);
        self.terminal = Some((near, Raw::new(io::stdin()).map_err(failed)?));
        Ok(())
    }

    /// Lets go of whoever waits for the apps to be started; not when none was: that they learn by the end of this process.
    fn started(&mut self, app: usize) {
        self.waiting[app] = false;
        if !self.waiting.contains(&true)
            && self.came_up
            && let Some(leash) = self.leash.take()
        {
            leash.let_go();
        }
    }

    fn save(&mut self) {
        let (supervisor, grace) = (std::process::id(), self.grace.as_secs());
        let kept = Kept { status: &self.status, metadata_url: self.url.as_deref(), supervisor, grace };
        let saved = self.directory.write_json_somehow("status", &kept);
        let before = std::mem::replace(&mut self.unsaved, saved.is_err());
        if let Err(error) = saved {
            self.again.get_or_insert_with(|| Instant::now() + AGAIN);
            if !before {
                self.trouble(&error);
            }
        }
    }

    /// Tells of logs that cannot be written.
    fn look_after_logs(&mut self) {
        let troubles = self.logs.troubles();
        if !troubles.is_empty() {
            troubles.iter().for_each(|error| self.trouble(error));
            self.again.get_or_insert_with(|| Instant::now() + AGAIN);
            self.save();
        }
    }

    /// Tries again to write what could not be written, when it is time.
    fn catch_up(&mut self) {
        if self.again.take_if(|again| *again <= Instant::now()).is_none() {
            return;
        }
        if !self.logs.catch_up() {
            self.again = Some(Instant::now() + AGAIN);
        }
        if self.unsaved {
            self.save();
        }
    }

    /// Somebody asks for the first time.
    fn asked(&mut self) -> Result<(), Error> {
        if let Some(answering) = self.answering.take() {
            // From here on the pod's apps have a say in how much of this program is needed.
            self.pages.get_or_insert_with(PageByPage::begin);
            let asked = answering.asked();
            self.answering = Some(asked.map_err(|e| Error::new(Kind::Io, "offer the metadata service").because(e))?);
        }
        Ok(())
    }

    fn alive(&self) -> bool {
        self.running.iter().any(Option::is_some) || self.restarts.iter().any(|restart| restart.at.is_some())
    }

    /// The life of an app is over. It begins anew where the plan has it so; what was never started, or cannot be, is not tried again.
    fn over(&mut self, app: usize) {
        let status = &mut self.status.apps[app];
        let end = [status.pre_start, status.main].into_iter().flatten().find(|end| !end.success());
        let wanted = self.plan.restart.wants(end.is_some(), status.restarts);
        if !wanted || self.stopping.is_some() || status.started.is_none() || self.failures[app].is_some() {
            return;
        }
        let restart = &mut self.restarts[app];
        let lived = restart.since.is_some_and(|since| since.elapsed() >= LIVED);
        let longer = restart.pause.filter(|_| !lived).map(|pause| (pause * 2).min(PAUSES.1));
        let pause = longer.unwrap_or(PAUSES.0);
        (restart.at, restart.pause, restart.since) = (Some(Instant::now() + pause), Some(pause), None);
        status.again = jiff::Timestamp::now().checked_add(pause).ok().map(|at| format!("{at:.6}"));
        // What counts is how it ends for the last time.
        self.first_failure.take_if(|(failed, ..)| *failed == app);
        let (name, how) = (&self.plan.apps[app].name, end.unwrap_or(End::Status(0)));
        self.logs.tell(&format!("app {name} has ended: {}; it is started again in {pause:?}", word(how)));
    }

    /// Starts those again whose time has come.
    fn start_again(&mut self) {
        for app in 0..self.restarts.len() {
            if self.restarts[app].at.take_if(|at| *at <= Instant::now()).is_none() {
                continue;
            }
            if let Err(error) = self.pod.clear(app) {
                self.trouble(&error);
            }
            let status = &mut self.status.apps[app];
            let previous = [status.pre_start, status.main].into_iter().flatten().find(|end| !end.success());
            *status = AppStatus {
                name: std::mem::take(&mut status.name),
                started: status.started.take(),
                restarts: status.restarts + 1,
                previous: previous.or(status.main),
                ..AppStatus::default()
            };
            self.start_first(app);
        }
    }

    fn start_first(&mut self, app: usize) {
        self.start(app, if self.plan.apps[app].pre_start.is_some() { Phase::PreStart } else { Phase::Main });
    }

    /// Nobody is started again any more.
    fn end_restarts(&mut self) {
        for (app, (restart, status)) in self.restarts.iter_mut().zip(&mut self.status.apps).enumerate() {
            status.again = None;
            if let (Some(_), Some(end)) = (restart.at.take(), status.main.filter(|end| !end.success())) {
                self.first_failure.get_or_insert((app, Phase::Main, end));
            }
        }
    }

    /// Until no app is alive. Whoever talks or asks without end is heard in turn, and delays nothing else.
    fn watch(&mut self, watch: &Watch) {
        let mut settled = Some(Instant::now() + SETTLED);
        if self.answering.as_ref().is_some_and(Answering::is_eager)
            && let Err(error) = self.asked()
        {
            self.trouble(&error);
        }
        while self.alive() {
            self.catch_up();
            self.start_again();
            let came = self.wait(watch, settled).unwrap_or_else(|error| self.not_told_again(&error));
            while let Some(signal) = watch.next() {
                self.interrupted(signal);
            }
            let now = Instant::now();
            if self.stopping.is_some_and(|end| end <= now) {
                self.kill_all();
            }
            if came.nothing && settled.is_some_and(|end| end <= now) {
                settled = None;
                // What was needed to start the pod only is not kept.
                self.pages.get_or_insert_with(PageByPage::begin);
            } else if settled.is_some() && !came.nothing {
                settled = Some(now + SETTLED);
            }
            if came.from_pod {
                match self.pod.events() {
                    Ok(events) => self.happen(events),
                    Err(error) => drop(self.not_told_again(&error)),
                }
            }
            if self.unsaid.is_some_and(|time| time <= now) {
                self.unsaid = None;
                self.save();
            }
            if came.asked
                && let Err(error) = self.asked()
            {
                self.trouble(&error);
            }
            for source in came.sources {
                if let Err(error) = self.logs.pump(source) {
                    self.trouble(&error);
                }
            }
            self.look_after_logs();
            for app in self.logs.write_on() {
                self.send(app, libc::SIGHUP);
            }
            if let Some(input) = &mut self.input {
                input.go_on(came.input);
            }
        }
    }

    /// A failure that may not pass is not to be told a thousand times a second.
    fn not_told_again(&mut self, error: &Error) -> Came {
        self.trouble(error);
        std::thread::sleep(AGAIN);
        Came::default()
    }

    fn send(&mut self, app: usize, signal: i32) {
        if let Err(error) = self.pod.signal(app, signal) {
            self.trouble(&error);
        }
    }

    /// Waits until something has come, or it is time for something.
    fn wait(&self, watch: &Watch, settled: Option<Instant>) -> Result<Came, Error> {
        let outlets = self.logs.outlets();
        let input = self.input.as_ref();
        let times = [self.stopping, settled, self.unsaid, self.again, input.and_then(Input::wakes)];
        let times = times.into_iter().chain(outlets.iter().map(Outlet::wakes));
        let times = times.chain(self.restarts.iter().map(|restart| restart.at));
        let descriptor = self.pod.descriptor();
        let mut waiting = vec![PollFd::new(&descriptor, PollFlags::IN), PollFd::new(watch, PollFlags::IN)];
        waiting.push(match self.answering.as_ref().and_then(Answering::unasked) {
            Some(listener) => PollFd::new(listener, PollFlags::IN),
            None => PollFd::new(watch, PollFlags::empty()),
        });
        let typing = input.and_then(Input::waits_for);
        waiting.push(match typing {
            Some((stream, flags)) => PollFd::from_borrowed_fd(stream, flags),
            None => PollFd::new(watch, PollFlags::empty()),
        });
        let outlets = outlets.iter().filter_map(Outlet::waits_for);
        waiting.extend(outlets.map(|(stream, flags)| PollFd::from_borrowed_fd(stream, flags)));
        let first = waiting.len();
        let sources: Vec<_> = self.logs.readable().collect();
        waiting.extend(sources.iter().map(|(_, stream)| PollFd::from_borrowed_fd(*stream, PollFlags::IN)));
        match poll(&mut waiting, until(times).as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(Error::new(Kind::Io, "wait for the pod").because(io::Error::from(error))),
        }
        let ready = |number: usize| !waiting[number].revents().is_empty();
        let said = sources.iter().enumerate().filter(|(number, _)| ready(first + number));
        Ok(Came {
            nothing: waiting.iter().all(|one| one.revents().is_empty()),
            from_pod: ready(0),
            asked: self.answering.as_ref().and_then(Answering::unasked).is_some() && ready(2),
            input: typing.is_some() && ready(3),
            sources: said.map(|(_, (source, _))| *source).collect(),
        })
    }

    /// What a signal to the supervisor means, as `jetpack run --help` has it.
    fn interrupted(&mut self, signal: i32) {
        match signal {
            libc::SIGTERM => self.stop(libc::SIGTERM),
            // Who asks again does not want to wait.
            libc::SIGINT if self.stopping.is_some() => self.kill_all(),
            libc::SIGINT => self.stop(libc::SIGINT),
            libc::SIGHUP if self.has_lost_its_terminal() => self.stop(libc::SIGHUP),
            libc::SIGWINCH if self.terminal.is_some() => {
                if let Some((near, _)) = &self.terminal {
                    terminal::copy_size(io::stdin(), near);
                }
            }
            // The window has another size, which is nothing to who does not see it; to some servers it is a word of command.
            libc::SIGWINCH if self.terminals.contains(&true) => {}
            libc::SIGCONT => {
                // Whoever stopped us has had the terminal meanwhile.
                if let Some((_, raw)) = &mut self.terminal {
                    match raw {
                        Some(raw) => raw.again(),
                        None => *raw = Raw::new(io::stdin()).ok().flatten(),
                    }
                }
                self.pass_on(signal)
            }
            _ => self.pass_on(signal),
        }
    }

    fn pass_on(&mut self, signal: i32) {
        for app in 0..self.running.len() {
            if self.running[app] == Some(Phase::Main) {
                self.send(app, signal);
            }
        }
    }

    /// What was a terminal of ours and is none any more has been hung up.
    fn has_lost_its_terminal(&self) -> bool {
        self.terminals.into_iter().zip(terminal::own()).any(|(before, now)| before && !now)
    }

    /// Asks the apps to stop, by `signal` the first time. Each time brings its own time; the shortest counts.
    fn stop(&mut self, signal: i32) {
        let grace = self.directory.read_json("grace").map_or(self.grace, Duration::from_secs);
        let end = Instant::now() + grace;
        if let Some(until) = &mut self.stopping {
            *until = (*until).min(end);
            return;
        }
        self.stopping = Some(end);
        self.end_restarts();
        for app in 0..self.running.len() {
            if matches!(self.running[app], Some(Phase::PreStart | Phase::Main)) {
                self.status.apps[app].stopped = true;
                // An interactive shell heeds the loss of its terminal only.
                let shell = self.plan.apps[app].stdio.stdin == Stream::Tty;
                let signal = match signal {
                    libc::SIGHUP if shell => signal,
                    libc::SIGHUP | libc::SIGTERM => {
                        let own = self.plan.apps[app].stop_signal.as_deref().and_then(signals::named);
                        own.unwrap_or(libc::SIGTERM)
                    }
                    signal => signal,
                };
                // Without time none is asked.
                if !grace.is_zero() {
                    self.send(app, signal);
                }
            }
        }
        self.save();
    }

    fn kill_all(&mut self) {
        self.end_restarts();
        self.answering = None;
        self.pod.kill();
        self.happen(vec![Event::Gone]);
    }

    fn happen(&mut self, events: Vec<Event>) {
        for event in events {
            let news_of = match &event {
                Event::Started { app, phase, .. } => {
                    self.came_up |= *phase == Phase::Main;
                    (*phase == Phase::Main).then_some(*app)
                }
                Event::Ended { app, .. } => Some(*app),
                _ => None,
            };
            match event {
                Event::Started { app, phase: Phase::Main, pid } => {
                    self.status.apps[app].pid = Some(pid);
                    self.status.apps[app].started = Some(now());
                    self.restarts[app].since = Some(Instant::now());
                    self.save();
                }
                Event::Started { .. } => self.save(),
                Event::Failed { app, phase, error } => {
                    let name = &self.plan.apps[app].name;
                    let words = format!("failed to {}", crate::error::chain(&error));
                    if phase != Phase::Main {
                        self.logs.tell(&format!("app {name}: {}: {words}", phase_word(phase)));
                    } else if self.plan.apps.len() > 1 {
                        // Others may run for ever: it is said now, and not when they have ended.
                        self.logs.tell(&format!("app {name}: {words}"));
                    }
                    self.status.apps[app].failure = Some(words);
                    if phase != Phase::PostStop {
                        self.failures[app] = Some(error);
                    }
                }
                Event::OutOfMemory { app } => {
                    // Whoever is stopped is killed by us.
                    if !self.status.apps[app].stopped {
                        self.status.apps[app].cause = Some(Cause::Oom);
                        self.logs.tell(&format!("app {}: killed for lack of memory", self.plan.apps[app].name));
                    }
                }
                Event::Ended { app, phase, end } => self.ended(app, phase, end),
                Event::Notified { app, text } => self.notified(app, &text),
                Event::Warning(text) => self.logs.tell(&format!("warning: {text}")),
                Event::Trouble(error) => self.trouble(&error),
                Event::Gone => {
                    self.end_restarts();
                    for app in 0..self.running.len() {
                        if let Some(phase) = self.running[app] {
                            let end = End::Signal(libc::SIGKILL);
                            self.record(app, phase, end);
                            self.running[app] = None;
                        }
                    }
                    self.save();
                }
            }
            // Whoever is let go of may ask for the status.
            if let Some(app) = news_of {
                // One whose pre-start handler has ended well is still on its way.
                if self.status.apps[app].started.is_some() || self.running[app].is_none() {
                    self.started(app);
                }
            }
        }
    }

    /// What an app says about itself: `READY=1` once, `STATUS=` as often as it likes.
    fn notified(&mut self, app: usize, text: &str) {
        let before = self.status.apps[app].clone();
        for line in text.lines() {
            match line.split_once('=') {
                Some(("READY", "1")) => {
                    self.status.apps[app].ready.get_or_insert_with(now);
                }
                Some(("STATUS", words)) => self.status.apps[app].said = Some(words.to_owned()),
                _ => {}
            }
        }
        if self.status.apps[app] == before {
            return;
        }
        // That it is ready is news, and whoever waits for us waits for it.
        if self.status.apps[app].ready == before.ready {
            self.unsaid.get_or_insert_with(|| Instant::now() + SAYING);
            return;
        }
        self.save();
        let unready = |(app, status): (&AppPlan, &AppStatus)| app.notifies && status.ready.is_none();
        if before.ready.is_none() && !self.plan.apps.iter().zip(&self.status.apps).any(unready) {
            // Whoever waits for us waits for the apps.
            self.notify.iter().for_each(crate::sys::notify::ready);
        }
    }

    fn record(&mut self, app: usize, phase: Phase, end: End) {
        let status = &mut self.status.apps[app];
        match phase {
            Phase::PreStart => status.pre_start = Some(end),
            Phase::Main => {
                status.main = Some(end);
                status.ended = Some(now());
                status.pid = None;
            }
            Phase::PostStop => status.post_stop = Some(end),
        }
        if phase != Phase::PostStop && !end.success() && self.first_failure.is_none() {
            self.first_failure = Some((app, phase, end));
        }
    }

    fn ended(&mut self, app: usize, phase: Phase, end: End) {
        // Late news of what was killed already.
        if self.running[app] != Some(phase) {
            return;
        }
        self.record(app, phase, end);
        self.running[app] = None;
        let plan = &self.plan.apps[app];
        match phase {
            Phase::PreStart if end.success() && self.stopping.is_none() => self.start(app, Phase::Main),
            // A main process that never was one has not ended (decision 42).
            Phase::Main if plan.post_stop.is_some() && self.failures[app].is_none() => {
                self.start(app, Phase::PostStop);
            }
            // One that could not be started at all was told of when it failed.
            Phase::PreStart if !end.success() && self.stopping.is_none() && self.failures[app].is_none() => {
                self.logs.tell(&format!(
                    "app {} is not started: its pre-start handler failed: {}",
                    plan.name,
                    word(end)
                ));
            }
            Phase::PostStop if !end.success() => {
                self.logs.tell(&format!("warning: app {}: its post-stop handler failed: {}", plan.name, word(end)));
            }
            _ => {}
        }
        if self.running[app].is_none() {
            self.over(app);
        }
        // The last word is said at the end.
        if self.alive() {
            self.save();
        }
    }

    fn end(mut self, watch: &Watch) -> Ending {
        // Nobody is left to ask. A socket in the pod's network keeps FreeBSD from taking that down.
        self.answering = None;
        // Whatever apps left running ends with the pod, and what it has said is all there is.
        self.pod.kill();
        if let Err(error) = self.logs.finish(watch) {
            self.trouble(&error);
        }
        self.look_after_logs();
        let (failure, code) = match self.first_failure {
            // Its program was not even looked for (decision 42).
            Some((app, Phase::PreStart, _)) if !self.status.apps[app].stopped => (None, NOT_STARTED),
            Some((_, Phase::Main, end)) if self.plan.apps.len() > 1 => {
                // Said when it failed.
                (None, end.code())
            }
            Some((app, _, end)) => (self.failures[app].take(), end.code()),
            None => (None, 0),
        };
        self.status.ended = Some(now());
        self.status.exit_code = Some(code);
        if !self.passing {
            self.save();
            self.save_at_last(watch);
        }
        Ending { status: self.status, failure, code, remains: None }
    }

    /// Until how the pod ended is written down. Somebody who waits is let go of after a while, and so is an end of which only
    /// the log's is missing; who is told to end ends.
    fn save_at_last(&mut self, watch: &Watch) {
        let awaited = self.awaited || self.leash.is_some() || self.stopping.is_some();
        let until = Instant::now() + PATIENCE;
        while self.again.is_some() && (self.unsaved && !awaited || Instant::now() < until) {
            let second = Timespec { tv_sec: AGAIN.as_secs().try_into().unwrap_or(1), tv_nsec: 0 };
            // Whatever it says, it is looked again.
            let _ = poll(&mut [PollFd::new(watch, PollFlags::IN)], Some(&second));
            while let Some(signal) = watch.next() {
                if signal != libc::SIGWINCH {
                    return;
                }
            }
            self.catch_up();
        }
        if !self.logs.catch_up() {
            self.trouble(&Error::new(Kind::Io, "write what the apps said last: it is lost"));
            self.save();
        }
    }
}

/// Says what failed to whoever watches. A supervisor goes on when nobody does.
pub(super) fn tell(voice: Voice, error: &Error) {
    let words = format!("failed to {}", crate::error::chain(error));
    let _ = writeln!(crate::sys::output::stderr(), "{}", voice(&visible::line(&words)));
}

fn phase_word(phase: Phase) -> &'static str {
    match phase {
        Phase::PreStart => "pre-start",
        Phase::Main => "main",
        Phase::PostStop => "post-stop",
    }
}

fn word(end: End) -> String {
    match end {
        End::Status(status) => format!("exit status {status}"),
        End::Signal(signal) => format!("signal {signal}"),
    }
}
