//! `jetpack image cat-manifest`: an image's manifest as it came.

use std::process::ExitCode;

use appc::store::ImageRef;

use crate::context::Context;
use crate::error::CommandError;
use crate::obtain::{find, reference};
use crate::output;

/// Print an image's manifest, byte for byte.
#[derive(clap::Args)]
pub struct Args {
    /// ID, beginning of an ID, or name with labels
    #[arg(value_parser = reference)]
    image: ImageRef,
    /// Print it indented instead
    #[arg(long)]
    pretty: bool,
}

pub fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let image = find(&context.store()?, &args.image)?;
    if args.pretty {
        output::json(serde_json::from_slice::<serde_json::Value>(image.manifest_bytes())?)?;
    } else {
        output::json_bytes(image.manifest_bytes());
    }
    Ok(ExitCode::SUCCESS)
}
