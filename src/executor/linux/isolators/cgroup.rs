//! Control groups: which there are on a host, and what resource isolators come to in them.
//!
//! ```text
//! v1, hybrid   <mount of controller>/jetpack-<pod>/app-<app>/processes     one tree a controller
//! v2           <home>/jetpack-<pod>/app-<app>/processes                    one tree, controllers enabled down to the app's
//! ```
//! Where the home is in version 2 is told in [`delegation`](super::super::delegation).
//! A pod's group bounds those of its apps because they are its children (`iso.podbound`). A host may have some
//! controllers in version 1 and others in version 2; each isolator uses its controller wherever it is.
//!
//! Clauses: res.*, iso.podbound, iso.ref.cpu-shares

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::delegation::{Home, Tree};
use super::super::systemd::Manager;
use crate::executor::plan::Isolation;

/// The controllers that isolators use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Controller {
    /// Processor time.
    Cpu,
    /// Memory.
    Memory,
    /// Block devices; `blkio` in version 1.
    Io,
    /// Processes and threads.
    Pids,
}

impl Controller {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Cpu, Self::Memory, Self::Io, Self::Pids];

    /// The one that enforces `isolation`, where it is a matter of control groups.
    pub(crate) fn of(isolation: &Isolation) -> Option<Self> {
        match isolation {
            Isolation::Cpu { .. } | Isolation::CpuShares { .. } => Some(Self::Cpu),
            Isolation::Memory { .. } | Isolation::OomGroup { .. } => Some(Self::Memory),
            Isolation::MaxProcesses { .. } => Some(Self::Pids),
            Isolation::BlockBandwidth { .. } | Isolation::BlockIops { .. } => Some(Self::Io),
            _ => None,
        }
    }

    /// Its name in version 2.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Io => "io",
            Self::Pids => "pids",
        }
    }

    /// Its name in version 1.
    pub(crate) fn old_word(self) -> &'static str {
        match self {
            Self::Io => "blkio",
            other => other.word(),
        }
    }
}

/// Where a controller is, and which interface it has there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its root where it is mounted; in version 2 where groups of pods are made.
    pub root: PathBuf,
    /// Whether it is the unified one.
    pub unified: bool,
}

/// What this host has to bound resources with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Controllers {
    /// Where each controller is.
    pub hierarchies: BTreeMap<Controller, Hierarchy>,
    /// Why some that the host has cannot be used.
    pub withheld: BTreeMap<Controller, String>,
    /// How groups of version 2 are made.
    pub home: Option<Home>,
    /// Why they are not made where that would be better.
    pub beside: Option<String>,
    /// Whole block devices, by major and minor number.
    pub devices: Vec<(u32, u32)>,
}

/// A value for a file of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Setting {
    /// In whose hierarchy the group is.
    pub controller: Controller,
    /// The file in the group's directory.
    pub file: String,
    /// What is written into it.
    pub value: String,
}

/// A processor period in microseconds, the kernel's default.
const PERIOD: u64 = 100_000;
/// The longest period that the kernel takes.
const LONGEST_PERIOD: u64 = 1_000_000;
/// The least quota in microseconds that the kernel takes.
const LEAST_QUOTA: u64 = 1_000;

impl Controllers {
    /// Reads what is mounted from the text of `/proc/self/mountinfo` and, for each unified hierarchy, from its
    /// `cgroup.controllers` by way of `read`.
    pub(crate) fn parse(mountinfo: &str, read: impl Fn(&Path) -> Option<String>) -> BTreeMap<Controller, Hierarchy> {
        let mut found = BTreeMap::new();
        for line in mountinfo.lines() {
            let Some((before, after)) = line.split_once(" - ") else { continue };
            let Some(mount) = before.split(' ').nth(4) else { continue };
            let root = PathBuf::from(mount.replace("\\040", " "));
            let mut after = after.split(' ');
            let names: Vec<String> = match (after.next(), after.nth(1)) {
                (Some("cgroup"), Some(options)) => options.split(',').map(str::to_owned).collect(),
                (Some("cgroup2"), _) => read(&root.join("cgroup.controllers"))
                    .map(|text| text.split_ascii_whitespace().map(str::to_owned).collect())
                    .unwrap_or_default(),
                _ => continue,
            };
            let unified = line.contains(" - cgroup2 ");
            for name in names {
                let controller = match name.as_str() {
                    "cpu" => Controller::Cpu,
                    "memory" => Controller::Memory,
                    "blkio" | "io" => Controller::Io,
                    "pids" => Controller::Pids,
                    _ => continue,
                };
                found.entry(controller).or_insert_with(|| Hierarchy { root: root.clone(), unified });
            }
        }
        found
    }

