//! A run: cases against targets, several at once, one stream of events out.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use crate::case::Case;
use crate::catalogue::{Clause, Level};
use crate::event::{About, Check, Event, State};
use crate::fault::Fault;
use crate::perform::{self, Bench};
use crate::suite::Suite;
use crate::target::Target;
use crate::{Failure, build, driver, interrupt};

/// What is looked at.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Only clauses of these areas; none: of all.
    pub area: Vec<String>,
    /// Only this clause, or those that begin so when it ends with `*`.
    pub clause: Option<String>,
    /// Only clauses at least this strong.
    pub level: Option<Level>,
    /// Only cases whose name begins so.
    pub case: Option<String>,
}

impl Choice {
    /// Whether a clause is looked at.
    pub fn takes(&self, clause: &Clause) -> bool {
        (self.area.is_empty() || self.area.contains(&clause.area))
            && self.level.is_none_or(|level| clause.level() <= level)
            && self.clause.as_ref().is_none_or(|wanted| match wanted.strip_suffix('*') {
                Some(front) => clause.id.starts_with(front),
                None => *wanted == clause.id,
            })
    }

    /// The cases that have to do with the clauses looked at.
    pub fn cases<'a>(&self, suite: &'a Suite) -> Vec<&'a Case> {
        let taken = |id: &&str| suite.clauses.get(*id).is_some_and(|clause| self.takes(clause));
        let named = |case: &&Case| self.case.as_ref().is_none_or(|front| case.name.starts_with(front.as_str()));
        suite.cases.iter().filter(named).filter(|case| case.action.clauses().iter().any(taken)).collect()
    }
}

/// A target made ready: its programs found or built, its driver started.
pub struct Ready {
    /// The description.
    pub target: Target,
    /// The way to ask it.
    pub driver: Box<dyn driver::Driver>,
    /// The probe's bytes.
    pub probe: Vec<u8>,
}

impl Ready {
    /// Makes a target ready.
    pub fn make(target: Target) -> Result<Ready, Failure> {
        let programs = build::programs(&target)?;
        let driver = driver::of(&target, &programs)?;
        let probe = if target.recorded {
            b"what the record says".to_vec()
        } else if driver.can("run") || driver.can("run-image") {
            build::probe(target.os())?
        } else {
            Vec::new()
        };
        Ok(Ready { target, driver, probe })
    }
}

/// The event with which every run begins.
pub fn begin(suite: &Suite, choice: &Choice) -> Event {
    let about = |clause: &Clause| About {
        area: clause.area.clone(),
        strength: clause.strength.clone(),
        statement: clause.statement.clone(),
        decisions: clause
            .decisions
            .iter()
            .map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned))
            .collect(),
    };
    let named: Vec<&str> = choice.cases(suite).iter().flat_map(|case| case.action.clauses()).collect();
    let asked =
        |clause: &&Clause| choice.takes(clause) && (choice.case.is_none() || named.contains(&clause.id.as_str()));
    Event::Begin {
        suite: env!("CARGO_PKG_VERSION").into(),
        clauses: suite.clauses.values().filter(asked).map(|clause| (clause.id.clone(), about(clause))).collect(),
        untestable: suite.untestable.clone(),
    }
}

/// Does the cases that are chosen, several at a time; `tell` gets the events in the order in which cases end.
pub fn run(
    suite: &Suite,
    ready: &Ready,
    choice: &Choice,
    fault: &dyn Fault,
    jobs: usize,
    keep: bool,
    tell: &mut dyn FnMut(Event),
) -> Result<(), Failure> {
    let unmet = ready.target.needs.iter().find_map(|need| crate::host::meets(need, &ready.target.has, false).err());
    let unmet = unmet.or_else(|| ready.driver.missing().map(|program| format!("there is no program {program}")));
    tell(Event::Target {
        target: ready.target.name.clone(),
        about: ready.target.about.clone(),
        expected_fail: ready.target.expected_fail.keys().cloned().collect(),
    });
    let cases = choice.cases(suite);
    let bench = Bench { suite, target: &ready.target, driver: ready.driver.as_ref(), probe: &ready.probe, fault, keep };
    let next = AtomicUsize::new(0);
    let broken = Mutex::new(None);
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let (sender, next, broken, cases, bench, unmet) = (sender.clone(), &next, &broken, &cases, &bench, &unmet);
            scope.spawn(move || {
                while !interrupt::came()
                    && let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let begun = Instant::now();
                    let outcome = match unmet {
                        Some(why) => Ok(perform::skipped(case, why)),
                        None => perform::perform(case, bench),
                    };
                    match outcome {
                        Ok(outcome) => {
                            // The receiver lives as long as the scope.
                            let _ = sender.send((*case, begun.elapsed(), outcome));
                        }
                        Err(e) => {
                            if let Ok(mut broken) = broken.lock() {
                                broken.get_or_insert(Failure::new(format!("case {}: {e}", case.name)));
                            }
                            return;
                        }
                    }
                }
            });
        }
        drop(sender);
        for (case, took, outcome) in receiver {
            let wanted = |check: &Check| suite.clauses.get(&check.clause).is_some_and(|clause| choice.takes(clause));
            tell(Event::Case {
                target: ready.target.name.clone(),
                case: case.name.clone(),
                about: case.about.clone(),
                milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                checks: outcome.checks.into_iter().filter(wanted).collect(),
                trouble: outcome.trouble,
            });
        }
    });
    if interrupt::came() {
        return Err(Failure::interrupted());
    }
    broken.into_inner().ok().flatten().map_or(Ok(()), Err)
}

/// The state of every clause that was checked, for one target: the worst of its checks, where a host's or target's lack does not hide a pass.
pub fn by_clause<'a>(checks: impl Iterator<Item = &'a Check>) -> BTreeMap<String, State> {
    let mut states: BTreeMap<String, State> = BTreeMap::new();
    for check in checks {
        let state = states.entry(check.clause.clone()).or_insert(check.state);
        *state = joined(*state, check.state);
    }
    states
}

fn joined(one: State, other: State) -> State {
    let lack = |state: State| matches!(state, State::Skipped | State::Unsupported);
    match (one, other) {
        (State::Pass, lacking) if lack(lacking) => State::Pass,
        (lacking, State::Pass) if lack(lacking) => State::Pass,
        (one, other) => one.max(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failing_check_fails_its_clause_whatever_else_passed() {
        for other in State::ALL {
            assert_eq!(joined(State::Fail, other), State::Fail);
            assert_eq!(joined(other, State::Fail), State::Fail);
        }
    }

    #[test]
    fn a_clause_of_which_nothing_was_checked_never_passes() {
        assert_eq!(joined(State::Skipped, State::Unsupported), State::Skipped);
        assert_eq!(joined(State::Skipped, State::Pass), State::Pass);
    }
}
