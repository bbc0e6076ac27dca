//! One HTML page that needs nothing else: a table of areas by target, and every clause to unfold.
//!
//! The page's script draws from the data embedded in it and puts texts in as texts only, so that whatever a target printed stays what it is.

use serde_json::{Value, json};

use super::summary::Summary;
use crate::Failure;
use crate::event::{Event, State};

const PAGE: &str = include_str!("page.html");
const MARK: &str = "{\"data\":\"here\"}";

/// The page.
pub fn report(events: &[Event]) -> Result<String, Failure> {
    let data = serde_json::to_string(&data(&Summary::of(events)))
        .map_err(|e| Failure::new(format!("failed to write the page: {e}")))?;
    // Inside a script element only `<` could end it.
    Ok(PAGE.replacen(MARK, &data.replace('<', "\\u003c"), 1))
}

fn data(summary: &Summary<'_>) -> Value {
    let clauses: Vec<Value> = summary
        .clauses
        .iter()
        .map(|(id, about)| {
            let by_target: Vec<Value> = summary
                .targets
                .iter()
                .map(|target| {
                    let checks: Vec<Value> = target
                        .cases
                        .iter()
                        .flat_map(|(case, about, checks)| checks.iter().map(move |check| (case, about, check)))
                        .filter(|(.., check)| check.clause == *id)
                        .map(|(case, about, check)| {
                            json!({ "case": case, "about": about, "expected": check.expectation, "state": check.state, "why": check.why, "seen": check.evidence })
                        })
                        .collect();
                    json!({ "state": target.states.get(*id), "checks": checks })
                })
                .collect();
            json!({
                "id": id, "area": about.area, "strength": about.strength, "statement": about.statement, "decisions": about.decisions,
                "untestable": summary.untestable.get(id), "targets": by_target,
            })
        })
        .collect();
    json!({
        "targets": summary.targets.iter().map(|target| json!({ "name": target.name, "about": target.about, "trouble": target.trouble })).collect::<Vec<_>>(),
        "areas": summary.areas(),
        "states": State::ALL.map(State::word),
        "clauses": clauses,
        "milliseconds": summary.milliseconds,
    })
}
