//! What every command needs to know: where things are.

use std::path::PathBuf;

use crate::error::CommandError;

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

    /// Where images and pods are kept.
    pub fn root(&self) -> Result<PathBuf, CommandError> {
        self.root.clone().ok_or_else(|| CommandError::usage("no root is named").hint("--root names one"))
    }
}
