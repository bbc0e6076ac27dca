//! Every step is written down before it is applied; undo reads the journal backwards.
//!
//! ```text
//! <pod>/journal     one line a step, JSON: {"executor":"linux"} first, then the steps in the order of their application
//! ```
//! A step stands in the journal before anything of it is done, so a supervisor killed at any moment leaves a journal
//! that names everything it may have done. `undo` of a step that was not done, or not wholly, or undone already, succeeds.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Error, Host, Kind, Step};

/// The journal of one pod, open for appending.
pub struct Journal {
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
}

impl Journal {
    /// Starts the journal at `path`, which must not exist.
    pub fn create(path: &Path, executor: &str) -> Result<Self, Error> {
        let open = OpenOptions::new().append(true).create_new(true).open(path);
        let file = open.map_err(|e| Error::new(Kind::Io, format!("create {}", path.display())).because(e))?;
        let mut journal = Self { file, applied: 0, fault: Fault::None };
        journal.line(&Header { executor: executor.to_owned() })?;
        Ok(journal)
    }

    /// Lets something go wrong on purpose.
    pub fn inject(&mut self, fault: Fault) {
        self.fault = fault;
    }

    fn line(&mut self, value: &impl Serialize) -> Result<(), Error> {
        self.lines(std::slice::from_ref(value))
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
    pub fn apply_all<H: Host>(&mut self, host: &mut H, steps: &[H::Step]) -> Result<(), Error> {
        let mut written = 0;
        for (number, step) in steps.iter().enumerate() {
            if written == number {
                // Those that leave nothing may stand there before their time.
                let more = steps[number + 1..].iter().take_while(|step| step.leaves_nothing()).count();
                written = number + 1 + more;
                self.lines(&steps[number..written])?;
            }
            let Err(error) = self.carry_out(host, step) else { continue };
            if *error.kind() == Kind::Interrupted {
                return Err(error);
            }
            return match undo_all(host, &steps[..=number]) {
                Ok(()) => Err(error),
                Err(undo) => Err(Error::new(Kind::Undo, error.to_string()).because(format!(
                    "{}; and then failed to {}",
                    reason(&error),
                    crate::error::chain(&undo)
                ))),
            };
        }
        Ok(())
    }
}

/// What is said of a step that fails on purpose.
pub fn injected(doing: String) -> Error {
    Error::new(Kind::Injected, doing).because("a fault was injected here")
}

fn reason(error: &Error) -> String {
    std::error::Error::source(error).map(crate::error::chain).unwrap_or_default()
}

/// The steps of the journal at `path`, in the order of their application. A last line that was cut off was not applied and is
/// left out.
///
/// # Errors
/// [`Kind::Corrupt`]; so also when another executor than `executor` wrote it, whose steps are not for this host.
pub fn read<S: Step>(path: &Path, executor: &str) -> Result<Vec<S>, Error> {
    let corrupt = |why: &str| Error::new(Kind::Corrupt, format!("read {}", path.display())).because(why.to_owned());
    let file = File::open(path).map_err(|e| Error::new(Kind::Io, format!("open {}", path.display())).because(e))?;
    let lines: Vec<String> = BufReader::new(file)
        .lines()
        .collect::<io::Result<_>>()
        .map_err(|e| Error::new(Kind::Io, format!("read {}", path.display())).because(e))?;
    let Some((first, rest)) = lines.split_first() else { return Ok(Vec::new()) };
    let Ok(header) = serde_json::from_str::<Header>(first) else {
        return if rest.is_empty() { Ok(Vec::new()) } else { Err(corrupt("no header")) };
    };
    if header.executor != executor {
        return Err(corrupt(&format!(
            "it was written on `{}`, and this is `{executor}`",
            header.executor.escape_debug()
        )));
    }
    let mut steps = Vec::with_capacity(rest.len());
    for (number, line) in rest.iter().enumerate() {
        match serde_json::from_str(line) {
            Ok(step) => steps.push(step),
            Err(_) if number + 1 == rest.len() => {}
            Err(error) => return Err(corrupt(&format!("line {}: {error}", number + 2))),
        }
    }
    Ok(steps)
}

/// Undoes `steps` in reverse. One that fails does not keep the others from being undone; the first failure is given back.
pub fn undo_all<H: Host>(host: &mut H, steps: &[H::Step]) -> Result<(), Error> {
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
