//! Root file systems made of images, against a slow and obvious model: the specification's recipe, step by step, over lists.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use crate::support::store::{Entry, Seen, What, archive, import, is_root, manifest, name_files, read_tree, small};
use appc::render::{Kind, Resolver};
use appc::store::{Directories, Discarded, Draft, Image, Store, TreeName, Trees};
use appc_needs::{Need, skip};
use proptest::prelude::*;
use serde_json::json;

/// An image of a random graph; it depends only on images behind it in the list.
#[derive(Clone, Debug)]
struct Part {
    entries: Vec<Entry>,
    dependencies: Vec<usize>,
    whitelist: Vec<String>,
}

/// The specification's recipe: dependencies in listed order, each with its own first, then the image; of each file what all
/// whitelists on the way name.
#[derive(Default)]
struct Model {
    tree: BTreeMap<String, Seen>,
    extractions: usize,
}

impl Model {
    fn extract(&mut self, parts: &[Part], which: usize, lists: &[&[String]]) {
        let part = &parts[which];
        let mut lists = lists.to_vec();
        if !part.whitelist.is_empty() {
            lists.push(&part.whitelist);
        }
        for dependency in &part.dependencies {
            self.extract(parts, *dependency, &lists);
        }
        self.extractions += 1;
        let kept: Vec<&Entry> = part.entries.iter().filter(|entry| keeps(&lists, &entry.path)).collect();
        // Implied directories come into being when something is put below them.
        for entry in &kept {
            let above = |path: &str| path.rsplit_once('/').map(|(above, _)| above.to_owned());
            let mut missing: Vec<String> = std::iter::successors(above(&entry.path), |path| above(path)).collect();
            missing.reverse();
            for path in missing {
                if self.tree.get(&path).is_none_or(|seen| seen.what != "directory") {
                    self.put(&path, implied());
                }
            }
            let seen = self.seen(part, &kept, entry);
            self.put(&entry.path, seen);
        }
        // A kept path whose entry was filtered cannot be: ancestors of what is kept are kept.
        for path in implied_paths(&part.entries).into_iter().filter(|path| keeps(&lists, path)) {
            if self.tree.get(&path).is_none_or(|seen| seen.what != "directory") {
                self.put(&path, implied());
            }
        }
    }

    fn put(&mut self, path: &str, new: Seen) {
        let both_directories =
            new.what == "directory" && self.tree.get(path).is_some_and(|old| old.what == "directory");
        if !both_directories {
            self.tree.retain(|other, _| !other.starts_with(&format!("{path}/")));
        }
        self.tree.insert(path.to_owned(), new);
    }

    fn seen(&self, part: &Part, kept: &[&Entry], entry: &Entry) -> Seen {
        // The entry that says what the file is; the first kept name stands for the file itself.
        let (source, file) = match &entry.what {
            What::Hard(target) => {
                let source = part.entries.iter().find(|other| other.path == *target).unwrap();
                let names = |other: &&&Entry| {
                    other.path == *target || matches!(&other.what, What::Hard(also) if also == target)
                };
                (source, kept.iter().find(names).unwrap().path.clone())
            }
            _ => (entry, entry.path.clone()),
        };
        let what = match &source.what {
            What::Directory => "directory".to_owned(),
            What::File(content) => format!("file:{content}"),
            What::Link(target) => format!("link:{target}"),
            What::Hard(_) => unreachable!("hard links lead to files and links"),
        };
        let is_directory = source.what == What::Directory;
        let is_link = matches!(source.what, What::Link(_));
        Seen {
            what,
            mode: if is_link { 0o777 } else { source.mode },
            owner: source.owner,
            mtime: source.mtime as i64,
            attribute: source.attribute.clone(),
            file: (!is_directory).then(|| format!("{}:{file}", self.extractions)),
        }
    }
}

fn implied() -> Seen {
    Seen { what: "directory".into(), mode: 0o755, owner: (0, 0), mtime: 0, attribute: None, file: None }
}

fn implied_paths(entries: &[Entry]) -> Vec<String> {
    let mut paths = Vec::new();
    for entry in entries {
        for (at, _) in entry.path.match_indices('/') {
            let path = entry.path[..at].to_owned();
            if entries.iter().all(|other| other.path != path) && !paths.contains(&path) {
                paths.push(path);
            }
        }
    }
    paths
}

fn keeps(lists: &[&[String]], path: &str) -> bool {
    lists.iter().all(|list| {
        path.is_empty()
            || list.iter().any(|listed| {
                let listed = listed.trim_matches('/');
                listed == path || listed.starts_with(&format!("{path}/"))
            })
    })
}

