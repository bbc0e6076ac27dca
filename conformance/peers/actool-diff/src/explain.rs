//! Differences that are known, each with the clause or decision that explains it.

use appc::diagnostic::{FileReport, Severity};
use serde::Deserialize;

use crate::Failed;
use crate::go::Verdict;

/// All of `explained.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Explained {
    difference: Vec<Difference>,
}

/// A known difference. One of the first five says when it applies.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Difference {
    /// We refuse by this clause, they accept.
    we_refuse: Option<String>,
    /// We refuse in these words, they accept.
    we_say: Option<String>,
    /// We tell this clause, in whatever severity; they say something else.
    we_tell: Option<String>,
    /// They refuse in these words, we accept.
    they_refuse: Option<String>,
    /// They fall over, we give this clause, or accept where it is "valid".
    they_crash: Option<String>,
    /// The decision, by number.
    decision: Option<u32>,
    /// The clause.
    clause: Option<String>,
    /// Why.
    why: String,
}

impl Explained {
    /// Reads the list, and makes sure that clauses and decisions in it exist.
    pub fn read() -> Result<Self, Failed> {
        let all: Self = toml::from_str(include_str!("../explained.toml"))?;
        for entry in &all.difference {
            let clause = entry.clause.as_ref().or(entry.we_refuse.as_ref());
            let known = clause.is_some_and(|clause| appc::spec::clause(clause).is_some())
                || entry.decision.is_some_and(|number| appc::spec::decision(number).is_some());
            if !known {
                return Err(format!("explained.toml: no clause and no decision explains: {}", entry.why).into());
            }
        }
        Ok(all)
    }

    /// The entry that explains a difference.
    pub fn find(&self, ours: &FileReport, theirs: &Verdict) -> Option<usize> {
        let errors = || ours.diagnostics.iter().filter(|found| found.severity == Severity::Error);
        let refused = |clause: &str| errors().any(|found| found.clause == clause);
        let told = |clause: &str| ours.diagnostics.iter().any(|found| found.clause == clause);
        self.difference.iter().position(|entry| match theirs {
            _ if entry.we_tell.as_deref().is_some_and(told) => true,
            Verdict::Valid => {
                entry.we_refuse.as_deref().is_some_and(refused)
                    || entry.we_say.as_deref().is_some_and(|words| errors().any(|found| found.message.contains(words)))
            }
            Verdict::Invalid(reason) => {
                ours.valid && entry.they_refuse.as_deref().is_some_and(|words| reason.contains(words))
            }
            Verdict::Crash => ours.valid && entry.they_crash.as_deref() == Some("valid"),
        })
    }

    /// An entry in one line.
    pub fn describe(&self, index: usize) -> String {
        let entry = &self.difference[index];
        let when = match (&entry.we_refuse, &entry.we_say, &entry.they_refuse) {
            (Some(clause), ..) => format!("we refuse by {clause}"),
            (_, Some(words), _) => format!("we refuse: {words}"),
            _ if entry.we_tell.is_some() => "keys differ by case".to_owned(),
            (.., Some(words)) => format!("they refuse: {words}"),
            _ => "they crash".to_owned(),
        };
        format!("{when}: {}", entry.why)
    }
}

/// Whether all that we refuse is what a decision lets `--compat go` accept.
pub fn only_offered(ours: &FileReport) -> bool {
    let mut errors = ours.diagnostics.iter().filter(|found| found.severity == Severity::Error).peekable();
    errors.peek().is_some() && errors.all(appc::schema::validate::is_loose_in_go)
}
