//! Whether an image is the one that was asked for. Pure, and the only place that says so: whoever asks names the clause.

use std::collections::BTreeMap;
use std::fmt;

use super::AcIdentifier;

/// How an image differs from the one that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference<'a> {
    /// It has another name.
    Name {
        /// Its own.
        is: &'a str,
        /// The one asked for.
        wanted: &'a str,
    },
    /// A label asked for is not there, or has another value.
    Label {
        /// What it is called.
        label: &'a str,
        /// Its value, where it is there.
        is: Option<&'a str>,
        /// The value asked for.
        wanted: &'a str,
    },
}

impl<'a> Difference<'a> {
    /// The first difference of an image that is called `is`, and whose labels `label` looks up: a label asked for must be
    /// there with the same value, all others may have any (`disc.match.rule`).
    pub fn find(
        name: Option<&'a AcIdentifier>,
        labels: &'a BTreeMap<AcIdentifier, String>,
        is: &'a str,
        label: impl Fn(&str) -> Option<&'a str>,
    ) -> Option<Self> {
        if let Some(name) = name.filter(|name| name.as_str() != is) {
            return Some(Self::Name { is, wanted: name });
        }
        labels.iter().find_map(|(key, wanted)| {
            let is = label(key);
            (is != Some(wanted)).then_some(Self::Label { label: key, is, wanted })
        })
    }
}

impl fmt::Display for Difference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { is, wanted } => write!(f, "it is called {is}, not {wanted}"),
            Self::Label { label, is: Some(is), wanted } => write!(f, "its label `{label}` is `{is}`, not `{wanted}`"),
            Self::Label { label, is: None, wanted } => write!(f, "it has no label `{label}`; `{wanted}` is wanted"),
        }
    }
}
