//! Where images are: layouts, archives, and what of them is the image asked for.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::OFlags;

use super::digest::{Checked, Verdict};
use super::format::{self, Config, Descriptor, Index, MAX_DOCUMENT, Manifest, Platform, REF_NAME, Saved};
use super::tarball::Tarball;
use super::{Digest, Error, Kind, MAX_LAYERS, Result};
use crate::aci::ReadOptions;
use crate::sys::beneath;

/// Lists within lists.
const MAX_LISTS: usize = 4;
/// Names that a message lists.
const MAX_SHOWN: usize = 12;

/// Which of several images is meant.
#[derive(Clone, Debug, Default)]
pub struct Pick {
    /// The tag or the name that it has.
    pub name: Option<String>,
    /// The digest of its manifest, or of a list that it is in.
    pub digest: Option<Digest>,
    /// What it is to run on, the best first.
    pub platforms: Vec<Platform>,
}

/// A blob of an image: a layer.
#[derive(Clone, Debug)]
pub struct Blob {
    /// Where it is kept.
    pub(super) name: String,
    /// Its digest, where the image says it.
    pub(super) digest: Option<Digest>,
    /// Its size, where the image says it.
    pub(super) size: Option<u64>,
    /// The digest of what it is when decompressed.
    pub(super) diff_id: Digest,
    /// What it was said to be.
    pub(super) media_type: String,
}

/// An image that was found: all of it but what its layers hold.
pub struct Layers {
    /// The manifest byte for byte, where there is one.
    pub(super) manifest: Option<Vec<u8>>,
    /// The configuration byte for byte.
    pub(super) config: Vec<u8>,
    /// The layers, the lowest first.
    pub(super) layers: Vec<Blob>,
    /// What it was called where it was found.
    pub(super) reference: Option<String>,
    /// What the list said that it runs on, where it is not the best that was asked for.
    pub(super) second: Option<Platform>,
    pub(super) blobs: Box<dyn Blobs>,
}

/// Where blobs are.
pub(super) trait Blobs: Send + Sync {
    /// Opens a blob to be read from its beginning; what is said of it is known at its end.
    fn open(&self, blob: &Blob) -> Result<(Box<dyn Read + Send>, Verdict)>;
}

impl Layers {
    /// The digest of the manifest.
    pub fn digest(&self) -> Option<Digest> {
        self.manifest.as_deref().map(Digest::of)
    }

    /// What the image is called where it was found, if that can be an image's name.
    pub fn named(&self) -> Option<crate::schema::AcIdentifier> {
        super::import::named(self.reference.as_deref()?).0
    }

    /// What the image is found to run on where that is not what was asked for first.
    pub fn second_choice(&self) -> Option<&Platform> {
        self.second.as_ref()
    }
}

/// A layout or archive.
pub struct Source {
    place: Place,
    shown: String,
}

enum Place {
    Directory(File),
    Tarball(Tarball),
}

impl Source {
    /// Opens a layout (a directory, or an archive of one) or what `docker save` wrote (an archive, or what was unpacked of it).
    ///
    /// # Errors
    /// [`Kind::Missing`], [`Kind::Io`], and those of reading an archive.
    pub fn open(path: &Path, options: &ReadOptions) -> Result<Self> {
        let shown = path.display().to_string();
        let file = match path.to_str() {
            Some("-") => io::stdin().as_fd().try_clone_to_owned().map(File::from),
            _ => File::open(path),
        };
        let file = file.map_err(|error| {
            let kind = if error.kind() == io::ErrorKind::NotFound { Kind::Missing } else { Kind::Io };
            Error::new(kind, format!("open {shown}")).because(error)
        })?;
        let directory = file.metadata().is_ok_and(|metadata| metadata.is_dir());
        let place = match directory {
            true => Place::Directory(file),
            false => Place::Tarball(Tarball::open(file, &shown, options)?),
        };
        Ok(Self { place, shown })
    }

    /// Finds the image that is meant.
    ///
    /// # Errors
    /// [`Kind::Missing`] where there is none or where several fit, with what there is; [`Kind::Invalid`],
    /// [`Kind::Corrupt`], [`Kind::Unsupported`] where it is none to be taken.
    pub fn find(self, pick: &Pick) -> Result<Layers> {
        if let Some(index) = self.document("index.json")? {
            return self.in_layout(&index, pick);
        }
        if let Some(saved) = self.document("manifest.json")? {
            return self.saved(&saved, pick);
        }
        let error = Error::new(Kind::Missing, format!("find an image in {}", self.shown)).clause("x.oci.layout");
        Err(match self.open_member("repositories")? {
            Some(_) => error
                .because("it was saved by a Docker before 1.10, whose images have no digests: load and save it anew"),
            None => error.because("there is neither `index.json` of a layout nor `manifest.json` of `docker save`"),
        })
    }

