//! `jetpack image render`: an image's root file system, put together from all that it depends on.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use appc::render::{Pull, Resolver};
use appc::store::ImageRef;

use super::output::{Output, failed};
use crate::context::Context;
use crate::error::CommandError;
use crate::obtain::{find, reference};
use crate::remote::Deferred;

/// Write an image's root file system, with all that it depends on, as DIR/manifest and DIR/rootfs.
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
    let store = context.store()?;
    let image = find(&store, &args.image)?;
    let output = Output::new(&args.dir)?;
    let fetcher = Deferred::new(context);
    let resolver = Resolver { store: &store, fetcher: Some(&fetcher), pull: Pull::New };
    store.render_into(&image, output.path(), &resolver)?;
    if !args.rootfs_only {
        let manifest = output.path().join("manifest");
        fs::write(&manifest, image.manifest_bytes()).map_err(|error| failed("write", &manifest, error))?;
    }
    output.publish(args.rootfs_only)?;
    Ok(ExitCode::SUCCESS)
}
