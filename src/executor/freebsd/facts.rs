//! What `compile` has to know of a FreeBSD host.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::system::{Mounted, System};
use crate::executor::plan::{Network, PodPlan};
use crate::executor::{Error, Kind};

/// The devfs rule set that jails get where ours cannot be made.
pub const DEFAULT_RULES: u16 = 4;
/// Says, until the next boot, which devfs rule set is ours.
pub const RULES_MARK: &str = "/var/run/jetpack.devfs";

/// What holds on a host, gathered without changing anything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostFacts {
    /// Major and minor release.
    pub release: (u32, u32),
    /// The architecture in the specification's names.
    pub arch: String,
    /// The datasets that are mounted, by where: that is how a sealed tree's snapshot is found without a program.
    pub sealed: BTreeMap<PathBuf, String>,
    /// All mounts, for recursive volumes.
    pub mounts: Vec<Mounted>,
    /// Whether resources are accounted (`kern.racct.enable`).
    pub racct: bool,
    /// Whether jails can have networks of their own.
    pub vnet: bool,
    /// Whether Linux programs can run (`linux64`).
    pub linux: bool,
    /// Whether the packet filter is loaded.
    pub pf: bool,
    /// The devfs rule set of pods.
    pub device_rules: DeviceRules,
    /// The network `default`, where it was configured and asked for.
    pub network: Option<NetworkFacts>,
    /// Parameters that the configuration decides.
    pub settings: Settings,
    /// What the host's `/etc/resolv.conf` says, for pods with a network whose image has none.
    pub resolv_conf: Option<String>,
}

/// The devfs rule set that hides what pods shall not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceRules {
    /// It is there.
    Ready(u16),
    /// It has to be made, under this number.
    Make(u16),
}

impl DeviceRules {
    /// Its number.
    pub fn number(self) -> u16 {
        match self {
            Self::Ready(number) | Self::Make(number) => number,
        }
    }
}

/// What the configuration says about jails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The jail's secure level.
    pub securelevel: i32,
    /// What Linux programs are told is the kernel's release.
    pub linux_release: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { securelevel: 2, linux_release: "4.4.0".to_owned() }
    }
}

/// The network `default`: a bridge with an address block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkFacts {
    /// The bridge.
    pub bridge: String,
    /// Whether it is there.
    pub bridge_exists: bool,
    /// The bridge's own address, the pods' gateway.
    pub gateway: Ipv4Addr,
    /// Bits of the block's prefix.
    pub prefix: u8,
    /// The lowest free address.
    pub address: Ipv4Addr,
    /// The same for IPv6, where it is configured.
    pub ipv6: Option<(Ipv6Addr, u8, Ipv6Addr)>,
    /// Where addresses that are taken stand, one file each.
    pub claims: PathBuf,
    /// A number that no epair has.
    pub unit: u32,
    /// The host's interface that leads outside, for address translation.
    pub outside: Option<String>,
}

/// The configured network, before anything of the host was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkConfig {
    /// The bridge.
    pub bridge: String,
    /// The IPv4 block: its first address is the bridge's.
    pub v4: (Ipv4Addr, u8),
    /// The IPv6 block.
    pub v6: Option<(Ipv6Addr, u8)>,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self { bridge: "jetpack0".to_owned(), v4: (Ipv4Addr::new(10, 77, 0, 0), 16), v6: None }
    }
}

impl HostFacts {
    /// Looks at the host. No program is started unless a network is asked for.
    ///
    /// # Errors
    /// [`Kind::Io`] where the mount table cannot be read.
    pub fn gather<S: System>(system: &mut S) -> Result<Self, Error> {
        let mounts = system.mounts().map_err(|e| Error::new(Kind::Io, "read the mount table").because(e))?;
        let sealed: BTreeMap<PathBuf, String> = mounts
            .iter()
            .filter(|mount| mount.kind == "zfs")
            .map(|mount| (mount.on.clone(), mount.from.clone()))
            .collect();
        let version = system.version();
        let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
        let release = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        let yes = |value: std::io::Result<i64>| value.is_ok_and(|value| value != 0);
        Ok(Self {
            release,
            arch: if cfg!(target_arch = "aarch64") { "aarch64" } else { "amd64" }.to_owned(),
            sealed,
            mounts,
            racct: yes(system.sysctl("kern.racct.enable")),
            vnet: yes(system.sysctl("kern.features.vimage")),
            linux: system.has_module("linux64.ko", "linux64elf"),
            pf: system.has_module("pf.ko", "pf"),
            device_rules: device_rules(system),
            network: None,
            settings: Settings::default(),
            resolv_conf: None,
        })
    }

