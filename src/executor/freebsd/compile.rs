//! From a plan to steps. Pure: the same plan and the same facts give the same steps.

use std::path::{Path, PathBuf};

use super::context::Context;
use super::facts::{DeviceRules, HostFacts, NetworkFacts, RULES_MARK};
use super::jail;
use super::resources::{self, hold};
use super::steps::{CloneOf, Place, Step};
use super::system::Setting;
use crate::executor::isolation::{Outcome, Report};
use crate::executor::listening::{Listen, exposed};
use crate::executor::plan::{AppPlan, Metadata, MountPlan, Network, PodPlan, PortForward, VolumeKind};
use crate::executor::{Compiled, Error, Kind, decided};
use crate::id::Id;
use crate::pod::Part;

/// What the steps shall be, in the order of their application, and what holds then.
///
/// # Errors
/// [`Kind::Refused`] where the plan cannot hold, [`Kind::Unsupported`] where the host lacks what it needs.
pub fn compile(plan: &PodPlan, facts: &HostFacts) -> Result<Compiled<Step>, Error> {
    let mut report = Report::at(plan.level);
    decided::tell(plan, &mut report);
    if !facts.privileged {
        return Err(Error::new(Kind::Unsupported, format!("run pod {}", plan.uuid))
            .because("FreeBSD lets only root make jails and mounts: pods are run as root"));
    }
    let linux = looks_at_images(plan, facts)?;
    let mut steps = Vec::new();
    let root = Part::Root.of(&plan.directory);
    let rootfs = |app: &AppPlan| root.join(&app.name).join("rootfs");

    steps.push(Step::MakeDirectory { path: root.clone(), mode: 0o755, owner: Some((Id::ROOT, Id::ROOT)) });
    root_file_systems(plan, facts, &root, &mut steps, &mut report)?;
    volumes(plan, &mut steps, &mut report);
    if let DeviceRules::Make(number) = facts.device_rules {
        steps.push(Step::MakeDeviceRules { number, mark: PathBuf::from(RULES_MARK) });
    }
    for app in &plan.apps {
        let root = rootfs(app);
        let mut mounted = Vec::new();
        mounts(plan, app, facts, &root, &mut mounted)?;
        let above = root.parent().unwrap_or(&root).to_owned();
        match snapshot(plan, app, facts) {
            // A dataset is made read-only beneath its mounts.
            Some(_) => {
                files(plan, app, facts, &root, &mut steps);
                steps.append(&mut mounted);
                if app.read_only_rootfs {
                    steps.push(Step::FreezeRootfs { on: above });
                }
            }
            None if app.read_only_rootfs => {
                // A copy is shown read-only where the rootfs is to be. That is no place for mounts to be made in any more.
                let copy = copy_of(plan, app).join("rootfs");
                files(plan, app, facts, &copy, &mut steps);
                steps.push(Step::MakePlaces { root: copy.clone(), places: places(&mounted) });
                steps.push(Step::Mount {
                    kind: "nullfs".to_owned(),
                    from: copy.to_string_lossy().into_owned(),
                    root: above,
                    target: PathBuf::from("/rootfs"),
                    file: false,
                    options: Vec::new(),
                    read_only: true,
                });
                steps.append(&mut mounted);
            }
            None => {
                files(plan, app, facts, &root, &mut steps);
                steps.append(&mut mounted);
            }
        }
        if app.os.as_deref() == Some("linux") {
            told_of_linux(app, facts, &mut report);
        }
    }

    let pod = hold(plan, None, &plan.isolators, facts, &mut report);
    let apps: Vec<_> =
        plan.apps.iter().map(|app| hold(plan, Some(&app.name), &app.isolators, facts, &mut report)).collect();
    let name = jail::name(plan);
    let network = network(plan, facts, &mut steps, &mut report)?;
    let metadata = match plan.metadata {
        Metadata::Own if !has_loopback(plan, facts.vnet) => Outcome::ignored(NO_VIMAGE),
        _ => plan.metadata.outcome(),
    };
    report.promised(None, "metadata service", "mds.provided", metadata);
    let release = release(plan, &mut report);
    let parameters = jail::parameters(plan, facts, linux, release.as_ref());
    steps.push(Step::CreateJail { name: name.clone(), parameters });
    if let Some((_, interface)) = &network {
        steps.push(Step::MoveInterface { interface: interface.clone(), jail: name.clone() });
    }
    if plan.network != Network::Host && facts.vnet {
        let mut settings = loopback();
        if let Some((network, interface)) = &network {
            settings.extend(connected(network, interface));
        }
        settings.extend(pod.settings);
        steps.push(Step::SetUpNetwork { jail: name, settings });
    }

    sockets(plan, facts, &mut steps, &mut report);
    if !pod.rules.is_empty() {
        steps.push(Step::AddRules { subject: resources::jail_subject(plan), rules: pod.rules });
    }
    for (app, held) in apps.into_iter().enumerate() {
        if !held.rules.is_empty() {
            let subject = format!("loginclass:{}", resources::login_class(plan, app));
            steps.push(Step::AddRules { subject, rules: held.rules });
        }
    }
    if let Some((network, _)) = &network {
        let rules = filter_rules(plan, network);
        if !rules.is_empty() {
            steps.push(Step::LoadAnchor { anchor: format!("jetpack/{}", plan.uuid), rules });
        }
    }
    let process = |app| Step::Process { app, context: Context::of(plan, app, facts.release) };
    steps.extend((0..plan.apps.len()).map(process));
    Ok(Compiled { steps, report })
}

