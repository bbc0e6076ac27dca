//! Memory for a secret: locked where that is allowed, not in core dumps, not in forked children.

use std::io;
use std::ptr::NonNull;

use zeroize::Zeroize;

/// `N` bytes on a page of their own.
///
/// A child process does not inherit them: it finds zeros, and [`Secret::bytes`] says so.
pub(crate) struct Secret<const N: usize> {
    page: NonNull<Page<N>>,
}

#[repr(C)]
struct Page<const N: usize> {
    /// Zero in a child, where the kernel wipes the page.
    here: u8,
    bytes: [u8; N],
}

// SAFETY: the page is owned by the one value that points to it, and is only read once that value exists.
#[allow(unsafe_code)]
unsafe impl<const N: usize> Send for Secret<N> {}
// SAFETY: as above; shared reads of plain bytes do not conflict.
#[allow(unsafe_code)]
unsafe impl<const N: usize> Sync for Secret<N> {}

#[allow(unsafe_code)]
impl<const N: usize> Secret<N> {
    /// Memory that `fill` writes the secret into. What `fill` fails with is passed on.
    ///
    /// # Errors
    /// The system's, when it has no memory, or no way to keep it from children and core dumps.
    pub fn new<E: From<io::Error>>(fill: impl FnOnce(&mut [u8; N]) -> Result<(), E>) -> Result<Self, E> {
        const { assert!(N < 4096, "a secret fits on a page") };
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANON);
        // SAFETY: a new anonymous mapping at a place of the kernel's choice touches no memory that is in use.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), size_of::<Page<N>>(), protection, flags, -1, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error().into());
        }
        let page =
            NonNull::new(address.cast::<Page<N>>()).ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
        let mut secret = Self { page };
        secret.keep()?;
        // SAFETY: the mapping is this large, page-aligned, filled with zeros, and nobody else's.
        let page = unsafe { secret.page.as_mut() };
        fill(&mut page.bytes)?;
        page.here = 1;
        Ok(secret)
    }

    /// The secret; `None` in a process that was forked from the one that made it.
    pub(crate) fn bytes(&self) -> Option<&[u8; N]> {
        // SAFETY: the mapping lives as long as `self` and is not written to any more.
        let page = unsafe { self.page.as_ref() };
        (page.here == 1).then_some(&page.bytes)
    }

    fn keep(&self) -> io::Result<()> {
        let (address, length) = (self.page.as_ptr().cast(), size_of::<Page<N>>());
        // Swapped out is no worse than the file that the secret came from, so a refused lock is none of ours.
        // SAFETY: for all calls here: the range is our mapping, and none of them changes what it holds.
        let _ = unsafe { libc::mlock(address, length) };
        #[cfg(target_os = "linux")]
        let results = unsafe {
            [libc::madvise(address, length, libc::MADV_DONTDUMP), libc::madvise(address, length, libc::MADV_WIPEONFORK)]
        };
        #[cfg(target_os = "freebsd")]
        let results = unsafe {
            [libc::madvise(address, length, libc::MADV_NOCORE), libc::minherit(address, length, libc::INHERIT_ZERO)]
        };
        if results.contains(&-1) { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

#[allow(unsafe_code)]
impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nobody else's.
        unsafe { self.page.as_mut() }.bytes.zeroize();
        // SAFETY: the mapping was made with this size, and nothing points to it any more.
        unsafe { libc::munmap(self.page.as_ptr().cast(), size_of::<Page<N>>()) };
    }
}

/// Keeps this process out of core dumps and out of debuggers that are not root's, until it executes a program.
///
/// On Linux the process's files under `/proc` belong to root from here on, those of children it forks later too: a
/// process without privileges sets up its user namespaces first.
///
/// # Errors
/// The system's.
pub fn never_dump() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    #[cfg(target_os = "freebsd")]
    {
        let mut disable = libc::PROC_TRACE_CTL_DISABLE;
        // Not by `rustix`, which passes the number itself where a pointer to it is due (1.1.6).
        // SAFETY: the argument is a pointer to an int that lives across the call.
        #[allow(unsafe_code)]
        let done = unsafe {
            libc::procctl(libc::P_PID, libc::getpid().into(), libc::PROC_TRACE_CTL, (&raw mut disable).cast())
        };
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> Secret<8> {
        Secret::new(|bytes| {
            bytes.copy_from_slice(b"password");
            Ok::<_, io::Error>(())
        })
        .unwrap()
    }

    #[test]
    fn a_secret_is_what_was_put_in() {
        assert_eq!(secret().bytes(), Some(b"password"));
    }

    #[test]
    fn a_secret_that_could_not_be_had_is_none() {
        let failed = Secret::<8>::new(|_| Err(io::Error::other("no")));
        assert_eq!(failed.err().map(|error| error.to_string()).as_deref(), Some("no"));
    }

    #[test]
    #[allow(unsafe_code)]
    fn a_forked_child_does_not_have_the_secret() {
        let secret = secret();
        // SAFETY: the child only reads memory of its own and leaves by `_exit`.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "{}", io::Error::last_os_error());
        if child == 0 {
            let status = i32::from(secret.bytes().is_some());
            // SAFETY: ends the child at once, running no destructor of this process's.
            unsafe { libc::_exit(status) };
        }
        let mut status = 0;
        // SAFETY: waits for the child just made; the status is written within the call.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{status}");
        assert!(secret.bytes().is_some());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_page_of_a_secret_is_marked_for_no_dump_and_no_child() {
        let secret = secret();
        let address = format!("{:x}-", secret.page.as_ptr() as usize);
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let flags =
            maps.lines().skip_while(|line| !line.starts_with(&address)).find(|line| line.starts_with("VmFlags"));
        let flags: Vec<&str> = flags.unwrap().split_whitespace().collect();
        assert!(flags.contains(&"dd") && flags.contains(&"wf"), "{flags:?}");
    }
}
