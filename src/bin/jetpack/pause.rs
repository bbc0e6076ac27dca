//! `jetpack pause` and `jetpack resume`: hold the processes of a pod, and let them go on.

use std::process::ExitCode;

use appc::pod::{PodDir, State};

use crate::context::Context;
use crate::error::CommandError;

/// Hold all processes of running pods, where they are (SIGSTOP).
///
/// What is done to a pod meanwhile waits for `jetpack resume`; `jetpack stop` lets it go on first. Nobody can refuse to be held, but a process may
/// notice by its clock, and by the CONT that ends it.
#[derive(clap::Args)]
pub struct Args {
    /// UUIDs, beginnings of UUIDs, or names
    #[arg(required = true, value_name = "POD")]
    pods: Vec<String>,
}

/// Let pods that are paused go on (SIGCONT).
///
/// One that is not is left alone.
#[derive(clap::Args)]
pub struct ResumeArgs {
    /// UUIDs, beginnings of UUIDs, or names
    #[arg(required = true, value_name = "POD")]
    pods: Vec<String>,
}

pub fn run(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    each(&args.pods, context, |pod| {
        // Written first: who is told that it is paused can resume one that is half so.
        pod.mark_paused(true)?;
        signal(pod, libc::SIGSTOP, context)
    })
}

pub fn resume(args: &ResumeArgs, context: &Context) -> Result<ExitCode, CommandError> {
    each(&args.pods, context, |pod| go_on(pod, context))
}

/// Lets a pod go on that is paused.
pub fn go_on(pod: &PodDir, context: &Context) -> Result<(), CommandError> {
    if !pod.is_paused() {
        return Ok(());
    }
    signal(pod, libc::SIGCONT, context)?;
    Ok(pod.mark_paused(false)?)
}

/// One for which it does not work keeps none of the others.
fn each(
    pods: &[String],
    context: &Context,
    act: impl Fn(&PodDir) -> Result<(), CommandError>,
) -> Result<ExitCode, CommandError> {
    let known = context.pods()?;
    let mut code = ExitCode::SUCCESS;
    for text in pods {
        let done = known.find(text).map_err(CommandError::from).and_then(|pod| match pod.state() {
            State::Running => act(&pod).map(|()| println!("{}", pod.uuid())),
            state => Err(CommandError::failed(format!("hold pod {}: it is {state}", pod.uuid()))),
        });
        if let Err(error) = done {
            code = error.report();
        }
    }
    Ok(code)
}

#[cfg(target_os = "linux")]
fn signal(pod: &PodDir, signal: i32, context: &Context) -> Result<(), CommandError> {
    if context.model.is_some() {
        return Err(of_model(pod));
    }
    crate::ps::linux::signal_all(pod, signal)
}

#[cfg(not(target_os = "linux"))]
fn signal(pod: &PodDir, signal: i32, context: &Context) -> Result<(), CommandError> {
    if context.model.is_some() {
        return Err(of_model(pod));
    }
    Ok(appc::executor::local::signal_everything(pod, signal)?)
}

fn of_model(pod: &PodDir) -> CommandError {
    CommandError::failed(format!("hold pod {}: in the model, processes end as they begin", pod.uuid()))
}
