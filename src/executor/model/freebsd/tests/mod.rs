//! Laws of the FreeBSD executor, held against the model.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::{MOUNTPOINT, Model, Node};
use crate::executor::freebsd::facts::Configured;
use crate::executor::freebsd::system::Value;
use crate::executor::freebsd::{FreeBsd, HostFacts, Step, compile};
use crate::executor::journal::{self, Journal};
use crate::executor::plan::{
    AppPlan, AppPort, Dns, Isolation, Metadata, MountPlan, Network, PodPlan, PortForward, Stdio, VolumeKind, VolumePlan,
};
use crate::executor::{Host as _, Phase};
use crate::id::Id;

mod containers;
mod lacking;
mod laws;
mod limits;
mod networks;
mod streams;

fn id(number: u32) -> Id {
    Id::try_from(number).expect("the number of somebody")
}

/// A model on which pods of `apps` can run: their images sealed, their directory and volumes there.
pub(super) fn host(apps: usize) -> (Model, Vec<PathBuf>) {
    let model = Model::new();
    model.change(|state| {
        for path in ["/srv", "/srv/data", "/srv/data/below", "/var/db/jetpack/pods"] {
            state.files.insert(PathBuf::from(path), Node::Directory);
        }
        // The rule set of the pods is there: it is made once a boot and stays.
        state.files.insert(PathBuf::from(crate::executor::freebsd::facts::RULES_MARK), Node::File("7381".to_owned()));
        state.device_rules.insert(7381, vec!["100 include 1".to_owned()]);
    });
    let rootfs = [
        ("bin", Node::Directory),
        ("bin/app", Node::File(String::new())),
        ("etc", Node::Directory),
        ("etc/passwd", Node::File("root:x:0:0::/:\nweb:x:80:80::/:\n".to_owned())),
        ("etc/group", Node::File("wheel:x:0:\nweb:x:80:\n".to_owned())),
        ("dev", Node::Directory),
    ];
    let layers = (0..apps).map(|app| model.seal_tree(&format!("{app:032}"), &rootfs)).collect();
    (model, layers)
}

pub(super) fn app(number: usize, layer: &Path) -> AppPlan {
    AppPlan {
        name: format!("app-{number}"),
        image_id: format!("sha512-{number:0128}"),
        os: None,
        arch: None,
        os_release: None,
        layers: vec![layer.to_owned()],
        read_only_rootfs: false,
        exec: vec!["/bin/app".to_owned()],
        user: "web".to_owned(),
        group: "web".to_owned(),
        supplementary_gids: vec![id(7)],
        working_directory: PathBuf::from("/"),
        environment: vec![("PATH".to_owned(), "/bin".to_owned())],
        pre_start: None,
        post_stop: None,
        mounts: Vec::new(),
        isolators: Vec::new(),
        consent: crate::executor::plan::Consent::default(),
        lost_owners: None,
        stdio: Stdio::default(),
        ports: Vec::new(),
        notifies: false,
        stop_signal: None,
    }
}

pub(super) fn pod(model: &Model, number: u128, apps: Vec<AppPlan>) -> PodPlan {
    let uuid = Uuid::from_u128(number);
    let directory = PathBuf::from(MOUNTPOINT).join("pods").join(uuid.to_string());
    // The supervisor has made it, with the journal in it.
    model.change(|state| drop(state.files.insert(directory.clone(), Node::Directory)));
    PodPlan {
        uuid,
        name: None,
        hostname: "pod".to_owned(),
        directory,
        apps,
        devices: Vec::new(),
        volumes: Vec::new(),
        isolators: Vec::new(),
        network: Network::None,
        cni: Default::default(),
        ports: Vec::new(),
        dns: Dns::default(),
        hosts_entries: Vec::new(),
        metadata: Metadata::Off,
        level: Default::default(),
        strict: false,
        restart: Default::default(),
    }
}

pub(super) fn facts(model: &Model, plan: &PodPlan) -> HostFacts {
    HostFacts::for_pod(&mut model.clone(), plan, &Configured::default(), false).unwrap()
}

