//! Whole outputs: the help of every command, and what each says when all is well and when it is not.

use crate::support::transcript::{Scene, assert_helps};

/// The names that programs are called by. An engine's runtime is jetpack by another name.
const PROGRAMS: [(&str, &str); 3] = [
    ("actool", env!("CARGO_BIN_EXE_actool")),
    ("jetpack", env!("CARGO_BIN_EXE_jetpack")),
    ("jetpack-oci", env!("CARGO_BIN_EXE_jetpack")),
];

#[test]
fn every_command_helps() {
    assert_helps(&Scene::new(&PROGRAMS), &PROGRAMS.map(|(name, _)| name));
}
