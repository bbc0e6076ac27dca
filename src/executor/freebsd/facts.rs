//! What `compile` has to know of a FreeBSD host.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::system::{Found, Mounted, Program, System};
use super::variables::Variable;
use crate::executor::plan::{Isolation, Network, PodPlan};
use crate::executor::{Error, Kind};

/// Says, until the next boot, which devfs rule set is ours.
pub(crate) const RULES_MARK: &str = "/var/run/jetpack.devfs";

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
    pub(crate) vnet: bool,
    /// The host's secure level, below which no jail can have its own.
    #[serde(default)]
    pub(crate) securelevel: i32,
    /// Whether this process may make jails and mounts.
    pub privileged: bool,
    /// Whether Linux programs can run (`linux64`).
    pub linux: bool,
    /// Whether devfs has a directory to mount Linux programs' shared memory on (`linux64` makes it).
    pub(crate) linux_shm: bool,
    /// Whether `/dev/ptmx` is there (`pty` makes it).
    #[serde(default)]
    pub ptmx: bool,
    /// What the kernel says of the variables that the pod asks for; those that it does not have are missing.
    #[serde(default)]
    pub(crate) variables: BTreeMap<String, Variable>,
    /// Whether the packet filter is loaded.
    pub(crate) pf: bool,
    /// The devfs rule set of pods.
    pub(crate) device_rules: DeviceRules,
    /// The network `default`, where it was configured and asked for.
    pub network: Option<NetworkFacts>,
    /// Parameters that the configuration decides.
    pub settings: Settings,
    /// What the host's `/etc/resolv.conf` says, for pods with a network whose image has none.
    pub(crate) resolv_conf: Option<String>,
}

/// The devfs rule set that hides what pods shall not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DeviceRules {
    /// It is there.
    Ready(u16),
    /// It has to be made, under this number.
    Make(u16),
}

impl DeviceRules {
    /// Its number.
    pub(crate) fn number(self) -> u16 {
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
    pub linux_release: LinuxRelease,
}

/// A release of Linux in the form that a jail's `linux.osrelease` takes: three numbers, and what follows behind a `-`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LinuxRelease(String);

impl LinuxRelease {
    /// As programs are told.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for LinuxRelease {
    fn default() -> Self {
        // What FreeBSD itself tells from 14.1 on: libraries of today ask for more than the 4.4.0 of 13.2.
        Self("5.15.0".to_owned())
    }
}

impl TryFrom<String> for LinuxRelease {
    type Error = String;

    /// As `linux_map_osrel` of 13.2 has it, which would refuse each pod otherwise.
    fn try_from(text: String) -> Result<Self, String> {
        /// What the kernel keeps of it, the zero at its end not counted.
        const LONGEST: usize = 64;
        let (numbers, rest) = text.split_at(text.find('-').unwrap_or(text.len()));
        let number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<u16>().ok())?;
        let parts: Option<Vec<u16>> = numbers.split('.').map(number).collect();
        let fits =
            matches!(parts.as_deref(), Some([first, _, _]) if *first > 0) && rest.len() != 1 && text.len() <= LONGEST;
        if fits && !text.contains('\0') {
            Ok(Self(text))
        } else {
            Err(format!("`{text}` is no release of Linux such as 5.15.0"))
        }
    }
}

impl From<LinuxRelease> for String {
    fn from(release: LinuxRelease) -> Self {
        release.0
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { securelevel: 2, linux_release: LinuxRelease::default() }
    }
}

/// The network `default`: a bridge with an address block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkFacts {
    /// The bridge.
    pub bridge: String,
    /// Whether it is there.
    pub(crate) bridge_exists: bool,
    /// The bridge's own address, the pods' gateway.
    pub gateway: Ipv4Addr,
    /// Bits of the block's prefix.
    pub prefix: u8,
    /// The lowest free address.
    pub address: Ipv4Addr,
    /// The IPv6 network of the pods, where one is configured.
    pub(crate) ipv6: Option<(Ipv6Addr, u8, Ipv6Addr)>,
    /// Where addresses that are taken stand, one file each.
    pub claims: PathBuf,
    /// A number that no epair has.
    pub unit: u32,
    /// The host's interface that leads outside, for address translation.
    pub outside: Option<String>,
    /// Whether the host passes packets on (`net.inet.ip.forwarding`).
    pub(crate) forwarding: bool,
    /// Whether the packet filter is on.
    pub(crate) filtering: bool,
    /// Lines that its main rules lack for pods' own to be looked at.
    pub(crate) missing_anchors: Vec<String>,
}

/// What the configuration says about a FreeBSD host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configured {
    /// The network `default`.
    pub network: NetworkConfig,
    /// About jails.
    pub settings: Settings,
}

