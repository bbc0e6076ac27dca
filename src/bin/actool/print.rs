//! Findings that go along with a success.

use appc::diagnostic::{Diagnostic, Severity};

/// Writes findings to standard error, one a line.
pub fn findings(findings: &[Diagnostic]) {
    for found in findings {
        let severity = match found.severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        let place = found.place.entry.as_ref().map(|entry| format!("{entry}: ")).unwrap_or_default();
        eprintln!("{severity}[{}]: {place}{}", found.clause, found.message);
    }
}

/// Holds an image manifest against the schema, tells what is wrong with it and whether it is valid.
pub fn manifest(bytes: &[u8]) -> bool {
    match serde_json::from_slice::<appc::schema::ImageManifest>(bytes) {
        Ok(_) => true,
        Err(error) => {
            eprintln!("error: manifest: {error}");
            false
        }
    }
}
