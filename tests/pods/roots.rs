//! A root and its pods on disk: it knows itself, and what is damaged in it has a way out.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use appc_needs::{Need, skip};
use serde_json::json;

use super::bed::Bed;

/// jetpack with another root than the bed's.
fn at(root: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_jetpack")).arg("--root").arg(root).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

fn copy(bed: &Bed, name: &str) -> std::path::PathBuf {
    let to = bed.path(name);
    let copied = Command::new("cp").arg("-a").arg(bed.path("root")).arg(&to).output().unwrap();
    // Where overlays work is open to root alone: all else is copied.
    let left = String::from_utf8_lossy(&copied.stderr).into_owned();
    let whole = left.lines().all(|line| !rustix::process::geteuid().is_root() && line.contains("/work/work"));
    assert!(whole, "{left}");
    to
}

#[test]
fn nothing_done_to_a_copied_root_reaches_the_original() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("original", "echo here > /data; while :; do sleep 0.05; done");
    let limited = if rustix::process::geteuid().is_root() { "64M" } else { "0" };
    bed.say(&["run", "-d", "--name", "original", "--memory", limited, &image]);
    bed.wait_for("its file", || bed.tell(&["exec", "original", "/bin/ls", "/data"]).0 == 0);
    let second = copy(&bed, "second");
    for line in [&["gc"][..], &["rm", "original"], &["stop", "original"], &["list"], &["run", &image]] {
        let (code, _, err) = at(&second, line);
        assert!(code != 0 && err.contains("copied or moved") && err.contains("gc --adopt"), "{line:?}: {err}");
    }
    // Without its identity a journal is still the other root's.
    let third = copy(&bed, "third");
    fs::remove_file(third.join("identity")).unwrap();
    let (code, _, err) = at(&third, &["gc"]);
    assert!(code == 1 && err.contains("another root"), "{err}");
    let (code, _, err) = at(&third, &["rm", "--force", "original"]);
    assert!(code == 0 && err.contains("another root"), "{err}");
    let uuid = bed.status("original")["uuid"].clone();
    let (code, out, err) = at(&second, &["gc", "--adopt"]);
    assert_eq!((code, json!(out.trim())), (0, uuid), "{err}");
    assert_eq!(at(&second, &["run", "--rm", "--exec", "/bin/true", "example.com/original"]).0, 0);
    assert_eq!(bed.status("original")["state"], "running");
    assert_eq!(bed.tell(&["exec", "original", "/bin/cat", "/data"]).1, "here\n");
    bed.say(&["stop", "original"]);
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}

#[test]
fn a_copied_root_of_the_model_is_no_place_for_pods_either() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.image_for("freebsd", "plain", "base", json!({"exec": ["/bin/true"]}));
    bed.say(&["--host", "model:freebsd", "run", &image]);
    let second = copy(&bed, "second");
    let (code, _, err) = at(&second, &["--host", "model:freebsd", "gc"]);
    assert!(code != 0 && err.contains("copied or moved"), "{err}");
    assert_eq!(at(&second, &["--host", "model:freebsd", "gc", "--adopt"]).0, 0);
    assert_eq!(bed.say(&["list", "--no-legend"]).lines().count(), 1);
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}

