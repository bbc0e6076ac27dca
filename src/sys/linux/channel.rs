//! Messages with descriptors and the sender's process id, between a supervisor and the processes of its pod.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::sockopt::set_socket_passcred;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, UCred, recvmsg, sendmsg, socketpair,
};
use rustix::process::{Pid, getgid, getuid};

/// The longest message.
const LIMIT: usize = 64 * 1024;
/// The most descriptors of one message.
const DESCRIPTORS: usize = 8;

/// One end of a channel. Messages keep their boundaries; an end that is closed reads as end of file at the other.
pub struct Channel(OwnedFd);

/// What came: the bytes, the descriptors with them, and who sent it.
pub struct Message {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The descriptors, closed at exec.
    pub descriptors: Vec<OwnedFd>,
    /// The sender's process id as the receiver's pid namespace knows it; 0 when it does not.
    pub sender: i32,
}

/// Both ends of a new channel, closed at exec. The first knows who sends.
pub(crate) fn pair() -> io::Result<(Channel, Channel)> {
    let (near, far) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    set_socket_passcred(&near, true)?;
    Ok((Channel(near), Channel(far)))
}

impl From<OwnedFd> for Channel {
    fn from(socket: OwnedFd) -> Self {
        Self(socket)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Channel {
    /// Gives this end a number of at least `number`.
    pub(crate) fn raise(&mut self, number: i32) -> io::Result<()> {
        self.0 = rustix::io::fcntl_dupfd_cloexec(&self.0, number)?;
        Ok(())
    }

    /// Sends `bytes` and copies of `descriptors`.
    pub(crate) fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        self.send_with(bytes, &mut control)
    }

    /// Sends `bytes` as if `process` did, which takes privilege in the caller's pid namespace.
    pub(crate) fn send_for(&self, process: Pid, bytes: &[u8]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let sender = UCred { pid: process, uid: getuid(), gid: getgid() };
        if !control.push(SendAncillaryMessage::ScmCredentials(sender)) {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        self.send_with(bytes, &mut control)
    }

    fn send_with(&self, bytes: &[u8], control: &mut SendAncillaryBuffer<'_, '_, '_>) -> io::Result<()> {
        loop {
            match sendmsg(&self.0, &[IoSlice::new(bytes)], control, SendFlags::NOSIGNAL) {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next message; nothing at the end of file. With `wait` false, [`io::ErrorKind::WouldBlock`] when none is there.
    pub fn receive(&self, wait: bool) -> io::Result<Option<Message>> {
        let mut bytes = vec![0_u8; LIMIT];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS), ScmCredentials(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | if wait { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
        let got = loop {
            match recvmsg(&self.0, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other?,
            }
        };
        let mut message = Message { bytes: Vec::new(), descriptors: Vec::new(), sender: 0 };
        for item in control.drain() {
            match item {
                RecvAncillaryMessage::ScmRights(descriptors) => message.descriptors.extend(descriptors),
                // The structure holds a `Pid`, which cannot be 0: for a sender outside the receiver's pid namespace
                // the kernel reports 0, so the receiver must be the outer one, as a supervisor is.
                RecvAncillaryMessage::ScmCredentials(sender) => message.sender = sender.pid.as_raw_nonzero().get(),
                _ => {}
            }
        }
        if got.bytes == 0 {
            return Ok(None);
        }
        if got.flags.contains(ReturnFlags::TRUNC) {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        bytes.truncate(got.bytes);
        message.bytes = bytes;
        Ok(Some(message))
    }
}
