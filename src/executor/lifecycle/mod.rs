//! The supervisor: applies a pod's steps, drives its apps from start to end, and takes back what must not outlive them.

use std::any::Any;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::Mode;
use rustix::io::Errno;

use uuid::Uuid;

mod kept;
mod news;
mod restarts;
mod signals;

use kept::{ROOM, ROOM_OF_APP};
use restarts::Restarting;

use super::journal::{self, Journal};
use super::logs::Logs;
use super::plan::{AppPlan, PodPlan, Stream};
use super::relay::{Input, Outlet, until};
use super::supervise::{End, Event, Launch, Pod};
use super::{Compiled, Error, Kind, Phase, Step};
use crate::diagnostic::visible;
use crate::metadata::{Answering, Offer};
use crate::pod::status::{AppStatus, Status};
use crate::pod::{Part, PodDir};
use crate::sys::background::Leash;
use crate::sys::memory::PageByPage;
use crate::sys::output::Voice;
use crate::sys::signals::{FORWARDED, Watch};
use crate::sys::terminal::{self, Raw};

/// The exit code of an app that was not started for a reason that shells have no code for.
const NOT_STARTED: i32 = 125;

/// After so long it is tried again to write what could not be written.
const AGAIN: Duration = Duration::from_secs(1);

/// A pod in which nothing happens for so long has started.
const SETTLED: Duration = Duration::from_millis(300);

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
        Journal::create(&directory.place(Part::Journal), executor, supervision.root, compiled.steps.len())?;
    journal.inject(supervision.fault);
    journal.apply_all(host, &compiled.steps)?;
    let (mut ending, pod) = match supervise(host, directory, plan, compiled, metadata, supervision, &watch) {
        Ok(ended) => ended,
        Err(error) => {
            // Nothing was started: nothing is to stay.
            return Err(journal::undone(error, journal::undo_all(host, &compiled.steps)));
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
        directory
            .set_aside(Part::Status, room)
            .map_err(|e| Error::new(Kind::Io, "make room for the status").because(e))?;
    }
    let logs = directory.place(Part::Logs);
    let foreground = supervision.foreground;
    let reads = |app: &AppPlan| matches!(app.stdio.stdin, Stream::Stream | Stream::Tty);
    let handed = (!foreground && plan.apps.iter().any(reads)).then(|| directory.make_input()).transpose();
    let handed = handed.map_err(|e| Error::new(Kind::Io, "make the place of the apps' input").because(e))?;
    let (logs, streams, input) =
        Logs::open(plan, &logs, foreground, handed.as_ref(), supervision.log_limit, supervision.voice)?;
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
        awaited: foreground,
        unsaved: false,
        again: None,
    };
    life.happen(warnings);
    life.connect_terminal(foreground, handed)?;
    (0..plan.apps.len()).for_each(|app| life.start_first(app));
    life.watch(watch);
    Ok((life.end(watch), pod))
}

fn now() -> String {
    format!("{:.6}", jiff::Timestamp::now())
}

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
    /// The near end of the pod's terminal, and ours, raw as long as that is shown through it.
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

    /// Shows the pod's terminal through ours, which is raw meanwhile; in the background what is typed is `handed` over.
    fn connect_terminal(&mut self, foreground: bool, handed: Option<OwnedFd>) -> Result<(), Error> {
        let failed = |error: io::Error| Error::new(Kind::Io, "connect the terminal").because(error);
        let Some(near) = self.pod.terminal() else { return Ok(()) };
        let app = self.plan.apps.iter().position(|app| app.stdio.stdout == Stream::Tty).unwrap_or(0);
        self.logs.add_terminal(app, near.try_clone().map_err(failed)?, foreground)?;
        self.input = Some(Input::typed(near.try_clone().map_err(failed)?, handed).map_err(failed)?);
        let raw = if foreground { Raw::new(io::stdin()).map_err(failed)? } else { None };
        self.terminal = Some((near, raw));
        self.resize();
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
        self.tell_ready();
    }

    /// Whoever waits for us waits for all apps to be started, and for those that say so themselves to be ready; it is said once.
    fn tell_ready(&mut self) {
        let unready = |(app, status): (&AppPlan, &AppStatus)| app.notifies && status.ready.is_none();
        if !self.came_up || self.waiting.contains(&true) || self.plan.apps.iter().zip(&self.status.apps).any(unready) {
            return;
        }
        self.notify.take().iter().for_each(crate::sys::notify::ready);
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
}

/// Says what failed to whoever watches. A supervisor goes on when nobody does.
pub(super) fn tell(voice: Voice, error: &Error) {
    let words = format!("failed to {}", crate::error::chain(error));
    let _ = writeln!(crate::sys::output::stderr(), "{}", voice(&visible::line(&words)));
}
