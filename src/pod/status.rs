//! How a pod's apps are, and how they ended.

use serde::{Deserialize, Serialize};

/// What the file `status` says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// When the pod was started, RFC 3339.
    pub started: Option<String>,
    /// When it ended.
    pub ended: Option<String>,
    /// The code that `jetpack run` ended with.
    pub exit_code: Option<i32>,
    /// What its supervisor could not do since it was started.
    #[serde(default)]
    pub troubles: Troubles,
    /// The apps, in the manifest's order.
    pub apps: Vec<AppStatus>,
}

/// What a supervisor could not do. The pod goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Troubles {
    /// How often; what is tried again until it succeeds counts once.
    pub count: u64,
    /// The last, in words.
    pub last: Option<String>,
}

/// One app.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppStatus {
    /// Its name.
    pub name: String,
    /// The main process's id on the host, while it runs.
    pub pid: Option<i32>,
    /// When its main process was started.
    pub started: Option<String>,
    /// When it said that it is ready, where it does so.
    #[serde(default)]
    pub ready: Option<String>,
    /// What it says of how it is, where it does so.
    #[serde(default)]
    pub said: Option<String>,
    /// When its main process ended.
    pub ended: Option<String>,
    /// How its pre-start handler ended.
    pub pre_start: Option<End>,
    /// How its main process ended.
    pub main: Option<End>,
    /// How its post-stop handler ended.
    pub post_stop: Option<End>,
    /// Why a process of it could not be started.
    pub failure: Option<String>,
    /// Whether it was asked to stop.
    pub stopped: bool,
    /// What ended it, where its exit status or signal does not tell.
    #[serde(default)]
    pub cause: Option<Cause>,
    /// How often it was started again.
    #[serde(default)]
    pub restarts: u64,
    /// How it ended before it was started again the last time.
    #[serde(default)]
    pub previous: Option<End>,
    /// When it is started again, where it waits for that.
    #[serde(default)]
    pub again: Option<String>,
}

/// What ends an app from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The kernel, for lack of memory: its own limit, the pod's, or that of the host.
    Oom,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// It exited with this status.
    Status(i32),
    /// This signal ended it.
    Signal(i32),
}

impl End {
    /// As a shell shows it: the status, or 128 and the signal.
    pub fn code(self) -> i32 {
        match self {
            Self::Status(status) => status,
            Self::Signal(signal) => 128 + signal,
        }
    }

    /// Whether the process succeeded.
    pub(crate) fn success(self) -> bool {
        self == Self::Status(0)
    }
}
