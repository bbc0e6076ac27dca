//! A model that lives from call to call, in a file.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use super::files::Node;
use super::{Model, State};
use crate::executor::freebsd::facts::{Configured, HostFacts};
use crate::executor::freebsd::{Step, changed, compile};
use crate::executor::plan::PodPlan;
use crate::executor::{Compiled, Error, Kind, copy, journal, local};
use crate::layer::{Left, Level};
use crate::pod::{Part, PodDir};
use crate::whole::{self, Durability};

/// The most of a text file of an image that the model keeps: what users are found in, and little more.
const TEXT: u64 = 1 << 16;

/// A model read from its file, which nobody else uses meanwhile.
#[derive(Debug)]
pub struct Saved {
    /// The model.
    pub model: Model,
    file: Option<PathBuf>,
    _lock: Option<File>,
}

impl Saved {
    /// Reads the model; a fresh one, with the root dataset mounted where the file is, when there is none yet.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] where the file holds something else, [`Kind::Io`].
    pub fn open(file: &Path) -> Result<Self, Error> {
        let failed =
            |error: io::Error| Error::new(Kind::Io, format!("open the model {}", file.display())).because(error);
        let root = file.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(root).map_err(failed)?;
        let lock = File::create(file.with_extension("lock")).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let model = match fs::read(file) {
            Ok(bytes) => Model::holding(serde_json::from_slice::<State>(&bytes).map_err(|error| {
                Error::new(Kind::Corrupt, format!("read the model {}", file.display())).because(error)
            })?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Model::at(root),
            Err(error) => return Err(failed(error)),
        };
        // Who was killed has left it to the next one.
        model.lock().settle().map_err(failed)?;
        Ok(Self { model, file: Some(file.to_owned()), _lock: Some(lock) })
    }

    /// A fresh model that is kept nowhere, with the root dataset mounted at `root` and all modules loaded.
    #[cfg(not(target_os = "freebsd"))]
    pub(crate) fn passing(root: &Path) -> Self {
        let model = Model::at(root);
        model.change(|state| {
            state.modules.extend(["linux64", "pty"].map(str::to_owned));
        });
        Self { model, file: None, _lock: None }
    }

    /// Writes the model back.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn save(&mut self) -> Result<(), Error> {
        let Some(file) = &self.file else { return Ok(()) };
        let failed =
            |error: io::Error| Error::new(Kind::Io, format!("keep the model {}", file.display())).because(error);
        let text = serde_json::to_vec(&self.model.state()).map_err(|error| failed(error.into()))?;
        whole::replace(file, 0o666, &text, Durability::Usual).map_err(failed)?;
        self.model.lock().settle().map_err(failed)
    }

    /// What the pod is compiled to in this model, its images there.
    ///
    /// # Errors
    /// Those of [`compile()`].
    pub fn compile(&self, plan: &PodPlan, configured: &Configured) -> Result<Compiled<Step>, Error> {
        let failed = |error: io::Error| Error::new(Kind::Io, "show the pod's images to the model").because(error);
        let layers = plan.apps.iter().flat_map(|app| &app.layers);
        for layer in layers {
            match layer.strip_prefix(&plan.directory) {
                // The pod's own is no image's, and in no dataset.
                Ok(_) => self.import_source(layer),
                Err(_) => self.import(layer).map_err(failed)?,
            }
        }
        for volume in &plan.volumes {
            if let crate::executor::plan::VolumeKind::Host { source, .. } = &volume.kind {
                self.import_source(source);
            }
        }
        self.model.lock().make_directory(&plan.directory).map_err(failed)?;
        // The lock over the model's file keeps addresses from being given twice.
        compile(plan, &HostFacts::for_pod(&mut self.model.clone(), plan, configured, false)?)
    }

