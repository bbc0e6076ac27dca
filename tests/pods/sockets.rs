//! Sockets that apps find open, and the one by which they say that they are ready.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use super::bed::Bed;

fn port(name: &str, protocol: &str, number: u16, activated: bool) -> Value {
    json!({"name": name, "protocol": protocol, "port": number, "socketActivated": activated})
}

/// A port of the host that nobody has just now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn the_main_process_alone_finds_its_sockets_in_the_manifests_order() {
    let Some(bed) = Bed::new() else { return };
    let tell = "echo $0 $LISTEN_FDS $LISTEN_FDNAMES; test \"$LISTEN_PID\" = $$ && echo ours; \
        ls -l /proc/$$/fd > /fds; \
        while read a b c d e f g h i j k; do case $k in socket*) echo socket;; esac; done < /fds";
    let handler = |name: &str| json!({"name": name, "exec": ["/bin/sh", "-c", tell, name]});
    let ports = [port("web", "tcp", 4080, true), port("plain", "tcp", 4081, false), port("dns", "udp", 4053, true)];
    let app = json!({"exec": ["/bin/sh", "-c", tell, "main"], "ports": ports,
        "eventHandlers": [handler("pre-start"), handler("post-stop")]});
    let out = bed.say(&["run", "--rm", &bed.image("sockets", "base", app)]);
    assert_eq!(out, "pre-start\nmain 2 web:dns\nours\nsocket\nsocket\npost-stop\n");
    bed.assert_nothing_left();
}

#[test]
fn an_exposed_socket_leads_into_a_pod_without_a_network() {
    let Some(bed) = Bed::new() else { return };
    if !bed.add_program("base", "perl") {
        return;
    }
    // The first is the host's.
    let serve = "open(S, '+<&=3'); while (accept(C, S)) { syswrite(C, 'hello'); close(C) }";
    let app = json!({"exec": ["/bin/perl", "-e", serve], "ports": [port("web", "tcp", 4080, true)]});
    let number = free_port();
    let line = ["run", "-d", "--name", "web", "--net", "none", "--port", &format!("web=127.0.0.1:{number}")];
    let image = bed.image("web", "base", app);
    bed.say(&[&line[..], &[&image]].concat());
    let mut text = String::new();
    TcpStream::connect(("127.0.0.1", number)).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
    // Taken: told, and nothing is left of the second.
    let line = ["run", "--net", "none", "--port", &format!("web=127.0.0.1:{number}"), &image];
    let (code, _, err) = bed.tell(&line);
    assert_eq!(code, 125);
    assert!(err.contains(&format!("port {number}")) && err.contains("in use"), "{err}");
    bed.say(&["stop", "--force", "web"]);
    assert!(TcpStream::connect(("127.0.0.1", number)).is_err());
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}

#[test]
fn what_an_app_says_of_itself_does_not_steer_the_terminal() {
    let Some(bed) = Bed::new() else { return };
    if !bed.add_program("base", "perl") {
        return;
    }
    let say = "socket(S, 1, 2, 0); my $to = pack('Sa*', 1, \"\\0\" . substr($ENV{NOTIFY_SOCKET}, 1)); \
        $0 = \"x\\e[2J\\nforged\"; send(S, \"STATUS=\\e[2J\\xc2\\x9b\\rstate: exited\\nREADY=1\", 0, $to); sleep 1000";
    let image = bed.image("loud", "base", json!({"exec": ["/bin/perl", "-e", say, "\u{1b}[31m\u{202e}"]}));
    let annotation = "appc.io/executor/supports-systemd-notify=true";
    bed.say(&["run", "-d", "--name", "loud", "--annotation", annotation, &image]);
    bed.say(&["status", "--wait-ready", "loud"]);
    assert_eq!(bed.status("loud")["apps"][0]["said"], "\u{1b}[2J\u{9b}\rstate: exited");
    for command in
        [&["status", "loud"][..], &["status", "--json", "loud"], &["ps", "loud"], &["list"], &["cat-manifest", "loud"]]
    {
        let shown = bed.say(command);
        assert!(!shown.contains(|c: char| c != '\n' && (c.is_control() || c == '\u{202e}')), "{command:?}: {shown:?}");
        assert!(!shown.lines().any(|line| line.starts_with("state: exited") || line.starts_with("forged")), "{shown}");
    }
    bed.say(&["stop", "--force", "loud"]);
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}

#[test]
fn whoever_starts_a_pod_hears_that_its_apps_are_started() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.image("plain", "base", json!({"exec": ["/bin/sh", "-c", "read line"]}));
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("notify");
    let listener = UnixDatagram::bind(&path).unwrap();
    listener.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut command = bed.command(&["run", "--rm", "-i", &image]);
    let mut pod = command.env("NOTIFY_SOCKET", &path).stdin(Stdio::piped()).spawn().unwrap();
    let mut heard = [0; 64];
    let length = listener.recv(&mut heard).expect("a word within a minute");
    assert_eq!(&heard[..length], b"READY=1\n");
    drop(pod.stdin.take());
    pod.wait().unwrap();
    // Once is enough.
    listener.set_nonblocking(true).unwrap();
    assert!(listener.recv(&mut heard).is_err());
    bed.assert_nothing_left();
}

#[test]
fn an_app_that_says_when_it_is_ready_is_heard() {
    let Some(bed) = Bed::new() else { return };
    if !bed.add_program("base", "perl") {
        return;
    }
    let say = "socket(S, 1, 2, 0); my $to = pack('Sa*', 1, \"\\0\" . substr($ENV{NOTIFY_SOCKET}, 1)); \
        send(S, \"STATUS=warming up\", 0, $to); sleep 1; send(S, \"STATUS=at work\\nREADY=1\", 0, $to); sleep 1000";
    let image = bed.image("ready", "base", json!({"exec": ["/bin/perl", "-e", say]}));
    // Without the annotation there is nobody to tell.
    let quiet = bed.say(&["run", "--rm", "--exec", "/bin/env", &image]);
    assert!(!quiet.contains("NOTIFY_SOCKET"), "{quiet}");
    let annotation = "appc.io/executor/supports-systemd-notify=true";
    bed.say(&["run", "-d", "--name", "ready", "--annotation", annotation, &image]);
    bed.say(&["status", "--wait-ready", "ready"]);
    let status = bed.status("ready");
    assert!(status["apps"][0]["ready"].is_string(), "{status}");
    assert_eq!(status["apps"][0]["said"], "at work");
    assert!(bed.say(&["status", "ready"]).contains("says \"at work\""));
    bed.say(&["stop", "--force", "ready"]);
    assert_eq!(bed.tell(&["status", "--wait-ready", "ready"]).0, 1);
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}
