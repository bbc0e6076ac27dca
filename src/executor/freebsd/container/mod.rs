//! Containers of OCI bundles on FreeBSD.
//!
//! ```text
//!  config.json ──compile (pure)──▶ [Step] + Report ──journal──▶ host: mounts, devfs, the jail, rctl
//!
//!  create ──fork──▶ the container's process: hooks, into the jail, identity; waits
//!  start  ────────▶ says so by the socket `start`; the process becomes its program
//!
//!  <root>/<id>/root    the rootfs as the jail sees it, where that is read-only
//! ```
//! A container is a jail of its own, below that of another where the configuration names one as its parent: the containers of an
//! engine's pod share the network of the first so. All is mounted before the jail is there, by the host, and no link of the rootfs
//! leads out of it.

pub mod compile;
#[cfg(target_os = "freebsd")]
pub mod enter;
#[cfg(target_os = "freebsd")]
mod features;
#[cfg(target_os = "freebsd")]
pub mod launch;
mod limits;
#[cfg(target_os = "freebsd")]
mod process;
#[cfg(target_os = "freebsd")]
mod running;
#[cfg(target_os = "freebsd")]
pub mod stats;

#[cfg(target_os = "freebsd")]
pub use features::features;
#[cfg(target_os = "freebsd")]
pub use running::update;

/// The near end of a terminal, which comes by this socket.
///
/// # Errors
/// The system's; none comes.
#[cfg(target_os = "freebsd")]
pub fn terminal_from(socket: &std::os::fd::OwnedFd) -> std::io::Result<std::os::fd::OwnedFd> {
    crate::sys::passing::receive(socket)
}
