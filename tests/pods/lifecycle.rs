//! Pods from start to end.

use std::io::Read;
use std::process::Stdio;

use serde_json::json;

use super::bed::Bed;

#[test]
fn an_apps_exit_status_and_output_are_passed_through() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("seven", "echo out; echo err >&2; exit 7");
    assert_eq!(bed.tell(&["run", "--rm", &image]).0, 7);
    let (code, out, err) = bed.tell(&["run", "--rm", &image]);
    assert_eq!((code, out.as_str()), (7, "out\n"));
    assert!(err.ends_with("err\n"), "{err}");
    let killed = bed.script("killed", "kill -KILL $$");
    assert_eq!(bed.tell(&["run", "--rm", &killed]).0, 137);
    bed.assert_nothing_left();
}

#[test]
fn every_process_of_an_app_has_the_same_environment_and_directory() {
    let Some(bed) = Bed::new() else { return };
    let tell = "echo $0 $PATH $AC_APP_NAME $container ${AC_METADATA_URL%%:*} $MINE; readlink /proc/self/cwd";
    let handler = |name: &str| json!({"name": name, "exec": ["/bin/sh", "-c", tell, name]});
    let image = bed.image(
        "env",
        "base",
        json!({"exec": ["sh", "-c", tell, "main"], "workingDirectory": "/etc",
            "environment": [{"name": "MINE", "value": "x"}, {"name": "container", "value": "no"}],
            "eventHandlers": [handler("pre-start"), handler("post-stop")]}),
    );
    let out = bed.say(&["run", "--rm", "--name", "shop", &image]);
    let line = |name: &str| {
        format!("{name} /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin shop jetpack http x\n/etc\n")
    };
    assert_eq!(out, line("pre-start") + &line("main") + &line("post-stop"));
    bed.assert_nothing_left();
}

#[test]
fn a_failing_pre_start_keeps_the_app_from_running() {
    let Some(bed) = Bed::new() else { return };
    let handler = |name: &str, script: &str| json!({"name": name, "exec": ["/bin/sh", "-c", script]});
    let handlers = [handler("pre-start", "exit 3"), handler("post-stop", "echo stopped")];
    let image = bed.image("pre", "base", json!({"exec": ["/bin/sh", "-c", "echo main"], "eventHandlers": handlers}));
    let (code, out, err) = bed.tell(&["run", "--rm", &image]);
    assert_eq!((code, out.as_str()), (125, ""));
    assert!(err.contains("its pre-start handler failed: exit status 3"), "{err}");
    assert_eq!(bed.tell(&["run", "-d", "--name", "pre", &image]).0, 125);
    let status = bed.status("pre");
    assert_eq!((&status["exit_code"], &status["apps"][0]["pre_start"]["status"]), (&json!(125), &json!(3)));
    // One that cannot be executed says nothing of the app's own program.
    let missing = json!([{"name": "pre-start", "exec": ["/nope"]}]);
    let image = bed.image("nope", "base", json!({"exec": ["/bin/sh", "-c", "echo main"], "eventHandlers": missing}));
    let (code, out, err) = bed.tell(&["run", "--rm", &image]);
    assert_eq!((code, out.as_str()), (125, ""));
    assert!(err.contains("pre-start") && err.contains("/nope"), "{err}");
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}

#[test]
fn a_detached_pod_is_listed_entered_followed_and_stopped() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("web", "trap 'echo bye; exit 4' TERM; echo hi; while :; do sleep 0.05; done");
    let uuid = bed.say(&["run", "-d", "--name", "web", &image]);
    let uuid = uuid.trim();
    assert_eq!(bed.status("web")["state"], "running");
    assert_eq!(bed.status(&uuid[..8])["uuid"], uuid);
    let other = bed.tell(&["run", "-d", "--name", "web", &image]);
    assert_eq!(other.0, 125);
    assert!(other.2.contains("has that name"), "{}", other.2);
    bed.wait_for("the app's first word", || bed.say(&["logs", "web"]) == "hi\n");
    let (code, out, _) = bed.tell(&["exec", "web", "/bin/sh", "-c", "echo $AC_APP_NAME; exit 5"]);
    assert_eq!((code, out.as_str()), (5, "web\n"));
    assert_eq!(bed.tell(&["exec", "web", "/nope"]).0, 127);
    let mut follow = bed.command(&["logs", "-f", "web"]).stdout(Stdio::piped()).spawn().unwrap();
    bed.say(&["stop", "web"]);
    let mut text = String::new();
    follow.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    follow.wait().unwrap();
    assert_eq!(text, "hi\nbye\n");
    let status = bed.status("web");
    assert_eq!((&status["state"], &status["exit_code"]), (&json!("exited"), &json!(4)));
    bed.say(&["rm", "web"]);
    bed.assert_nothing_left();
}

