//! Library errors turned into words for people, with hints and exit codes. The one place where that happens.

use std::error::Error;
use std::io;
use std::process::ExitCode;

/// Why a command did not do what was asked.
pub struct CommandError {
    message: String,
    hint: Option<String>,
    code: u8,
}

impl CommandError {
    /// A mistake in the command line that the parser cannot see: exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, code: 2 }
    }

    /// What could not be done and why, to be read after "failed to": exit code 1.
    pub fn failed(message: impl AsRef<str>) -> Self {
        Self { message: format!("failed to {}", message.as_ref()), hint: None, code: 1 }
    }

    /// The message alone, in words that read on after "failed to", for an error that is told within another.
    pub fn into_message(self) -> String {
        self.message.strip_prefix("failed to ").map(str::to_owned).unwrap_or(self.message)
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Tells the user and gives the exit code.
    pub fn report(self) -> ExitCode {
        eprintln!("actool: {}", self.message);
        if let Some(hint) = self.hint {
            eprintln!("  hint: {hint}");
        }
        ExitCode::from(self.code)
    }
}

/// Any library error: `failed to ...`, exit code 1. Those that stand bare are of standard output: the library says what it did
/// with a file.
impl<E: Error + 'static> From<E> for CommandError {
    fn from(error: E) -> Self {
        let what = match (&error as &dyn Error).downcast_ref() {
            Some(bare) if io::Error::raw_os_error(bare).is_some() => crate::output::lost(bare),
            _ => appc::error::chain(&error),
        };
        Self::failed(what)
    }
}
