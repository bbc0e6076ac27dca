//! An implementation by a program that speaks lines of JSON: a question a line in, an answer a line out.
//!
//! ```text
//! -> {"do":"validate","with":{"file":"/tmp/x/manifest.json","type":"manifest"}}
//! <- {"code":1,"stdout":"","stderr":"error[im.name]: ..."}
//! ```
//! Started anew for every question, so that one that hangs or dies takes nothing with it.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use serde_json::json;

use super::{Answer, Driver, Patience, Values, process};
use crate::target::Target;
use crate::{Failure, interrupt};

/// A program and what it says that it can do.
pub struct Program {
    words: Vec<String>,
    can: Vec<String>,
    patience: Patience,
    dir: std::path::PathBuf,
    serial: Mutex<()>,
}

impl Program {
    /// Takes over what the target file says.
    pub fn new(target: &Target, words: Vec<String>, patience: Patience) -> Program {
        Program { words, can: target.can.clone(), patience, dir: target.dir.clone(), serial: Mutex::new(()) }
    }
}

impl Driver for Program {
    fn can(&self, action: &str) -> bool {
        self.can.iter().any(|one| one == action)
    }

    fn ask(&self, action: &str, values: &Values) -> Result<Answer, Failure> {
        interrupt::allows(action)?;
        let _one = self.serial.lock();
        let Some((program, rest)) = self.words.split_first() else {
            return Err(Failure::new("the target's program is empty"));
        };
        // The question comes in a file, so that a program that does not read cannot block the suite.
        let mut question =
            tempfile::tempfile().map_err(|e| Failure::new(format!("failed to write the question: {e}")))?;
        let written = writeln!(question, "{}", json!({ "do": action, "with": values }));
        written
            .and_then(|()| std::io::Seek::rewind(&mut question))
            .map_err(|e| Failure::new(format!("failed to write the question: {e}")))?;
        let mut command = Command::new(program);
        command.args(rest).current_dir(&self.dir).stdin(Stdio::from(question));
        let begun = Instant::now();
        let raw = process::run_with_input(command, self.patience)
            .map_err(|e| Failure::new(format!("failed to start {program}: {e}")))?;
        if raw.hung || raw.signal.is_some() {
            return Ok(raw);
        }
        match raw.stdout.lines().next().map(serde_json::from_str::<Answer>) {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(e)) => Ok(garbage(&raw, &format!("answered with no JSON: {e}"))),
            None => Ok(garbage(&raw, &format!("answered nothing in {} ms", begun.elapsed().as_millis()))),
        }
    }
}

/// An answer that cannot be read counts as a crash of the target.
fn garbage(raw: &Answer, why: &str) -> Answer {
    Answer {
        code: None,
        stderr: format!("the target's program {why}\n{}", raw.stderr),
        stdout: raw.stdout.clone(),
        ..Answer::default()
    }
}
