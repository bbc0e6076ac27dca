//! `actool diff`: what differs between two images.

use std::path::PathBuf;
use std::process::ExitCode;

use appc::aci;

use crate::error::CommandError;
use crate::input::{self, Reading};
use crate::output;

/// Tell what differs between two images: entries and values of the manifest. Exit code 1 where anything does.
#[derive(clap::Args)]
pub struct Args {
    /// The image taken for the older one
    #[arg(value_name = "A")]
    before: PathBuf,
    /// The image taken for the newer one
    #[arg(value_name = "B")]
    after: PathBuf,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reading: Reading,
}

pub fn run(args: &Args) -> Result<ExitCode, CommandError> {
    let options = args.reading.options()?;
    let comparison = aci::compare(input::open(&args.before)?, input::open(&args.after)?, &options)?;
    if args.json {
        output::json(&comparison)?;
    } else {
        print!("{comparison}");
    }
    Ok(if comparison.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
