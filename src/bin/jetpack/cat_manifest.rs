//! `jetpack cat-manifest`: show the manifest that a pod runs by.

use std::process::ExitCode;

use appc::diagnostic::visible;
use appc::pod::Part;

use crate::context::Context;
use crate::error::CommandError;

/// Print the reified manifest of a pod.
#[derive(clap::Args)]
pub struct Args {
    /// A UUID, the beginning of one, or a name
    pod: String,
    /// On many lines
    #[arg(long, alias = "pretty-print")]
    pretty: bool,
}

pub fn run(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let manifest: serde_json::Value = context.pods()?.find(&args.pod)?.read_json(Part::Manifest)?;
    match args.pretty {
        true => crate::output::json(manifest)?,
        false => print!("{}\n", visible::json(&manifest.to_string())),
    }
    Ok(ExitCode::SUCCESS)
}
