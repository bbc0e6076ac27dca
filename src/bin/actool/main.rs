//! `actool`: build, inspect and validate App Container Images.

mod build;
mod cat_manifest;
mod discover;
mod error;
mod explain;
mod extract;
mod id;
mod input;
#[path = "../common/insecure.rs"]
mod insecure;
#[path = "../common/manual.rs"]
mod manual;
mod print;
mod validate;
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
    Build(build::Args),
    CatManifest(cat_manifest::Args),
    Completions(manual::CompletionsArgs),
    Explain(explain::Args),
    Extract(extract::Args),
    Id(id::Args),
    Discover(discover::Args),
    Man(manual::ManArgs),
    Validate(validate::Args),
    Version(version::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Build(args) => build::run(&args),
        Command::CatManifest(args) => cat_manifest::run(&args),
        Command::Completions(args) => {
            manual::completions(&args, Cli::command());
            Ok(ExitCode::SUCCESS)
        }
        Command::Explain(args) => explain::run(&args),
        Command::Extract(args) => extract::run(&args),
        Command::Id(args) => id::run(&args),
        Command::Discover(args) => discover::run(&args),
        Command::Man(args) => manual::man(&args, Cli::command()).map(|()| ExitCode::SUCCESS).map_err(Into::into),
        Command::Validate(args) => validate::run(&args),
        Command::Version(args) => version::run(&args),
    };
    done.unwrap_or_else(error::CommandError::report)
}