/// What the owner of a file can be here.
fn comparable(mut tree: BTreeMap<String, Seen>) -> BTreeMap<String, Seen> {
    for seen in tree.values_mut() {
        if !is_root() {
            seen.owner = (0, 0);
        }
    }
    name_files(&mut tree);
    tree
}

fn paths() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c-d"]), 1..4).prop_map(|names| names.join("/"))
}

/// Entries that make a tree: parents before what is below them, though not each parent has an entry.
fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let entry = (paths(), 0..5_u8, 0..3_u32, 0..4_u64, prop::option::of("[a-z]{1,3}"), any::<bool>());
    prop::collection::vec(entry, 0..10).prop_map(|wishes| {
        let mut entries = vec![Entry::directory("")];
        let mut kinds: BTreeMap<String, bool> = BTreeMap::from([(String::new(), true)]);
        let mut files: Vec<String> = Vec::new();
        for (path, kind, owner, time, attribute, with_parents) in wishes {
            let parents: Vec<String> = path.match_indices('/').map(|(at, _)| path[..at].to_owned()).collect();
            let blocked = parents.iter().any(|parent| kinds.get(parent) == Some(&false));
            if kinds.contains_key(&path) || blocked {
                continue;
            }
            for parent in parents {
                if kinds.insert(parent.clone(), true).is_none() && with_parents {
                    entries.push(Entry { mtime: 5000 + time, mode: 0o750, ..Entry::directory(&parent) });
                }
            }
            let mut entry = match kind {
                0 => Entry::directory(&path),
                1 => Entry::link(&path, "a"),
                2 if !files.is_empty() => Entry::hard(&path, &files[time as usize % files.len()]),
                _ => Entry::file(&path, &format!("{path} {time}")),
            };
            kinds.insert(path.clone(), entry.what == What::Directory);
            // Files of ids subordinate to an ordinary user are closed to that user.
            let owned = if is_root() { owner } else { 0 };
            entry.owner = (owned, owned);
            entry.mtime = 1000 + time;
            if matches!(entry.what, What::Directory | What::File(_)) {
                entry.mode = [0o755, 0o700, 0o640][owner as usize] | (u32::from(entry.what == What::Directory) * 0o100);
                entry.attribute = attribute;
            }
            if matches!(entry.what, What::File(_) | What::Link(_)) {
                files.push(path);
            }
            entries.push(entry);
        }
        entries
    })
}

fn parts() -> impl Strategy<Value = Vec<Part>> {
    (1..6_usize).prop_flat_map(|count| {
        let part = move |number: usize| {
            let dependencies = prop::collection::vec((number + 1)..count.max(number + 2), 0..3);
            let whitelist = prop_oneof![
                3 => Just(Vec::new()),
                1 => prop::collection::vec(paths().prop_map(|path| format!("/{path}")), 1..6),
            ];
            (entries(), dependencies, whitelist).prop_map(move |(entries, dependencies, whitelist)| Part {
                entries,
                dependencies: dependencies.into_iter().filter(|other| *other < count).collect(),
                whitelist,
            })
        };
        (0..count).map(part).collect::<Vec<_>>()
    })
}

fn import_all(store: &Store, parts: &[Part]) -> Image {
    let name = |number: usize| format!("example.com/part-{number}");
    let mut top = None;
    for (number, part) in parts.iter().enumerate().rev() {
        let dependencies: Vec<_> = part.dependencies.iter().map(|other| json!({ "imageName": name(*other) })).collect();
        let besides = json!({ "dependencies": dependencies, "pathWhitelist": part.whitelist });
        top = Some(import(store, &archive(&manifest(&name(number), besides), &part.entries)).unwrap());
    }
    top.unwrap()
}

/// What a stack of layers shows, merged by the kernel.
fn shown_by_overlay(layers: &[std::path::PathBuf], at: &Path) -> Option<BTreeMap<String, Seen>> {
    let lower: Vec<_> = layers.iter().rev().map(|layer| layer.display().to_string()).collect();
    let mount = Command::new("mount")
        .args(["-t", "overlay", "overlay", "-o", &format!("lowerdir={}", lower.join(":"))])
        .arg(at)
        .output()
        .ok()?;
    if !mount.status.success() {
        return None;
    }
    let tree = read_tree(at);
    assert!(Command::new("umount").arg(at).status().unwrap().success());
    Some(tree)
}

/// Directories that begin as others do, as datasets can.
#[derive(Debug)]
struct Cloning(Directories);

