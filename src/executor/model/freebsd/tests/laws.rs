//! What holds for every pod, applied, undone, failed or killed at any step.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::executor::journal::Fault;
use crate::executor::{Kind, Step as _};

fn some_isolators() -> impl Strategy<Value = Vec<Isolation>> {
    let one = prop_oneof![
        (1_u64..1 << 40).prop_map(|limit| Isolation::Memory { request: None, limit: Some(limit) }),
        (1_u64..64_000).prop_map(|limit| Isolation::Cpu { request: Some(1), limit: Some(limit) }),
        (1_u64..1 << 30).prop_map(|limit| Isolation::BlockIops { limit }),
        Just(Isolation::NoNewPrivileges { value: true }),
        Just(Isolation::OomScoreAdj { value: 5 }),
        Just(Isolation::Sysctl {
            values: BTreeMap::from(
                ["net.inet.tcp.keepidle", "net.inet.ip.ttl"].map(|name| (name.to_owned(), "90".to_owned()))
            ),
        }),
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
