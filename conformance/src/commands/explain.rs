//! `appc-conformance explain`: one case or clause in words.

use std::io::{Write, stdout};
use std::path::Path;
use std::process::ExitCode;

use super::lost;
use crate::Failure;
use crate::suite::Suite;

/// Explain a case, or a clause with its cases
#[derive(clap::Args)]
pub struct Args {
    /// A case (`area/name`) or a clause id
    name: String,
}

/// Does it.
pub fn run(args: &Args, suite: &Path) -> Result<ExitCode, Failure> {
    let suite = Suite::read(suite)?;
    let mut out = stdout().lock();
    let mut tell = |line: String| writeln!(out, "{line}").map_err(lost);
    if let Some(case) = suite.cases.iter().find(|case| case.name == args.name) {
        tell(format!("{}: {}", case.name, case.about))?;
        if !case.needs.is_empty() {
            tell(format!("needs {}", case.needs.join(", ")))?;
        }
        for check in &crate::perform::skipped(case, "").checks {
            let statement = suite.clauses.get(&check.clause).map_or("", |clause| clause.statement.as_str());
            tell(format!("\n{}: {statement}\n    expects: {}", check.clause, check.expectation))?;
        }
        return tell(format!(
            "\nThe case stands in {}",
            suite.dir.join("cases").join(format!("{}.toml", case.name)).display()
        ))
        .map(|()| ExitCode::SUCCESS);
    }
    let Some(clause) = suite.clauses.get(&args.name) else {
        return Err(Failure::usage(format!("there is neither a case nor a clause named {}", args.name)));
    };
    tell(format!("{} ({}, {}): {}", clause.id, clause.strength, clause.area, clause.statement))?;
    if let Some(why) = suite.untestable.get(&clause.id) {
        tell(format!("untestable: {why}"))?;
    }
    for case in suite.cases.iter().filter(|case| case.action.clauses().contains(&clause.id.as_str())) {
        tell(format!("  {}: {}", case.name, case.about))?;
    }
    Ok(ExitCode::SUCCESS)
}
