//! Control groups of version 2, on whatever hierarchy of them the host has, with or without controllers; and of limits, whatever
//! enforces them.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use appc::executor::Host;
use appc::executor::linux::LinuxHost;
use appc::executor::linux::steps::Step;
use appc_needs::{Need, skip};
use serde_json::{Value, json};

use super::bed::Bed;

/// Where version 2 is mounted and can be written.
fn unified() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 "));
    let found = line.and_then(|line| line.split(' ').nth(4)).map(PathBuf::from);
    match found {
        Some(root) if rustix::process::geteuid().is_root() && root.join("cgroup.procs").exists() => Some(root),
        _ => {
            skip(Need::UnifiedGroups, "no control groups of version 2 that can be written");
            None
        }
    }
}

fn sleeper(group: &Path) -> Child {
    let child = Command::new("sleep").arg("1000").spawn().unwrap();
    std::fs::write(group.join("cgroup.procs"), child.id().to_string()).unwrap();
    child
}

#[test]
fn groups_are_made_and_taken_away_with_what_still_runs_in_them() {
    let Some(root) = unified() else { return };
    let pod = root.join(format!("jetpack-test-{}", std::process::id()));
    let app = pod.join("app");
    let steps = [Step::MakeGroup { path: pod.clone() }, Step::MakeGroup { path: app.clone() }];
    let mut host = LinuxHost::default();
    for step in steps.iter().chain(&steps) {
        host.apply(step).unwrap();
    }
    let mut child = sleeper(&app);
    let reaper = std::thread::spawn(move || child.wait().unwrap());
    for step in steps.iter().rev().chain(&steps) {
        host.undo(step).unwrap();
    }
    assert!(!pod.exists());
    assert!(!reaper.join().unwrap().success());
}

#[test]
fn a_controller_that_is_not_there_is_told() {
    let Some(root) = unified() else { return };
    let path = root.join(format!("jetpack-none-{}", std::process::id()));
    let mut host = LinuxHost::default();
    host.apply(&Step::MakeGroup { path: path.clone() }).unwrap();
    let enable = Step::EnableControllers { path: path.clone(), controllers: vec!["nothing".to_owned()] };
    let told = host.apply(&enable).unwrap_err().to_string();
    let limit = Step::SetGroup { path: path.join("nothing.max"), value: "1".to_owned(), optional: false };
    let unset = host.apply(&limit).unwrap_err().to_string();
    let swap = Step::SetGroup { path: path.join("nothing.max"), value: "1".to_owned(), optional: true };
    let passed = host.apply(&swap);
    host.undo(&Step::MakeGroup { path: path.clone() }).unwrap();
    assert!(told.contains("enable controllers"), "{told}");
    assert!(unset.contains("nothing.max"), "{unset}");
    passed.unwrap();
    assert!(!path.exists());
}

/// The group that bounds the memory of an app which runs, where one does.
pub fn of_app(status: &Value, app: usize) -> Option<PathBuf> {
    let pid = status["apps"][app]["pid"].as_u64()?;
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let found = groups.lines().filter(|line| line.ends_with("/processes")).find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?.trim_start_matches('/'));
        let trees = if controllers.is_empty() { ["", "unified"] } else { ["memory", "memory"] };
        let trees =
            trees.iter().filter(|_| controllers.is_empty() || controllers.split(',').any(|one| one == "memory"));
        trees.map(|tree| Path::new("/sys/fs/cgroup").join(tree).join(path)).find(|place| place.exists())
    })?;
    found.parent().map(Path::to_owned)
}

/// Whether memory is bounded here; else why not, as a skip.
fn limited(bed: &Bed) -> bool {
    let told = bed.say(&["plan", "--json", "--memory", "64M", &bed.script("limited", "true")]);
    let told: Value = serde_json::from_str(&told).unwrap();
    let verdicts = told["report"]["verdicts"].as_array().unwrap();
    let memory = verdicts.iter().find(|verdict| verdict["subject"] == "resource/memory").unwrap();
    let enforced = memory["outcome"] == "enforced";
    if !enforced {
        skip(Need::Limits, format_args!("{memory}"));
    }
    enforced
}

/// Whether pods are put into scopes here.
fn scopes(bed: &Bed) -> bool {
    let image = bed.script("scopes", "true");
    let found = bed.say(&["plan", "--memory", "64M", &image]).contains("have systemd start the scope");
    if !found {
        skip(Need::Limits, "systemd does not manage the control groups here");
    }
    found
}

