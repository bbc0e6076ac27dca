//! Making a container: its jail and its mounts stand, its process goes into them and waits to be told to go on.
//!
//! ```text
//!  maker                                 the container's process
//!    │ mounts, the jail, its rules
//!    │──fork────────────────────────────▶ terminal, descriptors
//!    │◀─────────────────────────── born ─│
//!    │ hooks: prestart, createRuntime    │
//!    │─── go ───────────────────────────▶ hooks: createContainer; into the jail: limits, identity, program
//!    │◀────────────────────────── ready ─│
//!    │ pid file, state                   │
//!    │─── go ───────────────────────────▶ waits at the socket `start`
//! ```

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::process::Pid;

use super::compile::{Facts, compile, made};
use super::process::{self, Said, Talk};
use crate::executor::container::{Container, Kept, Root, Started, Status, Wish, hooks, look, state, write_pid};
use crate::executor::freebsd::{FreeBsd, NAME, Real, Step};
use crate::executor::isolation::Verdict;
use crate::executor::journal::{self, Journal};
use crate::executor::{Error, Kind};
use crate::oci::bundle::Bundle;
use crate::sys::freebsd::process as sys;

/// The socket's name in the container's directory.
const DOOR: &str = "start";

/// Makes the container `id` of `bundle`, up to where its program starts. Gives it, and what does not hold of what was asked for. The
/// caller has one thread.
///
/// # Errors
/// What could not be done: nothing is left of it.
pub fn create(root: &Root, id: &str, bundle: &Bundle, wish: &Wish) -> Result<(Container, Vec<Verdict>), Error> {
    look(root, id, bundle, wish)?;
    let failed = |error: io::Error| Error::new(Kind::Io, format!("make the container {id}")).because(error);
    // Mounts are found by where they are, which the kernel tells without links.
    fs::DirBuilder::new().recursive(true).mode(0o711).create(&root.0).map_err(failed)?;
    let root = &Root(fs::canonicalize(&root.0).map_err(failed)?);
    let facts = Facts::detect(&mut Real, bundle);
    let compiled = compile(bundle, id, &root.place(id)?, &facts)?;
    compiled.report.judge(wish.strict)?;
    let maker = Started::of(std::process::id().cast_signed()).ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    let (jail, _) = made(&compiled.steps).ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    let kept = Kept {
        id: id.to_owned(),
        oci_version: bundle.config.oci_version.clone(),
        bundle: bundle.directory.clone(),
        rootfs: facts.rootfs.clone(),
        created: format!("{:.9}", jiff::Timestamp::now()),
        owner: rustix::process::geteuid().as_raw(),
        maker,
        process: None,
        groups: Vec::new(),
        jail: Some(jail),
        report: compiled.report.clone(),
    };
    let unmet = compiled.report.unmet().cloned().collect();
    let container = Container::make(root, kept, &bundle.config)?;
    match make(container.clone(), bundle, wish, &compiled.steps, facts.release) {
        Ok(container) => Ok((container, unmet)),
        Err(error) => Err(journal::undone(error, container.remove(false).map(drop))),
    }
}

fn make(
    mut container: Container,
    bundle: &Bundle,
    wish: &Wish,
    steps: &[Step],
    release: (u32, u32),
) -> Result<Container, Error> {
    let failed = |error: io::Error| Error::new(Kind::Io, "make the container's process").because(error);
    let mut journal = Journal::create(&container.directory().join("journal"), NAME, None, steps.len())?;
    journal.apply_all(&mut FreeBsd::new(Real), steps)?;
    let jail = container.jail().map_err(failed)?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    let seen = made(steps).map(|(_, seen)| seen).unwrap_or_default();
    let listener = process::at(container.directory(), || UnixListener::bind(DOOR)).map_err(failed)?;
    let (near, far) = Talk::pair().map_err(failed)?;
    let console = wish.console.as_ref().map(OwnedFd::try_clone).transpose().map_err(failed)?;
    let kept = container.kept.clone();
    let (mut near, mut parts) = (Some(near), Some((far, listener, console)));
    let child = sys::fork(|| {
        drop(near.take());
        let Some((talk, listener, console)) = parts.take() else { return 1 };
        Born { bundle, kept: &kept, wish, seen: &seen, jail, release }.live(talk, listener, console)
    });
    drop(parts);
    let child = child.map_err(failed)?;
    // The child's copy is gone, this one is not.
    let near = near.ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
    let done = watch(&near, child, &mut container, bundle, wish);
    if done.is_err() {
        process::end(child);
    }
    done.map(|()| container)
}

