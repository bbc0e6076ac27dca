//! `jetpack version`: which version this is, and of which specification.

use std::process::ExitCode;

use crate::context::Context;
use crate::error::CommandError;

/// Print the version of jetpack and of the specification it follows.
#[derive(clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, _: &Context) -> Result<ExitCode, CommandError> {
    if args.json {
        let facts = serde_json::json!({ "jetpack": env!("CARGO_PKG_VERSION"), "appc": appc::SPEC_VERSION });
        crate::output::json(facts)?;
        return Ok(ExitCode::SUCCESS);
    }
    println!("jetpack version {}", env!("CARGO_PKG_VERSION"));
    println!("appc specification {}", appc::SPEC_VERSION);
    Ok(ExitCode::SUCCESS)
}
