//! What the pod tells of its apps.

use std::time::{Duration, Instant};

use super::{Life, Phase, now};
use crate::executor::plan::Isolation;
use crate::executor::supervise::{End, Event, Pod};
use crate::pod::status::Cause;

/// What an app says about itself as often as it likes is written down no more often than this.
const SAYING: Duration = Duration::from_millis(200);

impl<P: Pod> Life<'_, P> {
    pub(super) fn happen(&mut self, events: Vec<Event>) {
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
                        self.end_together();
                    }
                }
                Event::Ended { app, phase, end } => self.ended(app, phase, end),
                Event::Notified { app, text } => self.notified(app, &text),
                Event::Warning(text) => self.logs.tell(&format!("warning: {text}")),
                Event::Trouble(error) => {
                    self.trouble(&error);
                    self.unsaid.get_or_insert_with(|| Instant::now() + SAYING);
                }
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

    /// Where the pod is killed whole for lack of memory, the others go with the one that was.
    fn end_together(&mut self) {
        if !self.plan.isolators.iter().any(|one| matches!(one, Isolation::OomGroup { value: true })) {
            return;
        }
        self.end_restarts();
        for app in 0..self.running.len() {
            if self.running[app].is_some() {
                self.status.apps[app].cause = Some(Cause::Oom);
            }
        }
        self.stopping = Some(Instant::now());
    }

    /// What an app says about itself: `READY=1` once, `STATUS=` as often as it likes.
    pub(super) fn notified(&mut self, app: usize, text: &str) {
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
        self.tell_ready();
    }

    pub(super) fn record(&mut self, app: usize, phase: Phase, end: End) {
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

    pub(super) fn ended(&mut self, app: usize, phase: Phase, end: End) {
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
}

fn phase_word(phase: Phase) -> &'static str {
    match phase {
        Phase::PreStart => "pre-start",
        Phase::Main => "main",
        Phase::PostStop => "post-stop",
    }
}

pub(super) fn word(end: End) -> String {
    match end {
        End::Status(status) => format!("exit status {status}"),
        End::Signal(signal) => format!("signal {signal}"),
    }
}