    fn in_layout(self, index: &[u8], pick: &Pick) -> Result<Layers> {
        let index: Index = format::parse(index, "index.json", "x.oci.layout")?;
        let named: Vec<&Descriptor> = index.manifests.iter().filter(|found| fits(found, pick)).collect();
        let digests: BTreeSet<&Digest> = named.iter().map(|found| &found.digest).collect();
        let names: Vec<String> = index.manifests.iter().map(called).collect();
        let (descriptor, second) = match (digests.len(), pick.digest.as_ref()) {
            (1, _) => (named[0].clone(), None),
            (0, Some(digest)) => (self.bare(digest)?, None),
            (0, None) => return Err(self.none(pick, &names)),
            _ if named.iter().all(|found| found.platform.is_some()) => {
                let (found, second) = choose(named.iter().copied(), &pick.platforms)
                    .ok_or_else(|| no_platform(&self.shown, named.iter().copied(), &pick.platforms))?;
                (found.clone(), second)
            }
            _ => return Err(self.several(&names)),
        };
        let reference = descriptor.annotations.get("io.containerd.image.name");
        let reference = reference.or_else(|| descriptor.annotations.get(REF_NAME)).cloned();
        let read = |descriptor: &Descriptor| self.blob_document(descriptor);
        let (manifest, nested) = resolve(descriptor, &pick.platforms, &read)?;
        let manifest_read = read_manifest(&manifest)?;
        let config = read(&manifest_read.config)?;
        let layers = layers(&manifest_read, &config, blob_path)?;
        Ok(Layers {
            manifest: Some(manifest),
            config,
            layers,
            reference,
            second: second.or(nested),
            blobs: Box::new(self),
        })
    }

    /// A blob that no index names.
    fn bare(&self, digest: &Digest) -> Result<Descriptor> {
        let Some((_, size)) = self.open_member(&blob_path(digest))? else {
            return Err(Error::new(Kind::Missing, format!("find {digest} in {}", self.shown)));
        };
        Ok(Descriptor {
            media_type: String::new(),
            digest: digest.clone(),
            size,
            platform: None,
            annotations: std::collections::BTreeMap::new(),
        })
    }

    fn saved(self, saved: &[u8], pick: &Pick) -> Result<Layers> {
        let mut saved: Vec<Saved> = format::parse(saved, "manifest.json", "x.oci.layout")?;
        let names: Vec<String> = saved.iter().flat_map(|saved| saved.repo_tags.clone()).collect();
        let wanted = |saved: &Saved| match (&pick.name, &pick.digest) {
            (Some(name), _) => saved.repo_tags.iter().any(|tag| is_called(tag, name)),
            (None, Some(digest)) => saved.config.contains(digest.parts().1),
            (None, None) => true,
        };
        saved.retain(wanted);
        let found = match saved.len() {
            0 => return Err(self.none(pick, &names)),
            1 => saved.remove(0),
            _ => return Err(self.several(&names)),
        };
        let doing = || format!("read {}", found.config.escape_debug());
        let config = self.document(&found.config)?.ok_or_else(|| Error::new(Kind::Missing, doing()))?;
        // The name says what it is, where it is one: 64 digits and `.json`, or the path of a blob.
        let hex = found.config.rsplit('/').next().unwrap_or_default().trim_end_matches(".json");
        if let Ok(digest) = format!("sha256:{hex}").parse::<Digest>() {
            digest.check(&config)?;
        }
        let read: Config = format::parse(&config, "the configuration", "x.oci.config")?;
        let diff_ids = read.rootfs.diff_ids;
        check_count(diff_ids.len(), found.layers.len())?;
        let layers = found.layers.iter().zip(diff_ids);
        let layers = layers.map(|(name, diff_id)| Blob {
            name: name.clone(),
            digest: None,
            size: None,
            diff_id,
            media_type: String::new(),
        });
        let reference = found.repo_tags.iter().find(|tag| pick.name.as_ref().is_none_or(|name| is_called(tag, name)));
        Ok(Layers {
            manifest: None,
            config,
            layers: layers.collect(),
            reference: reference.cloned(),
            second: None,
            blobs: Box::new(self),
        })
    }

