//! The sockets by which apps say that they are ready, by the protocol of sd_notify(3). They are the pod's: made by its
//! first process, in its own network.
//!
//! Clauses: im.ann.sdnotify

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_passcred;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, socket_with};
use uuid::Uuid;

use crate::sys::linux::sender;

/// The longest message of an app about itself, in bytes.
const MESSAGE: usize = 4096;

/// The most messages that are taken at once.
const TURN: usize = 64;

/// After something was heard nothing is for so long: what an app says about itself without end is not passed on without end.
const PAUSE: Duration = Duration::from_millis(50);

/// What an app says about itself.
#[derive(Debug)]
pub struct Readiness {
    socket: OwnedFd,
    /// Until when nothing is heard.
    deaf: Option<Instant>,
}

/// What `NOTIFY_SOCKET` says: a name that belongs to the pod's network and to no file system.
pub fn notify_address(pod: Uuid, app: &str) -> String {
    format!("@jetpack/{pod}/{app}")
}

impl Readiness {
    /// The socket behind [`notify_address`].
    ///
    /// # Errors
    /// The system's.
    pub fn listen(pod: Uuid, app: &str) -> io::Result<Self> {
        let name = notify_address(pod, app);
        let address = SocketAddrUnix::new_abstract_name(&name.as_bytes()[1..])?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
        // Before anybody can send: with the host's network the name is everybody's.
        set_socket_passcred(&socket, true)?;
        bind(&socket, &address)?;
        Ok(Self { socket, deaf: None })
    }

    /// The socket, while it is listened to.
    pub fn listens(&self) -> Option<&OwnedFd> {
        if self.wakes().is_none() { Some(&self.socket) } else { None }
    }

    /// When it is listened to again.
    pub fn wakes(&self) -> Option<Instant> {
        self.deaf.filter(|until| *until > Instant::now())
    }

    /// What the app has said since the last time: all there is as one, the last word of each kind last. What is no text, and what
    /// does not come from the pod, is passed over.
    pub fn heard(&mut self) -> Option<String> {
        self.listens()?;
        let (mut ready, mut said) = (false, None);
        for _ in 0..TURN {
            let Some(message) = self.receive() else { break };
            let Some(text) = message.filter(|text| !text.is_empty()) else { continue };
            for line in text.lines() {
                match line.split_once('=') {
                    Some(("READY", "1")) => ready = true,
                    Some(("STATUS", _)) => said = Some(line.to_owned()),
                    _ => {}
                }
            }
        }
        let lines: Vec<String> = ready.then(|| "READY=1".to_owned()).into_iter().chain(said).collect();
        if lines.is_empty() {
            return None;
        }
        self.deaf = Some(Instant::now() + PAUSE);
        Some(lines.join("\n"))
    }

    /// The next message, if one is there; nothing of it when it does not count.
    fn receive(&self) -> Option<Option<String>> {
        let mut bytes = [0_u8; MESSAGE];
        let (length, sender) = sender::receive(self.socket.as_fd(), &mut bytes).ok()?;
        // A process that this one's pid namespace, which is the pod's, does not know has no number here.
        let ours = sender.is_some();
        let text = std::str::from_utf8(bytes.get(..length)?).ok();
        Some(text.filter(|_| ours).map(str::to_owned))
    }
}
