//! Where control groups of version 2 may be made: the kernel lets one manager have a group, and what is not delegated is another's.
//!
//! ```text
//! a group of the caller's own     <own>/jetpack-<pod>.supervisor                       the caller, who may not stay in <own> itself
//!                                 <own>/jetpack-<pod>/app-<app>/processes
//! a scope of systemd's            <slice>/jetpack-<pod>.scope/first                    the pod's first process
//!                                 <slice>/jetpack-<pod>.scope/app-<app>/processes
//! the root, where root is root    <mount>/jetpack-<pod>/app-<app>/processes
//! ```

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::systemd::Manager;

/// Where the groups of pods are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Home {
    /// In this directory.
    Group(PathBuf),
    /// In this directory, once the caller has left it: a group with processes has no controllers for others.
    Own(PathBuf),
    /// By systemd.
    Systemd(Manager),
}

impl Home {
    /// Whose controllers can be used.
    pub(crate) fn group(&self) -> &Path {
        match self {
            Self::Group(path) | Self::Own(path) => path,
            Self::Systemd(manager) => &manager.group,
        }
    }
}

/// A tree of version 2 as this process sees it.
pub(crate) struct Tree<'a> {
    /// Where it is mounted.
    pub mount: &'a Path,
    /// Whether nothing can be written there.
    pub read_only: bool,
    /// `/proc/self/cgroup`
    pub own: &'a str,
    /// Whether the caller is privileged.
    pub privileged: bool,
}

impl Tree<'_> {
    /// Where groups are made, and why not where it would be better.
    ///
    /// # Errors
    /// Why they cannot be made at all.
    pub(crate) fn home(
        &self,
        systemd: impl FnOnce() -> Result<Manager, String>,
    ) -> Result<(Home, Option<String>), String> {
        if self.read_only {
            return Err(format!("{} is mounted read-only", self.mount.display()));
        }
        let named = self.own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
        // What begins above the root of the view is out of reach.
        let own = Some(named.trim_start_matches('/')).filter(|name| !name.starts_with("..") && !name.is_empty());
        let own = own.map(|name| self.mount.join(name)).filter(|own| own.is_dir());
        if let Some(own) = own.filter(|own| self.delegated(own) && alone(own)) {
            return Ok((Home::Own(own), None));
        }
        let why = match systemd() {
            Ok(manager) => return Ok((Home::Systemd(manager), None)),
            Err(why) => why,
        };
        if !self.privileged {
            return Err(format!("no control group is delegated to this user, and {why}"));
        }
        let here = self.mount.to_owned();
        // The root of all groups alone has no events.
        let is_root = !fs::exists(here.join("cgroup.events")).unwrap_or(false);
        if is_root || processes(&here).is_empty() {
            let beside = fs::exists("/run/systemd/system").unwrap_or(false).then_some(why);
            return Ok((Home::Group(here), beside));
        }
        if alone(&here) {
            return Ok((Home::Own(here), None));
        }
        Err(format!(
            "in {}, the root of a container, there are other processes, below which nothing can be bounded",
            here.display()
        ))
    }

    /// Whether the group is the caller's to divide.
    fn delegated(&self, group: &Path) -> bool {
        let uid = rustix::process::geteuid().as_raw();
        let own = fs::metadata(group.join("cgroup.subtree_control")).is_ok_and(|about| about.uid() == uid);
        let marked = || {
            let mut value = [0_u8; 1];
            ["trusted.delegate", "user.delegate"].iter().any(|name| {
                rustix::fs::getxattr(group, *name, &mut value[..]).is_ok_and(|length| length == 1) && value[0] == b'1'
            })
        };
        // Everything is root's: systemd marks what it delegates.
        own && (!self.privileged || marked())
    }
}

fn processes(group: &Path) -> Vec<u32> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Whether the caller is the only process in the group.
fn alone(group: &Path) -> bool {
    processes(group) == [std::process::id()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(at: &Path, processes: &str) {
        fs::create_dir_all(at).unwrap();
        for (name, text) in [("cgroup.procs", processes), ("cgroup.subtree_control", ""), ("cgroup.events", "")] {
            fs::write(at.join(name), text).unwrap();
        }
    }

    fn nobody() -> Result<Manager, String> {
        Err("systemd does not run here".to_owned())
    }

    #[test]
    fn a_user_has_the_group_that_is_delegated_or_the_reason_why_there_is_none() {
        let there = tempfile::tempdir().unwrap();
        let mount = there.path();
        let me = format!("{}\n", std::process::id());
        group(&mount.join("user/mine"), &me);
        group(&mount.join("user/shared"), &format!("1\n{me}"));
        let tree = |own, read_only| Tree { mount, read_only, own, privileged: false };
        let found = tree("1:cpu:/x\n0::/user/mine\n", false).home(nobody);
        assert_eq!(found, Ok((Home::Own(mount.join("user/mine")), None)));
        for own in ["0::/user/shared\n", "0::/../elsewhere\n", "0::/gone\n", "", "0::/\n"] {
            let why = tree(own, false).home(nobody).unwrap_err();
            assert!(why.contains("no control group is delegated") && why.contains("systemd does not run"), "{why}");
        }
        let why = tree("0::/user/mine\n", true).home(nobody).unwrap_err();
        assert!(why.ends_with("is mounted read-only"), "{why}");
        let manager = Manager { bus: "/bus".into(), slice: "app.slice".into(), group: mount.join("user") };
        let found = tree("0::/user/shared\n", false).home(|| Ok(manager.clone()));
        assert_eq!(found, Ok((Home::Systemd(manager), None)));
    }

    #[test]
    fn root_has_the_root_of_all_groups_and_that_of_a_container_when_it_is_alone_there() {
        let there = tempfile::tempdir().unwrap();
        let mount = there.path();
        let tree = Tree { mount, read_only: false, own: "0::/\n", privileged: true };
        fs::write(mount.join("cgroup.procs"), "1\n2\n").unwrap();
        assert_eq!(tree.home(nobody).unwrap().0, Home::Group(mount.to_owned()));
        group(mount, "1\n2\n");
        assert!(tree.home(nobody).unwrap_err().contains("other processes"));
        group(mount, &std::process::id().to_string());
        assert_eq!(tree.home(nobody).unwrap().0, Home::Own(mount.to_owned()));
        group(mount, "");
        assert_eq!(tree.home(nobody).unwrap().0, Home::Group(mount.to_owned()));
    }
}
