//! `actool export`: an ACI, with what it depends on, becomes an OCI or Docker image.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use appc::aci::{self, ReadOptions};
use appc::oci::{self, ExportOptions, Open, Part, Staged};
use appc::render::{Graph, Pass};
use appc::schema::{self, Dependency, ImageId, ImageManifest};
use appc::whole::Overwrite;

use crate::error::CommandError;
use crate::print;

/// Make an OCI image layout, or an archive for `docker load`, of an image and those that it depends on. Prints the digest.
///
/// What was imported and not changed is again what it was: the same configuration, and with --layers the same layers, by digest.
/// What an OCI image has no place for is told.
#[derive(clap::Args)]
pub struct Args {
    /// What to make: oci, a layout; docker-archive, what `docker load` takes (a layout too, with layers that are not compressed)
    #[arg(value_name = "FORMAT")]
    format: Format,
    /// The image
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    /// The layout, made or added to; with .tar behind it, and for docker-archive, the archive to be written
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// The name and tag that it gets; those that it came with unless told
    #[arg(long, value_name = "NAME:TAG")]
    tag: Option<String>,
    /// Look here for what the image depends on: images, or directories with some [default: the image's own directory]
    #[arg(long, value_name = "PATH")]
    dependencies: Vec<PathBuf>,
    /// A layout with blobs that are taken as they are where a layer was imported from one of them
    #[arg(long, value_name = "DIR")]
    blobs: Vec<PathBuf>,
    /// Replace the archive where there is one
    #[arg(long)]
    overwrite: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Oci,
    DockerArchive,
}

pub fn run(args: &Args) -> Result<ExitCode, CommandError> {
    let archive =
        args.format == Format::DockerArchive || args.out.extension().is_some_and(|extension| extension == "tar");
    let parts = parts(&args.image, &args.dependencies)?;
    let mut blobs = args.blobs.clone();
    if !archive && args.out.is_dir() {
        blobs.push(args.out.clone());
    }
    let options = ExportOptions { compress: args.format == Format::Oci, blobs, read: ReadOptions::default() };
    let tag = |staged: &Staged| args.tag.clone().unwrap_or_else(|| staged.reference.clone());
    let staged = if archive {
        let beside = args.out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        oci::write_file(&args.out, Overwrite::asked(args.overwrite), |file| {
            let place = oci::private_directory(beside)?;
            let staged = oci::stage(&parts, place.path(), &options)?;
            oci::into_archive(&staged, file, &tag(&staged))?;
            Ok(staged)
        })?
    } else if args.out.join("oci-layout").is_file() {
        let place = oci::private_directory(&args.out)?;
        let staged = oci::stage(&parts, place.path(), &options)?;
        oci::into_layout(&staged, &args.out, oci::tag_of(&tag(&staged)))?;
        staged
    } else {
        oci::write_directory(&args.out, |directory| {
            let staged = oci::stage(&parts, directory, &options)?;
            oci::into_layout(&staged, directory, oci::tag_of(&tag(&staged)))?;
            Ok(staged)
        })?
    };
    print::findings(&staged.told);
    println!("{}", staged.digest());
    Ok(ExitCode::SUCCESS)
}

/// An image file that was read once.
struct Known {
    path: PathBuf,
    id: ImageId,
    manifest: ImageManifest,
}

fn read(path: &Path) -> Result<Known, CommandError> {
    let file = File::open(path).map_err(|error| CommandError::failed(format!("open {}: {error}", path.display())))?;
    let summary = aci::read(file, &ReadOptions::default(), &mut aci::Nothing)?;
    let manifest = schema::image_manifest(&summary.manifest, &schema::Options::default())
        .map_err(|found| aci::Error::new(aci::Kind::Invalid, format!("read {}", path.display())).manifest(&found))?;
    Ok(Known { path: path.to_owned(), id: summary.image_id, manifest })
}

/// The image and all that it depends on, of the files at hand, as they are laid down.
fn parts(image: &Path, places: &[PathBuf]) -> Result<Vec<Part>, CommandError> {
    let root = read(image)?;
    let beside = [image.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()];
    let places = if places.is_empty() { &beside[..] } else { places };
    let mut candidates = None;
    let mut graph = Graph::new(root.id.clone());
    let mut met: BTreeMap<ImageId, (PathBuf, Arc<ImageManifest>)> = BTreeMap::new();
    let mut waiting = vec![(root.path, root.id, Arc::new(root.manifest))];
    while let Some((path, id, manifest)) = waiting.pop() {
        let mut dependencies = Vec::new();
        for dependency in &manifest.dependencies {
            let known = match &candidates {
                Some(known) => known,
                None => candidates.insert(images(places)?),
            };
            let found = known.values().filter(|known| fits(known, dependency)).max_by_key(|known| &known.path);
            let found = found.ok_or_else(|| {
                CommandError::failed(format!("find the dependency {} of {}", dependency.image_name, path.display()))
                    .hint("--dependencies names a place with images")
            })?;
            dependencies.push(found.id.clone());
            if !met.contains_key(&found.id) {
                waiting.push((found.path.clone(), found.id.clone(), Arc::new(found.manifest.clone())));
            }
        }
        graph.add(id.clone(), &manifest, dependencies);
        met.insert(id, (path, manifest));
    }
    let part = |pass: Pass| {
        let (path, manifest) = met.get(&pass.image)?.clone();
        let open: Arc<Open> = Arc::new(move || Ok(Box::new(File::open(&path)?)));
        Some(Part { pass, manifest, open })
    };
    Ok(graph.passes()?.into_iter().filter_map(part).collect())
}

/// The images in these places, by ID. What is none is passed over.
fn images(places: &[PathBuf]) -> Result<BTreeMap<ImageId, Known>, CommandError> {
    let mut known = BTreeMap::new();
    for place in places {
        if place.is_dir() {
            let entries = fs::read_dir(place)
                .map_err(|error| CommandError::failed(format!("list {}: {error}", place.display())))?;
            let paths = entries.flatten().map(|entry| entry.path());
            let images = paths.filter(|path| path.extension().is_some_and(|extension| extension == "aci"));
            known.extend(images.filter_map(|path| read(&path).ok()).map(|found| (found.id.clone(), found)));
        } else {
            let found = read(place)?;
            known.insert(found.id.clone(), found);
        }
    }
    Ok(known)
}

fn fits(known: &Known, dependency: &Dependency) -> bool {
    let labels = dependency.labels.as_deref().map_or(&[][..], Vec::as_slice);
    known.manifest.name == dependency.image_name
        && dependency.image_id.as_ref().is_none_or(|id| *id == known.id)
        && labels.iter().all(|label| known.manifest.label(&label.name) == Some(label.value.as_str()))
}
