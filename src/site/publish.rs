//! The one writer of a site: what is asked for, what has to be done for it, in an order that leaves the site whole at any moment.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as StdError;
use std::fs::File;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use url::Url;

use super::index::{self, Index, Published, Section};
use super::names::{self, ENDINGS, described};
use super::write::{Write, map_of, put_if_other, read_map, remove};
use super::{Content, Error, Kind, Place, Result, digest_of, pages};
use crate::aci::{self, Compression, Nothing, ReadOptions};
use crate::chunks::Map;
use crate::schema::{self, AcIdentifier};
use crate::trust::{Certificate, Keyring};

/// Makes a signature over a file.
pub type Sign<'s> = dyn Fn(&Path) -> Result<Vec<u8>, Box<dyn StdError + Send + Sync>> + 's;

/// How often somebody else may have been first, where there is no lock.
const ATTEMPTS: usize = 3;

/// What a site shall have.
pub struct Publication<'p> {
    /// The prefix that pages are for; the nearest that the site has already where none is given, else the image's name.
    pub prefix: Option<AcIdentifier>,
    /// Where images are: a URL of the document root or below it. What it was, where none is given.
    pub url: Option<Url>,
    /// What it is for a site that is new, where none is given.
    pub new_at: Option<Url>,
    /// What follows it, for each image.
    pub template: Option<String>,
    /// The images.
    pub images: Vec<Addition>,
    /// Files of public keys, which are offered beside those that are offered already.
    pub keys: Vec<Vec<u8>>,
    /// Who signs what is not signed yet, and what the names of such signatures end in.
    pub signers: Vec<(&'static str, Box<Sign<'p>>)>,
    /// Whether images that nobody has signed are taken.
    pub unsigned: bool,
    /// Whether maps of their chunks are put beside the images, with which others are fetched that have most of it.
    pub chunks: bool,
    /// Whether all other images of the prefix go.
    pub prune: bool,
}

/// An image that a site shall have.
pub struct Addition {
    /// Its file.
    pub path: PathBuf,
    /// Signatures over it, by what their names end in.
    pub signatures: Vec<(String, Vec<u8>)>,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The images asked for, with a URL each, and whether anything of it was written.
    pub images: Vec<(Published, String, bool)>,
    /// Images that the site has no more.
    pub removed: Vec<Published>,
    /// What whoever runs the site should know.
    pub told: Vec<String>,
}

/// Makes `place` have what is asked for.
///
/// # Errors
/// [`Kind::Refused`] before anything was written; [`Kind::Exists`], [`Kind::Busy`], [`Kind::Corrupt`], [`Kind::Io`]. The site is
/// whole after each of them.
pub fn publish(place: &mut dyn Place, wanted: &Publication<'_>) -> Result<Outcome> {
    let mut checked = Vec::new();
    for addition in &wanted.images {
        checked.push(check(addition, wanted.chunks)?);
    }
    for _ in 0..ATTEMPTS {
        let before = place.read(index::PATH)?;
        let work = Work::plan(place, wanted, &checked, before.as_deref())?;
        // Nobody may have been first while images were signed.
        if place.is_locked() || place.read(index::PATH)? == before {
            return work.run(place);
        }
    }
    Err(Error::new(Kind::Busy, "publish").because("somebody else publishes to the same place"))
}

/// An image that was held against all rules.
struct Checked<'c> {
    addition: &'c Addition,
    image: Published,
    /// The map of its chunks, where one is wanted.
    map: Option<Vec<u8>>,
    /// What is to be said of it.
    told: Option<String>,
}

