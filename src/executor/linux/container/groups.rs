//! A container's control groups: where they are, and what its resources come to in them.
//!
//! ```text
//! v1, hybrid   <root of each tree>/<path>     of every tree of version 1; the unified one beside them is left alone
//! v2           <root>/<path>
//! ```
//! A path that begins with `/` is from a tree's root on, another one from the runtime's own group on; without one it is the
//! container's id.

use std::path::{Component, Path, PathBuf};

use crate::executor::container::Container;
use crate::executor::linux::groups::property;
use crate::executor::linux::systemd::{Manager, Scope};
use crate::executor::{Error, Kind};
use crate::oci::bundle::{Resources, Throttle};

/// A tree of control groups, as it is mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// Where.
    pub root: PathBuf,
    /// Its controllers, or `name=systemd`.
    pub controllers: Vec<String>,
    /// Whether it is the unified one.
    pub unified: bool,
    /// The runtime's own group in it.
    pub own: PathBuf,
}

/// All that count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trees(pub Vec<Tree>);

/// A value for a file of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The file, its controller's name first.
    pub file: String,
    /// What is written.
    pub value: String,
    /// Whether kernels without the file do as well.
    pub optional: bool,
}

impl Trees {
    /// Those of this host.
    pub(crate) fn detect() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let controllers = |root: &Path| std::fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        Self::parse(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"), controllers)
    }

    fn parse(mountinfo: &str, own: &str, controllers: impl Fn(&Path) -> String) -> Self {
        let of_own = |names: &[String], unified: bool| {
            let line = own.lines().find_map(|line| {
                let (number, rest) = line.split_once(':')?;
                let (listed, path) = rest.split_once(':')?;
                let fits = if unified {
                    number == "0"
                } else {
                    !listed.is_empty() && listed.split(',').all(|name| names.iter().any(|known| known == name))
                };
                fits.then_some(path)
            });
            PathBuf::from(line.unwrap_or("/"))
        };
        let mut trees: Vec<Tree> = Vec::new();
        for line in mountinfo.lines() {
            let Some((before, after)) = line.split_once(" - ") else { continue };
            let Some(root) = before.split(' ').nth(4).map(|root| PathBuf::from(root.replace("\\040", " "))) else {
                continue;
            };
            let mut after = after.split(' ');
            let (controllers, unified): (Vec<String>, bool) = match (after.next(), after.nth(1)) {
                (Some("cgroup"), Some(options)) => {
                    let named = |option: &&str| !["rw", "ro", "xattr", "noprefix", "clone_children"].contains(option);
                    let names = options.split(',').filter(named).filter(|option| !option.starts_with("release_agent"));
                    (names.map(str::to_owned).collect(), false)
                }
                (Some("cgroup2"), _) => {
                    (controllers(&root).split_ascii_whitespace().map(str::to_owned).collect(), true)
                }
                _ => continue,
            };
            let seen = |tree: &Tree| tree.unified == unified && tree.controllers == controllers;
            if !trees.iter().any(seen) {
                trees.push(Tree { own: of_own(&controllers, unified), root, controllers, unified });
            }
        }
        if trees.iter().any(|tree| !tree.unified && tree.controllers.iter().any(|name| !name.starts_with("name="))) {
            trees.retain(|tree| !tree.unified);
        }
        Self(trees)
    }

    /// The container's group in each tree.
    ///
    /// # Errors
    /// The path leads out of the tree.
    pub(crate) fn places(
        &self,
        asked: Option<&Path>,
        id: &str,
        systemd: bool,
    ) -> Result<Vec<(&Tree, PathBuf)>, String> {
        let asked = match asked {
            Some(path) if systemd => of_systemd(path)?,
            Some(path) if !path.as_os_str().is_empty() => path.to_owned(),
            _ => PathBuf::from(id),
        };
        if asked.components().any(|part| part == Component::ParentDir) {
            return Err("it leads out of the tree".to_owned());
        }
        let plain = |path: &Path| -> PathBuf {
            path.components().filter(|part| matches!(part, Component::Normal(_))).collect()
        };
        let places = self.0.iter().map(|tree| {
            let from = if asked.is_absolute() { PathBuf::new() } else { plain(&tree.own) };
            (tree, tree.root.join(from).join(plain(&asked)))
        });
        Ok(places.collect())
    }
}