/// Why nothing listens in a pod that has no network at all.
const NO_VIMAGE: &str = "the pod has no network to listen in: this kernel has no VIMAGE, which GENERIC has";

/// Whether a pod has a network, its loopback at least.
pub(super) fn has_loopback(plan: &PodPlan, vnet: bool) -> bool {
    plan.network == Network::Host || vnet
}

/// The release that programs are told, where an image's label `osrelease` names one. Apps share a jail: the first counts.
fn release(plan: &PodPlan, report: &mut Report) -> Option<jail::Release> {
    let mut chosen: Option<jail::Release> = None;
    for app in plan.apps.iter().filter(|app| app.os.as_deref() != Some("linux")) {
        let Some(label) = app.os_release.as_deref() else { continue };
        let outcome = match (jail::Release::of(label), &chosen) {
            (None, _) => Outcome::ignored(format!("`{label}` is no release of FreeBSD, as 13.2-RELEASE is")),
            (Some(release), None) => {
                chosen = Some(release);
                Outcome::Enforced
            }
            (Some(release), Some(first)) if release.name == first.name => Outcome::Enforced,
            (Some(_), Some(first)) => {
                Outcome::ignored(format!("the pod's apps share a jail, whose release is {}", first.name))
            }
        };
        report.asked(Some(&app.name), &format!("release {label}"), "im.labels.value", outcome);
    }
    chosen
}

/// The sockets that apps find open when they start.
fn sockets(plan: &PodPlan, facts: &HostFacts, steps: &mut Vec<Step>, report: &mut Report) {
    for (number, app) in plan.apps.iter().enumerate() {
        for port in app.ports.iter().filter(|port| port.socket_activated) {
            let outcome = if has_loopback(plan, facts.vnet) {
                let listen = Listen::of(number, port, port.port);
                steps.push(Step::Listen { listen, on_host: false, address: None });
                for forward in exposed(plan, &app.name, port) {
                    let listen = Listen::of(number, port, forward.host_port);
                    steps.push(Step::Listen { listen, on_host: true, address: forward.host_ip });
                }
                Outcome::Enforced
            } else {
                Outcome::ignored(NO_VIMAGE)
            };
            let what = format!("socket of port {}", port.name);
            report.promised(Some(&app.name), &what, "im.app.ports.socketactivated", outcome);
        }
        if app.notifies {
            let why =
                "FreeBSD has no names for sockets but files of the rootfs: the app counts as started when it runs";
            report.asked(Some(&app.name), "readiness", "im.ann.sdnotify", Outcome::ignored(why));
        }
    }
}

