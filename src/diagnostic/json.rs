//! Findings for programs.

use std::io::{self, Write};

use serde::Serialize;

use super::{FileReport, visible};

/// Writes `{"files": [...]}` and a newline.
pub fn write(out: &mut dyn Write, files: &[FileReport]) -> io::Result<()> {
    #[derive(Serialize)]
    struct Document<'a> {
        files: &'a [FileReport],
    }
    visible::write_json(out, &Document { files })
}