pub(super) fn steps(model: &Model, plan: &PodPlan) -> Vec<Step> {
    compile(plan, &facts(model, plan)).unwrap().steps
}

pub(super) fn applied(model: &Model, steps: &[Step]) {
    let mut host = FreeBsd::new(model.clone());
    for step in steps {
        host.apply(step).unwrap();
    }
}

pub(super) fn undone(model: &Model, steps: &[Step]) {
    journal::undo_all(&mut FreeBsd::new(model.clone()), steps).unwrap();
}

/// What a pod leaves on purpose: the bridge that all pods share, and the directories it went through.
pub(super) fn without_shared(model: &Model) -> super::State {
    let mut state = model.state();
    state.interfaces.remove("jetpack0");
    state.files.remove(Path::new("/var/db/jetpack/network"));
    state
}

#[test]
fn a_pod_of_one_app_without_network_starts_at_most_three_programs() {
    let (model, layers) = host(1);
    let mut app = app(0, &layers[0]);
    app.isolators.push(Isolation::Memory { request: None, limit: Some(1 << 26) });
    let plan = pod(&model, 1, vec![app]);
    let steps = steps(&model, &plan);
    applied(&model, &steps);
    assert_eq!(model.programs().len(), 1, "before the app starts: {:?}", model.programs());
    undone(&model, &steps);
    assert!(model.programs().len() <= 3, "{:?}", model.programs());
}

#[test]
fn a_copied_rootfs_is_read_only_and_its_mounts_are_seen_all_the_same() {
    let (model, layers) = host(1);
    let mut one = app(0, &layers[0]);
    one.read_only_rootfs = true;
    one.mounts.push(MountPlan { volume: 0, target: PathBuf::from("/data"), read_only: false });
    let mut plan = pod(&model, 1, vec![one]);
    let kind = VolumeKind::Host { source: PathBuf::from("/srv/data"), recursive: false, follow_links: false };
    plan.volumes.push(VolumePlan { name: "data".to_owned(), kind, read_only: false });
    let mut facts = facts(&model, &plan);
    facts.sealed.clear();
    let steps = compile(&plan, &facts).unwrap().steps;
    applied(&model, &steps);
    let pid = model.start(&plan, &steps, 0, Phase::Main, None).unwrap();
    let process = model.history().into_iter().find(|process| process.pid == pid).unwrap();
    let places: Vec<_> = process.mounts.iter().map(|mount| mount.on.to_string_lossy().into_owned()).collect();
    // The rootfs first: what comes after is above it.
    assert_eq!(places, ["/", "/dev", "/data", "/dev/fd"], "{process:?}");
    assert!(process.mounts[0].read_only);
}

#[test]
fn a_link_in_the_image_at_a_mount_target_is_refused_and_the_host_stays_as_it_was() {
    let (model, _) = host(0);
    let layer = model.seal_tree("evil", &[("bin", Node::Directory), ("data", Node::Link(PathBuf::from("/etc")))]);
    let mut app = app(0, &layer);
    app.mounts.push(MountPlan { volume: 0, target: PathBuf::from("/data"), read_only: false });
    let mut plan = pod(&model, 1, vec![app]);
    let kind = VolumeKind::Host { source: PathBuf::from("/srv/data"), recursive: false, follow_links: false };
    plan.volumes.push(VolumePlan { name: "data".to_owned(), kind, read_only: false });
    let before = model.state();
    let steps = steps(&model, &plan);
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(&directory.path().join("journal"), "freebsd", None, 0).unwrap();
    let error = journal.apply_all(&mut FreeBsd::new(model.clone()), &steps).unwrap_err();
    assert!(error.to_string().starts_with("mount /srv/data at /data in "), "{error}");
    assert_eq!(before, model.state());
}

#[test]
fn no_app_sees_all_devices_where_the_mark_has_outlived_the_rule_set() {
    let (model, layers) = host(1);
    model.change(|state| drop(state.device_rules.remove(&7381)));
    let plan = pod(&model, 1, vec![app(0, &layers[0])]);
    applied(&model, &steps(&model, &plan));
    assert!(model.state().device_rules[&7381].iter().any(|rule| rule.ends_with("include 1")));
    let dev = plan.directory.join("root/app-0/rootfs/dev");
    assert!(model.lock().node(&dev.join("null")).is_some() && model.lock().node(&dev.join("mem")).is_none());
}

