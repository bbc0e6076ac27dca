//! Networks by the Container Network Interface: configurations as they stand in a directory, plugins as they come.
//!
//! The directory that [`Cni`] names has `*.conflist`, `*.conf` and `*.json`; plugins are programs found along its others.
//! Where no file describes a network `default`, it is a bridge with an address block of the configuration, as on FreeBSD:
//! made by the plugins `bridge` and `host-local`, its packets translated, its addresses kept below `LEASES`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Seek as _, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::executor::plan::{Bridge, Cni, PortForward};
use crate::executor::{Error, Kind};
use crate::whole::{self, Durability};

/// Where the addresses that pods of the bridge have are kept. As the bridge itself it is gone when the host starts again.
const LEASES: &str = "/run/jetpack";

/// The name of the network that pods are connected to when nobody says.
pub const DEFAULT: &str = "default";

/// A network that a pod can be connected to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// Its name.
    pub name: String,
    /// The version of the interface that it is written for.
    pub version: String,
    /// The plugins' own configurations, in the order of their calls.
    pub plugins: Vec<Value>,
}

/// What this host has to connect pods with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    /// Networks that files describe, by name; of two with one name the first file's counts.
    pub described: BTreeMap<String, Configuration>,
    /// What `default` is where no file describes it, and the route of the host's that its addresses are in the way of.
    pub bridge: Option<(Configuration, Option<String>)>,
    /// Where plugins are.
    pub plugins: Vec<PathBuf>,
    /// Files that are no configurations, and why.
    pub broken: Vec<(PathBuf, String)>,
}

/// A pod's connection to one network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// The network.
    pub network: Configuration,
    /// Where plugins are looked for.
    pub plugins: Vec<PathBuf>,
    /// The pod, as plugins know it.
    pub container: String,
    /// The file that stands for the pod's network namespace.
    pub namespace: PathBuf,
    /// What the interface is called in the pod.
    pub interface: String,
    /// What plugins are told beyond their configuration, by capability.
    pub runtime: Map<String, Value>,
    /// The file with the results of the pod's connections.
    pub results: PathBuf,
}

impl Networks {
    /// Reads the configurations there.
    pub fn detect(cni: &Cni) -> Self {
        let mut files: Vec<PathBuf> =
            fs::read_dir(&cni.configurations).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        files.retain(|file| matches!(file.extension().and_then(|e| e.to_str()), Some("conflist" | "conf" | "json")));
        files.sort();
        let mut networks = Self { plugins: cni.plugins.clone(), ..Self::default() };
        for file in files {
            let value = fs::read(&file)
                .map_err(|error| error.to_string())
                .and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()));
            match value.and_then(|value| parse(value).map_err(str::to_owned)) {
                Ok(configuration) => {
                    networks.described.entry(configuration.name.clone()).or_insert(configuration);
                }
                Err(why) => networks.broken.push((file, why)),
            }
        }
        if networks.has("bridge") && networks.has("host-local") {
            let routes = fs::read_to_string("/proc/net/route").unwrap_or_default();
            networks.bridge = Some((networks.bridged(&cni.bridge), in_the_way(&cni.bridge, &routes)));
        }
        networks
    }

    /// The network of this name.
    ///
    /// # Errors
    /// Why there is none.
    pub fn get(&self, name: &str) -> Result<&Configuration, String> {
        if let Some(network) = self.described.get(name) {
            return Ok(network);
        }
        match &self.bridge {
            Some((network, None)) if name == DEFAULT => Ok(network),
            Some((_, Some(route))) if name == DEFAULT => Err(format!(
                "its addresses are those of {route}: give linux.network in the configuration another block"
            )),
            _ => {
                let mut known: Vec<&str> = self.described.keys().map(String::as_str).collect();
                if self.bridge.is_some() && !self.described.contains_key(DEFAULT) {
                    known.push(DEFAULT);
                }
                let known = if known.is_empty() { "none is configured".to_owned() } else { known.join(", ") };
                let plugins = if name == DEFAULT { "; the plugins bridge and host-local would make one" } else { "" };
                Err(format!("there is no such network ({known}){plugins}"))
            }
        }
    }

    /// The configuration that nobody needs to write.
    fn bridged(&self, bridge: &Bridge) -> Configuration {
        let range = |address: IpAddr, prefix: u8| json!([{"subnet": format!("{address}/{prefix}")}]);
        let mut ranges = vec![range(bridge.v4.0.into(), bridge.v4.1)];
        let mut routes = vec![json!({"dst": "0.0.0.0/0"})];
        if let Some((address, prefix)) = bridge.v6 {
            ranges.push(range(address.into(), prefix));
            routes.push(json!({"dst": "::/0"}));
        }
        let leases = format!("{LEASES}/{}", bridge.name);
        let mut plugins = vec![json!({"type": "bridge", "bridge": bridge.name, "isGateway": true, "ipMasq": true,
            "hairpinMode": true,
            "ipam": {"type": "host-local", "dataDir": leases, "ranges": ranges, "routes": routes}})];
        // Where others forbid what they do not know to be forwarded, as Docker does.
        if self.has("firewall") {
            plugins.push(json!({"type": "firewall"}));
        }
        Configuration { name: DEFAULT.to_owned(), version: "0.4.0".to_owned(), plugins }
    }

    /// Whether all that is configured is known: which network a file that cannot be read describes is not.
    ///
    /// # Errors
    /// [`Kind::Refused`], naming the file and what is wrong with it.
    pub fn whole(&self) -> Result<(), Error> {
        match self.broken.first() {
            None => Ok(()),
            Some((file, why)) => {
                let doing = format!("understand the network configuration {}", file.display());
                Err(Error::new(Kind::Refused, doing).because(why.clone()))
            }
        }
    }

    /// Whether a plugin of this type is there.
    pub fn has(&self, plugin: &str) -> bool {
        find(&self.plugins, plugin).is_some()
    }
}

