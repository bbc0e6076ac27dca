//! What no system decides: both compilers take it from here.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::isolation::{Outcome, Report};
use super::listening::by_socket;
use super::plan::{AppPlan, Network, PodPlan, PortForward};
use super::planning::PATH;
use super::users::Identity;
use super::{Error, Kind, Phase, listening};

/// Places in an app's rootfs that are the executor's.
const TAKEN: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Whether a volume may be mounted at `target`.
///
/// # Errors
/// [`Kind::Refused`] with the clause.
pub fn target(target: &Path) -> Result<(), Error> {
    let taken = target == Path::new("/") || TAKEN.iter().any(|taken| target.starts_with(taken));
    if !taken {
        return Ok(());
    }
    Err(Error::new(Kind::Refused, format!("mount a volume at {}", target.display()))
        .clause("vol.target.overlap")
        .because("that place is the executor's (decision 45)"))
}

/// Whether programs of the app's image can run on a machine of `arch` with a kernel that runs programs of `systems`.
///
/// # Errors
/// [`Kind::Unsupported`] with the clause.
pub fn fits(app: &AppPlan, systems: &[&str], arch: &str) -> Result<(), Error> {
    let refused = |label: &str, value: &str, here: &str| {
        Error::new(Kind::Unsupported, format!("run the image of app {}", app.name))
            .clause("im.labels.osarch.known")
            .because(format!("it has the label {label}={value}, and this host is {here}"))
    };
    if let Some(os) = app.os.as_deref().filter(|os| !systems.contains(os)) {
        return Err(refused("os", os, systems[0]));
    }
    match app.arch.as_deref() {
        Some(of) if of != arch && !(of == "i386" && arch == "amd64") => Err(refused("arch", of, arch)),
        _ => Ok(()),
    }
}

/// What `/etc/hosts` says where the image has none (`linux.hosts.localhost`).
pub fn hosts(plan: &PodPlan) -> String {
    let mut text = String::from("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    if !plan.hostname.is_empty() {
        text.push_str(&format!("127.0.0.1\t{}\n", plan.hostname));
    }
    for (address, names) in &plan.hosts_entries {
        text.push_str(&format!("{address}\t{}\n", names.join(" ")));
    }
    text
}

/// What `/etc/resolv.conf` says; nothing: what the image has stands.
pub fn resolv_conf(plan: &PodPlan) -> Option<String> {
    let dns = &plan.dns;
    if dns.servers.is_empty() && dns.search.is_empty() && dns.options.is_empty() {
        return None;
    }
    let mut text: String = dns.servers.iter().map(|server| format!("nameserver {server}\n")).collect();
    if !dns.search.is_empty() {
        text.push_str(&format!("search {}\n", dns.search.join(" ")));
    }
    if !dns.options.is_empty() {
        text.push_str(&format!("options {}\n", dns.options.join(" ")));
    }
    Some(text)
}

/// What only a process that is about to become a program knows of its environment.
#[derive(Default)]
pub struct Moment<'a> {
    /// `AC_METADATA_URL`
    pub metadata_url: Option<&'a str>,
    /// Whether its output is a terminal.
    pub terminal: bool,
    /// Names of the sockets that it is handed over.
    pub sockets: &'a [&'a str],
    /// `NOTIFY_SOCKET`
    pub notify: Option<&'a str>,
}

/// The planned variables, what the rootfs says about the user where the plan is silent, and what the moment adds.
pub fn environment(planned: &[(String, String)], user: &Identity, moment: &Moment<'_>) -> BTreeMap<String, String> {
    let mut environment: BTreeMap<String, String> = planned.iter().cloned().collect();
    let mut otherwise = |name: &str, value: &str| {
        environment.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    };
    if let Some(name) = &user.name {
        let known = [
            ("USER", Some(name)),
            ("LOGNAME", Some(name)),
            ("HOME", user.home.as_ref()),
            ("SHELL", user.shell.as_ref()),
        ];
        known.into_iter().filter_map(|(variable, value)| Some((variable, value?))).for_each(|(n, v)| otherwise(n, v));
    }
    if moment.terminal {
        otherwise("TERM", &crate::sys::terminal::kind());
    }
    let own = [("AC_METADATA_URL", moment.metadata_url), ("NOTIFY_SOCKET", moment.notify)];
    environment.extend(own.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))));
    if !moment.sockets.is_empty() {
        environment.extend(listening::variables(moment.sockets));
    }
    environment
}

