//! Jails.

use std::io;
use std::net::IpAddr;

use super::{Pairs, c_string, check, explained};

/// The value of a jail's parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A text.
    Text(&'a str),
    /// A number; also one of [`NEW`] and [`INHERIT`].
    Number(i32),
    /// The parameter is given without a value: `persist`, `allow.noset_hostname`.
    Flag,
    /// Addresses of one family, one behind the other as the kernel has them: `ip4.addr`, `ip6.addr`.
    Addresses(&'a [IpAddr]),
}

/// The jail gets its own: `vnet`, `sysvmsg`, `linux`.
pub const NEW: i32 = libc::JAIL_SYS_NEW;
/// The jail shares its parent's: `ip4`, `ip6`.
pub const INHERIT: i32 = libc::JAIL_SYS_INHERIT;

fn with_message(parameters: &[(&str, Value<'_>)]) -> io::Result<Pairs> {
    let mut pairs = Pairs::new();
    for (name, value) in parameters {
        let value = match value {
            Value::Text(text) => Some(c_string(text)?.into_bytes_with_nul()),
            Value::Number(number) => Some(number.to_ne_bytes().to_vec()),
            Value::Flag => None,
            Value::Addresses(addresses) => Some(addresses.iter().flat_map(octets).collect()),
        };
        pairs.push(name, value)?;
    }
    pairs.push("errmsg", Some(vec![0; 1024]))?;
    Ok(pairs)
}

fn message(pairs: &Pairs) -> &[u8] {
    pairs.parts.last().and_then(Option::as_deref).unwrap_or_default()
}

/// Makes a jail of these parameters; gives its id.
///
/// # Errors
/// The kernel's, with its words: `jail "x" already exists`.
pub fn create(parameters: &[(&str, Value<'_>)]) -> io::Result<i32> {
    let mut pairs = with_message(parameters)?;
    let mut vectors = pairs.vectors();
    // SAFETY: each vector points to a buffer of its length in `pairs`, which lives across the call; the kernel writes to
    // the buffer of `errmsg` only.
    let id = unsafe { libc::jail_set(vectors.as_mut_ptr(), vectors.len() as libc::c_uint, libc::JAIL_CREATE) };
    if id < 0 { Err(explained(io::Error::last_os_error(), message(&pairs))) } else { Ok(id) }
}

fn octets(address: &IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Lets the jail `name` have one child more than it has (`children.cur`), where `children.max` allows for none.
///
/// # Errors
/// The kernel's: `ENOENT` where there is no such jail.
pub fn allow_child(name: &str) -> io::Result<()> {
    let mut pairs = Pairs::new();
    pairs.push("name", Some(c_string(name)?.into_bytes_with_nul()))?;
    pairs.push("children.cur", Some(vec![0; 4]))?;
    pairs.push("children.max", Some(vec![0; 4]))?;
    pairs.push("errmsg", Some(vec![0; 1024]))?;
    let mut vectors = pairs.vectors();
    // SAFETY: as in `create`; the kernel writes numbers into the two buffers of four bytes.
    let id = unsafe { libc::jail_get(vectors.as_mut_ptr(), vectors.len() as libc::c_uint, 0) };
    if id < 0 {
        return Err(explained(io::Error::last_os_error(), message(&pairs)));
    }
    let number = |part: usize| {
        let bytes = pairs.parts.get(part).and_then(Option::as_deref).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, i32::from_ne_bytes)
    };
    let (children, most) = (number(3), number(5));
    if children < most {
        return Ok(());
    }
    let mut pairs = with_message(&[("jid", Value::Number(id)), ("children.max", Value::Number(children + 1))])?;
    let mut vectors = pairs.vectors();
    // SAFETY: as in `create`.
    let done = unsafe { libc::jail_set(vectors.as_mut_ptr(), vectors.len() as libc::c_uint, libc::JAIL_UPDATE) };
    if done < 0 { Err(explained(io::Error::last_os_error(), message(&pairs))) } else { Ok(()) }
}

/// The id of the jail `name`, if there is one that is not dying.
///
/// # Errors
/// The kernel's.
pub fn find(name: &str) -> io::Result<Option<i32>> {
    let mut pairs = with_message(&[("name", Value::Text(name))])?;
    let mut vectors = pairs.vectors();
    // SAFETY: as in `create`; `name` is the key, so the kernel reads it and writes it nowhere else.
    let id = unsafe { libc::jail_get(vectors.as_mut_ptr(), vectors.len() as libc::c_uint, 0) };
    if id >= 0 {
        return Ok(Some(id));
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::ENOENT) { Ok(None) } else { Err(explained(error, message(&pairs))) }
}

/// Whether the jail of this id is there or still dying: processes, sockets or a network of it are being taken down.
///
/// # Errors
/// The kernel's.
pub fn lingers(id: i32) -> io::Result<bool> {
    let mut pairs = with_message(&[("jid", Value::Number(id))])?;
    let mut vectors = pairs.vectors();
    // SAFETY: as in `find`.
    let found = unsafe { libc::jail_get(vectors.as_mut_ptr(), vectors.len() as libc::c_uint, libc::JAIL_DYING) };
    if found >= 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::ENOENT) { Ok(false) } else { Err(explained(error, message(&pairs))) }
}

/// Puts this process into the jail. It must hold no open directory (`EPERM`).
///
/// # Errors
/// The kernel's.
pub fn attach(id: i32) -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::jail_attach(id) })
}

/// Removes the jail and kills what runs in it.
///
/// # Errors
/// The kernel's: `EINVAL` where there is no such jail.
pub fn remove(id: i32) -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::jail_remove(id) })
}

// As <sys/jail.h> has them.
const _: () = {
    assert!(libc::JAIL_CREATE == 1 && libc::JAIL_DYING == 8);
    assert!(NEW == 1 && INHERIT == 2);
};
