//! How far a pod is kept apart from its host, and what it is connected to: by the command line, its level, the configuration.

use appc::config;
use appc::executor::host_name::HostName;
use appc::executor::level::Level;
use appc::executor::local;
use appc::executor::plan::{Cni, Metadata, Network};
use appc::metadata::socket;
use appc::schema::{AcName, PodManifest};

use crate::adapt::wrong;
use crate::context::Context;
use crate::error::CommandError;

/// How far the pod is kept apart. Of what builds an image nothing is configured: it has to write.
pub fn level(said: Option<Level>, builds: bool, context: &Context) -> Result<Level, CommandError> {
    let configured = if builds { Level::Default } else { context.config.isolation.value };
    let level = said.unwrap_or(configured);
    if builds && level.read_only() {
        let why = format!("a build writes to its root file system, which is read-only at isolation {level}");
        return Err(CommandError::usage(why));
    }
    Ok(level)
}

/// The pod's host name where somebody names one, or the host's where they share it.
pub fn hostname(said: Option<&HostName>, level: Level) -> Result<Option<HostName>, CommandError> {
    if level.own_name() {
        return Ok(said.cloned());
    }
    if said.is_some() {
        let why = format!("a pod has the host's name at isolation {level}");
        return Err(CommandError::usage(why).hint("--isolation default gives it a name of its own"));
    }
    Ok(rustix::system::uname().nodename().to_str().ok().and_then(|name| name.parse().ok()))
}

/// What the pod is connected to.
pub fn network(
    said: &[String],
    level: Level,
    context: &Context,
    manifest: &PodManifest,
    cni: &Cni,
) -> Result<Network, CommandError> {
    let config = &context.config;
    let names = match (said, level.network()) {
        ([], Some(network)) => return Ok(network),
        ([], None) => config.network.value.as_slice(),
        (said, _) => said,
    };
    let of = |name: &str| names.iter().any(|other| other == name);
    Ok(match names {
        [] => {
            let set = if cfg!(target_os = "freebsd") {
                config.freebsd_network.value.is_some()
            } else {
                config.linux_network.value.is_some()
            };
            local::default_network(set, publishes(manifest), cni)?
        }
        [one] if one == "none" => Network::None,
        [one] if one == "host" => Network::Host,
        names if of("none") || of("host") => {
            return Err(wrong("net", &names.join(","), "none and host stand alone"));
        }
        names => Network::Named(names.to_vec()),
    })
}

/// Whether ports of the host are to lead into the pod by its network.
fn publishes(manifest: &PodManifest) -> bool {
    let handed_over = |name: &AcName| {
        let apps = manifest.apps.iter().filter_map(|app| app.app.as_ref());
        apps.flat_map(|app| &app.ports).any(|port| port.name == *name && port.socket_activated)
    };
    manifest.ports.iter().any(|port| !handed_over(&port.name))
}

/// Who answers the apps' questions about the pod.
pub fn metadata(
    said: Option<config::Metadata>,
    context: &Context,
    network: &Network,
) -> Result<Metadata, CommandError> {
    Ok(match said.unwrap_or(context.config.metadata.value) {
        config::Metadata::Own => Metadata::Own,
        config::Metadata::Off => Metadata::Off,
        config::Metadata::Domain if *network == Network::None => {
            return Err(CommandError::usage("a pod without network cannot reach the domain's metadata service")
                .hint("--net names a network; --mds=own answers inside the pod"));
        }
        config::Metadata::Domain => {
            let root = context.root()?;
            Metadata::Domain(context.config.metadata_socket.value.clone().unwrap_or_else(|| socket(&root)))
        }
    })
}