struct Cloned(Box<dyn Draft>);

impl Draft for Cloned {
    fn path(&self) -> &Path {
        self.0.path()
    }

    fn begun(&self) -> bool {
        true
    }

    fn seal(self: Box<Self>, name: &TreeName) -> appc::store::Result<()> {
        self.0.seal(name)
    }
}

impl Trees for Cloning {
    fn draft(&self, base: Option<&TreeName>) -> appc::store::Result<Box<dyn Draft>> {
        let draft = self.0.draft(None)?;
        let Some(base) = base.and_then(|base| self.0.find(base)) else { return Ok(draft) };
        let copied = Command::new("cp").arg("-a").arg(base.join(".")).arg(draft.path()).status().unwrap();
        assert!(copied.success());
        Ok(Box::new(Cloned(draft)))
    }

    fn find(&self, name: &TreeName) -> Option<PathBuf> {
        self.0.find(name)
    }

    fn names(&self) -> appc::store::Result<Vec<TreeName>> {
        self.0.names()
    }

    fn discard(&self, names: &[TreeName]) -> appc::store::Result<Box<dyn Discarded>> {
        self.0.discard(names)
    }

    fn sweep(&self) -> appc::store::Result<u64> {
        self.0.sweep()
    }

    fn stacks(&self) -> bool {
        false
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn what_is_rendered_is_what_the_recipe_gives(parts in parts()) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("store")).unwrap();
        let image = import_all(&store, &parts);
        let mut model = Model::default();
        model.extract(&parts, 0, &[]);
        let expected = comparable(model.tree);

        let flat = store.flattened(&image).unwrap();
        prop_assert_eq!(flat.layers.len(), 1);
        prop_assert_eq!(&comparable(read_tree(&flat.layers[0])), &expected);

        let root = directory.path().join("cloning");
        let cloning = Store::open_with(&root, Arc::new(Cloning(Directories::new(&root)))).unwrap();
        let amended = cloning.rendered(&import_all(&cloning, &parts)).unwrap();
        prop_assert_eq!(&comparable(read_tree(&amended.layers[0])), &expected);

        let apart = directory.path().join("apart");
        std::fs::create_dir(&apart).unwrap();
        store.render_into(&image, &apart, &Resolver::local(&store)).unwrap();
        prop_assert_eq!(&comparable(read_tree(&apart.join("rootfs"))), &expected);

        let rendered = store.rendered(&image).unwrap();
        if rendered.layers.len() > 1 && is_root() {
            let at = directory.path().join("overlay");
            std::fs::create_dir(&at).unwrap();
            if let Some(shown) = shown_by_overlay(&rendered.layers, &at) {
                prop_assert_eq!(&comparable(shown), &expected);
            }
        }
    }
}

#[test]
fn without_whitelists_nothing_is_copied_where_layers_can_be_stacked() {
    if !cfg!(target_os = "linux") {
        skip(Need::Linux, "only Linux stacks trees");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let base = import(&store, &small("example.com/base", json!({}))).unwrap();
    let app = small("example.com/app", json!({ "dependencies": [{ "imageName": "example.com/base" }] }));
    let app = import(&store, &app).unwrap();
    let rendered = store.rendered(&app).unwrap();
    assert_eq!(rendered.images, [base.id().clone(), app.id().clone()]);
    assert_eq!(rendered.layers.len(), 2);
    let trees = store.trees().names().unwrap();
    assert_eq!(trees.len(), 2, "a tree an image and no more: {trees:?}");
}

#[test]
fn a_cycle_between_names_is_an_error_that_names_the_way() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let depends = |on: &str| json!({ "dependencies": [{ "imageName": format!("example.com/{on}") }] });
    import(&store, &small("example.com/b", depends("c"))).unwrap();
    import(&store, &small("example.com/c", depends("b"))).unwrap();
    let app = import(&store, &small("example.com/a", depends("b"))).unwrap();
    let error = store.rendered(&app).unwrap_err();
    assert_eq!(*error.kind(), Kind::Cycle);
    assert_eq!(error.clause_id(), Some("render.deps.cycle"));
    let text = appc::error::chain(&error);
    assert!(text.contains("example.com/b -> example.com/c -> example.com/b"), "{text}");
}

