//! Capability sets: what an app's processes may ever hold. What is beyond the default set an image may ask for, and the
//! operator has to consent to.
//!
//! Clauses: iso.caps.default, iso.caps-remove.effect, iso.caps-retain.effect

use crate::executor::plan::{Consent, Isolation};

/// The capabilities of Linux 6.x, by number.
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// What an app has without an isolator: the 14 that the specification lists.
const DEFAULT: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETUID",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETFCAP",
    "CAP_SYS_CHROOT",
];

/// A set of capabilities, a bit for each number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CapabilitySet(pub u64);

impl CapabilitySet {
    /// Those of these names that this system knows.
    pub(crate) fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self(names.into_iter().filter_map(number).fold(0, |set, number| set | 1 << number))
    }

    /// Whether the capability of this name is in the set.
    pub(crate) fn has(self, name: &str) -> bool {
        number(name).is_some_and(|number| self.0 >> number & 1 == 1)
    }
}

/// All of them, by name.
pub fn names() -> &'static [&'static str] {
    &NAMES
}

fn number(name: &str) -> Option<usize> {
    NAMES.iter().position(|known| *known == name)
}

/// What an app has without an isolator.
pub(crate) fn default_set() -> CapabilitySet {
    CapabilitySet::of(DEFAULT)
}

/// What an app may ever hold, and what its isolator asks for in vain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bounding {
    /// The bounding set.
    pub keep: CapabilitySet,
    /// Names that this system does not know.
    pub unknown: Vec<String>,
    /// Names beyond the default set that the operator has not consented to.
    pub refused: Vec<String>,
}

/// The bounding set of an app with these isolators.
pub(crate) fn bounding(isolators: &[Isolation], consent: &Consent) -> Bounding {
    let default = default_set();
    for isolation in isolators {
        let (keep, named, refused) = match isolation {
            Isolation::CapabilitiesRemove { set } => {
                (CapabilitySet(default.0 & !CapabilitySet::of(set.iter().map(String::as_str)).0), set, Vec::new())
            }
            Isolation::CapabilitiesRetain { set } => {
                let may = |name: &String| default.has(name) || consent.to_capability(name);
                let (kept, refused): (Vec<&String>, Vec<&String>) = set.iter().partition(|name| may(name));
                let refused = refused.into_iter().filter(|name| number(name).is_some()).cloned();
                (CapabilitySet::of(kept.into_iter().map(String::as_str)), set, refused.collect())
            }
            _ => continue,
        };
        let unknown = named.iter().filter(|name| number(name).is_none()).cloned().collect();
        return Bounding { keep, unknown, refused };
    }
    Bounding { keep: default, ..Bounding::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(set: CapabilitySet) -> Vec<&'static str> {
        NAMES.into_iter().filter(|name| set.has(name)).collect()
    }

    #[test]
    fn without_an_isolator_the_bounding_set_is_the_fourteen() {
        let found = bounding(&[], &Consent::default());
        let mut expected = DEFAULT.to_vec();
        expected.sort_by_key(|name| number(name));
        assert_eq!((names(found.keep), found.unknown, found.refused), (expected, vec![], vec![]));
    }

    #[test]
    fn removing_what_is_not_in_the_default_set_has_no_effect() {
        let set = vec!["CAP_MKNOD".to_owned(), "CAP_SYS_ADMIN".to_owned()];
        let set = bounding(&[Isolation::CapabilitiesRemove { set }], &Consent::default()).keep;
        assert!(!names(set).contains(&"CAP_MKNOD") && !names(set).contains(&"CAP_SYS_ADMIN"));
        assert_eq!(names(set).len(), 13);
    }

    #[test]
    fn a_retain_set_is_what_it_names_as_far_as_the_operator_consents() {
        let set = ["CAP_NET_ADMIN", "CAP_SYS_PTRACE", "CAP_CHOWN", "CAP_TIME_TRAVEL"].map(str::to_owned).to_vec();
        let isolators = [Isolation::CapabilitiesRetain { set }];
        let with = |consent: &Consent| {
            let found = bounding(&isolators, consent);
            assert_eq!(found.unknown, ["CAP_TIME_TRAVEL"]);
            (names(found.keep), found.refused)
        };
        let refused = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(with(&Consent::default()), (vec!["CAP_CHOWN"], refused(&["CAP_NET_ADMIN", "CAP_SYS_PTRACE"])));
        let one = Consent { capabilities: vec!["CAP_NET_ADMIN".to_owned()], ..Consent::default() };
        assert_eq!(with(&one), (vec!["CAP_CHOWN", "CAP_NET_ADMIN"], refused(&["CAP_SYS_PTRACE"])));
        let all = (vec!["CAP_CHOWN", "CAP_NET_ADMIN", "CAP_SYS_PTRACE"], Vec::new());
        assert_eq!(with(&Consent { capabilities: vec!["all".to_owned()], ..Consent::default() }), all);
        assert_eq!(with(&Consent { own_capabilities: true, ..Consent::default() }), all);
        let none = [Isolation::CapabilitiesRetain { set: vec![] }];
        assert_eq!(bounding(&none, &Consent::default()).keep, CapabilitySet(0));
    }
}
