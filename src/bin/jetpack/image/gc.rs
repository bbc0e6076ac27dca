//! `jetpack image gc`: free what nobody needs.

use std::process::ExitCode;
use std::time::Duration;

use crate::context::Context;
use crate::error::CommandError;

/// Free what no pod and no image needs: images, rendered trees, what killed processes left behind.
#[derive(clap::Args)]
pub struct Args {
    /// Keep what was imported within this time: 90s, 30m, 24h, 7d [default: as configured, else 24h]
    #[arg(long, value_name = "TIME", value_parser = appc::config::parse_duration)]
    grace: Option<Duration>,
    /// Only list the images that would go
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let grace = args.grace.unwrap_or(context.config.image_grace.value);
    if args.dry_run {
        let images = context.store()?.collectable(grace, || context.uses())?;
        if args.json {
            crate::output::json(serde_json::json!({ "images": images }))?;
        } else {
            images.iter().for_each(|id| println!("{id}"));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let collected = context.store()?.collect(grace, || context.uses())?;
    if args.json {
        let facts = serde_json::json!({
            "images": collected.images,
            "trees": collected.trees,
            "bytes": collected.bytes,
        });
        crate::output::json(facts)?;
        return Ok(ExitCode::SUCCESS);
    }
    for id in &collected.images {
        println!("{id}");
    }
    let (images, trees, bytes) = (collected.images.len(), collected.trees, collected.bytes);
    println!("freed {bytes} bytes; images: {images}, rendered trees: {trees}");
    Ok(ExitCode::SUCCESS)
}
