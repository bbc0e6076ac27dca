//! Command lines as newcomers write them: what is nearly right is told as what was probably meant.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;
use std::process::{Command, Output};

use appc_needs::{Need, skip};
use tempfile::TempDir;

struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.current_dir(self.path()).env("HOME", self.path()).env_remove("XDG_CONFIG_HOME");
        if program.ends_with("jetpack") {
            command.args(["--root", "root"]);
        }
        command.args(arguments).output().unwrap()
    }

    /// The exit code, and standard error with the place itself left out.
    fn told(&self, program: &str, line: &str) -> (i32, String) {
        let output = self.run(program, &line.split(' ').collect::<Vec<_>>());
        let text = String::from_utf8(output.stderr).unwrap().replace(self.path().to_str().unwrap(), "PLACE");
        assert!(output.stdout.is_empty(), "{line}: {output:?}", output = output.stdout);
        (output.status.code().unwrap(), text)
    }

    #[track_caller]
    fn assert_told(&self, program: &str, line: &str, code: i32, told: &str) {
        assert_eq!(self.told(program, line), (code, told.to_owned()), "{line}");
    }
}

const JETPACK: &str = env!("CARGO_BIN_EXE_jetpack");
const ACTOOL: &str = env!("CARGO_BIN_EXE_actool");

#[test]
fn options_of_other_programs_are_told_as_those_of_this_one() {
    let place = Place::new();
    for (line, option, tip, usage, code) in [
        (
            "run -m 64M a.aci",
            "-m",
            "--memory BYTES limits memory, as 256M",
            "jetpack run [OPTIONS] [IMAGE]... [-- <ARGS>...]",
            125,
        ),
        (
            "prepare -d a.aci",
            "-d",
            "`jetpack run -d` leaves a pod running",
            "jetpack prepare [OPTIONS] [IMAGE]... [-- <ARGS>...]",
            2,
        ),
        ("list -a", "-a", "all pods are listed, whatever their state", "jetpack list [OPTIONS]", 2),
    ] {
        let (got, told) = place.told(JETPACK, line);
        let head = format!("error: unexpected argument '{option}' found\n\n  tip: {tip}\n\nUsage: ");
        assert!(got == code && told.starts_with(&head), "{line}: {got} {told}");
        assert!(told.contains(usage) || told.contains("--insecure"), "{line}: {told}");
        assert!(!told.contains(&format!("-- {option}")), "{told}");
    }
    // An option of the command's own is told as ever.
    let (code, told) = place.told(JETPACK, "run --memori 1M a.aci");
    assert!(code == 125 && told.contains("a similar argument exists: '--memory'"), "{told}");
}

/// Of `exec` the program that is started decides about the exit code, by whatever name it is called.
#[test]
fn a_wrong_command_line_of_a_command_that_starts_apps_is_no_exit_status_of_an_app() {
    let place = Place::new();
    for (line, code) in [("exec", 125), ("enter --bogus", 125), ("--verbose console", 125), ("run-prepared", 125)] {
        assert_eq!(place.told(JETPACK, line).0, code, "{line}");
    }
    for (line, code) in [("rm", 2), ("bogus", 2), ("--bogus", 2), ("--config", 2), ("--root run rm", 2)] {
        assert_eq!(place.told(JETPACK, line).0, code, "{line}");
    }
}

#[test]
fn an_option_behind_the_last_of_several_images_is_refused() {
    let place = Place::new();
    let told = |option: &str| {
        format!(
            "error: `{option}` stands behind the last image; of several images, each has its options before it: {option} py\n\n\
             Usage: jetpack [OPTIONS] <COMMAND>\n\nFor more information, try '--help'.\n"
        )
    };
    place.assert_told(JETPACK, "prepare go --env X=1 py --env Y=2", 2, &told("--env Y=2"));
    place.assert_told(JETPACK, "run go py --name web", 125, &told("--name web"));
    place.assert_told(JETPACK, "run --memory 1M go py --readonly-rootfs", 125, &told("--readonly-rootfs"));
}

