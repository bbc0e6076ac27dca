//! Networks by the plugins of the host, in a network namespace that stands for the host's own.

use std::fs;
use std::process::{Command, Output};

use appc_needs::{Need, skip};
use serde_json::{Value, json};

use super::bed::Bed;

/// A host of the test's own, as far as networks are concerned.
struct Wire<'a> {
    bed: &'a Bed,
    name: String,
}

impl<'a> Wire<'a> {
    /// Nothing, with the reason printed, where it cannot be had.
    fn new(bed: &'a Bed, number: u32) -> Option<Self> {
        for program in ["/usr/sbin/ip", "/usr/bin/nsenter", "/usr/sbin/iptables", "/usr/lib/cni/bridge"] {
            if !std::path::Path::new(program).exists() {
                skip(Need::Networks, format_args!("{program} is not here"));
                return None;
            }
        }
        let name = format!("jetpack-{}-{number}", std::process::id());
        let made = Command::new("ip").args(["netns", "add", &name]).output().unwrap();
        if !made.status.success() {
            skip(Need::Networks, format_args!("no network namespace: {}", String::from_utf8_lossy(&made.stderr)));
            return None;
        }
        fs::create_dir_all(bed.path("net.d")).unwrap();
        let wire = Self { bed, name };
        wire.run("ip", &["link", "set", "lo", "up"]);
        Some(wire)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name)).arg(program);
        command.env("NETCONFPATH", self.bed.path("net.d"));
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        self.command(program).args(arguments).output().unwrap()
    }

    fn jetpack(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = self.command(env!("CARGO_BIN_EXE_jetpack"));
        let output = command.arg("--root").arg(self.bed.path("root")).args(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    #[track_caller]
    fn say(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.jetpack(arguments);
        assert_eq!(code, 0, "{arguments:?}: {out}{err}");
        out
    }

    /// Addresses are leased in the bed, so that nothing of the host's is touched.
    fn ranges(&self) -> Value {
        json!({"type": "host-local", "dataDir": self.bed.path("leases"),
            "ranges": [[{"subnet": "10.88.77.0/24"}], [{"subnet": "fd00:77::/64"}]]})
    }

    fn configure(&self, name: &str, plugins: &[Value]) {
        let list = json!({"cniVersion": "0.4.0", "name": name, "plugins": plugins});
        fs::write(self.bed.path("net.d").join(format!("{name}.conflist")), list.to_string()).unwrap();
    }

    /// What a connection from the host of the test gets to hear; nothing when it is refused.
    fn hear(&self, address: &str, port: u16) -> String {
        let script = format!(
            "use Socket; socket(S, 2, 1, 0); alarm 5; \
             connect(S, pack_sockaddr_in({port}, inet_aton('{address}'))) or exit; print <S>"
        );
        String::from_utf8(self.run("perl", &["-e", &script]).stdout).unwrap()
    }

    /// Interfaces, rules and leases.
    fn left(&self) -> String {
        let links = self.run("ip", &["-o", "link"]).stdout;
        let links: Vec<String> = String::from_utf8(links).unwrap().lines().map(str::to_owned).collect();
        let pods: Vec<&String> = links.iter().filter(|line| line.contains("veth")).collect();
        let rules = String::from_utf8(self.run("iptables-save", &[]).stdout).unwrap();
        let rules: Vec<&str> = rules.lines().filter(|line| line.contains("10.88.77.")).collect();
        let leases = walk(&self.bed.path("leases"));
        let leases: Vec<&String> =
            leases.iter().filter(|name| name.starts_with("10.") || name.starts_with("fd")).collect();
        format!("{pods:?}{rules:?}{leases:?}")
    }
}

fn walk(at: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(at).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| {
            let mut names = walk(&entry.path());
            names.push(entry.file_name().to_string_lossy().into_owned());
            names
        })
        .collect()
}

