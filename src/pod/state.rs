//! Where a pod is in its life: told from what is there and from its lock.

use std::time::Duration;

use serde::Serialize;

use super::status::{AppStatus, Status};
use super::{Error, Part, PodDir};
use crate::schema::PodManifest;

/// Where a pod is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Left unfinished by whoever was making it.
    Embryo,
    /// Being made.
    Preparing,
    /// Ready to be run.
    Prepared,
    /// Its supervisor lives.
    Running,
    /// It has run.
    Exited,
    /// Being removed.
    Removing,
}

impl State {
    /// All of them, in the order of a pod's life.
    pub const ALL: [Self; 6] =
        [Self::Embryo, Self::Preparing, Self::Prepared, Self::Running, Self::Exited, Self::Removing];
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Embryo => "embryo",
            Self::Preparing => "preparing",
            Self::Prepared => "prepared",
            Self::Running => "running",
            Self::Exited => "exited",
            Self::Removing => "removing",
        })
    }
}

impl PodDir {
    /// Where the pod is in its life.
    pub fn state(&self) -> State {
        let in_hand = self.lock.is_some() || self.in_hand();
        if self.is_going() {
            State::Removing
        } else if self.has(Part::Status) {
            if in_hand { State::Running } else { State::Exited }
        } else if in_hand {
            State::Preparing
        } else if self.has(Part::Journal) || self.has(Part::Begun) {
            // Its supervisor was gone before an app was started.
            State::Exited
        } else if self.has(Part::Plan) {
            State::Prepared
        } else {
            State::Embryo
        }
    }

    /// Whether it has been run, however far that went.
    pub fn has_started(&self) -> bool {
        self.has(Part::Journal)
    }

    /// Whether how it ended is written down. Somebody may have it in hand for all that, to look at it or remove it.
    pub fn has_ended(&self) -> bool {
        self.status().is_some_and(|status| status.ended.is_some())
    }

    /// Whether its supervisor was gone before it could write down how the pod ended.
    pub fn is_lost(&self) -> bool {
        let begun = self.has_started() && self.state() == State::Exited;
        begun && self.status().is_none_or(|status| status.ended.is_none())
    }

    /// Marks a pod that is not to wait for somebody to start it: when nobody has it in hand, it has ended.
    pub(crate) fn mark_begun(&self) -> Result<(), Error> {
        self.write(Part::Begun, b"")
    }

    /// Marks that its processes are held, or go on.
    ///
    /// # Errors
    /// [`Kind::Io`](super::Kind::Io).
    pub fn mark_paused(&self, paused: bool) -> Result<(), Error> {
        if paused {
            return self.write(Part::Paused, b"");
        }
        self.remove(Part::Paused)
    }

    /// Whether its processes are held.
    pub fn is_paused(&self) -> bool {
        self.has(Part::Paused) && self.state() == State::Running
    }

    /// Takes back that the pod was started, once what its journal names is undone: it is prepared again.
    pub(crate) fn forget_start(&self) -> Result<(), Error> {
        // The journal last: without a status and with it the pod has ended; but for the mark of one that began at once.
        [Part::Grace, Part::Paused, Part::Status, Part::Journal, Part::Begun]
            .into_iter()
            .try_for_each(|part| self.remove(part))
    }

    /// How its apps are. Nothing when it was never started.
    pub fn status(&self) -> Option<Status> {
        self.read_json(Part::Status).ok()
    }

    /// How its apps are; a status that does not read is an error, and none is nothing.
    ///
    /// # Errors
    /// [`Kind::Corrupt`](super::Kind::Corrupt), [`Kind::Io`](super::Kind::Io).
    pub fn read_status(&self) -> Result<Option<Status>, Error> {
        self.read_json_if_there(Part::Status)
    }

    /// How its apps are; of a pod that was never started, that they are the planned ones.
    pub fn status_or_plan(&self) -> Status {
        let planned = || -> Status {
            let plan: Option<PodManifest> = self.read_json(Part::Manifest).ok();
            let names = plan.into_iter().flat_map(|plan| plan.apps).map(|app| app.name.to_string());
            let apps = names.map(|name| AppStatus { name, ..AppStatus::default() }).collect();
            Status { apps, ..Status::default() }
        };
        let mut status = self.status().unwrap_or_else(planned);
        if self.state() != State::Running {
            // A supervisor that was killed leaves numbers that are other processes' by now.
            status.apps.iter_mut().for_each(|app| app.pid = None);
        }
        status
    }

    /// Where its metadata service is, while it runs and has one.
    pub(crate) fn metadata_url(&self) -> Option<String> {
        let status: serde_json::Value = self.read_json(Part::Status).ok()?;
        status["metadata_url"].as_str().map(str::to_owned)
    }

    /// How long its apps may take that are asked to stop, as its supervisor has it.
    pub fn grace(&self) -> Option<Duration> {
        let status: serde_json::Value = self.read_json(Part::Status).ok()?;
        let told: Option<u64> = self.read_json(Part::Grace).ok();
        Some(Duration::from_secs(told.or_else(|| status["grace"].as_u64())?))
    }
}