/// Whether Linux programs run in the pod; refuses images that cannot run here.
fn looks_at_images(plan: &PodPlan, facts: &HostFacts) -> Result<bool, Error> {
    let mut linux = false;
    for app in &plan.apps {
        if app.os.as_deref() == Some("linux") && !facts.linux {
            return Err(Error::new(Kind::Unsupported, format!("run the image of app {}", app.name))
                .clause("im.labels.osarch.known")
                .because("it is for linux, and linux64 is not loaded; load it with: kldload linux64"));
        }
        decided::fits(app, &["freebsd", "linux"], &facts.arch)?;
        linux |= app.os.as_deref() == Some("linux");
    }
    Ok(linux)
}

/// The sealed snapshot that an app's rootfs is a clone of, where the host can clone it.
fn snapshot(plan: &PodPlan, app: &AppPlan, facts: &HostFacts) -> Option<String> {
    facts.dataset_of_pods(&plan.directory)?;
    match app.layers.as_slice() {
        [layer] => facts.snapshot_of(layer),
        _ => None,
    }
}

/// Where the copy of a read-only rootfs is. Not where it is seen: a file system that is mounted over itself by nullfs
/// shares the lock of its own mount point.
fn copy_of(plan: &PodPlan, app: &AppPlan) -> PathBuf {
    Part::Copies.of(&plan.directory).join(&app.name)
}

fn root_file_systems(
    plan: &PodPlan,
    facts: &HostFacts,
    root: &Path,
    steps: &mut Vec<Step>,
    report: &mut Report,
) -> Result<(), Error> {
    let mut clones = Vec::new();
    let pods = facts.dataset_of_pods(&plan.directory).map(|pods| format!("{pods}/{}", plan.uuid));
    let copied = |app: &&AppPlan| app.read_only_rootfs && snapshot(plan, app, facts).is_none();
    let alone = plan.apps.iter().filter(|app| snapshot(plan, app, facts).is_some()).count() == 1;
    if plan.apps.iter().any(|app| copied(&app)) {
        steps.push(Step::MakeDirectory {
            path: Part::Copies.of(&plan.directory),
            mode: 0o700,
            owner: Some((Id::ROOT, Id::ROOT)),
        });
    }
    for app in &plan.apps {
        if app.layers.is_empty() {
            return Err(Error::new(Kind::Refused, format!("make the rootfs of app {}", app.name))
                .because("its image has no layers"));
        }
        match (snapshot(plan, app, facts), &pods) {
            (Some(snapshot), Some(pods)) => clones.push(CloneOf {
                snapshot,
                // A dataset more is one more to make, and one more to destroy, each a wait for the pool to write.
                dataset: if alone { pods.clone() } else { format!("{pods}/{}", app.name) },
                mountpoint: root.join(&app.name),
            }),
            _ => {
                let seen = root.join(&app.name);
                steps.push(Step::MakeDirectory { path: seen.clone(), mode: 0o755, owner: Some((Id::ROOT, Id::ROOT)) });
                let into = if copied(&app) { copy_of(plan, app) } else { seen.clone() };
                if into != seen {
                    steps.push(Step::MakeDirectory {
                        path: into.clone(),
                        mode: 0o755,
                        owner: Some((Id::ROOT, Id::ROOT)),
                    });
                }
                steps.push(Step::CopyRootfs { layers: app.layers.clone(), into: into.join("rootfs") });
                let why =
                    if pods.is_some() { "the image is in no dataset" } else { "the root directory is no dataset" };
                let outcome = Outcome::modified(format!("a copy instead of a clone: {why}"));
                report.promised(Some(&app.name), "fresh rootfs", "render.clean", outcome);
            }
        }
    }
    if let (Some(dataset), false) = (pods, clones.is_empty()) {
        steps.push(Step::CloneRootfs { dataset, uuid: plan.uuid.to_string(), clones });
    }
    Ok(())
}

