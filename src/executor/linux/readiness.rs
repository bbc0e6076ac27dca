//! The sockets by which apps say that they are ready, by the protocol of sd_notify(3). They are the pod's: made by its
//! first process, in its own network.
//!
//! Clauses: im.ann.sdnotify

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType, bind, recv, socket_with};
use uuid::Uuid;

/// The longest message of an app about itself, in bytes.
const MESSAGE: usize = 4096;

/// What `NOTIFY_SOCKET` says: a name that belongs to the pod's network and to no file system.
pub fn notify_address(pod: Uuid, app: &str) -> String {
    format!("@jetpack/{pod}/{app}")
}

/// The socket behind [`notify_address`].
///
/// # Errors
/// The system's.
pub fn notify_socket(pod: Uuid, app: &str) -> io::Result<OwnedFd> {
    let name = notify_address(pod, app);
    let address = SocketAddrUnix::new_abstract_name(&name.as_bytes()[1..])?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    bind(&socket, &address)?;
    Ok(socket)
}

/// The next thing that the app has said; what is no text is passed over.
pub fn notified(socket: BorrowedFd<'_>) -> Option<String> {
    let mut bytes = [0_u8; MESSAGE];
    loop {
        let (length, _) = recv(socket, &mut bytes, RecvFlags::DONTWAIT).ok()?;
        if let Ok(text) = std::str::from_utf8(&bytes[..length]) {
            return Some(text.to_owned());
        }
    }
}