#[test]
fn a_prepared_pod_runs_once() {
    let Some(bed) = Bed::new() else { return };
    let uuid = bed.say(&["prepare", &bed.script("once", "echo $0 $1"), "--", "-c", "echo \"$0 $1\"", "a", "b c"]);
    assert_eq!(bed.status(uuid.trim())["state"], "prepared");
    let out = bed.path("out.aci");
    let inside = format!("{}:/etc", uuid.trim());
    for line in
        [["export", uuid.trim(), out.to_str().unwrap()], ["cp", &inside, "/nowhere"], ["cp", "/etc/hosts", &inside]]
    {
        let (code, _, err) = bed.tell(&line);
        assert!(code == 1 && err.contains("it has never run"), "{line:?}: {err}");
    }
    assert_eq!(bed.say(&["run-prepared", uuid.trim()]), "a b c\n");
    assert_eq!(bed.tell(&["run-prepared", uuid.trim()]).0, 125);
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}

#[test]
fn a_prepared_pod_that_cannot_be_started_stays_prepared() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("patient", "echo ran");
    std::fs::create_dir(bed.path("source")).unwrap();
    let volume = format!("v,source={}", bed.path("source").display());
    let line = ["prepare", "--name", "patient", "--volume", &volume, "--mount", "volume=v,target=/v", &image];
    bed.say(&line);
    std::fs::remove_dir(bed.path("source")).unwrap();
    assert_eq!(bed.tell(&["run-prepared", "patient"]).0, 125);
    assert_eq!(bed.tell(&["run-prepared", "--inject", "fail:1", "patient"]).0, 125);
    assert_eq!(bed.status("patient")["state"], "prepared");
    std::fs::create_dir(bed.path("source")).unwrap();
    assert_eq!(bed.say(&["run-prepared", "--rm", "patient"]), "ran\n");
    bed.assert_nothing_left();
}

/// What does not read is not nothing.
#[test]
fn a_pod_whose_files_are_damaged_keeps_its_images_and_runs_nowhere_else() {
    let Some(bed) = Bed::new() else { return };
    let uuid = bed.say(&["prepare", "--name", "hurt", &bed.script("hurt", "echo ran")]);
    let pod = bed.path("root/pods").join(uuid.trim());
    let plan = std::fs::read(pod.join("plan")).unwrap();
    std::fs::write(pod.join("plan"), &plan[..plan.len() / 2]).unwrap();
    let images = bed.say(&["images"]);
    let (code, _, err) = bed.tell(&["image", "gc"]);
    assert_eq!(code, 1);
    assert!(err.contains(uuid.trim()) && err.contains("jetpack rm"), "{err}");
    assert_eq!(bed.say(&["images"]), images);
    std::fs::write(pod.join("plan"), plan).unwrap();
    let (code, _, err) = bed.tell(&["image", "rm", "example.com/hurt"]);
    assert!(code == 1 && err.contains(uuid.trim()), "{err}");
    std::fs::write(pod.join("model"), "{").unwrap();
    let (code, out, err) = bed.tell(&["run-prepared", "hurt"]);
    assert_eq!((code, out.as_str()), (125, ""));
    assert!(err.contains("model"), "{err}");
    std::fs::remove_file(pod.join("model")).unwrap();
    std::fs::write(pod.join("journal"), "{\"executor\":\"model:freebsd\"}\n").unwrap();
    let (code, _, err) = bed.tell(&["rm", "hurt"]);
    assert!(code == 1 && err.contains("model:freebsd"), "{err}");
    std::fs::remove_file(pod.join("journal")).unwrap();
    bed.say(&["rm", "hurt"]);
    bed.assert_nothing_left();
}

