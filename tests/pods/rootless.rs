//! Networks of an ordinary user's pods, by programs that carry their packets, on a host of the test's own: its network, its
//! name servers and its `/dev/net/tun` are the test's, so that nothing is sent anywhere.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use appc_needs::{Need, met, skip};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::bed::Bed;

/// One test's users begin there, so that none sees what another's has.
const USERS: u32 = 12_345;

const CARRIERS: [&str; 2] = ["pasta", "slirp4netns"];

/// What the pod has, and where it reaches its gateway and its name server.
const POD: &str = "10.77.0.100";
const GATEWAY: &str = "10.77.0.2";
const NAME_SERVER: &str = "10.77.0.3";

/// The host's own address.
const HOST: &str = "10.5.0.1";

/// A host without anybody else on its wire.
struct Wire<'a> {
    bed: &'a Bed,
    holder: Child,
    home: PathBuf,
    user: u32,
    /// The carrier that pods are to have.
    carrier: &'static str,
}

/// Two listeners on the host, one of them on loopback alone, and who answers on loopback at the port of name servers.
const HOST_SERVER: &str = "sub at { pack('SnA4x8', 2, $_[1], pack('C4', split(/\\./, $_[0]))) } \
    for my $place (['0.0.0.0', 9000], ['127.0.0.1', 9001]) { next if fork; \
    socket(S, 2, 1, 0); bind(S, at(@$place)) or die; listen(S, 9); \
    while (accept(C, S)) { sysread(C, my $x, 1); syswrite(C, \"host $$place[1]\"); close(C) } } \
    if (!fork) { socket(S, 2, 2, 0); bind(S, at('127.0.0.1', 53)) or die; \
    while (my $from = recv(S, my $text, 99, 0)) { send(S, \"answer to $text\", 0, $from) } } \
    print \"ready\\n\"; close(STDOUT); sleep 1000";

impl<'a> Wire<'a> {
    /// Nothing, with the reason printed, where it cannot be had.
    fn new(bed: &'a Bed, number: u32, carrier: &'static str) -> Option<Self> {
        let programs = ["/usr/sbin/ip", "/usr/bin/nsenter", "/usr/bin/unshare", "/usr/bin/setpriv", "/usr/bin/perl"];
        for program in programs.map(str::to_owned).into_iter().chain([format!("/usr/bin/{carrier}")]) {
            if !met(Need::Networks, Path::new(&program).exists(), format_args!("{program} is not here")) {
                return None;
            }
        }
        let (home, user) = (bed.path("home"), USERS + number);
        if !home.exists() {
            fs::create_dir(&home).unwrap();
            chown(&home, Some(user), Some(user)).unwrap();
            fs::set_permissions(bed.path("."), fs::Permissions::from_mode(0o755)).unwrap();
            fs::write(bed.path("resolv.conf"), "nameserver 127.0.0.1\nsearch example.com\n").unwrap();
        }
        fs::write(bed.path("jetpack.toml"), format!("linux.rootless-network = \"{carrier}\"\n")).unwrap();
        let script = "set -e; cd \"$1\"; mknod tun c 10 200; chmod 666 tun; mount --bind tun /dev/net/tun; \
            mount --bind resolv.conf /etc/resolv.conf; ip link set lo up; \
            ip link add up0 type veth peer name up1; ip link set up1 up; ip link set up0 up; \
            ip address add 10.5.0.1/24 dev up0; ip route add default via 10.5.0.254; exec perl -e \"$2\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", script, "sh"]);
        command.arg(bed.path(".")).arg(HOST_SERVER).stdout(Stdio::piped());
        let mut holder = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let wire = Self { bed, holder, home, user, carrier };
        if line != "ready\n" {
            skip(Need::Networks, "no host of its own can be made here");
            return None;
        }
        let (code, _, err) = wire.jetpack(&["list"]);
        met(Need::OrdinaryUser, code == 0, format_args!("user {user} cannot run the program from here: {err}"))
            .then_some(wire)
    }

    /// On the host of the test, as its root.
    fn command(&self, program: &str) -> Command {
        // The one that `unshare` has made: what has its namespaces.
        let children = format!("/proc/{0}/task/{0}/children", self.holder.id());
        let first = fs::read_to_string(children).unwrap();
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--net", "--target", first.trim(), program]);
        command
    }

    fn jetpack(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = self.command("setpriv");
        command.args(["--reuid", &self.user.to_string(), "--regid", &self.user.to_string(), "--clear-groups"]);
        command.arg(env!("CARGO_BIN_EXE_jetpack")).arg("--config").arg(self.bed.path("jetpack.toml"));
        command.env("HOME", &self.home).arg("--root").arg(self.home.join("root")).args(arguments);
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    #[track_caller]
    fn say(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.jetpack(arguments);
        assert_eq!(code, 0, "{} {arguments:?}: {out}{err}", self.carrier);
        out
    }

    fn status(&self, pod: &str) -> Value {
        serde_json::from_str(&self.say(&["status", "--json", pod])).unwrap()
    }

    /// What a connection from the host gets to hear.
    fn hear(&self, address: &str, port: u16) -> String {
        String::from_utf8(self.command("perl").args(["-e", &hears(address, port)]).output().unwrap().stdout).unwrap()
    }

    /// What a datagram from the host gets as its answer.
    fn answer(&self, address: &str, port: u16) -> String {
        String::from_utf8(self.command("perl").args(["-e", &asks(address, port)]).output().unwrap().stdout).unwrap()
    }

    /// What a connection from within the pod gets to hear.
    fn pod_hears(&self, address: &str, port: u16) -> String {
        self.jetpack(&["exec", "web", "/bin/perl", "-e", &hears(address, port)]).1
    }

    /// The process that carries the pod's packets.
    fn carrying(&self) -> Option<i32> {
        let all = fs::read_dir("/proc").unwrap().flatten();
        let mut pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.find(|pid| {
            let of = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let uid = self.user;
            let own = of("status").lines().any(|line| line == format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}"));
            own && of("cmdline").starts_with(self.carrier)
        })
    }
}

