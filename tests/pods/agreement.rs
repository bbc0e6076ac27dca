//! What is decided once is the same for every system, and from the plan to the running pod.

use serde_json::json;

use crate::bed::Bed;

/// How each system is asked for, and the `os` of its images.
const SYSTEMS: [(&[&str], &str); 2] = [(&[], "linux"), (&["--host", "model:freebsd"], "freebsd")];

#[test]
fn each_refusal_of_one_system_is_met_by_the_other() {
    let Some(bed) = Bed::new() else { return };
    let at = |place: &str| json!({"exec": ["/bin/true"], "mountPoints": [{"name": "v", "path": place}]});
    let with = |key: &str, value: &str| {
        let mut app = json!({"exec": ["/bin/true"]});
        app[key] = json!(value);
        app
    };
    let unknown = json!([{"name": "example.com/unknown", "value": {}}]);
    let cases = [
        ("at-root", at("/"), "vol.target.overlap", 125),
        ("at-proc", at("/proc"), "vol.target.overlap", 125),
        ("below-sys", at("/sys/fs/x"), "vol.target.overlap", 125),
        ("at-shm", at("/dev/shm"), "vol.target.overlap", 125),
        ("user", with("user", "zork"), "im.app.user.required", 125),
        ("group", with("group", "zork"), "im.app.group.required", 125),
        ("directory", with("workingDirectory", "/missing"), "im.app.workdir.missing", 125),
        ("missing", json!({"exec": ["/nope"]}), "im.app.exec.slash", 127),
        ("unknown", json!({"exec": ["nope"]}), "im.app.exec.path-search", 127),
        ("strict", json!({"exec": ["/bin/true"], "isolators": unknown}), "iso.unknown.ignore", 125),
    ];
    for (name, app, clause, expected) in cases {
        for (host, os) in SYSTEMS {
            let image = bed.image_for(os, &format!("{name}-{os}"), "base", app.clone());
            let volume = if app.get("mountPoints").is_some() { &["--volume", "v,kind=empty"][..] } else { &[] };
            let strict = if name == "strict" { &["--strict"][..] } else { &[] };
            let (code, _, err) = bed.tell(&[host, &["run"], strict, volume, &[image.as_str()]].concat());
            assert_eq!(code, expected, "{name} on {os}: {err}");
            assert!(err.contains(&format!("[{clause}]")), "{name} on {os}: {err}");
            bed.say(&[host, &["gc"]].concat());
        }
    }
    bed.assert_nothing_left();
}

#[test]
fn what_is_planned_is_what_is_kept_at_the_start() {
    let Some(bed) = Bed::new() else { return };
    let isolators = [
        json!({"name": "os/linux/no-new-privileges", "value": true}),
        json!({"name": "resource/memory", "value": {"limit": "64Mi"}}),
        json!({"name": "example.com/unknown", "value": {}}),
        json!({"name": "os/linux/oom-score-adj", "value": 600}),
    ];
    for (host, os) in SYSTEMS {
        for chosen in [0_usize, 3, 5, 8, 10, 15] {
            let some = isolators.iter().enumerate().filter(|(bit, _)| chosen & 1 << bit != 0).map(|(_, value)| value);
            let app = json!({"exec": ["/bin/true"], "isolators": some.collect::<Vec<_>>()});
            let image = bed.image_for(os, &format!("{os}-{chosen}"), "base", app);
            let network = if chosen % 3 == 0 { "--net=host" } else { "--net=none" };
            let pod = [network, "--volume", "unused,kind=empty", image.as_str()];
            let planned = bed.say(&[host, &["plan", "--json"], &pod[..]].concat());
            let planned: serde_json::Value = serde_json::from_str(&planned).unwrap();
            let file = bed.path("uuid");
            let save = format!("--uuid-file-save={}", file.display());
            let (code, _, err) = bed.tell(&[host, &["run", &save], &pod[..]].concat());
            assert_eq!(code, 0, "{err}");
            let uuid = std::fs::read_to_string(file).unwrap();
            assert_eq!(bed.status(uuid.trim())["isolation"], planned["report"], "{os} {chosen}");
            bed.say(&[host, &["gc"]].concat());
        }
    }
    bed.assert_nothing_left();
}

#[test]
fn a_plan_for_freebsd_shows_what_the_processes_are() {
    let Some(bed) = Bed::new() else { return };
    let app = json!({"exec": ["/bin/true"], "environment": [{"name": "A", "value": "b"}]});
    let image = bed.image_for("freebsd", "process", "base", app);
    let plan = bed.say(&["--host", "model:freebsd", "plan", "--json", &image]);
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    let steps = plan["steps"].as_array().unwrap();
    let process = steps.iter().find_map(|step| step.get("process")).expect("a step of the app's processes");
    assert_eq!(process["context"]["user"], "0");
    assert_eq!(process["context"]["no_new_privileges"], false);
    assert!(process["context"]["environment"].as_array().unwrap().contains(&json!(["A", "b"])), "{process}");
    bed.assert_nothing_left();
}
