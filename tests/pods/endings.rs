//! However a pod ends, at whatever moment: it ends or is collected, and nothing is left.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::bed::Bed;

/// Starts a pod, sends `signal` to its supervisor a little later, again and again with another delay.
fn interrupt_at_any_moment(bed: &Bed, signal: Signal) {
    // Whoever runs the tests may have had them ignore it. Nobody can ignore KILL, and that cannot be asked for.
    let _ = appc::sys::signals::restore(signal.as_raw());
    let image = bed.script("long", "trap 'exit 9' TERM; while :; do sleep 0.02; done");
    bed.say(&["fetch", &image]);
    for delay in (0..240).step_by(12) {
        let line = ["run", "--rm", "--memory", "64M", "--volume", "v", "--mount", "volume=v,target=/v", &image];
        let mut run = bed.command(&line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        let pid = Pid::from_raw(i32::try_from(run.id()).unwrap()).unwrap();
        let _ = kill_process(pid, signal);
        let status = run.wait().unwrap();
        assert!(!status.success(), "{delay} ms: {status}");
        bed.wait_for("the pod's end", || {
            bed.say(&["gc"]);
            bed.say(&["list"]).is_empty()
        });
    }
    bed.assert_nothing_left();
}

#[test]
fn an_interrupt_at_any_moment_leaves_nothing() {
    let Some(bed) = Bed::new() else { return };
    interrupt_at_any_moment(&bed, Signal::INT);
}

#[test]
fn a_killed_supervisor_leaves_nothing_that_is_not_collected() {
    let Some(bed) = Bed::new() else { return };
    interrupt_at_any_moment(&bed, Signal::KILL);
}

#[test]
fn a_pod_ends_with_the_terminal_that_it_was_started_from() {
    let Some(bed) = Bed::new() else { return };
    interrupt_at_any_moment(&bed, Signal::HUP);
}

#[test]
fn a_pod_that_was_started_to_ignore_hang_ups_goes_on() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("long", "trap 'exit 9' TERM; while :; do sleep 0.02; done");
    let mut run = bed.command_after("trap '' HUP", &["run", "--name", "kept", &image]);
    let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let running = || bed.say(&["list", "--no-legend"]).contains("running");
    bed.wait_for("the pod's start", running);
    let pid = Pid::from_raw(i32::try_from(run.id()).unwrap()).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(running());
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(9));
    bed.say(&["gc", "--grace", "0s"]);
    bed.assert_nothing_left();
}

#[test]
fn a_hundred_pods_run_at_once_and_are_stopped_and_collected() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("many", "trap exit TERM; while :; do sleep 1000 & wait; done");
    bed.say(&["fetch", &image]);
    let pods: Vec<String> =
        (0..100).map(|_| bed.say(&["run", "-d", "--stdout", "null", &image]).trim().to_owned()).collect();
    let running = |bed: &Bed| bed.say(&["list", "--no-legend"]).lines().filter(|line| line.contains("running")).count();
    assert_eq!(running(&bed), 100);
    for pod in &pods {
        bed.say(&["kill", "-s", "TERM", pod]);
    }
    bed.wait_for("their end", || running(&bed) == 0);
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}

#[test]
fn a_log_that_has_grown_is_moved_aside_and_the_newest_is_kept() {
    let Some(bed) = Bed::new() else { return };
    let line = "x".repeat(999) + "\n";
    std::fs::write(bed.layout("base").join("lines"), line.repeat(18_000)).unwrap();
    bed.say(&["run", "-d", "--name", "talker", &bed.script("talker", "cat /lines /lines; echo the end")]);
    bed.say(&["status", "--wait", "talker"]);
    let uuid = bed.status("talker")["uuid"].as_str().unwrap().to_owned();
    let logs = bed.path("root/pods").join(uuid).join("logs");
    let length = |name: &str| std::fs::metadata(logs.join(name)).unwrap().len();
    let limit = appc::executor::logs::LIMIT;
    assert!(length("talker.1") > limit && length("talker.1") < limit + (1 << 20), "{}", length("talker.1"));
    assert!(length("talker") < limit + (1 << 20));
    assert!(bed.say(&["logs", "talker"]).ends_with("the end\n"));
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}
