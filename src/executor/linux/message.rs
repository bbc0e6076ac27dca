//! What a supervisor and the first process of its pod tell each other, as JSON over a [`Channel`](crate::sys::linux::channel::Channel).

use serde::{Deserialize, Serialize};

use crate::executor::Phase;
use crate::executor::complaint::Complaint;
use crate::executor::supervise::End;

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
    /// End what an app's processes have left behind.
    Clear {
        /// Index of the app.
        app: usize,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::{Error, Kind};

    #[test]
    fn an_error_about_the_longest_of_paths_fits_into_a_message() {
        for text in ["\u{1}".repeat(70 << 10), "\u{e9}".repeat(400 << 10), "short".to_owned()] {
            let error = Error::new(Kind::NotExecutable, format!("execute {text}")).because(text.clone());
            let report = Report::Failed { app: 0, phase: Phase::Main, why: Complaint::from(&error) };
            assert!(serde_json::to_vec(&report).unwrap().len() < 60 << 10);
            let told = Error::from(Complaint::from(&error)).doing().to_owned();
            assert!(told.starts_with("execute ") && told.ends_with(&text[text.len() - 4..]), "{told}");
        }
    }
}
