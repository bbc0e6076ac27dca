//! Finding the dependencies of an image, here or elsewhere.

use std::collections::{BTreeMap, VecDeque};
use std::error::Error as StdError;
use std::panic::resume_unwind;
use std::thread;

use crate::discovery::ImageName;
use crate::schema::{Dependency, ImageId, ImageManifest};
use crate::store::{self, Image, Store, Wanted};

use super::graph::Graph;
use super::{Error, Kind, Result};

/// So many images can one tree be made of.
const MOST_IMAGES: usize = 1000;
/// So many dependencies are fetched at once.
const AT_ONCE: usize = 4;

/// Brings images that the store does not have. Discovery implements it.
pub trait Fetcher: Sync {
    /// Brings the image that `wanted` describes into the store and gives it. What `wanted` names is checked before the
    /// image enters the store ([`Store::import`] does so when it is handed on), and again afterwards.
    fn fetch(&self, wanted: &Wanted, store: &Store) -> Result<Image, Box<dyn StdError + Send + Sync>>;
}

/// When something is asked for elsewhere though it may be here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Pull {
    /// Never: what is not in the store is missing.
    Never,
    /// What is not in the store.
    #[default]
    New,
    /// Always, but for what is known by its ID; what cannot be had is taken from the store.
    Update,
}

/// Where dependencies are looked for.
#[derive(Clone, Copy)]
pub struct Resolver<'a> {
    /// Here first.
    pub store: &'a Store,
    /// Then here, as far as `pull` says so.
    pub fetcher: Option<&'a dyn Fetcher>,
    /// When the fetcher is asked.
    pub pull: Pull,
}

impl<'a> Resolver<'a> {
    /// The store and nothing else.
    pub fn local(store: &'a Store) -> Self {
        Self { store, fetcher: None, pull: Pull::Never }
    }

    /// Finds all that `image` depends on, level by level, those of a level at once. Gives the graph and the images in
    /// it, which are held by being alive.
    ///
    /// # Errors
    /// [`Kind::Missing`], naming what asks for it; [`Kind::Refused`] where an ID, a size, a name or a label differs
    /// from what the dependency says; [`Kind::TooMany`].
    pub(crate) fn graph(&self, image: &Image) -> Result<(Graph, BTreeMap<ImageId, Image>)> {
        let mut graph = Graph::new(image.id().clone());
        let mut images = BTreeMap::from([(image.id().clone(), image.clone())]);
        let mut level = vec![image.clone()];
        while !level.is_empty() {
            let asked: Vec<(&Image, &Dependency)> =
                level.iter().flat_map(|image| image.manifest().dependencies.iter().map(move |d| (image, d))).collect();
            if images.len() + asked.len() > MOST_IMAGES {
                let error = Error::new(Kind::TooMany, format!("find the dependencies of {}", image.id()));
                return Err(error.because(format!("there are more than {MOST_IMAGES}")));
            }
            let mut found = VecDeque::from(self.all(&asked)?);
            let mut next = Vec::new();
            for asking in &level {
                let mut dependencies = Vec::new();
                for _ in &asking.manifest().dependencies {
                    let Some(dependency) = found.pop_front() else { break };
                    dependencies.push(dependency.id().clone());
                    if images.insert(dependency.id().clone(), dependency.clone()).is_none() {
                        next.push(dependency);
                    }
                }
                graph.add(asking.id().clone(), asking.manifest(), dependencies);
            }
            level = next;
        }
        Ok((graph, images))
    }

    fn all(&self, asked: &[(&Image, &Dependency)]) -> Result<Vec<Image>> {
        // What several ask for in the same words is looked for once.
        let mut distinct: Vec<(&Image, Wanted)> = Vec::new();
        let mut places = Vec::with_capacity(asked.len());
        for (image, dependency) in asked {
            let wanted = wanted(dependency);
            let known = distinct.iter().position(|(_, other)| *other == wanted);
            places.push(known.unwrap_or(distinct.len()));
            if known.is_none() {
                distinct.push((image, wanted));
            }
        }
        let mut found = Vec::with_capacity(distinct.len());
        for some in distinct.chunks(AT_ONCE) {
            let done = thread::scope(|scope| {
                let started: Vec<_> =
                    some.iter().map(|(image, wanted)| scope.spawn(|| self.one(image, wanted))).collect();
                // A panic of a thread goes on in this one.
                let join = |one: thread::ScopedJoinHandle<'_, _>| one.join().unwrap_or_else(|p| resume_unwind(p));
                started.into_iter().map(join).collect::<Vec<Result<Image>>>()
            });
            for image in done {
                found.push(image?);
            }
        }
        Ok(places.into_iter().map(|place| found[place].clone()).collect())
    }

