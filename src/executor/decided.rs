//! What no system decides: both compilers take it from here.

use std::path::Path;

use super::isolation::{Outcome, Report};
use super::plan::{AppPlan, PodPlan};
use super::{Error, Kind};

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
