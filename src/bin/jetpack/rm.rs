//! `jetpack rm`: remove pods that no longer run.

use std::process::ExitCode;

use appc::executor::local;
use appc::pod::{Pods, State};
use uuid::Uuid;

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
    let mut code = ExitCode::SUCCESS;
    for text in &args.pods {
        // One that cannot be removed keeps none of the others.
        match remove(&pods, text) {
            Ok(uuid) => println!("{uuid}"),
            Err(error) => code = error.report(),
        }
    }
    Ok(code)
}

fn remove(pods: &Pods, text: &str) -> Result<Uuid, CommandError> {
    let pod = pods.find(text)?;
    let uuid = pod.uuid();
    if pod.state() == State::Running {
        return Err(CommandError::failed(format!("remove pod {uuid}: it runs"))
            .hint(format!("`jetpack stop {text}` ends it first")));
    }
    local::remove(pods, pod)?;
    Ok(uuid)
}
