//! What the executor asks of a FreeBSD system, as one trait: the real system and the model implement it.

use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::variables::Variable;
use crate::id::Id;

/// A program of the base system. Started by its full path, with an argument list and an empty environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Program {
    /// Datasets.
    Zfs,
    /// Pools.
    Zpool,
    /// Interfaces of the host.
    Ifconfig,
    /// Packet filter anchors.
    Pfctl,
    /// Rules for device nodes.
    Devfs,
    /// Processes.
    Ps,
    /// Routes of the host.
    Route,
}

impl Program {
    /// Where it is.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Zfs => "/sbin/zfs",
            Self::Zpool => "/sbin/zpool",
            Self::Ifconfig => "/sbin/ifconfig",
            Self::Pfctl => "/sbin/pfctl",
            Self::Devfs => "/sbin/devfs",
            Self::Ps => "/bin/ps",
            Self::Route => "/sbin/route",
        }
    }
}

/// Words of what somebody else is at, and is over in a moment. The last is of pfctl(8), which asks about each interface of the host that
/// it has just seen: of 60 pods that start at once, one gives its own to its jail meanwhile (seen on 13.2).
const BUSY: [&str; 4] = ["is busy", "has dependent clones", "Device busy", "SIOCGIFGROUP: Device not configured"];

/// What a program said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// Its exit status; 128 and the signal where one ended it.
    pub code: i32,
    /// Standard output.
    pub output: String,
    /// Standard error.
    pub(crate) complaint: String,
}

impl Ran {
    /// What it was told, when it failed.
    ///
    /// # Errors
    /// What it complained about, with a kind where the words are known.
    pub fn success(self) -> io::Result<String> {
        if self.code == 0 {
            return Ok(self.output);
        }
        let words = self.complaint.trim();
        let kind = if words.contains("does not exist") {
            io::ErrorKind::NotFound
        } else if BUSY.iter().any(|busy| words.contains(busy)) {
            io::ErrorKind::ResourceBusy
        } else if words.contains("already exists") || words.contains("File exists") {
            io::ErrorKind::AlreadyExists
        } else if words.contains("out of space") || words.contains("No space left") {
            io::ErrorKind::StorageFull
        } else if words.contains("permission denied") || words.contains("Operation not permitted") {
            io::ErrorKind::PermissionDenied
        } else {
            io::ErrorKind::Other
        };
        Err(io::Error::new(kind, format!("{words} (exit status {})", self.code)))
    }
}

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounted {
    /// `zfs`, `nullfs`, `devfs`.
    pub kind: String,
    /// What is mounted: a directory, a dataset, the name of a pseudo file system.
    pub from: String,
    /// Where.
    pub on: PathBuf,
    /// Whether nothing can be written to it.
    pub read_only: bool,
}

/// A mount to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewMount<'a> {
    /// `nullfs`, `devfs`; for an update the one that is there.
    pub kind: &'a str,
    /// Where, absolute.
    pub on: &'a Path,
    /// Options of `nmount(2)`.
    pub options: &'a [(String, String)],
    /// Whether nothing can be written to it.
    pub read_only: bool,
    /// Whether a mount that is there is changed.
    pub update: bool,
}

/// What is found at a path whose components are looked at one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A directory.
    Directory,
    /// A file.
    File,
    /// Something else that is no link: a socket, a device.
    Other,
}

/// What is no longer seen in a rootfs because of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hidden {
    /// A file.
    File,
    /// What is in a directory.
    Content,
}

/// A parameter of a jail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    /// A text.
    Text(String),
    /// A number.
    Number(i32),
    /// The jail gets its own.
    New,
    /// The jail shares its parent's.
    Inherit,
    /// Given without a value.
    Flag,
    /// Addresses, all of one family.
    Addresses(Vec<IpAddr>),
}

/// Something that is set inside a jail's network, by a child that has attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Setting {
    /// An interface gets an address.
    Address {
        /// The interface.
        interface: String,
        /// The address.
        address: IpAddr,
        /// Bits of its prefix.
        prefix: u8,
        /// Whether it does not matter that the kernel has no such family.
        optional: bool,
    },
    /// An interface is raised.
    Raise {
        /// The interface.
        interface: String,
    },
    /// Everything without another route goes there.
    DefaultRoute {
        /// The gateway.
        gateway: IpAddr,
    },
    /// A kernel variable of the jail's network.
    Sysctl {
        /// Its name.
        name: String,
        /// Its value, in the form that its type has.
        value: Vec<u8>,
    },
}

impl Setting {
    /// What it does, in words that read on after "failed to".
    #[cfg(target_os = "freebsd")]
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Address { interface, address, prefix, .. } => {
                format!("give {interface} the address {address}/{prefix}")
            }
            Self::Raise { interface } => format!("raise {interface}"),
            Self::DefaultRoute { gateway } => format!("set the default route to {gateway}"),
            Self::Sysctl { name, .. } => format!("set {name}"),
        }
    }
}

/// A turn to change what all pods of the host share. It is over when this is dropped.
pub(crate) type Turn = Box<dyn std::any::Any>;