impl Drop for Wire<'_> {
    fn drop(&mut self) {
        let pods = self.jetpack(&["list", "--quiet"]).1;
        for pod in pods.lines() {
            self.jetpack(&["rm", "--force", pod]);
        }
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        let _ = fs::remove_file(self.bed.path("tun"));
    }
}

fn place(address: &str, port: u16) -> String {
    format!("pack('SnA4x8', 2, {port}, pack('C4', split(/\\./, '{address}')))")
}

/// Speaks first: where the server does, early versions of `pasta` let both wait.
fn hears(address: &str, port: u16) -> String {
    format!("alarm 3; socket(S, 2, 1, 0); connect(S, {}) or exit; syswrite(S, 1); print <S>", place(address, port))
}

fn asks(address: &str, port: u16) -> String {
    let place = place(address, port);
    format!("alarm 3; socket(S, 2, 2, 0); send(S, 'question', 0, {place}); recv(S, my $text, 99, 0); print $text")
}

/// Listens on two ports and tells everyone the port's number; answers datagrams on a third.
const SERVER: &str = "sub at { pack('SnA4x8', 2, $_[0], pack('C4', 0, 0, 0, 0)) } \
    for my $port (80, 81) { next if fork; socket(S, 2, 1, 0); setsockopt(S, 1, 2, 1); bind(S, at($port)); listen(S, 9); \
    while (accept(C, S)) { sysread(C, my $x, 1); syswrite(C, $port); close(C) } } \
    socket(S, 2, 2, 0); bind(S, at(83)); \
    while (my $from = recv(S, my $text, 99, 0)) { send(S, \"answer to $text\", 0, $from) }";

fn server(bed: &Bed) -> Option<String> {
    let app = json!({"exec": ["/bin/perl", "-e", SERVER],
        "ports": [{"name": "web", "protocol": "tcp", "port": 80, "count": 2}, {"name": "own", "protocol": "tcp", "port": 81},
            {"name": "echo", "protocol": "udp", "port": 83}]});
    bed.add_program("base", "perl").then(|| bed.image("server", "base", app))
}

