//! Whatever goes wrong, whenever it does, nothing is left.

use std::fs;
use std::path::PathBuf;

use appc_needs::{Need, skip};
use serde_json::{Value, json};

use super::bed::Bed;

/// How many steps a pod of `image` is made by.
fn steps(bed: &Bed, arguments: &[&str]) -> usize {
    let plan: Value = serde_json::from_str(&bed.say(arguments)).unwrap();
    plan["steps"].as_array().unwrap().len()
}

#[test]
fn a_step_that_fails_leaves_nothing_behind() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("fails", "echo never");
    for step in 0..steps(&bed, &["plan", "--json", "--memory", "64M", &image]) {
        let (code, out, err) =
            bed.tell(&["run", "--rm", "--memory", "64M", "--inject", &format!("fail:{step}"), &image]);
        assert_eq!((code, out.as_str()), (125, ""), "step {step}: {err}");
        assert!(err.contains("a fault was injected here"), "{err}");
        assert_eq!(bed.say(&["list"]), "", "step {step}");
    }
    bed.assert_nothing_left();
}

#[test]
fn what_a_killed_supervisor_leaves_is_collected() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("killed", "echo never");
    for step in 0..steps(&bed, &["plan", "--json", "--memory", "64M", &image]) {
        let (code, out, _) = bed.tell(&["run", "--memory", "64M", "--inject", &format!("kill:{step}"), &image]);
        assert_eq!((code, out.as_str()), (-1, ""), "step {step}");
        bed.say(&["gc"]);
        assert_eq!(bed.say(&["list"]), "", "step {step}");
    }
    bed.assert_nothing_left();
}

#[test]
fn a_pod_ends_with_its_supervisor() {
    let Some(bed) = Bed::new() else { return };
    bed.say(&["run", "-d", "--name", "orphan", "--memory", "64M", &bed.script("orphan", "while :; do sleep 1; done")]);
    let status = bed.status("orphan");
    let supervisor = i32::try_from(status["pid"].as_i64().unwrap()).unwrap();
    let app = status["apps"][0]["pid"].as_i64().unwrap();
    let pid = rustix::process::Pid::from_raw(supervisor).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    bed.wait_for("the app's end", || !std::path::Path::new(&format!("/proc/{app}")).exists());
    bed.wait_for("the pod's end", || bed.status("orphan")["state"] == "exited");
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}

/// The bed's root on a small disk of its own.
struct Disk(PathBuf);

impl Disk {
    fn under(bed: &Bed) -> Option<Self> {
        let root = bed.path("root");
        bed.say(&["gc"]);
        fs::remove_dir_all(&root).unwrap();
        fs::create_dir(&root).unwrap();
        let mounted =
            rustix::mount::mount("none", &root, "tmpfs", rustix::mount::MountFlags::empty(), c"size=24m,mode=700");
        if let Err(error) = mounted {
            skip(Need::Mounts, format_args!("nothing can be mounted here: {error}"));
            return None;
        }
        Some(Self(root))
    }

