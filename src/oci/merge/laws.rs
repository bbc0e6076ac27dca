//! What merging layers must come to, told by a slow and obvious model.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::aci::{EntryKind, Time};
use crate::render::{Laid, Merged, Whitelists};

/// What a path of a tree is: a directory with a mark of its entry, or a file by the entry that brought it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Thing {
    Directory(Option<i64>),
    File(Source),
}

type Flat = BTreeMap<Vec<u8>, Thing>;

fn mark(layer: usize, number: u32) -> i64 {
    i64::try_from(layer).unwrap() * 1000 + i64::from(number)
}

fn directory(mark: i64) -> What {
    What::Directory(Arc::new(Entry {
        name: Vec::new(),
        kind: EntryKind::Directory,
        target: Vec::new(),
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: Time { seconds: mark, nanos: 0 },
        size: 0,
        device: (0, 0),
        xattrs: Vec::new(),
        extents: None,
    }))
}

fn below(path: &[u8], other: &[u8]) -> bool {
    path.is_empty() && !other.is_empty() || other.starts_with(&[path, b"/"].concat())
}

/// The slow model: a map of all paths, whiteouts first.
#[derive(Default)]
struct Model {
    flat: Flat,
    links: BTreeMap<Source, Vec<u8>>,
}

impl Model {
    /// Follows the links of all parts but the last.
    fn place(&self, path: &[u8]) -> Option<Vec<u8>> {
        let mut rest: Vec<Vec<u8>> = path.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec).collect();
        let mut at: Vec<u8> = Vec::new();
        let mut links = 0;
        while let Some(part) = rest.pop() {
            let next = if at.is_empty() { part } else { [&at[..], b"/", &part].concat() };
            match self.flat.get(&next) {
                Some(Thing::File(source)) if !rest.is_empty() => {
                    links += 1;
                    let target = self.links.get(source).filter(|_| links <= 40)?;
                    rest.extend(target.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
                }
                _ => at = next,
            }
        }
        Some(at)
    }

    fn remove(&mut self, path: &[u8], itself: bool) {
        self.flat.retain(|other, _| !(itself && other == path || below(path, other)));
    }

    fn lay(&mut self, layer: usize, items: &[Item]) -> Option<()> {
        let before = self.flat.clone();
        for item in items.iter().filter(|item| matches!(item.what, What::Whiteout | What::Opaque)) {
            if let Some(place) = self.place(&item.name) {
                match item.what {
                    What::Whiteout => self.remove(&place, true),
                    _ => {
                        if let Some(inside) = self.place(&[&item.name[..], b"/."].concat()) {
                            self.remove(inside.strip_suffix(b"/.").unwrap_or(&inside), false);
                        }
                    }
                }
            }
        }
        for item in items {
            let source = Source { layer, number: item.number };
            let thing = match &item.what {
                What::Whiteout | What::Opaque => continue,
                What::Directory(entry) => Thing::Directory(Some(entry.mtime.seconds)),
                What::File => Thing::File(source),
                What::Symlink(target) => {
                    self.links.insert(source, target.clone());
                    Thing::File(source)
                }
                What::Hardlink(target) => match self.place(target).and_then(|place| self.flat.get(&place)) {
                    Some(thing @ Thing::File(_)) => thing.clone(),
                    Some(Thing::Directory(_)) => return None,
                    None => match before.get(target)? {
                        thing @ Thing::File(_) => thing.clone(),
                        Thing::Directory(_) => return None,
                    },
                },
            };
            let place = self.place(&item.name)?;
            for (at, _) in place.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
                match self.flat.entry(place[..at].to_vec()).or_insert(Thing::Directory(None)) {
                    Thing::Directory(_) => {}
                    Thing::File(_) => return None,
                }
            }
            let merges = matches!((&thing, self.flat.get(&place)), (Thing::Directory(_), Some(Thing::Directory(_))));
            if !merges {
                self.remove(&place, true);
            }
            self.flat.insert(place, thing);
        }
        Some(())
    }
}

