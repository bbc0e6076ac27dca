//! Holds our validator against the Go `actool` on generated cases. A difference that `explained.toml` does not explain fails.
//!
//! ```text
//! cargo run --release -p actool-diff -- [--cases N] [--seed N] [--actool PATH] [--keep DIR]
//! ```

mod archives;
mod explain;
mod go;
mod manifests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use appc::diagnostic::{FileReport, Severity};
use appc::schema::{self, Compat};
use appc::validate::{self, Options};
use clap::Parser;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use explain::Explained;
use go::Verdict;

type Failed = Box<dyn std::error::Error>;

/// Hold our validator against the Go actool on generated cases.
#[derive(Parser)]
struct Args {
    /// How many cases
    #[arg(long, default_value_t = 5000)]
    cases: u32,
    /// Where the generator begins: the same seed gives the same cases
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The Go actool
    #[arg(long, default_value = "/usr/bin/actool")]
    actool: PathBuf,
    /// Keep the cases that differ without explanation here
    #[arg(long)]
    keep: Option<PathBuf>,
}

/// One generated file.
#[derive(Clone, Debug)]
pub struct Case {
    /// What was done to it, for people.
    pub made: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if !args.actool.exists() {
        println!("skipped: there is no {}", args.actool.display());
        return ExitCode::SUCCESS;
    }
    match run(&args) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("actool-diff: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Gives the number of differences without explanation.
fn run(args: &Args) -> Result<usize, Failed> {
    let explained = Explained::read()?;
    let cases = generate(args)?;
    let directory = tempfile::tempdir()?;
    let verdicts = go::judge(&args.actool, directory.path(), &cases)?;
    let (mut agree, mut unexplained) = (0, 0);
    let mut used: BTreeMap<usize, usize> = BTreeMap::new();
    for (index, (case, theirs)) in cases.iter().zip(&verdicts).enumerate() {
        let ours = judge(case, Compat::None);
        let found = if ours.valid == (*theirs == Verdict::Valid) {
            agree += 1;
            None
        } else {
            Some(explained.find(&ours, theirs))
        };
        match found {
            None => {}
            Some(Some(entry)) => *used.entry(entry).or_default() += 1,
            Some(None) => {
                unexplained += 1;
                tell(index, case, &ours, theirs, "differs without explanation");
                if let Some(keep) = &args.keep {
                    std::fs::create_dir_all(keep)?;
                    std::fs::write(keep.join(format!("case-{index}")), &case.bytes)?;
                }
            }
        }
        // Where a decision offers the Go tool's answer, the switch gives it.
        if explain::only_offered(&ours) && judge(case, Compat::Go).valid != (*theirs == Verdict::Valid) {
            unexplained += 1;
            tell(index, case, &ours, theirs, "differs under --compat go");
        }
    }
    println!(
        "{} cases: {agree} agree, {} differ as explained, {unexplained} without",
        cases.len(),
        used.values().sum::<usize>()
    );
    for (entry, count) in used {
        println!("{count:>6}  {}", explained.describe(entry));
    }
    Ok(unexplained)
}

fn generate(args: &Args) -> Result<Vec<Case>, Failed> {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&args.seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let kinds = proptest::prop_oneof![5 => manifests::images(), 4 => manifests::pods(), 2 => archives::archives()];
    (0..args.cases).map(|_| Ok(kinds.new_tree(&mut runner).map_err(|reason| reason.to_string())?.current())).collect()
}

fn judge(case: &Case, compat: Compat) -> FileReport {
    let manifest = schema::Options { compat, ..schema::Options::default() };
    validate::reader("case", case.bytes.as_slice(), &Options { manifest, ..Options::default() })
}

fn tell(index: usize, case: &Case, ours: &FileReport, theirs: &Verdict, what: &str) {
    println!("case {index} {what}: {}", case.made);
    println!("  theirs: {theirs:?}");
    println!("  ours: {}", if ours.valid { "valid" } else { "invalid" });
    for found in ours.diagnostics.iter().filter(|found| found.severity == Severity::Error) {
        println!("    {}: {}", found.clause, found.message);
    }
    if case.bytes.len() < 4000 && case.bytes.starts_with(b"{") {
        println!("  {}", String::from_utf8_lossy(&case.bytes));
    }
}
