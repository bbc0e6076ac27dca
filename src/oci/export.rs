//! ACIs, with what they depend on, as one image of layers.
//!
//! ```text
//!  image, dependencies -> passes, lowest first (render) -> each a layer: unchanged ones as they were, byte for byte; else made of
//!                                                          the entries that the whitelists keep
//! ```
//! A stage is a directory with blobs by digest; a layout, an archive and a registry get what is in it.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use serde::Deserialize;
use sha2::Digest as _;

use super::digest::{Checked, hex};
use super::emit::{self, Origin, Taker};
use super::format::{self, Descriptor, LAYER_GZIP, MANIFEST, Manifest};
use super::layer::{Steps, stored};
use super::merge::{Item, MAX_NODES, Tree, What, kept};
use super::restore::{self, Restored};
use super::source::blob_path;
use super::users::Users;
use super::{Digest, Error, Kind, Result, archive, config};
use crate::aci::{self, Compression, Data, Each, Entry, EntryKind, ReadOptions};
use crate::diagnostic::Diagnostic;
use crate::render::Pass;
use crate::schema::ImageManifest;

const LAYER_PLAIN: &str = "application/vnd.oci.image.layer.v1.tar";
/// Bytes of `passwd` and `group` that are looked at.
const MAX_USERS: u64 = 1 << 20;

/// An image to be exported, or one that it depends on, as it is laid down once.
pub struct Part {
    /// The image, and which of its files stay.
    pub pass: Pass,
    /// What it says about itself.
    pub manifest: Arc<ImageManifest>,
    /// Opens its archive.
    pub open: Arc<Open>,
}

/// Opens an archive from its beginning.
pub type Open = dyn Fn() -> io::Result<Box<dyn Read + Send>>;

/// How to export.
#[derive(Clone, Debug)]
pub struct ExportOptions {
    /// Whether layers are compressed, by gzip.
    pub compress: bool,
    /// Places with blobs by digest, as layouts have them: what is wanted and there is taken as it is.
    pub blobs: Vec<PathBuf>,
    /// How archives are read.
    pub read: ReadOptions,
}

/// An image of layers in a directory with `blobs`.
#[derive(Debug)]
pub struct Staged {
    /// The directory.
    pub directory: PathBuf,
    /// The manifest.
    pub(super) manifest: Descriptor,
    /// Configuration and layers.
    pub(super) parts: Manifest,
    /// The digests of the uncompressed layers, the lowest first.
    pub diff_ids: Vec<Digest>,
    /// The name that the image had, or has by its own.
    pub reference: String,
    /// What was lost.
    pub told: Vec<Diagnostic>,
}

impl Staged {
    /// The digest of the manifest.
    pub fn digest(&self) -> &Digest {
        &self.manifest.digest
    }
}

/// What an annotation says about the layer that an image was made of.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Was {
    #[serde(rename = "diffID")]
    diff_id: Digest,
    digest: Option<Digest>,
    size: Option<u64>,
    #[serde(default)]
    media_type: String,
    recipe: Option<String>,
}

/// Makes layers, configuration and manifest in `directory` of the image that is the last of `parts`, and of those that it depends
/// on, the lowest first ([`crate::render::Graph::passes`]).
///
/// # Errors
/// Those of archives; [`Kind::Io`].
pub fn stage(parts: &[Part], directory: &Path, options: &ExportOptions) -> Result<Staged> {
    let root = parts.last().ok_or_else(|| Error::new(Kind::Missing, "export an image"))?;
    fs::create_dir_all(directory.join("blobs/sha256")).map_err(|error| failed(directory, error))?;

    let mut stage = Stage { directory, options, told: Vec::new() };
    let mut indexed = Vec::new();
    let mut tree = Tree::default();
    let mut layers = Vec::new();
    let was = unchanged(root, parts);
    for (number, part) in parts.iter().enumerate() {
        let index = index(part, options)?;
        let items = kept(index.items, |path| part.pass.keep.keeps(path));
        tree.lay(number, &items)?;
        indexed.push(index.users);
        layers.push(tree.changes());
    }
    let mut done = None;
    if let Some(was) = &was {
        done = stage.as_they_were(parts, was)?;
    }
    let done = match done {
        Some(done) => done,
        None => {
            let origin = Archives { parts, options: &options.read };
            let made = layers.iter().enumerate().map(|(number, emission)| {
                stage.layer(|out, compression| emit::layer(emission, number, &origin, compression, out))
            });
            made.collect::<Result<Vec<_>>>()?
        }
    };
    let file = |path: &[u8]| {
        let source = tree.file(path)?;
        indexed[source.layer].get(&source.number).map(Vec::as_slice)
    };
    let users = Users::new(file(b"etc/passwd"), file(b"etc/group"));
    let diff_ids: Vec<Digest> = done.iter().map(|(_, diff_id)| diff_id.clone()).collect();
    let Restored { config, platform, told } = restore::restore(&root.manifest, &diff_ids, &users);
    stage.told.extend(told);
    stage.finish(&root.manifest, config, platform, done, diff_ids)
}

