//! What every command needs to know: where things are.

use std::path::PathBuf;

use appc::pod::Pods;
use appc::render::Fetcher;
use appc::store::{Store, default_root};

use crate::error::CommandError;
use crate::insecure::Insecure;
use crate::remote::{self, Deferred, Network};

/// What holds for this call of `jetpack`.
#[derive(Clone)]
pub struct Context {
    /// Where images and pods are kept, when the command line says so.
    pub root: Option<PathBuf>,
    /// What it says about the network.
    pub network: Network,
}

impl Context {
    /// From the options that every subcommand takes.
    pub fn new(root: Option<PathBuf>, insecure: Insecure) -> Self {
        Self { root, network: Network { insecure, ..Network::default() } }
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
        Some(Box::new(Deferred(remote::remote(self).map_err(CommandError::into_message))))
    }
}
