//! What a real 13.2 has shown that the model did not know, each as a law.

use std::path::PathBuf;

use super::files::Node;
use super::tests::{app, applied, facts, host, pod, steps, undone, without_shared};
use crate::executor::freebsd::facts::Configured;
use crate::executor::freebsd::system::Program;
use crate::executor::freebsd::{FreeBsd, HostFacts, compile};
use crate::executor::plan::{MountPlan, Network, PodPlan, PortForward, VolumeKind, VolumePlan};
use crate::executor::{Host as _, Kind, Phase};

/// With a network, translation and a port of the host.
fn connected(model: &super::Model, layer: &std::path::Path, number: u128) -> PodPlan {
    let mut plan = pod(model, number, vec![app(0, layer)]);
    plan.network = Network::Named(vec!["default".to_owned()]);
    plan.ports.push(PortForward {
        name: "www".to_owned(),
        protocol: "tcp".to_owned(),
        host_port: 8000 + u16::try_from(number).unwrap(),
        host_ip: None,
        pod_port: 80,
        count: 1,
        socket_activated: None,
    });
    plan
}

#[test]
fn sixty_pods_that_start_and_end_at_the_same_time_all_do_and_leave_nothing() {
    let (model, layers) = host(1);
    let plans: Vec<PodPlan> = (1..=60).map(|number| connected(&model, &layers[0], number)).collect();
    let before = without_shared(&model);
    let run = |plan: &PodPlan| {
        let facts = HostFacts::for_pod(&mut model.clone(), plan, &Configured::default(), true).unwrap();
        let steps = compile(plan, &facts).unwrap().steps;
        applied(&model, &steps);
        steps
    };
    let started: Vec<_> = std::thread::scope(|scope| {
        let pods: Vec<_> = plans.iter().map(|plan| scope.spawn(move || run(plan))).collect();
        pods.into_iter().map(|pod| pod.join().unwrap()).collect()
    });
    let state = model.state();
    assert_eq!((state.jails.len(), state.anchors.len()), (60, 60));
    let bridges = state.interfaces.values().filter(|interface| interface.kind == "bridge").count();
    assert_eq!(bridges, 1, "{state}");
    std::thread::scope(|scope| {
        for steps in &started {
            scope.spawn(|| undone(&model, steps));
        }
    });
    assert_eq!(before, without_shared(&model));
}

#[test]
fn what_somebody_else_holds_for_a_moment_is_waited_for() {
    let (model, layers) = host(1);
    let plan = connected(&model, &layers[0], 1);
    let before = without_shared(&model);
    let steps = steps(&model, &plan);
    model.occupy(Program::Pfctl, 3);
    applied(&model, &steps);
    assert_eq!(model.state().anchors.len(), 1);
    model.occupy(Program::Pfctl, 3);
    model.occupy(Program::Zfs, 3);
    undone(&model, &steps);
    assert_eq!(before, without_shared(&model));
}

#[test]
fn an_interface_that_another_pod_moves_while_rules_are_loaded_is_no_failure() {
    let (model, layers) = host(1);
    let plan = connected(&model, &layers[0], 1);
    let steps = steps(&model, &plan);
    model.disturb(Program::Pfctl, 2, "pfctl: SIOCGIFGROUP: Device not configured");
    applied(&model, &steps);
    assert_eq!(model.state().anchors.len(), 1);
}

#[test]
fn what_somebody_else_holds_for_ever_is_told() {
    let (model, layers) = host(1);
    let plan = connected(&model, &layers[0], 1);
    let steps = steps(&model, &plan);
    model.occupy(Program::Pfctl, u32::MAX);
    let mut host = FreeBsd::new(model.clone());
    let error = steps.iter().find_map(|step| host.apply(step).err()).unwrap();
    assert_eq!(*error.kind(), Kind::Busy);
    let told = crate::error::chain(&error);
    assert!(told.contains("load the packet filter anchor") && told.contains("Device busy"), "{told}");
}

