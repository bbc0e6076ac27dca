//! Ports of the host that plugins forward to a pod. The plugins ask nobody whether a port is in use; who holds it does.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};

use crate::executor::plan::PortForward;

/// As many ports are held; of a longer range, those beyond are looked at only.
const HELD: usize = 128;

/// That it is taken, in words that read on after "failed to".
pub fn describe(forward: &PortForward) -> String {
    let (protocol, port, name) = (&forward.protocol, forward.host_port, &forward.name);
    format!("take {protocol} port {port} of the host for the port {name}")
}

/// Sockets that hold the ports of the host of `forward`: nobody else can have them meanwhile. They do not listen, so that who
/// comes past the plugin's rules is refused at once.
///
/// # Errors
/// `EADDRINUSE` when someone has one of them. What cannot be held for other reasons is the plugin's to judge.
pub fn hold(forward: &PortForward) -> io::Result<Vec<OwnedFd>> {
    let kind = match forward.protocol.as_str() {
        "tcp" => SocketType::STREAM,
        "udp" => SocketType::DGRAM,
        _ => return Ok(Vec::new()),
    };
    let address = forward.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED);
    let mut held = Vec::new();
    for port in (forward.host_port..).take(usize::from(forward.count)) {
        match hold_one(kind, SocketAddrV4::new(address, port)) {
            Ok(socket) if held.len() < HELD => held.push(socket),
            Err(Errno::ADDRINUSE) => return Err(Errno::ADDRINUSE.into()),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(held)
}

fn hold_one(kind: SocketType, address: SocketAddrV4) -> Result<OwnedFd, Errno> {
    let open = || socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None);
    let socket = open()?;
    match bind(&socket, &address) {
        // Of connections that have just ended something is left for a while, which hinders nobody who says so.
        Err(Errno::ADDRINUSE) if kind == SocketType::STREAM => {
            let socket = open()?;
            sockopt::set_socket_reuseaddr(&socket, true)?;
            bind(&socket, &address).map(|()| socket)
        }
        done => done.map(|()| socket),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_holds_and_who_holds_is_told_apart_from_nobody() {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let forward = PortForward {
            name: "web".to_owned(),
            protocol: "tcp".to_owned(),
            host_port: listener.local_addr().unwrap().port(),
            host_ip: Some(Ipv4Addr::LOCALHOST),
            pod_port: 80,
            count: 1,
            socket_activated: None,
        };
        let taken = || hold(&forward).unwrap_err().raw_os_error() == Some(libc::EADDRINUSE);
        assert!(taken());
        drop(listener);
        let held = hold(&forward).unwrap();
        assert_eq!(held.len(), 1);
        assert!(taken());
        drop(held);
        assert_eq!(hold(&forward).unwrap().len(), 1);
    }
}