/// Whose supervisor was killed, on FreeBSD, where its jail lives on.
#[test]
fn a_jail_that_outlives_its_supervisor_is_told_and_ended() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.image_for("freebsd", "plain", "base", json!({"exec": ["/bin/true"]}));
    let model = |line: &[&str]| bed.tell(&[&["--host", "model:freebsd"], line].concat());
    for end in ["stop", "gc", "rm"] {
        // What all pods share is made by the first.
        let plan: serde_json::Value = serde_json::from_str(&model(&["plan", "--json", &image]).1).unwrap();
        let steps = plan["steps"].as_array().unwrap();
        let jail = steps.iter().position(|step| step.get("create-jail").is_some()).unwrap();
        let last = format!("kill:{jail}");
        model(&["run", "--inject", &last, &image]);
        let pods: serde_json::Value = serde_json::from_str(&bed.say(&["list", "--json"])).unwrap();
        assert_eq!(pods[0]["lost"], true, "{pods}");
        let uuid = pods[0]["uuid"].as_str().unwrap();
        let (_, out, err) = model(&["status", uuid]);
        assert!(out.contains("lost with its supervisor, but its jail"), "{out}{err}");
        let words = match end {
            "gc" => vec!["gc"],
            "stop" => vec!["stop", uuid],
            _ => {
                // The journal no longer tells of the jail, whose name does.
                let journal = bed.path("root/pods").join(uuid).join("journal");
                let text = fs::read_to_string(&journal).unwrap();
                fs::write(&journal, text.replace("{\"create-jail\"", "{\"create-gaol\"")).unwrap();
                vec!["rm", "--force", uuid]
            }
        };
        let (code, out, err) = model(&words);
        assert_eq!((code, out.trim()), (0, uuid), "{err}");
        if end == "stop" {
            assert!(!model(&["status", uuid]).1.contains("still runs"));
            bed.say(&["gc"]);
        }
    }
    let kept: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(bed.path("root/model-freebsd.json")).unwrap()).unwrap();
    assert_eq!(kept["jails"], json!({}), "a jail is left");
    bed.assert_nothing_left();
}

#[test]
fn a_root_is_its_owners_alone_whatever_the_umask_says() {
    let Some(bed) = Bed::new() else { return };
    for umask in ["000", "002", "077"] {
        let root = bed.path(&format!("umask-{umask}"));
        let image = bed.image("plain", "base", json!({"exec": ["/bin/true"]}));
        let line = format!("umask {umask}; exec \"$@\"");
        let mut run = Command::new("/bin/sh");
        run.args(["-c", &line, "sh", env!("CARGO_BIN_EXE_jetpack"), "--root"]).arg(&root).args(["run", &image]);
        assert!(run.status().unwrap().success());
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!(mode(&root), 0o700, "umask {umask}");
        for inside in ["pods", "images", "trees", "incoming"] {
            assert_eq!(mode(&root.join(inside)), 0o700, "umask {umask}: {inside}");
        }
        assert_eq!(at(&root, &["gc"]).0, 0);
        fs::set_permissions(&root, fs::Permissions::from_mode(0o777)).unwrap();
        for line in [&["list"][..], &["run", &image], &["gc"]] {
            let (code, _, err) = at(&root, line);
            assert!(code != 0 && err.contains("chmod go-w"), "{line:?}: {err}");
        }
    }
}

#[test]
fn runs_and_collections_at_the_same_time_do_not_meet() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.image("plain", "base", json!({"exec": ["/bin/true"]}));
    bed.say(&["fetch", &image]);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let bed = &bed;
        let collectors: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut failed = Vec::new();
                    while !done.load(std::sync::atomic::Ordering::Relaxed) {
                        let (code, _, err) = bed.tell(&["gc"]);
                        failed.extend((code != 0).then_some(err));
                    }
                    failed
                })
            })
            .collect();
        let runner = |line: &'static [&'static str]| {
            scope.spawn(move || -> Vec<String> {
                let runs = (0..40).map(|_| bed.tell(&[line, &["example.com/plain"]].concat()));
                runs.filter(|(code, _, _)| *code != 0).map(|(_, out, err)| out + &err).collect()
            })
        };
        let runners = [runner(&["run", "--rm"]), runner(&["run"])];
        for runner in runners {
            assert_eq!(runner.join().unwrap(), Vec::<String>::new());
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        for collector in collectors {
            assert_eq!(collector.join().unwrap(), Vec::<String>::new());
        }
    });
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}

#[test]
fn what_a_killed_maker_left_is_swept() {
    let Some(bed) = Bed::new() else { return };
    let left = bed.path("root/pods/making/9d7a7ba0-6a3e-4c2c-9a6e-0d1f8e3c5b11");
    fs::create_dir_all(left.join("logs")).unwrap();
    assert_eq!(bed.say(&["list"]), "");
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}

