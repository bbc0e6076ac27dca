//! Sockets that apps find open when they start, by the protocol of sd_listen_fds(3), and the one by which they say that
//! they are ready, by that of sd_notify(3).
//!
//! The sockets are the pod's: they are made by its first process, in its own network, and every process of the pod that
//! is no app's main process has them closed at exec.
//!
//! Clauses: im.app.ports.socketactivated, im.app.ports.socketactivated.match, im.ann.sdnotify

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType, bind, recv, socket_with};
use uuid::Uuid;

use super::steps::Listen;
use crate::sys::linux::process as sys;

/// The first descriptor that is handed over.
const FIRST: i32 = 3;

/// The longest message of an app about itself, in bytes.
const MESSAGE: usize = 4096;

/// A socket for an app.
#[derive(Debug)]
pub struct Listening {
    /// Index of the app.
    pub app: usize,
    /// The port's name in the manifest.
    pub name: String,
    /// The socket, closed at exec.
    pub socket: OwnedFd,
}

/// Opens the sockets of `listen`, on one address or on all, in the network of the calling process.
///
/// # Errors
/// The system's: the port is taken, or not ours to use.
pub fn open(listen: &Listen, address: Option<IpAddr>) -> io::Result<Vec<Listening>> {
    let mut sockets = Vec::with_capacity(usize::from(listen.count));
    for offset in 0..listen.count {
        let port = listen.port.checked_add(offset).ok_or(io::ErrorKind::InvalidInput)?;
        let open = |address: IpAddr| -> io::Result<OwnedFd> {
            let address = SocketAddr::new(address, port);
            match listen.protocol.as_str() {
                "tcp" => TcpListener::bind(address).map(OwnedFd::from),
                "udp" => UdpSocket::bind(address).map(OwnedFd::from),
                other => Err(io::Error::other(format!("there is no protocol {other}"))),
            }
        };
        let socket = match address {
            Some(address) => open(address)?,
            // Both families on one socket, where there are both.
            None => match open(Ipv6Addr::UNSPECIFIED.into()) {
                Err(error) if no_such_family(&error) => open(Ipv4Addr::UNSPECIFIED.into())?,
                opened => opened?,
            },
        };
        sockets.push(Listening { app: listen.app, name: listen.name.clone(), socket });
    }
    Ok(sockets)
}

fn no_such_family(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

/// The lowest number that a descriptor may have which the process still needs when `count` sockets are handed over.
pub fn above(count: usize) -> i32 {
    FIRST.saturating_add(i32::try_from(count).unwrap_or(i32::MAX))
}

/// Gives the calling process `sockets` under the numbers that the protocol names. What else has these numbers is lost:
/// only for a process that is about to become a program.
///
/// # Errors
/// The system's, when there are too many.
pub fn hand_over(sockets: &[&Listening]) -> io::Result<()> {
    // Out of the way first, so that none is closed in favour of another.
    let away = sockets.iter().map(|one| rustix::io::fcntl_dupfd_cloexec(&one.socket, above(sockets.len())));
    let away = away.collect::<Result<Vec<OwnedFd>, _>>()?;
    (FIRST..).zip(&away).try_for_each(|(number, socket)| sys::place(socket.as_fd(), number))
}

/// What the protocol has a program find in its environment. To be called by the process that becomes the program.
pub fn variables(names: &[&str]) -> Vec<(String, String)> {
    let pid = rustix::process::getpid().as_raw_nonzero();
    vec![
        ("LISTEN_FDS".to_owned(), names.len().to_string()),
        ("LISTEN_PID".to_owned(), pid.to_string()),
        ("LISTEN_FDNAMES".to_owned(), names.join(":")),
    ]
}

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
