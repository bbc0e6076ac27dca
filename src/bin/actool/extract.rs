//! `actool extract`: an archive becomes a layout.

use std::path::PathBuf;
use std::process::ExitCode;

use appc::aci::{self, Devices, ExtractOptions, Owners};

use crate::error::CommandError;
use crate::input::{self, Reading};
use crate::print;

/// Extract an image into a new directory, which becomes a layout: manifest and rootfs.
#[derive(clap::Args)]
pub struct Args {
    /// The image
    #[arg(value_name = "ACI")]
    image: PathBuf,
    /// The directory to be made
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Leave owners and groups as they come up
    #[arg(long)]
    no_owner: bool,
    /// Make device nodes, which takes root
    #[arg(long)]
    devices: bool,
    /// Apply trusted.* and all security.* attributes, which takes root
    #[arg(long)]
    privileged_xattrs: bool,
    #[command(flatten)]
    reading: Reading,
}

pub fn run(args: &Args) -> Result<ExitCode, CommandError> {
    let mut options = ExtractOptions { read: args.reading.options()?, ..ExtractOptions::default() };
    options.privileged_xattrs = args.privileged_xattrs;
    if args.no_owner {
        options.owners = Owners::Ignore;
    }
    if args.devices {
        options.devices = Devices::Make;
    }
    if args.directory.symlink_metadata().is_ok() {
        let directory = args.directory.display();
        return Err(CommandError::failed(format!("make {directory}: it is there already")));
    }
    let extracted = aci::extract(input::open(&args.image)?, &args.directory, &options);
    let summary = input::of(&args.image, extracted)?;
    print::findings(&summary.diagnostics);
    Ok(ExitCode::SUCCESS)
}
