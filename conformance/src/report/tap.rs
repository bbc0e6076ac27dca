//! TAP 14: a test point for each clause and target, its checks told in a YAML block.

use std::fmt::Write;

use super::summary::Summary;
use crate::event::{Event, State};

/// The report as text.
pub fn report(events: &[Event]) -> String {
    let summary = Summary::of(events);
    let mut body = String::new();
    let mut number = 0;
    for target in &summary.targets {
        for (id, about) in &summary.clauses {
            number += 1;
            let state = target.states.get(*id).copied();
            let checks: Vec<_> = target
                .cases
                .iter()
                .flat_map(|(case, _, checks)| checks.iter().map(move |check| (case, check)))
                .filter(|(_, check)| check.clause == *id)
                .collect();
            let why = checks
                .iter()
                .find(|(_, check)| Some(check.state) == state)
                .and_then(|(_, check)| check.why.clone())
                .unwrap_or_default();
            let (ok, directive) = match state {
                Some(State::Pass) => ("ok", String::new()),
                Some(State::Fail | State::Inconclusive) => ("not ok", String::new()),
                Some(State::ExpectedFail) => ("not ok", format!(" # TODO {why}")),
                Some(state @ (State::Skipped | State::Unsupported)) => {
                    ("ok", format!(" # SKIP {}: {why}", state.word()))
                }
                None => match summary.untestable.get(id) {
                    Some(why) => ("ok", format!(" # SKIP untestable: {why}")),
                    None => ("not ok", String::new()),
                },
            };
            // Writing to a String cannot fail.
            let _ = writeln!(
                body,
                "{ok} {number} - {}: {id} {}{}",
                target.name,
                about.strength,
                directive.replace('\n', " ")
            );
            if ok == "not ok" {
                let _ = writeln!(body, "  ---\n  statement: {}\n  checks:", quoted(&about.statement));
                for (case, check) in checks.iter().filter(|(_, check)| check.state != State::Pass) {
                    let _ =
                        writeln!(body, "    - case: {}\n      expected: {}", quoted(case), quoted(&check.expectation));
                    let _ = writeln!(body, "      seen: {}", quoted(check.evidence.as_deref().unwrap_or_default()));
                }
                let _ = writeln!(body, "  ...");
            }
        }
        for (case, what) in &target.trouble {
            number += 1;
            let _ = writeln!(body, "not ok {number} - {}: trouble in {case}", target.name);
            let _ = writeln!(body, "  ---\n  seen: {}\n  ...", quoted(&format!("the target {what}")));
        }
    }
    format!("TAP version 14\n1..{number}\n{body}")
}

/// Text as a YAML scalar: JSON's quoting is YAML's too, but for control characters beyond ASCII's.
fn quoted(text: &str) -> String {
    let text: String =
        text.chars().map(|one| if ('\u{7f}'..'\u{a0}').contains(&one) { '\u{fffd}' } else { one }).collect();
    serde_json::Value::from(text).to_string()
}
