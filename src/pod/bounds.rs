//! What is a pod's own, so that nothing else is taken from the host when it goes.

use std::path::{Component, Path, PathBuf};

use uuid::Uuid;

/// What undoing a pod may touch.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// The pod.
    pub uuid: Uuid,
    /// Its directory while it lived.
    pub directory: PathBuf,
    /// The root that it is in, where that has an identity.
    pub root: Option<Uuid>,
}

impl Bounds {
    /// Whether `path` is the pod's directory or below it.
    pub(crate) fn has(&self, path: &Path) -> bool {
        path.starts_with(&self.directory) && !path.components().any(|part| part == Component::ParentDir)
    }

    /// Whether `name` is what the pod's jail and control groups are called, or its scope.
    pub fn named(&self, name: &str) -> bool {
        let name = name.strip_suffix(".scope").or_else(|| name.strip_suffix(".supervisor")).unwrap_or(name);
        name.strip_prefix("jetpack-").is_some_and(|uuid| uuid == self.uuid.to_string())
    }
}
