//! `jetpack image`: what can be done with images in the store.

mod cat_manifest;
pub mod export;
mod extract;
mod gc;
mod import;
mod inspect;
mod output;
mod render;
mod rm;
pub mod show;
mod verify;

use std::process::ExitCode;

use clap::Subcommand;

use crate::context::Context;
use crate::error::CommandError;

/// Look at images in the store, write them out, check them, take them away.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(visible_alias = "ls")]
    List(crate::images::Args),
    Show(show::Args),
    Inspect(inspect::Args),
    CatManifest(cat_manifest::Args),
    Export(export::Args),
    Import(import::Args),
    Extract(extract::Args),
    Render(render::Args),
    Verify(verify::Args),
    Rm(rm::Args),
    Gc(gc::Args),
}

pub fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    if let Command::Export(_) | Command::Extract(_) | Command::Render(_) = args.command {
        appc::sys::unfinished::remove_at_signals()?;
    }
    match args.command {
        Command::List(args) => crate::images::run(args, context),
        Command::Show(args) => show::run(args, context),
        Command::Inspect(args) => inspect::run(&args, context),
        Command::CatManifest(args) => cat_manifest::run(args, context),
        Command::Export(args) => export::run(args, context),
        Command::Import(args) => import::run(&args, context),
        Command::Extract(args) => extract::run(args, context),
        Command::Render(args) => render::run(args, context),
        Command::Verify(args) => verify::run(args, context),
        Command::Rm(args) => rm::run(args, context),
        Command::Gc(args) => gc::run(args, context),
    }
}
