//! `actool diff`: what differs between two images.

use std::path::PathBuf;
use std::process::ExitCode;

use appc::aci::{self, Nothing};

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
    let compared = aci::compare(input::open(&args.before)?, input::open(&args.after)?, &options);
    // Which of the two it is of, an error does not say; the second it is where the first can be read.
    let comparison = compared.or_else(|error| {
        input::of(&args.before, aci::read(input::open(&args.before)?, &options, &mut Nothing))?;
        input::of(&args.after, Err(error))
    })?;
    if args.json {
        output::json(&comparison)?;
    } else {
        print!("{comparison}");
    }
    Ok(if comparison.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
