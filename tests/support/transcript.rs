//! What programs say, whole, as a user would see it: command lines typed in a directory of their own, held against files in the
//! crate's `tests/snapshots/`. `SNAPSHOTS=overwrite` writes those anew.
//!
//! ```text
//! $ actool id missing.aci
//! ! actool: failed to open missing.aci: No such file or directory (os error 2)
//! ? 1
//! ```
//! Lines behind `!` went to standard error, `?` has the exit status where it is not 0. What differs from run to run and from host to
//! host has a name in brackets in its place.

#![allow(dead_code, reason = "it is a part of two crates, and each has need of some")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use regex::Regex;
use snapbox::{Assert, Data};
use tempfile::TempDir;

/// Where the snapshots of this crate are.
const SNAPSHOTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots");

/// A directory to type command lines in, and what came of it.
pub struct Scene {
    place: TempDir,
    said: String,
    changing: Vec<(Regex, &'static str)>,
}

impl Scene {
    /// A directory where these programs are found by their names, and nothing of the user's own is.
    pub fn new(programs: &[(&str, &str)]) -> Self {
        let place = tempfile::tempdir().expect("a temporary directory");
        for directory in ["bin", "config", "run", "work"] {
            fs::create_dir(place.path().join(directory)).expect("a new directory");
        }
        for (name, file) in programs {
            symlink(file, place.path().join("bin").join(name)).expect("a new link");
        }
        // Root's containers would be among the host's.
        if programs.iter().any(|(name, _)| *name == "jetpack-oci") {
            let (file, link) = (place.path().join("bin/jetpack-oci"), place.path().join("run/jetpack-oci"));
            fs::rename(&file, &link).expect("another name");
            let containers = place.path().join("containers");
            let script = format!("#!/bin/sh\nexec {} --root {} \"$@\"\n", link.display(), containers.display());
            fs::write(&file, script).expect("a script");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("a program");
        }
        // What this host's administrator says is nothing to look at.
        let mut configuration = String::new();
        for (key, list) in [
            ("root", false),
            ("cni-configurations", false),
            ("system-trust-directories", true),
            ("credential-directories", true),
            ("registry-files", true),
        ] {
            let path = place.path().join(key);
            let (open, close) = if list { ("[", "]") } else { ("", "") };
            writeln!(configuration, "{key} = {open}{path:?}{close}").expect("memory");
        }
        fs::write(place.path().join("config/jetpack.toml"), configuration).expect("a configuration");
        let path = regex::escape(place.path().to_str().expect("a path of letters"));
        let changing = [
            (path.as_str(), "[PLACE]"),
            (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?( ?(Z|[+-]\d\d:?\d\d))?", "[TIME]"),
        ];
        let changing = changing.map(|(pattern, name)| (Regex::new(pattern).expect("a pattern"), name)).into();
        Self { place, said: String::new(), changing }
    }

    /// The directory that lines are typed in.
    pub fn path(&self, name: &str) -> PathBuf {
        self.place.path().join("work").join(name)
    }

    /// Writes a file, and the directories that it is in.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("below a directory")).expect("new directories");
        fs::write(path, content).expect("a new file");
    }

    /// Has what matches the pattern read as the name, in all that is said.
    pub fn changing(&mut self, pattern: &str, name: &'static str) {
        self.changing.push((Regex::new(pattern).expect("a pattern"), name));
    }

    /// What comes of a line of shell.
    pub fn output(&self, line: &str) -> Output {
        let place = self.place.path();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &format!("umask 022; {line}")]).current_dir(place.join("work")).env_clear();
        command.env("PATH", format!("{}:{path}:/usr/sbin:/sbin", place.join("bin").display()));
        command.env("HOME", place).env("XDG_CONFIG_HOME", place.join("config"));
        command.env("XDG_RUNTIME_DIR", place.join("run")).envs([("LC_ALL", "C"), ("TZ", "UTC"), ("COLUMNS", "80")]);
        // Where none of the three is a terminal, only COLUMNS tells how wide it is.
        command.stdin(Stdio::null()).output().expect("a shell")
    }

    /// Types a line that has to succeed and is not shown.
    #[track_caller]
    pub fn prepare(&self, line: &str) {
        let output = self.output(line);
        assert!(output.status.success(), "{line}: {output:?}");
    }

    /// Types a line, and shows it with all that comes of it.
    pub fn line(&mut self, line: &str) -> &mut Self {
        let output = self.output(line);
        if !self.said.is_empty() {
            self.said.push('\n');
        }
        writeln!(self.said, "$ {line}").expect("memory");
        self.said.push_str(&String::from_utf8_lossy(&output.stdout));
        if !self.said.ends_with('\n') {
            self.said.push_str("(no end of line)\n");
        }
        for said in String::from_utf8_lossy(&output.stderr).lines() {
            writeln!(self.said, "{}", format!("! {said}").trim_end()).expect("memory");
        }
        match output.status.code() {
            Some(0) => {}
            Some(code) => writeln!(self.said, "? {code}").expect("memory"),
            None => writeln!(self.said, "? {}", output.status).expect("memory"),
        }
        self
    }

    /// Holds what was said against a snapshot.
    #[track_caller]
    pub fn is(&self, snapshot: &str) {
        let mut said = self.said.clone();
        for (pattern, name) in &self.changing {
            said = pattern.replace_all(&said, *name).into_owned();
        }
        said = numbered(&said, r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "UUID");
        said = numbered(&said, r"\bsha(512-[0-9a-f]{12,128}|256:[0-9a-f]{12,64})\b", "ID");
        assert_snapshot(snapshot, &said);
    }
}

