//! `jetpack commit`: an image of what an app changed.

use std::process::ExitCode;

use appc::executor::changed;
use appc::layer::Commit;

use crate::context::Context;
use crate::diff::app_of;
use crate::error::CommandError;
use crate::made::{self, ImageArgs};

/// Make an image of what an app of a pod that has ended changed, and print its ID.
///
/// The image depends on the one that the app ran in, and holds what differs; where something is gone, its pathWhitelist names all
/// that is left. Its manifest is the other's, changed as the options say. Times later than those of the parent's files are the
/// newest of them, or SOURCE_DATE_EPOCH, so that the same changes make the same image.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    image: ImageArgs,
    /// A UUID, the beginning of one, or a name; of one app with `:APP` behind it
    #[arg(value_name = "POD[:APP]")]
    pod: String,
    /// One app of several
    app: Option<String>,
}

pub fn run(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    args.image.check()?;
    let instead = match &args.image.manifest {
        Some(path) => Some(made::keys(made::open(path)?, path)?),
        None => None,
    };
    let (mut pod, app) = app_of(&args.pod, args.app.as_deref(), context)?;
    changed::take(&mut pod)?;
    let app = app.as_deref();
    let describe = args.image.describe(changed::parent(&pod, app)?, instead)?;
    let how = Commit { flat: args.image.flat, epoch: made::epoch()?, newest: None };
    let origin = format!("commit of pod {}", pod.uuid());
    let made = made::commit((&pod, app), &how, &describe, &origin, |archive| archive, context)?;
    args.image.write(&made.image)?;
    println!("{}", made.image.id());
    Ok(ExitCode::SUCCESS)
}
