//! How findings leave the container: one line, one write, so that lines of several processes do not mix.

use std::io::Write;

use serde_json::{Value, json};

/// Tells one finding.
pub fn finding(who: &str, see: &[&str], value: Value) {
    let mut line = format!("@probe {}\n", json!({ "who": who, "see": see, "value": value })).into_bytes();
    let mut out = std::io::stdout().lock();
    // Nobody is left to tell when standard output is gone.
    let _ = out.write_all(&line);
    let _ = out.flush();
    line.clear();
}

/// A failed system call as a finding: its symbolic name where there is one.
pub fn error(error: &std::io::Error) -> Value {
    let name = error.raw_os_error().map(|number| format!("{:?}", nix::errno::Errno::from_raw(number)));
    json!({ "error": name.unwrap_or_else(|| error.kind().to_string()) })
}

/// What a call gave: `{"ok": true}` or the error.
pub fn done<T>(result: std::io::Result<T>) -> Value {
    match result {
        Ok(_) => json!({ "ok": true }),
        Err(e) => error(&e),
    }
}
