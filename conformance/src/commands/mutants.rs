//! `appc-conformance mutants`: broken implementations, each of which must be caught on the clause that it breaks.

use std::collections::BTreeMap;
use std::io::{Write, stdout};
use std::path::Path;
use std::process::ExitCode;

use super::lost;
use crate::Failure;
use crate::engine::{self, Choice, Ready};
use crate::event::{Event, State};
use crate::fault::{Fault, Sound};
use crate::mutants::{self, Mutant};
use crate::suite::Suite;

/// Prove that the checks bite: run implementations that are broken on purpose; exit status 1 when one is not caught
#[derive(clap::Args)]
pub struct Args {
    /// The sound target that is broken
    #[arg(long, value_name = "T", default_value = "jetpack-linux")]
    target: String,
    /// Only mutants whose name holds this
    #[arg(long, value_name = "TEXT", default_value = "")]
    name: String,
    /// How many cases are done at the same time [default: the number of processors]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
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
    let ready = Ready::make(suite.target(&args.target)?)?;
    let jobs = args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let mut sound = BTreeMap::new();
    let mut out = stdout().lock();
    let (mut caught, mut untried) = (0, 0);
    for mutant in &chosen {
        let clause = &mutant.breaks[0];
        if !sound.contains_key(clause) {
            sound.insert(clause.clone(), state(&suite, &ready, clause, &Sound, jobs)?.0);
        }
        let fate = match sound.get(clause).copied().flatten() {
            Some(State::Pass) => match state(&suite, &ready, clause, *mutant, jobs)? {
                (Some(State::Fail), _) => Fate::Caught,
                (other, seen) => {
                    Fate::Survived(format!("{clause} {}; {seen}", other.map_or("was not checked", State::word)))
                }
            },
            other => Fate::Untried(format!(
                "without the fault {clause} {}",
                other.map_or("was not checked".into(), |state| format!("is {}", state.word()))
            )),
        };
        let line = match &fate {
            Fate::Caught => {
                caught += 1;
                format!("caught    {:<32} on {clause}: {}", mutant.name, mutant.about)
            }
            Fate::Survived(why) => format!("SURVIVED  {:<32} {why}: {}", mutant.name, mutant.about),
            Fate::Untried(why) => {
                untried += 1;
                format!("untried   {:<32} {why}", mutant.name)
            }
        };
        writeln!(out, "{line}").and_then(|()| out.flush()).map_err(lost)?;
    }
    let survived = chosen.len() - caught - untried;
    writeln!(out, "{} mutants: {caught} caught, {survived} survived, {untried} could not be tried here", chosen.len())
        .map_err(lost)?;
    Ok(if survived == 0 && caught > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The state of a clause under a fault, with what a check of it saw.
fn state(
    suite: &Suite,
    ready: &Ready,
    clause: &str,
    fault: &dyn Fault,
    jobs: usize,
) -> Result<(Option<State>, String), Failure> {
    let choice = Choice { clause: Some(clause.to_owned()), ..Choice::default() };
    let mut checks = Vec::new();
    engine::run(suite, ready, &choice, fault, jobs, false, &mut |event| {
        if let Event::Case { checks: more, .. } = event {
            checks.extend(more);
        }
    })?;
    let seen = checks.first().and_then(|check| check.evidence.clone()).unwrap_or_default();
    Ok((engine::by_clause(checks.iter()).get(clause).copied(), seen.chars().take(120).collect()))
}
