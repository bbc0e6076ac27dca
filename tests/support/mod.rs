//! What several of the tests share.

pub mod gpg;
pub mod https;
pub mod image;
pub mod service;
pub mod store;
#[cfg(target_os = "linux")]
pub mod transcript;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command};

/// Reads what a program complains about until it says this.
pub fn wait_for_line(child: &mut Child, words: &str) {
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut told = String::new();
    while !told.lines().any(|line| line.contains(words)) {
        assert!(stderr.read_line(&mut told).unwrap() > 0, "it ended: {told}");
    }
    // What it says besides must not end it.
    std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
}

/// A copy of jetpack's program that can be started at once. It is made by a process of its own: a descriptor to write it, had by
/// this one, would be inherited by what other tests start meanwhile, and nobody can start what is open to be written.
pub fn copy_jetpack(to: &Path) {
    assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_jetpack")).arg(to).status().unwrap().success());
}
