//! `jetpack version`: which version this is, and of which specification.

use std::process::ExitCode;

use crate::context::Context;
use crate::error::CommandError;

/// Print the version of jetpack and of the specification it follows.
#[derive(clap::Args)]
pub struct Args {}

pub fn run(_: &Args, _: &Context) -> Result<ExitCode, CommandError> {
    println!("jetpack version {}", env!("CARGO_PKG_VERSION"));
    println!("appc specification {}", appc::SPEC_VERSION);
    Ok(ExitCode::SUCCESS)
}
