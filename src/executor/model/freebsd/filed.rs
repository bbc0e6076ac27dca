//! The programs of a model in a file: each call reads it, does one thing, and writes it back.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::{Model, Saved};
use crate::executor::freebsd::datasets::Datasets;
use crate::executor::freebsd::system::{Program, Programs, Ran};
use crate::store::{self, Store};

/// A model by its file. What takes long is done without it, as the kernel lets others go on.
#[derive(Clone, Debug)]
pub struct Filed {
    file: PathBuf,
}

fn other(error: crate::executor::Error) -> io::Error {
    io::Error::other(crate::error::chain(&error))
}

impl Filed {
    /// The model in `file`.
    pub fn new(file: &Path) -> Self {
        Self { file: file.to_owned() }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Model) -> io::Result<T>) -> io::Result<T> {
        let mut saved = Saved::open(&self.file).map_err(other)?;
        let done = work(&mut saved.model)?;
        saved.save().map_err(other)?;
        Ok(done)
    }
}

impl Programs for Filed {
    fn run(&mut self, program: Program, arguments: &[&str], input: &str) -> io::Result<Ran> {
        self.with(|model| model.run(program, arguments, input))
    }

    fn feed(&mut self, _: Program, arguments: &[&str], source: &mut dyn Read) -> io::Result<Ran> {
        let begun = self.with(|model| model.begin_receive(arguments, source))?;
        let (dataset, file) = match begun {
            Ok(begun) => begun,
            Err(complaint) => return Ok(Ran { code: 1, output: String::new(), complaint }),
        };
        let mut kept = OpenOptions::new().append(true).open(file)?;
        // Piece by piece: what has come when the program is killed is there.
        let copied = io::copy(source, &mut kept);
        let ended = self.with(|model| Ok(model.end_receive(&dataset)))?;
        copied?;
        Ok(ended.map_or_else(|complaint| Ran { code: 1, output: String::new(), complaint }, |()| Ran::default()))
    }

    fn drain(&mut self, _: Program, arguments: &[&str], target: &mut dyn Write) -> io::Result<Ran> {
        let sending = self.with(|model| Ok(model.begin_send(arguments)))?;
        match sending {
            Ok(sending) => sending.write(target).map(|()| Ran::default()),
            Err(complaint) => Ok(Ran { code: 1, output: String::new(), complaint }),
        }
    }
}

/// The store below `root` in the model's `file`: its trees are datasets once `jetpack init` was run there.
///
/// # Errors
/// Those of [`Store::open`].
pub fn open_store(file: &Path, root: &Path) -> store::Result<Store> {
    let failed = |error: io::Error| store::Error::new(store::Kind::Io, "read the model").because(error);
    if !file.exists() {
        return Store::open(root);
    }
    let filed = Filed::new(file);
    match filed.with(|model| Ok(model.state().disk.is_some())).map_err(failed)? {
        true => Store::open_with(root, std::sync::Arc::new(Datasets::new(filed, super::DATASET, root))),
        false => Store::open(root),
    }
}

impl Model {
    /// Keeps what datasets of images hold in directories of this system from now on.
    ///
    /// # Errors
    /// What the system says.
    pub fn keep_on_disk(&self, root: &Path) -> io::Result<()> {
        let place = root.join("model-freebsd.disk");
        fs::create_dir_all(&place)?;
        let mut inner = self.lock();
        inner.state.disk.get_or_insert(Disk { place });
        // Mounted nowhere itself, it says where what is below it is.
        if let Some(images) = inner.state.datasets.get_mut(&format!("{}/images", super::DATASET)) {
            images.mountpoint.get_or_insert(root.join("trees"));
        }
        Ok(())
    }
}

/// A snapshot's directory, opened to be read.
pub(super) fn reader(path: &Path) -> io::Result<BufReader<File>> {
    File::open(path).map(BufReader::new)
}
