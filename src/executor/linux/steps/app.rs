//! What is done in one app's mount namespace.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::inside;
use crate::executor::linux::container::mounts::Mount;
use crate::id::Id;

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
