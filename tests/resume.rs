//! Downloads that are killed and go on, and downloads that several want at once.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::fetch::{ACI, ASC, Host, USER, files, signed, site, stderr, stdout};
use crate::support::https::{Manner, Reply, Seen, Server};
use crate::support::image::image;

const NAME: &str = "localhost/app:1";
const UNSIGNED: [&str; 2] = ["--insecure=signature", NAME];

/// A site whose image comes in pieces, as long as `slow` says so.
fn slowly(bytes: &[u8], slow: &Arc<AtomicBool>) -> Server {
    let (inner, slow) = (site(files(&[(ACI, bytes)])), slow.clone());
    Server::https(move |request| match inner(request) {
        reply if request.path == ACI && slow.load(Ordering::SeqCst) => {
            reply.manner(Manner::Paced(Duration::from_millis(4)))
        }
        reply => reply,
    })
}

impl Host {
    fn begin(&self, arguments: &[&str]) -> Child {
        let port = format!("--port={}", self.port);
        let mut command = self.command(&[&["fetch", &port], arguments].concat());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// What has come of the one image that is on its way.
    fn partial(&self) -> Option<PathBuf> {
        let entries = fs::read_dir(self.directory.path().join("root/partial")).ok()?;
        entries.flatten().map(|entry| entry.path().join("archive")).find(|path| path.exists())
    }

    fn come(&self) -> u64 {
        self.partial().and_then(|path| fs::metadata(path).ok()).map_or(0, |about| about.len())
    }

    /// Kills a fetch when so many bytes have come.
    #[track_caller]
    fn kill_at(&self, arguments: &[&str], bytes: u64) {
        let mut fetch = self.begin(arguments);
        let begun = Instant::now();
        while self.come() < bytes {
            assert!(begun.elapsed() < Duration::from_secs(60), "nothing comes");
            if let Some(ended) = fetch.try_wait().unwrap() {
                panic!("it ended with {ended}: {}", stderr(&fetch.wait_with_output().unwrap()));
            }
            thread::sleep(Duration::from_millis(1));
        }
        fetch.kill().unwrap();
        fetch.wait().unwrap();
    }

    /// That nothing is left but an image.
    #[track_caller]
    fn is_tidy(&self) {
        let root = self.directory.path().join("root");
        assert!(!root.join("partial").exists());
        // What was killed while it unpacked is swept by whoever imports next; the last one was not killed.
        assert_eq!((self.images(), fs::read_dir(root.join("incoming")).unwrap().count()), (1, 0));
    }
}

/// Where each request for the image began.
fn starts(server: &Server) -> Vec<u64> {
    let start = |seen: Seen| {
        let range =
            seen.headers.get("range").map(|range| range["bytes=".len()..].trim_end_matches('-').parse().unwrap());
        range.unwrap_or(0)
    };
    server.seen().into_iter().filter(|seen| seen.path == ACI).map(start).collect()
}

#[track_caller]
fn succeeds(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    stdout(output)
}

#[test]
fn a_download_that_is_killed_goes_on_where_it_was() {
    let Some((gpg, _, aci, signature)) = signed() else { return };
    let slow = Arc::new(AtomicBool::new(true));
    let inner = site(files(&[(ACI, &aci), (ASC, &signature)]));
    let server = Server::https({
        let slow = slow.clone();
        move |request| match inner(request) {
            reply if request.path == ACI && slow.load(Ordering::SeqCst) => {
                reply.manner(Manner::Paced(Duration::from_millis(4)))
            }
            reply => reply,
        }
    });
    let host = Host::beside(&server);
    host.trust(&gpg, USER, &["--prefix", "localhost"]);
    let mut least = Vec::new();
    for tenth in 1..10 {
        let target = aci.len() as u64 / 10 * tenth;
        host.kill_at(&[NAME], target);
        least.push(target - 1);
    }
    let archive = host.partial().unwrap();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&archive), mode(archive.parent().unwrap())), (0o600, 0o700));
    slow.store(false, Ordering::SeqCst);
    let output = host.fetch(&["-v", NAME]);
    succeeds(&output);
    assert!(stderr(&output).contains("are there from before"), "{}", stderr(&output));
    let starts = starts(&server);
    // One may be killed before it has asked for anything.
    assert_eq!(starts.iter().filter(|start| **start == 0).count(), 1, "{starts:?}");
    assert!(starts.is_sorted() && starts.last() >= least.last(), "{starts:?} {least:?}");
    host.is_tidy();
}

#[test]
fn whenever_a_download_is_killed_the_next_one_is_whole() {
    let aci = image("localhost/app", &[("version", "1")], 3 << 20);
    let slow = Arc::new(AtomicBool::new(true));
    let server = slowly(&aci, &slow);
    let whole = succeeds(&Host::beside(&server).fetch(&UNSIGNED));
    let mut state = u64::from(std::process::id());
    for _ in 0..8 {
        let host = Host::beside(&server);
        for _ in 0..5 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let mut fetch = host.begin(&UNSIGNED);
            thread::sleep(Duration::from_millis((state >> 33) % 300));
            fetch.kill().unwrap();
            fetch.wait().unwrap();
        }
        assert_eq!(succeeds(&host.fetch(&UNSIGNED)), whole, "seed {}", std::process::id());
        let id = whole.trim();
        succeeds(&host.run(&["image", "verify", id]));
        host.is_tidy();
    }
}