/// The first route, as `/proc/net/route` has it, that leads elsewhere than to the bridge for addresses of its block.
fn in_the_way(bridge: &Bridge, routes: &str) -> Option<String> {
    let bits = |prefix: u32| u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
    let (block, mask) = (u32::from(bridge.v4.0), bits(bridge.v4.1.into()));
    routes.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        // Addresses stand there as the machine has them in its memory.
        let number = |at: usize| Some(u32::from_be(u32::from_str_radix(fields.get(at)?, 16).ok()?));
        let (to, of) = (number(1)?, number(7)?);
        let both = mask & of;
        let other = of != 0 && fields[0] != bridge.name && block & both == to & both;
        other.then(|| format!("{}/{} on {}", Ipv4Addr::from(to), of.count_ones(), fields[0]))
    })
}

fn parse(value: Value) -> Result<Configuration, &'static str> {
    let name = value.get("name").and_then(Value::as_str).ok_or("it has no `name`")?.to_owned();
    let version = value.get("cniVersion").and_then(Value::as_str).unwrap_or("0.4.0").to_owned();
    let plugins = match value.get("plugins") {
        Some(plugins) => plugins.as_array().ok_or("its `plugins` are no list")?.clone(),
        None => vec![value],
    };
    let typed = |plugin: &Value| plugin.get("type").is_some_and(Value::is_string);
    if plugins.is_empty() {
        return Err("it has no plugins");
    }
    if !plugins.iter().all(typed) {
        return Err("a plugin of it has no `type`");
    }
    Ok(Configuration { name, version, plugins })
}

fn find(places: &[PathBuf], plugin: &str) -> Option<PathBuf> {
    // A type is a name, not a path.
    let name = (!plugin.contains('/')).then_some(plugin)?;
    places.iter().map(|place| place.join(name)).find(|path| path.is_file())
}

impl Configuration {
    /// Whether one of the plugins can be told what `capability` means.
    pub fn can(&self, capability: &str) -> bool {
        self.plugins.iter().any(|plugin| plugin["capabilities"][capability] == json!(true))
    }

    /// Adds a plugin that has `capability`.
    pub fn extend(&mut self, plugin: &str, capability: &str) {
        let mut capabilities = Map::new();
        capabilities.insert(capability.to_owned(), json!(true));
        self.plugins.push(json!({"type": plugin, "capabilities": capabilities}));
    }
}

/// Port forwards as the capability `portMappings` takes them.
pub fn port_mappings(ports: &[PortForward]) -> Value {
    let all = ports.iter().flat_map(|port| {
        (0..port.count).map(|offset| {
            let mut mapping = json!({"hostPort": port.host_port + offset, "containerPort": port.pod_port + offset,
                "protocol": port.protocol});
            if let Some(ip) = port.host_ip {
                mapping["hostIP"] = json!(ip.to_string());
            }
            mapping
        })
    });
    Value::Array(all.collect())
}

/// A limit of bytes a second as the capability `bandwidth` takes it: bits, and a burst of a tenth of a second.
pub fn bandwidth(limit: u64) -> Value {
    let rate = limit.saturating_mul(8);
    let burst = (rate / 10).clamp(1 << 16, u64::from(u32::MAX));
    json!({"ingressRate": rate, "ingressBurst": burst, "egressRate": rate, "egressBurst": burst})
}

/// The result of one connection, as `status` shows it.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    name: String,
    interface: String,
    result: Value,
}

/// What is there; none where there is no such file.
fn entries(results: &Path) -> io::Result<Vec<Entry>> {
    match fs::read(results) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => Ok(serde_json::from_slice(&read?)?),
    }
}

