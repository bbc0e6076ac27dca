//! `jetpack fetch NAME|URL|FILE` and `jetpack trust` against a real server, with keys made by gpg.

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use crate::support::gpg::Gpg;
use crate::support::https::{Manner, Reply, Seen, Server};
use crate::support::image::{image, with_dependencies};

/// A store and a configuration of its own.
pub struct Host {
    pub directory: tempfile::TempDir,
    bundle: PathBuf,
    pub port: u16,
}

impl Host {
    pub fn beside(server: &Server) -> Self {
        Self { directory: tempfile::tempdir().unwrap(), bundle: server.bundle(), port: server.port }
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jetpack"));
        let root = self.directory.path().join("root");
        command.arg("--root").arg(root).args(arguments).env("SSL_CERT_FILE", &self.bundle);
        command.env("XDG_CONFIG_HOME", self.directory.path().join("config")).env("HOME", self.directory.path());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    pub fn fetch(&self, arguments: &[&str]) -> Output {
        let port = format!("--port={}", self.port);
        self.run(&[&["fetch", &port], arguments].concat())
    }

    /// IDs in the store.
    pub fn images(&self) -> usize {
        let images = self.directory.path().join("root/images");
        std::fs::read_dir(images).map_or(0, |entries| entries.count())
    }

    /// What stands below the root, but for what is there as soon as a store is.
    pub fn listing(&self) -> Vec<PathBuf> {
        let root = self.directory.path().join("root");
        let mut found: Vec<PathBuf> = Vec::new();
        let mut left = vec![root.clone()];
        while let Some(directory) = left.pop() {
            for entry in std::fs::read_dir(directory).into_iter().flatten() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    left.push(entry.path());
                }
                found.push(entry.path().strip_prefix(&root).unwrap().to_owned());
            }
        }
        found.retain(|path| {
            !["images", "incoming", "trees", "lock", "version"].iter().any(|name| path.as_os_str() == *name)
        });
        found.sort();
        found
    }

    pub fn trust(&self, gpg: &Gpg, user: &str, scope: &[&str]) {
        let file = self.directory.path().join("key");
        std::fs::write(&file, gpg.public(user)).unwrap();
        let output = self.run(&[&["trust", "add"], scope, &[file.to_str().unwrap()]].concat());
        assert!(output.status.success(), "{}", stderr(&output));
    }

    /// That a fetch fails for this reason and leaves nothing.
    #[track_caller]
    pub fn refuses(&self, arguments: &[&str], why: &str) {
        let before = self.listing();
        let output = self.fetch(arguments);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(stderr(&output).contains(why), "{}", stderr(&output));
        assert_eq!((stdout(&output).as_str(), self.images()), ("", 0));
        assert_eq!(self.listing(), before);
    }
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A site with files by path; its root page sends to `/files/NAME-VERSION.EXT`.
pub fn site(files: HashMap<String, Vec<u8>>) -> impl Fn(&Seen) -> Reply + Send + Sync + 'static {
    move |request| {
        if request.path == "/?ac-discovery=1" {
            return page(
                request,
                "<meta name=ac-discovery content='localhost https://HOST/files/{name}-{version}.{ext}'>",
            );
        }
        match files.get(&request.path) {
            Some(bytes) => Reply::file(request, bytes, "\"1\""),
            None => Reply::status(404),
        }
    }
}

fn page(request: &Seen, html: &str) -> Reply {
    let keys = "<meta name=ac-discovery-pubkeys content='localhost https://HOST/keys'>";
    let html = format!("{html}{keys}").replace("HOST", &request.headers["host"]);
    Reply::file(request, html.as_bytes(), "\"page\"")
}

pub fn files(entries: &[(&str, &[u8])]) -> HashMap<String, Vec<u8>> {
    entries.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec())).collect()
}

pub const USER: &str = "signer@example.com";
pub const ACI: &str = "/files/localhost/app-1.aci";
pub const ASC: &str = "/files/localhost/app-1.aci.asc";

pub fn signed() -> Option<(Gpg, String, Vec<u8>, Vec<u8>)> {
    let gpg = Gpg::new()?;
    let fingerprint = gpg.key(USER, "ed25519", "never");
    let aci = image("localhost/app", &[("version", "1")], 1 << 20);
    let signature = gpg.sign(USER, &aci, &["--armor"]);
    Some((gpg, fingerprint, aci, signature))
}

