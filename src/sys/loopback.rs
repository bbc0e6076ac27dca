//! The loopback interface, here or in another network.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// A socket that listens on 127.0.0.1, on a port of the kernel's choice, in the network that the caller is in.
///
/// # Errors
/// The system's. `EADDRNOTAVAIL` where loopback is down.
pub fn listen() -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
}

/// [`listen`], in the network namespace `network`, whose loopback interface is brought up first.
///
/// A thread of its own enters the namespace and ends there; the socket stays in it. The caller needs
/// `CAP_SYS_ADMIN` in its own user namespace and in the one that owns `network`. Who lacks it (no root, and a pod in a
/// user namespace) lets a process inside call [`bring_up`] and [`listen`] and takes the socket from it by
/// [`passing`](super::passing).
///
/// # Errors
/// The system's.
#[cfg(target_os = "linux")]
pub fn listen_in(network: std::os::fd::BorrowedFd<'_>) -> io::Result<TcpListener> {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    let inside = || {
        move_into_link_name_space(network, Some(LinkNameSpaceType::Network))?;
        bring_up()?;
        listen()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("listen".into()).spawn_scoped(scope, inside)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that opens the socket panicked")))
    })
}

/// Brings the loopback interface of the network that the caller is in up. The kernel gives it 127.0.0.1 then.
///
/// # Errors
/// The system's. `EPERM` without `CAP_NET_ADMIN` over the network namespace.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
pub fn bring_up() -> io::Result<()> {
    use std::os::fd::AsRawFd;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: `ifreq` is plain data, for which zeros are a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    // SAFETY: SIOCGIFFLAGS takes a pointer to an `ifreq` that lives across the call, and writes within it.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS as _, &raw mut request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: SIOCGIFFLAGS has set the union's member `ifru_flags`, which is an integer.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    let up = libc::c_short::try_from(libc::IFF_UP).map_err(io::Error::other)?;
    if flags & up != 0 {
        return Ok(());
    }
    request.ifr_ifru.ifru_flags = flags | up;
    // SAFETY: SIOCSIFFLAGS takes a pointer to an `ifreq` that lives across the call, and reads it.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw mut request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{SocketAddr, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    #[allow(unsafe_code)]
    fn a_socket_opened_in_another_network_is_reached_from_there_only() {
        use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};
        let made = std::thread::spawn(|| {
            // SAFETY: leaving a network namespace invalidates no memory and no descriptor.
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }?;
            std::fs::File::open("/proc/thread-self/ns/net")
        });
        let network = match made.join().unwrap() {
            Ok(network) => network,
            Err(error) => return eprintln!("skipped: no network namespace can be made here: {error}"),
        };
        let listener = listen_in(network.as_fd()).unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        assert!(address.ip().is_loopback());
        assert!(TcpStream::connect(address).is_err(), "reached from the host");
        let inside = std::thread::spawn(move || {
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            TcpStream::connect(address).map(drop)
        });
        inside.join().unwrap().unwrap();
    }
}
