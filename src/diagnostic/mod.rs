//! What a check found: which clause, how bad, where, what, and what to do about it.

pub mod human;
pub mod json;
mod report;
pub mod sarif;
pub mod visible;

use std::borrow::Cow;

use serde::Serialize;

pub use report::{FileReport, FileType, UNREADABLE};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; never changes the verdict.
    Note,
    /// Valid, but doubtful; an error under `--strict`.
    Warning,
    /// Not valid.
    Error,
}

/// Where in a file a finding is. All parts that are known are given; in JSON those within a manifest are null where they are not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Place {
    /// Entry of an archive or file of a layout (`manifest`, `rootfs/bin/sh`), lossy where it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// JSON pointer (RFC 6901) into the manifest; empty for all of it.
    pub pointer: Option<String>,
    /// Line in the manifest, from 1.
    pub line: Option<u32>,
    /// Column in that line in characters, from 1.
    pub column: Option<u32>,
    /// Bytes from the start of the manifest to the place.
    #[serde(skip)]
    pub offset: Option<usize>,
    /// Length of the marked place in characters, where it is known.
    #[serde(skip)]
    pub length: Option<u32>,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Diagnostic {
    /// Clause of the specification, or a rule of ours (`x.*`).
    pub clause: Cow<'static, str>,
    /// How bad it is.
    pub severity: Severity,
    /// Where it is.
    #[serde(flatten)]
    pub place: Place,
    /// What is wrong, in one sentence without full stop.
    pub message: String,
    /// What to say beside the marked place: "given first on line 6".
    #[serde(skip)]
    pub label: Option<String>,
    /// What to write instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Whether the reference tools accept it where they do not accept all that its clause forbids.
    #[serde(skip)]
    pub loose_in_go: bool,
}

impl Diagnostic {
    /// A finding about `clause`, nowhere in particular yet.
    pub fn new(severity: Severity, clause: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            clause: clause.into(),
            severity,
            place: Place::default(),
            message: message.into(),
            label: None,
            help: None,
            loose_in_go: false,
        }
    }

    /// An error about `clause`.
    pub fn error(clause: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, clause, message)
    }

    /// A warning about `clause`.
    pub fn warning(clause: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, clause, message)
    }

    /// A note about `clause`.
    pub fn note(clause: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(Severity::Note, clause, message)
    }

    /// Says which archive entry or layout file it is about.
    #[must_use]
    pub fn entry(mut self, entry: impl Into<String>) -> Self {
        self.place.entry = Some(entry.into());
        self
    }

    /// Says which JSON value it is about.
    #[must_use]
    pub fn pointer(mut self, pointer: impl Into<String>) -> Self {
        self.place.pointer = Some(pointer.into());
        self
    }

    /// Says that the reference tools accept it.
    #[must_use]
    pub fn loose_in_go(mut self) -> Self {
        self.loose_in_go = true;
        self
    }

    /// Says what to write instead.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
