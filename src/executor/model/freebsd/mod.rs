//! A FreeBSD system in memory.
//!
//! It keeps what the executor changes: datasets with snapshots, clones and origins, mounts in their order, directories
//! and links, jails with their parameters, resource rules, interfaces and bridges, anchors of the packet filter, devfs
//! rule sets, processes. It refuses in the system's own words: a busy dataset, a missing mount target, a jail name that
//! is taken. What it counts, programs started above all, tests can ask for.
//!
//! Seen on 13.2-RELEASE unless it says otherwise.

mod disk;
mod filed;
mod files;
mod jails;
mod launch;
mod limits;
mod network;
#[cfg(test)]
mod observed;
mod saved;
mod streams;
#[cfg(test)]
mod tests;
mod tree;
mod variables;
mod zfs;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::executor::freebsd::system::{
    Found, Hidden, Mounted, NewMount, Program, Programs, Ran, Setting, System, Turn, Value,
};
use crate::executor::freebsd::variables::Variable;
use crate::executor::supervise::End;

pub use disk::Disk;
pub use filed::{Filed, open_store};
pub use files::Node;
pub use launch::{ModelPod, Process};
pub use saved::Saved;
pub use zfs::Dataset;

/// Everything that a system holds. Two equal states cannot be told apart by the executor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// `13.2-RELEASE-p4`
    pub version: String,
    /// Kernel variables.
    pub(crate) sysctls: BTreeMap<String, i64>,
    /// Loaded modules.
    pub modules: BTreeSet<String>,
    /// File systems that the kernel cannot load when they are asked for.
    #[serde(default)]
    pub(crate) unloadable: BTreeSet<String>,
    /// Datasets by name.
    pub datasets: BTreeMap<String, Dataset>,
    /// Mounts in the order of mounting.
    pub mounts: Vec<Mounted>,
    /// Directories, files and links by path, of all file systems.
    pub files: BTreeMap<PathBuf, Node>,
    /// Jails by name.
    pub jails: BTreeMap<String, Jail>,
    /// Resource rules in the order of their adding.
    pub rules: Vec<String>,
    /// Interfaces by name.
    pub interfaces: BTreeMap<String, Interface>,
    /// Packet filter anchors that hold rules.
    pub(crate) anchors: BTreeMap<String, String>,
    /// The main rules of the packet filter; nothing where it is off.
    #[serde(default = "anchored")]
    pub(crate) main_rules: Option<Vec<String>>,
    /// Devfs rule sets by number.
    pub(crate) device_rules: BTreeMap<u16, Vec<String>>,
    /// Processes that run.
    pub processes: Vec<Process>,
    /// Bytes that are free in the pool; nothing can be written at 0.
    pub free: u64,
    /// What the pool can hold.
    #[serde(default = "features")]
    pub features: BTreeSet<String>,
    /// Where datasets of images have their files, when those are files of this system.
    #[serde(default)]
    pub disk: Option<Disk>,
}

/// What a pool made by 13.2 can hold, as far as streams have a need of it.
fn features() -> BTreeSet<String> {
    ["embedded_data", "extensible_dataset", "large_blocks", "large_dnode", "lz4_compress", "zstd_compress"]
        .map(str::to_owned)
        .into()
}

/// What the packet filter needs to look at pods' rules.
fn anchored() -> Option<Vec<String>> {
    Some(crate::executor::freebsd::ANCHORS.map(str::to_owned).into())
}

impl State {
    /// The system before anything of ours is on it.
    fn bare() -> Self {
        Self {
            version: "13.2-RELEASE-p4".to_owned(),
            sysctls: [("kern.racct.enable", 1), ("kern.features.vimage", 1), ("net.inet.ip.forwarding", 1)]
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
            modules: ["zfs", "pf"].map(str::to_owned).into(),
            unloadable: BTreeSet::new(),
            datasets: BTreeMap::new(),
            mounts: Vec::new(),
            files: [(PathBuf::from("/"), Node::Directory)].into(),
            jails: BTreeMap::new(),
            rules: Vec::new(),
            interfaces: [("lo0".to_owned(), Interface { kind: "lo".to_owned(), up: true, ..Interface::default() })]
                .into(),
            anchors: BTreeMap::new(),
            main_rules: anchored(),
            device_rules: (1..=5).map(|number| (number, Vec::new())).collect(),
            processes: Vec::new(),
            free: u64::MAX,
            features: features(),
            disk: None,
        }
    }
}

