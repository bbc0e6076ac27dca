//! What is done in a pod's namespaces.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::executor::listening::Listen;
use crate::id::Id;

/// A change in the pod's namespaces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PodStep {
    /// Cuts the pod's mounts off from the host's.
    SeparateMounts,
    /// Enters the network namespace that a file stands for.
    EnterNetwork {
        /// The file.
        path: PathBuf,
    },
    /// Sets the host name.
    SetHostname {
        /// The name.
        name: String,
    },
    /// Sets the NIS domain name.
    SetDomainName {
        /// The name.
        name: String,
    },
    /// Raises loopback.
    RaiseLoopback,
    /// Sets a kernel parameter of the pod's own namespaces.
    SetParameter {
        /// `net.ipv4.tcp_keepalive_time`
        key: String,
        /// Its value.
        value: String,
    },
    /// Opens the metadata service's listening socket on loopback, at a port that no app claims.
    ListenForMetadata {
        /// Ports that apps claim.
        not: Vec<(u16, u16)>,
    },
    /// Gives a directory of the pod to an id of its user namespace.
    OwnDirectory {
        /// On the host.
        path: PathBuf,
        /// The user.
        uid: Id,
        /// The group.
        gid: Id,
    },
    /// Opens the listening sockets that an app finds open when it starts.
    Listen(Listen),
    /// Opens the socket by which an app says that it is ready.
    ListenForReadiness {
        /// Index of the app.
        app: usize,
    },
    /// Makes the memory file system that the pod's apps share as `/dev/shm`.
    MakeSharedMemory,
}

impl PodStep {
    /// What it does, in words that read on after "failed to".
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::SeparateMounts => "separate the pod's mounts from the host's".to_owned(),
            Self::EnterNetwork { .. } => "enter the pod's network namespace".to_owned(),
            Self::SetHostname { name } => format!("set the host name {name}"),
            Self::SetDomainName { name } => format!("set the domain name {name}"),
            Self::RaiseLoopback => "raise the loopback interface".to_owned(),
            Self::SetParameter { key, value } => format!("set the kernel parameter {key} to {value}"),
            Self::ListenForMetadata { .. } => "listen for the metadata service".to_owned(),
            Self::OwnDirectory { path, uid, gid } => format!("give {} to {uid}:{gid}", path.display()),
            Self::Listen(listen) => listen.describe(),
            Self::ListenForReadiness { .. } => "listen for the app's readiness".to_owned(),
            Self::MakeSharedMemory => "make the pod's shared memory".to_owned(),
        }
    }
}
