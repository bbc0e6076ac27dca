//! Implementations that misbehave: each is told as what it is, nothing of it stays, and the run goes on to its end.

use std::fs;
use std::path::Path;
use std::process::Command;

#[cfg(target_os = "linux")]
use appc_needs::{Need, skip};

/// What `appc-conformance run` prints for a target whose commands are the given lines of shell, and its exit status.
fn run(dir: &Path, case: &str, commands: &[(&str, &str)]) -> (Option<i32>, String) {
    let line = |(action, script): &(&str, &str)| {
        let words = ["sh", "-c", script, "target", "{root}", "{out}", "{file}", "{dataset}"];
        format!("{action} = {}\n", serde_json::json!(words))
    };
    let lines: String = commands.iter().map(line).collect();
    let file = dir.join("bad.toml");
    let text = format!("about = \"a bad one\"\nplatform = \"linux\"\npatience = 1\n[commands]\n{lines}");
    fs::write(&file, text).expect("a directory to write to");
    let output = Command::new(env!("CARGO_BIN_EXE_appc-conformance"))
        .args(["run", "--case", case, "--target"])
        .arg(&file)
        // Nothing of it is run.
        .env("APPC_PROBE", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .expect("the suite starts");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.code(), text)
}

#[test]
fn misbehaviour_is_told_and_fails_the_clause_that_was_asked_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let noise = "head -c 100000 /dev/urandom";
    for (case, action, script, told) in [
        ("types/isolators", "validate", "kill -SEGV $$", "was killed by signal 11"),
        ("types/isolators", "validate", noise, "was accepted"),
        ("types/isolators", "validate", "exit 9", "exit status 9"),
        ("image-archive/build", "build", "sleep 60", "hung and was killed"),
        ("image-archive/build", "build", "head -c 100000 /dev/urandom >$2", "fail"),
        ("environment/", "run", noise, "fail"),
        ("environment/", "run", "kill -KILL $$", "was killed by signal 9"),
    ] {
        let (status, text) = run(dir.path(), case, &[(action, script)]);
        assert_eq!(status, Some(1), "{action} by `{script}`:\n{text}");
        assert!(text.contains(told), "{action} by `{script}` is not told as `{told}`:\n{text}");
    }
}

#[test]
fn a_program_that_speaks_the_protocol_wrongly_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("bad.toml");
    let text = "about = \"x\"\nplatform = \"linux\"\npatience = 1\nprogram = [\"./speak\"]\ncan = [\"validate\"]\n";
    fs::write(&file, text).expect("a directory to write to");
    for (script, told) in [
        ("echo hello", "gave an answer that cannot be read"),
        ("echo '[0]'", "gave an answer that cannot be read"),
        ("echo '{\"exit\":0}'", "gave an answer without `code`"),
        ("exit 3", "gave no answer: exit status 3"),
        ("sleep 60", "hung and was killed"),
        ("rm \"$0\"; echo '{\"code\":0}'", "could not be started"),
    ] {
        script_at(&dir.path().join("speak"), script);
        // Named from where it stands, as a user would.
        let output = Command::new(env!("CARGO_BIN_EXE_appc-conformance"))
            .args(["run", "--case", "types/isolators", "--target", "bad.toml"])
            .current_dir(dir.path())
            .output()
            .expect("the suite starts");
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "`{script}`:\n{text}");
        assert!(text.contains(told), "`{script}` is not told as `{told}`:\n{text}");
        assert!(text.contains("1 case in"), "the run did not go on after `{script}`:\n{text}");
    }
}

fn script_at(path: &Path, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, format!("#!/bin/sh\n{script}\n")).expect("a directory to write to");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("our own file");
}

#[test]
fn a_target_file_that_cannot_be_meant_is_refused_before_anything_runs() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("bad.toml");
    let sound = "about = \"x\"\nplatform = \"linux\"\n";
    for (text, told) in [
        ("colour = \"red\"\n", "unknown field `colour`"),
        ("", "neither `commands` nor a `program`"),
        ("run-as = \"admin\"\n[commands]\nrun = [\"true\"]\n", "run-as `admin`"),
        ("[commands]\nvallidate = [\"true\"]\n", "action `vallidate`"),
        ("[commands]\nvalidate = []\n", "the command for `validate` is empty"),
        ("[commands]\nvalidate = [\"true\", \"{fiel}\"]\n", "`{fiel}`"),
        ("program = [\"true\"]\n", "`can` has to say"),
        ("program = [\"true\"]\ncan = [\"run\"]\n[commands]\nrun = [\"true\"]\n", "not by both"),
        ("[commands]\nrun = [\"true\"]\n[expected-fail]\n\"no.such\" = \"x\"\n", "no.such"),
    ] {
        fs::write(&file, format!("{sound}{text}")).expect("a directory to write to");
        let output = Command::new(env!("CARGO_BIN_EXE_appc-conformance"))
            .args(["run", "--target"])
            .arg(&file)
            .output()
            .expect("the suite starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{text}:\n{said}");
        assert!(said.contains(told), "{text} is not told as `{told}`:\n{said}");
    }
}