impl fmt::Display for State {
    /// What an administrator would look at, one thing a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, dataset) in &self.datasets {
            write!(f, "dataset {name}")?;
            if let Some(on) = &dataset.mountpoint {
                write!(f, " at {}", on.display())?;
            }
            match &dataset.origin {
                Some(origin) => writeln!(f, " of {origin}")?,
                None => writeln!(f)?,
            }
        }
        for mount in self.mounts.iter().filter(|mount| mount.kind != "zfs") {
            let how = if mount.read_only { " read-only" } else { "" };
            writeln!(f, "mount {} {} at {}{how}", mount.kind, mount.from, mount.on.display())?;
        }
        for (name, jail) in &self.jails {
            writeln!(f, "jail {} {name}", jail.id)?;
        }
        for rule in &self.rules {
            writeln!(f, "rule {rule}")?;
        }
        for (name, interface) in &self.interfaces {
            match interface.jail {
                Some(jail) => writeln!(f, "interface {name} in jail {jail}")?,
                None => writeln!(f, "interface {name}")?,
            }
        }
        for (name, rules) in &self.anchors {
            writeln!(f, "anchor {name}: {} rules", rules.lines().count())?;
        }
        for process in &self.processes {
            writeln!(f, "process {} {}", process.pid, process.command.join(" "))?;
        }
        Ok(())
    }
}

/// A jail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jail {
    /// Its id.
    pub id: i32,
    /// Its parameters.
    pub parameters: BTreeMap<String, Value>,
    /// What was set in its network.
    pub settings: Vec<Setting>,
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// `epair`, `bridge`, ...
    pub kind: String,
    /// What it is described as.
    pub description: String,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Whether it is up.
    pub up: bool,
    /// Members, of a bridge.
    pub members: BTreeSet<String>,
    /// The jail that it is in.
    pub jail: Option<i32>,
}

/// The model: a state, and what was asked of it. Clones are the same system.
#[derive(Clone)]
pub struct Model {
    inner: Arc<Mutex<Inner>>,
    /// Rung when a turn is over.
    over: Arc<Condvar>,
}

/// A turn that somebody has.
struct Taken(Model);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.lock().turn_taken = false;
        self.0.over.notify_one();
    }
}

struct Inner {
    state: State,
    next_jail: i32,
    programs: Vec<String>,
    history: Vec<Process>,
    /// How often a program still finds others at what it works on, by its path, and in which words.
    busy: BTreeMap<&'static str, (u32, &'static str)>,
    /// How many interfaces were given to jails.
    moved: u64,
    /// How many have begun to load rules of the packet filter.
    loads: u64,
    turn_taken: bool,
    /// How the next main processes end; where it says nothing, they succeed.
    ends: VecDeque<End>,
}

impl Inner {
    fn holding(state: State) -> Self {
        let next_jail = state.jails.values().map(|jail| jail.id + 1).max().unwrap_or(1);
        let (programs, history, busy) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { state, next_jail, programs, history, busy, moved: 0, loads: 0, turn_taken: false, ends: VecDeque::new() }
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a model of FreeBSD")
    }
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}

/// The root dataset of a fresh model.
pub(crate) const DATASET: &str = "zroot/jetpack";
/// Where it is mounted.
pub(crate) const MOUNTPOINT: &str = "/var/db/jetpack";

impl Model {
    /// A 13.2 with ZFS, vnet, racct and pf, on which `jetpack init` was run.
    pub fn new() -> Self {
        Self::at(Path::new(MOUNTPOINT))
    }

    /// A model with the root dataset mounted elsewhere.
    pub(crate) fn at(root: &Path) -> Self {
        let mut inner = Inner::holding(State::bare());
        for path in [Path::new("/etc"), Path::new("/var/run"), Path::new("/tmp"), &root.join("trees")] {
            // A model has room: nothing refuses here.
            let _ = inner.make_directory(path);
        }
        inner.add_dataset("zroot", None);
        inner.add_dataset(DATASET, Some(root.to_owned()));
        inner.add_dataset(&format!("{DATASET}/images"), None);
        inner.add_dataset(&format!("{DATASET}/pods"), None);
        Self::of(inner)
    }

