//! `jetpack start`: run a pod that has ended once more.

use std::process::ExitCode;

use appc::executor::local::{self, Begin};
use appc::pod::State;

use crate::context::Context;
use crate::error::CommandError;
use crate::run::{self, Start};

/// Run a pod that has ended once more.
///
/// It runs as it was made: with fresh root file systems and empty volumes, under its UUID and name. One that is prepared is run too. Exit
/// codes are those of `jetpack run`.
#[derive(clap::Args)]
pub struct Args {
    /// A UUID, the beginning of one, or a name
    pod: String,
    #[command(flatten)]
    start: Start,
}

pub fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let begin = || -> Result<ExitCode, CommandError> {
        let pods = context.pods()?;
        let mut pod = pods.find(&args.pod)?;
        let uuid = pod.uuid();
        let refused = |state: State| CommandError::failed(format!("start pod {uuid}: it is {state}"));
        match pod.state() {
            State::Exited | State::Prepared => {}
            state => return Err(refused(state)),
        }
        let runs = |_| refused(State::Running);
        pod.lock().map_err(runs)?;
        // Its name may be another's by now.
        if let Some(name) = pod.given_name() {
            pods.name(&pod, &name)?;
        }
        if pod.has_started() {
            local::unstart(&pods, &pod)?;
        }
        run::start(pod, Begin::Later, &args.start, context)
    };
    begin().map_err(CommandError::before_start)
}
