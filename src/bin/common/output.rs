//! `print!` and `println!` of both programs: where the standard library's would panic, a full disk or a closed descriptor is told
//! and ends the program with exit status 1.

use std::fmt;
use std::io::{self, Write};

macro_rules! print {
    ($($what:tt)*) => { $crate::output::write(format_args!($($what)*)) };
}

macro_rules! println {
    () => { $crate::output::write(format_args!("\n")) };
    ($($what:tt)*) => { $crate::output::write(format_args!("{}\n", format_args!($($what)*))) };
}

/// Writes to standard output, at once.
pub fn write(what: fmt::Arguments<'_>) {
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_fmt(what).and_then(|()| out.flush()) {
        // Nobody may be there to read it; the exit status says enough then.
        let _ = writeln!(io::stderr(), "{}: failed to {}", env!("CARGO_BIN_NAME"), lost(&error));
        std::process::exit(1);
    }
}

/// What could not be done, in words that read on after "failed to".
pub fn lost(error: &io::Error) -> String {
    format!("write to standard output: {error}")
}
