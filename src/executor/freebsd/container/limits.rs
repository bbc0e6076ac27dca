//! What bounds a container: rules of `rctl(4)` for its jail, limits of `setrlimit(2)` for its processes.

use rustix::process::Resource;

use crate::executor::freebsd::resources::{KILLS, MOST_PERCENT, NO_RACCT};
use crate::executor::isolation::{Outcome, Report};
use crate::oci::bundle::Resources;

/// The limit of that name in the specification, where FreeBSD has it.
pub(crate) fn known(name: &str) -> Option<Resource> {
    Some(match name {
        "RLIMIT_AS" => Resource::As,
        "RLIMIT_CORE" => Resource::Core,
        "RLIMIT_CPU" => Resource::Cpu,
        "RLIMIT_DATA" => Resource::Data,
        "RLIMIT_FSIZE" => Resource::Fsize,
        "RLIMIT_MEMLOCK" => Resource::Memlock,
        "RLIMIT_NOFILE" => Resource::Nofile,
        "RLIMIT_NPROC" => Resource::Nproc,
        "RLIMIT_RSS" => Resource::Rss,
        "RLIMIT_STACK" => Resource::Stack,
        _ => return None,
    })
}

/// Microseconds of a period, where none is said.
const PERIOD: u64 = 100_000;

/// The rules for `resources`, without their subject, and a word in the report on each that was asked for.
pub(super) fn rules(resources: &Resources, racct: bool, report: &mut Report) -> Vec<String> {
    let mut rules = Vec::new();
    let mut say = |member: &str, outcome: Outcome| report.asked(None, member, "x.oci.runtime", outcome);
    let mut bound = |member: &str, rule: Option<String>, held: Outcome| match rule {
        None => {}
        Some(_) if !racct => say(member, Outcome::ignored(NO_RACCT)),
        Some(rule) => {
            rules.push(rule);
            say(member, held);
        }
    };
    let memory = resources.memory.clone().unwrap_or_default();
    let cpu = resources.cpu.clone().unwrap_or_default();
    let positive =
        |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok()).filter(|number| *number > 0);
    let limit = positive(memory.limit).map(|limit| format!("memoryuse:sigkill={limit}"));
    bound("linux.resources.memory.limit", limit, Outcome::modified(KILLS));
    let percent = positive(cpu.quota).map(|quota| {
        let period = cpu.period.filter(|period| *period > 0).unwrap_or(PERIOD);
        format!("pcpu:deny={}", (u128::from(quota) * 100).div_ceil(period.into()).clamp(1, MOST_PERCENT.into()))
    });
    bound("linux.resources.cpu.quota", percent, Outcome::Enforced);
    let processes =
        resources.pids.as_ref().and_then(|pids| positive(pids.limit)).map(|limit| format!("maxproc:deny={limit}"));
    bound("linux.resources.pids.limit", processes, Outcome::Enforced);
    for (there, member) in [
        (positive(memory.reservation).is_some(), "linux.resources.memory.reservation"),
        (positive(memory.swap).is_some(), "linux.resources.memory.swap"),
        (cpu.shares.is_some_and(|shares| shares > 0), "linux.resources.cpu.shares"),
        (cpu.cpus.as_ref().is_some_and(|list| !list.is_empty()), "linux.resources.cpu.cpus"),
        (cpu.mems.as_ref().is_some_and(|list| !list.is_empty()), "linux.resources.cpu.mems"),
        (resources.block_io.as_ref().is_some_and(|block| *block != Default::default()), "linux.resources.blockIO"),
        (!resources.devices.is_empty(), "linux.resources.devices"),
        (!resources.hugepage_limits.is_empty(), "linux.resources.hugepageLimits"),
        (resources.network.is_some(), "linux.resources.network"),
        (!resources.rdma.is_empty(), "linux.resources.rdma"),
        (!resources.unified.is_empty(), "linux.resources.unified"),
    ] {
        if there {
            say(member, Outcome::ignored("only Linux has it"));
        }
    }
    rules
}
