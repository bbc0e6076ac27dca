//! The loopback interface.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// A socket that listens on 127.0.0.1, on a port of the kernel's choice, in the network that the caller is in.
///
/// # Errors
/// The system's. `EADDRNOTAVAIL` where loopback is down.
pub fn listen() -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
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
