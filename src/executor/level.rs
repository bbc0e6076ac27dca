//! How far a pod is kept apart from its host, by a name: each level is a set of what the plan says anyway.
//!
//! | | chroot | shared | default | strict |
//! | --- | --- | --- | --- | --- |
//! | root file systems, mounts, processes | own | own | own | own, root file systems read-only |
//! | System V IPC, message queues | the host's | own | own | own |
//! | host name | the host's | the host's | own | own |
//! | network, where nobody names one | the host's | the host's | as configured | loopback alone |
//! | privileges | the specification's | the specification's | the specification's | none but by isolators, no new ones |
//! | what is asked for and does not hold | told | told | told | refused |
//!
//! Processes are the pod's own at each level, on every system: a pod whose processes were among the host's could not be ended
//! whole. What a lower level gives up is in the report with its clause, and refused where the pod is to be strict.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::plan::{Isolation, Network};

/// A level of isolation; a greater one holds what a lesser one does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Level {
    /// Own root file systems, mounts and processes; network, host name and IPC are the host's
    Chroot,
    /// As chroot, with IPC of its own
    Shared,
    /// What the specification promises
    #[default]
    Default,
    /// As default, with read-only root file systems, no privileges but by isolators, no network unless asked for, and refused
    /// where anything asked for does not hold
    Strict,
}

impl Level {
    /// Whether System V IPC and message queues are the pod's own.
    pub(crate) fn own_ipc(self) -> bool {
        self >= Self::Shared
    }

    /// Whether the host name is the pod's own.
    pub fn own_name(self) -> bool {
        self >= Self::Default
    }

    /// Whether an app has capabilities that none of its isolators names.
    #[cfg(any(target_os = "linux", test))]
    pub(crate) fn capabilities_by_default(self) -> bool {
        self < Self::Strict
    }

    /// What a pod is connected to where nobody names a network; nothing: as configured.
    pub fn network(self) -> Option<Network> {
        match self {
            Self::Chroot | Self::Shared => Some(Network::Host),
            Self::Default => None,
            Self::Strict => Some(Network::None),
        }
    }

    /// Whether what does not hold as it was asked for keeps the pod from being started, whatever else says so.
    pub fn strict(self) -> bool {
        self == Self::Strict
    }

    /// Whether no app writes to its root file system.
    pub fn read_only(self) -> bool {
        self == Self::Strict
    }

    /// Adds what the level asks of an app.
    pub(crate) fn add_to(self, isolators: &mut Vec<Isolation>) {
        if self == Self::Strict {
            isolators.retain(|other| !matches!(other, Isolation::NoNewPrivileges { .. }));
            isolators.push(Isolation::NoNewPrivileges { value: true });
        }
    }

    /// Whether nobody chose it: what it holds is what every pod is promised, and not what this one asks for.
    pub fn is_default(&self) -> bool {
        *self == Self::Default
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chroot => "chroot",
            Self::Shared => "shared",
            Self::Default => "default",
            Self::Strict => "strict",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greater_level_shares_no_more() {
        let all = [Level::Chroot, Level::Shared, Level::Default, Level::Strict];
        let shares = |level: Level| {
            [
                !level.own_ipc(),
                !level.own_name(),
                level.network() == Some(Network::Host),
                level.capabilities_by_default(),
            ]
            .into_iter()
            .filter(|shared| *shared)
            .count()
        };
        assert!(all.windows(2).all(|pair| pair[0] < pair[1] && shares(pair[0]) > shares(pair[1])));
    }

    #[test]
    fn a_strict_app_gains_no_privileges_whatever_its_image_says() {
        let mut isolators = vec![Isolation::NoNewPrivileges { value: false }];
        Level::Strict.add_to(&mut isolators);
        assert_eq!(isolators, [Isolation::NoNewPrivileges { value: true }]);
        Level::Default.add_to(&mut isolators);
        assert_eq!(isolators.len(), 1);
    }
}
