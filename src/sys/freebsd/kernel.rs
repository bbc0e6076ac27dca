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

/// What a process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs, or waits for something.
    Alive,
    /// It was stopped by a signal.
    Stopped,
    /// It has ended, and nobody has asked how.
    Ended,
}

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// When it was started, in microseconds since 1970.
    pub started: u64,
    /// What it is doing.
    pub state: State,
    /// Its number.
    pub pid: i32,
    /// The jail that it is in; 0: none.
    pub jail: i32,
}

/// The process of this number, if there is one.
///
/// # Errors
/// The kernel's.
pub fn process(pid: i32) -> io::Result<Option<Process>> {
    match table(&[libc::CTL_KERN, libc::KERN_PROC, libc::KERN_PROC_PID, pid]) {
        Ok(found) => Ok(found.into_iter().next()),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The numbers of the processes in a jail.
///
/// # Errors
/// The kernel's.
pub fn processes_in(jail: i32) -> io::Result<Vec<i32>> {
    let all = table(&[libc::CTL_KERN, libc::KERN_PROC, libc::KERN_PROC_PROC])?;
    let inside = |process: &Process| process.jail == jail && process.state != State::Ended;
    Ok(all.into_iter().filter(inside).map(|process| process.pid).collect())
}

fn table(name: &[libc::c_int]) -> io::Result<Vec<Process>> {
    const ONE: usize = size_of::<libc::kinfo_proc>();
    let levels = libc::c_uint::try_from(name.len()).map_err(io::Error::other)?;
    let mut needed = 0;
    // SAFETY: no buffer is given: the kernel says how much there is. The name is passed with its length.
    check(unsafe { libc::sysctl(name.as_ptr(), levels, std::ptr::null_mut(), &raw mut needed, std::ptr::null(), 0) })?;
    // Others may come meanwhile.
    let mut bytes = vec![0_u8; needed + 64 * ONE];
    let mut length = bytes.len();
    // SAFETY: the buffer is passed with its length, which the kernel replaces by how much it wrote.
    check(unsafe {
        libc::sysctl(name.as_ptr(), levels, bytes.as_mut_ptr().cast(), &raw mut length, std::ptr::null(), 0)
    })?;
    let read = |bytes: &[u8]| {
        // SAFETY: plain data of this size, for which any bytes are a value; the address need not be aligned.
        let found = unsafe { bytes.as_ptr().cast::<libc::kinfo_proc>().read_unaligned() };
        let seconds = u64::try_from(found.ki_start.tv_sec).unwrap_or(0);
        Process {
            started: seconds
                .saturating_mul(1_000_000)
                .saturating_add(u64::try_from(found.ki_start.tv_usec).unwrap_or(0)),
            state: match found.ki_stat {
                libc::SZOMB => State::Ended,
                libc::SSTOP => State::Stopped,
                _ => State::Alive,
            },
            pid: found.ki_pid,
            jail: found.ki_jid,
        }
    };
    Ok(bytes[..length.min(bytes.len())].chunks_exact(ONE).map(read).collect())
}

/// Whether a kernel file (`linux64.ko`) or a module in the kernel (`pf`) is there.
pub fn has(file: &str, module: &str) -> bool {
    let found = |name: &str, look: unsafe extern "C" fn(*const libc::c_char) -> libc::c_int| {
        // SAFETY: the name lives across the call.
        c_string(name).is_ok_and(|name| unsafe { look(name.as_ptr()) } >= 0)
    };
    found(file, kldfind) || found(module, modfind)
}

/// How many numbers the name of a variable has at most (`CTL_MAXNAME`).
const LONGEST_NAME: usize = 24;
/// `CTL_SYSCTL` and `CTL_SYSCTL_OIDFMT`: before a variable's own numbers, they ask what it is.
const WHAT_IS: [libc::c_int; 2] = [0, 4];

/// What a kernel variable is: its type and flags, as `<sys/sysctl.h>` has them.
///
/// # Errors
/// `ENOENT` where there is no such variable.
pub fn kind(name: &str) -> io::Result<u32> {
    let name = c_string(name)?;
    let (mut question, mut length) = ([0; WHAT_IS.len() + LONGEST_NAME], LONGEST_NAME);
    let (asks, own) = question.split_at_mut(WHAT_IS.len());
    asks.copy_from_slice(&WHAT_IS);
    // SAFETY: the numbers go to a buffer of `length` numbers, which the kernel replaces by how many it wrote.
    check(unsafe { libc::sysctlnametomib(name.as_ptr(), own.as_mut_ptr(), &raw mut length) })?;
    // The kind, then the format as a text.
    let mut answer = [0; 256];
    let mut size = answer.len();
    let asked = libc::c_uint::try_from(WHAT_IS.len() + length).map_err(io::Error::other)?;
    // SAFETY: question and answer are passed with their lengths; nothing is set.
    check(unsafe {
        libc::sysctl(question.as_ptr(), asked, answer.as_mut_ptr().cast(), &raw mut size, std::ptr::null(), 0)
    })?;
    if size < 4 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let [a, b, c, d, ..] = answer;
    Ok(u32::from_ne_bytes([a, b, c, d]))
}

/// Sets a kernel variable to a value in the form that its type has.
///
/// # Errors
/// `ENOENT` where there is no such variable, `EPERM` where it is not this network's to set, `EINVAL` where the value is not one
/// that it can have.
pub fn set(name: &str, value: &[u8]) -> io::Result<()> {
    let name = c_string(name)?;
    // SAFETY: the new value is passed with its length; no old one is asked for.
    check(unsafe {
        libc::sysctlbyname(
            name.as_ptr(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            value.as_ptr().cast(),
            value.len(),
        )
    })
}

// `struct kinfo_proc` of <sys/user.h> on 64-bit machines (`KINFO_PROC_SIZE`).
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<libc::kinfo_proc>() == 1088);
