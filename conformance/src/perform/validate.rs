//! `do = "validate"`.

use std::fs;
use std::path::Path;

use super::{Bench, Outcome, judge};
use crate::Failure;
use crate::case::{Document, Validate};
use crate::driver::Values;
use crate::make::document;

pub fn perform(case: &Validate, bench: &Bench<'_>, work: &Path) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::default();
    for (number, one) in case.expect.iter().enumerate() {
        let file = work.join(format!("{number}.json"));
        fs::write(&file, text(case, one, bench)?).map_err(|e| Failure::file(&file, e))?;
        let action = if one.reified && bench.driver.can("validate-reified") { "validate-reified" } else { "validate" };
        let values = Values::from([
            ("file".into(), file.display().to_string()),
            ("type".into(), "manifest".into()),
            ("work".into(), work.display().to_string()),
        ]);
        let mut answer = bench.driver.ask(action, &values)?;
        bench.fault.answer(action, &values, &mut answer);
        outcome.checks.push(judge::judge(
            &judge::Due { clause: &one.clause, say: &one.say, verdict: one.verdict, under: &one.under },
            &answer,
            bench.target,
        ));
    }
    Ok(outcome)
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
