//! System call filters: from the sets of a manifest to a program for the kernel.
//!
//! A remove set blocks what it names; a retain set blocks all else but the few calls without which no process can be
//! started or end. `@appc.io/empty` and `@appc.io/all` mean no filter and mask what stands beside them. Calls of a
//! foreign instruction set (`int 0x80` on amd64) kill the process, as their numbers mean something else there.
//!
//! Clauses: iso.seccomp-remove.*, iso.seccomp-retain.*, iso.seccomp.scope-ns; decision 49

use std::collections::BTreeSet;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use syscalls::Sysno;

use super::errno;
use super::seccomp_sets::{DEFAULT_ALLOWED, DEFAULT_BLOCKED};
use crate::executor::plan::Isolation;
use crate::executor::{Error, Kind};

/// Without these no program can be started, end, or return from a signal handler
/// (`iso.seccomp-retain.default-set`).
const LIFE_CYCLE: [&str; 6] = ["execve", "exit", "exit_group", "rt_sigreturn", "sigreturn", "restart_syscall"];

/// On amd64 the x32 calls have numbers of their own, which a remove set has to name too.
#[cfg(target_arch = "x86_64")]
const X32: i64 = 0x4000_0000;

/// What the sets of an app come to on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The listed calls are the allowed ones; else the blocked ones.
    pub retain: bool,
    /// Numbers of system calls.
    pub calls: Vec<i64>,
    /// The error that a blocked call gives; nothing: SIGSYS ends the process.
    pub errno: Option<u16>,
}

/// What became of the seccomp isolators of an app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The filter; nothing: no call is blocked.
    pub filter: Option<Filter>,
    /// Names and wildcards that mean nothing here, to be told.
    pub unknown: Vec<String>,
    /// The calls that are to be allowed, by their names in the manifest, wildcards left aside.
    pub named: Vec<String>,
    /// Whether the isolator says that no call is blocked.
    pub nothing_blocked: bool,
}

/// Expands the seccomp isolator among `isolators`, if there is one.
///
/// # Errors
/// [`Kind::Refused`] for an unknown `@appc.io/` wildcard and for an errno that this system does not have.
pub fn select(isolators: &[Isolation]) -> Result<Selection, Error> {
    for isolation in isolators {
        match isolation {
            Isolation::SeccompRemove { set, errno } => return expand(&REMOVE, set, errno.as_deref()),
            Isolation::SeccompRetain { set, errno } => return expand(&RETAIN, set, errno.as_deref()),
            _ => {}
        }
    }
    Ok(Selection::default())
}

/// One of the two isolators.
struct Mode {
    retain: bool,
    /// The wildcard that masks all beside it and means no filter.
    mask: &'static str,
    wildcard_clause: &'static str,
    errno_clause: &'static str,
}

const REMOVE: Mode = Mode {
    retain: false,
    mask: "@appc.io/empty",
    wildcard_clause: "iso.seccomp-remove.set.wildcard",
    errno_clause: "iso.seccomp-remove.errno.form",
};

const RETAIN: Mode = Mode {
    retain: true,
    mask: "@appc.io/all",
    wildcard_clause: "iso.seccomp-retain.set.wildcard",
    errno_clause: "iso.seccomp-retain.errno.form",
};

fn expand(mode: &Mode, set: &[String], errno: Option<&str>) -> Result<Selection, Error> {
    let refused = |clause, why: String| {
        Error::new(Kind::Refused, "make a system call filter of the seccomp isolator").clause(clause).because(why)
    };
    let errno = match errno.filter(|name| !name.is_empty()) {
        None => None,
        Some(name) => Some(
            errno::number(name)
                .and_then(|number| u16::try_from(number).ok())
                .ok_or_else(|| refused(mode.errno_clause, format!("no error is called {name}")))?,
        ),
    };
    let mut names = BTreeSet::new();
    let mut unknown = Vec::new();
    for entry in set {
        match entry.as_str() {
            "@docker/default-whitelist" | "@rkt/default-whitelist" => {
                names.extend(DEFAULT_ALLOWED.split_ascii_whitespace());
            }
            "@docker/default-blacklist" | "@rkt/default-blacklist" => {
                names.extend(DEFAULT_BLOCKED.split_ascii_whitespace());
            }
            mask if mask == mode.mask => {}
            wildcard if wildcard.starts_with("@appc.io/") => {
                return Err(refused(mode.wildcard_clause, format!("{wildcard} means nothing here")));
            }
            name => {
                if name.parse::<Sysno>().is_err() {
                    unknown.push(name.to_owned());
                }
                names.insert(name);
            }
        }
    }
    if set.iter().any(|entry| entry == mode.mask) {
        return Ok(Selection { unknown, nothing_blocked: true, ..Selection::default() });
    }
    let retained = set.iter().filter(|name| mode.retain && !name.starts_with('@'));
    let named = retained.cloned().collect();
    if mode.retain {
        names.extend(LIFE_CYCLE);
    }
    let mut calls: Vec<i64> =
        names.iter().filter_map(|name| name.parse::<Sysno>().ok()).map(|call| i64::from(call.id())).collect();
    if !mode.retain {
        #[cfg(target_arch = "x86_64")]
        calls.extend(calls.clone().into_iter().map(|number| number | X32));
    }
    calls.sort_unstable();
    // A remove set of which this machine has nothing blocks nothing.
    let filter = (!calls.is_empty()).then_some(Filter { retain: mode.retain, calls, errno });
    Ok(Selection { filter, unknown, named, nothing_blocked: false })
}