#[test]
fn a_copied_read_only_rootfs_without_a_dev_of_its_own_gets_one_while_it_can() {
    let (model, _) = host(0);
    // As the probe's image: one file and nothing else.
    let layer = model.seal_tree("bare", &[("bin", Node::Directory), ("bin/app", Node::File(String::new()))]);
    let mut one = app(0, &layer);
    one.read_only_rootfs = true;
    (one.user, one.group) = ("0".to_owned(), "0".to_owned());
    let plan = pod(&model, 1, vec![one]);
    let mut facts = facts(&model, &plan);
    facts.sealed.clear();
    let steps = compile(&plan, &facts).unwrap().steps;
    applied(&model, &steps);
    model.start(&plan, &steps, 0, Phase::Main, None).unwrap();
    let process = model.history().pop().unwrap();
    assert!(process.read_only && process.mounts.iter().any(|mount| mount.kind == "devfs"), "{process:?}");
}

fn with_volume(model: &super::Model, layer: &std::path::Path, source: &str, target: &str) -> PodPlan {
    let mut app = app(0, layer);
    app.mounts.push(MountPlan { volume: 0, target: PathBuf::from(target), read_only: false });
    let mut plan = pod(model, 1, vec![app]);
    let kind = VolumeKind::Host { source: PathBuf::from(source), recursive: false, follow_links: false };
    plan.volumes.push(VolumePlan { name: "data".to_owned(), kind, read_only: false });
    plan
}

#[test]
fn volumes_that_nullfs_cannot_show_are_refused_with_the_reason() {
    let (model, layers) = host(1);
    model.change(|state| {
        state.files.insert(PathBuf::from("/srv/socket"), Node::Socket);
        state.files.insert(PathBuf::from("/srv/file"), Node::File(String::new()));
    });
    let refused = |source: &str, target: &str| {
        let plan = with_volume(&model, &layers[0], source, target);
        let before = without_shared(&model);
        let steps = steps(&model, &plan);
        let mut host = FreeBsd::new(model.clone());
        let mut done = Vec::new();
        let mut error = None;
        for step in steps {
            error = host.apply(&step).err();
            done.push(step);
            if error.is_some() {
                break;
            }
        }
        undone(&model, &done);
        assert_eq!(before, without_shared(&model));
        let error = error.unwrap();
        (*error.kind(), crate::error::chain(&error))
    };
    let (kind, told) = refused("/srv/socket", "/data");
    assert_eq!(kind, Kind::Unsupported, "{told}");
    assert!(
        told.starts_with("find the volume's source /srv/socket: ") && told.contains("neither a file nor"),
        "{told}"
    );
    let (kind, told) = refused("/srv/file", "/etc");
    assert_eq!(kind, Kind::Refused, "{told}");
    assert!(told.contains("is a file, and the image has a directory there"), "{told}");
}

#[test]
fn a_directory_that_covers_a_file_of_the_image_is_mounted_and_told() {
    let (model, layers) = host(1);
    let plan = with_volume(&model, &layers[0], "/srv/data", "/etc/passwd");
    let mut host = FreeBsd::new(model.clone());
    for step in steps(&model, &plan) {
        host.apply(&step).unwrap();
    }
    assert_eq!(host.warnings, ["a volume masks a file at /etc/passwd [vol.target.warn]"]);
}

#[test]
fn the_doctor_tries_what_pods_are_made_of_and_leaves_nothing() {
    use crate::executor::freebsd::attempt;
    let attempt = |model: &super::Model| attempt(model.clone(), super::MOUNTPOINT.as_ref(), super::DATASET);
    let (model, _) = host(0);
    let before = model.state();
    let found = attempt(&model);
    assert!(found.iter().all(|finding| finding.good), "{found:?}");
    for what in ["a clone", "devices", "a jail", "a resource rule", "a packet filter anchor"] {
        assert!(found.iter().any(|finding| finding.subject.ends_with(what)), "{what}: {found:?}");
    }
    assert_eq!(before, model.state());

    // What fails is told, and what was made before it goes.
    model.occupy(Program::Pfctl, u32::MAX - 1);
    let found = attempt(&model);
    let bad: Vec<_> = found.iter().filter(|finding| !finding.good).collect();
    assert!(bad.iter().all(|finding| finding.found.contains("Device busy")) && !bad.is_empty(), "{found:?}");
    let mut after = model.state();
    after.anchors.clear();
    assert_eq!(before, after);

    // A host without any of it is tried as far as it goes.
    model.change(|state| {
        state.modules.clear();
        state.sysctls.clear();
    });
    let found = attempt(&model);
    assert!(found.iter().all(|finding| finding.good) && found.len() == 4, "{found:?}");
}

