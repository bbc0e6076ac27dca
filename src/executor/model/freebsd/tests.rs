//! Laws of the FreeBSD executor, held against the model.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use uuid::Uuid;

use super::{MOUNTPOINT, Model, Node};
use crate::executor::freebsd::facts::Configured;
use crate::executor::freebsd::system::Value;
use crate::executor::freebsd::{FreeBsd, HostFacts, Step, compile, diagnose};
use crate::executor::journal::{self, Fault, Journal};
use crate::executor::plan::{
    AppPlan, AppPort, Dns, Isolation, Metadata, MountPlan, Network, PodPlan, PortForward, Stdio, VolumeKind, VolumePlan,
};
use crate::executor::{Host as _, Kind, Phase, Step as _};
use crate::id::Id;

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

fn some_isolators() -> impl Strategy<Value = Vec<Isolation>> {
    let one = prop_oneof![
        (1_u64..1 << 40).prop_map(|limit| Isolation::Memory { request: None, limit: Some(limit) }),
        (1_u64..64_000).prop_map(|limit| Isolation::Cpu { request: Some(1), limit: Some(limit) }),
        (1_u64..1 << 30).prop_map(|limit| Isolation::BlockIops { limit }),
        Just(Isolation::NoNewPrivileges { value: true }),
        Just(Isolation::OomScoreAdj { value: 5 }),
        Just(Isolation::Sysctl { values: BTreeMap::from([("net.inet.tcp.keepidle".to_owned(), "9000".to_owned())]) }),
    ];
    prop::collection::vec(one, 0..3)
}

fn some_network() -> impl Strategy<Value = (Network, Vec<PortForward>)> {
    let port = (1_u16..60_000, 1_u16..60_000, 1_u16..20).prop_map(|(host_port, pod_port, count)| PortForward {
        name: "www".to_owned(),
        protocol: "tcp".to_owned(),
        host_port,
        host_ip: None,
        pod_port,
        count,
        socket_activated: None,
    });
    prop_oneof![
        Just((Network::None, Vec::new())),
        Just((Network::Host, Vec::new())),
        prop::collection::vec(port, 0..3).prop_map(|ports| (Network::Named(vec!["default".to_owned()]), ports)),
    ]
}

/// Read-only rootfs, mounts (volume, read-only), isolators.
type AppShape = (bool, Vec<(usize, bool)>, Vec<Isolation>);

/// What makes a random pod: the plan itself depends on the model that it is for.
#[derive(Clone, Debug)]
struct Shape {
    apps: Vec<AppShape>,
    volumes: Vec<Option<bool>>,
    isolators: Vec<Isolation>,
    network: (Network, Vec<PortForward>),
    copies: bool,
}

fn shape() -> impl Strategy<Value = Shape> {
    let mounts = prop::collection::vec((0_usize..3, any::<bool>()), 0..3);
    let app = (any::<bool>(), mounts, some_isolators());
    (
        prop::collection::vec(app, 1..4),
        prop::collection::vec(prop::option::of(any::<bool>()), 3..=3),
        some_isolators(),
        some_network(),
        any::<bool>(),
    )
        .prop_map(|(apps, volumes, isolators, network, copies)| Shape {
            apps,
            volumes,
            isolators,
            network,
            copies,
        })
}

fn built(shape: &Shape, number: u128) -> (Model, PodPlan) {
    let (model, layers) = host(shape.apps.len());
    if shape.copies {
        // The same trees where there is no ZFS.
        model.change(|state| {
            state.modules.remove("zfs");
            state.mounts.clear();
            state.datasets.clear();
        });
    }
    let plan = planned(shape, &model, &layers, number);
    (model, plan)
}

