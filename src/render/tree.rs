//! From an image to its tree: decide the plan, find or make what it needs.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FileType;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::schema::ImageId;
use crate::store::{self, Image, Store, TreeName};
use crate::sys::unowned::with_subordinate_ids;

use super::merge::{Laid, Merged};
use super::write::{self, Sharing, Written};
use super::{Error, Kind, Pass, Rendered, Resolver, Result};

/// The paths of all layers together, in bytes, that a mount is given: the options of `mount` are one page.
const LONGEST_LAYERS: usize = 3500;

/// How a root file system is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What is laid down, the lowest first.
    pub passes: Vec<Pass>,
}

impl Plan {
    /// The images that it needs.
    pub(crate) fn images(&self) -> HashSet<&ImageId> {
        self.passes.iter().map(|pass| &pass.image).collect()
    }

    /// The tree of an image that is all in it, beneath everything else.
    fn begins_as(&self) -> Option<TreeName> {
        match self.passes.as_slice() {
            [first, _, ..] if first.keep.is_empty() => Some(TreeName::image(&first.image)),
            _ => None,
        }
    }

    /// The name of the one tree that it comes to: that of the image itself when nothing is to be done.
    pub(crate) fn tree(&self) -> TreeName {
        match self.passes.as_slice() {
            [only] if only.keep.is_empty() => TreeName::image(&only.image),
            _ => {
                let text = serde_json::to_vec(self).expect("a plan has string keys only");
                TreeName::plan(&Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect::<String>())
            }
        }
    }
}

impl Store {
    /// The root file system of `image`, as layers where they can be stacked, else as one tree. Costs nothing once it was
    /// made; [`Store::render`] is called for it when the image is fetched.
    ///
    /// # Errors
    /// [`Kind::Missing`] where a dependency is not in the store, and the others of this module.
    pub fn rendered(&self, image: &Image) -> Result<Rendered> {
        self.made(image, &Resolver::local(self), self.trees().stacks())
    }

    /// The tree of an image, what is missing of which is looked for as `resolver` says.
    ///
    /// # Errors
    /// Those of [`Store::rendered`], and what the fetcher says.
    pub fn rendered_by(&self, image: &Image, resolver: &Resolver<'_>) -> Result<Rendered> {
        self.made(image, resolver, self.trees().stacks())
    }

    /// The tree of an image as one always, for an executor that cannot stack.
    ///
    /// # Errors
    /// Those of [`Store::rendered`].
    pub fn flattened(&self, image: &Image) -> Result<Rendered> {
        self.made(image, &Resolver::local(self), false)
    }

    /// Decides anew what `image` is made of, fetching what is missing, and makes it.
    ///
    /// # Errors
    /// Those of [`Store::rendered`], and what the fetcher says.
    pub fn render(&self, image: &Image, resolver: &Resolver<'_>) -> Result<Rendered> {
        let (plan, images) = self.decide(image, resolver)?;
        self.make(image, &plan, &images, self.trees().stacks())
    }

    /// Writes the root file system of `image` as `rootfs` into the directory `target`, apart from the store: whoever writes to it changes
    /// nothing here.
    ///
    /// # Errors
    /// Those of [`Store::rendered`]; what was written stays, for the caller to remove.
    pub fn render_into(&self, image: &Image, target: &Path, resolver: &Resolver<'_>) -> Result<Written> {
        let (plan, images) = self.planned(image, resolver)?;
        let failed =
            |error: io::Error| Error::new(Kind::Io, format!("render into {}", target.display())).because(error);
        // A tree apart is the user's own, who has no more than his own ids at hand when he handles it.
        let owners = rustix::process::geteuid().is_root();
        beyond_own(|| {
            let (merged, sources) = self.merge(&plan, &images)?;
            let directory = File::open(target).map_err(failed)?;
            write::write(&merged, &sources, &directory, Sharing::Apart, owners).map_err(failed)
        })
    }

