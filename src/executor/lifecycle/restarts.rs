//! Apps that are started again when they have ended.

use std::time::{Duration, Instant};

use super::news::word;
use super::{Life, Phase};
use crate::executor::supervise::{End, Pod};
use crate::pod::status::AppStatus;

/// How long an app waits that is started again: at first, at most, and after how long a life it is at first again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));
const LIVED: Duration = Duration::from_secs(10);

/// An app that may be started again.
#[derive(Clone, Copy, Default)]
pub(super) struct Restarting {
    pub(super) at: Option<Instant>,
    /// How long it waited the last time.
    pause: Option<Duration>,
    /// When its main process was started.
    pub(super) since: Option<Instant>,
}

impl<P: Pod> Life<'_, P> {
    /// The life of an app is over. It begins anew where the plan has it so; what was never started, or cannot be, is not tried again.
    pub(super) fn over(&mut self, app: usize) {
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
    pub(super) fn start_again(&mut self) {
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

    pub(super) fn start_first(&mut self, app: usize) {
        self.start(app, if self.plan.apps[app].pre_start.is_some() { Phase::PreStart } else { Phase::Main });
    }

    /// Nobody is started again any more.
    pub(super) fn end_restarts(&mut self) {
        for (app, (restart, status)) in self.restarts.iter_mut().zip(&mut self.status.apps).enumerate() {
            status.again = None;
            if let (Some(_), Some(end)) = (restart.at.take(), status.main.filter(|end| !end.success())) {
                self.first_failure.get_or_insert((app, Phase::Main, end));
            }
        }
    }
}
