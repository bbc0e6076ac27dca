//! Apps that are started again, and how they are asked to end.

use serde_json::json;

use crate::pods::bed::Bed;

#[test]
fn an_app_that_fails_is_started_again_as_often_as_it_may_be() {
    let Some(bed) = Bed::new() else { return };
    // What it left of itself is there still: it is the same app.
    let image = bed.script("thrice", "touch /n$$; set -- /n*; echo life $#; [ $# -ge 3 ] || exit 6");
    let (code, out, err) = bed.tell(&["run", "--restart=on-failure", "--name", "thrice", &image]);
    assert_eq!((code, out.as_str()), (0, "life 1\nlife 2\nlife 3\n"), "{err}");
    assert!(err.contains("app thrice has ended: exit status 6; it is started again in 100ms"), "{err}");
    assert!(err.contains("it is started again in 200ms"), "{err}");
    let app = &bed.status("thrice")["apps"][0];
    assert_eq!(
        (&app["restarts"], &app["previous"], &app["main"]),
        (&json!(2), &json!({"status": 6}), &json!({"status": 0}))
    );
    let told = bed.say(&["status", "thrice"]);
    assert!(told.contains("main exited with 0, started again 2 times, the last time as it exited with 6"), "{told}");
    let (code, out, _) = bed.tell(&["run", "--rm", "--restart=on-failure:1", &image]);
    assert_eq!((code, out.as_str()), (6, "life 1\nlife 2\n"));
    // What has never run is not tried again.
    let (code, ..) = bed.tell(&["run", "--rm", "--restart=always", &image, "--exec", "/nope"]);
    assert_eq!(code, 127);
    let (code, _, err) = bed.tell(&["run", "--rm", "--restart=unless-stopped", &image]);
    assert_eq!(code, 125);
    assert!(err.contains("none of no, on-failure"), "{err}");
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}

#[test]
fn each_life_has_its_handlers_and_none_of_the_processes_of_the_one_before() {
    let Some(bed) = Bed::new() else { return };
    let handler = |name: &str| json!({"name": name, "exec": ["/bin/sh", "-c", "echo $0", name]});
    let script = "set -- /proc/[0-9]*; echo $#; sleep 1000 & [ -e /n ] || { touch /n; exit 1; }";
    let handlers = [handler("pre-start"), handler("post-stop")];
    let image = bed.image("lives", "base", json!({"exec": ["/bin/sh", "-c", script], "eventHandlers": handlers}));
    let (code, out, err) = bed.tell(&["run", "--rm", "--restart=on-failure", &image]);
    // The pod's first process and the shell.
    assert_eq!((code, out.as_str()), (0, "pre-start\n2\npost-stop\npre-start\n2\npost-stop\n"), "{err}");
    bed.assert_nothing_left();
}

#[test]
fn a_pod_that_is_told_to_stop_starts_nobody_again() {
    let Some(bed) = Bed::new() else { return };
    let waits = bed.script(
        "waits",
        "echo x >> /n; [ $(cat /n | { n=0; while read l; do n=$((n+1)); done; echo $n; }) -lt 3 ] || sleep 1000",
    );
    bed.say(&["run", "-d", "--restart=always", "--name", "always", &waits]);
    bed.wait_for("two restarts", || bed.status("always")["apps"][0]["restarts"] == 2);
    bed.say(&["kill", "--signal=KILL", "always"]);
    bed.wait_for("the next", || bed.status("always")["apps"][0]["restarts"] == 3);
    bed.say(&["stop", "always"]);
    let status = bed.status("always");
    assert_eq!((&status["state"], &status["apps"][0]["again"]), (&json!("exited"), &json!(null)));
    // While it waits to be started again, too.
    let fails = bed.script("fails", "exit 9");
    bed.say(&["prepare", "--restart=always", "--name", "fails", &fails]);
    bed.say(&["run-prepared", "-d", "fails"]);
    bed.wait_for("a longer pause", || bed.status("fails")["apps"][0]["restarts"].as_u64() > Some(2));
    bed.wait_for("the pause", || bed.status("fails")["apps"][0]["again"].is_string());
    bed.say(&["stop", "fails"]);
    assert_eq!(bed.status("fails")["exit_code"], 9);
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}

#[test]
fn an_app_is_asked_to_end_by_the_signal_that_its_image_names() {
    let Some(bed) = Bed::new() else { return };
    for (signal, trap) in [("SIGQUIT", "QUIT"), ("USR1", "USR1"), ("SIGRTMIN+3", "RTMIN+3")] {
        let script = format!("trap 'exit 4' {trap}; trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done");
        let image = bed.script("asked", &script);
        let annotation = format!("appc.io/executor/stop-signal={signal}");
        let (code, _, err) = bed.tell(&["run", "-d", "--name", "asked", "--annotation", &annotation, &image]);
        if code != 0 {
            panic!("{err}");
        }
        bed.wait_for("the app", || {
            bed.say(&["logs", "asked"]).contains("up") || bed.status("asked")["state"] == "exited"
        });
        if bed.status("asked")["state"] == "exited" {
            // The host's shell has no name for it.
            assert!(signal.contains("RTMIN"), "{}", bed.say(&["logs", "asked"]));
        } else {
            bed.say(&["stop", "asked"]);
            assert_eq!(bed.status("asked")["exit_code"], 4, "{signal}");
        }
        bed.say(&["rm", "asked"]);
    }
    bed.assert_nothing_left();
}
