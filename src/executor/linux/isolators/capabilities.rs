//! Capability sets: what an app's processes may ever hold.
//!
//! Clauses: iso.caps.default, iso.caps-remove.effect, iso.caps-retain.effect

use crate::executor::plan::Isolation;

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
pub struct CapabilitySet(pub u64);

impl CapabilitySet {
    fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self(names.into_iter().filter_map(number).fold(0, |set, number| set | 1 << number))
    }

    /// Whether the capability of this number is in the set.
    pub fn contains(self, number: u8) -> bool {
        self.0 >> number & 1 == 1
    }
}

fn number(name: &str) -> Option<usize> {
    NAMES.iter().position(|known| *known == name)
}

/// The bounding set of an app with these isolators, and the names in them that this system does not know.
pub fn bounding(isolators: &[Isolation]) -> (CapabilitySet, Vec<String>) {
    let default = CapabilitySet::of(DEFAULT);
    for isolation in isolators {
        let (set, named) = match isolation {
            Isolation::CapabilitiesRemove { set } => {
                (CapabilitySet(default.0 & !CapabilitySet::of(set.iter().map(String::as_str)).0), set)
            }
            Isolation::CapabilitiesRetain { set } => (CapabilitySet::of(set.iter().map(String::as_str)), set),
            _ => continue,
        };
        return (set, named.iter().filter(|name| number(name).is_none()).cloned().collect());
    }
    (default, Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(set: CapabilitySet) -> Vec<&'static str> {
        (0..).zip(NAMES).filter(|&(number, _)| set.contains(number)).map(|(_, name)| name).collect()
    }

    #[test]
    fn without_an_isolator_the_bounding_set_is_the_fourteen() {
        let (set, unknown) = bounding(&[]);
        let mut expected = DEFAULT.to_vec();
        expected.sort_by_key(|name| number(name));
        assert_eq!((names(set), unknown), (expected, vec![]));
    }

    #[test]
    fn removing_what_is_not_in_the_default_set_has_no_effect() {
        let set = vec!["CAP_MKNOD".to_owned(), "CAP_SYS_ADMIN".to_owned()];
        let (set, _) = bounding(&[Isolation::CapabilitiesRemove { set }]);
        assert!(!names(set).contains(&"CAP_MKNOD") && !names(set).contains(&"CAP_SYS_ADMIN"));
        assert_eq!(names(set).len(), 13);
    }

    #[test]
    fn a_retain_set_is_exactly_what_it_names() {
        let set = vec!["CAP_NET_ADMIN".to_owned(), "CAP_TIME_TRAVEL".to_owned()];
        let (set, unknown) = bounding(&[Isolation::CapabilitiesRetain { set }]);
        assert_eq!((names(set), unknown), (vec!["CAP_NET_ADMIN"], vec!["CAP_TIME_TRAVEL".to_owned()]));
        assert_eq!(bounding(&[Isolation::CapabilitiesRetain { set: vec![] }]).0, CapabilitySet(0));
    }
}