#[test]
fn a_dependency_is_matched_by_name_labels_id_and_size() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let versioned =
        |version: &str| small("example.com/base", json!({ "labels": [{ "name": "version", "value": version }] }));
    let old = import(&store, &versioned("1")).unwrap();
    let new = import(&store, &versioned("2")).unwrap();
    let size = old.origin().archive_bytes;
    let mut number = 0;
    let mut resolve = |mut dependency: serde_json::Value| {
        number += 1;
        dependency["imageName"] = json!("example.com/base");
        let app = small(&format!("example.com/app-{number}"), json!({ "dependencies": [dependency] }));
        store.rendered(&import(&store, &app).unwrap()).map(|rendered| rendered.images[0].clone())
    };
    assert_eq!(resolve(json!({})).unwrap(), *new.id());
    assert_eq!(resolve(json!({ "labels": [{ "name": "version", "value": "1" }] })).unwrap(), *old.id());
    assert_eq!(resolve(json!({ "imageID": old.id() })).unwrap(), *old.id());
    assert_eq!(resolve(json!({ "imageID": old.id(), "size": size })).unwrap(), *old.id());

    let wrong_label = json!({ "imageID": old.id(), "labels": [{ "name": "version", "value": "2" }] });
    for (wrong, clause) in [
        (json!({ "size": size + 1 }), "im.deps.size"),
        (json!({ "imageID": old.id(), "size": size - 1 }), "im.deps.size"),
        (wrong_label, "dep.match.discovery"),
        (json!({ "labels": [{ "name": "version", "value": "3" }] }), "dep.match.discovery"),
        (json!({ "imageID": format!("sha512-{}", "0".repeat(128)) }), "dep.match.discovery"),
    ] {
        let error = resolve(wrong.clone()).unwrap_err();
        assert_eq!(error.clause_id(), Some(clause), "{wrong}");
        assert!(error.to_string().contains("example.com/base"), "{error}");
    }
}

#[test]
fn an_image_stays_the_tree_that_it_was_until_it_is_fetched_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let base = |content: &str| {
        archive(&manifest("example.com/base", json!({})), &[Entry::directory(""), Entry::file("f", content)])
    };
    let old = import(&store, &base("old")).unwrap();
    let app = small("example.com/app", json!({ "dependencies": [{ "imageName": "example.com/base" }] }));
    let app = import(&store, &app).unwrap();
    assert_eq!(store.rendered(&app).unwrap().images[0], *old.id());
    let new = import(&store, &base("new")).unwrap();
    assert_eq!(store.rendered(&app).unwrap().images[0], *old.id());
    assert_eq!(store.render(&app, &Resolver::local(&store)).unwrap().images[0], *new.id());
    assert_eq!(store.rendered(&app).unwrap().images[0], *new.id());
}

#[test]
fn damage_of_a_merged_tree_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let entries =
        [Entry::directory(""), Entry::directory("d"), Entry::file("f", "content"), Entry::file("g", "content")];
    let image = archive(&manifest("example.com/a", json!({ "pathWhitelist": ["/d", "/f"] })), &entries);
    let image = import(&store, &image).unwrap();
    let rootfs = store.rendered(&image).unwrap().layers.remove(0);
    assert_eq!(store.verify_rendered(&image).unwrap(), []);
    #[cfg(target_os = "linux")]
    match rustix::fs::setxattr(rootfs.join("d"), "user.test", b"", rustix::fs::XattrFlags::empty()) {
        Err(error) => skip(Need::Attributes, format_args!("attributes cannot be set here: {error}")),
        Ok(()) => assert_eq!(store.verify_rendered(&image).unwrap()[0].place, "rendered rootfs/d"),
    }
    std::fs::remove_file(rootfs.join("f")).unwrap();
    std::fs::write(rootfs.join("f"), "cantent").unwrap();
    std::fs::write(rootfs.join("h"), "").unwrap();
    let damage = store.verify_rendered(&image).unwrap();
    let places: Vec<&str> = damage.iter().map(|damage| damage.place.as_str()).collect();
    assert!(places.contains(&"rendered rootfs/f") && places.contains(&"rendered rootfs/h"), "{damage:?}");
}

#[test]
fn a_dependency_that_vanished_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let base = import(&store, &small("example.com/base", json!({}))).unwrap().id().clone();
    let app = small("example.com/app", json!({ "dependencies": [{ "imageName": "example.com/base" }] }));
    let app = import(&store, &app).unwrap();
    store.rendered(&app).unwrap();
    store.remove(&base, &appc::store::Uses::default()).unwrap();
    let error = store.rendered(&app).unwrap_err();
    assert_eq!(*error.kind(), Kind::Missing);
    let text = appc::error::chain(&error);
    assert!(text.starts_with("find example.com/base, a dependency of example.com/app"), "{text}");
}