    /// The same for one pod: its network's facts too.
    ///
    /// # Errors
    /// [`Kind::Io`]; [`Kind::Refused`] where the network's addresses are used up.
    pub fn for_pod<S: System>(system: &mut S, plan: &PodPlan) -> Result<Self, Error> {
        let mut facts = Self::gather(system)?;
        if matches!(plan.network, Network::Named(_)) && facts.vnet {
            let claims = plan.directory.ancestors().nth(2).unwrap_or(Path::new("/")).join("network");
            facts.network = Some(NetworkFacts::choose(system, &NetworkConfig::default(), &claims, None)?);
        }
        Ok(facts)
    }

    /// The dataset of all pods, when `<root>`, of which `<root>/pods/<uuid>` is this pod's directory, is a dataset.
    pub fn dataset_of_pods(&self, directory: &Path) -> Option<String> {
        let root = directory.parent()?.parent()?;
        self.sealed.get(root).map(|dataset| format!("{dataset}/pods"))
    }

    /// The snapshot to clone for a rendered layer, when the layer is a sealed dataset.
    pub fn snapshot_of(&self, layer: &Path) -> Option<String> {
        let tree = layer.parent()?;
        self.sealed.get(tree).map(|dataset| format!("{dataset}@{}", super::datasets::SEALED))
    }
}

/// Rule sets have global numbers; ours is the one that the mark names, else the one we make.
fn device_rules<S: System>(system: &mut S) -> DeviceRules {
    /// Far from the five of `/etc/defaults/devfs.rules` and from what people number theirs.
    const OURS: u16 = 7381;
    match system.look(Path::new(RULES_MARK), true) {
        Ok(_) => DeviceRules::Ready(OURS),
        Err(_) => DeviceRules::Make(OURS),
    }
}

impl NetworkFacts {
    /// The lowest free address and a free epair number. Whoever asks holds the lock over `claims` until the claims are
    /// made.
    ///
    /// # Errors
    /// [`Kind::Refused`] where the block is used up.
    pub fn choose<S: System>(
        system: &mut S,
        config: &NetworkConfig,
        claims: &Path,
        outside: Option<String>,
    ) -> Result<Self, Error> {
        let (block, prefix) = config.v4;
        let bits = 32_u32.saturating_sub(u32::from(prefix)).min(31);
        let mask = u32::MAX.checked_shl(bits).unwrap_or(0);
        let base = u32::from(block) & mask;
        let gateway = Ipv4Addr::from(base + 1);
        // The first is the bridge's, the last the broadcast address; the kernel numbers clones up to 32767.
        let mut free = (2..((1_u32 << bits) - 1).min(22_000))
            .map(|host| Ipv4Addr::from(base + host))
            .filter(|address| system.look(&claims.join(address.to_string()), true).is_err());
        let address = free.next().ok_or_else(|| {
            Error::new(Kind::Refused, "find a free address").because(format!("{block}/{prefix} is used up"))
        })?;
        drop(free);
        let host = u32::from(address) - base;
        let ipv6 = config.v6.map(|(block, prefix)| {
            let at = |host: u128| Ipv6Addr::from(u128::from(block) + host);
            (at(1), prefix, at(u128::from(host)))
        });
        let interface = |system: &mut S, name: &str| {
            system.run(super::system::Program::Ifconfig, &[name], "").is_ok_and(|ran| ran.code == 0)
        };
        Ok(Self {
            bridge_exists: interface(system, &config.bridge),
            bridge: config.bridge.clone(),
            gateway,
            prefix,
            address,
            ipv6,
            claims: claims.to_owned(),
            // As the address is the pod's own, so is a number made of it; far above what people number theirs.
            unit: 10_000 + host,
            outside,
        })
    }
}
