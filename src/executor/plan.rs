//! What shall be true while a pod runs. No operating system in it: `compile` of an executor makes steps of a plan.
//!
//! A plan is made of a reified pod manifest ([`crate::pod`]) and of what the command line adds to it. Everything that
//! can be wrong in a manifest was refused before a plan exists. Paths that mean something inside an app are
//! [`PathBuf`]s that begin with `/` and hold no `..`; they are resolved inside the app's rootfs, never on the host.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::id::Id;

use super::host_name::HostName;
use super::isolation::Outcome;
use super::level::Level;
use super::{Error, Kind};
use crate::pod::{Part, PodDir};

/// A pod: its apps and what they share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PodPlan {
    /// The pod's UUID (`pod.uuid`).
    pub uuid: Uuid,
    /// The name given to it, unique among living pods.
    pub name: Option<String>,
    /// The host name its apps see (`pod.ns.uts`).
    pub hostname: String,
    /// The pod's directory on the host: logs, writable layers, empty volumes (see [`crate::pod`]).
    pub directory: PathBuf,
    /// The apps, in the manifest's order.
    pub apps: Vec<AppPlan>,
    /// Volumes that mounts name by position.
    pub volumes: Vec<VolumePlan>,
    /// Devices of the host that volumes may be.
    #[serde(default)]
    pub devices: Vec<PathBuf>,
    /// How far it is kept apart from the host.
    #[serde(default)]
    pub level: Level,
    /// What isolates and bounds the pod as a whole.
    pub isolators: Vec<Isolation>,
    /// What the pod is connected to.
    pub network: Network,
    /// Where networks of other names than FreeBSD's own come from.
    #[serde(default)]
    pub cni: Cni,
    /// Ports of the host that lead to ports of the pod.
    pub ports: Vec<PortForward>,
    /// Name servers, search domains and options for `/etc/resolv.conf`; nothing: the image's file stands.
    pub dns: Dns,
    /// Lines added to `/etc/hosts`: an address and its names.
    pub hosts_entries: Vec<(IpAddr, Vec<HostName>)>,
    /// Who answers the apps' questions about the pod (decision 47).
    pub metadata: Metadata,
    /// Whether it is not started where something that it asks for does not hold (`iso.strict`).
    #[serde(default)]
    pub strict: bool,
    /// Which of its apps are started again when they have ended.
    #[serde(default)]
    pub restart: Restart,
}

/// Which apps are started again when they have ended, as long as the pod is not told to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// None.
    #[default]
    No,
    /// Those that failed, each at most so often; without a number as often as they do.
    OnFailure(Option<u64>),
    /// All.
    Always,
}

impl Restart {
    /// Whether an app is started again that was so `before` often.
    pub(crate) fn wants(self, failed: bool, before: u64) -> bool {
        match self {
            Self::No => false,
            Self::OnFailure(most) => failed && most.is_none_or(|most| before < most),
            Self::Always => true,
        }
    }
}

impl std::str::FromStr for Restart {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = match text.split_once(':') {
            None => match text {
                "no" => Some(Self::No),
                "on-failure" => Some(Self::OnFailure(None)),
                "always" => Some(Self::Always),
                _ => None,
            },
            Some(("on-failure", number)) => number.parse().ok().map(|number| Self::OnFailure(Some(number))),
            Some(_) => None,
        };
        known.ok_or_else(|| "it is none of no, on-failure, on-failure:N and always".to_owned())
    }
}

/// Where the Container Network Interface has its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cni {
    /// The directory of the networks' configurations.
    pub configurations: PathBuf,
    /// The directories of the plugins; the first that has one counts.
    pub plugins: Vec<PathBuf>,
    /// What the network `default` is where no file describes one.
    #[serde(default)]
    pub bridge: Bridge,
    /// What carries it for who is not root.
    #[serde(default)]
    pub rootless: Rootless,
}

/// What carries the packets of pods of ordinary users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rootless {
    /// Whichever is there and does here.
    #[default]
    Auto,
    /// `pasta`, of passt.
    Pasta,
    /// `slirp4netns`.
    Slirp4netns,
    /// Nothing: such pods have loopback alone.
    None,
}

/// The network `default` of a Linux host without a file for it: a bridge with an address block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bridge {
    /// The bridge's interface.
    pub name: String,
    /// The IPv4 block: its first address is the bridge's.
    pub v4: (Ipv4Addr, u8),
    /// The IPv6 block.
    pub v6: Option<(Ipv6Addr, u8)>,
}

impl Default for Bridge {
    fn default() -> Self {
        Self { name: "jetpack0".to_owned(), v4: (Ipv4Addr::new(10, 77, 0, 0), 16), v6: None }
    }
}

