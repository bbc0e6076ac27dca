//! What a container uses, as its control groups count it, in the shape that engines read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::executor::container::Container;

/// The files of a container's groups.
struct Files<'a>(&'a Container);

impl Files<'_> {
    fn path(&self, file: &str) -> Option<PathBuf> {
        let controller = file.split('.').next()?;
        let has = |name: &String| name == controller;
        let group = self.0.kept.groups.iter().find(|group| group.unified || group.controllers.iter().any(has))?;
        Some(group.path.join(file))
    }

    fn text(&self, file: &str) -> Option<String> {
        std::fs::read_to_string(self.path(file)?).ok()
    }

    /// `max` is no number of any use: the largest.
    fn number(&self, file: &str) -> Option<u64> {
        match self.text(file)?.trim() {
            "max" => Some(u64::MAX),
            text => text.parse().ok(),
        }
    }

    /// `name number`, a line each.
    fn table(&self, file: &str) -> BTreeMap<String, u64> {
        let text = self.text(file).unwrap_or_default();
        let rows = text.lines().filter_map(|line| line.split_once(' '));
        rows.filter_map(|(name, number)| Some((name.to_owned(), number.trim().parse().ok()?))).collect()
    }
}

/// Whether the container's groups are in the unified tree.
fn unified(container: &Container) -> bool {
    container.kept.groups.iter().any(|group| group.unified)
}

/// What it uses now.
pub fn stats(container: &Container) -> Value {
    let files = Files(container);
    let (cpu, memory) = if unified(container) { of_new(&files) } else { of_old(&files) };
    let (current, limit) = (files.number("pids.current"), files.number("pids.max"));
    let mut pids = Map::new();
    pids.extend(current.map(|value| ("current".to_owned(), json!(value))));
    pids.extend(limit.filter(|limit| *limit != u64::MAX).map(|value| ("limit".to_owned(), json!(value))));
    json!({ "cpu": cpu, "memory": memory, "pids": pids, "blkio": block(&files), "hugetlb": {}, "intel_rdt": {}, "network_interfaces": null })
}

fn of_old(files: &Files<'_>) -> (Value, Value) {
    let per_cpu = files.text("cpuacct.usage_percpu").unwrap_or_default();
    let per_cpu: Vec<u64> = per_cpu.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect();
    let throttled = files.table("cpu.stat");
    let of = |name: &str| throttled.get(name).copied().unwrap_or(0);
    let modes = |file: &str| files.number(file).unwrap_or(0);
    let cpu = json!({
        "usage": {
            "total": modes("cpuacct.usage"), "percpu": per_cpu,
            "kernel": modes("cpuacct.usage_sys"), "user": modes("cpuacct.usage_user"),
        },
        "throttling": {
            "periods": of("nr_periods"), "throttledPeriods": of("nr_throttled"), "throttledTime": of("throttled_time"),
        },
    });
    let entry = |name: &str| {
        json!({
            "limit": files.number(&format!("memory.{name}limit_in_bytes")).unwrap_or(0),
            "usage": files.number(&format!("memory.{name}usage_in_bytes")).unwrap_or(0),
            "max": files.number(&format!("memory.{name}max_usage_in_bytes")).unwrap_or(0),
            "failcnt": files.number(&format!("memory.{name}failcnt")).unwrap_or(0),
        })
    };
    let raw = files.table("memory.stat");
    let memory = json!({
        "cache": raw.get("cache").copied().unwrap_or(0), "usage": entry(""), "swap": entry("memsw."),
        "kernel": entry("kmem."), "kernelTCP": entry("kmem.tcp."), "raw": raw,
    });
    (cpu, memory)
}

fn of_new(files: &Files<'_>) -> (Value, Value) {
    let stat = files.table("cpu.stat");
    // In microseconds here, in nanoseconds there.
    let of = |name: &str| stat.get(name).copied().unwrap_or(0);
    let cpu = json!({
        "usage": { "total": of("usage_usec") * 1000, "kernel": of("system_usec") * 1000, "user": of("user_usec") * 1000 },
        "throttling": {
            "periods": of("nr_periods"), "throttledPeriods": of("nr_throttled"), "throttledTime": of("throttled_usec") * 1000,
        },
    });
    let raw = files.table("memory.stat");
    let entry = |prefix: &str| {
        json!({
            "limit": files.number(&format!("memory.{prefix}max")).unwrap_or(0),
            "usage": files.number(&format!("memory.{prefix}current")).unwrap_or(0),
            "failcnt": 0,
        })
    };
    let memory = json!({
        "cache": raw.get("file").copied().unwrap_or(0), "usage": entry(""), "swap": entry("swap."),
        "kernel": { "failcnt": 0 }, "kernelTCP": { "failcnt": 0 }, "raw": raw,
    });
    (cpu, memory)
}

fn block(files: &Files<'_>) -> Value {
    let mut bytes = Vec::new();
    let mut operations = Vec::new();
    let entry = |device: &str, op: &str, value: u64| {
        let (major, minor) = device.split_once(':')?;
        let (major, minor): (u64, u64) = (major.parse().ok()?, minor.parse().ok()?);
        Some(json!({ "major": major, "minor": minor, "op": op, "value": value }))
    };
    for line in files.text("io.stat").unwrap_or_default().lines() {
        let mut words = line.split_ascii_whitespace();
        let device = words.next().unwrap_or_default().to_owned();
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let value = value.parse().unwrap_or(0);
            match key {
                "rbytes" => bytes.extend(entry(&device, "Read", value)),
                "wbytes" => bytes.extend(entry(&device, "Write", value)),
                "rios" => operations.extend(entry(&device, "Read", value)),
                "wios" => operations.extend(entry(&device, "Write", value)),
                _ => {}
            }
        }
    }
    for (file, all) in [
        ("blkio.throttle.io_service_bytes_recursive", &mut bytes),
        ("blkio.throttle.io_serviced_recursive", &mut operations),
    ] {
        for line in files.text(file).unwrap_or_default().lines() {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            if let [device, op, value] = words[..] {
                all.extend(entry(device, op, value.parse().unwrap_or(0)));
            }
        }
    }
    json!({ "ioServiceBytesRecursive": bytes, "ioServicedRecursive": operations })
}

/// How many of its processes the kernel has killed as there was no more memory for them.
pub fn killed_for_memory(container: &Container) -> u64 {
    let has = |name: &String| name == "memory";
    let group = container.kept.groups.iter().find(|group| group.unified || group.controllers.iter().any(has));
    group.and_then(|group| killed_in(&group.path)).unwrap_or(0)
}

fn killed_in(group: &Path) -> Option<u64> {
    crate::executor::linux::isolators::cgroup::killed_for_memory(group)
}
