//! An image of layers as images of appc.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use base64::Engine as _;
use serde_json::{Value, json};

use super::config::{self, Converted};
use super::emit::{self, Origin, Taker};
use super::format::{self, Config};
use super::layer::{self, Budget, Index};
use super::merge::{Emission, Tree};
use super::source::Layers;
use super::users::Users;
use super::{Digest, Error, Kind, Result, archive};
use crate::aci::{self, Compression, ReadOptions};
use crate::diagnostic::Diagnostic;
use crate::schema::{self, AcIdentifier, ImageId};

/// Layers that are read at the same time: each takes some 10 MiB, and up to 32 MiB more for zstd.
const MOST_AT_ONCE: usize = 4;
/// Findings of layers that are told.
const MAX_TOLD: usize = 100;

/// What becomes of layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One image of all of them.
    Squash,
    /// One image of each, which depends on the one of the layer below.
    Layers,
}

/// How to convert.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// What becomes of layers.
    pub form: Form,
    /// What the image is called; after where it comes from unless told.
    pub name: Option<AcIdentifier>,
    /// Its label `version`; the tag unless told.
    pub version: Option<String>,
    /// How images are compressed.
    pub compression: Compression,
    /// How layers are read.
    pub read: ReadOptions,
}

/// An image of layers about to be written as images of appc.
pub struct Conversion<'i> {
    image: &'i Layers,
    options: ImportOptions,
    name: AcIdentifier,
    version: Option<String>,
    config: Config,
    indexes: Vec<Arc<Index>>,
    tree: Tree,
    /// The image that was written last.
    below: Option<(String, ImageId)>,
    chain: Vec<String>,
    written: usize,
    told: Vec<Diagnostic>,
}

/// An image that was written.
#[derive(Clone, Debug)]
pub struct Written {
    /// What it is called.
    pub name: String,
    /// Its ID.
    pub image_id: ImageId,
    /// Bytes of it before compression.
    pub size: u64,
    /// Number of entries.
    pub entries: u64,
}

impl<'i> Conversion<'i> {
    /// Reads all layers once, and decides what is to be written.
    ///
    /// # Errors
    /// Those of layers and configuration; [`Kind::Refused`] where nothing says what the image is called.
    pub fn new(image: &'i Layers, options: ImportOptions) -> Result<Self> {
        let config: Config = format::parse(&image.config, "the configuration", "x.oci.config")?;
        let (name, tag) = image.reference.as_deref().map_or((None, None), named);
        let name = options.name.clone().or(name).ok_or_else(|| {
            Error::new(Kind::Refused, "name the image").because("nothing says what it is called; --name does")
        })?;
        let version = options.version.clone().or(tag);
        let indexes = indexes(image, &options)?;
        let mut told: Vec<Diagnostic> = indexes.iter().flat_map(|index| index.told.clone()).take(MAX_TOLD).collect();
        let mut tree = Tree::default();
        if options.form == Form::Squash {
            for (number, index) in indexes.iter().enumerate() {
                tree.lay(number, &index.items).map_err(|error| in_layer(image, number, error))?;
            }
            if indexes.len() > 1 {
                told.push(Diagnostic::note("x.oci.layers", format!("{} layers become one", indexes.len())));
            }
        }
        let chain = chain(&image.layers.iter().map(|layer| layer.diff_id.clone()).collect::<Vec<_>>());
        Ok(Self { image, options, name, version, config, indexes, tree, below: None, chain, written: 0, told })
    }

    /// How many images there are to be written: the lowest first, the last the one to be run.
    pub fn count(&self) -> usize {
        match self.options.form {
            Form::Squash => 1,
            // One without layers is still an image.
            Form::Layers => self.indexes.len().max(1),
        }
    }

    /// What was left out, and what appc has no place for; all of it when all images are written.
    pub fn told(&self) -> &[Diagnostic] {
        &self.told
    }