#[test]
fn the_root_of_jetpack_is_a_directory_before_and_behind_every_command() {
    let place = Place::new();
    fs::write(place.path().join("KEY"), "").unwrap();
    let output =
        Command::new(JETPACK).args(["trust", "add", "--root", "KEY"]).current_dir(place.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "error: the following required arguments were not provided:\n  <SOURCE>\n\n  tip: --root names the directory of images and \
         pods; --all-names trusts a key for all names\n\nUsage: jetpack trust add --root <DIR> <SOURCE>\n\nFor more information, \
         try '--help'.\n"
    );
}

#[test]
fn what_was_taken_for_an_image_is_told_as_what_it_is() {
    let place = Place::new();
    let layout = place.path().join("layout");
    fs::create_dir_all(layout.join("rootfs")).unwrap();
    let manifest = r#"{"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/a"}"#;
    fs::write(layout.join("manifest"), manifest).unwrap();
    assert!(place.run(ACTOOL, &["build", "layout", "a.aci"]).status.success());
    place.assert_told(
        JETPACK,
        "run /tmp:/mnt a.aci",
        125,
        "jetpack: failed to open /tmp:/mnt: No such file or directory (os error 2)\n  hint: --volume /tmp:/mnt gives the only app a \
         directory of the host\n",
    );
    place.assert_told(
        JETPACK,
        "run --insecure=signature ./layout",
        125,
        "jetpack: WARNING: --insecure=signature: images are taken that nobody trusted has signed\njetpack: failed to import \
         ./layout: it is not a file\n  hint: ./layout is an image layout: `actool build ./layout IMAGE.aci` makes an image of it\n",
    );
    // Nobody is asked for a host named sh.
    place.assert_told(
        JETPACK,
        "run a.aci sh",
        125,
        "jetpack: failed to find image sh: the store has none of that name\n  hint: --exec sh before the image runs that program; \
         arguments for the image's own stand behind `--`\n",
    );
    let (code, told) = place.told(JETPACK, "run --pull never a.aci /bin/sh");
    assert_eq!(code, 125);
    assert!(told.ends_with("  hint: --exec /bin/sh before the image runs that program; arguments for the image's own stand behind `--`\n"), "{told}");
    place.assert_told(
        ACTOOL,
        "build layout a.aci",
        1,
        "actool: failed to write a.aci: it is there already\n  hint: --overwrite replaces it\n",
    );
    place.assert_told(
        ACTOOL,
        "discover https://example.com/x",
        2,
        "actool: https://example.com/x is a URL; discovery asks by name, as example.com/x\n",
    );
}

#[test]
fn memory_in_thousandths_of_a_byte_is_told_as_what_was_meant() {
    let place = Place::new();
    let layout = place.path().join("layout");
    fs::create_dir_all(layout.join("rootfs")).unwrap();
    let manifest = r#"{"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/a",
        "app": {"exec": ["/a"], "user": "0", "group": "0"}}"#;
    fs::write(layout.join("manifest"), manifest).unwrap();
    assert!(place.run(ACTOOL, &["build", "layout", "a.aci"]).status.success());
    let (code, told) = place.told(JETPACK, "run --insecure=signature --memory 16m a.aci");
    assert_eq!(code, 125);
    let end = "jetpack: --memory 16m: m is a thousandth, here of a byte; `16M` or `16Mi` was probably meant\n";
    assert!(told.ends_with(end), "{told}");
}

#[test]
fn a_host_is_looked_at_and_nothing_has_to_be_made_on_linux() {
    if !cfg!(target_os = "linux") {
        return skip(Need::Linux, "another system has other answers");
    }
    let place = Place::new();
    let output = place.run(JETPACK, &["doctor"]);
    let told = String::from_utf8(output.stdout).unwrap();
    for subject in
        ["kernel", "namespaces", "control groups", "overlay", "system call filters", "security module", "networks"]
    {
        assert!(told.lines().any(|line| line.contains(&format!("  {subject}: "))), "{subject}: {told}");
    }
    let json: serde_json::Value = serde_json::from_slice(&place.run(JETPACK, &["doctor", "--json"]).stdout).unwrap();
    for finding in json.as_array().unwrap() {
        assert_eq!(finding["good"] == true, finding["remedy"].is_null(), "{finding}");
    }
    let lame = json.as_array().unwrap().iter().any(|finding| finding["needed"] == true && finding["good"] == false);
    assert_eq!(output.status.code(), Some(i32::from(lame)));
    let init = place.run(JETPACK, &["init"]);
    assert!(init.status.success() && String::from_utf8_lossy(&init.stdout).contains("there is nothing to prepare"));
    assert!(!place.path().join("root").exists());
}

