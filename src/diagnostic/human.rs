//! Findings for people: what, where, the line with the place marked, what to do.

use std::io::{self, Write};

use super::visible::{line as visible, obeyed};
use super::{Diagnostic, FileReport, FileType, Severity};

/// How much is shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// Colours, for terminals.
    pub color: bool,
    /// Findings only: no verdicts.
    pub quiet: bool,
}

/// Characters of a line that are shown; manifests are often one long line.
const WIDTH: usize = 96;
/// Bytes of a character at most.
const LONGEST: usize = 4;

/// Writes all findings about a file, and one line with the verdict.
pub fn write(out: &mut dyn Write, file: &FileReport, style: Style) -> io::Result<()> {
    let paint = Paint(style.color);
    for diagnostic in &file.diagnostics {
        one(out, file, diagnostic, paint)?;
    }
    if style.quiet {
        return Ok(());
    }
    if file.is_unreadable() {
        return writeln!(out, "{}: cannot be read", visible(&file.path));
    }
    let what = match file.file_type {
        FileType::Image => "image",
        FileType::Layout => "image layout",
        FileType::Manifest => "manifest",
    };
    let counts: Vec<String> = [(Severity::Error, "error"), (Severity::Warning, "warning"), (Severity::Note, "note")]
        .into_iter()
        .map(|(severity, word)| (file.count(severity), word))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}{}", if count == 1 { "" } else { "s" }))
        .collect();
    let verdict = if file.valid { "valid" } else { "invalid" };
    let counts = if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) };
    writeln!(out, "{}: {verdict} {what}{counts}", visible(&file.path))
}

fn one(out: &mut dyn Write, file: &FileReport, diagnostic: &Diagnostic, paint: Paint) -> io::Result<()> {
    let (word, color) = match diagnostic.severity {
        Severity::Error => ("error", RED),
        Severity::Warning => ("warning", YELLOW),
        Severity::Note => ("note", CYAN),
    };
    let title = paint.with(color, &format!("{word}[{}]", diagnostic.clause));
    writeln!(out, "{title}: {}", paint.with(BOLD, &visible(&diagnostic.message)))?;

    let place = &diagnostic.place;
    let mut at = visible(&file.path).into_owned();
    if let Some(entry) = &place.entry {
        let joint = if file.file_type == FileType::Layout { "/" } else { ":" };
        at = format!("{}{joint}{}", at.trim_end_matches('/'), visible(entry));
    }
    if let (Some(line), Some(column)) = (place.line, place.column) {
        at = format!("{at}:{line}:{column}");
    }
    let number = place.line.map(|line| line.to_string()).unwrap_or_default();
    let gutter = " ".repeat(number.len() + 1);
    writeln!(out, "{gutter}{} {at}", paint.with(BLUE, "-->"))?;

    if let Some((before, behind)) = place.offset.and_then(|offset| file.source.split_at_checked(offset)) {
        let excerpt = Excerpt::of(before, behind, place.length.unwrap_or(1) as usize);
        let bar = paint.with(BLUE, "|");
        let label = diagnostic.label.as_deref().map(|label| format!(" {}", visible(label))).unwrap_or_default();
        let marks = format!("{}{label}", "^".repeat(excerpt.marked));
        writeln!(out, "{gutter} {bar}")?;
        writeln!(out, "{} {bar} {}", paint.with(BLUE, &format!(" {number}")), excerpt.text)?;
        writeln!(out, "{gutter} {bar} {}{}", " ".repeat(excerpt.indent), paint.with(color, &marks))?;
    }
    let equals = paint.with(BLUE, "=");
    if let Some(help) = &diagnostic.help {
        writeln!(out, "{gutter} {equals} help: {}", visible(help))?;
    }
    writeln!(out, "{gutter} {equals} explain: actool explain {}\n", diagnostic.clause)
}

/// A piece of a line around the marked place.
struct Excerpt {
    text: String,
    indent: usize,
    marked: usize,
}

