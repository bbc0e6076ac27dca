//! What was found on a host that is to run pods, and what to do about what is missing.

use serde::Serialize;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub subject: String,
    /// Whether it is as it should be.
    pub good: bool,
    /// Whether pods cannot run at all without it.
    pub needed: bool,
    /// What was found.
    pub found: String,
    /// What to do, when it is not good.
    pub remedy: Option<String>,
}

impl Finding {
    /// Of what was looked at, what was found, good or not.
    pub(super) fn new(subject: &str, needed: bool, found: Result<String, String>, remedy: &str) -> Self {
        let good = found.is_ok();
        let remedy = (!good).then(|| remedy.to_owned());
        Self { subject: subject.to_owned(), good, needed, found: found.unwrap_or_else(|found| found), remedy }
    }
}
