//! `jetpack stop`: ask the apps of pods to end.

use std::process::ExitCode;
use std::time::Duration;

use appc::config::parse_duration;
use appc::executor::local;
use appc::pod::{PodDir, Pods};

use crate::context::Context;
use crate::error::CommandError;

/// Ask the apps of running pods to end (SIGTERM), and end them when they take too long (SIGKILL).
#[derive(clap::Args)]
pub struct Args {
    /// UUIDs, beginnings of UUIDs, or names
    #[arg(required = true, value_name = "POD")]
    pods: Vec<String>,
    /// End them at once
    #[arg(long)]
    force: bool,
    /// How long they may take [default: what their supervisor was told, 10s unless configured otherwise]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    time: Option<Duration>,
}

pub fn run(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let pods = context.pods()?;
    let mut stopped = Vec::new();
    let mut code = ExitCode::SUCCESS;
    for text in &args.pods {
        // One that cannot be stopped keeps none of the others.
        match ask(args, &pods, text) {
            Ok(pod) => stopped.extend(pod),
            Err(error) => code = error.report(),
        }
    }
    for pod in stopped {
        match pod.wait() {
            // Its supervisor was kept from it, or was killed.
            Ok(_) if pod.is_lost() => {
                let why = "it has ended, and how could not be written down";
                code = CommandError::failed(format!("stop pod {}: {why}", pod.uuid())).report();
            }
            Ok(_) => println!("{}", pod.uuid()),
            Err(error) => code = CommandError::from(error).report(),
        }
    }
    Ok(code)
}

fn ask(args: &Args, pods: &Pods, text: &str) -> Result<Option<PodDir>, CommandError> {
    let mut pod = pods.find(text)?;
    if pod.is_lost() && local::lingers(&pod)?.is_some() {
        local::end_remains(pods, &mut pod)?;
        println!("{}", pod.uuid());
        return Ok(None);
    }
    if pod.supervisor().is_none() {
        return Err(CommandError::failed(format!("stop pod {}: it does not run", pod.uuid())));
    }
    if let Some(time) = args.time {
        pod.write_json("grace", &time.as_secs())?;
    }
    pod.signal_supervisor(if args.force { libc::SIGQUIT } else { libc::SIGTERM })?;
    Ok(Some(pod))
}