impl Tree {
    /// Whether the controller is one of this tree's.
    pub(crate) fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|known| known == controller)
    }

    /// Whether the file of a group is one of this tree's.
    pub(crate) fn takes(&self, file: &str) -> bool {
        let prefix = file.split('.').next().unwrap_or_default();
        prefix == "cgroup" || self.has(prefix)
    }
}

/// `slice:prefix:name`, as systemd would place it: slices stand in those that their names begin with.
fn of_systemd(path: &Path) -> Result<PathBuf, String> {
    let text = path.to_str().unwrap_or_default();
    let mut parts = text.splitn(3, ':');
    let (Some(slice), Some(prefix), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("with --systemd-cgroup it is slice:prefix:name".to_owned());
    };
    let slice = if slice.is_empty() { "system.slice" } else { slice };
    let stem = slice.strip_suffix(".slice").filter(|stem| *stem == "-" || !stem.contains('/'));
    let stem = stem.ok_or_else(|| format!("{slice} is no slice"))?;
    let mut place = PathBuf::from("/");
    if stem != "-" {
        let mut sofar = String::new();
        for part in stem.split('-') {
            if part.is_empty() {
                return Err(format!("{slice} is no slice"));
            }
            sofar.push_str(part);
            place.push(format!("{sofar}.slice"));
            sofar.push('-');
        }
    }
    let name = if name.ends_with(".slice") { name.to_owned() } else { format!("{prefix}-{name}.scope") };
    Ok(place.join(name))
}

/// What the resources come to, in the order in which it is written.
///
/// # Errors
/// In words, what is wrong with them.
pub(crate) fn settings(resources: &Resources, unified: bool) -> Result<Vec<Setting>, String> {
    let mut all = if unified { unified_settings(resources) } else { settings_of_old(resources) };
    for (file, value) in &resources.unified {
        if !unified {
            return Err(format!("unified: {file} is one of version 2, which this host does not use"));
        }
        if file.contains('/') {
            return Err(format!("unified: {file} is no file of a group"));
        }
        all.push(Setting { file: file.clone(), value: value.clone(), optional: false });
    }
    Ok(all)
}

