//! What is done with pods all day long.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use super::bed::Bed;

const IDLE: &str = "trap 'exit 0' TERM; while :; do sleep 0.05; done";

#[test]
fn a_command_may_run_as_somebody_else_elsewhere_and_with_more_in_its_environment() {
    let Some(bed) = Bed::of_root() else { return };
    let image = bed.image(
        "idle",
        "base",
        json!({"exec": ["/bin/sh", "-c", IDLE], "supplementaryGIDs": [7], "environment": [{"name": "A", "value": "1"}]}),
    );
    bed.say(&["run", "-d", "--name", "idle", &image]);
    let run = |options: &[&str], script: &str| {
        let mut line = vec!["exec"];
        line.extend(options);
        line.extend(["idle", "/bin/sh", "-c", script]);
        bed.say(&line)
    };
    assert_eq!(run(&[], "id -u; id -G; pwd; echo $A$B"), "0\n0 7\n/\n1\n");
    // The group is the account's, and the app's further groups are the app's.
    assert_eq!(run(&["--user", "web"], "id -u; id -G; echo $HOME"), "33\n44\n/srv\n");
    assert_eq!(run(&["-u", "web:root"], "id -u; id -G"), "33\n0\n");
    assert_eq!(run(&["-u", "1234"], "id -u; id -G"), "1234\n0\n");
    assert_eq!(run(&["-e", "A=2", "-e", "B=3", "-w", "/etc"], "pwd; echo $A$B"), "/etc\n23\n");
    for (options, code, told) in [
        (&["-u", "nobody-here"][..], 125, "find the user `nobody-here`"),
        (&["-u", "web:"], 125, "it is empty"),
        (&["-e", "1=2"], 125, "--env 1=2"),
        (&["-w", "etc"], 125, "--workdir etc"),
        (&["-w", "/nowhere"], 125, "/nowhere"),
    ] {
        let mut line = vec!["exec"];
        line.extend(options);
        line.extend(["idle", "/bin/true"]);
        let (is, _, err) = bed.tell(&line);
        assert_eq!(is, code, "{err}");
        assert!(err.contains(told), "{err}");
    }
    bed.say(&["rm", "-f", "idle"]);
    bed.assert_nothing_left();
}

#[test]
fn a_pod_that_has_ended_is_started_with_fresh_files_under_its_uuid() {
    let Some(bed) = Bed::new() else { return };
    let script = "[ -e /mine ] && echo old; [ -e /data/mine ] && echo old; touch /mine /data/mine; echo life; exit 3";
    let points = json!([{"name": "data", "path": "/data"}]);
    let image = bed.image("again", "base", json!({"exec": ["/bin/sh", "-c", script], "mountPoints": points}));
    assert_eq!(bed.tell(&["run", "--name", "again", "--volume", "data", &image]).0, 3);
    let uuid = bed.status("again")["uuid"].clone();
    let (code, out, err) = bed.tell(&["start", "again"]);
    assert_eq!((code, out.as_str()), (3, "life\n"), "{err}");
    assert_eq!(bed.tell(&["start", "again"]).1, "life\n");
    assert_eq!(bed.status("again")["uuid"], uuid);
    assert_eq!(bed.say(&["logs", "again"]), "life\nlife\nlife\n");
    assert_eq!(bed.say(&["logs", "-n", "1", "again"]), "life\n");
    // Its name is another's meanwhile.
    bed.say(&["run", "-d", "--name", "again", &bed.script("other", IDLE)]);
    let (code, _, err) = bed.tell(&["start", uuid.as_str().unwrap()]);
    assert!(code == 125 && err.contains("has that name"), "{err}");
    let (code, _, err) = bed.tell(&["start", "again"]);
    assert!(code == 125 && err.contains("it is running"), "{err}");
    bed.say(&["rm", "--force", "again"]);
    bed.say(&["rm", uuid.as_str().unwrap()]);
    bed.assert_nothing_left();
}