#[test]
fn a_program_that_is_missing_is_told_and_the_next_target_has_its_turn() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("gone.toml");
    let text = "about = \"x\"\nplatform = \"linux\"\n[commands]\nvalidate = [\"/nowhere/tool\", \"{file}\"]\n";
    fs::write(&file, text).expect("a directory to write to");
    let other = dir.path().join("other.toml");
    fs::write(&other, text.replace("/nowhere/tool", "false")).expect("a directory to write to");
    let output = Command::new(env!("CARGO_BIN_EXE_appc-conformance"))
        .args(["run", "--case", "types/isolators", "--target"])
        .arg(&file)
        .arg("--target")
        .arg(&other)
        .output()
        .expect("the suite starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("there is no program /nowhere/tool"), "{said}");
    assert!(said.contains("FAIL"), "the other target was not asked:\n{said}");
}

/// The clauses of a strength that pass for a target of which every command is the given line of shell.
fn passing(script: &str, strength: &str) -> Vec<String> {
    let dir = tempfile::tempdir().expect("a directory");
    let actions =
        ["validate", "build", "id", "discover", "discover-secure", "fetch-name", "fetch-signed", "fetch", "run"];
    let lines: String =
        actions.iter().map(|one| format!("{one} = {}\n", serde_json::json!(["sh", "-c", script]))).collect();
    let file = dir.path().join("trivial.toml");
    fs::write(&file, format!("about = \"x\"\nplatform = \"linux\"\n[commands]\n{lines}"))
        .expect("a directory to write to");
    let output = Command::new(env!("CARGO_BIN_EXE_appc-conformance"))
        .args(["run", "--all", "--target"])
        .arg(&file)
        .env("APPC_PROBE", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .expect("the suite starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let words = said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let passed =
        words.filter(|words| words.len() > 2 && words[0] == "pass" && words[1].trim_end_matches('~') == strength);
    passed.map(|words| words[2].to_owned()).collect()
}

#[test]
fn who_refuses_everything_meets_no_must() {
    assert_eq!(passing("echo no >&2; exit 1", "MUST"), Vec::<String>::new());
    assert_eq!(passing("echo no >&2; exit 1", "MUST-NOT"), Vec::<String>::new());
}

#[test]
fn who_accepts_everything_meets_no_must_but_those_that_say_what_is_to_be_accepted() {
    let accepting =
        ["im.labels.arch.needs-os", "im.labels.osarch.absent", "im.labels.osarch.known", "types.acversion.tagged"];
    assert_eq!(passing("exit 0", "MUST"), accepting);
    assert_eq!(passing("exit 0", "MUST-NOT"), Vec::<String>::new());
}

#[test]
fn an_image_that_the_target_does_not_pack_fails_the_case_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let commands = [("build", "echo no room >&2; exit 4"), ("id", "exit 0"), ("run", "exit 0")];
    let (status, text) = run(dir.path(), "image-archive/built", &commands);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("did not pack an image: exit status 4; no room"), "{text}");
}

#[test]
fn what_a_target_cannot_do_is_unsupported() {
    let dir = tempfile::tempdir().expect("a directory");
    for (case, action) in [("image-archive/built", "build"), ("image-manifest/exec-words", "run-image")] {
        let (status, text) = run(dir.path(), case, &[("run", "exit 0")]);
        assert_eq!(status, Some(0), "{text}");
        assert!(text.contains("unsupported   M") && text.contains(&format!("no action `{action}`")), "{text}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn what_a_target_leaves_behind_is_told_and_ended() {
    let dir = tempfile::tempdir().expect("a directory");
    let process = "setsid sh -c 'sleep 61; :' left $1 >/dev/null 2>&1 &";
    let (status, text) = run(dir.path(), "environment/app-name", &[("run", process)]);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("TROUBLE") && text.contains("sleep 61"), "{text}");
    let processes = Command::new("ps").args(["-axww", "-o", "command="]).output().expect("ps").stdout;
    assert!(!String::from_utf8_lossy(&processes).contains("sleep 61; : left"), "it still runs");

    let mount = "mount -t tmpfs left-by-a-bad-target $1";
    if !rustix::process::geteuid().is_root() {
        return skip(Need::Root, "a mount that is left: it takes root to make one");
    }
    let (status, text) = run(dir.path(), "environment/app-name", &[("run", mount)]);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("TROUBLE") && text.contains("mount"), "{text}");
    let mounts = fs::read_to_string("/proc/self/mounts").expect("/proc");
    assert!(!mounts.contains("left-by-a-bad-target"), "it is still mounted: {mounts}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_daemon_that_names_no_place_is_found_after_any_action() {
    let dir = tempfile::tempdir().expect("a directory");
    let daemon = "cd /; setsid sleep 63 >/dev/null 2>&1 &";
    let (status, text) = run(dir.path(), "types/isolators", &[("validate", daemon)]);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("left a process behind: sleep 63"), "{text}");
}

