//! Whole outputs of the suite's own commands, good and bad. What `run` says of an implementation is in the other tests.

#[path = "../../tests/support/transcript.rs"]
mod transcript;

use transcript::{Scene, assert_helps};

const PROGRAM: (&str, &str) = ("appc-conformance", env!("CARGO_BIN_EXE_appc-conformance"));

#[test]
fn every_command_helps() {
    assert_helps(&Scene::new(&[PROGRAM]), &[PROGRAM.0]);
}
