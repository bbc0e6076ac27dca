//! `actool id`: the image ID of an archive.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use appc::aci::{self, Nothing};

use crate::error::CommandError;
use crate::input::{self, Reading};
use crate::output;

/// Print the ID of an image: the SHA-512 of its uncompressed archive.
#[derive(clap::Args)]
pub struct Args {
    /// The image
    #[arg(value_name = "ACI")]
    image: PathBuf,
    /// Print JSON, with the name, labels and sizes
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reading: Reading,
}

pub fn run(args: &Args) -> Result<ExitCode, CommandError> {
    let read = aci::read(input::open(&args.image)?, &args.reading.options()?, &mut Nothing);
    let summary = input::of(&args.image, read)?;
    if args.json {
        let manifest: appc::schema::ImageManifest = serde_json::from_slice(&summary.manifest)
            .map_err(|error| CommandError::failed(format!("read the manifest of {}: {error}", args.image.display())))?;
        let labels: BTreeMap<_, _> = manifest.labels().iter().map(|label| (&label.name, &label.value)).collect();
        output::json(serde_json::json!({
            "id": summary.image_id,
            "name": manifest.name,
            "labels": labels,
            "compression": summary.compression.to_string(),
            "encrypted": summary.encrypted,
            "archive_bytes": summary.transferred,
            "tree_bytes": summary.size,
            "entries": summary.entries,
        }))?;
    } else {
        println!("{}", summary.image_id);
    }
    Ok(ExitCode::SUCCESS)
}
