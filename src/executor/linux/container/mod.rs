//! Containers of OCI bundles on Linux.
//!
//! ```text
//!  config.json ──compile (pure)──▶ [Step] + Report ──journal──▶ host: groups
//!                                       │
//!  create ──▶ stage, which joins others' namespaces ──▶ the container's process, in new ones: mounts, identity, waits
//!  start  ──────────────────────────────────────────────▶ says so by the socket `start`; the process becomes its program
//! ```

pub mod compile;
pub(crate) mod devices;
pub mod enter;
mod features;
mod filesystem;
pub mod groups;
pub mod launch;
pub mod mounts;
pub(crate) mod process;
pub mod profile;
mod running;
pub mod stats;

use std::io;
use std::os::fd::OwnedFd;

pub use features::features;
pub use groups::update;

use crate::sys::linux::channel::Channel;

/// The near end of a terminal, which comes by this socket.
///
/// # Errors
/// The system's; none comes.
pub fn terminal_from(socket: &OwnedFd) -> io::Result<OwnedFd> {
    let message = Channel::from(socket.try_clone()?).receive(true)?;
    message
        .and_then(|message| message.descriptors.into_iter().next())
        .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}
