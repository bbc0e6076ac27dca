//! `jetpack rm`: remove pods that no longer run.

use std::process::ExitCode;

use appc::executor::local::{self, Damage};
use appc::pod::{Pods, State};
use uuid::Uuid;

use crate::context::Context;
use crate::error::CommandError;
use crate::stop;

/// Remove pods that do not run, or with --force any.
#[derive(clap::Args)]
pub struct Args {
    /// UUIDs, beginnings of UUIDs, or names
    #[arg(required = true, value_name = "POD")]
    pods: Vec<String>,
    /// End pods that run, at once, and remove those whose files are damaged too, telling what could not be undone
    #[arg(short, long)]
    force: bool,
}

pub fn run(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let pods = context.pods()?;
    let mut code = ExitCode::SUCCESS;
    for text in &args.pods {
        // One that cannot be removed keeps none of the others.
        match remove(args, &pods, text) {
            Ok(uuid) => println!("{uuid}"),
            Err(error) => code = error.report(),
        }
    }
    Ok(code)
}

fn remove(args: &Args, pods: &Pods, text: &str) -> Result<Uuid, CommandError> {
    let mut pod = pods.find(text)?;
    let uuid = pod.uuid();
    if args.force && pod.state() == State::Running {
        stop::at_once(pods, &mut pod)?;
    }
    if matches!(pod.state(), State::Running | State::Preparing) {
        return Err(CommandError::failed(format!("remove pod {uuid}: it runs"))
            .hint(format!("`jetpack stop {text}` ends it first, `jetpack rm --force {text}` does both")));
    }
    let damage = if args.force { Damage::Told } else { Damage::Keeps };
    for left in local::remove(pods, pod, damage)? {
        eprintln!("jetpack: warning: pod {uuid}: not undone: {left}");
    }
    Ok(uuid)
}
