//! What this host has: found out once, so that `compile` need not touch anything.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::thread::CapabilitySet;
use serde::Serialize;

use super::carrier::{self, Program};
use super::cni::Networks;
use super::isolators::cgroup::{Controller, Controllers};
use super::steps::IdMap;
use crate::executor::plan::{Network, PodPlan, VolumeKind, VolumePlan};

/// What `compile` has to know about a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HostFacts {
    /// Whether namespaces can be made without a user namespace.
    pub privileged: bool,
    /// Why user namespaces cannot be made, where they cannot.
    pub(crate) no_user_namespaces: Option<String>,
    /// How ids map in a user namespace of the caller's.
    pub ids: IdMap,
    /// Why these are no more than one user and one group, where they are not.
    pub(crate) no_subordinate_ids: Option<String>,
    /// The caller's own further groups.
    pub groups: Vec<u32>,
    /// Whether overlays can be mounted and the pod's directory can be the writable part of one.
    pub overlay: bool,
    /// The caller's own bounding set: what is outside it cannot be given to an app.
    pub capabilities: u64,
    /// Whether scores below the caller's own can be set.
    pub(crate) lower_oom_score: bool,
    /// The caller's own score.
    pub oom_score: i32,
    /// What resources can be bounded with.
    #[serde(skip)]
    pub controllers: Controllers,
    /// What pods can be connected to.
    #[serde(skip)]
    pub networks: Networks,
    /// What connects pods to the network `default` without root, or why nothing does.
    #[serde(skip)]
    pub carrier: Result<(Program, PathBuf), String>,
    /// The first port that everybody may listen on.
    pub(crate) first_port: u16,
    /// What the host says about name servers, for pods with a network whose image says nothing.
    pub(crate) resolv_conf: Option<String>,
    /// Whether system calls can be filtered.
    pub seccomp: bool,
    /// Whether AppArmor is on.
    pub apparmor: bool,
    /// The AppArmor profiles that are loaded, where that can be read.
    pub apparmor_profiles: Option<Vec<String>>,
    /// Whether SELinux is on.
    pub selinux: bool,
    /// Whether there are cgroup namespaces.
    pub(crate) group_namespaces: bool,
    /// Sources of volumes that are devices.
    pub devices: Vec<PathBuf>,
    /// The os label of images that run here.
    pub os: &'static str,
    /// The arch label of images that run here.
    pub arch: &'static str,
}

impl HostFacts {
    /// This host, as this process sees it; what `plan` does not ask for is not looked at.
    pub fn detect(plan: &PodPlan) -> Self {
        let mut isolators = plan.isolators.iter().chain(plan.apps.iter().flat_map(|app| &app.isolators));
        let limited = isolators.any(|isolation| Controller::of(isolation).is_some());
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let effective = rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
        let uid = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        let status = read("/proc/self/status");
        let needed = CapabilitySet::SYS_ADMIN | CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::SETPCAP;
        let privileged = uid == 0 && effective.contains(needed);
        // Who is privileged makes no user namespace, and need not know how it would be.
        let carried = !privileged && matches!(plan.network, Network::Named(_));
        let block = plan.cni.bridge.v4;
        let carrier = match carried {
            true => carrier::find(plan.cni.rootless).and_then(|found| carrier::fits(block).map(|()| found)),
            false => Err("no pod asks for it".to_owned()),
        };
        let mapped = if privileged { Err(String::new()) } else { IdMap::granted(uid, gid) };
        Self {
            privileged,
            no_user_namespaces: if privileged { None } else { user_namespaces_forbidden(&read) },
            no_subordinate_ids: mapped.as_ref().err().filter(|_| !privileged).cloned(),
            ids: mapped.unwrap_or_else(|_| IdMap::one(uid, gid)),
            groups: further_groups(gid),
            overlay: overlays(&read("/proc/filesystems")) && carries_overlays(&plan.directory),
            capabilities: bounding(&status),
            lower_oom_score: effective.contains(CapabilitySet::SYS_RESOURCE),
            oom_score: read("/proc/self/oom_score_adj").trim().parse().unwrap_or(0),
            controllers: if limited { Controllers::detect(privileged) } else { Controllers::default() },
            networks: match plan.network {
                Network::Named(_) if privileged => Networks::detect(&plan.cni),
                _ => Networks::default(),
            },
            resolv_conf: match plan.network {
                Network::None => None,
                Network::Named(_) if carried => {
                    carrier.is_ok().then(|| carrier::resolv_conf(block, &read("/etc/resolv.conf")))
                }
                Network::Named(_) | Network::Host => name_servers(&read, plan.network == Network::Host),
            },
            carrier,
            first_port: read("/proc/sys/net/ipv4/ip_unprivileged_port_start").trim().parse().unwrap_or(1024),
            seccomp: status.lines().any(|line| line.starts_with("Seccomp:")),
            apparmor: read("/sys/module/apparmor/parameters/enabled").starts_with('Y'),
            apparmor_profiles: fs::read_to_string("/sys/kernel/security/apparmor/profiles")
                .ok()
                .map(|text| profiles(&text)),
            group_namespaces: fs::exists("/proc/self/ns/cgroup").unwrap_or(false),
            selinux: fs::exists("/sys/fs/selinux/status").unwrap_or(false),
            devices: plan.volumes.iter().filter_map(device).collect(),
            os: std::env::consts::OS,
            arch: arch(),
        }
    }
}

