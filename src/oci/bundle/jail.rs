//! What only FreeBSD has (`config-freebsd.md` of version 1.3).

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// `freebsd`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FreeBsd {
    /// Devices that are shown in its devfs beyond the rule set's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<JailDevice>,
    /// Its jail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jail: Option<Jail>,
}

/// A device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JailDevice {
    /// Below `/dev`.
    pub path: String,
    /// Permission bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
}

/// A jail: `new`, `inherit` or `disable` are what it has of its own, shares with its parent, and has nothing of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Jail {
    /// The name of the jail that it is a child of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Host name and what else the host is known by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip4: Option<String>,
    /// Those only, where some are named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ip4_addr: Vec<IpAddr>,
    /// Addresses of IPv6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip6: Option<String>,
    /// Likewise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ip6_addr: Vec<IpAddr>,
    /// A network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vnet: Option<String>,
    /// Message queues of System V.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sysvmsg: Option<String>,
    /// Semaphores of System V.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sysvsem: Option<String>,
    /// Shared memory of System V.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sysvshm: Option<String>,
    /// Which mounts it sees: 0 all, 1 those below its root, 2 its root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforce_statfs: Option<i32>,
    /// What it may beyond what all may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<Allow>,
}

/// What a jail may.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Allow {
    /// Take another host name; on unless told.
    pub set_hostname: Option<bool>,
    /// Make raw sockets.
    pub raw_sockets: Option<bool>,
    /// Set flags of files.
    pub chflags: Option<bool>,
    /// Mount file systems of these kinds.
    pub mount: Vec<String>,
    /// Set quotas.
    pub quotas: bool,
    /// Make sockets of other families than IP and unix.
    pub socket_af: bool,
    /// Lock memory.
    pub mlock: bool,
    /// Use IPC of System V that is the host's.
    pub sysvipc: bool,
    /// Bind to ports below 1024; on unless told.
    pub reserved_ports: Option<bool>,
    /// Have a root; on unless told.
    pub suser: Option<bool>,
}

/// The configuration that a bundle for FreeBSD may start from: a shell in the directory `rootfs`.
pub fn template_for_jails() -> Value {
    json!({
        "ociVersion": "1.3.0",
        "process": {
            "terminal": true,
            "user": { "uid": 0, "gid": 0 },
            "args": ["sh"],
            "env": ["PATH=/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin", "TERM=xterm"],
            "cwd": "/",
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }]
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "jetpack",
        "mounts": [
            { "destination": "/dev", "type": "devfs", "source": "devfs", "options": ["ruleset=4"] },
            { "destination": "/dev/fd", "type": "fdescfs", "source": "fdescfs" },
            { "destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=1777", "size=65536k"] }
        ],
        "freebsd": { "jail": { "vnet": "new", "enforceStatfs": 1 } }
    })
}