    /// Runs `body` with what an app left of its tree in this model: a copy of its image's files, with what the steps made in it.
    ///
    /// # Errors
    /// Those of `body`, and when there is no such app.
    pub(crate) fn with_left<T>(
        &self,
        pod: &PodDir,
        app: Option<&str>,
        body: impl FnOnce(&Left<'_>) -> Result<(), Error> + Send,
        beside: impl FnOnce() -> T,
    ) -> Result<T, Error> {
        let failed = |error: io::Error| Error::new(Kind::Io, "reach the app's files").because(error);
        let (plan, app) = PodPlan::of(pod, app)?;
        let app = &plan.apps[app];
        let steps: Vec<Step> = journal::read_whole(&pod.place(Part::Journal), local::MODEL)?;
        let place = tempfile::tempdir().map_err(failed)?;
        for layer in &app.layers {
            copy::tree(layer, place.path()).map_err(failed)?;
        }
        let rootfs = pod.place(Part::Root).join(&app.name).join("rootfs");
        for (path, node) in &self.model.state().files {
            let Ok(inside) = path.strip_prefix(&rootfs) else { continue };
            let path = place.path().join(inside);
            if fs::symlink_metadata(&path).is_ok() {
                continue;
            }
            match node {
                Node::Directory => fs::create_dir(&path).map_err(failed)?,
                Node::File(text) => fs::write(&path, text).map_err(failed)?,
                Node::Link(target) => std::os::unix::fs::symlink(target, &path).map_err(failed)?,
                Node::Socket => {}
            }
        }
        let layers = changed::images(&app.layers, pod.path());
        let tree = Level::root(&layers).map_err(failed)?;
        let (ours, whence) = changed::of_steps(&mut self.model.clone(), &steps, &app.name, &tree)?;
        let root = File::open(place.path()).map_err(failed)?;
        let left = Left { root: root.as_fd(), layers: &layers, whence: &whence, ours: &ours };
        crate::executor::changed::side_by_side(|| body(&left), beside)
    }

    /// Shows a rendered layer of the store to the model, as the dataset that it would be on FreeBSD.
    fn import(&self, layer: &Path) -> io::Result<()> {
        let Some(tree) = layer.parent() else { return Ok(()) };
        if self.model.lock().is_directory(layer) {
            return Ok(());
        }
        let mut found = Vec::new();
        let mut left = vec![PathBuf::new()];
        while let Some(inside) = left.pop() {
            for entry in fs::read_dir(layer.join(&inside))? {
                let entry = entry?;
                let path = inside.join(entry.file_name());
                let kind = entry.file_type()?;
                let node = if kind.is_dir() {
                    left.push(path.clone());
                    Node::Directory
                } else if kind.is_symlink() {
                    Node::Link(fs::read_link(entry.path())?)
                } else if entry.metadata().is_ok_and(|about| about.is_file() && about.len() <= TEXT) {
                    Node::File(fs::read_to_string(entry.path()).unwrap_or_default())
                } else {
                    Node::File(String::new())
                };
                // A name that is no text is nothing that a manifest could name.
                if let Some(path) = path.to_str() {
                    found.push((path.to_owned(), node));
                }
            }
        }
        let rootfs: Vec<(&str, Node)> = found.iter().map(|(path, node)| (path.as_str(), node.clone())).collect();
        self.model.seal_tree_at(tree, &rootfs);
        Ok(())
    }

    /// Shows a volume's source to the model, links on the way included.
    fn import_source(&self, source: &Path) {
        let mut at = PathBuf::new();
        for component in source.components() {
            at.push(component);
            let Ok(about) = fs::symlink_metadata(&at) else { return };
            let node = match fs::read_link(&at) {
                Ok(target) => Node::Link(target),
                Err(_) if about.is_dir() => Node::Directory,
                Err(_) if about.file_type().is_socket() => Node::Socket,
                Err(_) => Node::File(String::new()),
            };
            self.model.change(|state| drop(state.files.insert(at.clone(), node)));
        }
    }
}
