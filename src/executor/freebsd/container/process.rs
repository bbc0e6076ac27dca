//! From a child of this program to the container's program, and what it says on the way.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, Uid, fchown};
use rustix::process::{Pid, Rlimit, WaitOptions, setrlimit, waitpid};
use serde::{Deserialize, Serialize};

use super::limits;
use crate::executor::complaint::Complaint;
use crate::executor::container::{environment, in_known_words};
use crate::executor::freebsd::launch::{find, pseudo_terminal, with_rootfs};
use crate::executor::users::Identity;
use crate::executor::{Error, Kind, decided};
use crate::oci::bundle::{ConsoleSize, Process};
use crate::sys::freebsd::{jail, named, process as sys};
use crate::sys::passing;

/// What a process says to its maker, and the other way round.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Said {
    /// It has its streams, and nothing else of its maker's.
    Born,
    /// It has only to become its program.
    Ready,
    /// It may go on.
    Go,
    /// It could not.
    Broken(Complaint),
}

/// The longest line.
const LINE: usize = 64 << 10;

/// One end of the way between them: a line of JSON a message.
pub(super) struct Talk(UnixStream);

impl Talk {
    pub(super) fn pair() -> io::Result<(Self, Self)> {
        UnixStream::pair().map(|(near, far)| (Self(near), Self(far)))
    }

    pub(super) fn over(socket: UnixStream) -> Self {
        Self(socket)
    }

    pub(super) fn say(&self, said: &Said) -> io::Result<()> {
        let mut line = serde_json::to_vec(said)?;
        line.push(b'\n');
        (&self.0).write_all(&line)
    }

    /// The next message; nothing when the other end is closed, as it is by becoming a program.
    pub(super) fn hear(&self) -> io::Result<Option<Said>> {
        let mut line = Vec::new();
        let mut byte = [0];
        while line.len() < LINE {
            match (&self.0).read(&mut byte) {
                Ok(0) if line.is_empty() => return Ok(None),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) if byte[0] == b'\n' => return Ok(Some(serde_json::from_slice(&line)?)),
                Ok(_) => line.push(byte[0]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Who has become a program, or has ended, with something unread.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::InvalidData.into())
    }

    /// Waits for leave to go on.
    pub(super) fn leave(&self) -> Result<(), Error> {
        let failed = |error: io::Error| Error::new(Kind::Io, "hear from the maker").because(error);
        match self.hear().map_err(failed)? {
            Some(Said::Go) => Ok(()),
            _ => Err(failed(io::Error::other("it has gone"))),
        }
    }

    pub(super) fn broken(&self, error: &Error) {
        // Nobody is left to be told that the maker is gone.
        let _ = self.say(&Said::Broken(Complaint::from(error)));
    }
}

/// In a child: its session, its terminal or the streams that it has been given, and of the descriptors those alone that are to be kept.
pub(super) fn take_streams(
    process: &Process,
    console: Option<OwnedFd>,
    preserve: i32,
    keep: &[i32],
) -> Result<(), Error> {
    let failed = |doing: &'static str| move |error: io::Error| Error::new(Kind::Io, doing).because(error);
    match console {
        Some(console) => terminal(&console, process.console_size).map_err(failed("set up the terminal"))?,
        None => drop(rustix::process::setsid().map_err(|error| failed("make a session")(error.into()))?),
    }
    // A directory among them would keep it out of the jail.
    sys::close_all_but(3 + preserve, keep);
    Ok(())
}

/// Makes a new terminal this process's own, and hands its near end out by the socket `to`.
fn terminal(to: &OwnedFd, size: Option<ConsoleSize>) -> io::Result<()> {
    let (near, far) = pseudo_terminal()?;
    if let Some(ConsoleSize { height, width }) = size.filter(|size| size.height != 0 && size.width != 0) {
        let size = rustix::termios::Winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&far, size)?;
    }
    passing::send(to, near.as_fd())?;
    for number in 0..3 {
        sys::place(far.as_fd(), number)?;
    }
    sys::take_terminal()
}

/// Goes into the jail, to its root.
pub(super) fn attach(jail: i32) -> Result<(), Error> {
    let failed = |error: io::Error| Error::new(Kind::Io, "attach to the jail").because(error);
    jail::attach(jail).map_err(|error| failed(named("jail_attach", error)))?;
    std::env::set_current_dir("/").map_err(failed)
}