/// Puts the result of the connection that makes the pod's interface `interface` into the file `results`.
pub(super) fn keep(results: &Path, name: &str, interface: &str, result: Value) -> io::Result<()> {
    let mut entries = entries(results)?;
    entries.retain(|entry| entry.interface != interface);
    entries.push(Entry { name: name.to_owned(), interface: interface.to_owned(), result });
    whole::replace(results, 0o600, &serde_json::to_vec(&entries)?, Durability::Fleeting)
}

/// The addresses that a pod has by the results of its connections, in their order.
pub fn addresses(results: &Path) -> Vec<IpAddr> {
    let entries = entries(results).unwrap_or_default();
    let given = entries.iter().flat_map(|entry| entry.result["ips"].as_array().into_iter().flatten());
    given.filter_map(|ip| ip["address"].as_str()?.split('/').next()?.parse().ok()).collect()
}

impl Connection {
    /// Connects the pod.
    ///
    /// # Errors
    /// What the plugin that failed says.
    pub fn add(&self) -> Result<(), Error> {
        let mut previous = None;
        for plugin in &self.network.plugins {
            let answer = self.call("ADD", plugin, previous.as_ref())?;
            previous = Some(answer.unwrap_or(Value::Null)).filter(|answer| !answer.is_null()).or(previous);
        }
        keep(&self.results, &self.network.name, &self.interface, previous.unwrap_or(Value::Null))
            .map_err(|error| Error::new(Kind::Io, "keep the network's result").because(error))
    }

    /// Takes the connection back, as often as it is asked.
    ///
    /// # Errors
    /// What a plugin says, as long as the namespace is there.
    pub fn delete(&self) -> Result<(), Error> {
        // Of what cannot be read plugins take back what they know themselves: nothing keeps a pod from being removed.
        let entry =
            entries(&self.results).unwrap_or_default().into_iter().find(|entry| entry.interface == self.interface);
        let previous = entry.map(|entry| entry.result).filter(|result| !result.is_null());
        let mut first = Ok(());
        for plugin in self.network.plugins.iter().rev() {
            let done = self.call("DEL", plugin, previous.as_ref()).map(drop);
            // Without its namespace a pod has no interface to be taken away.
            if done.is_err() && first.is_ok() && self.namespace.exists() {
                first = done;
            }
        }
        first
    }

    fn call(&self, command: &str, plugin: &Value, previous: Option<&Value>) -> Result<Option<Value>, Error> {
        let kind = plugin["type"].as_str().unwrap_or_default();
        let doing = || match command {
            "DEL" => format!("disconnect the pod from network {}", self.network.name),
            _ => format!("connect the pod to network {}", self.network.name),
        };
        let failed = |why: String| Error::new(Kind::Io, doing()).because(why);
        let program = find(&self.plugins, kind).ok_or_else(|| {
            let places: Vec<_> = self.plugins.iter().map(|place| place.display().to_string()).collect();
            Error::new(Kind::Unsupported, doing()).because(format!("no plugin {kind} is in {}", places.join(":")))
        })?;
        let mut input = plugin.clone();
        input["name"] = json!(self.network.name);
        input["cniVersion"] = json!(self.network.version);
        let told = plugin["capabilities"].as_object().into_iter().flatten().filter(|(_, yes)| **yes == json!(true));
        let told: Map<String, Value> =
            told.filter_map(|(name, _)| Some((name.clone(), self.runtime.get(name)?.clone()))).collect();
        if !told.is_empty() {
            input["runtimeConfig"] = Value::Object(told);
        }
        if let Some(previous) = previous {
            input["prevResult"] = previous.clone();
        }
        // In a file, so that nobody waits for a plugin that does not read it, or says much before it does.
        let given = in_memory(input.to_string().as_bytes()).map_err(|error| failed(error.to_string()))?;
        let namespace = if self.namespace.exists() { self.namespace.as_os_str() } else { "".as_ref() };
        let output = Command::new(&program)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", &self.container)
            .env("CNI_NETNS", namespace)
            .env("CNI_IFNAME", &self.interface)
            .env("CNI_PATH", std::env::join_paths(&self.plugins).map_err(|e| failed(e.to_string()))?)
            .current_dir(Path::new("/"))
            .stdin(given)
            .output()
            .map_err(|error| failed(format!("{}: {error}", program.display())))?;
        let answer: Option<Value> = serde_json::from_slice(&output.stdout).ok();
        if output.status.success() {
            return Ok(answer);
        }
        let message = answer.as_ref().and_then(|answer| answer["msg"].as_str().map(str::to_owned));
        let message = message.unwrap_or_else(|| String::from_utf8_lossy(&output.stderr).trim().to_owned());
        Err(failed(format!("plugin {kind}: {message}")))
    }
}

