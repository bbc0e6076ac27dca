//! What the FreeBSD executor does to a host, as data.

use std::net::Ipv4Addr;
use std::path::{Component, PathBuf};

use serde::{Deserialize, Serialize};

use super::context::Context;
use super::system::{Setting, Value};
use crate::executor::listening::Listen;
use crate::id::Id;
use crate::pod::Bounds;

/// One change of the host.
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
        /// Owner and group; nothing: whoever makes it.
        owner: Option<(Id, Id)>,
    },
    /// Clones the images' sealed snapshots, one an app; undone with the dataset above them.
    CloneRootfs {
        /// The pod's dataset.
        dataset: String,
        /// The pod's UUID, kept as a user property.
        uuid: String,
        /// The clones.
        clones: Vec<CloneOf>,
    },
    /// Copies the layers of an image into a directory, where there is no ZFS.
    CopyRootfs {
        /// Lowest first.
        layers: Vec<PathBuf>,
        /// The directory, not there yet.
        into: PathBuf,
    },
    /// Makes the devfs rule set of jetpack's pods, which is shared by all and stays.
    MakeDeviceRules {
        /// Its number.
        number: u16,
        /// The file that says that it is there, gone at the next boot as the rule set is.
        mark: PathBuf,
    },
    /// Mounts below an app's rootfs.
    Mount {
        /// `nullfs`, `devfs`, ...
        kind: String,
        /// What, for nullfs a path of the host.
        from: String,
        /// The app's rootfs on the host.
        root: PathBuf,
        /// Where in the rootfs.
        target: PathBuf,
        /// Whether what is mounted is no directory.
        file: bool,
        /// Further options of `nmount(2)`.
        options: Vec<(String, String)>,
        /// Whether nothing can be written to it.
        read_only: bool,
    },
    /// Writes a file into the rootfs.
    ProvideFile {
        /// The app's rootfs on the host.
        root: PathBuf,
        /// In the rootfs.
        path: PathBuf,
        /// What it says.
        content: String,
        /// Whether one that is there is replaced.
        replace: bool,
    },
    /// Makes what is missing of the places of mounts, while the rootfs can still be written to.
    MakePlaces {
        /// The app's rootfs on the host.
        root: PathBuf,
        /// The places.
        places: Vec<Place>,
    },
    /// Makes a clone read-only.
    FreezeRootfs {
        /// Where it is mounted.
        on: PathBuf,
    },
    /// Takes an address of the bridge's network for this pod.
    ClaimAddress {
        /// The file that stands for it.
        file: PathBuf,
        /// The pod's UUID, its content.
        uuid: String,
    },
    /// Makes the bridge that pods are connected to; shared by all, and stays.
    MakeBridge {
        /// Its name.
        name: String,
        /// Its addresses with prefixes.
        addresses: Vec<String>,
    },
    /// Makes a pair of interfaces, one end on the bridge.
    MakeEpair {
        /// Its number.
        unit: u32,
        /// The bridge.
        bridge: String,
        /// What the end on the host is described as, so that nobody else's is destroyed.
        description: String,
    },
    /// Makes the pod's jail.
    CreateJail {
        /// Its name.
        name: String,
        /// Its parameters, the name among them.
        parameters: Vec<(String, Value)>,
    },
    /// Gives an interface to the pod's jail.
    MoveInterface {
        /// The interface.
        interface: String,
        /// The jail's name.
        jail: String,
    },
    /// Sets up the network inside the jail.
    SetUpNetwork {
        /// The jail's name.
        jail: String,
        /// What is set.
        settings: Vec<Setting>,
    },
    /// Opens sockets that an app finds open when it starts. They end with the supervisor.
    Listen {
        /// Which.
        listen: Listen,
        /// Whether in the host's own network, for a pod that has none but loopback.
        on_host: bool,
        /// The address; nothing: all.
        address: Option<Ipv4Addr>,
    },
    /// What every process of an app is before it becomes its program.
    Process {
        /// Index of the app.
        app: usize,
        /// What it is.
        context: Context,
    },
    /// Lets a jail have one child more.
    AllowChild {
        /// Its name.
        jail: String,
    },
    /// Applies rules to a devfs that is mounted, beyond its rule set.
    ApplyDeviceRules {
        /// The rootfs on the host.
        root: PathBuf,
        /// Where the devfs is in it.
        target: PathBuf,
        /// As devfs(8) has them behind `rule apply`: `path pf unhide`.
        rules: Vec<String>,
    },
    /// Adds resource rules; undone by removing all rules of the subject.
    AddRules {
        /// `jail:NAME`, `loginclass:CLASS`.
        subject: String,
        /// What follows the subject: `memoryuse:sigkill=67108864`.
        rules: Vec<String>,
    },
    /// Loads rules into the pod's anchor of the packet filter.
    LoadAnchor {
        /// `jetpack/<uuid>`
        anchor: String,
        /// The rules.
        rules: String,
    },
}

