//! Images made by running commands: what `jetpack build`, `commit` and `diff` promise.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use appc_needs::{Need, skip};
use serde_json::{Value, json};

use crate::pods::bed::Bed;

/// What the executor shows an app besides its own files.
const SHOWN: [&str; 6] = [".build", "dev", "proc", "sys", "etc/hosts", "etc/resolv.conf"];

/// Everything that counts in a tree, by path.
fn seen(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut paths = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        if path.symlink_metadata().unwrap().is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        paths.push(path);
    }
    paths.sort();
    let mut files: HashMap<(u64, u64), PathBuf> = HashMap::new();
    let mut all = BTreeMap::new();
    for path in paths {
        let about = path.symlink_metadata().unwrap();
        let inside = path.strip_prefix(root).unwrap().to_owned();
        if SHOWN.iter().any(|shown| inside == Path::new(shown)) || inside.as_os_str().is_empty() {
            continue;
        }
        let kind = about.file_type();
        let mut text = format!("{:o} {}:{}", about.mode(), about.uid(), about.gid());
        if kind.is_symlink() {
            text = format!("-> {}", fs::read_link(&path).unwrap().display());
        } else if kind.is_file() {
            let content = fs::read(&path).unwrap();
            text.push_str(&format!(" {} {:?}", content.len(), &content[..content.len().min(40)]));
        } else if kind.is_char_device() {
            text.push_str(&format!(" {}", about.rdev()));
        }
        if !kind.is_dir() {
            let first = files.entry((about.dev(), about.ino())).or_insert_with(|| inside.clone());
            text.push_str(&format!(" first {}", first.display()));
        }
        all.insert(inside, text);
    }
    all
}

/// The tree that a pod left, by way of no code of building.
fn left(bed: &Bed, pod: &str) -> BTreeMap<PathBuf, String> {
    let (archive, tree) = (bed.path(&format!("{pod}-left.aci")), bed.path(&format!("{pod}-left")));
    bed.say(&["export", pod, archive.to_str().unwrap()]);
    let _ = fs::remove_dir_all(&tree);
    let mut actool = Command::new(env!("CARGO_BIN_EXE_actool"));
    assert!(actool.arg("extract").args([&archive, &tree]).status().unwrap().success());
    seen(&tree.join("rootfs"))
}

/// The UUID that is told of a pod that is kept.
fn kept(err: &str) -> String {
    let line = err.lines().find_map(|line| line.strip_prefix("jetpack: the pod is kept: "));
    line.unwrap_or_else(|| panic!("no pod is kept: {err}")).to_owned()
}

fn id(out: &str) -> &str {
    let id = out.trim_end();
    assert!(id.starts_with("sha512-") && id.len() == 7 + 128 && !id.contains('\n'), "{out}");
    id
}

/// A base with names of one file, directories that will be files and the other way round, and programs to do it with.
fn base(bed: &Bed) -> String {
    for program in ["chmod", "cp", "dd", "mknod", "chown"] {
        bed.add_program("base", program);
    }
    let rootfs = bed.layout("base");
    for (path, text) in
        [("lib-a", "a"), ("lib-b", "b"), ("tofile/x", "x"), ("todir", "y"), ("gone/deep/z", "z"), ("same", "s")]
    {
        fs::create_dir_all(rootfs.join("data").join(path).parent().unwrap()).unwrap();
        fs::write(rootfs.join("data").join(path), text).unwrap();
    }
    fs::hard_link(rootfs.join("data/lib-a"), rootfs.join("data/lib-a2")).unwrap();
    symlink("/data", rootfs.join("link")).unwrap();
    bed.image("base", "base", json!({"exec": ["/bin/true"], "environment": [{"name": "OF_BASE", "value": "yes"}]}))
}

const FIRST: &str = "set -e; cd /data; ln lib-a lib-a3; ln lib-b lib-c; rm -r gone tofile todir; echo file > tofile; mkdir -p todir/in; \
    touch same; chmod 4711 todir; echo $OF_BASE$GIVEN > said; echo noise; \
    dd if=/dev/zero of=sparse bs=1 count=1 seek=300000 2> /dev/null";
const SECOND: &str =
    "set -e; cd /data; rm lib-a3; mkdir lib-a3; echo x >> lib-c; rm -r todir; ln -s lib-b todir; mv said told";

