//! Owners of files in images of an ordinary user who has subordinate ids: kept as they are, by every command that meets them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use appc_needs::{Need, met, skip};
use serde_json::json;

use super::bed::Bed;

const USER: u32 = 23_456;

/// The host's id of the pod's id 1.
const FIRST: u32 = 900_000;

/// The user with the ids that the host's files grant him, which are the test's own.
struct User<'a> {
    bed: &'a Bed,
    home: PathBuf,
}

impl<'a> User<'a> {
    /// Nothing, with the reason printed, where there is no such user.
    fn new(bed: &'a Bed) -> Option<Self> {
        for program in ["/usr/bin/newuidmap", "/usr/bin/setpriv", "/usr/bin/unshare", "/usr/bin/tar"] {
            if !met(Need::Program, Path::new(program).exists(), format_args!("{program} is not here")) {
                return None;
            }
        }
        let home = bed.path("home");
        fs::create_dir(&home).unwrap();
        chown(&home, Some(USER), Some(USER)).unwrap();
        fs::set_permissions(bed.path("."), fs::Permissions::from_mode(0o755)).unwrap();
        let passwd = fs::read_to_string("/etc/passwd").unwrap() + &format!("tester:x:{USER}:{USER}::/:/bin/sh\n");
        fs::write(bed.path("passwd"), passwd).unwrap();
        let user = Self { bed, home };
        user.grant(65_536);
        let (code, _, err) = user.jetpack(&["list"]);
        met(Need::OrdinaryUser, code == 0, format_args!("user {USER} cannot run the program from here: {err}"))
            .then_some(user)
    }

    fn grant(&self, count: u32) {
        fs::write(self.bed.path("subids"), format!("tester:{FIRST}:{count}\n")).unwrap();
    }

