//! What devices a container may use: a list of rules, of which the last that says anything about a kind of access counts. Version 1 of
//! control groups takes the rules one by one, version 2 a program that goes through them.

use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::groups::Setting;
use crate::oci::bundle::DeviceRule;
use crate::sys::linux::bpf::{self, Instruction};

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Whether it allows.
    pub allow: bool,
    /// Block devices, character devices; nothing: both.
    pub block: Option<bool>,
    /// Which driver; nothing: each.
    pub major: Option<u32>,
    /// Which device; nothing: each.
    pub minor: Option<u32>,
    /// What it is about: [`MAKE`], [`READ`], [`WRITE`].
    pub access: u8,
}

/// Access to make a device file, as the kernel numbers it.
pub const MAKE: u8 = 1;
/// Access to read.
pub const READ: u8 = 2;
/// Access to write.
pub const WRITE: u8 = 4;
const ALL: u8 = MAKE | READ | WRITE;
const NAMES: [(char, u8); 3] = [('r', READ), ('w', WRITE), ('m', MAKE)];

const fn character(major: Option<u32>, minor: Option<u32>, access: u8) -> Rule {
    Rule { allow: true, block: Some(false), major, minor, access }
}

/// Devices that every container may use: those that stand in its `/dev`, and any to be made that it may not open.
const OF_ALL: [Rule; 11] = [
    character(None, None, MAKE),
    Rule { block: Some(true), ..character(None, None, MAKE) },
    character(Some(1), Some(3), ALL),
    character(Some(1), Some(5), ALL),
    character(Some(1), Some(7), ALL),
    character(Some(1), Some(8), ALL),
    character(Some(1), Some(9), ALL),
    character(Some(5), Some(0), ALL),
    character(Some(5), Some(1), ALL),
    character(Some(5), Some(2), ALL),
    character(Some(136), None, ALL),
];

impl Rule {
    fn is_whole(self) -> bool {
        self.block.is_none() && self.major.is_none() && self.minor.is_none() && self.access == ALL
    }
}

/// The rules for a container: none can be used, but those that `asked` allows and those that every container has.
///
/// # Errors
/// In words, what is wrong with one.
pub fn rules(asked: &[DeviceRule]) -> Result<Vec<Rule>, String> {
    let mut all = vec![Rule { allow: false, block: None, major: None, minor: None, access: ALL }];
    for (number, rule) in asked.iter().enumerate() {
        let kind = rule.kind.as_deref().filter(|kind| !kind.is_empty()).unwrap_or("a");
        let access = rule.access.as_deref().filter(|access| !access.is_empty()).unwrap_or("rwm");
        let wrong = || format!("devices[{number}]: {kind} {access} is no rule");
        let block = match kind {
            "a" => None,
            "b" => Some(true),
            "c" | "u" => Some(false),
            _ => return Err(wrong()),
        };
        let bit = |name: char| NAMES.iter().find(|(known, _)| *known == name).map(|(_, bit)| *bit);
        let access = access.chars().try_fold(0, |bits, name| bit(name).map(|bit| bits | bit)).ok_or_else(wrong)?;
        // What the kernel has for them, and an instruction can hold.
        let part = |number: Option<i64>| match number {
            Some(number) if number >= 0 => i32::try_from(number).map(|number| Some(number.cast_unsigned())),
            _ => Ok(None),
        };
        let (Ok(major), Ok(minor)) = (part(rule.major), part(rule.minor)) else {
            return Err(format!("devices[{number}]: there is no such device"));
        };
        all.push(Rule { allow: rule.allow, block, major, minor, access });
    }
    all.extend(OF_ALL);
    Ok(all)
}

/// What the rules come to in version 1.
pub fn settings(rules: &[Rule]) -> Vec<Setting> {
    let mut all = Vec::new();
    for rule in rules {
        let mut set = |value: String| {
            let file = if rule.allow { "devices.allow" } else { "devices.deny" };
            all.push(Setting { file: file.to_owned(), value, optional: false });
        };
        if rule.is_whole() {
            set("a".to_owned());
            continue;
        }
        let part = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        let access: String = NAMES.iter().filter(|(_, bit)| rule.access & bit != 0).map(|(name, _)| *name).collect();
        let kinds =
            [("b", true), ("c", false)].into_iter().filter(|(_, block)| rule.block.is_none_or(|of| of == *block));
        for (kind, _) in kinds {
            set(format!("{kind} {}:{} {access}", part(rule.major), part(rule.minor)));
        }
    }
    all
}

