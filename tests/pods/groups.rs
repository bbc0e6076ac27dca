//! Control groups of version 2, on whatever hierarchy of them the host has, with or without controllers.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use appc::executor::Host;
use appc::executor::linux::LinuxHost;
use appc::executor::linux::steps::Step;
use appc_needs::{Need, skip};

/// Where version 2 is mounted and can be written.
fn unified() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 "));
    let found = line.and_then(|line| line.split(' ').nth(4)).map(PathBuf::from);
    match found {
        Some(root) if rustix::process::geteuid().is_root() && root.join("cgroup.procs").exists() => Some(root),
        _ => {
            skip(Need::UnifiedGroups, "no control groups of version 2 that can be written");
            None
        }
    }
}

fn sleeper(group: &Path) -> Child {
    let child = Command::new("sleep").arg("1000").spawn().unwrap();
    std::fs::write(group.join("cgroup.procs"), child.id().to_string()).unwrap();
    child
}

#[test]
fn groups_are_made_and_taken_away_with_what_still_runs_in_them() {
    let Some(root) = unified() else { return };
    let pod = root.join(format!("jetpack-test-{}", std::process::id()));
    let app = pod.join("app");
    let steps = [Step::MakeGroup { path: pod.clone() }, Step::MakeGroup { path: app.clone() }];
    let mut host = LinuxHost::default();
    for step in steps.iter().chain(&steps) {
        host.apply(step).unwrap();
    }
    let mut child = sleeper(&app);
    let reaper = std::thread::spawn(move || child.wait().unwrap());
    for step in steps.iter().rev().chain(&steps) {
        host.undo(step).unwrap();
    }
    assert!(!pod.exists());
    assert!(!reaper.join().unwrap().success());
}

#[test]
fn a_controller_that_is_not_there_is_told() {
    let Some(root) = unified() else { return };
    let path = root.join(format!("jetpack-none-{}", std::process::id()));
    let mut host = LinuxHost::default();
    host.apply(&Step::MakeGroup { path: path.clone() }).unwrap();
    let enable = Step::EnableControllers { path: path.clone(), controllers: vec!["nothing".to_owned()] };
    let told = host.apply(&enable).unwrap_err().to_string();
    let limit = Step::SetGroup { path: path.join("nothing.max"), value: "1".to_owned(), optional: false };
    let unset = host.apply(&limit).unwrap_err().to_string();
    let swap = Step::SetGroup { path: path.join("nothing.max"), value: "1".to_owned(), optional: true };
    let passed = host.apply(&swap);
    host.undo(&Step::MakeGroup { path: path.clone() }).unwrap();
    assert!(told.contains("enable controllers"), "{told}");
    assert!(unset.contains("nothing.max"), "{unset}");
    passed.unwrap();
    assert!(!path.exists());
}
