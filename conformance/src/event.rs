//! What a run tells, in the order in which it happens. Every report is made from this stream and from nothing else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The state of a check or of a clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Seen as it shall be.
    Pass,
    /// The target does not claim it, or lacks the action.
    Unsupported,
    /// The host cannot do it.
    Skipped,
    /// The target file says that it fails, with the reason, and it does.
    ExpectedFail,
    /// The probe could not tell.
    Inconclusive,
    /// Not as it shall be.
    Fail,
}

impl State {
    /// All of them, as reports list them.
    pub const ALL: [State; 6] =
        [State::Pass, State::Fail, State::ExpectedFail, State::Unsupported, State::Skipped, State::Inconclusive];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            State::Pass => "pass",
            State::Fail => "fail",
            State::ExpectedFail => "expected-fail",
            State::Unsupported => "unsupported",
            State::Skipped => "skipped",
            State::Inconclusive => "inconclusive",
        }
    }
}

/// One expectation and what came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Check {
    /// The clause that it is about.
    pub clause: String,
    /// What was expected.
    pub expectation: String,
    /// What came of it.
    pub state: State,
    /// Why, where it did not pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
}

/// What a clause is, for reports that stand alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct About {
    /// Its area.
    pub area: String,
    /// MUST, SHOULD, ...
    pub strength: String,
    /// What it demands.
    pub statement: String,
    /// Decisions on the text, by number or as told in `spec/`.
    #[serde(default)]
    pub decisions: Vec<String>,
}

/// Something that happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The run begins.
    Begin {
        /// The suite's version.
        suite: String,
        /// The clauses in question, by id.
        clauses: BTreeMap<String, About>,
        /// Those that no case can check, with the reason.
        untestable: BTreeMap<String, String>,
    },
    /// A target's turn begins.
    Target {
        /// Its name.
        target: String,
        /// What it is.
        about: String,
        /// Clauses, or their beginnings with `*`, that its file says it fails.
        #[serde(default)]
        expected_fail: Vec<String>,
    },
    /// A case was done.
    Case {
        /// The target.
        target: String,
        /// The case.
        case: String,
        /// What it is about.
        about: String,
        /// How long it took, in milliseconds.
        milliseconds: u64,
        /// Its checks.
        checks: Vec<Check>,
        /// What the target did besides: left mounts, hung, crashed.
        trouble: Vec<String>,
    },
    /// The run is over.
    End {
        /// How long the cases took together, in milliseconds, without what was built for them.
        milliseconds: u64,
    },
}
