//! From a bundle to steps. Pure: same bundle, same facts, same steps.
//!
//! `config.json` is what a pod's plan is elsewhere: it says what shall be true. Its caller is trusted as whoever writes it could do all
//! that it asks for; what the root file system holds is not.

use std::path::{Component, Path, PathBuf};

use super::devices;
use super::groups::{self, Setting, Tree, Trees};
use super::mounts::{self, Source};
use super::profile;
use crate::executor::container::{Groups, Options};
use crate::executor::isolation::{Outcome, Report};
use crate::executor::linux::groups::property;
use crate::executor::linux::isolators::capabilities::CapabilitySet;
use crate::executor::linux::parameters;
use crate::executor::linux::steps::{AppStep, IdMap, Namespace, Node, PodStep, ProcessStep, SecurityModule, Step};
use crate::executor::linux::systemd::{Manager, Scope};
use crate::executor::{Compiled, Error, Kind};
use crate::id::Id;
use crate::oci::bundle::{Bundle, Config, IdMapping, Linux, Process, Scheduler};

/// The app that a container is.
pub(crate) const APP: usize = 0;

/// What has to be known of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Whether groups and devices can be made, as by root.
    pub privileged: bool,
    /// Whether its users are all there are, and none of a namespace.
    pub all_users: bool,
    /// Its control groups.
    pub trees: Trees,
    /// Whether AppArmor is on.
    pub apparmor: bool,
    /// Whether SELinux is on.
    pub selinux: bool,
    /// How many mounts are where the rootfs is.
    pub mounted: usize,
    /// The manager of systemd's that can be told of a container's scope.
    pub manager: Option<Manager>,
}

impl Facts {
    /// Of this host.
    pub(crate) fn detect() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        Self {
            privileged: rustix::process::geteuid().is_root(),
            all_users: read("/proc/self/uid_map").split_ascii_whitespace().eq(["0", "0", "4294967295"]),
            trees: Trees::detect(),
            apparmor: read("/sys/module/apparmor/parameters/enabled").starts_with('Y'),
            selinux: std::fs::exists("/sys/fs/selinux/status").unwrap_or(false),
            mounted: 0,
            manager: None,
        }
    }
}

/// Device nodes that every container finds, with their numbers.
const DEVICES: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

const LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// Kinds of namespaces, by the specification's names.
pub const NAMESPACES: [(&str, Namespace); 8] = [
    ("user", Namespace::User),
    ("pid", Namespace::Pid),
    ("network", Namespace::Net),
    ("ipc", Namespace::Ipc),
    ("uts", Namespace::Uts),
    ("mount", Namespace::Mount),
    ("cgroup", Namespace::Cgroup),
    ("time", Namespace::Time),
];

/// Limits, by their numbers.
pub(crate) const LIMITS: [(&str, rustix::process::Resource); 16] = {
    use rustix::process::Resource;
    [
        ("RLIMIT_AS", Resource::As),
        ("RLIMIT_CORE", Resource::Core),
        ("RLIMIT_CPU", Resource::Cpu),
        ("RLIMIT_DATA", Resource::Data),
        ("RLIMIT_FSIZE", Resource::Fsize),
        ("RLIMIT_LOCKS", Resource::Locks),
        ("RLIMIT_MEMLOCK", Resource::Memlock),
        ("RLIMIT_MSGQUEUE", Resource::Msgqueue),
        ("RLIMIT_NICE", Resource::Nice),
        ("RLIMIT_NOFILE", Resource::Nofile),
        ("RLIMIT_NPROC", Resource::Nproc),
        ("RLIMIT_RSS", Resource::Rss),
        ("RLIMIT_RTPRIO", Resource::Rtprio),
        ("RLIMIT_RTTIME", Resource::Rttime),
        ("RLIMIT_SIGPENDING", Resource::Sigpending),
        ("RLIMIT_STACK", Resource::Stack),
    ]
};

fn refused(member: &str, why: impl Into<String>) -> Error {
    Error::new(Kind::Refused, format!("use {member} of config.json")).because(why.into())
}

/// The map of ids, as the kernel takes it.
pub(crate) fn ids(users: &[IdMapping], groups: &[IdMapping]) -> IdMap {
    let map = |list: &[IdMapping]| list.iter().map(|one| (one.container_id, one.host_id, one.size)).collect();
    IdMap { users: map(users), groups: map(groups) }
}

