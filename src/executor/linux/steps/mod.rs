//! What a Linux executor does to a host, as data.
//!
//! Steps stand in three places: on the host (undone one by one), in the pod's namespaces (undone with them) and in one
//! app's mount namespace (likewise). The supervisor carries out the first, the pod's first process the second, the app's
//! own process before it becomes the app's program the third.

mod app;
mod pod;
mod process;

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use app::{AppStep, Node};
pub use pod::PodStep;
pub use process::{ProcessStep, SecurityModule};

use super::carrier::Carrier;
use super::cni::Connection;
use super::container::devices::Rule as DeviceRule;
use super::ports;
use super::systemd::Scope;
use crate::executor::listening::Listen;
use crate::executor::plan::PortForward;
use crate::id::Id;
use crate::pod::Bounds;
use crate::sys::linux::process::namespace;
pub use crate::sys::linux::subordinate::IdMap;

/// One change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Looks whether a volume's source is there and reached without symbolic links (decision 46). Changes nothing.
    CheckSource {
        /// The path on the host.
        path: PathBuf,
        /// Whether links may be followed.
        follow_links: bool,
    },
    /// Makes a directory below the pod's; undone with all that is in it.
    MakeDirectory {
        /// The path on the host.
        path: PathBuf,
        /// Permission bits.
        mode: u32,
        /// Owner and group on the host; nothing: whoever makes it.
        owner: Option<(Id, Id)>,
    },
    /// Leaves a control group of the caller's own for one beside those of the pod; undone by coming back.
    LeaveGroup {
        /// The group that is left.
        from: PathBuf,
        /// The new one.
        to: PathBuf,
    },
    /// Has systemd make a scope around the pod's first process, once there is one; what stands below it is done then too.
    StartScope(Scope),
    /// Moves the pod's first process into a group of the scope.
    PlaceFirst {
        /// The group's directory.
        path: PathBuf,
    },
    /// Looks whether nobody is in a control group that is there: what is in it would be ended with what is about to be. Changes
    /// nothing.
    CheckGroup {
        /// Its directory.
        path: PathBuf,
    },
    /// Makes a control group; undone when nothing is left in it.
    MakeGroup {
        /// Its directory.
        path: PathBuf,
    },
    /// Lets the children of a unified group have controllers. Not undone: other groups may use them.
    EnableControllers {
        /// The group's directory.
        path: PathBuf,
        /// `cpu`, `memory`, `io`.
        controllers: Vec<String>,
    },
    /// Bounds what is in a control group.
    SetGroup {
        /// The file in the group's directory.
        path: PathBuf,
        /// What is written.
        value: String,
        /// Whether kernels without the file do as well.
        optional: bool,
    },
    /// Bounds which devices can be used in a unified control group.
    FilterDevices {
        /// The group's directory.
        path: PathBuf,
        /// The last that says something counts.
        rules: Vec<DeviceRule>,
    },
    /// Makes the control groups above one. They stay, as others may use them.
    MakeGroupsAbove {
        /// That one's directory.
        path: PathBuf,
    },
    /// Makes a network namespace that a file stands for.
    MakeNetwork {
        /// The file.
        path: PathBuf,
    },
    /// Holds ports of the host that a plugin is to forward, as long as the pod runs.
    HoldPorts {
        /// Which.
        forward: PortForward,
    },
    /// Connects that namespace to a network; undone by the same plugins.
    Connect {
        /// How.
        connection: Connection,
    },
    /// Has a program carry the packets of the pod's own network namespace, once there is one; undone by ending it.
    Carry(Carrier),
    /// Makes the directories that every app finds, for all pods: they stay.
    MakeMountPoints {
        /// The layer that has them.
        path: PathBuf,
    },
    /// Opens listening sockets in the host's own network, for an app of a pod that has none but loopback.
    ListenOnHost {
        /// Which, for whom.
        listen: Listen,
        /// The address; nothing: all.
        address: Option<std::net::Ipv4Addr>,
    },
    /// Mounts the rootfs of a container without a mount namespace on itself, so that what is mounted in it can be taken away with it.
    ShowRootfs {
        /// The directory.
        at: PathBuf,
        /// How many mounts were there before: those are others'.
        below: usize,
    },
    /// Enters the namespace of others before new ones are made.
    JoinNamespace {
        /// Its kind.
        kind: Namespace,
        /// The file that stands for it.
        path: PathBuf,
    },
    /// Sets the clocks of a new time namespace.
    SetClocks {
        /// By clock: seconds and nanoseconds ahead.
        ahead: Vec<(String, i64, u32)>,
    },
    /// Makes the pod's first process in new namespaces; undone by killing it, and all processes of the pod with it.
    MakeNamespaces {
        /// `pid`, `mount`, `ipc`, `uts`, `net`, `cgroup`, `user`.
        namespaces: Vec<Namespace>,
        /// How ids of the user namespace map to the host's.
        ids: Option<IdMap>,
    },
    /// In the pod's namespaces.
    Pod(PodStep),
    /// In an app's mount namespace, once.
    App {
        /// Index of the app in the plan.
        app: usize,
        /// What.
        step: AppStep,
    },
    /// In each process of an app, before its program.
    Process {
        /// Index of the app in the plan.
        app: usize,
        /// What.
        step: ProcessStep,
    },
}

