//! What several of the tests share.

pub mod gpg;
pub mod https;
pub mod image;
pub mod service;
pub mod store;

use std::path::Path;
use std::process::Command;

/// A copy of jetpack's program that can be started at once. It is made by a process of its own: a descriptor to write it, had by
/// this one, would be inherited by what other tests start meanwhile, and nobody can start what is open to be written.
pub fn copy_jetpack(to: &Path) {
    assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_jetpack")).arg(to).status().unwrap().success());
}