    fn holding(state: State) -> Self {
        Self::of(Inner::holding(state))
    }

    fn of(inner: Inner) -> Self {
        Self { inner: Arc::new(Mutex::new(inner)), over: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it holds now.
    pub fn state(&self) -> State {
        self.lock().state.clone()
    }

    /// Changes what it holds, as somebody else on the system might.
    pub(crate) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock().state);
    }

    /// Has a program find what it works on busy, so many times.
    #[cfg(test)]
    pub(crate) fn occupy(&self, program: Program, times: u32) {
        self.disturb(program, times, "Device busy");
    }

    /// Has a program fail in these words, so many times.
    #[cfg(test)]
    pub(crate) fn disturb(&self, program: Program, times: u32, words: &'static str) {
        self.lock().busy.insert(program.path(), (times, words));
    }

    /// The programs that were started, with their arguments.
    #[cfg(test)]
    pub(crate) fn programs(&self) -> Vec<String> {
        self.lock().programs.clone()
    }

    /// Makes a sealed tree as the store would: a dataset with `rootfs`, mounted; gives the path of the layer.
    #[cfg(test)]
    pub(crate) fn seal_tree(&self, name: &str, rootfs: &[(&str, Node)]) -> PathBuf {
        self.seal_tree_at(&PathBuf::from(MOUNTPOINT).join("trees").join(name), rootfs)
    }

    fn seal_tree_at(&self, mountpoint: &Path, rootfs: &[(&str, Node)]) -> PathBuf {
        let mut inner = self.lock();
        let name: String = mountpoint.file_name().unwrap_or_default().to_string_lossy().chars().take(39).collect();
        let dataset = format!("{DATASET}/images/{name}");
        let mountpoint = mountpoint.to_owned();
        // One whose files are on disk is shown them alone.
        if !inner.state.datasets.contains_key(&dataset) {
            inner.add_dataset(&dataset, Some(mountpoint.clone()));
        }
        let layer = mountpoint.join("rootfs");
        inner.state.files.insert(layer.clone(), Node::Directory);
        for (path, node) in rootfs {
            inner.state.files.insert(layer.join(path.trim_start_matches('/')), node.clone());
        }
        inner.seal(&dataset);
        layer
    }
}

fn refuse<T>(errno: i32) -> io::Result<T> {
    Err(io::Error::from_raw_os_error(errno))
}

fn refuse_with<T>(kind: io::ErrorKind, words: String) -> io::Result<T> {
    Err(io::Error::new(kind, words))
}

impl Programs for Model {
    fn run(&mut self, program: Program, arguments: &[&str], input: &str) -> io::Result<Ran> {
        let mut inner = self.lock();
        inner.programs.push(format!("{} {}", program.path(), arguments.join(" ")));
        if let Some((left, words)) = inner.busy.get_mut(program.path()).filter(|(left, _)| *left > 0) {
            *left -= 1;
            let complaint = (*words).to_owned();
            return Ok(Ran { code: 1, output: String::new(), complaint });
        }
        if program == Program::Pfctl && arguments.contains(&"-f") {
            // Who begins to load rules spoils it for who began before, whatever anchors they are about (`ticket_pabuf` of pf_ioctl.c).
            inner.loads += 1;
            let (own, moved) = (inner.loads, inner.moved);
            drop(inner);
            std::thread::yield_now();
            inner = self.lock();
            if inner.moved != moved {
                // It has seen an interface that is gone when it asks for its groups (`ifa_add_groups_to_map` of pfctl_parser.c).
                let complaint = "pfctl: SIOCGIFGROUP: Device not configured".to_owned();
                return Ok(Ran { code: 1, output: String::new(), complaint });
            }
            if inner.loads != own {
                let complaint = "pfctl: DIOCADDRULENV: Device busy".to_owned();
                return Ok(Ran { code: 1, output: String::new(), complaint });
            }
        }
        let ran = match program {
            Program::Zfs => inner.zfs(arguments),
            Program::Zpool => inner.zpool(arguments),
            Program::Ifconfig => inner.ifconfig(arguments),
            Program::Pfctl => inner.pfctl(arguments, input),
            Program::Devfs => inner.devfs(arguments),
            Program::Ps => inner.ps(arguments),
            Program::Route => inner.route(arguments),
        };
        Ok(match ran {
            Ok(output) => Ran { code: 0, output, complaint: String::new() },
            Err(complaint) => Ran { code: 1, output: String::new(), complaint },
        })
    }

