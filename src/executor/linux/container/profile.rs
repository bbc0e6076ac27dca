//! A bundle's filter of system calls, as a program for the kernel: any action for any call, by what its arguments are, in each numbering
//! that the machine has.
//!
//! Of the rules for one call those with arguments come first, in their order; then the one without; then the default. Calls of a numbering
//! that is not listed end the process, as with libseccomp.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::executor::linux::isolators::bpf::{
    ABOVE, AND, AT_ARGUMENTS, AT_AUDIT, AT_NUMBER, EQUAL, JUMP, LOAD, NOT_BELOW, NUMBERINGS, Numbering, Op, RETURN, X32,
};
use crate::oci::bundle::{Seccomp, SyscallArgument};

/// All that a filter can be asked for.
fn numberings() -> impl Iterator<Item = &'static Numbering> {
    NUMBERINGS.iter().chain(&X32)
}

/// The most instructions that the kernel takes.
const LONGEST: usize = 4096;

/// What becomes of a call, as the kernel returns it.
pub const ACTIONS: [(&str, u32); 9] = [
    ("SCMP_ACT_KILL", libc::SECCOMP_RET_KILL_THREAD),
    ("SCMP_ACT_KILL_THREAD", libc::SECCOMP_RET_KILL_THREAD),
    ("SCMP_ACT_KILL_PROCESS", libc::SECCOMP_RET_KILL_PROCESS),
    ("SCMP_ACT_TRAP", libc::SECCOMP_RET_TRAP),
    ("SCMP_ACT_ERRNO", libc::SECCOMP_RET_ERRNO),
    ("SCMP_ACT_TRACE", libc::SECCOMP_RET_TRACE),
    ("SCMP_ACT_ALLOW", libc::SECCOMP_RET_ALLOW),
    ("SCMP_ACT_LOG", libc::SECCOMP_RET_LOG),
    ("SCMP_ACT_NOTIFY", libc::SECCOMP_RET_USER_NOTIF),
];

/// How arguments are compared.
pub const OPERATORS: [&str; 7] =
    ["SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ"];

/// Flags of seccomp(2).
pub const FLAGS: [(&str, u32); 4] = [
    ("SECCOMP_FILTER_FLAG_TSYNC", 0),
    ("SECCOMP_FILTER_FLAG_LOG", libc::SECCOMP_FILTER_FLAG_LOG as u32),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW as u32),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", 1 << 5),
];

/// The numberings of this machine, by libseccomp's names.
pub fn architectures() -> Vec<&'static str> {
    numberings().map(|numbering| numbering.name).collect()
}

/// A filter that is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The program.
    pub program: Vec<Op>,
    /// Flags of seccomp(2).
    pub flags: u32,
    /// The socket of who is told of calls.
    pub listener: Option<std::path::PathBuf>,
    /// What it gets with them.
    pub metadata: Option<String>,
}

/// One rule for a call: what has to hold of its arguments, what becomes of it.
#[derive(Clone, Debug, PartialEq)]
struct Rule<'a> {
    arguments: &'a [SyscallArgument],
    answer: u32,
}

