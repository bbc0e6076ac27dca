//! Doing a case: one file an action. Each makes what the case needs, asks the target, and holds what is seen against the expectations.

mod archive;
mod build;
mod discover;
pub mod ground;
mod judge;
pub mod left;
mod pod;
mod recorded;
mod run;
mod server;
mod validate;

use std::path::Path;

use serde_json::Value;

use self::pod::Unmade;
use crate::case::{Action, Case, Expectation, TELLING};
use crate::driver::{Answer, Driver};
use crate::event::{Check, State};
use crate::fault::Fault;
use crate::see;
use crate::suite::Suite;
use crate::target::Target;
use crate::{Failure, host};

/// What performing needs besides the case.
pub struct Bench<'a> {
    /// The suite.
    pub suite: &'a Suite,
    /// The target's description.
    pub target: &'a Target,
    /// The way to ask it.
    pub driver: &'a dyn Driver,
    /// The probe's bytes; empty when it could not be built.
    pub probe: &'a [u8],
    /// What is broken on purpose.
    pub fault: &'a dyn Fault,
    /// Leave the case's directory where it is.
    pub keep: bool,
}

/// What came of a case.
#[derive(Default)]
pub struct Outcome {
    /// One for each expectation.
    pub checks: Vec<Check>,
    /// What the target did besides.
    pub trouble: Vec<String>,
}

impl Outcome {
    /// Tells of an action that crashed or hung.
    fn watch(&mut self, action: &str, answer: &Answer) {
        if !answer.orderly() {
            self.trouble.push(format!("`{action}` {}", answer.ending()));
        }
    }
}

/// Does a case.
pub fn perform(case: &Case, bench: &Bench<'_>) -> Result<Outcome, Failure> {
    let as_user = bench.target.run_as.as_deref() == Some("user");
    let unmet = case.needs.iter().find_map(|need| host::meets(need, &bench.target.has, as_user).err());
    if let Some(why) = unmet {
        return Ok(all(case, State::Skipped, &why));
    }
    if !case.platforms.is_empty() && !case.platforms.contains(&bench.target.called()) {
        return Ok(elsewhere(case, bench.target));
    }
    if let Some(action) = case.action.asks().into_iter().find(|action| !bench.driver.can(action)) {
        return Ok(all(case, State::Unsupported, &format!("the target has no action `{action}`")));
    }
    let work = tempfile::Builder::new()
        .prefix("appc-conformance-")
        .tempdir()
        .map_err(|e| Failure::new(format!("failed to make a directory: {e}")))?;
    open_to_all(work.path())?;
    if as_user {
        // The target writes what it makes there itself.
        run::give_away(work.path())?;
    }
    let outcome = match &case.action {
        Action::Validate(validate) => Ok(validate::perform(validate, bench, work.path())?),
        Action::Archive(archive) => Ok(archive::perform(archive, bench, work.path())?),
        Action::Build(build) => Ok(build::perform(build, bench, work.path())?),
        Action::Discover(discover) => discover::perform(discover, bench, work.path()),
        Action::Run(run) => run::perform(run, bench, work.path()),
    };
    let left = left::behind(work.path(), &|_, _| false);
    if bench.keep {
        eprintln!("kept: {} {}", case.name, work.keep().display());
    }
    match outcome {
        Ok(mut outcome) => {
            outcome.trouble.extend(left);
            // The same for every document of a case is told once.
            outcome.trouble.dedup();
            Ok(outcome)
        }
        Err(Unmade::Failed(e)) => Err(e),
        Err(Unmade::Refused(answer)) => {
            let why = format!("the target did not pack an image: {}; {}", answer.ending(), answer.stderr.trim());
            let failed = all(case, State::Fail, &why).checks;
            let checks = failed.into_iter().map(|check| settled(check, bench.target)).collect();
            let trouble = [why.replacen("the target ", "", 1)].into_iter().chain(left).collect();
            Ok(Outcome { checks, trouble })
        }
    }
}

/// A case that is not done, for the given reason.
pub fn skipped(case: &Case, why: &str) -> Outcome {
    all(case, State::Skipped, why)
}

/// A case of other systems. The target may say of each clause why.
fn elsewhere(case: &Case, target: &Target) -> Outcome {
    let mut outcome = all(case, State::Unsupported, "");
    for check in &mut outcome.checks {
        check.why = Some(elsewhere_because(target, &check.clause, &case.platforms));
    }
    outcome
}

fn elsewhere_because(target: &Target, clause: &str, on: &[String]) -> String {
    target.elsewhere(clause).map_or_else(|| format!("a matter of {} only", on.join(", ")), str::to_owned)
}

