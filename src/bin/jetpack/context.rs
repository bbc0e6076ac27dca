//! What every command needs to know: where things are.

use std::ffi::OsString;
#[cfg(target_os = "freebsd")]
use std::fs;
use std::path::{Path, PathBuf};

use appc::config::{Block, Config, Origin, Setting};
use appc::executor::freebsd::facts::Configured;
use appc::executor::plan::{Bridge, Cni};
use appc::pod::Pods;
use appc::store::{self, Store, Uses};

use crate::error::CommandError;
use crate::insecure::Insecure;
use crate::remote::Network;

/// What holds for this call of `jetpack`.
#[derive(Clone)]
pub struct Context {
    /// The configuration, with what the command line says about it.
    pub config: Config,
    /// What the command line says about the network.
    pub network: Network,
    /// The file that keeps the model of a host, when this call is about that and not about this system.
    pub model: Option<PathBuf>,
    /// Whether no more is to be said than has to be.
    pub quiet: bool,
}

/// How what this program says reads among what apps say.
pub fn voice(words: &str) -> String {
    format!("jetpack: {words}")
}

/// What a variable of the environment says.
pub fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

impl Context {
    /// From the options that every subcommand takes.
    pub fn new(root: Option<PathBuf>, config: Option<&Path>, insecure: Insecure) -> Result<Self, CommandError> {
        let mut config = Config::load(config, &variable)?;
        for path in &config.unread {
            eprintln!("jetpack: warning: {} may not be read and is passed over: is HOME yours?", path.display());
        }
        if let Some(root) = root {
            config.root = Setting { value: Some(std::path::absolute(root)?), origin: Origin::CommandLine };
        }
        // Datasets and mounts are found by where they are, which the kernel tells without links (/home is one). The root
        // itself need not be there yet.
        #[cfg(target_os = "freebsd")]
        if let Some(root) = &mut config.root.value
            && let Some((above, real)) = root.ancestors().find_map(|above| Some((above, fs::canonicalize(above).ok()?)))
        {
            *root =
                root.strip_prefix(above).into_iter().flat_map(Path::components).fold(real, |at, name| at.join(name));
        }
        let insecure = match insecure.named() {
            Some(value) => {
                config.insecure = Setting { value: value.to_vec(), origin: Origin::CommandLine };
                insecure
            }
            None => Insecure::of(&config.insecure.value),
        };
        Ok(Self { config, network: Network { insecure, ..Network::default() }, model: None, quiet: false })
    }

    /// Where images and pods are kept.
    pub fn root(&self) -> Result<PathBuf, CommandError> {
        self.config.root.value.clone().ok_or_else(|| {
            CommandError::usage("there is no home directory to keep images in").hint("--root names a place")
        })
    }

    /// Where networks are described and made.
    pub fn cni(&self) -> Cni {
        let config = &self.config;
        let mut bridge = Bridge { name: config.linux_bridge.value.clone(), ..Bridge::default() };
        if let Some(Block(address, prefix)) = config.linux_network.value {
            bridge.v4 = (address, prefix);
        }
        bridge.v6 = config.linux_network6.value.map(|Block(address, prefix)| (address, prefix));
        Cni {
            configurations: config.cni_configurations.value.clone(),
            plugins: config.cni_plugins.value.clone(),
            bridge,
            rootless: config.linux_rootless_network.value,
        }
    }

    /// What holds for pods on a FreeBSD host.
    pub fn freebsd(&self) -> Configured {
        let config = &self.config;
        let mut configured = Configured::default();
        configured.network.bridge.clone_from(&config.freebsd_bridge.value);
        if let Some(Block(address, prefix)) = config.freebsd_network.value {
            configured.network.v4 = (address, prefix);
        }
        configured.network.v6 = config.freebsd_network6.value.map(|Block(address, prefix)| (address, prefix));
        configured.settings.securelevel = config.freebsd_securelevel.value.into();
        configured.settings.linux_release.clone_from(&config.freebsd_linux_release.value);
        configured
    }

    /// The store below the root.
    pub fn store(&self) -> Result<Store, CommandError> {
        let root = self.root()?;
        #[cfg(target_os = "freebsd")]
        return Ok(appc::executor::freebsd::datasets::open_store(appc::executor::freebsd::Real, &root)?);
        #[cfg(not(target_os = "freebsd"))]
        match &self.model {
            Some(model) => Ok(appc::executor::model::freebsd::open_store(model, &root)?),
            None => Ok(Store::open(root)?),
        }
    }

    /// The pods below the root.
    pub fn pods(&self) -> Result<Pods, CommandError> {
        Ok(Pods::open(&self.root()?)?)
    }

    /// What the pods below the root stand on, whether they run or not.
    pub fn uses(&self) -> store::Result<Uses> {
        let Some(root) = &self.config.root.value else { return Ok(Uses::default()) };
        let unknown = |error| store::Error::new(store::Kind::Corrupt, "tell what pods use").because(error);
        Pods::new(root).uses().map_err(unknown)
    }
}