/// The filter of `asked`, and the names of calls that no numbering has and something else than being allowed would become of.
///
/// # Errors
/// In words, what is wrong with it.
pub(crate) fn profile(asked: &Seccomp) -> Result<(Profile, Vec<String>), String> {
    if NUMBERINGS.is_empty() {
        return Err("the calls of this machine are not known".to_owned());
    }
    for name in &asked.architectures {
        if !name.starts_with("SCMP_ARCH_") {
            return Err(format!("architectures: {name} is none"));
        }
    }
    let default = action(&asked.default_action, asked.default_errno_ret)?;
    let mut rules: BTreeMap<&str, Vec<Rule<'_>>> = BTreeMap::new();
    for (number, syscalls) in asked.syscalls.iter().enumerate() {
        let wrong = |why: String| format!("syscalls[{number}]: {why}");
        let answer = action(&syscalls.action, syscalls.errno_ret).map_err(wrong)?;
        for argument in &syscalls.args {
            if argument.index > 5 || !OPERATORS.contains(&argument.op.as_str()) {
                return Err(wrong(format!("args: `{}` of argument {} is none", argument.op, argument.index)));
            }
        }
        for name in &syscalls.names {
            rules.entry(name).or_default().push(Rule { arguments: &syscalls.args, answer });
        }
    }
    let notifies = rules.values().flatten().any(|rule| rule.answer == libc::SECCOMP_RET_USER_NOTIF);
    if notifies && asked.listener_path.is_none() {
        return Err("SCMP_ACT_NOTIFY has no listenerPath".to_owned());
    }
    if default == libc::SECCOMP_RET_USER_NOTIF {
        return Err("defaultAction: SCMP_ACT_NOTIFY cannot be one".to_owned());
    }
    let mut flags = 0;
    for name in &asked.flags {
        let known = FLAGS.iter().find(|(known, _)| known == name);
        flags |= known.ok_or_else(|| format!("flags: {name} is none"))?.1;
    }
    // That nobody can make a call which there is not takes nothing away: lists of what is allowed are for all machines.
    let matters = |rules: &[Rule<'_>]| rules.iter().any(|rule| rule.answer != libc::SECCOMP_RET_ALLOW);
    let missing = |name: &str| numberings().all(|numbering| (numbering.number)(name).is_none());
    let unknown = rules.iter().filter(|(name, rules)| missing(name) && matters(rules));
    let unknown = unknown.map(|(name, _)| (*name).to_owned()).collect();
    let listed = |one: &Numbering| asked.architectures.iter().any(|asked| asked == one.name);
    // The first is the machine's own, whatever is listed.
    let numberings: Vec<&Numbering> =
        numberings().enumerate().filter(|(at, one)| *at == 0 || listed(one)).map(|(_, one)| one).collect();
    let mut program = vec![(LOAD, 0, 0, AT_AUDIT)];
    let mut audits: Vec<u32> = numberings.iter().map(|numbering| numbering.audit).collect();
    audits.sort_unstable();
    audits.dedup();
    for audit in audits {
        let of_audit: Vec<&&Numbering> = numberings.iter().filter(|numbering| numbering.audit == audit).collect();
        let mut calls: BTreeMap<u32, Vec<Op>> = BTreeMap::new();
        for numbering in &of_audit {
            for (name, rules) in &rules {
                if let Some(number) = (numbering.number)(name) {
                    calls.insert(number, body(rules, default));
                }
            }
        }
        let mut part = vec![(LOAD, 0, 0, AT_NUMBER)];
        if cfg!(target_arch = "x86_64") && audit == 0xc000_003e && of_audit.iter().all(|one| one.bit.is_none()) {
            // Numbers of x32, which is not listed; but -1, by which a tracer says that a call is to be passed over.
            part.extend([(NOT_BELOW, 0, 2, 0x4000_0000), (EQUAL, 1, 0, u32::MAX)]);
            part.push((RETURN, 0, 0, libc::SECCOMP_RET_KILL_PROCESS));
        }
        part.extend(tree(&ranges(calls, default)));
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        program.extend([(EQUAL, 1, 0, audit), (JUMP, 0, 0, length)]);
        program.extend(part);
    }
    program.push((RETURN, 0, 0, libc::SECCOMP_RET_KILL_PROCESS));
    if program.len() > LONGEST {
        return Err(format!("it comes to {} instructions, and the kernel takes {LONGEST}", program.len()));
    }
    let listener = asked.listener_path.clone().filter(|_| notifies);
    Ok((Profile { program, flags, listener, metadata: asked.listener_metadata.clone() }, unknown))
}

fn action(name: &str, errno: Option<u32>) -> Result<u32, String> {
    let found = ACTIONS.iter().find(|(known, _)| *known == name).ok_or_else(|| format!("action: `{name}` is none"))?.1;
    let data = match found {
        libc::SECCOMP_RET_ERRNO | libc::SECCOMP_RET_TRACE => errno.unwrap_or(libc::EPERM.unsigned_abs()),
        _ if errno.is_some() => return Err(format!("action: {name} gives no error")),
        _ => 0,
    };
    if data > 0xffff {
        return Err(format!("errnoRet: {data} is no error"));
    }
    Ok(found | data)
}

/// What is done about a call for which there are rules.
fn body(rules: &[Rule<'_>], default: u32) -> Vec<Op> {
    let mut body = Vec::new();
    for rule in rules.iter().filter(|rule| !rule.arguments.is_empty()) {
        // What does not hold goes on behind this rule's answer.
        let mut tests: Vec<Op> = Vec::new();
        for argument in rule.arguments.iter().rev() {
            let behind = tests.len() + 1;
            let mut test = compare(argument, u8::try_from(behind).unwrap_or(u8::MAX));
            test.append(&mut tests);
            tests = test;
        }
        body.append(&mut tests);
        body.push((RETURN, 0, 0, rule.answer));
    }
    let plain = rules.iter().find(|rule| rule.arguments.is_empty()).map_or(default, |rule| rule.answer);
    body.push((RETURN, 0, 0, plain));
    body
}

/// Goes on behind itself when it holds, else `fails` instructions further.
fn compare(argument: &SyscallArgument, fails: u8) -> Vec<Op> {
    let low = AT_ARGUMENTS + 8 * u32::from(argument.index);
    let (low, high) = if cfg!(target_endian = "big") { (low + 4, low) } else { (low, low + 4) };
    let halves = |value: u64| ((value & 0xffff_ffff) as u32, (value >> 32) as u32);
    let (value_low, value_high) = halves(argument.value);
    match argument.op.as_str() {
        "SCMP_CMP_MASKED_EQ" => {
            let (masked_low, masked_high) = halves(argument.value_two & argument.value);
            vec![
                (LOAD, 0, 0, high),
                (AND, 0, 0, value_high),
                (EQUAL, 0, fails + 3, masked_high),
                (LOAD, 0, 0, low),
                (AND, 0, 0, value_low),
                (EQUAL, 0, fails, masked_low),
            ]
        }
        "SCMP_CMP_EQ" => {
            vec![(LOAD, 0, 0, high), (EQUAL, 0, fails + 2, value_high), (LOAD, 0, 0, low), (EQUAL, 0, fails, value_low)]
        }
        "SCMP_CMP_NE" => {
            vec![(LOAD, 0, 0, high), (EQUAL, 0, 2, value_high), (LOAD, 0, 0, low), (EQUAL, fails, 0, value_low)]
        }
        "SCMP_CMP_GT" | "SCMP_CMP_GE" => {
            let code = if argument.op.ends_with("GT") { ABOVE } else { NOT_BELOW };
            vec![
                (LOAD, 0, 0, high),
                (ABOVE, 3, 0, value_high),
                (EQUAL, 0, fails + 2, value_high),
                (LOAD, 0, 0, low),
                (code, 0, fails, value_low),
            ]
        }
        // Below, and not above.
        operator => {
            let code = if operator == "SCMP_CMP_LT" { NOT_BELOW } else { ABOVE };
            vec![
                (LOAD, 0, 0, high),
                (NOT_BELOW, 0, 3, value_high),
                (EQUAL, 0, fails + 2, value_high),
                (LOAD, 0, 0, low),
                (code, fails, 0, value_low),
            ]
        }
    }
}

/// Consecutive numbers with the same answer, by their first, over all numbers.
fn ranges(calls: BTreeMap<u32, Vec<Op>>, default: u32) -> Vec<(u32, Vec<Op>)> {
    let otherwise = vec![(RETURN, 0, 0, default)];
    let mut ranges: Vec<(u32, Vec<Op>)> = vec![(0, otherwise.clone())];
    for (number, body) in calls {
        if ranges.last().is_some_and(|(first, _)| *first == number) {
            ranges.pop();
        }
        ranges.extend([(number, body), (number + 1, otherwise.clone())]);
    }
    ranges.dedup_by(|later, earlier| later.1 == earlier.1);
    ranges
}

/// A search among them: the number is loaded already.
fn tree(ranges: &[(u32, Vec<Op>)]) -> Vec<Op> {
    match ranges {
        [] => Vec::new(),
        [(_, body)] => body.clone(),
        _ => {
            let (below, above) = ranges.split_at(ranges.len() / 2);
            let (first, _) = above[0];
            let (below, above) = (tree(below), tree(above));
            let mut all = vec![];
            match u8::try_from(below.len()) {
                Ok(length) => all.push((NOT_BELOW, length, 0, first)),
                Err(_) => {
                    all.push((NOT_BELOW, 0, 1, first));
                    all.push((JUMP, 0, 0, u32::try_from(below.len()).unwrap_or(u32::MAX)));
                }
            }
            all.extend(below);
            all.extend(above);
            all
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::linux::isolators::bpf::{answer, native};
    use serde_json::json;

    fn program(value: serde_json::Value) -> Vec<Op> {
        profile(&serde_json::from_value(value).unwrap()).unwrap().0.program
    }

    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    const EPERM: u32 = libc::SECCOMP_RET_ERRNO | 1;

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn each_call_gets_its_action_and_others_the_default() {
        let program = program(json!({
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
            "architectures": ["SCMP_ARCH_X86"],
            "syscalls": [
                { "names": ["read", "write", "getpid", "no_such_call"], "action": "SCMP_ACT_ALLOW" },
                { "names": ["reboot"], "action": "SCMP_ACT_KILL_PROCESS" },
            ]
        }));
        let is = |audit, name: &str| answer(&program, audit, native(name).unwrap(), [0; 6]);
        assert_eq!(is(0xc000_003e, "read"), ALLOW);
        assert_eq!(is(0xc000_003e, "getpid"), ALLOW);
        assert_eq!(is(0xc000_003e, "reboot"), libc::SECCOMP_RET_KILL_PROCESS);
        assert_eq!(is(0xc000_003e, "open"), libc::SECCOMP_RET_ERRNO | 38);
        // 20 is getpid there.
        assert_eq!(answer(&program, 0x4000_0003, 20, [0; 6]), ALLOW);
        assert_eq!(answer(&program, 0x4000_0028, 20, [0; 6]), libc::SECCOMP_RET_KILL_PROCESS);
        assert_eq!(answer(&program, 0xc000_003e, 0x4000_0000, [0; 6]), libc::SECCOMP_RET_KILL_PROCESS);
    }

    #[test]
    fn arguments_are_compared_as_numbers_of_64_bits() {
        let values = [0, 1, 5, 1 << 32, (1 << 32) + 5, (5 << 32) + 1, 7 << 32, u64::MAX];
        for operator in OPERATORS {
            for value in values {
                for two in values {
                    let program = program(json!({
                        "defaultAction": "SCMP_ACT_ERRNO",
                        "syscalls": [{ "names": ["personality"], "action": "SCMP_ACT_ALLOW",
                            "args": [{ "index": 2, "value": value, "valueTwo": two, "op": operator }] }]
                    }));
                    for given in values {
                        let holds = match operator {
                            "SCMP_CMP_NE" => given != value,
                            "SCMP_CMP_LT" => given < value,
                            "SCMP_CMP_LE" => given <= value,
                            "SCMP_CMP_EQ" => given == value,
                            "SCMP_CMP_GE" => given >= value,
                            "SCMP_CMP_GT" => given > value,
                            _ => given & value == two & value,
                        };
                        let number = native("personality").unwrap();
                        let said = answer(&program, program[1].3, number, [9, 9, given, 9, 9, 9]);
                        assert_eq!(said, if holds { ALLOW } else { EPERM }, "{given} {operator} {value} {two}");
                    }
                }
            }
        }
    }

    #[test]
    fn all_arguments_have_to_hold_and_any_of_several_rules_does() {
        let argument = |index: u8, value: u64| json!({ "index": index, "value": value, "op": "SCMP_CMP_EQ" });
        let program = program(json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [
                { "names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 22, "args": [argument(0, 16), argument(2, 9)] },
                { "names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 97, "args": [argument(0, 40)] },
            ]
        }));
        let number = native("socket").unwrap();
        let audit = program[1].3;
        assert_eq!(answer(&program, audit, number, [16, 0, 9, 0, 0, 0]), libc::SECCOMP_RET_ERRNO | 22);
        assert_eq!(answer(&program, audit, number, [16, 0, 8, 0, 0, 0]), ALLOW);
        assert_eq!(answer(&program, audit, number, [40, 0, 8, 0, 0, 0]), libc::SECCOMP_RET_ERRNO | 97);
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for (wrong, why) in [
            (json!({ "defaultAction": "ALLOW" }), "action: `ALLOW` is none"),
            (json!({ "defaultAction": "SCMP_ACT_NOTIFY" }), "defaultAction: SCMP_ACT_NOTIFY cannot be one"),
            (json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["x86"] }), "architectures: x86 is none"),
            (json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": ["X"] }), "flags: X is none"),
            (
                json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["read"], "action": "SCMP_ACT_LOG", "errnoRet": 1 }] }),
                "syscalls[0]: action: SCMP_ACT_LOG gives no error",
            ),
        ] {
            assert_eq!(profile(&serde_json::from_value(wrong).unwrap()).unwrap_err(), why);
        }
    }
}
