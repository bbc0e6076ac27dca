//! What a container uses, as the kernel accounts for its jail, in the shape that engines read.

use serde_json::{Value, json};

use crate::executor::container::Container;
use crate::executor::freebsd::{Real, System as _};

/// What it uses now. Without `kern.racct.enable=1` nothing is accounted.
pub fn stats(container: &Container) -> Value {
    let name = container.kept.jail.as_deref().unwrap_or_default();
    let used = Real.usage(&format!("jail:{name}")).unwrap_or_default();
    let of = |resource: &str| used.iter().find(|(name, _)| name == resource).map_or(0, |(_, value)| *value);
    json!({
        "cpu": { "usage": { "total": of("cputime").saturating_mul(1_000_000_000), "kernel": 0, "user": 0 }, "throttling": {} },
        "memory": { "usage": { "usage": of("memoryuse"), "limit": 0, "failcnt": 0 }, "swap": { "usage": of("swapuse"), "limit": 0, "failcnt": 0 } },
        "pids": { "current": of("maxproc") },
        "blkio": {}, "hugetlb": {}, "intel_rdt": {}, "network_interfaces": null,
    })
}

/// The kernel tells nobody why it killed a process.
pub fn killed_for_memory(_: &Container) -> u64 {
    0
}
