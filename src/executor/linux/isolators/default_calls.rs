//! System calls that a pod has no need of: refused unless a capability that the app has, or the operator, says otherwise.
//!
//! Namespaces and mounts are the executor's, and who may make them anew gets at control groups; keyrings are by user, not by
//! pod; the rest is what only a host's administrator needs, or what is more of the kernel than a program has use for. What came
//! after `NEWEST` is answered as an older kernel would. `docs/confinement.md` compares this with other profiles.
//!
//! Clauses: iso.seccomp-remove.absent, iso.seccomp-remove.default-set, iso.seccomp-retain.absent

use std::collections::BTreeSet;

use super::bpf::{
    ABOVE, AT_ARGUMENTS, AT_AUDIT, AT_NUMBER, BITS, EQUAL, JUMP, LOAD, NOT_BELOW, NUMBERINGS, Numbering, Op, RETURN,
};
use super::capabilities::CapabilitySet;
use crate::executor::{Error, Kind};

/// Calls by name, and the capabilities of which any gives them back.
const REFUSED: [(&str, &[&str]); 17] = [
    ("add_key keyctl request_key", &[]),
    ("io_uring_enter io_uring_register io_uring_setup userfaultfd", &[]),
    ("_sysctl create_module get_kernel_syms nfsservctl query_module sysfs uselib ustat vm86 vm86old", &[]),
    (
        "fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount open_tree \
         open_tree_attr pivot_root quotactl quotactl_fd setdomainname sethostname setns swapoff swapon umount umount2",
        &["CAP_SYS_ADMIN"],
    ),
    ("bpf", &["CAP_SYS_ADMIN", "CAP_BPF"]),
    ("perf_event_open", &["CAP_SYS_ADMIN", "CAP_PERFMON"]),
    ("syslog", &["CAP_SYS_ADMIN", "CAP_SYSLOG"]),
    ("kexec_file_load kexec_load reboot", &["CAP_SYS_BOOT"]),
    ("delete_module finit_module init_module", &["CAP_SYS_MODULE"]),
    ("acct", &["CAP_SYS_PACCT"]),
    ("ioperm iopl", &["CAP_SYS_RAWIO"]),
    ("clock_settime clock_settime64 settimeofday stime", &["CAP_SYS_TIME"]),
    ("open_by_handle_at", &["CAP_DAC_READ_SEARCH"]),
    ("vhangup", &["CAP_SYS_TTY_CONFIG"]),
    ("get_mempolicy mbind migrate_pages move_pages set_mempolicy set_mempolicy_home_node", &["CAP_SYS_NICE"]),
    ("kcmp pidfd_getfd process_madvise", &["CAP_SYS_PTRACE"]),
    ("lsm_set_self_attr", &["CAP_SYS_ADMIN", "CAP_MAC_ADMIN"]),
];

/// The newest call that is known here, by the number that it has on all machines.
const NEWEST: u32 = 469;

/// The flags of clone(2) that make namespaces; unshare(2) has one more, whose bit means something else there.
const CLONE_NAMESPACES: u32 = 0x7e02_0000;
const UNSHARE_NAMESPACES: u32 = CLONE_NAMESPACES | 0x80;

/// Families of sockets that no network namespace bounds, or that lead into the kernel's own ciphers.
const FAMILIES: [u32; 2] = [libc::AF_ALG as u32, libc::AF_VSOCK as u32];

/// What is refused of one call.
enum When {
    /// Each.
    Always,
    /// Those with one of these bits in the argument.
    Bits(u8, u32),
    /// Those whose argument is this.
    Is(u8, u32),
}

struct Rule {
    call: &'static str,
    when: When,
    errno: i32,
}

/// Whether the call is one that needs consent; those of which only some uses do are not among them.
pub fn needs_consent(call: &str, keep: CapabilitySet) -> bool {
    rules(keep, &[]).iter().any(|rule| rule.call == call && matches!(rule.when, When::Always) && call != "clone3")
}