/// What `/etc/resolv.conf` says, or in its place what the resolver that it leads to was told, where a pod cannot reach that:
/// it answers at a loopback address, which every pod with a network of its own has for itself.
fn name_servers(read: &dyn Fn(&str) -> String, loopback: bool) -> Option<String> {
    let reachable = |text: &String| {
        let mut servers = text.lines().filter_map(|line| line.strip_prefix("nameserver")).map(str::trim);
        servers.any(|server| loopback || !(server.starts_with("127.") || server == "::1"))
    };
    ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"].into_iter().map(read).find(reachable)
}

/// The source of a volume that is a device.
fn device(volume: &VolumePlan) -> Option<PathBuf> {
    let VolumeKind::Host { source, follow_links, .. } = &volume.kind else { return None };
    let about = if *follow_links { fs::metadata(source) } else { fs::symlink_metadata(source) };
    let kind = about.ok()?.file_type();
    (kind.is_char_device() || kind.is_block_device()).then(|| source.clone())
}

/// The caller's groups beside its primary one.
fn further_groups(gid: u32) -> Vec<u32> {
    let groups = rustix::process::getgroups().unwrap_or_default();
    groups.into_iter().map(|group| group.as_raw()).filter(|group| *group != gid).collect()
}

/// Whether the kernel knows overlays, be it that it loads a module for whoever may ask.
pub(super) fn overlays(known: &str) -> bool {
    let listed = known.lines().any(|line| line.split('\t').nth(1) == Some("overlay"));
    listed || rustix::mount::fsopen("overlay", rustix::mount::FsOpenFlags::FSOPEN_CLOEXEC).is_ok()
}

/// File systems that no overlay can write to: those that are overlays themselves (the root of most containers), that
/// others can change from afar, or that know no attributes.
const NO_UPPER: [(&str, u32); 9] = [
    ("overlay", 0x794c_7630),
    ("fuse", 0x6573_5546),
    ("nfs", 0x6969),
    ("9p", 0x0102_1997),
    ("smb2", 0xfe53_4d42),
    ("cifs", 0xff53_4d42),
    ("ceph", 0x00c3_6400),
    ("fat", 0x4d44),
    ("exfat", 0x2011_bab0),
];

/// Whether what is written to an overlay can be kept in `directory`, which need not be there yet.
pub(super) fn carries_overlays(directory: &Path) -> bool {
    let found = directory.ancestors().find_map(|there| rustix::fs::statfs(there).ok());
    found.is_none_or(|found| NO_UPPER.iter().all(|(_, kind)| u64::from(*kind) != found.f_type as u64 & 0xffff_ffff))
}

/// The names in the list of loaded profiles: `NAME (MODE)`, a line each.
fn profiles(text: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.rsplit_once(" (")).map(|(name, _)| name.to_owned()).collect()
}

/// The specification's name of this machine's architecture.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "i386",
        other => other,
    }
}

fn bounding(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(u64::MAX)
}

/// What can be read of it; whether one can really be made shows when it is made.
pub(super) fn user_namespaces_forbidden(read: &dyn Fn(&str) -> String) -> Option<String> {
    let value = |path: &str| read(path).trim().parse::<u64>().ok();
    let switches = [
        ("/proc/sys/user/max_user_namespaces", 0),
        ("/proc/sys/kernel/unprivileged_userns_clone", 0),
        ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", 1),
    ];
    if !fs::exists("/proc/self/ns/user").unwrap_or(false) {
        return Some("the kernel has none".to_owned());
    }
    let (path, forbidden) = switches.into_iter().find(|(path, forbidden)| value(path) == Some(*forbidden))?;
    Some(format!("{path} is {forbidden}"))
}
