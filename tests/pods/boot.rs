//! Pods that a system starts when it comes up, and in which order.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use appc_needs::{Need, skip};
use serde_json::json;

use super::bed::Bed;

/// What FreeBSD's rc.subr(8) does for a script, as far as ours asks for it.
const RC_SUBR: &str = r#"
load_rc_config() { . "$RC_CONF"; }
warn() { echo "$0: WARNING: $*" >&2; }
run_rc_command() { eval "_command=\$${1}_cmd"; $_command; }
"#;

/// The script of the port, with a prefix of its own.
struct Script {
    place: tempfile::TempDir,
    path: PathBuf,
}

impl Script {
    fn new(bed: &Bed, conf: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        let prefix = place.path().to_str().unwrap();
        let text =
            fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/port/files/jetpack.in")).unwrap();
        let path = place.path().join("jetpack");
        fs::write(&path, text.replace("%%PREFIX%%", prefix).replace("/etc/rc.subr", &format!("{prefix}/rc.subr")))
            .unwrap();
        fs::write(place.path().join("rc.subr"), RC_SUBR).unwrap();
        let command = bed.command(&[]);
        let words: Vec<_> = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|word| word.to_str().unwrap())
            .collect();
        fs::create_dir_all(place.path().join("etc/jetpack/pods")).unwrap();
        fs::write(place.path().join("rc.conf"), format!("{conf}\njetpack_program=\"{}\"\n", words.join(" "))).unwrap();
        Self { place, path }
    }

    fn pod(&self, name: &str, image: &str) {
        let manifest = json!({"acKind": "PodManifest", "acVersion": "0.8.11", "apps": [{
            "name": name, "image": {"name": format!("example.com/{name}"), "id": image},
        }]});
        let file = self.place.path().join("etc/jetpack/pods").join(format!("{name}.json"));
        fs::write(file, manifest.to_string()).unwrap();
    }

    fn say(&self, words: &[&str]) -> Output {
        let mut sh = Command::new("/bin/sh");
        sh.arg(&self.path).args(words).env("RC_CONF", self.place.path().join("rc.conf")).output().unwrap()
    }

    #[track_caller]
    fn tells(&self, words: &[&str], status: i32, told: &str) -> String {
        let output = self.say(words);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!((output.status.code(), out.as_ref()), (Some(status), told), "{err}");
        err.into_owned()
    }
}

const IDLE: &str = "trap 'exit 0' TERM; while :; do sleep 0.05; done";

#[test]
fn the_service_of_the_port_starts_pods_behind_those_that_they_need() {
    let Some(bed) = Bed::new() else { return };
    if !Path::new("/usr/bin/awk").exists() {
        return skip(Need::Program, "awk");
    }
    let conf = "jetpack_pods=\"web-1 cafe\"\njetpack_web_1_after=\"db cafe\"\njetpack_round_after=\"round\"\njetpack_gone_after=\"missing\"";
    let script = Script::new(&bed, conf);
    for name in ["web-1", "cafe", "db", "gone"] {
        let id = bed.say(&["fetch", "--insecure=signature", &bed.script(name, IDLE)]);
        script.pod(name, id.trim());
    }
    // Who is needed stands first, and nobody is started twice.
    script.tells(&["start"], 0, "Starting pod db.\nStarting pod cafe.\nStarting pod web-1.\n");
    script.tells(&["status"], 0, "pod web-1 is running\npod cafe is running\n");
    let before = bed.status("cafe")["uuid"].clone();
    script.tells(&["start"], 0, "");
    assert_eq!(bed.status("cafe")["uuid"], before);
    // One that nobody has named is no beginning of a UUID, and what lacks a pod that it needs is told.
    let told = script.tells(&["start", "gone"], 1, "Starting pod missing.\n");
    assert!(told.contains("pod gone is not started: pod missing, which it needs, is not up"), "{told}");
    let told = script.tells(&["start", "round"], 1, "");
    assert!(told.contains("pod round is not started: pod round, which it needs, is not up"), "{told}");
    script.tells(&["restart", "cafe"], 0, "Stopping pod cafe.\nStarting pod cafe.\n");
    assert_ne!(bed.status("cafe")["uuid"], before);
    // The pod whose place was taken is gone.
    assert_eq!(bed.say(&["list", "--quiet"]).lines().count(), 3);
    script.tells(&["stop"], 0, "Stopping pod cafe.\nStopping pod web-1.\n");
    script.tells(&["status", "web-1", "db"], 1, "pod web-1 is not running\npod db is running\n");
    script.tells(&["stop", "db"], 0, "Stopping pod db.\n");
    bed.say(&["gc", "--grace", "0s"]);
    bed.assert_nothing_left();
}

#[test]
fn a_pod_takes_the_place_of_the_one_that_has_its_name() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("idle", IDLE);
    let first = bed.say(&["run", "-d", "--pod-name", "web", &image]);
    // What cannot be made takes nobody's place.
    let (code, _, told) = bed.tell(&["run", "-d", "--replace", "--pod-name", "web", "--strict", "--cpu", "0", &image]);
    assert!(code == 125 && bed.status("web")["uuid"] == first.trim(), "{code}: {told}");
    let second = bed.say(&["run", "-d", "--replace", "--pod-name", "web", &image]);
    assert_eq!(bed.say(&["list", "--quiet"]), second);
    let prepared = bed.say(&["prepare", "--replace", "--name", "web", &image]);
    assert_eq!(bed.say(&["list", "--quiet"]), prepared);
    let (code, _, told) = bed.tell(&["run", "--replace", &bed.script("other", "exit 0"), &image]);
    assert!(code == 125 && told.contains("--pod-name gives it one"), "{code}: {told}");
    bed.say(&["rm", "web"]);
    bed.assert_nothing_left();
}
