//! The attack corpus: refused, told, and nothing outside the target is touched.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use appc::aci::{self, ExtractOptions, Kind, ReadOptions};
use appc::diagnostic::Severity;
use appc_needs::{Need, skip};

use super::fixtures::{Tar, attacks, harmless};
use super::world::{World, names};

fn unsynced() -> ExtractOptions {
    ExtractOptions { sync: false, ..ExtractOptions::default() }
}

#[test]
fn every_attack_is_refused_with_entry_and_clause_and_leaves_nothing() {
    let world = World::new();
    let before = world.surroundings();
    for attack in attacks(&world.outside()) {
        let error = aci::extract(&attack.bytes[..], &world.path("inside/image"), &unsynced())
            .expect_err(&format!("{} was accepted", attack.name));
        let said = appc::error::chain(&error);
        assert_eq!(error.clause_id(), Some(attack.clause), "{}: {said}", attack.name);
        assert!(said.contains(attack.names), "{}: {said}", attack.name);
        assert!(matches!(error.kind(), Kind::Invalid | Kind::TooBig), "{}: {said}", attack.name);
        assert_eq!(names(&world.path("inside")), [""; 0], "{}", attack.name);
        assert_eq!(world.surroundings(), before, "{}", attack.name);
    }
}

#[test]
fn the_validator_finds_every_attack_that_extraction_refuses() {
    let world = World::new();
    for attack in attacks(&world.outside()) {
        let checked = aci::validate::image(&attack.bytes[..], &ReadOptions::default()).unwrap();
        let found = checked.diagnostics.iter().find(|found| found.clause == attack.clause);
        let found = found.unwrap_or_else(|| panic!("{}: {:?}", attack.name, checked.diagnostics));
        assert_eq!(found.severity, Severity::Error, "{}", attack.name);
        let said = format!("`{}` {}", found.place.entry.as_deref().unwrap_or_default(), found.message);
        assert!(said.contains(attack.names), "{}: {said}", attack.name);
    }
}

#[test]
fn directories_without_end_can_be_read_and_are_not_made() {
    let world = World::new();
    let name = [&b"rootfs/"[..], &b"a/".repeat(30_000), b"x"].concat();
    let bytes = Tar::image().pax([("path", &name[..])]).file("x", b"").end();
    assert!(aci::read(&bytes[..], &ReadOptions::default(), &mut aci::Nothing).is_ok());
    let error = aci::extract(&bytes[..], &world.path("inside/image"), &unsynced()).unwrap_err();
    assert_eq!((*error.kind(), error.clause_id()), (Kind::TooBig, Some("x.aci.limits")));
    assert_eq!(names(&world.path("inside")), [""; 0]);
}

#[test]
fn an_image_whose_manifest_is_not_valid_becomes_no_layout() {
    let world = World::new();
    let manifest = br#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"A"}"#;
    let bytes = Tar::default().file("manifest", manifest).dir("rootfs").end();
    let error = aci::extract(&bytes[..], &world.path("inside/image"), &unsynced()).unwrap_err();
    assert_eq!((*error.kind(), error.clause_id()), (Kind::Invalid, Some("types.acidentifier.charset")));
    assert_eq!(names(&world.path("inside")), [""; 0]);
}

#[test]
fn findings_do_not_grow_with_what_they_are_about() {
    let name = [b"rootfs/../", &[b'\xff'; 60_000][..]].concat();
    let tar = (0..200).fold(Tar::image(), |tar, _| tar.pax([("path", &name[..])]).file("x", b""));
    let checked = aci::validate::image(&tar.end()[..], &ReadOptions::default()).unwrap();
    let told: usize = checked.diagnostics.iter().map(|found| format!("{found:?}").len()).sum();
    assert!(!checked.diagnostics.is_empty() && told < 4 << 20, "{told} bytes in {}", checked.diagnostics.len());
}

#[test]
fn what_only_looks_like_an_attack_extracts_without_harm() {
    let world = World::new();
    let before = world.surroundings();
    for (name, bytes) in harmless(&world.outside()) {
        let checked = aci::validate::image(&bytes[..], &ReadOptions::default()).unwrap();
        let errors: Vec<_> = checked.diagnostics.iter().filter(|found| found.severity == Severity::Error).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
        let into = world.path("inside/image");
        let summary = aci::extract(&bytes[..], &into, &unsynced()).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(Some(summary.image_id), checked.image_id, "{name}");
        assert_eq!(names(&into), ["manifest", "rootfs"], "{name}");
        assert_eq!(world.surroundings(), before, "{name}");
        fs::remove_dir_all(&into).unwrap();
    }
}

