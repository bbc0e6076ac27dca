//! The command line: one file a command.

pub mod compare;
pub mod coverage;
pub mod explain;
pub mod list;
pub mod mutants;
pub mod run;

use crate::Failure;

/// Standard output went away.
fn lost(e: std::io::Error) -> Failure {
    Failure::new(format!("failed to write to standard output: {e}"))
}
