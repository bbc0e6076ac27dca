//! `actool`: build, inspect and validate App Container Images.

#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "of an option they are the help that it gives, where brackets stand for what may be left out"
)]
#![forbid(unsafe_code)]

#[macro_use]
#[path = "../common/output.rs"]
mod output;

#[path = "../common/progress.rs"]
mod reading;

mod build;
mod cat_manifest;
mod diff;
mod discover;
mod draft;
mod edit;
#[path = "../common/edits.rs"]
mod edits;
mod error;
mod explain;
mod export;
mod extract;
mod id;
mod import;
mod init;
mod input;
#[path = "../common/insecure.rs"]
mod insecure;
mod ls;
#[path = "../common/manual.rs"]
mod manual;
mod patch_manifest;
mod print;
mod publish;
#[path = "../common/publishing.rs"]
mod publishing;
mod sign;
#[path = "../common/signing.rs"]
mod signing;
mod validate;
mod verify;
mod version;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

const EXIT_CODES: &str =
    "Exit codes: 0 done, 1 failed (validate: not valid; diff: they differ), 2 a wrong command line.";

/// Build, inspect and validate App Container Images (appc 0.8.11).
#[derive(Parser)]
#[command(name = "actool", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    /// Show no progress; `validate` tells errors only
    #[arg(short, long, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Build(Box<build::Args>),
    CatManifest(cat_manifest::Args),
    Completions(manual::CompletionsArgs),
    Diff(diff::Args),
    Discover(discover::Args),
    Edit(Box<edit::Args>),
    Explain(explain::Args),
    Export(export::Args),
    Extract(extract::Args),
    Id(id::Args),
    Import(import::Args),
    Init(Box<init::Args>),
    Ls(ls::Args),
    Man(manual::ManArgs),
    PatchManifest(Box<patch_manifest::Args>),
    Publish(Box<publish::Args>),
    Sign(sign::Args),
    Validate(validate::Args),
    Verify(verify::Args),
    Version(version::Args),
}

fn main() -> ExitCode {
    appc::sys::signals::begin_afresh();
    appc::sys::signals::end_at_broken_pipe();
    manual::complete(Cli::command);
    let cli = Cli::parse();
    if cli.quiet {
        reading::hide();
    }
    if let Command::Build(_) | Command::Extract(_) | Command::PatchManifest(_) = cli.command {
        // Without it the next one that makes the same takes away what this one leaves.
        let _ = appc::sys::unfinished::remove_at_signals();
    }
    let done = match cli.command {
        Command::Build(args) => build::run(&args),
        Command::CatManifest(args) => cat_manifest::run(&args),
        Command::Completions(args) => {
            manual::completions(&args, Cli::command().get_name()).map(|()| ExitCode::SUCCESS).map_err(Into::into)
        }
        Command::Explain(args) => explain::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Extract(args) => extract::run(&args),
        Command::Id(args) => id::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Discover(args) => discover::run(&args),
        Command::Init(args) => init::run(&args),
        Command::Edit(args) => edit::run(&args),
        Command::Ls(args) => ls::run(&args),
        Command::Man(args) => {
            manual::man(&args, Cli::command()).map(|()| ExitCode::SUCCESS).map_err(error::CommandError::failed)
        }
        Command::PatchManifest(args) => patch_manifest::run(&args),
        Command::Validate(args) => validate::run(&args, cli.quiet),
        Command::Publish(args) => publish::run(&args),
        Command::Sign(args) => sign::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Version(args) => version::run(&args),
    };
    done.unwrap_or_else(error::CommandError::report)
}
