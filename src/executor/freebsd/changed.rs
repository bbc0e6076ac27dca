//! Where an app's tree may differ from its image's, and what of that is the executor's own: told by the steps that made the pod.

use std::path::{Path, PathBuf};

use super::steps::Step;
use super::system::{Program, System};
use crate::executor::{Error, Kind};
use crate::layer::{Level, Ours, Whence, named};

/// The layers of an app that are images' and none of the pod's own.
pub(crate) fn images(layers: &[PathBuf], pod: &Path) -> Vec<PathBuf> {
    layers.iter().filter(|layer| !layer.starts_with(pod)).cloned().collect()
}

/// What the steps made in the rootfs of the app `name`, which began as `tree`, and where else to look.
///
/// # Errors
/// What `zfs` says.
pub(crate) fn of_steps(
    system: &mut dyn System,
    steps: &[Step],
    name: &str,
    tree: &Level,
) -> Result<(Ours, Whence), Error> {
    let mut ours = Ours::default();
    let mut whence = Whence::Everywhere;
    // `root/NAME/rootfs`, or where the copy of one that is seen read-only is.
    let of_app = |root: &Path| root.ends_with(Path::new(name).join("rootfs"));
    for step in steps {
        match step {
            Step::Mount { root, target, .. } if of_app(root) => ours.place(tree, target),
            Step::MakePlaces { root, places } if of_app(root) => {
                places.iter().for_each(|place| ours.place(tree, &place.target));
            }
            Step::ProvideFile { root, path, content, replace } if of_app(root) => {
                ours.file(tree, path, content, *replace);
            }
            Step::CloneRootfs { clones, .. } => {
                let of_app = |dataset: &str| dataset.rsplit('/').next() == Some(name);
                for clone in clones.iter().filter(|clone| of_app(&clone.dataset)) {
                    let told = system
                        .run(Program::Zfs, &["diff", "-H", &clone.snapshot, &clone.dataset], "")
                        .and_then(super::system::Ran::success);
                    let told = told.map_err(|error| {
                        let doing = format!("compare {} with {}", clone.dataset, clone.snapshot);
                        Error::new(Kind::Io, doing).because(error)
                    })?;
                    whence = Whence::Clone(named(&told, &clone.mountpoint));
                }
            }
            _ => {}
        }
    }
    Ok((ours, whence))
}
