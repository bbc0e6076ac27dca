//! The store: one image an ID, whole or not at all, found, verified, collected; whatever happens to the processes that use it.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;

use appc::store::{ImageRef, Import, Kind, Store};
use appc_needs::{Need, skip};
use serde_json::json;

use crate::support::store::{Entry, archive, import, is_root, manifest, small};

mod collecting;
mod damage;
mod faults;

fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("store")).unwrap();
    (directory, store)
}

fn reference(text: &str) -> ImageRef {
    text.parse().unwrap()
}

/// All that is there, but for what may be there always.
fn rubbish(store: &Store) -> Vec<PathBuf> {
    fs::read_dir(store.root().join("incoming")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn jetpack(root: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_jetpack")).arg("--root").arg(root).args(arguments).output().unwrap()
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn the_same_image_twice_is_one_image_and_the_newest_import() {
    let (_directory, store) = store();
    let one = small("example.com/a", json!({ "labels": [{ "name": "version", "value": "1" }] }));
    let two = small("example.com/a", json!({ "labels": [{ "name": "version", "value": "2" }] }));
    let first = import(&store, &one).unwrap().id().clone();
    let second = import(&store, &two).unwrap().id().clone();
    let found = store.look_up(&reference("example.com/a")).unwrap();
    assert_eq!((found.image.id(), found.older.as_slice()), (&second, [first.clone()].as_slice()));
    assert_eq!(*import(&store, &one).unwrap().id(), first);
    assert_eq!(store.list().unwrap().len(), 2);
    assert_eq!(*store.find(&reference("example.com/a")).unwrap().id(), first);
    assert_eq!(*store.find(&reference("example.com/a:2")).unwrap().id(), second);
    assert_eq!(*store.find(&reference("example.com/a,version=1")).unwrap().id(), first);
    assert_eq!(*store.find(&reference("example.com/a:3")).unwrap_err().kind(), Kind::Missing);
    assert_eq!(rubbish(&store), Vec::<PathBuf>::new());
}

#[test]
fn what_an_image_says_does_not_steer_the_terminal() {
    let (directory, store) = store();
    let wild = "1\u{1b}]0;x\u{7}\nsha512-forged \u{9b}2J\u{202e}\u{7f}";
    let image = small(
        "example.com/wild",
        json!({
            "labels": [{ "name": "version", "value": wild }],
            "annotations": [{ "name": "example", "value": wild }],
            "app": { "exec": ["/bin/x", wild], "user": wild, "group": "0" },
        }),
    );
    let file = directory.path().join("wild.aci");
    fs::write(&file, &image).unwrap();
    import(&store, &image).unwrap();
    let file = file.to_str().unwrap();
    let actool = |arguments: &[&str]| Command::new(env!("CARGO_BIN_EXE_actool")).args(arguments).output().unwrap();
    let root = store.root();
    let outputs = [
        jetpack(root, &["images"]),
        jetpack(root, &["images", "--json"]),
        jetpack(root, &["image", "show", "example.com/wild"]),
        jetpack(root, &["image", "show", "--json", "example.com/wild"]),
        jetpack(root, &["image", "cat-manifest", "--pretty", "example.com/wild"]),
        jetpack(root, &["run", "example.com/wild"]),
        jetpack(root, &["image", "show", "example.com/wild,version=\u{1b}[2J"]),
        actool(&["validate", file]),
        actool(&["validate", "--json", file]),
        actool(&["diff", file, file]),
    ];
    for output in outputs {
        for shown in [&output.stdout, &output.stderr] {
            let shown = String::from_utf8(shown.clone()).unwrap();
            let obeyed = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
            assert!(
                !shown.contains(obeyed) && !shown.lines().any(|line| line.starts_with("sha512-forged")),
                "{shown:?}"
            );
        }
    }
    let told: serde_json::Value = serde_json::from_str(&printed(&jetpack(root, &["images", "--json"]))).unwrap();
    assert_eq!(told[0]["labels"]["version"], wild);
}

#[test]
fn what_a_manifest_says_in_vain_is_told_whenever_it_is_run() {
    let (directory, store) = store();
    let app = json!({ "exec": ["/bin/x"], "user": "0", "group": "0", "isolaters": [] });
    let file = directory.path().join("vain.aci");
    fs::write(&file, small("example.com/vain", json!({ "app": app }))).unwrap();
    let said = |arguments: &[&str]| String::from_utf8(jetpack(store.root(), arguments).stderr).unwrap();
    for image in [file.to_str().unwrap(), "example.com/vain"] {
        let said = said(&["run", "--pull", "new", image]);
        assert!(said.contains("`isolaters` is not known and ignored"), "{said}");
    }
    let id = store.find(&reference("example.com/vain")).unwrap().id().clone();
    let pod = directory.path().join("pod");
    let app = json!({ "name": "a", "image": { "id": id }, "mountz": [] });
    fs::write(&pod, json!({ "acKind": "PodManifest", "acVersion": "0.8.11", "apps": [app] }).to_string()).unwrap();
    let pod = pod.to_str().unwrap();
    let lenient = said(&["run", "--pod-manifest", pod]);
    assert!(
        lenient.contains("warning[x.json.unknown-key]: key `mountz`") && !lenient.contains("not valid"),
        "{lenient}"
    );
    let strict = said(&["run", "--strict", "--pod-manifest", pod]);
    assert!(strict.contains("error[x.json.unknown-key]: key `mountz`") && strict.contains("not valid"), "{strict}");
}

#[test]
fn many_at_once_importing_the_same_image_all_get_it() {
    let (_directory, store) = store();
    let image = small("example.com/a", json!({}));
    let ids: BTreeSet<_> = thread::scope(|scope| {
        let started: Vec<_> = (0..8).map(|_| scope.spawn(|| import(&store, &image).unwrap().id().clone())).collect();
        started.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!((ids.len(), store.list().unwrap().len(), store.trees().names().unwrap().len()), (1, 1, 1));
    assert_eq!(rubbish(&store), Vec::<PathBuf>::new());
}

#[test]
fn what_fails_leaves_nothing() {
    let (_directory, store) = store();
    let good = small("example.com/a", json!({}));
    let mut wanted = Import::new("test.aci");
    wanted.wanted.size = Some(good.len() as u64 - 1);
    assert_eq!(*store.import(good.as_slice(), wanted.clone()).unwrap_err().kind(), Kind::Io);
    wanted.wanted.size = Some(good.len() as u64 + 1);
    assert_eq!(store.import(good.as_slice(), wanted.clone()).unwrap_err().clause_id(), Some("im.deps.size"));
    wanted.wanted.size = None;
    wanted.wanted.name = Some("example.com/b".parse().unwrap());
    assert_eq!(store.import(good.as_slice(), wanted.clone()).unwrap_err().clause_id(), Some("im.name.discovered"));
    wanted.wanted.name = None;
    wanted.wanted.id = Some(format!("sha512-{}", "0".repeat(128)).parse().unwrap());
    assert_eq!(store.import(good.as_slice(), wanted).unwrap_err().clause_id(), Some("dep.match.id"));
    assert_eq!(*import(&store, &good[..good.len() - 700]).unwrap_err().kind(), Kind::Refused);
    assert_eq!(*import(&store, b"no archive").unwrap_err().kind(), Kind::Refused);
    // What the types alone would take.
    let twice = small("example.com/a", json!({ "labels": [{"name": "x", "value": "1"}, {"name": "x", "value": "2"}] }));
    assert_eq!(import(&store, &twice).unwrap_err().clause_id(), Some("im.labels.unique"));
    assert_eq!(store.list().unwrap(), []);
    assert_eq!(store.trees().names().unwrap(), []);
    assert_eq!(rubbish(&store), Vec::<PathBuf>::new());
}

#[test]
fn the_beginning_of_several_ids_is_an_error_with_the_candidates() {
    let (_directory, store) = store();
    // Of seventeen IDs two begin with the same digit.
    let ids: Vec<String> = (0..17)
        .map(|number| import(&store, &small(&format!("example.com/a{number}"), json!({}))).unwrap().id().to_string())
        .collect();
    let digit = |id: &String| id.as_bytes()[7];
    let twice = ids.iter().find(|id| ids.iter().filter(|other| digit(other) == digit(id)).count() > 1).unwrap();
    let error = store.find(&reference(&twice[..8])).unwrap_err();
    assert_eq!(*error.kind(), Kind::Ambiguous);
    let text = appc::error::chain(&error);
    for id in ids.iter().filter(|id| digit(id) == digit(twice)).take(8) {
        assert!(text.contains(id.as_str()), "{text}");
    }
    for id in &ids {
        assert_eq!(store.find(&reference(&id[..40])).unwrap().id().as_str(), id);
        // Digits alone do as well.
        assert_eq!(store.find(&reference(&id[7..40])).unwrap().id().as_str(), id);
    }
}

#[test]
fn references_are_read_as_they_are_meant() {
    for (text, canonical) in [
        ("example.com/a:1.0,os=linux", "example.com/a:1.0,os=linux"),
        ("example.com/a,version=1.0", "example.com/a:1.0"),
        ("sha512-00ff", "sha512-00ff"),
        ("./x", "./x"),
        ("/x/y", "/x/y"),
        ("app.aci", "app.aci"),
        ("https://example.com/a.aci", "https://example.com/a.aci"),
    ] {
        assert_eq!(reference(text).to_string(), canonical, "{text}");
    }
    for wrong in [
        "",
        "A",
        "a:",
        "a,os",
        "a,os=1,os=2",
        "a,name=b",
        "ftp://h/a.aci",
        "sha512-",
        "sha512-xyz",
        "a b",
        "a--b",
        "a:1:2",
    ] {
        assert_eq!(*wrong.parse::<ImageRef>().unwrap_err().kind(), Kind::Reference, "{wrong}");
    }
    assert!(matches!(reference("HTTPS://example.com/app.aci"), ImageRef::Url(url) if url.scheme() == "https"));
}

#[test]
fn an_image_goes_through_the_command_line_unchanged() {
    let (directory, store) = store();
    let file = directory.path().join("a.aci");
    let bytes = small("example.com/a", json!({ "labels": [{ "name": "version", "value": "1" }] }));
    fs::write(&file, &bytes).unwrap();
    let id = printed(&jetpack(store.root(), &["fetch", file.to_str().unwrap()]));
    assert_eq!(id.lines().count(), 1);
    let id = id.trim();
    let out = directory.path().join("out.aci");
    printed(&jetpack(store.root(), &["image", "export", id, out.to_str().unwrap()]));
    assert_eq!(fs::read(&out).unwrap(), bytes);
    assert!(!jetpack(store.root(), &["image", "export", id, out.to_str().unwrap()]).status.success());
    let shown = printed(&jetpack(store.root(), &["image", "cat-manifest", "example.com/a:1"]));
    assert_eq!(shown.as_bytes(), store.image(&id.parse().unwrap()).unwrap().manifest_bytes());
    let listed: serde_json::Value =
        serde_json::from_str(&printed(&jetpack(store.root(), &["images", "--json"]))).unwrap();
    assert_eq!((listed[0]["id"].as_str(), listed[0]["labels"]["version"].as_str()), (Some(id), Some("1")));
    for (command, made) in [("extract", "extracted"), ("render", "rendered")] {
        let target = directory.path().join(made);
        printed(&jetpack(store.root(), &["image", command, id, target.to_str().unwrap()]));
        assert_eq!(fs::read_to_string(target.join("rootfs/who")).unwrap(), "example.com/a");
        let again = jetpack(store.root(), &["image", command, id, target.to_str().unwrap()]);
        assert_eq!(again.status.code(), Some(1), "what is there is not touched");
    }
    assert_eq!(printed(&jetpack(store.root(), &["image", "rm", &id[..30]])).trim(), id);
    assert_eq!(printed(&jetpack(store.root(), &["images"])), "");
    assert_eq!(jetpack(store.root(), &["image", "show", id]).status.code(), Some(1));
}

#[test]
fn an_image_whose_dependency_is_missing_is_not_kept() {
    let (directory, store) = store();
    let file = directory.path().join("app.aci");
    let app = small("example.invalid/app", json!({ "dependencies": [{ "imageName": "example.invalid/base" }] }));
    fs::write(&file, app).unwrap();
    let output = jetpack(store.root(), &["fetch", "--pull", "never", file.to_str().unwrap()]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), b"".as_slice()));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("example.invalid/base, a dependency of example.invalid/app"), "{text}");
    assert_eq!(store.list().unwrap(), []);
    // One that was there before is somebody's.
    assert!(store.import_file(&file, Import::new("app.aci")).unwrap().is_new());
    assert!(!jetpack(store.root(), &["fetch", "--pull", "never", file.to_str().unwrap()]).status.success());
    assert_eq!(store.list().unwrap().len(), 1);
}

#[test]
fn an_ordinary_user_has_a_store_and_is_told_what_is_not_kept() {
    if !is_root() {
        skip(Need::Root, "becoming an ordinary user takes root");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (user, group) = (65534, 65534);
    let binary = directory.path().join("jetpack");
    crate::support::copy_jetpack(&binary);
    let home = directory.path().join("home");
    fs::create_dir(&home).unwrap();
    let mut closed = Entry { mode: 0o555, ..Entry::directory("d") };
    closed.owner = (7, 7);
    let entries = [Entry::directory(""), closed, Entry { mode: 0o4755, ..Entry::file("d/setuid", "x") }];
    let file = directory.path().join("a.aci");
    fs::write(&file, archive(&manifest("example.com/a", json!({})), &entries)).unwrap();
    for path in [directory.path(), &home, &binary, &file] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    std::os::unix::fs::chown(&home, Some(user), Some(group)).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&binary);
        command.args(arguments).env_clear().env("HOME", &home).current_dir("/").uid(user).gid(group);
        command.output().unwrap()
    };
    let id = printed(&run(&["fetch", file.to_str().unwrap()]));
    let shown: serde_json::Value =
        serde_json::from_str(&printed(&run(&["image", "show", "--json", id.trim()]))).unwrap();
    assert!(shown["notes"].to_string().contains("owners that were not applied"), "{shown}");
    assert!(home.join(".local/share/jetpack/images").is_dir());
    printed(&run(&["image", "verify", "--all"]));
    printed(&run(&["image", "rm", "example.com/a"]));
    assert_eq!(printed(&run(&["images"])), "");
    let incoming = home.join(".local/share/jetpack/incoming");
    assert_eq!(fs::read_dir(incoming).unwrap().count(), 0, "directories without write permission go too");
}

#[test]
fn the_configuration_says_what_holds_and_who_said_so() {
    let (directory, store) = store();
    let file = directory.path().join("jetpack.toml");
    let mut written = fs::File::create(&file).unwrap();
    writeln!(written, "root = {:?}\n\npull = \"never\"", directory.path().join("elsewhere")).unwrap();
    let config = ["--config", file.to_str().unwrap(), "config", "--json"];
    let facts: serde_json::Value = serde_json::from_str(&printed(&jetpack(store.root(), &config))).unwrap();
    assert_eq!(facts["root"]["origin"], "command line");
    assert_eq!(
        facts["pull"],
        json!({ "value": "never", "origin": format!("{}:3", file.display()), "about": facts["pull"]["about"] })
    );
    assert_eq!(facts["image-grace"]["origin"], "default");
    // What is printed can be a configuration.
    let text = printed(&jetpack(store.root(), &config[..3]));
    fs::write(&file, text).unwrap();
    let again: serde_json::Value = serde_json::from_str(&printed(&jetpack(store.root(), &config))).unwrap();
    for (key, fact) in again.as_object().unwrap() {
        assert_eq!(fact["value"], facts[key]["value"], "{key}");
    }
    fs::write(&file, "pul = \"never\"").unwrap();
    let output = jetpack(store.root(), &config);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("`pull` is meant"), "{output:?}");
}
