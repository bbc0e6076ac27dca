//! A pod's life from the outside: terminals, standard streams, signals, and a stop that nobody puts off.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use appc_needs::{Need, skip};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};

use super::bed::Bed;

/// Both ends of a terminal of the host's.
fn terminal() -> (File, OwnedFd) {
    let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&near).unwrap();
    unlockpt(&near).unwrap();
    let name = ptsname(&near, Vec::new()).unwrap();
    let far = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    (File::from(near), far)
}

/// What is shown on a terminal until nobody has it open any more.
fn shown(mut near: File, far: OwnedFd) -> String {
    drop(far);
    let (mut all, mut bytes) = (Vec::new(), [0_u8; 4096]);
    while let Ok(length @ 1..) = near.read(&mut bytes) {
        all.extend_from_slice(&bytes[..length]);
    }
    String::from_utf8_lossy(&all).into_owned()
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Until the command has ended, for a while that no machine is too slow for.
#[track_caller]
fn ended(bed: &Bed, what: &str, child: &mut Child) -> Option<i32> {
    let mut status = None;
    bed.wait_for(what, || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap().code()
}

fn tidy(bed: &Bed) {
    bed.say(&["gc", "--grace", "0s"]);
    bed.assert_nothing_left();
}

const IDLE: &str = "trap 'exit 0' TERM; while :; do sleep 0.05; done";

#[test]
fn no_process_of_a_pod_has_the_callers_terminal() {
    let Some(bed) = Bed::new() else { return };
    bed.say(&["run", "-d", "--name", "idle", &bed.script("idle", IDLE)]);
    let tell = "exec 3> /told; for n in 0 1 2; do if test -t $n; then echo tty >&3; else echo $(readlink /proc/$$/fd/$n) >&3; fi; done; \
                (cat > /stolen 2> /dev/null; sleep 1000) & while ! test -e /stolen; do sleep 0.02; done; exit 7";
    let told = || {
        let told = bed.say(&["exec", "idle", "cat", "/told"]);
        let kind = |line: &str| line.split(':').next().unwrap_or_default().to_owned();
        told.lines().map(kind).collect::<Vec<_>>()
    };
    // All three a terminal: it gets one of the pod's.
    let (mut near, far) = terminal();
    let streams = || Stdio::from(far.try_clone().unwrap());
    let mut command = bed.command(&["exec", "idle", "/bin/sh", "-c", tell]);
    let status = command.stdin(streams()).stdout(streams()).stderr(streams()).status().unwrap();
    assert_eq!(status.code(), Some(7));
    assert_eq!(told(), ["tty", "tty", "tty"]);
    near.write_all(b"secret\n").unwrap();
    // Nobody but the caller reads what is typed after that.
    let mut typed = [0_u8; 16];
    let length = rustix::io::read(&far, &mut typed).unwrap();
    assert_eq!(&typed[..length], b"secret\n");
    assert_eq!(bed.say(&["exec", "idle", "cat", "/stolen"]), "");
    // Some of them: pipes.
    bed.say(&["exec", "idle", "rm", "/stolen"]);
    let out = File::create(bed.path("out")).unwrap();
    let mut command = bed.command(&["exec", "idle", "/bin/sh", "-c", tell]);
    assert_eq!(command.stdin(streams()).stdout(out).stderr(streams()).status().unwrap().code(), Some(7));
    assert_eq!(told(), ["pipe", "pipe", "pipe"]);
    near.write_all(b"secret\n").unwrap();
    assert_eq!(rustix::io::read(&far, &mut typed).unwrap(), 7);
    assert_eq!(bed.say(&["exec", "idle", "cat", "/stolen"]), "");
    bed.say(&["stop", "idle"]);
    // `run`, and its handlers too.
    let show = "for n in 0 1 2; do readlink /proc/$$/fd/$n; done";
    let app = json!({"exec": ["/bin/sh", "-c", show], "eventHandlers": [{"name": "pre-start", "exec": ["/bin/sh", "-c", show]}]});
    let line = ["run", "--rm", "-i", "--stdout", "stream", &bed.image("show", "base", app)];
    let out = File::create(bed.path("out")).unwrap();
    assert!(bed.command(&line).stdin(streams()).stdout(out).stderr(streams()).status().unwrap().success());
    let out = std::fs::read_to_string(bed.path("out")).unwrap();
    assert!(out.lines().count() == 6 && out.lines().all(|line| line.starts_with("pipe:")), "{out}");
    tidy(&bed);
}

#[test]
fn a_command_takes_no_more_of_a_file_than_it_reads_and_a_pipe_is_read_to_its_end() {
    let Some(bed) = Bed::new() else { return };
    bed.say(&["run", "-d", "--name", "idle", &bed.script("idle", IDLE)]);
    std::fs::write(bed.path("list"), "a\nb\nc\n").unwrap();
    let exec = bed.command(&["exec", "idle"]);
    let words: Vec<_> = exec.get_args().map(|word| word.to_str().unwrap().to_owned()).collect();
    let jetpack = format!("{} {}", exec.get_program().to_str().unwrap(), words.join(" "));
    let each = format!("while read line; do {jetpack} /bin/sh -c \"echo $line\"; done");
    let shell = |script: String| {
        let output = Command::new("/bin/sh").args(["-c", &script]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(shell(format!("{each} < {}", bed.path("list").display())), "a\nb\nc\n");
    assert_eq!(shell(format!("cat {} | {each}", bed.path("list").display())), "a\nb\nc\n");
    assert_eq!(shell(format!("{jetpack} cat < {}", bed.path("list").display())), "a\nb\nc\n");
    let big = shell(format!("cat {0} {0} {0} {0} | {jetpack} cat | cat", bed.path("idle.aci").display()));
    assert!(!big.is_empty());
    bed.say(&["stop", "idle"]);
    tidy(&bed);
}

#[test]
fn what_is_typed_by_whoever_attaches_reaches_a_pod_that_was_left_running() {
    let Some(bed) = Bed::new() else { return };
    let reads = "while read x; do echo \"got $x\"; [ \"$x\" = end ] && exit 5; done; exit 9";
    bed.say(&["run", "-d", "-i", "--name", "reads", &bed.script("reads", reads)]);
    let attach = |typed: &str| {
        let mut child = bed.command(&["attach", "reads"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        child
    };
    // The end of what one types is not the end for the app.
    let mut first = attach("one\n");
    bed.wait_for("the first word", || bed.say(&["logs", "reads"]) == "got one\n");
    assert_eq!(ended(&bed, "the second", &mut attach("two\nend\n")), Some(5));
    assert_eq!(ended(&bed, "the first", &mut first), Some(5));
    assert_eq!(bed.say(&["logs", "reads"]), "got one\ngot two\ngot end\n");
    tidy(&bed);
}

#[test]
fn a_terminal_of_a_pod_that_was_left_running_is_seen_through_ours_and_left_by_two_keys() {
    let Some(bed) = Bed::new() else { return };
    let shows = "printf '? '; while read x; do [ $x = end ] && exit 3; printf \"$x of %s? \" \"$(stty size)\"; done";
    bed.say(&["run", "-d", "-t", "--name", "shows", &bed.script("shows", shows)]);
    bed.wait_for("a prompt without an end of line", || bed.say(&["logs", "shows"]) == "? ");
    let (mut near, far) = terminal();
    let size = rustix::termios::Winsize { ws_row: 33, ws_col: 101, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&far, size).unwrap();
    let before = rustix::termios::tcgetattr(&far).unwrap().local_modes;
    let attach = || {
        let streams = || Stdio::from(far.try_clone().unwrap());
        bed.command(&["attach", "--tail", "1", "shows"])
            .stdin(streams())
            .stdout(streams())
            .stderr(streams())
            .spawn()
            .unwrap()
    };
    let until = |near: &mut File, end: &str| {
        let mut seen = String::new();
        while !seen.ends_with(end) {
            let mut bytes = [0_u8; 256];
            let length = near.read(&mut bytes).unwrap();
            seen.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
        }
        seen
    };
    let mut one = attach();
    until(&mut near, "? ");
    // A control P with something else behind it is the app's.
    near.write_all(b"one\n\x10").unwrap();
    let seen = until(&mut near, "? ");
    assert!(seen.contains("one of 33 101? "), "{seen:?}");
    near.write_all(b"\x15two\n\x10\x11").unwrap();
    assert_eq!(ended(&bed, "the first look", &mut one), Some(0));
    assert_eq!(rustix::termios::tcgetattr(&far).unwrap().local_modes, before);
    assert_eq!(bed.status("shows")["state"], "running");
    bed.wait_for("the second word", || bed.say(&["logs", "shows"]).contains("two of 33 101"));
    let mut other = attach();
    near.write_all(b"end\n").unwrap();
    assert_eq!(ended(&bed, "the second look", &mut other), Some(3));
    drop(near);
    tidy(&bed);
}

#[test]
fn apps_that_talk_without_end_do_not_put_off_their_stop() {
    let Some(bed) = Bed::new() else { return };
    std::fs::write(bed.layout("base").join("lines"), "\n".repeat(1 << 20)).unwrap();
    let flood = "trap '' TERM; (while :; do cat /lines; done) & (while :; do cat /lines >&2; done) & \
                 while :; do cat /lines; done";
    let image = bed.script("flood", flood);
    for words in [&["stop", "--time", "1s"][..], &["stop", "--force"]] {
        bed.say(&["run", "-d", "--name", "flood", &image]);
        bed.wait_for("its first word", || bed.path("root/pods").exists() && !bed.tell(&["logs", "flood"]).1.is_empty());
        let mut stop = bed.command(&[words, &["flood"]].concat()).stdout(Stdio::null()).spawn().unwrap();
        assert_eq!(ended(&bed, "the stop of a pod that talks", &mut stop), Some(0));
        bed.say(&["rm", "flood"]);
    }
    bed.assert_nothing_left();
}

#[test]
fn a_supervisor_that_does_not_answer_puts_nothing_off() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("deaf", "trap '' TERM; while :; do sleep 0.05; done");
    let stopped = |again: bool| {
        bed.say(&["run", "-d", "--name", "deaf", &image]);
        let supervisor = Pid::from_raw(i32::try_from(bed.status("deaf")["pid"].as_i64().unwrap()).unwrap()).unwrap();
        kill_process(supervisor, Signal::STOP).unwrap();
        let mut stop = bed.command(&["stop", "--force", "deaf"]).stdout(Stdio::null()).spawn().unwrap();
        let mut status = None;
        bed.wait_for("its end", || {
            if again {
                // Whatever makes it go on, it does not get far.
                let _ = kill_process(supervisor, Signal::STOP);
            }
            status = stop.try_wait().unwrap();
            status.is_some()
        });
        assert!(status.unwrap().success());
        assert_eq!(bed.status("deaf")["state"], "exited");
        bed.say(&["rm", "deaf"]);
    };
    stopped(false);
    stopped(true);
    bed.assert_nothing_left();
}

#[test]
fn what_a_caller_has_blocked_or_ignored_keeps_nobody_from_stopping() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("deaf", "trap '' TERM; while :; do sleep 0.05; done");
    let mut ways = vec!["trap '' INT QUIT TERM CHLD", "trap '' QUIT"];
    let blocking = Command::new("env").args(["--block-signal=TERM,CHLD", "true"]).stderr(Stdio::null()).status();
    if blocking.is_ok_and(|status| status.success()) {
        ways.push("exec env --block-signal=TERM,CHLD,QUIT,ALRM \"$@\"");
    } else {
        skip(Need::Program, "env cannot block signals here");
    }
    for way in ways {
        let mut run = bed.command_after(way, &["run", "-d", "--name", "deaf", &image]);
        assert!(run.stdout(Stdio::null()).status().unwrap().success(), "{way}");
        let mut exec = bed.command_after(way, &["exec", "deaf", "/bin/sh", "-c", "exit 5"]).spawn().unwrap();
        assert_eq!(ended(&bed, "the end of exec", &mut exec), Some(5), "{way}");
        let mut stop = bed.command_after(way, &["stop", "--force", "deaf"]).stdout(Stdio::null()).spawn().unwrap();
        assert_eq!(ended(&bed, "the end of stop", &mut stop), Some(0), "{way}");
        let status = bed.status("deaf");
        assert_eq!((&status["exit_code"], &status["apps"][0]["main"]["signal"]), (&json!(137), &json!(9)), "{way}");
        // It has ended, which is what was asked for.
        assert_eq!(bed.tell(&["stop", "deaf"]).0, 0);
        bed.say(&["rm", "deaf"]);
    }
    bed.assert_nothing_left();
}

#[test]
fn all_that_is_said_arrives_where_writing_does_not_wait() {
    let Some(bed) = Bed::new() else { return };
    let say = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done";
    let (image, idle) = (bed.script("lines", say), bed.script("idle", IDLE));
    bed.say(&["run", "-d", "--name", "idle", &idle]);
    for line in [&["run", "--name", "lines", &image][..], &["exec", "idle", "/bin/sh", "-c", say], &["logs", "lines"]] {
        let (near, far) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        rustix::io::ioctl_fionbio(&far, true).unwrap();
        let mut command = bed.command(line);
        let mut child = command.stdout(far).spawn().unwrap();
        drop(command);
        std::thread::sleep(Duration::from_millis(500));
        let mut got = String::new();
        File::from(near).read_to_string(&mut got).unwrap();
        assert_eq!(ended(&bed, "its end", &mut child), Some(0), "{line:?}");
        assert_eq!(got.lines().count(), 20000, "{line:?}");
    }
    bed.say(&["stop", "idle"]);
    tidy(&bed);
}

#[test]
fn the_end_of_a_pipe_ends_a_shell_on_a_terminal() {
    let Some(bed) = Bed::new() else { return };
    if !bed.add_program("base", "bash") {
        return;
    }
    let image = bed.image("bash", "base", json!({"exec": ["/bin/bash", "--norc", "-i"]}));
    bed.say(&["run", "-d", "--name", "idle", &bed.script("idle", IDLE)]);
    for line in [
        &["run", "--rm", "-t", "-i", &image][..],
        &["run", "--rm", "-t", &image],
        &["exec", "-t", "idle", "/bin/bash", "--norc", "-i"],
    ] {
        for pause in [0, 700] {
            let mut command = bed.command(line);
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
            let mut typed = child.stdin.take().unwrap();
            std::thread::sleep(Duration::from_millis(pause));
            typed.write_all(b"echo from-$((40+2))\n").unwrap();
            drop(typed);
            let mut out = child.stdout.take().unwrap();
            let reader = std::thread::spawn(move || {
                let mut text = String::new();
                let _ = out.read_to_string(&mut text);
                text
            });
            assert_eq!(ended(&bed, "the shell's end", &mut child), Some(0), "{line:?}, after {pause} ms");
            let text = reader.join().unwrap();
            assert!(text.contains("from-42"), "{line:?}, after {pause} ms: {text:?}");
        }
    }
    bed.say(&["stop", "idle"]);
    tidy(&bed);
}

#[test]
fn a_terminal_is_of_the_callers_kind() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("kind", "echo kind $TERM");
    for (ours, theirs) in [("vt220", "kind vt220"), ("$(rubbish)", "kind xterm"), ("", "kind xterm")] {
        let (near, far) = terminal();
        let streams = || Stdio::from(far.try_clone().unwrap());
        let mut command = bed.command(&["run", "--rm", "-t", &image]);
        command.env("TERM", ours).stdin(streams()).stdout(streams()).stderr(streams());
        assert!(command.status().unwrap().success());
        drop(command);
        let text = shown(near, far);
        assert!(text.contains(theirs), "{ours}: {text:?}");
    }
    assert_eq!(bed.say(&["run", "--rm", &image]).trim(), "kind");
    tidy(&bed);
}

#[test]
fn signals_to_a_supervisor_reach_its_apps_as_they_are() {
    let Some(bed) = Bed::new() else { return };
    let script = "for s in HUP USR1 USR2 ALRM WINCH QUIT CONT; do trap \"echo $s\" $s; done; trap 'echo INT; exit 3' INT; \
                  trap 'echo TERM; exit 4' TERM; echo up; while :; do sleep 0.05; done";
    let image = bed.script("heeds", script);
    for (last, code) in [(Signal::INT, 3), (Signal::TERM, 4)] {
        let mut command = bed.command(&["run", "--rm", "--name", "heeds", &image]);
        let mut run = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut out = std::io::BufReader::new(run.stdout.take().unwrap());
        let mut next = || {
            let mut line = String::new();
            std::io::BufRead::read_line(&mut out, &mut line).unwrap();
            line.trim().to_owned()
        };
        assert_eq!(next(), "up");
        for (signal, word) in [
            (Signal::HUP, "HUP"),
            (Signal::USR1, "USR1"),
            (Signal::USR2, "USR2"),
            (Signal::ALARM, "ALRM"),
            (Signal::WINCH, "WINCH"),
            (Signal::QUIT, "QUIT"),
            (Signal::CONT, "CONT"),
        ] {
            send(&run, signal);
            assert_eq!(next(), word);
        }
        send(&run, last);
        assert!(next().ends_with(if code == 3 { "INT" } else { "TERM" }));
        assert_eq!(ended(&bed, "the pod's end", &mut run), Some(code));
    }
    bed.assert_nothing_left();
}

#[test]
fn an_app_whose_output_nobody_reads_is_told_so() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("yes", "while :; do echo y; done");
    bed.say(&["run", "-d", "--name", "idle", &bed.script("idle", IDLE)]);
    for line in [&["run", "--rm", &image][..], &["exec", "idle", "/bin/sh", "-c", "while :; do echo y; done"]] {
        let mut child = bed.command(line).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        let mut two = [0_u8; 2];
        out.read_exact(&mut two).unwrap();
        drop(out);
        assert_eq!(ended(&bed, "the end of who writes for nobody", &mut child), Some(141), "{line:?}");
    }
    // Behind, the log has it.
    bed.say(&["run", "-d", "--name", "yes", &image]);
    assert_eq!(bed.status("yes")["state"], "running");
    bed.say(&["stop", "--force", "yes"]);
    bed.say(&["stop", "idle"]);
    tidy(&bed);
}

/// A pod of two apps that have a program of their own each.
fn two(bed: &Bed, first: &str, second: Value) -> String {
    bed.say(&["fetch", &bed.script("two", "true")]);
    let app = |name: &str, exec: Value| {
        json!({"name": name, "image": {"name": "example.com/two"},
        "app": {"exec": exec, "user": "0", "group": "0"}})
    };
    let apps = [app("first", json!(["/bin/sh", "-c", first])), app("second", second)];
    let file = bed.path("two.json");
    std::fs::write(&file, json!({"acKind": "PodManifest", "acVersion": "0.8.11", "apps": apps}).to_string()).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn a_program_that_is_missing_in_one_app_of_two_is_told_at_once_with_the_apps_name() {
    let Some(bed) = Bed::new() else { return };
    let manifest = two(&bed, IDLE, json!(["/nope"]));
    let mut command = bed.command(&["run", "--name", "two", "--pod-manifest", &manifest]);
    let mut run = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut err = std::io::BufReader::new(run.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("/nope") {
        line.clear();
        assert!(std::io::BufRead::read_line(&mut err, &mut line).unwrap() > 0, "not told");
    }
    assert!(line.contains("app second: "), "{line}");
    bed.wait_for("its status", || bed.status("two")["apps"][1]["failure"].is_string());
    assert_eq!(bed.status("two")["state"], "running");
    bed.say(&["stop", "two"]);
    assert_eq!(ended(&bed, "the pod's end", &mut run), Some(127));
    let mut rest = String::new();
    err.read_to_string(&mut rest).unwrap();
    assert!(!rest.contains("/nope"), "told twice: {rest}");
    tidy(&bed);
}

#[test]
fn the_lines_of_several_apps_have_names_from_the_first_one_on() {
    let Some(bed) = Bed::new() else { return };
    let sly = "echo one; printf 'x\\rsecond: forged \\033[31mred\\n'; sleep 1000";
    let manifest = two(&bed, sly, json!(["/bin/sh", "-c", IDLE]));
    bed.say(&["run", "-d", "--name", "two", "--pod-manifest", &manifest]);
    bed.wait_for("its words", || bed.say(&["logs", "two"]).contains("forged"));
    let text = bed.say(&["logs", "two"]);
    assert!(text.lines().all(|line| line.starts_with("first: ")), "{text:?}");
    assert!(!text.contains('\r') && !text.contains('\x1b'), "{text:?}");
    // Of one app alone they are as they came.
    assert!(bed.say(&["logs", "two", "first"]).contains("\r"));
    bed.say(&["stop", "--time", "0s", "two"]);
    tidy(&bed);
}

#[test]
fn nobody_outside_a_pod_speaks_for_its_apps_and_they_do_not_speak_without_end() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let Some(bed) = Bed::of_root() else { return };
    if !bed.add_program("base", "perl") {
        return;
    }
    let say = "socket(S, 1, 2, 0); my $to = pack('Sa*', 1, \"\\0\" . substr($ENV{NOTIFY_SOCKET}, 1)); \
        send(S, \"STATUS=own words\", 0, $to); while (! -e '/go') { select(undef, undef, undef, 0.05); } \
        for (my $i = 0; $i < 20000; $i++) { send(S, \"STATUS=$i \" . ('x' x 2000), 0, $to); } \
        send(S, \"STATUS=the last word\\nREADY=1\", 0, $to); sleep 1000";
    let image = bed.image("ready", "base", json!({"exec": ["/bin/perl", "-e", say]}));
    let annotation = "appc.io/executor/supports-systemd-notify=true";
    bed.say(&["run", "-d", "--name", "ready", "--net", "host", "--annotation", annotation, &image]);
    let uuid = bed.status("ready")["uuid"].as_str().unwrap().to_owned();
    bed.wait_for("its own words", || bed.status("ready")["apps"][0]["said"] == "own words");
    let outsider = UnixDatagram::unbound().unwrap();
    let address = SocketAddr::from_abstract_name(format!("jetpack/{uuid}/ready")).unwrap();
    for _ in 0..20 {
        outsider.send_to_addr(b"READY=1\nSTATUS=forged\n", &address).unwrap();
    }
    bed.say(&["exec", "ready", "touch", "/go"]);
    bed.say(&["status", "--wait-ready", "ready"]);
    let status = bed.status("ready");
    assert_eq!(status["apps"][0]["said"], "the last word");
    let written = std::fs::read_to_string(format!("/proc/{}/io", status["pid"])).unwrap();
    let written: u64 = written.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap().parse().unwrap();
    assert!(written < 4 << 20, "{written} bytes for 40 million of an app");
    bed.say(&["stop", "--force", "ready"]);
    tidy(&bed);
}
