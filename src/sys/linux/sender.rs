//! Who sent a message on a unix socket, as the kernel says it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Takes the next message of a socket that passes credentials, where one is there: its length, and the sender's process id as the
/// caller's pid namespace knows it. That is none when the namespace does not know it. Descriptors that come with it are not taken.
///
/// rustix gives credentials too, but has no word for a process without a number.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] when no message is there; the system's.
pub fn receive(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<(usize, Option<i32>)> {
    const SPACE: usize = 64;
    #[repr(align(8))]
    struct Control([u8; SPACE]);
    let mut control = Control([0; SPACE]);
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: all zeros is a valid header; its pointers are to what lives across the call, with their lengths. There is room for the
    // credentials and nothing else, and they come first. The pointers of the control messages stay within what the kernel filled.
    unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = libc::CMSG_SPACE(size_of::<libc::ucred>() as u32) as _;
        let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
        let length = libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags);
        let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
        let first = libc::CMSG_FIRSTHDR(&raw const header);
        let mut sender = None;
        if !first.is_null()
            && (*first).cmsg_level == libc::SOL_SOCKET
            && (*first).cmsg_type == libc::SCM_CREDENTIALS
            && (*first).cmsg_len as usize >= libc::CMSG_LEN(size_of::<libc::ucred>() as u32) as usize
        {
            let credentials = libc::CMSG_DATA(first).cast::<libc::ucred>().read_unaligned();
            sender = Some(credentials.pid).filter(|pid| *pid > 0);
        }
        Ok((length, sender))
    }
}
