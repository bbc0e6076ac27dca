//! What a Linux host needs to run pods, and what to do about what is missing.

use std::fs;
use std::path::Path;

use super::carrier;
use super::cni::{DEFAULT, Networks};
use super::delegation::Home;
use super::facts::{carries_overlays, overlays, user_namespaces_forbidden};
use super::isolators::cgroup::{Controller, Controllers};
use crate::executor::finding::Finding;
use crate::executor::plan::Cni;
use crate::sys::linux::subordinate::IdMap;

/// The oldest kernel that has all that pods are made with: mounts by descriptor, and attributes of mounts.
const OLDEST: (u32, u32) = (5, 12);

/// Namespaces that every pod has, and what configures a kernel with them.
const NAMESPACES: [(&str, &str); 5] =
    [("mnt", "CONFIG_NAMESPACES"), ("pid", "PID_NS"), ("net", "NET_NS"), ("ipc", "IPC_NS"), ("uts", "UTS_NS")];

/// Looks at everything: networks as `cni` says, pods kept below `root`. Changes nothing.
pub fn diagnose(cni: &Cni, root: &Path) -> Vec<Finding> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    let mut findings = vec![kernel(read("/proc/sys/kernel/osrelease").trim()), privilege(uid), namespaces()];
    if uid != 0 {
        findings.push(Finding::new(
            "user namespaces",
            true,
            user_namespaces_forbidden(&read).map_or_else(|| Ok("anyone may make them".to_owned()), Err),
            "set that to another value by sysctl, or give jetpack an AppArmor profile with `userns,`; else run it as root",
        ));
        let mapped = IdMap::granted(uid, gid).map(|map| {
            let count = |ranges: &[(u32, u32, u32)]| ranges.iter().map(|(.., count)| u64::from(*count)).sum::<u64>();
            format!("{} users and {} groups", count(&map.users), count(&map.groups))
        });
        findings.push(Finding::new(
            "subordinate ids",
            false,
            mapped.map_err(|why| format!("{why}: apps run as one user and one group")),
            "install newuidmap and newgidmap (package uidmap or shadow-utils), and run usermod --add-subuids 100000-165535 \
             --add-subgids 100000-165535 USER as root",
        ));
    }
    findings.push(groups(&Controllers::detect(uid == 0)));
    findings.push(overlay(&read, root));
    let filters = read("/proc/self/status").lines().any(|line| line.starts_with("Seccomp:"));
    findings.push(Finding::new(
        "system call filters",
        false,
        told(filters, "seccomp is in the kernel", "the kernel has no seccomp: no app's system calls are filtered"),
        "use a kernel with CONFIG_SECCOMP_FILTER",
    ));
    findings.push(Finding::new("security module", false, Ok(module(&read)), ""));
    findings.push(networks(cni, uid));
    findings
}

fn told(good: bool, yes: &str, no: &str) -> Result<String, String> {
    if good { Ok(yes.to_owned()) } else { Err(no.to_owned()) }
}

fn kernel(release: &str) -> Finding {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    let version: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let old = format!("{release} is older than {}.{}", OLDEST.0, OLDEST.1);
    Finding::new("kernel", true, told(version >= OLDEST, release, &old), "use a newer kernel")
}

fn privilege(uid: u32) -> Finding {
    let no = format!(
        "running as user {uid}: limits hold where control groups are delegated, and of networks there are none, host and default"
    );
    Finding::new("privilege", false, told(uid == 0, "running as root", &no), "be root where pods need more")
}

fn namespaces() -> Finding {
    let missing: Vec<&str> = NAMESPACES
        .iter()
        .filter(|(name, _)| !fs::exists(format!("/proc/self/ns/{name}")).unwrap_or(false))
        .map(|(_, option)| *option)
        .collect();
    let no = format!("the kernel lacks {}, or /proc is not mounted", missing.join(", "));
    Finding::new(
        "namespaces",
        true,
        told(missing.is_empty(), "mount, pid, net, ipc and uts namespaces", &no),
        "mount -t proc proc /proc, or use a kernel with these options",
    )
}

fn groups(controllers: &Controllers) -> Finding {
    let (mut there, mut missing) = (Vec::new(), Vec::new());
    for controller in Controller::ALL {
        let name = controller.word();
        match controllers.hierarchies.get(&controller) {
            Some(found) => there.push(format!("{name} (version {})", if found.unified { 2 } else { 1 })),
            None => missing.push(match controllers.withheld.get(&controller) {
                Some(why) => format!("{name} ({why})"),
                None => name.to_owned(),
            }),
        }
    }
    match &controllers.home {
        Some(Home::Systemd(manager)) => there.push(format!("scopes of systemd in {}", manager.slice)),
        Some(Home::Own(own)) => there.push(format!("in {}", own.display())),
        Some(Home::Group(_)) | None => {
            there.extend(controllers.beside.as_ref().map(|why| format!("beside systemd's: {why}")))
        }
    }
    let found = match (there.is_empty(), missing.is_empty()) {
        (_, true) => Ok(there.join(", ")),
        (true, _) if controllers.withheld.is_empty() => {
            Err("no control group controller: no resource is limited".to_owned())
        }
        (true, _) => Err(format!("no resource is limited: {}", missing.join(", "))),
        _ => Err(format!("{}; not {}: that is not limited", there.join(", "), missing.join(", "))),
    };
    let remedy = "mount -t cgroup2 none /sys/fs/cgroup, and let the group that pods are run in have the controllers \
                  (systemd: Delegate=yes); cgroup_disable= on the kernel's command line takes them away";
    Finding::new("control groups", false, found, remedy)
}

