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
mod interrupt;
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
pub struct Failure {
    text: String,
    code: u8,
}

impl Failure {
    /// A failure in words that read on after "failed: ".
    pub fn new(text: impl Into<String>) -> Failure {
        // Those of TOML end with a line of their own.
        Failure { text: text.into().trim_end().to_owned(), code: 3 }
    }

    /// A mistake in the command line that the parser cannot see.
    pub fn usage(text: impl Into<String>) -> Failure {
        Failure { text: text.into(), code: 2 }
    }

    /// A signal ended it.
    pub fn interrupted() -> Failure {
        Failure { text: "interrupted".into(), code: 130 }
    }

    /// A failure with a file.
    pub fn file(path: &Path, why: impl fmt::Display) -> Failure {
        Failure::new(format!("{}: {why}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Does an appc implementation do what the specification says, clause by clause?
///
/// Exit status: 0 when no MUST clause fails and none is left out, 1 when some do, 2 for a wrong command line, 3 when the suite itself failed, 130 when a
/// signal ended it.
#[derive(Parser)]
#[command(name = "appc-conformance", version, max_term_width = 100)]
struct Cli {
    /// Where cases and targets stand [default: where this was built, or `conformance` beside the program]
    #[arg(long, global = true, value_name = "DIR")]
    suite: Option<PathBuf>,
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
    /// Write the probe, linked so that it needs nothing else, to a file
    Probe {
        /// Where to
        file: PathBuf,
    },
}

/// The sources' own, while they are there.
fn usual_suite() -> PathBuf {
    let sources = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let beside = || Some(std::env::current_exe().ok()?.parent()?.join("conformance")).filter(|dir| dir.is_dir());
    if sources.is_dir() { sources } else { beside().unwrap_or(sources) }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let suite = cli.suite.unwrap_or_else(usual_suite);
    if let Err(e) = interrupt::heed() {
        eprintln!("appc-conformance: signals are not heeded: {e}");
    }
    let done = match cli.command.unwrap_or_else(|| Command::Run(commands::run::Args::default())) {
        Command::Run(args) => commands::run::run(&args, &suite),
        Command::List(args) => commands::list::run(&args, &suite),
        Command::Coverage(args) => commands::coverage::run(&args, &suite),
        Command::Explain(args) => commands::explain::run(&args, &suite),
        Command::Compare(args) => commands::compare::run(&args),
        Command::Mutants(args) => commands::mutants::run(&args, &suite),
        Command::Probe { file } => build::probe_file(&file),
    };
    done.unwrap_or_else(|failure| {
        eprintln!("appc-conformance: failed: {failure}");
        ExitCode::from(failure.code)
    })
}