impl Default for Cni {
    fn default() -> Self {
        Self {
            configurations: "/etc/cni/net.d".into(),
            plugins: ["/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"].map(PathBuf::from).to_vec(),
            bridge: Bridge::default(),
            rootless: Rootless::Auto,
        }
    }
}

/// Who answers the apps' questions about their pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metadata {
    /// The pod's supervisor, inside the pod's own network.
    #[default]
    Own,
    /// The domain service of this host with this unix socket, at an address that the pod has to reach by its network.
    Domain(PathBuf),
    /// Nobody, which takes the pod out of conformance.
    Off,
}

impl Metadata {
    /// What becomes of the promise that there is a service (`mds.provided`).
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Own => Outcome::Enforced,
            Self::Domain(socket) => Outcome::modified(format!(
                "the domain service at {} answers, outside the pod's network",
                socket.display()
            )),
            Self::Off => Outcome::ignored("it is switched off, which takes the pod out of conformance"),
        }
    }
}

impl PodPlan {
    /// The plan of a pod on disk, and the index of its app of this name, or of the only one.
    ///
    /// # Errors
    /// [`Kind::Missing`] where there is no such app, or no telling which is meant; [`Kind::Corrupt`].
    pub(crate) fn of(pod: &PodDir, app: Option<&str>) -> Result<(Self, usize), Error> {
        let uuid = pod.uuid();
        let plan: Self = pod
            .read_json(Part::Plan)
            .map_err(|error| Error::new(Kind::Corrupt, format!("read pod {uuid}")).because(error))?;
        let found = match app {
            Some(name) => plan.apps.iter().position(|app| app.name == name),
            None => (plan.apps.len() == 1).then_some(0),
        };
        let names = || plan.apps.iter().map(|app| app.name.as_str()).collect::<Vec<_>>().join(", ");
        let missing = || {
            Error::new(Kind::Missing, format!("find the app in pod {uuid}"))
                .because(format!("its apps are {}", names()))
        };
        let found = found.ok_or_else(missing)?;
        Ok((plan, found))
    }
}

/// One app of a pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppPlan {
    /// The app's name in the pod, `AC_APP_NAME` (decision 38).
    pub name: String,
    /// The image that it runs in, `sha512-...`.
    pub image_id: String,
    /// The `os` label of its image, where it has one.
    pub os: Option<String>,
    /// The `arch` label of its image, where it has one.
    pub arch: Option<String>,
    /// The `osrelease` label of its image, where it has one: which release of its system its programs shall see.
    #[serde(default)]
    pub(crate) os_release: Option<String>,
    /// The rendered layers of its rootfs, lowest first; never written to.
    pub layers: Vec<PathBuf>,
    /// Whose owners in the image could not be kept when it was imported, in words.
    #[serde(default)]
    pub lost_owners: Option<String>,
    /// Whether the app sees its rootfs read-only (`pm.apps.rorootfs`).
    pub(crate) read_only_rootfs: bool,
    /// The main process: a path inside the rootfs, or a name looked up along `PATH` (decision 41), and its arguments.
    pub exec: Vec<String>,
    /// The user, as the manifest has it (decision 40).
    pub user: String,
    /// The group, as the manifest has it (decision 40).
    pub group: String,
    /// Further groups of its processes.
    pub supplementary_gids: Vec<Id>,
    /// Where its processes start (`env.cwd`); missing in the rootfs: an error.
    pub working_directory: PathBuf,
    /// The environment, final but for what only a running pod knows (`AC_METADATA_URL`) and what the rootfs's passwd adds.
    pub environment: Vec<(String, String)>,
    /// Runs before the main process, which is not started when it fails.
    pub pre_start: Option<Vec<String>>,
    /// Runs once after the main process has ended.
    pub post_stop: Option<Vec<String>>,
    /// What is mounted where.
    pub mounts: Vec<MountPlan>,
    /// What isolates and bounds this app. At most one of a kind.
    pub isolators: Vec<Isolation>,
    /// What the operator consents to beyond what every app may.
    #[serde(default)]
    pub consent: Consent,
    /// The three standard streams.
    pub stdio: Stdio,
    /// The ports that it listens on, exposed or not.
    #[serde(default)]
    pub ports: Vec<AppPort>,
    /// Whether it says by sd_notify(3) when it is ready (`im.ann.sdnotify`).
    #[serde(default)]
    pub notifies: bool,
    /// By which signal it is asked to end, as its annotation names it; without, by TERM.
    #[serde(default)]
    pub(crate) stop_signal: Option<String>,
}

/// What an app may beyond what every app may: an image can ask for it, and the operator has to say so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// Capabilities, as `CAP_SYS_ADMIN`; `all` means each.
    pub capabilities: Vec<String>,
    /// System calls of those that a pod has no need of; `all` means each.
    pub calls: Vec<String>,
    /// The app's capability isolators are the operator's own words.
    pub own_capabilities: bool,
    /// The app's seccomp isolators are the operator's own words.
    pub own_calls: bool,
}