/// Codes of instructions, as the kernel has them.
mod code {
    /// target = 32 bits at source + offset
    pub const LOAD: u8 = 0x61;
    /// target = immediate
    pub const SET: u8 = 0xb7;
    /// target = source
    pub const COPY: u8 = 0xbf;
    /// target &= immediate, which is extended by its sign
    pub const AND: u8 = 0x57;
    /// target >>= immediate
    pub const SHIFT: u8 = 0x77;
    /// Goes on `offset` further when target = immediate.
    pub const EQUAL: u8 = 0x15;
    /// Goes on `offset` further when target ≠ immediate.
    pub const DIFFERENT: u8 = 0x55;
    /// What `R0` holds is the answer.
    pub const END: u8 = 0x95;
}

/// Registers: the answer, and what it is asked with.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
/// What has not been allowed yet.
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// Device kinds in a question.
const BLOCK: i32 = 1;
const CHARACTER: i32 = 2;

/// What the rules come to in version 2: a program that goes through them from the last to the first, until all that is asked for has been
/// allowed, or something of it is denied.
pub fn program(rules: &[Rule]) -> Vec<Instruction> {
    let from_context = |target: u8, offset: i16| (code::LOAD, CONTEXT << 4 | target, offset, 0);
    let mut all = vec![
        from_context(KIND, 0),
        (code::COPY, KIND << 4 | ACCESS, 0, 0),
        (code::AND, KIND, 0, 0xffff),
        (code::SHIFT, ACCESS, 0, 16),
        from_context(MAJOR, 4),
        from_context(MINOR, 8),
    ];
    // Behind one about everything there is nothing that could say more.
    let first = rules.iter().rposition(|rule| rule.is_whole()).unwrap_or(0);
    for rule in rules[first..].iter().rev() {
        let access = i32::from(rule.access);
        let mut body = if rule.allow {
            vec![(code::AND, ACCESS, 0, !access), (code::DIFFERENT, ACCESS, 2, 0)]
        } else {
            vec![(code::COPY, ACCESS << 4 | ANSWER, 0, 0), (code::AND, ANSWER, 0, access), (code::EQUAL, ANSWER, 2, 0)]
        };
        body.extend([(code::SET, ANSWER, 0, i32::from(rule.allow)), (code::END, 0, 0, 0)]);
        let kind = rule.block.map(|block| (KIND, if block { BLOCK } else { CHARACTER }));
        let number = |register: u8, number: Option<u32>| number.map(|number| (register, number.cast_signed()));
        for (register, value) in [number(MINOR, rule.minor), number(MAJOR, rule.major), kind].into_iter().flatten() {
            // A body has ten instructions at most.
            let behind = i16::try_from(body.len()).unwrap_or(i16::MAX);
            body.insert(0, (code::DIFFERENT, register, behind, value));
        }
        all.append(&mut body);
    }
    all.extend([(code::SET, ANSWER, 0, 0), (code::END, 0, 0, 0)]);
    all
}

