//! The report for a terminal: failures as they come, then a table of clauses and of areas.

use std::io::{self, Write};

use super::summary::Summary;
use crate::event::{Event, State};

/// Writes while events come.
pub struct Text<W: Write> {
    out: W,
    all: bool,
}

impl<W: Write> Text<W> {
    /// `all` shows every clause at the end, not only those that did not pass.
    pub fn new(out: W, all: bool) -> Text<W> {
        Text { out, all }
    }

    /// Tells one event.
    pub fn tell(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::Target { target, about, .. } => writeln!(self.out, "\n{target}: {about}"),
            Event::Case { case, checks, trouble, .. } => {
                for check in checks.iter().filter(|check| check.state == State::Fail) {
                    writeln!(self.out, "FAIL {} [{case}]\n     expected: {}", check.clause, check.expectation)?;
                    if let Some(why) = &check.why {
                        writeln!(self.out, "     but:      {why}")?;
                    }
                    if let Some(seen) = &check.evidence {
                        writeln!(
                            self.out,
                            "     seen:     {}",
                            plain(seen).trim_end().replace('\n', "\n               ")
                        )?;
                    }
                }
                trouble.iter().try_for_each(|what| writeln!(self.out, "TROUBLE [{case}] the target {}", plain(what)))
            }
            Event::Begin { .. } | Event::End { .. } => Ok(()),
        }
    }

    /// Tells the whole at the end.
    pub fn end(&mut self, events: &[Event]) -> io::Result<()> {
        let summary = Summary::of(events);
        for target in &summary.targets {
            writeln!(self.out, "\n{}", target.name)?;
            for (id, about) in &summary.clauses {
                let state = target.states.get(*id).copied();
                let untestable = summary.untestable.get(id);
                if !self.all && (state == Some(State::Pass) || untestable.is_some()) {
                    continue;
                }
                let word = state.map_or(if untestable.is_some() { "untestable" } else { "no case" }, State::word);
                let checks =
                    target.cases.iter().flat_map(|(.., checks)| checks.iter()).filter(|check| check.clause == *id);
                let why = checks.filter(|check| Some(check.state) == state).find_map(|check| check.why.clone());
                let why = why.or_else(|| untestable.map(|why| (*why).to_owned())).unwrap_or_default();
                let line = format!("  {word:<13} {:<10} {id:<36} {why}", about.strength);
                writeln!(self.out, "{}", line.trim_end())?;
            }
            writeln!(
                self.out,
                "\n  {:<20}{:>7}{:>7}{:>10}{:>13}{:>9}{:>14}",
                "area", "pass", "fail", "expected", "unsupported", "skipped", "inconclusive"
            )?;
            for area in summary.areas() {
                let counts =
                    target.count(summary.clauses.iter().filter(|(_, about)| about.area == area).map(|(id, _)| *id));
                self.row(area, &counts)?;
            }
            let counts = target.count(summary.clauses.keys().copied());
            self.row("all", &counts)?;
            for clause in target.better_than_said() {
                writeln!(self.out, "  passes against its target file's expectation: {clause}")?;
            }
            let left_out = summary.left_out(target);
            let untestable = summary.untestable.len();
            writeln!(
                self.out,
                "  {} clauses: {} checked, {} not checked here, {untestable} untestable for a reason, {} without a case",
                summary.clauses.len(),
                target.checked(),
                target.states.len() - target.checked(),
                left_out.len()
            )?;
        }
        writeln!(
            self.out,
            "\n{} in {:.1} s",
            counted(summary.targets.iter().map(|target| target.cases.len()).sum(), "case"),
            summary.milliseconds as f64 / 1000.0
        )
    }

    fn row(&mut self, name: &str, counts: &std::collections::BTreeMap<State, usize>) -> io::Result<()> {
        let n = |state| counts.get(&state).copied().unwrap_or(0);
        writeln!(
            self.out,
            "  {name:<20}{:>7}{:>7}{:>10}{:>13}{:>9}{:>14}",
            n(State::Pass),
            n(State::Fail),
            n(State::ExpectedFail),
            n(State::Unsupported),
            n(State::Skipped),
            n(State::Inconclusive)
        )
    }
}

/// What a target printed, without what would move a terminal.
fn plain(text: &str) -> String {
    text.chars().map(|one| if one.is_control() && one != '\n' && one != '\t' { '\u{fffd}' } else { one }).collect()
}

/// How many of something there are.
pub fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn what_a_target_printed_moves_no_terminal() {
        assert_eq!(plain("a\tb\n\u{1b}[31m\u{9b}2J\r"), "a\tb\n\u{fffd}[31m\u{fffd}2J\u{fffd}");
    }
}
