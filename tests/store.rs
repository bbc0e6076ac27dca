//! The store: one image an ID, whole or not at all, found, verified, collected; whatever happens to the processes that use it.
use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::store::{Entry, archive, import, is_root, manifest, small};
use appc::aci::ReadOptions;
use appc::store::{ImageRef, Import, Kind, Store, Uses};
use appc_needs::{Need, skip};
use serde_json::json;

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
fn verifying_finds_every_kind_of_damage() {
    let (_directory, store) = store();
    let entries = [Entry::directory(""), Entry::directory("d"), Entry::file("d/f", "content"), Entry::link("l", "d/f")];
    let bytes = archive(&manifest("example.com/a", json!({})), &entries);
    type Harm = fn(&Path, &Path);
    let harms: [(&str, Harm); 7] = [
        ("archive", |image, _| flip(&image.join("archive"), 1000)),
        ("manifest", |image, _| fs::write(image.join("manifest"), MANIFEST_OF_ANOTHER).unwrap()),
        ("rootfs/d/f", |_, tree| flip(&tree.join("d/f"), 3)),
        ("rootfs/d/f", |_, tree| fs::set_permissions(tree.join("d/f"), fs::Permissions::from_mode(0o600)).unwrap()),
        ("rootfs/d/f", |_, tree| fs::remove_file(tree.join("d/f")).unwrap()),
        ("rootfs/new", |_, tree| fs::write(tree.join("new"), "").unwrap()),
        ("rootfs/l", |_, tree| {
            fs::remove_file(tree.join("l")).unwrap();
            std::os::unix::fs::symlink("d", tree.join("l")).unwrap();
        }),
    ];
    for (place, harm) in harms {
        let image = import(&store, &bytes).unwrap();
        assert_eq!(store.verify(&image, &ReadOptions::default()).unwrap(), []);
        let directory = store.root().join("images").join(image.id().as_str());
        harm(&directory, &store.tree(&image).unwrap().join("rootfs"));
        let id = image.id().clone();
        drop(image);
        let damage = store.verify(&store.image(&id).unwrap(), &ReadOptions::default()).unwrap();
        assert!(damage.iter().any(|damage| damage.place == place), "{place}: {damage:?}");
        store.remove(&id, &Uses::default()).unwrap();
    }
}

#[test]
#[cfg(target_os = "linux")]
fn attributes_and_times_of_links_are_verified_too() {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags};
    let (_directory, store) = store();
    let file = Entry { attribute: Some("value".into()), ..Entry::file("f", "content") };
    let bytes = archive(&manifest("example.com/a", json!({})), &[Entry::directory(""), file, Entry::link("l", "f")]);
    let image = import(&store, &bytes).unwrap();
    let rootfs = store.tree(&image).unwrap().join("rootfs");
    let damaged = || -> Vec<String> {
        store.verify(&image, &ReadOptions::default()).unwrap().into_iter().map(|damage| damage.place).collect()
    };
    let nothing = Vec::<String>::new();
    let set = |name: &str, value: &[u8]| rustix::fs::setxattr(rootfs.join("f"), name, value, XattrFlags::empty());
    assert_eq!(damaged(), nothing);
    match set("user.test", b"valve") {
        Err(error) => skip(Need::Attributes, format_args!("attributes cannot be set here: {error}")),
        Ok(()) => {
            assert_eq!(damaged(), ["rootfs/f"]);
            rustix::fs::removexattr(rootfs.join("f"), "user.test").unwrap();
            assert_eq!(damaged(), ["rootfs/f"]);
            set("user.test", b"value").unwrap();
            assert_eq!(damaged(), nothing);
            set("user.more", b"value").unwrap();
            assert_eq!(damaged(), ["rootfs/f"]);
            rustix::fs::removexattr(rootfs.join("f"), "user.more").unwrap();
        }
    }
    let epoch = Timespec { tv_sec: 0, tv_nsec: 0 };
    let times = Timestamps { last_access: epoch, last_modification: epoch };
    rustix::fs::utimensat(CWD, rootfs.join("l"), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    assert_eq!(damaged(), ["rootfs/l"]);
}