    /// Writes the next image. Call it [`Self::count`] times.
    ///
    /// # Errors
    /// Those of layers; [`Kind::Refused`] where a name that is not UTF-8 would have to stand in a whitelist;
    /// [`Kind::Io`].
    pub fn write(&mut self, out: impl Write + Send) -> Result<Written> {
        let (name, written) = self.emit::<aci::Sha512>(out)?;
        let image_id = ImageId::from_digest(&written.digest);
        self.below = Some((name.clone(), image_id.clone()));
        Ok(Written { name, image_id, size: written.size, entries: written.entries })
    }

    /// Writes the only image for somebody who hashes what he reads.
    ///
    /// # Errors
    /// As for [`Self::write`].
    pub fn stream(&mut self, out: impl Write + Send) -> Result<()> {
        self.emit::<()>(out).map(drop)
    }

    fn emit<H: aci::Hash>(&mut self, out: impl Write + Send) -> Result<(String, emit::Written<H::Digest>)> {
        let number = self.written;
        let last = number + 1 == self.count();
        let emission = match self.options.form {
            Form::Squash => self.tree.whole(),
            Form::Layers => match self.indexes.get(number) {
                Some(index) => {
                    self.tree.lay(number, &index.items).map_err(|error| in_layer(self.image, number, error))?;
                    self.tree.changes()
                }
                None => self.tree.whole(),
            },
        };
        let name = match last {
            true => self.name.to_string(),
            false => format!("{}/layer-{}", self.name, self.chain.get(number).map_or("", |chain| &chain[..32])),
        };
        let manifest = self.manifest(&name, number, last, &emission)?;
        let created = self.config.created.as_deref().and_then(|created| created.parse::<jiff::Timestamp>().ok());
        let seconds = created.map_or(0, |created| created.as_second().max(0));
        let origin = Reading { image: self.image, options: &self.options.read };
        let compression = self.options.compression;
        let written = emit::image::<H>((&manifest, seconds), &emission, number, &origin, compression, out)?;
        self.written += 1;
        Ok((name, written))
    }

    fn manifest(&mut self, name: &str, number: usize, last: bool, emission: &Emission) -> Result<Vec<u8>> {
        let converted = last.then(|| self.converted());
        let platform = converted.as_ref().map_or_else(
            || {
                config::convert(
                    &Config { platform: self.config.platform.clone(), ..Config::default() },
                    &Users::default(),
                )
                .labels
            },
            |converted| converted.labels.clone(),
        );
        let version = self.version.clone().filter(|_| last).map(|version| ("version", version));
        let mut annotations = BTreeMap::new();
        if let Some(converted) = &converted {
            annotations.extend(converted.annotations.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
            annotations.insert(config::CONFIG.to_owned(), text(&self.image.config, "the configuration")?);
            if let Some(manifest) = &self.image.manifest {
                annotations.insert(config::MANIFEST.to_owned(), text(manifest, "the manifest")?);
            }
            let reference = self.image.reference.iter().cloned();
            annotations.extend(reference.map(|reference| (config::REFERENCE.to_owned(), reference)));
        }
        if self.options.form == Form::Layers && number < self.indexes.len() {
            annotations.insert(config::LAYER.to_owned(), self.layer(number, emission).to_string());
        }
        let mut manifest = json!({
            "acKind": "ImageManifest",
            "acVersion": crate::SPEC_VERSION,
            "name": name,
            "labels": pairs(version.into_iter().chain(platform)),
        });
        if let Some(converted) = converted {
            manifest["app"] = converted.app;
            self.told.extend(converted.told);
        }
        if let Some((name, id)) = &self.below {
            manifest["dependencies"] = json!([{ "imageName": name, "imageID": id.as_str() }]);
        }
        if let Some(keep) = &emission.keep {
            manifest["pathWhitelist"] = whitelist(keep)?;
        }
        manifest["annotations"] = pairs(annotations.iter().map(|(name, value)| (name.as_str(), value.clone())));
        let bytes = serde_json::to_vec_pretty(&manifest)
            .map_err(|error| Error::new(Kind::Invalid, "write the manifest").because(error))?;
        let most = self.options.read.max_manifest;
        if bytes.len() as u64 > most {
            let error = Error::new(Kind::TooBig, format!("write the manifest of {name}")).clause("x.oci.limits");
            return Err(error.because(format!("it has more than {most} bytes; --squash needs no list of what stays")));
        }
        schema::image_manifest(&bytes, &schema::Options::default())
            .map_err(|found| Error::new(Kind::Invalid, "convert the configuration").manifest(&found))?;
        Ok(bytes)
    }

    fn converted(&self) -> Converted {
        let file = |path: &[u8]| {
            let source = self.tree.file(path)?;
            self.indexes[source.layer].users.get(&source.number).map(Vec::as_slice)
        };
        config::convert(&self.config, &Users::new(file(b"etc/passwd"), file(b"etc/group")))
    }

    /// What makes the layer again.
    fn layer(&mut self, number: usize, emission: &Emission) -> Value {
        let (blob, index) = (&self.image.layers[number], &self.indexes[number]);
        let brought =
            |entry: &u32| emission.files.contains_key(&super::merge::Source { layer: number, number: *entry });
        let whole = index.contents.iter().all(brought);
        let recipe = index.recipe.as_ref().filter(|_| whole);
        if recipe.is_none() {
            let why = if whole { "it has too many entries" } else { "a file in it is replaced by the layer itself" };
            self.told.push(Diagnostic::note(
                "x.oci.layers",
                format!("the layer {} will not be exported byte for byte: {why}", blob.diff_id),
            ));
        }
        json!({
            "diffID": blob.diff_id,
            "digest": blob.digest,
            "size": blob.size,
            "mediaType": blob.media_type,
            "recipe": recipe.map(|recipe| base64::engine::general_purpose::STANDARD.encode(recipe)),
        })
    }
}

/// Layers read for their contents.
struct Reading<'r> {
    image: &'r Layers,
    options: &'r ReadOptions,
}

