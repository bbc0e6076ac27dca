//! The parameters of a pod's jail.

use super::facts::HostFacts;
use super::system::Value;
use crate::executor::level::Level;
use crate::executor::plan::{Network, PodPlan};
use crate::pod::Part;

/// The highest secure level: not even packet filters are changed.
const SECUREST: i32 = 3;

/// The name of a pod's jail. A dot would make it a child of another jail; a UUID has none.
pub(super) fn name(plan: &PodPlan) -> String {
    name_of(plan.uuid)
}

/// The name of the jail of the pod with this UUID.
pub(crate) fn name_of(uuid: uuid::Uuid) -> String {
    format!("jetpack-{uuid}")
}

/// A release of FreeBSD as programs ask for it.
pub(super) struct Release {
    /// `12.4-RELEASE`
    pub name: String,
    /// `1204000`, as `__FreeBSD_version` has it.
    pub number: i32,
}

impl Release {
    /// The release that a label names; nothing where it names none.
    pub(super) fn of(label: &str) -> Option<Self> {
        let (numbers, branch) = label.split_once('-')?;
        let (major, minor) = numbers.split_once('.')?;
        let (major, minor): (u8, u8) = (major.parse().ok()?, minor.parse().ok()?);
        // What the kernel keeps of it, the zero at its end not counted.
        let fits =
            label.len() < 32 && !branch.is_empty() && label.is_ascii() && (1..100).contains(&major) && minor < 100;
        fits.then(|| Self { name: label.to_owned(), number: i32::from(major) * 100_000 + i32::from(minor) * 1000 })
    }
}

/// The secure level of the pod's jail; the host's where that is higher, as the kernel refuses a lower one (EPERM).
pub(super) fn securelevel(plan: &PodPlan, facts: &HostFacts) -> i32 {
    let level = if plan.level == Level::Strict { SECUREST } else { facts.settings.securelevel };
    level.max(facts.securelevel)
}

/// All parameters at once: a jail is never there half made.
pub(super) fn parameters(
    plan: &PodPlan,
    facts: &HostFacts,
    linux: bool,
    release: Option<&Release>,
) -> Vec<(String, Value)> {
    let text = |value: &str| Value::Text(value.to_owned());
    let strictest = plan.level == Level::Strict;
    let ipc = if plan.level.own_ipc() { Value::New } else { Value::Inherit };
    let mut all = vec![
        ("name", text(&name(plan))),
        ("path", text(&Part::Root.of(&plan.directory).to_string_lossy())),
        ("persist", Value::Flag),
        // Apps see their own mounts, and nothing outside the jail; at the strictest level their roots alone.
        ("enforce_statfs", Value::Number(if strictest { 2 } else { 1 })),
        ("children.max", Value::Number(0)),
        ("securelevel", Value::Number(securelevel(plan, facts))),
        ("devfs_ruleset", Value::Number(i32::from(facts.device_rules.number()))),
        ("sysvmsg", ipc.clone()),
        ("sysvsem", ipc.clone()),
        ("sysvshm", ipc),
        // These two are on by default.
        ("allow.noset_hostname", Value::Flag),
        ("allow.nounprivileged_proc_debug", Value::Flag),
    ];
    match plan.level.own_name() {
        true => all.extend([("host.hostname", text(&plan.hostname)), ("host.hostuuid", text(&plan.uuid.to_string()))]),
        false => all.push(("host", Value::Inherit)),
    }
    match plan.network {
        Network::Host => all.extend([("ip4", Value::Inherit), ("ip6", Value::Inherit)]),
        _ if facts.vnet => all.push(("vnet", Value::New)),
        // Without networks of jails' own, none is the nearest to loopback only.
        _ => all.extend([("ip4", Value::Number(0)), ("ip6", Value::Number(0))]),
    }
    if let Some(release) = release {
        all.extend([("osrelease", text(&release.name)), ("osreldate", Value::Number(release.number))]);
    }
    if linux {
        all.extend([
            ("linux", Value::New),
            ("linux.osname", text("Linux")),
            ("linux.osrelease", text(facts.settings.linux_release.as_str())),
        ]);
    }
    all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