    /// Reads the running host. What cannot be read is as if it were not there: the report then says so.
    pub(crate) fn detect(privileged: bool) -> Self {
        let read = |path: &Path| std::fs::read_to_string(path).ok();
        let mountinfo = read("/proc/self/mountinfo".as_ref()).unwrap_or_default();
        let own = read("/proc/self/cgroup".as_ref()).unwrap_or_default();
        let found = Self::parse(&mountinfo, read);
        let (mut hierarchies, mut withheld) = (BTreeMap::new(), BTreeMap::new());
        let unified = found.values().find(|hierarchy| hierarchy.unified).map(|hierarchy| hierarchy.root.clone());
        let home = unified.map(|mount| {
            let read_only = read_only(&mountinfo, &mount);
            Tree { mount: &mount, read_only, own: &own, privileged }.home(|| Manager::find(&mount, privileged))
        });
        let delegated = match &home {
            Some(Ok((home, _))) => read(&home.group().join("cgroup.controllers")).unwrap_or_default(),
            _ => String::new(),
        };
        for (controller, hierarchy) in found {
            let place = match &home {
                _ if !hierarchy.unified && privileged && read_only(&mountinfo, &hierarchy.root) => {
                    Err(format!("{} is mounted read-only", hierarchy.root.display()))
                }
                _ if !hierarchy.unified && privileged => Ok(hierarchy),
                _ if !hierarchy.unified => Err("control groups of version 1 need root".to_owned()),
                Some(Err(why)) => Err(why.clone()),
                Some(Ok((home, _))) if delegated.split_ascii_whitespace().any(|name| name == controller.word()) => {
                    Ok(Hierarchy { root: home.group().to_owned(), unified: true })
                }
                Some(Ok((home, _))) => {
                    Err(format!("the controller {} is not delegated to {}", controller.word(), home.group().display()))
                }
                None => continue,
            };
            match place {
                Ok(hierarchy) => drop(hierarchies.insert(controller, hierarchy)),
                Err(why) => drop(withheld.insert(controller, why)),
            }
        }
        let (home, beside) = home.and_then(Result::ok).map_or((None, None), |(home, beside)| (Some(home), beside));
        let devices = std::fs::read_dir("/sys/block").into_iter().flatten().flatten().filter_map(|entry| {
            let text = std::fs::read_to_string(entry.path().join("dev")).ok()?;
            let (major, minor) = text.trim().split_once(':')?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        });
        let mut devices: Vec<(u32, u32)> = devices.collect();
        devices.sort_unstable();
        Self { hierarchies, withheld, home, beside, devices }
    }