/// What the steps shall be for a container called `id`.
///
/// # Errors
/// [`Kind::Refused`], naming the member of the configuration that cannot be.
pub fn compile(bundle: &Bundle, id: &str, options: &Options, facts: &Facts) -> Result<Compiled<Step>, Error> {
    let none = Linux::default();
    let linux = bundle.config.linux.as_ref().unwrap_or(&none);
    let mut compiler = Compiler { bundle, linux, facts, options, steps: Vec::new(), report: Report::new() };
    let joined = compiler.groups(id)?;
    compiler.namespaces()?;
    compiler.pod()?;
    compiler.filesystem(&joined)?;
    if let Some(process) = &bundle.config.process {
        let steps = process_steps(process, linux, facts, &mut compiler.report)?;
        compiler.steps.extend(steps.into_iter().map(|step| Step::Process { app: APP, step }));
    }
    Ok(Compiled { steps: compiler.steps, report: compiler.report })
}

struct Compiler<'a> {
    bundle: &'a Bundle,
    linux: &'a Linux,
    facts: &'a Facts,
    options: &'a Options,
    steps: Vec<Step>,
    report: Report,
}

impl Compiler<'_> {
    fn config(&self) -> &Config {
        &self.bundle.config
    }

    fn own(&self, kind: &str) -> bool {
        self.config().namespace(kind).is_some()
    }

    fn makes(&self, kind: &str) -> bool {
        self.config().namespace(kind).is_some_and(|namespace| namespace.path.is_none())
    }

    fn asked(&mut self, subject: &str, outcome: Outcome) {
        self.report.asked(None, subject, "x.oci.runtime", outcome);
    }

    /// Makes them and sets them. Gives what the container's processes join, each with the tree's name.
    fn groups(&mut self, id: &str) -> Result<Vec<(String, Vec<String>, PathBuf)>, Error> {
        let resources = self.linux.resources.clone().unwrap_or_default();
        if !self.facts.privileged {
            self.asked("linux.resources", Outcome::ignored("control groups need root here"));
            return Ok(Vec::new());
        }
        if self.options.groups == Groups::None {
            if self.linux.resources.is_some() {
                self.asked("linux.resources", Outcome::ignored("control groups are not wanted"));
            }
            return Ok(Vec::new());
        }
        let systemd = self.options.groups == Groups::Systemd;
        let places = self.facts.trees.places(self.linux.cgroups_path.as_deref(), id, systemd);
        let places = places.map_err(|why| refused("linux.cgroupsPath", why))?;
        let unified = self.facts.trees.0.iter().any(|tree| tree.unified);
        let mut settings = groups::settings(&resources, unified).map_err(|why| refused("linux.resources", why))?;
        let rules = devices::rules(&resources.devices).map_err(|why| refused("linux.resources", why))?;
        if !unified {
            settings.extend(devices::settings(&rules));
        } else if !self.facts.all_users && !resources.devices.is_empty() {
            self.asked("linux.resources.devices", Outcome::ignored("in a user namespace devices are not filtered"));
        }
        if systemd {
            self.tell_systemd(&places, &settings);
        }
        let mut taken = vec![false; settings.len()];
        let mut joined = Vec::new();
        // A scope has a process of ours by then, and systemd makes none of a name that is taken.
        let scope = self.steps.iter().find_map(|step| match step {
            Step::StartScope(scope) => Some(scope.path.clone()),
            _ => None,
        });
        let others = places.iter().filter(|(_, path)| scope.as_ref() != Some(path));
        self.steps.extend(others.map(|(_, path)| Step::CheckGroup { path: path.clone() }));
        for (tree, path) in places {
            self.steps.push(Step::MakeGroupsAbove { path: path.clone() });
            if tree.unified {
                let inside = path.ancestors().skip(1).take_while(|above| above.starts_with(&tree.root));
                let mut above: Vec<&Path> = inside.collect();
                above.reverse();
                let wanted = |name: &&String| {
                    ["cpu", "cpuset", "memory", "io", "pids", "hugetlb", "rdma"].contains(&name.as_str())
                };
                let controllers: Vec<String> = tree.controllers.iter().filter(wanted).cloned().collect();
                if !controllers.is_empty() {
                    self.steps.extend(above.into_iter().map(|group| Step::EnableControllers {
                        path: group.to_owned(),
                        controllers: controllers.clone(),
                    }));
                }
            }
            if scope.as_ref() != Some(&path) {
                self.steps.push(Step::MakeGroup { path: path.clone() });
            }
            if tree.unified && self.facts.all_users {
                self.steps.push(Step::FilterDevices { path: path.clone(), rules: rules.clone() });
            }
            for (setting, taken) in settings.iter().zip(&mut taken).filter(|(setting, _)| tree.takes(&setting.file)) {
                *taken = true;
                self.steps.push(Step::SetGroup {
                    path: path.join(&setting.file),
                    value: setting.value.clone(),
                    optional: setting.optional,
                });
            }
            let name = tree.root.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            joined.push((if tree.unified { String::new() } else { name }, tree.controllers.clone(), path));
        }
        for (setting, _) in
            settings.iter().zip(&taken).filter(|(setting, taken)| !**taken && !setting.file.starts_with("devices."))
        {
            let why = format!("this host has no control group controller for {}", setting.file);
            self.asked(&format!("linux.resources ({})", setting.file), Outcome::ignored(why));
        }
        Ok(joined)
    }

    /// Has systemd make a scope of the container's group: of one that it does not know it takes the controllers away, and with them the
    /// limits, whenever it looks at its own units again.
    fn tell_systemd(&mut self, places: &[(&Tree, PathBuf)], settings: &[Setting]) {
        let scope = |path: &Path| path.extension().is_some_and(|kind| kind == "scope");
        let place = places.iter().find(|(tree, path)| tree.unified && scope(path));
        let Some((manager, (_, path))) = self.facts.manager.clone().zip(place) else {
            let why = "the groups stand where systemd has them, and it is not told";
            return self.asked("--systemd-cgroup", Outcome::modified(why));
        };
        let slice = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
        self.steps.push(Step::StartScope(Scope {
            manager: Manager { slice, ..manager },
            path: path.clone(),
            limits: settings.iter().filter_map(|setting| property(&setting.file, &setting.value)).collect(),
        }));
    }

    fn namespaces(&mut self) -> Result<(), Error> {
        let mut new = Vec::new();
        for namespace in &self.linux.namespaces {
            let known = NAMESPACES.iter().find(|(name, _)| *name == namespace.kind);
            let (_, kind) =
                known.ok_or_else(|| refused("linux.namespaces", format!("`{}` is none", namespace.kind)))?;
            match &namespace.path {
                Some(path) => self.steps.push(Step::JoinNamespace { kind: *kind, path: path.clone() }),
                None => new.push(*kind),
            }
        }
        // Whose users they are is decided first.
        self.steps.sort_by_key(|step| match step {
            Step::JoinNamespace { kind: Namespace::User, .. } => 1,
            Step::JoinNamespace { .. } => 2,
            _ => 0,
        });
        let mapped = !self.linux.uid_mappings.is_empty() || !self.linux.gid_mappings.is_empty();
        if mapped && !self.own("user") {
            return Err(refused("linux.uidMappings", "the container has no user namespace"));
        }
        if self.makes("user") && (self.linux.uid_mappings.is_empty() || self.linux.gid_mappings.is_empty()) {
            return Err(refused("linux.uidMappings", "a new user namespace has to have users and groups"));
        }
        if !self.linux.time_offsets.is_empty() {
            if !self.makes("time") {
                return Err(refused("linux.timeOffsets", "the container has no new time namespace"));
            }
            let ahead = self.linux.time_offsets.iter().map(|(clock, by)| (clock.clone(), by.secs, by.nanosecs));
            self.steps.push(Step::SetClocks { ahead: ahead.collect() });
        }
        let ids = self.makes("user").then(|| ids(&self.linux.uid_mappings, &self.linux.gid_mappings));
        self.steps.push(Step::MakeNamespaces { namespaces: new, ids });
        Ok(())
    }

    fn pod(&mut self) -> Result<(), Error> {
        let config = self.config();
        let mut steps = Vec::new();
        for (member, name, domain) in [("hostname", &config.hostname, false), ("domainname", &config.domainname, true)]
        {
            let Some(name) = name.clone().filter(|name| !name.is_empty()) else { continue };
            if !self.own("uts") {
                return Err(refused(member, "the container has no uts namespace"));
            }
            steps.push(if domain { PodStep::SetDomainName { name } } else { PodStep::SetHostname { name } });
        }
        if self.makes("network") {
            steps.push(PodStep::RaiseLoopback);
        }
        for (key, value) in &self.linux.sysctl {
            self.parameter(key)?;
            steps.push(PodStep::SetParameter { key: key.clone(), value: value.clone() });
        }
        self.steps.extend(steps.into_iter().map(Step::Pod));
        Ok(())
    }

    fn parameter(&self, key: &str) -> Result<(), Error> {
        let wrong = |why: &str| Err(refused("linux.sysctl", format!("{key}: {why}")));
        let path = parameters::path(key);
        let text = path.to_string_lossy();
        match text.as_ref() {
            "kernel/domainname" if self.own("uts") => return Ok(()),
            "kernel/domainname" => return wrong("the container has no uts namespace"),
            "kernel/hostname" => return wrong("it is what hostname says"),
            text if text.starts_with("user/") && self.own("user") => return Ok(()),
            _ => {}
        }
        if let Some(why) = parameters::forbidden(key, self.own("network")) {
            return wrong(why);
        }
        if !text.starts_with("net/") && !self.own("ipc") {
            return wrong("the container has no ipc namespace");
        }
        Ok(())
    }

    fn filesystem(&mut self, joined: &[(String, Vec<String>, PathBuf)]) -> Result<(), Error> {
        let own = self.own("mount");
        if !own && self.own("user") {
            return Err(refused("linux.namespaces", "users of a namespace cannot mount in one that is not theirs"));
        }
        let root = self.config().root.clone().unwrap_or_default();
        let wanted = self.linux.rootfs_propagation.clone();
        let propagation = match wanted.as_deref().filter(|name| !name.is_empty()) {
            None => None,
            Some(name) => {
                let found = mounts::propagation(name);
                Some(found.ok_or_else(|| refused("linux.rootfsPropagation", format!("`{name}` is none")))?)
            }
        };
        let shared = propagation.is_some_and(|(flag, _)| flag == libc::MS_SHARED);
        let first = match propagation {
            Some((flag, _)) if flag == libc::MS_PRIVATE || flag == libc::MS_UNBINDABLE => libc::MS_PRIVATE,
            _ => libc::MS_SLAVE,
        };
        let at = self.bundle.directory.join(&root.path);
        let mut steps = Vec::new();
        if own {
            steps.push(AppStep::StandRootfs { at, propagation: first, shared });
        } else {
            self.steps.push(Step::ShowRootfs { at: at.clone(), below: self.facts.mounted });
            steps.push(AppStep::UseRootfs { at });
        }
        let mut late = Vec::new();
        let mut own_dev = true;
        for (number, asked) in self.config().mounts.clone().iter().enumerate() {
            let wrong = |why: String| refused(&format!("mounts[{number}]"), why);
            let mut mount = mounts::mount(asked, &self.bundle.directory).map_err(wrong)?;
            own_dev &= !(clean(&mount.target) == Path::new("/dev") && matches!(mount.source, Source::Bind { .. }));
            if matches!(asked.kind.as_deref(), Some("cgroup" | "cgroup2")) && matches!(mount.source, Source::New { .. })
            {
                mount.source = cgroups(joined);
                if joined.is_empty() {
                    self.asked(
                        &format!("mounts[{number}]"),
                        Outcome::ignored("there are no control groups to be shown"),
                    );
                    continue;
                }
            }
            // What stands in it comes first.
            let read_only = u64::from(crate::sys::linux::mount::Attributes::MOUNT_ATTR_RDONLY.bits());
            if matches!(&mount.source, Source::New { kind, .. } if kind == "tmpfs") && mount.set & read_only != 0 {
                mount.set &= !read_only;
                late.push(mounts::Mount { target: mount.target.clone(), set: read_only, ..Default::default() });
            }
            steps.push(AppStep::Mount(mount));
        }
        if own_dev {
            let bind = self.own("user") || !self.facts.privileged;
            steps.extend(self.devices(bind)?);
            steps.extend(LINKS.map(|(path, target)| AppStep::Link { path: path.into(), target: target.to_owned() }));
        }
        if self.config().process.as_ref().is_some_and(|process| process.terminal) {
            steps.push(AppStep::ShowConsole);
        }
        steps.extend(late.into_iter().map(AppStep::Mount));
        steps.extend(self.linux.readonly_paths.iter().map(|path| AppStep::MakeReadOnly { path: path.clone() }));
        steps.extend(self.linux.masked_paths.iter().map(|path| AppStep::Hide { path: path.clone() }));
        steps.push(match (own, self.options.no_pivot) {
            (false, _) => AppStep::ChangeRoot,
            (true, true) => AppStep::MoveRoot,
            (true, false) => AppStep::PivotRoot,
        });
        if let Some((flag, recursive)) = propagation {
            steps.push(AppStep::Propagate { flag, recursive });
        }
        if root.readonly {
            steps.push(AppStep::FreezeRootfs);
        }
        for (what, there) in [
            ("linux.intelRdt", self.linux.intel_rdt.is_some()),
            ("linux.mountLabel", self.linux.mount_label.as_ref().is_some_and(|label| !label.is_empty())),
        ] {
            if there {
                let why = if what == "linux.mountLabel" && !self.facts.selinux {
                    "SELinux is not on"
                } else {
                    "this runtime does not do it"
                };
                self.asked(what, Outcome::ignored(why));
            }
        }
        self.steps.extend(steps.into_iter().map(|step| Step::App { app: APP, step }));
        Ok(())
    }

    fn devices(&self, bind: bool) -> Result<Vec<AppStep>, Error> {
        let mut nodes: Vec<Node> = DEVICES
            .iter()
            .map(|(path, major, minor)| Node {
                path: path.into(),
                kind: 'c',
                major: *major,
                minor: *minor,
                mode: 0o666,
                uid: Id::ROOT,
                gid: Id::ROOT,
                bind,
            })
            .collect();
        for (number, device) in self.linux.devices.iter().enumerate() {
            let member = format!("linux.devices[{number}]");
            let kind = match device.kind.as_str() {
                "c" | "u" => 'c',
                "b" => 'b',
                "p" => 'p',
                other => return Err(refused(&member, format!("type: `{other}` is none"))),
            };
            if !device.path.is_absolute() {
                return Err(refused(&member, "path: it is not absolute"));
            }
            let part = |value: i64| u32::try_from(value);
            let (Ok(major), Ok(minor)) = (part(device.major), part(device.minor)) else {
                return Err(refused(&member, format!("{}:{} is no device", device.major, device.minor)));
            };
            let mode = device.file_mode.unwrap_or(0o666) & 0o7777;
            let (uid, gid) = (device.uid.unwrap_or_default(), device.gid.unwrap_or_default());
            let node =
                Node { path: clean(&device.path), kind, major, minor, mode, uid, gid, bind: bind && kind != 'p' };
            nodes.retain(|other| other.path != node.path);
            nodes.push(node);
        }
        Ok(nodes.into_iter().map(AppStep::MakeNode).collect())
    }
}

