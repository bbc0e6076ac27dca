//! What a host needs to run pods, and what to do about what is missing.

use std::io;
use std::path::Path;

use uuid::Uuid;

use super::datasets::SEALED;
use super::facts::{self, DeviceRules, RULES_MARK};
use super::host::{FreeBsd, patiently};
use super::steps::{CloneOf, Step};
use super::system::{Program, Ran, System, Value};
use crate::error::chain;
use crate::executor::Host as _;
use crate::executor::finding::Finding;
use crate::id::Id;

/// `ELFOSABI_LINUX`
const LINUX_BRAND: i64 = 3;

/// What lets the kernel take programs that do not say for which system they are for Linux's.
pub(super) const UNMARKED: &str = "run sysctl kern.elf64.fallback_brand=3, as service linux start does";

/// Lines that the main rule set of pf must have for pods' own rules to be looked at.
pub const ANCHORS: [&str; 3] = ["nat-anchor \"jetpack/*\"", "rdr-anchor \"jetpack/*\"", "anchor \"jetpack/*\""];

/// What gives programs terminals that they open by `/dev/ptmx`, as Linux's do.
pub(super) const LOAD_PTY: &str = "run kldload pty, as service linux start does";

/// Looks at everything. Changes nothing.
pub fn diagnose(system: &mut dyn System, root: bool, dataset: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |subject: &str, needed: bool, found: Result<String, String>, remedy: &str| {
        findings.push(Finding::new(subject, needed, found, remedy));
    };
    let told = |good: bool, yes: &str, no: &str| if good { Ok(yes.to_owned()) } else { Err(no.to_owned()) };
    let on = |value: io::Result<i64>| value.is_ok_and(|value| value != 0);

    add("privilege", true, told(root, "running as root", "not running as root"), "be root");
    let version = system.version();
    let (major, minor) = facts::release_of(&version);
    let known = (major, minor) >= (13, 2);
    add(
        "release",
        true,
        if known { Ok(version.clone()) } else { Err(format!("{version} is older than 13.2")) },
        "run freebsd-update upgrade -r 13.2-RELEASE or later",
    );
    let patched = patch_level(&version).is_none_or(|level| level > 0) || (major, minor) > (13, 2);
    add(
        "patch level",
        false,
        told(patched, &version, &format!("{version} has no patches: jails have had advisories since")),
        "run freebsd-update fetch install, then reboot",
    );
    add(
        "networks of jails' own",
        true,
        told(on(system.sysctl("kern.features.vimage")), "VIMAGE is in the kernel", "the kernel has no VIMAGE"),
        "use the GENERIC kernel, or add options VIMAGE to yours",
    );
    let zfs = system.has_module("zfs.ko", "zfs");
    add("ZFS", false, told(zfs, "loaded", "not loaded: pods get copies of images"), "run kldload zfs; make a pool");
    if zfs {
        let there = system.run(Program::Zfs, &["list", "-H", "-p", "-o", "name,mountpoint", dataset], "");
        let there = there.and_then(Ran::success);
        add(
            "datasets",
            false,
            there.map(|line| line.trim().replace('\t', " at ")).map_err(|error| error.to_string()),
            "make them",
        );
    }
    add(
        "resource limits",
        false,
        told(on(system.sysctl("kern.racct.enable")), "kern.racct.enable=1", "kern.racct.enable=0: limits are ignored"),
        "add kern.racct.enable=1 to /boot/loader.conf and reboot",
    );
    let linux = system.has_module("linux64.ko", "linux64elf");
    add(
        "Linux images",
        false,
        told(linux, "linux64 is loaded", "linux64 is not loaded"),
        "run kldload linux64, and sysrc linux_enable=YES for the next boot",
    );
    if linux {
        let brand = system.sysctl("kern.elf64.fallback_brand").is_ok_and(|brand| brand == LINUX_BRAND);
        add(
            "unmarked Linux programs",
            false,
            told(
                brand,
                "taken for Linux's",
                "not taken for Linux's: most that are linked statically, Go's and musl's, do not start",
            ),
            UNMARKED,
        );
        let pty = system.has_module("pty.ko", "pty");
        add(
            "terminals of Linux images",
            false,
            told(pty, "pty is loaded", "no /dev/ptmx: pty is not loaded"),
            LOAD_PTY,
        );
    }
    add(
        "forwarding",
        false,
        told(on(system.sysctl("net.inet.ip.forwarding")), "on", "off: pods reach the host only"),
        "run sysctl net.inet.ip.forwarding=1, and sysrc gateway_enable=YES for the next boot",
    );
    let pf = system.has_module("pf.ko", "pf");
    let filtering = match pf {
        false => Err("pf is not loaded".to_owned()),
        true => told(is_filtering(system), "loaded, and on", "pf is loaded, and off"),
    };
    add("packet filter", false, filtering, "run service pf onestart; sysrc pf_enable=YES");
    if pf {
        let missing = missing_anchors(system);
        let lines = missing.join("\n");
        add(
            "packet filter anchors",
            false,
            told(missing.is_empty(), "the main rules name jetpack/*", "the main rules do not name jetpack/*"),
            &format!("add to /etc/pf.conf, translation before filtering, and run service pf reload:\n{lines}"),
        );
    }
    let devices = system.run(Program::Devfs, &["rule", "showsets"], "").and_then(Ran::success);
    let hides = devices.as_ref().is_ok_and(|sets| sets.lines().any(|set| set.trim() == "4"));
    add(
        "devfs rules",
        true,
        told(hides, "the default rule sets are there", "the default rule sets are missing"),
        "run service devfs restart",
    );
    findings
}