/// Where the program that `exec` begins with may be, in this order: as it stands with a slash, else along `PATH` (decision 41).
///
/// # Errors
/// [`Kind::NoProgram`]: `exec` is empty.
pub fn program(exec: &[String], environment: &BTreeMap<String, String>) -> Result<Vec<PathBuf>, Error> {
    let Some(program) = exec.first() else {
        return Err(Error::new(Kind::NoProgram, "find the program").because("exec is empty"));
    };
    if program.contains('/') {
        return Ok(vec![PathBuf::from(program)]);
    }
    let path = environment.get("PATH").map_or(PATH, String::as_str);
    // Of nothing the directories of PATH themselves would be found.
    let directories = path.split(':').filter(|_| !program.is_empty());
    Ok(directories
        .map(|directory| Path::new(if directory.is_empty() { "." } else { directory }).join(program))
        .collect())
}

/// Why no program was found along `PATH`.
pub fn nowhere(exec: &[String]) -> Error {
    let program = exec.first().map_or("", String::as_str);
    Error::new(Kind::NoProgram, format!("find the program {program}"))
        .clause("im.app.exec.path-search")
        .because("no directory of PATH has it in the rootfs")
}

/// Why a program cannot be executed.
pub fn not_executed(path: &Path, error: io::Error) -> Error {
    let missing = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    let kind = if missing { Kind::NoProgram } else { Kind::NotExecutable };
    Error::new(kind, format!("execute {} of the rootfs", path.display())).clause("im.app.exec.slash").because(error)
}

/// What a process of the app executes.
pub fn command(app: &AppPlan, phase: Phase) -> &[String] {
    match phase {
        Phase::PreStart => app.pre_start.as_deref().unwrap_or_default(),
        Phase::Main => &app.exec,
        Phase::PostStop => app.post_stop.as_deref().unwrap_or_default(),
    }
}

/// What is said of a working directory that is not there.
pub fn no_directory(path: &Path) -> Error {
    Error::new(Kind::Missing, format!("change to the working directory {}", path.display()))
        .clause("im.app.workdir.missing")
}

/// Tells what was asked for and does not hold on any system: volumes that no app mounts, owners that importing an image
/// could not keep.
pub fn tell(plan: &PodPlan, report: &mut Report) {
    for (number, volume) in plan.volumes.iter().enumerate() {
        if !plan.apps.iter().any(|app| app.mounts.iter().any(|mount| mount.volume == number)) {
            let subject = format!("volume {}", volume.name);
            report.asked(None, &subject, "pm.apps.mounts.volume", Outcome::ignored("no app mounts it"));
        }
    }
    for app in &plan.apps {
        if let Some(lost) = &app.lost_owners {
            report.asked(Some(&app.name), "files of the image", "x.aci.extract-owner", Outcome::modified(lost.clone()));
        }
    }
}

/// What a pod has of its own at its level; `network` is what becomes of a network of its own where it is to have one.
pub fn apart(plan: &PodPlan, report: &mut Report, network: Outcome) {
    let shared = |what: &str| Outcome::modified(format!("the apps share the host's {what}: isolation {}", plan.level));
    report.of_level(None, "process namespace", "pod.ns.pid", Outcome::Enforced);
    let ipc = if plan.level.own_ipc() { Outcome::Enforced } else { shared("System V IPC and message queues") };
    report.of_level(None, "ipc namespace", "pod.ns.ipc", ipc);
    let name = if plan.level.own_name() { Outcome::Enforced } else { shared("name") };
    report.of_level(None, "host name", "pod.ns.uts", name);
    let network = match &plan.network {
        Network::Host => Outcome::modified("the apps share the host's network"),
        Network::None | Network::Named(_) => network,
    };
    report.of_level(None, "network namespace", "pod.ns.net", network);
}

/// What becomes of a port of the host that was asked for.
pub fn port(report: &mut Report, port: &PortForward, outcome: Outcome) {
    report.asked(None, &format!("port {}", port.name), "pm.ports.expose", outcome);
}

/// What becomes of the ports of a pod that has no network of its own to forward them to.
pub fn ports_without_network(plan: &PodPlan, report: &mut Report) {
    for forward in &plan.ports {
        let outcome = match plan.network {
            Network::Host if forward.host_port == forward.pod_port && forward.host_ip.is_none() => Outcome::Enforced,
            _ if by_socket(plan, forward) => Outcome::Enforced,
            Network::Host => Outcome::ignored("on the host's own network a port keeps its number and addresses"),
            _ => Outcome::ignored("the pod has no network but loopback: --net default, or another, gives it one"),
        };
        port(report, forward, outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executors_places_take_no_volume() {
        for taken in ["/", "/proc", "/sys/fs", "/dev/shm"] {
            assert_eq!(target(Path::new(taken)).unwrap_err().clause_id(), Some("vol.target.overlap"), "{taken}");
        }
        for free in ["/data", "/process", "/devices", "/etc"] {
            assert!(target(Path::new(free)).is_ok(), "{free}");
        }
    }
}
