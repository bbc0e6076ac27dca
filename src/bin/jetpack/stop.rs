//! `jetpack stop`: ask the apps of pods to end.

use std::process::ExitCode;
use std::time::Duration;

use appc::config::parse_duration;
use appc::executor::local;
use appc::pod::{Part, PodDir, Pods, State};

use crate::context::Context;
use crate::error::CommandError;
use crate::pause;

/// Ask the apps of running pods to end (SIGTERM), and end them when they take too long (SIGKILL).
///
/// A supervisor that does not answer is ended too. What has ended already is no error.
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

/// How long a supervisor may take beyond what its apps may.
const ANSWER: Duration = Duration::from_secs(5);

/// How long it may take to undo what a pod was made of.
const UNDOING: Duration = Duration::from_secs(60);

pub fn run(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let pods = context.pods()?;
    let mut asked = Vec::new();
    let mut code = ExitCode::SUCCESS;
    for text in &args.pods {
        // One that cannot be stopped keeps none of the others.
        match ask(args, &pods, text, context) {
            Ok(pod) => asked.extend(pod),
            Err(error) => code = error.report(),
        }
    }
    for (mut pod, patience) in asked {
        match see_to_its_end(&pods, &mut pod, patience) {
            Ok(()) => println!("{}", pod.uuid()),
            Err(error) => code = error.report(),
        }
    }
    Ok(code)
}

/// Gives how long the apps of the pod have from now on; nothing where it has ended.
fn ask(args: &Args, pods: &Pods, text: &str, context: &Context) -> Result<Option<(PodDir, Duration)>, CommandError> {
    let mut pod = pods.find(text)?;
    if pod.is_lost() && local::lingers(&pod)?.is_some() {
        local::end_remains(pods, &mut pod)?;
        println!("{}", pod.uuid());
        return Ok(None);
    }
    if pod.supervisor().is_none() {
        return match pod.state() {
            State::Exited | State::Removing => {
                println!("{}", pod.uuid());
                Ok(None)
            }
            state => Err(CommandError::failed(format!("stop pod {}: it does not run, it is {state}", pod.uuid()))),
        };
    }
    pause::go_on(&pod, context)?;
    let time = if args.force { Some(Duration::ZERO) } else { args.time };
    let patience = within(&pod, time, context.config.stop_grace.value)?;
    Ok(Some((pod, patience)))
}

/// Asks the apps of a pod that runs to end within `time`, else within what its supervisor was told. Gives how long that may take.
fn within(pod: &PodDir, time: Option<Duration>, configured: Duration) -> Result<Duration, CommandError> {
    let patience = match time {
        // Without the means to say so, its time ends here.
        Some(time) if pod.write_json(Part::Grace, &time.as_secs()).is_err() => time,
        Some(time) => time + ANSWER,
        None => pod.grace().unwrap_or(configured) + ANSWER,
    };
    // TERM is what nobody has a supervisor ignore; one that was stopped hears it when it goes on.
    pod.signal_supervisor(libc::SIGTERM)?;
    let _ = pod.signal_supervisor(libc::SIGCONT);
    Ok(patience)
}

/// Asks the apps of a pod that runs to end, and sees to it that they do.
pub fn politely(pods: &Pods, pod: &mut PodDir, context: &Context) -> Result<(), CommandError> {
    // What is held cannot end by itself.
    pause::go_on(pod, context)?;
    let patience = within(pod, None, context.config.stop_grace.value)?;
    see_to_its_end(pods, pod, patience)
}

/// Ends a pod that runs, at once.
pub fn at_once(pods: &Pods, pod: &mut PodDir) -> Result<(), CommandError> {
    let patience = within(pod, Some(Duration::ZERO), Duration::ZERO)?;
    see_to_its_end(pods, pod, patience)
}

/// Waits for the pod's end for as long as it may take, then ends it, and what does not even take note of that.
fn see_to_its_end(pods: &Pods, pod: &mut PodDir, patience: Duration) -> Result<(), CommandError> {
    if pod.wait_for(patience)? {
        // Its supervisor was kept from it, or was killed.
        return if pod.is_lost() {
            let why = "it has ended, and how could not be written down";
            Err(CommandError::failed(format!("stop pod {}: {why}", pod.uuid())))
        } else {
            Ok(())
        };
    }
    local::end_processes(pod)?;
    let _ = pod.signal_supervisor(libc::SIGCONT);
    if pod.wait_for(ANSWER)? {
        return Ok(());
    }
    // It may be busy with undoing, which is not to be cut short.
    if pod.status().is_some_and(|status| status.ended.is_some()) && pod.wait_for(UNDOING)? {
        return Ok(());
    }
    eprintln!("jetpack: warning: the supervisor of pod {} does not answer and is ended", pod.uuid());
    let _ = pod.signal_supervisor(libc::SIGKILL);
    if pod.wait_for(ANSWER)? {
        if local::lingers(pod)?.is_some() {
            local::end_remains(pods, pod)?;
        }
        return Ok(());
    }
    Err(CommandError::failed(format!("stop pod {}: its supervisor does not end", pod.uuid())))
}