impl Drop for Wire<'_> {
    fn drop(&mut self) {
        let pods = self.jetpack(&["list", "--no-legend"]).1;
        for pod in pods.lines().filter_map(|line| line.split_whitespace().next()) {
            self.jetpack(&["stop", "--force", pod]);
            self.jetpack(&["rm", pod]);
        }
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

const NOTHING: &str = "[][][]";

/// Listens on three ports, over both families, and tells everyone the port's number.
const SERVER: &str = "for my $port (80, 81, 82) { next if fork; \
    socket(S, 10, 1, 0); setsockopt(S, 1, 2, 1); bind(S, pack('SnNa16N', 10, $port, 0, \"\\0\" x 16, 0)); listen(S, 9); \
    while (accept(C, S)) { syswrite(C, $port); close(C) } } sleep 1000";

fn server(bed: &Bed) -> Option<String> {
    let app = json!({"exec": ["/bin/perl", "-e", SERVER],
        "ports": [{"name": "web", "protocol": "tcp", "port": 80, "count": 2}, {"name": "own", "protocol": "tcp", "port": 82}]});
    bed.add_program("base", "perl").then(|| bed.image("server", "base", app))
}

#[test]
fn a_bridge_with_forwarded_ports_connects_a_pod_until_it_is_removed() {
    let Some(bed) = Bed::of_root() else { return };
    let Some(wire) = Wire::new(&bed, 1) else { return };
    let Some(image) = server(&bed) else { return };
    let bridge = json!({"type": "bridge", "bridge": "jp0", "isGateway": true, "ipMasq": true, "ipam": wire.ranges()});
    // Nobody names the plugin that forwards ports: it is added where there are ports.
    wire.configure("default", &[bridge]);
    let line = ["run", "-d", "--name", "web", "--port", "web=8080", "--port", "own=127.0.0.1:9000", &image];
    wire.say(&line);
    let status: Value = serde_json::from_str(&wire.say(&["status", "--json", "web"])).unwrap();
    let ips = status["networks"][0]["result"]["ips"].as_array().unwrap_or_else(|| panic!("{status}"));
    let ips: Vec<&str> = ips.iter().filter_map(|ip| ip["address"].as_str()).collect();
    assert_eq!(ips.len(), 2, "one of each family: {status}");
    let address = ips[0].split('/').next().unwrap();
    bed.wait_for("the server", || wire.hear(address, 80) == "80");
    let gateway = "10.88.77.1";
    assert_eq!([wire.hear(gateway, 8080), wire.hear(gateway, 8081)], ["80", "81"], "a range, one by one");
    assert_eq!(wire.hear("127.0.0.1", 9000), "82");
    assert_eq!(wire.hear(gateway, 9000), "", "bound to one address of the host");
    assert_eq!(wire.hear(gateway, 8082), "");
    // Neither a pod nor a program of the host can have a port that a pod has.
    let (code, _, err) = wire.jetpack(&["run", "-d", "--name", "late", "--port", "web=8080", &image]);
    assert_eq!(code, 125, "{err}");
    assert!(err.contains("port 8080 of the host") && err.contains("in use"), "{err}");
    wire.say(&["stop", "--force", "web"]);
    wire.say(&["rm", "web"]);
    assert_eq!(wire.left(), NOTHING);
    bed.assert_nothing_left();
}

#[test]
fn the_default_network_needs_no_file_where_the_plugins_are() {
    let Some(bed) = Bed::of_root() else { return };
    let Some(wire) = Wire::new(&bed, 4) else { return };
    let Some(image) = server(&bed) else { return };
    let bridge = format!("jp{}", std::process::id() % 100_000);
    let config = bed.path("bridge.toml");
    let say = |block: &str| {
        let text =
            format!("linux.network = \"{block}\"\nlinux.network6 = \"fd00:77::/64\"\nlinux.bridge = \"{bridge}\"\n");
        fs::write(&config, text).unwrap();
    };
    let config = config.to_str().unwrap();
    say("10.88.77.0/24");
    // A block that is set is what pods are connected to.
    wire.say(&["--config", config, "run", "-d", "--name", "web", "--port", "web=8080", &image]);
    let status: Value = serde_json::from_str(&wire.say(&["status", "--json", "web"])).unwrap();
    assert_eq!(status["networks"][0]["name"], "default", "{status}");
    let ips = status["networks"][0]["result"]["ips"].as_array().unwrap_or_else(|| panic!("{status}"));
    assert_eq!(ips.len(), 2, "one of each family: {status}");
    let address = ips[0]["address"].as_str().unwrap().split('/').next().unwrap().to_owned();
    bed.wait_for("the server", || wire.hear(&address, 80) == "80");
    assert_eq!(wire.hear("10.88.77.1", 8080), "80", "forwarded");
    // One that the host has elsewhere would take that from it.
    wire.run("ip", &["link", "add", "other", "type", "bridge"]);
    wire.run("ip", &["address", "add", "10.99.0.1/16", "dev", "other"]);
    wire.run("ip", &["link", "set", "other", "up"]);
    say("10.99.7.0/24");
    let (code, _, err) = wire.jetpack(&["--config", config, "run", "--net", "default", &image]);
    assert_eq!(code, 125, "{err}");
    assert!(err.contains("10.99.0.0/16 on other") && err.contains("linux.network"), "{err}");
    wire.say(&["stop", "--force", "web"]);
    wire.say(&["rm", "web"]);
    assert_eq!(wire.left(), NOTHING);
    let leases = std::path::Path::new("/run/jetpack").join(&bridge);
    assert!(!walk(&leases).iter().any(|name| name.starts_with("10.") || name.starts_with("fd")));
    let _ = fs::remove_dir_all(leases);
    bed.assert_nothing_left();
}

#[test]
fn a_collected_pod_is_disconnected_from_a_point_to_point_network() {
    let Some(bed) = Bed::of_root() else { return };
    let Some(wire) = Wire::new(&bed, 2) else { return };
    let Some(image) = server(&bed) else { return };
    wire.configure("direct", &[json!({"type": "ptp", "ipMasq": true, "ipam": wire.ranges()})]);
    wire.say(&["run", "-d", "--name", "web", "--net", "direct", "--port", "web=8080", &image]);
    let status: Value = serde_json::from_str(&wire.say(&["status", "--json", "web"])).unwrap();
    let address = status["networks"][0]["result"]["ips"][0]["address"].as_str().unwrap();
    let address = address.split('/').next().unwrap().to_owned();
    bed.wait_for("the server", || wire.hear(&address, 81) == "81");
    let supervisor = i32::try_from(status["pid"].as_i64().unwrap()).unwrap();
    let supervisor = rustix::process::Pid::from_raw(supervisor).unwrap();
    rustix::process::kill_process(supervisor, rustix::process::Signal::KILL).unwrap();
    bed.wait_for("the pod's end", || wire.say(&["status", "web"]).contains("state: exited"));
    assert_ne!(wire.left(), NOTHING);
    wire.say(&["gc"]);
    assert_eq!(wire.left(), NOTHING);
    bed.assert_nothing_left();
}

#[test]
fn a_plugin_that_fails_or_is_missing_is_told_and_nothing_is_left() {
    let Some(bed) = Bed::of_root() else { return };
    let Some(wire) = Wire::new(&bed, 3) else { return };
    let image = bed.script("never", "echo ran");
    let bridge = json!({"type": "bridge", "bridge": "jp0", "isGateway": true, "ipam": wire.ranges()});
    // It has made the interface when the second fails.
    wire.configure(
        "broken",
        &[bridge.clone(), json!({"type": "tuning", "sysctl": {"net.ipv4.conf.eth0.nothing": "1"}})],
    );
    wire.configure("missing", &[bridge, json!({"type": "no-such-plugin"})]);
    for (network, word) in [("broken", "tuning"), ("missing", "no-such-plugin"), ("unheard-of", "no such network")] {
        let (code, out, err) = wire.jetpack(&["run", "--net", network, &image]);
        assert_eq!((code, out.as_str()), (125, ""), "{network}: {err}");
        assert!(err.contains(word), "{network}: {err}");
        assert_eq!(wire.left(), NOTHING, "{network}");
    }
    bed.assert_nothing_left();
}
