//! From a plan to steps. Pure: same plan, same facts, same steps.

use std::path::{Path, PathBuf};

use super::facts::HostFacts;
use super::groups::Groups;
use super::isolators::capabilities::{self, Bounding};
use super::isolators::outcome::{allowed_calls, bounded, filtered};
use super::isolators::seccomp;
use super::isolators::seccomp::Selection;
use super::steps::{AppStep, Namespace, PodStep, ProcessStep, SecurityModule, Step};
use super::{network, parameters};
use crate::executor::isolation::{Outcome, Report};
use crate::executor::listening::{Listen, claimed, exposed};
use crate::executor::plan::{AppPlan, Isolation, Metadata, MountPlan, Network, PodPlan, VolumeKind, VolumePlan};
use crate::executor::{Compiled, Error, Kind, decided};
use crate::id::Id;
use crate::pod::Part;

/// Paths of procfs and sysfs that tell or do too much.
const MASKED: [&str; 10] = [
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Paths of procfs through which the host could be changed.
const FROZEN: [&str; 6] = ["/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What stands in `/dev` of every app.
const DEVICE_NAMES: [&str; 15] = [
    "console", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty",
    "urandom", "zero",
];

/// The group of terminals, by convention of every distribution.
const TTY_GROUP: u32 = 5;

/// The last user and group that images may expect to be there: `nogroup`.
const LAST_ID: u32 = 65_534;

/// The kernel's own limit of a host name.
const HOSTNAME_LIMIT: usize = 64;

/// What the steps shall be.
///
/// # Errors
/// [`Kind::Refused`] when the plan contradicts itself or this host; [`Kind::Unsupported`] when this host cannot run pods.
pub fn compile(plan: &PodPlan, facts: &HostFacts) -> Result<Compiled<Step>, Error> {
    let mut report = Report::at(plan.level);
    decided::tell(plan, &mut report);
    let groups = Groups::new(plan, facts, &mut report);
    let mut compiler = Compiler { plan, facts, steps: Vec::new(), report, joined: groups.joined, shown: groups.shown };
    compiler.host()?;
    compiler.steps.extend(groups.steps);
    let connections = network::steps(plan, facts, &mut compiler.report)?;
    compiler.steps.extend(connections);
    compiler.pod();
    for (number, app) in plan.apps.iter().enumerate() {
        compiler.app(number, app)?;
    }
    Ok(Compiled { steps: compiler.steps, report: compiler.report })
}

struct Compiler<'a> {
    plan: &'a PodPlan,
    facts: &'a HostFacts,
    steps: Vec<Step>,
    report: Report,
    /// The control groups that the processes of each app join.
    joined: Vec<Vec<PathBuf>>,
    /// What each app is shown of them.
    shown: Vec<Vec<(String, PathBuf)>>,
}

/// Where the parts of a pod's directory are.
struct Places<'a>(&'a Path);

impl Places<'_> {
    fn app(&self, name: &str) -> PathBuf {
        Part::Apps.of(self.0).join(name)
    }
    fn volume(&self, name: &str) -> PathBuf {
        Part::Volumes.of(self.0).join(name)
    }
}