#[test]
fn a_signed_image_is_fetched_once_and_then_known_to_be_unchanged() {
    let Some((gpg, fingerprint, aci, signature)) = signed() else { return };
    let server = Server::https(site(files(&[(ACI, &aci), (ASC, &signature)])));
    let host = Host::beside(&server);
    host.trust(&gpg, USER, &["--prefix", "localhost"]);
    let first = host.fetch(&["localhost/app:1"]);
    assert!(first.status.success(), "{}", stderr(&first));
    let id = stdout(&first);
    let kept = || std::fs::read_dir(host.directory.path().join("root/http")).map_or(0, |entries| entries.count());
    assert!(kept() > 0);
    let forgotten = host.run(&["gc", "--cache"]);
    assert!(stdout(&forgotten).starts_with("freed "), "{}", stderr(&forgotten));
    assert_eq!(kept(), 0);
    assert!(host.fetch(&["localhost/app:1"]).status.success());
    assert!(id.starts_with("sha512-") && id.lines().count() == 1, "{id}");
    let origin = host.directory.path().join("root/images").join(id.trim()).join("origin");
    assert!(std::fs::read_to_string(origin).unwrap().contains(&fingerprint));
    let before = server.paths().len();
    let second = host.fetch(&["-v", "localhost/app:1"]);
    assert_eq!(stdout(&second), id);
    assert!(stderr(&second).contains("unchanged"), "{}", stderr(&second));
    let again = &server.seen()[before..];
    assert!(again.iter().all(|seen| seen.path != ASC));
    assert!(again.iter().filter(|seen| seen.path == ACI).all(|seen| seen.headers.contains_key("if-none-match")));
    // Who is trusted no more has no say over what is here already either.
    assert!(host.run(&["trust", "remove", &fingerprint]).status.success());
    let third = host.fetch(&["localhost/app:1"]);
    assert!(!third.status.success() && stderr(&third).contains(&fingerprint), "{}", stderr(&third));
}

#[test]
fn an_image_without_a_signature_that_counts_is_refused() {
    let Some((gpg, fingerprint, aci, signature)) = signed() else { return };
    gpg.key("other@example.com", "ed25519", "never");
    let wrong = gpg.sign(USER, b"other bytes", &["--armor"]);
    gpg.run(&[
        "--faked-system-time",
        "20200101T000000",
        "--quick-gen-key",
        "old@example.com",
        "ed25519",
        "sign",
        "never",
    ]);
    let old = ["--faked-system-time", "20200102T000000", "--default-sig-expire", "1d", "--armor"];
    let expired = gpg.sign("old@example.com", &aci, &old);
    for (name, signature, why) in [
        ("missing", None, "404"),
        ("wrong", Some(&wrong), "not over these bytes"),
        ("expired", Some(&expired), "expired on 2020-01-03"),
        ("no signature", Some(&b"<html>".to_vec()), "read the signature"),
    ] {
        let mut all = files(&[(ACI, &aci)]);
        all.extend(signature.map(|signature| (ASC.to_owned(), signature.clone())));
        let server = Server::https(site(all));
        let host = Host::beside(&server);
        host.trust(&gpg, USER, &["--prefix", "localhost"]);
        host.trust(&gpg, "old@example.com", &["--prefix", "localhost"]);
        println!("{name}");
        host.refuses(&["localhost/app:1"], why);
        let taken = host.fetch(&["--insecure=signature", "localhost/app:1"]);
        assert!(taken.status.success() && stderr(&taken).contains("WARNING"), "{name}: {}", stderr(&taken));
    }
    let server = Server::https(site(files(&[(ACI, &aci), (ASC, &signature)])));
    let host = Host::beside(&server);
    host.refuses(&["localhost/app:1"], &fingerprint);
    assert!(!server.paths().contains(&ACI.to_owned()), "an image was transferred that no key vouches for");
    host.trust(&gpg, USER, &["--prefix", "localhost/ap"]);
    host.refuses(&["localhost/app:1"], "is trusted for localhost/ap only");
    host.trust(&gpg, "other@example.com", &["--all-names"]);
    host.refuses(&["localhost/app:1"], &fingerprint);
    host.trust(&gpg, USER, &["--prefix", "localhost/app"]);
    assert!(host.fetch(&["localhost/app:1"]).status.success());
}