#[test]
fn pods_are_waited_for_renamed_and_listed_as_asked() {
    let Some(bed) = Bed::new() else { return };
    let idle = bed.script("idle", "trap 'exit 4' TERM; while :; do sleep 0.05; done");
    bed.say(&["run", "-d", "--name", "first", &idle]);
    bed.say(&["run", "--name", "second", &bed.script("ends", "exit 0")]);
    let mut wait = bed.command(&["wait", "second", "first"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut waited = BufReader::new(wait.stdout.take().unwrap()).lines();
    // Both have been found by their names when the first line stands there.
    assert_eq!(waited.next().unwrap().unwrap(), "0");
    bed.say(&["rename", "first", "third"]);
    for (pod, name, told) in [("first", "x", "no pod of that name"), ("third", "X", "a name is")] {
        let (code, _, err) = bed.tell(&["rename", pod, name]);
        assert!(code != 0 && err.contains(told), "{err}");
    }
    // Of a pod that has ended the name may be taken.
    bed.say(&["rename", "third", "second"]);
    bed.say(&["rename", "second", "third"]);
    let lines = |options: &[&str]| {
        let mut line = vec!["list", "--format", "{name} {state} {exit} {images} {apps}"];
        line.extend(options);
        bed.say(&line)
    };
    assert_eq!(lines(&["--filter", "name=third"]), "third running  example.com/idle first\n");
    assert_eq!(lines(&["--filter", "exit=0", "--filter", "state=exited"]), "second exited 0 example.com/ends second\n");
    assert_eq!(lines(&["--filter", "name=none"]), "");
    assert_eq!(lines(&["--filter", "image=example.com", "--filter", "app=first"]).lines().count(), 1);
    assert_eq!(bed.say(&["list", "-q"]).lines().count(), 2);
    let table = bed.say(&["list"]);
    let head: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["UUID", "NAME", "STATE", "EXIT", "AGE", "ADDRESSES", "IMAGES", "APPS"]);
    for wrong in [["--filter", "x=y"], ["--filter", "state=dead"], ["--format", "{x}"], ["--format", "{uuid"]] {
        let mut line = vec!["list"];
        line.extend(wrong);
        assert_eq!(bed.tell(&line).0, 2, "{wrong:?}");
    }
    bed.say(&["stop", "third"]);
    assert_eq!(waited.collect::<Result<Vec<_>, _>>().unwrap(), ["4"]);
    assert!(wait.wait().unwrap().success());
    bed.say(&["prepare", "--name", "later", &idle]);
    let (code, _, err) = bed.tell(&["wait", "later"]);
    assert!(code == 1 && err.contains("nobody has started it"), "{err}");
    bed.say(&["rm", "later"]);
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}

#[test]
fn pods_and_images_are_inspected_as_one_document() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("ends", "exit 0");
    bed.say(&["run", "--name", "ends", &image]);
    let known: Value = serde_json::from_str(&bed.say(&["inspect", "ends", "example.com/ends"])).unwrap();
    let (pod, found) = (&known[0], &known[1]);
    assert_eq!((&pod["kind"], &pod["name"], &pod["exit_code"]), (&json!("pod"), &json!("ends"), &json!(0)));
    assert_eq!(pod["manifest"]["acKind"], "PodManifest");
    assert_eq!(pod["plan"]["apps"][0]["name"], "ends");
    assert_eq!((&found["kind"], &found["manifest"]["acKind"]), (&json!("image"), &json!("ImageManifest")));
    assert_eq!(pod["plan"]["apps"][0]["image_id"], found["id"]);
    let same: Value = serde_json::from_str(&bed.say(&["image", "inspect", "example.com/ends"])).unwrap();
    assert_eq!(same[0], *found);
    assert_eq!(bed.say(&["images", "-q"]).lines().filter(|line| **line == *found["id"].as_str().unwrap()).count(), 1);
    assert!(bed.say(&["inspect", "--kind", "image", "example.com/ends"]).contains("ImageManifest"));
    let (code, _, err) = bed.tell(&["inspect", "nothing"]);
    assert!(code == 1 && err.contains("there is no pod and no image of that name"), "{err}");
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}

#[test]
fn of_what_was_said_the_last_lines_are_shown() {
    let Some(bed) = Bed::new() else { return };
    bed.tell(&["run", "--name", "says", &bed.script("says", "echo 1; echo 2; echo 3; printf 4")]);
    for (tail, shown) in [("0", ""), ("1", "4"), ("2", "3\n4"), ("9", "1\n2\n3\n4")] {
        assert_eq!(bed.say(&["logs", "--tail", tail, "says"]), shown);
    }
    assert_eq!(bed.tell(&["logs", "--tail", "x", "says"]).0, 2);
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}

