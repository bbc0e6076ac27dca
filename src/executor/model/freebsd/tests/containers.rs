//! Containers of OCI bundles: what a configuration becomes on FreeBSD, and that nothing of it stays.

use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::{applied, undone};
use crate::executor::Host as _;
use crate::executor::freebsd::container::compile::{Facts, compile};
use crate::executor::freebsd::system::Value;
use crate::executor::freebsd::{FreeBsd, Step};
use crate::executor::model::freebsd::{Model, Node};
use crate::executor::{Compiled, Kind};
use crate::oci::bundle::{Bundle, Config};

const ROOTFS: &str = "/bundles/web/rootfs";
const KEPT: &str = "/var/run/jetpack-oci/web";

fn host() -> Model {
    let model = Model::new();
    model.change(|state| {
        for path in ["bin", "dev", "tmp", "data"].map(|name| format!("{ROOTFS}/{name}")) {
            state.files.insert(path.into(), Node::Directory);
        }
        for path in ["/bundles", "/bundles/web", ROOTFS, "/srv", "/srv/data", "/var/run", "/var/run/jetpack-oci", KEPT]
        {
            state.files.insert(path.into(), Node::Directory);
        }
        state.files.insert("/srv/motd".into(), Node::File("hello\n".to_owned()));
        state.device_rules.insert(4, vec!["100 include 1".to_owned()]);
    });
    model
}