/// A program that is ready to be executed.
pub(super) struct Program {
    path: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

/// In the jail, as its root: becomes what `process` is to be, but for its program.
///
/// # Errors
/// What could not be; [`Kind::NoProgram`], [`Kind::NotExecutable`].
pub(super) fn prepare(process: &Process, release: (u32, u32)) -> Result<Program, Error> {
    let failed = |doing: String| move |error: io::Error| Error::new(Kind::Io, doing).because(error);
    for limit in &process.rlimits {
        let Some(kind) = limits::known(&limit.kind) else { continue };
        let some = |value: u64| (value != u64::MAX).then_some(value);
        setrlimit(kind, Rlimit { current: some(limit.soft), maximum: some(limit.hard) })
            .map_err(|error| failed(format!("set {}", limit.kind))(error.into()))?;
    }
    // One that is not there is made, as other runtimes do. Where that fails, going there does too.
    let _ = std::fs::create_dir_all(&process.cwd);
    std::env::set_current_dir(&process.cwd).map_err(|error| decided::no_directory(&process.cwd).because(error))?;
    let (uid, gid) = (process.user.uid.to_string(), process.user.gid.to_string());
    let environment = environment(process, || with_rootfs(|rootfs| Identity::find(&uid, &gid, rootfs)));
    let pairs = environment.iter().filter_map(|entry| entry.split_once('='));
    let lookup: BTreeMap<String, String> = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let path = find(&process.args, decided::program(&process.args, &lookup)?);
    let path = path.map_err(|error| in_known_words(&process.args, error))?;
    let user = &process.user;
    let (uid, gid) = (user.uid, user.gid);
    for stream in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
        if rustix::termios::isatty(stream) {
            let _ = fchown(stream, Some(Uid::from_raw(uid.get())), None);
        }
    }
    sys::become_user(uid, gid, &user.additional_gids)
        .map_err(failed(format!("become user {} and group {}", user.uid, user.gid)))?;
    let mask = user.umask.unwrap_or(0o022) & 0o777;
    rustix::process::umask(Mode::from_raw_mode(u16::try_from(mask).unwrap_or(0o022)));
    sys::reset_signals().map_err(failed("reset the signals".to_owned()))?;
    if process.no_new_privileges && release.0 >= 14 {
        sys::forbid_new_privileges().map_err(failed("forbid new privileges".to_owned()))?;
    }
    let nul = |error: std::ffi::NulError| Error::new(Kind::Refused, "execute the program").because(error);
    let words = |list: &[String]| list.iter().map(|word| CString::new(word.as_str())).collect::<Result<Vec<_>, _>>();
    Ok(Program {
        path: CString::new(path.as_os_str().as_bytes()).map_err(nul)?,
        arguments: words(&process.args).map_err(nul)?,
        environment: words(&environment).map_err(nul)?,
    })
}

impl Program {
    /// Becomes it. Comes back only with the reason why it could not.
    pub(super) fn execute(self) -> Error {
        let error = sys::execute(&self.path, &self.arguments, &self.environment);
        let path = PathBuf::from(std::ffi::OsStr::from_bytes(self.path.as_bytes()));
        decided::not_executed(&path, named("execve", error))
    }
}

/// The exit status of a process that has become no program.
pub(super) fn status(error: &Error) -> i32 {
    match error.kind() {
        Kind::NoProgram => 127,
        Kind::NotExecutable => 126,
        _ => 1,
    }
}

/// Ends a child of ours that is to be no more.
pub(super) fn end(child: Pid) {
    let _ = crate::sys::signals::send(child, libc::SIGKILL);
    let _ = waitpid(Some(child), WaitOptions::empty());
}

/// Does something while `directory` is the current one: addresses of sockets have room for 104 bytes, and paths for more.
pub(super) fn at<T>(directory: &Path, what: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let before = std::fs::File::open(".")?;
    std::env::set_current_dir(directory)?;
    let done = what();
    rustix::process::fchdir(&before)?;
    done
}

/// The number of a descriptor.
pub(super) fn number(of: &impl std::os::fd::AsFd) -> i32 {
    of.as_fd().as_raw_fd()
}

impl std::os::fd::AsFd for Talk {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}