    /// How `image` is made, as it was decided when it was fetched, or as it is decided now.
    ///
    /// # Errors
    /// Those of [`Store::rendered`].
    pub fn plan(&self, image: &Image) -> Result<Plan> {
        self.planned(image, &Resolver::local(self)).map(|(plan, _)| plan)
    }

    /// Compares the one tree that `image` was merged into, where there is one, with those that it was made from.
    ///
    /// # Errors
    /// [`Kind::Io`] where nothing can be said.
    pub fn verify_rendered(&self, image: &Image) -> Result<Vec<store::Damage>> {
        let Some(plan) = self.kept_plan(image).filter(|plan| plan.tree().image_id().is_none()) else {
            return Ok(Vec::new());
        };
        let Some(tree) = self.trees().find(&plan.tree()) else { return Ok(Vec::new()) };
        let images = plan.images().into_iter().map(|id| Ok((id.clone(), self.image(id)?)));
        // What has gone cannot be compared with; whoever runs the image is told.
        let Ok(images) = images.collect::<store::Result<BTreeMap<_, _>>>() else { return Ok(Vec::new()) };
        self.compare_rendered(image, &plan, &images, &tree.join("rootfs"))
    }

    /// Whether `rootfs` is what `image` comes to here: the same files of the same images.
    ///
    /// # Errors
    /// Those of [`Store::rendered`].
    pub(crate) fn renders_to(&self, image: &Image, rootfs: &Path) -> Result<bool> {
        let (plan, images) = self.planned(image, &Resolver::local(self))?;
        Ok(self.compare_rendered(image, &plan, &images, rootfs)?.is_empty())
    }

    fn compare_rendered(
        &self,
        image: &Image,
        plan: &Plan,
        images: &BTreeMap<ImageId, Image>,
        rootfs: &Path,
    ) -> Result<Vec<store::Damage>> {
        beyond_own(|| {
            let (merged, sources) = self.merge(plan, images)?;
            super::verify::compare(&merged, &sources, rootfs).map_err(|error| {
                Error::new(Kind::Io, format!("verify what {} was rendered to", image.id())).because(error)
            })
        })
    }

    fn made(&self, image: &Image, resolver: &Resolver<'_>, stacked: bool) -> Result<Rendered> {
        let (plan, images) = self.planned(image, resolver)?;
        self.make(image, &plan, &images, stacked)
    }

    fn planned(&self, image: &Image, resolver: &Resolver<'_>) -> Result<(Plan, BTreeMap<ImageId, Image>)> {
        if let Some(plan) = self.kept_plan(image) {
            let images = plan.images().into_iter().map(|id| Ok((id.clone(), self.image(id)?)));
            if let Ok(images) = images.collect::<store::Result<_>>() {
                return Ok((plan, images));
            }
        }
        self.decide(image, resolver)
    }

    fn decide(&self, image: &Image, resolver: &Resolver<'_>) -> Result<(Plan, BTreeMap<ImageId, Image>)> {
        let (graph, images) = resolver.graph(image)?;
        let plan = Plan { passes: graph.passes()? };
        if super::resolve::is_composed(image.manifest()) {
            let kept = serde_json::json!({ "tree": plan.tree().to_string(), "passes": plan.passes });
            let text = kept.to_string().into_bytes();
            // Whoever may only read the store decides again the next time.
            let _ = store::replace(&image.directory().join("plan"), &text);
        }
        Ok((plan, images))
    }