    fn fill(&self) {
        use std::io::Write;
        let mut file = fs::File::create(self.0.join("fill")).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    fn free(&self) {
        fs::remove_file(self.0.join("fill")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

/// Says a line every little while, and ends when it is told to.
const TALKER: &str = "echo precious > /data; trap 'exit 4' TERM; i=0; while ! test -e /go; do echo \"line $i\"; i=$((i+1)); sleep 0.05; done; exit 3";

#[test]
fn a_disk_that_is_full_for_a_moment_costs_a_pod_nothing() {
    let Some(bed) = Bed::of_root() else { return };
    let Some(disk) = Disk::under(&bed) else { return };
    let image = bed.script("talker", TALKER);
    bed.say(&["run", "-d", "--name", "talker", &image]);
    bed.wait_for("its first words", || bed.say(&["logs", "talker"]).contains("line 5"));
    disk.fill();
    // More than is kept back of one page of the log.
    std::thread::sleep(std::time::Duration::from_secs(6));
    assert_eq!(bed.status("talker")["state"], "running");
    disk.free();
    std::thread::sleep(std::time::Duration::from_secs(2));
    fs::write(bed.path("go"), "").unwrap();
    bed.say(&["cp", bed.path("go").to_str().unwrap(), "talker:/go"]);
    bed.say(&["status", "--wait", "talker"]);
    let status = bed.status("talker");
    assert_eq!((&status["state"], &status["exit_code"]), (&json!("exited"), &json!(3)), "{status}");
    assert_eq!(status["troubles"]["count"], 1, "{status}");
    let said = bed.say(&["logs", "talker"]);
    let lines: Vec<String> = (0..said.lines().count()).map(|line| format!("line {line}")).collect();
    assert_eq!(said.lines().collect::<Vec<_>>(), lines, "nothing it said is lost");
    bed.say(&["cp", "talker:/data", bed.path("data").to_str().unwrap()]);
    assert_eq!(fs::read_to_string(bed.path("data")).unwrap(), "precious\n");
    bed.say(&["rm", "talker"]);
}

#[test]
fn pods_end_are_stopped_and_collected_on_a_full_disk() {
    let Some(bed) = Bed::of_root() else { return };
    let Some(disk) = Disk::under(&bed) else { return };
    let image = bed.script("talker", TALKER);
    for name in ["ends", "stopped", "stays"] {
        bed.say(&["run", "-d", "--name", name, &image]);
    }
    let mut near = bed.command(&["run", "--name", "near", &image]).stdout(std::process::Stdio::null()).spawn().unwrap();
    for name in ["ends", "stopped", "stays", "near"] {
        bed.wait_for("its first words", || bed.tell(&["exec", name, "/bin/ls", "/data"]).0 == 0);
    }
    disk.fill();
    for name in ["ends", "near"] {
        let app = i32::try_from(bed.status(name)["apps"][0]["pid"].as_i64().unwrap()).unwrap();
        let app = rustix::process::Pid::from_raw(app).unwrap();
        rustix::process::kill_process(app, rustix::process::Signal::TERM).unwrap();
    }
    assert_eq!(near.wait().unwrap().code(), Some(4));
    bed.say(&["status", "--wait", "ends"]);
    assert_eq!(bed.status("ends")["exit_code"], 4);
    assert_eq!(bed.status("near")["exit_code"], 4);
    // One that is stopped is told so only where it is written down.
    let (code, _, err) = bed.tell(&["stop", "stopped"]);
    let written = bed.status("stopped")["exit_code"] == 4;
    assert_eq!(code == 0, written, "{err}");
    assert_eq!(bed.status("stays")["state"], "running");
    bed.say(&["rm", "ends"]);
    bed.say(&["gc"]);
    assert_eq!(bed.say(&["list", "--no-legend"]).lines().count(), 1, "only the one that runs is left");
    bed.say(&["stop", "--force", "stays"]);
    bed.say(&["gc"]);
    bed.assert_nothing_left_of_pods();
}

#[test]
fn one_app_that_ends_on_a_full_disk_leaves_the_other_running() {
    let Some(bed) = Bed::of_root() else { return };
    let Some(disk) = Disk::under(&bed) else { return };
    let [one, other] = ["one", "other"].map(|name| bed.script(name, TALKER));
    bed.say(&["run", "-d", "--pod-name", "two", &one, &other]);
    for app in ["two:one", "two:other"] {
        bed.wait_for("its first words", || bed.tell(&["exec", app, "/bin/ls", "/data"]).0 == 0);
    }
    disk.fill();
    bed.say(&["kill", "two:one"]);
    bed.wait_for("the end of one", || bed.status("two")["apps"][0]["main"]["status"] == 4);
    let status = bed.status("two");
    assert_eq!((&status["state"], &status["apps"][1]["main"]), (&json!("running"), &Value::Null), "{status}");
    disk.free();
    bed.say(&["stop", "two"]);
    bed.say(&["rm", "two"]);
}
