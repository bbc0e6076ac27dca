//! Asking an implementation to do something.
//!
//! A question is an action's name with text values (file names, mostly); an answer is what a process leaves behind: how it ended and what
//! it wrote. `command` fills the templates of a target file and starts processes, `stdio` talks to one program by lines of JSON.

mod command;
mod process;
mod stdio;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::target::Target;

use process::Patience;

/// The values that an action's templates may use.
pub type Values = BTreeMap<String, String>;

/// How an action ended.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct Answer {
    /// The exit code, when the process ended by itself.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// It was still running when patience ended, and was killed.
    pub hung: bool,
    /// There was no process, or what it said is no answer: in words.
    #[serde(skip)]
    pub broken: Option<String>,
    /// Standard output, bounded.
    pub stdout: String,
    /// Standard error, bounded.
    pub stderr: String,
}

impl Answer {
    /// Ended by itself with 0.
    pub fn succeeded(&self) -> bool {
        self.code == Some(0)
    }

    /// Ended in good order, well or badly: no signal, no hang.
    pub fn orderly(&self) -> bool {
        self.code.is_some() && !self.hung
    }

    /// How it ended, in words.
    pub fn ending(&self) -> String {
        if let Some(why) = &self.broken {
            return why.clone();
        }
        match (self.hung, self.code, self.signal) {
            (true, ..) => "hung and was killed".into(),
            (_, Some(code), _) => format!("exit status {code}"),
            (_, _, Some(signal)) => format!("was killed by signal {signal}"),
            _ => "ended in no known way".into(),
        }
    }
}

/// A way to ask one implementation.
pub trait Driver: Send + Sync {
    /// Whether the implementation has the action at all.
    fn can(&self, action: &str) -> bool;

    /// A program that it needs and that is not there.
    fn missing(&self) -> Option<String>;

    /// Does the action. An error means that the suite could not put the question.
    fn ask(&self, action: &str, values: &Values) -> Result<Answer, Failure>;
}

/// The driver that a target file asks for.
pub fn of(target: &Target, programs: &BTreeMap<String, String>) -> Result<Box<dyn Driver>, Failure> {
    let patience = Patience(Duration::from_secs(target.patience));
    match &target.program {
        Some(words) => Ok(Box::new(stdio::Program::new(target, words.clone(), patience))),
        None => Ok(Box::new(command::Commands::new(target, programs.clone(), patience))),
    }
}
