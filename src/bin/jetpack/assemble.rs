//! From a command line to a pod that could be made: images found and rendered, the manifest reified, the plan compiled.

use std::path::PathBuf;

use appc::diagnostic::Severity;
use appc::executor::isolation::Report;
use appc::executor::local::{Blueprint, Draft};
use appc::executor::planning::{AppImage, Choices};
use appc::pod::{ResolvedImage, reify};
use appc::render::{Pull, Rendered};
use appc::schema::{AcName, ImageId, PodApp, PodImage, PodManifest, validate};
use appc::store::{Image, ImageRef, NameRef, Store};
use uuid::Uuid;

use crate::context::Context;
use crate::error::CommandError;
use crate::obtain::obtain;

/// What a pod is made of.
#[derive(clap::Args)]
pub struct PodArgs {
    /// Images: files, IDs or beginnings of them, or NAME[:VERSION][,label=value]...
    #[arg(value_name = "IMAGE", required_unless_present = "pod_manifest")]
    images: Vec<String>,
    /// Arguments in place of those of the (last) image's app, after `--`
    #[arg(last = true, value_name = "ARGS")]
    arguments: Vec<String>,
    /// Run the pod that this manifest describes; `-` reads standard input
    #[arg(long, value_name = "FILE", conflicts_with = "images")]
    pod_manifest: Option<PathBuf>,
    /// Give the pod a name
    #[arg(long)]
    name: Option<String>,
    /// When to ask elsewhere for images
    #[arg(long, value_enum, default_value_t = Pull::New)]
    pull: Pull,
    /// Refuse to run unless everything asked for is enforced
    #[arg(long)]
    strict: bool,
    /// Follow symbolic links in sources of host volumes
    #[arg(long)]
    follow_links: bool,
    /// Offer no metadata service
    #[arg(long)]
    no_metadata: bool,
}

/// A pod that could be made.
pub struct Assembled {
    /// What it is.
    pub draft: Draft,
    /// How this system would run it.
    pub blueprint: Blueprint,
    /// Keeps the images from being collected until the pod's directory says that it stands on them.
    #[expect(dead_code, reason = "held for its locks")]
    pub held: Vec<Rendered>,
}

/// Finds everything that `args` name. Makes nothing but images in the store.
pub fn assemble(args: &PodArgs, context: &Context) -> Result<Assembled, CommandError> {
    let store = context.store()?;
    let mut images = Vec::new();
    let template = match &args.pod_manifest {
        Some(file) => read_manifest(file)?,
        None => from_images(args, context, &store, &mut images)?,
    };
    let find = |wanted: &PodImage| -> Result<ResolvedImage, CommandError> {
        let image = match images.iter().find(|image: &&Image| Some(image.id()) == wanted.id.as_ref()) {
            Some(image) => image.clone(),
            None => obtain(context, &store, &reference(wanted)?, args.pull)?,
        };
        let resolved = ResolvedImage { id: image.id().clone(), manifest: image.manifest().clone() };
        images.push(image);
        Ok(resolved)
    };
    let (manifest, resolved) = reify(template, find)?;
    let uuid = Uuid::new_v4();
    let mut choices = Choices::new(uuid, context.root()?.join("pods").join(uuid.to_string()));
    choices.name.clone_from(&args.name);
    choices.metadata = !args.no_metadata;
    choices.follow_links = args.follow_links;
    let mut app_images = Vec::new();
    let mut image_manifests = Vec::new();
    let mut held = Vec::new();
    for resolved in resolved {
        let image = store.image(&resolved.id)?;
        let rendered = store.rendered(&image)?;
        app_images.push(AppImage {
            id: resolved.id.to_string(),
            manifest: resolved.manifest,
            layers: rendered.layers.clone(),
        });
        image_manifests.push(image.manifest_bytes().to_vec());
        held.push(rendered);
    }
    let draft = Draft { manifest, images: app_images, image_manifests, choices };
    let blueprint = draft.plan()?;
    if args.strict {
        let unmet: Vec<String> = blueprint.report().unmet().map(ToString::to_string).collect();
        if !unmet.is_empty() {
            return Err(CommandError::failed(format!("run the pod strictly: {}", unmet.join("; "))));
        }
    }
    Ok(Assembled { draft, blueprint, held })
}

