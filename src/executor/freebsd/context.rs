//! What each process of an app is before it becomes its program.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::steps::Step;
use crate::executor::plan::{Isolation, PodPlan};
use crate::executor::{Error, Kind};
use crate::id::Id;

/// The context of an app's processes: all of them, handlers too (decision 42).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// The jail's name.
    pub jail: String,
    /// The login class, which the app's resource rules are about.
    pub(crate) login_class: String,
    /// The app's root, inside the jail.
    pub root: PathBuf,
    /// Where it starts, inside its root.
    pub working_directory: PathBuf,
    /// As the manifest has it; decided inside the rootfs (decision 40).
    pub user: String,
    /// As the manifest has it.
    pub group: String,
    /// Further groups.
    pub supplementary_gids: Vec<Id>,
    /// The environment without what only a running pod knows.
    pub environment: Vec<(String, String)>,
    /// Whether it shall gain no privileges.
    pub no_new_privileges: bool,
}

impl Context {
    /// The context of the processes of app number `app`.
    pub(super) fn of(plan: &PodPlan, app: usize, release: (u32, u32)) -> Self {
        let of = &plan.apps[app];
        let forbids = |isolator: &Isolation| matches!(isolator, Isolation::NoNewPrivileges { value: true });
        Self {
            jail: super::jail::name(plan),
            login_class: super::resources::login_class(plan, app),
            root: PathBuf::from("/").join(&of.name).join("rootfs"),
            working_directory: of.working_directory.clone(),
            user: of.user.clone(),
            group: of.group.clone(),
            supplementary_gids: of.supplementary_gids.clone(),
            environment: of.environment.clone(),
            no_new_privileges: release.0 >= 14 && of.isolators.iter().any(forbids),
        }
    }

    /// That of app number `app` among the steps of a pod.
    pub(crate) fn among(steps: &[Step], app: usize) -> Result<&Self, Error> {
        let of = |step| match step {
            &Step::Process { app: of, ref context } if of == app => Some(context),
            _ => None,
        };
        steps.iter().find_map(of).ok_or_else(|| {
            let why = "the pod was started by an earlier jetpack, whose journal does not say so: it can be stopped and \
                       removed, and be entered when it is started anew";
            Error::new(Kind::Unsupported, "find what the app's processes are").because(why)
        })
    }
}
