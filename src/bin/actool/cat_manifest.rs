//! `actool cat-manifest`: the manifest of an image.

use std::path::PathBuf;
use std::process::ExitCode;

use appc::aci::{self, Nothing};

use crate::error::CommandError;
use crate::input::{self, Reading};
use crate::output;

/// Print the manifest of an image, byte for byte as it is in the archive.
#[derive(clap::Args)]
pub struct Args {
    /// The image
    #[arg(value_name = "ACI")]
    image: PathBuf,
    /// Indent it for people
    #[arg(long)]
    pretty_print: bool,
    #[command(flatten)]
    reading: Reading,
}

pub fn run(args: &Args) -> Result<ExitCode, CommandError> {
    // All of the archive is read: what would not pass a check is not shown as if it did.
    let read = aci::read(input::open(&args.image)?, &args.reading.options()?, &mut Nothing);
    let manifest = input::of(&args.image, read)?.manifest;
    if args.pretty_print {
        let value: serde_json::Value = serde_json::from_slice(&manifest)
            .map_err(|error| CommandError::failed(format!("read the manifest of {}: {error}", args.image.display())))?;
        output::json(value)?;
    } else {
        output::json_bytes(&manifest);
    }
    Ok(ExitCode::SUCCESS)
}