#[test]
fn a_damaged_journal_keeps_no_other_pod_and_has_a_way_out() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("hurt", "echo ran");
    for name in ["hurt", "whole"] {
        bed.say(&["run", "--name", name, &image]);
    }
    let pod = bed.path("root/pods").join(bed.status("hurt")["uuid"].as_str().unwrap());
    let journal = pod.join("journal");
    let text = fs::read_to_string(&journal).unwrap();
    fs::write(&journal, text.replacen("make-directory", "make-mischief", 1)).unwrap();
    let (code, out, err) = bed.tell(&["gc"]);
    assert!(code == 1 && out.lines().count() == 1 && err.contains("rm --force"), "{out}{err}");
    assert_eq!(bed.tell(&["rm", "hurt"]).0, 1);
    let (code, _, err) = bed.tell(&["rm", "--force", "hurt"]);
    assert!(code == 0 && err.contains("not undone") && err.contains("make-mischief"), "{err}");
    // Nothing outside of the pod is undone, whatever its journal says.
    bed.say(&["run", "--name", "forged", &image]);
    let pod = bed.path("root/pods").join(bed.status("forged")["uuid"].as_str().unwrap());
    let precious = bed.path("precious");
    fs::create_dir(&precious).unwrap();
    let line = json!({"make-directory": {"path": precious, "mode": 0o755, "owner": null}});
    let text = fs::read_to_string(pod.join("journal")).unwrap() + &format!("{line}\n");
    fs::write(pod.join("journal"), text).unwrap();
    let (code, _, err) = bed.tell(&["rm", "forged"]);
    assert!(code == 1 && err.contains("not the pod's own"), "{err}");
    assert_eq!(bed.tell(&["rm", "--force", "forged"]).0, 0);
    assert!(precious.is_dir());
    bed.assert_nothing_left();
}

#[test]
fn a_damaged_lock_or_status_hides_no_living_pod() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("alive", "trap 'exit 4' TERM; while :; do sleep 0.05; done");
    bed.say(&["run", "-d", "--name", "alive", &image]);
    bed.wait_for("its start", || bed.tell(&["exec", "alive", "/bin/true"]).0 == 0);
    let pod = bed.path("root/pods").join(bed.status("alive")["uuid"].as_str().unwrap());
    fs::write(pod.join("lock"), "rubbish").unwrap();
    assert_eq!(bed.status("alive")["state"], "running");
    bed.say(&["gc"]);
    assert_eq!(bed.tell(&["rm", "alive"]).0, 1);
    bed.say(&["stop", "alive"]);
    let listed = bed.say(&["list", "--no-legend"]);
    let words: Vec<&str> = listed.split_whitespace().collect();
    assert!(words.windows(2).any(|pair| pair == ["exited", "4"]), "{listed}");
    fs::write(pod.join("status"), "{\"started").unwrap();
    let (code, out, err) = bed.tell(&["status", "alive"]);
    assert!(code == 1 && out.is_empty() && err.contains("status"), "{out}{err}");
    assert!(bed.say(&["list"]).contains("damaged"));
    bed.say(&["rm", "alive"]);
    bed.assert_nothing_left();
}

#[test]
fn a_pod_that_ended_tomorrow_is_as_young_as_one_that_ended_now() {
    let Some(bed) = Bed::new() else { return };
    bed.say(&["run", "--name", "ahead", &bed.script("ahead", "echo ran")]);
    let pod = bed.path("root/pods").join(bed.status("ahead")["uuid"].as_str().unwrap());
    let tomorrow = std::time::SystemTime::now() + std::time::Duration::from_secs(86_400);
    fs::File::open(pod.join("status")).unwrap().set_modified(tomorrow).unwrap();
    assert_eq!(bed.say(&["gc", "--grace", "1h"]), "");
    bed.say(&["gc", "--grace", "0s"]);
    bed.assert_nothing_left();
}

