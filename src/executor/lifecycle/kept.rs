//! What is written down of a pod: its status and logs, tried again where they cannot be written, to the end.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use super::{AGAIN, Ending, Error, Kind, Life, NOT_STARTED, Phase, now};
use crate::executor::supervise::Pod;
use crate::pod::Part;
use crate::pod::status::Status;
use crate::sys::signals::Watch;

/// So long somebody is kept waiting for the end of a pod to be written down.
const PATIENCE: Duration = Duration::from_secs(10);

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
pub(super) const ROOM: usize = 4 << 10;
pub(super) const ROOM_OF_APP: usize = 2 << 10;

impl<P: Pod> Life<'_, P> {
    /// Something failed that undoes nothing.
    pub(super) fn trouble(&mut self, error: &dyn std::error::Error) {
        let words = format!("failed to {}", crate::error::chain(error));
        self.logs.tell(&words);
        self.status.troubles.count += 1;
        self.status.troubles.last = Some(words);
    }

    pub(super) fn save(&mut self) {
        let (supervisor, grace) = (std::process::id(), self.grace.as_secs());
        let kept = Kept { status: &self.status, metadata_url: self.url.as_deref(), supervisor, grace };
        let saved = self.directory.write_json_somehow(Part::Status, &kept);
        let before = std::mem::replace(&mut self.unsaved, saved.is_err());
        if let Err(error) = saved {
            self.again.get_or_insert_with(|| Instant::now() + AGAIN);
            if !before {
                self.trouble(&error);
            }
        }
    }

    /// Tells of logs that cannot be written.
    pub(super) fn look_after_logs(&mut self) {
        let troubles = self.logs.troubles();
        if !troubles.is_empty() {
            troubles.iter().for_each(|error| self.trouble(error));
            self.again.get_or_insert_with(|| Instant::now() + AGAIN);
            self.save();
        }
    }

    /// Tries again to write what could not be written, when it is time.
    pub(super) fn catch_up(&mut self) {
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

    pub(super) fn end(mut self, watch: &Watch) -> Ending {
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
    pub(super) fn save_at_last(&mut self, watch: &Watch) {
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
