//! Where checks leave what they found, with places still as offsets.

use std::borrow::Cow;

use super::json::{Lines, Node, Span};
use crate::diagnostic::{Diagnostic, Severity};

/// One finding in a document.
pub(super) struct Finding {
    severity: Severity,
    clause: &'static str,
    span: Span,
    message: String,
    label: Option<String>,
    related: Option<(Span, &'static str)>,
    help: Option<String>,
    /// So many came before that nobody reads what this one might have meant.
    late: bool,
}

/// Findings that get suggestions: finding them is the dearest part, and a document may have a million faults.
const SUGGESTED: usize = 100;
/// Names that a suggestion is looked for among.
const CANDIDATES: usize = 1000;

impl Finding {
    /// Says beside the marked place what the matter is.
    pub(super) fn label(&mut self, label: impl Into<String>) -> &mut Self {
        self.label = Some(label.into());
        self
    }

    /// Names the line of a related place beside the marked one: "given first on line 3".
    pub(super) fn related(&mut self, span: Span, words: &'static str) -> &mut Self {
        self.related = Some((span, words));
        self
    }

    /// Says what to write instead.
    pub(super) fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    /// "did you mean", where there is something near.
    pub(super) fn meant<'c>(&mut self, word: &str, candidates: impl IntoIterator<Item = &'c str>) -> &mut Self {
        self.meant_one_of(word, || candidates.into_iter().collect())
    }

    /// "did you mean", of candidates that are dear to list.
    pub(super) fn meant_one_of<'c>(&mut self, word: &str, candidates: impl FnOnce() -> Vec<&'c str>) -> &mut Self {
        if self.late {
            return self;
        }
        if let Some(near) = super::suggest::nearest(word, candidates().into_iter().take(CANDIDATES)) {
            self.help = Some(format!("did you mean `{near}`?"));
        }
        self
    }
}

/// All findings in a document.
#[derive(Default)]
pub(super) struct Findings {
    all: Vec<Finding>,
    /// Places in strings that could not be read and were replaced, in their order.
    illegible: Vec<Span>,
}

impl Findings {
    /// Adds one.
    pub(super) fn add(
        &mut self,
        severity: Severity,
        clause: &'static str,
        span: Span,
        message: impl Into<String>,
    ) -> &mut Finding {
        let (message, late) = (message.into(), self.all.len() >= SUGGESTED);
        self.all.push(Finding { severity, clause, span, message, label: None, related: None, help: None, late });
        self.all.last_mut().expect("one was just added")
    }

    /// Adds an error.
    pub(super) fn error(&mut self, clause: &'static str, span: Span, message: impl Into<String>) -> &mut Finding {
        self.add(Severity::Error, clause, span, message)
    }

    /// Adds a warning.
    pub(super) fn warning(&mut self, clause: &'static str, span: Span, message: impl Into<String>) -> &mut Finding {
        self.add(Severity::Warning, clause, span, message)
    }

    /// Adds a note.
    pub(super) fn note(&mut self, clause: &'static str, span: Span, message: impl Into<String>) -> &mut Finding {
        self.add(Severity::Note, clause, span, message)
    }

    /// Notes a place in a string that could not be read: only that is told of the string.
    pub(super) fn illegible(&mut self, span: Span) {
        self.illegible.push(span);
    }

    /// The findings with places that people and machines understand, in the order of the document.
    pub(super) fn placed(mut self, text: &[u8], root: Option<&Node<'_>>) -> Vec<Diagnostic> {
        if self.all.is_empty() {
            return Vec::new();
        }
        self.illegible.sort_unstable();
        // What else such a string says, nobody knows.
        let legible = |span: Span| {
            let next = self.illegible.partition_point(|place| place.start <= span.start);
            text.get(span.start) != Some(&b'"') || self.illegible.get(next).is_none_or(|place| place.end > span.end)
        };
        self.all.retain(|finding| legible(finding.span));
        self.all.sort_by_key(|finding| finding.span.start);
        let mut lines = Lines::new(text);
        self.all
            .into_iter()
            .map(|finding| {
                let (line, column) = lines.place(finding.span.start);
                let mut diagnostic = Diagnostic::new(finding.severity, Cow::Borrowed(finding.clause), finding.message);
                // A text that cannot be read has only itself to point at.
                diagnostic.place.pointer = Some(root.map(|root| root.pointer(finding.span)).unwrap_or_default());
                diagnostic.place.offset = Some(finding.span.start);
                diagnostic.place.line = Some(line);
                diagnostic.place.column = Some(column);
                diagnostic.place.length = lines.length(finding.span);
                diagnostic.label = finding.label.or_else(|| {
                    finding.related.map(|(span, words)| format!("{words} on line {}", lines.line(span.start)))
                });
                diagnostic.help = finding.help;
                diagnostic
            })
            .collect()
    }
}
