//! What pods stand on, which must not be collected.

use std::path::PathBuf;

use serde::Deserialize;

use super::{Error, Part, PodDir, Pods, State};
use crate::schema::{ImageId, PodManifest};
use crate::store::Uses;

/// What is asked of a plan. Pods of other versions have plans that differ elsewhere.
#[derive(Default, Deserialize)]
struct Plan {
    apps: Vec<App>,
}

#[derive(Deserialize)]
struct App {
    image_id: ImageId,
    layers: Vec<PathBuf>,
}

impl Pods {
    /// The images and layers that pods stand on, whether they run or not.
    ///
    /// # Errors
    /// [`Kind::Corrupt`](super::Kind::Corrupt), [`Kind::Io`](super::Kind::Io), naming the pod: whose files do not read may stand on anything.
    pub fn uses(&self) -> Result<Uses, Error> {
        let mut uses = Uses::default();
        for pod in self.list()? {
            // What one stood on that is being removed is undone already.
            if pod.state() != State::Removing {
                add(&mut uses, &pod).map_err(|error| {
                    Error::new(*error.kind(), format!("tell which images pod {} stands on", pod.uuid())).because(error)
                })?;
            }
        }
        Ok(uses)
    }
}

/// A pod that has no such files yet is being made by a process that holds its images.
fn add(uses: &mut Uses, pod: &PodDir) -> Result<(), Error> {
    let who = || format!("pod {}", pod.uuid());
    let manifest: Option<PodManifest> = pod.read_json_if_there(Part::Manifest)?;
    for id in manifest.iter().flat_map(|manifest| &manifest.apps).filter_map(|app| app.image.id.clone()) {
        uses.images.insert(id, who());
    }
    for app in pod.read_json_if_there::<Plan>(Part::Plan)?.unwrap_or_default().apps {
        uses.images.insert(app.image_id, who());
        uses.layers.extend(app.layers.into_iter().map(|layer| (layer, who())));
    }
    Ok(())
}
