//! JUnit XML: a suite for each target and area, a case for each clause.

use std::fmt::Write;

use super::summary::{Summary, Target};
use crate::event::{Event, State};

/// The report as text.
pub fn report(events: &[Event]) -> String {
    let summary = Summary::of(events);
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"appc-conformance\">\n");
    for target in &summary.targets {
        for area in summary.areas() {
            let ids: Vec<_> = summary.clauses.iter().filter(|(_, about)| about.area == area).collect();
            let counts = target.count(ids.iter().map(|(id, _)| **id));
            let n = |state| counts.get(&state).copied().unwrap_or(0);
            let skipped = ids.len() - n(State::Pass) - n(State::Fail) - n(State::Inconclusive);
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "  <testsuite name=\"{}.{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{skipped}\">",
                escaped(target.name),
                escaped(area),
                ids.len(),
                n(State::Fail),
                n(State::Inconclusive)
            );
            for (id, about) in ids {
                let _ = write!(
                    out,
                    "    <testcase classname=\"{}.{}\" name=\"{}\"",
                    escaped(target.name),
                    escaped(area),
                    escaped(id)
                );
                let state = target.states.get(*id).copied();
                let checks: Vec<_> = target
                    .cases
                    .iter()
                    .flat_map(|(.., checks)| checks.iter())
                    .filter(|check| check.clause == **id && Some(check.state) == state)
                    .collect();
                let why = checks
                    .iter()
                    .find_map(|check| check.why.as_deref())
                    .or(summary.untestable.get(*id).copied())
                    .unwrap_or("no case");
                let _ = match state {
                    Some(State::Pass) => writeln!(out, "/>"),
                    Some(state @ (State::Fail | State::Inconclusive)) => {
                        let tag = if state == State::Fail { "failure" } else { "error" };
                        let detail: String = checks
                            .iter()
                            .map(|check| {
                                format!(
                                    "expected: {}\nseen: {}\n",
                                    check.expectation,
                                    check.evidence.as_deref().unwrap_or_default()
                                )
                            })
                            .collect();
                        writeln!(
                            out,
                            "><{tag} message=\"{}\" type=\"{}\">{}\n{}</{tag}></testcase>",
                            escaped(why),
                            about.strength,
                            escaped(&about.statement),
                            escaped(&detail)
                        )
                    }
                    other => writeln!(
                        out,
                        "><skipped message=\"{}: {}\"/></testcase>",
                        other.map_or("untestable", State::word),
                        escaped(why)
                    ),
                };
            }
            out.push_str("  </testsuite>\n");
        }
        trouble(&mut out, target);
    }
    out + "</testsuites>\n"
}

/// What the target did besides counts as failures of a suite of its own.
fn trouble(out: &mut String, target: &Target<'_>) {
    let (name, count) = (escaped(target.name), target.trouble.len());
    if count == 0 {
        return;
    }
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "  <testsuite name=\"{name}.trouble\" tests=\"{count}\" failures=\"{count}\" errors=\"0\" skipped=\"0\">"
    );
    for (case, what) in &target.trouble {
        let (case, what) = (escaped(case), escaped(what));
        let _ = writeln!(
            out,
            "    <testcase classname=\"{name}.trouble\" name=\"{case}\"><failure message=\"the target {what}\" type=\"trouble\"/></testcase>"
        );
    }
    out.push_str("  </testsuite>\n");
}

/// Text as XML has it; control characters, which XML cannot hold, become replacement characters.
pub fn escaped(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '&' => "&amp;".into(),
            '<' => "&lt;".into(),
            '>' => "&gt;".into(),
            '"' => "&quot;".into(),
            '\n' | '\t' | '\r' => character.to_string(),
            control if control.is_control() => "\u{fffd}".into(),
            '\u{fffe}' | '\u{ffff}' => "\u{fffd}".into(),
            other => other.to_string(),
        })
        .collect()
}
