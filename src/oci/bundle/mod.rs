//! Bundles of the OCI runtime specification: a directory with `config.json` and, mostly, a root file system.
//!
//! The types are what the specification has for Linux, as far as a runtime acts on it. Members that it does not know are passed
//! over, as it demands; values that mean nothing are refused when the configuration is compiled, or here where they make no sense in
//! themselves.

mod jail;
mod resources;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use jail::{Allow, FreeBsd, Jail, JailDevice, template_for_jails};
pub use resources::*;

use super::{Error, Kind, Result};
use crate::id::Id;

/// The version of the specification that is followed.
pub const VERSION: &str = "1.2.0";

/// The longest `config.json` that is read, in bytes.
const LONGEST: u64 = 16 << 20;

/// `config.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Config {
    /// The version of the specification that it is written by.
    pub oci_version: String,
    /// The root file system.
    pub root: Option<Root>,
    /// What is mounted, in this order.
    pub mounts: Vec<Mount>,
    /// What runs.
    pub process: Option<Process>,
    /// The host name.
    pub hostname: Option<String>,
    /// The NIS domain name.
    pub domainname: Option<String>,
    /// Programs that are run at points of the container's life.
    pub hooks: Hooks,
    /// Whatever the caller wants to have kept.
    pub annotations: BTreeMap<String, String>,
    /// What only Linux has.
    pub linux: Option<Linux>,
    /// What only FreeBSD has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freebsd: Option<FreeBsd>,
    /// A virtual machine, which this is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm: Option<Value>,
}

/// The root file system.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Root {
    /// Its path, from the bundle on where it is relative.
    pub path: PathBuf,
    /// Whether it cannot be written.
    pub readonly: bool,
}

/// Something that is mounted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Mount {
    /// Where, inside.
    pub destination: PathBuf,
    /// The kind of file system.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// A device, a path of the host, a name.
    pub source: Option<PathBuf>,
    /// As mount(8) has them.
    pub options: Vec<String>,
    /// How users of an id-mapped mount map.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub uid_mappings: Vec<IdMapping>,
    /// How groups of an id-mapped mount map.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gid_mappings: Vec<IdMapping>,
}

/// A process of the container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Process {
    /// Whether it has a terminal.
    pub terminal: bool,
    /// How large that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console_size: Option<ConsoleSize>,
    /// Who it is.
    pub user: User,
    /// The program and its arguments.
    pub args: Vec<String>,
    /// `NAME=VALUE`.
    pub env: Vec<String>,
    /// Where it starts.
    pub cwd: PathBuf,
    /// What it may; nothing: what its caller may.
    pub capabilities: Option<Capabilities>,
    /// Limits as setrlimit(2) has them.
    pub rlimits: Vec<Rlimit>,
    /// Whether it cannot gain privileges.
    pub no_new_privileges: bool,
    /// A profile of AppArmor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apparmor_profile: Option<String>,
    /// How eagerly it is killed when memory is short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// A label of SELinux.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selinux_label: Option<String>,
    /// Its priority for block devices.
    #[serde(skip_serializing_if = "Option::is_none", rename = "ioPriority")]
    pub io_priority: Option<IoPriority>,
    /// How it is scheduled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<Scheduler>,
}

/// A terminal's size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleSize {
    /// Lines.
    pub height: u16,
    /// Columns.
    pub width: u16,
}

/// Who a process is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct User {
    /// The user.
    pub uid: Id,
    /// The group.
    pub gid: Id,
    /// The mask of new files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
    /// Further groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub additional_gids: Vec<Id>,
}

/// Sets of capabilities, by names as `CAP_CHOWN`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// The most that it ever has.
    pub bounding: Vec<String>,
    /// What is looked at.
    pub effective: Vec<String>,
    /// What stays over a program.
    pub inheritable: Vec<String>,
    /// What it may have.
    pub permitted: Vec<String>,
    /// What programs of other users have.
    pub ambient: Vec<String>,
}

/// A limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rlimit {
    /// `RLIMIT_NOFILE`
    #[serde(rename = "type")]
    pub kind: String,
    /// As far as it can be raised.
    pub hard: u64,
    /// What holds.
    pub soft: u64,
}

/// A priority for block devices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IoPriority {
    /// `IOPRIO_CLASS_BE`
    pub class: String,
    /// Within its class.
    pub priority: u32,
}