#[test]
fn verifying_all_goes_on_behind_an_image_that_cannot_be_looked_at() {
    let (directory, store) = store();
    let base = import(&store, &small("example.com/base", json!({}))).unwrap().id().clone();
    let app = directory.path().join("app.aci");
    let besides = json!({ "dependencies": [{ "imageName": "example.com/base" }], "pathWhitelist": ["/who"] });
    fs::write(&app, small("example.com/app", besides)).unwrap();
    printed(&jetpack(store.root(), &["fetch", "--pull", "never", app.to_str().unwrap()]));
    let all = ["image", "verify", "--all", "--json"];
    printed(&jetpack(store.root(), &all));
    let tree = store.tree(&store.image(&base).unwrap()).unwrap();
    for gone in [tree.join("rootfs"), tree] {
        fs::remove_dir_all(gone).unwrap();
        let output = jetpack(store.root(), &all);
        assert_eq!(output.status.code(), Some(1));
        let facts: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(facts.as_array().unwrap().len(), 2, "{facts}");
        assert!(facts.as_array().unwrap().iter().all(|image| image["damage"] != json!([])), "{facts}");
    }
}

#[test]
fn what_a_crash_of_the_host_left_half_is_collected_and_may_come_again() {
    let (_directory, store) = store();
    let bytes = small("example.com/a", json!({}));
    let id = import(&store, &bytes).unwrap().id().clone();
    let directory = store.root().join("images").join(id.as_str());
    let halve = |file: &str| {
        fs::write(directory.join(file), "").unwrap();
        fs::remove_file(store.root().join("index")).unwrap();
        assert_eq!(*store.image(&id).unwrap_err().kind(), Kind::Corrupt);
        assert_eq!(store.list().unwrap(), []);
    };
    for file in ["manifest", "origin"] {
        halve(file);
        let image = import(&store, &bytes).unwrap();
        assert_eq!(store.verify(&image, &ReadOptions::default()).unwrap(), []);
        drop(image);
        halve(file);
        let used = Uses { images: [(id.clone(), "a pod".to_owned())].into(), ..Uses::default() };
        assert_eq!(store.collect(Duration::ZERO, || Ok(used)).unwrap().images.len(), 0);
        assert_eq!(
            store.collect(Duration::ZERO, || Ok(Uses::default())).unwrap().images.as_slice(),
            std::slice::from_ref(&id)
        );
        assert!(!directory.exists());
        assert_eq!(store.trees().names().unwrap(), []);
        import(&store, &bytes).unwrap();
    }
    assert_eq!(rubbish(&store), Vec::<PathBuf>::new());
}

#[test]
fn the_same_image_compressed_otherwise_is_kept_as_it_came_last() {
    let (_directory, store) = store();
    let plain = small("example.com/a", json!({}));
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(&plain).unwrap();
    let packed = packer.finish().unwrap();
    for bytes in [&plain, &packed, &plain] {
        let image = import(&store, bytes).unwrap();
        assert_eq!(image.origin().archive_bytes, bytes.len() as u64);
        let mut kept = Vec::new();
        std::io::copy(&mut image.archive().unwrap(), &mut kept).unwrap();
        assert!(kept == *bytes);
        assert_eq!(store.verify(&image, &ReadOptions::default()).unwrap(), []);
    }
    assert_eq!(store.list().unwrap().len(), 1);
}

const MANIFEST_OF_ANOTHER: &str = r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/b"}"#;

/// Turns one bit and leaves the time as it was.
fn flip(file: &Path, at: usize) {
    let time = fs::metadata(file).unwrap().modified().unwrap();
    let mut bytes = fs::read(file).unwrap();
    bytes[at] ^= 1;
    fs::write(file, bytes).unwrap();
    fs::File::options().write(true).open(file).unwrap().set_modified(time).unwrap();
}