    fn one(&self, image: &Image, wanted: &Wanted) -> Result<Image> {
        let looking = || format!("find {}, a dependency of {}", describe(wanted), &image.manifest().name);
        let because = |error: store::Error| Error::new(Kind::of(&error), looking()).because(error);
        let update = self.pull == Pull::Update && wanted.id.is_none();
        let here = if update { None } else { self.here(wanted).transpose() };
        let refused = match here {
            Some(Ok(image)) => return Ok(image),
            Some(Err(error)) => Some(error),
            None => None,
        };
        if let Some(fetcher) = self.fetcher.filter(|_| self.pull != Pull::Never) {
            match fetcher.fetch(wanted, self.store) {
                Ok(image) => {
                    let source = &image.origin().source;
                    wanted
                        .check(image.id(), image.manifest(), image.origin().archive_bytes, source)
                        .map_err(because)?;
                    return Ok(image);
                }
                // An update that cannot be had is no loss where the store has one.
                Err(_) if update && matches!(self.here(wanted), Ok(Some(_))) => {}
                Err(error) => {
                    return Err(Error::new(Kind::Missing, looking()).clause("dep.match.discovery").because(error));
                }
            }
        }
        if update && let Some(image) = self.here(wanted).map_err(because)? {
            return Ok(image);
        }
        match refused {
            Some(error) => {
                let clause = error.clause_id().unwrap_or("dep.match.discovery");
                Err(because(error).clause(clause))
            }
            None => {
                let error = Error::new(Kind::Missing, looking()).clause("dep.match.discovery");
                Err(error.because("the store does not have it"))
            }
        }
    }

    /// The newest image of the store that is what is wanted. An error says what is wrong with the one that comes closest.
    fn here(&self, wanted: &Wanted) -> Result<Option<Image>, store::Error> {
        if let Some(id) = &wanted.id {
            let Some(image) = self.store.try_image(id)? else { return Ok(None) };
            return self.fits(wanted, &image).map(|()| Some(image));
        }
        let Some(name) = &wanted.name else { return Ok(None) };
        let mut closest = None;
        for listed in self.store.fitting(name, &wanted.labels)? {
            let Some(image) = self.store.try_image(&listed.id)? else { continue };
            match self.fits(wanted, &image) {
                Ok(()) => return Ok(Some(image)),
                Err(error) => closest = closest.or(Some(error)),
            }
        }
        closest.map_or(Ok(None), Err)
    }

    fn fits(&self, wanted: &Wanted, image: &Image) -> Result<(), store::Error> {
        wanted.check(image.id(), image.manifest(), image.origin().archive_bytes, image.id())
    }
}

fn wanted(dependency: &Dependency) -> Wanted {
    let labels = dependency.labels.iter().flat_map(|labels| &labels.0);
    Wanted {
        name: Some(dependency.image_name.clone()),
        labels: labels.map(|label| (label.name.clone(), label.value.clone())).collect(),
        id: dependency.image_id.clone(),
        size: dependency.size,
    }
}

/// The dependency in the words of a command line.
fn describe(wanted: &Wanted) -> String {
    let name = wanted.name.as_ref().map(|name| ImageName { name: name.clone(), labels: wanted.labels.clone() });
    let mut text = name.map(|name| name.to_string()).unwrap_or_default();
    if let Some(id) = &wanted.id {
        text.push_str(&format!(" ({id})"));
    }
    text
}

/// Whether an image needs more than itself, or less.
pub(super) fn is_composed(manifest: &ImageManifest) -> bool {
    !manifest.dependencies.is_empty() || !manifest.path_whitelist.is_empty()
}