fn overlay(read: &dyn Fn(&str) -> String, root: &Path) -> Finding {
    let found = match overlays(&read("/proc/filesystems")) {
        false => Err("the kernel has no overlay file system: every pod gets a copy of its images".to_owned()),
        true if !carries_overlays(root) => Err(format!(
            "{} is on a file system that carries none: every pod gets a copy of its images",
            root.display()
        )),
        true => Ok(format!("the file system of {} carries it", root.display())),
    };
    Finding::new(
        "overlay",
        false,
        found,
        "run modprobe overlay as root, or keep pods on ext4, xfs, btrfs or tmpfs: --root DIR",
    )
}

fn module(read: &dyn Fn(&str) -> String) -> String {
    let apparmor = read("/sys/module/apparmor/parameters/enabled").starts_with('Y');
    let selinux = fs::exists("/sys/fs/selinux/status").unwrap_or(false);
    let named: Vec<&str> =
        [("AppArmor", apparmor), ("SELinux", selinux)].iter().filter_map(|(name, on)| on.then_some(*name)).collect();
    match named.is_empty() {
        true => {
            "neither AppArmor nor SELinux is on; pods that name a profile or a context are refused or told".to_owned()
        }
        false => format!("{} is on", named.join(", ")),
    }
}

fn networks(cni: &Cni, uid: u32) -> Finding {
    if uid != 0 {
        let block = cni.bridge.v4;
        let found = carrier::find(cni.rootless).and_then(|found| carrier::fits(block).map(|()| found));
        let told = found.map(|(program, _)| format!("default, {} by {}", carrier::address(block), program.name()));
        let told = told.map_err(|why| format!("none and host alone: {why}"));
        let remedy = "install passt or slirp4netns, and let everybody open /dev/net/tun";
        return Finding::new("networks", false, told, remedy);
    }
    let found = Networks::detect(cni);
    let names: Vec<&str> = found.described.keys().map(String::as_str).collect();
    let kinds = found.described.values().flat_map(|network| &network.plugins);
    let mut missing: Vec<&str> =
        kinds.filter_map(|plugin| plugin.get("type")?.as_str()).filter(|kind| !found.has(kind)).collect();
    missing.sort_unstable();
    missing.dedup();
    let told = match (names.is_empty(), missing.is_empty()) {
        (_, false) => Err(format!("of {} the plugins {} are not there", names.join(", "), missing.join(", "))),
        _ if names.contains(&DEFAULT) => Ok(names.join(", ")),
        _ => found.get(DEFAULT).map_err(|why| format!("default: {why}")).map(|_| {
            let (address, prefix) = cni.bridge.v4;
            let own = format!("default, the bridge {} with {address}/{prefix}, by --net default", cni.bridge.name);
            names.iter().copied().chain([&*own]).collect::<Vec<_>>().join(", ")
        }),
    };
    let plugins: Vec<String> = cni.plugins.iter().map(|path| path.display().to_string()).collect();
    let remedy = format!(
        "install the CNI plugins (package containernetworking-plugins) in {}, or put a network named default into {}",
        plugins.join(" or "),
        cni.configurations.display()
    );
    Finding::new("networks", false, told, &remedy)
}

#[cfg(test)]
mod tests {
    use super::super::isolators::cgroup::Hierarchy;
    use super::*;

    #[test]
    fn what_is_missing_comes_with_what_to_do() {
        assert!(kernel("6.1.0-18-amd64").good && kernel("5.12.1").good);
        let old = kernel("4.19.0");
        assert!(!old.good && old.needed && old.remedy.is_some());
        assert!(!groups(&Controllers::default()).good);
        let hierarchy = |unified| Hierarchy { root: "/sys/fs/cgroup".into(), unified };
        let hierarchies = [(Controller::Cpu, hierarchy(true)), (Controller::Memory, hierarchy(false))];
        let mut all = Controllers { hierarchies: hierarchies.into(), ..Controllers::default() };
        let some = groups(&all);
        assert_eq!(
            (some.good, &*some.found),
            (false, "cpu (version 2), memory (version 1); not io, pids: that is not limited")
        );
        all.hierarchies.insert(Controller::Io, hierarchy(true));
        all.hierarchies.insert(Controller::Pids, hierarchy(true));
        assert!(groups(&all).good);
        let nowhere = Cni {
            configurations: "/nonexistent/net.d".into(),
            plugins: vec!["/nonexistent/bin".into()],
            ..Cni::default()
        };
        let none = networks(&nowhere, 0);
        assert!(!none.good && !none.needed && none.remedy.is_some_and(|how| how.contains("/nonexistent/bin")));
    }
}