#[test]
fn an_ordinary_users_pod_is_connected_and_its_ports_are_published() {
    let Some(bed) = Bed::of_root() else { return };
    let Some(image) = server(&bed) else { return };
    for carrier in CARRIERS {
        let Some(wire) = Wire::new(&bed, 1, carrier) else { return };
        // Nobody says `--net`: who publishes ports wants a network.
        let ports = ["--port", "web=8080", "--port", "own=127.0.0.1:9100", "--port", "echo=10.5.0.1:9200"];
        let mut line = vec!["run", "-d", "--name", "web"];
        line.extend(ports);
        line.push(&image);
        let plan = wire.say(&[&["plan"], &ports[..], &[&image]].concat());
        assert!(plan.contains(&format!("have {carrier} carry the packets of the pod, which has {POD}/16")), "{plan}");
        let (code, _, err) = wire.jetpack(&line);
        if code != 0 && err.contains("user namespace") {
            return skip(Need::UserPods, format_args!("no pods without root here: {err}"));
        }
        assert_eq!(code, 0, "{carrier}: {err}");
        bed.wait_for("the server", || wire.hear("127.0.0.1", 8080) == "80");
        assert_eq!([wire.hear(HOST, 8080), wire.hear(HOST, 8081)], ["80", "81"], "a range, one by one");
        assert_eq!(
            [wire.hear("127.0.0.1", 9100), wire.hear(HOST, 9100)],
            ["81", ""],
            "bound to one address of the host"
        );
        assert_eq!(wire.answer(HOST, 9200), "answer to question");
        // Told wherever one looks.
        let status = wire.status("web");
        assert_eq!(
            (&status["addresses"], &status["networks"][0]["name"]),
            (&json!([POD]), &json!("default")),
            "{status}"
        );
        let text = wire.say(&["status", "web"]);
        assert!(text.contains(&format!("address: {POD}\n")), "{text}");
        assert!(text.contains(&format!("network default, {POD} by {carrier} enforced [net.addr]")), "{text}");
        assert!(text.contains("port web enforced") && text.contains("network namespace enforced"), "{text}");
        assert_eq!(wire.say(&["list", "--format", "{addresses}"]), format!("{POD}\n"));
        // Out of the pod: the host's address, and not what is on its loopback alone.
        assert_eq!(wire.pod_hears(HOST, 9000), "host 9000", "{carrier}");
        for closed in [HOST, GATEWAY, NAME_SERVER, "127.0.0.1"] {
            assert_eq!(wire.pod_hears(closed, 9001), "", "{carrier}: {closed}");
        }
        let resolv = wire.say(&["exec", "web", "cat", "/etc/resolv.conf"]);
        assert_eq!(resolv, format!("search example.com\nnameserver {NAME_SERVER}\n"));
        // The host's resolver is on its loopback; the carrier asks it.
        let asked = wire.say(&["exec", "web", "/bin/perl", "-e", &asks(NAME_SERVER, 53)]);
        assert_eq!(asked, "answer to question", "{carrier}");
        // Nobody else gets a port that a pod has.
        let (code, _, err) = wire.jetpack(&["run", "--port", "web=8080", &image]);
        assert!(code == 125 && err.contains("port 8080 of the host") && err.contains("in use"), "{code} {err}");
        wire.say(&["stop", "--force", "web"]);
        assert_eq!(wire.carrying(), None);
        assert_eq!(wire.hear("127.0.0.1", 8080), "");
        wire.say(&["gc", "--grace", "0s"]);
    }
    bed.assert_nothing_left();
}

#[test]
fn a_carrier_has_nothing_of_the_supervisors_and_ends_with_it() {
    let Some(bed) = Bed::of_root() else { return };
    let Some(image) = server(&bed) else { return };
    for carrier in CARRIERS {
        let Some(wire) = Wire::new(&bed, 2, carrier) else { return };
        let start = || {
            let (code, _, err) = wire.jetpack(&["run", "-d", "--name", "web", "--port", "web=8080", &image]);
            assert_eq!(code, 0, "{carrier}: {err}");
            (i32::try_from(wire.status("web")["pid"].as_i64().unwrap()).unwrap(), wire.carrying().unwrap())
        };
        let kill = |pid| kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
        let (supervisor, carrying) = start();
        let status = fs::read_to_string(format!("/proc/{carrying}/status")).unwrap();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        assert_eq!(field("PPid:"), supervisor.to_string());
        assert_eq!(field("NoNewPrivs:"), "1");
        assert_eq!(field("Seccomp:"), "2");
        let root = fs::canonicalize(bed.path(".")).unwrap();
        for entry in fs::read_dir(format!("/proc/{carrying}/fd")).unwrap().flatten() {
            let target = fs::read_link(entry.path()).unwrap_or_default();
            assert!(!target.starts_with(&root), "{carrier}: {}", target.display());
        }
        let pods = fs::read_dir(wire.home.join("root/pods")).unwrap().flatten();
        assert_eq!(pods.filter(|pod| pod.path().join("network.sock").exists()).count(), 0);
        // The pod's own namespaces know none of its processes.
        let seen = "opendir(D, '/proc'); for my $pid (readdir D) { open(F, \"/proc/$pid/comm\") and print <F> }";
        let seen = wire.say(&["exec", "web", "/bin/perl", "-e", seen]);
        assert!(!seen.contains(carrier), "{seen}");
        // Without it the pod goes on, and it is told.
        kill(carrying);
        bed.wait_for("it to be told", || {
            let troubles = &wire.status("web")["troubles"]["last"];
            troubles.as_str().is_some_and(|last| last.contains("network default") && last.contains(carrier))
        });
        let status = wire.status("web");
        assert_eq!((&status["state"], &status["addresses"]), (&json!("running"), &json!([])));
        wire.say(&["rm", "--force", "web"]);
        let (supervisor, _) = start();
        kill(supervisor);
        bed.wait_for("the carrier's end", || wire.carrying().is_none());
        wire.say(&["gc", "--grace", "0s"]);
    }
    bed.assert_nothing_left();
}

