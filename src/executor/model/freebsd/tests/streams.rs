//! Laws of `zfs send` and `zfs receive`, as datasets with files on disk have them.

use std::fs;
use std::io;
use std::path::PathBuf;

use tempfile::TempDir;

use super::super::{Filed, Saved};
use crate::executor::freebsd::system::{Program, Programs as _, Ran};

const IMAGES: &str = "zroot/jetpack/images";

/// A pool in a directory.
fn pool() -> (TempDir, Filed) {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("model.json");
    let mut saved = Saved::open(&file).unwrap();
    saved.model.keep_on_disk(place.path()).unwrap();
    saved.save().unwrap();
    drop(saved);
    (place, Filed::new(&file))
}

fn zfs(pool: &Filed, arguments: &[&str]) -> Result<String, String> {
    let ran = pool.clone().run(Program::Zfs, arguments, "").unwrap();
    if ran.code == 0 { Ok(ran.output) } else { Err(ran.complaint) }
}

/// A dataset with one file, and its snapshot.
fn sealed(place: &TempDir, pool: &Filed, name: &str, text: &str) -> PathBuf {
    let (dataset, at) = (format!("{IMAGES}/{name}"), place.path().join("trees").join(name));
    if zfs(pool, &["list", "-H", &dataset]).is_err() {
        zfs(pool, &["create", "-o", &format!("mountpoint={}", at.display()), &dataset]).unwrap();
    }
    fs::write(at.join("file"), text).unwrap();
    zfs(pool, &["snapshot", &format!("{dataset}@sealed")]).unwrap();
    at
}

fn send(pool: &Filed, arguments: &[&str]) -> Result<Vec<u8>, String> {
    let mut stream = Vec::new();
    let ran = pool.clone().drain(Program::Zfs, &[&["send"], arguments].concat(), &mut stream).unwrap();
    if ran.code == 0 { Ok(stream) } else { Err(ran.complaint) }
}

fn receive(pool: &Filed, name: &str, mut stream: &[u8]) -> Result<(), String> {
    let dataset = format!("{IMAGES}/{name}");
    let Ran { code, complaint, .. } =
        pool.clone().feed(Program::Zfs, &["receive", "-s", "-u", &dataset], &mut stream).unwrap();
    if code == 0 { Ok(()) } else { Err(complaint) }
}

fn token(pool: &Filed, name: &str) -> String {
    let told = zfs(pool, &["get", "-H", "-p", "-o", "value", "receive_resume_token", &format!("{IMAGES}/{name}")]);
    told.unwrap().trim().to_owned()
}

#[test]
fn what_is_received_is_mounted_when_it_is_told_to_be_and_holds_what_was_sent() {
    let ((from, one), (to, two)) = (pool(), pool());
    sealed(&from, &one, "a", "one");
    let stream = send(&one, &["zroot/jetpack/images/a@sealed"]).unwrap();
    receive(&two, "b", &stream).unwrap();
    let at = to.path().join("trees/b");
    assert!(!at.exists());
    zfs(&two, &["mount", "zroot/jetpack/images/b"]).unwrap();
    assert_eq!(fs::read_to_string(at.join("file")).unwrap(), "one");
    assert!(zfs(&two, &["mount", "zroot/jetpack/images/b"]).unwrap_err().contains("already mounted"));
    assert!(receive(&two, "b", &stream).unwrap_err().contains("destination 'zroot/jetpack/images/b' exists"));
    assert!(send(&one, &["zroot/jetpack/images/c@sealed"]).unwrap_err().contains("dataset does not exist"));
    // Its files go where it is mounted, and with it.
    let moved = format!("mountpoint={}", to.path().join("trees/c").display());
    zfs(&two, &["set", &moved, "zroot/jetpack/images/b"]).unwrap();
    assert_eq!(fs::read_to_string(to.path().join("trees/c/file")).unwrap(), "one");
    zfs(&two, &["destroy", "-r", "zroot/jetpack/images/b"]).unwrap();
    assert!(!to.path().join("trees/c").exists());
    assert_eq!(fs::read_dir(to.path().join("model-freebsd.disk")).unwrap().count(), 0);
}