/// The layers that the images were made of, where they still are the image that was imported: same stack, each with its layer.
fn unchanged(root: &Part, parts: &[Part]) -> Option<Vec<Was>> {
    let annotation =
        |manifest: &ImageManifest, name: &str| manifest.annotations.as_ref()?.value(name).map(str::to_owned);
    let config: format::Config = serde_json::from_str(&annotation(&root.manifest, config::CONFIG)?).ok()?;
    let was: Vec<Was> = parts
        .iter()
        .map(|part| serde_json::from_str(&annotation(&part.manifest, config::LAYER)?).ok())
        .collect::<Option<_>>()?;
    config.rootfs.diff_ids.iter().eq(was.iter().map(|was| &was.diff_id)).then_some(was)
}

struct Stage<'s> {
    directory: &'s Path,
    options: &'s ExportOptions,
    told: Vec<Diagnostic>,
}

impl Stage<'_> {
    fn path(&self, digest: &Digest) -> PathBuf {
        self.directory.join(blob_path(digest))
    }

    /// Makes the layers that were imported again; nothing where one does not come out as it was.
    fn as_they_were(&mut self, parts: &[Part], was: &[Was]) -> Result<Option<Vec<(Descriptor, Digest)>>> {
        let mut layers = Vec::new();
        for (part, was) in parts.iter().zip(was) {
            let layer = match self.known(was)? {
                Some(known) => Some(known),
                None => self.again(part, was)?,
            };
            let Some(layer) = layer else {
                let what =
                    format!("the layer {} cannot be made again byte for byte: all layers are made anew", was.diff_id);
                self.told.push(Diagnostic::note("x.oci.layers", what));
                return Ok(None);
            };
            layers.push((layer, was.diff_id.clone()));
        }
        Ok(Some(layers))
    }

    /// The blob that the layer was, where it lies somewhere and is what it is called.
    fn known(&self, was: &Was) -> Result<Option<Descriptor>> {
        let Some((digest, size)) = was.digest.as_ref().zip(was.size) else { return Ok(None) };
        if !self.options.compress && digest != &was.diff_id {
            return Ok(None);
        }
        for place in &self.options.blobs {
            let Ok(file) = File::open(place.join(blob_path(digest))) else { continue };
            let (mut checked, verdict) = Checked::new(file, Some(digest), Some(size));
            let mut target =
                tempfile::NamedTempFile::new_in(self.directory).map_err(|error| failed(self.directory, error))?;
            if io::copy(&mut checked, &mut target).is_err() || verdict.of("read it").is_err() {
                continue;
            }
            self.keep(target, digest)?;
            let media_type = if was.media_type.is_empty() { LAYER_GZIP.to_owned() } else { was.media_type.clone() };
            return Ok(Some(descriptor(&oci_type(&media_type), digest.clone(), size)));
        }
        Ok(None)
    }

    /// The layer by its recipe.
    fn again(&self, part: &Part, was: &Was) -> Result<Option<Descriptor>> {
        let Some(recipe) = &was.recipe else { return Ok(None) };
        let Ok(recipe) = base64::engine::general_purpose::STANDARD.decode(recipe) else { return Ok(None) };
        let source = (part.open)().map_err(|error| opening(part, error))?;
        // A layer that was not compressed stays so: then it has the digest that it had.
        let plain = was.digest.as_ref() == Some(&was.diff_id);
        let made = self.layer_of(plain, |out, compression| {
            emit::write::<aci::Sha256>(compression, out, |writer| {
                let mut steps = Steps::of(recipe).map_err(broken)?;
                let mut step = steps.next().map_err(broken)?;
                let mut sink = Each(|entry: &Entry, data: &mut Data<'_, '_>| {
                    let broken = |error: io::Error| aci::Error::new(aci::Kind::Io, "read the recipe").because(error);
                    // What comes behind the layer's own files is there for the sake of names of them.
                    let Some((before, content)) = step.take_if(|(_, content)| *content > 0) else { return Ok(()) };
                    if entry.in_rootfs().is_none() || stored(entry) == 0 {
                        step = Some((before, content));
                        return Ok(());
                    }
                    if stored(entry) != content {
                        return Err(broken(io::ErrorKind::InvalidData.into()));
                    }
                    writer.raw(&before)?;
                    while let Some((_, bytes)) = data.next()? {
                        writer.raw(bytes)?;
                    }
                    step = steps.next().map_err(broken)?;
                    Ok(())
                });
                aci::read(source, &self.options.read, &mut sink).map_err(archive)?;
                match step {
                    Some((tail, 0)) => writer.raw(&tail).map_err(archive),
                    _ => Err(broken(io::ErrorKind::InvalidData.into())),
                }
            })
        });
        match made {
            Ok((layer, diff_id)) if diff_id == was.diff_id => Ok(Some(layer)),
            Ok((layer, _)) => {
                let _ = fs::remove_file(self.path(&layer.digest));
                Ok(None)
            }
            // It does not fit what is there.
            Err(error) if *error.kind() == Kind::Io => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn layer(
        &self,
        write: impl FnOnce(&mut Hashed<'_>, Compression) -> Result<emit::Written<[u8; 32]>>,
    ) -> Result<(Descriptor, Digest)> {
        self.layer_of(false, write)
    }

    /// Writes a layer into a blob; gives what it is and the digest of what is in it.
    fn layer_of(
        &self,
        plain: bool,
        write: impl FnOnce(&mut Hashed<'_>, Compression) -> Result<emit::Written<[u8; 32]>>,
    ) -> Result<(Descriptor, Digest)> {
        let mut target =
            tempfile::NamedTempFile::new_in(self.directory).map_err(|error| failed(self.directory, error))?;
        let compress = self.options.compress && !plain;
        let compression = if compress { Compression::Gzip } else { Compression::None };
        let mut hashed = Hashed { out: target.as_file_mut(), hash: sha2::Sha256::new(), size: 0 };
        let written = write(&mut hashed, compression)?;
        let (digest, size) = (Digest::sha256(&hex(&hashed.hash.finalize())), hashed.size);
        self.keep(target, &digest)?;
        let kind = if compress { LAYER_GZIP } else { LAYER_PLAIN };
        Ok((descriptor(kind, digest, size), Digest::sha256(&hex(&written.digest))))
    }

    fn keep(&self, target: tempfile::NamedTempFile, digest: &Digest) -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path(digest);
        target.as_file().set_permissions(fs::Permissions::from_mode(0o644)).map_err(|error| failed(&path, error))?;
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| failed(parent, error))?;
        }
        target.persist(&path).map_err(|error| failed(&path, error.error))?;
        Ok(())
    }

    fn document(&self, media_type: &str, bytes: &[u8]) -> Result<Descriptor> {
        let digest = Digest::of(bytes);
        fs::write(self.path(&digest), bytes).map_err(|error| failed(&self.path(&digest), error))?;
        Ok(descriptor(media_type, digest, bytes.len() as u64))
    }

    fn finish(
        self,
        manifest: &ImageManifest,
        config: Vec<u8>,
        platform: format::Platform,
        layers: Vec<(Descriptor, Digest)>,
        diff_ids: Vec<Digest>,
    ) -> Result<Staged> {
        let annotation = |name: &str| manifest.annotations.as_ref().and_then(|annotations| annotations.value(name));
        let config = self.document(format::CONFIG, &config)?;
        let layers: Vec<Descriptor> = layers.into_iter().map(|(layer, _)| layer).collect();
        let mut parts = Manifest {
            schema_version: 2,
            media_type: Some(MANIFEST.to_owned()),
            config,
            layers,
            annotations: BTreeMap::new(),
        };
        let mut bytes = serde_json::to_vec(&parts).unwrap_or_default();
        // The very manifest that it had, where all that it names is the same.
        if let Some(text) = annotation(config::MANIFEST)
            && let Ok(was) = serde_json::from_str::<Manifest>(text)
            && was.config.digest == parts.config.digest
            && was.layers.iter().map(|layer| &layer.digest).eq(parts.layers.iter().map(|layer| &layer.digest))
        {
            (bytes, parts) = (text.as_bytes().to_vec(), was);
        }
        let media_type = parts.media_type.clone().unwrap_or(MANIFEST.to_owned());
        let mut manifest_blob = self.document(&media_type, &bytes)?;
        manifest_blob.platform = Some(platform);
        let version = manifest.label("version").unwrap_or("latest");
        // A layout may have had a tag alone.
        let named = annotation(config::REFERENCE).filter(|reference| reference.contains([':', '/']));
        let reference = named.map_or_else(|| format!("{}:{version}", manifest.name), str::to_owned);
        let directory = self.directory.to_owned();
        Ok(Staged { directory, manifest: manifest_blob, parts, diff_ids, reference, told: self.told })
    }
}

