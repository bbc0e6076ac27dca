//! What a process does before it becomes a program of the app's.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::inside;
use crate::executor::linux::container::profile::Profile;
use crate::id::Id;

/// A change of a process that is about to become the app's program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessStep {
    /// Joins control groups.
    JoinGroups {
        /// Their directories.
        paths: Vec<PathBuf>,
    },
    /// Gives it a view of the control groups in which its own is the root.
    SeparateGroups,
    /// Has a security module label the program.
    Label {
        /// Which.
        module: SecurityModule,
        /// A profile's name, a context.
        label: String,
    },
    /// Sets how eagerly the kernel kills it when memory is short.
    SetOomScore {
        /// -1000..=1000
        value: i32,
    },
    /// Goes to the working directory.
    ChangeDirectory {
        /// In the rootfs.
        path: PathBuf,
    },
    /// Bounds its capabilities.
    BoundCapabilities {
        /// Those that stay, as bits.
        keep: u64,
    },
    /// Takes on user, group and further groups.
    BecomeUser {
        /// As the manifest has it.
        user: String,
        /// As the manifest has it.
        group: String,
        /// Further groups.
        supplementary: Vec<Id>,
        /// Whether groups can be set at all.
        set_groups: bool,
    },
    /// Forbids gaining privileges.
    ForbidNewPrivileges,
    /// Refuses the system calls that a pod has no need of.
    RefuseSystemCalls {
        /// The app's capabilities, as bits; some calls come with some of them.
        keep: u64,
        /// Calls that are allowed all the same.
        allowed: Vec<String>,
    },
    /// Filters system calls.
    FilterSystemCalls {
        /// The listed calls are the allowed ones; else the blocked ones.
        retain: bool,
        /// Numbers of system calls.
        calls: Vec<i64>,
        /// The error a blocked call gives; nothing: SIGSYS.
        errno: Option<u16>,
    },
    /// Sets a limit as setrlimit(2) has it.
    SetLimit {
        /// `RLIMIT_NOFILE`
        resource: String,
        /// What holds.
        soft: u64,
        /// As far as it can be raised.
        hard: u64,
    },
    /// Takes on user and groups by number.
    TakeIds {
        /// The user.
        uid: Id,
        /// The group.
        gid: Id,
        /// Further groups; nothing: they cannot be set.
        groups: Option<Vec<Id>>,
        /// The mask of new files.
        umask: Option<u32>,
    },
    /// Sets all sets of capabilities.
    SetCapabilities {
        /// The most that it ever has, as bits.
        bounding: u64,
        /// Those in force.
        effective: u64,
        /// Those that it may put in force.
        permitted: u64,
        /// Those that a program with the same ones in its file keeps.
        inheritable: u64,
        /// Those that any program keeps.
        ambient: u64,
    },
    /// Sets how it is scheduled.
    Schedule {
        /// `SCHED_OTHER` as a number.
        policy: u32,
        /// Bits of sched_setattr(2).
        flags: u64,
        /// Niceness.
        nice: i32,
        /// Of real-time policies.
        priority: u32,
        /// Of deadlines, in nanoseconds: runtime, deadline, period.
        times: [u64; 3],
    },
    /// Sets its priority for block devices.
    SetIoPriority {
        /// As ioprio_set(2) has it.
        value: u32,
    },
    /// Sets how the kernel shows itself.
    SetPersonality {
        /// As personality(2) has it.
        domain: u32,
    },
    /// Filters system calls by a profile.
    FilterByProfile(Box<Profile>),
}

/// A module of the kernel that labels processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecurityModule {
    /// AppArmor: profiles by name.
    Apparmor,
    /// SELinux: contexts.
    Selinux,
}

impl ProcessStep {
    /// What it does, in words that read on after "failed to".
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::JoinGroups { .. } => "join the control groups".to_owned(),
            Self::SeparateGroups => "separate the view of the control groups".to_owned(),
            Self::Label { module: SecurityModule::Apparmor, label } => format!("apply the AppArmor profile {label}"),
            Self::Label { module: SecurityModule::Selinux, label } => format!("apply the SELinux context {label}"),
            Self::SetOomScore { value } => format!("set the OOM score adjustment {value}"),
            Self::ChangeDirectory { path } => format!("change to the working directory {}", inside(path)),
            Self::BoundCapabilities { .. } => "bound the capabilities".to_owned(),
            Self::BecomeUser { user, group, .. } => format!("become user `{user}` and group `{group}`"),
            Self::ForbidNewPrivileges => "forbid new privileges".to_owned(),
            Self::RefuseSystemCalls { .. } => "refuse the system calls that a pod has no need of".to_owned(),
            Self::FilterSystemCalls { .. } | Self::FilterByProfile(_) => "install the system call filter".to_owned(),
            Self::SetLimit { resource, soft, hard } => format!("set the limit {resource} to {soft}, at most {hard}"),
            Self::TakeIds { uid, gid, .. } => format!("become user {uid} and group {gid}"),
            Self::SetCapabilities { .. } => "set the capabilities".to_owned(),
            Self::Schedule { .. } => "set how the process is scheduled".to_owned(),
            Self::SetIoPriority { .. } => "set the priority for block devices".to_owned(),
            Self::SetPersonality { .. } => "set the personality".to_owned(),
        }
    }
}
