//! Interfaces, addresses and routes of the network that this process is in: the host's, or, once attached, a jail's.
//!
//! FreeBSD 13.2 has no `ifconfig -j`, and programs of the host cannot run inside a pod's root, so a child that has
//! attached to the jail does this by system calls.

use std::io;
use std::mem::{offset_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::{c_string, check};

const NAME: usize = 16;
const WRITE: u64 = 0x8000_0000;
const READ_WRITE: u64 = 0xc000_0000;

/// A request code of the interface family, as `_IOW('i', number, size)` makes it.
const fn request(direction: u64, number: u64, size: usize) -> libc::c_ulong {
    direction | ((size as u64 & 0x1fff) << 16) | (0x69 << 8) | number
}

const SET_FLAGS: libc::c_ulong = request(WRITE, 16, size_of::<libc::ifreq>());
const GET_FLAGS: libc::c_ulong = request(READ_WRITE, 17, size_of::<libc::ifreq>());
const ADD_ADDRESS: libc::c_ulong = request(WRITE, 43, size_of::<AliasRequest>());
const ADD_ADDRESS_6: libc::c_ulong = request(WRITE, 27, size_of::<AliasRequest6>());
const MOVE_TO_JAIL: libc::c_ulong = request(READ_WRITE, 90, size_of::<libc::ifreq>());

/// `struct in_aliasreq` of `<netinet/in_var.h>`.
#[repr(C)]
struct AliasRequest {
    name: [u8; NAME],
    address: libc::sockaddr_in,
    broadcast: libc::sockaddr_in,
    mask: libc::sockaddr_in,
    vhid: libc::c_int,
}

/// `struct in6_aliasreq` of `<netinet6/in6_var.h>`.
#[repr(C)]
struct AliasRequest6 {
    name: [u8; NAME],
    address: libc::sockaddr_in6,
    destination: libc::sockaddr_in6,
    mask: libc::sockaddr_in6,
    flags: libc::c_int,
    /// `struct in6_addrlifetime`: expiry and preference as times, then both as lengths in seconds.
    expire: libc::time_t,
    preferred: libc::time_t,
    valid_lifetime: u32,
    preferred_lifetime: u32,
    vhid: libc::c_int,
}

const FOR_EVER: u32 = u32::MAX;
/// `IN6_IFF_NODAD`: nobody else can have the address, so nothing is to be found out before it may be used.
const NO_DUPLICATE_DETECTION: libc::c_int = 0x20;

/// `struct rt_msghdr` of `<net/route.h>`; the metrics are 14 longs.
#[repr(C)]
struct RouteHeader {
    length: u16,
    version: u8,
    kind: u8,
    index: u16,
    spare: u16,
    flags: libc::c_int,
    addresses: libc::c_int,
    pid: libc::pid_t,
    sequence: libc::c_int,
    errno: libc::c_int,
    mask: libc::c_int,
    inits: libc::c_ulong,
    metrics: [libc::c_ulong; 14],
}

fn datagram(family: AddressFamily) -> io::Result<OwnedFd> {
    Ok(socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?)
}

fn name_bytes(interface: &str) -> io::Result<[u8; NAME]> {
    let mut name = [0; NAME];
    if interface.len() >= NAME || interface.contains('\0') {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    name[..interface.len()].copy_from_slice(interface.as_bytes());
    Ok(name)
}

fn interface_request(interface: &str) -> io::Result<libc::ifreq> {
    // SAFETY: `ifreq` is plain data, for which zeros are a valid value.
    let mut request: libc::ifreq = unsafe { zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name_bytes(interface)?) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    Ok(request)
}

/// Whether there is such an interface.
pub fn exists(interface: &str) -> bool {
    // SAFETY: the name lives across the call.
    c_string(interface).is_ok_and(|name| unsafe { libc::if_nametoindex(name.as_ptr()) } != 0)
}

/// Raises an interface.
///
/// # Errors
/// `ENXIO` where there is no such interface.
pub fn raise(interface: &str) -> io::Result<()> {
    let socket = datagram(AddressFamily::INET)?;
    let mut request = interface_request(interface)?;
    // SAFETY: both requests take a pointer to an `ifreq` that lives across the call; the first sets `ifru_flags`.
    unsafe {
        check(libc::ioctl(socket.as_raw_fd(), GET_FLAGS, &raw mut request))?;
        request.ifr_ifru.ifru_flags[0] |= libc::IFF_UP as libc::c_short;
        check(libc::ioctl(socket.as_raw_fd(), SET_FLAGS, &raw mut request))
    }
}

/// Gives an interface an address with a prefix of `prefix` bits.
///
/// # Errors
/// The kernel's: `ENXIO` where there is no such interface, `EAFNOSUPPORT` where the kernel does not know the family.
pub fn add_address(interface: &str, address: IpAddr, prefix: u8) -> io::Result<()> {
    match address {
        IpAddr::V4(address) => {
            let bits = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            let broadcast = Ipv4Addr::from(u32::from(address) | !bits);
            let request = AliasRequest {
                name: name_bytes(interface)?,
                address: address_4(address),
                // SAFETY: plain data. Loopback and single addresses have no broadcast address.
                broadcast: if prefix < 31 && !address.is_loopback() {
                    address_4(broadcast)
                } else {
                    unsafe { zeroed() }
                },
                mask: address_4(Ipv4Addr::from(bits)),
                vhid: 0,
            };
            let socket = datagram(AddressFamily::INET)?;
            // SAFETY: the request takes a pointer to this structure, which lives across the call, and reads it.
            check(unsafe { libc::ioctl(socket.as_raw_fd(), ADD_ADDRESS, &raw const request) })
        }
        IpAddr::V6(address) => {
            let bits = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            let request = AliasRequest6 {
                name: name_bytes(interface)?,
                address: address_6(address),
                // SAFETY: plain data.
                destination: unsafe { zeroed() },
                mask: address_6(Ipv6Addr::from(bits)),
                flags: NO_DUPLICATE_DETECTION,
                expire: 0,
                preferred: 0,
                valid_lifetime: FOR_EVER,
                preferred_lifetime: FOR_EVER,
                vhid: 0,
            };
            let socket = datagram(AddressFamily::INET6)?;
            // SAFETY: as above.
            check(unsafe { libc::ioctl(socket.as_raw_fd(), ADD_ADDRESS_6, &raw const request) })
        }
    }
}

/// Gives an interface of the host to the network of jail `jail`, which loses its addresses by that.
///
/// # Errors
/// The kernel's: `ENXIO` where there is no such interface.
pub fn move_to_jail(interface: &str, jail: i32) -> io::Result<()> {
    let socket = datagram(AddressFamily::INET)?;
    let mut request = interface_request(interface)?;
    request.ifr_ifru.ifru_jid = jail;
    // SAFETY: the request takes a pointer to an `ifreq` that lives across the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), MOVE_TO_JAIL, &raw mut request) })
}

/// Sends everything that has no other route to `gateway`.
///
/// # Errors
/// The kernel's: `ENETUNREACH` where the gateway is on no network of ours, `EEXIST` where there is such a route.
pub fn add_default_route(gateway: IpAddr) -> io::Result<()> {
    let family = if gateway.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket =
        socket_with(AddressFamily::from_raw(libc::AF_ROUTE as _), SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    let mut message = Vec::with_capacity(256);
    let nowhere = if gateway.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    for address in [nowhere, gateway, nowhere] {
        match address {
            IpAddr::V4(address) => append(&mut message, &address_4(address)),
            IpAddr::V6(address) => append(&mut message, &address_6(address)),
        }
    }
    debug_assert!(family == AddressFamily::INET || message.len() == 3 * 32);
    let length = size_of::<RouteHeader>() + message.len();
    let header = RouteHeader {
        length: u16::try_from(length).map_err(io::Error::other)?,
        version: libc::RTM_VERSION as u8,
        kind: libc::RTM_ADD as u8,
        index: 0,
        spare: 0,
        flags: libc::RTF_UP | libc::RTF_GATEWAY | libc::RTF_STATIC,
        addresses: libc::RTA_DST | libc::RTA_GATEWAY | libc::RTA_NETMASK,
        pid: 0,
        sequence: 1,
        errno: 0,
        mask: 0,
        inits: 0,
        metrics: [0; 14],
    };
    let mut whole = Vec::with_capacity(length);
    append(&mut whole, &header);
    whole.extend_from_slice(&message);
    let written = rustix::io::write(&socket, &whole)?;
    if written == whole.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Appends a structure of the kernel's, padded to a multiple of a long as routing messages have it.
fn append<T>(to: &mut Vec<u8>, value: &T) {
    let size = size_of::<T>();
    // SAFETY: the structures passed here are made of integers without padding between or after them.
    to.extend_from_slice(unsafe { std::slice::from_raw_parts((&raw const *value).cast::<u8>(), size) });
    let long = size_of::<libc::c_long>();
    to.resize(to.len().div_ceil(long) * long, 0);
}

fn address_4(address: Ipv4Addr) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_len: size_of::<libc::sockaddr_in>() as u8,
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from(address).to_be() },
        sin_zero: [0; 8],
    }
}

fn address_6(address: Ipv6Addr) -> libc::sockaddr_in6 {
    libc::sockaddr_in6 {
        sin6_len: size_of::<libc::sockaddr_in6>() as u8,
        sin6_family: libc::AF_INET6 as libc::sa_family_t,
        sin6_port: 0,
        sin6_flowinfo: 0,
        sin6_addr: libc::in6_addr { s6_addr: address.octets() },
        sin6_scope_id: 0,
    }
}

// What the headers of FreeBSD 13 and 14 give on 64-bit machines.
#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<libc::sockaddr_in>() == 16 && size_of::<libc::sockaddr_in6>() == 28);
    assert!(size_of::<libc::ifreq>() == 32 && offset_of!(libc::ifreq, ifr_ifru) == 16);
    assert!(size_of::<AliasRequest>() == 68);
    assert!(offset_of!(AliasRequest, mask) == 48 && offset_of!(AliasRequest, vhid) == 64);
    assert!(size_of::<AliasRequest6>() == 136 && offset_of!(AliasRequest6, mask) == 72);
    assert!(offset_of!(AliasRequest6, flags) == 100 && offset_of!(AliasRequest6, expire) == 104);
    assert!(offset_of!(AliasRequest6, valid_lifetime) == 120 && offset_of!(AliasRequest6, vhid) == 128);
    assert!(size_of::<RouteHeader>() == 152);
    assert!(offset_of!(RouteHeader, flags) == 8 && offset_of!(RouteHeader, addresses) == 12);
    assert!(offset_of!(RouteHeader, inits) == 32 && offset_of!(RouteHeader, metrics) == 40);
    // The size of what is passed is part of a request's number.
    assert!(SET_FLAGS == 0x8020_6910 && GET_FLAGS == 0xc020_6911);
    assert!(ADD_ADDRESS == 0x8044_692b && ADD_ADDRESS_6 == 0x8088_691b);
    assert!(MOVE_TO_JAIL == 0xc020_695a);
};
