//! Interfaces and packet filter of the model, and the programs in front of them.

use std::io;
use std::net::IpAddr;

use super::{Inner, Interface, refuse, refuse_with, variables};
use crate::executor::freebsd::system::{Setting, Value};

impl Inner {
    pub(super) fn ifconfig(&mut self, arguments: &[&str]) -> Result<String, String> {
        match arguments {
            ["bridge", "create"] => {
                let name =
                    (0..).map(|unit| format!("bridge{unit}")).find(|name| !self.state.interfaces.contains_key(name));
                let name = name.unwrap_or_default();
                self.add_interface(&name, "bridge", "");
                Ok(format!("{name}\n"))
            }
            [pair, "create", "descr", description, "up"] if pair.starts_with("epair") => {
                let ends = [format!("{pair}a"), format!("{pair}b")];
                if ends.iter().any(|end| self.state.interfaces.contains_key(end)) {
                    return Err("ifconfig: SIOCIFCREATE2: File exists".to_owned());
                }
                self.add_interface(&ends[0], "epair", description);
                self.add_interface(&ends[1], "epair", "");
                self.shown(&ends[0])?.up = true;
                Ok(format!("{}\n", ends[0]))
            }
            [name, "name", new] => {
                if self.state.interfaces.contains_key(*new) {
                    return Err("ifconfig: ioctl SIOCSIFNAME (set name): File exists".to_owned());
                }
                let interface = self.shown(name)?.clone();
                self.state.interfaces.remove(*name);
                self.state.interfaces.insert((*new).to_owned(), interface);
                Ok(format!("{new}\n"))
            }
            [name, "destroy"] => {
                self.shown(name)?;
                let pair = name.strip_suffix(['a', 'b']).filter(|name| name.starts_with("epair"));
                if pair.is_some_and(|pair| ["a", "b"].iter().any(|end| self.on_its_way_back(&format!("{pair}{end}")))) {
                    return Err("the kernel hands the other end back meanwhile, which it may not survive".to_owned());
                }
                self.state.interfaces.remove(*name);
                if let Some(pair) = pair {
                    // Either end takes the other with it, even out of a jail.
                    self.state.interfaces.retain(|other, _| other.strip_suffix(['a', 'b']) != Some(pair));
                }
                let left = self.state.interfaces.clone();
                for interface in self.state.interfaces.values_mut() {
                    interface.members.retain(|member| left.contains_key(member));
                }
                Ok(String::new())
            }
            [bridge, "addm", member] => {
                if !self.state.interfaces.contains_key(*member) {
                    return Err(format!("ifconfig: BRDGADD {member}: No such file or directory"));
                }
                let taken = self.state.interfaces.values().any(|other| other.members.contains(*member));
                if taken {
                    return Err(format!("ifconfig: BRDGADD {member}: Device busy"));
                }
                self.shown(bridge)?.members.insert((*member).to_owned());
                Ok(String::new())
            }
            [name, "inet" | "inet6", address, "alias"] => {
                let taken =
                    self.state.interfaces.values().any(|other| other.addresses.iter().any(|own| own == address));
                if taken {
                    return Err("ifconfig: ioctl (SIOCAIFADDR): File exists".to_owned());
                }
                self.shown(name)?.addresses.push((*address).to_owned());
                Ok(String::new())
            }
            [name, "up"] => {
                self.shown(name)?.up = true;
                Ok(String::new())
            }
            [name] => {
                let interface = self.shown(name)?;
                let addresses = interface.addresses.iter().map(|address| {
                    let (address, _) = address.split_once('/').unwrap_or((address, ""));
                    let family = if address.contains(':') { "inet6" } else { "inet" };
                    format!("\t{family} {address} netmask 0xffff0000\n")
                });
                let addresses: String = addresses.collect();
                Ok(format!("{name}: flags=8843<UP>\n\tdescription: {}\n{addresses}", interface.description))
            }
            _ => Err(format!("the model knows no `ifconfig {}`", arguments.join(" "))),
        }
    }

    /// Whether an interface is in the network of a jail that is gone, and comes back to the host.
    pub(super) fn on_its_way_back(&self, name: &str) -> bool {
        let jail = self.state.interfaces.get(name).and_then(|found| found.jail);
        jail.is_some_and(|id| self.state.jails.values().all(|jail| jail.id != id))
    }

