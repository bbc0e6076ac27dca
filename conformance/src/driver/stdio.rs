//! An implementation by a program that speaks lines of JSON: a question a line in, an answer a line out.
//!
//! ```text
//! -> {"do":"validate","with":{"file":"/tmp/x/manifest.json","type":"manifest"}}
//! <- {"code":1,"stdout":"","stderr":"error[im.name]: ..."}
//! ```
//! Started anew for every question, so that one that hangs or dies takes nothing with it.

use std::io::Write;
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Answer, Driver, Patience, Values, process};
use crate::perform::left::MARK;
use crate::target::Target;
use crate::{Failure, interrupt};

/// A program and what it says that it can do.
pub struct Program {
    words: Vec<String>,
    can: Vec<String>,
    patience: Patience,
    dir: std::path::PathBuf,
}

impl Program {
    /// Takes over what the target file says.
    pub fn new(target: &Target, words: Vec<String>, patience: Patience) -> Program {
        Program { words, can: target.can.clone(), patience, dir: target.dir.clone() }
    }
}

impl Driver for Program {
    fn can(&self, action: &str) -> bool {
        self.can.iter().any(|one| one == action)
    }

    fn missing(&self) -> Option<String> {
        self.words.first().filter(|program| !process::there(program, &self.dir)).cloned()
    }

    fn ask(&self, action: &str, values: &Values) -> Result<Answer, Failure> {
        interrupt::allows(action)?;
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
        if let Some(dir) = values.get("work") {
            command.env(MARK, dir);
        }
        let raw = process::run_with_input(command, self.patience)?;
        if raw.hung || raw.signal.is_some() || raw.broken.is_some() {
            return Ok(raw);
        }
        // By way of an object: a list of the right things would do for the type.
        let read = |line: &str| {
            serde_json::from_str::<Map<_, _>>(line).and_then(|map| Answer::deserialize(Value::Object(map)))
        };
        Ok(match raw.stdout.lines().next().map(read) {
            Some(Ok(answer)) if answer.code.is_none() && answer.signal.is_none() && !answer.hung => {
                garbage(raw, "gave an answer without `code`".into())
            }
            Some(Ok(answer)) => answer,
            Some(Err(e)) => garbage(raw, format!("gave an answer that cannot be read: {e}")),
            None => {
                let ending = raw.ending();
                garbage(raw, format!("gave no answer: {ending}"))
            }
        })
    }
}

/// An answer that is none counts as a crash of the target.
fn garbage(raw: Answer, why: String) -> Answer {
    Answer { code: None, broken: Some(why), ..raw }
}