#[test]
fn another_image_than_the_one_asked_for_is_refused() {
    let other_system = if cfg!(target_os = "freebsd") { "linux" } else { "freebsd" };
    for (name, labels, why) in [
        ("localhost/other", &[("version", "1")][..], "[disc.match]: it is called localhost/other"),
        ("localhost/app", &[("version", "2")], "[disc.match.rule]: its label `version` is `2`"),
        ("localhost/app", &[], "[disc.match.rule]: it has no label `version`"),
        (
            "localhost/app",
            &[("version", "1"), ("os", other_system), ("arch", "amd64")],
            "[disc.match.rule]: its label `os`",
        ),
    ] {
        let aci = image(name, labels, 100);
        let server = Server::https(site(files(&[(ACI, &aci)])));
        Host::beside(&server).refuses(&["--insecure=signature", "localhost/app:1"], why);
    }
}

#[test]
fn broken_transfers_go_on_where_they_broke() {
    let aci = image("localhost/app", &[("version", "1")], 4 << 20);
    let (bytes, length) = (aci.clone(), aci.len());
    let inner = site(files(&[(ACI, &aci)]));
    let times = AtomicUsize::new(0);
    let server = Server::https(move |request| match request.path == ACI {
        true => match times.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::file(request, &bytes, "\"1\"").manner(Manner::Cut(length / 3)),
            1 => Reply::file(request, &bytes, "\"1\"").manner(Manner::Cut(length / 3)),
            _ => Reply::file(request, &bytes, "\"1\""),
        },
        false => inner(request),
    });
    let host = Host::beside(&server);
    let output = host.fetch(&["--insecure=signature", "localhost/app:1"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let ranges: Vec<_> = server
        .seen()
        .into_iter()
        .filter(|seen| seen.path == ACI)
        .map(|seen| seen.headers.get("range").cloned())
        .collect();
    let third = length / 3;
    assert_eq!(ranges, [None, Some(format!("bytes={third}-")), Some(format!("bytes={}-", 2 * third))]);
}

#[test]
fn a_transfer_may_break_as_often_as_it_gets_on_between() {
    let aci = image("localhost/app", &[("version", "1")], 1 << 20);
    let (bytes, inner) = (aci.clone(), site(files(&[(ACI, &aci)])));
    let server = Server::https(move |request| match request.path == ACI {
        true => Reply::file(request, &bytes, "\"1\"").manner(Manner::Cut(bytes.len() / 10)),
        false => inner(request),
    });
    let host = Host::beside(&server);
    let output = host.fetch(&["--insecure=signature", "localhost/app:1"]);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn a_broken_transfer_from_a_server_without_ranges_begins_again() {
    let aci = image("localhost/app", &[("version", "1")], 1 << 20);
    for refusal in [200, 416] {
        let (bytes, all) = (aci.clone(), site(files(&[(ACI, &aci)])));
        let times = AtomicUsize::new(0);
        let server = Server::https(move |request| match request.path == ACI {
            true => match times.fetch_add(1, Ordering::SeqCst) {
                0 => Reply::ok(bytes.clone()).manner(Manner::Cut(bytes.len() / 3)),
                _ if refusal == 416 && request.headers.contains_key("range") => Reply::status(416),
                _ => Reply::ok(bytes.clone()),
            },
            false => all(request),
        });
        let output = Host::beside(&server).fetch(&["--insecure=signature", "localhost/app:1"]);
        assert!(output.status.success(), "{refusal}: {}", stderr(&output));
    }
}

#[test]
fn a_transfer_that_cannot_go_on_leaves_nothing() {
    let aci = image("localhost/app", &[("version", "1")], 1 << 20);
    for (name, why) in [
        ("changed", "changed in between"),
        ("another length", "changed in between"),
        ("always", "without success"),
        ("a part nobody asked for", "gave a part"),
    ] {
        let (bytes, all) = (aci.clone(), site(files(&[(ACI, &aci)])));
        let times = AtomicUsize::new(0);
        let server = Server::https(move |request| {
            if request.path != ACI {
                return all(request);
            }
            let cut = Manner::Cut(1000);
            match (times.fetch_add(1, Ordering::SeqCst), name) {
                (_, "a part nobody asked for") => Reply { status: 206, ..Reply::ok(&bytes[..1000]) }
                    .header("Content-Range", format!("bytes 0-999/{}", bytes.len())),
                (0, _) | (_, "always") => Reply::file(request, &bytes, "\"1\"").manner(cut),
                (_, "another length") => Reply::ok(&bytes[1..]).header("ETag", "\"1\""),
                _ => Reply { status: 206, ..Reply::ok(&bytes[1000..]) }
                    .header("Content-Range", format!("bytes 1000-{}/{}", bytes.len() - 1, bytes.len()))
                    .header("ETag", "\"2\""),
            }
        });
        println!("{name}");
        Host::beside(&server).refuses(&["--insecure=signature", "localhost/app:1"], why);
    }
}

#[test]
fn truncated_and_damaged_images_leave_nothing() {
    let aci = image("localhost/app", &[("version", "1")], 1 << 16);
    let mut damaged = aci.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    for bytes in [&aci[..aci.len() / 2], &damaged, b"<html>", b""] {
        let server = Server::https(site(files(&[(ACI, bytes)])));
        Host::beside(&server).refuses(&["--insecure=signature", "localhost/app:1"], "localhost/app");
    }
}

#[test]
fn endpoints_are_tried_in_their_order() {
    let aci = image("localhost/app", &[("version", "1")], 100);
    let all = site(files(&[("/b/localhost/app.aci", &aci)]));
    let server = Server::https(move |request| match request.path.as_str() {
        "/?ac-discovery=1" => page(
            request,
            "<meta name=ac-discovery content='localhost hdfs://HOST/{name}.{ext}'>\
             <meta name=ac-discovery content='localhost https://HOST/a/{name}.{ext}'>\
             <meta name=ac-discovery content='localhost https://HOST/b/{name}.{ext}'>\
             <meta name=ac-discovery content='localhost https://HOST/c/{name}.{ext}'>",
        ),
        _ => all(request),
    });
    let host = Host::beside(&server);
    let output = host.fetch(&["--insecure=signature", "localhost/app:1"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(server.paths()[server.paths().len() - 2..], ["/a/localhost/app.aci", "/b/localhost/app.aci"]);
}

#[test]
fn dependencies_are_fetched_at_the_same_time() {
    const NAMES: [&str; 4] = ["localhost/base-1", "localhost/base-2", "localhost/base-3", "localhost/base-4"];
    let path = |name: &str| format!("/files/{name}-latest.aci");
    let mut entries: HashMap<String, Vec<u8>> = NAMES.iter().map(|name| (path(name), image(name, &[], 1000))).collect();
    entries.insert(path("localhost/app"), with_dependencies("localhost/app", &[], &NAMES, 1000));
    let all = site(entries);
    let (asked, changed) = (Mutex::new(0), Condvar::new());
    let server = Server::https(move |request| {
        if request.path.starts_with("/files/localhost/base-") {
            // Nobody is answered before all have asked; one after the other they would wait for ever.
            *asked.lock().unwrap() += 1;
            changed.notify_all();
            let patience = Duration::from_secs(60);
            let waited = changed.wait_timeout_while(asked.lock().unwrap(), patience, |asked| *asked < NAMES.len());
            if waited.unwrap().1.timed_out() {
                return Reply::status(404);
            }
        }
        all(request)
    });
    let host = Host::beside(&server);
    let output = host.fetch(&["--insecure=signature", "localhost/app"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(host.images(), 1 + NAMES.len());
}

#[test]
fn an_endpoint_without_signature_leads_to_the_next() {
    let Some((gpg, _, aci, signature)) = signed() else { return };
    let all = site(files(&[
        ("/a/localhost/app.aci", &aci),
        ("/b/localhost/app.aci", &aci),
        ("/b/localhost/app.aci.asc", &signature),
    ]));
    let server = Server::https(move |request| match request.path.as_str() {
        "/?ac-discovery=1" => page(
            request,
            "<meta name=ac-discovery content='localhost https://HOST/a/{name}.{ext}'>\
             <meta name=ac-discovery content='localhost https://HOST/b/{name}.{ext}'>",
        ),
        _ => all(request),
    });
    let host = Host::beside(&server);
    host.trust(&gpg, USER, &["--prefix", "localhost"]);
    let output = host.fetch(&["localhost/app:1"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("/a/localhost/app.aci gives nothing"), "{}", stderr(&output));
}

#[test]
fn what_was_found_is_not_asked_again_while_the_server_says_that_it_stays() {
    let aci = image("localhost/app", &[("version", "1")], 100);
    let all = site(files(&[(ACI, &aci)]));
    let server = Server::https(move |request| all(request).header("Cache-Control", "max-age=600"));
    let host = Host::beside(&server);
    let first = host.fetch(&["--insecure=signature", "localhost/app:1"]);
    let asked = server.paths().len();
    let second = host.fetch(&["--insecure=signature", "localhost/app:1"]);
    assert!(second.status.success() && stdout(&second) == stdout(&first), "{}", stderr(&second));
    // Only where nothing was found, something may be by now.
    assert_eq!(server.paths()[asked..], ["/app?ac-discovery=1"]);
    // What was said while anybody could say it counts for nothing when it matters.
    host.fetch(&["--insecure=tls,signature", "localhost/app:1"]);
    assert!(server.paths().len() > asked);
}

#[test]
fn an_update_that_cannot_be_had_is_taken_from_the_store_and_one_that_is_wrong_is_not() {
    let aci = image("localhost/app", &[("version", "1")], 100);
    let all = site(files(&[(ACI, &aci)]));
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let server = Server::https(move |request| match request.path.as_str() {
        // There once, then gone, then something else.
        ACI => match calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => all(request),
            1 => Reply::status(404),
            _ => Reply::file(request, b"no image", "\"2\""),
        },
        _ => all(request),
    });
    let host = Host::beside(&server);
    let fetch = |more: &[&str]| host.fetch(&[&["--insecure=signature"], more, &["localhost/app:1"]].concat());
    let first = fetch(&[]);
    let update = fetch(&["--pull=update"]);
    assert!(update.status.success() && stdout(&update) == stdout(&first), "{}", stderr(&update));
    assert!(stderr(&update).contains("cannot be had, the one in the store is taken"), "{}", stderr(&update));
    assert_eq!(fetch(&["--pull=update"]).status.code(), Some(1));
    drop(server);
    assert!(fetch(&["--pull=update"]).status.success());
    // Whoever only says `fetch` wants it from there.
    assert_eq!(fetch(&[]).status.code(), Some(1));
    assert_eq!(host.fetch(&["--insecure=signature", "--pull=update", "localhost/other:1"]).status.code(), Some(1));
}

#[test]
fn private_images_are_got_with_credentials() {
    let Some((gpg, _, aci, signature)) = signed() else { return };
    let all = site(files(&[(ACI, &aci), (ASC, &signature)]));
    let server = Server::https(move |request| match request.headers.get("authorization").map(String::as_str) {
        Some("Bearer t0ken") => all(request),
        _ => Reply::status(401),
    });
    let host = Host::beside(&server);
    host.trust(&gpg, USER, &["--prefix", "localhost"]);
    host.refuses(&["localhost/app:1"], "401");
    let directory = host.directory.path().join("config/jetpack/auth.d");
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join("localhost.toml");
    std::fs::write(&file, "[[credential]]\nhost = 'localhost'\ntoken = 't0ken'\n").unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let output = host.fetch(&["-v", "localhost/app:1"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(!stderr(&output).contains("t0ken"));
}

#[test]
fn a_page_cannot_name_a_file_of_this_host() {
    let server =
        Server::https(|request| page(request, "<meta name=ac-discovery content='localhost file:///etc/passwd?{ext}'>"));
    Host::beside(&server).refuses(&["--insecure=signature", "localhost/app:1"], "`file`");
}

#[test]
fn a_url_needs_a_key_that_is_trusted_for_the_name_in_it() {
    let Some((gpg, _, aci, signature)) = signed() else { return };
    let server = Server::https(site(files(&[("/x.aci", &aci), ("/x.aci.asc", &signature)])));
    let host = Host::beside(&server);
    let url = server.url("/x.aci");
    host.trust(&gpg, USER, &["--prefix", "localhost/elsewhere"]);
    host.refuses(&[&url], "not trusted for localhost/app");
    host.trust(&gpg, USER, &["--prefix", "localhost/app"]);
    let output = host.fetch(&[&url]);
    assert!(output.status.success(), "{}", stderr(&output));
    host.run(&["fetch", &server.url("/gone.aci")]);
    let gone = host.fetch(&[&server.url("/gone.aci")]);
    assert!(stderr(&gone).contains("404"), "{}", stderr(&gone));
}

#[test]
fn a_signature_that_is_made_meanwhile_is_waited_for_and_not_for_ever() {
    let Some((gpg, _, aci, signature)) = signed() else { return };
    let (image, asc) = (aci.clone(), signature.clone());
    let asked = AtomicUsize::new(0);
    // Made when the image was asked for, and not at once.
    let server = Server::https(move |request| match request.path.as_str() {
        "/x.aci" => {
            asked.fetch_add(1, Ordering::SeqCst);
            Reply::ok(image.clone())
        }
        "/x.aci.asc" if asked.load(Ordering::SeqCst) == 0 || asked.fetch_add(1, Ordering::SeqCst) < 3 => {
            Reply::status(202)
        }
        "/x.aci.asc" => Reply::ok(asc.clone()),
        _ => Reply::status(404),
    });
    let host = Host::beside(&server);
    host.trust(&gpg, USER, &["--prefix", "localhost"]);
    let output = host.fetch(&["-v", &server.url("/x.aci")]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("still being made"), "{}", stderr(&output));
    assert_eq!(server.paths().iter().filter(|path| *path == "/x.aci").count(), 1);
    // Of another image it is no signature, however late it comes; and one that never comes is told.
    let other = crate::support::image::image("localhost/app", &[("version", "2")], 100);
    let never = Server::https(move |request| match request.path.as_str() {
        "/y.aci" => Reply::ok(other.clone()),
        "/y.aci.asc" => Reply::status(202),
        _ => Reply::status(404),
    });
    let host = Host::beside(&never);
    host.trust(&gpg, USER, &["--prefix", "localhost"]);
    let config = host.directory.path().join("impatient.toml");
    let trust = format!("trust-directory = {:?}\n", host.directory.path().join("config/jetpack/trust"));
    std::fs::write(&config, format!("idle-timeout = \"1s\"\n{trust}")).unwrap();
    host.refuses(&["--config", config.to_str().unwrap(), &never.url("/y.aci")], "202 Accepted");
}

#[test]
fn files_of_one_command_may_depend_on_each_other_in_any_order() {
    let server = Server::https(|_| Reply::status(404));
    let host = Host::beside(&server);
    let [a, b] = ["a.aci", "b.aci"].map(|name| host.directory.path().join(name));
    std::fs::write(&a, with_dependencies("localhost/a", &[], &["localhost/b"], 10)).unwrap();
    std::fs::write(&b, image("localhost/b", &[], 20)).unwrap();
    let output = host.fetch(&[a.to_str().unwrap(), b.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!((stdout(&output).lines().count(), host.images()), (2, 2));
    // One that fails leaves nothing, and the other.
    let c = host.directory.path().join("c.aci");
    std::fs::write(&c, with_dependencies("localhost/c", &[], &["localhost/gone"], 10)).unwrap();
    let output = host.fetch(&[c.to_str().unwrap(), b.to_str().unwrap()]);
    assert_eq!(
        (output.status.code(), stdout(&output).lines().count(), host.images()),
        (Some(1), 1, 2),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_file_named_on_the_command_line_needs_no_signature() {
    let server = Server::https(|_| Reply::status(404));
    let host = Host::beside(&server);
    let file = host.directory.path().join("app.aci");
    std::fs::write(&file, image("example.com/app", &[], 100)).unwrap();
    let path = file.to_str().unwrap();
    let output = host.fetch(&[path]);
    assert!(output.status.success(), "{}", stderr(&output));
    let by_url = host.fetch(&[&format!("file://{path}")]);
    assert_eq!(stdout(&by_url), stdout(&output), "{}", stderr(&by_url));
    assert_eq!(server.paths(), [""; 0]);
}

#[test]
fn keys_found_by_discovery_need_a_yes_or_their_fingerprint() {
    let Some((gpg, fingerprint, aci, signature)) = signed() else { return };
    let server = Server::https(site(files(&[(ACI, &aci), (ASC, &signature), ("/keys", &gpg.public(USER))])));
    let host = Host::beside(&server);
    let port = format!("--port={}", server.port);
    let refused = host.run(&["trust", "add", &port, "localhost/app"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains(&fingerprint) && stderr(&refused).contains("no yes"), "{}", stderr(&refused));
    assert_eq!(stdout(&host.run(&["trust", "list"])), "");
    let mut asked = host
        .command(&["trust", "add", &port, "localhost/app"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    asked.stdin.take().unwrap().write_all(b"yes\n").unwrap();
    assert!(asked.wait_with_output().unwrap().status.success());
    let listed = stdout(&host.run(&["trust", "list"]));
    assert!(listed.contains(&fingerprint) && listed.contains("localhost/app") && listed.contains(USER), "{listed}");
    assert!(host.fetch(&["localhost/app:1"]).status.success());
    assert!(host.run(&["trust", "remove", "--prefix", "localhost/app", &fingerprint.to_lowercase()]).status.success());
    assert_eq!(stdout(&host.run(&["trust", "list"])), "");
    assert_eq!(host.run(&["trust", "remove", &fingerprint]).status.code(), Some(1));
    let by_print = host.run(&["trust", "add", "--all-names", "--fingerprint", &fingerprint, &server.url("/keys")]);
    assert!(by_print.status.success(), "{}", stderr(&by_print));
    assert!(stdout(&host.run(&["trust", "list", "--json"])).contains("\"prefix\": null"));
    let other = "0".repeat(40);
    let absent = host.run(&["trust", "add", "--all-names", "--fingerprint", &other, &server.url("/keys")]);
    assert!(!absent.status.success() && stderr(&absent).contains(&other));
}

#[test]
fn one_image_that_fails_does_not_keep_the_others_away() {
    let aci = image("localhost/app", &[("version", "1")], 100);
    let server = Server::https(site(files(&[(ACI, &aci)])));
    let host = Host::beside(&server);
    let output = host.fetch(&["--insecure=signature", "localhost/none:1", "localhost/app:1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("localhost/none-1.aci"), "{}", stderr(&output));
    assert_eq!((stdout(&output).lines().count(), host.images()), (1, 1));
}

#[test]
fn keys_that_are_of_no_use_do_not_keep_the_others_from_being_trusted() {
    let Some((gpg, fingerprint, ..)) = signed() else { return };
    let old = "old@example.com";
    gpg.run(&["--faked-system-time", "20200101T000000", "--quick-gen-key", old, "ed25519", "sign", "2d"]);
    let keys = [gpg.public(old), gpg.public(USER)].concat();
    let server = Server::https(move |request| match request.path.as_str() {
        "/?ac-discovery=1" => page(request, "<meta name=ac-discovery-pubkeys content='localhost https://HOST/none'>"),
        "/keys" => Reply::ok(keys.clone()),
        _ => Reply::status(404),
    });
    let host = Host::beside(&server);
    let port = format!("--port={}", server.port);
    let mut asked = host.command(&["trust", "add", &port, "localhost"]);
    let mut asked = asked.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    asked.stdin.take().unwrap().write_all(b"yes\n").unwrap();
    let output = asked.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    for told in ["/none gives nothing", "404", "passed over", "expired on 2020-01-03"] {
        assert!(stderr(&output).contains(told), "{told}: {}", stderr(&output));
    }
    let listed = stdout(&host.run(&["trust", "list"]));
    assert!(listed.contains(&fingerprint) && listed.lines().count() == 1, "{listed}");
}

#[test]
fn a_key_file_needs_to_be_told_what_it_is_for() {
    let Some((gpg, ..)) = signed() else { return };
    let server = Server::https(|_| Reply::status(404));
    let host = Host::beside(&server);
    let file = host.directory.path().join("key");
    std::fs::write(&file, gpg.public(USER)).unwrap();
    assert_eq!(host.run(&["trust", "add", file.to_str().unwrap()]).status.code(), Some(2));
    assert_eq!(host.run(&["trust", "add", "--prefix", "UPPER", file.to_str().unwrap()]).status.code(), Some(2));
    std::fs::write(&file, "no key").unwrap();
    assert_eq!(host.run(&["trust", "add", "--all-names", file.to_str().unwrap()]).status.code(), Some(1));
    for missing in ["/nowhere", "nowhere.asc"] {
        let told = host.run(&["trust", "add", "--all-names", missing]);
        assert!(told.status.code() == Some(1) && stderr(&told).contains("No such file"), "{}", stderr(&told));
    }
    let absent = host.fetch(&[&server.url("/nothing.aci")]);
    assert!(!absent.status.success() && !stderr(&absent).contains("--insecure=signature"), "{}", stderr(&absent));
}
