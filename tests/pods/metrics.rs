//! Pods in numbers, as those who watch over hosts read them.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use rustix::process::{Pid, Signal, kill_process};

use super::bed::Bed;

/// Samples by name and labels, of a text that follows the OpenMetrics grammar as far as it is used here.
fn read(text: &str) -> BTreeMap<String, f64> {
    let (mut samples, mut family, mut kind) = (BTreeMap::new(), String::new(), String::new());
    let mut families = Vec::new();
    let body = text.strip_suffix("# EOF\n").expect("the last line");
    for line in body.lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["#", "HELP", name, ..] => {
                family = name.to_owned();
                assert!(!families.contains(&family), "{family} stands in two places");
                families.push(family.clone());
            }
            ["#", "TYPE", name, word] => {
                assert_eq!(name, family);
                kind = word.to_owned();
            }
            _ => {
                let (sample, value) = line.rsplit_once(' ').unwrap();
                let name = sample.split('{').next().unwrap();
                match kind.as_str() {
                    "counter" => assert_eq!(name.strip_suffix("_total"), Some(family.as_str())),
                    "gauge" => assert_eq!(name, family),
                    other => panic!("{other}"),
                }
                let labels: Vec<_> = sample[name.len()..]
                    .trim_matches(['{', '}'])
                    .split("\",")
                    .map(|label| label.trim_end_matches('"'))
                    .collect();
                let labels = labels.iter().filter(|label| !label.starts_with("pod=")).map(|label| format!("{label}\""));
                let labels: Vec<_> = labels.filter(|label| label != "\"").collect();
                let value: f64 = value.parse().unwrap();
                assert!(samples.insert(format!("{name}{{{}}}", labels.join(",")), value).is_none(), "{line} twice");
            }
        }
    }
    samples
}

#[test]
fn pods_are_told_in_numbers_by_pod_and_app() {
    let Some(bed) = Bed::new() else { return };
    let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; while :; do sleep 1000; done";
    bed.say(&[
        "run",
        "-d",
        "--pod-name",
        "busy",
        &bed.script("busy", busy),
        &bed.script("idle", "while :; do sleep 1000; done"),
    ]);
    bed.run(&["run", "--pod-name", "over", &bed.script("over", "exit 3")]);
    let now = || read(&bed.say(&["metrics"]));
    bed.wait_for("both apps to be done with what they do at first", || {
        let told = now();
        let processes = |app: &str| told.get(&format!("jetpack_app_processes{{name=\"busy\",app=\"{app}\"}}")).copied();
        // The shell and what it waits for.
        processes("busy") == Some(2.0) && processes("idle") == Some(2.0)
    });
    let told = now();
    let of = |sample: &str| *told.get(sample).unwrap_or_else(|| panic!("no {sample} in {told:#?}"));
    assert_eq!(of("jetpack_pods{state=\"running\"}"), 1.0);
    assert_eq!(of("jetpack_pods{state=\"exited\"}"), 1.0);
    assert_eq!(of("jetpack_pod_state{name=\"busy\",state=\"running\"}"), 1.0);
    assert_eq!(of("jetpack_pod_state{name=\"busy\",state=\"exited\"}"), 0.0);
    assert_eq!(of("jetpack_pod_exit_code{name=\"over\"}"), 3.0);
    assert_eq!(of("jetpack_app_exit_code{name=\"over\",app=\"over\"}"), 3.0);
    assert!(!told.contains_key("jetpack_pod_exit_code{name=\"busy\"}"));
    assert!(of("jetpack_pod_end_time_seconds{name=\"over\"}") >= of("jetpack_pod_start_time_seconds{name=\"over\"}"));
    for (app, up) in [("busy", 1.0), ("idle", 1.0)] {
        assert_eq!(of(&format!("jetpack_app_up{{name=\"busy\",app=\"{app}\"}}")), up);
        assert!(of(&format!("jetpack_app_memory_bytes{{name=\"busy\",app=\"{app}\"}}")) > 0.0);
    }
    assert_eq!(of("jetpack_app_up{name=\"over\",app=\"over\"}"), 0.0);
    // The pod's first process is no app's, and only root sees it.
    let first = if rustix::process::geteuid().is_root() { 1.0 } else { 0.0 };
    assert_eq!(of("jetpack_pod_processes{name=\"busy\"}"), 4.0 + first);
    let (idle, busy) = (
        "jetpack_app_cpu_seconds_total{name=\"busy\",app=\"idle\"}",
        "jetpack_app_cpu_seconds_total{name=\"busy\",app=\"busy\"}",
    );
    assert!(of(busy) > of(idle) && of("jetpack_pod_cpu_seconds_total{name=\"busy\"}") >= of(busy));

    // What has ended counts on: sums only grow.
    bed.say(&["exec", "busy:busy", "/bin/sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"]);
    let later = now();
    for (sample, before) in &told {
        if sample.contains("_total{") {
            assert!(later[sample] >= *before, "{sample}: {before}, then {}", later[sample]);
        }
    }

    // A supervisor that is killed is a pod that is lost.
    let status: serde_json::Value = serde_json::from_str(&bed.say(&["status", "--json", "busy"])).unwrap();
    let supervisor = i32::try_from(status["pid"].as_i64().unwrap()).unwrap();
    kill_process(Pid::from_raw(supervisor).unwrap(), Signal::KILL).unwrap();
    bed.wait_for("the pod to be lost", || now()["jetpack_pod_lost{name=\"busy\"}"] == 1.0);
    bed.say(&["gc", "--grace", "0s"]);
    assert_eq!(now()["jetpack_pods{state=\"running\"}"], 0.0);
    bed.assert_nothing_left();
}

