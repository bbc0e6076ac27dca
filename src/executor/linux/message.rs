//! What a supervisor and the first process of its pod tell each other, as JSON over a [`Channel`](crate::sys::linux::channel::Channel).

use serde::{Deserialize, Serialize};

use crate::executor::supervise::End;
use crate::executor::{Error, Kind, Phase};

/// From the supervisor to the pod.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Start a process of an app.
    Start {
        /// Index of the app.
        app: usize,
        /// Which of its processes.
        phase: Phase,
        /// `AC_METADATA_URL`.
        metadata_url: Option<String>,
    },
    /// Send a signal to the running process of an app.
    Signal {
        /// Index of the app.
        app: usize,
        /// The signal's number.
        signal: i32,
    },
}

/// From the pod to the supervisor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Report {
    /// Everything is set up. Comes with the descriptors that it names, in this order.
    Ready {
        /// Whether there is the listening socket of the metadata service.
        listener: bool,
        /// Whether there is the near end of an app's terminal.
        terminal: bool,
    },
    /// Setting up failed: the pod ends.
    Broken(Complaint),
    /// A process has become its program; its process id comes with this.
    Started {
        /// Index of the app.
        app: usize,
        /// Which of its processes.
        phase: Phase,
    },
    /// A process could not become its program.
    Failed {
        /// Index of the app.
        app: usize,
        /// Which of its processes.
        phase: Phase,
        /// Why.
        why: Complaint,
    },
    /// A process has ended.
    Ended {
        /// Index of the app.
        app: usize,
        /// Which of its processes.
        phase: Phase,
        /// How.
        end: End,
    },
    /// An app says something about itself.
    Notified {
        /// Index of the app.
        app: usize,
        /// Lines `NAME=VALUE`.
        text: String,
    },
    /// Something to tell the user.
    Warning(String),
}

/// An error on its way from one process to another.
#[derive(Debug, Serialize, Deserialize)]
pub struct Complaint {
    kind: Kind,
    doing: String,
    clause: Option<String>,
    why: Option<String>,
}

impl From<&Error> for Complaint {
    fn from(error: &Error) -> Self {
        Self {
            kind: *error.kind(),
            doing: error.doing().to_owned(),
            clause: error.clause_id().map(str::to_owned),
            why: std::error::Error::source(error).map(crate::error::chain),
        }
    }
}

impl From<Complaint> for Error {
    fn from(complaint: Complaint) -> Self {
        let mut error = Self::new(complaint.kind, complaint.doing);
        if let Some(clause) = complaint.clause.as_deref().and_then(crate::spec::clause) {
            error = error.clause(&clause.id);
        }
        match complaint.why {
            Some(why) => error.because(why),
            None => error,
        }
    }
}
