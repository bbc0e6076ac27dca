//! Markdown: a short table for READMEs, and the whole of the results for `docs/conformance.md`.

use std::fmt::Write;

use super::summary::{Summary, Target};
use crate::event::{Event, State};

/// A table of targets by state.
pub fn report(events: &[Event]) -> String {
    let summary = Summary::of(events);
    let mut out = String::from(
        "| target | pass | fail | expected fail | unsupported | skipped | inconclusive |\n| --- | --: | --: | --: | --: | --: | --: |\n",
    );
    for target in &summary.targets {
        row(&mut out, target.name, target, summary.clauses.keys().copied());
    }
    out
}

fn row<'a>(out: &mut String, name: &str, target: &Target<'_>, clauses: impl Iterator<Item = &'a str>) {
    let counts = target.count(clauses);
    let n = |state| counts.get(&state).copied().unwrap_or(0);
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(
        out,
        "| {name} | {} | {} | {} | {} | {} | {} |",
        n(State::Pass),
        n(State::Fail),
        n(State::ExpectedFail),
        n(State::Unsupported),
        n(State::Skipped),
        n(State::Inconclusive)
    );
}

/// From here on a document of results is others': what compares whole programs writes there.
pub const OTHERS: &str = "<!-- Below: ";

/// What `document` has of others.
pub fn kept(document: &str) -> &str {
    document.find(OTHERS).map_or("", |at| &document[at..])
}

/// The results in full: for every target its areas, and every clause that it does not meet, with the reason.
pub fn results(events: &[Event]) -> String {
    let summary = Summary::of(events);
    let mut out = String::from(
        "# Conformance\n\nMade by `appc-conformance run --results docs/conformance.md`; not edited by hand.\n\n",
    );
    let _ = writeln!(
        out,
        "{} clauses; {} of them cannot be tested, for the reasons at the end.\n",
        summary.clauses.len(),
        summary.untestable.len()
    );
    out.push_str(&report(events));
    for target in &summary.targets {
        let _ = writeln!(out, "\n## {}\n\n{}.\n", target.name, target.about.trim_end_matches('.'));
        out.push_str("| area | pass | fail | expected fail | unsupported | skipped | inconclusive |\n| --- | --: | --: | --: | --: | --: | --: |\n");
        for area in summary.areas() {
            row(
                &mut out,
                area,
                target,
                summary.clauses.iter().filter(|(_, about)| about.area == area).map(|(id, _)| *id),
            );
        }
        unmet(&mut out, &summary, target);
        if !target.trouble.is_empty() {
            out.push_str("\nBesides, the target made trouble:\n\n");
        }
        for (case, what) in &target.trouble {
            let _ = writeln!(out, "- `{case}`: it {}", what.replace('\n', " "));
        }
    }
    out.push_str("\n## Clauses that no case can check\n\n");
    for (id, why) in &summary.untestable {
        let _ = writeln!(out, "- `{id}`: {why}");
    }
    out
}

fn unmet(out: &mut String, summary: &Summary<'_>, target: &Target<'_>) {
    let mut lines = String::new();
    for (id, about) in &summary.clauses {
        let Some(state) = target.states.get(*id).copied().filter(|state| *state != State::Pass) else { continue };
        let checks = target.cases.iter().flat_map(|(.., checks)| checks.iter());
        let why = checks
            .filter(|check| check.clause == *id && check.state == state)
            .find_map(|check| check.why.as_deref())
            .unwrap_or_default();
        let _ = writeln!(
            lines,
            "| {} | {} | `{id}` | {} |",
            state.word(),
            about.strength,
            why.replace('|', "\\|").replace('\n', " ")
        );
    }
    if !lines.is_empty() {
        let _ = write!(out, "\n| state | strength | clause | why |\n| --- | --- | --- | --- |\n{lines}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_others_stays_in_the_document() {
        let mine = results(&[]);
        assert_eq!(kept(&mine), "");
        let both = format!("{mine}\n{OTHERS}made elsewhere -->\n\n## More\n");
        assert_eq!(kept(&both), format!("{OTHERS}made elsewhere -->\n\n## More\n"));
    }
}
