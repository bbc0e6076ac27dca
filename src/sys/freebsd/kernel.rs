//! What the kernel says of itself.

use std::io;

use super::{c_string, check};

unsafe extern "C" {
    fn kldfind(file: *const libc::c_char) -> libc::c_int;
    fn modfind(name: *const libc::c_char) -> libc::c_int;
}

fn value(name: &str, into: &mut [u8]) -> io::Result<usize> {
    let name = c_string(name)?;
    let mut length = into.len();
    // SAFETY: the buffer is passed with its length, which the kernel replaces by how much it wrote.
    check(unsafe {
        libc::sysctlbyname(name.as_ptr(), into.as_mut_ptr().cast(), &raw mut length, std::ptr::null(), 0)
    })?;
    Ok(length)
}

/// A kernel variable that is a number.
///
/// # Errors
/// `ENOENT` where there is no such variable.
pub fn number(name: &str) -> io::Result<i64> {
    let mut bytes = [0; 8];
    match value(name, &mut bytes)? {
        1 => Ok(i64::from(bytes[0])),
        4 => Ok(i64::from(i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))),
        8 => Ok(i64::from_ne_bytes(bytes)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// A kernel variable that is a text.
///
/// # Errors
/// `ENOENT` where there is no such variable.
pub fn text(name: &str) -> io::Result<String> {
    let mut bytes = [0; 1024];
    let length = value(name, &mut bytes)?;
    let text = bytes[..length].split(|&byte| byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(text).into_owned())
}

/// Whether a kernel file (`linux64.ko`) or a module in the kernel (`pf`) is there.
pub fn has(file: &str, module: &str) -> bool {
    let found = |name: &str, look: unsafe extern "C" fn(*const libc::c_char) -> libc::c_int| {
        // SAFETY: the name lives across the call.
        c_string(name).is_ok_and(|name| unsafe { look(name.as_ptr()) } >= 0)
    };
    found(file, kldfind) || found(module, modfind)
}

/// Sets a kernel variable that is a number.
///
/// # Errors
/// `ENOENT` where there is no such variable, `EPERM` where it is not this network's to set.
pub fn set_number(name: &str, value: i32) -> io::Result<()> {
    let name = c_string(name)?;
    // SAFETY: the new value is passed with its length; no old one is asked for.
    check(unsafe {
        libc::sysctlbyname(
            name.as_ptr(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            (&raw const value).cast(),
            size_of::<i32>(),
        )
    })
}