#[test]
fn a_device_directory_that_is_a_link_is_refused() {
    let (model, _) = host(0);
    let layer = model.seal_tree("evil", &[("dev", Node::Link(PathBuf::from("/etc")))]);
    let plan = pod(&model, 1, vec![app(0, &layer)]);
    let mut host = FreeBsd::new(model.clone());
    let refused = steps(&model, &plan).iter().find_map(|step| host.apply(step).err()).unwrap();
    assert!(refused.to_string().starts_with("mount devfs at /dev in "), "{refused}");
    assert!(model.state().mounts.iter().all(|mount| mount.on != Path::new("/etc")));
}

#[test]
fn a_recursive_volume_brings_what_is_mounted_below_it_read_only_too() {
    let (model, layers) = host(1);
    let below = super::Mounted {
        kind: "zfs".to_owned(),
        from: "zroot/below".to_owned(),
        on: PathBuf::from("/srv/data/below"),
        read_only: false,
    };
    model.change(|state| state.mounts.push(below));
    let mut app = app(0, &layers[0]);
    app.mounts.push(MountPlan { volume: 0, target: PathBuf::from("/data"), read_only: true });
    let mut plan = pod(&model, 1, vec![app]);
    let kind = VolumeKind::Host { source: PathBuf::from("/srv/data"), recursive: true, follow_links: false };
    plan.volumes.push(VolumePlan { name: "data".to_owned(), kind, read_only: false });
    let before = model.state();
    let steps = steps(&model, &plan);
    applied(&model, &steps);
    let seen: Vec<_> = model.state().mounts.into_iter().filter(|mount| mount.kind == "nullfs").collect();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|mount| mount.read_only), "{seen:?}");
    assert!(seen[1].on.ends_with("data/below"));
    undone(&model, &steps);
    assert_eq!(before, model.state());
}

#[test]
fn what_apps_ask_of_sockets_and_releases_is_done_or_told() {
    let (model, layers) = host(2);
    let (mut one, mut other) = (app(0, &layers[0]), app(1, &layers[1]));
    one.ports.push(AppPort {
        name: "web".to_owned(),
        protocol: "tcp".to_owned(),
        port: 80,
        count: 2,
        socket_activated: true,
    });
    one.notifies = true;
    one.os_release = Some("12.4-RELEASE".to_owned());
    other.os_release = Some("13.1-RELEASE".to_owned());
    other.isolators.push(Isolation::NetworkBandwidth { limit: 1 << 20 });
    let mut plan = pod(&model, 1, vec![one, other]);
    plan.ports.push(PortForward {
        name: "web".to_owned(),
        protocol: "tcp".to_owned(),
        host_port: 8080,
        host_ip: None,
        pod_port: 80,
        count: 2,
        socket_activated: Some("app-0".to_owned()),
    });
    let compiled = compile(&plan, &facts(&model, &plan)).unwrap();
    let opened = compiled.steps.iter().filter_map(|step| match step {
        Step::Listen { listen, on_host, .. } => Some((listen.app, listen.port, listen.count, *on_host)),
        _ => None,
    });
    assert_eq!(opened.collect::<Vec<_>>(), [(0, 80, 2, false), (0, 8080, 2, true)]);
    applied(&model, &compiled.steps);
    let jail = model.state().jails.into_values().next().unwrap();
    assert_eq!(jail.parameters["osrelease"], Value::Text("12.4-RELEASE".to_owned()));
    assert_eq!(jail.parameters["osreldate"], Value::Number(1_204_000));
    let unmet: Vec<String> = compiled.report.unmet().map(ToString::to_string).collect();
    for words in ["readiness", "13.1-RELEASE", "ipfw pipe"] {
        assert!(unmet.iter().any(|line| line.contains(words)), "{words}: {unmet:?}");
    }
}

