//! Every step is written down before it is applied; undo reads the journal backwards.
//!
//! ```text
//! <pod>/journal     one line a step, JSON: {"executor":"linux","steps":57,"root":"..."} first, then the steps in the order of their
//!                   application
//! ```
//! A step stands in the journal before anything of it is done, so a supervisor killed at any moment leaves a journal
//! that names everything it may have done. `undo` of a step that was not done, or not wholly, or undone already, succeeds.
//!
//! Whoever comes to a pod later (`exec`, `cp`, `export`, `gc`) takes what it was made by from here, and compiles nothing:
//! hosts change, and two answers to one question would differ.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Error, Host, Kind, Step};
use crate::pod::Bounds;

/// The journal of one pod, open for appending.
pub(crate) struct Journal {
    file: File,
    applied: usize,
    fault: Fault,
}

/// Something that goes wrong on purpose, for tests that prove the undo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// The step of this number (from 0) is applied, by whoever does it, and then said to have failed.
    Fail(usize),
    /// The supervisor is gone after the step of this number: [`Kind::Interrupted`], nothing undone.
    Stop(usize),
}

#[derive(Serialize, Deserialize)]
struct Header {
    executor: String,
    /// How many steps the pod is made by. Journals of earlier versions do not say.
    #[serde(default)]
    steps: Option<usize>,
    /// The root that the pod belongs to, likewise.
    #[serde(default)]
    root: Option<Uuid>,
}

impl Journal {
    /// Starts the journal at `path`, which must not exist, of a pod of the root `root` that is made by so many steps.
    pub(crate) fn create(path: &Path, executor: &str, root: Option<Uuid>, steps: usize) -> Result<Self, Error> {
        let open = OpenOptions::new().append(true).create_new(true).open(path);
        let file = open.map_err(|e| Error::new(Kind::Io, format!("create {}", path.display())).because(e))?;
        let mut journal = Self { file, applied: 0, fault: Fault::None };
        journal.lines(&[Header { executor: executor.to_owned(), steps: Some(steps), root }])?;
        Ok(journal)
    }

    /// Lets something go wrong on purpose.
    pub(crate) fn inject(&mut self, fault: Fault) {
        self.fault = fault;
    }

    fn lines(&mut self, values: &[impl Serialize]) -> Result<(), Error> {
        let mut text = Vec::new();
        for value in values {
            serde_json::to_writer(&mut text, value)
                .map_err(|e| Error::new(Kind::Io, "put a step into words").because(e))?;
            text.push(b'\n');
        }
        self.file.write_all(&text).map_err(|e| Error::new(Kind::Io, "write the pod's journal").because(e))
    }

    fn carry_out<H: Host>(&mut self, host: &mut H, step: &H::Step) -> Result<(), Error> {
        let number = self.applied;
        self.applied += 1;
        host.apply(step)?;
        match self.fault {
            Fault::Fail(at) if at == number && !step.done_inside() => Err(injected(step.describe())),
            Fault::Stop(at) if at == number => Err(Error::new(Kind::Interrupted, step.describe())),
            _ => Ok(()),
        }
    }

    /// Applies all `steps`; when one fails, undoes in reverse what was done, that step included.
    ///
    /// # Errors
    /// The failing step's; what could not be undone is told with it.
    pub(crate) fn apply_all<H: Host>(&mut self, host: &mut H, steps: &[H::Step]) -> Result<(), Error> {
        let mut written = 0;
        for (number, step) in steps.iter().enumerate() {
            // One that cannot be written down is not begun.
            let mut begun = number;
            let done = self.write_down(steps, number, &mut written).and_then(|()| {
                begun += 1;
                self.carry_out(host, step)
            });
            let Err(error) = done else { continue };
            if *error.kind() == Kind::Interrupted {
                return Err(error);
            }
            return Err(undone(error, undo_all(host, &steps[..begun])));
        }
        Ok(())
    }