#[test]
fn what_is_another_by_now_or_cannot_be_had_in_parts_begins_anew() {
    let old = image("localhost/app", &[("version", "1")], 2 << 20);
    let new = image("localhost/app", &[("version", "1"), ("changed", "yes")], 2 << 20);
    for kind in ["changed", "changed without a word", "no parts", "another part", "416", "damaged"] {
        let (old, new, second) = (old.clone(), new.clone(), Arc::new(AtomicBool::new(false)));
        let (inner, turn) = (site(files(&[(ACI, &old)])), second.clone());
        let fresh = new.clone();
        let server = Server::https(move |request| {
            if request.path != ACI {
                return inner(request);
            }
            if !turn.load(Ordering::SeqCst) {
                return Reply::file(request, &old, "\"1\"").manner(Manner::Paced(Duration::from_millis(4)));
            }
            let part = request.headers.contains_key("range");
            match kind {
                "changed" => Reply::file(request, &new, "\"2\""),
                "changed without a word" => Reply::file(request, &new, "\"1\""),
                "no parts" => Reply::ok(old.clone()).header("ETag", "\"1\""),
                "another part" if part => Reply { status: 206, ..Reply::ok(&old[5..]) }
                    .header("Content-Range", format!("bytes 5-{}/{}", old.len() - 1, old.len())),
                "416" if part => Reply::status(416),
                _ => Reply::file(request, &old, "\"1\""),
            }
        });
        let host = Host::beside(&server);
        host.kill_at(&UNSIGNED, 1 << 20);
        second.store(true, Ordering::SeqCst);
        if kind == "damaged" {
            let path = host.partial().unwrap();
            let mut bytes = fs::read(&path).unwrap();
            bytes[500_000] ^= 1;
            fs::write(&path, bytes).unwrap();
        }
        let id = succeeds(&host.fetch(&UNSIGNED));
        let expected = if kind.starts_with("changed") { &fresh } else { &site_bytes() };
        let beside = host.directory.path().join("expected.aci");
        fs::write(&beside, expected).unwrap();
        assert_eq!(id, succeeds(&host.fetch(&[beside.to_str().unwrap()])), "{kind}");
        host.is_tidy();
    }
}

fn site_bytes() -> Vec<u8> {
    image("localhost/app", &[("version", "1")], 2 << 20)
}

#[test]
fn what_is_kept_is_no_link_that_somebody_put_there() {
    let aci = site_bytes();
    let server = slowly(&aci, &Arc::new(AtomicBool::new(true)));
    let host = Host::beside(&server);
    host.kill_at(&UNSIGNED, 1 << 20);
    let (path, other) = (host.partial().unwrap(), host.directory.path().join("other"));
    fs::write(&other, "precious").unwrap();
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&other, &path).unwrap();
    assert_eq!(host.fetch(&UNSIGNED).status.code(), Some(1));
    assert_eq!(fs::read_to_string(&other).unwrap(), "precious");
}

/// A site that gives half of its image, and the rest when `open` says so.
fn gated(bytes: &[u8], open: &Arc<AtomicBool>) -> Server {
    let (inner, open) = (site(files(&[(ACI, bytes)])), open.clone());
    Server::https(move |request| match inner(request) {
        reply if request.path == ACI => reply.manner(Manner::Gated(open.clone())),
        reply => reply,
    })
}

/// Two fetches of the same, the second of which has said that it waits for the first.
fn one_behind_the_other(host: &Host, bytes: u64) -> (Child, Child) {
    let first = host.begin(&UNSIGNED);
    while host.come() < bytes {
        thread::sleep(Duration::from_millis(1));
    }
    let mut second = host.begin(&UNSIGNED);
    crate::support::wait_for_line(&mut second, "waiting for another process");
    (first, second)
}

#[test]
fn two_that_want_the_same_share_one_download() {
    let (aci, open) = (site_bytes(), Arc::new(AtomicBool::new(false)));
    let server = gated(&aci, &open);
    let host = Host::beside(&server);
    let (first, second) = one_behind_the_other(&host, 1);
    open.store(true, Ordering::SeqCst);
    let [first, second] = [first, second].map(|fetch| fetch.wait_with_output().unwrap());
    assert_eq!(succeeds(&first), succeeds(&second));
    assert_eq!(starts(&server), [0]);
    host.is_tidy();
}

#[test]
fn who_waits_for_one_that_is_killed_goes_on_with_its_download() {
    let (aci, open) = (site_bytes(), Arc::new(AtomicBool::new(false)));
    let server = gated(&aci, &open);
    let host = Host::beside(&server);
    let (mut first, second) = one_behind_the_other(&host, 1 << 19);
    first.kill().unwrap();
    first.wait().unwrap();
    open.store(true, Ordering::SeqCst);
    succeeds(&second.wait_with_output().unwrap());
    let starts = starts(&server);
    assert!(starts.len() == 2 && starts[1] >= (1 << 19) - 1, "{starts:?}");
    host.is_tidy();
}

#[test]
fn what_is_left_of_downloads_is_collected() {
    let aci = site_bytes();
    let server = slowly(&aci, &Arc::new(AtomicBool::new(true)));
    let host = Host::beside(&server);
    host.kill_at(&UNSIGNED, 1 << 20);
    succeeds(&host.run(&["image", "gc"]));
    assert!(host.come() >= 1 << 20);
    let told = succeeds(&host.run(&["image", "gc", "--grace=0s", "--json"]));
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert!(told["bytes"].as_u64().unwrap() >= 1 << 20, "{told}");
    assert_eq!(host.come(), 0);
    host.kill_at(&UNSIGNED, 1 << 20);
    succeeds(&host.run(&["gc", "--cache"]));
    assert_eq!(host.come(), 0);
}