    fn none(&self, pick: &Pick, names: &[String]) -> Error {
        let what = pick.name.clone().or(pick.digest.as_ref().map(Digest::to_string)).unwrap_or("an image".to_owned());
        let error = Error::new(Kind::Missing, format!("find {} in {}", what.escape_debug(), self.shown));
        error.because(format!("there is {}", list(names)))
    }

    fn several(&self, names: &[String]) -> Error {
        let error = Error::new(Kind::Missing, format!("tell which image of {} is meant", self.shown));
        error.because(format!("there is {}; name one behind a colon", list(names)))
    }

    /// A small document; nothing where it is not there.
    fn document(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let Some((source, size)) = self.open_member(name)? else { return Ok(None) };
        let failed = |error: io::Error| Error::new(Kind::Io, format!("read {}", name.escape_debug())).because(error);
        check_document(name, size)?;
        let mut bytes = Vec::new();
        source.take(MAX_DOCUMENT).read_to_end(&mut bytes).map_err(failed)?;
        Ok(Some(bytes))
    }

    fn blob_document(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        check_document(descriptor.digest.as_str(), descriptor.size)?;
        let bytes = self.document(&blob_path(&descriptor.digest))?;
        let bytes = bytes.ok_or_else(|| Error::new(Kind::Missing, format!("find the blob {}", descriptor.digest)))?;
        check_blob(descriptor, &bytes)?;
        Ok(bytes)
    }

    fn open_member(&self, name: &str) -> Result<Option<(Box<dyn Read + Send>, u64)>> {
        match &self.place {
            Place::Tarball(tarball) => Ok(tarball.member(name)),
            Place::Directory(directory) => {
                let failed = |error: io::Error| {
                    Error::new(Kind::Io, format!("open {} of {}", name.escape_debug(), self.shown)).because(error)
                };
                // What lies there may be a pipe, or lead elsewhere.
                let opened = beneath::open(directory.as_fd(), name.as_bytes(), OFlags::RDONLY | OFlags::NONBLOCK);
                let file = match opened {
                    Ok(file) => File::from(file),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    Err(error) => return Err(failed(error)),
                };
                let metadata = file.metadata().map_err(failed)?;
                if !metadata.is_file() {
                    return Err(failed(io::Error::other("it is not a file")));
                }
                Ok(Some((Box::new(BufReader::with_capacity(256 << 10, file)), metadata.len())))
            }
        }
    }
}

impl Blobs for Source {
    fn open(&self, blob: &Blob) -> Result<(Box<dyn Read + Send>, Verdict)> {
        let missing = || Error::new(Kind::Missing, format!("find the layer {}", blob.name.escape_debug()));
        let (source, _) = self.open_member(&blob.name)?.ok_or_else(missing)?;
        let (checked, verdict) = Checked::new(source, blob.digest.as_ref(), blob.size);
        Ok((Box::new(checked), verdict))
    }
}

/// From a descriptor through lists of platforms to a manifest, byte for byte, by what reads a document and checks it. What the
/// chosen one runs on is given where it was not the first choice.
pub(super) fn resolve(
    mut descriptor: Descriptor,
    platforms: &[Platform],
    read: &dyn Fn(&Descriptor) -> Result<Vec<u8>>,
) -> Result<(Vec<u8>, Option<Platform>)> {
    let mut second = None;
    for _ in 0..MAX_LISTS {
        let bytes = read(&descriptor)?;
        if !is_list(&bytes)? {
            return Ok((bytes, second));
        }
        let index: Index = format::parse(&bytes, "the list of manifests", "x.oci.manifest")?;
        let (found, other) = choose(index.manifests.iter(), platforms)
            .ok_or_else(|| no_platform("the list of manifests", index.manifests.iter(), platforms))?;
        (descriptor, second) = (found.clone(), other.or(second));
    }
    Err(Error::new(Kind::Invalid, "read the list of manifests").clause("x.oci.manifest").because("lists lie in lists"))
}

