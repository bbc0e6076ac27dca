//! Subordinate ids: which users and groups of the host someone without privilege may have in a user namespace, and work done there.
//!
//! `/etc/subuid` and `/etc/subgid` grant ranges, a line `NAME-OR-NUMBER:FIRST:COUNT` each; newuidmap(1) and newgidmap(1),
//! which have the privilege, write the maps.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Signal, WaitId, WaitIdOptions, dumpable_behavior, getegid, geteuid, getppid, pidfd_send_signal,
    set_dumpable_behavior, set_parent_process_death_signal, waitid,
};
use serde::{Deserialize, Serialize};

use super::process::{self, namespace};

/// Where the two programs are looked for: never along the caller's own path.
const PLACES: [&str; 4] = ["/usr/bin", "/usr/local/bin", "/bin", "/run/wrappers/bin"];

/// How ids inside a user namespace map to the host's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    /// (first inside, first on the host, how many) for users.
    pub users: Vec<(u32, u32, u32)>,
    /// Ranges of group ids.
    pub groups: Vec<(u32, u32, u32)>,
}

impl IdMap {
    /// One user and one group: what everyone may have.
    pub(crate) fn one(uid: u32, gid: u32) -> Self {
        Self { users: vec![(0, uid, 1)], groups: vec![(0, gid, 1)] }
    }

    /// The caller as root, and all that is granted to him beyond.
    ///
    /// # Errors
    /// Why there is no more than one.
    pub(crate) fn granted(uid: u32, gid: u32) -> Result<Self, String> {
        program("newuidmap").and(program("newgidmap"))?;
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let passwd = read("/etc/passwd");
        let grant =
            |path: &str| granted(&read(path), &passwd, uid).ok_or_else(|| format!("{path} grants none to user {uid}"));
        let (users, groups) = (grant("/etc/subuid")?, grant("/etc/subgid")?);
        Ok(Self { users: vec![(0, uid, 1), (1, users.0, users.1)], groups: vec![(0, gid, 1), (1, groups.0, groups.1)] })
    }

    /// Has the maps of the new user namespace of the process `pid` written.
    ///
    /// # Errors
    /// What the program that writes them says.
    pub(crate) fn write(&self, pid: i32) -> Result<(), String> {
        for (name, map) in [("newuidmap", &self.users), ("newgidmap", &self.groups)] {
            let mut command = Command::new(program(name)?);
            command.env_clear().arg(pid.to_string());
            for (inside, outside, count) in map {
                command.args([inside.to_string(), outside.to_string(), count.to_string()]);
            }
            let output = command.output().map_err(|error| format!("{name}: {error}"))?;
            if !output.status.success() {
                return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
            }
        }
        Ok(())
    }
}

/// A program of the host's.
///
/// # Errors
/// That it is not there.
pub fn program(name: &str) -> Result<PathBuf, String> {
    let found = PLACES
        .iter()
        .map(|place| Path::new(place).join(name))
        .find(|path| path.metadata().is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0));
    found.ok_or_else(|| format!("the program {name} is not installed"))
}

/// The first range that the file grants to a user, by name or by number.
fn granted(file: &str, passwd: &str, uid: u32) -> Option<(u32, u32)> {
    let number = uid.to_string();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == number).then_some(name)
    });
    file.lines().find_map(|line| {
        let (owner, range) = line.trim().split_once(':')?;
        let (first, count) = range.split_once(':')?;
        let (first, count): (u32, u32) = (first.parse().ok()?, count.parse().ok()?);
        let fits = count > 0 && first.checked_add(count).is_some();
        ((owner == number || Some(owner) == name) && fits).then_some((first, count))
    })
}

/// The namespace that work is done in, or why there is none, once it was asked for.
static NAMESPACE: Mutex<Option<Result<OwnedFd, String>>> = Mutex::new(None);

/// Whether this process, which is not root's, has subordinate ids.
static GRANTED: OnceLock<bool> = OnceLock::new();

/// Whether this process does not have what belongs to subordinate ids by itself, and has it [`within`].
pub fn wanted() -> bool {
    let uid = geteuid();
    // Asked first: what works within shares what this process knows.
    !uid.is_root() && *GRANTED.get_or_init(|| IdMap::granted(uid.as_raw(), getegid().as_raw()).is_ok())
}

/// Does `body` as root of a user namespace in which the subordinate ids of this user are the ids from 1 on: what belongs to them it may
/// read, change, remove and give away. It has this process's memory and its descriptors as they are; what it opens it has for itself. It
/// starts no threads, and forks nothing.
///
/// # Errors
/// Why there is no such namespace.
pub fn within<T>(body: impl FnOnce() -> T) -> io::Result<T> {
    let mut kept = NAMESPACE.lock().unwrap_or_else(PoisonError::into_inner);
    let made = kept.get_or_insert_with(|| make().map_err(|error| error.to_string()));
    let namespace = made.as_ref().map_err(|why| io::Error::other(why.clone()))?.try_clone()?;
    drop(kept);
    let parent = rustix::process::getpid();
    let (mut given, mut refused) = (None, None);
    // Who is killed does not leave it at work.
    let enter = || {
        process::enter(namespace.as_fd(), namespace::USER)?;
        set_parent_process_death_signal(Some(Signal::KILL))?;
        if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::Interrupted.into()) }
    };
    let child = process::lend(|| match enter() {
        Ok(()) => {
            given = Some(body());
            0
        }
        Err(error) => {
            refused = Some(error);
            1
        }
    })?;
    let reaped = loop {
        match waitid(WaitId::PidFd(child.handle.as_fd()), WaitIdOptions::EXITED) {
            Err(Errno::INTR) => {}
            reaped => break reaped,
        }
    };
    if given.is_none() {
        reaped?;
    }
    given.ok_or_else(|| refused.unwrap_or_else(|| io::Error::other("it ended before its work was done")))
}

/// A user namespace without a process.
fn make() -> io::Result<OwnedFd> {
    let ids = IdMap::granted(geteuid().as_raw(), getegid().as_raw()).map_err(io::Error::other)?;
    // Of who keeps secrets, files of /proc are root's, by which ids are mapped.
    let before = dumpable_behavior()?;
    set_dumpable_behavior(DumpableBehavior::Dumpable)?;
    let parent = rustix::process::getpid();
    let holder = process::clone(namespace::USER, || {
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
        // Who went before that sends no signal.
        while getppid() == Some(parent) {
            rustix::event::pause();
        }
        0
    });
    let opened = holder.and_then(|holder| {
        let pid = holder.pid.as_raw_nonzero().get();
        let opened = ids.write(pid).map_err(io::Error::other).and_then(|()| {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            Ok(rustix::fs::open(format!("/proc/{pid}/ns/user"), flags, Mode::empty())?)
        });
        pidfd_send_signal(&holder.handle, Signal::KILL)?;
        waitid(WaitId::PidFd(holder.handle.as_fd()), WaitIdOptions::EXITED)?;
        opened
    });
    set_dumpable_behavior(before)?;
    opened
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_granted_by_name_or_number() {
        let passwd = "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n";
        let file = "bob:100000:65536\n1001:300000:10\nann:200000:65536\nann:400000:1\n";
        assert_eq!(granted(file, passwd, 1000), Some((200_000, 65_536)));
        assert_eq!(granted(file, passwd, 1001), Some((300_000, 10)));
        assert_eq!(granted(file, passwd, 0), None);
        for broken in ["ann:200000", "ann:x:1", "ann:1:0", "ann:4294967295:2", "", "ann::"] {
            assert_eq!(granted(broken, passwd, 1000), None, "{broken}");
        }
    }
}
