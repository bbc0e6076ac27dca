//! What runs in pods, and what they use.
//!
//! Whatever a pod's limits are, its processes are there to be asked. A process that has been waited for counts with whoever waited, so that
//! sums over a pod's processes, of which the first waits for what nobody else does, only grow. What the kernel counts for a control
//! group of version 2 comes beside it, where the pod has one.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::pod::PodDir;
use crate::pod::status::Status;

/// The unit of times in procfs, in seconds' parts: USER_HZ, on every architecture that is left.
const TICKS: u64 = 100;

/// What some processes use together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time, with that of processes that were waited for.
    pub cpu: Duration,
    /// Bytes of memory that are resident.
    pub memory: u64,
    /// Bytes that are swapped out.
    pub swap: u64,
    /// How many there are.
    pub processes: u64,
    /// Their threads.
    pub threads: u64,
    /// Bytes read from and written to devices, where the kernel tells us.
    pub io: Option<(u64, u64)>,
}

impl Usage {
    fn add(&mut self, one: &Self) {
        self.cpu += one.cpu;
        self.memory += one.memory;
        self.swap += one.swap;
        self.processes += one.processes;
        self.threads += one.threads;
        self.io = match (self.io, one.io) {
            (Some((read, written)), Some((more_read, more_written))) => {
                Some((read + more_read, written + more_written))
            }
            (some, none) => some.or(none),
        };
    }

    /// Of one process; nothing of one that has ended meanwhile.
    fn of(pid: i32) -> Option<Self> {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
        let (stat, status) = (read("stat")?, read("status")?);
        let field = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        // The name stands in parentheses and may hold anything. Behind it, as fields 14 to 17: user and system time of its own, and of
        // those that it has waited for.
        let times = stat.rsplit_once(')')?.1.split_whitespace().skip(11).take(4);
        let ticks: u64 = times.filter_map(|time| time.parse::<u64>().ok()).sum();
        let kilobytes = |name| field(&status, name).unwrap_or(0) * 1024;
        let io = read("io").and_then(|io| Some((field(&io, "read_bytes")?, field(&io, "write_bytes")?)));
        Some(Self {
            cpu: Duration::from_millis(ticks * (1000 / TICKS)),
            memory: kilobytes("VmRSS"),
            swap: kilobytes("VmSwap"),
            processes: 1,
            threads: field(&status, "Threads").unwrap_or(0),
            io,
        })
    }
}

/// What a pod uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodUsage {
    /// All of it.
    pub pod: Usage,
    /// Each app whose main process runs: those of its processes that are in its mount namespace still.
    pub apps: BTreeMap<String, Usage>,
    /// What the kernel has counted for the pod's control group of version 2, that of what has ended too, by name; nothing where it has none.
    pub group: Vec<(String, u64)>,
}

/// The processes of the host at one moment, by the process namespaces that they are in.
#[derive(Debug, Default)]
pub struct Processes(BTreeMap<u64, Vec<i32>>);

impl Processes {
    /// Looks.
    ///
    /// # Errors
    /// The system's, when procfs cannot be listed.
    pub fn look() -> io::Result<Self> {
        let mut found: BTreeMap<u64, Vec<i32>> = BTreeMap::new();
        for entry in fs::read_dir("/proc")?.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            if let Some(space) = namespace(pid, "pid") {
                found.entry(space).or_default().push(pid);
            }
        }
        found.values_mut().for_each(|pids| pids.sort_unstable());
        Ok(Self(found))
    }

    /// Those of a pod, in order: what is in the process namespace of its apps. None of a pod no app of which runs.
    pub fn of(&self, pod: &PodDir) -> &[i32] {
        let status = pod.status();
        let mut mains = status.iter().flat_map(|status| &status.apps).filter_map(|app| app.pid);
        let space = mains.find_map(|pid| namespace(pid, "pid"));
        space.and_then(|space| self.0.get(&space)).map_or(&[], Vec::as_slice)
    }

    /// What a pod uses; nothing of one that does not run.
    pub fn usage(&self, pod: &PodDir) -> PodUsage {
        let status = pod.status().unwrap_or_default();
        let mut used = PodUsage {
            group: group(pod, &status).map(|group| accounted(&group)).unwrap_or_default(),
            ..PodUsage::default()
        };
        let mut owners = BTreeMap::new();
        for app in &status.apps {
            if let Some(space) = app.pid.and_then(|pid| namespace(pid, "mnt")) {
                owners.insert(space, app.name.as_str());
                used.apps.insert(app.name.clone(), Usage::default());
            }
        }
        for &pid in self.of(pod) {
            let Some(one) = Usage::of(pid) else { continue };
            used.pod.add(&one);
            let owner = namespace(pid, "mnt").and_then(|space| owners.get(&space).copied());
            if let Some(app) = owner.and_then(|app| used.apps.get_mut(app)) {
                app.add(&one);
            }
        }
        used
    }
}

