//! What a Linux executor does to a host, as data.
//!
//! Steps stand in three places: on the host (undone one by one), in the pod's namespaces (undone with them) and in one
//! app's mount namespace (likewise). The supervisor carries out the first, the pod's first process the second, the app's
//! own process before it becomes the app's program the third.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::carrier::Carrier;
use super::cni::Connection;
use super::container::devices::Rule as DeviceRule;
use super::container::mounts::Mount;
use super::container::profile::Profile;
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

/// A change in the pod's namespaces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PodStep {
    /// Cuts the pod's mounts off from the host's.
    SeparateMounts,
    /// Enters the network namespace that a file stands for.
    EnterNetwork {
        /// The file.
        path: PathBuf,
    },
    /// Sets the host name.
    SetHostname {
        /// The name.
        name: String,
    },
    /// Sets the NIS domain name.
    SetDomainName {
        /// The name.
        name: String,
    },
    /// Raises loopback.
    RaiseLoopback,
    /// Sets a kernel parameter of the pod's own namespaces.
    SetParameter {
        /// `net.ipv4.tcp_keepalive_time`
        key: String,
        /// Its value.
        value: String,
    },
    /// Opens the metadata service's listening socket on loopback, at a port that no app claims.
    ListenForMetadata {
        /// Ports that apps claim.
        not: Vec<(u16, u16)>,
    },
    /// Gives a directory of the pod to an id of its user namespace.
    OwnDirectory {
        /// On the host.
        path: PathBuf,
        /// The user.
        uid: Id,
        /// The group.
        gid: Id,
    },
    /// Opens the listening sockets that an app finds open when it starts.
    Listen(Listen),
    /// Opens the socket by which an app says that it is ready.
    ListenForReadiness {
        /// Index of the app.
        app: usize,
    },
    /// Makes the memory file system that the pod's apps share as `/dev/shm`.
    MakeSharedMemory,
}

/// A change in an app's mount namespace. Targets are paths inside the rootfs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AppStep {
    /// Mounts the overlay that is the app's rootfs.
    MountOverlay {
        /// Lowest first, on the host.
        lower: Vec<PathBuf>,
        /// Where what is written goes.
        upper: PathBuf,
        /// The kernel's scratch directory beside it.
        work: PathBuf,
        /// Where it stands on the host while it is put together.
        at: PathBuf,
        /// Whether overlay's own marks are user attributes, as without privilege.
        user_marks: bool,
    },
    /// Makes a fresh copy of the layers the app's rootfs.
    CopyRootfs {
        /// Lowest first, on the host.
        lower: Vec<PathBuf>,
        /// Where it stands on the host.
        at: PathBuf,
    },
    /// Mounts a fresh procfs of the pod's processes.
    MountProc,
    /// Mounts sysfs of the pod's network, read-only.
    MountSys {
        /// Whether the host's has to be shown because a fresh one is refused.
        bind: bool,
    },
    /// Shows the app's own control groups, read-only.
    MountGroups {
        /// Their directories on the host, and what stands below `/sys/fs/cgroup` for each; nothing where it is the only one.
        groups: Vec<(String, PathBuf)>,
    },
    /// Mounts `/dev` with its device nodes and links. No other node can be opened, there or anywhere in the rootfs.
    MountDev {
        /// Whether the nodes are the host's, bound, because new ones are refused.
        bind: bool,
    },
    /// Mounts a `/dev/pts` of the app's own; `/dev/console` is a terminal of it.
    MountPts {
        /// Group of terminals, where it exists inside.
        gid: Option<u32>,
    },
    /// Shows the pod's shared memory at `/dev/shm`.
    MountShm,
    /// Mounts POSIX message queues at `/dev/mqueue`.
    MountMqueue,
    /// Hides a path of the kernel's.
    Mask {
        /// `/proc/kcore`
        path: PathBuf,
    },
    /// Makes a path of the kernel's read-only.
    Freeze {
        /// `/proc/sys`
        path: PathBuf,
    },
    /// Mounts a volume.
    MountVolume {
        /// On the host.
        source: PathBuf,
        /// In the rootfs.
        target: PathBuf,
        /// With what is mounted below it.
        recursive: bool,
        /// Read-only, with all below it.
        read_only: bool,
        /// Whether symbolic links in `source` may be followed.
        follow_links: bool,
        /// Whether it is a device that can be opened. Other volumes' devices cannot.
        #[serde(default)]
        device: bool,
    },
    /// Writes a file into the rootfs.
    ProvideFile {
        /// In the rootfs.
        path: PathBuf,
        /// What it says.
        content: String,
        /// Whether one that is there is replaced.
        replace: bool,
    },
    /// Makes the rootfs read-only.
    FreezeRootfs,
    /// Makes the rootfs the root and lets go of the host's tree.
    PivotRoot,
    /// Makes a directory of the host the rootfs.
    StandRootfs {
        /// The directory.
        at: PathBuf,
        /// What shows of the host's mounts meanwhile, as a flag of mount(2).
        propagation: u64,
        /// Whether it is where the host's own mounts are.
        shared: bool,
    },
    /// Makes a directory of the host the rootfs, with what is mounted there.
    UseRootfs {
        /// The directory.
        at: PathBuf,
    },
    /// Mounts something.
    Mount(Mount),
    /// Makes a device node, or another special file.
    MakeNode(Node),
    /// Makes a symbolic link, where nothing is.
    Link {
        /// In the rootfs.
        path: PathBuf,
        /// Where it leads.
        target: String,
    },
    /// Hides a path, which may be behind links of the rootfs.
    Hide {
        /// In the rootfs.
        path: PathBuf,
    },
    /// Makes a path read-only, which may be behind links of the rootfs.
    MakeReadOnly {
        /// In the rootfs.
        path: PathBuf,
    },
    /// Shows the container's own terminal at `/dev/console`.
    ShowConsole,
    /// Sets what shows of mounts in the rootfs and of the host's.
    Propagate {
        /// A flag of mount(2).
        flag: u64,
        /// For all mounts below too.
        recursive: bool,
    },
    /// Moves the rootfs over the host's root, where it cannot be pivoted into.
    MoveRoot,
    /// Makes the rootfs the root of this process alone, whose mounts are the host's.
    ChangeRoot,
}