/// How a process is scheduled.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Scheduler {
    /// `SCHED_OTHER`
    pub policy: String,
    /// Niceness.
    pub nice: i32,
    /// Of real-time policies.
    pub priority: u32,
    /// `SCHED_FLAG_RESET_ON_FORK`
    pub flags: Vec<String>,
    /// Of deadlines: nanoseconds that it needs in a period.
    pub runtime: u64,
    /// Of deadlines: nanoseconds within which it has to have them.
    pub deadline: u64,
    /// Of deadlines: nanoseconds of a period.
    pub period: u64,
}

/// Programs that are run at points of the container's life.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hooks {
    /// As `create_runtime`, of older days.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prestart: Vec<Hook>,
    /// On the host, once namespaces and mounts are there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub create_runtime: Vec<Hook>,
    /// In the container's namespaces, by the host's files, likewise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub create_container: Vec<Hook>,
    /// Inside, right before the program.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub start_container: Vec<Hook>,
    /// On the host, once the program runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub poststart: Vec<Hook>,
    /// On the host, once the container is gone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub poststop: Vec<Hook>,
}

/// A program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hook {
    /// Its file.
    pub path: PathBuf,
    /// Its arguments, its name first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Its environment.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Seconds that it may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
}

/// What only Linux has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Linux {
    /// Which namespaces are its own, and which are others'.
    pub namespaces: Vec<NamespaceOf>,
    /// How users map in its user namespace.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub uid_mappings: Vec<IdMapping>,
    /// How groups map.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gid_mappings: Vec<IdMapping>,
    /// How far its clocks are off.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub time_offsets: BTreeMap<String, TimeOffset>,
    /// Device nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// Its control group.
    pub cgroups_path: Option<PathBuf>,
    /// What bounds it.
    pub resources: Option<Resources>,
    /// Whether mounts of the host show inside, and the other way round.
    pub rootfs_propagation: Option<String>,
    /// A filter of system calls.
    pub seccomp: Option<Seccomp>,
    /// Kernel parameters.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctl: BTreeMap<String, String>,
    /// Paths that are hidden.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub masked_paths: Vec<PathBuf>,
    /// Paths that cannot be written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub readonly_paths: Vec<PathBuf>,
    /// A label for its mounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mount_label: Option<String>,
    /// How the kernel shows itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub personality: Option<Personality>,
    /// Intel's resource director, which this runtime has no use for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intel_rdt: Option<Value>,
}

/// A namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamespaceOf {
    /// `pid`
    #[serde(rename = "type")]
    pub kind: String,
    /// That of others; nothing: a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
}

/// How a range of ids maps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IdMapping {
    /// The first inside.
    #[serde(rename = "containerID")]
    pub container_id: u32,
    /// The first outside.
    #[serde(rename = "hostID")]
    pub host_id: u32,
    /// How many.
    pub size: u32,
}

/// How far a clock is off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TimeOffset {
    /// Seconds.
    pub secs: i64,
    /// Nanoseconds.
    pub nanosecs: u32,
}

/// A device node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Device {
    /// `c`, `b`, `u`, `p`
    #[serde(rename = "type")]
    pub kind: String,
    /// Inside.
    pub path: PathBuf,
    /// Which driver.
    pub major: i64,
    /// Which device.
    pub minor: i64,
    /// Permission bits.
    pub file_mode: Option<u32>,
    /// Its owner.
    pub uid: Option<Id>,
    /// Its group.
    pub gid: Option<Id>,
}

/// A filter of system calls.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Seccomp {
    /// What happens to those that nothing is said about.
    pub default_action: String,
    /// The error that this gives.
    pub default_errno_ret: Option<u32>,
    /// By which numbering calls may be made, beside the machine's own.
    pub architectures: Vec<String>,
    /// `SECCOMP_FILTER_FLAG_LOG`
    pub flags: Vec<String>,
    /// The socket of who is told of calls.
    pub listener_path: Option<PathBuf>,
    /// What the listener gets with them.
    pub listener_metadata: Option<String>,
    /// The rules.
    pub syscalls: Vec<Syscalls>,
}

/// What happens to some calls.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Syscalls {
    /// Which.
    pub names: Vec<String>,
    /// What.
    pub action: String,
    /// The error that this gives.
    pub errno_ret: Option<u32>,
    /// Those only of which all this holds.
    pub args: Vec<SyscallArgument>,
}

/// What an argument is like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SyscallArgument {
    /// Which argument.
    pub index: u8,
    /// It is compared to this, or masked by it.
    pub value: u64,
    /// The masked one is compared to this.
    pub value_two: u64,
    /// `SCMP_CMP_EQ`
    pub op: String,
}

