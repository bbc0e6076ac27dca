//! Isolators as FreeBSD can hold them: resource rules, settings of the jail's network, and for the rest a word in the
//! report.

use super::facts::HostFacts;
use super::jail;
use super::system::Setting;
use crate::executor::isolation::{Outcome, Report};
use crate::executor::plan::{Isolation, Network, PodPlan};

/// What is missing where the kernel does not account, and what would turn it on.
pub(super) const NO_RACCT: &str =
    "the kernel does not account resources; add kern.racct.enable=1 to /boot/loader.conf and reboot";

/// What holds in the place of a limit of memory.
pub(super) const KILLS: &str = "a process that passes the limit is killed; what is swapped out does not count";

/// Why interfaces are not bounded, and how an administrator bounds the bridge of all pods.
const NO_SHAPER: &str = "jetpack sets up no traffic shaper on FreeBSD; all pods together are bounded by hand: \
    net.inet.ip.fw.default_to_accept=1, ipfw_load=YES and dummynet_load=YES in /boot/loader.conf, then \
    ipfw pipe 1 config bw 10Mbit/s; ipfw add pipe 1 ip from any to any via jetpack0";

/// The subject of a pod's rules.
pub(super) fn jail_subject(plan: &PodPlan) -> String {
    format!("jail:{}", jail::name(plan))
}

/// The login class of an app, the subject of its own rules: apps of a pod share one jail. At most 32 bytes.
pub(super) fn login_class(plan: &PodPlan, app: usize) -> String {
    let uuid = plan.uuid.simple().to_string();
    format!("jetpack-{}-{app}", &uuid[..16])
}

/// What becomes of one scope's isolators: an app's, or, without one, the pod's.
pub(super) struct Held {
    /// Resource rules, without their subject.
    pub rules: Vec<String>,
    /// Settings of the jail's network.
    pub settings: Vec<Setting>,
    /// Whether processes shall gain no privileges.
    pub no_new_privileges: bool,
}

/// Looks at all isolators of a scope and says in the report what becomes of each.
pub(super) fn hold(
    plan: &PodPlan,
    app: Option<&str>,
    isolators: &[Isolation],
    facts: &HostFacts,
    report: &mut Report,
) -> Held {
    let mut held = Held { rules: Vec::new(), settings: Vec::new(), no_new_privileges: false };
    for isolator in isolators {
        let outcome = hold_one(plan, app, isolator, facts, &mut held);
        report.asked(app, isolator.name(), isolator.clause(), outcome);
    }
    held
}

fn hold_one(plan: &PodPlan, app: Option<&str>, isolator: &Isolation, facts: &HostFacts, held: &mut Held) -> Outcome {
    let honest = |outcome: Outcome| match (app, outcome) {
        // Root inside a jail may change its login class.
        (Some(_), Outcome::Enforced) => Outcome::modified(
            "the limit counts the app's login class, which root inside the pod can leave; the pod's limits bind all",
        ),
        (_, outcome) => outcome,
    };
    match isolator {
        Isolation::Memory { request, limit } => {
            let Some(limit) = limit else { return no_limit(*request) };
            if !facts.racct {
                return Outcome::ignored(NO_RACCT);
            }
            // `memoryuse:deny` is taken by the kernel and does nothing (seen on 13.2). `swapuse` does not bound what is swapped out:
            // it counts what could be, all private memory that was asked for (`swap_reserve_by_cred` of vm/swap_pager.c),
            // so that denying it at the limit fails allocations that would never have been used.
            held.rules.push(format!("memoryuse:sigkill={}", amount(*limit)));
            let note = if request.is_some() { "; the request is not reserved" } else { "" };
            Outcome::modified(format!("{KILLS}{}{note}", leaving(app)))
        }
        Isolation::Cpu { request, limit } => {
            let Some(limit) = limit else { return no_limit(*request) };
            if !facts.racct {
                return Outcome::ignored(NO_RACCT);
            }
            held.rules.push(format!("pcpu:deny={}", limit.div_ceil(10).clamp(1, MOST_PERCENT)));
            if request.is_some() {
                return Outcome::modified(format!("the limit holds, the request is not reserved{}", leaving(app)));
            }
            honest(Outcome::Enforced)
        }
        Isolation::BlockBandwidth { limit } => throttle(facts, held, ["readbps", "writebps"], *limit, honest),
        Isolation::BlockIops { limit } => throttle(facts, held, ["readiops", "writeiops"], *limit, honest),
        Isolation::NetworkBandwidth { .. } => Outcome::ignored(NO_SHAPER),
        Isolation::OomGroup { value: true } if app.is_some() => {
            Outcome::ignored("a process that passes the limit is killed alone")
        }
        Isolation::OomGroup { value: true } => Outcome::modified("the pod ends when an app's own process is killed"),
        Isolation::OomGroup { value: false } => Outcome::Enforced,
        Isolation::MaxProcesses { .. } if !facts.racct => Outcome::ignored(NO_RACCT),
        Isolation::MaxProcesses { limit } => {
            held.rules.push(format!("maxproc:deny={}", amount(*limit)));
            honest(Outcome::Enforced)
        }
        Isolation::NoNewPrivileges { value: false } => Outcome::Enforced,
        Isolation::NoNewPrivileges { value: true } if facts.release.0 >= 14 => {
            held.no_new_privileges = true;
            Outcome::Enforced
        }
        Isolation::NoNewPrivileges { .. } => Outcome::ignored("FreeBSD has it from release 14.0 on"),
        Isolation::Sysctl { values } => {
            if plan.network == Network::Host || !facts.vnet {
                return Outcome::ignored("kernel variables are the pod's own in a network of its own only");
            }
            let level = jail::securelevel(plan, facts);
            let mut refused = Vec::new();
            for (name, value) in values {
                let found = facts.variables.get(name).ok_or_else(|| "is no variable of this kernel".to_owned());
                match found.and_then(|variable| variable.value(value, level)) {
                    Ok(value) => held.settings.push(Setting::Sysctl { name: name.clone(), value }),
                    Err(why) => refused.push(format!("{name} {why}")),
                }
            }
            let told = refused.join(", ");
            match refused.len() {
                0 => Outcome::Enforced,
                count if count == values.len() => Outcome::ignored(told),
                _ => Outcome::modified(format!("without those that cannot be set: {told}")),
            }
        }
        Isolation::Unknown { .. } => Outcome::ignored("nobody here knows this isolator"),
        _ => Outcome::ignored("FreeBSD has nothing of the kind"),
    }
}

/// The kernel counts millionths of a percent, in 63 bits.
pub(super) const MOST_PERCENT: u64 = i64::MAX as u64 / 1_000_000;

/// An amount that a rule takes (ERANGE above): what nothing reaches is as good as one that is higher.
fn amount(limit: u64) -> u64 {
    limit.min(i64::MAX as u64)
}

fn no_limit(request: Option<u64>) -> Outcome {
    match request {
        Some(_) => Outcome::ignored("FreeBSD reserves no resources"),
        None => Outcome::Enforced,
    }
}

fn leaving(app: Option<&str>) -> &'static str {
    if app.is_some() { "; root inside the pod can leave the app's limit, not the pod's" } else { "" }
}

fn throttle(
    facts: &HostFacts,
    held: &mut Held,
    resources: [&str; 2],
    limit: u64,
    honest: impl Fn(Outcome) -> Outcome,
) -> Outcome {
    if !facts.racct {
        return Outcome::ignored(NO_RACCT);
    }
    held.rules.extend(resources.map(|resource| format!("{resource}:throttle={}", amount(limit))));
    honest(Outcome::Enforced)
}