    fn add_interface(&mut self, name: &str, kind: &str, description: &str) {
        let interface =
            Interface { kind: kind.to_owned(), description: description.to_owned(), ..Interface::default() };
        self.state.interfaces.insert(name.to_owned(), interface);
    }

    /// An interface of the host: those in jails with a network of their own do not show.
    fn shown(&mut self, name: &str) -> Result<&mut Interface, String> {
        let found = self.state.interfaces.get_mut(name).filter(|interface| interface.jail.is_none());
        found.ok_or_else(|| format!("ifconfig: interface {name} does not exist"))
    }

    pub(super) fn pfctl(&mut self, arguments: &[&str], input: &str) -> Result<String, String> {
        if !self.state.modules.contains("pf") {
            return Err("pfctl: /dev/pf: No such file or directory".to_owned());
        }
        match arguments {
            ["-a", anchor, "-f", "-"] => drop(self.state.anchors.insert((*anchor).to_owned(), input.to_owned())),
            ["-a", anchor, "-F", "all"] => drop(self.state.anchors.remove(*anchor)),
            ["-s", "info"] => {
                let status = if self.state.main_rules.is_some() { "Enabled" } else { "Disabled" };
                return Ok(format!("Status: {status} for 0 days 00:10:00\n"));
            }
            ["-s", what @ ("nat" | "rules")] => {
                let translates = |rule: &&String| !rule.starts_with("anchor");
                let rules = self.state.main_rules.iter().flatten();
                let rules = rules.filter(|rule| translates(rule) == (*what == "nat"));
                return Ok(rules.map(|rule| format!("{rule} all\n")).collect());
            }
            _ => return Err(format!("the model knows no `pfctl {}`", arguments.join(" "))),
        }
        Ok(String::new())
    }

    pub(super) fn route(&self, arguments: &[&str]) -> Result<String, String> {
        match arguments {
            ["-n", "get", "-inet", "default"] => Ok("   route to: 0.0.0.0\n  interface: em0\n".to_owned()),
            _ => Err(format!("the model knows no `route {}`", arguments.join(" "))),
        }
    }

    pub(super) fn configure(&mut self, id: i32, settings: &[Setting]) -> io::Result<()> {
        let Some(jail) = self.state.jails.values_mut().find(|jail| jail.id == id) else { return refuse(libc::EINVAL) };
        let own = jail.parameters.get("vnet") == Some(&Value::New);
        let level = match jail.parameters.get("securelevel") {
            Some(Value::Number(level)) => *level,
            _ => -1,
        };
        let interfaces = &self.state.interfaces;
        let has = |name: &str| {
            own && (name == "lo0" || interfaces.get(name).is_some_and(|interface| interface.jail == Some(id)))
        };
        for setting in settings {
            match setting {
                Setting::Address { interface, .. } | Setting::Raise { interface } if !has(interface) => {
                    return refuse_with(io::ErrorKind::NotFound, format!("interface {interface} does not exist"));
                }
                Setting::DefaultRoute { gateway } if !jail.settings.iter().any(|set| reaches(set, *gateway)) => {
                    return refuse(libc::ENETUNREACH);
                }
                Setting::Sysctl { .. } if !own => return refuse(libc::EPERM),
                // It looks at whose the variable is before it looks at the value.
                Setting::Sysctl { name, .. } => match variables::variable(name) {
                    None => return refuse(libc::ENOENT),
                    Some(variable) if variable.settable(level).is_err() => return refuse(libc::EPERM),
                    Some(_) => {}
                },
                _ => {}
            }
            jail.settings.push(setting.clone());
        }
        Ok(())
    }
}

/// Whether an address that was set is of the gateway's network.
fn reaches(set: &Setting, gateway: IpAddr) -> bool {
    let Setting::Address { address, prefix, .. } = set else { return false };
    match (address, gateway) {
        (IpAddr::V4(own), IpAddr::V4(other)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(*prefix)).unwrap_or(0);
            u32::from(*own) & mask == u32::from(other) & mask
        }
        (IpAddr::V6(own), IpAddr::V6(other)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(*prefix)).unwrap_or(0);
            u128::from(*own) & mask == u128::from(other) & mask
        }
        _ => false,
    }
}