#[test]
fn what_happens_to_pods_is_told_as_it_happens_and_from_their_files() {
    let Some(bed) = Bed::new() else { return };
    let idle = bed.script("idle", "trap 'exit 4' TERM; while :; do sleep 0.05; done");
    bed.say(&["run", "--name", "before", &bed.script("ends", "exit 0")]);
    let file = std::fs::File::create(bed.path("events")).unwrap();
    let mut events = bed.command(&["events", "--json", "--since", "1h"]).stdout(file).spawn().unwrap();
    let told = || -> Vec<Value> {
        let text = std::fs::read_to_string(bed.path("events")).unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    let words = |name: &str| -> Vec<String> {
        let of = told().into_iter().filter(|event| event["name"] == name);
        of.map(|event| event["what"].as_str().unwrap().to_owned()).collect()
    };
    bed.wait_for("the past", || words("before").len() == 5);
    assert_eq!(words("before"), ["made", "started", "app-started", "app-ended", "ended"]);
    bed.say(&["run", "-d", "--name", "after", &idle]);
    bed.wait_for("a start", || words("after").len() == 3);
    bed.say(&["stop", "after"]);
    bed.wait_for("an end", || words("after").len() == 5);
    assert_eq!(told().last().unwrap()["exit_code"], 4);
    bed.say(&["rm", "after"]);
    bed.wait_for("that it is gone", || words("after").len() == 6);
    assert_eq!(words("after")[5], "removed");
    events.kill().unwrap();
    events.wait().unwrap();
    let past = bed.say(&["events", "--since", "1h", "--no-follow", "before"]);
    assert!(past.lines().count() == 5 && past.contains("(before) app before exited with 0\n"), "{past}");
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}

#[test]
fn who_attaches_to_a_pod_hears_it_signals_it_and_ends_as_it_does() {
    use rustix::process::{Pid, Signal, kill_process};
    let Some(bed) = Bed::new() else { return };
    let script = "echo early; trap 'echo asked' USR1; trap 'echo bye; exit 4' INT; while :; do sleep 0.05; done";
    bed.say(&["run", "-d", "--name", "here", &bed.script("here", script)]);
    bed.wait_for("its first word", || bed.say(&["logs", "here"]) == "early\n");
    let attach = |options: &[&str], out: &str| {
        let file = std::fs::File::create(bed.path(out)).unwrap();
        bed.command(&["attach"]).args(options).arg("here").stdout(file).spawn().unwrap()
    };
    let said = |out: &str| std::fs::read_to_string(bed.path(out)).unwrap();
    let send = |child: &std::process::Child, signal| kill_process(Pid::from_child(child), signal).unwrap();
    let (mut one, mut other) = (attach(&["--tail", "1"], "one"), attach(&[], "other"));
    bed.wait_for("what was said before", || said("one") == "early\n");
    // Until it watches for signals, one would end it.
    bed.wait_for("the other", || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", other.id())).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
        u64::from_str_radix(caught, 16).unwrap() & (1 << (libc::SIGUSR1 - 1)) != 0
    });
    send(&one, Signal::USR1);
    bed.wait_for("the answer", || said("other") == "asked\n");
    send(&other, Signal::HUP);
    assert_eq!(other.wait().unwrap().code(), Some(0));
    assert_eq!(bed.status("here")["state"], "running");
    send(&one, Signal::INT);
    assert_eq!(one.wait().unwrap().code(), Some(4));
    assert_eq!(said("one"), "early\nasked\nbye\n");
    let (code, _, err) = bed.tell(&["attach", "here"]);
    assert!(code == 125 && err.contains("it is exited"), "{err}");
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}

#[test]
fn a_paused_pod_does_nothing_until_it_is_resumed_and_can_be_stopped() {
    let Some(bed) = Bed::new() else { return };
    let script = "(while :; do echo x; sleep 0.02; done) & trap 'exit 4' TERM; while :; do sleep 0.02; done";
    bed.say(&["run", "-d", "--name", "held", &bed.script("held", script)]);
    let said = || bed.say(&["logs", "held"]).len();
    bed.wait_for("its first words", || said() > 4);
    let uuid = bed.say(&["pause", "held"]);
    assert_eq!(bed.status("held")["uuid"], uuid.trim());
    assert_eq!((&bed.status("held")["state"], &bed.status("held")["paused"]), (&json!("running"), &json!(true)));
    // What was on its way has come by the second look.
    bed.say(&["status", "held"]);
    let before = said();
    for _ in 0..5 {
        assert!(bed.say(&["status", "held"]).contains("state: running, paused"));
    }
    assert_eq!(said(), before);
    let (code, _, err) = bed.tell(&["exec", "held", "/bin/true"]);
    assert!(code == 125 && err.contains("it is paused"), "{err}");
    bed.say(&["pause", "held"]);
    bed.say(&["resume", "held"]);
    bed.wait_for("more words", || said() > before);
    assert_eq!(bed.status("held")["paused"], false);
    bed.say(&["resume", "held"]);
    bed.say(&["pause", "held"]);
    bed.say(&["stop", "held"]);
    assert_eq!(bed.status("held")["exit_code"], 4);
    let (code, _, err) = bed.tell(&["pause", "held"]);
    assert!(code == 1 && err.contains("it is exited"), "{err}");
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}