/// Two steps, the second on the first; taken elsewhere both render to what was built.
fn two_steps(bed: &Bed, more: &str) {
    let image = base(bed);
    let script = format!("{FIRST}; {more}");
    let (code, out, err) = bed.tell(&[
        "build",
        "--keep",
        "--env",
        "GIVEN=!",
        "--name",
        "example.com/one:1",
        &image,
        "--",
        "sh",
        "-c",
        &script,
    ]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("noise"), "{err}");
    let first = left(bed, &kept(&err));
    let one = id(&out).to_owned();
    let (code, out, err) =
        bed.tell(&["build", "--keep", "--name", "example.com/two", "example.com/one:1", "--", "sh", "-c", SECOND]);
    assert_eq!(code, 0, "{err}");
    let (second, two) = (left(bed, &kept(&err)), id(&out).to_owned());
    assert!(
        first[Path::new("data/lib-c")].ends_with("first data/lib-b") && second.contains_key(Path::new("data/told"))
    );

    // Elsewhere there is nothing but the three archives.
    let elsewhere = bed.path("elsewhere");
    let there = |arguments: &[&str]| {
        let mut jetpack = Command::new(env!("CARGO_BIN_EXE_jetpack"));
        let output = jetpack.arg("--root").arg(&elsewhere).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    there(&["--insecure=signature", "fetch", &image]);
    for (image, tree) in [(&one, first), (&two, second)] {
        let (archive, out) = (bed.path("taken.aci"), bed.path(&image[7..20]));
        bed.say(&["image", "export", "--overwrite", image, archive.to_str().unwrap()]);
        let fetched = there(&["--insecure=signature", "fetch", archive.to_str().unwrap()]);
        assert!(fetched.contains(&image[..20]), "{fetched}");
        there(&["image", "render", image, out.to_str().unwrap()]);
        similar(&seen(&out.join("rootfs")), &tree);
        assert!(out.join("rootfs/data/sparse").metadata().unwrap().blocks() < 100);
    }
    for pod in bed.say(&["list", "--no-legend"]).lines() {
        bed.say(&["rm", pod.split_whitespace().next().unwrap_or_default()]);
    }
    bed.assert_nothing_left();
}

#[track_caller]
fn similar(one: &BTreeMap<PathBuf, String>, other: &BTreeMap<PathBuf, String>) {
    let differ = |a: &BTreeMap<PathBuf, String>, b: &BTreeMap<PathBuf, String>| {
        let all = a.iter().filter(|(path, is)| b.get(*path) != Some(is));
        all.map(|(path, is)| format!("{} {is}", path.display())).collect::<Vec<_>>()
    };
    assert_eq!(differ(one, other), differ(other, one));
}

#[test]
fn two_steps_taken_elsewhere_are_the_trees_that_were_built() {
    let Some(bed) = Bed::new() else { return };
    let root = rustix::process::geteuid().is_root();
    // What only root can make.
    two_steps(&bed, if root { "mknod null c 1 3; chown 7:8 same lib-b; mknod fifo p" } else { "mknod fifo p" });
}

#[test]
fn an_ordinary_user_builds_too() {
    let Some(bed) = Bed::of_root() else { return };
    const USER: u32 = 12_345;
    let image = base(&bed);
    let home = bed.path("home");
    fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(USER), Some(USER)).unwrap();
    fs::set_permissions(bed.path("."), fs::Permissions::from_mode(0o755)).unwrap();
    let run = |arguments: &[&str]| {
        use std::os::unix::process::CommandExt as _;
        let mut command = Command::new(env!("CARGO_BIN_EXE_jetpack"));
        command.uid(USER).gid(USER).env("HOME", &home).env_remove("XDG_DATA_HOME").arg("--root").arg(home.join("root"));
        let output = command.args(arguments).output().ok()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some((output.status.code(), text(&output.stdout), text(&output.stderr)))
    };
    let Some((code, _, err)) = run(&["run", "--rm", "--net", "none", &image]) else {
        return skip(Need::OrdinaryUser, format_args!("user {USER} cannot run the program from here"));
    };
    if code != Some(0) {
        return skip(Need::UserPods, format_args!("no pods without root here: {err}"));
    }
    let (code, one, err) = run(&["build", "--name", "example.com/one", &image, "--", "sh", "-c", FIRST]).unwrap();
    assert_eq!(code, Some(0), "{err}");
    let (code, out, err) = run(&["build", "--name", "example.com/two", id(&one), "--", "sh", "-c", SECOND]).unwrap();
    assert_eq!(code, Some(0), "{err}");
    let render = |image: &str, name: &str| {
        let tree = home.join(name);
        assert_eq!(run(&["image", "render", id(image), tree.to_str().unwrap()]).unwrap().0, Some(0));
        seen(&tree.join("rootfs"))
    };
    assert!(render(&one, "first")[Path::new("data/lib-c")].ends_with("first data/lib-b"));
    let tree = render(&out, "second");
    assert!(tree[Path::new("data/todir")].starts_with("-> lib-b") && !tree.contains_key(Path::new("data/gone")));
    assert_eq!(run(&["list"]).unwrap().1, "");
}

