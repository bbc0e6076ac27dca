//! A badge for READMEs: how many of the MUST clauses that were checked pass, over all targets.

use super::summary::Summary;
use crate::event::{Event, State};

/// The badge as SVG.
pub fn report(events: &[Event]) -> String {
    let summary = Summary::of(events);
    let musts: Vec<&str> =
        summary.clauses.iter().filter(|(_, about)| about.strength.starts_with("MUST")).map(|(id, _)| *id).collect();
    let mut passed = 0;
    let mut checked = 0;
    for target in &summary.targets {
        let counts = target.count(musts.iter().copied());
        passed += counts.get(&State::Pass).copied().unwrap_or(0);
        checked += counts
            .iter()
            .filter(|(state, _)| !matches!(state, State::Skipped | State::Unsupported))
            .map(|(_, count)| count)
            .sum::<usize>();
    }
    let colour = if passed == checked && checked > 0 { "#2e7d32" } else { "#b35900" };
    let text = format!("{passed}/{checked} MUST");
    let (left, right) = (38, 8 * text.len() + 12);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"20\" role=\"img\" aria-label=\"appc: {text}\">\
         <rect width=\"{left}\" height=\"20\" fill=\"#444\"/><rect x=\"{left}\" width=\"{right}\" height=\"20\" fill=\"{colour}\"/>\
         <g fill=\"#fff\" font-family=\"Verdana,DejaVu Sans,sans-serif\" font-size=\"11\"><text x=\"6\" y=\"14\">appc</text><text x=\"{}\" y=\"14\">{text}</text></g></svg>\n",
        left + right,
        left + 6
    )
}