/// A kind of namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Namespace {
    /// Users and groups.
    User,
    /// Processes.
    Pid,
    /// Mounts.
    Mount,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Host name.
    Uts,
    /// Network.
    Net,
    /// The view of the cgroup trees.
    Cgroup,
    /// Clocks.
    Time,
}

impl Namespace {
    /// As a bit of clone(2).
    pub(crate) fn bit(self) -> u64 {
        match self {
            Self::User => namespace::USER,
            Self::Pid => namespace::PID,
            Self::Mount => namespace::MOUNT,
            Self::Ipc => namespace::IPC,
            Self::Uts => namespace::UTS,
            Self::Net => namespace::NET,
            Self::Cgroup => namespace::CGROUP,
            Self::Time => namespace::TIME,
        }
    }

    /// Its name below `/proc/PID/ns`.
    pub(crate) fn file(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Pid => "pid",
            Self::Mount => "mnt",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Net => "net",
            Self::Cgroup => "cgroup",
            Self::Time => "time",
        }
    }
}

impl crate::executor::Step for Step {
    fn outlives_apps(&self) -> bool {
        matches!(self, Self::MakeDirectory { .. })
    }

    fn leaves_nothing(&self) -> bool {
        !matches!(
            self,
            Self::MakeDirectory { .. }
                | Self::LeaveGroup { .. }
                | Self::StartScope(_)
                | Self::MakeGroup { .. }
                | Self::MakeNetwork { .. }
                | Self::Connect { .. }
                | Self::ShowRootfs { .. }
        )
    }

    fn belongs(&self, pod: &Bounds) -> bool {
        match self {
            Self::MakeDirectory { path, .. } | Self::MakeNetwork { path } => pod.has(path),
            Self::MakeGroup { path } | Self::LeaveGroup { to: path, .. } | Self::StartScope(Scope { path, .. }) => {
                let plain = path.components().all(|part| part != Component::ParentDir);
                plain && path.iter().any(|part| part.to_str().is_some_and(|name| pod.named(name)))
            }
            Self::Connect { connection } => pod.named(&connection.container) && pod.has(&connection.namespace),
            // Pods have none.
            Self::ShowRootfs { .. } => false,
            _ => true,
        }
    }

    fn done_inside(&self) -> bool {
        matches!(self, Self::Pod(_) | Self::App { .. } | Self::Process { .. })
    }

    fn describe(&self) -> String {
        match self {
            Self::CheckSource { path, .. } => format!("find the volume's source {}", path.display()),
            Self::MakeDirectory { path, .. } => format!("make the directory {}", path.display()),
            Self::LeaveGroup { from, to } => format!("leave the control group {} for {}", from.display(), to.display()),
            Self::StartScope(Scope { path, .. }) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                format!("have systemd start the scope {name}")
            }
            Self::PlaceFirst { path } => format!("move the pod's first process to {}", path.display()),
            Self::CheckGroup { path } => format!("use the control group {}", path.display()),
            Self::MakeGroup { path } => format!("make the control group {}", path.display()),
            Self::MakeGroupsAbove { path } => format!("make the control groups above {}", path.display()),
            Self::JoinNamespace { kind, path } => format!("join the {} namespace {}", kind.file(), path.display()),
            Self::SetClocks { .. } => "set the clocks".to_owned(),
            Self::EnableControllers { path, .. } => format!("enable controllers below {}", path.display()),
            Self::SetGroup { path, value, .. } => format!("write {value} into {}", path.display()),
            Self::FilterDevices { path, .. } => format!("filter the devices of {}", path.display()),
            Self::MakeNetwork { .. } => "make the pod's network namespace".to_owned(),
            Self::HoldPorts { forward } => ports::describe(forward),
            Self::Carry(carrier) => carrier.describe(),
            Self::Connect { connection } => format!("connect the pod to network {}", connection.network.name),
            Self::MakeMountPoints { path } => format!("make the mount points in {}", path.display()),
            Self::ListenOnHost { listen, .. } => format!("{} on the host", listen.describe()),
            Self::ShowRootfs { at, .. } => format!("show {} among the host's mounts", at.display()),
            Self::MakeNamespaces { .. } => "make the pod's namespaces".to_owned(),
            Self::Pod(step) => step.describe(),
            Self::App { step, .. } => step.describe(),
            Self::Process { step, .. } => step.describe(),
        }
    }
}

fn inside(path: &Path) -> String {
    format!("{} in the rootfs", path.display())
}