fn check(addition: &Addition, chunks: bool) -> Result<Checked<'_>> {
    let shown = addition.path.display();
    let unread = |error: std::io::Error| Error::new(Kind::Io, format!("read {shown}")).because(error);
    let open = || File::open(&addition.path).map_err(unread);
    let summary = aci::read(open()?, &ReadOptions::default(), &mut Nothing).map_err(|error| error_of(&shown, error))?;
    let manifest = schema::image_manifest(&summary.manifest, &schema::Options::default())
        .map_err(|found| Error::new(Kind::Refused, format!("publish {shown}")).manifest(&found))?;
    let (sha512, bytes) = digest_of(open()?).map_err(unread)?;
    if summary.transferred != bytes {
        return Err(Error::new(Kind::Refused, format!("publish {shown}")).because("it was changed while it was read"));
    }
    let labels = manifest.labels().iter().map(|label| (label.name.clone(), label.value.clone())).collect();
    let image = Published {
        name: manifest.name.clone(),
        labels,
        id: summary.image_id,
        bytes,
        sha512,
        published: Timestamp::now().to_string(),
        signatures: Vec::new(),
        files: Vec::new(),
        chunks: Vec::new(),
    };
    let mut checked = Checked { addition, image, map: None, told: None };
    if chunks {
        let (id, sha512) = (checked.image.id.clone(), checked.image.sha512.clone());
        let map = Map::of(open()?, id, sha512)
            .map_err(|error| Error::new(Kind::Refused, format!("publish {shown}")).because(error))?;
        let plain = matches!(summary.compression, Compression::Gzip | Compression::None) && !summary.encrypted;
        if !plain || !map.is_by_content() {
            let how = if summary.encrypted { "encrypted".to_owned() } else { summary.compression.to_string() };
            checked.told = Some(format!(
                "{shown} is one piece ({how}): what is built anew shares no chunks with it; gzip as it is made here is cut by content"
            ));
        }
        checked.map = Some(map.write());
    }
    Ok(checked)
}

/// What is at hand of an image.
struct Source {
    path: PathBuf,
    signatures: BTreeMap<String, Vec<u8>>,
    map: Option<Vec<u8>>,
}

fn error_of(shown: &dyn std::fmt::Display, error: aci::Error) -> Error {
    let refused = Error::new(Kind::Refused, format!("publish {shown}"));
    match error.clause_id() {
        Some(clause) => refused.clause(clause).because(error),
        None => refused.because(error),
    }
}

/// What there is to do, decided before anything is touched.
struct Work {
    index: Index,
    /// As `index`, without what is being changed.
    between: Index,
    keys: Vec<(String, Vec<u8>)>,
    writes: Vec<Write>,
    removals: Vec<String>,
    outcome: Outcome,
    changed: bool,
}

