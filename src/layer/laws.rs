//! Laws over generated trees: whatever was done to a tree, and however it is told where to look, the image that it comes to is the
//! same, bit for bit, and renders to that tree.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;

use super::{Commit, Describe, Left, Ours, Whence, changes};
use crate::aci::{BuildOptions, ExtractOptions, build};
use crate::render::Resolver;
use crate::store::{Import, Store};
use crate::sys::xattr;

#[derive(Clone, Debug)]
enum Deed {
    Write(usize, u8),
    Append(usize),
    Touch(usize),
    Mode(usize, u32),
    Owner(usize, u32),
    Remove(usize),
    Directory(usize),
    Link(usize, usize),
    Symlink(usize, usize),
    Rename(usize, usize),
    Fifo(usize),
    Hole(usize),
    Attribute(usize, u8),
    Apart(usize),
}

/// Some names at three depths, one of which sorts between a directory and what is in it.
fn path(number: usize) -> String {
    const NAMES: [&str; 4] = ["a", "a-b", "b", "c"];
    let (first, second, third) = (number % 4, number / 4 % 5, number / 20 % 5);
    let mut path = NAMES[first].to_owned();
    for name in [second, third] {
        if let Some(name) = name.checked_sub(1) {
            path.push('/');
            path.push_str(NAMES[name]);
        }
    }
    path
}

fn deed() -> impl Strategy<Value = Deed> {
    let any_path = || 0..100_usize;
    prop_oneof![
        3 => (any_path(), any::<u8>()).prop_map(|(at, byte)| Deed::Write(at, byte)),
        1 => any_path().prop_map(Deed::Append),
        1 => any_path().prop_map(Deed::Touch),
        1 => (any_path(), 0..0o1000_u32).prop_map(|(at, mode)| Deed::Mode(at, mode | 0o700)),
        1 => (any_path(), 0..3_u32).prop_map(|(at, owner)| Deed::Owner(at, owner)),
        2 => any_path().prop_map(Deed::Remove),
        3 => any_path().prop_map(Deed::Directory),
        3 => (any_path(), any_path()).prop_map(|(to, at)| Deed::Link(to, at)),
        1 => (any_path(), any_path()).prop_map(|(to, at)| Deed::Symlink(to, at)),
        2 => (any_path(), any_path()).prop_map(|(from, to)| Deed::Rename(from, to)),
        1 => any_path().prop_map(Deed::Fifo),
        1 => any_path().prop_map(Deed::Hole),
        1 => (any_path(), any::<u8>()).prop_map(|(at, byte)| Deed::Attribute(at, byte)),
        2 => any_path().prop_map(Deed::Apart),
    ]
}

/// Does what can be done.
fn doing(root: &Path, deed: &Deed) {
    let at = |number: &usize| root.join(path(*number));
    let made = |number: &usize| {
        let place = at(number);
        let _ = place.parent().map(fs::create_dir_all);
        place
    };
    let is_link = |place: &Path| fs::symlink_metadata(place).is_ok_and(|about| about.is_symlink());
    // No link of the tree is followed out of it.
    let through =
        |number: &usize| root.join(path(*number)).ancestors().any(|above| above.starts_with(root) && is_link(above));
    let is_fifo = |place: &Path| fs::symlink_metadata(place).is_ok_and(|about| about.file_type().is_fifo());
    match deed {
        Deed::Write(number, _) | Deed::Append(number) | Deed::Hole(number)
            if through(number) || is_fifo(&at(number)) => {}
        Deed::Touch(number) | Deed::Mode(number, _) | Deed::Owner(number, _) | Deed::Attribute(number, _)
            if through(number) || is_fifo(&at(number)) => {}
        Deed::Write(number, byte) => drop(fs::write(made(number), vec![*byte; 3])),
        Deed::Append(number) => {
            let _ = fs::read(at(number)).map(|text| fs::write(at(number), [&text[..], b"more"].concat()));
        }
        Deed::Touch(number) => {
            let _ = File::open(at(number)).map(|file| file.set_modified(std::time::SystemTime::now()));
        }
        Deed::Mode(number, mode) => drop(fs::set_permissions(at(number), fs::Permissions::from_mode(*mode))),
        Deed::Owner(number, owner) => {
            // Only root may.
            let _ = std::os::unix::fs::lchown(at(number), Some(*owner), Some(*owner));
        }
        Deed::Remove(number) if !through(number) => {
            let _ = fs::remove_dir_all(at(number)).or_else(|_| fs::remove_file(at(number)));
        }
        Deed::Directory(number) => drop(made(number)),
        Deed::Link(to, number) if !through(to) && !through(number) => drop(fs::hard_link(at(to), made(number))),
        Deed::Symlink(to, number) if !through(number) => drop(symlink(path(*to), made(number))),
        Deed::Rename(from, to) if !through(from) && !through(to) => drop(fs::rename(at(from), made(to))),
        Deed::Fifo(number) if !through(number) => {
            let kind = rustix::fs::FileType::Fifo;
            let _ = rustix::fs::mknodat(rustix::fs::CWD, made(number), kind, rustix::fs::Mode::from_raw_mode(0o640), 0);
        }
        Deed::Hole(number) => {
            let _ = File::create(made(number)).and_then(|file| file.set_len(100_000));
        }
        Deed::Attribute(number, byte) => {
            let _ = File::open(at(number)).and_then(|file| xattr::set(file.as_fd(), b"user.law", &[*byte]));
        }
        // As copying up does where names are one file's.
        Deed::Apart(number) if !through(number) && !is_fifo(&at(number)) && at(number).is_file() => {
            let (place, new) = (at(number), root.join("new-one"));
            let copied = Command::new("cp").arg("-a").args([&place, &new]).status();
            if copied.is_ok_and(|status| status.success()) {
                let _ = fs::rename(new, place);
            }
        }
        _ => {}
    }
}

