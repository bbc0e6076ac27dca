//! What is decided once is the same for every system, and from the plan to the running pod.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::bed::Bed;

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
    let label = |name: &str, value: &str| json!({"name": name, "value": value});
    let misfits =
        [("no-os", json!([label("os", "darwin")])), ("no-arch", json!([label("os", "linux"), label("arch", "s390x")]))];
    let misfits = misfits
        .into_iter()
        .map(|(name, labels)| (name, Some(labels), json!({"exec": ["/bin/true"]}), "im.labels.osarch.known", 125));
    let cases = cases.into_iter().map(|(name, app, clause, expected)| (name, None, app, clause, expected));
    for (name, labels, app, clause, expected) in cases.chain(misfits) {
        for (host, os) in SYSTEMS {
            let labels = labels.clone().unwrap_or_else(|| json!([label("os", os)]));
            let image = bed.image_with(labels, &format!("{name}-{os}"), "base", app.clone());
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

/// What a generated pod is made of.
#[derive(Clone, Debug)]
struct Shape {
    no_new_privileges: Option<bool>,
    memory: bool,
    cpu: bool,
    oom_score: Option<u16>,
    capabilities: Option<(&'static str, Vec<&'static str>)>,
    unknown: bool,
    network: &'static str,
    level: &'static str,
    user: (&'static str, u32, u32),
    read_only: bool,
    /// Read-only or not, and whether it is mounted.
    volume: Option<(bool, bool)>,
    /// Its number on the host.
    port: Option<u16>,
}

fn shape() -> impl Strategy<Value = Shape> {
    // Without root a pod may have no user but one.
    let others = if rustix::process::geteuid().is_root() { 3 } else { 1 };
    let users = [("0", 0, 0), ("web", 33, 44), ("5", 5, 6)];
    let capabilities = prop::sample::subsequence(vec!["CAP_KILL", "CAP_CHOWN", "CAP_SYS_ADMIN"], 1..3);
    let sets = prop::sample::select(&[RETAIN, REMOVE][..]);
    let isolators = (
        any::<Option<bool>>(),
        any::<bool>(),
        any::<bool>(),
        prop::option::of(500..900_u16),
        prop::option::of((sets, capabilities)),
        prop::bool::weighted(0.2),
    );
    let surroundings = (
        prop::sample::select(&["none", "host"][..]),
        prop::sample::select(users[..others].to_vec()),
        any::<bool>(),
        any::<Option<(bool, bool)>>(),
        prop::option::of(8080..8082_u16),
        prop::sample::select(&["chroot", "shared", "default"][..]),
    );
    (isolators, surroundings).prop_map(|(isolators, surroundings)| {
        let (no_new_privileges, memory, cpu, oom_score, capabilities, unknown) = isolators;
        let (network, user, read_only, volume, port, level) = surroundings;
        Shape {
            no_new_privileges,
            memory,
            cpu,
            oom_score,
            capabilities,
            unknown,
            network,
            level,
            user,
            read_only,
            volume,
            port,
        }
    })
}

const RETAIN: &str = "os/linux/capabilities-retain-set";
const REMOVE: &str = "os/linux/capabilities-remove-set";

/// What an app can find out: a line of `name value` each.
const PROBE: &str = r#"
echo user $(id -u); echo group $(id -g); echo oom $(cat /proc/self/oom_score_adj)
while read name value; do case $name in NoNewPrivs: | CapBnd: | Seccomp:) echo $name $value;; esac; done < /proc/self/status
for space in pid ipc uts net; do echo $space $(readlink /proc/self/ns/$space); done
for place in open data; do
    if (: > /$place/made) 2> /dev/null; then echo $place writable; else echo $place closed; fi
done
(text=0123456789abcdef; for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21; do text=$text$text; done)
echo grew $?
while read name value; do case $name in *:*) echo interface $name;; esac; done < /proc/net/dev
"#;

impl Shape {
    fn app(&self, exec: &[&str]) -> Value {
        let isolators = [
            self.no_new_privileges.map(|value| ("os/linux/no-new-privileges", json!(value))),
            self.memory.then(|| ("resource/memory", json!({"limit": "24Mi"}))),
            self.cpu.then(|| ("resource/cpu", json!({"limit": "900m"}))),
            self.oom_score.map(|value| ("os/linux/oom-score-adj", json!(value))),
            self.capabilities.as_ref().map(|(name, set)| (*name, json!({"set": set}))),
            self.unknown.then(|| ("example.com/unknown", json!({}))),
        ];
        let isolators: Vec<Value> =
            isolators.into_iter().flatten().map(|(name, value)| json!({"name": name, "value": value})).collect();
        let (user, _, group) = self.user;
        let mut app = json!({"exec": exec, "user": user, "group": group.to_string(), "isolators": isolators});
        if matches!(self.volume, Some((_, true))) {
            app["mountPoints"] = json!([{"name": "v", "path": "/data"}]);
        }
        if self.port.is_some() {
            app["ports"] = json!([{"name": "p", "port": 8080, "protocol": "tcp"}]);
        }
        app
    }

    /// What stands on the command line beside the image.
    fn line(&self) -> Vec<String> {
        let mut line = vec![format!("--net={}", self.network), format!("--isolation={}", self.level)];
        line.extend(self.volume.map(|(read_only, _)| format!("--volume=v,kind=empty,mode=0777,readOnly={read_only}")));
        line.extend(self.port.map(|port| format!("--port=p={port}")));
        line.extend(self.read_only.then(|| "--readonly-rootfs".to_owned()));
        line
    }

    /// Whether what was asked for or promised holds, where the app can tell.
    fn holds(&self, verdict: &Value, found: &BTreeMap<&str, &str>) -> Option<bool> {
        let subject = verdict["subject"].as_str().unwrap();
        let apart = |space: &str| {
            let own = std::fs::read_link(format!("/proc/self/ns/{space}")).unwrap();
            found[space] != own.to_str().unwrap()
        };
        let bounding = u64::from_str_radix(found["CapBnd:"], 16).unwrap();
        let asked = |(_, set): &(_, Vec<&str>)| {
            let numbers = [("CAP_CHOWN", 0), ("CAP_KILL", 5), ("CAP_SYS_ADMIN", 21)];
            numbers.iter().filter(|(name, _)| set.contains(name)).fold(0_u64, |sum, (_, number)| sum | 1 << number)
        };
        let asked = self.capabilities.as_ref().map(asked);
        Some(match subject {
            "os/linux/no-new-privileges" => found["NoNewPrivs:"] == if self.no_new_privileges? { "1" } else { "0" },
            "resource/memory" => found["grew"] != "0",
            "os/linux/oom-score-adj" => found["oom"] == self.oom_score?.to_string(),
            RETAIN => bounding == asked?,
            REMOVE => bounding & asked? == 0,
            "default capabilities" => bounding == 0xa804_25fb,
            "default system call filter" => found["Seccomp:"] == "2",
            "readOnlyRootFS" => found["open"] == "closed",
            "process namespace" => apart("pid"),
            "ipc namespace" => apart("ipc"),
            "host name" => apart("uts"),
            "network namespace" => apart("net"),
            "loopback and no other network" => found["interface"] == "lo:",
            "example.com/unknown" => false,
            _ => return None,
        })
    }

    /// Whether the app found just what is reported, and what the report is silent about as it was asked for.
    fn agrees(&self, report: &Value, out: &str) -> Result<(), TestCaseError> {
        let found: BTreeMap<&str, &str> = out.lines().filter_map(|line| line.split_once(' ')).collect();
        let verdicts = report["verdicts"].as_array().unwrap();
        for verdict in verdicts {
            if let Some(holds) = self.holds(verdict, &found) {
                prop_assert_eq!(holds, verdict["outcome"] == "enforced", "{}\n{}", verdict, out);
            }
        }
        let told = |subject: &str| verdicts.iter().any(|verdict| verdict["subject"] == subject);
        for isolator in self.app(&[])["isolators"].as_array().unwrap() {
            prop_assert!(told(isolator["name"].as_str().unwrap()), "{} {}", isolator, report);
        }
        prop_assert_eq!(told("volume v"), matches!(self.volume, Some((_, false))), "{}", report);
        prop_assert_eq!(told("port p"), self.port.is_some(), "{}", report);
        let (_, user, group) = self.user;
        prop_assert_eq!((found["user"], found["group"]), (&*user.to_string(), &*group.to_string()));
        let closed = |closed: bool| if closed { "closed" } else { "writable" };
        prop_assert_eq!(found["open"], closed(self.read_only));
        let read_only = match self.volume {
            Some((read_only, true)) => read_only,
            _ => self.read_only,
        };
        prop_assert_eq!(found["data"], closed(read_only));
        Ok(())
    }
}

#[test]
fn the_plan_the_report_that_is_kept_and_what_the_app_finds_agree() {
    let Some(bed) = Bed::new() else { return };
    for place in ["open", "data"] {
        let place = bed.layout("base").join(place);
        std::fs::create_dir(&place).unwrap();
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    let config = ProptestConfig { cases: 12, max_shrink_iters: 24, failure_persistence: None, ..Default::default() };
    let outcome = TestRunner::new(config).run(&shape(), |shape| {
        let mut both = Vec::new();
        for (host, os) in SYSTEMS {
            let exec = if os == "linux" { &["/bin/sh", "-c", PROBE][..] } else { &["/bin/true"] };
            let image = bed.image_for(os, "shape", "base", shape.app(exec));
            let line = shape.line();
            let line: Vec<&str> = line.iter().map(String::as_str).chain([image.as_str()]).collect();
            let planned = bed.say(&[host, &["plan", "--json"], &line[..]].concat());
            let planned: Value = serde_json::from_str(&planned).unwrap();
            let file = bed.path("uuid");
            let save = format!("--uuid-file-save={}", file.display());
            let (code, out, err) = bed.tell(&[host, &["run", &save], &line[..]].concat());
            prop_assert_eq!(code, 0, "{} {}", os, err);
            let uuid = std::fs::read_to_string(file).unwrap();
            let kept = &bed.status(uuid.trim())["isolation"];
            bed.say(&[host, &["gc"]].concat());
            prop_assert_eq!(kept, &planned["report"], "{}", os);
            let verdicts = kept["verdicts"].as_array().unwrap();
            let of_both = |verdict: &&Value| {
                // An app's own is about a file of Linux that an ordinary user's lacks.
                let namespace = verdict["clause"].as_str().unwrap().starts_with("pod.ns.") && verdict["app"].is_null();
                verdict["subject"] == "port p" || namespace
            };
            both.push(verdicts.iter().filter(of_both).cloned().collect::<Vec<_>>());
            if os == "linux" {
                shape.agrees(kept, &out)?;
            }
        }
        both.iter_mut().for_each(|verdicts| verdicts.sort_by_key(Value::to_string));
        prop_assert_eq!(&both[0], &both[1]);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
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

#[test]
fn a_pod_on_freebsds_own_network_is_what_its_plan_says_and_no_other_network_is_made_up() {
    let Some(bed) = Bed::new() else { return };
    let model = ["--host", "model:freebsd"];
    let app = json!({"exec": ["/bin/true"], "ports": [{"name": "p", "port": 8080, "protocol": "tcp"}]});
    let image = bed.image_for("freebsd", "named", "base", app);
    let line = |network: &'static str| vec![network, "--port=p=8081", image.as_str()];
    let planned = bed.say(&[&model[..], &["plan", "--json"], &line("--net=default")].concat());
    let planned: Value = serde_json::from_str(&planned).unwrap();
    let step = |name: &str| planned["steps"].as_array().unwrap().iter().find_map(|step| step.get(name));
    for name in ["claim-address", "make-bridge", "make-epair", "move-interface", "set-up-network"] {
        assert!(step(name).is_some(), "{name}: {planned:#}");
    }
    let rules = step("load-anchor").expect("rules of the packet filter")["rules"].as_str().unwrap();
    assert!(rules.contains("port 8081 -> ") && rules.contains("nat pass on "), "{rules}");

    let file = bed.path("uuid");
    let save = format!("--uuid-file-save={}", file.display());
    bed.say(&[&model[..], &["run", &save], &line("--net=default")].concat());
    let uuid = std::fs::read_to_string(file).unwrap();
    let kept = &bed.status(uuid.trim())["isolation"];
    assert_eq!(kept, &planned["report"]);
    let verdict = |subject: &str| {
        let found = kept["verdicts"].as_array().unwrap().iter().find(|verdict| verdict["subject"] == subject);
        found.unwrap_or_else(|| panic!("{subject}: {kept:#}"))["outcome"].clone()
    };
    assert_eq!(verdict("port p"), "enforced");
    assert_eq!(verdict("network namespace"), "enforced");
    bed.say(&[&model[..], &["gc"]].concat());

    for command in ["plan", "run"] {
        let (code, _, err) = bed.tell(&[&model[..], &[command], &line("--net=default,other")].concat());
        assert_eq!(code, 125, "{command}: {err}");
        assert!(err.contains("default, other") && err.contains("the network `default` only"), "{command}: {err}");
    }
    bed.say(&[&model[..], &["gc"]].concat());
    bed.assert_nothing_left();
}
