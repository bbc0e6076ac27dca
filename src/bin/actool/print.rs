//! Findings that go along with a success.

use appc::diagnostic::{Diagnostic, Severity};
use appc::schema::{Kind, Options, validate_manifest};

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

/// Writes findings to standard error, one a line.
pub fn findings(findings: &[Diagnostic]) {
    for found in findings {
        let severity = word(found.severity);
        let place = found.place.entry.as_ref().map(|entry| format!("{entry}: ")).unwrap_or_default();
        eprintln!("{severity}[{}]: {place}{}", found.clause, found.message);
    }
}

/// Holds an image manifest against schema and rules, tells what is wrong with it and whether it is valid.
pub fn manifest(bytes: &[u8]) -> bool {
    let report = validate_manifest(bytes, &Options { kind: Some(Kind::Image), ..Options::default() });
    for found in &report.diagnostics {
        // Notes say what is ignored, which nothing is here.
        if found.severity > Severity::Note {
            let pointer = found.place.pointer.as_deref().unwrap_or_default();
            let at = found.place.line.zip(found.place.column).map(|(line, column)| format!(":{line}:{column}"));
            let (at, pointer) = (at.unwrap_or_default(), pointer.escape_debug());
            eprintln!("{}[{}]: manifest{at} {pointer}: {}", word(found.severity), found.clause, found.message);
        }
    }
    report.is_valid()
}