#[test]
fn what_is_damaged_in_a_root_is_told_with_what_mends_it() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("plain", "echo ran");
    bed.say(&["run", "--rm", &image]);
    let cases = [("version", "x", "echo 1 >"), ("metadata.key", "x", "fresh key"), ("identity", "x", "gc --adopt")];
    for (name, content, mend) in cases {
        let file = bed.path("root").join(name);
        let kept = fs::read(&file).unwrap();
        fs::write(&file, content).unwrap();
        let (code, _, err) = bed.tell(&["run", "--rm", &image]);
        assert!(code == 125 && err.contains(name) && err.contains(mend), "{name}: {err}");
        fs::write(&file, kept).unwrap();
    }
    bed.say(&["run", "--rm", &image]);
    bed.assert_nothing_left();
}

/// By who is not root, whom modes keep out.
#[test]
fn a_deep_tree_without_permissions_goes_at_the_first_collection() {
    let Some(bed) = Bed::of_root() else { return };
    const NOBODY: u32 = 65_534;
    let root = bed.path("theirs");
    let mut deep = root.join("pods/removing/9d7a7ba0-6a3e-4c2c-9a6e-0d1f8e3c5b11");
    let mut made = vec![root.clone(), root.join("pods"), root.join("pods/removing"), deep.clone()];
    for number in 0..300 {
        deep.push(format!("d{number}"));
        made.push(deep.clone());
    }
    fs::create_dir_all(&deep).unwrap();
    for (number, path) in made.iter().enumerate().rev() {
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(if number < 4 { 0o700 } else { 0 })).unwrap();
    }
    fs::set_permissions(bed.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let program = bed.path("jetpack");
    crate::support::copy_jetpack(&program);
    let mut gc = Command::new(program);
    std::os::unix::process::CommandExt::uid(&mut gc, NOBODY);
    let output = gc.arg("--root").arg(&root).arg("gc").env("HOME", "/nonexistent").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!made[3].exists());
}

/// What was asked for strictly is judged by the host that the pod starts on, not by the one that it was prepared on.
#[test]
fn a_pod_that_was_prepared_strictly_is_judged_when_it_starts() {
    let Some(bed) = Bed::of_root() else { return };
    let isolator = json!([{"name": "os/linux/oom-score-adj", "value": 0}]);
    let exec = ["/bin/cat", "/proc/self/oom_score_adj"];
    let image = bed.image("score", "base", json!({"exec": exec, "isolators": isolator}));
    if !Path::new("/usr/bin/setpriv").exists() {
        skip(Need::Program, "the host has no setpriv");
        return;
    }
    let elsewhere = |line: &[&str]| {
        let (drop, jetpack) = ("echo 500 > /proc/self/oom_score_adj", bed.command(line));
        let mut shell = Command::new("/bin/sh");
        let caps = "--bounding-set=-sys_resource --inh-caps=-sys_resource";
        shell.args(["-c", &format!("{drop}; exec setpriv {caps} \"$@\""), "sh"]);
        let output = shell.arg(jetpack.get_program()).args(jetpack.get_args()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    };
    let uuid = bed.say(&["prepare", "--strict", &image]);
    let (code, out, err) = elsewhere(&["run-prepared", uuid.trim()]);
    assert!(code == 125 && out.is_empty() && err.contains("strictly") && err.contains("oom-score-adj"), "{out}{err}");
    assert_eq!(elsewhere(&["run", "--rm", "--strict", &image]).0, 125);
    // Where it holds it runs; what is told and kept is what held at the start.
    assert_eq!(bed.say(&["run-prepared", "--rm", uuid.trim()]), "0\n");
    let uuid = bed.say(&["prepare", &image]);
    let (code, out, err) = elsewhere(&["run-prepared", uuid.trim()]);
    assert_eq!((code, out.as_str()), (0, "500\n"), "{err}");
    assert!(err.contains("oom-score-adj modified"), "{err}");
    assert!(bed.say(&["status", uuid.trim()]).contains("oom-score-adj modified"));
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}