impl Work {
    fn plan(
        place: &mut dyn Place,
        wanted: &Publication<'_>,
        checked: &[Checked<'_>],
        before: Option<&[u8]>,
    ) -> Result<Self> {
        let mut index = Index::parse(before)?;
        let (mut removals, mut outcome) = (Vec::new(), Outcome::default());
        for section in &mut index.sections {
            recover(place, section, &mut removals)?;
        }
        let section = section(&index, wanted, checked)?;
        let (keys, keyring) = keys(place, &section, wanted)?;
        let mut new = Section { images: Vec::new(), moving: Vec::new(), ..section.clone() };
        let mut sources: BTreeMap<String, Source> = BTreeMap::new();
        for Checked { addition, image, map, told } in checked {
            if !names::covers(&new.prefix, &image.name) {
                let why = format!("{} is not below {}", image.name, new.prefix);
                return Err(Error::new(Kind::Refused, format!("publish {}", addition.path.display())).because(why));
            }
            let known = section.images.iter().find(|known| known.sha512 == image.sha512);
            let signatures = sign(addition, known, wanted, &keyring)?;
            let mut image = match known {
                Some(known) => known.without_files(),
                None => image.clone(),
            };
            image.signatures.extend(signatures.keys().cloned());
            image.signatures.sort();
            image.signatures.dedup();
            if image.signatures.is_empty() && !wanted.unsigned {
                let error = Error::new(Kind::Refused, format!("publish {}", addition.path.display()));
                return Err(error
                    .clause("disc.sigpolicy")
                    .because("nobody has signed it, so that nobody would take it"));
            }
            outcome.told.extend(told.clone());
            sources.insert(image.sha512.clone(), Source { path: addition.path.clone(), signatures, map: map.clone() });
            new.images.retain(|other| other.sha512 != image.sha512);
            new.images.push(image);
        }
        // What has the same name and labels is replaced, and what is not asked for stays unless it is pruned.
        let asked = new.images.len();
        for known in section.images.iter().filter(|_| !wanted.prune) {
            let replaced = |image: &Published| {
                image.sha512 == known.sha512 || (&image.name, &image.labels) == (&known.name, &known.labels)
            };
            if !new.images[..asked].iter().any(replaced) {
                new.images.push(known.without_files());
            }
        }
        for (path, at) in names::files(&new)? {
            new.images[at].files.push(path);
        }
        new.keys = keys
            .iter()
            .filter(|(_, _, offered)| *offered)
            .map(|(path, ..)| url_of(&new, path))
            .collect::<Result<_>>()?;
        let mut work = Self {
            index: index.clone(),
            between: index,
            keys: keys.into_iter().map(|(path, bytes, _)| (path, bytes)).collect(),
            writes: Vec::new(),
            removals,
            outcome,
            changed: false,
        };
        work.compare(place, &section, &mut new, &sources)?;
        work.changed |= section != new;
        for image in &new.images[..asked] {
            let path = image.files.first().ok_or_else(|| Error::new(Kind::Corrupt, "find a file of an image"))?;
            let touched = work
                .between_moving(&new.prefix)
                .is_some_and(|moving| image.files.iter().any(|path| moving.contains(path)));
            work.outcome.images.push((image.clone(), url_of(&new, path)?, touched));
        }
        let gone = section.images.iter().filter(|old| !new.images.iter().any(|image| image.sha512 == old.sha512));
        work.outcome.removed = gone.cloned().collect();
        work.index.set(new);
        Ok(work)
    }

    fn between_moving(&self, prefix: &AcIdentifier) -> Option<&Vec<String>> {
        self.between.section(prefix).map(|section| &section.moving)
    }

    /// Which files are others than they were.
    fn compare(
        &mut self,
        place: &mut dyn Place,
        old: &Section,
        new: &mut Section,
        sources: &BTreeMap<String, Source>,
    ) -> Result<()> {
        let was: BTreeMap<&String, &Published> =
            old.images.iter().flat_map(|image| image.files.iter().map(move |path| (path, image))).collect();
        let mut moving: BTreeSet<String> = old.moving.iter().cloned().collect();
        moving.extend(self.removals.iter().cloned());
        for image in &mut new.images {
            // A file that is this image now, and stays as it is.
            let kept: Option<String> =
                image.files.iter().find(|path| was.get(path).is_some_and(|old| old.sha512 == image.sha512)).cloned();
            let source = sources.get(&image.sha512);
            let given = source.and_then(|source| source.map.as_ref());
            let mapped = |path: &String| {
                was.get(path).is_some_and(|old| old.sha512 == image.sha512 && old.chunks.contains(path))
            };
            // Where some of its files have maps all have.
            let map = match (given, image.files.iter().find(|path| mapped(path))) {
                (Some(map), _) => Some(map.clone()),
                (None, Some(path)) => read_map(place, path, &image.sha512)?,
                (None, None) => None,
            };
            let mut first = kept.clone();
            for path in &image.files {
                let same_image = was.get(path).is_some_and(|old| old.sha512 == image.sha512);
                let signatures = source.map(|source| &source.signatures);
                let mut other = map.is_some() != mapped(path);
                for (ending, signature) in signatures.into_iter().flatten().filter(|_| same_image) {
                    other |= place.read(&format!("{path}{ending}"))?.as_ref() != Some(signature);
                }
                if let (Some(map), true, false) = (given, same_image, other) {
                    other |= place.read(&map_of(path))?.as_ref() != Some(map);
                }
                if map.is_some() {
                    image.chunks.push(path.clone());
                }
                if same_image && !other {
                    continue;
                }
                let file = source.map(|source| source.path.clone());
                if file.is_none() && first.is_none() {
                    return Err(Error::new(Kind::Corrupt, format!("find a file of {}", described(image))));
                }
                let mut signatures = signatures.cloned().unwrap_or_default();
                for ending in image.signatures.iter().filter(|_| !same_image) {
                    if let (Some(from), false) = (&kept, signatures.contains_key(ending))
                        && let Some(bytes) = place.read(&format!("{from}{ending}"))?
                    {
                        signatures.insert(ending.clone(), bytes);
                    }
                }
                self.writes.push(Write {
                    path: path.clone(),
                    source: file,
                    there: first.clone(),
                    sha512: image.sha512.clone(),
                    bytes: image.bytes,
                    signatures,
                    map: map.clone(),
                    same_image,
                });
                moving.insert(path.clone());
                first.get_or_insert_with(|| path.clone());
            }
        }
        let is: BTreeSet<&String> = new.images.iter().flat_map(|image| &image.files).collect();
        let gone: Vec<String> = was.keys().filter(|path| !is.contains(**path)).map(|path| (*path).clone()).collect();
        moving.extend(gone.iter().cloned());
        self.removals.extend(gone);
        let maps: BTreeSet<String> =
            new.images.iter().flat_map(|image| &image.chunks).map(|path| map_of(path)).collect();
        self.removals.retain(|path| !is.contains(path) && !maps.contains(path));
        self.changed |= !moving.is_empty();
        // What may be found, should this be cut off: the images that were and those that will be, in the files that stay.
        let mut between = Section { moving: moving.iter().cloned().collect(), keys: old.keys.clone(), ..new.clone() };
        let others = old.images.iter().filter(|old| !new.images.iter().any(|image| image.sha512 == old.sha512));
        between.images.extend(others.cloned());
        for image in &mut between.images {
            image.files.retain(|path| !moving.contains(path));
            image.chunks.retain(|path| !moving.contains(path));
        }
        self.between.set(between);
        Ok(())
    }

    fn run(mut self, place: &mut dyn Place) -> Result<Outcome> {
        let pages = self.pages(place)?;
        for (path, bytes) in &self.keys {
            put_if_other(place, path, bytes)?;
        }
        if self.changed {
            let between = self.between.write()?;
            put_if_other(place, index::PATH, &between)?;
            for write in &self.writes {
                super::write::write(place, write)?;
            }
            for path in &self.removals {
                remove(place, path)?;
            }
            if !place.is_locked() && place.read(index::PATH)?.as_deref() != Some(&*between) {
                let why = "somebody else publishes to the same place at the same time; publish again";
                return Err(Error::new(Kind::Busy, "publish").because(why));
            }
        }
        for (path, html) in pages {
            put_if_other(place, &path, html.as_bytes())?;
        }
        if self.changed {
            place.put(index::PATH, &Content::Bytes(&self.index.write()?))?;
        }
        Ok(self.outcome)
    }

    /// The pages that are to be written. What is somebody else's is left as it is, and an error where images could not be found then.
    fn pages(&mut self, place: &mut dyn Place) -> Result<Vec<(String, String)>> {
        let mut written = Vec::new();
        for (path, page) in pages::pages(&self.index) {
            match place.read(&path)? {
                Some(there) if !pages::is_ours(&there) => {
                    let lacking = pages::lacking(&there, &page);
                    if lacking.is_empty() {
                        continue;
                    }
                    let why =
                        format!("it is not a page of ours; put these into it: {}", lacking.trim().replace('\n', " "));
                    if page.needed {
                        return Err(Error::new(Kind::Exists, format!("replace {path}")).because(why));
                    }
                    self.outcome.told.push(format!("{path} is left as it is: {why}"));
                }
                _ => written.push((path, pages::html(&page))),
            }
        }
        Ok(written)
    }
}

/// The section that is published to, as it is.
fn section(index: &Index, wanted: &Publication<'_>, checked: &[Checked<'_>]) -> Result<Section> {
    let first = checked.first().map(|checked| &checked.image.name);
    let known = match (&wanted.prefix, first) {
        (Some(prefix), _) => index.section(prefix),
        (None, Some(name)) => index.section_for(name),
        (None, None) => None,
    };
    let prefix = wanted.prefix.as_ref().or(known.map(|known| &known.prefix)).or(first);
    let refuse = |why: &str| Error::new(Kind::Refused, "publish").because(why.to_owned());
    let prefix = prefix.ok_or_else(|| refuse("neither a prefix nor an image is given"))?.clone();
    let url = match (&wanted.url, known) {
        (None, Some(known)) => return Ok(known.clone()),
        (given, _) => given.as_ref().or(wanted.new_at.as_ref()),
    };
    let url = url.ok_or_else(|| refuse("the site is new, and it is not said at which URL its images are"))?;
    let (directory, template) = names::place(url, wanted.template.as_deref())?;
    match known {
        Some(known) if known.template != template => {
            let why = format!("images of {prefix} are at {} already", known.template);
            Err(refuse(&why))
        }
        Some(known) => Ok(known.clone()),
        None => Ok(Section { prefix, template, directory, keys: Vec::new(), images: Vec::new(), moving: Vec::new() }),
    }
}