fn things(emission: &Emission) -> Flat {
    let directories = emission
        .directories
        .iter()
        .map(|(path, entry)| (path.clone(), Thing::Directory(entry.as_ref().map(|entry| entry.mtime.seconds))));
    let files =
        emission.files.iter().flat_map(|(source, names)| names.iter().map(|name| (name.clone(), Thing::File(*source))));
    directories.chain(files).filter(|(path, _)| !path.is_empty()).collect()
}

/// What images, one a layer, come to when each lies on the one before and every list holds for all below it.
fn rendered(emissions: &[Emission]) -> Flat {
    let mut lists = Whitelists::default();
    let mut keeps = Vec::new();
    for emission in emissions.iter().rev() {
        if let Some(keep) = &emission.keep {
            let keep: Vec<String> = match keep.is_empty() {
                // No list would be kept for all: the root alone stays.
                true => vec!["/".to_owned()],
                false => keep.iter().map(|path| format!("/{}", String::from_utf8_lossy(path))).collect(),
            };
            let manifest = serde_json::json!({
                "acKind": "ImageManifest", "acVersion": "0.8.11", "name": "a", "pathWhitelist": keep,
            });
            lists = lists.and(&serde_json::from_value(manifest).unwrap());
        }
        keeps.push(lists.clone());
    }
    keeps.reverse();
    let mut merged = Merged::default();
    for (pass, emission) in emissions.iter().enumerate() {
        for (path, thing) in things(emission) {
            if keeps[pass].keeps(&path) {
                let directory = matches!(thing, Thing::Directory(_));
                merged.lay(pass, Laid { path: &path, directory, implied: false });
            }
        }
    }
    merged.paths().map(|(path, source)| (path.to_vec(), things(&emissions[source.pass])[path].clone())).collect()
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec("[abc]", 1..4).prop_map(|parts| parts.join("/").into_bytes())
}

/// A name, what becomes of it, and another name.
type Change = (Vec<u8>, u8, Vec<u8>);

fn change(links: bool) -> impl Strategy<Value = Change> {
    (path(), 0..if links { 7_u8 } else { 6 }, path())
}

fn layers(changes: Vec<Vec<Change>>, whiteouts_first: bool) -> Vec<Vec<Item>> {
    let items = |(layer, changes): (usize, Vec<Change>)| {
        let mut items: Vec<Item> = changes
            .into_iter()
            .zip(0_u32..)
            .map(|((name, what, target), number)| {
                let what = match what {
                    0 => directory(mark(layer, number)),
                    1 | 2 => What::File,
                    3 => What::Hardlink(target),
                    4 => What::Whiteout,
                    5 => What::Opaque,
                    _ => What::Symlink(target),
                };
                Item { name, what, number }
            })
            .collect();
        if whiteouts_first {
            items.sort_by_key(|item| !matches!(item.what, What::Whiteout | What::Opaque));
        }
        items
    };
    changes.into_iter().enumerate().map(items).collect()
}

/// Lays layers over each other until one is refused; gives the whole and what each changed.
fn laid(layers: &[Vec<Item>]) -> (Tree, Vec<Emission>, bool) {
    let mut tree = Tree::default();
    let mut emissions = Vec::new();
    for (number, layer) in layers.iter().enumerate() {
        if tree.lay(number, layer).is_err() {
            return (tree, emissions, false);
        }
        emissions.push(tree.changes());
    }
    (tree, emissions, true)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn layers_come_to_what_the_obvious_model_says(
        changes in prop::collection::vec(prop::collection::vec(change(true), 0..8), 1..5),
    ) {
        let layers = layers(changes, true);
        let mut model = Model::default();
        let modelled = layers.iter().enumerate().all(|(number, layer)| model.lay(number, layer).is_some());
        let (tree, emissions, fine) = laid(&layers);
        prop_assert_eq!(fine, modelled);
        if fine {
            let whole = things(&tree.whole());
            prop_assert_eq!(&whole, &model.flat);
            prop_assert_eq!(&rendered(&emissions), &whole);
        }
    }

    #[test]
    fn it_does_not_matter_where_in_a_layer_a_whiteout_stands(
        changes in prop::collection::vec(prop::collection::vec(change(false), 0..8), 1..5),
    ) {
        let layers = layers(changes, false);
        let (tree, emissions, fine) = laid(&layers);
        if fine {
            let mut model = Model::default();
            for (number, layer) in layers.iter().enumerate() {
                prop_assert!(model.lay(number, layer).is_some());
            }
            let whole = things(&tree.whole());
            prop_assert_eq!(&whole, &model.flat);
            prop_assert_eq!(&rendered(&emissions), &whole);
        }
    }
}