#[test]
fn files_are_copied_in_and_out_and_an_exported_app_runs_again() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("box", "while ! test -e /go; do sleep 0.05; done; cat /go > /kept");
    bed.say(&["run", "-d", "--name", "box", &image]);
    std::fs::write(bed.path("go"), "some words\n").unwrap();
    let (go, back) = (bed.path("go"), bed.path("back"));
    let early = bed.run(&["export", "box", bed.path("out.aci").to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&early.stderr).contains("stop it first: jetpack stop"), "{early:?}");
    let processes: serde_json::Value = serde_json::from_str(&bed.say(&["ps", "--json", "box"])).unwrap();
    let shell = |process: &serde_json::Value| process["command"][0] == "/bin/sh";
    assert!(processes.as_array().unwrap().iter().any(shell), "{processes}");
    bed.say(&["cp", go.to_str().unwrap(), "box:/go"]);
    bed.say(&["status", "--wait", "box"]);
    bed.say(&["cp", "box:/kept", back.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(&back).unwrap(), "some words\n");
    let out = bed.path("out.aci");
    bed.say(&["export", "box", out.to_str().unwrap()]);
    assert_eq!(bed.say(&["run", "--rm", "--exec", "/bin/cat", out.to_str().unwrap(), "--", "/kept"]), "some words\n");
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}

#[test]
fn an_export_has_the_pod_in_hand_and_gives_all_of_it_or_fails() {
    let Some(bed) = Bed::new() else { return };
    let file = bed.layout("base").join("much");
    std::fs::write(&file, "much of it\n".repeat(500_000)).unwrap();
    bed.say(&["run", "-d", "--name", "much", &bed.script("much", "true")]);
    bed.say(&["wait", "much"]);
    let first = bed.path("first.aci");
    bed.say(&["export", "much", first.to_str().unwrap()]);
    let whole = std::fs::read(&first).unwrap();
    let outs: Vec<_> = (0..4).map(|number| bed.path(&format!("{number}.aci"))).collect();
    let exports = outs.iter().map(|out| bed.command(&["export", "much", out.to_str().unwrap()]));
    let removals = (0..2).map(|_| bed.command(&["rm", "much"]));
    let started: Vec<_> =
        exports.chain(removals).map(|mut one| one.stderr(std::process::Stdio::piped()).spawn().unwrap()).collect();
    let ended: Vec<_> = started.into_iter().map(|one| one.wait_with_output().unwrap()).collect();
    for (out, ended) in outs.iter().zip(&ended) {
        let told = String::from_utf8_lossy(&ended.stderr);
        match ended.status.success() {
            true => assert!(std::fs::read(out).unwrap() == whole, "a part of it is exported"),
            false => assert!(
                ["in hand", "it was removed", "there is no pod", "being removed"].iter().any(|why| told.contains(why)),
                "{told}"
            ),
        }
    }
    assert!(ended.iter().any(|ended| ended.status.success()));
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}

#[test]
fn apps_share_processes_network_ipc_and_host_name_and_nothing_else() {
    let Some(bed) = Bed::new() else { return };
    let tell = "for n in pid net ipc uts mnt; do readlink /proc/self/ns/$n; done > /v/$AC_APP_NAME; touch /mine /v/$AC_APP_NAME.done";
    let app = |name: &str| json!({"name": name, "image": {"name": "example.com/ns"}, "mounts": [{"volume": "v", "path": "/v"}]});
    bed.say(&["fetch", &bed.script("ns", tell)]);
    let show = json!({"name": "c", "image": {"name": "example.com/ns"}, "mounts": [{"volume": "v", "path": "/v"}],
        "app": {"exec": ["/bin/sh", "-c", "while ! test -e /v/a.done || ! test -e /v/b.done; do sleep 0.05; done; cat /v/a /v/b; ls /mine"],
            "user": "0", "group": "0"}});
    let pod = json!({"acKind": "PodManifest", "acVersion": "0.8.11", "apps": [app("a"), app("b"), show],
        "volumes": [{"name": "v", "kind": "empty", "mode": "0777"}]});
    let file = bed.path("pod.json");
    std::fs::write(&file, pod.to_string()).unwrap();
    let (code, out, err) = bed.tell(&["run", "--rm", "--pod-manifest", file.to_str().unwrap()]);
    assert_eq!(code, 2, "an app sees another's file: {out}{err}");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[..4], lines[5..9]);
    assert_ne!(lines[4], lines[9]);
    bed.assert_nothing_left();
}

