//! What is refused or told where the host lacks something, and what prepares it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::*;
use crate::executor::Kind;
use crate::executor::freebsd::diagnose;
use crate::executor::freebsd::system::{Setting, System as _};

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
fn kernel_variables_that_are_the_hosts_do_not_keep_a_pod_from_starting() {
    let (model, layers) = host(1);
    let mut plan = pod(&model, 1, vec![app(0, &layers[0])]);
    let values = [
        ("net.inet.tcp.blackhole", "2"),
        ("net.inet.tcp.cc.algorithm", "cubic"),
        // Below `net.inet.tcp`, and yet one for all networks of the host: the kernel refuses it inside (EPERM).
        ("net.inet.tcp.keepidle", "9000"),
        ("net.inet.ip.ttl", "many"),
        ("net.inet.ip.portrange.reservedhigh", "0"),
        ("net.inet.tcp.fast", "1"),
    ];
    let values = values.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    plan.isolators.push(Isolation::Sysctl { values });
    let compiled = compile(&plan, &facts(&model, &plan)).unwrap();
    let told: String = compiled.report.weaker().map(|line| format!("{line}\n")).collect();
    for words in [
        "net.inet.tcp.keepidle is the whole host's",
        "net.inet.ip.ttl does not take `many`",
        "net.inet.ip.portrange.reservedhigh cannot be set at secure level 2",
        "net.inet.tcp.fast is no variable of this kernel",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    applied(&model, &compiled.steps);
    let state = model.state();
    let set = |setting: &Setting| matches!(setting, Setting::Sysctl { .. }).then(|| setting.clone());
    let set: Vec<_> = state.jails.values().flat_map(|jail| &jail.settings).filter_map(set).collect();
    let setting = |name: &str, value: &[u8]| Setting::Sysctl { name: name.to_owned(), value: value.to_owned() };
    let blackhole = setting("net.inet.tcp.blackhole", &2_i32.to_ne_bytes());
    assert_eq!(set, [blackhole, setting("net.inet.tcp.cc.algorithm", b"cubic")]);
}

#[test]
fn the_kernel_refuses_variables_that_are_not_the_jails_networks() {
    let (model, layers) = host(1);
    let plan = pod(&model, 1, vec![app(0, &layers[0])]);
    applied(&model, &steps(&model, &plan));
    let id = model.state().jails.values().next().unwrap().id;
    let set = |name: &str| {
        let setting = Setting::Sysctl { name: name.to_owned(), value: 1_i32.to_ne_bytes().to_vec() };
        model.clone().configure(id, &[setting]).map_err(|error| error.raw_os_error())
    };
    assert_eq!(set("net.inet.ip.ttl"), Ok(()));
    assert_eq!(set("net.inet.tcp.keepidle"), Err(Some(libc::EPERM)));
    assert_eq!(set("net.inet.tcp.fast"), Err(Some(libc::ENOENT)));
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
fn a_pod_is_no_less_secure_than_its_host() {
    let (model, layers) = host(1);
    let plan = pod(&model, 1, vec![app(0, &layers[0])]);
    let level = |host: i64| {
        model.change(|state| {
            let _ = state.sysctls.insert("kern.securelevel".to_owned(), host);
        });
        let steps = steps(&model, &plan);
        applied(&model, &steps);
        let found = model.state().jails.values().next().unwrap().parameters["securelevel"].clone();
        undone(&model, &steps);
        found
    };
    assert_eq!((level(-1), level(3)), (Value::Number(2), Value::Number(3)));
    // As the kernel has it, whatever was decided.
    let parameters = [("name", Value::Text("a".to_owned())), ("path", Value::Text("/".to_owned()))];
    let mut parameters: Vec<_> = parameters.map(|(name, value)| (name.to_owned(), value)).into();
    parameters.push(("securelevel".to_owned(), Value::Number(2)));
    assert_eq!(model.clone().create_jail(&parameters).unwrap_err().raw_os_error(), Some(libc::EPERM));
}

#[test]
fn what_a_jail_takes_for_a_release_of_linux_is_looked_at_before_there_is_a_pod() {
    use crate::executor::freebsd::facts::LinuxRelease;
    let read = |text: &str| LinuxRelease::try_from(text.to_owned());
    for good in ["5.15.0", "6.1.0-13-amd64", "1.0.0"] {
        assert_eq!(read(good).unwrap().as_str(), good);
    }
    let long = format!("5.15.0-{}", "a".repeat(58));
    for bad in ["5.15", "5", "", "0.9.9", "5.15.0-", "5.15.0a", "5.15.0.1", "v5.15.0", "5.15.-1", "5.+15.0", &long] {
        assert!(read(bad).is_err(), "{bad}");
    }
    let mut model = Model::new();
    model.change(|state| {
        let _ = state.modules.insert("linux64".to_owned());
    });
    let parameters = [("name", "a"), ("path", "/"), ("linux.osrelease", "5.15")];
    let parameters = parameters.map(|(name, value)| (name.to_owned(), Value::Text(value.to_owned())));
    assert!(model.create_jail(&parameters).unwrap_err().to_string().contains("linux.osrelease format error"));
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
                let other =
                    super::super::Interface { addresses: vec!["10.77.0.1/16".to_owned()], ..Default::default() };
                model.change(|state| drop(state.interfaces.insert("em1".to_owned(), other)));
            },
            "freebsd.network",
        ),
        (
            |model, _| {
                let other = super::super::Interface { kind: "epair".to_owned(), ..Default::default() };
                model.change(|state| drop(state.interfaces.insert("epair10002a".to_owned(), other)));
            },
            "ifconfig epair10002a",
        ),
        (|model, _| model.change(|state| state.free = 0), "zfs list -o space"),
        (
            |model, plan| {
                let jail = super::super::Jail { id: 99, parameters: BTreeMap::new(), settings: Vec::new() };
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
    let missing: Vec<_> =
        diagnose(&mut model.clone(), true, super::super::DATASET).into_iter().filter(|f| !f.good).collect();
    assert_eq!(missing.iter().map(|finding| finding.subject.as_str()).collect::<Vec<_>>(), ["Linux images"]);
    model.change(|state| {
        let _ = state.modules.insert("linux64".to_owned());
    });
    let lacking =
        |finding: &crate::executor::finding::Finding| finding.subject == "unmarked Linux programs" && !finding.good;
    assert!(diagnose(&mut model.clone(), true, super::super::DATASET).iter().any(lacking));
    model.change(|state| {
        let _ = state.sysctls.insert("kern.elf64.fallback_brand".to_owned(), 3);
        let _ = state.modules.insert("pty".to_owned());
    });
    assert!(diagnose(&mut model.clone(), true, super::super::DATASET).iter().all(|finding| finding.good));
    model.change(|state| {
        state.sysctls.clear();
        state.modules.clear();
        state.device_rules.clear();
        state.version = "13.2-RELEASE".to_owned();
    });
    let findings = diagnose(&mut model.clone(), false, super::super::DATASET);
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
    assert_eq!(made(&model, super::super::DATASET).unwrap(), 0, "everything is there");
    model.change(|state| state.mounts.clear());
    assert_eq!(made(&model, super::super::DATASET).unwrap(), 0);
    assert!(model.state().mounts.iter().any(|mount| mount.on == at), "the root was not mounted");

    model.change(|state| {
        state.mounts.clear();
        state.datasets.retain(|name, _| name == "zroot");
    });
    assert!(words(&model, "tank/jetpack").contains("no such pool 'tank'"), "a pool of another name");
    assert_eq!(made(&model, "zroot/a/b/jetpack").unwrap(), 3, "below datasets that are not there either");
    assert!(model.state().datasets.contains_key("zroot/a/b/jetpack/pods"));

    model.change(|state| state.modules.clear());
    assert!(words(&model, super::super::DATASET).contains("/dev/zfs"), "no ZFS at all");
}
