//! The one shape of this crate's errors.
//!
//! A module names its kinds and has `pub type Error = Failure<Kind>`. Messages are lower-case fragments that read
//! on after "failed to": `open image.aci`. The clause follows in brackets. What went wrong beneath is kept as source and printed
//! behind a colon.
//! Hints and exit codes are the binaries' business.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

use crate::diagnostic::{Diagnostic, Severity};

/// An error: what was being done, to what, which clause forbids it if one does, and why it went wrong.
pub struct Failure<K> {
    kind: K,
    doing: String,
    clause: Option<&'static str>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl<K> Failure<K> {
    /// An error of `kind` while `doing` ("open image.aci").
    pub fn new(kind: K, doing: impl Into<String>) -> Self {
        Self { kind, doing: doing.into(), clause: None, source: None }
    }

    /// Names the clause (or the rule of ours, `x.*`) that is not met.
    #[must_use]
    pub fn clause(mut self, clause: &'static str) -> Self {
        self.clause = Some(clause);
        self
    }

    /// Keeps what went wrong beneath: an error, or a plain sentence.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Names the first error among what was found in a manifest, with its place and clause.
    #[must_use]
    pub fn manifest(self, found: &[Diagnostic]) -> Self {
        let Some(error) = found.iter().find(|found| found.severity == Severity::Error) else { return self };
        let (line, column) = (error.place.line.unwrap_or(1), error.place.column.unwrap_or(1));
        let clause = match error.clause {
            Cow::Borrowed(clause) => clause,
            Cow::Owned(_) => "im.json.valid",
        };
        self.clause(clause).because(format!("manifest:{line}:{column}: {}", error.message))
    }

    /// This error, and what kept from being cleaned up what it left.
    #[must_use]
    pub fn and(self, cleaned: Result<(), impl StdError>) -> Self {
        let Err(left) = cleaned else { return self };
        let why = self.source.as_deref().map(|source| chain(source) + "; ").unwrap_or_default();
        let source = Some(format!("{why}and then failed to {}", chain(&left)).into());
        Self { source, ..self }
    }

    /// This error as another module's, whose words it needs no others beside.
    #[must_use]
    pub fn of_kind<L>(self, kind: L) -> Failure<L> {
        Failure { kind, doing: self.doing, clause: self.clause, source: self.source }
    }

    /// What kind of error this is.
    pub fn kind(&self) -> &K {
        &self.kind
    }

    /// What was being done, without its clause: `open image.aci`.
    pub fn doing(&self) -> &str {
        &self.doing
    }

    /// The clause that is not met, if the error is about one.
    pub fn clause_id(&self) -> Option<&'static str> {
        self.clause
    }
}

impl<K> fmt::Display for Failure<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.doing)?;
        match self.clause {
            Some(clause) => write!(f, " [{clause}]"),
            None => Ok(()),
        }
    }
}

impl<K: fmt::Debug> fmt::Debug for Failure<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, chain(self))
    }
}

impl<K: fmt::Debug> StdError for Failure<K> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// The whole story of an error on one line: `open image.aci: no such file or directory`. A clause that several of its links
/// name stands once, where it was broken.
pub fn chain(error: &dyn StdError) -> String {
    let mut links = vec![error.to_string()];
    let mut next = error.source();
    while let Some(error) = next {
        links.push(error.to_string());
        next = error.source();
    }
    for link in (1..links.len()).rev() {
        let Some(clause) = clause_behind(&links[link]).map(str::to_owned) else { continue };
        for above in &mut links[..link] {
            if clause_behind(above) == Some(&clause) {
                above.truncate(above.len() - clause.len());
            }
        }
    }
    links.join(": ")
}

/// Whether an error of the system of this kind is beneath `error`, or is it.
#[cfg(feature = "run")]
pub(crate) fn is_of(error: &(dyn StdError + 'static), kind: std::io::ErrorKind) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        next = match error.downcast_ref::<std::io::Error>() {
            Some(system) if system.kind() == kind => return true,
            // What it was made of is no source of its own.
            Some(system) => system.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
            None => error.source(),
        };
    }
    false
}

/// ` [clause]` at the end of a message.
fn clause_behind(message: &str) -> Option<&str> {
    let start = message.rfind(" [")?;
    message.ends_with(']').then(|| &message[start..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_first_is_told_with_what_went_wrong_after_it() {
        let first = || Failure::new(1, "make it").because("it is full");
        assert_eq!(chain(&first().and(Ok::<_, Failure<()>>(()))), "make it: it is full");
        let both = first().and(Err(Failure::new((), "remove it").because("it is busy")));
        assert_eq!(
            (chain(&both).as_str(), *both.kind()),
            ("make it: it is full; and then failed to remove it: it is busy", 1)
        );
    }

    #[test]
    #[cfg(feature = "run")]
    fn the_systems_error_is_found_however_deep_it_is() {
        use std::io::{Error as Io, ErrorKind};
        let inner = Failure::new((), "write it").because(Io::from(ErrorKind::BrokenPipe));
        let outer = Failure::new((), "pass it on").because(Io::other(inner));
        assert!(is_of(&outer, ErrorKind::BrokenPipe) && is_of(&outer, ErrorKind::Other));
        assert!(!is_of(&outer, ErrorKind::NotFound));
        assert!(!is_of(&Failure::new((), "write it").because("Broken pipe"), ErrorKind::BrokenPipe));
    }

    #[test]
    fn a_clause_stands_once_where_it_was_broken() {
        let inner = Failure::new((), "read the archive").clause("aci.tar").because("it is empty");
        let outer = Failure::new((), "import a.aci").clause("aci.tar").because(inner);
        assert_eq!(chain(&outer), "import a.aci: read the archive [aci.tar]: it is empty");
        let other = Failure::new((), "take it").clause("aci.ext").because(outer);
        assert_eq!(chain(&other), "take it [aci.ext]: import a.aci: read the archive [aci.tar]: it is empty");
    }
}