/// A device node, or another special file, inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// In the rootfs.
    pub path: PathBuf,
    /// `c`, `b`, `p`
    pub kind: char,
    /// Which driver.
    pub major: u32,
    /// Which device.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Its owner.
    pub uid: Id,
    /// Its group.
    pub gid: Id,
    /// Whether it is the host's, bound.
    pub bind: bool,
}

/// A change of a process that is about to become the app's program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessStep {
    /// Joins control groups.
    JoinGroups {
        /// Their directories.
        paths: Vec<PathBuf>,
    },
    /// Gives it a view of the control groups in which its own is the root.
    SeparateGroups,
    /// Has a security module label the program.
    Label {
        /// Which.
        module: SecurityModule,
        /// A profile's name, a context.
        label: String,
    },
    /// Sets how eagerly the kernel kills it when memory is short.
    SetOomScore {
        /// -1000..=1000
        value: i32,
    },
    /// Goes to the working directory.
    ChangeDirectory {
        /// In the rootfs.
        path: PathBuf,
    },
    /// Bounds its capabilities.
    BoundCapabilities {
        /// Those that stay, as bits.
        keep: u64,
    },
    /// Takes on user, group and further groups.
    BecomeUser {
        /// As the manifest has it.
        user: String,
        /// As the manifest has it.
        group: String,
        /// Further groups.
        supplementary: Vec<Id>,
        /// Whether groups can be set at all.
        set_groups: bool,
    },
    /// Forbids gaining privileges.
    ForbidNewPrivileges,
    /// Refuses the system calls that a pod has no need of.
    RefuseSystemCalls {
        /// The app's capabilities, as bits; some calls come with some of them.
        keep: u64,
        /// Calls that are allowed all the same.
        allowed: Vec<String>,
    },
    /// Filters system calls.
    FilterSystemCalls {
        /// The listed calls are the allowed ones; else the blocked ones.
        retain: bool,
        /// Numbers of system calls.
        calls: Vec<i64>,
        /// The error a blocked call gives; nothing: SIGSYS.
        errno: Option<u16>,
    },
    /// Sets a limit as setrlimit(2) has it.
    SetLimit {
        /// `RLIMIT_NOFILE`
        resource: String,
        /// What holds.
        soft: u64,
        /// As far as it can be raised.
        hard: u64,
    },
    /// Takes on user and groups by number.
    TakeIds {
        /// The user.
        uid: Id,
        /// The group.
        gid: Id,
        /// Further groups; nothing: they cannot be set.
        groups: Option<Vec<Id>>,
        /// The mask of new files.
        umask: Option<u32>,
    },
    /// Sets all sets of capabilities.
    SetCapabilities {
        /// The most that it ever has, as bits.
        bounding: u64,
        /// Those in force.
        effective: u64,
        /// Those that it may put in force.
        permitted: u64,
        /// Those that a program with the same ones in its file keeps.
        inheritable: u64,
        /// Those that any program keeps.
        ambient: u64,
    },
    /// Sets how it is scheduled.
    Schedule {
        /// `SCHED_OTHER` as a number.
        policy: u32,
        /// Bits of sched_setattr(2).
        flags: u64,
        /// Niceness.
        nice: i32,
        /// Of real-time policies.
        priority: u32,
        /// Of deadlines, in nanoseconds: runtime, deadline, period.
        times: [u64; 3],
    },
    /// Sets its priority for block devices.
    SetIoPriority {
        /// As ioprio_set(2) has it.
        value: u32,
    },
    /// Sets how the kernel shows itself.
    SetPersonality {
        /// As personality(2) has it.
        domain: u32,
    },
    /// Filters system calls by a profile.
    FilterByProfile(Box<Profile>),
}