impl Filter {
    /// The filter as a program for the kernel.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] on a machine for which programs cannot be made.
    pub fn program(&self) -> Result<BpfProgram, Error> {
        let failed = |why: String| Error::new(Kind::Unsupported, "make a system call filter").because(why);
        let blocked = match self.errno {
            Some(number) => SeccompAction::Errno(number.into()),
            None => SeccompAction::KillProcess,
        };
        let (listed, others) =
            if self.retain { (SeccompAction::Allow, blocked) } else { (blocked, SeccompAction::Allow) };
        let rules = self.calls.iter().map(|number| (*number, Vec::new())).collect();
        let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|e| failed(e.to_string()))?;
        SeccompFilter::new(rules, others, listed, arch)
            .and_then(BpfProgram::try_from)
            .map_err(|e| failed(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remove(set: &[&str], errno: Option<&str>) -> Result<Selection, Error> {
        let set = set.iter().map(|name| (*name).to_owned()).collect();
        select(&[Isolation::SeccompRemove { set, errno: errno.map(str::to_owned) }])
    }

    fn retain(set: &[&str]) -> Result<Selection, Error> {
        select(&[Isolation::SeccompRetain { set: set.iter().map(|name| (*name).to_owned()).collect(), errno: None }])
    }

    /// What the kernel would answer to system call `number`, by running the program as the kernel does.
    fn answer(selection: &Selection, number: i64) -> u32 {
        let Some(filter) = &selection.filter else { return libc::SECCOMP_RET_ALLOW };
        let program = filter.program().unwrap();
        let arch = match std::env::consts::ARCH {
            "x86_64" => 0xC000_003E,
            "aarch64" => 0xC000_00B7,
            other => panic!("no audit number known for {other}"),
        };
        let (mut at, mut accumulator) = (0usize, 0u32);
        loop {
            let op = &program[at];
            at += 1;
            match op.code {
                0x20 if op.k == 0 => accumulator = u32::try_from(number).unwrap(),
                0x20 if op.k == 4 => accumulator = arch,
                0x05 => at += op.k as usize,
                0x15 => at += usize::from(if accumulator == op.k { op.jt } else { op.jf }),
                0x06 => return op.k,
                code => panic!("an instruction that this test does not know: {code:#x}"),
            }
        }
    }

    #[test]
    fn a_remove_set_blocks_what_it_names_and_nothing_else() {
        let filter = remove(&["reboot", "ptrace"], None).unwrap();
        for name in ["reboot", "ptrace"] {
            let number = i64::from(name.parse::<Sysno>().unwrap().id());
            assert_eq!(answer(&filter, number), libc::SECCOMP_RET_KILL_PROCESS, "{name}");
        }
        assert_eq!(answer(&filter, i64::from(Sysno::read.id())), libc::SECCOMP_RET_ALLOW);
    }

    #[test]
    fn a_blocked_call_gives_the_errno_that_is_asked_for() {
        let filter = remove(&["reboot"], Some("ENOTSUP")).unwrap();
        let answer = answer(&filter, i64::from(Sysno::reboot.id()));
        assert_eq!(answer, libc::SECCOMP_RET_ERRNO | libc::ENOTSUP.unsigned_abs());
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn a_remove_set_cannot_be_passed_by_x32_numbers() {
        let filter = remove(&["reboot"], None).unwrap();
        assert_eq!(answer(&filter, i64::from(Sysno::reboot.id()) | X32), libc::SECCOMP_RET_KILL_PROCESS);
    }

    #[test]
    fn a_retain_set_blocks_all_that_it_does_not_name_but_lets_a_process_end() {
        let filter = retain(&["read"]).unwrap();
        let allowed = |call: Sysno| answer(&filter, i64::from(call.id())) == libc::SECCOMP_RET_ALLOW;
        assert!(allowed(Sysno::read) && allowed(Sysno::exit_group) && allowed(Sysno::execve));
        assert!(!allowed(Sysno::write) && !allowed(Sysno::reboot));
    }

    #[test]
    fn the_wildcards_of_the_specification_mask_everything_beside_them() {
        assert!(remove(&["reboot", "@appc.io/empty"], None).unwrap().filter.is_none());
        assert!(retain(&["@appc.io/all", "read"]).unwrap().filter.is_none());
        for wrong in [remove(&["@appc.io/all"], None), retain(&["@appc.io/none"])] {
            assert_eq!(*wrong.unwrap_err().kind(), Kind::Refused);
        }
    }

    #[test]
    fn documented_sets_are_expanded_and_unknown_names_told() {
        let filter = remove(&["@docker/default-blacklist", "@moon/phase", "no_such_call"], Some("EPERM")).unwrap();
        assert_eq!(filter.unknown, ["@moon/phase", "no_such_call"]);
        assert_ne!(answer(&filter, i64::from(Sysno::kexec_load.id())), libc::SECCOMP_RET_ALLOW);
    }
}