/// A file of keys: where, what, and whether it has any.
type KeyFile = (String, Vec<u8>, bool);

/// The keys that are offered: those that are, and new ones.
fn keys(place: &mut dyn Place, section: &Section, wanted: &Publication<'_>) -> Result<(Vec<KeyFile>, Keyring)> {
    let unread = |error: crate::trust::Error| Error::new(Kind::Refused, "read the public keys").because(error);
    let directory = match section.directory.as_str() {
        "" => section.prefix.to_string(),
        directory => format!("{directory}/{}", section.prefix),
    };
    let paths = ["keys.asc", "keys.pub"].map(|name| format!("{directory}/{name}"));
    let mut all = Vec::new();
    for path in &paths {
        if let Some(bytes) = place.read(path)? {
            all.extend(Certificate::parse_many(&bytes).map_err(unread)?);
        }
    }
    for bytes in &wanted.keys {
        all.extend(Certificate::parse_many(bytes).map_err(unread)?);
    }
    let keyring: Keyring = all.into_iter().collect();
    let mut files = Vec::new();
    for (path, signify) in paths.into_iter().zip([false, true]) {
        let mut text = Vec::new();
        for key in keyring.certificates().iter().filter(|key| key.is_signify() == signify) {
            text.extend(key.armoured().map_err(unread)?);
        }
        if !text.is_empty() {
            files.push((path, text, true));
        }
    }
    Ok((files, keyring))
}

