//! `actool`: build, inspect and validate App Container Images.

mod error;
mod version;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Build, inspect and validate App Container Images (appc 0.8.11).
#[derive(Parser)]
#[command(name = "actool", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Version(version::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Version(args) => version::run(&args),
    };
    done.unwrap_or_else(error::CommandError::report)
}
