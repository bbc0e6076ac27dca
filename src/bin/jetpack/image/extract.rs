//! `jetpack image extract`: what is in an image's archive, without what it depends on.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::ExitCode;

use appc::aci::{self, ExtractOptions};
use appc::store::ImageRef;

use super::output::{Output, failed};
use crate::context::Context;
use crate::error::CommandError;
use crate::obtain::{find, reference};

/// Write what is in an image's archive, without what it depends on, as DIR/manifest and DIR/rootfs.
#[derive(clap::Args)]
pub struct Args {
    /// ID, beginning of an ID, or name with labels
    #[arg(value_parser = reference)]
    image: ImageRef,
    /// Directory to make; it must not exist
    dir: PathBuf,
    /// Make DIR the root file system itself
    #[arg(long)]
    rootfs_only: bool,
}

pub fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let image = find(&context.store()?, &args.image)?;
    let output = Output::new(&args.dir)?;
    let directory = File::open(output.path()).map_err(|error| failed("open", output.path(), error))?;
    let summary = aci::import(image.archive()?, directory.as_fd(), &ExtractOptions::default())?;
    for note in &summary.diagnostics {
        eprintln!("jetpack: {}", note.message);
    }
    output.publish(args.rootfs_only)?;
    Ok(ExitCode::SUCCESS)
}