impl Origin for Reading<'_> {
    fn read(&self, layer: usize, sink: &mut Taker<'_>) -> Result<()> {
        let blob = &self.image.layers[layer];
        let doing = layer::doing(blob);
        let (source, verdict) = self.image.blobs.open(blob)?;
        let read = emit::numbered(source, self.options, sink).map_err(|error| verdict.or(&doing, archive(error)))?;
        // What was looked at before may be another file by now.
        if Digest::sha256(&read.sha256) != blob.diff_id {
            return Err(Error::new(Kind::Corrupt, doing)
                .clause("x.oci.diff-id")
                .because("it changed while it was read"));
        }
        Ok(())
    }
}

/// Reads all layers for what they say, several at once; one that is listed twice once.
fn indexes(image: &Layers, options: &ImportOptions) -> Result<Vec<Arc<Index>>> {
    let mut first: HashMap<(&str, &Digest), usize> = HashMap::new();
    let same: Vec<usize> = image
        .layers
        .iter()
        .enumerate()
        .map(|(number, blob)| *first.entry((&blob.name, &blob.diff_id)).or_insert(number))
        .collect();
    let todo: Vec<usize> = (0..same.len()).filter(|number| same[*number] == *number).collect();
    let budget = Budget::default();
    let recipe = options.form == Form::Layers;
    let (next, stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
    let found: Mutex<BTreeMap<usize, Result<Index>>> = Mutex::new(BTreeMap::new());
    let work = || {
        while let Some(number) =
            todo.get(next.fetch_add(1, Ordering::Relaxed)).filter(|_| !stopped.load(Ordering::Relaxed))
        {
            let index = layer::index(image.blobs.as_ref(), &image.layers[*number], &options.read, recipe, &budget);
            if index.is_err() {
                stopped.store(true, Ordering::Relaxed);
            }
            found.lock().unwrap_or_else(PoisonError::into_inner).insert(*number, index);
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from).min(MOST_AT_ONCE).min(todo.len());
    thread::scope(|scope| {
        for _ in 1..workers {
            scope.spawn(work);
        }
        work();
    });
    let mut done: BTreeMap<usize, Arc<Index>> = BTreeMap::new();
    for (number, index) in found.into_inner().unwrap_or_else(PoisonError::into_inner) {
        done.insert(number, Arc::new(index?));
    }
    Ok(same.iter().filter_map(|number| done.get(number).cloned()).collect())
}

fn in_layer(image: &Layers, number: usize, error: Error) -> Error {
    let (kind, clause) = (*error.kind(), error.clause_id());
    let error = Error::new(kind, layer::doing(&image.layers[number])).because(error);
    match clause {
        Some(clause) => error.clause(clause),
        None => error,
    }
}

/// The names of what layers come to one on the other, in hexadecimal digits: two stacks of the same layers have the same.
fn chain(diff_ids: &[Digest]) -> Vec<String> {
    let mut chain: Vec<Digest> = Vec::new();
    for diff_id in diff_ids {
        chain.push(match chain.last() {
            None => diff_id.clone(),
            Some(below) => Digest::of(format!("{below} {diff_id}").as_bytes()),
        });
    }
    chain.iter().map(|digest| digest.parts().1.to_owned()).collect()
}

fn text(bytes: &[u8], what: &str) -> Result<String> {
    String::from_utf8(bytes.to_vec())
        .map_err(|error| Error::new(Kind::Invalid, format!("read {what}")).clause("x.oci.config").because(error))
}

fn pairs<'p>(pairs: impl Iterator<Item = (&'p str, String)>) -> Value {
    pairs.map(|(name, value)| json!({ "name": name, "value": value })).collect()
}

