//! Giving memory back. Elsewhere than on Linux nothing is done: these are matters of its C library and of its page tables.

#![allow(unsafe_code)]

#[cfg(target_os = "linux")]
use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;

/// Has all threads to come share one heap: what a thread's own heap has grown to is never given back to the system.
pub fn share_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: takes no pointer.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Lets go of the pages of the program and its libraries that this process has in sight, and of what the allocator keeps
/// for later. They come back from the page cache one by one when they are needed: a process that waits needs few.
pub(crate) fn trim() {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: a segment that is never writable has in memory what its file has, so nothing is lost.
        each_segment(|start, end| unsafe {
            libc::madvise(start as *mut libc::c_void, (end - start) as usize, libc::MADV_DONTNEED);
        });
        #[cfg(target_env = "gnu")]
        // SAFETY: takes no pointer.
        unsafe {
            libc::malloc_trim(0);
        }
    }
}

/// For as long as this lives, a page of the program comes into memory when it is needed, and not with the fifteen around it, which for
/// a program of this size is four times what it uses. Nothing where the kernel has no means to (before Linux 6.7).
///
/// The means is a descriptor with power over this process's memory: it is for processes that make no more children that
/// keep what they inherit.
#[derive(Debug)]
pub(crate) struct PageByPage(#[expect(dead_code, reason = "held for what the kernel does meanwhile")] Option<OwnedFd>);

impl PageByPage {
    /// Begins, with no page of the program in memory.
    pub(crate) fn begin() -> Self {
        #[cfg(target_os = "linux")]
        let begun = Self(watch_writes().ok());
        #[cfg(not(target_os = "linux"))]
        let begun = Self(None);
        trim();
        begun
    }
}

#[cfg(target_os = "linux")]
#[repr(C)]
struct UffdApi {
    api: u64,
    features: u64,
    ioctls: u64,
}

#[cfg(target_os = "linux")]
#[repr(C)]
struct UffdRegister {
    start: u64,
    length: u64,
    mode: u64,
    ioctls: u64,
}

/// Has the kernel note the writes to all that is never written to, for which it keeps account of each page by itself.
#[cfg(target_os = "linux")]
fn watch_writes() -> io::Result<OwnedFd> {
    use rustix::ioctl::{Updater, ioctl, opcode};
    /// Of `linux/userfaultfd.h`, which no crate of ours has.
    const API: u64 = 0xAA;
    const USER_MODE_ONLY: libc::c_int = 1;
    const FEATURE_WP_ASYNC: u64 = 1 << 15;
    const MODE_WP: u64 = 1 << 1;
    // SAFETY: no memory is involved; the descriptor is new and nobody else's.
    let descriptor = unsafe {
        let made = libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | libc::O_NONBLOCK | USER_MODE_ONLY);
        match i32::try_from(made) {
            Ok(made) if made >= 0 => OwnedFd::from_raw_fd(made),
            _ => return Err(io::Error::last_os_error()),
        }
    };
    let mut api = UffdApi { api: API, features: FEATURE_WP_ASYNC, ioctls: 0 };
    // SAFETY: the opcode takes a pointer to this structure, and writes within it.
    unsafe { ioctl(&descriptor, Updater::<{ opcode::read_write::<UffdApi>(API as u8, 0x3F) }, _>::new(&mut api))? };
    let mut ranges = Vec::new();
    each_segment(|start, end| ranges.push((start, end)));
    for (start, end) in ranges {
        let mut register = UffdRegister { start, length: end - start, mode: MODE_WP, ioctls: 0 };
        // SAFETY: as above; nothing is ever written there, so nothing changes for who uses this memory.
        let done = unsafe {
            ioctl(&descriptor, Updater::<{ opcode::read_write::<UffdRegister>(API as u8, 0) }, _>::new(&mut register))
        };
        // A part that was given other rights since it was loaded stays as it is.
        let _ = done;
    }
    Ok(descriptor)
}

/// The parts of the program and its libraries that are never written to: where they begin and end, in whole pages.
#[cfg(target_os = "linux")]
fn each_segment(mut what: impl FnMut(u64, u64)) {
    unsafe extern "C" fn look(
        object: *mut libc::dl_phdr_info,
        _size: libc::size_t,
        what: *mut libc::c_void,
    ) -> libc::c_int {
        // SAFETY: the C library gives a valid object, whose headers live as long as it is loaded, and passes on what we gave it.
        let (base, headers, what) = unsafe {
            let object = &*object;
            (
                object.dlpi_addr,
                std::slice::from_raw_parts(object.dlpi_phdr, usize::from(object.dlpi_phnum)),
                &mut *what.cast::<&mut dyn FnMut(u64, u64)>(),
            )
        };
        // SAFETY: takes no pointer.
        let page = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
        for header in headers.iter().filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0)
        {
            let start = (base + header.p_vaddr) & !(page - 1);
            what(start, (base + header.p_vaddr + header.p_memsz).next_multiple_of(page));
        }
        0
    }
    let mut what: &mut dyn FnMut(u64, u64) = &mut what;
    // SAFETY: the callback does not unwind and keeps nothing; `what` outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut what).cast()) };
}
