//! `actool`: build, inspect and validate App Container Images.

mod discover;
mod error;
#[path = "../common/insecure.rs"]
mod insecure;
#[path = "../common/manual.rs"]
mod manual;
mod version;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Build, inspect and validate App Container Images (appc 0.8.11).
#[derive(Parser)]
#[command(name = "actool", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Completions(manual::CompletionsArgs),
    Discover(discover::Args),
    Man(manual::ManArgs),
    Version(version::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Completions(args) => {
            manual::completions(&args, Cli::command());
            Ok(ExitCode::SUCCESS)
        }
        Command::Discover(args) => discover::run(&args),
        Command::Man(args) => manual::man(&args, Cli::command()).map(|()| ExitCode::SUCCESS).map_err(Into::into),
        Command::Version(args) => version::run(&args),
    };
    done.unwrap_or_else(error::CommandError::report)
}
