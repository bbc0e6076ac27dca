//! Containers of OCI bundles: what `jetpack-oci` makes, starts and removes, on every system.
//!
//! ```text
//! <root>/<id>/config.json    as it was when the container was made
//!             state.json     its process, by number and start time; its control groups, or its jail
//!             journal        what was done to the host, as of a pod
//!             start          the socket by which the process is told to go on; gone once it has been
//! ```
//! The steps are those of pods and some more; there is no supervisor and no process of ours inside: the container's process is the child of
//! whoever called, as an engine's monitor wants to wait for it. What it is doing is derived: a process that is there no longer has
//! stopped, one with its socket is created, any other runs.
//!
//! Whoever wrote the configuration is trusted with the host, as is who may call at all. The root file system is not.
//!
//! How they come to be stands with each system: `linux/container`, `freebsd/container`.
//!
//! Rules of ours: `x.oci.runtime`.

pub(crate) mod hooks;
mod state;

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::Pid;

pub(crate) use state::state;
pub use state::{Container, Group, Kept, Root, Started, Status};

use super::users::Identity;
use super::{Error, Kind};
use crate::oci::bundle::{Bundle, Process};
use crate::whole::{self, Durability};

/// What the command line says beside the bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Where control groups stand.
    pub groups: Groups,
    /// The root is moved to and not pivoted into.
    pub no_pivot: bool,
}

/// Where a container's control groups stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Groups {
    /// Where their path says.
    #[default]
    Plain,
    /// Where systemd would have them.
    Systemd,
    /// Nowhere: it stays in its caller's.
    None,
}

/// How a container is to be made.
#[derive(Debug, Default)]
pub struct Wish {
    /// What the compiler has to know.
    pub options: Options,
    /// The socket that gets the near end of its terminal ([`console`]).
    pub console: Option<OwnedFd>,
    /// The file that its process's number goes into.
    pub pid_file: Option<PathBuf>,
    /// How many descriptors above the standard streams it keeps.
    pub preserve: i32,
    /// Whether it keeps its caller's keyring.
    pub keep_keyring: bool,
    /// Whether it is not made where something does not hold.
    pub strict: bool,
}

/// How a further process is made.
#[derive(Debug, Default)]
pub struct Entry {
    /// The socket that gets the near end of its terminal.
    pub console: Option<OwnedFd>,
    /// The file that its number goes into.
    pub pid_file: Option<PathBuf>,
    /// How many descriptors above the standard streams it keeps.
    pub preserve: i32,
    /// Whether it keeps its caller's keyring.
    pub keep_keyring: bool,
    /// The group below the container's that it joins; with `controller:` before it, in that one's tree only.
    pub group: Option<String>,
    /// Whether it may be made in a container that stands still, and stand still with it.
    pub though_paused: bool,
}

/// The socket at `path`, for a terminal to be sent to.
///
/// # Errors
/// The system's.
pub fn console(path: &Path) -> Result<OwnedFd, Error> {
    connected(path).map_err(|error| {
        Error::new(Kind::Io, format!("connect to the console socket {}", path.display())).because(error)
    })
}

/// A socket that is connected to the one at `path`.
pub(crate) fn connected(path: &Path) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// Looks whether the container `id` of `bundle` can be made as it is wished.
pub(crate) fn look(root: &Root, id: &str, bundle: &Bundle, wish: &Wish) -> Result<(), Error> {
    let place = root.place(id)?;
    if place.exists() {
        return Err(Error::new(Kind::Busy, format!("make the container {id}"))
            .because(format!("container with id exists already: {id}")));
    }
    let Some(process) = &bundle.config.process else {
        return Err(Error::new(Kind::Refused, "use config.json").because("process: it is missing"));
    };
    if process.terminal != wish.console.is_some() {
        let why = if process.terminal {
            "cannot allocate tty if runc will detach without setting console socket: process.terminal is set, --console-socket is not"
        } else {
            "cannot use console socket if runc will not detach or allocate tty: process.terminal is not set"
        };
        return Err(Error::new(Kind::Refused, "use --console-socket").because(why.replace("runc", "the runtime")));
    }
    Ok(())
}

/// Writes the number of a process where whoever called wants it.
pub(crate) fn write_pid(file: &Path, pid: Pid) -> Result<(), Error> {
    whole::replace(file, 0o644, pid.as_raw_nonzero().to_string().as_bytes(), Durability::Usual)
        .map_err(|e| Error::new(Kind::Io, format!("write the pid file {}", file.display())).because(e))
}

/// Removes the container: what is left of it ends. `force` ends what runs first, and takes back what can be read of a journal that is
/// damaged. Gives what went wrong and kept nothing from being done.
///
/// # Errors
/// [`Kind::Busy`]: it runs; what could not be taken back.
pub fn delete(container: &Container, force: bool) -> Result<Vec<Error>, Error> {
    let id = &container.kept.id;
    let status = container.status();
    if status != Status::Stopped {
        if !force && status != Status::Created {
            return Err(Error::new(Kind::Busy, format!("delete the container {id}"))
                .because(format!("cannot delete container {id} that is not stopped: {}", status.word())));
        }
        let _ = container.signal(libc::SIGKILL);
        if status == Status::Paused {
            let _ = container.freeze(false);
        }
        for _ in 0..1000 {
            if container.status() == Status::Stopped {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
    let config = container.config();
    let mut lost = container.remove(force)?;
    match config {
        Ok(config) => {
            let state = state(&container.kept, Status::Stopped, None, &config.annotations);
            lost.extend(hooks::run_all("poststop", &config.hooks.poststop, &state));
        }
        // Who takes it away wants it gone, and nobody can say any more what was to be run then.
        Err(error) => lost.push(error),
    }
    Ok(lost)
}

/// Engines tell by these words that there is no such program, and pass that on by an exit status of its own.
pub(crate) fn in_known_words(args: &[String], error: Error) -> Error {
    let program = args.first().map_or("", String::as_str);
    if *error.kind() != Kind::NoProgram || program.contains('/') {
        return error;
    }
    Error::new(Kind::NoProgram, format!("execute {program:?}")).because("executable file not found in $PATH")
}

/// The environment of a process as it is given, and a home: what `find` says of its user.
pub(crate) fn environment(process: &Process, find: impl FnOnce() -> Result<Identity, Error>) -> Vec<String> {
    let mut environment = process.env.clone();
    if !environment.iter().any(|entry| entry.starts_with("HOME=")) {
        let home = find().ok().and_then(|identity| identity.home).unwrap_or_else(|| "/".to_owned());
        environment.push(format!("HOME={home}"));
    }
    environment
}