#[test]
fn a_diff_tells_what_differs_and_a_commit_makes_an_image_of_it() {
    let Some(bed) = Bed::new() else { return };
    base(&bed);
    let image = bed.image("writer", "base", json!({"exec": ["/bin/sh", "-c", FIRST]}));
    bed.say(&["run", "--name", "writer", &image]);
    let expected = "~ /data/lib-a: links\n~ /data/lib-a2: links\n+ /data/lib-a3\n~ /data/lib-b: links\n+ /data/lib-c\n- /data/gone\n";
    let said = bed.say(&["diff", "writer"]);
    // An overlay takes names apart where one of them gets another.
    let lines: Vec<&str> = said.lines().filter(|line| !line.contains("lib-a")).collect();
    let wanted: Vec<&str> = expected.lines().filter(|line| !line.contains("lib-a")).collect();
    wanted.iter().for_each(|line| assert!(lines.contains(line), "{line} is not in {said}"));
    for line in ["~ /data/todir: kind", "+ /data/todir/in", "~ /data/tofile: kind", "+ /data/said", "+ /data/sparse"] {
        assert!(lines.contains(&line), "{line} is not in {said}");
    }
    for nothing in ["same", "hosts", "/dev", "/proc", "/sys"] {
        assert!(!said.contains(nothing), "{nothing} is in {said}");
    }
    let changes: Vec<Value> = serde_json::from_str(&bed.say(&["diff", "--json", "writer", "writer"])).unwrap();
    assert_eq!(changes.len(), said.lines().count());

    let (code, out, err) = bed.tell(&["commit", "writer"]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("the image is called as its parent is"), "{err}");
    let again = bed.say(&["commit", "writer:writer", "--flat", "--output", bed.path("flat.aci").to_str().unwrap()]);
    let same = bed.say(&["commit", "writer", "writer", "--flat"]);
    assert_eq!(again, same);
    let flat: Value = serde_json::from_str(&bed.say(&["image", "cat-manifest", id(&again)])).unwrap();
    assert_eq!((flat.get("dependencies"), flat.get("pathWhitelist")), (None, None));
    for (image, tree) in [(&out, "derived"), (&again, "flat")] {
        bed.say(&["image", "render", id(image), bed.path(tree).to_str().unwrap()]);
    }
    similar(&seen(&bed.path("derived/rootfs")), &seen(&bed.path("flat/rootfs")));
    similar(&seen(&bed.path("flat/rootfs")), &left(&bed, "writer"));

    for (line, code, why) in [
        (vec!["commit", "nobody"], 1, "there is no pod of that name"),
        (vec!["commit", "writer", "other"], 1, "its apps are writer"),
        (vec!["diff", "writer:writer", "writer"], 2, "two apps are named"),
        (vec!["commit", "writer", "--name", "Not A Name"], 2, "--name Not A Name"),
        (vec!["commit", "writer", "--patch", "nonsense=1"], 2, "nonsense"),
        (vec!["commit", "writer", "--patch", "dependency=example.com/x"], 1, "follows from what was changed"),
        (vec!["commit", "writer", "--patch", "user="], 1, "manifest:1:"),
        (vec!["commit", "writer", "--output", "x.tar"], 2, "must end in .aci"),
    ] {
        let (is, out, err) = bed.tell(&line);
        assert_eq!((is, out.as_str()), (code, ""), "{line:?}: {err}");
        assert!(err.contains(why), "{line:?}: {err}");
    }
    bed.say(&["run", "-d", "--name", "runs", &bed.script("sleeper", "sleep 1000")]);
    let (code, _, err) = bed.tell(&["diff", "runs"]);
    assert_eq!(code, 1);
    assert!(err.contains("it still runs"), "{err}");
}