/// Everything in a tree that counts, by path.
fn seen(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut files: HashMap<(u64, u64), PathBuf> = HashMap::new();
    let mut left = vec![root.to_owned()];
    let mut paths = Vec::new();
    while let Some(path) = left.pop() {
        let about = fs::symlink_metadata(&path).unwrap();
        if about.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        paths.push(path);
    }
    paths.sort();
    for path in paths {
        let about = fs::symlink_metadata(&path).unwrap();
        let kind = about.file_type();
        let inside = path.strip_prefix(root).unwrap().to_owned();
        let mode = if kind.is_symlink() { 0 } else { about.mode() & 0o7777 };
        let mut text = format!("{kind:?} {mode:o} {}:{}", about.uid(), about.gid());
        if kind.is_symlink() {
            text.push_str(&format!(" -> {}", fs::read_link(&path).unwrap().display()));
        }
        if kind.is_file() || kind.is_dir() {
            let file = File::open(&path).unwrap();
            text.push_str(&format!(" {:?}", xattr::get(file.as_fd(), b"user.law").ok()));
        }
        if kind.is_file() {
            text.push_str(&format!(" {:?}", fs::read(&path).unwrap()));
        }
        if !kind.is_dir() {
            let first = files.entry((about.dev(), about.ino())).or_insert_with(|| inside.clone());
            text.push_str(&format!(" first {}", first.display()));
        }
        all.insert(inside, text);
    }
    all
}

/// What an overlay's upper layer would have names for: whatever is not the same file, and some that are.
fn upper(old: &Path, new: &Path, into: &Path, noise: &[usize]) {
    let (before, after) = (seen(old), seen(new));
    let mark = |path: &Path| {
        let place = into.join(path);
        let _ = fs::create_dir_all(place.parent().unwrap());
        if new.join(path).symlink_metadata().is_ok_and(|about| about.is_dir()) {
            let _ = fs::create_dir_all(&place);
        } else if !place.exists() {
            // A whiteout is a name, as is a file.
            let _ = fs::write(place, "");
        }
    };
    let inode = |root: &Path, path: &Path| root.join(path).symlink_metadata().map(|about| about.ino()).ok();
    // The files that something happened to are the upper layer's, with all their names.
    let touched: HashSet<u64> = after
        .iter()
        .filter(|(path, is)| before.get(*path) != Some(is) && !new.join(path).is_dir())
        .filter_map(|(path, _)| inode(new, path))
        .collect();
    for (path, is) in &after {
        let fresh = !before.contains_key(path) && !path.as_os_str().is_empty();
        if before.get(path) != Some(is) || fresh || inode(new, path).is_some_and(|inode| touched.contains(&inode)) {
            mark(path);
        }
        // A directory that was replaced hides all that was beneath.
        if new.join(path).is_dir() && !old.join(path).symlink_metadata().is_ok_and(|about| about.is_dir()) {
            mark(path);
        }
    }
    before.keys().filter(|path| !after.contains_key(*path)).for_each(|path| {
        if path.parent().is_none_or(|above| after.contains_key(above) && new.join(above).is_dir()) {
            mark(path);
        }
    });
    for number in noise {
        let path = PathBuf::from(path(*number));
        if after.contains_key(&path) && before.contains_key(&path) {
            mark(&path);
        }
    }
}

