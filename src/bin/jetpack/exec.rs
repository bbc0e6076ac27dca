//! `jetpack exec` (`enter`): run a command beside a running app.

use std::process::ExitCode;

use appc::executor::local;

use crate::context::Context;
use crate::error::CommandError;

/// Run a command in a running app: as its user, in its files, with its environment and limits.
#[derive(clap::Args)]
pub struct Args {
    /// A UUID, the beginning of one, or a name; of one app with `:APP` behind it
    #[arg(value_name = "POD[:APP]")]
    pod: String,
    /// Give the command a terminal of the pod's, shown through jetpack's own; without, one is given when jetpack's own input and
    /// output are one. What is no terminal is passed on by pipes
    #[arg(short = 't', long)]
    tty: bool,
    /// Pass standard input on, as is always done
    #[arg(short = 'i', long)]
    interactive: bool,
    /// The command and its arguments; a shell unless given
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let (pod, app) = args.pod.split_once(':').map_or((args.pod.as_str(), None), |(pod, app)| (pod, Some(app)));
    let pod = context.pods()?.find(pod).map_err(|error| CommandError::from(error).before_start())?;
    let command = if args.command.is_empty() { vec!["/bin/sh".to_owned()] } else { args.command };
    let _ = args.interactive;
    let end = local::execute(&pod, app, &command, args.tty, crate::context::voice)
        .map_err(|error| CommandError::from(error).before_start())?;
    Ok(ExitCode::from(u8::try_from(end.code() & 0xff).unwrap_or(125)))
}
