//! Programs that the kernel runs for a control group.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// An instruction: code, registers (the target's in the lower half), offset, immediate.
pub type Instruction = (u8, u8, i16, i32);

const LOAD: libc::c_int = 5;
const ATTACH: libc::c_int = 8;
const KIND_CGROUP_DEVICE: u32 = 15;
const AT_CGROUP_DEVICE: u32 = 6;
/// Beside those of groups above and of others: all have to agree.
const ALLOW_MULTI: u32 = 2;

/// The kernel's `struct bpf_insn`.
#[repr(C)]
struct Encoded {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// As far as it is used, `union bpf_attr` for loading: the kernel takes what is behind as zeros.
#[repr(C)]
struct Loading {
    kind: u32,
    count: u32,
    instructions: u64,
    licence: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach_type: u32,
}

/// `union bpf_attr` as attaching has it.
#[repr(C)]
struct Attaching {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// Gives the kernel a program that decides about devices.
///
/// # Errors
/// bpf(2)'s: `EPERM` without the privilege, `EINVAL` where the kernel has none of these, or does not like it.
pub fn load(program: &[Instruction]) -> io::Result<OwnedFd> {
    let encode = |(code, registers, offset, immediate): &Instruction| Encoded {
        code: *code,
        registers: if cfg!(target_endian = "big") { registers.rotate_left(4) } else { *registers },
        offset: *offset,
        immediate: *immediate,
    };
    let encoded: Vec<Encoded> = program.iter().map(encode).collect();
    let loading = Loading {
        kind: KIND_CGROUP_DEVICE,
        count: u32::try_from(encoded.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?,
        instructions: encoded.as_ptr() as u64,
        // It calls nothing that asks for one.
        licence: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
        name: *b"jetpack_devices\0",
        interface: 0,
        attach_type: AT_CGROUP_DEVICE,
    };
    // SAFETY: the kernel reads the structure by its size and `count` instructions; both outlive the call.
    let file = unsafe { libc::syscall(libc::SYS_bpf, LOAD, &raw const loading, size_of::<Loading>()) };
    let file = i32::try_from(file).ok().filter(|file| *file >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: it is a new descriptor, which nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(file) })
}

/// Has the program asked about devices that processes of a unified control group open and make. It goes with the group.
///
/// # Errors
/// bpf(2)'s.
pub fn attach(program: BorrowedFd<'_>, group: BorrowedFd<'_>) -> io::Result<()> {
    let number = |file: BorrowedFd<'_>| file.as_raw_fd().cast_unsigned();
    let attaching =
        Attaching { target: number(group), program: number(program), kind: AT_CGROUP_DEVICE, flags: ALLOW_MULTI };
    // SAFETY: the kernel reads the structure by its size.
    let done = unsafe { libc::syscall(libc::SYS_bpf, ATTACH, &raw const attaching, size_of::<Attaching>()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
