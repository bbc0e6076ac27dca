//! `jetpack diff`: what an app changed of its files.

use std::process::ExitCode;

use appc::executor::changed;
use appc::pod::PodDir;

use crate::context::Context;
use crate::error::CommandError;
use crate::output;

/// Tell what an app of a pod that has ended changed: `+` what is new, `-` what is gone, `~` what differs, and in what.
///
/// Of a directory that is gone, itself alone. A file that was written to and holds what it held is no change, and volumes are
/// nothing of the app's own files.
#[derive(clap::Args)]
pub struct Args {
    /// As JSON
    #[arg(long)]
    json: bool,
    /// A UUID, the beginning of one, or a name; of one app with `:APP` behind it
    #[arg(value_name = "POD[:APP]")]
    pod: String,
    /// One app of several
    app: Option<String>,
}

pub fn run(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let (mut pod, app) = app_of(&args.pod, args.app.as_deref(), context)?;
    changed::take(&mut pod)?;
    changed::changes(&pod, app.as_deref(), |changes| {
        if args.json {
            return output::json(changes);
        }
        changes.iter().for_each(|change| println!("{change}"));
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The pod and the app that are meant: `POD APP` or `POD:APP`.
pub fn app_of(pod: &str, app: Option<&str>, context: &Context) -> Result<(PodDir, Option<String>), CommandError> {
    let (pod, behind) = pod.split_once(':').map_or((pod, None), |(pod, app)| (pod, Some(app)));
    if let (Some(one), Some(other)) = (behind, app) {
        return Err(CommandError::usage(format!("two apps are named: {one} and {other}")));
    }
    Ok((context.pods()?.find(pod)?, behind.or(app).map(str::to_owned)))
}