/// What is on disk after a crash does not matter here.
fn import(source: &str) -> Import {
    Import { extract: ExtractOptions { sync: false, ..ExtractOptions::default() }, ..Import::new(source) }
}

/// The image of a tree that began as `parent` and is what deeds made of it, by each way; and what it renders to.
fn holds(first: &[Deed], then: &[Deed], noise: &[usize]) -> Result<(), TestCaseError> {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    let layout = at("layout");
    fs::create_dir_all(layout.join("rootfs")).unwrap();
    first.iter().for_each(|deed| doing(&layout.join("rootfs"), deed));
    let manifest = serde_json::json!({"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/parent"});
    fs::write(layout.join("manifest"), manifest.to_string()).unwrap();
    let mut archive = Vec::new();
    build(&layout, &BuildOptions::default(), &mut archive).unwrap();
    let store = Store::open(at("store")).unwrap();
    let parent = store.import(&archive[..], import("parent")).unwrap();
    let layers = store.rendered(&parent).unwrap().layers;

    let new = at("new");
    assert!(Command::new("cp").arg("-a").arg(&layers[0]).arg(&new).status().unwrap().success());
    then.iter().for_each(|deed| doing(&new, deed));
    fs::create_dir(at("upper")).unwrap();
    upper(&layers[0], &new, &at("upper"), noise);

    let root = File::open(&new).unwrap();
    let describe = Describe {
        parent: parent.id().clone(),
        manifest: parent.manifest_bytes().to_vec(),
        instead: None,
        name: Some(("example.com/child".parse().unwrap(), None)),
        edits: Vec::new(),
    };
    let ways = [
        Whence::Everywhere,
        Whence::Clone(HashSet::new()),
        Whence::Uppers(vec![OwnedFd::from(File::open(at("upper")).unwrap())]),
    ];
    for flat in [false, true] {
        let mut made: Vec<Vec<u8>> = Vec::new();
        let mut told = Vec::new();
        for whence in &ways {
            let left = Left { root: root.as_fd(), layers: &layers, whence, ours: &Ours::default() };
            let mut archive = Vec::new();
            let how = Commit { flat, epoch: None, newest: None };
            how.write(&left, |form| describe.manifest(form), &mut archive).unwrap();
            made.push(archive);
            told.push(changes(&left).unwrap());
        }
        prop_assert_eq!(&told[0], &told[1]);
        prop_assert_eq!(&told[0], &told[2]);
        prop_assert!(made[0] == made[1] && made[0] == made[2], "the ways differ");
        let child = store.import(&made[0][..], import("child")).unwrap();
        let target = at(if flat { "flat" } else { "derived" });
        fs::create_dir(&target).unwrap();
        store.render_into(&child, &target, &Resolver::local(&store)).unwrap();
        prop_assert_eq!(seen(&target.join("rootfs")), seen(&new));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn every_way_comes_to_the_same_image_and_that_to_the_tree(
        first in proptest::collection::vec(deed(), 0..40),
        then in proptest::collection::vec(deed(), 0..16),
        noise in proptest::collection::vec(0..100_usize, 0..6),
    ) {
        holds(&first, &then, &noise)?;
    }
}

/// What acbuild lost: a package makes names for files of the layer beneath.
#[test]
fn a_new_name_of_the_parents_file_is_one_file_with_it() {
    let first = [Deed::Directory(3), Deed::Write(7, 1), Deed::Write(11, 2), Deed::Link(7, 15)];
    // One that had a name, one that had two; of two names that are one file's one goes its own way.
    holds(&first, &[Deed::Link(11, 0), Deed::Link(7, 2)], &[]).unwrap();
    holds(&first, &[Deed::Apart(15)], &[]).unwrap();
    holds(&first, &[Deed::Link(7, 2), Deed::Apart(15), Deed::Append(7)], &[15]).unwrap();
}

#[test]
fn the_last_file_can_go_and_kinds_can_change_places() {
    let first = [Deed::Write(0, 1), Deed::Write(6, 1)];
    holds(&first, &[Deed::Remove(0), Deed::Remove(2)], &[]).unwrap();
    holds(&first, &[Deed::Remove(0), Deed::Write(4, 3), Deed::Remove(2), Deed::Write(2, 4)], &[]).unwrap();
}