#[test]
fn apps_that_fail_are_started_again_as_the_plan_has_it() {
    use crate::executor::lifecycle::{Supervision, run};
    use crate::executor::plan::Restart;
    use crate::executor::supervise::End;

    let directory = tempfile::tempdir().unwrap();
    let lives = |number: u128, restart: Restart, ends: &[i32]| {
        let (model, layers) = host(1);
        let plan = PodPlan { restart, ..pod(&model, number, vec![app(0, &layers[0])]) };
        model.ends_with(ends.iter().map(|status| End::Status(*status)));
        let compiled = compile(&plan, &facts(&model, &plan)).unwrap();
        let pod = crate::pod::Pods::new(directory.path()).create(plan.uuid).unwrap();
        let quiet = Supervision { foreground: false, ..Supervision::default() };
        let ending =
            run(&mut FreeBsd::new(model.clone()), &pod, &plan, &compiled, || Ok(None), quiet, "model:freebsd").unwrap();
        let processes = model.history().len();
        (ending.code, ending.status.apps[0].restarts, ending.status.apps[0].previous, processes)
    };
    assert_eq!(lives(1, Restart::No, &[3]), (3, 0, None, 1));
    assert_eq!(lives(2, Restart::OnFailure(None), &[3, 4]), (0, 2, Some(End::Status(4)), 3));
    assert_eq!(lives(3, Restart::OnFailure(Some(1)), &[3, 4, 5]), (4, 1, Some(End::Status(3)), 2));
    assert_eq!(lives(4, Restart::OnFailure(Some(1)), &[]), (0, 0, None, 1));
}

#[test]
fn each_level_is_a_jail_of_its_own_kind_and_leaves_nothing() {
    use crate::executor::level::Level::{Chroot, Default, Shared, Strict};
    for (level, apart) in [
        (Chroot, ["host inherit", "sysvshm inherit", "enforce_statfs 1", "securelevel 2"]),
        (Shared, ["host inherit", "sysvshm new", "enforce_statfs 1", "securelevel 2"]),
        (Default, ["host.hostname pod", "sysvshm new", "enforce_statfs 1", "securelevel 2"]),
        (Strict, ["host.hostname pod", "sysvshm new", "enforce_statfs 2", "securelevel 3"]),
    ] {
        let (model, layers) = host(1);
        let mut plan = pod(&model, 1, vec![app(0, &layers[0])]);
        plan.level = level;
        plan.network = level.network().unwrap_or_default();
        let before = model.state();
        let compiled = compile(&plan, &facts(&model, &plan)).unwrap();
        applied(&model, &compiled.steps);
        let jail = model.state().jails.into_values().next().unwrap();
        let said = |name: &str| match jail.parameters.get(name)? {
            Value::Text(text) => Some(format!("{name} {text}")),
            Value::Number(number) => Some(format!("{name} {number}")),
            Value::Inherit => Some(format!("{name} inherit")),
            Value::New => Some(format!("{name} new")),
            Value::Flag => Some(name.to_owned()),
            Value::Addresses(_) => None,
        };
        let found = ["host", "host.hostname", "sysvshm", "enforce_statfs", "securelevel"].map(said);
        assert_eq!(found.into_iter().flatten().collect::<Vec<_>>(), apart, "{level}");
        assert_eq!(said("ip4"), (level < Default).then(|| "ip4 inherit".to_owned()), "{level}");
        assert!(!jail.parameters.keys().any(|name| name.starts_with("allow.") && !name.starts_with("allow.no")));
        // What a level gives up is what it is refused for.
        let given_up: Vec<&str> = compiled.report.unmet().map(|verdict| verdict.clause.as_str()).collect();
        let expected: &[&str] = match level {
            Chroot => &["pod.ns.ipc", "pod.ns.uts", "pod.ns.net"],
            Shared => &["pod.ns.uts", "pod.ns.net"],
            Default | Strict => &[],
        };
        assert_eq!(given_up, expected, "{level}");
        undone(&model, &compiled.steps);
        assert_eq!(before, model.state());
    }
}