/// How the kernel shows itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Personality {
    /// `LINUX32`
    pub domain: String,
    /// None is known.
    pub flags: Vec<String>,
}

/// A bundle.
#[derive(Clone, Debug, PartialEq)]
pub struct Bundle {
    /// Its directory, absolute.
    pub directory: PathBuf,
    /// Its configuration.
    pub config: Config,
}

impl Bundle {
    /// Reads the bundle in `directory` and looks whether it makes sense.
    ///
    /// # Errors
    /// [`Kind::Missing`], [`Kind::Invalid`], which name the member that is wrong.
    pub fn open(directory: &Path) -> Result<Self> {
        Self::with(directory, &directory.join("config.json"))
    }

    /// Reads the bundle in `directory` whose configuration is `file`.
    ///
    /// # Errors
    /// As of [`Bundle::open`].
    pub fn with(directory: &Path, file: &Path) -> Result<Self> {
        let doing = || format!("read {}", file.display());
        let io = |error: std::io::Error| {
            let kind = if error.kind() == std::io::ErrorKind::NotFound { Kind::Missing } else { Kind::Io };
            Error::new(kind, doing()).because(error)
        };
        let directory = fs::canonicalize(directory).map_err(io)?;
        let mut text = Vec::new();
        fs::File::open(file).and_then(|open| open.take(LONGEST + 1).read_to_end(&mut text)).map_err(io)?;
        if text.len() as u64 > LONGEST {
            return Err(Error::new(Kind::TooBig, doing()).because("it has more than 16 MiB"));
        }
        let config: Config =
            serde_json::from_slice(&text).map_err(|error| Error::new(Kind::Invalid, doing()).because(error))?;
        config.look().map_err(|why| Error::new(Kind::Invalid, doing()).because(why))?;
        Ok(Self { directory, config })
    }
}

impl Config {
    /// Looks whether it makes sense in itself.
    ///
    /// # Errors
    /// The member, and what is wrong with it.
    pub(crate) fn look(&self) -> std::result::Result<(), String> {
        if self.oci_version.is_empty() {
            return Err("ociVersion: it is missing".to_owned());
        }
        let version = semver::Version::parse(&self.oci_version);
        let version = version.map_err(|error| format!("ociVersion: {}: {error}", self.oci_version))?;
        if version.major != 1 {
            return Err(format!("ociVersion: {version} is none of 1.x, which is known here"));
        }
        if self.vm.is_some() {
            return Err("vm: this runtime makes no virtual machines".to_owned());
        }
        match &self.root {
            None => return Err("root: it is missing".to_owned()),
            Some(root) if root.path.as_os_str().is_empty() => return Err("root.path: it is missing".to_owned()),
            Some(_) => {}
        }
        for (number, mount) in self.mounts.iter().enumerate() {
            if mount.destination.as_os_str().is_empty() {
                return Err(format!("mounts[{number}].destination: it is missing"));
            }
        }
        if let Some(linux) = &self.linux {
            let mut kinds = BTreeSet::new();
            for (number, namespace) in linux.namespaces.iter().enumerate() {
                if !kinds.insert(&namespace.kind) {
                    return Err(format!("linux.namespaces[{number}]: {} is there twice", namespace.kind));
                }
                if namespace.path.as_ref().is_some_and(|path| !path.is_absolute()) {
                    return Err(format!("linux.namespaces[{number}].path: it is not absolute"));
                }
            }
        }
        self.hooks.look()?;
        self.process.as_ref().map_or(Ok(()), Process::look)
    }

    /// The namespace of this kind, when it is not the caller's.
    pub fn namespace(&self, kind: &str) -> Option<&NamespaceOf> {
        self.linux.as_ref()?.namespaces.iter().find(|namespace| namespace.kind == kind)
    }
}

impl Process {
    /// Looks whether it makes sense in itself.
    ///
    /// # Errors
    /// The member, and what is wrong with it.
    pub(crate) fn look(&self) -> std::result::Result<(), String> {
        if self.args.is_empty() {
            return Err("process.args: it is empty".to_owned());
        }
        if !self.cwd.is_absolute() {
            return Err("process.cwd: it is not absolute".to_owned());
        }
        let nul = |text: &String| text.contains('\0');
        if self.args.iter().chain(&self.env).any(nul) {
            return Err("process: a zero byte is in args or env".to_owned());
        }
        let mut kinds = BTreeSet::new();
        for limit in &self.rlimits {
            if !kinds.insert(&limit.kind) {
                return Err(format!("process.rlimits: {} is there twice", limit.kind));
            }
        }
        Ok(())
    }
}