/// What an archive of an image says.
struct Indexed {
    items: Vec<Item>,
    users: HashMap<u32, Vec<u8>>,
}

fn index(part: &Part, options: &ExportOptions) -> Result<Indexed> {
    let mut indexed = Indexed { items: Vec::new(), users: HashMap::new() };
    let mut number = 0_u32;
    let mut sink = Each(|entry: &Entry, data: &mut Data<'_, '_>| {
        let this = number;
        number = number.saturating_add(1);
        let Some(path) = entry.in_rootfs() else { return Ok(()) };
        if indexed.items.len() >= MAX_NODES {
            return Err(aci::Error::new(aci::Kind::TooBig, "read the image").clause("x.oci.limits"));
        }
        let name = if path.is_empty() { b".".to_vec() } else { path.to_vec() };
        if matches!(path, b"etc/passwd" | b"etc/group") && entry.kind == EntryKind::File && entry.size <= MAX_USERS {
            let mut kept = Vec::new();
            while let Some((_, bytes)) = data.next()? {
                kept.extend_from_slice(bytes);
            }
            indexed.users.insert(this, kept);
        }
        let what = match entry.kind {
            EntryKind::Directory => What::Directory(Arc::new(entry.clone())),
            // Parents in an image are directories: nothing is followed.
            EntryKind::Hardlink => {
                What::Hardlink(entry.target.strip_prefix(b"rootfs/").unwrap_or(&entry.target).to_vec())
            }
            _ => What::File,
        };
        indexed.items.push(Item { name, what, number: this });
        Ok(())
    });
    let source = (part.open)().map_err(|error| opening(part, error))?;
    let summary = aci::read(source, &options.read, &mut sink).map_err(archive)?;
    if summary.image_id != part.pass.image {
        let error = Error::new(Kind::Corrupt, format!("read {}", part.pass.image));
        return Err(error.because(format!("it is {} by now", summary.image_id)));
    }
    Ok(indexed)
}

