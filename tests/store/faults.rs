//! Kills, full disks and others at work at the same time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use appc::aci::ReadOptions;
use appc::store::{Kind, Store};
use appc_needs::{Need, skip};
use serde_json::json;

use super::{jetpack, printed, rubbish, store};
use crate::support::store::{Entry, archive, import, is_root, manifest, small};

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