/// A file without a name that holds `bytes`, to be read from its beginning.
fn in_memory(bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("input", rustix::fs::MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plugin that says much before it reads.
    #[test]
    fn plugins_may_read_when_they_like_and_results_are_whole_or_an_error() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let script = "#!/bin/sh\nhead -c 300000 /dev/zero | tr '\\0' ' '\ncat > \"$CNI_PATH/$CNI_COMMAND\"\n\
                      echo '{\"ips\": [{\"address\": \"10.1.2.3/24\"}]}'\n";
        fs::write(directory.path().join("slow"), script).unwrap();
        fs::set_permissions(directory.path().join("slow"), fs::Permissions::from_mode(0o755)).unwrap();
        let plugin = json!({"type": "slow", "much": "x".repeat(1 << 20)});
        let connection = Connection {
            network: parse(json!({"name": "a", "plugins": [plugin]})).unwrap(),
            plugins: vec![directory.path().to_owned()],
            container: "c".to_owned(),
            namespace: directory.path().to_owned(),
            interface: "eth0".to_owned(),
            runtime: Map::new(),
            results: directory.path().join("networks"),
        };
        let given = |command: &str| -> Value {
            serde_json::from_slice(&fs::read(directory.path().join(command)).unwrap()).unwrap()
        };
        connection.add().unwrap();
        assert_eq!(given("ADD")["much"].as_str().unwrap().len(), 1 << 20);
        assert_eq!(addresses(&connection.results), [IpAddr::from([10, 1, 2, 3])]);
        connection.delete().unwrap();
        assert_eq!(given("DEL")["prevResult"]["ips"][0]["address"], "10.1.2.3/24");
        let whole = fs::read(&connection.results).unwrap();
        fs::write(&connection.results, &whole[..whole.len() / 2]).unwrap();
        let told = crate::error::chain(&connection.add().unwrap_err());
        assert!(told.starts_with("keep the network's result: "), "{told}");
        assert_eq!(fs::read(&connection.results).unwrap(), whole[..whole.len() / 2]);
        connection.delete().unwrap();
        assert_eq!(given("DEL").get("prevResult"), None);
    }

    #[test]
    fn a_plain_configuration_is_a_list_of_one() {
        let plain = parse(json!({"name": "a", "type": "bridge", "cniVersion": "1.0.0"})).unwrap();
        assert_eq!((plain.version.as_str(), plain.plugins.len()), ("1.0.0", 1));
        let list = parse(
            json!({"name": "b", "plugins": [{"type": "ptp"}, {"type": "portmap", "capabilities": {"portMappings": true}}]}),
        );
        assert!(list.unwrap().can("portMappings"));
        for wrong in [json!({"name": "c", "plugins": []}), json!({"type": "bridge"}), json!({"name": "d"}), json!([])] {
            assert!(parse(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_range_of_ports_is_one_mapping_each() {
        let port = PortForward {
            name: "p".to_owned(),
            protocol: "tcp".to_owned(),
            host_port: 8000,
            host_ip: Some([127, 0, 0, 1].into()),
            pod_port: 80,
            count: 2,
            socket_activated: None,
        };
        let mappings = port_mappings(&[port]);
        assert_eq!(
            mappings[1],
            json!({"hostPort": 8001, "containerPort": 81, "protocol": "tcp", "hostIP": "127.0.0.1"})
        );
    }

    #[test]
    fn a_block_of_addresses_that_the_host_has_elsewhere_is_seen() {
        let head = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n";
        let bytes = |address: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(address));
        let route = |name: &str, to: [u8; 4], of: [u8; 4]| {
            format!("{name} {} 00000000 0001 0 0 0 {} 0 0 0\n", bytes(to), bytes(of))
        };
        let bridge = Bridge::default();
        for (name, to, of, seen) in [
            ("eth0", [0, 0, 0, 0], [0, 0, 0, 0], None),
            ("eth0", [192, 168, 1, 0], [255, 255, 255, 0], None),
            ("jetpack0", [10, 77, 0, 0], [255, 255, 0, 0], None),
            ("tun0", [10, 0, 0, 0], [255, 0, 0, 0], Some("10.0.0.0/8 on tun0")),
            ("eth1", [10, 77, 3, 0], [255, 255, 255, 0], Some("10.77.3.0/24 on eth1")),
        ] {
            let routes = format!("{head}{}", route(name, to, of));
            assert_eq!(in_the_way(&bridge, &routes).as_deref(), seen, "{routes}");
        }
    }

    #[test]
    fn a_plugin_is_a_name_and_no_path() {
        assert_eq!(find(&[PathBuf::from("/bin")], "../bin/sh"), None);
    }
}