/// Tries what pods are made of, once and thrown away: a directory, a clone, devices, a jail, rules of resources and of the packet filter,
/// as far as the host has them. Nothing of it is left, and what could not be taken back is a finding.
pub fn attempt<S: System>(mut system: S, root: &Path, dataset: &str) -> Vec<Finding> {
    let uuid = Uuid::new_v4();
    let directory = root.join(format!("try-{uuid}"));
    let inside = directory.join("jail");
    let on = |value: io::Result<i64>| value.is_ok_and(|value| value != 0);
    let vnet = on(system.sysctl("kern.features.vimage"));
    let number = super::facts::device_rules(&mut system);
    let owner = Some((Id::ROOT, Id::ROOT));
    let mut tries = vec![("directory", Step::MakeDirectory { path: directory.clone(), mode: 0o700, owner })];
    let image = format!("{dataset}/images/new-{}", uuid.simple());
    let sealed = system.has_module("zfs.ko", "zfs") && {
        // By the name that drafts have: should nobody be there to take it away, `gc` will.
        let made = system.run(Program::Zfs, &["create", "-o", "mountpoint=none", &image], "").and_then(Ran::success);
        let snapshot = format!("{image}@{SEALED}");
        made.and_then(|_| system.run(Program::Zfs, &["snapshot", &snapshot], "")?.success()).is_ok()
    };
    if sealed {
        let of = format!("{dataset}/pods/{uuid}");
        let one =
            CloneOf { snapshot: format!("{image}@{SEALED}"), dataset: of.clone(), mountpoint: directory.join("clone") };
        tries.push(("clone", Step::CloneRootfs { dataset: of, uuid: uuid.to_string(), clones: vec![one] }));
    }
    if let DeviceRules::Make(number) = number {
        tries.push(("devfs rule set", Step::MakeDeviceRules { number, mark: RULES_MARK.into() }));
    }
    tries.push(("jail's root", Step::MakeDirectory { path: inside.clone(), mode: 0o755, owner }));
    tries.push((
        "devices",
        Step::Mount {
            kind: "devfs".to_owned(),
            from: "devfs".to_owned(),
            root: inside.clone(),
            target: "/dev".into(),
            file: false,
            options: vec![("ruleset".to_owned(), number.number().to_string())],
            read_only: false,
        },
    ));
    let name = format!("jetpack-{uuid}");
    let text = |value: String| Value::Text(value);
    let mut parameters = vec![
        ("name".to_owned(), text(name.clone())),
        ("path".to_owned(), text(inside.to_string_lossy().into_owned())),
        ("persist".to_owned(), Value::Flag),
    ];
    parameters.extend(vnet.then(|| ("vnet".to_owned(), Value::New)));
    tries.push(("jail", Step::CreateJail { name: name.clone(), parameters }));
    if on(system.sysctl("kern.racct.enable")) {
        let rules = vec!["memoryuse:sigkill=1073741824".to_owned()];
        tries.push(("resource rule", Step::AddRules { subject: format!("jail:{name}"), rules }));
    }
    if system.has_module("pf.ko", "pf") {
        let rules = "rdr pass inet proto tcp from any to (self) port 1 -> 127.0.0.1 port 1\n".to_owned();
        tries.push(("packet filter anchor", Step::LoadAnchor { anchor: format!("jetpack/{uuid}"), rules }));
    }
    let mut host = FreeBsd::new(system);
    let mut findings = Vec::new();
    let mut done = Vec::new();
    for (subject, step) in tries {
        let tried = host.apply(&step);
        let failed = tried.is_err();
        let found = tried.map(|()| "worked".to_owned()).map_err(|error| chain(&error));
        findings.push(Finding::new(&format!("try a {subject}"), true, found, "mend what is told, then try again"));
        done.push(step);
        if failed {
            break;
        }
    }
    for step in done.iter().rev() {
        if let Err(error) = host.undo(step) {
            findings.push(Finding::new("try to undo", true, Err(chain(&error)), "take it away by hand"));
        }
    }
    if sealed && let Err(error) = host.system.run(Program::Zfs, &["destroy", "-r", &image], "").and_then(Ran::success) {
        findings.push(Finding::new(
            "try to undo",
            false,
            Err(error.to_string()),
            &format!("run zfs destroy -r {image}"),
        ));
    }
    findings
}

/// Whether the packet filter is on, where it is loaded.
pub(super) fn is_filtering(system: &mut dyn System) -> bool {
    let status = system.run(Program::Pfctl, &["-s", "info"], "");
    status.is_ok_and(|ran| ran.code == 0 && ran.output.contains("Status: Enabled"))
}

/// Lines of [`ANCHORS`] that the main rules lack.
pub(super) fn missing_anchors(system: &mut dyn System) -> Vec<&'static str> {
    let mut shown = String::new();
    for what in ["nat", "rules"] {
        if let Ok(text) = patiently(|| system.run(Program::Pfctl, &["-s", what], "")?.success()) {
            shown.push_str(&text);
        }
    }
    // pfctl adds ` all` to anchors as it shows them.
    let named = |line: &&str| !shown.lines().any(|shown| shown.trim().starts_with(*line));
    ANCHORS.iter().copied().filter(named).collect()
}

/// The patch level of a release; nothing for development branches.
fn patch_level(version: &str) -> Option<u32> {
    let (_, rest) = version.split_once("-RELEASE")?;
    Some(rest.strip_prefix("-p").and_then(|level| level.parse().ok()).unwrap_or(0))
}