/// Tells what does not hold as it should.
pub fn tell_report(report: &Report) {
    for verdict in report.weaker() {
        eprintln!("jetpack: {verdict}");
    }
}

fn read_manifest(file: &PathBuf) -> Result<PodManifest, CommandError> {
    let failed = |error: std::io::Error| CommandError::failed(format!("read {}: {error}", file.display()));
    let bytes = if file.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes).map_err(failed)?;
        bytes
    } else {
        std::fs::read(file).map_err(failed)?
    };
    validate::pod_manifest(&bytes, &validate::Options::default()).map_err(|diagnostics| {
        let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
        let words: Vec<String> =
            errors.map(|diagnostic| format!("error[{}]: {}", diagnostic.clause, diagnostic.message)).collect();
        CommandError::failed(format!("read the pod manifest {}: {}", file.display(), words.join("; ")))
    })
}

/// A pod of one app an image, each named after its image.
fn from_images(
    args: &PodArgs,
    context: &Context,
    store: &Store,
    images: &mut Vec<Image>,
) -> Result<PodManifest, CommandError> {
    let mut apps: Vec<PodApp> = Vec::new();
    for text in &args.images {
        let image = obtain(context, store, &text.parse::<ImageRef>()?, args.pull)?;
        let mut app = PodApp {
            annotations: None,
            app: None,
            image: PodImage {
                id: Some(image.id().clone()),
                name: Some(image.manifest().name.clone()),
                labels: image.manifest().labels.clone(),
                extra: serde_json::Map::new(),
            },
            mounts: Vec::new(),
            name: app_name(&image, &apps)?,
            read_only_root_fs: false,
            extra: serde_json::Map::new(),
        };
        let last = apps.len() + 1 == args.images.len();
        if last && !args.arguments.is_empty() {
            let mut own = image.manifest().app.clone();
            if let Some(own) = &mut own {
                own.exec.truncate(1);
                own.exec.extend(args.arguments.iter().cloned());
            }
            app.app = own;
        }
        apps.push(app);
        images.push(image);
    }
    Ok(PodManifest {
        ac_kind: appc::schema::PodManifestKind::PodManifest,
        ac_version: appc::schema::AcVersion::current(),
        annotations: None,
        apps,
        isolators: Vec::new(),
        ports: Vec::new(),
        user_annotations: None,
        user_labels: None,
        volumes: Vec::new(),
        extra: serde_json::Map::new(),
    })
}

/// The last part of the image's name, made an AC name, with a number where another app has it.
fn app_name(image: &Image, apps: &[PodApp]) -> Result<AcName, CommandError> {
    let name = &*image.manifest().name;
    let last = name.rsplit('/').next().unwrap_or(name);
    let plain: String =
        last.chars().map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' }).collect();
    let words: Vec<&str> = plain.split('-').filter(|word| !word.is_empty()).collect();
    let plain = words.join("-");
    let taken = |name: &str| apps.iter().any(|app| app.name.as_str() == name);
    let mut fit = plain.clone();
    let mut number = 2;
    while taken(&fit) {
        fit = format!("{plain}-{number}");
        number += 1;
    }
    fit.parse().map_err(|_| CommandError::failed(format!("name the app of image {name}")))
}

/// What a pod manifest says about an image, as a reference.
fn reference(wanted: &PodImage) -> Result<ImageRef, CommandError> {
    let id = wanted.id.as_ref().map(ImageId::clone);
    match (id, &wanted.name) {
        (Some(id), _) => Ok(ImageRef::Id(id)),
        (None, Some(name)) => {
            let labels = wanted.labels.iter().flat_map(|labels| labels.iter());
            let labels = labels.map(|label| (label.name.clone(), label.value.clone())).collect();
            Ok(ImageRef::Name(NameRef { name: name.clone(), labels }))
        }
        (None, None) => Err(CommandError::failed("find the image of an app that names neither an ID nor a name")),
    }
}
