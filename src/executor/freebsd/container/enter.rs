//! A further process in a container that runs.

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::Pid;

use super::compile::of_process;
use super::process::{self as own, Said, Talk};
use crate::executor::container::{Container, Entry, write_pid};
use crate::executor::freebsd::{Real, System as _, facts};
use crate::executor::{Error, Kind};
use crate::oci::bundle::Process;
use crate::sys::freebsd::process as sys;

/// Makes `process` in the container and gives its number, once it is its program, and what it asks for in vain. It is the caller's
/// child. The caller has one thread.
///
/// # Errors
/// The container does not run; what could not be done.
pub fn enter(container: &Container, process: &Process, entry: &Entry) -> Result<(Pid, Vec<String>), Error> {
    let failed = |error: io::Error| {
        Error::new(Kind::Io, format!("execute a process in the container {}", container.kept.id)).because(error)
    };
    container.can_be_entered(process, entry)?;
    let jail = container.jail().map_err(failed)?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    let release = facts::release_of(&Real.version());
    let console = entry.console.as_ref().map(OwnedFd::try_clone).transpose().map_err(failed)?;
    let (near, far) = Talk::pair().map_err(failed)?;
    let (mut near, mut parts) = (Some(near), Some((far, console)));
    let child = sys::fork(|| {
        drop(near.take());
        let Some((talk, console)) = parts.take() else { return 1 };
        let ready = own::take_streams(process, console, entry.preserve, &[own::number(&talk)])
            .and_then(|()| own::attach(jail))
            .and_then(|()| own::prepare(process, release));
        let error = match ready {
            Ok(program) => {
                if talk.say(&Said::Ready).is_err() || talk.leave().is_err() {
                    return 1;
                }
                program.execute()
            }
            Err(error) => error,
        };
        talk.broken(&error);
        own::status(&error)
    });
    drop(parts);
    let child = child.map_err(failed)?;
    let near = near.ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
    let done = watch(&near, child, entry, failed);
    if done.is_err() {
        own::end(child);
    }
    let lacks = of_process(process, release).into_iter().map(|(subject, why)| format!("{subject}: {why}"));
    done.map(|()| (child, lacks.collect()))
}

fn watch(talk: &Talk, child: Pid, entry: &Entry, failed: impl Fn(io::Error) -> Error) -> Result<(), Error> {
    let mut ready = false;
    loop {
        match talk.hear().map_err(&failed)? {
            // Once it is ready, that there is nothing more to hear means that it has become its program.
            None if ready => return Ok(()),
            None => return Err(failed(io::Error::other("it ended without a word"))),
            Some(Said::Ready) => {
                ready = true;
                if let Some(file) = &entry.pid_file {
                    write_pid(file, child)?;
                }
                talk.say(&Said::Go).map_err(&failed)?;
            }
            Some(Said::Born | Said::Go) => {}
            Some(Said::Broken(complaint)) => return Err(complaint.into()),
        }
    }
}