#[test]
fn collecting_takes_what_no_pod_and_no_image_needs_and_no_more() {
    let (_directory, store) = store();
    let on_base = |name: &str, list: &[&str]| {
        let dependencies = json!([{ "imageName": "example.com/base" }]);
        small(name, json!({ "dependencies": dependencies, "pathWhitelist": list }))
    };
    let base = import(&store, &small("example.com/base", json!({}))).unwrap().id().clone();
    let (app, layers) = {
        let app = import(&store, &on_base("example.com/app", &["/who"])).unwrap();
        (app.id().clone(), store.rendered(&app).unwrap().layers)
    };
    let other = import(&store, &small("example.com/other", json!({}))).unwrap().id().clone();
    let held = import(&store, &on_base("example.com/held", &[])).unwrap();

    // A pod stands on `app`; `held` is held by this process; both need `base`.
    let uses = Uses {
        images: [(app.clone(), "a pod".to_owned())].into(),
        layers: layers.into_iter().map(|layer| (layer, "a pod".to_owned())).collect(),
    };
    let collected = store.collect(Duration::ZERO, || Ok(uses.clone())).unwrap();
    assert_eq!(collected.images, [other]);
    assert!(collected.bytes > 0);
    assert_eq!(*store.remove(&app, &uses).unwrap_err().kind(), Kind::Busy);
    assert_eq!(*store.remove(held.id(), &Uses::default()).unwrap_err().kind(), Kind::Busy);
    assert!(store.rendered(&store.image(&app).unwrap()).is_ok());

    drop(held);
    let collected = store.collect(Duration::from_secs(3600), || Ok(Uses::default())).unwrap();
    assert!(collected.images.is_empty(), "all are younger than an hour");
    let collected = store.collect(Duration::ZERO, || Ok(Uses::default())).unwrap();
    assert_eq!((collected.images.len(), collected.trees), (3, 1));
    assert!(!collected.images.is_empty() && collected.images.contains(&base));
    assert_eq!(store.trees().names().unwrap(), []);
    assert_eq!(rubbish(&store), Vec::<PathBuf>::new());
    let again = store.collect(Duration::ZERO, || Ok(Uses::default())).unwrap();
    assert_eq!((again.images.len(), again.trees, again.bytes), (0, 0, 0));
}

#[test]
fn what_a_pod_stands_on_stays_until_the_pod_goes() {
    let (directory, store) = store();
    let write = |name: &str, besides| {
        let file = directory.path().join(format!("{name}.aci"));
        let entries = [Entry::directory(""), Entry::file(name, name)];
        fs::write(&file, archive(&manifest(&format!("example.com/{name}"), besides), &entries)).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let base = write("base", json!({}));
    let app = write(
        "app",
        json!({ "dependencies": [{ "imageName": "example.com/base" }],
                "app": { "exec": ["/app"], "user": "0", "group": "0" } }),
    );
    let ids = printed(&jetpack(store.root(), &["fetch", "--pull", "never", &base, &app]));
    let prepared = jetpack(store.root(), &["prepare", "--no-metadata", "example.com/app"]);
    if !prepared.status.success() {
        return skip(Need::Pods, format_args!("no pods here: {}", String::from_utf8_lossy(&prepared.stderr)));
    }
    let pod = String::from_utf8(prepared.stdout).unwrap();
    let named = format!("pod {} uses it", pod.trim());
    printed(&jetpack(store.root(), &["image", "gc", "--grace", "0s"]));
    for id in ids.lines() {
        let refused = jetpack(store.root(), &["image", "rm", id]);
        let told = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && told.contains(&named), "{told}");
    }
    assert_eq!(store.list().unwrap().len(), 2);
    printed(&jetpack(store.root(), &["image", "verify", "--all"]));
    printed(&jetpack(store.root(), &["rm", pod.trim()]));
    printed(&jetpack(store.root(), &["image", "gc", "--grace", "0s"]));
    assert_eq!(store.list().unwrap(), []);
}