    /// The settings that `isolation` comes to; nothing for one that is no matter of control groups.
    ///
    /// # Errors
    /// Why this host cannot enforce it.
    pub(crate) fn settings(&self, isolation: &Isolation) -> Option<Result<Vec<Setting>, String>> {
        let controller = Controller::of(isolation)?;
        let Some(hierarchy) = self.hierarchies.get(&controller) else {
            let none = || format!("this host has no control group controller for {}", isolation.name());
            return Some(Err(self.withheld.get(&controller).cloned().unwrap_or_else(none)));
        };
        let unified = hierarchy.unified;
        let set = |file: &str, value: String| Setting { controller, file: file.to_owned(), value };
        let mut settings = Vec::new();
        match isolation {
            Isolation::Cpu { request, limit } => {
                if let Some(request) = request.or(*limit) {
                    settings.push(weight(unified, (request * 1024).div_ceil(1000)));
                }
                if let Some(limit) = limit {
                    let of = |period: u64| limit.saturating_mul(period / 1000);
                    let period = if of(PERIOD) < LEAST_QUOTA { LONGEST_PERIOD } else { PERIOD };
                    let quota = of(period);
                    if quota < LEAST_QUOTA {
                        return Some(Err("no processor time at all is no limit that the kernel takes".to_owned()));
                    }
                    if unified {
                        settings.push(set("cpu.max", format!("{quota} {period}")));
                    } else {
                        settings.push(set("cpu.cfs_period_us", period.to_string()));
                        settings.push(set("cpu.cfs_quota_us", quota.to_string()));
                    }
                }
            }
            Isolation::CpuShares { value } => settings.push(weight(unified, *value)),
            Isolation::Memory { request, limit } => {
                if let Some(request) = request {
                    let file = if unified { "memory.low" } else { "memory.soft_limit_in_bytes" };
                    settings.push(set(file, request.to_string()));
                }
                if let Some(limit) = limit {
                    let files: &[&str] = if unified {
                        &["memory.max"]
                    } else {
                        &["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]
                    };
                    settings.extend(files.iter().map(|file| set(file, limit.to_string())));
                    if unified {
                        settings.push(set("memory.swap.max", "0".to_owned()));
                    }
                }
            }
            Isolation::MaxProcesses { limit } => settings.push(set("pids.max", limit.to_string())),
            Isolation::OomGroup { value: false } => {}
            Isolation::OomGroup { value: true } if unified => settings.push(set("memory.oom.group", "1".to_owned())),
            Isolation::OomGroup { value: true } => {
                return Some(Err("control groups of version 1 kill one process at a time".to_owned()));
            }
            Isolation::BlockBandwidth { limit } => {
                settings.extend(self.throttle(unified, *limit, ["rbps", "wbps"], ["read_bps", "write_bps"]));
            }
            Isolation::BlockIops { limit } => {
                settings.extend(self.throttle(unified, *limit, ["riops", "wiops"], ["read_iops", "write_iops"]));
            }
            _ => return None,
        }
        Some(Ok(settings))
    }

    /// One limit, reading and writing, on every device.
    fn throttle(&self, unified: bool, limit: u64, v2: [&str; 2], v1: [&str; 2]) -> Vec<Setting> {
        let controller = Controller::Io;
        let each = self.devices.iter().flat_map(|(major, minor)| {
            if unified {
                let [read, write] = v2;
                let value = format!("{major}:{minor} {read}={limit} {write}={limit}");
                vec![Setting { controller, file: "io.max".to_owned(), value }]
            } else {
                let value = format!("{major}:{minor} {limit}");
                let file = |what| format!("blkio.throttle.{what}_device");
                v1.iter().map(|what| Setting { controller, file: file(what), value: value.clone() }).collect()
            }
        });
        each.collect()
    }
}

/// Whether the mount at `place` is read-only, be it by itself or by its file system.
fn read_only(mountinfo: &str, place: &Path) -> bool {
    let place = place.to_string_lossy().replace(' ', "\\040");
    let line = mountinfo.lines().rfind(|line| line.split(' ').nth(4) == Some(&*place));
    let options =
        line.into_iter().flat_map(|line| line.split(' ').nth(5).into_iter().chain(line.split(' ').next_back()));
    options.flat_map(|options| options.split(',')).any(|option| option == "ro")
}

/// How many processes of a group the kernel has killed for lack of memory; nothing for a group that is none of memory.
pub(crate) fn killed_for_memory(group: &Path) -> Option<u64> {
    // In version 2 it is counted above, where the controller is.
    let above = group.parent().unwrap_or(group).join("memory.events");
    let files = [group.join("memory.events"), group.join("memory.oom_control"), above];
    let text = files.iter().find_map(|file| std::fs::read_to_string(file).ok())?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.parse().ok()
}

/// Relative processor time: version 1 counts shares from 2 to 262144, version 2 weights from 1 to 10000.
fn weight(unified: bool, shares: u64) -> Setting {
    let shares = shares.clamp(2, 262_144);
    let (file, value) =
        if unified { ("cpu.weight", 1 + (shares - 2) * 9999 / 262_142) } else { ("cpu.shares", shares) };
    Setting { controller: Controller::Cpu, file: file.to_owned(), value: value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 24 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro
31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
33 30 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
";

    fn pairs(settings: &[Setting]) -> Vec<(&str, &str)> {
        settings.iter().map(|setting| (setting.file.as_str(), setting.value.as_str())).collect()
    }

    #[test]
    fn controllers_of_a_hybrid_host_are_found_where_they_are() {
        let found = Controllers::parse(HYBRID, |_| Some("hugetlb io\n".to_owned()));
        assert_eq!(found[&Controller::Cpu].root, Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert!(!found[&Controller::Memory].unified);
        assert_eq!(found[&Controller::Io], Hierarchy { root: "/sys/fs/cgroup/unified".into(), unified: true });
    }

    #[test]
    fn limits_are_the_same_amount_in_both_versions() {
        let hierarchies = Controllers::parse(HYBRID, |_| Some("io".to_owned()));
        let old = Controllers { hierarchies, devices: vec![(8, 0)], ..Controllers::default() };
        let new = Controllers {
            hierarchies: Controllers::parse("1 1 0:1 / /cg rw - cgroup2 x rw\n", |_| Some("cpu memory io".to_owned())),
            devices: vec![(8, 0)],
            ..Controllers::default()
        };
        let cpu = Isolation::Cpu { request: None, limit: Some(500) };
        let old_cpu = old.settings(&cpu).unwrap().unwrap();
        let expected = [("cpu.shares", "512"), ("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "50000")];
        assert_eq!(pairs(&old_cpu), expected);
        assert_eq!(pairs(&new.settings(&cpu).unwrap().unwrap())[1], ("cpu.max", "50000 100000"));
        // Too little for the kernel's own period is counted in its longest.
        let little = Isolation::Cpu { request: None, limit: Some(5) };
        assert_eq!(pairs(&new.settings(&little).unwrap().unwrap())[1], ("cpu.max", "5000 1000000"));
        assert!(new.settings(&Isolation::Cpu { request: None, limit: Some(0) }).unwrap().is_err());
        let memory = Isolation::Memory { request: None, limit: Some(1 << 20) };
        assert_eq!(pairs(&new.settings(&memory).unwrap().unwrap())[0], ("memory.max", "1048576"));
        let block = Isolation::BlockBandwidth { limit: 4096 };
        assert_eq!(pairs(&new.settings(&block).unwrap().unwrap()), [("io.max", "8:0 rbps=4096 wbps=4096")]);
    }

    #[test]
    fn a_missing_controller_is_a_reason_and_other_isolators_are_no_matter_of_groups() {
        let none = Controllers::default();
        let memory = Isolation::Memory { request: None, limit: Some(1) };
        assert!(none.settings(&memory).unwrap().unwrap_err().contains("resource/memory"));
        assert_eq!(none.settings(&Isolation::NoNewPrivileges { value: true }), None);
    }
}