/// Images in the store, and what is in the making there.
fn images(bed: &Bed) -> (usize, usize) {
    let count = |name: &str| fs::read_dir(bed.path("root").join(name)).map_or(0, Iterator::count);
    (count("images"), count("incoming"))
}

#[test]
fn a_command_that_fails_leaves_no_image_and_no_pod_unless_it_is_to_be_kept() {
    let Some(bed) = Bed::new() else { return };
    let image = base(&bed);
    bed.say(&["--insecure=signature", "fetch", &image]);
    let before = images(&bed);
    let none = bed.path("none");
    for (line, code, why) in [
        (vec![image.as_str(), "--", "sh", "-c", "exit 7"], 7, "sh ended with exit status 7"),
        (vec![&image, "--", "sh", "-c", "kill -9 $$"], 137, "ended with exit status 137"),
        (vec![&image, "--", "nothing"], 127, "no directory of PATH has it"),
        (vec![&image, "--", "/etc/passwd"], 126, "execute /etc/passwd"),
        (vec!["example.com/nobody", "--pull", "never", "--", "true"], 125, "find image example.com/nobody"),
        (vec!["--dir", none.to_str().unwrap(), &image, "--", "true"], 125, "No such file"),
        (vec!["--cp", none.to_str().unwrap(), &image, "--", "true"], 125, "No such file"),
        (vec!["--cp", "/etc/passwd:up/..", &image, "--", "true"], 125, "no absolute path"),
        (vec!["--manifest", "/.build/m", &image, "--", "true"], 125, "without --dir"),
        (vec!["--patch", "label=no", &image, "--", "true"], 125, "NAME=VALUE"),
        (vec![&image], 125, "COMMAND"),
    ] {
        let line: Vec<&str> = ["build"].into_iter().chain(line).collect();
        let (is, out, err) = bed.tell(&line);
        assert_eq!((is, out.as_str()), (code, ""), "{line:?}: {err}");
        assert!(err.contains(why), "{line:?}: {err}");
        assert_eq!(images(&bed), before, "{line:?}");
        bed.assert_nothing_left_of_pods();
    }
    let (code, _, err) = bed.tell(&["build", "--keep", &image, "--", "sh", "-c", "echo half > /half; exit 3"]);
    assert_eq!(code, 3);
    let pod = kept(&err);
    assert!(err.contains(&format!("jetpack build -t $(jetpack commit {pod}) -- /bin/sh")), "{err}");
    assert_eq!(bed.say(&["diff", &pod]), "+ /half\n");
    // As the hint has it.
    let half = bed.say(&["commit", &pod, "--name", "example.com/half"]);
    let (code, _, err) =
        bed.tell(&["build", "--name", "example.com/whole", id(&half), "--", "sh", "-c", "cat /half; mv /half /whole"]);
    assert_eq!(code, 0);
    assert!(err.contains("half"), "{err}");
    bed.say(&["rm", &pod]);
    bed.assert_nothing_left();
}

#[test]
fn the_same_command_on_the_same_inputs_is_run_once() {
    let Some(bed) = Bed::new() else { return };
    let image = base(&bed);
    let dir = bed.path("work");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("input"), "one").unwrap();
    let work = dir.to_str().unwrap();
    let build = |more: &[&str], script: &str| {
        let line =
            [&["build", "--name", "example.com/made", "--dir", work][..], more, &[&image, "--", "sh", "-c", script]]
                .concat();
        let (code, out, err) = bed.tell(&line);
        assert_eq!(code, 0, "{err}");
        (id(&out).to_owned(), err.contains("was run before"))
    };
    let script = "cp input /input; id -u >> /input";
    let (first, cached) = build(&[], script);
    assert!(!cached);
    assert_eq!(build(&[], script), (first.clone(), true));
    // When it was written does not matter, and built again it is the same, bit for bit.
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert_eq!(build(&["--no-cache"], script), (first.clone(), false));
    fs::write(dir.join("input"), "one").unwrap();
    assert_eq!(build(&[], script), (first.clone(), true));
    fs::write(dir.join("input"), "two").unwrap();
    let (second, cached) = build(&[], script);
    assert!(second != first && !cached);
    let mut all = vec![first, second.clone()];
    for more in [
        &["--env", "A=1"][..],
        &["--user", "33"],
        &["--cp", "/etc/passwd:/etc/passwd2"],
        &["--flat"],
        &["--patch", "label=a=b"],
    ] {
        let script = if more[0] == "--user" { "true" } else { script };
        let (id, cached) = build(more, script);
        assert!(!cached && !all.contains(&id) || more[0] == "--env", "{more:?}");
        all.push(id);
    }
    bed.say(&["image", "rm", &second]);
    assert!(!build(&[], script).1);
    bed.assert_nothing_left();
}