fn cgroups(joined: &[(String, Vec<String>, PathBuf)]) -> Source {
    let trees = joined.iter().map(|(name, _, path)| (name.clone(), path.clone())).collect();
    let links = joined.iter().filter(|(name, ..)| name.contains(','));
    let links = links.flat_map(|(name, controllers, _)| controllers.iter().map(|one| (one.clone(), name.clone())));
    Source::Groups { trees, links: links.filter(|(link, name)| link != name).collect() }
}

/// Without `.`, and `..` as far as the root.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            _ => {}
        }
    }
    clean
}

/// What is done to a process, in this order.
///
/// # Errors
/// [`Kind::Refused`], naming the member.
pub(crate) fn process_steps(
    process: &Process,
    linux: &Linux,
    facts: &Facts,
    report: &mut Report,
) -> Result<Vec<ProcessStep>, Error> {
    let mut steps = Vec::new();
    let mut asked = |subject: &str, outcome: Outcome| report.asked(None, subject, "x.oci.runtime", outcome);
    if let Some(value) = process.oom_score_adj {
        if !(-1000..=1000).contains(&value) {
            return Err(refused("process.oomScoreAdj", format!("{value} is not from -1000 to 1000")));
        }
        steps.push(ProcessStep::SetOomScore { value });
    }
    for limit in &process.rlimits {
        if !LIMITS.iter().any(|(name, _)| *name == limit.kind) {
            return Err(refused("process.rlimits", format!("`{}` is none", limit.kind)));
        }
        if limit.soft > limit.hard {
            return Err(refused("process.rlimits", format!("{}: the soft limit is above the hard one", limit.kind)));
        }
        steps.push(ProcessStep::SetLimit { resource: limit.kind.clone(), soft: limit.soft, hard: limit.hard });
    }
    for (subject, label, module, on) in [
        ("process.apparmorProfile", &process.apparmor_profile, SecurityModule::Apparmor, facts.apparmor),
        ("process.selinuxLabel", &process.selinux_label, SecurityModule::Selinux, facts.selinux),
    ] {
        let Some(label) = label.clone().filter(|label| !label.is_empty()) else { continue };
        if on {
            steps.push(ProcessStep::Label { module, label });
        } else {
            asked(subject, Outcome::ignored("the kernel's security module is not on"));
        }
    }
    if let Some(scheduler) = &process.scheduler {
        steps.push(schedule(scheduler)?);
    }
    if let Some(priority) = &process.io_priority {
        let class = ["IOPRIO_CLASS_NONE", "IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"];
        let class = class.iter().position(|name| *name == priority.class).filter(|_| priority.priority < 8);
        let class = class.ok_or_else(|| {
            refused("process.ioPriority", format!("{} {} is none", priority.class, priority.priority))
        })?;
        let class = u32::try_from(class).unwrap_or(0);
        steps.push(ProcessStep::SetIoPriority { value: class << 13 | priority.priority });
    }
    if let Some(personality) = &linux.personality {
        let domain = match personality.domain.as_str() {
            "LINUX" => 0,
            "LINUX32" => 8,
            other => return Err(refused("linux.personality", format!("`{other}` is none"))),
        };
        steps.push(ProcessStep::SetPersonality { domain });
    }
    let filter = match &linux.seccomp {
        Some(seccomp) => {
            let (profile, unknown) = profile::profile(seccomp).map_err(|why| refused("linux.seccomp", why))?;
            if !unknown.is_empty() {
                asked("linux.seccomp", Outcome::modified(format!("this system does not know {}", unknown.join(", "))));
            }
            Some(Box::new(profile))
        }
        None => None,
    };
    let user = &process.user;
    let groups = Some(user.additional_gids.clone());
    steps.push(ProcessStep::TakeIds { uid: user.uid, gid: user.gid, groups, umask: user.umask });
    let set = |names: &[String], unknown: &mut Vec<String>| {
        let known = names.iter().filter(|name| !name.is_empty());
        known.fold(0, |set, name| match CapabilitySet::of([name.as_str()]).0 {
            0 => {
                unknown.push(name.clone());
                set
            }
            bit => set | bit,
        })
    };
    if let Some(capabilities) = &process.capabilities {
        let mut unknown = Vec::new();
        steps.push(ProcessStep::SetCapabilities {
            bounding: set(&capabilities.bounding, &mut unknown),
            effective: set(&capabilities.effective, &mut unknown),
            permitted: set(&capabilities.permitted, &mut unknown),
            inheritable: set(&capabilities.inheritable, &mut unknown),
            ambient: set(&capabilities.ambient, &mut unknown),
        });
        unknown.sort_unstable();
        unknown.dedup();
        if !unknown.is_empty() {
            asked(
                "process.capabilities",
                Outcome::modified(format!("this system does not know {}", unknown.join(", "))),
            );
        }
    }
    steps.push(ProcessStep::ChangeDirectory { path: clean(&process.cwd) });
    if process.no_new_privileges {
        steps.push(ProcessStep::ForbidNewPrivileges);
    }
    steps.extend(filter.map(ProcessStep::FilterByProfile));
    Ok(steps)
}

