//! All findings about one file.

use serde::Serialize;

use super::{Diagnostic, Severity};

/// The clause of a file that cannot be read.
pub const UNREADABLE: &str = "x.file.unreadable";

/// What a file was checked as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FileType {
    /// An image archive.
    Image,
    /// A directory that an image is built from.
    Layout,
    /// A manifest by itself.
    Manifest,
}

/// All findings about one file.
#[derive(Clone, Debug, Serialize)]
pub struct FileReport {
    /// The file as it was named; `-` is the standard input.
    pub path: String,
    /// What it was checked as.
    #[serde(rename = "type")]
    pub file_type: FileType,
    /// Whether there is no error.
    pub valid: bool,
    /// The image's id, where it is an image that could be read to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// The findings, those of the manifest in its order.
    pub diagnostics: Vec<Diagnostic>,
    /// The manifest's text, for showing the places.
    #[serde(skip)]
    pub source: Vec<u8>,
}

impl FileReport {
    /// A report without findings.
    pub fn new(path: impl Into<String>, file_type: FileType) -> Self {
        Self { path: path.into(), file_type, valid: true, image_id: None, diagnostics: Vec::new(), source: Vec::new() }
    }

    /// Adds findings and settles whether the file is valid.
    #[must_use]
    pub fn with(mut self, diagnostics: impl IntoIterator<Item = Diagnostic>) -> Self {
        self.diagnostics.extend(diagnostics);
        self.valid = self.count(Severity::Error) == 0;
        self
    }

    /// Whether it could not be read, so that nothing is said of the rest of it.
    pub fn is_unreadable(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.clause == UNREADABLE)
    }

    /// How many findings of a severity there are.
    pub fn count(&self, severity: Severity) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count()
    }
}
