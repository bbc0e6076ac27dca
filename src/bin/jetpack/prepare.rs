//! `jetpack prepare`: make a pod that is run later.

use std::path::PathBuf;
use std::process::ExitCode;

use appc::executor::local::{self, Begin, Damage};

use crate::assemble;
use crate::context::Context;
use crate::error::CommandError;

/// Make a pod with all that is needed to run it, and print its UUID.
///
/// The exit code is 125 where the pod could not be made.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    pod: assemble::PodArgs,
    /// Take the place of the pod that has the name: what runs of it is asked to end, as by `jetpack stop`, and it is removed
    #[arg(long)]
    replace: bool,
    /// Write the pod's UUID into this file
    #[arg(long, value_name = "FILE")]
    uuid_file_save: Option<PathBuf>,
}

pub fn run(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let make = || -> Result<ExitCode, CommandError> {
        let pods = context.pods()?;
        let (draft, _held) = assemble::draft(&args.pod, context)?;
        if args.replace {
            assemble::make_way(&draft, &pods, context)?;
        }
        let (pod, foreseen) = draft.prepare(&pods, Begin::Later)?;
        if let Err(error) = save_uuid(args.uuid_file_save.as_deref(), &pod) {
            local::remove(&pods, pod, Damage::Keeps)?;
            return Err(error);
        }
        foreseen.iter().for_each(assemble::tell_report);
        println!("{}", pod.uuid());
        Ok(ExitCode::SUCCESS)
    };
    make().map_err(CommandError::before_start)
}

/// Writes the UUID for whoever started us.
pub fn save_uuid(file: Option<&std::path::Path>, pod: &appc::pod::PodDir) -> Result<(), CommandError> {
    let Some(file) = file else { return Ok(()) };
    std::fs::write(file, format!("{}\n", pod.uuid()))
        .map_err(|error| CommandError::failed(format!("write {}: {error}", file.display())))
}