/// What Linux programs look for and do not find.
fn told_of_linux(app: &AppPlan, facts: &HostFacts, report: &mut Report) {
    if !facts.linux_shm {
        let why = "devfs has no directory /dev/shm to mount a file system on; it comes with linux64";
        report.promised(Some(&app.name), "/dev/shm", "linux.dev.shm", Outcome::ignored(why));
    }
    if !facts.ptmx {
        let why = format!("it comes with the module pty: {}", super::doctor::LOAD_PTY);
        report.promised(Some(&app.name), "/dev/ptmx", "linux.dev.ptmx", Outcome::ignored(why));
    }
    let why = "devfs has it as long as a terminal of the host's is open, and shows in it the app's own only";
    report.promised(Some(&app.name), "/dev/pts", "linux.dev.pts", Outcome::modified(why));
    let why = "devfs shows it to a process with a controlling terminal only";
    report.promised(Some(&app.name), "/dev/tty", "linux.dev.tty", Outcome::modified(why));
}

/// Whether a place is devfs's own, which has its own `fd` and `shm`, and in which nothing can be made. `/dev` is of the rootfs.
pub(super) fn in_devices(target: &Path) -> bool {
    target.strip_prefix("/dev").is_ok_and(|inside| !inside.as_os_str().is_empty())
}

/// Where mounts go, and what each needs there.
fn places(mounts: &[Step]) -> Vec<Place> {
    let place = |step: &Step| match step {
        Step::Mount { kind, from, target, .. } => {
            let source = (kind == "nullfs").then(|| PathBuf::from(from));
            Some(Place { target: target.clone(), source })
        }
        _ => None,
    };
    mounts.iter().filter_map(place).filter(|place| !in_devices(&place.target)).collect()
}

/// Where a volume is on the host.
fn source(plan: &PodPlan, volume: usize) -> PathBuf {
    match &plan.volumes[volume].kind {
        VolumeKind::Host { source, .. } => source.clone(),
        VolumeKind::Empty { .. } => Part::Volumes.of(&plan.directory).join(volume.to_string()),
    }
}

fn volumes(plan: &PodPlan, steps: &mut Vec<Step>, report: &mut Report) {
    if plan.volumes.iter().any(|volume| matches!(volume.kind, VolumeKind::Empty { .. })) {
        steps.push(Step::MakeDirectory { path: Part::Volumes.of(&plan.directory), mode: 0o700, owner: None });
    }
    for (number, volume) in plan.volumes.iter().enumerate() {
        let path = source(plan, number);
        // All devices of a FreeBSD host are there, and which of them a jail has is a matter of devfs's rules.
        if matches!(volume.kind, VolumeKind::Host { .. }) && path.starts_with("/dev") {
            let outcome = Outcome::ignored("devices do not come by volumes here: a pod has those of its devfs rules");
            report.asked(None, &format!("volume {}", volume.name), "pm.volumes.host.bind", outcome);
        }
        steps.push(match volume.kind {
            VolumeKind::Empty { mode, uid, gid } => Step::MakeDirectory { path, mode, owner: Some((uid, gid)) },
            VolumeKind::Host { follow_links, .. } => Step::CheckSource { path, follow_links },
        });
    }
}

/// All that is mounted below an app's rootfs, what is deeper later.
fn mounts(plan: &PodPlan, app: &AppPlan, facts: &HostFacts, root: &Path, steps: &mut Vec<Step>) -> Result<(), Error> {
    let kernel = |kind: &str, target: &str, options: Vec<(String, String)>| Step::Mount {
        kind: kind.to_owned(),
        from: kind.to_owned(),
        root: root.to_owned(),
        target: PathBuf::from(target),
        file: false,
        options,
        read_only: false,
    };
    let rules = vec![("ruleset".to_owned(), facts.device_rules.number().to_string())];
    let mut all = vec![kernel("devfs", "/dev", rules)];
    if app.os.as_deref() == Some("linux") {
        let linux = vec![("linrdlnk".to_owned(), String::new())];
        all.extend([
            kernel("fdescfs", "/dev/fd", linux),
            kernel("linprocfs", "/proc", Vec::new()),
            kernel("linsysfs", "/sys", Vec::new()),
        ]);
        if facts.linux_shm {
            all.push(kernel("tmpfs", "/dev/shm", vec![("mode".to_owned(), "1777".to_owned())]));
        }
    } else {
        all.push(kernel("fdescfs", "/dev/fd", Vec::new()));
    }
    for mount in &app.mounts {
        volume(plan, mount, facts, root, &mut all)?;
    }
    let depth = |step: &Step| match step {
        Step::Mount { target, .. } => target.components().count(),
        _ => 0,
    };
    all.sort_by_key(depth);
    steps.extend(all);
    Ok(())
}