/// ^C in the middle of a build.
#[test]
fn what_is_half_made_goes_when_the_user_ends_the_program() {
    use std::os::unix::process::ExitStatusExt as _;
    // Whoever runs the tests behind has it ignored, and what is ignored stays so.
    appc::sys::signals::restore(rustix::process::Signal::INT.as_raw()).unwrap();
    let place = Place::new();
    let layout = place.path().join("layout");
    fs::create_dir_all(layout.join("rootfs")).unwrap();
    let manifest = r#"{"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/a"}"#;
    fs::write(layout.join("manifest"), manifest).unwrap();
    // Of holes there is nothing to compress; of this, some seconds' worth.
    io::copy(
        &mut fs::File::open("/dev/urandom").unwrap().take(64 << 20),
        &mut fs::File::create(layout.join("rootfs/large")).unwrap(),
    )
    .unwrap();
    let begun = || {
        let entries = fs::read_dir(place.path()).unwrap().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().contains(".partial-")).count()
    };
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::TERM] {
        let mut build = Command::new(ACTOOL)
            .args(["build", "--compression", "xz", "--level", "9", "layout", "a.aci"])
            .current_dir(place.path())
            .spawn()
            .unwrap();
        while begun() == 0 {
            assert!(build.try_wait().unwrap().is_none(), "it is over already");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        rustix::process::kill_process(rustix::process::Pid::from_child(&build), signal).unwrap();
        assert_eq!(build.wait().unwrap().signal(), Some(signal.as_raw()));
        assert_eq!(begun(), 0);
    }
}

#[test]
fn a_shell_is_told_which_pods_images_and_signals_there_are() {
    let place = Place::new();
    let layout = place.path().join("layout");
    fs::create_dir_all(layout.join("rootfs")).unwrap();
    let manifest = r#"{"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/web",
        "labels": [{"name": "version", "value": "1.2"}], "app": {"exec": ["/a"], "user": "0", "group": "0"}}"#;
    fs::write(layout.join("manifest"), manifest).unwrap();
    assert!(place.run(ACTOOL, &["build", "layout", "a.aci"]).status.success());
    let answer = |words: &[&str]| {
        let mut command = Command::new(JETPACK);
        command
            .args(["--", "jetpack", "--root", "root"])
            .args(words)
            .current_dir(place.path())
            .env("HOME", place.path());
        let output = command.env("_APPC_COMPLETE", "fish").output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(answer(&["image", "show", "exa"]), "");
    assert!(!place.path().join("root").exists());
    assert!(place.run(JETPACK, &["fetch", "--insecure=signature", "a.aci"]).status.success());
    for command in [&["run"][..], &["image", "show"], &["image", "rm"]] {
        assert_eq!(answer(&[command, &["exa"]].concat()), "example.com/web:1.2\n");
    }
    assert_eq!(answer(&["run", "layo"]), "layout/\n");
    assert_eq!(answer(&["kill", "--signal", "USR"]), "USR1\nUSR2\n");
    let prepared = place.run(JETPACK, &["prepare", "--pod-name", "front", "example.com/web"]);
    if !prepared.status.success() {
        return skip(Need::Pods, format_args!("no pods here: {}", String::from_utf8_lossy(&prepared.stderr)));
    }
    for command in ["stop", "rm", "exec", "logs", "status", "run-prepared", "ps"] {
        assert_eq!(answer(&[command, "fr"]), "front\n", "{command}");
    }
    assert_eq!(answer(&["cp", "fro"]), "front:\n");
    assert!(place.run(JETPACK, &["rm", "front"]).status.success());
    for shell in ["bash", "zsh", "fish"] {
        let script = place.run(JETPACK, &["completions", shell]);
        assert!(script.status.success() && String::from_utf8_lossy(&script.stdout).contains("_APPC_COMPLETE"));
    }
}