/// Whether a document is a list of manifests and not a manifest.
fn is_list(bytes: &[u8]) -> Result<bool> {
    let value: serde_json::Map<String, serde_json::Value> = format::parse(bytes, "the manifest", "x.oci.manifest")?;
    match (value.contains_key("manifests"), value.contains_key("config") || value.contains_key("layers")) {
        (true, true) => {
            let error = Error::new(Kind::Invalid, "read the manifest").clause("x.oci.manifest");
            Err(error.because("it is a list and an image at once, which readers take for one or the other"))
        }
        (list, _) => Ok(list),
    }
}

pub(super) fn read_manifest(bytes: &[u8]) -> Result<Manifest> {
    let manifest: Manifest = format::parse(bytes, "the manifest", "x.oci.manifest")?;
    if manifest.schema_version != 2 {
        let error = Error::new(Kind::Unsupported, "read the manifest").clause("x.oci.manifest");
        return Err(error.because(format!("it is of schema version {}, and 2 is known", manifest.schema_version)));
    }
    manifest.layers.iter().try_for_each(format::check_layer)?;
    Ok(manifest)
}

/// The layers of a manifest, with what the configuration says about them.
pub(super) fn layers(manifest: &Manifest, config: &[u8], name: impl Fn(&Digest) -> String) -> Result<Vec<Blob>> {
    let kind = manifest.config.media_type.as_str();
    let config: Config = match kind {
        "" | format::CONFIG | "application/vnd.docker.container.image.v1+json" => {
            format::parse(config, "the configuration", "x.oci.config")?
        }
        other => {
            let error = Error::new(Kind::Unsupported, "take the image").clause("x.oci.media-type");
            return Err(error.because(format!("its configuration is `{}`: it is none to be run", other.escape_debug())));
        }
    };
    check_count(config.rootfs.diff_ids.len(), manifest.layers.len())?;
    let layers = manifest.layers.iter().zip(config.rootfs.diff_ids);
    Ok(layers
        .map(|(layer, diff_id)| Blob {
            name: name(&layer.digest),
            digest: Some(layer.digest.clone()),
            size: Some(layer.size),
            diff_id,
            media_type: layer.media_type.clone(),
        })
        .collect())
}

fn check_count(diff_ids: usize, layers: usize) -> Result<()> {
    if layers > MAX_LAYERS {
        let error = Error::new(Kind::TooBig, "take the image").clause("x.oci.limits");
        return Err(error.because(format!("it has {layers} layers, {MAX_LAYERS} are accepted")));
    }
    if diff_ids != layers {
        let error = Error::new(Kind::Invalid, "take the image").clause("x.oci.diff-id");
        return Err(error.because(format!("it has {layers} layers, and its configuration knows {diff_ids}")));
    }
    Ok(())
}

pub(super) fn check_document(name: &str, size: u64) -> Result<()> {
    if size <= MAX_DOCUMENT {
        return Ok(());
    }
    let error = Error::new(Kind::TooBig, format!("read {}", name.escape_debug())).clause("x.oci.limits");
    Err(error.because(format!("it has {size} bytes, {MAX_DOCUMENT} are accepted")))
}

pub(super) fn check_blob(descriptor: &Descriptor, bytes: &[u8]) -> Result<()> {
    descriptor.digest.check(bytes)?;
    if bytes.len() as u64 != descriptor.size {
        let error = Error::new(Kind::Corrupt, format!("read the blob {}", descriptor.digest)).clause("x.oci.size");
        return Err(error.because(format!("it has {} bytes, {} were promised", bytes.len(), descriptor.size)));
    }
    Ok(())
}

pub(super) fn blob_path(digest: &Digest) -> String {
    let (algorithm, hex) = digest.parts();
    format!("blobs/{algorithm}/{hex}")
}

/// The manifest that is for the first of `platforms` that there is one for, and what it runs on where that is not the first. Without
/// `variant` any is taken; with one, a manifest that names none comes after one that names it.
fn choose<'d>(
    manifests: impl Iterator<Item = &'d Descriptor> + Clone,
    platforms: &[Platform],
) -> Option<(&'d Descriptor, Option<Platform>)> {
    for (number, wanted) in platforms.iter().enumerate() {
        let same = |found: &Platform| found.os == wanted.os && found.architecture == wanted.architecture;
        let exact = |found: &Platform| same(found) && (wanted.variant.is_none() || found.variant == wanted.variant);
        // 64-bit ARM has one variant, which most do not write.
        let loose = |found: &Platform| {
            same(found) && (found.variant.is_none() || wanted.architecture == "arm64" || wanted.architecture == "arm")
        };
        let of = |fits: &dyn Fn(&Platform) -> bool| {
            manifests.clone().find(|found| found.platform.as_ref().is_some_and(fits))
        };
        if let Some(found) = of(&exact).or_else(|| of(&loose)) {
            return Some((found, found.platform.clone().filter(|_| number > 0)));
        }
    }
    // A list of one that does not say what it runs on.
    let mut bare = manifests.clone().filter(|found| found.platform.is_none());
    match (bare.next(), bare.next()) {
        (Some(only), None) if manifests.count() == 1 => Some((only, None)),
        _ => None,
    }
}

