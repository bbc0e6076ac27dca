//! How far pods are kept apart, by a name.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use super::bed::Bed;

/// What an app finds out about itself: a line of `name value` each.
const PROBE: &str = r#"
for space in pid ipc uts net mnt; do echo $space $(readlink /proc/self/ns/$space); done
while read name value; do case $name in NoNewPrivs: | CapBnd: | CapEff: | Seccomp:) echo $name $value;; esac; done < /proc/self/status
read name < /proc/sys/kernel/hostname; echo name $name
if (: > /made) 2> /dev/null; then echo root writable; else echo root closed; fi
while read name value; do case $name in lo:) ;; *:*) echo interface $name;; esac; done < /proc/net/dev
"#;

fn found(out: &str) -> BTreeMap<String, String> {
    let pairs = out.lines().filter_map(|line| line.split_once(' '));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The namespaces of these that an app shares with the host.
fn shared(found: &BTreeMap<String, String>) -> Vec<&'static str> {
    let host = |space: &str| fs::read_link(format!("/proc/self/ns/{space}")).unwrap().display().to_string();
    ["pid", "ipc", "uts", "net", "mnt"].into_iter().filter(|space| found[*space] == host(space)).collect()
}

/// What a report says of the whole pod that does not hold.
fn clauses(report: &Value) -> Vec<&str> {
    let verdicts = report["verdicts"].as_array().unwrap().iter();
    verdicts
        .filter(|verdict| verdict["outcome"] != "enforced" && verdict["app"].is_null())
        .map(|verdict| verdict["clause"].as_str().unwrap())
        .collect()
}

/// Each clause that a level gives up is in the report, and nothing else is.
#[test]
fn a_lower_level_shares_what_its_report_says() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("probe", PROBE);
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    for (level, gives_up, shares) in [
        ("chroot", &["pod.ns.ipc", "pod.ns.uts", "pod.ns.net"][..], &["ipc", "uts", "net"][..]),
        ("shared", &["pod.ns.uts", "pod.ns.net"], &["uts", "net"]),
        ("default", &[], &[]),
    ] {
        let option = format!("--isolation={level}");
        let net: &[&str] = if level == "default" { &["--net=none"] } else { &[] };
        let (code, out, err) = bed.tell(&[&["run", "--rm", &option], net, &[&image]].concat());
        assert_eq!(code, 0, "{level}: {err}");
        let found = found(&out);
        assert_eq!(shared(&found), shares, "{level}: {out}");
        assert_eq!(found["name"] == host.trim_end(), level != "default", "{level}: {out}");
        let default = [found["CapBnd:"].as_str(), &found["Seccomp:"], &found["root"]];
        assert_eq!(default, ["00000000a80425fb", "2", "writable"], "{level}");
        for clause in gives_up {
            assert!(err.contains(&format!("[{clause}]")), "{level}: {err}");
        }
        let planned = bed.say(&[&["plan", "--json", &option], net, &[&image]].concat());
        let planned: Value = serde_json::from_str(&planned).unwrap();
        let about: Vec<&str> =
            clauses(&planned["report"]).into_iter().filter(|clause| clause.starts_with("pod.")).collect();
        assert_eq!(about, gives_up, "{level}");
        let (code, _, err) = bed.tell(&[&["run", "--rm", "--strict", &option], net, &[&image]].concat());
        let refused = gives_up.iter().all(|clause| err.contains(&format!("[{clause}]")));
        assert_eq!((code, refused), (if gives_up.is_empty() { 0 } else { 125 }, true), "{level}: {err}");
    }
    bed.assert_nothing_left();
}

#[test]
fn a_strict_pod_has_nothing_that_it_was_not_given() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("probe", PROBE);
    let strict =
        |options: &[&str]| found(&bed.say(&[&["run", "--rm", "--isolation=strict"], options, &[&image]].concat()));
    let alone = strict(&[]);
    assert_eq!(shared(&alone), Vec::<&str>::new());
    let privileges = ["CapBnd:", "CapEff:", "NoNewPrivs:", "Seccomp:", "root"].map(|name| alone[name].as_str());
    assert_eq!(privileges, ["0000000000000000", "0000000000000000", "1", "2", "closed"]);
    assert!(!alone.contains_key("interface"), "{alone:?}");
    // What is the operator's word is kept.
    let given = strict(&["--caps-retain=CAP_CHOWN"]);
    assert_eq!(given["CapBnd:"], "0000000000000001");
    // What does not hold is refused without another word.
    let unknown =
        json!([{"name": "example.com/unknown", "value": {}}, {"name": "os/linux/no-new-privileges", "value": false}]);
    let image = bed.image("asks", "base", json!({"exec": ["/bin/true"], "isolators": unknown}));
    let (code, _, err) = bed.tell(&["run", "--rm", "--isolation=strict", &image]);
    assert_eq!((code, err.contains("[iso.unknown.ignore]")), (125, true), "{err}");
    bed.assert_nothing_left();
}

#[test]
fn parameters_and_processes_of_the_host_stay_its_own_at_the_lowest_level() {
    let Some(bed) = Bed::of_root() else { return };
    let parameter = "/proc/sys/kernel/shmmni";
    let before = fs::read_to_string(parameter).unwrap();
    let isolators = json!([{"name": "os/unix/sysctl", "value": {"kernel.shmmni": "123"}}]);
    let pod = json!({"acKind": "PodManifest", "acVersion": "0.8.11", "isolators": isolators, "apps": [{
        "name": "one", "image": {"id": bed.say(&["fetch", &bed.script("waits", "sleep 100 & sleep 100")]).trim()}}]});
    let file = bed.path("pod.json");
    fs::write(&file, pod.to_string()).unwrap();
    let run = ["run", "-d", "--isolation=chroot", "--name=low", "--pod-manifest", file.to_str().unwrap()];
    bed.say(&run);
    assert_eq!(fs::read_to_string(parameter).unwrap(), before);
    let status = bed.status("low");
    assert_eq!(status["isolation"]["level"], "chroot");
    let sysctl = status["isolation"]["verdicts"].as_array().unwrap().iter().find(|v| v["subject"] == "os/unix/sysctl");
    assert_eq!(sysctl.unwrap()["why"], "kernel.shmmni: the pod shares the host's IPC");
    // Who enters it later is where its apps are.
    let inside = found(&bed.say(&["exec", "low", "/bin/sh", "-c", PROBE]));
    assert_eq!(shared(&inside), ["ipc", "uts", "net"]);
    bed.say(&["stop", "--force", "low"]);
    bed.say(&["rm", "low"]);
    bed.assert_nothing_left();
}

#[test]
fn what_contradicts_a_level_is_refused_with_what_to_do() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("true", "true");
    let (code, _, err) = bed.tell(&["run", "--isolation=shared", "--hostname=web", &image]);
    assert_eq!((code, err.contains("--isolation default gives it a name of its own")), (125, true), "{err}");
    let (code, _, err) = bed.tell(&["build", "--isolation=strict", "--name=example.com/x", &image, "--", "/bin/true"]);
    assert_eq!((code, err.contains("read-only at isolation strict")), (125, true), "{err}");
    let config = bed.path("jetpack.toml");
    fs::write(&config, "isolation = \"strict\"\n").unwrap();
    let config = config.to_str().unwrap();
    let strict = bed.say(&["--config", config, "run", "--rm", &bed.script("probe", PROBE)]);
    assert_eq!(found(&strict)["NoNewPrivs:"], "1");
    // A build has to write.
    bed.say(&["--config", config, "build", "--name=example.com/x", &image, "--", "/bin/touch", "/made"]);
    bed.assert_nothing_left();
}