#[test]
fn a_clone_is_sent_as_the_difference_to_its_origin_which_has_to_be_there_and_stays() {
    let ((from, one), (to, two)) = (pool(), pool());
    sealed(&from, &one, "a", "one");
    sealed(&from, &one, "other", "two");
    let clone = format!("mountpoint={}", from.path().join("trees/b").display());
    zfs(&one, &["clone", "-o", &clone, "zroot/jetpack/images/a@sealed", "zroot/jetpack/images/b"]).unwrap();
    fs::write(from.path().join("trees/b/more"), "more").unwrap();
    fs::remove_file(from.path().join("trees/b/file")).unwrap();
    zfs(&one, &["snapshot", "zroot/jetpack/images/b@sealed"]).unwrap();
    let difference = |of: &str| send(&one, &["-i", of, "zroot/jetpack/images/b@sealed"]);
    assert!(difference("zroot/jetpack/images/other@sealed").unwrap_err().contains("not an earlier snapshot"));
    let stream = difference("zroot/jetpack/images/a@sealed").unwrap();
    assert!(receive(&two, "b", &stream).unwrap_err().contains("local origin for clone"));
    receive(&two, "a2", &send(&one, &["zroot/jetpack/images/a@sealed"]).unwrap()).unwrap();
    receive(&two, "b", &stream).unwrap();
    zfs(&two, &["mount", "zroot/jetpack/images/b"]).unwrap();
    assert_eq!(fs::read_to_string(to.path().join("trees/b/more")).unwrap(), "more");
    assert!(!to.path().join("trees/b/file").exists());
    let origin = |name: &str| zfs(&two, &["get", "-H", "-o", "value", "origin", &format!("{IMAGES}/{name}")]).unwrap();
    assert_eq!(origin("b"), "zroot/jetpack/images/a2@sealed\n");
    assert!(zfs(&two, &["destroy", "-r", "zroot/jetpack/images/a2"]).unwrap_err().contains("has dependent clones"));
    zfs(&two, &["rename", "-f", "zroot/jetpack/images/a2", "zroot/jetpack/images/a3"]).unwrap();
    assert_eq!(origin("b"), "zroot/jetpack/images/a3@sealed\n");
}

#[test]
fn what_breaks_is_kept_with_a_token_and_goes_on_with_its_own_rest_only() {
    let ((from, one), (_to, two)) = (pool(), pool());
    sealed(&from, &one, "a", &"one".repeat(10_000));
    let stream = send(&one, &["zroot/jetpack/images/a@sealed"]).unwrap();
    assert!(receive(&two, "b", &stream[..20_000]).unwrap_err().contains("Partially received snapshot is saved"));
    let first = token(&two, "b");
    let rest = send(&one, &["-t", &first]).unwrap();
    assert!(rest.len() < stream.len() - 19_000);
    assert!(send(&one, &["-t", &format!("{first}0")]).unwrap_err().contains("resume token is corrupt"));
    assert!(receive(&two, "c", &rest).unwrap_err().contains("no partially-complete state"));
    assert!(receive(&two, "b", &stream).unwrap_err().contains("exists"));
    receive(&two, "b", &rest[..5_000]).unwrap_err();
    assert_ne!(token(&two, "b"), first);
    assert!(receive(&two, "b", &rest).unwrap_err().contains("another one"));
    receive(&two, "b", &send(&one, &["-t", &token(&two, "b")]).unwrap()).unwrap();
    assert_eq!(token(&two, "b"), "-");
    receive(&two, "d", &stream[..10_000]).unwrap_err();
    zfs(&two, &["receive", "-A", "zroot/jetpack/images/d"]).unwrap();
    assert!(zfs(&two, &["list", "-H", "zroot/jetpack/images/d"]).is_err());
    assert!(
        zfs(&two, &["receive", "-A", "zroot/jetpack/images/b"]).unwrap_err().contains("does not have any resumable")
    );
    // What was sent in the first place is gone.
    let broken = token(&two, "b");
    assert_eq!(broken, "-");
    zfs(&one, &["destroy", "-r", "zroot/jetpack/images/a"]).unwrap();
    assert!(send(&one, &["-t", &first]).unwrap_err().contains("no longer exists"));
}

#[test]
fn a_source_that_fails_is_told_when_the_program_has_ended() {
    struct Broken;
    impl io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    let ((from, one), (_to, two)) = (pool(), pool());
    sealed(&from, &one, "a", &"one".repeat(10_000));
    let stream = send(&one, &["zroot/jetpack/images/a@sealed"]).unwrap();
    let mut source = io::Read::chain(&stream[..9_000], Broken);
    let fed = two.clone().feed(Program::Zfs, &["receive", "-s", "-u", "zroot/jetpack/images/b"], &mut source);
    assert_eq!(fed.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_ne!(token(&two, "b"), "-");
}
