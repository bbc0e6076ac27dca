//! The isolation report: for each isolator and each clause of the execution environment, whether it is enforced,
//! modified (how) or ignored (why). Nothing is silent (`iso.report`).
//!
//! `compile` makes a report beside its steps, so it is known before anything is created and `--strict` can refuse.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::level::Level;
use super::{Error, Kind};

/// What holds for a pod and what does not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// How far the pod is kept apart.
    #[serde(default, skip_serializing_if = "Level::is_default")]
    pub level: Level,
    /// One entry a promise, in the order in which they were looked at.
    pub verdicts: Vec<Verdict>,
}

/// What became of one promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The app it is about; nothing: the whole pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// The isolator's name, or a word for the part of the environment (`user namespace`).
    pub subject: String,
    /// The clause it serves.
    pub clause: String,
    /// Whether a manifest or the command line asked for it; false: what the specification gives to every app.
    pub asked: bool,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// Enforced, or not, or not quite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "outcome")]
pub enum Outcome {
    /// It holds as it was asked for.
    Enforced,
    /// Something else holds in its place.
    Modified {
        /// What holds.
        how: String,
    },
    /// It does not hold.
    Ignored {
        /// Why not.
        why: String,
    },
}

impl Report {
    /// Starts an empty report.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts that of a pod at `level`.
    pub(crate) fn at(level: Level) -> Self {
        Self { level, ..Self::default() }
    }

    /// Adds what became of something that a manifest or the command line asked for.
    pub(crate) fn asked(&mut self, app: Option<&str>, subject: &str, clause: &str, outcome: Outcome) {
        self.add(app, subject, clause, true, outcome);
    }

    /// Adds what became of something that every app is promised.
    pub(crate) fn promised(&mut self, app: Option<&str>, subject: &str, clause: &str, outcome: Outcome) {
        self.add(app, subject, clause, false, outcome);
    }

    /// Adds what became of something that the level is about: who chose one asks for it, else it is promised.
    pub(crate) fn of_level(&mut self, app: Option<&str>, subject: &str, clause: &str, outcome: Outcome) {
        self.add(app, subject, clause, !self.level.is_default(), outcome);
    }

    fn add(&mut self, app: Option<&str>, subject: &str, clause: &str, asked: bool, outcome: Outcome) {
        self.verdicts.push(Verdict {
            app: app.map(str::to_owned),
            subject: subject.to_owned(),
            clause: clause.to_owned(),
            asked,
            outcome,
        });
    }

    /// What does not hold as it should.
    pub fn weaker(&self) -> impl Iterator<Item = &Verdict> {
        self.verdicts.iter().filter(|verdict| verdict.outcome != Outcome::Enforced)
    }

    /// What was asked for and does not hold as it was asked: `--strict` refuses to run then (`iso.strict`).
    pub(crate) fn unmet(&self) -> impl Iterator<Item = &Verdict> {
        self.weaker().filter(|verdict| verdict.asked)
    }

    /// Refuses what does not hold as it was asked for, where that was asked for.
    ///
    /// # Errors
    /// [`Kind::Refused`], because of [`Unmet`].
    pub fn judge(&self, strict: bool) -> Result<(), Error> {
        let unmet: Vec<Verdict> = self.unmet().filter(|_| strict).cloned().collect();
        if unmet.is_empty() {
            return Ok(());
        }
        Err(Error::new(Kind::Refused, "run the pod strictly").because(Unmet(unmet)))
    }
}

/// What a strict pod is refused for: all that was asked for and does not hold so.
#[derive(Clone, Debug)]
pub struct Unmet(pub Vec<Verdict>);

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, verdict) in self.0.iter().enumerate() {
            let between = if number == 0 { "" } else { "; " };
            write!(f, "{between}{verdict}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Unmet {}

impl Outcome {
    /// Something else holds in its place.
    pub(crate) fn modified(how: impl Into<String>) -> Self {
        Self::Modified { how: how.into() }
    }

    /// It does not hold.
    pub(crate) fn ignored(why: impl Into<String>) -> Self {
        Self::Ignored { why: why.into() }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.app {
            Some(app) => write!(f, "app {app}: ")?,
            None => f.write_str("pod: ")?,
        }
        match &self.outcome {
            Outcome::Enforced => write!(f, "{} enforced", self.subject)?,
            Outcome::Modified { how } => write!(f, "{} modified: {how}", self.subject)?,
            Outcome::Ignored { why } => write!(f, "{} ignored: {why}", self.subject)?,
        }
        write!(f, " [{}]", self.clause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_asked_for_and_does_not_hold_is_unmet() {
        let mut report = Report::new();
        report.asked(Some("web"), "resource/cpu", "res.cpu.limit", Outcome::Enforced);
        report.asked(Some("web"), "resource/memory", "res.memory.limit", Outcome::ignored("no memory controller"));
        report.promised(None, "user namespace", "linux.label", Outcome::modified("one id only"));
        let unmet: Vec<String> = report.unmet().map(Verdict::to_string).collect();
        assert_eq!(unmet, ["app web: resource/memory ignored: no memory controller [res.memory.limit]"]);
        assert_eq!(report.weaker().count(), 2);
    }
}
