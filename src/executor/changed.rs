//! What an app of a pod that has ended changed of its tree, and images that are made of it.

use std::io::{self, PipeReader, Write};

use super::local::{has_left, model_of};
use super::model::freebsd::Saved;
use super::plan::PodPlan;
use super::{Error, Kind};
use crate::aci::EntryChange;
use crate::layer::{self, Commit, Form, Left};
use crate::pod::{Part, PodDir, State};
use crate::schema::ImageId;

#[cfg(target_os = "freebsd")]
use super::freebsd::enter::Entrance;
#[cfg(target_os = "linux")]
use super::linux::enter::Entrance;

/// Takes a pod that has ended in hand, so that nobody removes it while it is looked at.
///
/// # Errors
/// [`Kind::Busy`] while it runs, or somebody else has it in hand; [`Kind::Missing`] when it never has.
pub fn take(pod: &mut PodDir) -> Result<(), Error> {
    let uuid = pod.uuid();
    let busy = |why: &str| Error::new(Kind::Busy, format!("reach the files of pod {uuid}")).because(why);
    if pod.state() == State::Running {
        let ended = pod.has_ended();
        return Err(busy(if ended { "another process has it in hand" } else { "it still runs" }));
    }
    has_left(pod)?;
    pod.lock().map_err(|error| busy(&crate::error::chain(&error)))
}

/// The image that an app began from: its ID, and its manifest byte for byte.
///
/// # Errors
/// [`Kind::Missing`] when there is no such app; [`Kind::Corrupt`].
pub fn parent(pod: &PodDir, app: Option<&str>) -> Result<(ImageId, Vec<u8>), Error> {
    let corrupt = |error: &(dyn std::error::Error + 'static)| {
        Error::new(Kind::Corrupt, format!("read pod {}", pod.uuid())).because(crate::error::chain(error))
    };
    let (plan, app) = PodPlan::of(pod, app)?;
    let app = &plan.apps[app];
    let id = app.image_id.parse().map_err(|error| corrupt(&error))?;
    let manifest = pod.read_in(Part::Images, &app.name).map_err(|error| corrupt(&error))?;
    Ok((id, manifest))
}

/// Hands what an app changed to `tell`, which may be in a process of its own. The caller has the pod in hand.
///
/// # Errors
/// The system's, naming the path.
pub fn changes(
    pod: &PodDir,
    app: Option<&str>,
    tell: impl FnOnce(&[EntryChange]) -> io::Result<()> + Send,
) -> Result<(), Error> {
    let doing = || format!("tell what pod {} changed", pod.uuid());
    let body = |left: &Left<'_>| {
        let changes = layer::changes(left).map_err(of_layer)?;
        tell(&changes).map_err(|error| Error::new(Kind::Io, doing()).because(error))
    };
    with_left(pod, app, body, || ())
}

/// Makes an image archive of what an app changed, which `keep` reads, with the manifest that `manifest` makes. What could not
/// be kept, or is otherwise than was asked for, is told.
///
/// # Errors
/// As for [`changes`], and what keeps the image from being made. `keep` has read a part of an archive then, which is no image.
pub fn commit<T>(
    pod: &PodDir,
    app: Option<&str>,
    how: &Commit,
    manifest: impl FnOnce(&Form) -> layer::Result<Vec<u8>> + Send,
    tell: impl Fn(&str) + Send + Sync,
    keep: impl FnOnce(PipeReader) -> T,
) -> Result<T, Error> {
    let doing = || format!("make an image of pod {}", pod.uuid());
    let (reader, writer) = io::pipe().map_err(|error| Error::new(Kind::Io, doing()).because(error))?;
    let body = move |left: &Left<'_>| {
        let mut out = Told { writer, refused: false };
        let manifest = |form: &Form| {
            if let Form::Flat { because: Some(why) } = form {
                tell(&format!("the image holds everything, as if --flat was given: {why}"));
            }
            manifest(form)
        };
        match how.write(left, manifest, &mut out) {
            Ok(found) => {
                found.iter().for_each(|found| {
                    let entry = found.place.entry.as_deref().map(|entry| format!("{entry}: ")).unwrap_or_default();
                    tell(&format!("{entry}{}", found.message));
                });
                Ok(())
            }
            // Whoever reads has a reason not to, and tells it.
            Err(_) if out.refused => Ok(()),
            Err(error) => Err(of_layer(error)),
        }
    };
    with_left(pod, app, body, move || keep(reader))
}

fn of_layer(error: layer::Error) -> Error {
    let kind = match error.kind() {
        layer::Kind::Refused => Kind::Refused,
        layer::Kind::Missing => Kind::Missing,
        layer::Kind::Io => Kind::Io,
    };
    error.of_kind(kind)
}

fn with_left<T>(
    pod: &PodDir,
    app: Option<&str>,
    body: impl FnOnce(&Left<'_>) -> Result<(), Error> + Send,
    beside: impl FnOnce() -> T,
) -> Result<T, Error> {
    match model_of(pod)? {
        Some(file) => Saved::open(&file)?.with_left(pod, app, body, beside),
        None => Entrance::new(pod, app)?.with_left(body, beside),
    }
}

/// Runs `body` in a thread while `beside` runs in this one.
pub(super) fn side_by_side<T>(
    body: impl FnOnce() -> Result<(), Error> + Send,
    beside: impl FnOnce() -> T,
) -> Result<T, Error> {
    std::thread::scope(|scope| {
        let body = scope.spawn(body);
        let done = beside();
        body.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map(|()| done)
    })
}

/// A pipe, and whether nobody reads it any more.
struct Told<W> {
    writer: W,
    refused: bool,
}

impl<W: Write> Write for Told<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes).inspect_err(|error| self.refused |= error.kind() == io::ErrorKind::BrokenPipe)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