/// Where something will be mounted in a rootfs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// In the rootfs.
    pub target: PathBuf,
    /// What will be seen there, when it is of the host: the place is a file where that is one.
    pub source: Option<PathBuf>,
}

/// A clone of a sealed snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloneOf {
    /// `zroot/jetpack/images/<id>@sealed`
    pub snapshot: String,
    /// The new dataset.
    pub dataset: String,
    /// Where it is mounted.
    pub mountpoint: PathBuf,
}

impl crate::executor::Step for Step {
    fn describe(&self) -> String {
        match self {
            Self::CheckSource { path, .. } => format!("find the volume's source {}", path.display()),
            Self::MakeDirectory { path, .. } => format!("make the directory {}", path.display()),
            Self::CloneRootfs { dataset, clones, .. } => match clones.as_slice() {
                [one] => format!("clone {} as {}", one.snapshot, one.dataset),
                _ => format!("clone {} root file systems below {dataset}", clones.len()),
            },
            Self::CopyRootfs { into, .. } => format!("copy the rootfs to {}", into.display()),
            Self::MakeDeviceRules { number, .. } => format!("make the devfs rule set {number}"),
            Self::Mount { kind, from, root, target, .. } if kind == "nullfs" => {
                format!("mount {from} at {} in {}", target.display(), root.display())
            }
            Self::Mount { kind, root, target, .. } => {
                format!("mount {kind} at {} in {}", target.display(), root.display())
            }
            Self::ProvideFile { root, path, .. } => format!("provide {} in {}", path.display(), root.display()),
            Self::MakePlaces { root, .. } => format!("make the places of mounts in {}", root.display()),
            Self::FreezeRootfs { on, .. } => format!("make {} read-only", on.display()),
            Self::ClaimAddress { file, .. } => {
                format!("take the address {}", file.file_name().unwrap_or_default().to_string_lossy())
            }
            Self::MakeBridge { name, .. } => format!("make the bridge {name}"),
            Self::MakeEpair { unit, bridge, .. } => format!("make the interfaces epair{unit}a and b on {bridge}"),
            Self::CreateJail { name, .. } => format!("make the jail {name}"),
            Self::MoveInterface { interface, jail } => format!("move {interface} into the jail {jail}"),
            Self::SetUpNetwork { jail, .. } => format!("set up the network of the jail {jail}"),
            Self::Listen { listen, on_host: true, .. } => format!("{} on the host", listen.describe()),
            Self::Listen { listen, .. } => listen.describe(),
            Self::Process { context: Context { root, user, group, .. }, .. } => {
                format!("become user {user} and group {group} in {}", root.display())
            }
            Self::AllowChild { jail } => format!("let the jail {jail} have another child"),
            Self::ApplyDeviceRules { root, target, .. } => {
                format!("apply devfs rules to {} in {}", target.display(), root.display())
            }
            Self::AddRules { subject, .. } => format!("add resource rules for {subject}"),
            Self::LoadAnchor { anchor, .. } => format!("load the packet filter anchor {anchor}"),
        }
    }

    fn belongs(&self, pod: &Bounds) -> bool {
        let uuid = pod.uuid.to_string();
        match self {
            Self::MakeDirectory { path, .. } | Self::CopyRootfs { into: path, .. } => pod.has(path),
            Self::Mount { root, target, .. } => {
                pod.has(root) && target.components().all(|part| part != Component::ParentDir)
            }
            Self::CloneRootfs { dataset, uuid: of, .. } => {
                *of == uuid && dataset.rsplit('/').next().is_some_and(|name| name == uuid)
            }
            // The file says whose it is, and is left alone where it says another's.
            Self::ClaimAddress { uuid: of, .. } => *of == uuid,
            Self::MakeEpair { description, .. } => description.contains(&uuid),
            Self::CreateJail { name, .. } => pod.named(name),
            Self::AddRules { subject, .. } => match subject.split_once(':') {
                Some(("jail", name)) => pod.named(name),
                // A login class has room for half of it.
                Some((_, class)) => class.starts_with(&format!("jetpack-{}-", &pod.uuid.simple().to_string()[..16])),
                None => false,
            },
            Self::LoadAnchor { anchor, .. } => anchor.rsplit('/').next().is_some_and(|name| name == uuid),
            _ => true,
        }
    }

    fn leaves_nothing(&self) -> bool {
        matches!(self, Self::Listen { .. } | Self::CheckSource { .. } | Self::Process { .. })
    }

    fn outlives_apps(&self) -> bool {
        // What apps wrote can be looked at, copied and exported until the pod is removed.
        matches!(self, Self::MakeDirectory { .. } | Self::CloneRootfs { .. } | Self::CopyRootfs { .. })
    }
}
