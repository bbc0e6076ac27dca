//! The one printer of both programs: `print!`, `println!`, `eprint!`, `eprintln!` and [`json`].
//!
//! `println!` and `eprintln!` say one line, whatever stands in what they are given: names out of images, words of servers, what an
//! app says of itself. Control characters in it are shown and not obeyed. `print!` and `eprint!` keep ends of lines.
//!
//! Where the standard library's would panic, a full disk or a closed descriptor is told and ends the program with exit status 1; of
//! standard error nobody can be told.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use appc::diagnostic::visible;
use appc::sys::output;

macro_rules! print {
    ($($what:tt)*) => { $crate::output::lines(format_args!($($what)*)) };
}

macro_rules! println {
    () => { $crate::output::line(format_args!("")) };
    ($($what:tt)*) => { $crate::output::line(format_args!($($what)*)) };
}

#[allow(unused_macros, reason = "one of the programs asks questions")]
macro_rules! eprint {
    ($($what:tt)*) => { $crate::output::error_lines(format_args!($($what)*)) };
}

macro_rules! eprintln {
    ($($what:tt)*) => { $crate::output::error_line(format_args!($($what)*)) };
}

/// One line to standard output, at once.
pub fn line(what: fmt::Arguments<'_>) {
    write(format!("{}\n", visible::line(&what.to_string())).as_bytes());
}

/// Lines to standard output, at once.
pub fn lines(what: fmt::Arguments<'_>) {
    write(visible::lines(&what.to_string()).as_bytes());
}

/// A value as JSON to standard output, at once.
#[allow(clippy::needless_pass_by_value, reason = "values are made for it")]
pub fn json(value: impl serde::Serialize) -> io::Result<()> {
    let mut text = Vec::new();
    visible::write_json(&mut text, &value)?;
    write(&text);
    Ok(())
}

/// JSON out of an image, byte for byte but for a terminal.
pub fn json_bytes(bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) if io::stdout().is_terminal() => write(visible::json(text).as_bytes()),
        _ => write(bytes),
    }
}

/// One line to standard error.
pub fn error_line(what: fmt::Arguments<'_>) {
    let _ = output::stderr().write_all(format!("{}\n", visible::line(&what.to_string())).as_bytes());
}

/// Lines to standard error.
#[allow(dead_code, reason = "one of the programs asks questions")]
pub fn error_lines(what: fmt::Arguments<'_>) {
    let _ = output::stderr().write_all(visible::lines(&what.to_string()).as_bytes());
}

fn write(what: &[u8]) {
    if let Err(error) = output::stdout().write_all(what) {
        // Nobody may be there to read it; the exit status says enough then.
        error_line(format_args!("{}: failed to {}", env!("CARGO_BIN_NAME"), lost(&error)));
        std::process::exit(1);
    }
}

/// What could not be done, in words that read on after "failed to".
pub fn lost(error: &io::Error) -> String {
    format!("write to standard output: {error}")
}
