//! Whole archives: no bytes make the reader panic, and where GNU tar accepts them too, both see the same names.
//!
//! `cargo +nightly fuzz run archive`

#![no_main]

use std::fs;
use std::process::Command;

use appc::aci::{self, Data, Entry, ReadOptions, Sink};
use libfuzzer_sys::fuzz_target;

#[derive(Default)]
struct Names(Vec<String>);

impl Sink for Names {
    fn entry(&mut self, entry: &Entry, _: &mut Data<'_, '_>) -> aci::Result<()> {
        self.0.push(entry.display_name());
        Ok(())
    }
}

fuzz_target!(|bytes: &[u8]| {
    let options = ReadOptions { max_size: 64 << 20, ..ReadOptions::default() };
    let mut names = Names::default();
    let read = aci::read(bytes, &options, &mut names);
    let plain = names.0.iter().all(|name| name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'\\'));
    if read.is_err() || !plain {
        return;
    }
    let at = std::env::temp_dir().join(format!("appc-fuzz-archive-{}", std::process::id()));
    if fs::write(&at, bytes).is_err() {
        return;
    }
    let Ok(output) = Command::new("tar").args(["--quoting-style=literal", "-tPf"]).arg(&at).output() else { return };
    if !output.status.success() || !output.stderr.is_empty() {
        return;
    }
    let tidy = |name: &str| {
        let parts: Vec<_> = name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        if parts.is_empty() { ".".to_owned() } else { parts.join("/") }
    };
    let theirs: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(tidy).collect();
    assert_eq!(names.0, theirs);
});
