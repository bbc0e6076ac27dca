//! `jetpack rm`: remove pods that no longer run.

use std::process::ExitCode;

use appc::executor::local;
use appc::pod::State;

use crate::context::Context;
use crate::error::CommandError;

/// Remove pods that do not run.
#[derive(clap::Args)]
pub struct Args {
    /// UUIDs, beginnings of UUIDs, or names
    #[arg(required = true, value_name = "POD")]
    pods: Vec<String>,
}

pub fn run(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let pods = context.pods()?;
    for text in &args.pods {
        let pod = pods.find(text)?;
        let uuid = pod.uuid();
        if pod.state() == State::Running {
            return Err(CommandError::failed(format!("remove pod {uuid}: it runs"))
                .hint(format!("`jetpack stop {text}` ends it first")));
        }
        local::remove(&pods, pod)?;
        println!("{uuid}");
    }
    Ok(ExitCode::SUCCESS)
}