#[test]
fn images_that_came_lately_stay_and_what_would_go_is_told_first() {
    let (_directory, store) = store();
    let id = import(&store, &small("example.com/a", json!({}))).unwrap().id().to_string();
    printed(&jetpack(store.root(), &["image", "gc"]));
    assert_eq!(store.list().unwrap().len(), 1);
    assert_eq!(printed(&jetpack(store.root(), &["image", "gc", "--dry-run"])), "");
    assert_eq!(printed(&jetpack(store.root(), &["image", "gc", "--dry-run", "--grace", "0s"])), format!("{id}\n"));
    assert_eq!(store.list().unwrap().len(), 1);
    assert!(printed(&jetpack(store.root(), &["image", "gc", "--grace", "0s"])).starts_with(&id));
    assert_eq!(store.list().unwrap(), []);
}

#[test]
fn a_store_from_the_future_is_refused_and_left_alone() {
    let (_directory, store) = store();
    import(&store, &small("example.com/a", json!({}))).unwrap();
    fs::write(store.root().join("version"), "2\n").unwrap();
    assert_eq!(*Store::open(store.root()).unwrap_err().kind(), Kind::Future);
    for command in [&["images"][..], &["image", "gc", "--grace", "0s"], &["image", "verify", "--all"]] {
        let output = jetpack(store.root(), command);
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("a newer version made it"), "{text}");
    }
    fs::write(store.root().join("version"), "rubbish").unwrap();
    assert_eq!(*Store::open(store.root()).unwrap_err().kind(), Kind::Corrupt);
}

#[test]
fn the_index_may_be_lost_cut_or_full_of_rubbish() {
    let (_directory, store) = store();
    for number in 0..20 {
        import(&store, &small(&format!("example.com/a{number}"), json!({}))).unwrap();
    }
    let listed = store.list().unwrap();
    assert_eq!(listed.len(), 20);
    let index = store.root().join("index");
    let text = fs::read(&index).unwrap();
    for harm in [Vec::new(), text[..text.len() / 2].to_vec(), b"\0\xff{}\n{\"id\":3}\n".to_vec(), text.repeat(5)] {
        fs::write(&index, harm).unwrap();
        assert_eq!(store.list().unwrap(), listed);
        assert_eq!(store.list().unwrap(), listed);
    }
    fs::remove_file(&index).unwrap();
    assert_eq!(store.list().unwrap(), listed);
    // Removed behind the index's back, and come again.
    let gone = listed[3].id.clone();
    store.remove(&gone, &Uses::default()).unwrap();
    assert_eq!(store.list().unwrap().len(), 19);
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

/// Images of some size, so that there is time to be killed in; each depends on the one before.
fn chain(directory: &Path) -> Vec<PathBuf> {
    (0..3)
        .map(|number| {
            let mut entries = vec![Entry::directory("")];
            for file in 0..60 {
                entries.push(Entry::file(&format!("f{file}"), &format!("{number} {file} ").repeat(3000)));
            }
            let mut besides = json!({});
            if number > 0 {
                besides["dependencies"] = json!([{ "imageName": format!("example.com/chain-{}", number - 1) }]);
            }
            if number == 2 {
                besides["pathWhitelist"] = json!(["/f1", "/f2", "/f3"]);
            }
            let file = directory.join(format!("chain-{number}.aci"));
            let name = format!("example.com/chain-{number}");
            fs::write(&file, archive(&manifest(&name, besides), &entries)).unwrap();
            file
        })
        .collect()
}

#[test]
fn a_kill_at_any_moment_leaves_no_half_image() {
    let (directory, store) = store();
    let files = chain(directory.path());
    let files: Vec<&str> = files.iter().map(|file| file.to_str().unwrap()).collect();
    let fetch = [&["fetch", "--pull", "never"], files.as_slice()].concat();
    let started = Instant::now();
    printed(&jetpack(store.root(), &fetch));
    let whole = started.elapsed();
    let gc = ["image", "gc", "--grace", "0s"];
    // The same moments in every run: a linear congruence.
    let mut state = 42_u64;
    for round in 0..200 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let arguments = if round % 4 == 3 { gc.as_slice() } else { &fetch };
        let mut child = Command::new(env!("CARGO_BIN_EXE_jetpack"))
            .arg("--root")
            .arg(store.root())
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(whole.mul_f64((state >> 40) as f64 / (1 << 24) as f64));
        child.kill().unwrap();
        child.wait().unwrap();
        for listed in store.list().unwrap() {
            let image = store.image(&listed.id).unwrap();
            assert!(store.tree(&image).is_ok(), "round {round}");
            if round % 20 == 0 {
                assert_eq!(store.verify(&image, &ReadOptions::default()).unwrap(), [], "round {round}");
            }
        }
    }
    printed(&jetpack(store.root(), &fetch));
    printed(&jetpack(store.root(), &["image", "verify", "--all"]));
    printed(&jetpack(store.root(), &gc));
    printed(&jetpack(store.root(), &["image", "verify", "--all"]));
    assert_eq!(rubbish(&store), Vec::<PathBuf>::new());
    assert_eq!(store.trees().names().unwrap(), [], "nothing needs anything");
}

