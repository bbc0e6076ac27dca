//! Control groups of a pod: which there have to be, for the pod's isolators to bound those of its apps
//! (`iso.podbound`).
//!
//! An app's processes are in a group below the one that bounds them. It is the root of their view of the groups: whoever could
//! mount that view, as an app that is allowed CAP_SYS_ADMIN can, does not find the limits in it, but copies of them at most: for
//! programs to read, and those of block devices in version 1, as they do not hold for groups below.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::delegation::Home;
use super::facts::HostFacts;
use super::isolators::cgroup::{Controller, Setting};
use super::steps::Step;
use super::systemd::Scope;
use crate::executor::isolation::{Outcome, Report};
use crate::executor::plan::{Isolation, PodPlan};

/// The group of an app's processes, below the one that bounds them.
pub const INNER: &str = "processes";

/// The group of the pod's first process, in a scope.
pub const FIRST: &str = "first";

/// Limits that are set on the inner group too: programs size themselves by what they find there, and what bounds them
/// stands above all the same.
const SHOWN: [&str; 9] = [
    "memory.max",
    OOM_GROUP,
    "pids.max",
    "memory.swap.max",
    "memory.limit_in_bytes",
    "memory.memsw.limit_in_bytes",
    "cpu.max",
    "cpu.cfs_period_us",
    "cpu.cfs_quota_us",
];

/// What says that a group is killed whole.
const OOM_GROUP: &str = "memory.oom.group";

/// What the pod's isolators come to in control groups.
#[derive(Default)]
pub struct Groups {
    /// Making and setting them.
    pub steps: Vec<Step>,
    /// Which groups the processes of each app join.
    pub joined: Vec<Vec<PathBuf>>,
    /// What each app is shown of them, by its name below `/sys/fs/cgroup`.
    pub shown: Vec<Vec<(String, PathBuf)>>,
}

/// One for the whole pod, or for the app of this number.
type Settings = [(Option<usize>, Setting)];

impl Groups {
    /// The groups of `plan`; what becomes of each isolator goes into `report`.
    pub fn new(plan: &PodPlan, facts: &HostFacts, report: &mut Report) -> Self {
        let mut settings: Vec<(Option<usize>, Setting)> = Vec::new();
        let mut take = |app: Option<usize>, isolation: &Isolation, report: &mut Report| {
            let name = app.map(|app| plan.apps[app].name.as_str());
            let bounded = bounded(isolation, &plan.isolators, app.is_some());
            let outcome = match facts.controllers.settings(bounded.as_ref().unwrap_or(isolation)) {
                None => return,
                Some(Err(why)) => Outcome::ignored(why),
                Some(Ok(list)) => {
                    let empty = list.is_empty();
                    settings.extend(list.into_iter().map(|setting| (app, setting)));
                    match (empty, bounded) {
                        // It is what the kernel does anyway.
                        (true, _) if matches!(isolation, Isolation::OomGroup { .. }) => Outcome::Enforced,
                        (true, _) => Outcome::ignored("this host has no such device"),
                        (false, Some(_)) => Outcome::modified("bounded by what the whole pod may use"),
                        (false, None) => Outcome::Enforced,
                    }
                }
            };
            report.asked(name, isolation.name(), isolation.clause(), outcome);
        };
        for isolation in &plan.isolators {
            take(None, isolation, report);
        }
        for (number, app) in plan.apps.iter().enumerate() {
            for isolation in &app.isolators {
                take(Some(number), isolation, report);
            }
        }
        let groups = Self::of(plan, facts, &settings);
        if let Some(why) = facts.controllers.beside.as_ref().filter(|_| !groups.steps.is_empty()) {
            let how = format!("they are made beside those of systemd: {why}");
            report.promised(None, "control groups", "iso.podbound", Outcome::modified(how));
        }
        groups
    }

    fn of(plan: &PodPlan, facts: &HostFacts, settings: &Settings) -> Self {
        let apps = plan.apps.len();
        let mut groups = Self { steps: Vec::new(), joined: vec![Vec::new(); apps], shown: vec![Vec::new(); apps] };
        // One group a tree, whichever of its controllers are used.
        let mut trees: BTreeMap<&Path, (bool, Vec<Controller>)> = BTreeMap::new();
        for (_, setting) in settings {
            if let Some(tree) = facts.controllers.hierarchies.get(&setting.controller) {
                let (_, used) = trees.entry(&tree.root).or_insert((tree.unified, Vec::new()));
                if !used.contains(&setting.controller) {
                    used.push(setting.controller);
                }
            }
        }
        let alone = facts.controllers.hierarchies.values().all(|tree| tree.unified);
        for (root, (unified, used)) in trees {
            groups.tree(plan, facts, settings, Tree { root, unified, used: &used, alone });
        }
        groups
    }