    /// Writes down the step of this `number`, unless it is `written`.
    fn write_down<S: Step>(&mut self, steps: &[S], number: usize, written: &mut usize) -> Result<(), Error> {
        if *written > number {
            return Ok(());
        }
        // Those that leave nothing may stand there before their time.
        let more = steps[number + 1..].iter().take_while(|step| step.leaves_nothing()).count();
        *written = number + 1 + more;
        self.lines(&steps[number..*written])
    }
}

/// The error that kept a pod from being made, with what kept it from being undone.
pub(crate) fn undone(error: Error, undo: Result<(), Error>) -> Error {
    let failed = undo.is_err();
    let error = error.and(undo);
    if failed { error.of_kind(Kind::Undo) } else { error }
}

/// What is said of a step that fails on purpose.
pub(crate) fn injected(doing: String) -> Error {
    Error::new(Kind::Injected, doing).because("a fault was injected here")
}

/// What a journal says, and what of it does not read.
struct Read<S> {
    header: Option<Header>,
    steps: Vec<S>,
    /// In words, with the line's number.
    lost: Vec<String>,
}

fn lines<S: Step>(path: &Path) -> Result<Read<S>, Error> {
    let text = fs::read(path).map_err(|e| Error::new(Kind::Io, format!("read {}", path.display())).because(e))?;
    let mut read = Read { header: None, steps: Vec::new(), lost: Vec::new() };
    let mut rest = text.as_slice();
    for number in 1.. {
        // What has no end was cut off, and was not applied.
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { break };
        let line = &rest[..end];
        rest = &rest[end + 1..];
        let failed = match number {
            1 => serde_json::from_slice(line).map(|header| read.header = Some(header)).err(),
            _ => serde_json::from_slice(line).map(|step| read.steps.push(step)).err(),
        };
        read.lost.extend(failed.map(|error| format!("line {number}: {error}")));
    }
    Ok(read)
}

/// The steps of the journal at `path`, in the order of their application. A last line that was cut off was not applied and is
/// left out.
///
/// # Errors
/// [`Kind::Corrupt`]; so also when another executor than `executor` wrote it, whose steps are not for this host.
pub(crate) fn read<S: Step>(path: &Path, executor: &str) -> Result<Vec<S>, Error> {
    known(path, executor).map(|(_, steps)| steps)
}

/// The steps of the journal at `path` that are to be undone, and in words what is not: with `salvage` what does not read
/// stands there, without it is an error; what is not the pod's own is nobody's to undo here in either case.
///
/// # Errors
/// [`Kind::Corrupt`]; [`Kind::Io`].
pub(crate) fn to_undo<S: Step>(
    path: &Path,
    executor: &str,
    bounds: &Bounds,
    salvage: bool,
) -> Result<(Vec<S>, Vec<String>), Error> {
    let Read { header, mut steps, mut lost } = lines::<S>(path)?;
    if let Some(header) = header {
        let executor = (header.executor != executor)
            .then(|| format!("it was written on `{}`, and this is `{executor}`", header.executor.escape_debug()));
        let elsewhere = header.root.is_some() && header.root != bounds.root;
        let foreign = executor.or_else(|| elsewhere.then(|| "it was written in another root".to_owned()));
        if let Some(why) = foreign {
            steps.clear();
            lost.push(why);
        }
    }
    steps.retain(|step| {
        let own = step.belongs(bounds);
        if !own {
            lost.push(format!("it is not the pod's own: {}", step.describe()));
        }
        own
    });
    match lost.first() {
        Some(why) if !salvage => {
            Err(Error::new(Kind::Corrupt, format!("read {}", path.display())).because(why.clone()))
        }
        _ => Ok((steps, lost)),
    }
}