#[test]
fn fetching_and_collecting_at_once_never_fails() {
    let (directory, store) = store();
    let files = chain(directory.path());
    // A minute where there is time for it.
    let seconds = std::env::var("STORE_TEST_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let end = Instant::now() + Duration::from_secs(seconds);
    let root = store.root();
    let repeat = |arguments: &[&str]| {
        let mut rounds = 0;
        while Instant::now() < end {
            let output = jetpack(root, arguments);
            assert!(output.status.success(), "{arguments:?}: {output:?}");
            rounds += 1;
        }
        rounds
    };
    let files: Vec<&str> = files.iter().map(|file| file.to_str().unwrap()).collect();
    let (alone, fetch) = (files[0], [&["fetch", "--pull", "never"], files.as_slice()].concat());
    thread::scope(|scope| {
        let started = [
            scope.spawn(|| repeat(&fetch)),
            scope.spawn(|| repeat(&["fetch", "--pull", "never", alone])),
            scope.spawn(|| repeat(&["image", "gc", "--grace", "0s"])),
            scope.spawn(|| repeat(&["images"])),
        ];
        for one in started {
            assert!(one.join().unwrap() > 0);
        }
    });
    printed(&jetpack(root, &["image", "verify", "--all"]));
    printed(&jetpack(root, &["image", "gc", "--grace", "0s"]));
    assert_eq!(rubbish(&store), Vec::<PathBuf>::new());
}

#[test]
fn a_full_disk_is_an_error_and_nothing_is_kept() {
    if !is_root() || !cfg!(target_os = "linux") {
        skip(Need::Root, "making a small file system takes root on Linux");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let small_disk = directory.path().join("disk");
    fs::create_dir(&small_disk).unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(&small_disk).status();
    if !mount.is_ok_and(|status| status.success()) {
        skip(Need::Mounts, "tmpfs cannot be mounted here");
        return;
    }
    let done = std::panic::catch_unwind(|| {
        let store = Store::open(small_disk.join("store")).unwrap();
        let entries = [Entry::directory(""), Entry::file("big", &"big ".repeat(700_000))];
        let big = archive(&manifest("example.com/big", json!({})), &entries);
        let error = import(&store, &big).unwrap_err();
        assert_eq!(*error.kind(), Kind::Io, "{error:?}");
        assert_eq!(store.list().unwrap(), []);
        assert_eq!(rubbish(&store), Vec::<PathBuf>::new());
        // There is room again.
        import(&store, &small("example.com/small", json!({}))).unwrap();
    });
    assert!(Command::new("umount").arg(&small_disk).status().unwrap().success());
    done.unwrap();
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