#[test]
fn a_collector_finds_a_file_whole_or_not_at_all_and_a_socket_answers_anew() {
    let Some(bed) = Bed::new() else { return };
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    bed.say(&["metrics", "--output", &path("jetpack.prom")]);
    assert_eq!(read(&std::fs::read_to_string(path("jetpack.prom")).unwrap())["jetpack_pods{state=\"running\"}"], 0.0);
    let missing = bed.run(&["metrics", "--output", &path("missing/jetpack.prom")]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("missing/jetpack.prom"), "{missing:?}");

    let socket = path("jetpack.sock");
    let mut serving =
        bed.command(&["metrics", "--listen", &socket]).stdout(std::process::Stdio::null()).spawn().unwrap();
    bed.wait_for("the socket", || UnixStream::connect(&socket).is_ok());
    let ask = |request: &str| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        // A server that has had enough does not read to the end.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    };
    let running = |answer: &str| read(answer.split_once("\r\n\r\n").unwrap().1)["jetpack_pods{state=\"running\"}"];
    assert_eq!(running(&ask("GET /metrics HTTP/1.1\r\nHost: -\r\n\r\n")), 0.0);
    bed.say(&["run", "-d", "--name", "idle", &bed.script("idle", "while :; do sleep 1000; done")]);
    // Some who say nothing keep nobody from being answered.
    let silent: Vec<_> = (0..6).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    assert_eq!(running(&ask("GET /metrics HTTP/1.1\r\nHost: -\r\n\r\n")), 1.0);
    drop(silent);
    assert!(ask("GET / HTTP/1.1\r\nHost: -\r\n\r\n").starts_with("HTTP/1.1 404 "));
    assert!(ask("POST /metrics HTTP/1.1\r\nHost: -\r\nContent-Length: 0\r\n\r\n").starts_with("HTTP/1.1 405 "));
    let endless = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    assert!(!ask(&endless).contains(" 200 "));
    assert!(!ask("\0\0\0\0\r\n\r\n").contains(" 200 "));
    let second = bed.run(&["metrics", "--listen", &socket]);
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another program does"), "{second:?}");
    kill_process(Pid::from_child(&serving), Signal::TERM).unwrap();
    serving.wait().unwrap();
    assert!(!std::path::Path::new(&socket).exists());
    // What is no socket is somebody's.
    std::fs::write(&socket, "mine").unwrap();
    assert_eq!(bed.run(&["metrics", "--listen", &socket]).status.code(), Some(1));
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "mine");
    bed.say(&["rm", "-f", "idle"]);
    bed.assert_nothing_left();
}
