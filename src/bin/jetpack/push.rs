//! `jetpack push`: an image of the store becomes one of a registry.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use appc::aci::ReadOptions;
use appc::discovery::RegistryName;
use appc::oci::{self, ExportOptions, Open, Part};
use appc::render::Pull;
use appc::store::ImageRef;

use crate::context::Context;
use crate::error::CommandError;
use crate::{obtain, remote};

/// Push an image of the store, with what it depends on, to a registry of OCI images; print the digest.
///
/// What the registry has already is not sent again. Credentials are those of `podman login` and `docker login`.
#[derive(clap::Args)]
pub struct Args {
    /// The image: a file, an ID, or a name with labels
    #[arg(value_name = "IMAGE", value_parser = obtain::reference)]
    image: ImageRef,
    /// Where it goes: docker://[HOST[:PORT]/]NAME[:TAG]
    #[arg(value_name = "docker://NAME", value_parser = registry_name)]
    target: RegistryName,
}

fn registry_name(text: &str) -> Result<RegistryName, String> {
    if !RegistryName::is_meant(text) {
        return Err("a name in a registry begins with docker://".to_owned());
    }
    text.parse().map_err(|error| format!("failed to {}", appc::error::chain(&error)))
}

pub fn run(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let store = context.store()?;
    let obtained = obtain::obtain(context, &store, &args.image, Pull::New)?;
    let plan = store.plan(&obtained.image)?;
    let mut parts = Vec::new();
    for pass in plan.passes {
        let image = store.image(&pass.image)?;
        let manifest = Arc::new(image.manifest().clone());
        let open: Arc<Open> = Arc::new(move || Ok(Box::new(image.archive().map_err(std::io::Error::other)?)));
        parts.push(Part { pass, manifest, open });
    }
    let remote = remote::remote(context)?;
    let registry = remote.registries.to_push(&args.target)?;
    let place = oci::private_directory(&context.root()?)?;
    let blobs: Vec<PathBuf> = Vec::new();
    let staged =
        oci::stage(&parts, place.path(), &ExportOptions { compress: true, blobs, read: ReadOptions::default() })?;
    for told in &staged.told {
        eprintln!("jetpack: {}", told.message);
    }
    println!("{}", registry.push(&staged)?);
    Ok(ExitCode::SUCCESS)
}
