//! `appc-conformance list`: what there is.

use std::io::{Write, stdout};
use std::path::Path;
use std::process::ExitCode;

use super::lost;
use crate::Failure;
use crate::suite::Suite;

/// List cases, clauses or targets
#[derive(clap::Args)]
pub struct Args {
    /// What to list
    #[arg(value_enum, default_value = "cases")]
    what: What,
}

#[derive(Clone, clap::ValueEnum)]
enum What {
    /// Cases with the number of clauses each checks
    Cases,
    /// Clauses with the number of cases each has
    Clauses,
    /// Targets
    Targets,
}

/// Does it.
pub fn run(args: &Args, suite: &Path) -> Result<ExitCode, Failure> {
    let suite = Suite::read(suite)?;
    let mut out = stdout().lock();
    let mut lines = Vec::new();
    match args.what {
        What::Cases => lines.extend(
            suite
                .cases
                .iter()
                .map(|case| format!("{:<45} {:>3}  {}", case.name, case.action.clauses().len(), case.about)),
        ),
        What::Clauses => {
            for clause in suite.clauses.values() {
                let count =
                    suite.cases.iter().filter(|case| case.action.clauses().contains(&clause.id.as_str())).count();
                lines.push(format!("{:<40} {:<11} {count:>3}  {}", clause.id, clause.strength, clause.statement));
            }
        }
        What::Targets => lines.extend(
            suite
                .targets()?
                .iter()
                .map(|target| format!("{:<25} {:<8} {}", target.name, target.platform, target.about)),
        ),
    }
    lines.iter().try_for_each(|line| writeln!(out, "{line}")).map_err(lost)?;
    Ok(ExitCode::SUCCESS)
}