/// What is refused to an app with the capabilities `keep`, except for `allowed` calls.
fn rules(keep: CapabilitySet, allowed: &[String]) -> Vec<Rule> {
    let has = |name: &str| keep.has(name);
    let mut rules = Vec::new();
    for (calls, capabilities) in REFUSED {
        if !capabilities.iter().any(|name| has(name)) {
            let each = calls.split_ascii_whitespace();
            rules.extend(each.map(|call| Rule { call, when: When::Always, errno: libc::EPERM }));
        }
    }
    if !has("CAP_SYS_ADMIN") {
        rules.push(Rule { call: "clone", when: When::Bits(0, CLONE_NAMESPACES), errno: libc::EPERM });
        rules.push(Rule { call: "unshare", when: When::Bits(0, UNSHARE_NAMESPACES), errno: libc::EPERM });
        // Its flags are where no filter can look. As if the kernel were older: programs do with clone(2) then.
        rules.push(Rule { call: "clone3", when: When::Always, errno: libc::ENOSYS });
    }
    for family in FAMILIES {
        rules.push(Rule { call: "socket", when: When::Is(0, family), errno: libc::EAFNOSUPPORT });
    }
    // The pod's first process holds what the executor needs to start further ones, and looking into it is using it.
    if has("CAP_SYS_PTRACE") {
        for call in ["ptrace", "process_vm_readv", "process_vm_writev", "pidfd_open", "kcmp"] {
            let argument = u8::from(call == "ptrace");
            rules.push(Rule { call, when: When::Is(argument, 1), errno: libc::EPERM });
        }
        rules.push(Rule { call: "kcmp", when: When::Is(1, 1), errno: libc::EPERM });
    }
    rules.retain(|rule| !allowed.iter().any(|call| call == rule.call));
    rules
}

const ALLOW: Op = (RETURN, 0, 0, libc::SECCOMP_RET_ALLOW);

const fn refuse(errno: i32) -> Op {
    (RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | errno.unsigned_abs())
}

/// The filter for an app with the capabilities `keep`, except for `allowed` calls, as a program for the kernel.
///
/// # Errors
/// [`Kind::Unsupported`] on a machine whose calls are not known here.
pub fn program(keep: CapabilitySet, allowed: &[String]) -> Result<Vec<Op>, Error> {
    if NUMBERINGS.is_empty() {
        return Err(Error::new(Kind::Unsupported, "refuse the system calls that a pod has no need of")
            .because("their numbers on this machine are not known"));
    }
    let rules = rules(keep, allowed);
    let mut program = vec![(LOAD, 0, 0, AT_AUDIT)];
    for numbering in NUMBERINGS {
        let part = numbering.part(&rules);
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        program.extend([(EQUAL, 1, 0, numbering.audit), (JUMP, 0, 0, length)]);
        program.extend(part);
    }
    program.push(refuse(libc::ENOSYS));
    Ok(program)
}

impl Numbering {
    /// The part of the program for calls by this numbering. It ends in an answer.
    fn part(&self, rules: &[Rule]) -> Vec<Op> {
        let mut part = vec![(LOAD, 0, 0, AT_NUMBER)];
        if let Some(own) = self.own {
            part.extend([(NOT_BELOW, 0, 1, own), ALLOW]);
        }
        // On amd64 all numbers of x32 are above it.
        part.extend([(ABOVE, 0, 1, NEWEST), refuse(libc::ENOSYS)]);
        let mut said = BTreeSet::new();
        for rule in rules {
            let Some(number) = (self.number)(rule.call) else { continue };
            if !said.insert(number) {
                continue;
            }
            let same: Vec<&Rule> = rules.iter().filter(|other| other.call == rule.call).collect();
            let mut body = Vec::new();
            for rule in &same {
                match rule.when {
                    When::Always => body.push(refuse(rule.errno)),
                    When::Bits(argument, bits) => {
                        body.extend([load_argument(argument), (BITS, 0, 1, bits), refuse(rule.errno)]);
                    }
                    When::Is(argument, value) => {
                        body.extend([load_argument(argument), (EQUAL, 0, 1, value), refuse(rule.errno)]);
                    }
                }
            }
            body.push(ALLOW);
            // No call has more than a handful of rules.
            part.push((EQUAL, 0, u8::try_from(body.len()).unwrap_or(u8::MAX), number));
            part.extend(body);
        }
        part.push(ALLOW);
        part
    }
}