impl Consent {
    /// Whether the app may have a capability if it asks for it.
    #[cfg(target_os = "linux")]
    pub(crate) fn to_capability(&self, name: &str) -> bool {
        self.own_capabilities || self.capabilities.iter().any(|allowed| allowed == name || allowed == "all")
    }
}

/// A range of ports that an app listens on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppPort {
    /// Its name in the manifests.
    pub name: String,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The first port.
    pub port: u16,
    /// How many consecutive ports.
    pub count: u16,
    /// Whether the app finds the sockets open when it starts (`im.app.ports.socketactivated`).
    pub socket_activated: bool,
}

impl AppPort {
    /// The last port.
    pub(crate) fn last(&self) -> u16 {
        self.port.saturating_add(self.count.saturating_sub(1))
    }
}

/// One volume of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumePlan {
    /// Its name in the pod.
    pub name: String,
    /// Where it comes from.
    pub kind: VolumeKind,
    /// Read-only for every app.
    pub read_only: bool,
}

/// Where a volume comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum VolumeKind {
    /// A fresh directory that lives as long as the pod.
    Empty {
        /// Its permission bits.
        mode: u32,
        /// Its owner inside the pod.
        uid: Id,
        /// Its group inside the pod.
        gid: Id,
    },
    /// A directory or file of the host.
    Host {
        /// Its path on the host.
        source: PathBuf,
        /// Whether what is mounted below it comes along.
        recursive: bool,
        /// Whether symbolic links in `source` may be followed (decision 46).
        follow_links: bool,
    },
}

/// A volume mounted into an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPlan {
    /// Index into [`PodPlan::volumes`].
    pub volume: usize,
    /// Where the app sees it, cleaned; no target of an app is below another (decision 45).
    pub target: PathBuf,
    /// Read-only because the mount point or the volume says so (decision 44).
    pub read_only: bool,
}

/// What a pod is connected to. Loopback is there always.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "networks")]
pub enum Network {
    /// Loopback only.
    #[default]
    None,
    /// The host's own network.
    Host,
    /// The configured networks of these names, in this order.
    Named(Vec<String>),
}

/// A range of ports of the host that leads to a range of the pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortForward {
    /// The port's name in the manifests.
    pub name: String,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The first port of the host.
    pub(crate) host_port: u16,
    /// The address of the host it is bound to; nothing: all.
    pub(crate) host_ip: Option<Ipv4Addr>,
    /// The first port inside the pod.
    pub(crate) pod_port: u16,
    /// How many consecutive ports.
    pub count: u16,
    /// The app that finds the listening sockets open when it starts (`socketActivated`).
    pub socket_activated: Option<String>,
}

/// What `/etc/resolv.conf` says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// `nameserver` lines.
    pub servers: Vec<IpAddr>,
    /// `search` domains.
    pub search: Vec<HostName>,
    /// `options`.
    pub options: Vec<String>,
}

/// Where the standard streams of an app lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stdio {
    /// Standard input.
    pub stdin: Stream,
    /// Standard output.
    pub stdout: Stream,
    /// Standard error.
    pub stderr: Stream,
}

impl Default for Stdio {
    fn default() -> Self {
        Self { stdin: Stream::Null, stdout: Stream::Log, stderr: Stream::Log }
    }
}

/// Where one standard stream leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// `/dev/null`.
    Null,
    /// The pod's terminal.
    Tty,
    /// The supervisor's own, passed on by a pipe.
    Stream,
    /// The app's log file, with time stamps; passed through as well while the supervisor is in the foreground.
    Log,
}

