//! Findings for programs.

use std::io::{self, Write};

use serde::Serialize;

use super::FileReport;

/// Writes `{"files": [...]}` and a newline.
pub fn write(out: &mut dyn Write, files: &[FileReport]) -> io::Result<()> {
    #[derive(Serialize)]
    struct Document<'a> {
        files: &'a [FileReport],
    }
    serde_json::to_writer_pretty(&mut *out, &Document { files })?;
    writeln!(out)
}