/// Has numbers stand for what matches, the same for what begins the same: IDs are shown in short too. Columns stay columns.
fn numbered(said: &str, pattern: &str, name: &str) -> String {
    let mut known: Vec<String> = Vec::new();
    let number = |found: &regex::Captures<'_>| {
        let short: String = found[0].chars().take("sha512-".len() + 12).collect();
        let at = known.iter().position(|other| *other == short).unwrap_or_else(|| {
            known.push(short);
            known.len() - 1
        });
        let number = format!("[{name}-{}]", at + 1);
        match found.name("gap") {
            Some(gap) => format!("{number:width$}", width = found[0].len() - gap.len()) + gap.as_str(),
            None => number,
        }
    };
    Regex::new(&format!("{pattern}(?<gap>  )?")).expect("a pattern").replace_all(said, number).into_owned()
}

#[track_caller]
fn assert_snapshot(name: &str, said: &str) {
    let file = Path::new(SNAPSHOTS).join(format!("{name}.txt"));
    Assert::new().action_env("SNAPSHOTS").eq(said, Data::read_from(&file, None).raw());
}

/// The programs' commands, each with the help that it gives, as it tells them itself. Those that have commands below them come first.
pub fn commands(scene: &Scene, program: &str) -> Vec<(String, String)> {
    let output = scene.output(&format!("{program} --help"));
    assert!(output.status.success(), "{program} --help: {output:?}");
    let help = String::from_utf8(output.stdout).expect("text");
    let below = help.split("\nCommands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap_or_default();
    let below: Vec<String> = below
        .lines()
        // What goes on from the line before stands further in.
        .filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')))
        .filter_map(|line| line.split(' ').next())
        .filter(|name| *name != "help")
        .map(|name| format!("{program} {name}"))
        .collect();
    let mut all = vec![(program.to_owned(), help)];
    all.extend(below.iter().flat_map(|command| commands(scene, command)));
    all
}

/// Holds the help of each of these programs' commands against its snapshot; there are no others.
pub fn assert_helps(scene: &Scene, programs: &[&str]) {
    let mut known = BTreeSet::new();
    for (command, help) in programs.iter().flat_map(|program| commands(scene, program)) {
        let name = command.replace(' ', "-");
        assert_snapshot(&format!("help/{name}"), &help);
        known.insert(format!("{name}.txt"));
    }
    let there = fs::read_dir(Path::new(SNAPSHOTS).join("help")).expect("snapshots of help").flatten();
    let left: Vec<_> = there.filter(|entry| !known.contains(entry.file_name().to_string_lossy().as_ref())).collect();
    for entry in &left {
        if std::env::var_os("SNAPSHOTS").is_some_and(|action| action == "overwrite") {
            fs::remove_file(entry.path()).expect("remove a snapshot");
        } else {
            panic!("{} is of a command that is no more", entry.path().display());
        }
    }
}

/// Whether the help of a command offers JSON.
pub fn takes_json(help: &str) -> bool {
    help.lines().map(str::trim).any(|line| line == "--json" || line.starts_with("--json  "))
}

/// Whether a line types the command.
fn types(line: &str, command: &str) -> bool {
    line.match_indices(command).any(|(at, _)| {
        line[at + command.len()..].chars().next().is_none_or(|next| " >;|&".contains(next))
            && line[..at].chars().next_back().is_none_or(|before| " (|".contains(before))
    })
}

/// Asserts that snapshots show each command doing well, with `--json` too where it has that, and failing. Of the named ones, doing
/// well need not be shown.
pub fn assert_shown(scene: &Scene, programs: &[&str], excused: &[&str]) {
    let (mut well, mut ill) = (Vec::new(), Vec::new());
    for file in fs::read_dir(SNAPSHOTS).expect("snapshots").flatten().filter(|file| file.path().is_file()) {
        let said = fs::read_to_string(file.path()).expect("a snapshot");
        for part in said.split("\n$ ") {
            let (line, rest) = part.split_once('\n').unwrap_or((part, ""));
            let shown = if rest.lines().any(|line| line.starts_with("? ")) { &mut ill } else { &mut well };
            shown.push(line.trim_start_matches("$ ").to_owned());
        }
    }
    let mut missing = Vec::new();
    for (command, help) in programs.iter().flat_map(|program| commands(scene, program)) {
        if help.contains("\nCommands:\n") {
            continue;
        }
        let shown =
            |lines: &[String], option: &str| lines.iter().any(|line| types(line, &command) && line.contains(option));
        if !excused.contains(&command.as_str()) {
            if !shown(&well, "") {
                missing.push(format!("{command}: doing well"));
            }
            if takes_json(&help) && !shown(&well, " --json") {
                missing.push(format!("{command} --json: doing well"));
            }
        }
        if !shown(&ill, "") {
            missing.push(format!("{command}: failing"));
        }
    }
    assert!(missing.is_empty(), "{SNAPSHOTS} lacks scenes of\n{}", missing.join("\n"));
}