/// One state for every expectation of a case.
fn all(case: &Case, state: State, why: &str) -> Outcome {
    let check = |clause: &str, expectation: String| Check {
        clause: clause.into(),
        expectation,
        state,
        why: Some(why.into()),
        evidence: None,
    };
    let seen = |expect: &[Expectation]| expect.iter().map(|one| check(&one.clause, one.line())).collect();
    let checks = match &case.action {
        Action::Validate(case) => {
            case.expect.iter().map(|one| check(&one.clause, judge::line(&one.say, one.verdict))).collect()
        }
        Action::Archive(case) => {
            case.expect.iter().map(|one| check(&one.clause, judge::line(&one.say, one.verdict))).collect()
        }
        Action::Build(case) => seen(&case.expect),
        Action::Discover(case) => seen(&case.expect),
        Action::Run(case) => seen(&case.expect),
    };
    Outcome { checks, trouble: Vec::new() }
}

/// Holds what was seen against what shall be seen.
fn hold(expect: &[Expectation], seen: &Value, bench: &Bench<'_>) -> Vec<Check> {
    expect.iter().map(|one| settled(held(one, seen, bench), bench.target)).collect()
}

fn held(one: &Expectation, seen: &Value, bench: &Bench<'_>) -> Check {
    let mut check =
        Check { clause: one.clause.clone(), expectation: one.line(), state: State::Pass, why: None, evidence: None };
    let as_user = bench.target.run_as.as_deref() == Some("user");
    if let Some(why) = one.needs.iter().find_map(|need| host::meets(need, &bench.target.has, as_user).err()) {
        return Check { state: State::Skipped, why: Some(why), ..check };
    }
    if !one.on.is_empty() && !one.on.contains(&bench.target.called()) {
        return Check {
            state: State::Unsupported,
            why: Some(elsewhere_because(bench.target, &one.clause, &one.on)),
            ..check
        };
    }
    if bench.target.recorded
        && let Err(why) = recorded::answers(one, seen)
    {
        return Check { state: State::Unsupported, why: Some(why), ..check };
    }
    let found = see::at(seen, &one.see);
    check.evidence = Some(shown(found, seen, &one.see));
    if let Some(why) = found.and_then(|value| value.get("unknown")).and_then(Value::as_str) {
        return Check { state: State::Inconclusive, why: Some(why.into()), ..check };
    }
    if let Err(why) = one.demand.met(found, seen) {
        let slow = one.beside.as_ref().and_then(|beside| too_slow(found?, see::at(seen, beside)?, beside));
        check.state = if slow.is_some() { State::Inconclusive } else { State::Fail };
        check.why = Some(slow.map_or(why.clone(), |slow| format!("{why}, but {slow}")));
    }
    check
}

/// Why `found` tells nothing of the target, if this machine takes long for everything.
fn too_slow(found: &Value, beside: &Value, path: &str) -> Option<String> {
    let (found, beside) = (found.as_f64()?, beside.as_f64()?);
    let slow = found < beside * TELLING;
    slow.then(|| format!("this machine is too slow or too busy to tell: {path} is {beside:.1} in the same run"))
}

/// A failure that the target file accounts for, and a claim that it does not make.
fn settled(check: Check, target: &Target) -> Check {
    if check.state != State::Fail {
        return check;
    }
    let said = |state, why: &str| Check { state, why: Some(why.into()), ..check.clone() };
    match (target.not_claimed(&check.clause), target.known_to_fail(&check.clause)) {
        (Some(why), _) => said(State::Unsupported, why),
        (_, Some(why)) => said(State::ExpectedFail, why),
        _ => check,
    }
}

/// A finding, short enough for a report. Where it is missing, how the target ended says more.
fn shown(found: Option<&Value>, seen: &Value, path: &str) -> String {
    let mut text = match found {
        Some(value) => value.to_string(),
        None => {
            // Each of several questions has an end of its own.
            let one =
                see::steps(path).first().and_then(|label| seen.get(label)).filter(|one| one.get("exit").is_some());
            let seen = one.unwrap_or(seen);
            let exit = seen.get("exit").map(Value::to_string).unwrap_or_else(|| "none".into());
            let stderr = seen.get("stderr").and_then(Value::as_str).unwrap_or_default();
            format!("nothing there; exit status {exit}; {}", stderr.trim()).trim_end_matches("; ").to_owned()
        }
    };
    if text.len() > 900 {
        let end = (0..=900).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push_str("...");
    }
    text
}

/// Lets an ordinary user, as whom a target may run, into the case's directory.
fn open_to_all(dir: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).map_err(|e| Failure::file(dir, e))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_bound_tells_nothing_of_a_target_where_the_machine_takes_as_long_for_anything() {
        let slow = |found: f64, beside: f64| too_slow(&json!(found), &json!(beside), "main.machine.milliseconds");
        let why = slow(110.0, 40.0).unwrap();
        assert!(why.contains("main.machine.milliseconds is 40.0"), "{why}");
        assert_eq!(slow(110.0, 2.0), None, "here the target is what is slow");
        assert_eq!(too_slow(&json!("text"), &json!(40.0), "x"), None);
    }
}