fn bundle(more: &Json) -> Bundle {
    let mut config = json!({
        "ociVersion": "1.0.2",
        "process": { "args": ["sh"], "cwd": "/", "user": { "uid": 0, "gid": 0 } },
        "root": { "path": "rootfs" },
        "mounts": [
            { "destination": "/dev", "type": "devfs", "source": "devfs", "options": ["ruleset=4", "rule=path shm unhide mode 1777"] },
            { "destination": "/dev/fd", "type": "fdescfs", "source": "fdesc" },
            { "destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "size=64m"] },
            { "destination": "/data", "type": "nullfs", "source": "/srv/data", "options": ["rbind", "ro", "rprivate"] },
            { "destination": "/etc/motd", "source": "/srv/motd" }
        ]
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        config[key] = value.clone();
    }
    let config: Config = serde_json::from_value(config).unwrap();
    Bundle { directory: PathBuf::from("/bundles/web"), config }
}

fn facts() -> Facts {
    Facts {
        privileged: true,
        release: (13, 2),
        racct: true,
        vnet: true,
        rootfs: PathBuf::from(ROOTFS),
        targets: Vec::new(),
    }
}

fn compiled(more: &Json) -> Compiled<Step> {
    compile(&bundle(more), "web", Path::new(KEPT), &facts()).unwrap()
}

/// The parameters of the jail that the steps make.
fn jail(compiled: &Compiled<Step>) -> Vec<(String, Value)> {
    let made = compiled.steps.iter().find_map(|step| match step {
        Step::CreateJail { parameters, .. } => Some(parameters.clone()),
        _ => None,
    });
    made.unwrap()
}

fn has(parameters: &[(String, Value)], name: &str, value: &Value) -> bool {
    parameters.iter().any(|(known, found)| known == name && found == value)
}

#[test]
fn what_was_mounted_and_jailed_is_gone_again() {
    for more in [json!({}), json!({ "root": { "path": "rootfs", "readonly": true } })] {
        let model = host();
        let before = model.state();
        let compiled = compiled(&more);
        applied(&model, &compiled.steps);
        let path = jail(&compiled).into_iter().find(|(name, _)| name == "path").map(|(_, value)| value);
        let Some(Value::Text(root)) = path else { panic!("{path:?}") };
        let mounts = model.state().mounts;
        for (place, kind, read_only) in [
            ("dev", "devfs", false),
            ("dev/fd", "fdescfs", false),
            ("tmp", "tmpfs", false),
            ("data", "nullfs", true),
            ("etc/motd", "nullfs", false),
        ] {
            let on = Path::new(&root).join(place);
            let found = mounts.iter().find(|mount| mount.on == on).unwrap_or_else(|| panic!("nothing at {place}"));
            assert_eq!((found.kind.as_str(), found.read_only), (kind, read_only), "{place}");
        }
        let programs = model.programs();
        let rule = format!("-m {root}/dev rule apply path shm unhide mode 1777");
        assert!(programs.iter().any(|ran| ran.contains(&rule)), "{programs:?}");
        undone(&model, &compiled.steps);
        let after = model.state();
        assert_eq!(after.mounts, before.mounts);
        assert_eq!(after.jails.len(), before.jails.len());
    }
}

#[test]
fn a_read_only_root_is_one_and_has_the_places_of_mounts() {
    let model = host();
    let compiled = compiled(&json!({ "root": { "path": "rootfs", "readonly": true } }));
    applied(&model, &compiled.steps);
    assert!(has(&jail(&compiled), "path", &Value::Text(format!("{KEPT}/root"))));
    let state = model.state();
    let root = state.mounts.iter().find(|mount| mount.on == Path::new(KEPT).join("root")).unwrap();
    assert!(root.read_only && root.from == ROOTFS);
    let place = state.files.get(&Path::new(ROOTFS).join("etc/motd"));
    assert!(matches!(place, Some(Node::File(_))), "{place:?}");
    undone(&model, &compiled.steps);
}

#[test]
fn the_jail_is_what_its_member_says() {
    let compiled = compiled(&json!({
        "ociVersion": "1.3.0",
        "hostname": "web",
        "freebsd": {
            "devices": [{ "path": "pf", "mode": 448 }],
            "jail": {
                "vnet": "new", "enforceStatfs": 1, "sysvshm": "disable",
                "allow": { "rawSockets": true, "mount": ["tmpfs"], "reservedPorts": false }
            }
        }
    }));
    let jail = jail(&compiled);
    for (name, value) in [
        ("name", Value::Text("web".to_owned())),
        ("vnet", Value::New),
        ("host.hostname", Value::Text("web".to_owned())),
        ("enforce_statfs", Value::Number(1)),
        ("sysvmsg", Value::New),
        ("sysvshm", Value::Number(0)),
        ("allow.raw_sockets", Value::Flag),
        ("allow.mount", Value::Flag),
        ("allow.mount.tmpfs", Value::Flag),
        ("allow.noreserved_ports", Value::Flag),
    ] {
        assert!(has(&jail, name, &value), "{name}: {jail:?}");
    }
    assert!(!jail.iter().any(|(name, _)| name.starts_with("ip4") || name == "allow.chflags"), "{jail:?}");
    let model = host();
    applied(&model, &compiled.steps);
    assert!(model.programs().iter().any(|ran| ran.contains("rule apply path pf unhide mode 0700")));
}

#[test]
fn annotations_are_understood_where_there_is_no_member() {
    let jail = jail(&compiled(&json!({ "annotations": {
        "org.freebsd.jail.ip4.addr": "10.0.0.1, 10.0.0.2",
        "org.freebsd.jail.sysvsem": "inherit",
        "org.freebsd.jail.allow.mlock": "true"
    }})));
    let addresses = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse().unwrap()).to_vec();
    for (name, value) in [
        ("ip4", Value::New),
        ("ip4.addr", Value::Addresses(addresses)),
        ("ip6", Value::Inherit),
        ("sysvsem", Value::Inherit),
        ("allow.mlock", Value::Flag),
        ("allow.raw_sockets", Value::Flag),
        // It would be the host that gets another name.
        ("allow.noset_hostname", Value::Flag),
        ("host", Value::Inherit),
    ] {
        assert!(has(&jail, name, &value), "{name}: {jail:?}");
    }
}

#[test]
fn a_container_joins_the_jail_of_its_pod() {
    let model = host();
    let first = compiled(&json!({ "annotations": { "org.freebsd.jail.vnet": "new" } }));
    applied(&model, &first.steps);
    let second = bundle(&json!({ "annotations": { "org.freebsd.parentJail": "web" }, "mounts": [] }));
    let second = compile(&second, "side", Path::new("/var/run/jetpack-oci/side"), &facts()).unwrap();
    applied(&model, &second.steps);
    assert!(model.state().jails.contains_key("web.side"), "{:?}", model.state().jails.keys());
    undone(&model, &second.steps);
    assert!(model.state().jails.contains_key("web"));
    // Nothing of a child goes beyond its parent.
    let jail = json!({ "parent": "web", "enforceStatfs": 1, "allow": { "quotas": true } });
    let beyond = bundle(&json!({ "freebsd": { "jail": jail }, "mounts": [] }));
    let beyond = compile(&beyond, "side", Path::new("/var/run/jetpack-oci/side"), &facts()).unwrap();
    let mut host = FreeBsd::new(model.clone());
    let refused = beyond.steps.iter().find_map(|step| host.apply(step).err()).unwrap();
    assert!(crate::error::chain(&refused).contains("nothing that its parent has not"), "{refused}");
    undone(&model, &first.steps);
    assert!(model.state().jails.is_empty());
}

#[test]
fn what_bounds_it_is_a_rule_of_its_jail_or_is_told() {
    let compiled = compiled(&json!({ "linux": {
        "namespaces": [{ "type": "pid" }],
        "resources": {
            "memory": { "limit": 67_108_864 }, "pids": { "limit": 20 }, "cpu": { "quota": 50_000, "period": 100_000, "shares": 512 }
        }
    }}));
    let rules = compiled.steps.iter().find_map(|step| match step {
        Step::AddRules { subject, rules } => Some((subject.as_str(), rules.clone())),
        _ => None,
    });
    let wanted = ["memoryuse:sigkill=67108864", "pcpu:deny=50", "maxproc:deny=20"].map(str::to_owned).to_vec();
    assert_eq!(rules, Some(("jail:web", wanted)));
    let unmet: Vec<_> = compiled.report.unmet().map(|verdict| verdict.subject.clone()).collect();
    for subject in ["linux.namespaces", "linux.resources.cpu.shares"] {
        assert!(unmet.iter().any(|found| found == subject), "{unmet:?}");
    }
}

#[test]
fn bounds_that_nothing_reaches_are_taken() {
    let most = json!({ "memory": { "limit": i64::MAX }, "pids": { "limit": i64::MAX }, "cpu": { "quota": i64::MAX, "period": 1 } });
    let model = host();
    applied(&model, &compiled(&json!({ "linux": { "resources": most } })).steps);
}

#[test]
fn what_cannot_be_is_refused_by_its_name() {
    for (more, member) in [
        (json!({ "freebsd": { "jail": { "vnet": "own" } } }), "freebsd.jail.vnet"),
        (json!({ "freebsd": { "jail": { "vnet": "disable" } } }), "freebsd.jail.vnet"),
        (json!({ "freebsd": { "jail": { "enforceStatfs": 3 } } }), "freebsd.jail.enforceStatfs"),
        (json!({ "freebsd": { "jail": { "host": "disable" } } }), "freebsd.jail.host"),
        (json!({ "freebsd": { "jail": { "allow": { "mount": ["tmpfs persist"] } } } }), "freebsd.jail.allow.mount"),
        (json!({ "freebsd": { "devices": [{ "path": "../etc" }] } }), "freebsd.devices[0].path"),
        (json!({ "freebsd": { "devices": [{ "path": "pf" }] }, "mounts": [] }), "freebsd.devices"),
        (json!({ "annotations": { "org.freebsd.jail.ip4.addr": "here" } }), "org.freebsd.jail.ip4.addr"),
        (json!({ "mounts": [{ "destination": "/x", "type": "nullfs" }] }), "mounts[0].source"),
        (
            json!({ "mounts": [{ "destination": "/x", "type": "tmpfs", "options": ["fspath=/etc"] }] }),
            "mounts[0].options",
        ),
    ] {
        let error = compile(&bundle(&more), "web", Path::new(KEPT), &facts()).unwrap_err();
        assert_eq!(*error.kind(), Kind::Refused);
        assert!(error.to_string().contains(&format!("use {member} of config.json")), "{error}");
    }
    let nobody = Facts { privileged: false, ..facts() };
    let refused = compile(&bundle(&json!({})), "web", Path::new(KEPT), &nobody).unwrap_err();
    assert_eq!(*refused.kind(), Kind::Unsupported);
}

#[test]
fn a_link_of_the_rootfs_leads_nowhere_but_into_it() {
    let place = tempfile::tempdir().unwrap();
    let rootfs = place.path().join("rootfs");
    std::fs::create_dir_all(rootfs.join("real")).unwrap();
    for (link, to) in [("inside", "/real"), ("out", "../../../../etc"), ("round", "round")] {
        std::os::unix::fs::symlink(to, rootfs.join(link)).unwrap();
    }
    let mounts = ["/inside/x", "/out", "/round"].map(|to| json!({ "destination": to, "type": "tmpfs" }));
    let bundle = Bundle { directory: place.path().to_owned(), ..bundle(&json!({ "mounts": mounts })) };
    let facts = Facts::detect(&mut Model::new(), &bundle);
    // What goes round is left as it is, and refused where it is mounted on.
    assert_eq!(facts.targets, ["/real/x", "/etc", "/round"].map(PathBuf::from));
}
