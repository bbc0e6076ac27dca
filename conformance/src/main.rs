//! Clause by clause: does an appc implementation do what the specification says?
//!
//! ```text
//! cases/*.toml ──▶ make ──▶ driver ──▶ the implementation ──▶ probe's findings, verdicts ──▶ checks ──▶ events ──▶ reports
//! ```
//! `suite` reads what is on disk, `perform` does a case, `engine` does many, `report` tells. `fault` is where `mutants` break an
//! implementation on purpose.

mod build;
mod case;
mod catalogue;
mod commands;
mod driver;
mod engine;
mod event;
mod fault;
mod host;
mod make;
mod mutants;
mod perform;
mod report;
mod see;
mod suite;
mod target;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The harness itself failed: a broken case, a target file that makes no sense, no probe. Never a finding about a target.
#[derive(Debug)]
pub struct Failure(String);

impl Failure {
    /// A failure in words that read on after "failed: ".
    pub fn new(text: impl Into<String>) -> Failure {
        Failure(text.into())
    }

    /// A failure with a file.
    pub fn file(path: &Path, why: impl fmt::Display) -> Failure {
        Failure(format!("{}: {why}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Does an appc implementation do what the specification says, clause by clause?
///
/// Exit status: 0 when no MUST clause fails and none is left out, 1 when some do, 2 for a wrong command line, 3 when the suite itself failed.
#[derive(Parser)]
#[command(name = "appc-conformance", version, max_term_width = 100)]
struct Cli {
    /// Where cases and targets stand
    #[arg(long, global = true, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR")))]
    suite: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    Run(commands::run::Args),
    List(commands::list::Args),
    Coverage(commands::coverage::Args),
    Explain(commands::explain::Args),
    Compare(commands::compare::Args),
    Mutants(commands::mutants::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command.unwrap_or_else(|| Command::Run(commands::run::Args::default())) {
        Command::Run(args) => commands::run::run(&args, &cli.suite),
        Command::List(args) => commands::list::run(&args, &cli.suite),
        Command::Coverage(args) => commands::coverage::run(&args, &cli.suite),
        Command::Explain(args) => commands::explain::run(&args, &cli.suite),
        Command::Compare(args) => commands::compare::run(&args),
        Command::Mutants(args) => commands::mutants::run(&args, &cli.suite),
    };
    done.unwrap_or_else(|failure| {
        eprintln!("appc-conformance: failed: {failure}");
        ExitCode::from(3)
    })
}
