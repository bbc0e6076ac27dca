//! `actool version`: which version this is, and of which specification.

use std::process::ExitCode;

use crate::error::CommandError;

/// Print the version of actool and of the specification it follows.
#[derive(clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<ExitCode, CommandError> {
    if args.json {
        crate::output::json(serde_json::json!({ "actool": env!("CARGO_PKG_VERSION"), "appc": appc::SPEC_VERSION }))?;
        return Ok(ExitCode::SUCCESS);
    }
    println!("actool version {}", env!("CARGO_PKG_VERSION"));
    println!("appc specification {}", appc::SPEC_VERSION);
    Ok(ExitCode::SUCCESS)
}