impl Compiler<'_> {
    fn places(&self) -> Places<'_> {
        Places(&self.plan.directory)
    }

    fn user_namespace(&self) -> bool {
        !self.facts.privileged
    }

    /// What an app may ever hold.
    fn bounding(&self, app: &AppPlan) -> Bounding {
        let named =
            |i: &Isolation| matches!(i, Isolation::CapabilitiesRemove { .. } | Isolation::CapabilitiesRetain { .. });
        match self.plan.level.capabilities_by_default() || app.isolators.iter().any(named) {
            true => capabilities::bounding(&app.isolators, &app.consent),
            false => Bounding::default(),
        }
    }

    /// Whether an id of the pod is one of the host's.
    fn mapped(&self, id: u32, users: bool) -> bool {
        let map = if users { &self.facts.ids.users } else { &self.facts.ids.groups };
        !self.user_namespace()
            || map.iter().any(|(inside, _, count)| (*inside..inside.saturating_add(*count)).contains(&id))
    }

    fn host(&mut self) -> Result<(), Error> {
        let plan = self.plan;
        if self.user_namespace()
            && let Some(why) = &self.facts.no_user_namespaces
        {
            return Err(Error::new(Kind::Unsupported, "make a user namespace, without which only root can run pods")
                .because(why.clone()));
        }
        if plan.hostname.len() > HOSTNAME_LIMIT {
            return Err(Error::new(Kind::Refused, format!("use the host name {}", plan.hostname))
                .because(format!("it is longer than {HOSTNAME_LIMIT} characters")));
        }
        for volume in &plan.volumes {
            if let VolumeKind::Host { source, follow_links, recursive } = &volume.kind {
                self.steps.push(Step::CheckSource { path: source.clone(), follow_links: *follow_links });
                self.tell_of_devices(volume);
                if !recursive && self.user_namespace() {
                    let how = "without root, what is mounted below its source comes along";
                    let subject = format!("volume {}", volume.name);
                    self.report.asked(None, &subject, "pm.volumes.recursive", Outcome::modified(how));
                }
            }
        }
        self.directory(Part::Apps.of(&plan.directory), 0o700, None);
        if plan.volumes.iter().any(|volume| matches!(volume.kind, VolumeKind::Empty { .. })) {
            self.directory(Part::Volumes.of(&plan.directory), 0o700, None);
        }
        if self.facts.overlay {
            self.steps.push(Step::MakeMountPoints { path: mount_points(plan) });
        }
        for volume in &plan.volumes {
            if let VolumeKind::Empty { mode, uid, gid } = volume.kind {
                if !self.mapped(uid.get(), true) || !self.mapped(gid.get(), false) {
                    return Err(Error::new(Kind::Refused, format!("give the volume {} to {uid}:{gid}", volume.name))
                        .clause("pm.volumes.uid")
                        .because("the user namespace has no such id"));
                }
                let owner = if self.user_namespace() { None } else { Some((uid, gid)) };
                self.directory(self.places().volume(&volume.name), mode, owner);
            }
        }
        for app in &plan.apps {
            let place = self.places().app(&app.name);
            // Not root's only: the app's own user has to pass from the mount namespace's point of view.
            self.directory(place.clone(), 0o755, None);
            if !self.facts.overlay {
                self.directory(place.join("rootfs"), 0o755, None);
            } else {
                self.directory(place.join("upper"), 0o755, None);
                self.directory(place.join("work"), 0o755, None);
            }
        }
        Ok(())
    }

    fn directory(&mut self, path: PathBuf, mode: u32, owner: Option<(Id, Id)>) {
        self.steps.push(Step::MakeDirectory { path, mode, owner });
    }

    fn pod(&mut self) {
        let plan = self.plan;
        let ids_differ = self.user_namespace();
        let mut namespaces = vec![Namespace::Pid, Namespace::Mount];
        namespaces.extend(plan.level.own_ipc().then_some(Namespace::Ipc));
        namespaces.extend(plan.level.own_name().then_some(Namespace::Uts));
        let own_network = plan.network != Network::Host;
        // As root, networks are connected before there is a process.
        let entered = self.facts.privileged && matches!(plan.network, Network::Named(_));
        if own_network && !entered {
            namespaces.push(Namespace::Net);
        }
        decided::apart(plan, &mut self.report, Outcome::Enforced);
        if plan.network == Network::None {
            self.report.promised(None, "loopback and no other network", "net.loopback", Outcome::Enforced);
        }
        let ids = if self.user_namespace() {
            namespaces.insert(0, Namespace::User);
            let last = |map: &[(u32, u32, u32)]| map.iter().map(|(first, _, count)| first + (count - 1)).max();
            let ids = &self.facts.ids;
            let outcome = match (&self.facts.no_subordinate_ids, last(&ids.users).min(last(&ids.groups))) {
                (Some(why), _) => {
                    Outcome::modified(format!("without root, only user and group 0 exist in the pod: {why}"))
                }
                (None, Some(last)) if last < LAST_ID => Outcome::modified(format!(
                    "without root, users and groups are those up to {last}, which /etc/subuid and /etc/subgid grant"
                )),
                (None, _) => Outcome::Enforced,
            };
            self.report.promised(None, "users", "im.app.user.numeric", outcome);
            Some(self.facts.ids.clone())
        } else {
            None
        };
        self.steps.push(Step::MakeNamespaces { namespaces, ids });
        self.steps.push(Step::Pod(PodStep::SeparateMounts));
        for volume in plan.volumes.iter().filter(|_| ids_differ) {
            if let VolumeKind::Empty { uid, gid, .. } = volume.kind
                && (uid, gid) != (Id::ROOT, Id::ROOT)
            {
                let path = self.places().volume(&volume.name);
                self.steps.push(Step::Pod(PodStep::OwnDirectory { path, uid, gid }));
            }
        }
        if entered {
            let path = Part::Network.of(&plan.directory);
            self.steps.push(Step::Pod(PodStep::EnterNetwork { path }));
        }
        if plan.level.own_name() {
            self.steps.push(Step::Pod(PodStep::SetHostname { name: plan.hostname.clone() }));
        }
        if own_network {
            self.steps.push(Step::Pod(PodStep::RaiseLoopback));
        }
        self.sockets();
        if plan.metadata == Metadata::Own {
            self.steps.push(Step::Pod(PodStep::ListenForMetadata { not: claimed(plan) }));
        }
        self.report.promised(None, "metadata service", "mds.provided", plan.metadata.outcome());
        self.steps.push(Step::Pod(PodStep::MakeSharedMemory));
        for isolation in &plan.isolators {
            let outcome = match isolation {
                // In control groups.
                isolation if self.facts.controllers.settings(isolation).is_some() => continue,
                Isolation::Sysctl { values } => {
                    let mut refused = Vec::new();
                    for (key, value) in values {
                        match parameters::forbidden(key, own_network)
                            .or_else(|| parameters::of_the_host(key, plan.level))
                        {
                            Some(why) => refused.push(format!("{key}: {why}")),
                            None => self
                                .steps
                                .push(Step::Pod(PodStep::SetParameter { key: key.clone(), value: value.clone() })),
                        }
                    }
                    match refused.len() {
                        0 => Outcome::Enforced,
                        all if all == values.len() => Outcome::ignored(refused.join("; ")),
                        _ => Outcome::modified(format!("all is set but {}", refused.join("; "))),
                    }
                }
                Isolation::Unknown { .. } => Outcome::ignored("nobody knows this isolator"),
                isolation => self.everywhere(isolation, false, "it belongs to an app, not to a pod"),
            };
            self.report.asked(None, isolation.name(), isolation.clause(), outcome);
        }
    }

    /// The sockets that apps find open, and those by which they say that they are ready.
    fn sockets(&mut self) {
        let plan = self.plan;
        for (number, app) in plan.apps.iter().enumerate() {
            for port in app.ports.iter().filter(|port| port.socket_activated) {
                self.steps.push(Step::Pod(PodStep::Listen(Listen::of(number, port, port.port))));
                for forward in exposed(plan, &app.name, port) {
                    let listen = Listen::of(number, port, forward.host_port);
                    self.steps.push(Step::ListenOnHost { listen, address: forward.host_ip });
                }
                let what = format!("socket of port {}", port.name);
                self.report.promised(Some(&app.name), &what, "im.app.ports.socketactivated", Outcome::Enforced);
            }
            if app.notifies {
                self.steps.push(Step::Pod(PodStep::ListenForReadiness { app: number }));
                self.report.promised(Some(&app.name), "readiness", "im.ann.sdnotify", Outcome::Enforced);
            }
        }
    }

    /// What becomes of an isolator that may stand in pods and apps and is no matter of control groups.
    fn everywhere(&self, isolation: &Isolation, of_app: bool, otherwise: &str) -> Outcome {
        match isolation {
            Isolation::SelinuxContext { .. } if !self.facts.selinux => Outcome::ignored("SELinux is not on"),
            Isolation::ApparmorProfile { .. } if !self.facts.apparmor => Outcome::ignored("AppArmor is not on"),
            // By each app's own steps.
            Isolation::SelinuxContext { .. } | Isolation::ApparmorProfile { .. } => Outcome::Enforced,
            Isolation::NetworkBandwidth { .. } => network::bandwidth_outcome(self.plan, self.facts, of_app),
            _ => Outcome::ignored(otherwise),
        }
    }

    fn app(&mut self, number: usize, app: &AppPlan) -> Result<(), Error> {
        decided::fits(app, &[self.facts.os], self.facts.arch)?;
        self.filesystem(number, app)?;
        self.process(number, app)
    }

    fn filesystem(&mut self, number: usize, app: &AppPlan) -> Result<(), Error> {
        let bind = self.user_namespace();
        let place = self.places().app(&app.name);
        let mut lower = app.layers.clone();
        let rootfs = if self.facts.overlay {
            lower.insert(0, mount_points(self.plan));
            let (upper, work) = (place.join("upper"), place.join("work"));
            AppStep::MountOverlay { lower, upper, work, at: place, user_marks: bind }
        } else {
            AppStep::CopyRootfs { lower, at: place.join("rootfs") }
        };
        let mut steps = vec![rootfs];
        let (devices, volumes): (Vec<&MountPlan>, Vec<&MountPlan>) =
            app.mounts.iter().partition(|mount| self.device(mount) && self.among_devices(&mount.target));
        steps.append(&mut volumes.into_iter().map(|mount| self.volume(mount)).collect::<Result<Vec<_>, _>>()?);
        let host_network = self.plan.network == Network::Host;
        steps.push(AppStep::MountProc);
        steps.push(AppStep::MountSys { bind: bind && host_network });
        let groups = std::mem::take(&mut self.shown[number]);
        if !groups.is_empty() {
            steps.push(AppStep::MountGroups { groups });
        }
        steps.push(AppStep::MountDev { bind });
        steps.push(AppStep::MountPts { gid: self.mapped(TTY_GROUP, false).then_some(TTY_GROUP) });
        steps.push(AppStep::MountShm);
        // Without privilege the kernel shows message queues to who made their namespace.
        if self.plan.level.own_ipc() || !self.user_namespace() {
            steps.push(AppStep::MountMqueue);
        } else {
            let why = "without root the host's message queues are not shown";
            self.report.promised(Some(&app.name), "/dev/mqueue", "pod.ns.ipc", Outcome::ignored(why));
        }
        steps.append(&mut devices.into_iter().map(|mount| self.volume(mount)).collect::<Result<Vec<_>, _>>()?);
        steps.extend(MASKED.map(|path| AppStep::Mask { path: path.into() }));
        if self.bounding(app).keep.has("CAP_SYS_PTRACE") {
            // What the pod's first process holds is not for who may look into all processes.
            steps.push(AppStep::Mask { path: "/proc/1".into() });
        }
        steps.extend(FROZEN.map(|path| AppStep::Freeze { path: path.into() }));
        steps.push(AppStep::ProvideFile {
            path: "/etc/hosts".into(),
            content: decided::hosts(self.plan),
            replace: !self.plan.hosts_entries.is_empty(),
        });
        if let Some(content) = decided::resolv_conf(self.plan) {
            steps.push(AppStep::ProvideFile { path: "/etc/resolv.conf".into(), content, replace: true });
        } else if let Some(content) = self.facts.resolv_conf.clone() {
            steps.push(AppStep::ProvideFile { path: "/etc/resolv.conf".into(), content, replace: false });
        }
        if app.read_only_rootfs {
            steps.push(AppStep::FreezeRootfs);
            self.report.asked(Some(&app.name), "readOnlyRootFS", "pm.apps.rorootfs", Outcome::Enforced);
        }
        steps.push(AppStep::PivotRoot);
        self.report.promised(Some(&app.name), "devices and file systems", "linux.dev.proc", Outcome::Enforced);
        self.steps.extend(steps.into_iter().map(|step| Step::App { app: number, step }));
        Ok(())
    }

    fn volume(&self, mount: &MountPlan) -> Result<AppStep, Error> {
        let device = self.device(mount);
        if !(device && self.among_devices(&mount.target)) {
            decided::target(&mount.target)?;
        }
        let target = mount.target.clone();
        let volume = &self.plan.volumes[mount.volume];
        let (source, recursive, follow_links) = match &volume.kind {
            VolumeKind::Empty { .. } => (self.places().volume(&volume.name), false, true),
            // Without privilege the kernel does not let a mount be taken from what covers it.
            VolumeKind::Host { source, recursive, follow_links } => {
                (source.clone(), *recursive || self.user_namespace(), *follow_links)
            }
        };
        let read_only = mount.read_only || volume.read_only;
        Ok(AppStep::MountVolume { source, target, recursive, read_only, follow_links, device })
    }

    /// Whether what is mounted is a device that the operator allows.
    fn device(&self, mount: &MountPlan) -> bool {
        match &self.plan.volumes[mount.volume].kind {
            VolumeKind::Host { source, .. } => {
                self.facts.devices.contains(source) && self.plan.devices.contains(source)
            }
            VolumeKind::Empty { .. } => false,
        }
    }

    /// Whether `target` is a name beside the devices that every app has, and none of theirs.
    fn among_devices(&self, target: &Path) -> bool {
        let name = target.strip_prefix("/dev").ok().and_then(Path::to_str);
        name.is_some_and(|name| !name.is_empty() && !name.contains('/') && !DEVICE_NAMES.contains(&name))
    }

    /// What can be done with a volume that is a device, or has some.
    fn tell_of_devices(&mut self, volume: &VolumePlan) {
        let VolumeKind::Host { source, .. } = &volume.kind else { return };
        let outcome = match (self.facts.devices.contains(source), self.plan.devices.contains(source)) {
            (true, true) => Outcome::Enforced,
            (true, false) => Outcome::ignored("it is a device, which the operator does not allow (device)"),
            (false, _) if source.starts_with("/dev") => {
                Outcome::modified("no device in it can be opened: each is a volume of its own")
            }
            (false, _) => return,
        };
        self.report.asked(None, &format!("volume {}", volume.name), "pm.volumes.host.bind", outcome);
    }

    /// What security modules are told about the app's programs: what it says itself, else what the pod says
    /// (`iso.apparmor.override`, `iso.selinux.override`).
    fn labels(&self, app: &AppPlan) -> Result<Vec<ProcessStep>, Error> {
        let mut labels: Vec<ProcessStep> = Vec::new();
        for isolation in app.isolators.iter().chain(&self.plan.isolators) {
            let (module, label) = match isolation {
                Isolation::ApparmorProfile { profile } if self.facts.apparmor => (SecurityModule::Apparmor, profile),
                Isolation::SelinuxContext { context } if self.facts.selinux => (SecurityModule::Selinux, context),
                _ => continue,
            };
            let loaded = self.facts.apparmor_profiles.as_ref().is_none_or(|known| known.contains(label));
            if module == SecurityModule::Apparmor && !loaded && label != "unconfined" {
                return Err(Error::new(
                    Kind::Refused,
                    format!("apply the AppArmor profile {label} to app {}", app.name),
                )
                .clause("iso.apparmor.missing")
                .because("no profile of that name is loaded"));
            }
            let said =
                |step: &ProcessStep| matches!(step, ProcessStep::Label { module: other, .. } if *other == module);
            if !labels.iter().any(said) {
                labels.push(ProcessStep::Label { module, label: label.clone() });
            }
        }
        Ok(labels)
    }

    /// The calls that a pod has no need of (`iso.seccomp-remove.absent`), which come before the app's own filter.
    fn default_filter(
        &mut self,
        app: &AppPlan,
        selection: &Selection,
        bounding: &Bounding,
        steps: &mut Vec<ProcessStep>,
    ) {
        let outcome = match allowed_calls(selection, app) {
            _ if !self.facts.seccomp => Outcome::ignored("the kernel cannot filter system calls"),
            None => Outcome::ignored("the operator allows all calls"),
            Some(allowed) => {
                steps.push(ProcessStep::RefuseSystemCalls { keep: bounding.keep.0, allowed });
                Outcome::Enforced
            }
        };
        self.report.of_level(Some(&app.name), "default system call filter", "iso.seccomp-remove.absent", outcome);
    }

    fn process(&mut self, number: usize, app: &AppPlan) -> Result<(), Error> {
        let mut steps = Vec::new();
        if !self.joined[number].is_empty() {
            steps.push(ProcessStep::JoinGroups { paths: self.joined[number].clone() });
        }
        if self.facts.group_namespaces {
            steps.push(ProcessStep::SeparateGroups);
        }
        steps.extend(self.labels(app)?);
        steps.push(ProcessStep::ChangeDirectory { path: app.working_directory.clone() });
        let name = Some(app.name.as_str());
        let bounding = self.bounding(app);
        let lacking = bounding.keep.0 & !self.facts.capabilities;
        let selection = seccomp::select(&app.isolators)?;
        let mut no_new_privileges = false;
        for isolation in &app.isolators {
            let outcome = match isolation {
                Isolation::CapabilitiesRemove { .. } | Isolation::CapabilitiesRetain { .. } => {
                    bounded(&bounding, lacking != 0)
                }
                Isolation::SeccompRemove { .. } | Isolation::SeccompRetain { .. } if !self.facts.seccomp => {
                    Outcome::ignored("the kernel cannot filter system calls")
                }
                Isolation::SeccompRemove { .. } | Isolation::SeccompRetain { .. } => {
                    filtered(&selection, app, &bounding)
                }
                Isolation::NoNewPrivileges { value } => {
                    no_new_privileges = *value;
                    Outcome::Enforced
                }
                Isolation::OomScoreAdj { .. } if self.user_namespace() => {
                    Outcome::ignored("it cannot be set without root")
                }
                Isolation::OomScoreAdj { value } if *value < self.facts.oom_score && !self.facts.lower_oom_score => {
                    steps.push(ProcessStep::SetOomScore { value: self.facts.oom_score });
                    Outcome::modified(format!(
                        "it cannot be set below {} without CAP_SYS_RESOURCE",
                        self.facts.oom_score
                    ))
                }
                Isolation::OomScoreAdj { value } => {
                    steps.push(ProcessStep::SetOomScore { value: *value });
                    Outcome::Enforced
                }
                // In control groups.
                isolation if self.facts.controllers.settings(isolation).is_some() => continue,
                Isolation::Unknown { .. } => Outcome::ignored("nobody knows this isolator"),
                Isolation::Sysctl { .. } => Outcome::ignored("it belongs to a pod, not to an app"),
                isolation => self.everywhere(isolation, true, "this executor cannot enforce it"),
            };
            self.report.asked(name, isolation.name(), isolation.clause(), outcome);
        }
        if !app
            .isolators
            .iter()
            .any(|i| matches!(i, Isolation::CapabilitiesRemove { .. } | Isolation::CapabilitiesRetain { .. }))
        {
            let outcome = match lacking {
                _ if !self.plan.level.capabilities_by_default() => Outcome::modified(format!(
                    "none without an isolator that retains some: isolation {}",
                    self.plan.level
                )),
                0 => Outcome::Enforced,
                _ => Outcome::modified("this host's own processes lack some"),
            };
            self.report.promised(name, "default capabilities", "iso.caps.default", outcome);
        }
        steps.push(ProcessStep::BoundCapabilities { keep: bounding.keep.0 });
        let set_groups = !self.user_namespace() || self.facts.ids.groups.iter().any(|(.., count)| *count > 1);
        let (supplementary, unmapped): (Vec<Id>, Vec<Id>) =
            app.supplementary_gids.iter().partition(|gid| set_groups && self.mapped(gid.get(), false));
        if !set_groups && !self.facts.groups.is_empty() {
            let groups: Vec<String> = self.facts.groups.iter().map(u32::to_string).collect();
            let how = format!(
                "without subordinate ids the processes keep the groups {} of whoever started the pod",
                groups.join(", ")
            );
            self.report.promised(name, "groups", "im.app.supgids.applied", Outcome::modified(how));
        }
        if !unmapped.is_empty() {
            let unmapped: Vec<String> = unmapped.iter().map(Id::to_string).collect();
            let unmapped = unmapped.join(", ");
            let outcome = Outcome::ignored(format!("the user namespace does not have the groups {unmapped}"));
            self.report.asked(name, "supplementaryGIDs", "im.app.supgids.applied", outcome);
        }
        let (user, group) = (app.user.clone(), app.group.clone());
        steps.push(ProcessStep::BecomeUser { user, group, supplementary, set_groups });
        if no_new_privileges {
            steps.push(ProcessStep::ForbidNewPrivileges);
        }
        self.default_filter(app, &selection, &bounding, &mut steps);
        if let Some(filter) = selection.filter.filter(|_| self.facts.seccomp) {
            steps.push(ProcessStep::FilterSystemCalls {
                retain: filter.retain,
                calls: filter.calls,
                errno: filter.errno,
            });
        }
        self.steps.extend(steps.into_iter().map(|step| Step::Process { app: number, step }));
        Ok(())
    }
}

/// The lowest layer of every app, shared by all pods below one root: directories for what the executor mounts, so that
/// they need not be made in each pod anew.
fn mount_points(plan: &PodPlan) -> PathBuf {
    let root = plan.directory.ancestors().nth(2).unwrap_or(Path::new("/"));
    root.join("mount-points")
}