#[test]
fn linux_images_are_told_what_of_their_terminals_is_missing_and_a_release_that_libraries_take() {
    let (model, layers) = host(1);
    let told = |modules: &[&str]| {
        model.change(|state| state.modules.extend(modules.iter().map(ToString::to_string)));
        let mut one = app(0, &layers[0]);
        one.os = Some("linux".to_owned());
        let plan = pod(&model, 1, vec![one]);
        compile(&plan, &facts(&model, &plan)).unwrap()
    };
    let says = |compiled: &crate::executor::Compiled<_>, clause: &str| {
        serde_json::to_string(&compiled.report).unwrap().contains(clause)
    };
    let without = told(&["linux64"]);
    assert!(says(&without, "linux.dev.ptmx") && says(&without, "kldload pty"));
    let with = told(&["linux64", "pty"]);
    assert!(!says(&with, "linux.dev.ptmx") && says(&with, "linux.dev.pts"));
    let release = with.steps.iter().find_map(|step| match step {
        crate::executor::freebsd::Step::CreateJail { parameters, .. } => {
            parameters.iter().find(|(name, _)| name == "linux.osrelease").map(|(_, value)| value.clone())
        }
        _ => None,
    });
    assert_eq!(release, Some(crate::executor::freebsd::system::Value::Text("5.15.0".to_owned())));
}

/// Programs that were started to look, to make and to undo, and the datasets of a pod.
fn cost(model: &super::Model, plan: &PodPlan) -> (usize, usize, usize, usize) {
    let (before, datasets) = (model.programs().len(), model.state().datasets.len());
    let steps = steps(model, plan);
    let looked = model.programs().len() - before;
    applied(model, &steps);
    let made = model.programs().len() - before - looked;
    let datasets = model.state().datasets.len() - datasets;
    undone(model, &steps);
    (looked, made, model.programs().len() - before - looked - made, datasets)
}

#[test]
fn a_pod_costs_a_known_number_of_programs_and_datasets() {
    let (model, layers) = host(2);
    // The first makes what all share: the bridge and the devfs rule set.
    applied(&model, &steps(&model, &connected(&model, &layers[0], 1)));
    // As by hand: `zfs clone` and `zfs destroy` of one dataset. All else is system calls.
    assert_eq!(cost(&model, &pod(&model, 2, vec![app(0, &layers[0])])), (0, 1, 1, 1));
    // Two apps have a dataset above theirs, which takes both away by one program.
    assert_eq!(cost(&model, &pod(&model, 3, vec![app(0, &layers[0]), app(1, &layers[1])])), (0, 2, 1, 3));
    // With a network and a port: the pair and the bridge, the anchor; and as many to take them away.
    let (looked, made, undid, datasets) = cost(&model, &connected(&model, &layers[0], 4));
    let told = model.programs();
    assert!(looked <= 5 && made <= 4 && undid <= 4 && datasets == 1, "{looked} {made} {undid} {datasets}: {told:#?}");
}

#[test]
fn a_pod_of_an_earlier_version_cannot_be_entered_which_is_told_and_is_removed_whole() {
    let (model, layers) = host(1);
    let plan = pod(&model, 1, vec![app(0, &layers[0])]);
    let before = without_shared(&model);
    let mut steps = steps(&model, &plan);
    // Its journal ended where the apps began.
    steps.retain(|step| !matches!(step, crate::executor::freebsd::Step::Process { .. }));
    applied(&model, &steps);
    let error = model.start(&plan, &steps, 0, Phase::Main, None).unwrap_err();
    let told = crate::error::chain(&error);
    assert_eq!(*error.kind(), Kind::Unsupported, "{told}");
    assert!(told.contains("started by an earlier jetpack") && told.contains("stopped and removed"), "{told}");
    undone(&model, &steps);
    assert_eq!(before, without_shared(&model));
}