#[test]
fn a_prepared_pod_tells_its_apps_and_a_fault_can_be_sent_by_name() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("waiting", "sleep 30");
    bed.say(&["prepare", "--name", "waiting", &image]);
    let pods: serde_json::Value = serde_json::from_str(&bed.say(&["list", "--json"])).unwrap();
    assert_eq!(pods[0]["apps"], serde_json::json!(["waiting"]));
    assert!(bed.say(&["status", "waiting"]).contains("app waiting: not started"));
    let (code, _, err) = bed.tell(&["logs", "waiting", "other"]);
    assert!(code == 1 && err.contains("its apps are waiting"), "{err}");
    bed.say(&["run-prepared", "-d", "waiting"]);
    bed.say(&["kill", "-s", "SEGV", "waiting"]);
    assert!(bed.say(&["status", "--wait", "waiting"]).contains("main ended by signal 11"));
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}

#[test]
fn one_pod_that_cannot_be_stopped_or_removed_keeps_none_of_the_others() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("several", "while :; do sleep 1; done");
    for name in ["first", "second"] {
        bed.say(&["run", "-d", "--name", name, &image]);
    }
    let (code, out, err) = bed.tell(&["stop", "--time", "0s", "first", "nobody", "second"]);
    assert_eq!((code, out.lines().count()), (1, 2), "{out}{err}");
    assert!(err.contains("nobody"), "{err}");
    let (code, out, err) = bed.tell(&["rm", "first", "nobody", "second"]);
    assert_eq!((code, out.lines().count()), (1, 2), "{out}{err}");
    assert!(err.contains("nobody"), "{err}");
    bed.assert_nothing_left();
}

#[test]
fn stopping_twice_leaves_the_apps_the_time_that_was_given() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("slow", "trap 'sleep 2; exit 5' TERM; while :; do sleep 0.1; done");
    bed.say(&["run", "-d", "--name", "slow", &image]);
    bed.wait_for("the trap", || bed.tell(&["exec", "slow", "/bin/sh", "-c", ":"]).0 == 0);
    std::thread::sleep(std::time::Duration::from_millis(300));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| bed.tell(&["stop", "--time", "60s", "slow"]));
        std::thread::sleep(std::time::Duration::from_millis(500));
        assert_eq!(bed.tell(&["stop", "--time", "60s", "slow"]).0, 0);
        assert_eq!(first.join().unwrap().0, 0);
    });
    let status: serde_json::Value = serde_json::from_str(&bed.say(&["status", "--json", "slow"])).unwrap();
    assert_eq!(status["exit_code"], 5, "{status}");
    bed.say(&["rm", "slow"]);
    bed.assert_nothing_left();
}

#[test]
fn a_pod_whose_supervisor_was_killed_tells_no_process() {
    let Some(bed) = Bed::new() else { return };
    bed.say(&["run", "-d", "--name", "lost", &bed.script("lost", "sleep 60")]);
    let status = || -> serde_json::Value { serde_json::from_str(&bed.say(&["status", "--json", "lost"])).unwrap() };
    let pid = i32::try_from(status()["pid"].as_i64().unwrap()).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL).unwrap();
    bed.wait_for("its end", || status()["state"] == "exited");
    assert_eq!(status()["apps"][0]["pid"], serde_json::Value::Null);
    assert!(bed.say(&["status", "lost"]).contains("lost with its supervisor"));
    bed.say(&["gc", "--grace", "0s"]);
    bed.assert_nothing_left();
}

#[test]
fn what_a_pod_uses_is_told_while_it_runs() {
    let Some(bed) = Bed::new() else { return };
    bed.say(&["run", "-d", "--name", "used", &bed.script("used", "echo > /ready; while :; do sleep 1; done")]);
    bed.wait_for("the app", || bed.tell(&["exec", "used", "ls", "/ready"]).0 == 0);
    let used: serde_json::Value = serde_json::from_str(&bed.say(&["top", "--json", "used"])).unwrap();
    let used = used.as_object().unwrap().values().next().unwrap();
    assert!(used["memoryuse"].as_u64().unwrap() > 4096 && used["maxproc"].as_u64().unwrap() >= 2, "{used}");
    assert!(bed.say(&["top"]).contains("\n  memoryuse"));
    bed.say(&["stop", "--force", "used"]);
    assert!(bed.tell(&["top", "used"]).2.contains("it does not run"));
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}
