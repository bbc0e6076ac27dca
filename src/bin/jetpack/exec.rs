//! `jetpack exec` (`enter`): run a command beside a running app.

use std::process::ExitCode;

use appc::executor::local;
use appc::executor::users::Otherwise;
use appc::schema::AbsPath;

use crate::adapt::{user_and_group, variable, word, wrong};
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
    /// Run it as another user: a name that the app's files have now, a number, or a path whose owner counts. Its group is the one
    /// that they say of it, unless given
    #[arg(short = 'u', long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Set an environment variable; without a value, to what it is here
    #[arg(short = 'e', long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Start in this directory of the app
    #[arg(short = 'w', long, value_name = "DIR")]
    workdir: Option<String>,
    /// The command and its arguments; a shell unless given
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let (pod, app) = args.pod.split_once(':').map_or((args.pod.as_str(), None), |(pod, app)| (pod, Some(app)));
    let otherwise = otherwise(&args).map_err(CommandError::before_start)?;
    let pod = context.pods()?.find(pod).map_err(|error| CommandError::from(error).before_start())?;
    let command = if args.command.is_empty() { vec!["/bin/sh".to_owned()] } else { args.command };
    let _ = args.interactive;
    let end = local::execute(&pod, app, &command, &otherwise, args.tty, crate::context::voice)
        .map_err(|error| CommandError::from(error).before_start())?;
    Ok(ExitCode::from(u8::try_from(end.code() & 0xff).unwrap_or(125)))
}

/// Checked as `run` checks the same words.
fn otherwise(args: &Args) -> Result<Otherwise, CommandError> {
    let (user, group) = args.user.as_deref().map(user_and_group).unzip();
    if user == Some("") || group.flatten() == Some("") {
        return Err(wrong("user", args.user.as_deref().unwrap_or_default(), "it is empty"));
    }
    let mut environment: Vec<(String, String)> = Vec::new();
    for text in &args.env {
        let (name, value) = variable("env", text, text)?;
        environment.retain(|(other, _)| *other != name.as_str());
        environment.push((name.to_string(), value));
    }
    let directory = args.workdir.as_deref();
    let directory: Option<AbsPath> = directory.map(|text| word("workdir", text, "absPath", text)).transpose()?;
    Ok(Otherwise {
        user: user.map(str::to_owned),
        group: group.flatten().map(str::to_owned),
        environment,
        working_directory: directory.map(|directory| directory.as_path().to_owned()),
    })
}
