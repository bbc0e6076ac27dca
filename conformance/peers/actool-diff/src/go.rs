//! What the Go `actool` says. Many files a process; one that it falls over is found and passed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Case, Failed};

const BATCH: usize = 100;

/// What it says about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Valid.
    Valid,
    /// Not valid, with its reason.
    Invalid(String),
    /// It panicked.
    Crash,
}

/// Its verdicts on all cases.
pub fn judge(actool: &Path, directory: &Path, cases: &[Case]) -> Result<Vec<Verdict>, Failed> {
    let mut files = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        let path = directory.join(format!("case-{index}"));
        std::fs::write(&path, &case.bytes)?;
        files.push(path);
    }
    let mut verdicts = Vec::new();
    while verdicts.len() < files.len() {
        let batch = &files[verdicts.len()..files.len().min(verdicts.len() + BATCH)];
        verdicts.extend(batch_of(actool, batch)?);
    }
    Ok(verdicts)
}

/// The verdicts up to the end of the batch, or to the file at which it stops: by some faults it does, or falls over.
fn batch_of(actool: &Path, files: &[PathBuf]) -> Result<Vec<Verdict>, Failed> {
    let output = Command::new(actool)
        .args(["--debug", "validate"])
        .args(files)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null())
        .output()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let mut verdicts = Vec::new();
    for file in files {
        let name = format!("{}: ", file.display());
        let Some(line) = text.lines().find_map(|line| line.strip_prefix(&name)) else { break };
        verdicts.push(if line.starts_with("valid ") { Verdict::Valid } else { Verdict::Invalid(line.to_owned()) });
    }
    match output.status.code() {
        Some(2) if verdicts.len() < files.len() => verdicts.push(Verdict::Crash),
        _ if verdicts.is_empty() => return Err(format!("the Go actool said nothing:\n{text}").into()),
        _ => {}
    }
    Ok(verdicts)
}