    fn tree(&mut self, plan: &PodPlan, facts: &HostFacts, settings: &Settings, tree: Tree<'_>) {
        let Tree { root, unified, used, alone } = tree;
        let of = |whose: Option<usize>| {
            let own = move |(app, one): &&(Option<usize>, Setting)| *app == whose && used.contains(&one.controller);
            settings.iter().filter(own).map(|(_, setting)| setting)
        };
        let controllers: Vec<String> = used.iter().map(|controller| controller.word().to_owned()).collect();
        let enable = |path: &Path| Step::EnableControllers { path: path.to_owned(), controllers: controllers.clone() };
        let pod = match facts.controllers.home.as_ref().filter(|_| unified) {
            Some(Home::Systemd(manager)) => {
                let pod = manager.place(&format!("jetpack-{}.scope", plan.uuid));
                let limits = of(None).map(with_first).filter_map(|one| property(&one.file, &one.value)).collect();
                self.steps.push(Step::StartScope(Scope { manager: manager.clone(), path: pod.clone(), limits }));
                self.steps.push(Step::MakeGroup { path: pod.join(FIRST) });
                self.steps.push(Step::PlaceFirst { path: pod.join(FIRST) });
                pod
            }
            home => {
                if let Some(Home::Own(own)) = home {
                    let to = root.join(format!("jetpack-{}.supervisor", plan.uuid));
                    self.steps.push(Step::LeaveGroup { from: own.clone(), to });
                }
                let pod = root.join(format!("jetpack-{}", plan.uuid));
                self.steps.extend(unified.then(|| enable(root)));
                self.steps.push(Step::MakeGroup { path: pod.clone() });
                pod
            }
        };
        self.steps.extend(unified.then(|| enable(&pod)));
        if !unified && used.contains(&Controller::Memory) {
            // Before Linux 5.11 groups below are bounded only where this is said.
            let path = pod.join("memory.use_hierarchy");
            self.steps.push(Step::SetGroup { path, value: "1".to_owned(), optional: true });
        }
        let scope = matches!(facts.controllers.home, Some(Home::Systemd(_))) && unified;
        // The kernel kills an app whole; whoever supervises the pod ends the others then, and is not to be killed with them.
        let own = of(None).filter(|setting| setting.file != OOM_GROUP);
        self.steps.extend(own.map(|one| if scope { set(&pod, &with_first(one)) } else { set(&pod, one) }));
        for (number, app) in plan.apps.iter().enumerate() {
            // The kernel has files there, one of which is called as an app may be: `tasks`.
            let outer = pod.join(format!("app-{}", app.name));
            self.steps.push(Step::MakeGroup { path: outer.clone() });
            self.steps.extend(of(Some(number)).map(|setting| set(&outer, setting)));
            self.steps.extend(unified.then(|| enable(&outer)));
            let inner = outer.join(INNER);
            self.steps.push(Step::MakeGroup { path: inner.clone() });
            for file in SHOWN {
                let find = |whose| of(whose).find(|setting| setting.file == file);
                self.steps.extend(find(Some(number)).or_else(|| find(None)).map(|setting| set(&inner, setting)));
            }
            let flat = of(Some(number)).filter(|one| !unified && one.controller == Controller::Io);
            self.steps.extend(flat.map(|setting| set(&inner, setting)));
            let names: Vec<&str> = match (unified, alone) {
                (true, true) => vec![""],
                (true, false) => vec!["unified"],
                (false, _) => used.iter().map(|controller| controller.old_word()).collect(),
            };
            self.shown[number].extend(names.into_iter().map(|name| (name.to_owned(), inner.clone())));
            self.joined[number].push(inner);
        }
    }
}

/// A tree of control groups that a pod has to do with.
struct Tree<'a> {
    root: &'a Path,
    unified: bool,
    used: &'a [Controller],
    /// Whether the host has no others.
    alone: bool,
}

fn set(group: &Path, setting: &Setting) -> Step {
    Step::SetGroup {
        path: group.join(&setting.file),
        value: setting.value.clone(),
        optional: setting.file.contains("memsw") || setting.file == "memory.swap.max",
    }
}

/// A limit of a pod whose first process is in its group, and does not count.
fn with_first(setting: &Setting) -> Setting {
    let more = setting.value.parse().ok().filter(|_| setting.file == "pids.max").map(|limit: u64| limit + 1);
    more.map_or_else(|| setting.clone(), |value| Setting { value: value.to_string(), ..setting.clone() })
}

/// The name and value that systemd has for a limit, where it has one, so that it keeps it in force.
pub(super) fn property(file: &str, value: &str) -> Option<(String, u64)> {
    // What is unlimited has systemd's highest number.
    let number = |value: &str| if value == "max" { Some(u64::MAX) } else { value.parse().ok() };
    let (name, value) = match file {
        "memory.max" => ("MemoryMax", number(value)?),
        "memory.low" => ("MemoryLow", number(value)?),
        "memory.swap.max" => ("MemorySwapMax", number(value)?),
        "pids.max" => ("TasksMax", number(value)?),
        "cpu.weight" => ("CPUWeight", number(value)?),
        "cpu.max" => {
            let (quota, period) = value.split_once(' ')?;
            let share = match number(quota)? {
                u64::MAX => u64::MAX,
                quota => quota.saturating_mul(1_000_000).checked_div(period.parse().ok()?)?,
            };
            ("CPUQuotaPerSecUSec", share)
        }
        _ => return None,
    };
    Some((name.to_owned(), value))
}

/// An app's limit cut down to the pod's. The kernel refuses a share of processor time above the parent's in version 1.
fn bounded(isolation: &Isolation, pod: &[Isolation], in_app: bool) -> Option<Isolation> {
    if !in_app {
        return None;
    }
    let least = |own: Option<u64>, pods: Option<u64>| match (own, pods) {
        (Some(own), Some(pods)) => Some(own.min(pods)),
        (own, _) => own,
    };
    let cut = pod.iter().find_map(|other| match (isolation, other) {
        (Isolation::Cpu { request, limit }, Isolation::Cpu { limit: pods, .. }) => {
            Some(Isolation::Cpu { request: least(*request, *pods), limit: least(*limit, *pods) })
        }
        (Isolation::Memory { request, limit }, Isolation::Memory { limit: pods, .. }) => {
            Some(Isolation::Memory { request: least(*request, *pods), limit: least(*limit, *pods) })
        }
        (Isolation::MaxProcesses { limit }, Isolation::MaxProcesses { limit: pods }) => {
            Some(Isolation::MaxProcesses { limit: *limit.min(pods) })
        }
        _ => None,
    });
    cut.filter(|cut| cut != isolation)
}
