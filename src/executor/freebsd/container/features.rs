//! What containers can have here, in the shape that engines ask for it.

use serde_json::{Value, json};

use crate::oci::bundle;

/// As the specification has it (`features.md`).
pub fn features() -> Value {
    let kinds: Vec<&str> = bundle::Hooks::default().kinds().iter().map(|(kind, _)| *kind).collect();
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": "1.3.0",
        "hooks": kinds,
        "mountOptions": [
            "acls", "async", "atime", "exec", "noatime", "noexec", "nosuid", "nosymfollow", "rdonly", "ro", "rule", "ruleset", "rw", "suid",
            "symfollow", "sync", "union",
        ],
        "annotations": {
            "jetpack.not-enforced": "what only Linux has: capabilities, seccomp, namespaces, control groups but memory.limit, cpu.quota and pids.limit",
        },
        "potentiallyUnsafeConfigAnnotations": ["org.freebsd.jail.", "org.freebsd.parentJail"],
    })
}
