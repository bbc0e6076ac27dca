//! Reports, each made from the stream of events and from nothing else.

mod badge;
mod html;
mod json;
mod junit;
mod markdown;
pub mod summary;
mod tap;
mod text;

use std::fs;
use std::path::Path;

use crate::Failure;
use crate::event::Event;

pub use json::read;
pub use markdown::{kept, results};
pub use text::{Text, counted};

/// Writes every report to a directory.
pub fn write(dir: &Path, events: &[Event]) -> Result<(), Failure> {
    fs::create_dir_all(dir).map_err(|e| Failure::file(dir, e))?;
    let all = [
        ("report.json", json::report(events)?),
        ("report.tap", tap::report(events)),
        ("junit.xml", junit::report(events)),
        ("index.html", html::report(events)?),
        ("badge.svg", badge::report(events)),
        ("summary.md", markdown::report(events)),
    ];
    for (name, text) in all {
        let path = dir.join(name);
        fs::write(&path, text).map_err(|e| Failure::file(&path, e))?;
    }
    Ok(())
}
