//! `jetpack export`: make an image of an app as it was left.

use std::path::PathBuf;
use std::process::ExitCode;

use appc::executor::local;

use crate::context::Context;
use crate::error::CommandError;

/// Pack the files of an app that no longer runs into an image, with the manifest that it came with.
#[derive(clap::Args)]
pub struct Args {
    /// A UUID, the beginning of one, or a name; of one app with `:APP` behind it
    #[arg(value_name = "POD[:APP]")]
    pod: String,
    /// The image file, its name ending in .aci
    #[arg(value_name = "OUT.aci")]
    out: PathBuf,
    /// Replace a file that is there
    #[arg(long)]
    overwrite: bool,
}

pub fn run(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let (pod, app) = args.pod.split_once(':').map_or((args.pod.as_str(), None), |(pod, app)| (pod, Some(app)));
    let mut pod = context.pods()?.find(pod)?;
    local::export(&mut pod, app, &args.out, args.overwrite).map_err(|error| {
        let busy = *error.kind() == appc::executor::Kind::Busy && !pod.has_ended();
        let error = CommandError::from(error);
        if busy { error.hint(format!("stop it first: jetpack stop {}", pod.uuid())) } else { error }
    })?;
    Ok(ExitCode::SUCCESS)
}
