//! `appc-conformance compare`: what changed between two reports.

use std::collections::BTreeMap;
use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use super::lost;
use crate::Failure;
use crate::event::{Event, State};
use crate::report::{self, summary::Summary};

/// Tell which clauses changed their state between two reports; exit status 1 when one that passed no longer does
#[derive(clap::Args)]
pub struct Args {
    /// The earlier report: `report.json` or the directory that holds it
    before: PathBuf,
    /// The later report
    after: PathBuf,
}

/// Does it.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let (before, after) = (report::read(&args.before)?, report::read(&args.after)?);
    let (before, after) = (states(&before), states(&after));
    let mut out = stdout().lock();
    let mut worse = 0;
    let mut changed = 0;
    let names: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    for name in names {
        let (old, new) = (before.get(name), after.get(name));
        if old == new {
            continue;
        }
        changed += 1;
        let lost_pass = old == Some(&State::Pass) && new != Some(&State::Pass);
        worse += usize::from(lost_pass);
        let word = |state: Option<&State>| state.map_or("-", |state| state.word());
        let mark = if lost_pass { "worse" } else { "     " };
        writeln!(out, "{mark} {:<22} {:<40} {} -> {}", name.0, name.1, word(old), word(new)).map_err(lost)?;
    }
    writeln!(out, "{changed} changed, {worse} worse").map_err(lost)?;
    Ok(if worse == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn states(events: &[Event]) -> BTreeMap<(String, String), State> {
    let summary = Summary::of(events);
    summary
        .targets
        .iter()
        .flat_map(|target| target.states.iter().map(|(id, state)| ((target.name.to_owned(), id.clone()), *state)))
        .collect()
}