fn watch(talk: &Talk, child: Pid, container: &mut Container, bundle: &Bundle, wish: &Wish) -> Result<(), Error> {
    let failed = |error: io::Error| Error::new(Kind::Io, "make the container's process").because(error);
    let config = &bundle.config;
    loop {
        let said = talk.hear().map_err(failed)?;
        match said.ok_or_else(|| failed(io::Error::other("it ended without a word")))? {
            Said::Born => {
                container.kept.process = Started::of(child.as_raw_nonzero().get());
                hooks::run("prestart", &config.hooks.prestart, &container.shown(Status::Created))?;
                hooks::run("createRuntime", &config.hooks.create_runtime, &container.shown(Status::Creating))?;
            }
            Said::Ready => {
                container.save()?;
                if let Some(file) = &wish.pid_file {
                    write_pid(file, child)?;
                }
                return talk.say(&Said::Go).map_err(failed);
            }
            Said::Go => {}
            Said::Broken(complaint) => return Err(complaint.into()),
        }
        talk.say(&Said::Go).map_err(failed)?;
    }
}

/// The container's process before it becomes its program.
struct Born<'a> {
    bundle: &'a Bundle,
    kept: &'a Kept,
    wish: &'a Wish,
    /// The jail's root on the host.
    seen: &'a Path,
    jail: i32,
    release: (u32, u32),
}

impl Born<'_> {
    fn live(self, talk: Talk, listener: UnixListener, console: Option<OwnedFd>) -> i32 {
        let program = match self.set_up(&talk, &listener, console) {
            Ok(program) => program,
            Err(error) => {
                talk.broken(&error);
                return 1;
            }
        };
        if talk.say(&Said::Ready).and_then(|()| talk.leave().map_err(io::Error::other)).is_err() {
            return 1;
        }
        drop(talk);
        let Ok((starter, _)) = listener.accept() else { return 1 };
        drop(listener);
        let starter = Talk::over(starter);
        if starter.leave().is_err() {
            return 1;
        }
        let hooks = &self.bundle.config.hooks.start_container;
        let error = match hooks::run("startContainer", hooks, &self.shown(Status::Created)) {
            Ok(()) => program.execute(),
            Err(error) => error,
        };
        starter.broken(&error);
        process::status(&error)
    }

    fn set_up(
        &self,
        talk: &Talk,
        listener: &UnixListener,
        console: Option<OwnedFd>,
    ) -> Result<process::Program, Error> {
        let config = &self.bundle.config;
        let process = config.process.as_ref().ok_or_else(|| Error::new(Kind::Refused, "find the process"))?;
        process::take_streams(
            process,
            console,
            self.wish.preserve,
            &[process::number(talk), process::number(listener)],
        )?;
        let failed = |error: io::Error| Error::new(Kind::Io, "tell the maker").because(error);
        talk.say(&Said::Born).map_err(failed)?;
        talk.leave()?;
        // By the host's files, and with the container's root as the current directory, as other runtimes have it.
        std::env::set_current_dir(self.seen).map_err(failed)?;
        hooks::run("createContainer", &config.hooks.create_container, &self.shown(Status::Creating))?;
        process::attach(self.jail)?;
        process::prepare(process, self.release)
    }

    fn shown(&self, status: Status) -> serde_json::Value {
        let me = Started { pid: std::process::id().cast_signed(), at: 0 };
        state(self.kept, status, Some(me), &self.bundle.config.annotations)
    }
}

/// Tells the container's process to go on, and waits until it has become its program. Gives the failures of hooks that keep it
/// from nothing.
///
/// # Errors
/// It does not wait; why it has become none.
pub fn start(container: &Container) -> Result<Vec<Error>, Error> {
    let id = &container.kept.id;
    let failed = |error: io::Error| Error::new(Kind::Io, format!("start the container {id}")).because(error);
    container.waits()?;
    let config = container.config()?;
    let to = process::at(container.directory(), || UnixStream::connect(DOOR)).map_err(failed)?;
    let to = Talk::over(to);
    to.say(&Said::Go).map_err(failed)?;
    let answer = to.hear().map_err(failed)?;
    fs::remove_file(container.door()).map_err(failed)?;
    if let Some(Said::Broken(complaint)) = answer {
        return Err(complaint.into());
    }
    // As the specification has it, one that fails is told, and the container runs on.
    Ok(hooks::run_all("poststart", &config.hooks.poststart, &container.shown(container.status())))
}
