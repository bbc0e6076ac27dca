//! `jetpack kill`: send a signal to the apps of a pod.

use std::process::ExitCode;

use appc::executor::local;
use appc::sys::signals;

use crate::context::Context;
use crate::error::CommandError;

/// Send a signal to the main processes of a pod's apps.
#[derive(clap::Args)]
pub struct Args {
    /// The signal, by name or number
    #[arg(short, long, value_name = "SIGNAL", default_value = "TERM", value_parser = signal)]
    signal: i32,
    /// A UUID, the beginning of one, or a name; of one app with `:APP` behind it
    #[arg(value_name = "POD[:APP]")]
    pod: String,
}

pub fn run(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let (pod, app) = args.pod.split_once(':').map_or((args.pod.as_str(), None), |(pod, app)| (pod, Some(app)));
    let pod = context.pods()?.find(pod)?;
    local::signal(&pod, app, args.signal)?;
    Ok(ExitCode::SUCCESS)
}

fn signal(text: &str) -> Result<i32, String> {
    signals::named(text).ok_or_else(|| format!("`{text}` is no signal"))
}
