//! `appc-conformance coverage`: which clauses have cases.

use std::collections::BTreeMap;
use std::io::{Write, stdout};
use std::path::Path;
use std::process::ExitCode;

use super::lost;
use crate::Failure;
use crate::report::counted;
use crate::suite::Suite;

/// Tell which clauses have a case or a reason to have none; exit status 1 when one has neither
#[derive(clap::Args)]
pub struct Args {}

/// Does it.
pub fn run(_: &Args, suite: &Path) -> Result<ExitCode, Failure> {
    let suite = Suite::read(suite)?;
    let uncovered = suite.uncovered();
    let mut areas: BTreeMap<&str, (usize, usize, usize)> = BTreeMap::new();
    for clause in suite.clauses.values() {
        let area = areas.entry(clause.area.as_str()).or_default();
        area.0 += 1;
        area.1 += usize::from(suite.untestable.contains_key(&clause.id));
        area.2 += usize::from(uncovered.iter().any(|one| one.id == clause.id));
    }
    let mut out = stdout().lock();
    let mut tell = |line: String| writeln!(out, "{line}").map_err(lost);
    tell(format!("{:<22}{:>8}{:>8}{:>12}{:>9}", "area", "clauses", "cases", "untestable", "neither"))?;
    for (area, (all, untestable, neither)) in areas {
        tell(format!("{area:<22}{all:>8}{:>8}{untestable:>12}{neither:>9}", all - untestable - neither))?;
    }
    for clause in &uncovered {
        tell(format!("neither case nor reason: {} ({}) {}", clause.id, clause.strength, clause.statement))?;
    }
    let covered = suite.clauses.len() - uncovered.len();
    tell(format!(
        "{covered} of {} clauses have a case or a reason; {}",
        suite.clauses.len(),
        counted(suite.cases.len(), "case")
    ))?;
    Ok(if uncovered.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