#[test]
fn pages_of_the_manual_show_where_an_apps_arguments_begin() {
    let place = Place::new();
    assert!(place.run(JETPACK, &["man", "pages"]).status.success());
    for command in ["run", "prepare", "plan"] {
        let page = fs::read_to_string(place.path().join(format!("pages/jetpack-{command}.1"))).unwrap();
        assert!(
            page.contains(&format!("\\fBjetpack {command}\\fR [OPTIONS] [IMAGE]... [\\-\\- <ARGS>...]\n")),
            "{page}"
        );
    }
}

/// What the action of a workflow shows where findings are not uploaded.
#[test]
fn findings_become_annotations_of_a_workflow() {
    let place = Place::new();
    fs::write(place.path().join("bad,name.json"), "{\n  \"acKind\": \"ImageManifest\"\n}\n").unwrap();
    let found = place.run(ACTOOL, &["validate", "--format", "sarif", "bad,name.json"]);
    assert_eq!(found.status.code(), Some(1));
    fs::write(place.path().join("found.sarif"), found.stdout).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(".github/actions/validate/annotate.jq");
    let shown =
        Command::new("jq").arg("-r").arg("-f").arg(script).arg("found.sarif").current_dir(place.path()).output();
    let Ok(shown) = shown else { return skip(Need::Program, "jq is not installed") };
    assert!(shown.status.success(), "{shown:?}");
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.lines().count() > 0 && shown.lines().all(|line| line.starts_with("::")), "{shown}");
    assert!(shown.lines().any(|line| line.starts_with("::error file=bad%2Cname.json,line=")), "{shown}");
    assert!(shown.lines().all(|line| line.contains(",title=")), "{shown}");
}

#[test]
fn a_volume_without_a_mount_and_a_mount_point_without_a_volume_are_told_with_the_option_that_helps() {
    let place = Place::new();
    let layout = place.path().join("layout");
    fs::create_dir_all(layout.join("rootfs")).unwrap();
    let image = |name: &str, points: &str| {
        let manifest = format!(
            r#"{{"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/{name}",
            "app": {{"exec": ["/a"], "user": "0", "group": "0", "mountPoints": [{points}]}}}}"#
        );
        fs::write(layout.join("manifest"), manifest).unwrap();
        assert!(place.run(ACTOOL, &["build", "layout", &format!("{name}.aci")]).status.success());
    };
    image("plain", "");
    image("data", r#"{"name": "data", "path": "/data"}"#);
    let hint = "  hint: --mount volume=NAME,target=PATH before an image mounts a volume into its app\n";
    let verdict = "pod: volume v ignored: no app mounts it [pm.apps.mounts.volume]\n";
    let plan = place.run(JETPACK, &["plan", "--insecure=signature", "--volume", "v,kind=empty", "plain.aci"]);
    assert!(plan.status.success() && String::from_utf8_lossy(&plan.stdout).contains(verdict), "{plan:?}");
    let line = ["prepare", "--insecure=signature", "--volume", "v,kind=empty", "plain.aci"];
    let told = String::from_utf8(place.run(JETPACK, &line).stderr).unwrap();
    assert!(told.contains(&format!("jetpack: {verdict}{hint}")), "{told}");
    let (code, told) = place.told(JETPACK, "prepare --insecure=signature --strict --volume v,kind=empty plain.aci");
    assert_eq!(code, 125);
    assert!(told.contains("failed to run the pod strictly: ") && told.contains(verdict.trim_end()), "{told}");
    assert!(told.ends_with(hint), "{told}");
    let (code, told) = place.told(JETPACK, "run --insecure=signature data.aci");
    assert_eq!(code, 125);
    let hint =
        "  hint: --volume NAME,kind=empty or --volume NAME,source=DIR makes a volume of the mount point's name\n";
    assert!(told.contains("its mount point data at /data has no mount") && told.ends_with(hint), "{told}");
}