fn whitelist(keep: &[Vec<u8>]) -> Result<Value> {
    if keep.is_empty() {
        // An empty list would keep all.
        return Ok(json!(["/"]));
    }
    let paths = keep.iter().map(|path| {
        std::str::from_utf8(path).map(|path| format!("/{path}")).map_err(|_| {
            let error = Error::new(Kind::Refused, format!("list {} as what stays", layer::shown(path)));
            error.clause("x.oci.layers").because("it is not UTF-8, as manifests are; --squash needs no list")
        })
    });
    Ok(Value::Array(paths.map(|path| path.map(Value::String)).collect::<Result<_>>()?))
}

/// The name and the version that a reference (`docker.io/library/nginx:1.27`, or a tag alone) comes to.
pub(super) fn named(reference: &str) -> (Option<AcIdentifier>, Option<String>) {
    let reference = reference.split('@').next().unwrap_or_default();
    let (name, tag) = match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (reference, None),
    };
    if tag.is_none() && !name.contains('/') {
        return (None, Some(name.to_owned()).filter(|tag| !tag.is_empty()));
    }
    (identifier(name), tag.map(str::to_owned).filter(|tag| !tag.is_empty()))
}

/// What a name comes to as an identifier.
pub fn identifier(name: &str) -> Option<AcIdentifier> {
    let mut text = String::new();
    let mut separator = None;
    for char in name.chars().flat_map(char::to_lowercase) {
        if char.is_ascii_alphanumeric() {
            text.extend(separator.take().filter(|_| !text.is_empty()));
            text.push(char);
        } else {
            let char = if matches!(char, '-' | '.' | '_' | '~' | '/') { char } else { '-' };
            // A slash is worth more than what else stands beside it.
            separator = if separator == Some('/') { separator } else { Some(char) };
        }
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_to_identifiers() {
        let name = |text: &str| {
            let (name, version) = named(text);
            (name.map(|name| name.to_string()), version)
        };
        let is = |name: &str, version: &str| {
            let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            (some(name), some(version))
        };
        assert_eq!(name("docker.io/library/nginx:1.27"), is("docker.io/library/nginx", "1.27"));
        assert_eq!(name("localhost:5000/A__b/c"), is("localhost-5000/a_b/c", ""));
        assert_eq!(name("latest"), is("", "latest"));
        assert_eq!(name("quay.io/x/y@sha256:00"), is("quay.io/x/y", ""));
        assert_eq!(name("a:b"), is("a", "b"));
    }
}