fn volume(plan: &PodPlan, mount: &MountPlan, facts: &HostFacts, root: &Path, all: &mut Vec<Step>) -> Result<(), Error> {
    decided::target(&mount.target)?;
    let volume = &plan.volumes[mount.volume];
    let from = source(plan, mount.volume);
    let bind = |from: &Path, target: PathBuf| Step::Mount {
        kind: "nullfs".to_owned(),
        from: from.to_string_lossy().into_owned(),
        root: root.to_owned(),
        target,
        file: false,
        options: Vec::new(),
        read_only: mount.read_only || volume.read_only,
    };
    all.push(bind(&from, mount.target.clone()));
    if let VolumeKind::Host { recursive: true, .. } = volume.kind {
        let mut below: Vec<&Path> = Vec::new();
        for mounted in &facts.mounts {
            // Two over one another are seen as one through nullfs.
            if mounted.on != from && mounted.on.starts_with(&from) && !below.contains(&mounted.on.as_path()) {
                below.push(&mounted.on);
            }
        }
        for on in below {
            let rest = on.strip_prefix(&from).unwrap_or(on);
            all.push(bind(on, mount.target.join(rest)));
        }
    }
    Ok(())
}

fn files(plan: &PodPlan, app: &AppPlan, facts: &HostFacts, root: &Path, steps: &mut Vec<Step>) {
    let covered = |path: &str| app.mounts.iter().any(|mount| Path::new(path).starts_with(&mount.target));
    let mut file = |path: &str, content: String, replace: bool| {
        if !covered(path) {
            steps.push(Step::ProvideFile { root: root.to_owned(), path: PathBuf::from(path), content, replace });
        }
    };
    file("/etc/hosts", decided::hosts(plan), !plan.hosts_entries.is_empty());
    if let Some(text) = decided::resolv_conf(plan) {
        file("/etc/resolv.conf", text, true);
    } else if let (false, Some(text)) = (plan.network == Network::None, &facts.resolv_conf) {
        file("/etc/resolv.conf", text.clone(), false);
    }
}

/// Connects the pod; gives the network and the interface that goes into the jail.
fn network<'a>(
    plan: &PodPlan,
    facts: &'a HostFacts,
    steps: &mut Vec<Step>,
    report: &mut Report,
) -> Result<Option<(&'a NetworkFacts, String)>, Error> {
    let own = match facts.vnet {
        true => Outcome::Enforced,
        false => Outcome::ignored("this kernel has no VIMAGE: the pod has no network at all, loopback neither"),
    };
    decided::apart(plan, report, own);
    let Network::Named(names) = &plan.network else {
        decided::ports_without_network(plan, report);
        return Ok(None);
    };
    let refuse = |kind: Kind, why: &str| {
        Err(Error::new(kind, format!("connect the pod to {}", names.join(", "))).because(why.to_owned()))
    };
    if names.iter().any(|name| name != "default") {
        return refuse(Kind::Refused, "FreeBSD has the network `default` only");
    }
    if !facts.vnet {
        return refuse(Kind::Unsupported, "this kernel has no VIMAGE");
    }
    let Some(network) = &facts.network else {
        return refuse(Kind::Missing, "nothing is known of the host's network");
    };
    if !plan.ports.is_empty() {
        if !facts.pf {
            return refuse(Kind::Unsupported, "ports are forwarded by pf, which is not loaded: service pf onestart");
        }
        if !network.filtering {
            return refuse(Kind::Unsupported, "ports are forwarded by pf, which is off: service pf onestart");
        }
        if !network.missing_anchors.is_empty() {
            let lines = network.missing_anchors.join("\n");
            let why = format!("pf does not look at pods' rules; add to /etc/pf.conf, then service pf reload:\n{lines}");
            return refuse(Kind::Unsupported, &why);
        }
        for port in &plan.ports {
            let outcome = if network.forwarding {
                Outcome::Enforced
            } else {
                Outcome::modified("the host passes no packets on: sysctl net.inet.ip.forwarding=1")
            };
            decided::port(report, port, outcome);
        }
    }
    let shut = match network {
        _ if !facts.pf => Some("pf is not loaded: service pf onestart"),
        NetworkFacts { filtering: false, .. } => Some("pf is off: service pf onestart"),
        NetworkFacts { forwarding: false, .. } => {
            Some("the host passes no packets on: sysctl net.inet.ip.forwarding=1")
        }
        NetworkFacts { outside: None, .. } => Some("the host has no default route"),
        _ if !network.missing_anchors.is_empty() => {
            Some("the main rules of pf, in /etc/pf.conf, do not name jetpack/*")
        }
        _ => None,
    };
    if let Some(why) = shut {
        let outcome = Outcome::modified(format!("pods and the host only are reached: {why}"));
        report.promised(None, "network `default`", "pod.ns.net", outcome);
    }
    steps.push(Step::ClaimAddress {
        file: network.claims.join(network.address.to_string()),
        uuid: plan.uuid.to_string(),
    });
    if !network.bridge_exists {
        let mut addresses = vec![format!("{}/{}", network.gateway, network.prefix)];
        addresses.extend(network.ipv6.map(|(gateway, prefix, _)| format!("{gateway}/{prefix}")));
        steps.push(Step::MakeBridge { name: network.bridge.clone(), addresses });
    }
    steps.push(Step::MakeEpair {
        unit: network.unit,
        bridge: network.bridge.clone(),
        description: format!("jetpack {}", plan.uuid),
    });
    Ok(Some((network, format!("epair{}b", network.unit))))
}