#[test]
fn a_pod_that_does_not_come_up_leaves_no_carrier() {
    let Some(bed) = Bed::of_root() else { return };
    let Some(image) = server(&bed) else { return };
    for carrier in CARRIERS {
        let Some(wire) = Wire::new(&bed, 4, carrier) else { return };
        let line = ["--net", "default", "--port", "web=8080", &image];
        let plan: Value = serde_json::from_str(&wire.say(&[&["plan", "--json"], &line[..]].concat())).unwrap();
        let steps = plan["steps"].as_array().unwrap();
        let number = |key: &str| steps.iter().position(|step| step.get(key).is_some()).unwrap();
        for step in [number("carry"), number("make-namespaces"), number("pod"), steps.len() - 1] {
            for how in ["fail", "kill"] {
                let (code, out, err) =
                    wire.jetpack(&[&["run", "--inject", &format!("{how}:{step}")], &line[..]].concat());
                if code == 125 && err.contains("user namespace") {
                    return skip(Need::UserPods, format_args!("no pods without root here: {err}"));
                }
                assert!(code != 0 && out.is_empty(), "{carrier} {how} {step}: {out}{err}");
                bed.wait_for("the carrier's end", || wire.carrying().is_none());
                assert_eq!(wire.hear("127.0.0.1", 8080), "");
                wire.say(&["gc"]);
                assert_eq!(wire.say(&["list"]), "", "{carrier} {how} {step}");
            }
        }
    }
    bed.assert_nothing_left();
}

#[test]
fn without_a_carrier_what_to_do_is_told_and_strictly_refused() {
    let Some(bed) = Bed::of_root() else { return };
    let Some(image) = server(&bed) else { return };
    let Some(wire) = Wire::new(&bed, 3, "slirp4netns") else { return };
    let ends = bed.script("ends", "cat /proc/net/dev");
    // A port that takes root is told with what can be done.
    assert!(wire.say(&["plan", "--port", "web=80", &image]).contains("ip_unprivileged_port_start=80"));
    let loopback = wire.say(&["plan", "--port", "echo=127.0.0.1:9200", &image]);
    assert!(loopback.contains("port echo ignored: without root, what comes by udp"), "{loopback}");
    let (code, _, err) = wire.jetpack(&["run", "--net", "other", &ends]);
    assert!(code == 125 && err.contains("without it there is the network default"), "{err}");
    // Neither is there.
    for program in CARRIERS {
        let at = format!("/usr/bin/{program}");
        if Path::new(&at).exists() {
            assert!(wire.command("mount").args(["--bind", "/dev/null", &at]).status().unwrap().success());
        }
    }
    fs::write(bed.path("jetpack.toml"), "").unwrap();
    let what = "without root, neither pasta nor slirp4netns is installed: install passt or slirp4netns";
    let (code, out, err) = wire.jetpack(&["run", "--rm", "--net", "default", &ends]);
    assert!(code == 0 && err.contains(&format!("network default ignored: {what} [net.l3]")), "{err}");
    assert!(out.contains("lo:") && !out.contains("eth0"), "{out}");
    let (code, _, err) = wire.jetpack(&["run", "--rm", "--net", "default", "--strict", &ends]);
    assert!(code == 125 && err.contains(what), "{err}");
    let (_, _, err) = wire.jetpack(&["plan", "--port", "web=8080", &image]);
    let plan = wire.say(&["plan", "--port", "web=8080", &image]);
    assert!(plan.contains("port web ignored") && plan.contains("--net default"), "{plan}{err}");
    let doctor = wire.jetpack(&["doctor"]).1;
    assert!(doctor.contains("neither pasta nor slirp4netns is installed"), "{doctor}");
    fs::write(bed.path("jetpack.toml"), "linux.rootless-network = \"none\"\n").unwrap();
    let (code, _, err) = wire.jetpack(&["run", "--rm", "--net", "default", &ends]);
    assert!(code == 0 && err.contains("linux.rootless-network is none"), "{err}");
}
