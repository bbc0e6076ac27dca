//! `jetpack rename`: give a pod another name.

use std::process::ExitCode;

use appc::pod::names;

use crate::context::Context;
use crate::error::CommandError;

/// Give a pod another name.
///
/// Its host name stays what it was.
#[derive(clap::Args)]
pub struct Args {
    /// A UUID, the beginning of one, or a name
    pod: String,
    /// The new name, unique among living pods
    #[arg(value_parser = name)]
    name: String,
}

fn name(text: &str) -> Result<String, &'static str> {
    if names::fit_name(text) { Ok(text.to_owned()) } else { Err(names::NAMES) }
}

pub fn run(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let pods = context.pods()?;
    pods.name(&pods.find(&args.pod)?, &args.name)?;
    Ok(ExitCode::SUCCESS)
}
