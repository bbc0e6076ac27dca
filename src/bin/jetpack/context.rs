//! What every command needs to know: where things are.

use std::path::PathBuf;

/// What holds for this call of `jetpack`.
pub struct Context {
    /// Where images and pods are kept, when the command line says so.
    pub root: Option<PathBuf>,
}

impl Context {
    /// From the options that every subcommand takes.
    pub fn new(root: Option<PathBuf>) -> Self {
        Self { root }
    }
}
