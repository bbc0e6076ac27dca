//! `jetpack image inspect`: all that the store knows about images, as JSON.

use std::process::ExitCode;

use crate::context::Context;
use crate::error::CommandError;
use crate::inspect;

/// Print all that the store knows about images, as a JSON list in the order of the names.
#[derive(clap::Args)]
pub struct Args {
    /// IDs, beginnings of IDs, or names with labels
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

pub fn run(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let known = args.images.iter().map(|text| inspect::image(text, context)).collect::<Result<Vec<_>, _>>()?;
    crate::output::json(known)?;
    Ok(ExitCode::SUCCESS)
}
