//! The probe's only `unsafe`.
#![allow(unsafe_code)]

use std::net::TcpListener;
use std::os::fd::FromRawFd;

#[cfg(target_os = "freebsd")]
use nix::libc;

/// The descriptor handed over under this number, as a TCP listener. To be called once a number.
pub fn handed_over(number: i32) -> TcpListener {
    // SAFETY: the probe opens nothing before it looks, so a descriptor from 3 on is the executor's gift and has no other owner here;
    // a number that is not open makes every later call fail with EBADF.
    unsafe { TcpListener::from_raw_fd(number) }
}

/// The command lines of all processes that this one may see, by `sysctl(3)`: FreeBSD has no `/proc` unless it is mounted.
#[cfg(target_os = "freebsd")]
pub fn command_lines() -> std::io::Result<Vec<String>> {
    const ALL: [libc::c_int; 4] = [libc::CTL_KERN, libc::KERN_PROC, libc::KERN_PROC_PROC, 0];
    let listed = variable(&ALL)?;
    let size = size_of::<libc::kinfo_proc>();
    let mut lines = Vec::new();
    for one in listed.chunks_exact(size) {
        // SAFETY: the kernel has written whole structures of this size, which are plain data.
        let about: libc::kinfo_proc = unsafe { std::ptr::read_unaligned(one.as_ptr().cast()) };
        let arguments = [libc::CTL_KERN, libc::KERN_PROC, libc::KERN_PROC_ARGS, about.ki_pid];
        // It may have ended meanwhile.
        let Ok(text) = variable(&arguments) else { continue };
        let words = text.split(|byte| *byte == 0).filter(|word| !word.is_empty()).map(String::from_utf8_lossy);
        let line = words.collect::<Vec<_>>().join(" ");
        if !line.is_empty() {
            lines.push(line);
        }
    }
    Ok(lines)
}

/// What a kernel variable holds.
#[cfg(target_os = "freebsd")]
fn variable(name: &[libc::c_int; 4]) -> std::io::Result<Vec<u8>> {
    // Room for what there is in a jail, many times over.
    let mut bytes = vec![0; 1 << 20];
    let mut length = bytes.len();
    // SAFETY: name and buffer are passed with their lengths; no new value is given.
    let done = unsafe {
        libc::sysctl(
            name.as_ptr(),
            name.len() as libc::c_uint,
            bytes.as_mut_ptr().cast(),
            &raw mut length,
            std::ptr::null(),
            0,
        )
    };
    if done < 0 {
        return Err(std::io::Error::last_os_error());
    }
    bytes.truncate(length);
    Ok(bytes)
}

// `KINFO_PROC_SIZE` of <sys/user.h>.
#[cfg(all(target_os = "freebsd", target_pointer_width = "64"))]
const _: () = assert!(size_of::<libc::kinfo_proc>() == 1088);