/// The lower half of an argument: what is looked at has no more.
const fn load_argument(argument: u8) -> Op {
    (LOAD, 0, 0, AT_ARGUMENTS + 8 * argument as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::linux::isolators::bpf::answer;
    use crate::executor::linux::isolators::capabilities;

    fn default_program() -> Vec<Op> {
        program(capabilities::default_set(), &[]).unwrap()
    }

    fn errno(errno: i32) -> u32 {
        libc::SECCOMP_RET_ERRNO | errno.unsigned_abs()
    }

    /// By every numbering that the kernel takes.
    fn everywhere(program: &[Op], call: &str, [first, second, third]: [u32; 3]) -> Vec<u32> {
        let arguments = [first, second, third, 0, 0, 0].map(u64::from);
        let answers = NUMBERINGS
            .iter()
            .filter_map(|numbering| Some(answer(program, numbering.audit, (numbering.number)(call)?, arguments)));
        answers.collect()
    }

    #[test]
    fn namespaces_mounts_and_keyrings_are_refused_by_every_numbering() {
        let program = default_program();
        for call in ["keyctl", "add_key", "request_key", "mount", "setns", "bpf", "io_uring_setup", "open_by_handle_at"]
        {
            let answers = everywhere(&program, call, [0; 3]);
            assert!(
                !answers.is_empty() && answers.iter().all(|found| *found == errno(libc::EPERM)),
                "{call}: {answers:?}"
            );
        }
        for (call, flags) in
            [("clone", 0x1000_0000), ("unshare", 0x1000_0000), ("unshare", 0x80), ("clone", 0x0200_0011)]
        {
            let answers = everywhere(&program, call, [flags, 0, 0]);
            assert!(answers.iter().all(|found| *found == errno(libc::EPERM)), "{call} {flags:#x}: {answers:?}");
        }
        assert!(everywhere(&program, "clone3", [0; 3]).iter().all(|found| *found == errno(libc::ENOSYS)));
        assert!(everywhere(&program, "socket", [40, 1, 0]).iter().all(|found| *found == errno(libc::EAFNOSUPPORT)));
    }

    #[test]
    fn what_programs_use_is_allowed() {
        let program = default_program();
        for (call, arguments) in [
            ("read", [0; 3]),
            ("execve", [0; 3]),
            ("clone", [0x003d_0f00, 0, 0]),
            ("unshare", [0x400, 0, 0]),
            ("socket", [1, 1, 0]),
            ("ptrace", [16, 7, 0]),
            ("memfd_create", [0; 3]),
            ("pidfd_open", [1, 0, 0]),
            ("personality", [0x4_0000, 0, 0]),
            ("mseal", [0; 3]),
        ] {
            let answers = everywhere(&program, call, arguments);
            assert!(answers.iter().all(|found| *found == libc::SECCOMP_RET_ALLOW), "{call}: {answers:?}");
        }
    }

    #[test]
    fn what_is_newer_or_numbered_otherwise_is_as_on_an_older_kernel() {
        let program = default_program();
        for numbering in NUMBERINGS {
            for number in [NEWEST + 1, 0x4000_0000, u32::MAX] {
                let own = numbering.own.is_some_and(|own| number >= own);
                let expected = if own { libc::SECCOMP_RET_ALLOW } else { errno(libc::ENOSYS) };
                assert_eq!(answer(&program, numbering.audit, number, [0; 6]), expected, "{number:#x}");
            }
        }
        assert_eq!(answer(&program, 0xdead_beef, 0, [0; 6]), errno(libc::ENOSYS));
    }

    #[test]
    fn capabilities_and_the_operator_give_calls_back() {
        let all = program(CapabilitySet::of(["CAP_SYS_ADMIN"]), &[]).unwrap();
        for (call, flags) in [("mount", 0), ("unshare", 0x1000_0000), ("clone", 0x1000_0000), ("clone3", 0)] {
            assert!(
                everywhere(&all, call, [flags, 0, 0]).iter().all(|found| *found == libc::SECCOMP_RET_ALLOW),
                "{call}"
            );
        }
        assert!(everywhere(&all, "keyctl", [0; 3]).iter().all(|found| *found == errno(libc::EPERM)));
        let keys = program(capabilities::default_set(), &["keyctl".to_owned()]).unwrap();
        assert!(everywhere(&keys, "keyctl", [0; 3]).iter().all(|found| *found == libc::SECCOMP_RET_ALLOW));
        assert!(everywhere(&keys, "add_key", [0; 3]).iter().all(|found| *found == errno(libc::EPERM)));
    }

    /// CAP_SYS_PTRACE is enough for the kernel to let a process be looked into that is not dumpable.
    #[test]
    fn who_may_trace_cannot_trace_the_pods_first_process() {
        let program = program(CapabilitySet::of(["CAP_SYS_PTRACE"]), &[]).unwrap();
        for (call, first, other) in [
            ("ptrace", [16, 1, 0], [16, 7, 0]),
            ("process_vm_writev", [1, 0, 0], [7, 1, 0]),
            ("process_vm_readv", [1, 0, 0], [7, 1, 0]),
            ("pidfd_open", [1, 0, 0], [7, 0, 0]),
            ("kcmp", [7, 1, 0], [7, 8, 0]),
        ] {
            assert!(everywhere(&program, call, first).iter().all(|found| *found == errno(libc::EPERM)), "{call}");
            assert!(everywhere(&program, call, other).iter().all(|found| *found == libc::SECCOMP_RET_ALLOW), "{call}");
        }
    }

    #[test]
    fn every_name_is_a_call_of_some_numbering() {
        for rule in rules(CapabilitySet::default(), &[]) {
            let known = NUMBERINGS.iter().any(|numbering| (numbering.number)(rule.call).is_some());
            assert!(known || cfg!(not(target_arch = "x86_64")), "{}", rule.call);
        }
    }
}