    fn feed(&mut self, _: Program, arguments: &[&str], source: &mut dyn Read) -> io::Result<Ran> {
        let _ = source;
        refuse_with(io::ErrorKind::Unsupported, format!("a model in memory takes no `{}`", arguments.join(" ")))
    }

    fn drain(&mut self, _: Program, arguments: &[&str], target: &mut dyn Write) -> io::Result<Ran> {
        let _ = target;
        refuse_with(io::ErrorKind::Unsupported, format!("a model in memory gives no `{}`", arguments.join(" ")))
    }
}

impl System for Model {
    fn turn(&mut self) -> io::Result<Turn> {
        let mut inner = self.lock();
        while inner.turn_taken {
            inner = self.over.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        inner.turn_taken = true;
        Ok(Box::new(Taken(self.clone())))
    }

    fn mount(&mut self, mount: NewMount<'_>) -> io::Result<()> {
        let mut inner = self.lock();
        if mount.update {
            let there = inner.state.mounts.iter_mut().rev().find(|mounted| mounted.on == mount.on);
            return match there {
                Some(mounted) => {
                    mounted.read_only = mount.read_only;
                    Ok(())
                }
                None => refuse(libc::EINVAL),
            };
        }
        if !inner.has_file_system(mount.kind) {
            // As above secure level 0. The place is looked at later.
            return refuse(libc::EPERM);
        }
        // The kernel follows links: the place may be another than the one named.
        let on = inner.resolve(mount.on)?;
        let from = if mount.kind == "nullfs" {
            let target = mount.options.iter().find(|(name, _)| name == "target");
            let Some((_, from)) = target else { return refuse(libc::EINVAL) };
            let source = inner.resolve(Path::new(from))?;
            // Both directories, or both files: sys/fs/nullfs/null_vfsops.c.
            if !matches!(
                (inner.node(&source), inner.node(&on)),
                (Some(Node::Directory), Some(Node::Directory)) | (Some(Node::File(_)), Some(Node::File(_)))
            ) {
                return refuse(libc::EINVAL);
            }
            from.clone()
        } else {
            if !inner.is_directory(&on) {
                return refuse(libc::ENOTDIR);
            }
            if mount.kind == "devfs"
                && let Some((_, number)) = mount.options.iter().find(|(name, _)| name == "ruleset")
            {
                let Ok(number) = number.parse() else { return refuse(libc::EINVAL) };
                // One that is not there is empty, and hides nothing, as when none is named.
                inner.state.device_rules.entry(number).or_default();
            }
            mount.kind.to_owned()
        };
        inner.state.mounts.push(Mounted { kind: mount.kind.to_owned(), from, on, read_only: mount.read_only });
        Ok(())
    }

    fn unmount(&mut self, on: &Path, force: bool) -> io::Result<()> {
        let mut inner = self.lock();
        let Some(position) = inner.state.mounts.iter().rposition(|mount| mount.on == on) else {
            return refuse(libc::EINVAL);
        };
        if inner.busy(on, position) && !force {
            return refuse(libc::EBUSY);
        }
        inner.state.mounts.remove(position);
        Ok(())
    }

    fn mounts(&mut self) -> io::Result<Vec<Mounted>> {
        Ok(self.lock().state.mounts.clone())
    }

    fn look(&mut self, path: &Path, follow_links: bool) -> io::Result<Found> {
        self.lock().look(path, follow_links)
    }

    fn make_directory(&mut self, path: &Path, _: u32, _: Option<(crate::id::Id, crate::id::Id)>) -> io::Result<()> {
        self.lock().make_directory(path)
    }

    fn remove_directory(&mut self, path: &Path) -> io::Result<()> {
        self.lock().state.files.retain(|file, _| !file.starts_with(path));
        Ok(())
    }

    fn make_target(&mut self, root: &Path, inside: &Path, file: bool) -> io::Result<Option<Hidden>> {
        self.lock().make_target(root, inside, file)
    }

    fn write_file(&mut self, root: &Path, inside: &Path, content: &str, replace: bool) -> io::Result<bool> {
        self.lock().write_file(root, inside, content, replace)
    }

    fn copy_tree(&mut self, from: &Path, into: &Path) -> io::Result<()> {
        self.lock().copy_tree(from, into)
    }

    fn claim(&mut self, file: &Path, content: &str) -> io::Result<()> {
        let mut inner = self.lock();
        if inner.state.files.contains_key(file) {
            return refuse(libc::EEXIST);
        }
        if let Some(parent) = file.parent() {
            inner.make_directory(parent)?;
        }
        inner.state.files.insert(file.to_owned(), Node::File(content.to_owned()));
        Ok(())
    }

    fn release(&mut self, file: &Path, content: &str) -> io::Result<()> {
        let mut inner = self.lock();
        if inner.state.files.get(file) == Some(&Node::File(content.to_owned())) {
            inner.state.files.remove(file);
        }
        Ok(())
    }

    fn read_text(&mut self, file: &Path) -> io::Result<String> {
        match self.lock().state.files.get(file) {
            Some(Node::File(text)) => Ok(text.clone()),
            Some(_) => refuse(libc::EISDIR),
            None => refuse(libc::ENOENT),
        }
    }

    fn privileged(&mut self) -> bool {
        true
    }

    fn create_jail(&mut self, parameters: &[(String, Value)]) -> io::Result<i32> {
        self.lock().create_jail(parameters)
    }

    fn allow_child(&mut self, name: &str) -> io::Result<()> {
        let mut inner = self.lock();
        let children = inner.state.jails.keys().filter(|child| child.starts_with(&format!("{name}."))).count();
        let Some(jail) = inner.state.jails.get_mut(name) else { return refuse(libc::ENOENT) };
        let most = i32::try_from(children + 1).unwrap_or(i32::MAX);
        jail.parameters.insert("children.max".to_owned(), Value::Number(most));
        Ok(())
    }

    fn find_jail(&mut self, name: &str) -> io::Result<Option<i32>> {
        Ok(self.lock().state.jails.get(name).map(|jail| jail.id))
    }

    fn remove_jail(&mut self, id: i32) -> io::Result<()> {
        let mut inner = self.lock();
        let Some(name) = inner.state.jails.iter().find(|(_, jail)| jail.id == id).map(|(name, _)| name.clone()) else {
            return refuse(libc::EINVAL);
        };
        inner.state.jails.remove(&name);
        inner.state.processes.retain(|process| process.context.jail != name);
        // Its interfaces come back to the host when its network is taken down, which is a moment later.
        Ok(())
    }

    fn has_interface(&mut self, name: &str) -> bool {
        let mut inner = self.lock();
        let back = inner.on_its_way_back(name);
        let Some(found) = inner.state.interfaces.get_mut(name) else { return false };
        if back {
            // Without what it had. Whoever asks lets time pass.
            (found.jail, found.up) = (None, false);
            found.addresses.clear();
            return false;
        }
        found.jail.is_none()
    }

    fn move_interface(&mut self, interface: &str, jail: i32) -> io::Result<()> {
        let mut inner = self.lock();
        let own = inner.state.jails.values().find(|found| found.id == jail);
        if own.is_none_or(|own| own.parameters.get("vnet") != Some(&Value::New)) {
            return refuse(libc::ENXIO);
        }
        match inner.state.interfaces.get_mut(interface).filter(|found| found.jail.is_none()) {
            Some(found) => {
                found.jail = Some(jail);
                inner.moved += 1;
                Ok(())
            }
            None => refuse_with(io::ErrorKind::NotFound, format!("interface {interface} does not exist")),
        }
    }

    fn configure(&mut self, jail: i32, settings: &[Setting]) -> io::Result<()> {
        self.lock().configure(jail, settings)
    }

    fn add_rule(&mut self, rule: &str) -> io::Result<()> {
        let mut inner = self.lock();
        if inner.state.sysctls.get("kern.racct.enable") != Some(&1) {
            return refuse(libc::ENOSYS);
        }
        match limits::look(rule) {
            Err(errno) => refuse(errno),
            Ok(replaced) => {
                inner.state.rules.retain(|old| !replaced.by(old, rule));
                inner.state.rules.push(rule.to_owned());
                Ok(())
            }
        }
    }

    fn remove_rules(&mut self, subject: &str) -> io::Result<()> {
        let prefix = format!("{subject}:");
        self.lock().state.rules.retain(|rule| !rule.starts_with(&prefix));
        Ok(())
    }

    fn usage(&mut self, _: &str) -> io::Result<Vec<(String, u64)>> {
        if self.lock().state.sysctls.get("kern.racct.enable") != Some(&1) {
            return refuse(libc::ENOSYS);
        }
        Ok(vec![("maxproc".to_owned(), 0), ("memoryuse".to_owned(), 0)])
    }

    fn sysctl(&mut self, name: &str) -> io::Result<i64> {
        let found = self.lock().state.sysctls.get(name).copied();
        found.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
    }

    fn variable(&mut self, name: &str) -> io::Result<Variable> {
        variables::variable(name).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
    }

    fn has_module(&mut self, file: &str, module: &str) -> bool {
        let inner = self.lock();
        let name = file.strip_suffix(".ko").unwrap_or(file);
        let loaded = [name, module].iter().any(|name| inner.state.modules.contains(*name));
        loaded || name.ends_with("fs") && name != "zfs" && inner.has_file_system(name)
    }

    fn version(&mut self) -> String {
        self.lock().state.version.clone()
    }
}

impl Inner {
    /// Whether the kernel has a file system, or loads it when it is asked for.
    fn has_file_system(&self, kind: &str) -> bool {
        let linux = kind.starts_with("lin") && !self.state.modules.contains("linux64");
        !linux && !self.state.unloadable.contains(kind)
    }

