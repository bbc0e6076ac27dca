//! `appc-conformance run`: the cases against one target or several.

use std::io::stdout;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::lost;
use crate::catalogue::Level;
use crate::engine::{self, Choice, Ready};
use crate::event::{Event, State};
use crate::fault::Sound;
use crate::report::{self, Text, summary::Summary};
use crate::suite::Suite;
use crate::target::Target;
use crate::{Failure, host};

/// Hold implementations against the specification
#[derive(clap::Args, Default)]
pub struct Args {
    /// A target by name, or the path of a target file; several are run one after the other [default: ours for this host and user]
    #[arg(long, value_name = "T")]
    target: Vec<String>,
    /// A target by its system: our executor on linux, freebsd, or model:freebsd
    #[arg(long, value_name = "SYSTEM", conflicts_with = "target", value_parser = ["linux", "freebsd", "model:freebsd"])]
    executor: Option<String>,
    /// Only clauses of this area; given again, of that too
    #[arg(long, value_name = "A")]
    area: Vec<String>,
    /// Only this clause; a `*` at the end takes all that begin so
    #[arg(long, value_name = "C")]
    clause: Option<String>,
    /// Only cases whose name begins so
    #[arg(long, value_name = "NAME")]
    case: Option<String>,
    /// Only clauses at least this strong
    #[arg(long, value_enum)]
    level: Option<Level>,
    /// How many cases are done at the same time [default: the number of processors]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZero<usize>>,
    /// Leave the directories of the cases where they are
    #[arg(long)]
    keep: bool,
    /// Show every clause, not only those that did not pass
    #[arg(long)]
    all: bool,
    /// Write report.json, report.tap, junit.xml, index.html, badge.svg and summary.md here
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Write the results of all targets as a markdown document
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
}

/// Does it.
pub fn run(args: &Args, suite: &Path) -> Result<ExitCode, Failure> {
    let suite = Suite::read(suite)?;
    let choice =
        Choice { area: args.area.clone(), clause: args.clause.clone(), level: args.level, case: args.case.clone() };
    if choice.cases(&suite).is_empty() {
        return Err(Failure::usage("no case is chosen: `appc-conformance list` shows which there are"));
    }
    let targets = targets(args, &suite)?;
    // A place that cannot be written is better known before the run than after it.
    if let Some(dir) = &args.report {
        let writable = std::fs::create_dir_all(dir).and_then(|()| tempfile::tempfile_in(dir));
        writable.map_err(|e| Failure::file(dir, e))?;
    }
    if let Some(file) = &args.results {
        std::fs::File::options().append(true).create(true).open(file).map_err(|e| Failure::file(file, e))?;
    }
    let jobs = args.jobs.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZero::get);
    let mut took = Duration::ZERO;
    let mut text = Text::new(stdout().lock(), args.all);
    let mut written = Ok(());
    let mut events = vec![engine::begin(&suite, &choice)];
    for target in targets {
        let ready = Ready::make(target)?;
        let begun = Instant::now();
        engine::run(&suite, &ready, &choice, &Sound, jobs, args.keep, &mut |event| {
            if written.is_ok() {
                written = text.tell(&event);
            }
            events.push(event);
        })?;
        took += begun.elapsed();
    }
    events.push(Event::End { milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX) });
    if let Some(dir) = &args.report {
        report::write(dir, &events)?;
    }
    if let Some(file) = &args.results {
        let before = std::fs::read_to_string(file).map_err(|e| Failure::file(file, e))?;
        let mut text = report::results(&events);
        match report::kept(&before) {
            "" => {}
            kept => text.extend(["\n", kept]),
        }
        std::fs::write(file, text).map_err(|e| Failure::file(file, e))?;
    }
    written.and_then(|()| text.end(&events)).map_err(lost)?;
    Ok(if good(&events) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Something was checked, no MUST fails, no target made trouble, and no clause that was asked for is without a word.
fn good(events: &[Event]) -> bool {
    let summary = Summary::of(events);
    summary.targets.iter().all(|target| {
        let skipped = |state: &State| *state == State::Skipped;
        !target.states.values().all(skipped)
            && summary.broken_musts(target).is_empty()
            && target.trouble.is_empty()
            && summary.left_out(target).is_empty()
    })
}

fn targets(args: &Args, suite: &Suite) -> Result<Vec<Target>, Failure> {
    if let Some(system) = args.executor.as_deref().filter(|system| *system != "linux" || cfg!(not(target_os = "linux")))
    {
        if system == "freebsd" {
            return freebsd().iter().map(|name| suite.target(name)).collect();
        }
        return Ok(vec![suite.target(&format!("jetpack-{}", system.replace("model:", "model-")))?]);
    }
    if args.target.is_empty() {
        return usual().iter().map(|name| suite.target(name)).collect();
    }
    args.target.iter().map(|name| suite.target(name)).collect()
}

/// On FreeBSD with copies of images and, where there is a pool, with clones.
fn freebsd() -> Vec<&'static str> {
    let zfs = host::meets("zfs", &[], false).is_ok();
    ["jetpack-freebsd", "jetpack-freebsd-zfs"].into_iter().take(1 + usize::from(zfs)).collect()
}

/// Our own executor for this host, as root or without.
fn usual() -> Vec<&'static str> {
    let root = host::meets("root", &[], false).is_ok();
    match (cfg!(target_os = "freebsd"), root) {
        (true, _) => freebsd(),
        (false, true) => vec!["jetpack-linux"],
        (false, false) => vec!["jetpack-linux-rootless"],
    }
}