/// Has the rules hold for all that is in the unified group at `path`.
///
/// # Errors
/// The system's.
pub fn filter(path: &Path, rules: &[Rule]) -> io::Result<()> {
    let group = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    bpf::attach(bpf::load(&program(rules))?.as_fd(), group.as_fd())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// What a device and what is done with it: block, major, minor, access.
    type Question = (bool, u32, u32, u8);

    /// What the kernel would answer, by running the program as it does.
    fn answer(program: &[Instruction], (block, major, minor, access): Question) -> bool {
        let kind = if block { BLOCK } else { CHARACTER };
        let context = [u32::from(access) << 16 | kind.cast_unsigned(), major, minor];
        let (mut registers, mut at) = ([0_u64; 11], 0);
        loop {
            let (code, both, offset, immediate) = program[at];
            let (target, source) = (usize::from(both & 15), usize::from(both >> 4));
            let extended = i64::from(immediate).cast_unsigned();
            at += 1;
            let mut jump = |holds: bool| at += if holds { usize::try_from(offset).unwrap() } else { 0 };
            match code {
                code::LOAD => {
                    assert_eq!(source, usize::from(CONTEXT));
                    registers[target] = u64::from(context[usize::try_from(offset).unwrap() / 4]);
                }
                code::SET => registers[target] = extended,
                code::COPY => registers[target] = registers[source],
                code::AND => registers[target] &= extended,
                code::SHIFT => registers[target] >>= immediate,
                code::EQUAL => jump(registers[target] == extended),
                code::DIFFERENT => jump(registers[target] != extended),
                code::END => return registers[usize::from(ANSWER)] != 0,
                other => panic!("no instruction: {other:#x}"),
            }
        }
    }

    /// Each kind of access by itself, by the last rule that speaks of it.
    fn obvious(rules: &[Rule], (block, major, minor, access): Question) -> bool {
        [MAKE, READ, WRITE].into_iter().filter(|bit| access & bit != 0).all(|bit| {
            let speaks = |rule: &&Rule| {
                rule.access & bit != 0
                    && rule.block.is_none_or(|of| of == block)
                    && rule.major.is_none_or(|of| of == major)
                    && rule.minor.is_none_or(|of| of == minor)
            };
            rules.iter().rfind(speaks).is_some_and(|rule| rule.allow)
        })
    }

    fn rule() -> impl Strategy<Value = Rule> {
        let number = || proptest::option::weighted(0.7, 0_u32..3);
        (any::<bool>(), any::<Option<bool>>(), number(), number(), 1_u8..8)
            .prop_map(|(allow, block, major, minor, access)| Rule { allow, block, major, minor, access })
    }

    proptest! {
        #[test]
        fn the_program_answers_as_the_rules_say(
            rules in proptest::collection::vec(rule(), 0..8),
            questions in proptest::collection::vec((any::<bool>(), 0_u32..3, 0_u32..3, 1_u8..8), 1..40),
        ) {
            let program = program(&rules);
            for question in questions {
                prop_assert_eq!(answer(&program, question), obvious(&rules, question), "{:?} {:?}", rules, question);
            }
        }
    }

    #[test]
    fn the_kernel_takes_the_programs() {
        let asked: Vec<DeviceRule> = serde_json::from_value(json!([
            { "allow": true, "access": "r" }, { "allow": false, "type": "b", "minor": i32::MAX, "access": "w" },
            { "allow": true, "type": "b", "major": 8 }, { "allow": false, "type": "c", "major": 1, "minor": 1 },
        ]))
        .unwrap();
        let whole = Rule { allow: true, block: None, major: None, minor: None, access: ALL };
        let many = vec![character(Some(10), Some(200), READ); 1000];
        for rules in [Vec::new(), rules(&[]).unwrap(), rules(&asked).unwrap(), vec![whole], many] {
            match bpf::load(&program(&rules)) {
                Ok(_) => {}
                Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)) => {
                    return appc_needs::skip(
                        appc_needs::Need::Root,
                        format_args!("no programs can be loaded: {error}"),
                    );
                }
                Err(error) => panic!("{rules:?}: {error}"),
            }
        }
    }

    #[test]
    fn devices_are_closed_but_those_of_the_rules_and_of_every_container() {
        let asked: Vec<DeviceRule> = serde_json::from_value(json!([
            { "allow": false, "access": "rwm" },
            { "allow": true, "type": "b", "major": 8, "access": "r" },
            { "allow": true, "major": 10, "minor": 200, "access": "rw" }
        ]))
        .unwrap();
        let rules = rules(&asked).unwrap();
        let said: Vec<String> =
            settings(&rules).into_iter().map(|setting| format!("{}={}", setting.file, setting.value)).collect();
        let expected = [
            "devices.deny=a",
            "devices.deny=a",
            "devices.allow=b 8:* r",
            "devices.allow=b 10:200 rw",
            "devices.allow=c 10:200 rw",
            "devices.allow=c *:* m",
        ];
        assert_eq!(said[..6], expected);
        assert!(said.contains(&"devices.allow=c 1:3 rwm".to_owned()) && !said.iter().any(|rule| rule.contains("1:11")));
        let program = program(&rules);
        for (question, expected) in [
            ((true, 8, 1, READ), true),
            ((true, 8, 1, READ | WRITE), false),
            ((true, 8, 1, MAKE), true),
            ((false, 10, 200, READ | WRITE), true),
            ((false, 10, 201, READ), false),
            ((false, 136, 7, READ | WRITE), true),
            ((false, 1, 3, ALL), true),
        ] {
            assert_eq!(answer(&program, question), expected, "{question:?}");
        }
    }

    #[test]
    fn rules_that_mean_nothing_are_refused() {
        for rule in [
            DeviceRule { access: Some("x".to_owned()), ..DeviceRule::default() },
            DeviceRule { kind: Some("p".to_owned()), ..DeviceRule::default() },
            DeviceRule { major: Some(1 << 31), ..DeviceRule::default() },
        ] {
            assert!(rules(&[rule]).is_err());
        }
    }
}
