//! The JSON report: `{"schema": "appc-conformance-report/1", "events": [...]}`, the stream as it came. `conformance/report.schema.json` says what
//! stands in it; `compare` reads it back.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::event::Event;

const SCHEMA: &str = "appc-conformance-report/1";

#[derive(Serialize)]
struct Written<'a> {
    schema: &'static str,
    events: &'a [Event],
}

#[derive(Deserialize)]
struct Found {
    schema: String,
    events: Vec<Event>,
}

/// The report as text.
pub fn report(events: &[Event]) -> Result<String, Failure> {
    serde_json::to_string_pretty(&Written { schema: SCHEMA, events })
        .map_err(|e| Failure::new(format!("failed to write the JSON report: {e}")))
}

/// Reads a report back; a directory means its `report.json`.
pub fn read(path: &Path) -> Result<Vec<Event>, Failure> {
    let path = if path.is_dir() { path.join("report.json") } else { path.to_owned() };
    let text = fs::read(&path).map_err(|e| Failure::file(&path, e))?;
    let found: Found = serde_json::from_slice(&text).map_err(|e| Failure::file(&path, e))?;
    if found.schema == SCHEMA {
        Ok(found.events)
    } else {
        Err(Failure::file(&path, format!("not a report of this kind: {}", found.schema)))
    }
}