/// An isolator in base units, as executors understand it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "isolator")]
#[non_exhaustive]
pub enum Isolation {
    /// The bounding set is the default 14 without these (`iso.caps-remove.effect`).
    CapabilitiesRemove {
        /// Names as `CAP_CHOWN`.
        set: Vec<String>,
    },
    /// The bounding set is exactly these (`iso.caps-retain.effect`).
    CapabilitiesRetain {
        /// Names as `CAP_CHOWN`.
        set: Vec<String>,
    },
    /// These system calls are blocked.
    SeccompRemove {
        /// Names and `@scope/wildcards`.
        set: Vec<String>,
        /// The error that a blocked call gives; nothing: the process is killed by SIGSYS (decision 49).
        errno: Option<String>,
    },
    /// All but these system calls are blocked.
    SeccompRetain {
        /// Names and `@scope/wildcards`.
        set: Vec<String>,
        /// The error that a blocked call gives; nothing: the process is killed by SIGSYS (decision 49).
        errno: Option<String>,
    },
    /// Processes cannot gain privileges.
    NoNewPrivileges {
        /// Whether that is asked for.
        value: bool,
    },
    /// The SELinux label of the processes.
    SelinuxContext {
        /// `user:role:type:level`.
        context: String,
    },
    /// The AppArmor profile of the processes.
    ApparmorProfile {
        /// Its name, loaded on the host.
        profile: String,
    },
    /// How eagerly the kernel kills the processes when memory is short.
    OomScoreAdj {
        /// -1000..=1000
        value: i32,
    },
    /// The relative weight of processor time.
    CpuShares {
        /// 2..=262144
        value: u64,
    },
    /// Processor time.
    Cpu {
        /// Thousandths of a core that are guaranteed.
        request: Option<u64>,
        /// Thousandths of a core that may be used.
        limit: Option<u64>,
    },
    /// Memory.
    Memory {
        /// Bytes that are guaranteed.
        request: Option<u64>,
        /// Bytes that may be used.
        limit: Option<u64>,
    },
    /// Block device throughput.
    BlockBandwidth {
        /// Bytes a second, read and written each.
        limit: u64,
    },
    /// Block device operations.
    BlockIops {
        /// Operations a second, reads and writes each.
        limit: u64,
    },
    /// Network throughput, never on loopback.
    NetworkBandwidth {
        /// Bytes a second, each way.
        limit: u64,
    },
    /// Kernel parameters of the pod.
    Sysctl {
        /// Keys as `net.ipv4.tcp_keepalive_time`.
        values: BTreeMap<String, String>,
    },
    /// Processes and threads.
    MaxProcesses {
        /// At once.
        limit: u64,
    },
    /// What is killed when memory runs out.
    OomGroup {
        /// All, not one process.
        value: bool,
    },
    /// One whose name nobody knows: reported, not applied.
    Unknown {
        /// Its name.
        name: String,
    },
}

impl Isolation {
    /// The isolator's name in manifests.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::CapabilitiesRemove { .. } => "os/linux/capabilities-remove-set",
            Self::CapabilitiesRetain { .. } => "os/linux/capabilities-retain-set",
            Self::SeccompRemove { .. } => "os/linux/seccomp-remove-set",
            Self::SeccompRetain { .. } => "os/linux/seccomp-retain-set",
            Self::NoNewPrivileges { .. } => "os/linux/no-new-privileges",
            Self::SelinuxContext { .. } => "os/linux/selinux-context",
            Self::ApparmorProfile { .. } => "os/linux/apparmor-profile",
            Self::OomScoreAdj { .. } => "os/linux/oom-score-adj",
            Self::CpuShares { .. } => "os/linux/cpu-shares",
            Self::Cpu { .. } => "resource/cpu",
            Self::Memory { .. } => "resource/memory",
            Self::BlockBandwidth { .. } => "resource/block-bandwidth",
            Self::BlockIops { .. } => "resource/block-iops",
            Self::NetworkBandwidth { .. } => "resource/network-bandwidth",
            Self::Sysctl { .. } => "os/unix/sysctl",
            Self::MaxProcesses { .. } => "os/unix/max-processes",
            Self::OomGroup { .. } => "os/linux/oom-group",
            Self::Unknown { name } => name,
        }
    }

    /// The clause that says what the isolator does, or that it may be ignored.
    pub(crate) fn clause(&self) -> &'static str {
        match self {
            Self::CapabilitiesRemove { .. } => "iso.caps-remove.effect",
            Self::CapabilitiesRetain { .. } => "iso.caps-retain.effect",
            Self::SeccompRemove { .. } => "iso.seccomp-remove.set.effect",
            Self::SeccompRetain { .. } => "iso.seccomp-retain.set.effect",
            Self::NoNewPrivileges { .. } => "iso.nnp.effect",
            Self::SelinuxContext { .. } => "iso.selinux.pod",
            Self::ApparmorProfile { .. } => "iso.apparmor.profile",
            Self::OomScoreAdj { .. } => "iso.ref.oom-score-adj",
            Self::CpuShares { .. } => "iso.ref.cpu-shares",
            Self::Cpu { .. } => "res.cpu.limit",
            Self::Memory { .. } => "res.memory.limit",
            Self::BlockBandwidth { .. } => "res.block-bandwidth.limit",
            Self::BlockIops { .. } => "res.block-iops.limit",
            Self::NetworkBandwidth { .. } => "res.network-bandwidth.limit",
            Self::Sysctl { .. } => "sysctl.shape",
            // The specification knows neither: who does not may ignore them.
            Self::MaxProcesses { .. } | Self::OomGroup { .. } | Self::Unknown { .. } => "iso.unknown.ignore",
        }
    }
}
