//! `jetpack gc`: collect pods that have ended or were left unfinished.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use appc::config::parse_duration;
use appc::executor::Kind;
use appc::executor::local::{self, Damage};
use appc::pod::{Part, PodDir, Pods, State};

use crate::context::Context;
use crate::error::CommandError;
use crate::remote;

/// Remove pods that have ended, and whatever killed supervisors left.
#[derive(clap::Args)]
pub struct Args {
    /// Keep pods that ended less than this long ago [default: as configured, 0s unless it says otherwise]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    grace: Option<Duration>,
    /// Make a root that was copied, moved or restored one of its own: forget the pods that came with it, which are undone nowhere
    #[arg(long, conflicts_with = "grace")]
    adopt: bool,
    /// Forget what servers have said, too: it is asked for again
    #[arg(long, conflicts_with = "adopt")]
    cache: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    if args.adopt {
        return adopt(args, &Pods::new(&context.root()?));
    }
    let pods = context.pods()?;
    pods.sweep()?;
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
            match local::remove(&pods, pod, Damage::Keeps) {
                Ok(_) if args.json => collected.push(uuid),
                Ok(_) => println!("{uuid}"),
                // Another `gc` is about to, or has.
                Err(error) if *error.kind() == Kind::Busy => {}
                // One that cannot be removed must not keep the others.
                Err(error) => code = CommandError::from(error).report(),
            }
        }
    }
    let forgotten = match args.cache {
        true => Some(remote::forget(context)?),
        false => None,
    };
    if args.json {
        crate::output::json(serde_json::json!({ "pods": collected, "cache_bytes": forgotten }))?;
    } else if let Some(bytes) = forgotten {
        println!("freed {bytes} bytes of what servers have said");
    }
    Ok(code)
}

fn adopt(args: &Args, pods: &Pods) -> Result<ExitCode, CommandError> {
    let forgotten = local::adopt(pods)?;
    if args.json {
        crate::output::json(serde_json::json!({ "pods": forgotten }))?;
        return Ok(ExitCode::SUCCESS);
    }
    for uuid in forgotten {
        println!("{uuid}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Since its status was written last, which is when it ended. One that was written tomorrow is young: the clock was set.
fn age(pod: &PodDir) -> Duration {
    let written = std::fs::metadata(pod.place(Part::Status)).and_then(|about| about.modified());
    match written {
        Ok(time) => SystemTime::now().duration_since(time).unwrap_or(Duration::ZERO),
        // It never came to that.
        Err(_) => Duration::MAX,
    }
}
