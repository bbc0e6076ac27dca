//! `jetpack image rm`: take images out of the store.

use std::process::ExitCode;

use appc::store::ImageRef;

use crate::context::Context;
use crate::error::CommandError;
use crate::obtain::reference;

/// Take images out of the store; not those that pods use.
#[derive(clap::Args)]
pub struct Args {
    /// IDs, beginnings of IDs, or names with labels
    #[arg(required = true, value_name = "IMAGE", value_parser = reference)]
    images: Vec<ImageRef>,
}

pub fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let store = context.store()?;
    for reference in &args.images {
        let id = store.identify(reference)?;
        store.remove(&id, &context.uses()?)?;
        println!("{id}");
    }
    Ok(ExitCode::SUCCESS)
}
