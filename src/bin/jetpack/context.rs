//! What every command needs to know: where things are.

use std::path::PathBuf;

use appc::pod::Pods;
use appc::render::Fetcher;
use appc::store::{Store, default_root};

use crate::error::CommandError;

/// What holds for this call of `jetpack`.
pub struct Context {
    /// Where images and pods are kept, when the command line says so.
    pub root: Option<PathBuf>,
}

impl Context {
    /// From the options that every subcommand takes.
    pub fn new(root: Option<PathBuf>) -> Self {
        Self { root }
    }

    /// Where images and pods are kept.
    pub fn root(&self) -> Result<PathBuf, CommandError> {
        let root = self.root.clone().or_else(default_root);
        root.ok_or_else(|| {
            CommandError::usage("there is no home directory to keep images in").hint("--root names a place")
        })
    }

    /// The store below the root.
    pub fn store(&self) -> Result<Store, CommandError> {
        Ok(Store::open(self.root()?)?)
    }

    /// The pods below the root.
    pub fn pods(&self) -> Result<Pods, CommandError> {
        Ok(Pods::new(&self.root()?))
    }

    /// What brings images that the store does not have.
    pub fn fetcher(&self) -> Option<Box<dyn Fetcher>> {
        None
    }
}