fn no_platform<'d>(place: &str, manifests: impl Iterator<Item = &'d Descriptor>, platforms: &[Platform]) -> Error {
    let wanted: Vec<String> = platforms.iter().map(Platform::to_string).collect();
    let there: Vec<String> = manifests.filter_map(|found| found.platform.as_ref()).map(Platform::to_string).collect();
    let error = Error::new(Kind::Missing, format!("find an image for {} in {place}", wanted.join(" or ")));
    error.clause("x.oci.platform").because(format!("there is {}; --platform names one", list(&there)))
}

fn fits(descriptor: &Descriptor, pick: &Pick) -> bool {
    let named = |name: &String| {
        ["io.containerd.image.name", REF_NAME]
            .iter()
            .filter_map(|key| descriptor.annotations.get(*key))
            .any(|tag| is_called(tag, name))
    };
    pick.name.as_ref().is_none_or(named) && pick.digest.as_ref().is_none_or(|digest| *digest == descriptor.digest)
}

/// Whether an image that is called `full` is meant by `name`: the whole of it, or the tag alone.
fn is_called(full: &str, name: &str) -> bool {
    full == name || full.rsplit_once(':').is_some_and(|(_, tag)| tag == name) || full.ends_with(&format!("/{name}"))
}

fn called(descriptor: &Descriptor) -> String {
    descriptor.annotations.get(REF_NAME).cloned().unwrap_or_else(|| descriptor.digest.to_string())
}

fn list(names: &[String]) -> String {
    let mut names: Vec<String> = names.iter().map(|name| name.escape_debug().to_string()).collect();
    names.sort();
    names.dedup();
    let more = names.len().saturating_sub(MAX_SHOWN);
    names.truncate(MAX_SHOWN);
    match (names.is_empty(), more) {
        (true, _) => "none".to_owned(),
        (false, 0) => names.join(", "),
        (false, more) => format!("{} and {more} more", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Platform {
        let mut parts = text.split('/').map(str::to_owned);
        let mut next = || parts.next();
        Platform { os: next().unwrap(), architecture: next().unwrap(), variant: next() }
    }

    fn chosen(there: &[&str], wanted: &[&str]) -> Option<(usize, Option<String>)> {
        let manifests: Vec<Descriptor> = there
            .iter()
            .enumerate()
            .map(|(size, platform)| Descriptor {
                media_type: String::new(),
                digest: Digest::of(platform.as_bytes()),
                size: size as u64,
                platform: Some(of(platform)),
                annotations: Default::default(),
            })
            .collect();
        let wanted: Vec<Platform> = wanted.iter().map(|platform| of(platform)).collect();
        let (found, second) = choose(manifests.iter(), &wanted)?;
        Some((usize::try_from(found.size).unwrap(), second.map(|second| second.to_string())))
    }

    #[test]
    fn the_first_platform_that_there_is_an_image_for_is_taken_and_a_second_choice_told() {
        let there = ["linux/amd64", "linux/arm64/v8", "linux/arm/v6", "linux/arm/v7", "freebsd/amd64"];
        assert_eq!(chosen(&there, &["freebsd/amd64", "linux/amd64"]), Some((4, None)));
        assert_eq!(chosen(&there[..4], &["freebsd/amd64", "linux/amd64"]), Some((0, Some("linux/amd64".to_owned()))));
        assert_eq!(chosen(&there, &["linux/arm64"]), Some((1, None)));
        assert_eq!(chosen(&there, &["linux/arm/v7"]), Some((3, None)));
        assert_eq!(chosen(&there, &["linux/riscv64"]), None);
    }

    #[test]
    fn a_document_that_is_a_list_and_an_image_is_refused() {
        let error = is_list(br#"{"manifests":[],"layers":[]}"#).unwrap_err();
        assert_eq!(error.clause_id(), Some("x.oci.manifest"));
    }
}
