//! `appc-conformance mutants`: broken implementations, each of which must be caught on the clause that it breaks.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Write, stdout};
use std::num::NonZero;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use super::lost;
use crate::Failure;
use crate::engine::{self, Choice, Ready};
use crate::event::{Event, State};
use crate::fault::{Fault, Sound};
use crate::mutants::{self, Mutant};
use crate::report::counted;
use crate::suite::Suite;

/// Prove that the checks bite: run implementations that are broken on purpose; exit status 1 when one is not caught
#[derive(clap::Args)]
pub struct Args {
    /// The sound target that is broken
    #[arg(long, value_name = "T", default_value = "jetpack-linux")]
    target: String,
    /// Only mutants whose name holds this
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    name: String,
    /// How many mutants are tried at the same time [default: twice the number of processors]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZero<usize>>,
}

/// What came of a mutant.
enum Fate {
    Caught,
    Survived(String),
    Untried(String),
}

/// Does it.
pub fn run(args: &Args, suite: &Path) -> Result<ExitCode, Failure> {
    let suite = Suite::read(suite)?;
    let mutants = mutants::read(&suite.dir.join("mutants"))?;
    for mutant in &mutants {
        if let Some(clause) = mutant.breaks.iter().find(|clause| !suite.clauses.contains_key(*clause)) {
            return Err(Failure::new(format!(
                "mutant {} breaks a clause that is not in the catalogue: {clause}",
                mutant.name
            )));
        }
    }
    let chosen: Vec<&Mutant> = mutants.iter().filter(|mutant| mutant.name.contains(&args.name)).collect();
    if chosen.is_empty() {
        return Err(Failure::usage(format!("no mutant's name holds {}", args.name)));
    }
    let ready = Ready::make(suite.target(&args.target)?)?;
    // Most of their time is waiting.
    let jobs =
        args.jobs.map_or_else(|| std::thread::available_parallelism().map_or(1, |count| 2 * count.get()), NonZero::get);
    let broken: BTreeSet<&str> = chosen.iter().map(|mutant| mutant.breaks[0].as_str()).collect();
    let mut sound = BTreeMap::new();
    each(
        jobs,
        &Vec::from_iter(broken),
        |clause| state(&suite, &ready, clause, &Sound),
        |clause, (state, _)| {
            sound.insert(*clause, state);
            Ok(())
        },
    )?;
    let mut out = stdout().lock();
    let (mut caught, mut untried) = (0, 0);
    let fate = |mutant: &&Mutant| {
        let clause = mutant.breaks[0].as_str();
        Ok(match sound.get(clause).copied().flatten() {
            Some(State::Pass) => match state(&suite, &ready, clause, *mutant)? {
                (Some(State::Fail), _) => Fate::Caught,
                (other, seen) => {
                    Fate::Survived(format!("{clause} {}; {seen}", other.map_or("was not checked", State::word)))
                }
            },
            other => Fate::Untried(format!(
                "without the fault {clause} {}",
                other.map_or("was not checked".into(), |state| format!("is {}", state.word()))
            )),
        })
    };
    each(jobs, &chosen, fate, |mutant, fate| {
        let line = match &fate {
            Fate::Caught => {
                caught += 1;
                format!("caught    {:<32} on {}: {}", mutant.name, mutant.breaks[0], mutant.about)
            }
            Fate::Survived(why) => format!("SURVIVED  {:<32} {why}: {}", mutant.name, mutant.about),
            Fate::Untried(why) => {
                untried += 1;
                format!("untried   {:<32} {why}", mutant.name)
            }
        };
        writeln!(out, "{line}").and_then(|()| out.flush()).map_err(lost)
    })?;
    let survived = chosen.len() - caught - untried;
    writeln!(
        out,
        "{}: {caught} caught, {survived} survived, {untried} could not be tried here",
        counted(chosen.len(), "mutant")
    )
    .map_err(lost)?;
    Ok(if survived == 0 && caught > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Does something to every item, several at once, and hands over what comes of each as it comes; the first failure ends it.
fn each<T: Sync, R: Send>(
    jobs: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<R, Failure> + Sync,
    mut done: impl FnMut(&T, R) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let (sender, next, work) = (sender.clone(), &next, &work);
            scope.spawn(move || {
                // A closed channel says that nobody wants more.
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed))
                    && sender.send((item, work(item))).is_ok()
                {}
            });
        }
        drop(sender);
        receiver.into_iter().try_for_each(|(item, result)| done(item, result?))
    })
}

/// The state of a clause under a fault, with what a check of it saw.
fn state(suite: &Suite, ready: &Ready, clause: &str, fault: &dyn Fault) -> Result<(Option<State>, String), Failure> {
    let choice = Choice { clause: Some(clause.to_owned()), ..Choice::default() };
    let mut checks = Vec::new();
    engine::run(suite, ready, &choice, fault, 1, false, &mut |event| {
        if let Event::Case { checks: more, .. } = event {
            checks.extend(more);
        }
    })?;
    let seen = checks.first().and_then(|check| check.evidence.clone()).unwrap_or_default();
    Ok((engine::by_clause(checks.iter()).get(clause).copied(), seen.chars().take(120).collect()))
}
