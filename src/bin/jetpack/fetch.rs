//! `jetpack fetch`: bring images into the store, with what they depend on, ready to run.

use std::collections::BTreeMap;
use std::process::ExitCode;

use appc::render::Pull;
use appc::store::ImageRef;

use crate::context::Context;
use crate::error::CommandError;
use crate::remote::Network;
use crate::{obtain, output};

/// Bring images into the store, with what they depend on, ready to run; print their IDs.
#[derive(clap::Args)]
pub struct Args {
    /// Files, URLs, names with labels (NAME[:VERSION][,label=value]...), or docker://NAME[:TAG|@DIGEST]
    #[arg(required = true, value_name = "IMAGE", value_parser = obtain::reference)]
    images: Vec<ImageRef>,
    /// When to ask elsewhere for what may be in the store [default: the images always, what they depend on as configured]
    #[arg(long, value_enum)]
    pull: Option<Pull>,
    /// Bring in the image alone, without what it depends on; it is rendered when it is first used
    #[arg(long)]
    no_render: bool,
    /// Refuse images of registries that are not trusted (`jetpack trust add --registry`)
    #[arg(long)]
    strict: bool,
    /// The port of discovery
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// Print JSON, when the last has come
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let network = Network { port: args.port, strict: args.strict, ..context.network.clone() };
    let context = &Context { network, ..context.clone() };
    let store = context.store()?;
    // Held to the end: nobody collects the first while the next, which may need it, is on its way.
    let mut held = Vec::new();
    let mut fetched = Vec::new();
    let mut code = ExitCode::SUCCESS;
    // Files first: whatever their order, one may depend on another.
    let of_file = |reference: &ImageRef| {
        matches!(reference, ImageRef::File(_)).then(|| obtain::look(context, &store, reference, args.pull))
    };
    let mut files: Vec<_> = args.images.iter().map(of_file).collect();
    for (reference, file) in args.images.iter().zip(&mut files) {
        let found = file.take().unwrap_or_else(|| obtain::look(context, &store, reference, args.pull));
        let image = if args.no_render {
            found.map(|(image, _)| image)
        } else {
            let dependencies = args.pull.unwrap_or(context.config.pull.value);
            found.and_then(|found| obtain::whole(context, &store, found, dependencies)).map(|obtained| obtained.image)
        };
        match image {
            Ok(image) => {
                if args.json {
                    let (origin, manifest) = (image.origin(), image.manifest());
                    let labels: BTreeMap<_, _> =
                        manifest.labels().iter().map(|label| (&label.name, &label.value)).collect();
                    fetched.push(serde_json::json!({
                        "id": image.id(),
                        "name": manifest.name,
                        "labels": labels,
                        "source": origin.source,
                        "signed_by": origin.signed_by,
                        "archive_bytes": origin.archive_bytes,
                        "tree_bytes": origin.tree_bytes,
                    }));
                } else {
                    println!("{}", image.id());
                }
                held.push(image);
            }
            Err(error) => code = error.report(),
        }
    }
    if args.json {
        output::json(fetched)?;
    }
    Ok(code)
}
