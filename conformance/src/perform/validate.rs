//! `do = "validate"`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::{Bench, Outcome, judge};
use crate::Failure;
use crate::case::{Document, Validate, Verdict};
use crate::make::document;

pub fn perform(case: &Validate, bench: &Bench<'_>, work: &Path) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::default();
    let mut sound: BTreeMap<&str, bool> = BTreeMap::new();
    for (number, one) in case.expect.iter().enumerate() {
        let file = work.join(format!("{number}.json"));
        fs::write(&file, text(case, one, bench)?).map_err(|e| Failure::file(&file, e))?;
        let action = if one.reified && bench.driver.can("validate-reified") { "validate-reified" } else { "validate" };
        let answer = judge::ask(action, "manifest", &file, work, bench)?;
        let check = judge::judge(
            &judge::Due { clause: &one.clause, say: &one.say, verdict: one.verdict, under: &one.under },
            &answer,
            bench.target,
        );
        let base = one.base.as_deref().unwrap_or(&case.base);
        if one.verdict == Verdict::Invalid && !sound.contains_key(base) {
            sound.insert(base, accepted(base, bench, work)?);
        }
        let accepted = sound.get(base).copied().unwrap_or_default();
        outcome.checks.push(judge::controlled(check, one.verdict, accepted, bench.target));
    }
    Ok(outcome)
}

/// Whether a base document is accepted as it stands.
fn accepted(base: &str, bench: &Bench<'_>, work: &Path) -> Result<bool, Failure> {
    let document = bench.suite.bases.get(base).ok_or_else(|| Failure::new(format!("no base document named {base}")))?;
    let file = work.join(format!("{base}.json"));
    fs::write(&file, document.to_string()).map_err(|e| Failure::file(&file, e))?;
    Ok(judge::ask("validate", "manifest", &file, work, bench)?.succeeded())
}

fn text(case: &Validate, one: &Document, bench: &Bench<'_>) -> Result<Vec<u8>, Failure> {
    if let Some(raw) = &one.raw {
        return Ok(raw.clone().into_bytes());
    }
    let name = one.base.as_ref().unwrap_or(&case.base);
    let base = bench.suite.bases.get(name).ok_or_else(|| Failure::new(format!("no base document named {name}")))?;
    let changed = document::changed(base, &one.set, &one.unset, &one.null)
        .map_err(|e| Failure::new(format!("{}: {e}", one.clause)))?;
    serde_json::to_vec_pretty(&changed).map_err(|e| Failure::new(format!("failed to write a document: {e}")))
}