impl Hooks {
    /// Each kind by its name.
    pub fn kinds(&self) -> [(&'static str, &[Hook]); 6] {
        [
            ("prestart", &self.prestart),
            ("createRuntime", &self.create_runtime),
            ("createContainer", &self.create_container),
            ("startContainer", &self.start_container),
            ("poststart", &self.poststart),
            ("poststop", &self.poststop),
        ]
    }

    fn look(&self) -> std::result::Result<(), String> {
        for (kind, hooks) in self.kinds() {
            for (number, hook) in hooks.iter().enumerate() {
                if !hook.path.is_absolute() {
                    return Err(format!("hooks.{kind}[{number}].path: it is not absolute"));
                }
                if hook.timeout == Some(0) {
                    return Err(format!("hooks.{kind}[{number}].timeout: it is not greater than zero"));
                }
            }
        }
        Ok(())
    }
}

/// The configuration that a bundle may start from: a shell in the directory `rootfs`. Without root it has a user namespace, in which
/// the caller `uid`:`gid` is root.
pub fn template(rootless: Option<(u32, u32)>) -> Value {
    let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let mount = |destination: &str, kind: &str, source: &str, options: &[&str]| json!({ "destination": destination, "type": kind, "source": source, "options": options });
    let mut terminals = vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    let mut sys = mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]);
    let mut namespaces = vec!["pid", "network", "ipc", "uts", "mount", "cgroup"];
    if rootless.is_some() {
        terminals.retain(|option| !option.starts_with("gid="));
        sys = mount("/sys", "none", "/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"]);
        namespaces.retain(|kind| *kind != "network");
        namespaces.push("user");
    }
    let namespaces: Vec<Value> = namespaces.into_iter().map(|kind| json!({ "type": kind })).collect();
    let mut linux = json!({
        "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
        "namespaces": namespaces,
        "maskedPaths": [
            "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
            "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"
        ],
        "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
    });
    if let (Some((uid, gid)), Some(linux)) = (rootless, linux.as_object_mut()) {
        linux.remove("resources");
        let map = |id| json!([{ "containerID": 0, "hostID": id, "size": 1 }]);
        linux.insert("uidMappings".to_owned(), map(uid));
        linux.insert("gidMappings".to_owned(), map(gid));
    }
    json!({
        "ociVersion": VERSION,
        "process": {
            "terminal": true,
            "user": { "uid": 0, "gid": 0 },
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "jetpack",
        "mounts": [
            mount("/proc", "proc", "proc", &[]),
            mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", "devpts", &terminals),
            mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            sys,
            mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"])
        ],
        "linux": linux
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(value: Value) -> std::result::Result<(), String> {
        serde_json::from_value::<Config>(value).map_err(|error| error.to_string())?.look()
    }

    #[test]
    fn what_a_bundle_may_start_from_makes_sense() {
        for rootless in [None, Some((1000, 100))] {
            config(template(rootless)).unwrap();
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_its_name() {
        let cases = [
            ("ociVersion", json!("2.0.0"), "ociVersion: 2.0.0 is none of 1.x"),
            ("ociVersion", json!(""), "ociVersion: it is missing"),
            ("root", Value::Null, "root: it is missing"),
            ("vm", json!({ "kernel": { "path": "/k" } }), "vm: this runtime makes no virtual machines"),
            ("mounts", json!([{ "source": "x" }]), "mounts[0].destination: it is missing"),
            ("process", json!({ "args": [], "cwd": "/" }), "process.args: it is empty"),
            ("process", json!({ "args": ["a"], "cwd": "a" }), "process.cwd: it is not absolute"),
            ("hooks", json!({ "poststop": [{ "path": "a" }] }), "hooks.poststop[0].path: it is not absolute"),
            (
                "hooks",
                json!({ "poststop": [{ "path": "/a", "timeout": 0 }] }),
                "hooks.poststop[0].timeout: it is not greater than zero",
            ),
            (
                "linux",
                json!({ "namespaces": [{ "type": "pid" }, { "type": "pid" }] }),
                "linux.namespaces[1]: pid is there twice",
            ),
        ];
        for (member, value, expected) in cases {
            let mut whole = template(None);
            whole[member] = value;
            let said = config(whole).unwrap_err();
            assert!(said.starts_with(expected), "{said}");
        }
    }
}
