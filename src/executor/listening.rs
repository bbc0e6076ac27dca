//! Sockets that apps find open when they start, by the protocol of sd_listen_fds(3).
//!
//! They are made in the pod's own network, or, for ports of the host, in the host's; every process of the pod that is no
//! app's main process has them closed at exec.
//!
//! Clauses: im.app.ports.socketactivated, im.app.ports.socketactivated.match

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};

use crate::sys::loopback;

use super::plan::{AppPort, Network, PodPlan, PortForward};

/// The first descriptor that is handed over.
const FIRST: i32 = 3;

/// Sockets that an app finds open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    /// Index of the app.
    pub app: usize,
    /// The port's name.
    pub name: String,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The first port.
    pub port: u16,
    /// How many consecutive ones.
    pub count: u16,
}

impl Listen {
    /// The sockets of `port`, which app number `app` finds open, from the port `first` on.
    pub fn of(app: usize, port: &AppPort, first: u16) -> Self {
        Self { app, name: port.name.clone(), protocol: port.protocol.clone(), port: first, count: port.count }
    }

    /// In words that read on after "failed to".
    pub fn describe(&self) -> String {
        format!("listen on {} port {} for the port {}", self.protocol, self.port, self.name)
    }
}

/// Whether a port of the host leads into the pod by a listening socket that an app is handed over, which needs no
/// network between them.
pub fn by_socket(plan: &PodPlan, port: &PortForward) -> bool {
    plan.network == Network::None && port.socket_activated.is_some()
}

/// The ports of the host that lead to the app's port by a socket that it is handed over.
pub fn exposed<'a>(plan: &'a PodPlan, app: &'a str, port: &'a AppPort) -> impl Iterator<Item = &'a PortForward> {
    let leads = move |forward: &&PortForward| {
        by_socket(plan, forward) && forward.name == port.name && forward.socket_activated.as_deref() == Some(app)
    };
    plan.ports.iter().filter(leads)
}

/// All ranges of ports, first and last, that apps listen on or that lead to them.
pub fn claimed(plan: &PodPlan) -> Vec<(u16, u16)> {
    let last = |port: &PortForward| port.pod_port.saturating_add(port.count.saturating_sub(1));
    let exposed = plan.ports.iter().map(|port| (port.pod_port, last(port)));
    exposed.chain(plan.apps.iter().flat_map(|app| &app.ports).map(|port| (port.port, port.last()))).collect()
}

/// A socket that listens on loopback, at a port outside of all ranges (first, last) of `not`.
///
/// # Errors
/// The system's.
pub fn on_loopback(not: &[(u16, u16)]) -> io::Result<TcpListener> {
    let mut unfit = Vec::new();
    loop {
        let listener = loopback::listen()?;
        let port = listener.local_addr()?.port();
        if !not.iter().any(|&(first, last)| (first..=last).contains(&port)) {
            return Ok(listener);
        }
        // Kept until a fit one is found, so that the kernel gives another.
        unfit.push(listener);
    }
}

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
            None => open_on_all(open)?,
        };
        sockets.push(Listening { app: listen.app, name: listen.name.clone(), socket });
    }
    Ok(sockets)
}

/// Both families on one socket, where there are both.
#[cfg(not(target_os = "freebsd"))]
fn open_on_all(open: impl Fn(IpAddr) -> io::Result<OwnedFd>) -> io::Result<OwnedFd> {
    match open(Ipv6Addr::UNSPECIFIED.into()) {
        Err(error) if no_such_family(&error) => open(Ipv4Addr::UNSPECIFIED.into()),
        opened => opened,
    }
}

/// IPv4 only: a socket of IPv6 takes no connections of IPv4 unless the whole network is told so (`net.inet6.ip6.v6only`).
#[cfg(target_os = "freebsd")]
fn open_on_all(open: impl Fn(IpAddr) -> io::Result<OwnedFd>) -> io::Result<OwnedFd> {
    match open(Ipv4Addr::UNSPECIFIED.into()) {
        Err(error) if no_such_family(&error) => open(Ipv6Addr::UNSPECIFIED.into()),
        opened => opened,
    }
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
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
pub fn hand_over(sockets: &[&Listening]) -> io::Result<()> {
    #[cfg(target_os = "freebsd")]
    use crate::sys::freebsd::process::place;
    #[cfg(target_os = "linux")]
    use crate::sys::linux::process::place;
    use std::os::fd::AsFd;

    // Out of the way first, so that none is closed in favour of another.
    let away = sockets.iter().map(|one| rustix::io::fcntl_dupfd_cloexec(&one.socket, above(sockets.len())));
    let away = away.collect::<Result<Vec<OwnedFd>, _>>()?;
    (FIRST..).zip(&away).try_for_each(|(number, socket)| place(socket.as_fd(), number))
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
