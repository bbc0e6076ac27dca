//! The command line: one file a command.

pub mod compare;
pub mod coverage;
pub mod explain;
pub mod list;
pub mod mutants;
pub mod run;

use crate::Failure;

/// Standard output went away. Whoever closed it wants no more of it, and no word about it.
fn lost(e: std::io::Error) -> Failure {
    if e.kind() == std::io::ErrorKind::BrokenPipe {
        // As the signal would have ended it, which tests and drivers with pipes of their own cannot let come.
        std::process::exit(141);
    }
    Failure::new(format!("failed to write to standard output: {e}"))
}
