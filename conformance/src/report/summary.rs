//! What came of a run, counted: clauses by state, for each target and area.

use std::collections::BTreeMap;

use crate::engine;
use crate::event::{About, Check, Event, State};

/// A run, gathered.
#[derive(Default)]
pub struct Summary<'a> {
    /// The clauses in question.
    pub clauses: BTreeMap<&'a str, &'a About>,
    /// Those that no case can check, with the reason.
    pub untestable: BTreeMap<&'a str, &'a str>,
    /// The targets in their order.
    pub targets: Vec<Target<'a>>,
    /// How long all took, in milliseconds.
    pub milliseconds: u64,
}

/// One target's part.
pub struct Target<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is.
    pub about: &'a str,
    /// Cases as they ended: name, about, checks.
    pub cases: Vec<(&'a str, &'a str, &'a [Check])>,
    /// What it did besides, with the case.
    pub trouble: Vec<(&'a str, &'a str)>,
    /// The state of every clause that was checked.
    pub states: BTreeMap<String, State>,
    /// Clauses, or their beginnings with `*`, that its file says it fails.
    pub expected_fail: &'a [String],
}

impl<'a> Summary<'a> {
    /// Gathers a stream.
    pub fn of(events: &'a [Event]) -> Summary<'a> {
        let mut summary = Summary::default();
        for event in events {
            match event {
                Event::Begin { clauses, untestable, .. } => {
                    summary.clauses = clauses.iter().map(|(id, about)| (id.as_str(), about)).collect();
                    summary.untestable = untestable
                        .iter()
                        .map(|(id, why)| (id.as_str(), why.as_str()))
                        .filter(|(id, _)| clauses.contains_key(*id))
                        .collect();
                }
                Event::Target { target, about, expected_fail } => {
                    summary.targets.push(Target {
                        name: target,
                        about,
                        cases: Vec::new(),
                        trouble: Vec::new(),
                        states: BTreeMap::new(),
                        expected_fail,
                    });
                }
                Event::Case { target, case, about, checks, trouble, .. } => {
                    if let Some(one) = summary.targets.iter_mut().find(|one| one.name == target) {
                        one.cases.push((case, about, checks));
                        one.trouble.extend(trouble.iter().map(|what| (case.as_str(), what.as_str())));
                    }
                }
                Event::End { milliseconds } => summary.milliseconds = *milliseconds,
            }
        }
        for target in &mut summary.targets {
            target.cases.sort_unstable_by_key(|(name, ..)| *name);
            target.states = engine::by_clause(target.cases.iter().flat_map(|(.., checks)| checks.iter()));
        }
        summary
    }

    /// The areas, in order.
    pub fn areas(&self) -> Vec<&'a str> {
        let mut areas: Vec<&str> = self.clauses.values().map(|about| about.area.as_str()).collect();
        areas.sort_unstable();
        areas.dedup();
        areas
    }

    /// Clauses with neither case nor reason.
    pub fn left_out(&self, target: &Target<'_>) -> Vec<&'a str> {
        self.clauses
            .keys()
            .copied()
            .filter(|id| !target.states.contains_key(*id) && !self.untestable.contains_key(id))
            .collect()
    }

    /// Failed clauses of a target that are MUST, said or implied.
    pub fn broken_musts(&self, target: &Target<'_>) -> Vec<&'a str> {
        let failed = |id: &&str| target.states.get(*id) == Some(&State::Fail);
        self.clauses
            .iter()
            .filter(|(_, about)| about.strength.starts_with("MUST"))
            .map(|(id, _)| *id)
            .filter(failed)
            .collect()
    }
}

impl Target<'_> {
    /// What the target file says that it fails and it does not: the file is out of date.
    pub fn better_than_said(&self) -> Vec<&str> {
        let failed = |said: &str| {
            let fits = |id: &str| said.strip_suffix('*').map_or(id == said, |front| id.starts_with(front));
            self.states.iter().any(|(id, state)| fits(id) && *state != State::Pass)
                || !self.states.keys().any(|id| fits(id))
        };
        self.expected_fail.iter().map(String::as_str).filter(|said| !failed(said)).collect()
    }

    /// How many clauses were held against something that the target did.
    pub fn checked(&self) -> usize {
        let lacking = |state: &&State| matches!(state, State::Skipped | State::Unsupported);
        self.states.values().filter(|state| !lacking(state)).count()
    }

    /// How many of some clauses are in each state.
    pub fn count<'b>(&self, clauses: impl Iterator<Item = &'b str>) -> BTreeMap<State, usize> {
        let mut counts = BTreeMap::new();
        for state in clauses.filter_map(|id| self.states.get(id)) {
            *counts.entry(*state).or_default() += 1;
        }
        counts
    }
}