#[test]
fn what_extraction_leaves_out_is_told() {
    let world = World::new();
    for (fixture, rule) in
        [("a device", "x.aci.extract-device"), ("xattrs that are not for images", "x.aci.extract-xattr")]
    {
        let (_, bytes) = harmless(&world.outside()).into_iter().find(|(name, _)| *name == fixture).unwrap();
        let into = world.path("inside").join(rule);
        let summary = aci::extract(&bytes[..], &into, &unsynced()).unwrap();
        assert!(summary.diagnostics.iter().any(|found| found.clause == rule), "{:?}", summary.diagnostics);
        // Neither the device nor its other name is there, nor any stand-in.
        assert!(rule.ends_with("xattr") || names(&into.join("rootfs")).is_empty());
    }
}

#[test]
fn setuid_goes_with_its_owner_only() {
    let world = World::new();
    let (_, bytes) = harmless(&world.outside()).into_iter().find(|(name, _)| *name == "setuid").unwrap();
    let mut options = unsynced();
    options.owners = aci::Owners::Ignore;
    let summary = aci::extract(&bytes[..], &world.path("inside/ignored"), &options).unwrap();
    assert_eq!(fs::metadata(world.path("inside/ignored/rootfs/su")).unwrap().mode() & 0o7777, 0o755);
    assert!(summary.diagnostics.iter().any(|found| found.clause == "x.aci.extract-mode"));
    if !rustix::process::geteuid().is_root() {
        skip(Need::Root, "the other half takes root");
        return;
    }
    aci::extract(&bytes[..], &world.path("inside/applied"), &unsynced()).unwrap();
    assert_eq!(fs::metadata(world.path("inside/applied/rootfs/su")).unwrap().mode() & 0o7777, 0o4755);
}

#[test]
fn a_size_cap_holds_for_what_is_read_and_for_what_is_claimed() {
    let options = |max_size| ReadOptions { max_size, ..ReadOptions::default() };
    let bytes = Tar::image().file("rootfs/x", &[7; 5000]).end();
    let read = |bytes: &[u8], max_size| aci::read(bytes, &options(max_size), &mut aci::Nothing);
    assert!(read(&bytes, bytes.len() as u64).is_ok());
    assert_eq!(*read(&bytes, bytes.len() as u64 - 1).unwrap_err().kind(), Kind::TooBig);
    // A hole takes nothing in the archive, and all it says on disk.
    let hole = Tar::image().pax([("GNU.sparse.size", &b"1000000"[..])]).file("rootfs/hole", b"").end();
    assert!(read(&hole, 2_000_000).is_ok());
    assert_eq!(*read(&hole, 500_000).unwrap_err().kind(), Kind::TooBig);
}

#[test]
fn nothing_escapes_while_somebody_swaps_directories_for_links() {
    /// Directories that were swapped for links and back while something was extracted.
    const ROUNDS: usize = 10_000;
    let world = World::new();
    let before = world.surroundings();
    let mut tar = Tar::image();
    for directory in ["a", "a/b", "a/b/c"] {
        tar = tar.dir(format!("rootfs/{directory}")).file(format!("rootfs/{directory}/file"), b"escaped");
        tar = tar.link(format!("rootfs/{directory}/hard"), format!("rootfs/{directory}/file"));
    }
    let bytes = tar.file("rootfs/a/b/sub", b"escaped").file("rootfs/a/b/c/link", b"escaped").end();
    let target = world.path("inside/image");
    let stop = AtomicBool::new(false);
    let swapped = AtomicUsize::new(0);
    let (mut disturbed, mut done) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let (root, outside) = (target.join("rootfs"), world.path("outside"));
            while !stop.load(Ordering::Relaxed) {
                for path in ["a", "a/b", "a/b/c"] {
                    let (path, aside) = (root.join(path), root.join("aside"));
                    if fs::rename(&path, &aside).is_ok() {
                        swapped.fetch_add(usize::from(symlink(&outside, &path).is_ok()), Ordering::Relaxed);
                        let _ = fs::remove_file(&path);
                        let _ = fs::rename(&aside, &path);
                    }
                }
            }
        });
        while swapped.load(Ordering::Relaxed) < ROUNDS {
            fs::create_dir(&target).unwrap();
            let handle = fs::File::open(&target).unwrap();
            match aci::import(&bytes[..], handle.as_fd(), &unsynced()) {
                Ok(_) => done += 1,
                Err(_) => disturbed += 1,
            }
            // The other one goes on while this is removed.
            while fs::remove_dir_all(&target).is_err() && target.symlink_metadata().is_ok() {}
        }
        stop.store(true, Ordering::Relaxed);
    });
    println!("{done} extractions went through, {disturbed} were disturbed");
    assert_eq!(world.surroundings(), before);
    assert!(disturbed > 0, "the race was never lost: it does not race");
}
