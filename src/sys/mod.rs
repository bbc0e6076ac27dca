//! System calls: the only place for `unsafe` of this crate. One file a facility, each wrapper as thin as it can be and still safe.

pub mod account;
pub mod background;
pub mod beneath;
pub(crate) mod execute;
#[cfg(target_os = "freebsd")]
pub(crate) mod freebsd;
pub(crate) mod ids;
#[cfg(target_os = "linux")]
pub mod linux;
pub(crate) mod loopback;
pub mod memory;
pub(crate) mod notify;
pub mod output;
#[cfg(target_os = "freebsd")]
pub(crate) mod passing;
pub mod private_socket;
pub mod secret;
pub mod signals;
pub mod terminal;
pub mod unfinished;
pub(crate) mod unowned;
pub mod xattr;