fn settings_of_old(resources: &Resources) -> Vec<Setting> {
    let mut all = Vec::new();
    let mut set = |file: &str, value: Option<String>| {
        all.extend(value.map(|value| Setting { file: file.to_owned(), value, optional: false }));
    };
    if let Some(memory) = &resources.memory {
        let given = |value: Option<i64>| value.filter(|value| *value != 0).map(|value| value.max(-1).to_string());
        set("memory.limit_in_bytes", given(memory.limit));
        let unlimited = memory.limit.is_some_and(|limit| limit < 0) && memory.swap.is_none();
        set("memory.memsw.limit_in_bytes", given(if unlimited { Some(-1) } else { memory.swap }));
        set("memory.soft_limit_in_bytes", given(memory.reservation));
        set("memory.kmem.tcp.limit_in_bytes", given(memory.kernel_tcp));
        set("memory.swappiness", memory.swappiness.map(|value| value.to_string()));
        set("memory.oom_control", memory.disable_oom_killer.filter(|disable| *disable).map(|_| "1".to_owned()));
    }
    if let Some(cpu) = &resources.cpu {
        set("cpuset.cpus", cpu.cpus.clone().filter(|cpus| !cpus.is_empty()));
        set("cpuset.mems", cpu.mems.clone().filter(|mems| !mems.is_empty()));
        let number = |value: Option<u64>| value.filter(|value| *value != 0).map(|value| value.to_string());
        set("cpu.rt_period_us", number(cpu.realtime_period));
        set("cpu.rt_runtime_us", cpu.realtime_runtime.filter(|value| *value != 0).map(|value| value.to_string()));
        set("cpu.shares", number(cpu.shares));
        set("cpu.cfs_period_us", number(cpu.period));
        set("cpu.cfs_quota_us", cpu.quota.filter(|value| *value != 0).map(|value| value.max(-1).to_string()));
        set("cpu.cfs_burst_us", number(cpu.burst));
        set("cpu.idle", cpu.idle.map(|value| value.to_string()));
    }
    set("pids.max", pids(resources));
    if let Some(network) = &resources.network {
        set("net_cls.classid", network.class_id.map(|id| id.to_string()));
        for priority in &network.priorities {
            set("net_prio.ifpriomap", Some(format!("{} {}", priority.name, priority.priority)));
        }
    }
    for limit in &resources.hugepage_limits {
        set(&format!("hugetlb.{}.limit_in_bytes", limit.page_size), Some(limit.limit.to_string()));
    }
    for (device, limits) in &resources.rdma {
        set("rdma.max", Some(rdma(device, limits)));
    }
    if let Some(block) = &resources.block_io {
        // Under one of the two names, by the kernel's scheduler.
        for (file, value) in [("weight", block.weight), ("leaf_weight", block.leaf_weight)] {
            for family in ["blkio", "blkio.bfq"] {
                let value = value.filter(|value| *value != 0);
                let value = value.map(|value| value.to_string());
                all.extend(value.map(|value| Setting { file: format!("{family}.{file}"), value, optional: true }));
            }
        }
        for device in &block.weight_device {
            for (file, value) in [("weight", device.weight), ("leaf_weight", device.leaf_weight)] {
                for family in ["blkio", "blkio.bfq"] {
                    let value = value.map(|value| format!("{}:{} {value}", device.major, device.minor));
                    let file = format!("{family}.{file}_device");
                    all.extend(value.map(|value| Setting { file, value, optional: true }));
                }
            }
        }
        for (what, throttles) in throttles(block) {
            all.extend(throttles.iter().map(|throttle| Setting {
                file: format!("blkio.throttle.{what}_device"),
                value: format!("{}:{} {}", throttle.major, throttle.minor, throttle.rate),
                optional: false,
            }));
        }
    }
    all
}