    fn make(&self, image: &Image, plan: &Plan, images: &BTreeMap<ImageId, Image>, stacked: bool) -> Result<Rendered> {
        let mut held: Vec<Arc<File>> = images.values().map(Image::hold).collect();
        let ids = plan.passes.iter().map(|pass| pass.image.clone()).collect();
        if stacked && let Some(layers) = self.layers(plan, images)? {
            return Ok(Rendered { layers, images: ids, held });
        }
        let name = plan.tree();
        loop {
            if let Some(tree) = self.trees().find(&name) {
                // A tree that goes between finding and holding is made again.
                let hold = store::hold(&tree)
                    .map_err(|error| Error::new(Kind::of(&error), rendering(image)).because(error))?;
                if let Some(hold) = hold {
                    held.push(Arc::new(hold));
                    return Ok(Rendered { layers: vec![tree.join("rootfs")], images: ids, held });
                }
            }
            let failed = |error: store::Error| Error::new(Kind::of(&error), rendering(image)).because(error);
            let draft = self.draft_tree(plan.begins_as().as_ref()).map_err(failed)?;
            let unwritten = |error: io::Error| {
                Error::new(Kind::Io, format!("render into {}", draft.path().display())).because(error)
            };
            // What is opened is closed by the end: sealing may unmount the tree to move it.
            beyond_own(|| {
                let (merged, sources) = self.merge(plan, images)?;
                let target = File::open(draft.path()).map_err(unwritten)?;
                let owners = rustix::process::geteuid().is_root();
                match draft.begun() {
                    true => write::amend(&merged, &sources, &target, owners).map_err(unwritten),
                    false => {
                        write::write(&merged, &sources, &target, Sharing::Frozen, owners).map(drop).map_err(unwritten)
                    }
                }
            })?;
            self.seal_tree(draft, &name).map_err(failed)?;
        }
    }

    /// The trees of all passes as they are, if that is the same as merging them.
    fn layers(&self, plan: &Plan, images: &BTreeMap<ImageId, Image>) -> Result<Option<Vec<PathBuf>>> {
        if plan.passes.iter().any(|pass| !pass.keep.is_empty()) {
            return Ok(None);
        }
        let mut layers = Vec::new();
        for (height, pass) in plan.passes.iter().enumerate() {
            let image = &images[&pass.image];
            // A directory without an entry of its own must not change the one beneath; as an overlay's it would.
            if height > 0 && !image.implied().is_empty() {
                return Ok(None);
            }
            layers.push(self.image_tree(image)?);
        }
        let length: usize = layers.iter().map(|layer| layer.as_os_str().len() + 1).sum();
        Ok((length <= LONGEST_LAYERS).then_some(layers))
    }

    fn image_tree(&self, image: &Image) -> Result<PathBuf> {
        let tree = self.tree(image).map_err(|error| Error::new(Kind::Corrupt, rendering(image)).because(error))?;
        Ok(tree.join("rootfs"))
    }

    /// What the plan comes to, and the open root of each pass.
    fn merge(&self, plan: &Plan, images: &BTreeMap<ImageId, Image>) -> Result<(Merged, Vec<File>)> {
        let mut merged = Merged::default();
        let mut sources = Vec::new();
        for (number, pass) in plan.passes.iter().enumerate() {
            let image = &images[&pass.image];
            let failed = |error: io::Error| Error::new(Kind::Io, rendering(image)).because(error);
            let tree = self.image_tree(image)?;
            sources.push(File::open(&tree).map_err(failed)?);
            let implied: HashSet<&[u8]> = image.implied().iter().map(Vec::as_slice).collect();
            let laid = store::walk(&tree, |path, kind| {
                let directory = kind == FileType::Directory;
                let kept = pass.keep.keeps(path);
                if kept {
                    merged.lay(number, Laid { path, directory, implied: implied.contains(path) });
                }
                kept
            });
            laid.map_err(failed)?;
        }
        Ok((merged, sources))
    }

    fn kept_plan(&self, image: &Image) -> Option<Plan> {
        serde_json::from_slice(&fs::read(image.directory().join("plan")).ok()?).ok()
    }
}

/// What `work` gives, done with the subordinate ids that trees of an ordinary user's images have, where he has some.
fn beyond_own<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    with_subordinate_ids(work).map_err(|error| Error::new(Kind::Io, "work on the trees of images").because(error))?
}

fn rendering(image: &Image) -> String {
    format!("render {}", image.id())
}