    fn jetpack(&self, arguments: &[&str]) -> (i32, String, String) {
        let script = "set -e; mount --bind \"$1/passwd\" /etc/passwd; mount --bind \"$1/subids\" /etc/subuid; \
            mount --bind \"$1/subids\" /etc/subgid; shift; exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, "sh"]).arg(self.bed.path("."));
        command.args(["setpriv", "--reuid", &USER.to_string(), "--regid", &USER.to_string(), "--clear-groups"]);
        command.arg(env!("CARGO_BIN_EXE_jetpack")).arg("--root").arg(self.home.join("root")).args(arguments);
        let output = command.env("HOME", &self.home).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    #[track_caller]
    fn say(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.jetpack(arguments);
        assert_eq!(code, 0, "{arguments:?}: {out}{err}");
        out
    }

    /// What belongs to others than the user below his home.
    fn foreign(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut waiting = vec![self.home.clone()];
        while let Some(path) = waiting.pop() {
            let about = fs::symlink_metadata(&path).unwrap();
            if about.is_dir() {
                waiting.extend(fs::read_dir(&path).unwrap().flatten().map(|entry| entry.path()));
            }
            if (about.uid(), about.gid()) != (USER, USER) {
                found.push(path);
            }
        }
        found
    }
}

/// An image with files of several owners, some of which nobody else can read.
fn image(bed: &Bed, name: &str) -> String {
    let app = json!({"exec": ["/bin/sh", "-c", "id -u; id -g; cat /data/secret/file; echo more > /data/secret/more"],
        "user": "33", "group": "44"});
    bed.image(name, "base", app);
    let layout = bed.path("layouts/base");
    let rootfs = bed.layout("base");
    if !rootfs.join("data").exists() {
        fs::create_dir_all(rootfs.join("data/secret")).unwrap();
        fs::write(rootfs.join("data/secret/file"), "private\n").unwrap();
        fs::write(rootfs.join("data/tool"), "#!/bin/sh\n").unwrap();
        symlink("nowhere", rootfs.join("data/link")).unwrap();
        lchown(rootfs.join("data/link"), Some(1000), Some(100)).unwrap();
        for (path, mode) in
            [("data/secret/file", 0o600), ("data/tool", 0o6755), ("data/secret", 0o700), ("data", 0o750)]
        {
            chown(rootfs.join(path), Some(33), Some(44)).unwrap();
            fs::set_permissions(rootfs.join(path), fs::Permissions::from_mode(mode)).unwrap();
        }
    }
    let archive = bed.path(&format!("{name}.aci"));
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(layout).args(["--numeric-owner", "-cf"]).arg(&archive).args(["manifest", "rootfs"]);
    assert!(tar.status().unwrap().success());
    archive.to_str().unwrap().to_owned()
}

#[test]
fn users_and_groups_of_images_are_kept_with_subordinate_ids() {
    let Some(bed) = Bed::of_root() else { return };
    let Some(user) = User::new(&bed) else { return };
    let image = image(&bed, "owned");
    let (code, out, err) = user.jetpack(&["run", "--strict", "--net", "none", "--name", "one", &image]);
    if code != 0 && err.contains("user namespace") {
        return skip(Need::UserPods, format_args!("no pods without root here: {err}"));
    }
    assert_eq!((code, out.as_str(), err.as_str()), (0, "33\n44\nprivate\n", ""));
    let tree = fs::read_dir(user.home.join("root/trees")).unwrap().flatten().next().unwrap().path().join("rootfs/data");
    for (path, owner, mode) in [
        ("", (33, 44), 0o750),
        ("secret", (33, 44), 0o700),
        ("secret/file", (33, 44), 0o600),
        ("tool", (33, 44), 0o6755),
        ("link", (1000, 100), 0o777),
    ] {
        let about = fs::symlink_metadata(tree.join(path)).unwrap();
        let inside = (about.uid() - FIRST + 1, about.gid() - FIRST + 1);
        assert_eq!((inside, about.mode() & 0o7777), (owner, mode), "{path}");
    }
    // What the user cannot open himself is looked at, compared, copied and packed all the same.
    assert!(user.say(&["image", "verify", "example.com/owned"]).ends_with(" ok\n"));
    fs::write(tree.join("secret/file"), "privat!\n").unwrap();
    let (_, out, _) = user.jetpack(&["image", "verify", "example.com/owned"]);
    assert!(out.contains("rootfs/data/secret/file"), "{out}");
    fs::write(tree.join("secret/file"), "private\n").unwrap();
    assert_eq!(user.say(&["diff", "one"]), "+ /data/secret/more\n");
    let copied = user.home.join("copied");
    user.say(&["cp", "one:/data/secret/more", copied.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&copied).unwrap(), "more\n");
    assert_eq!(fs::metadata(&copied).unwrap().uid(), USER);
    let exported = user.home.join("exported.aci");
    user.say(&["export", "one", exported.to_str().unwrap()]);
    let listed = Command::new("tar").args(["--numeric-owner", "-tvf"]).arg(&exported).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    for line in ["-rwsr-sr-x 33/44", "lrwxrwxrwx 1000/100", "drwx------ 33/44"] {
        assert!(listed.contains(line), "{line}: {listed}");
    }
    user.say(&["commit", "one", "--name", "example.com/changed"]);
    let again = user.say(&["run", "--rm", "--net", "none", "example.com/changed", "--", "-c", "ls -ln /data/secret"]);
    assert_eq!(again.matches(" 33 44 ").count(), 2, "{again}");
    // A tree of his own holds nothing of others', and lends out nothing of theirs.
    let rendered = user.home.join("rendered");
    user.say(&["image", "render", "example.com/owned", rendered.to_str().unwrap()]);
    let tool = fs::symlink_metadata(rendered.join("rootfs/data/tool")).unwrap();
    assert_eq!((tool.uid(), tool.mode() & 0o7777), (USER, 0o755));
    fs::remove_dir_all(&rendered).unwrap();
    // All of it goes.
    assert!(!user.foreign().is_empty());
    user.say(&["rm", "one"]);
    user.say(&["image", "gc", "--grace", "0s"]);
    assert_eq!(user.foreign(), Vec::<PathBuf>::new());
    assert_eq!(fs::read_dir(user.home.join("root/trees")).unwrap().count(), 0);
}

#[test]
fn ids_that_nobody_granted_are_told_and_strictly_refused() {
    let Some(bed) = Bed::of_root() else { return };
    let Some(user) = User::new(&bed) else { return };
    user.grant(50);
    let image = image(&bed, "owned");
    let (code, _, err) = user.jetpack(&["plan", "--net", "none", &image]);
    assert_eq!(code, 0, "{err}");
    let told = "owners that were not applied (1)";
    assert!(err.contains(told) && err.contains("rootfs/data/link"), "{err}");
    let plan = user.say(&["plan", "--net", "none", &image]);
    assert!(plan.contains("without root, users and groups are those up to 50"), "{plan}");
    let (code, _, err) = user.jetpack(&["run", "--strict", "--net", "none", &image]);
    assert!(code == 125 && err.contains(told), "{code} {err}");
    // What stands in the store stays as it was made, and is told so, whoever comes with more.
    user.grant(65_536);
    let (code, _, err) = user.jetpack(&["run", "--strict", "--net", "none", &image]);
    assert!(code == 125 && err.contains(told), "{code} {err}");
    user.say(&["image", "rm", "example.com/owned"]);
    let (code, out, err) = user.jetpack(&["run", "--rm", "--strict", "--net", "none", &image]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "33\n44\nprivate\n", ""));
}

#[test]
fn a_link_is_made_to_a_file_that_has_its_owner_already_and_a_later_grant_damages_nothing() {
    let Some(bed) = Bed::of_root() else { return };
    let Some(user) = User::new(&bed) else { return };
    let rootfs = bed.path("home/far/rootfs");
    fs::create_dir_all(&rootfs).unwrap();
    // More files of others than are given their owners at once, between a file and its other name.
    for number in 0..4200 {
        let file = rootfs.join(format!("f{number:04}"));
        fs::write(&file, "").unwrap();
        chown(&file, Some(1), Some(1)).unwrap();
    }
    fs::hard_link(rootfs.join("f0000"), rootfs.join("z")).unwrap();
    let manifest = json!({"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/far"});
    fs::write(bed.path("home/far/manifest"), manifest.to_string()).unwrap();
    let image = bed.path("home/far.aci");
    let built =
        Command::new(env!("CARGO_BIN_EXE_actool")).arg("build").arg(rootfs.parent().unwrap()).arg(&image).status();
    assert!(built.unwrap().success());
    let image = image.to_str().unwrap();
    let id = user.say(&["fetch", image]);
    assert!(user.say(&["image", "verify", id.trim()]).contains("ok"));
    user.say(&["image", "rm", id.trim()]);
    // Of what was imported without ids owners are no question when there are some.
    user.grant(1);
    user.say(&["fetch", image]);
    user.grant(65_536);
    assert!(user.say(&["image", "verify", id.trim()]).contains("ok"));
    user.say(&["image", "rm", id.trim()]);
}
