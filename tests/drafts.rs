//! `actool init`, `actool edit` and `actool build --rootfs`: manifests that nobody writes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn actool(directory: &Path, editor: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_actool"));
    command.current_dir(directory).env_remove("VISUAL").env("EDITOR", editor).args(args).output().unwrap()
}

#[track_caller]
fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn told(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn manifest(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_program_of_the_host_becomes_a_layout_with_all_that_it_needs() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let out = done(&actool(at, "", &["init", "shell", "--from", "/bin/sh", "--name", "example.com/sh"]));
    assert_eq!(out, "shell/manifest\n");
    let made = manifest(&at.join("shell/manifest"));
    assert_eq!(made["app"]["exec"], serde_json::json!(["/bin/sh"]));
    assert_eq!(made["labels"][0]["value"], std::env::consts::OS);
    // It runs there as it is: the tree has its linker and its libraries.
    let ran = Command::new("chroot").arg(at.join("shell/rootfs")).args(["/bin/sh", "-c", "echo ran"]).output();
    if let Some(ran) = ran.ok().filter(|ran| ran.status.code() != Some(125)) {
        assert_eq!(String::from_utf8_lossy(&ran.stdout), "ran\n", "{}", String::from_utf8_lossy(&ran.stderr));
    }
    done(&actool(at, "", &["build", "shell", "shell.aci"]));
    done(&actool(at, "", &["validate", "shell.aci"]));
    let again = told(&actool(at, "", &["init", "shell"]));
    assert!(again.contains("it is there already") && again.contains("--overwrite"), "{again}");
    // Nothing is lost by what is refused.
    assert_eq!(manifest(&at.join("shell/manifest")), made);
}

#[test]
fn a_root_file_system_becomes_an_image_in_one_go_and_what_it_lacks_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    done(&actool(at, "", &["init", "base", "--from", "/bin/sh"]));
    let tree = at.join("base/rootfs");
    // Absolute links are those of a root directory, not of this host.
    fs::create_dir_all(tree.join("opt")).unwrap();
    symlink("/bin/sh", tree.join("opt/run")).unwrap();
    fs::write(tree.join("opt/script"), "#!/opt/run\necho from a script\n").unwrap();
    let line = ["build", "--rootfs", "base/rootfs", "--exec", "/opt/script", "--name", "example.com/s", "s.aci"];
    let id = done(&actool(at, "", &line));
    let shown: Value = serde_json::from_str(&done(&actool(at, "", &["cat-manifest", "s.aci"]))).unwrap();
    assert_eq!(shown["labels"][0]["value"], std::env::consts::OS, "told by what runs the script: {shown}");
    let listed = done(&actool(at, "", &["ls", "s.aci"]));
    assert!(listed.contains("rootfs/opt/script") && !listed.contains("base"), "{listed}");
    let again = done(&actool(at, "", &[&line[..line.len() - 1], &["t.aci"]].concat()));
    assert_eq!(id, again, "the same input, the same image");
    let library = walk(&tree).into_iter().find(|path| path.contains("libc.so")).unwrap();
    fs::remove_file(&library).unwrap();
    let lacking = actool(at, "", &[&line[..line.len() - 1], &["u.aci"]].concat());
    done(&lacking);
    assert!(String::from_utf8_lossy(&lacking.stderr).contains("needs libc.so"), "{lacking:?}");
    for wrong in [&["build", "s.aci"][..], &["build", "--rootfs", "base/rootfs", "--exec", "sh", "v.aci"]] {
        assert_eq!(actool(at, "", wrong).status.code(), Some(2), "{wrong:?}");
    }
    let absent = told(&actool(at, "", &["build", "--rootfs", "base/rootfs", "--exec", "/none", "v.aci"]));
    assert!(absent.contains("there is no such file") && !at.join("v.aci").exists(), "{absent}");
}

fn walk(at: &Path) -> Vec<String> {
    let entries = fs::read_dir(at).unwrap().flatten().map(|entry| entry.path());
    let below = |path: std::path::PathBuf| match path.is_dir() && !path.is_symlink() {
        true => walk(&path),
        false => vec![path.to_string_lossy().into_owned()],
    };
    entries.flat_map(below).collect()
}

#[test]
fn an_edited_manifest_is_kept_when_it_is_valid_and_only_then() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    done(&actool(at, "", &["init", "base", "--name", "example.com/base"]));
    fs::write(at.join("base/rootfs/file"), "x").unwrap();
    let file = at.join("base/manifest");
    done(&actool(at, "sed -i s,example.com/base,example.com/other,", &["edit", "base"]));
    assert_eq!(manifest(&file)["name"], "example.com/other");
    done(&actool(at, "false", &["edit", "base", "--label", "version=2"]));
    assert_eq!(manifest(&file)["labels"][0]["value"], "2", "options need no editor");
    let before = fs::read(&file).unwrap();
    for (editor, why) in
        [("sed -i s/name/Name/", "not valid"), ("false", "exit status: 1"), ("truncate -s 0", "not valid")]
    {
        let why_not = told(&actool(at, editor, &["edit", "base"]));
        assert!(why_not.contains(why) && why_not.contains("nothing was changed"), "{editor}: {why_not}");
        assert_eq!(fs::read(&file).unwrap(), before);
    }
    let id = done(&actool(at, "", &["build", "base", "base.aci"]));
    let changed = done(&actool(at, "sed -i s/other/third/", &["edit", "base.aci"]));
    assert_ne!(id, changed);
    assert_eq!(done(&actool(at, "", &["id", "base.aci"])), changed);
    assert_eq!(done(&actool(at, "true", &["edit", "base.aci"])), changed, "nothing changed");
}