impl Excerpt {
    /// The line around a place that stands between `before` and `behind`.
    fn of(before: &[u8], behind: &[u8], length: usize) -> Self {
        // Lines are cut in bytes first: one of megabytes is not counted for each of its findings.
        let start = before.len().saturating_sub(WIDTH * LONGEST);
        let near = &before[start..];
        let left = near.iter().rposition(|byte| *byte == b'\n').map_or(near, |at| &near[at + 1..]);
        let near = &behind[..behind.len().min((WIDTH + 1) * LONGEST)];
        let right = near.iter().position(|byte| *byte == b'\n').map_or(near, |at| &near[..at]);
        let left: Vec<char> = String::from_utf8_lossy(left).chars().map(plain).collect();
        let right: Vec<char> = String::from_utf8_lossy(right).trim_end().chars().map(plain).collect();
        // The marked place and a little before it, as much behind it as fits.
        let cut = left.len() + right.len() > WIDTH;
        let shown = if cut { left.len().min(WIDTH / 3) } else { left.len() };
        let most = WIDTH - shown;
        let ellipsis = |there: bool| if there { "…" } else { "" };
        let (start, end) = (ellipsis(shown < left.len()), ellipsis(most < right.len()));
        let text: String = left[left.len() - shown..].iter().chain(right.iter().take(most)).collect();
        let marked = length.min(right.len().min(most)).max(1);
        Self { text: format!("{start}{text}{end}"), indent: shown + start.chars().count(), marked }
    }
}

/// One column a character, and nothing that moves a terminal's cursor.
fn plain(c: char) -> char {
    match c {
        '\t' => ' ',
        c if obeyed(c) => '\u{fffd}',
        c => c,
    }
}

const BOLD: &str = "1";
const RED: &str = "1;31";
const YELLOW: &str = "1;33";
const BLUE: &str = "1;34";
const CYAN: &str = "1;36";

#[derive(Clone, Copy)]
struct Paint(bool);

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::UNREADABLE;

    fn shown(file: &FileReport, style: Style) -> String {
        let mut out = Vec::new();
        write(&mut out, file, style).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn report() -> FileReport {
        let mut diagnostic = Diagnostic::error("im.labels.unique", "label `os` is given twice").help("remove one");
        diagnostic.label = Some("given first on line 1".to_owned());
        diagnostic.place.line = Some(2);
        diagnostic.place.column = Some(3);
        diagnostic.place.length = Some(4);
        diagnostic.place.offset = Some(4);
        let mut file = FileReport::new("a.json", FileType::Manifest).with([diagnostic]);
        file.source = b"[\n\t \"os\"\x1b]\n".to_vec();
        file
    }

    #[test]
    fn a_finding_shows_its_line_with_the_place_marked() {
        let expected = "\
error[im.labels.unique]: label `os` is given twice
  --> a.json:2:3
   |
 2 |   \"os\"\u{fffd}]
   |   ^^^^ given first on line 1
   = help: remove one
   = explain: actool explain im.labels.unique

a.json: invalid manifest: 1 error
";
        assert_eq!(shown(&report(), Style::default()), expected);
    }

    #[test]
    fn what_cannot_be_read_is_not_called_a_kind_of_file() {
        let gone = Diagnostic::error(UNREADABLE, "cannot be read: no such file");
        let file = FileReport::new("gone.aci", FileType::Image).with([gone]);
        assert_eq!(shown(&file, Style::default()).lines().last(), Some("gone.aci: cannot be read"));
    }

    #[test]
    fn text_that_turns_a_line_around_is_made_visible() {
        let excerpt = Excerpt::of("a\u{202e}b\u{feff}".as_bytes(), b"", 1);
        assert_eq!(excerpt.text, "a\u{fffd}b\u{fffd}");
    }

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let line = "x".repeat(5000);
        let excerpt = Excerpt::of(line.as_bytes(), line.as_bytes(), 9000);
        assert_eq!(excerpt.text.chars().count(), WIDTH + 2);
        assert_eq!((excerpt.indent, excerpt.marked), (WIDTH / 3 + 1, WIDTH - WIDTH / 3));
        let end = Excerpt::of(b"xyz\nabc", b"", 1);
        assert_eq!((end.text.as_str(), end.indent, end.marked), ("abc", 3, 1));
    }

    #[test]
    fn quiet_shows_no_verdict() {
        assert_eq!(shown(&FileReport::new("b", FileType::Image), Style { quiet: true, color: true }), "");
        let full = shown(&report(), Style::default());
        let quiet = shown(&report(), Style { quiet: true, color: false });
        assert_eq!(full.strip_prefix(&quiet), Some("a.json: invalid manifest: 1 error\n"));
    }
}