    /// Whether something keeps the mount at this position from being unmounted.
    fn busy(&self, on: &Path, position: usize) -> bool {
        let covered = self.state.mounts[position + 1..].iter().any(|mount| mount.on.starts_with(on));
        let jailed = self.state.jails.values().any(|jail| match jail.parameters.get("path") {
            Some(Value::Text(path)) => Path::new(path).starts_with(on),
            _ => false,
        });
        let used = self.state.processes.iter().any(|process| process.root.starts_with(on));
        covered || jailed || used
    }

    fn ps(&self, arguments: &[&str]) -> Result<String, String> {
        let ["-J", jail, ..] = arguments else { return Err("usage: ps".to_owned()) };
        if !self.state.jails.contains_key(*jail) {
            return Err(format!("ps: Invalid jail: {jail}"));
        }
        let ours = self.state.processes.iter().filter(|process| process.context.jail == *jail);
        let lines = ours.map(|process| format!("{} {} {}\n", process.pid, process.ids.0, process.command.join(" ")));
        Ok(std::iter::once("PID USER COMMAND\n".to_owned()).chain(lines).collect())
    }

    fn devfs(&mut self, arguments: &[&str]) -> Result<String, String> {
        match arguments {
            ["rule", "showsets"] => Ok(self.state.device_rules.keys().map(|set| format!("{set}\n")).collect()),
            ["rule", "-s", set, rest @ ..] => {
                let set: u16 = set.parse().map_err(|_| format!("devfs rule: invalid ruleset number: {set}"))?;
                match rest {
                    ["delset"] => drop(self.state.device_rules.remove(&set)),
                    ["add", rule @ ..] => {
                        let rules = self.state.device_rules.entry(set).or_default();
                        let number = |rule: &str| rule.split(' ').next().and_then(|word| word.parse::<u16>().ok());
                        let rule = rule.join(" ");
                        if number(&rule).is_some_and(|new| rules.iter().any(|old| number(old) == Some(new))) {
                            return Err("devfs rule: ioctl DEVFSIO_RADD: File exists".to_owned());
                        }
                        rules.push(rule);
                    }
                    _ => return Err("usage: devfs rule".to_owned()),
                }
                Ok(String::new())
            }
            ["-m", on, "rule", "apply", "path", _, ..] => {
                let there = self.state.mounts.iter().any(|mount| mount.kind == "devfs" && mount.on == Path::new(on));
                if there { Ok(String::new()) } else { Err(format!("devfs rule: {on}: not a devfs mount")) }
            }
            _ => Err("usage: devfs".to_owned()),
        }
    }
}
