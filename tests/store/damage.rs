//! Images and indices that were damaged, and how it is found out.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use appc::aci::ReadOptions;
use appc::store::{Kind, Store, Uses};
use serde_json::json;

use super::{jetpack, printed, rubbish, store};
use crate::support::store::{Entry, archive, import, manifest, small};

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
        Err(error) => {
            appc_needs::skip(appc_needs::Need::Attributes, format_args!("attributes cannot be set here: {error}"))
        }
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