/// The steps of a pod that was wholly made. Nobody enters a pod by half of what confines it.
///
/// # Errors
/// Those of [`read`]; [`Kind::Corrupt`] where steps are missing.
pub(crate) fn read_whole<S: Step>(path: &Path, executor: &str) -> Result<Vec<S>, Error> {
    let (all, steps) = known(path, executor)?;
    match all {
        Some(all) if all != steps.len() => {
            let why = format!("it names {} of the {all} steps that the pod is made by", steps.len());
            Err(Error::new(Kind::Corrupt, format!("read {}", path.display())).because(why))
        }
        _ => Ok(steps),
    }
}

fn known<S: Step>(path: &Path, executor: &str) -> Result<(Option<usize>, Vec<S>), Error> {
    let corrupt = |why: String| Error::new(Kind::Corrupt, format!("read {}", path.display())).because(why);
    let read = lines::<S>(path)?;
    if let Some(lost) = read.lost.into_iter().next() {
        return Err(corrupt(lost));
    }
    match read.header {
        Some(header) if header.executor != executor => {
            let wrote = header.executor.escape_debug();
            Err(corrupt(format!("it was written on `{wrote}`, and this is `{executor}`")))
        }
        header => Ok((header.and_then(|header| header.steps), read.steps)),
    }
}

/// The steps of the journal at `path`, or with `salvage` of a damaged one those that can be read, and why not all.
///
/// # Errors
/// Those of [`read`].
pub(crate) fn read_somehow<S: Step>(
    path: &Path,
    executor: &str,
    salvage: bool,
) -> Result<(Vec<S>, Option<Error>), Error> {
    let error = match read(path, executor) {
        Err(error) if salvage && *error.kind() == Kind::Corrupt => error,
        steps => return Ok((steps?, None)),
    };
    let Read { header, steps, .. } = lines(path)?;
    // What another system did is nobody's to undo here.
    let ours = header.is_none_or(|header| header.executor == executor);
    Ok((if ours { steps } else { Vec::new() }, Some(error)))
}

/// Undoes `steps` in reverse. One that fails does not keep the others from being undone; the first failure is given back.
pub(crate) fn undo_all<H: Host>(host: &mut H, steps: &[H::Step]) -> Result<(), Error> {
    let mut first = Ok(());
    for step in steps.iter().rev() {
        if let Err(error) = host.undo(step)
            && first.is_ok()
        {
            first = Err(error);
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use std::io::{self, PipeReader};
    use std::os::fd::OwnedFd;

    use super::*;

    #[derive(Clone, Debug, Serialize, Deserialize)]
    struct Number(usize);

    impl Step for Number {
        fn describe(&self) -> String {
            format!("do {}", self.0)
        }

        fn belongs(&self, _: &Bounds) -> bool {
            true
        }
    }

    /// Reads the journal until the second step is done.
    struct Reading {
        journal: Option<PipeReader>,
        calls: Vec<String>,
    }

    impl Host for Reading {
        type Step = Number;

        fn apply(&mut self, step: &Number) -> Result<(), Error> {
            self.calls.push(format!("apply {}", step.0));
            self.journal.take_if(|_| step.0 == 1);
            Ok(())
        }

        fn undo(&mut self, step: &Number) -> Result<(), Error> {
            self.calls.push(format!("undo {}", step.0));
            Err(Error::new(Kind::Io, format!("undo {}", step.0)).because("it stays"))
        }
    }

    #[test]
    fn a_step_that_cannot_be_written_down_is_not_begun_and_those_before_it_are_undone() {
        let (reader, writer) = io::pipe().unwrap();
        let mut journal = Journal { file: OwnedFd::from(writer).into(), applied: 0, fault: Fault::None };
        let mut host = Reading { journal: Some(reader), calls: Vec::new() };
        let error = journal.apply_all(&mut host, &[0, 1, 2, 3].map(Number)).unwrap_err();
        assert_eq!(host.calls, ["apply 0", "apply 1", "undo 1", "undo 0"]);
        assert_eq!(*error.kind(), Kind::Undo);
        let told = crate::error::chain(&error);
        assert!(
            told.starts_with("write the pod's journal: ") && told.ends_with("; and then failed to undo 1: it stays"),
            "{told}"
        );
    }
}