#[test]
fn an_app_finds_its_own_limits_where_programs_look_for_them_and_cannot_change_them() {
    let Some(bed) = Bed::new() else { return };
    if !limited(&bed) {
        return;
    }
    let script = "cd /sys/fs/cgroup; for of in memory.max memory/memory.limit_in_bytes; do test -e $of && cat $of; done; \
                  mkdir mine 2>&1; for of in . memory; do test -e $of/cgroup.procs || continue; ( echo 0 >$of/cgroup.procs ) 2>&1; done; true";
    let found = bed.say(&["run", "--rm", "--memory", "64M", &bed.script("finds", script)]);
    // The kernel counts pages.
    let bytes: u64 = found.lines().next().unwrap_or_default().parse().unwrap_or_else(|_| panic!("{found}"));
    assert_eq!(bytes, 64_000_000 / 4096 * 4096, "{found}");
    assert_eq!(found.matches("ead-only").count(), 2, "{found}");
    // What the whole pod may use bounds an app without a limit of its own.
    let show = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null; true";
    let found =
        bed.say(&["run", "--rm", "--isolator", r#"resource/memory={"limit":"32Mi"}"#, &bed.script("one", show)]);
    assert_eq!(found.trim(), (32 << 20).to_string());
    bed.assert_nothing_left();
}

#[test]
fn a_pod_with_limits_is_a_scope_of_systemd_that_commands_enter_and_that_goes_with_it() {
    let Some(bed) = Bed::new() else { return };
    if !scopes(&bed) {
        return;
    }
    bed.say(&[
        "run",
        "-d",
        "--name",
        "scoped",
        "--memory",
        "64M",
        "--cpu",
        "500m",
        &bed.script("scoped", "sleep 1000"),
    ]);
    let status = bed.status("scoped");
    let group = of_app(&status, 0).expect("a control group");
    let scope = group.parent().unwrap().to_owned();
    let name = scope.file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(name, format!("jetpack-{}.scope", status["uuid"].as_str().unwrap()));
    let user = if rustix::process::geteuid().is_root() { "--system" } else { "--user" };
    let shown = Command::new("systemctl").args([user, "show", "-P", "ActiveState", &name]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&shown.stdout).trim(), "active");
    // Who enters is bounded as the app is.
    bed.say(&["exec", "scoped", "/bin/sh", "-c", "sleep 1000 & true"]);
    assert!(std::fs::read_to_string(group.join("processes/cgroup.procs")).unwrap().lines().count() >= 1);
    assert_eq!(bed.say(&["exec", "scoped", "/bin/cat", "/proc/self/cgroup"]).trim(), "0::/");
    let used: Value = serde_json::from_str(&bed.say(&["top", "--json", "scoped"])).unwrap();
    let used = &used[status["uuid"].as_str().unwrap()];
    assert!(used["memorypeak"].as_u64().is_none_or(|peak| peak > 0), "{used}");
    assert!(used["memoryuse"].as_u64().is_some_and(|bytes| bytes > 0), "{used}");
    // Whoever stops the scope stops the pod.
    // It may say that some have ended before it came to them.
    let _ = Command::new("systemctl").args([user, "kill", "--signal=KILL", &name]).output();
    bed.wait_for("the pod's end", || bed.status("scoped")["state"] == "exited");
    bed.wait_for("the scope's end", || !scope.exists());
    bed.say(&["rm", "scoped"]);
    bed.assert_nothing_left();
}

/// What a bus says that is none: to the greeting, and to each message by its number.
type Says = fn(usize, &mut UnixStream, serial: u32);

/// An answer that is an error or empty.
fn answer(to: &mut UnixStream, serial: u32, refused: bool) {
    let mut fields = vec![5, 1, b'u', 0];
    fields.extend(serial.to_le_bytes());
    let why = b"\x0a\0\0\0not today!\0";
    if refused {
        fields.extend(b"\x04\x01s\0\x03\0\0\0a.b\0\0\0\0\0\x08\x01g\0\x01s\0");
    }
    let body: &[u8] = if refused { why } else { b"" };
    let mut message = vec![b'l', if refused { 3 } else { 2 }, 0, 1];
    message.extend((body.len() as u32).to_le_bytes());
    message.extend(7_u32.to_le_bytes());
    message.extend((fields.len() as u32).to_le_bytes());
    message.extend(&fields);
    message.resize(message.len().next_multiple_of(8), 0);
    message.extend(body);
    let _ = to.write_all(&message);
}

/// Listens as a bus would.
fn pretend(at: &Path, says: Says) {
    let listener = UnixListener::bind(at).unwrap();
    std::thread::spawn(move || {
        for visitor in listener.incoming() {
            let Ok(mut visitor) = visitor else { return };
            let mut line = Vec::new();
            let mut byte = [0];
            while !line.ends_with(b"\r\n") && visitor.read_exact(&mut byte).is_ok() {
                line.push(byte[0]);
            }
            says(0, &mut visitor, 0);
            let _ = visitor.read_exact(&mut [0; 7]);
            for number in 1.. {
                let mut head = [0; 16];
                if visitor.read_exact(&mut head).is_err() {
                    break;
                }
                let word = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
                let rest = word(12).next_multiple_of(8) + word(4);
                let _ = visitor.read_exact(&mut vec![0; rest as usize]);
                says(number, &mut visitor, word(8));
            }
        }
    });
}

/// A bus that lets one in.
fn welcome(to: &mut UnixStream) {
    let _ = to.write_all(b"OK 0123456789abcdef0123456789abcdef\r\n");
}

#[test]
fn a_bus_that_is_none_and_a_systemd_that_refuses_are_told_and_leave_nothing() {
    let Some(bed) = Bed::new() else { return };
    if !scopes(&bed) {
        return;
    }
    let root = rustix::process::geteuid().is_root();
    let image = bed.script("asks", "true");
    let variable = if root { "DBUS_SYSTEM_BUS_ADDRESS" } else { "DBUS_SESSION_BUS_ADDRESS" };
    let run = |bus: &Path, more: &[&str]| {
        let line = [&["run", "--rm", "--memory", "64M"], more, &[&image]].concat();
        let output = bed.command(&line).env(variable, format!("unix:path={}", bus.display())).output().unwrap();
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let cases: [(&str, &str, Option<Says>); 5] = [
        ("absent", "No such file", None),
        (
            "rejects",
            "the bus says REJECTED EXTERNAL",
            Some(|number, to, _| {
                if number == 0 {
                    let _ = to.write_all(b"REJECTED EXTERNAL\r\n");
                }
            }),
        ),
        (
            "hangs-up",
            "cannot be asked at",
            Some(|number, to, _| {
                if number == 0 {
                    welcome(to);
                    let _ = to.shutdown(std::net::Shutdown::Both);
                }
            }),
        ),
        (
            "babbles",
            "what is no D-Bus",
            Some(|number, to, _| match number {
                0 => welcome(to),
                _ => drop(to.write_all(&[b'?'; 64])),
            }),
        ),
        (
            "refuses",
            "not today!",
            Some(|number, to, serial| match number {
                0 => welcome(to),
                _ => answer(to, serial, number > 1),
            }),
        ),
    ];
    for (name, why, says) in cases {
        let bus = bed.path(name);
        if let Some(says) = says {
            pretend(&bus, says);
        }
        let (code, err) = run(&bus, &[]);
        assert_eq!(code, 0, "{name}: {err}");
        assert!(err.contains(why), "{name}: {err}");
        let told = if root {
            "control groups modified: they are made beside those of systemd"
        } else {
            "resource/memory ignored"
        };
        assert!(err.contains(told), "{name}: {err}");
        // For root the limit holds all the same.
        assert_eq!(run(&bus, &["--strict"]).0, if root { 0 } else { 125 }, "{name}");
    }
    // It may think better of it when the scope is asked for.
    let bus = bed.path("late");
    pretend(&bus, |number, to, serial| match number {
        0 => welcome(to),
        _ => answer(to, serial, number > 2),
    });
    let (code, err) = run(&bus, &[]);
    assert_eq!(code, 125, "{err}");
    assert!(err.contains("have systemd start the scope jetpack-") && err.contains("not today!"), "{err}");
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}

#[test]
fn control_groups_that_cannot_be_written_are_told_and_refused_under_strict() {
    let Some(bed) = Bed::of_root() else { return };
    if !limited(&bed) {
        return;
    }
    let image = bed.script("sealed", "true");
    // A mount of its own, so that nobody else's is changed.
    let seal =
        "for at in $(grep -E ' cgroup2? ' /proc/self/mounts | cut -d ' ' -f 2); do mount -o remount,bind,ro $at; done";
    let run = |more: &[&str]| {
        let line = [&["run", "--rm", "--memory", "64M"], more, &[&image]].concat();
        let jetpack = bed.command_after(seal, &line);
        let mut command = Command::new("unshare");
        command.arg("--mount").arg(jetpack.get_program()).args(jetpack.get_args());
        let output = command.output().unwrap();
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, err) = run(&[]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("resource/memory ignored: /sys/fs/cgroup") && err.contains("is mounted read-only"), "{err}");
    assert_eq!(run(&["--strict"]).0, 125);
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}

/// Whether what these options ask for is enforced, under this name; else why not, as a skip.
fn enforced(bed: &Bed, options: &[&str], name: &str) -> bool {
    let image = bed.script("asked", "true");
    let told = bed.say(&[&["plan", "--json"], options, &[&image]].concat());
    let told: Value = serde_json::from_str(&told).unwrap();
    let verdict = told["report"]["verdicts"].as_array().unwrap().iter().find(|one| one["subject"] == name).unwrap();
    if verdict["outcome"] != "enforced" {
        skip(Need::Limits, format_args!("{verdict}"));
    }
    verdict["outcome"] == "enforced"
}

/// A pod manifest of apps with images of these names.
fn manifest(bed: &Bed, apps: &[&str], isolators: &Value) -> String {
    let apps: Vec<Value> =
        apps.iter().map(|name| json!({"name": name, "image": {"name": format!("example.com/{name}")}})).collect();
    let pod = json!({"acKind": "PodManifest", "acVersion": "0.8.11", "apps": apps, "isolators": isolators});
    let path = bed.path("pod.json");
    std::fs::write(&path, pod.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn an_app_has_as_many_processes_as_it_may_and_no_more() {
    let Some(bed) = Bed::new() else { return };
    if !enforced(&bed, &["--pids", "8"], "os/unix/max-processes") {
        return;
    }
    // The shell is one of them.
    let script = |more: u32| format!("i=0; while [ $i -lt {more} ]; do sleep 1000 & i=$((i+1)); done; echo all");
    for (more, fits) in [(7, true), (8, false)] {
        let image = bed.script("many", &script(more));
        bed.say(&["fetch", &image]);
        let whole = manifest(&bed, &["many"], &json!([{"name": "os/unix/max-processes", "value": 8}]));
        for line in [&["run", "--rm", "--pids", "8", &image][..], &["run", "--rm", "--pod-manifest", &whole]] {
            let (code, out, err) = bed.tell(line);
            assert_eq!((code == 0, out.contains("all")), (fits, fits), "{line:?}: {out}{err}");
            assert!(fits || err.contains("fork"), "{err}");
        }
    }
    bed.assert_nothing_left();
}

#[test]
fn an_app_or_a_pod_that_runs_out_of_memory_is_killed_whole_where_that_is_asked_for() {
    let Some(bed) = Bed::new() else { return };
    let whole = ["--memory", "64M", "--isolator", "os/linux/oom-group=true"];
    if !enforced(&bed, &whole, "os/linux/oom-group") || !bed.add_program("base", "tail") {
        return;
    }
    let hungry = bed.script("hungry", "cat /dev/zero | tail -c 500000000 >/dev/null; echo survived");
    let idle = bed.script("idle", "sleep 1000");
    let one = bed.tell(&["run", "--rm", "--memory", "64M", &hungry]);
    assert_eq!((one.0, one.1.contains("survived")), (0, true), "{one:?}");
    let (code, out, err) = bed.tell(&[&["run", "--rm"], &whole[..], &[&hungry]].concat());
    assert_eq!((code, out.as_str()), (137, ""), "{err}");
    assert!(err.contains("app hungry: killed for lack of memory"), "{err}");
    bed.say(&["fetch", &hungry]);
    bed.say(&["fetch", &idle]);
    let isolators =
        json!([{"name": "resource/memory", "value": {"limit": "64Mi"}}, {"name": "os/linux/oom-group", "value": true}]);
    let pod = manifest(&bed, &["hungry", "idle"], &isolators);
    let (code, out, err) = bed.tell(&["run", "--name", "both", "--pod-manifest", &pod]);
    assert_eq!((code, out.contains("survived")), (137, false), "{out}{err}");
    let status = bed.status("both");
    for app in 0..2 {
        assert_eq!(status["apps"][app]["cause"], "oom", "{status}");
    }
    bed.say(&["rm", "both"]);
    bed.assert_nothing_left();
}