fn planned(shape: &Shape, model: &Model, layers: &[PathBuf], number: u128) -> PodPlan {
    let apps = shape.apps.iter().zip(layers).enumerate().map(|(number, ((read_only, mounts, isolators), layer))| {
        let mut app = app(number, layer);
        app.read_only_rootfs = *read_only;
        app.isolators.clone_from(isolators);
        for (volume, read_only) in mounts {
            let target = PathBuf::from(format!("/volumes/{}", app.mounts.len()));
            app.mounts.push(MountPlan { volume: *volume, target, read_only: *read_only });
        }
        app
    });
    let mut plan = pod(model, number, apps.collect());
    plan.volumes = (0..)
        .zip(&shape.volumes)
        .map(|(number, recursive)| VolumePlan {
            name: format!("volume-{number}"),
            kind: match recursive {
                None => VolumeKind::Empty { mode: 0o755, uid: Id::ROOT, gid: Id::ROOT },
                Some(recursive) => {
                    VolumeKind::Host { source: PathBuf::from("/srv/data"), recursive: *recursive, follow_links: false }
                }
            },
            read_only: number == 2,
        })
        .collect();
    plan.isolators.clone_from(&shape.isolators);
    (plan.network, plan.ports) = shape.network.clone();
    plan
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_applied_then_undone_leaves_the_model_as_it_was(shape in shape()) {
        let (model, plan) = built(&shape, 1);
        let before = without_shared(&model);
        let steps = steps(&model, &plan);
        applied(&model, &steps);
        prop_assert_ne!(&before, &without_shared(&model));
        undone(&model, &steps);
        prop_assert_eq!(&before, &without_shared(&model));
        // Taking back what was taken back already changes nothing.
        undone(&model, &steps);
        prop_assert_eq!(&before, &without_shared(&model));
    }

    #[test]
    fn a_failure_of_any_step_leaves_the_model_as_it_was(shape in shape(), at in any::<prop::sample::Index>()) {
        let (model, plan) = built(&shape, 1);
        let before = without_shared(&model);
        let steps = steps(&model, &plan);
        let at = at.index(steps.len());
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(&directory.path().join("journal"), "freebsd", None, 0).unwrap();
        journal.inject(Fault::Fail(at));
        let error = journal.apply_all(&mut FreeBsd::new(model.clone()), &steps).unwrap_err();
        prop_assert_eq!(*error.kind(), Kind::Injected);
        prop_assert_eq!(error.to_string(), steps[at].describe());
        prop_assert_eq!(before, without_shared(&model));
    }

    #[test]
    fn what_a_supervisor_killed_after_any_step_left_is_taken_away(shape in shape(), at in any::<prop::sample::Index>()) {
        let (model, plan) = built(&shape, 1);
        let before = without_shared(&model);
        let steps = steps(&model, &plan);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let mut journal = Journal::create(&path, "freebsd", None, 0).unwrap();
        journal.inject(Fault::Stop(at.index(steps.len())));
        let error = journal.apply_all(&mut FreeBsd::new(model.clone()), &steps).unwrap_err();
        prop_assert_eq!(*error.kind(), Kind::Interrupted);
        prop_assert_eq!(*journal::read::<Step>(&path, "linux").unwrap_err().kind(), Kind::Corrupt);
        let written = journal::read::<Step>(&path, "freebsd").unwrap();
        undone(&model, &written);
        prop_assert_eq!(before, without_shared(&model));
    }

    #[test]
    fn apps_see_exactly_their_mounts_and_write_to_nothing_read_only(shape in shape()) {
        let (model, plan) = built(&shape, 1);
        let steps = steps(&model, &plan);
        applied(&model, &steps);
        for (number, app) in plan.apps.iter().enumerate() {
            model.start(&plan, &steps, number, Phase::Main, None).unwrap();
            let process = model.history().pop().unwrap();
            let mut seen: Vec<(PathBuf, bool)> =
                process.mounts.iter().filter(|m| m.kind == "nullfs" && m.on != Path::new("/")).map(|m| (m.on.clone(), m.read_only)).collect();
            let mut meant: Vec<(PathBuf, bool)> = app
                .mounts
                .iter()
                .map(|mount| (mount.target.clone(), mount.read_only || plan.volumes[mount.volume].read_only))
                .collect();
            seen.sort();
            meant.sort();
            prop_assert_eq!(seen, meant);
            prop_assert!(model.state().mounts.iter().all(|mount| Path::new(&mount.from) != mount.on));
            if app.read_only_rootfs {
                prop_assert!(model.lock().read_only(&process.root.join("etc")));
            }
            prop_assert_eq!(process.ids, (id(80), id(80), vec![id(7)]));
            prop_assert_eq!(process.context.jail, format!("jetpack-{}", plan.uuid));
        }
    }

    #[test]
    fn two_pods_at_once_in_any_order_share_nothing(shape in shape(), order in prop::collection::vec(any::<bool>(), 0..80)) {
        let (model, layers) = host(shape.apps.len());
        let plans = [planned(&shape, &model, &layers, 1), planned(&shape, &model, &layers, 2)];
        let before = without_shared(&model);
        // Facts are gathered, and the network's claims made, under a lock: the second looks after the first has claimed.
        let first = steps(&model, &plans[0]);
        let network = |step: &Step| matches!(step, Step::CheckSource { .. } | Step::ClaimAddress { .. } | Step::MakeBridge { .. } | Step::MakeEpair { .. });
        let mut host = FreeBsd::new(model.clone());
        for step in first.iter().filter(|step| network(step)) {
            host.apply(step).unwrap();
        }
        let second = steps(&model, &plans[1]);
        for step in second.iter().filter(|step| network(step)) {
            host.apply(step).unwrap();
        }
        let mut left: Vec<_> = first.iter().filter(|step| !network(step)).collect();
        let mut right: Vec<_> = second.iter().filter(|step| !network(step)).collect();
        left.reverse();
        right.reverse();
        let mut order = order.into_iter();
        while !left.is_empty() || !right.is_empty() {
            let from = if order.next().unwrap_or(true) && !left.is_empty() || right.is_empty() { &mut left } else { &mut right };
            if let Some(step) = from.pop() {
                host.apply(step).unwrap();
            }
        }
        let addresses: Vec<_> = model.state().jails.values().flat_map(|jail| jail.settings.clone()).filter_map(|setting| match setting {
            crate::executor::freebsd::system::Setting::Address { interface, address, .. } if interface != "lo0" => Some(address),
            _ => None,
        }).collect();
        let mut apart = addresses.clone();
        apart.sort();
        apart.dedup();
        prop_assert_eq!(addresses.len(), apart.len());
        undone(&model, &first);
        prop_assert_eq!(model.state().jails.len(), 1);
        undone(&model, &second);
        prop_assert_eq!(before, without_shared(&model));
    }
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
fn pods_that_start_at_the_same_moment_share_no_address() {
    let (model, layers) = host(1);
    let start = |number: u128| {
        let mut plan = pod(&model, number, vec![app(0, &layers[0])]);
        plan.network = Network::Named(vec!["default".to_owned()]);
        let facts = HostFacts::for_pod(&mut model.clone(), &plan, &Configured::default(), true).unwrap();
        (plan, facts)
    };
    // Nothing of any is applied before the last has looked for an address.
    let started: Vec<_> = (1..=100).map(start).collect();
    let network = |facts: &HostFacts| facts.network.clone().unwrap();
    let addresses: std::collections::BTreeSet<_> = started.iter().map(|(_, facts)| network(facts).address).collect();
    let units: std::collections::BTreeSet<_> = started.iter().map(|(_, facts)| network(facts).unit).collect();
    assert_eq!((addresses.len(), units.len()), (100, 100));
    for (plan, facts) in &started {
        applied(&model, &compile(plan, facts).unwrap().steps);
    }
    assert_eq!(model.state().jails.len(), 100);
}

#[test]
fn the_address_of_a_pod_that_is_gone_is_free_again() {
    let (model, layers) = host(1);
    let choose = |plan: &PodPlan| {
        let facts = HostFacts::for_pod(&mut model.clone(), plan, &Configured::default(), true).unwrap();
        facts.network.unwrap().address
    };
    let network = |number| {
        let mut plan = pod(&model, number, vec![app(0, &layers[0])]);
        plan.network = Network::Named(vec!["default".to_owned()]);
        plan
    };
    let (first, second) = (network(1), network(2));
    let taken = choose(&first);
    assert_ne!(choose(&second), taken);
    model.change(|state| state.files.retain(|path, _| !path.starts_with(&first.directory)));
    assert_eq!(choose(&network(3)), taken);
}

#[test]
fn a_pod_with_a_network_is_translated_outwards_where_the_host_has_a_way() {
    let (model, layers) = host(1);
    let mut plan = pod(&model, 1, vec![app(0, &layers[0])]);
    plan.network = Network::Named(vec!["default".to_owned()]);
    applied(&model, &steps(&model, &plan));
    let rules: String = model.state().anchors.into_values().collect();
    assert!(rules.contains("nat pass on em0 inet from 10.77.0.2 to any -> (em0)"), "{rules}");
}

#[test]
fn a_pod_that_has_a_network_finds_names_as_the_host_does_where_its_image_says_nothing() {
    let (model, layers) = host(1);
    let host_says = Node::File("nameserver 10.0.0.1\n".to_owned());
    model.change(|state| drop(state.files.insert(PathBuf::from("/etc/resolv.conf"), host_says)));
    for (network, says) in [
        (Network::None, None),
        (Network::Host, Some("nameserver 10.0.0.1\n")),
        (Network::Named(vec!["default".to_owned()]), Some("nameserver 10.0.0.1\n")),
    ] {
        let mut plan = pod(&model, 1, vec![app(0, &layers[0])]);
        plan.network = network;
        let steps = steps(&model, &plan);
        let provided = steps.iter().find_map(|step| match step {
            Step::ProvideFile { path, content, .. } if path.ends_with("resolv.conf") => Some(content.as_str()),
            _ => None,
        });
        assert_eq!(provided, says, "{:?}", plan.network);
    }
}

#[test]
fn ports_are_refused_where_the_packet_filter_would_not_look_at_them() {
    let (model, layers) = host(1);
    let mut plan = pod(&model, 1, vec![app(0, &layers[0])]);
    plan.network = Network::Named(vec!["default".to_owned()]);
    plan.ports.push(PortForward {
        name: "www".to_owned(),
        protocol: "tcp".to_owned(),
        host_port: 8080,
        host_ip: None,
        pod_port: 80,
        count: 1,
        socket_activated: None,
    });
    let refused = |rules: Option<&[&str]>| {
        model.change(|state| state.main_rules = rules.map(|rules| rules.iter().map(ToString::to_string).collect()));
        let told = diagnose(&mut model.clone(), true, super::DATASET).into_iter().filter_map(|found| found.remedy);
        let told = told.collect::<String>();
        (crate::error::chain(&compile(&plan, &facts(&model, &plan)).unwrap_err()), told)
    };
    let (refusal, told) = refused(Some(&["nat-anchor \"jetpack/*\"", "anchor \"jetpack/*\""]));
    assert!(refusal.contains("/etc/pf.conf") && refusal.ends_with("rdr-anchor \"jetpack/*\""), "{refusal}");
    assert!(told.ends_with("rdr-anchor \"jetpack/*\""), "{told}");
    let (refusal, told) = refused(None);
    assert!(refusal.contains("service pf onestart") && told.contains("service pf onestart"), "{refusal}; {told}");
}

#[test]
fn who_is_not_root_is_told_so_before_anything_is_done() {
    let (model, layers) = host(1);
    let plan = pod(&model, 1, vec![app(0, &layers[0])]);
    let mut facts = facts(&model, &plan);
    facts.privileged = false;
    let refused = compile(&plan, &facts).unwrap_err();
    assert!(crate::error::chain(&refused).contains("as root"), "{refused:?}");
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
fn limits_are_ignored_and_told_where_the_kernel_does_not_account() {
    let (model, layers) = host(1);
    model.change(|state| {
        let _ = state.sysctls.insert("kern.racct.enable".to_owned(), 0);
    });
    let mut app = app(0, &layers[0]);
    app.isolators.push(Isolation::Cpu { request: None, limit: Some(500) });
    let plan = pod(&model, 1, vec![app]);
    let compiled = compile(&plan, &facts(&model, &plan)).unwrap();
    let unmet: Vec<String> = compiled.report.unmet().map(ToString::to_string).collect();
    assert_eq!(unmet.len(), 1);
    assert!(unmet[0].contains("kern.racct.enable=1") && unmet[0].contains("loader.conf"), "{unmet:?}");
    applied(&model, &compiled.steps);
    assert!(model.state().rules.is_empty());
}

#[test]
fn what_is_lost_without_networks_of_jails_own_is_told() {
    let (model, layers) = host(1);
    model.change(|state| {
        let _ = state.sysctls.insert("kern.features.vimage".to_owned(), 0);
    });
    let mut plan = pod(&model, 1, vec![app(0, &layers[0])]);
    plan.metadata = Metadata::Own;
    let compiled = compile(&plan, &facts(&model, &plan)).unwrap();
    let weaker: Vec<String> = compiled.report.weaker().map(ToString::to_string).collect();
    for words in ["own network", "metadata service"] {
        assert!(weaker.iter().any(|line| line.contains(words) && line.contains("VIMAGE")), "{words}: {weaker:?}");
    }
    applied(&model, &compiled.steps);
    undone(&model, &compiled.steps);
}

#[test]
fn memory_limits_kill_and_deny_nothing() {
    let (model, layers) = host(1);
    let mut plan = pod(&model, 1, vec![app(0, &layers[0])]);
    plan.isolators.push(Isolation::Memory { request: None, limit: Some(64 << 20) });
    applied(&model, &steps(&model, &plan));
    // Resident memory cannot be denied, and what could be denied in its place is not what is used.
    assert_eq!(model.state().rules, [format!("jail:jetpack-{}:memoryuse:sigkill=67108864", plan.uuid)]);
}

#[test]
fn an_image_for_linux_needs_the_linuxulator_and_gets_its_file_systems() {
    let (model, layers) = host(1);
    let mut linux = app(0, &layers[0]);
    linux.os = Some("linux".to_owned());
    let plan = pod(&model, 1, vec![linux]);
    let refused = compile(&plan, &facts(&model, &plan)).unwrap_err();
    assert!(crate::error::chain(&refused).contains("kldload linux64"), "{refused:?}");
    model.change(|state| {
        let _ = state.modules.insert("linux64".to_owned());
    });
    applied(&model, &steps(&model, &plan));
    let kinds: Vec<_> = model.state().mounts.into_iter().map(|mount| mount.kind).collect();
    assert!(["linprocfs", "linsysfs", "fdescfs"].iter().all(|kind| kinds.iter().any(|found| found == kind)));
}

#[test]
fn an_image_for_another_system_or_machine_is_refused_by_name() {
    let (model, layers) = host(1);
    for (os, arch, word) in [("darwin", "x86_64", "darwin"), ("freebsd", "arm", "arm")] {
        let mut other = app(0, &layers[0]);
        (other.os, other.arch) = (Some(os.to_owned()), Some(arch.to_owned()));
        let plan = pod(&model, 1, vec![other]);
        let refused = compile(&plan, &facts(&model, &plan)).unwrap_err();
        assert_eq!(*refused.kind(), Kind::Unsupported);
        assert!(crate::error::chain(&refused).contains(word), "{refused:?}");
    }
}

#[test]
fn refusals_are_told_with_the_step_and_the_systems_words() {
    type Spoil = fn(&Model, &PodPlan);
    let cases: [(Spoil, &str); 7] = [
        (
            |model, _| {
                model.change(|state| {
                    let _ = state.unloadable.insert("nullfs".to_owned());
                })
            },
            "kldload nullfs",
        ),
        (
            |model, _| {
                let other = super::Interface { addresses: vec!["10.77.0.1/16".to_owned()], ..Default::default() };
                model.change(|state| drop(state.interfaces.insert("em1".to_owned(), other)));
            },
            "freebsd.network",
        ),
        (
            |model, _| {
                let other = super::Interface { kind: "epair".to_owned(), ..Default::default() };
                model.change(|state| drop(state.interfaces.insert("epair10002a".to_owned(), other)));
            },
            "ifconfig epair10002a",
        ),
        (|model, _| model.change(|state| state.free = 0), "zfs list -o space"),
        (
            |model, plan| {
                let jail = super::Jail { id: 99, parameters: BTreeMap::new(), settings: Vec::new() };
                model.change(|state| drop(state.jails.insert(format!("jetpack-{}", plan.uuid), jail)));
            },
            "jail -r",
        ),
        (
            |model, _| {
                model.change(|state| {
                    let _ = state.modules.remove("pf");
                })
            },
            "pf",
        ),
        (|model, _| model.change(|state| state.files.retain(|path, _| !path.starts_with("/srv"))), "/srv/data"),
    ];
    for (spoil, words) in cases {
        let (model, layers) = host(1);
        let mut app = app(0, &layers[0]);
        app.mounts.push(MountPlan { volume: 0, target: PathBuf::from("/data"), read_only: false });
        let mut plan = pod(&model, 1, vec![app]);
        let kind = VolumeKind::Host { source: PathBuf::from("/srv/data"), recursive: false, follow_links: false };
        plan.volumes.push(VolumePlan { name: "data".to_owned(), kind, read_only: false });
        plan.network = Network::Named(vec!["default".to_owned()]);
        plan.ports.push(PortForward {
            name: "www".to_owned(),
            protocol: "tcp".to_owned(),
            host_port: 8080,
            host_ip: Some(Ipv4Addr::LOCALHOST),
            pod_port: 80,
            count: 1,
            socket_activated: None,
        });
        spoil(&model, &plan);
        let before = without_shared(&model);
        let told = match compile(&plan, &facts(&model, &plan)) {
            Err(refused) => crate::error::chain(&refused),
            Ok(compiled) => {
                let mut host = FreeBsd::new(model.clone());
                let failed = compiled.steps.iter().position(|step| host.apply(step).is_err()).unwrap();
                let error = host.apply(&compiled.steps[failed]).unwrap_err();
                // A jail of that name that is not ours must not be taken away with ours.
                if words != "jail -r" {
                    undone(&model, &compiled.steps[..=failed]);
                    assert_eq!(before, without_shared(&model), "{words}");
                }
                crate::error::chain(&error)
            }
        };
        assert!(told.contains(words), "{told}");
    }
}

#[test]
fn the_doctor_names_what_to_do_about_each_thing_that_is_missing() {
    let model = Model::new();
    let missing: Vec<_> = diagnose(&mut model.clone(), true, super::DATASET).into_iter().filter(|f| !f.good).collect();
    assert_eq!(missing.iter().map(|finding| finding.subject.as_str()).collect::<Vec<_>>(), ["Linux images"]);
    model.change(|state| {
        let _ = state.modules.insert("linux64".to_owned());
    });
    let lacking =
        |finding: &crate::executor::finding::Finding| finding.subject == "unmarked Linux programs" && !finding.good;
    assert!(diagnose(&mut model.clone(), true, super::DATASET).iter().any(lacking));
    model.change(|state| {
        let _ = state.sysctls.insert("kern.elf64.fallback_brand".to_owned(), 3);
        let _ = state.modules.insert("pty".to_owned());
    });
    assert!(diagnose(&mut model.clone(), true, super::DATASET).iter().all(|finding| finding.good));
    model.change(|state| {
        state.sysctls.clear();
        state.modules.clear();
        state.device_rules.clear();
        state.version = "13.2-RELEASE".to_owned();
    });
    let findings = diagnose(&mut model.clone(), false, super::DATASET);
    assert!(findings.iter().filter(|finding| !finding.good).all(|finding| finding.remedy.is_some()));
    assert!(findings.iter().filter(|finding| !finding.good).count() >= 7, "{findings:?}");
}

#[test]
fn init_makes_what_is_missing_adopts_what_is_there_and_mounts_it() {
    use crate::executor::freebsd::datasets::initialise;
    let at = Path::new(MOUNTPOINT);
    let made = |model: &Model, root: &str| initialise(&mut model.clone(), root, at).map(|done| done.made.len());
    let words = |model: &Model, root: &str| made(model, root).unwrap_err().to_string();

    let model = Model::new();
    assert_eq!(made(&model, super::DATASET).unwrap(), 0, "everything is there");
    model.change(|state| state.mounts.clear());
    assert_eq!(made(&model, super::DATASET).unwrap(), 0);
    assert!(model.state().mounts.iter().any(|mount| mount.on == at), "the root was not mounted");

    model.change(|state| {
        state.mounts.clear();
        state.datasets.retain(|name, _| name == "zroot");
    });
    assert!(words(&model, "tank/jetpack").contains("no such pool 'tank'"), "a pool of another name");
    assert_eq!(made(&model, "zroot/a/b/jetpack").unwrap(), 3, "below datasets that are not there either");
    assert!(model.state().datasets.contains_key("zroot/a/b/jetpack/pods"));

    model.change(|state| state.modules.clear());
    assert!(words(&model, super::DATASET).contains("/dev/zfs"), "no ZFS at all");
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