#[test]
fn a_run_that_is_interrupted_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let (made, begun) = (dir.path().join("made"), dir.path().join("begun"));
    fs::create_dir(&made).expect("a directory to write to");
    let text = format!(
        "about = \"slow\"\nplatform = \"linux\"\n[commands]\nvalidate = [\"sh\", \"-c\", \"echo >{}; sleep 60\"]\n",
        begun.display()
    );
    let file = dir.path().join("slow.toml");
    fs::write(&file, text).expect("a directory to write to");
    let mut run = Command::new(env!("CARGO_BIN_EXE_appc-conformance"))
        .args(["run", "--area", "types", "--target"])
        .arg(&file)
        .env("TMPDIR", &made)
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("the suite starts");
    while !begun.exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let pid = i32::try_from(run.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is ours");
    assert_eq!(run.wait().expect("it ends").code(), Some(130));
    assert_eq!(fs::read_dir(&made).expect("the directory").count(), 0, "what the cases made is there");
}

#[test]
fn what_roots_stand_on_is_made_before_anything_is_asked_and_taken_away_whatever_happened() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("log");
    let note = |what: &str| format!("echo {what} $1 $4 >>{}", log.display());
    let (prepare, fetch) = (note("prepare"), note("fetch"));
    let (discard, run_fails) = (note("discard"), format!("{}; exit 9", note("run")));
    let case = "environment/standard-variables";
    let commands = [("prepare", &*prepare), ("fetch", &*fetch), ("run", &*run_fails), ("discard", &*discard)];
    let (status, text) = run(dir.path(), case, &commands);
    assert_eq!(status, Some(1), "{text}");
    let told = fs::read_to_string(&log).expect("what was asked");
    let asked: Vec<(&str, &str)> = told.lines().filter_map(|line| line.split_once(' ')).collect();
    assert_eq!(
        asked.iter().map(|(what, _)| *what).collect::<Vec<_>>(),
        ["prepare", "fetch", "run", "discard"],
        "{text}"
    );
    assert!(asked.iter().all(|(_, place)| *place == asked[0].1), "{told}");
    assert!(asked[0].1.contains(" zroot/appc-"), "{told}");

    fs::remove_file(&log).expect("our own file");
    let refused = format!("{prepare}; exit 1");
    let (status, text) = run(dir.path(), case, &[("prepare", &*refused), ("run", "true"), ("discard", &*discard)]);
    assert_eq!(status, Some(3), "{text}");
    assert!(text.contains("`prepare` exit status 1"), "{text}");
    assert_eq!(fs::read_to_string(&log).expect("what was asked").lines().count(), 2, "half made is taken away too");
}

#[test]
fn where_there_is_no_rust_the_probe_is_laid_beside_the_suite_or_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let place = |name: &str| dir.path().join(name);
    fs::copy(env!("CARGO_BIN_EXE_appc-conformance"), place("appc-conformance")).expect("a copy of the suite");
    let write = || {
        let mut command = Command::new(place("appc-conformance"));
        command.arg("probe").arg(place("written")).env("PATH", dir.path());
        for name in ["CARGO", "RUSTC", "APPC_PROBE", "APPC_PROBE_LINUX", "APPC_PROBE_FREEBSD"] {
            command.env_remove(name);
        }
        command.output().expect("the suite starts")
    };
    let refused = write();
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(3), "{text}");
    for told in ["no probe: ", "`appc-conformance probe FILE`", "APPC_PROBE", "appc-probe-static"] {
        assert!(text.contains(told), "{text}");
    }
    fs::write(place("appc-probe-static"), "#!/bin/sh\n").expect("our own directory");
    assert!(write().status.success());
    assert_eq!(fs::read_to_string(place("written")).expect("the probe"), "#!/bin/sh\n");
}
