//! What each process of an app is before it becomes its program.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::facts::HostFacts;
use crate::executor::plan::{Isolation, PodPlan};
use crate::executor::users::Identity;
use crate::id::Id;

/// The context of an app's processes: all of them, handlers too (decision 42).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// The jail's name.
    pub jail: String,
    /// The login class, which the app's resource rules are about.
    pub login_class: String,
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
    pub fn of(plan: &PodPlan, app: usize, release: (u32, u32)) -> Self {
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

    /// The plan's variables, what the rootfs says about the user where the plan is silent, and the service's URL.
    pub fn whole_environment(&self, user: &Identity, metadata_url: Option<&str>) -> BTreeMap<String, String> {
        let mut environment: BTreeMap<String, String> = self.environment.iter().cloned().collect();
        if let Some(name) = &user.name {
            let known = [
                ("USER", Some(name)),
                ("LOGNAME", Some(name)),
                ("HOME", user.home.as_ref()),
                ("SHELL", user.shell.as_ref()),
            ];
            for (variable, value) in known {
                if let Some(value) = value {
                    environment.entry(variable.to_owned()).or_insert_with(|| value.clone());
                }
            }
        }
        if let Some(url) = metadata_url {
            environment.insert("AC_METADATA_URL".to_owned(), url.to_owned());
        }
        environment
    }

    /// All contexts of a pod.
    pub fn all(plan: &PodPlan, facts: &HostFacts) -> Vec<Self> {
        (0..plan.apps.len()).map(|app| Self::of(plan, app, facts.release)).collect()
    }
}