/// The signatures of an image that the site does not have yet, each of which is by a key that is offered.
fn sign(
    addition: &Addition,
    known: Option<&Published>,
    wanted: &Publication<'_>,
    keyring: &Keyring,
) -> Result<BTreeMap<String, Vec<u8>>> {
    let shown = addition.path.display();
    let refuse = |error: Box<dyn StdError + Send + Sync>| {
        Error::new(Kind::Refused, format!("sign {shown}")).clause("disc.sigpolicy").because(error)
    };
    let mut signatures: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (ending, bytes) in &addition.signatures {
        if !ENDINGS.contains(&ending.as_str()) {
            return Err(refuse(format!("a signature cannot be called {ending}").into()));
        }
        signatures.insert(ending.clone(), bytes.clone());
    }
    for (ending, sign) in &wanted.signers {
        let has = known.is_some_and(|known| known.signatures.iter().any(|known| known == ending));
        if !has && !signatures.contains_key(*ending) {
            signatures.insert((*ending).to_owned(), sign(&addition.path).map_err(refuse)?);
        }
    }
    for signature in signatures.values() {
        let unread = |error: std::io::Error| Error::new(Kind::Io, format!("read {shown}")).because(error);
        let checked =
            File::open(&addition.path).map_err(unread).map(|file| crate::trust::verify(keyring, file, signature))?;
        checked.map_err(|error| refuse(error.into()))?;
    }
    Ok(signatures)
}

/// Looks what became of files that somebody was changing who was cut off.
fn recover(place: &mut dyn Place, section: &mut Section, removals: &mut Vec<String>) -> Result<()> {
    for path in &section.moving {
        let digest = place.digest(path)?;
        let found = section.images.iter_mut().find(|image| Some(&image.sha512) == digest.as_ref());
        let mut whole = false;
        if let Some(image) = found {
            whole = true;
            for ending in &image.signatures {
                whole &= place.read(&format!("{path}{ending}"))?.is_some();
            }
            if whole {
                image.files.push(path.clone());
                image.files.sort();
                image.files.dedup();
                if read_map(place, path, &image.sha512)?.is_some() {
                    image.chunks.push(path.clone());
                    image.chunks.sort();
                    image.chunks.dedup();
                } else if place.read(&map_of(path))?.is_some() {
                    // Of what was there before, or will be there.
                    removals.push(map_of(path));
                }
            }
        }
        if !whole {
            removals.push(path.clone());
        }
    }
    section.images.retain(|image| !image.files.is_empty());
    Ok(())
}

fn url_of(section: &Section, path: &str) -> Result<String> {
    let corrupt = || Error::new(Kind::Corrupt, format!("find the URL of {path}"));
    let below = match section.directory.as_str() {
        "" => path,
        directory => path.strip_prefix(directory).and_then(|path| path.strip_prefix('/')).ok_or_else(corrupt)?,
    };
    let mut url: Url = names::base(section)?.parse().map_err(|_| corrupt())?;
    url.path_segments_mut().map_err(|()| corrupt())?.pop_if_empty().extend(below.split('/'));
    Ok(url.to_string())
}
