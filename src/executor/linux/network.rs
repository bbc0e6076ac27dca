//! What a pod is connected to, as steps: loopback always, the host's network, or configured ones.

use serde_json::Map;

use super::carrier::{self, Carrier};
use super::cni::{Connection, DEFAULT, bandwidth, port_mappings};
use super::facts::HostFacts;
use super::steps::Step;
use crate::executor::isolation::{Outcome, Report};
use crate::executor::plan::{Isolation, Network, PodPlan};
use crate::executor::{Error, Kind, decided};
use crate::pod::Part;

/// The steps on the host that connect the pod; what becomes of the ports goes into `report`.
///
/// # Errors
/// [`Kind::Refused`] for a network that is not configured, [`Kind::Unsupported`] without root.
pub fn steps(plan: &PodPlan, facts: &HostFacts, report: &mut Report) -> Result<Vec<Step>, Error> {
    let Network::Named(names) = &plan.network else {
        decided::ports_without_network(plan, report);
        return Ok(Vec::new());
    };
    if !facts.privileged {
        return Ok(carried(plan, names, facts, report)?.map(Step::Carry).into_iter().collect());
    }
    facts.networks.whole()?;
    let namespace = Part::Network.of(&plan.directory);
    let mut steps = vec![Step::MakeNetwork { path: namespace.clone() }];
    for (index, name) in names.iter().enumerate() {
        let doing = || format!("connect the pod to network {name}");
        let network = facts.networks.get(name).cloned();
        let mut network = network.map_err(|why| Error::new(Kind::Refused, doing()).because(why))?;
        let mut runtime = Map::new();
        // Ports and limits are the first network's business, as its addresses are the pod's.
        if index == 0 && !plan.ports.is_empty() {
            if !network.can("portMappings") && facts.networks.has("portmap") {
                network.extend("portmap", "portMappings");
            }
            runtime.insert("portMappings".to_owned(), port_mappings(&plan.ports));
            for port in &plan.ports {
                let outcome = if network.can("portMappings") {
                    steps.push(Step::HoldPorts { forward: port.clone() });
                    Outcome::Enforced
                } else {
                    Outcome::ignored("no plugin of the network forwards ports")
                };
                decided::port(report, port, outcome);
            }
        }
        if let Some(limit) = limit(plan) {
            if !network.can("bandwidth") && facts.networks.has("bandwidth") {
                network.extend("bandwidth", "bandwidth");
            }
            runtime.insert("bandwidth".to_owned(), bandwidth(limit));
        }
        steps.push(Step::Connect {
            connection: Connection {
                network,
                plugins: facts.networks.plugins.clone(),
                container: format!("jetpack-{}", plan.uuid),
                namespace: namespace.clone(),
                interface: format!("eth{index}"),
                runtime,
                results: Part::Networks.of(&plan.directory),
            },
        });
    }
    Ok(steps)
}

/// What connects a pod to the network `default` without root; where nothing does that, it has loopback alone, which is told.
fn carried(plan: &PodPlan, names: &[String], facts: &HostFacts, report: &mut Report) -> Result<Option<Carrier>, Error> {
    if let Some(other) = names.iter().find(|name| *name != DEFAULT) {
        let why = "that needs root; without it there is the network default";
        return Err(Error::new(Kind::Unsupported, format!("connect the pod to network {other}")).because(why));
    }
    let block = plan.cni.bridge.v4;
    let (program, path) = match &facts.carrier {
        Ok(found) => found.clone(),
        Err(why) => {
            report.asked(None, "network default", "net.l3", Outcome::ignored(format!("without root, {why}")));
            for port in &plan.ports {
                decided::port(report, port, Outcome::ignored("the pod has no network but loopback"));
            }
            return Ok(None);
        }
    };
    let what = format!("network default, {} by {}", carrier::address(block), program.name());
    report.asked(None, &what, "net.addr", Outcome::Enforced);
    let mut ports = Vec::new();
    for port in &plan.ports {
        let outcome = if !["tcp", "udp"].contains(&port.protocol.as_str()) {
            Outcome::ignored(format!("{} forwards tcp and udp alone", program.name()))
        } else if port.protocol == "udp" && port.host_ip.is_some_and(|ip| ip.is_loopback()) {
            Outcome::ignored(
                "without root, what comes by udp from the host's loopback is not answered: name another address",
            )
        } else if port.host_port < facts.first_port {
            Outcome::ignored(format!(
                "without root, ports below {0} cannot be taken: choose another, or `sysctl net.ipv4.ip_unprivileged_port_start={1}` as root",
                facts.first_port, port.host_port
            ))
        } else {
            ports.push(port.clone());
            Outcome::Enforced
        };
        decided::port(report, port, outcome);
    }
    Ok(Some(Carrier { program, path, block, ports, directory: plan.directory.clone() }))
}

/// The least of all limits on what passes through the pod's interfaces, which its apps share.
fn limit(plan: &PodPlan) -> Option<u64> {
    let all = plan.isolators.iter().chain(plan.apps.iter().flat_map(|app| &app.isolators));
    let limits = all.filter_map(|isolation| match isolation {
        Isolation::NetworkBandwidth { limit } => Some(*limit),
        _ => None,
    });
    limits.min()
}

/// What becomes of a limit on what passes through interfaces. Loopback is never bounded (`res.network.localhost`).
pub fn bandwidth_outcome(plan: &PodPlan, facts: &HostFacts, of_app: bool) -> Outcome {
    match &plan.network {
        Network::None => Outcome::Enforced,
        Network::Host => Outcome::ignored("the pod shares the host's network"),
        Network::Named(_) if !facts.privileged && facts.carrier.is_err() => Outcome::Enforced,
        Network::Named(_) if !facts.privileged => {
            Outcome::ignored("without root nothing bounds what passes through it")
        }
        Network::Named(names) => {
            let able = |name: &String| {
                facts.networks.has("bandwidth") || facts.networks.get(name).is_ok_and(|n| n.can("bandwidth"))
            };
            if !names.iter().all(able) {
                Outcome::ignored("no plugin of the network bounds what passes through it")
            } else if of_app && plan.apps.len() > 1 {
                Outcome::modified("it bounds the whole pod, whose interfaces the apps share")
            } else {
                Outcome::Enforced
            }
        }
    }
}
