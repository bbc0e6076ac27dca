//! `jetpack run-prepared`: run a pod that was prepared.

use std::process::ExitCode;

use appc::executor::local::Begin;
use appc::pod::State;

use crate::context::Context;
use crate::error::CommandError;
use crate::run::{Start, start};

/// Run a pod that `jetpack prepare` made, once.
///
/// One that could not be started stays prepared. Exit codes are those of `jetpack run`.
#[derive(clap::Args)]
pub struct Args {
    /// A UUID, the beginning of one, or a name
    pod: String,
    #[command(flatten)]
    start: Start,
}

pub fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let begin = || -> Result<ExitCode, CommandError> {
        let mut pod = context.pods()?.find(&args.pod)?;
        let state = pod.state();
        if state != State::Prepared {
            return Err(CommandError::failed(format!("run pod {}: it is not prepared but {state}", pod.uuid())));
        }
        pod.lock()?;
        // A pod runs once: another process may have run it while we waited for the lock.
        if pod.has_started() {
            return Err(CommandError::failed(format!("run pod {}: it has run already", pod.uuid())));
        }
        start(pod, Begin::Later, &args.start, context)
    };
    begin().map_err(CommandError::before_start)
}
