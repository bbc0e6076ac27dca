//! Was a document or archive judged as it should be?

use std::path::Path;

use serde_json::Value;

use super::{Bench, settled};
use crate::Failure;
use crate::case::Verdict;
use crate::driver::{Answer, Values};
use crate::event::{Check, State};
use crate::target::Target;

/// What a validator says besides its exit status.
struct Said {
    clause: String,
    severity: String,
}

/// The expectation in words.
pub fn line(say: &Option<String>, verdict: Verdict) -> String {
    let word = match verdict {
        Verdict::Valid => "is accepted",
        Verdict::Warned => "is accepted with a warning",
        Verdict::Invalid => "is refused",
    };
    say.as_ref().map_or_else(|| word.to_owned(), |say| format!("{say}: {word}"))
}

/// Asks a target, or the mutant that stands before it, about a file of a kind.
pub fn ask(action: &str, kind: &str, file: &Path, work: &Path, bench: &Bench<'_>) -> Result<Answer, Failure> {
    let values = Values::from([
        ("file".into(), file.display().to_string()),
        ("type".into(), kind.into()),
        ("work".into(), work.display().to_string()),
    ]);
    let mut answer = bench.driver.ask(action, &values)?;
    bench.fault.answer(action, &values, &mut answer);
    Ok(answer)
}

/// A refusal tells something of a fault only where the same without the fault is accepted.
pub fn controlled(check: Check, verdict: Verdict, soundly_accepted: bool, target: &Target) -> Check {
    if verdict != Verdict::Invalid || check.state != State::Pass || soundly_accepted {
        return check;
    }
    let why = Some("so is the same without the fault: its refusal says nothing".to_owned());
    settled(Check { state: State::Fail, why, ..check }, target)
}

/// What is due.
pub struct Due<'a> {
    /// The clause that decides.
    pub clause: &'a str,
    /// The line of expectation.
    pub say: &'a Option<String>,
    /// The verdict.
    pub verdict: Verdict,
    /// Other clauses, or their beginnings, that will do.
    pub under: &'a [String],
}

/// Holds an answer against the verdict that is due.
pub fn judge(due: &Due<'_>, answer: &Answer, target: &Target) -> Check {
    let Due { clause, say, verdict, under } = *due;
    let said = diagnostics(answer, target);
    let why = fault(clause, under, verdict, answer, said.as_deref());
    let state = if why.is_some() { State::Fail } else { State::Pass };
    let mut text = answer.stderr.trim();
    if text.is_empty() {
        text = answer.stdout.trim();
    }
    let text: String = text.chars().take(600).collect();
    let evidence = Some(format!("{}; {text}", answer.ending()));
    settled(Check { clause: clause.into(), expectation: line(say, verdict), state, why, evidence }, target)
}

fn fault(clause: &str, under: &[String], verdict: Verdict, answer: &Answer, said: Option<&[Said]>) -> Option<String> {
    if !answer.orderly() {
        return Some(format!("the target {}", answer.ending()));
    }
    // 2 is how the Go tools panic and how most tools refuse their own command line: neither is a verdict.
    if answer.code.is_some_and(|code| code > 1) {
        return Some(format!("{} is no verdict", answer.ending()));
    }
    let told = |severity: &str| {
        said.map(|said| {
            said.iter().any(|one| {
                one.severity == severity
                    && (of_the_same(&one.clause, clause)
                        || under.iter().any(|front| one.clause.starts_with(front.as_str())))
            })
        })
    };
    match (verdict, answer.succeeded()) {
        (Verdict::Valid | Verdict::Warned, false) => Some("it was refused".into()),
        (Verdict::Invalid, true) => Some("it was accepted".into()),
        (Verdict::Valid, true) => (told("error") == Some(true)).then(|| "an error was told".into()),
        (Verdict::Warned, true) => (told("warning") == Some(false)).then(|| format!("no warning names {clause}")),
        (Verdict::Invalid, false) => (told("error") == Some(false)).then(|| {
            let named: Vec<&str> = said
                .unwrap_or_default()
                .iter()
                .filter(|one| one.severity == "error")
                .map(|one| one.clause.as_str())
                .collect();
            format!(
                "it was refused, but under {} instead",
                if named.is_empty() { "no clause".to_owned() } else { named.join(", ") }
            )
        }),
    }
}

/// Whether a diagnostic's clause serves another: the same one, or one of the same subject (`im.labels.name` and `im.labels.shape`), since one
/// broken value may offend several clauses of a subject; likewise the project's own rules (`x.`) and the shared types, which refine many clauses.
fn of_the_same(told: &str, clause: &str) -> bool {
    let subject = |id: &str| id.rsplit_once('.').map_or(id.to_owned(), |(front, _)| front.to_owned());
    told == clause
        || told.starts_with("x.")
        || told.starts_with("types.")
        || subject(told) == subject(clause)
        || told.starts_with(&subject(clause))
        || clause.starts_with(&subject(told))
        || clause.starts_with("types.")
}

/// The diagnostics that a target tells in JSON: an array, an object holding one, or objects line by line.
fn diagnostics(answer: &Answer, target: &Target) -> Option<Vec<Said>> {
    if target.diagnostics.as_deref() != Some("json") {
        return None;
    }
    let mut said = Vec::new();
    for stream in [&answer.stdout, &answer.stderr] {
        match serde_json::from_str::<Value>(stream) {
            Ok(whole) => gather(&whole, &mut said),
            Err(_) => stream
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok())
                .for_each(|line| gather(&line, &mut said)),
        }
    }
    Some(said)
}

fn gather(value: &Value, said: &mut Vec<Said>) {
    match value {
        Value::Array(list) => list.iter().for_each(|one| gather(one, said)),
        Value::Object(map) => {
            match (map.get("clause").and_then(Value::as_str), map.get("severity").and_then(Value::as_str)) {
                (Some(clause), Some(severity)) => said.push(Said { clause: clause.into(), severity: severity.into() }),
                _ => map.values().for_each(|one| gather(one, said)),
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: i32) -> Answer {
        Answer { code: Some(code), ..Answer::default() }
    }

    #[test]
    fn a_crash_is_never_taken_for_a_refusal() {
        let hung = Answer { hung: true, ..Answer::default() };
        let crashed = Answer { signal: Some(11), ..Answer::default() };
        for answer in [hung, crashed, answer(2), answer(101)] {
            assert!(fault("im.name", &[], Verdict::Invalid, &answer, None).is_some(), "{answer:?}");
        }
    }

    #[test]
    fn a_refusal_for_another_reason_does_not_count() {
        let said = [Said { clause: "im.labels.unique".into(), severity: "error".into() }];
        assert!(fault("im.app.exec.type", &[], Verdict::Invalid, &answer(1), Some(&said)).is_some());
        assert!(fault("im.labels.shape", &[], Verdict::Invalid, &answer(1), Some(&said)).is_none());
        assert!(
            fault("im.app.exec.type", &[], Verdict::Invalid, &answer(1), None).is_none(),
            "not all targets name clauses"
        );
    }
}
