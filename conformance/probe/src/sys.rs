//! The probe's only `unsafe`.
#![allow(unsafe_code)]

use std::net::TcpListener;
use std::os::fd::FromRawFd;

use nix::libc;

/// The descriptor handed over under this number, as a TCP listener. To be called once a number.
pub fn handed_over(number: i32) -> TcpListener {
    // SAFETY: the probe opens nothing before it looks, so a descriptor from 3 on is the executor's gift and has no other owner here;
    // a number that is not open makes every later call fail with EBADF.
    unsafe { TcpListener::from_raw_fd(number) }
}

/// A segment of System V's shared memory under this key: made, or found that is there already.
pub fn segment(key: i32, make: bool) -> std::io::Result<()> {
    let flags = if make { libc::IPC_CREAT | libc::IPC_EXCL | 0o600 } else { 0 };
    let size = if make { 4096 } else { 0 };
    // SAFETY: no memory is involved: nothing is attached.
    let found = unsafe { libc::shmget(key as libc::key_t, size, flags) };
    if found < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}

/// A kernel variable that is a number of an integer's size.
#[cfg(target_os = "freebsd")]
pub fn kernel_variable(name: &str) -> std::io::Result<i32> {
    let name = std::ffi::CString::new(name)?;
    let mut value: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>();
    // SAFETY: the name lives across the call, the value is passed with its length; no new one is given.
    let done =
        unsafe { libc::sysctlbyname(name.as_ptr(), (&raw mut value).cast(), &raw mut length, std::ptr::null(), 0) };
    if done < 0 { Err(std::io::Error::last_os_error()) } else { Ok(value) }
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

/// Whether a descriptor of this number is open.
pub fn is_open(number: i32) -> bool {
    // SAFETY: the call only looks, whether or not there is such a descriptor.
    unsafe { nix::libc::fcntl(number, nix::libc::F_GETFD) >= 0 }
}

/// Lets `command` have `far` as the terminal that it is controlled by.
pub fn control(command: &mut std::process::Command, far: std::os::fd::OwnedFd) {
    use std::os::unix::process::CommandExt;
    let take = move || {
        rustix::process::setsid()?;
        Ok(rustix::process::ioctl_tiocsctty(&far)?)
    };
    // SAFETY: two system calls, nothing of which another thread could hold a lock.
    unsafe { command.pre_exec(take) };
}

/// Puts a character into the input of a terminal, as if somebody had typed it there.
pub fn type_into(terminal: impl std::os::fd::AsRawFd, character: u8) -> std::io::Result<()> {
    // SAFETY: the kernel reads one character from where a living one is.
    done(unsafe { nix::libc::ioctl(terminal.as_raw_fd(), nix::libc::TIOCSTI, &raw const character) }.into()).map(drop)
}

/// Goes on when asked to end.
pub fn ignore_requests_to_end() {
    for signal in [nix::libc::SIGTERM, nix::libc::SIGHUP, nix::libc::SIGINT, nix::libc::SIGTTIN] {
        // SAFETY: to ignore a signal runs no code of ours.
        unsafe { nix::libc::signal(signal, nix::libc::SIG_IGN) };
    }
}

fn done(result: i64) -> std::io::Result<i64> {
    if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(target_os = "linux")]
pub use linux::*;

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::CStr;
    use std::io;

    use nix::libc;

    use super::done;

    /// Namespaces of its own, by the flags of `clone(2)`.
    pub fn unshare(flags: i32) -> io::Result<()> {
        // SAFETY: the process has one thread, and no memory is passed.
        done(unsafe { libc::unshare(flags) }.into()).map(drop)
    }

    /// Attaches to a process as a debugger does.
    pub fn attach(process: i32) -> io::Result<()> {
        // SAFETY: neither address nor data mean anything to this request.
        let attached = unsafe { libc::ptrace(libc::PTRACE_ATTACH, process, 0, 0) };
        done(attached).map(drop)
    }

    /// The user's own keyring and the session's, as `keyctl(2)` names them.
    pub const USER_RING: i32 = -4;
    /// See [`USER_RING`].
    pub const SESSION_RING: i32 = -3;

    /// Adds a key of type `user` to a keyring.
    pub fn add_key(name: &CStr, secret: &[u8], ring: i32) -> io::Result<i64> {
        let (kind, name, secret, length) = (c"user".as_ptr(), name.as_ptr(), secret.as_ptr(), secret.len());
        // SAFETY: two strings that end with NUL, and a buffer with its length.
        done(unsafe { libc::syscall(libc::SYS_add_key, kind, name, secret, length, ring) })
    }

    /// The key of type `user` and this name in a keyring.
    pub fn find_key(name: &CStr, ring: i32) -> io::Result<i64> {
        // SAFETY: two strings that end with NUL.
        done(unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_SEARCH, ring, c"user".as_ptr(), name.as_ptr(), 0) })
    }

    /// What a key holds.
    pub fn read_key(key: i64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0_u8; 256];
        // SAFETY: a buffer with its length.
        let length =
            done(unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_READ, key, bytes.as_mut_ptr(), bytes.len()) })?;
        bytes.truncate(usize::try_from(length).unwrap_or(0));
        Ok(bytes)
    }

    /// Takes a key out of a keyring.
    pub fn drop_key(key: i64, ring: i32) -> io::Result<()> {
        // SAFETY: numbers alone.
        done(unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_UNLINK, key, ring) }).map(drop)
    }

    /// Gives this process a session keyring that nobody else has.
    pub fn new_session_ring() -> io::Result<()> {
        // SAFETY: a null name means a keyring without one.
        done(unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, 0) }).map(drop)
    }

    #[cfg(target_arch = "x86_64")]
    std::arch::global_asm!(
        ".pushsection .rodata",
        ".globl appc_loader, appc_loader_end",
        ".hidden appc_loader, appc_loader_end",
        "appc_loader:",
        "lea rdi, [rip + 2f]",
        "xor esi, esi",
        "mov eax, 2", // open
        "syscall",
        "push 0",
        "mov rdx, rsp",
        "lea rax, [rip + 5f]",
        "push rax",
        "lea rax, [rip + 4f]",
        "push rax",
        "lea rdi, [rip + 3f]",
        "push rdi",
        "mov rsi, rsp",
        "mov eax, 59", // execve
        "syscall",
        "mov edi, 99",
        "mov eax, 60", // exit
        "syscall",
        "2: .asciz \"/proc/self/exe\"",
        "3: .asciz \"/probe\"",
        "4: .asciz \"escape\"",
        "5: .asciz \"take\"",
        "appc_loader_end:",
        ".popsection",
    );

    /// Machine code, wherever it is put: opens what this process executes, and becomes `/probe escape take`, which finds it open.
    #[cfg(target_arch = "x86_64")]
    pub fn loader_code() -> Option<&'static [u8]> {
        unsafe extern "C" {
            static appc_loader: u8;
            static appc_loader_end: u8;
        }
        let (begin, end) = (&raw const appc_loader, &raw const appc_loader_end);
        // SAFETY: both labels stand in one section of this program, which is never written.
        Some(unsafe { std::slice::from_raw_parts(begin, end.offset_from_unsigned(begin)) })
    }

    /// Nobody has written it for this processor.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn loader_code() -> Option<&'static [u8]> {
        None
    }
}
