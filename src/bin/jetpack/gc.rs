//! `jetpack gc`: collect pods that have ended or were left unfinished.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use appc::config::parse_duration;
use appc::executor::local;
use appc::pod::{PodDir, State};

use crate::context::Context;
use crate::error::CommandError;

/// Remove pods that have ended, and whatever killed supervisors left.
#[derive(clap::Args)]
pub struct Args {
    /// Keep pods that ended less than this long ago [default: as configured, 0s unless it says otherwise]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    grace: Option<Duration>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let pods = context.pods()?;
    let grace = args.grace.unwrap_or(context.config.pod_grace.value);
    let mut code = ExitCode::SUCCESS;
    let mut collected = Vec::new();
    for pod in pods.list()? {
        let collect = match pod.state() {
            State::Embryo | State::Removing => true,
            State::Exited => age(&pod) >= grace,
            State::Preparing | State::Prepared | State::Running => false,
        };
        if collect {
            let uuid = pod.uuid();
            match local::remove(&pods, pod) {
                Ok(()) if args.json => collected.push(uuid),
                Ok(()) => println!("{uuid}"),
                // One that cannot be removed must not keep the others.
                Err(error) => code = CommandError::from(error).report(),
            }
        }
    }
    if args.json {
        crate::output::json(serde_json::json!({ "pods": collected }))?;
    }
    Ok(code)
}

/// Since its status was written last, which is when it ended.
fn age(pod: &PodDir) -> Duration {
    let written = std::fs::metadata(pod.path().join("status")).and_then(|about| about.modified());
    written.ok().and_then(|time| SystemTime::now().duration_since(time).ok()).unwrap_or(Duration::MAX)
}