fn item(name: &str, what: What, number: u32) -> Item {
    Item { name: name.as_bytes().to_vec(), what, number }
}

#[test]
fn the_links_of_a_file_that_gets_a_new_name_come_again_as_one() {
    let mut tree = Tree::default();
    tree.lay(0, &[item("a", What::File, 0), item("b", What::Hardlink(b"a".to_vec()), 1)]).unwrap();
    tree.lay(1, &[item("c", What::Hardlink(b"a".to_vec()), 0)]).unwrap();
    let changes = tree.changes();
    assert_eq!(changes.files[&Source { layer: 0, number: 0 }], [b"a", b"b", b"c"]);
    assert_eq!(changes.keep, None);
}

#[test]
fn a_file_moved_within_a_layer_lives_on_under_its_new_name() {
    let mut tree = Tree::default();
    tree.lay(0, &[item("a", What::File, 0)]).unwrap();
    tree.lay(1, &[item("a", What::Whiteout, 0), item("b", What::Hardlink(b"a".to_vec()), 1)]).unwrap();
    let changes = tree.changes();
    assert_eq!(changes.files[&Source { layer: 0, number: 0 }], [b"b"]);
    assert_eq!(changes.keep, Some(vec![b"b".to_vec()]));
}

#[test]
fn a_directory_that_replaces_a_link_does_not_lead_where_the_link_led() {
    let mut tree = Tree::default();
    let lower = [item("usr/lib/x", What::File, 0), item("lib", What::Symlink(b"usr/lib".to_vec()), 1)];
    tree.lay(0, &lower).unwrap();
    tree.lay(1, &[item("lib", directory(1), 0), item("lib/x", What::Whiteout, 1)]).unwrap();
    assert!(things(&tree.whole()).contains_key(&b"usr/lib/x"[..]));
}

#[test]
fn links_that_go_round_are_refused() {
    let mut tree = Tree::default();
    let layer = [item("a", What::Symlink(b"b".to_vec()), 0), item("b", What::Symlink(b"/a".to_vec()), 1)];
    tree.lay(0, &layer).unwrap();
    let error = tree.lay(1, &[item("a/x", What::File, 0)]).unwrap_err();
    assert_eq!(error.clause_id(), Some("x.oci.parent"));
}

#[test]
fn links_cannot_make_paths_longer_than_memory_has_room_for() {
    let mut tree = Tree { most_bytes: 10_000, ..Tree::default() };
    let deep = ["d"; 200].join("/");
    let mut layer = vec![item(&deep, directory(1), 0), item("l", What::Symlink(deep.clone().into_bytes()), 1)];
    layer.extend((0..100).map(|number| item(&format!("l/{number}"), What::File, number + 2)));
    assert_eq!(tree.lay(0, &layer).unwrap_err().clause_id(), Some("x.oci.limits"));
}

#[test]
fn a_link_out_of_the_tree_stays_in_it() {
    let mut tree = Tree::default();
    let layer = [item("a", What::Symlink(b"../../../etc".to_vec()), 0), item("a/passwd", What::File, 1)];
    tree.lay(0, &layer).unwrap();
    assert!(things(&tree.whole()).contains_key(&b"etc/passwd"[..]));
}

#[test]
fn a_file_kept_under_its_second_name_only_takes_its_content_along() {
    let items = vec![
        item("a", What::File, 0),
        item("b", What::Hardlink(b"a".to_vec()), 1),
        item("c", What::Hardlink(b"a".to_vec()), 2),
        item("d", What::Hardlink(b"b".to_vec()), 3),
    ];
    let left = kept(items, |path| path == b"c" || path == b"d");
    assert_eq!(left, [item("c", What::File, 0), item("d", What::Hardlink(b"c".to_vec()), 3)]);
}