/// A module of the kernel that labels processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecurityModule {
    /// AppArmor: profiles by name.
    Apparmor,
    /// SELinux: contexts.
    Selinux,
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

impl PodStep {
    /// What it does, in words that read on after "failed to".
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::SeparateMounts => "separate the pod's mounts from the host's".to_owned(),
            Self::EnterNetwork { .. } => "enter the pod's network namespace".to_owned(),
            Self::SetHostname { name } => format!("set the host name {name}"),
            Self::SetDomainName { name } => format!("set the domain name {name}"),
            Self::RaiseLoopback => "raise the loopback interface".to_owned(),
            Self::SetParameter { key, value } => format!("set the kernel parameter {key} to {value}"),
            Self::ListenForMetadata { .. } => "listen for the metadata service".to_owned(),
            Self::OwnDirectory { path, uid, gid } => format!("give {} to {uid}:{gid}", path.display()),
            Self::Listen(listen) => listen.describe(),
            Self::ListenForReadiness { .. } => "listen for the app's readiness".to_owned(),
            Self::MakeSharedMemory => "make the pod's shared memory".to_owned(),
        }
    }
}

fn inside(path: &Path) -> String {
    format!("{} in the rootfs", path.display())
}

impl AppStep {
    /// What it does, in words that read on after "failed to".
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::MountOverlay { .. } => "mount the overlay of the rootfs".to_owned(),
            Self::CopyRootfs { .. } => "copy the rootfs".to_owned(),
            Self::MountProc => "mount /proc".to_owned(),
            Self::MountSys { .. } => "mount /sys".to_owned(),
            Self::MountGroups { .. } => "mount /sys/fs/cgroup".to_owned(),
            Self::MountDev { .. } => "set up /dev".to_owned(),
            Self::MountPts { .. } => "mount /dev/pts".to_owned(),
            Self::MountShm => "mount /dev/shm".to_owned(),
            Self::MountMqueue => "mount /dev/mqueue".to_owned(),
            Self::Mask { path } | Self::Hide { path } => format!("mask {}", inside(path)),
            Self::Freeze { path } | Self::MakeReadOnly { path } => format!("make {} read-only", inside(path)),
            Self::MountVolume { source, target, .. } => {
                format!("mount the volume {} at {}", source.display(), inside(target))
            }
            Self::ProvideFile { path, .. } => format!("provide {}", inside(path)),
            Self::FreezeRootfs => "make the rootfs read-only".to_owned(),
            Self::PivotRoot | Self::MoveRoot | Self::ChangeRoot => "change to the rootfs".to_owned(),
            Self::StandRootfs { at, .. } | Self::UseRootfs { at } => format!("make {} the rootfs", at.display()),
            Self::Mount(mount) => mount.describe(),
            Self::MakeNode(node) => format!("make the device {}", inside(&node.path)),
            Self::Link { path, .. } => format!("make the link {}", inside(path)),
            Self::ShowConsole => "set up the terminal".to_owned(),
            Self::Propagate { .. } => "set the propagation of mounts of the rootfs".to_owned(),
        }
    }
}

impl ProcessStep {
    /// What it does, in words that read on after "failed to".
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::JoinGroups { .. } => "join the control groups".to_owned(),
            Self::SeparateGroups => "separate the view of the control groups".to_owned(),
            Self::Label { module: SecurityModule::Apparmor, label } => format!("apply the AppArmor profile {label}"),
            Self::Label { module: SecurityModule::Selinux, label } => format!("apply the SELinux context {label}"),
            Self::SetOomScore { value } => format!("set the OOM score adjustment {value}"),
            Self::ChangeDirectory { path } => format!("change to the working directory {}", inside(path)),
            Self::BoundCapabilities { .. } => "bound the capabilities".to_owned(),
            Self::BecomeUser { user, group, .. } => format!("become user `{user}` and group `{group}`"),
            Self::ForbidNewPrivileges => "forbid new privileges".to_owned(),
            Self::RefuseSystemCalls { .. } => "refuse the system calls that a pod has no need of".to_owned(),
            Self::FilterSystemCalls { .. } | Self::FilterByProfile(_) => "install the system call filter".to_owned(),
            Self::SetLimit { resource, soft, hard } => format!("set the limit {resource} to {soft}, at most {hard}"),
            Self::TakeIds { uid, gid, .. } => format!("become user {uid} and group {gid}"),
            Self::SetCapabilities { .. } => "set the capabilities".to_owned(),
            Self::Schedule { .. } => "set how the process is scheduled".to_owned(),
            Self::SetIoPriority { .. } => "set the priority for block devices".to_owned(),
            Self::SetPersonality { .. } => "set the personality".to_owned(),
        }
    }
}