fn throttles(block: &crate::oci::bundle::BlockIo) -> [(&'static str, &[Throttle]); 4] {
    [
        ("read_bps", &block.throttle_read_bps_device),
        ("write_bps", &block.throttle_write_bps_device),
        ("read_iops", &block.throttle_read_iops_device),
        ("write_iops", &block.throttle_write_iops_device),
    ]
}

fn pids(resources: &Resources) -> Option<String> {
    let limit = resources.pids.as_ref()?.limit?;
    match limit {
        0 => None,
        limit if limit < 0 => Some("max".to_owned()),
        limit => Some(limit.to_string()),
    }
}

fn rdma(device: &str, limits: &crate::oci::bundle::Rdma) -> String {
    let mut line = device.to_owned();
    for (name, limit) in [("hca_handle", limits.hca_handles), ("hca_object", limits.hca_objects)] {
        if let Some(limit) = limit {
            line.push_str(&format!(" {name}={limit}"));
        }
    }
    line
}

fn unified_settings(resources: &Resources) -> Vec<Setting> {
    let mut all = Vec::new();
    let mut set = |file: &str, value: Option<String>| {
        all.extend(value.map(|value| Setting { file: file.to_owned(), value, optional: false }));
    };
    let most = |value: i64| if value < 0 { "max".to_owned() } else { value.to_string() };
    if let Some(memory) = &resources.memory {
        let given = |value: Option<i64>| value.filter(|value| *value != 0);
        set("memory.max", given(memory.limit).map(most));
        // Here swap is counted by itself.
        let swap = match (given(memory.swap), given(memory.limit)) {
            (Some(swap), _) if swap < 0 => Some(-1),
            (Some(swap), Some(limit)) if limit >= 0 => Some((swap - limit).max(0)),
            (None, Some(limit)) if limit < 0 => Some(-1),
            (other, _) => other,
        };
        set("memory.swap.max", swap.map(most));
        set("memory.low", given(memory.reservation).map(most));
    }
    if let Some(cpu) = &resources.cpu {
        set("cpuset.cpus", cpu.cpus.clone().filter(|cpus| !cpus.is_empty()));
        set("cpuset.mems", cpu.mems.clone().filter(|mems| !mems.is_empty()));
        let shares = cpu.shares.filter(|shares| *shares != 0).map(|shares| shares.clamp(2, 262_144));
        set("cpu.weight", shares.map(|shares| (1 + (shares - 2) * 9999 / 262_142).to_string()));
        let quota = cpu.quota.filter(|quota| *quota != 0);
        if quota.is_some() || cpu.period.is_some_and(|period| period != 0) {
            let quota = quota.map_or_else(|| "max".to_owned(), most);
            set("cpu.max", Some(format!("{quota} {}", cpu.period.filter(|period| *period != 0).unwrap_or(100_000))));
        }
        set("cpu.max.burst", cpu.burst.filter(|burst| *burst != 0).map(|burst| burst.to_string()));
        set("cpu.idle", cpu.idle.map(|value| value.to_string()));
    }
    set("pids.max", pids(resources));
    for limit in &resources.hugepage_limits {
        set(&format!("hugetlb.{}.max", limit.page_size), Some(limit.limit.to_string()));
    }
    for (device, limits) in &resources.rdma {
        set("rdma.max", Some(rdma(device, limits)));
    }
    if let Some(block) = &resources.block_io {
        if let Some(weight) = block.weight.filter(|weight| *weight != 0) {
            let weight = u64::from(weight.clamp(10, 1000));
            let scaled = (1 + (weight - 10) * 9999 / 990).to_string();
            all.push(Setting { file: "io.bfq.weight".to_owned(), value: weight.to_string(), optional: true });
            all.push(Setting { file: "io.weight".to_owned(), value: scaled, optional: true });
        }
        for (what, throttles) in throttles(block) {
            let key = match what {
                "read_bps" => "rbps",
                "write_bps" => "wbps",
                "read_iops" => "riops",
                _ => "wiops",
            };
            all.extend(throttles.iter().map(|throttle| Setting {
                file: "io.max".to_owned(),
                value: format!("{}:{} {key}={}", throttle.major, throttle.minor, throttle.rate),
                optional: false,
            }));
        }
    }
    all
}

/// The manager of systemd's that keeps groups of containers, where they are those of version 2.
pub(crate) fn manager(trees: &Trees) -> Option<Manager> {
    let tree = trees.0.iter().find(|tree| tree.unified)?;
    Manager::find(&tree.root, true).ok()
}

/// Gives a container that runs other bounds. Gives in words what its groups have no controller for.
///
/// # Errors
/// [`Kind::Refused`]; [`Kind::Io`], naming the file.
pub fn update(container: &Container, resources: &Resources) -> Result<Vec<String>, Error> {
    let doing = || format!("update the container {}", container.kept.id);
    let refused = |why: String| Error::new(Kind::Refused, doing()).because(why);
    let groups = &container.kept.groups;
    let unified = groups.iter().any(|group| group.unified);
    let mut left = settings(resources, unified).map_err(refused)?;
    if let Some(group) = groups.iter().find(|group| group.scope) {
        let limits: Vec<_> = left.iter().filter_map(|setting| property(&setting.file, &setting.value)).collect();
        let known = |error: std::io::Error| Error::new(Kind::Io, doing()).because(format!("systemd: {error}"));
        if let Some(manager) = manager(&Trees::detect()).filter(|_| !limits.is_empty()) {
            Scope { manager, path: group.path.clone(), limits: Vec::new() }.set(&limits).map_err(known)?;
        }
    }
    let mut lacking = Vec::new();
    let mut put_off = false;
    while !left.is_empty() {
        let setting = left.remove(0);
        let controller = setting.file.split('.').next().unwrap_or_default();
        let has = |name: &String| name == controller;
        let Some(group) = groups.iter().find(|group| group.controllers.iter().any(has)) else {
            lacking.push(format!("this host has no control group controller for {}", setting.file));
            continue;
        };
        let path = group.path.join(&setting.file);
        match std::fs::write(&path, &setting.value) {
            Ok(()) => {}
            Err(error) if setting.optional && error.kind() == std::io::ErrorKind::NotFound => {}
            // Above what may be used with swap, which is to be raised too.
            Err(_) if setting.file == "memory.limit_in_bytes" && !std::mem::replace(&mut put_off, true) => {
                let behind =
                    left.iter().position(|other| other.file.starts_with("memory.memsw")).map_or(0, |at| at + 1);
                left.insert(behind, setting);
            }
            Err(error) => {
                let why = format!("{}: {error}", path.display());
                return Err(Error::new(Kind::Io, doing()).because(why));
            }
        }
    }
    Ok(lacking)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const HYBRID: &str = "\
31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
33 30 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
34 30 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
";
    const OWN: &str = "9:name=systemd:/user\n4:memory:/mine\n2:cpu,cpuacct:/\n0::/\n";

    fn words(settings: Vec<Setting>) -> Vec<String> {
        settings.into_iter().map(|setting| format!("{}={}", setting.file, setting.value)).collect()
    }

    #[test]
    fn a_container_has_its_place_in_every_tree() {
        let trees = Trees::parse(HYBRID, OWN, |_| "io".to_owned());
        let at = |path: Option<&str>, systemd| -> Vec<String> {
            let places = trees.places(path.map(Path::new), "box", systemd).unwrap();
            places.into_iter().map(|(_, place)| place.to_string_lossy().into_owned()).collect()
        };
        let below = ["/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/systemd"];
        assert_eq!(at(Some("/a/b"), false), below.map(|root| format!("{root}/a/b")));
        let own =
            ["/sys/fs/cgroup/cpu,cpuacct/box", "/sys/fs/cgroup/memory/mine/box", "/sys/fs/cgroup/systemd/user/box"];
        assert_eq!(at(None, false), own);
        let scope = "user.slice/user-7.slice/crio-x.scope";
        assert_eq!(at(Some("user-7.slice:crio:x"), true), below.map(|root| format!("{root}/{scope}")));
        assert!(trees.places(Some(Path::new("/a/../..")), "box", false).is_err());
        assert!(trees.places(Some(Path::new("/a")), "box", true).is_err());
        let unified = Trees::parse("1 1 0:1 / /cg rw - cgroup2 x rw\n", "0::/own\n", |_| "cpu pids".to_owned());
        assert!(unified.0[0].unified && unified.0[0].takes("pids.max") && !unified.0[0].takes("memory.max"));
    }

    #[test]
    fn resources_are_the_same_amounts_in_both_versions() {
        let resources: Resources = serde_json::from_value(json!({
            "memory": { "limit": 1000, "swap": 3000, "reservation": 500 },
            "cpu": { "shares": 1024, "quota": 5000, "period": 10000, "cpus": "0" },
            "pids": { "limit": 7 },
            "blockIO": { "throttleReadBpsDevice": [{ "major": 8, "minor": 0, "rate": 9 }] }
        }))
        .unwrap();
        let old = words(settings(&resources, false).unwrap());
        let expected = [
            "memory.limit_in_bytes=1000",
            "memory.memsw.limit_in_bytes=3000",
            "memory.soft_limit_in_bytes=500",
            "cpuset.cpus=0",
            "cpu.shares=1024",
            "cpu.cfs_period_us=10000",
            "cpu.cfs_quota_us=5000",
            "pids.max=7",
            "blkio.throttle.read_bps_device=8:0 9",
        ];
        assert_eq!(old, expected);
        let new = words(settings(&resources, true).unwrap());
        let expected = [
            "memory.max=1000",
            "memory.swap.max=2000",
            "memory.low=500",
            "cpuset.cpus=0",
            "cpu.weight=39",
            "cpu.max=5000 10000",
            "pids.max=7",
            "io.max=8:0 rbps=9",
        ];
        assert_eq!(new, expected);
    }
}