/// A new network's loopback is down and has no address.
fn loopback() -> Vec<Setting> {
    let address = |address: &str, prefix, optional| Setting::Address {
        interface: "lo0".to_owned(),
        address: address.parse().unwrap_or(std::net::Ipv4Addr::LOCALHOST.into()),
        prefix,
        optional,
    };
    vec![address("127.0.0.1", 8, false), Setting::Raise { interface: "lo0".to_owned() }, address("::1", 128, true)]
}

fn connected(network: &NetworkFacts, interface: &str) -> Vec<Setting> {
    let address =
        |address, prefix| Setting::Address { interface: interface.to_owned(), address, prefix, optional: false };
    let mut settings = vec![
        address(network.address.into(), network.prefix),
        Setting::Raise { interface: interface.to_owned() },
        Setting::DefaultRoute { gateway: network.gateway.into() },
    ];
    if let Some((gateway, prefix, own)) = network.ipv6 {
        settings.push(address(own.into(), prefix));
        settings.push(Setting::DefaultRoute { gateway: gateway.into() });
    }
    settings
}

/// What the pod's anchor holds: translation outwards, then the ports.
fn filter_rules(plan: &PodPlan, network: &NetworkFacts) -> String {
    let mut rules = String::new();
    let translates = network.filtering && network.missing_anchors.is_empty();
    if let Some(outside) = network.outside.as_ref().filter(|_| translates) {
        rules.push_str(&format!("nat pass on {outside} inet from {} to any -> ({outside})\n", network.address));
    }
    for forward in &plan.ports {
        rules.push_str(&forwarded(forward, network));
    }
    rules
}

fn forwarded(forward: &PortForward, network: &NetworkFacts) -> String {
    // All addresses of the host, as they are when a packet comes: what pods send to elsewhere goes there.
    let to = forward.host_ip.map_or("(self)".to_owned(), |address| address.to_string());
    let range = |first: u16| match forward.count {
        0 | 1 => first.to_string(),
        count => format!("{first}:{}", first.saturating_add(count - 1)),
    };
    // With a range on the left, the first port and a star on the right map one to one.
    let onto = match forward.count {
        0 | 1 => forward.pod_port.to_string(),
        _ => format!("{}:*", forward.pod_port),
    };
    format!(
        "rdr pass inet proto {} from any to {to} port {} -> {} port {onto}\n",
        forward.protocol,
        range(forward.host_port),
        network.address,
    )
}