#[test]
fn a_directory_is_shown_and_is_no_part_of_the_image_and_copies_are() {
    let Some(bed) = Bed::new() else { return };
    let image = base(&bed);
    let dir = bed.path("work");
    fs::create_dir_all(dir.join("sub")).unwrap();
    fs::write(dir.join("sub/tool"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(dir.join("sub/tool"), fs::Permissions::from_mode(0o755)).unwrap();
    let root = rustix::process::geteuid().is_root();
    if root {
        for path in [dir.clone(), dir.join("sub"), dir.join("sub/tool")] {
            std::os::unix::fs::chown(path, Some(77), Some(78)).unwrap();
        }
    }
    let before = dir.metadata().unwrap();
    let copy = format!("{}:/link/tools", dir.join("sub").display());
    let script = "echo '{\"app\": {\"exec\": [\"/data/tools/tool\"], \"user\": \"0\", \"group\": \"0\"}}' > m.json; ls /data/tools > /seen";
    let line = [
        "build",
        "--dir",
        dir.to_str().unwrap(),
        "--cp",
        &copy,
        "--manifest",
        "/.build/m.json",
        "--name",
        "example.com/x:2",
        "--patch",
        "label=arch=amd64",
        &image,
        "--",
        "sh",
        "-c",
        script,
    ];
    let out = bed.say(&line);
    let tree = bed.path("tree");
    bed.say(&["image", "render", id(&out), tree.to_str().unwrap()]);
    let rootfs = tree.join("rootfs");
    assert_eq!(fs::read_to_string(rootfs.join("seen")).unwrap(), "tool\n");
    assert!(!rootfs.join(".build").exists());
    let tool = rootfs.join("data/tools/tool").metadata().unwrap();
    assert_eq!(tool.mode() & 0o7777, 0o755);
    assert_eq!(tool.uid(), rustix::process::geteuid().as_raw());
    // The link of the image stays one, and its directories what they were.
    assert!(rootfs.join("link").symlink_metadata().unwrap().is_symlink());
    let after = dir.metadata().unwrap();
    assert_eq!((after.uid(), after.gid(), after.mode()), (before.uid(), before.gid(), before.mode()));
    let manifest: Value = serde_json::from_str(&bed.say(&["image", "cat-manifest", id(&out)])).unwrap();
    assert_eq!((&manifest["app"]["exec"], &manifest["name"]), (&json!(["/data/tools/tool"]), &json!("example.com/x")));
    assert_eq!(
        manifest["labels"],
        json!([{"name": "os", "value": "linux"}, {"name": "version", "value": "2"}, {"name": "arch", "value": "amd64"}])
    );

    // What the command leaves there is not trusted to be a file.
    let secret = bed.path("secret");
    fs::write(&secret, "{\"name\": \"example.com/secret\"}").unwrap();
    let before = images(&bed);
    let link = format!("ln -s {} n.json", secret.display());
    for (script, why) in [
        (link.as_str(), "read the manifest /.build/n.json"),
        ("true", "No such file"),
        ("mkdir n.json", "it is no file"),
        ("echo '{' > n.json", "EOF"),
        ("echo '{\"acVersion\": \"x\"}' > n.json", "manifest:1:"),
    ] {
        let (code, out, err) = bed.tell(&[
            "build",
            "--dir",
            dir.to_str().unwrap(),
            "--manifest",
            "/.build/n.json",
            &image,
            "--",
            "sh",
            "-c",
            script,
        ]);
        assert_eq!((code, out.as_str()), (125, ""), "{script}: {err}");
        assert!(err.contains(why), "{script}: {err}");
        let _ = fs::remove_file(dir.join("n.json")).or_else(|_| fs::remove_dir(dir.join("n.json")));
        assert_eq!(images(&bed), before);
    }
    bed.assert_nothing_left();
}

/// From before there is a pod until after its image is in the store.
#[test]
fn interrupted_at_whatever_moment_a_build_leaves_nothing_or_an_image() {
    let Some(bed) = Bed::new() else { return };
    let image = base(&bed);
    bed.say(&["--insecure=signature", "fetch", &image]);
    let (before, _) = images(&bed);
    let mut codes = Vec::new();
    for round in 0..24_u64 {
        let script = format!("echo {round} > /round; dd if=/dev/zero of=/much bs=1000000 count=12 2> /dev/null");
        let mut command = bed.command(&[
            "build",
            "--flat",
            "--name",
            "example.com/made",
            "example.com/base",
            "--",
            "sh",
            "-c",
            &script,
        ]);
        let mut build = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(round * 25));
        let pid = rustix::process::Pid::from_child(&build);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        codes.push(build.wait().unwrap().code());
        bed.assert_nothing_left_of_pods();
        assert_eq!(images(&bed).1, 0);
        let made = images(&bed).0 - before;
        assert_eq!(made, codes.iter().filter(|code| **code == Some(0)).count(), "{codes:?}");
    }
    // Before it watches it is ended as any program is, and told so by what waits for it.
    assert!(codes.iter().all(|code| matches!(code, None | Some(0 | 130))), "{codes:?}");
    assert!(codes.contains(&Some(130)), "{codes:?}");
    bed.assert_nothing_left();
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    let Some(bed) = Bed::of_root() else { return };
    let image = base(&bed);
    let root = bed.path("small");
    fs::create_dir(&root).unwrap();
    let size = c"size=40m,mode=700";
    if rustix::mount::mount("none", &root, "tmpfs", rustix::mount::MountFlags::empty(), size).is_err() {
        return skip(Need::Mounts, "tmpfs cannot be mounted here");
    }
    let run = |script: &str| {
        let mut jetpack = Command::new(env!("CARGO_BIN_EXE_jetpack"));
        jetpack.arg("--root").arg(&root).args(["build", "--name", "example.com/big", &image, "--", "sh", "-c", script]);
        let output = jetpack.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, err) = run("dd if=/dev/zero of=/much bs=1000000 count=100");
    assert!(code == Some(1) && err.contains("No space left"), "{code:?} {err}");
    // There is room for the command, and none for its image too.
    let (code, err) = run("dd if=/dev/urandom of=/much bs=1000000 count=18");
    assert!(code == Some(125) && err.contains("No space left"), "{code:?} {err}");
    let left = |name: &str| fs::read_dir(root.join(name)).map_or(0, Iterator::count);
    assert_eq!((left("images"), left("incoming"), left("builds")), (1, 0, 0));
    let (code, err) = run("echo little > /much");
    assert_eq!(code, Some(0), "{err}");
    rustix::mount::unmount(&root, rustix::mount::UnmountFlags::DETACH).unwrap();
}

#[test]
fn a_build_in_the_model_of_freebsd_clones_and_leaves_the_model_as_it_was() {
    // In the model files have the owners that root would give them: whose images' files are an ordinary user's finds all changed.
    let Some(bed) = Bed::of_root() else { return };
    base(&bed);
    let image = bed.image_for("freebsd", "base", "base", json!({"exec": ["/bin/true"]}));
    let dir = bed.path("work");
    fs::create_dir(&dir).unwrap();
    let copy = format!("{}:/etc/more", bed.path("base.aci").display());
    let model = ["--host", "model:freebsd"];
    let build = |more: &[&str]| {
        let build = ["build", "--name", "example.com/made", "--dir", dir.to_str().unwrap()];
        let line = [&model[..], &build, more, &[&image, "--", "/bin/true"]].concat();
        let (code, out, err) = bed.tell(&line);
        assert_eq!(code, 0, "{err}");
        (id(&out).to_owned(), err)
    };
    // Whatever the steps made in the clone is the executor's own.
    let (_, err) = build(&["--keep"]);
    let pod = kept(&err);
    assert_eq!(bed.say(&[&model[..], &["diff", &pod]].concat()), "");
    assert_eq!(bed.say(&[&model[..], &["rm", &pod]].concat()).trim(), pod);
    let before = bed.tell(&[&model[..], &["-v", "list"]].concat()).2;
    let (made, _) = build(&["--cp", &copy]);
    let (archive, after) = (bed.path("made.aci"), bed.tell(&[&model[..], &["-v", "list"]].concat()).2);
    assert_eq!(before, after);
    bed.say(&["image", "export", &made, archive.to_str().unwrap()]);
    let listed = Command::new(env!("CARGO_BIN_EXE_actool")).args(["ls"]).arg(&archive).output().unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert_eq!(listed, "manifest\nrootfs\nrootfs/etc\nrootfs/etc/more\n");
}
