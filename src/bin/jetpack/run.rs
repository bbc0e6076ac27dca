//! `jetpack run`: make a pod of images or of a pod manifest, and run it.

use std::path::PathBuf;
use std::process::ExitCode;

use appc::executor::lifecycle::Supervision;
use appc::executor::local;

use crate::assemble;
use crate::context::Context;
use crate::error::CommandError;

/// Run a pod: the apps of the images named, or those of a pod manifest.
///
/// The exit code is that of the first app that failed, else 0; 125 when jetpack itself failed before an app started, 126
/// when a program cannot be executed, 127 when it is not there, 128+N when signal N ended an app.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    pod: assemble::PodArgs,
    /// Remove the pod when it has ended
    #[arg(long)]
    rm: bool,
    /// Write the pod's UUID into this file
    #[arg(long, value_name = "FILE")]
    uuid_file_save: Option<PathBuf>,
}

pub fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    start(args, context).map_err(CommandError::before_start)
}

fn start(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let root = context.root()?;
    let pods = context.pods()?;
    let assembled = assemble::assemble(&args.pod, context)?;
    let pod = assembled.draft.prepare(&pods, &assembled.blueprint)?;
    if let Some(file) = &args.uuid_file_save
        && let Err(error) = std::fs::write(file, format!("{}\n", pod.uuid()))
    {
        local::remove(&pods, pod)?;
        return Err(CommandError::failed(format!("write {}: {error}", file.display())));
    }
    assemble::tell_report(assembled.blueprint.report());
    let ended = local::start(&pod, &root, Supervision::default());
    let ending = match ended {
        Ok(ending) => ending,
        Err(error) => {
            local::remove(&pods, pod)?;
            return Err(error.into());
        }
    };
    if args.rm {
        local::remove(&pods, pod)?;
    }
    match ending.failure {
        Some(error) => Err(CommandError::from(error)),
        None => Ok(ExitCode::from(u8::try_from(ending.code & 0xff).unwrap_or(125))),
    }
}
