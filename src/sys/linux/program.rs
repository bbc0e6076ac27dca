//! The program that enters pods, apart from the file that it is on the host.
//!
//! What runs in a pod before the app's program is in reach of the app, as `/proc/self/exe`: as an interpreter of a script, through a
//! process that it may look into. Whoever opens it there for writing, once nothing runs the file any more because another has taken its
//! place, has the host's program (CVE-2019-5736). So it runs from a mount of its own that stands nowhere and is read-only, which
//! costs no copy; or from a sealed copy in memory where no mount may be made and the file is one that a pod could write.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, StatVfsMountFlags, fcntl_add_seals, fcntl_get_seals};

use super::mount::{self, Attributes};

const ITSELF: &str = "/proc/self/exe";
const SEALS: SealFlags = SealFlags::WRITE.union(SealFlags::GROW).union(SealFlags::SHRINK).union(SealFlags::SEAL);
/// `MFD_EXEC` of Linux 6.3, where executing what is in memory may have to be asked for.
const EXECUTABLE: MemfdFlags = MemfdFlags::from_bits_retain(0x10);

/// Starts the calling program anew, from where no pod can write it, unless it runs from there already. The caller has one thread and
/// has done nothing yet that a new start would lose.
///
/// # Errors
/// Neither kind of copy can be had here, and the file is one that a pod could write.
pub fn run_apart() -> io::Result<()> {
    if runs_apart()? {
        // After such a start the kernel names a process after a descriptor, before Linux 6.14. The name is only for people to see.
        let _ = rustix::thread::set_name(c"jetpack");
        return Ok(());
    }
    let file = rustix::fs::open(ITSELF, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let apart = match read_only_mount(file.as_fd()) {
        Ok(mount) => mount,
        Err(_) if only_roots(file.as_fd())? => return Ok(()),
        Err(_) => copy_in_memory()?,
    };
    Err(execute(apart.as_fd()))
}

fn runs_apart() -> io::Result<bool> {
    // SAFETY: the kernel has put a string there that outlives the process, or nothing.
    let name = unsafe {
        let name = libc::getauxval(libc::AT_EXECFN) as *const libc::c_char;
        if name.is_null() { c"" } else { CStr::from_ptr(name) }
    };
    // So it calls what was started by a descriptor.
    if !name.to_bytes().starts_with(b"/dev/fd/") {
        return Ok(false);
    }
    let file = rustix::fs::open(ITSELF, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let sealed = fcntl_get_seals(&file).is_ok_and(|seals| seals.contains(SEALS));
    Ok(sealed || rustix::fs::fstatvfs(&file)?.f_flag.contains(StatVfsMountFlags::RDONLY))
}

fn read_only_mount(file: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mount = mount::copy(file, false)?;
    mount::restrict(mount.as_fd(), Attributes::MOUNT_ATTR_RDONLY, false)?;
    Ok(mount)
}

/// Whether nobody but root can write the file, and no pod of the calling user has root's power over it.
fn only_roots(file: BorrowedFd<'_>) -> io::Result<bool> {
    let about = rustix::fs::fstat(file)?;
    Ok(!rustix::process::geteuid().is_root() && about.st_uid == 0 && about.st_mode & 0o022 == 0)
}

fn copy_in_memory() -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let copy = match rustix::fs::memfd_create("jetpack", flags | EXECUTABLE) {
        Err(rustix::io::Errno::INVAL) => rustix::fs::memfd_create("jetpack", flags),
        made => made,
    }?;
    let mut copy = File::from(copy);
    io::copy(&mut File::open(ITSELF)?, &mut copy)?;
    fcntl_add_seals(&copy, SEALS)?;
    // What is open for writing is not executed.
    let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// With the arguments and the environment that it has. Comes back only to say why not.
fn execute(program: BorrowedFd<'_>) -> io::Error {
    unsafe extern "C" {
        static environ: *const *const libc::c_char;
    }
    let arguments: Vec<CString> = std::env::args_os().filter_map(|word| CString::new(word.into_vec()).ok()).collect();
    let pointers: Vec<_> = arguments.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect();
    // SAFETY: the path is an empty string, and both lists end with null and point into strings that outlive the call; nobody changes
    // the environment, as there is one thread.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            pointers.as_ptr(),
            environ,
            libc::AT_EMPTY_PATH,
        );
    }
    io::Error::last_os_error()
}