/// Programs of the base system, and what goes in and out of them.
pub trait Programs {
    /// Runs a program to its end.
    fn run(&mut self, program: Program, arguments: &[&str], input: &str) -> io::Result<Ran>;

    /// Runs a program that reads what `source` gives, as much of it as it wants. Where `source` fails its input ends, and the
    /// error is given when the program has ended.
    fn feed(&mut self, program: Program, arguments: &[&str], source: &mut dyn Read) -> io::Result<Ran>;

    /// Runs a program whose output goes to `target` as it comes. Where that takes no more, the program is ended.
    fn drain(&mut self, program: Program, arguments: &[&str], target: &mut dyn Write) -> io::Result<Ran>;
}

/// A FreeBSD system. Errors are the system's own; `NotFound`, `AlreadyExists`, `ResourceBusy` and `InvalidInput` are
/// what the kernel's ENOENT, EEXIST, EBUSY and EINVAL become.
pub trait System: Programs {
    /// Waits for a turn to change what all pods of the host share: no other process of ours has one meanwhile.
    fn turn(&mut self) -> io::Result<Turn>;

    /// Mounts. A symbolic link at the end of the path is followed, as the kernel does.
    fn mount(&mut self, mount: NewMount<'_>) -> io::Result<()>;

    /// Unmounts what was mounted last at `on`.
    fn unmount(&mut self, on: &Path, force: bool) -> io::Result<()>;

    /// All mounts, in the order of mounting.
    fn mounts(&mut self) -> io::Result<Vec<Mounted>>;

    /// Looks at a path component by component. A symbolic link on the way is an error unless links are followed.
    fn look(&mut self, path: &Path, follow_links: bool) -> io::Result<Found>;

    /// Makes a directory of the host where there is none yet.
    fn make_directory(&mut self, path: &Path, mode: u32, owner: Option<(Id, Id)>) -> io::Result<()>;

    /// Removes a directory of the host and all below it; one that is not there is no error. The caller has looked that
    /// nothing is mounted below it.
    fn remove_directory(&mut self, path: &Path) -> io::Result<()>;

    /// Makes what is missing of `inside` below `root` (0755, 0:0), without following links; the last component is a
    /// directory or an empty file. A file in the place of a directory is removed (`vol.target.file`). Gives what a mount
    /// will hide, or what was removed for it.
    fn make_target(&mut self, root: &Path, inside: &Path, file: bool) -> io::Result<Option<Hidden>>;

    /// Writes a file below `root`, without following links. Gives whether it did: one that is there stands unless it
    /// is to be replaced.
    fn write_file(&mut self, root: &Path, inside: &Path, content: &str, replace: bool) -> io::Result<bool>;

    /// Copies a tree, with owners, modes and times.
    fn copy_tree(&mut self, from: &Path, into: &Path) -> io::Result<()>;

    /// Makes a file of the host that must not be there yet; nobody finds it without its content.
    fn claim(&mut self, file: &Path, content: &str) -> io::Result<()>;

    /// Removes such a file, if it holds this content.
    fn release(&mut self, file: &Path, content: &str) -> io::Result<()>;

    /// What a small file of the host says.
    fn read_text(&mut self, file: &Path) -> io::Result<String>;

    /// Whether this process may make jails and mounts.
    fn privileged(&mut self) -> bool;

    /// Makes a jail; gives its id.
    fn create_jail(&mut self, parameters: &[(String, Value)]) -> io::Result<i32>;

    /// Lets a living jail have one child more than it has.
    fn allow_child(&mut self, name: &str) -> io::Result<()>;

    /// The id of a living jail.
    fn find_jail(&mut self, name: &str) -> io::Result<Option<i32>>;

    /// Removes a jail and kills what runs in it.
    fn remove_jail(&mut self, id: i32) -> io::Result<()>;

    /// Whether the host's own network has an interface.
    fn has_interface(&mut self, name: &str) -> bool;

    /// Gives an interface of the host to a jail's network.
    fn move_interface(&mut self, interface: &str, jail: i32) -> io::Result<()>;

    /// Does settings inside a jail, one after the other; the error names the one that failed.
    fn configure(&mut self, jail: i32, settings: &[Setting]) -> io::Result<()>;

    /// Adds a resource rule.
    fn add_rule(&mut self, rule: &str) -> io::Result<()>;

    /// Removes the resource rules of a subject; none there is no error.
    fn remove_rules(&mut self, subject: &str) -> io::Result<()>;

    /// What a subject of resource rules uses, by resource.
    fn usage(&mut self, subject: &str) -> io::Result<Vec<(String, u64)>>;

    /// A kernel variable that is a number.
    fn sysctl(&mut self, name: &str) -> io::Result<i64>;

    /// What a kernel variable is.
    fn variable(&mut self, name: &str) -> io::Result<Variable>;

    /// Whether a kernel file (`linux64.ko`) is loaded, or a module (`pf`) in the kernel.
    fn has_module(&mut self, file: &str, module: &str) -> bool;

    /// `13.2-RELEASE-p4`
    fn version(&mut self) -> String;
}
