//! `actool id`: the image ID of an archive.

use std::path::PathBuf;
use std::process::ExitCode;

use appc::aci::{self, Nothing};

use crate::error::CommandError;
use crate::input::{self, Reading};

/// Print the ID of an image: the SHA-512 of its uncompressed archive.
#[derive(clap::Args)]
pub struct Args {
    /// The image
    #[arg(value_name = "ACI")]
    image: PathBuf,
    #[command(flatten)]
    reading: Reading,
}

pub fn run(args: &Args) -> Result<ExitCode, CommandError> {
    let read = aci::read(input::open(&args.image)?, &args.reading.options()?, &mut Nothing);
    let summary = input::of(&args.image, read)?;
    println!("{}", summary.image_id);
    Ok(ExitCode::SUCCESS)
}