fn namespace(pid: i32, kind: &str) -> Option<u64> {
    Some(fs::metadata(format!("/proc/{pid}/ns/{kind}")).ok()?.ino())
}

/// The pod's control group of version 2, where it has one.
fn group(pod: &PodDir, status: &Status) -> Option<PathBuf> {
    let pid = status.apps.iter().find_map(|app| app.pid)?;
    let own = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let name = format!("jetpack-{}", pod.uuid());
    let is_pods = |last: &str| last.trim_end_matches(".scope") == name;
    let pods =
        Path::new(own).ancestors().find(|path| path.file_name().and_then(|last| last.to_str()).is_some_and(is_pods))?;
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .iter()
        .map(|mount| Path::new(mount).join(pods))
        .find(|group| group.join("cgroup.procs").exists())
}

/// What a process may wait for as it is short.
const SHORT: [&str; 3] = ["cpu", "memory", "io"];

/// What the kernel counts by name in a file of a group: the file, the line, what we call it.
const COUNTED: [(&str, &str, &str); 3] = [
    ("cpu.stat", "throttled_usec", "cputhrottled"),
    ("memory.events", "oom_kill", "oomkills"),
    ("pids.events", "max", "forksrefused"),
];

/// What the kernel has counted for the pod's group, where that has the controller: bytes of memory with what files hold of it, now
/// and at most; microseconds for which some process has waited for what is short, and how much of the last ten seconds that was, in
/// hundredths; what limits have done; bytes read and written.
fn accounted(group: &Path) -> Vec<(String, u64)> {
    let read = |name: &str| fs::read_to_string(group.join(name)).unwrap_or_default();
    let mut all = Vec::new();
    let mut add = |name: &str, value: Option<u64>| all.extend(value.map(|value| (name.to_owned(), value)));
    add("memorycharged", read("memory.current").trim().parse().ok());
    add("memorypeak", read("memory.peak").trim().parse().ok());
    for what in SHORT {
        let text = read(&format!("{what}.pressure"));
        let some = text.lines().find_map(|line| line.strip_prefix("some "));
        let field = |name: &str| {
            let mut words = some?.split(' ');
            words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        };
        // Before the point stands what is whole.
        let recent = field("avg10").and_then(|share| share.split('.').next());
        add(&format!("{what}stall"), field("total").and_then(|total| total.parse().ok()));
        add(&format!("{what}pressure"), recent.and_then(|share| share.parse().ok()));
    }
    for (file, line, name) in COUNTED {
        let text = read(file);
        let value = text.lines().find_map(|one| one.strip_prefix(line)?.strip_prefix(' ')?.parse().ok());
        add(name, value);
    }
    let moved = read("io.stat");
    for (key, name) in [("rbytes=", "ioread"), ("wbytes=", "iowritten")] {
        let each = moved.split_ascii_whitespace().filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok());
        add(name, each.reduce(u64::saturating_add));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::accounted;

    #[test]
    fn what_the_kernel_counts_for_a_group_is_told_and_what_it_does_not_is_left_out() {
        let group = tempfile::tempdir().unwrap();
        assert_eq!(accounted(group.path()), []);
        for (name, text) in [
            ("memory.current", "8192\n"),
            ("memory.peak", "nonsense\n"),
            ("cpu.pressure", "some avg10=12.50 avg60=1.00 avg300=0.00 total=731\n"),
            ("io.pressure", "full avg10=1.00 avg60=1.00 avg300=0.00 total=9\n"),
            ("cpu.stat", "usage_usec 5\nnr_throttled 2\nthrottled_usec 77\n"),
            ("memory.events", "oom 3\noom_kill 2\noom_group_kill 1\n"),
            ("pids.events", "max 4\n"),
            ("io.stat", "8:0 rbytes=1 wbytes=2 rios=9\n8:16 rbytes=10 wbytes=20\n"),
        ] {
            std::fs::write(group.path().join(name), text).unwrap();
        }
        let told = accounted(group.path());
        let told: Vec<(&str, u64)> = told.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let expected = [
            ("memorycharged", 8192),
            ("cpustall", 731),
            ("cpupressure", 12),
            ("cputhrottled", 77),
            ("oomkills", 2),
            ("forksrefused", 4),
            ("ioread", 11),
            ("iowritten", 22),
        ];
        assert_eq!(told, expected);
    }
}