/// Archives read for their contents.
struct Archives<'a> {
    parts: &'a [Part],
    options: &'a ReadOptions,
}

impl Origin for Archives<'_> {
    fn read(&self, layer: usize, sink: &mut Taker<'_>) -> Result<()> {
        let part = &self.parts[layer];
        let number = RefCell::new(0_u32);
        let mut each = Each(|entry: &Entry, data: &mut Data<'_, '_>| {
            let this = *number.borrow();
            *number.borrow_mut() = this.saturating_add(1);
            sink(this, entry, data)
        });
        let source = (part.open)().map_err(|error| opening(part, error))?;
        let summary = aci::read(source, self.options, &mut each).map_err(archive)?;
        if summary.image_id != part.pass.image {
            return Err(Error::new(Kind::Corrupt, format!("read {} again", part.pass.image))
                .because("it changed while it was read"));
        }
        Ok(())
    }
}

/// Hashes and counts what is written.
pub(super) struct Hashed<'o> {
    out: &'o mut File,
    hash: sha2::Sha256,
    size: u64,
}

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Docker's media types of layers in OCI's words: one manifest is not to mix them.
fn oci_type(media_type: &str) -> String {
    match media_type {
        "application/vnd.docker.image.rootfs.diff.tar.gzip" => LAYER_GZIP.to_owned(),
        "application/vnd.docker.image.rootfs.diff.tar" => LAYER_PLAIN.to_owned(),
        "application/vnd.docker.image.rootfs.diff.tar.zstd" => format!("{LAYER_PLAIN}+zstd"),
        other => other.to_owned(),
    }
}

fn descriptor(media_type: &str, digest: Digest, size: u64) -> Descriptor {
    Descriptor { media_type: media_type.to_owned(), digest, size, platform: None, annotations: BTreeMap::new() }
}

fn broken(error: io::Error) -> Error {
    Error::new(Kind::Io, "read the recipe of a layer").because(error)
}

fn opening(part: &Part, error: io::Error) -> Error {
    Error::new(Kind::Io, format!("open {}", part.pass.image)).because(error)
}

fn failed(path: &Path, error: io::Error) -> Error {
    Error::new(Kind::Io, format!("write {}", path.display())).because(error)
}
