//! `jetpack image cat-manifest`: an image's manifest as it came.

use std::io::{self, Write as _};
use std::process::ExitCode;

use appc::store::ImageRef;

use crate::context::Context;
use crate::error::CommandError;
use crate::obtain::{find, reference};

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
    let mut out = io::stdout().lock();
    if args.pretty {
        let manifest: serde_json::Value = serde_json::from_slice(image.manifest_bytes())?;
        serde_json::to_writer_pretty(&mut out, &manifest)?;
        writeln!(out)?;
    } else {
        out.write_all(image.manifest_bytes())?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
