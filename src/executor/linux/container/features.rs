//! What containers can have here, in the shape that engines ask for it.

use serde_json::{Value, json};

use super::compile::NAMESPACES;
use super::{mounts, profile};
use crate::executor::linux::isolators::capabilities;
use crate::oci::bundle;

/// As the specification has it (`features.md`).
pub fn features() -> Value {
    let kinds: Vec<&str> = bundle::Hooks::default().kinds().iter().map(|(kind, _)| *kind).collect();
    let namespaces: Vec<&str> = NAMESPACES.iter().map(|(name, _)| *name).collect();
    let actions: Vec<&str> = profile::ACTIONS.iter().map(|(name, _)| *name).collect();
    let flags: Vec<&str> = profile::FLAGS.iter().map(|(name, _)| *name).collect();
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": bundle::VERSION,
        "hooks": kinds,
        "mountOptions": mounts::known(),
        "linux": {
            "namespaces": namespaces,
            "capabilities": capabilities::names(),
            "cgroup": {
                "v1": true, "v2": true, "systemd": false, "systemdUser": false, "rdma": true,
            },
            "seccomp": {
                "enabled": true,
                "actions": actions,
                "operators": profile::OPERATORS,
                "archs": profile::architectures(),
                "knownFlags": flags,
                "supportedFlags": flags,
            },
            "apparmor": { "enabled": true },
            "selinux": { "enabled": true },
            "intelRdt": { "enabled": false },
            "mountExtensions": { "idmap": { "enabled": true } },
        },
        "annotations": {
            "jetpack.not-enforced": "linux.intelRdt, linux.mountLabel; --systemd-cgroup places groups as systemd does and does not tell it",
        },
        "potentiallyUnsafeConfigAnnotations": [],
    })
}
