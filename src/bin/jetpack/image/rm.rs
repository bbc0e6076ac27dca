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
    let mut code = ExitCode::SUCCESS;
    for reference in &args.images {
        let uses = context.uses()?;
        // One that cannot be removed keeps none of the others.
        match store.identify(reference).and_then(|id| store.remove(&id, &uses).map(|_| id)) {
            Ok(id) => println!("{id}"),
            Err(error) => code = CommandError::from(error).report(),
        }
    }
    Ok(code)
}
