//! `jetpack push`: an image of the store becomes one of a registry, or of a site.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use appc::aci::ReadOptions;
use appc::discovery::RegistryName;
use appc::oci::{self, ExportOptions, Open, Part};
use appc::render::Pull;
use appc::site::{Directory, Server};
use appc::store::ImageRef;
use url::Url;

use crate::context::Context;
use crate::error::CommandError;
use crate::publishing::Options;
use crate::{obtain, output, remote};

/// Push an image to a registry of OCI images, or to a site as `actool publish` makes it. Prints the digest, or the ID and a URL.
///
/// A registry gets it with what it depends on; a site is reached by HTTP PUT or is a directory.
///
/// What a registry has already is not sent again; its credentials are those of `podman login` and `docker login`, a site's those of
/// `auth.d`. The image and the place may stand in either order.
#[derive(clap::Args)]
pub struct Args {
    /// The image: a file, an ID, or a name with labels
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Where it goes: docker://[HOST[:PORT]/]NAME[:TAG], the URL of a document root, or a directory
    #[arg(value_name = "TARGET")]
    target: String,
    #[command(flatten)]
    options: Options,
}

/// Where an image can go.
enum Target {
    Registry(RegistryName),
    Url(Url),
    Directory(PathBuf),
}

impl Target {
    /// The place that is meant, if one is.
    fn of(text: &str) -> Option<Result<Self, CommandError>> {
        let usage = |why: String| CommandError::usage(format!("{} is no place: {why}", text.escape_debug()));
        if RegistryName::is_meant(text) {
            let name = text.parse().map_err(|error| usage(format!("failed to {}", appc::error::chain(&error))));
            return Some(name.map(Self::Registry));
        }
        if (text.starts_with("https://") || text.starts_with("http://")) && !text.ends_with(".aci") {
            return Some(text.parse().map(Self::Url).map_err(|error: url::ParseError| usage(error.to_string())));
        }
        let path = Path::new(text);
        let looks = text.starts_with(['/', '.']) || text.ends_with('/');
        (path.is_dir() || looks && !path.exists()).then(|| Ok(Self::Directory(path.to_owned())))
    }
}

pub fn run(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let (image, target) = match (Target::of(&args.target), Target::of(&args.image)) {
        (Some(target), _) => (&args.image, target?),
        (None, Some(target)) => (&args.target, target?),
        (None, None) => {
            return Err(CommandError::usage(format!("`{}` is no place for an image", args.target))
                .hint("docker://NAME, the URL of a document root, or a directory: a new one as ./NAME"));
        }
    };
    let image = obtain::reference(image).map_err(CommandError::usage)?;
    match target {
        Target::Registry(name) => {
            if args.options.are_given() {
                return Err(CommandError::usage("these options are for sites, and docker://NAME is in a registry"));
            }
            to_registry(&image, &name, args.options.json(), context)
        }
        Target::Url(url) => {
            let client = remote::remote(context)?.client;
            let images = url.join(&format!("{}/aci", url.path().trim_end_matches('/')))?;
            to_site(&image, &mut Server::new(client, &url)?, Some(images), args, context)
        }
        Target::Directory(path) => to_site(&image, &mut Directory::open(&path)?, None, args, context),
    }
}

fn to_site(
    image: &ImageRef,
    place: &mut dyn appc::site::Place,
    images: Option<Url>,
    args: &Args,
    context: &Context,
) -> Result<ExitCode, CommandError> {
    if let ImageRef::File(path) = image {
        args.options.publish(place, std::slice::from_ref(path), images)?;
        return Ok(ExitCode::SUCCESS);
    }
    let store = context.store()?;
    let (image, _) = obtain::look(context, &store, image, Some(Pull::New))?;
    args.options.publish(place, &[image.archive_path()], images)?;
    Ok(ExitCode::SUCCESS)
}

fn to_registry(image: &ImageRef, name: &RegistryName, json: bool, context: &Context) -> Result<ExitCode, CommandError> {
    let store = context.store()?;
    let obtained = obtain::obtain(context, &store, image, Pull::New)?;
    let plan = store.plan(&obtained.image)?;
    let mut parts = Vec::new();
    for pass in plan.passes {
        let image = store.image(&pass.image)?;
        let manifest = Arc::new(image.manifest().clone());
        let open: Arc<Open> = Arc::new(move || Ok(Box::new(image.archive().map_err(std::io::Error::other)?)));
        parts.push(Part { pass, manifest, open });
    }
    let remote = remote::remote(context)?;
    let registry = remote.registries.to_push(name)?;
    let place = oci::private_directory(&context.root()?)?;
    let blobs: Vec<PathBuf> = Vec::new();
    let staged =
        oci::stage(&parts, place.path(), &ExportOptions { compress: true, blobs, read: ReadOptions::default() })?;
    for told in &staged.told {
        eprintln!("jetpack: {}", told.message);
    }
    let digest = registry.push(&staged)?;
    if json {
        output::json(serde_json::json!({ "digest": digest }))?;
    } else {
        println!("{digest}");
    }
    Ok(ExitCode::SUCCESS)
}