fn schedule(scheduler: &Scheduler) -> Result<ProcessStep, Error> {
    let wrong = |why: String| refused("process.scheduler", why);
    let policy = match scheduler.policy.as_str() {
        "SCHED_OTHER" => 0,
        "SCHED_FIFO" => 1,
        "SCHED_RR" => 2,
        "SCHED_BATCH" => 3,
        "SCHED_ISO" => 4,
        "SCHED_IDLE" => 5,
        "SCHED_DEADLINE" => 6,
        other => return Err(wrong(format!("policy: `{other}` is none"))),
    };
    const FLAGS: [&str; 7] = [
        "SCHED_FLAG_RESET_ON_FORK",
        "SCHED_FLAG_RECLAIM",
        "SCHED_FLAG_DL_OVERRUN",
        "SCHED_FLAG_KEEP_POLICY",
        "SCHED_FLAG_KEEP_PARAMS",
        "SCHED_FLAG_UTIL_CLAMP_MIN",
        "SCHED_FLAG_UTIL_CLAMP_MAX",
    ];
    let mut flags = 0;
    for name in &scheduler.flags {
        let bit = FLAGS.iter().position(|known| known == name);
        flags |= 1 << bit.ok_or_else(|| wrong(format!("flags: `{name}` is none")))?;
    }
    Ok(ProcessStep::Schedule {
        policy,
        flags,
        nice: scheduler.nice,
        priority: scheduler.priority,
        times: [scheduler.runtime, scheduler.deadline, scheduler.period],
    })
}
