//! Control groups of a pod: which there have to be, for the pod's isolators to bound those of its apps
//! (`iso.podbound`).
//!
//! An app's processes are in a group below the one that bounds them. It is the root of their view of the groups: whoever could
//! mount that view, as an app that is allowed CAP_SYS_ADMIN can, does not find the limits in it. Only the limits of block
//! devices in version 1 stand there too, as they do not hold for groups below.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::facts::HostFacts;
use super::isolators::cgroup::{Controller, Setting};
use super::steps::Step;
use crate::executor::isolation::{Outcome, Report};
use crate::executor::plan::{AppPlan, Isolation, PodPlan};

/// The group of an app's processes, below the one that bounds them.
pub const INNER: &str = "processes";

/// What the pod's isolators come to in control groups.
#[derive(Default)]
pub struct Groups {
    /// Making and setting them.
    pub steps: Vec<Step>,
    /// Which groups the processes of each app join.
    pub joined: Vec<Vec<PathBuf>>,
}

impl Groups {
    /// The groups of `plan`; what becomes of each isolator goes into `report`.
    pub fn new(plan: &PodPlan, facts: &HostFacts, report: &mut Report) -> Self {
        let mut settings: Vec<(Option<usize>, Setting)> = Vec::new();
        let mut take = |app: Option<usize>, isolation: &Isolation, report: &mut Report| {
            let name = app.map(|app| plan.apps[app].name.as_str());
            let bounded = bounded(isolation, &plan.isolators, app.is_some());
            let outcome = match facts.controllers.settings(bounded.as_ref().unwrap_or(isolation)) {
                None => return,
                Some(Ok(_)) if !facts.privileged => Outcome::ignored("control groups need root here"),
                Some(Err(why)) => Outcome::ignored(why),
                Some(Ok(list)) => {
                    let empty = list.is_empty();
                    settings.extend(list.into_iter().map(|setting| (app, setting)));
                    match (empty, bounded) {
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
        Self::of(plan, facts, &settings)
    }

    fn of(plan: &PodPlan, facts: &HostFacts, settings: &[(Option<usize>, Setting)]) -> Self {
        let mut groups = Self { steps: Vec::new(), joined: vec![Vec::new(); plan.apps.len()] };
        // One group a tree, whichever of its controllers are used.
        let mut trees: BTreeMap<PathBuf, (bool, Vec<Controller>)> = BTreeMap::new();
        for (_, setting) in settings {
            if let Some(tree) = facts.controllers.hierarchies.get(&setting.controller) {
                let (_, used) = trees.entry(tree.root.clone()).or_insert((tree.unified, Vec::new()));
                if !used.contains(&setting.controller) {
                    used.push(setting.controller);
                }
            }
        }
        for (root, (unified, used)) in trees {
            let pod = root.join(format!("jetpack-{}", plan.uuid));
            let controllers: Vec<String> = used.iter().map(|controller| word(*controller).to_owned()).collect();
            if unified {
                groups.steps.push(Step::EnableControllers { path: root.clone(), controllers: controllers.clone() });
            }
            groups.steps.push(Step::MakeGroup { path: pod.clone() });
            if unified {
                groups.steps.push(Step::EnableControllers { path: pod.clone(), controllers });
            }
            if !unified && used.contains(&Controller::Memory) {
                // Before Linux 5.11 groups below are bounded only where this is said.
                groups.steps.push(Step::SetGroup {
                    path: pod.join("memory.use_hierarchy"),
                    value: "1".to_owned(),
                    optional: true,
                });
            }
            let mut members = vec![(pod.clone(), None)];
            // The kernel has files there, one of which is called as an app may be: `tasks`.
            let place = |app: &AppPlan| pod.join(format!("app-{}", app.name));
            members.extend(plan.apps.iter().enumerate().map(|(number, app)| (place(app), Some(number))));
            for (path, of) in members {
                if of.is_some() {
                    groups.steps.push(Step::MakeGroup { path: path.clone() });
                }
                let of_this = settings.iter().filter(|(app, one)| *app == of && used.contains(&one.controller));
                let set = |path: &Path, setting: &Setting| Step::SetGroup {
                    path: path.join(&setting.file),
                    value: setting.value.clone(),
                    optional: setting.file.contains("memsw") || setting.file == "memory.swap.max",
                };
                groups.steps.extend(of_this.clone().map(|(_, setting)| set(&path, setting)));
                if let Some(number) = of {
                    let inner = path.join(INNER);
                    groups.steps.push(Step::MakeGroup { path: inner.clone() });
                    let flat = of_this.filter(|(_, one)| !unified && one.controller == Controller::Io);
                    groups.steps.extend(flat.map(|(_, setting)| set(&inner, setting)));
                    groups.joined[number].push(inner);
                }
            }
        }
        groups
    }
}

fn word(controller: Controller) -> &'static str {
    match controller {
        Controller::Cpu => "cpu",
        Controller::Memory => "memory",
        Controller::Io => "io",
    }
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
        _ => None,
    });
    cut.filter(|cut| cut != isolation)
}
