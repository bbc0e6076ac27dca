//! Text of others on its way to a terminal or a log: an image's names, a server's words, what an app says of itself.
//!
//! What a terminal would obey in place of showing it is written as an escape, and so is what would begin a line that looks like
//! one of ours. Both programs print through this, findings too.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

use serde::Serialize;

/// One line: ends of lines are escaped, too.
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, obeyed, |out, c| out.extend(c.escape_default()))
}

/// Several lines of ours, in which each piece of others went through [`line()`] where a line of its own would deceive.
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c != '\n' && obeyed(c), |out, c| out.extend(c.escape_default()))
}

/// A JSON text that means the same: what is escaped can only stand within its strings.
pub fn json(text: &str) -> Cow<'_, str> {
    escaped(
        text,
        |c| !c.is_ascii_whitespace() && obeyed(c),
        |out, c| {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        },
    )
}

/// Writes a value as indented JSON and a newline.
pub fn write_json(mut out: impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(Json(&mut out), value)?;
    writeln!(out)
}

/// Passes JSON on, which its writer hands over in whole characters.
struct Json<W>(W);

impl<W: Write> Write for Json<W> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let passed = match std::str::from_utf8(text) {
            Ok(text) => self.0.write_all(json(text).as_bytes()),
            Err(_) => self.0.write_all(text),
        };
        passed.map(|()| text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// What a terminal obeys in place of showing it: controls, and marks without width, some of which turn the text around.
pub(crate) fn obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn escaped(text: &str, obeyed: impl Fn(char) -> bool, write: impl Fn(&mut String, char)) -> Cow<'_, str> {
    let Some(first) = text.find(&obeyed) else { return Cow::Borrowed(text) };
    let mut out = String::with_capacity(text.len() + 16);
    out.push_str(&text[..first]);
    for c in text[first..].chars() {
        if obeyed(c) { write(&mut out, c) } else { out.push(c) }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped_and_all_else_stays() {
        assert!(matches!(line("straße 日本 `\\n`"), Cow::Borrowed("straße 日本 `\\n`")));
        assert_eq!(line("a\x1b[2Jb\x07\x7f\u{9b}c\nd\re\tf"), r"a\u{1b}[2Jb\u{7}\u{7f}\u{9b}c\nd\re\tf");
        assert_eq!(line("x\u{202e}y\u{2066}z\u{200f}\u{61c}\u{2028}"), r"x\u{202e}y\u{2066}z\u{200f}\u{61c}\u{2028}");
        assert_eq!(lines("a\nb\x1b\r\n"), "a\nb\\u{1b}\\r\n");
    }

    #[test]
    fn json_means_the_same() {
        let value = serde_json::json!({ "a\u{9b}\u{7f}": "\x1b\n\u{202e}\u{feff}" });
        let text = serde_json::to_string_pretty(&value).unwrap();
        let mut written = Vec::new();
        write_json(&mut written, &value).unwrap();
        let shown = String::from_utf8(written).unwrap();
        assert!(shown.chars().all(|c| c == '\n' || !obeyed(c)), "{shown:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        assert_eq!(shown, format!("{}\n", json(&text)));
    }
}