/// The configured network, before anything of the host was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// Major and minor of `13.2-RELEASE-p4`.
pub(super) fn release_of(version: &str) -> (u32, u32) {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Whether a kernel variable is there and on.
pub(super) fn is_on(system: &mut (impl System + ?Sized), variable: &str) -> bool {
    system.sysctl(variable).is_ok_and(|value| value != 0)
}

impl HostFacts {
    /// Looks at the host. No program is started unless a network is asked for.
    ///
    /// # Errors
    /// [`Kind::Io`] where the mount table cannot be read.
    pub(crate) fn gather<S: System>(system: &mut S) -> Result<Self, Error> {
        let mounts = system.mounts().map_err(|e| Error::new(Kind::Io, "read the mount table").because(e))?;
        let sealed: BTreeMap<PathBuf, String> = mounts
            .iter()
            .filter(|mount| mount.kind == "zfs")
            .map(|mount| (mount.on.clone(), mount.from.clone()))
            .collect();
        let version = system.version();
        let release = release_of(&version);
        let yes = |value: std::io::Result<i64>| value.is_ok_and(|value| value != 0);
        Ok(Self {
            release,
            arch: if cfg!(target_arch = "aarch64") { "aarch64" } else { "amd64" }.to_owned(),
            sealed,
            mounts,
            racct: yes(system.sysctl("kern.racct.enable")),
            vnet: yes(system.sysctl("kern.features.vimage")),
            securelevel: system
                .sysctl("kern.securelevel")
                .ok()
                .and_then(|level| i32::try_from(level).ok())
                .unwrap_or(-1),
            privileged: system.privileged(),
            linux: system.has_module("linux64.ko", "linux64elf"),
            linux_shm: system.look(Path::new("/dev/shm"), false).is_ok_and(|found| found == Found::Directory),
            ptmx: system.has_module("pty.ko", "pty"),
            variables: BTreeMap::new(),
            pf: system.has_module("pf.ko", "pf"),
            device_rules: device_rules(system),
            network: None,
            settings: Settings::default(),
            resolv_conf: None,
        })
    }

    /// What this host is for one pod: its network's facts too. `reserve`: the pod is about to be made, so its address is taken at
    /// once, before another pod can have it; [`release`](Self::release) gives it back.
    ///
    /// # Errors
    /// [`Kind::Io`]; [`Kind::Refused`] where the network's addresses are used up.
    pub(crate) fn for_pod<S: System>(
        system: &mut S,
        plan: &PodPlan,
        configured: &Configured,
        reserve: bool,
    ) -> Result<Self, Error> {
        let mut facts = Self::gather(system)?;
        facts.settings = configured.settings.clone();
        let asked = plan.isolators.iter().filter_map(|isolator| match isolator {
            Isolation::Sysctl { values } => Some(values.keys()),
            _ => None,
        });
        let known = asked.flatten().filter_map(|name| Some((name.clone(), system.variable(name).ok()?)));
        facts.variables = known.collect();
        if plan.network != Network::None {
            // What the image lacks only: the host's own resolver is the pod's as long as nobody says otherwise.
            facts.resolv_conf = system.read_text(Path::new("/etc/resolv.conf")).ok();
        }
        if matches!(plan.network, Network::Named(_)) && facts.vnet && facts.privileged {
            let claims = plan.directory.ancestors().nth(2).unwrap_or(Path::new("/")).join("network");
            let uuid = plan.uuid.to_string();
            let owner = reserve.then_some(uuid.as_str());
            // To take an address from a pod that is gone is to look and then to take: not while another does.
            let turn = owner.map(|_| system.turn()).transpose();
            let turn = turn.map_err(|e| Error::new(Kind::Io, "wait for a turn to take an address").because(e))?;
            let mut network = NetworkFacts::choose(system, &configured.network, &claims, owner)?;
            drop(turn);
            network.look_outside(system, facts.pf);
            facts.network = Some(network);
        }
        Ok(facts)
    }

    /// Gives back what [`for_pod`](Self::for_pod) has reserved.
    #[cfg(target_os = "freebsd")]
    pub(crate) fn release<S: System>(&self, system: &mut S, plan: &PodPlan) {
        if let Some(network) = &self.network {
            // One that stays is taken for free as soon as the pod's directory is gone.
            let _ = system.release(&network.claims.join(network.address.to_string()), &plan.uuid.to_string());
        }
    }

    /// The dataset of all pods, when `<root>`, of which `<root>/pods/<uuid>` is this pod's directory, is a dataset.
    pub(crate) fn dataset_of_pods(&self, directory: &Path) -> Option<String> {
        let root = directory.parent()?.parent()?;
        self.sealed.get(root).map(|dataset| format!("{dataset}/pods"))
    }

    /// The snapshot to clone for a rendered layer, when the layer is a sealed dataset.
    pub(crate) fn snapshot_of(&self, layer: &Path) -> Option<String> {
        let tree = layer.parent()?;
        self.sealed.get(tree).map(|dataset| format!("{dataset}@{}", super::datasets::SEALED))
    }
}

/// Rule sets have global numbers; ours is the one that the mark names, else the one we make.
pub(super) fn device_rules<S: System>(system: &mut S) -> DeviceRules {
    /// Far from the five of `/etc/defaults/devfs.rules` and from what people number theirs.
    const OURS: u16 = 7381;
    match system.look(Path::new(RULES_MARK), true) {
        Ok(_) => DeviceRules::Ready(OURS),
        Err(_) => DeviceRules::Make(OURS),
    }
}

impl NetworkFacts {
    /// The lowest free address and a free epair number. With `owner` the address is taken for that pod in the same moment,
    /// so that no two pods have it; without, nothing changes.
    ///
    /// # Errors
    /// [`Kind::Refused`] where the block is used up.
    pub(crate) fn choose<S: System>(
        system: &mut S,
        config: &NetworkConfig,
        claims: &Path,
        owner: Option<&str>,
    ) -> Result<Self, Error> {
        let (block, prefix) = config.v4;
        let bits = 32_u32.saturating_sub(u32::from(prefix)).min(31);
        let mask = u32::MAX.checked_shl(bits).unwrap_or(0);
        let base = u32::from(block) & mask;
        let gateway = Ipv4Addr::from(base + 1);
        let mut chosen = None;
        // The first is the bridge's, the last the broadcast address; the kernel numbers clones up to 32767.
        for host in 2..((1_u32 << bits) - 1).min(22_000) {
            let address = Ipv4Addr::from(base + host);
            if take(system, &claims.join(address.to_string()), claims, owner)? {
                chosen = Some(address);
                break;
            }
        }
        let address = chosen.ok_or_else(|| {
            Error::new(Kind::Refused, "find a free address").because(format!("{block}/{prefix} is used up"))
        })?;
        let host = u32::from(address) - base;
        let ipv6 = config.v6.map(|(block, prefix)| {
            let at = |host: u128| Ipv6Addr::from(u128::from(block) + host);
            (at(1), prefix, at(u128::from(host)))
        });
        let bridge = system.run(Program::Ifconfig, &[&config.bridge], "");
        // One without its address is what a process left that was killed while it made it.
        let whole = format!("inet {gateway} ");
        Ok(Self {
            bridge_exists: bridge.is_ok_and(|ran| ran.code == 0 && ran.output.contains(&whole)),
            bridge: config.bridge.clone(),
            gateway,
            prefix,
            address,
            ipv6,
            claims: claims.to_owned(),
            // As the address is the pod's own, so is a number made of it; far above what people number theirs.
            unit: 10_000 + host,
            outside: None,
            forwarding: false,
            filtering: false,
            missing_anchors: Vec::new(),
        })
    }

    /// What lets pods reach beyond the host, and be reached: the way out, forwarding, the packet filter.
    fn look_outside<S: System>(&mut self, system: &mut S, pf: bool) {
        let route = system.run(Program::Route, &["-n", "get", "-inet", "default"], "");
        self.outside = route.ok().filter(|ran| ran.code == 0).and_then(|ran| {
            let line = ran.output.lines().find_map(|line| line.trim().strip_prefix("interface:").map(str::trim))?;
            Some(line.to_owned())
        });
        self.forwarding = system.sysctl("net.inet.ip.forwarding").is_ok_and(|value| value != 0);
        if pf {
            self.filtering = super::doctor::is_filtering(system);
            self.missing_anchors = super::doctor::missing_anchors(system).into_iter().map(str::to_owned).collect();
        }
    }
}

/// Whether the address that `file` stands for is free; with an owner it is that pod's from now on.
fn take<S: System>(system: &mut S, file: &Path, claims: &Path, owner: Option<&str>) -> Result<bool, Error> {
    let failed = |error: io::Error| Error::new(Kind::Io, format!("take the address {}", file.display())).because(error);
    // A pod that is gone, directory and all, has left it behind: killed before it could write down that it has it.
    if let Ok(taken) = system.read_text(file) {
        let pods = claims.parent().unwrap_or(claims).join("pods");
        let name = taken.trim();
        // Versions before this one wrote the name into what they had made: without one it is nobody's.
        let gone = name.is_empty()
            || uuid::Uuid::parse_str(name).is_ok()
                && system.look(&pods.join(name), true).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        if !gone {
            return Ok(false);
        }
        if owner.is_some() {
            system.release(file, &taken).map_err(failed)?;
        }
    }
    match owner.map(|owner| system.claim(file, owner)) {
        None | Some(Ok(())) => Ok(true),
        Some(Err(error)) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Some(Err(error)) => Err(failed(error)),
    }
}
