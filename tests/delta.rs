//! Images that are fetched by the chunks that the store lacks: from good servers, poor ones and hostile ones.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Cursor;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use appc::chunks::Map;
use appc::trust::SecretKey;
use sha2::Digest as _;

use crate::fetch::{ACI, Host, stderr, stdout};
use crate::signify::{SIGNIFY_PUBLIC, SIGNIFY_SECRET};
use crate::support::https::{Manner, Reply, Seen, Server};

const NAME: &str = "localhost/app:1";
const UNSIGNED: [&str; 2] = ["--insecure=signature", NAME];
const MAP: &str = "/files/localhost/app-1.aci.chunks";
const SIG: &str = "/files/localhost/app-1.aci.sig";
const FILES: usize = 40;

fn noise(mut seed: u64, length: usize) -> Vec<u8> {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Images that were built, by what they were built of.
static BUILT: Mutex<BTreeMap<String, Vec<u8>>> = Mutex::new(BTreeMap::new());

/// An image of forty files, as `actool build` makes it; those in `changed` are others than usual.
fn build(name: &str, changed: &[usize], options: &[&str]) -> Vec<u8> {
    let key = format!("{name} {changed:?} {options:?}");
    BUILT.lock().unwrap().entry(key).or_insert_with(|| build_anew(name, changed, options)).clone()
}

fn build_anew(name: &str, changed: &[usize], options: &[&str]) -> Vec<u8> {
    let place = tempfile::tempdir().unwrap();
    let layout = place.path().join("layout");
    fs::create_dir_all(layout.join("rootfs")).unwrap();
    let labels = serde_json::json!([{ "name": "version", "value": "1" }]);
    let manifest = serde_json::json!({ "acKind": "ImageManifest", "acVersion": "0.8.11", "name": name, "labels": labels,
        "app": { "exec": ["/bin/true"], "user": "0", "group": "0" } });
    fs::write(layout.join("manifest"), manifest.to_string()).unwrap();
    for number in 0..FILES {
        let seed = number as u64 + if changed.contains(&number) { 1000 } else { 0 };
        let path = layout.join("rootfs").join(format!("{number:02}"));
        fs::write(&path, noise(seed, 100_000 + 1000 * number + seed as usize)).unwrap();
        let time = fs::File::options().write(true).open(&path).unwrap();
        time.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
    }
    let time = fs::File::open(layout.join("rootfs")).unwrap();
    time.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
    let out = place.path().join("out.aci");
    let built = Command::new(env!("CARGO_BIN_EXE_actool"))
        .args(["build", "--owner-root"])
        .args(options)
        .args([&layout, &out])
        .stdout(Stdio::null())
        .status();
    assert!(built.unwrap().success());
    fs::read(out).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn map(aci: &[u8]) -> Vec<u8> {
    let summary = appc::aci::read(aci, &Default::default(), &mut appc::aci::Nothing).unwrap();
    Map::of(aci, summary.image_id, hex(&sha2::Sha512::digest(aci))).unwrap().write()
}

fn sign(aci: &[u8]) -> Vec<u8> {
    SecretKey::parse(SIGNIFY_SECRET.as_bytes(), None).unwrap().sign(|| Ok(Cursor::new(aci))).unwrap()
}

/// How a server answers what it would otherwise give as it should.
type Twist = dyn Fn(&Seen, Reply) -> Reply + Send + Sync;

/// What a server has, and its ways.
#[derive(Clone, Default)]
struct Shelf {
    files: Arc<Mutex<HashMap<String, Vec<u8>>>>,
    twist: Arc<Mutex<Option<Box<Twist>>>>,
}

impl Shelf {
    fn serve(&self) -> Server {
        let shelf = self.clone();
        Server::https(move |request| {
            if request.path.ends_with("?ac-discovery=1") {
                let html = "<meta name=ac-discovery content='localhost https://HOST/files/{name}-{version}.{ext}'>";
                return Reply::ok(html.replace("HOST", &request.headers["host"]));
            }
            let files = shelf.files.lock().unwrap();
            let Some(bytes) = files.get(&request.path) else { return Reply::status(404) };
            let etag = format!("\"{}\"", hex(&sha2::Sha512::digest(bytes)[..8]));
            let reply = Reply::file(request, bytes, &etag);
            match &*shelf.twist.lock().unwrap() {
                Some(twist) => twist(request, reply),
                None => reply,
            }
        })
    }

    fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.files.lock().unwrap().insert(path.to_owned(), bytes.into());
    }

    fn twisted(&self, twist: impl Fn(&Seen, Reply) -> Reply + Send + Sync + 'static) {
        *self.twist.lock().unwrap() = Some(Box::new(twist));
    }

    /// The image with its map.
    fn publish(&self, aci: &[u8]) {
        self.put(ACI, aci);
        self.put(MAP, map(aci));
        self.put(SIG, sign(aci));
    }
}

/// Parts of the image that were asked for since `from`, in the order in which they were: nothing stands for all of it.
fn parts(server: &Server, from: usize) -> Vec<Option<(u64, u64)>> {
    let part = |seen: &Seen| {
        let range = seen.headers.get("range")?;
        let (from, last) = range["bytes=".len()..].split_once('-').unwrap();
        Some((from.parse().unwrap(), last.parse().map_or(u64::MAX, |last: u64| last + 1)))
    };
    server.seen()[from..].iter().filter(|seen| seen.path == ACI).map(part).collect()
}

#[track_caller]
fn succeeds(host: &Host, arguments: &[&str]) -> (String, String) {
    let output = host.fetch(arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    (stdout(&output).trim().to_owned(), stderr(&output))
}

/// That the store has this image whole, and its archive byte for byte.
#[track_caller]
fn has(host: &Host, id: &str, aci: &[u8]) {
    let summary = appc::aci::read(aci, &Default::default(), &mut appc::aci::Nothing).unwrap();
    assert_eq!(id, summary.image_id.as_str());
    let archive = host.directory.path().join("root/images").join(id).join("archive");
    assert!(fs::read(archive).unwrap() == aci);
    let verified = host.run(&["image", "verify", id]);
    assert!(verified.status.success(), "{}", stderr(&verified));
    assert!(!host.directory.path().join("root/partial").exists());
}

#[test]
fn a_rebuilt_image_is_fetched_by_what_is_new_in_it() {
    for options in [&[][..], &["--no-compression"], &["--level=1"]] {
        let (old, new) = (build("localhost/app", &[], options), build("localhost/app", &[7, 20, 21], options));
        let shelf = Shelf::default();
        let server = shelf.serve();
        let host = Host::beside(&server);
        let key = host.directory.path().join("key.pub");
        fs::write(&key, SIGNIFY_PUBLIC).unwrap();
        assert!(host.run(&["trust", "add", "--prefix=localhost", key.to_str().unwrap()]).status.success());
        shelf.publish(&old);
        let (first, told) = succeeds(&host, &[NAME]);
        has(&host, &first, &old);
        // Nobody asks for a map who has nothing.
        assert!(told.is_empty() && !server.paths().contains(&MAP.to_owned()), "{told}");
        let before = server.seen().len();
        shelf.publish(&new);
        let (second, told) = succeeds(&host, &[NAME]);
        has(&host, &second, &new);
        assert!(told.contains(" fetched, the rest was here"), "{told}");
        let parts: Vec<_> = parts(&server, before).into_iter().map(Option::unwrap).collect();
        assert_eq!(parts[0], (0, 1));
        let moved: u64 = parts.iter().map(|(from, end)| end - from).sum();
        assert!(moved < new.len() as u64 / 4, "{moved} of {}", new.len());
        let mut sorted = parts[1..].to_vec();
        sorted.sort();
        assert!(
            sorted.windows(2).all(|pair| pair[0].1 < pair[1].0),
            "chunks side by side are asked for at once: {sorted:?}"
        );
        // It is known by its tag from now on, and back to what was before leads the same way.
        let before = server.seen().len();
        assert_eq!(succeeds(&host, &[NAME]).0, second);
        assert_eq!(self::parts(&server, before), [Some((0, 1))]);
        shelf.publish(&old);
        let (third, told) = succeeds(&host, &[NAME]);
        has(&host, &third, &old);
        assert!(third == first && told.contains("the rest was here"), "{told}");
    }
}

#[test]
fn what_is_at_a_url_is_fetched_by_chunks_too() {
    let (old, new) = (build("localhost/app", &[], &[]), build("localhost/app", &[3], &[]));
    let shelf = Shelf::default();
    let server = shelf.serve();
    let host = Host::beside(&server);
    shelf.publish(&old);
    succeeds(&host, &UNSIGNED);
    shelf.put("/other.aci", new.clone());
    shelf.put("/other.aci.chunks", map(&new));
    let (id, told) = succeeds(&host, &["--insecure=signature", &server.url("/other.aci")]);
    assert!(told.contains("the rest was here"), "{told}");
    has(&host, &id, &new);
}

#[test]
fn by_what_is_asked_for_a_server_learns_nothing_of_others_images() {
    let (old, new) = (build("bank.example/private", &[], &[]), build("localhost/app", &[3], &[]));
    let shelf = Shelf::default();
    let server = shelf.serve();
    let host = Host::beside(&server);
    let file = host.directory.path().join("private.aci");
    fs::write(&file, &old).unwrap();
    succeeds(&host, &[file.to_str().unwrap()]);
    shelf.publish(&new);
    let (id, told) = succeeds(&host, &UNSIGNED);
    has(&host, &id, &new);
    assert!(told.lines().all(|line| line.contains("insecure")), "{told}");
    assert!(!server.paths().contains(&MAP.to_owned()));
}

/// A host that has the old image, and a server that has the new one.
fn rebuilt() -> (Shelf, Server, Host, Vec<u8>, Vec<u8>) {
    let (old, new) = (build("localhost/app", &[], &[]), build("localhost/app", &[1, 7, 13, 20, 21, 30], &[]));
    let shelf = Shelf::default();
    let server = shelf.serve();
    let host = Host::beside(&server);
    shelf.publish(&old);
    succeeds(&host, &UNSIGNED);
    shelf.publish(&new);
    (shelf, server, host, old, new)
}

#[test]
fn a_server_without_maps_or_parts_gives_all_as_before() {
    let (shelf, server, host, _, new) = rebuilt();
    shelf.files.lock().unwrap().remove(MAP);
    let before = server.seen().len();
    let (id, told) = succeeds(&host, &UNSIGNED);
    has(&host, &id, &new);
    assert!(told.lines().all(|line| line.contains("insecure")), "{told}");
    assert_eq!(parts(&server, before), [Some((0, 1)), None]);

    let (shelf, server, host, _, new) = rebuilt();
    let whole = new.clone();
    shelf.twisted(move |request, reply| if request.path == ACI { Reply::ok(&whole[..]) } else { reply });
    let before = server.seen().len();
    let (id, _) = succeeds(&host, &UNSIGNED);
    has(&host, &id, &new);
    // What came as the answer to a first question was all of it.
    assert_eq!(parts(&server, before).len(), 1);
    // The same by a client that did not know the URL before, and learns it from the first part.
    fs::remove_dir_all(host.directory.path().join("root/http-insecure")).ok();
    fs::remove_dir_all(host.directory.path().join("root/http")).unwrap();
    host.run(&["image", "rm", &id]);
    let (id, told) = succeeds(&host, &UNSIGNED);
    has(&host, &id, &new);
    assert!(told.contains("is fetched whole: the server gives no parts"), "{told}");
}

#[test]
fn a_map_that_lies_costs_a_transfer_and_nothing_else() {
    let old = build("localhost/app", &[], &[]);
    let new = build("localhost/app", &[1, 7, 13, 20, 21, 30], &[]);
    let other = build("localhost/app", &[2], &[]);
    let good = map(&new);
    let head = good.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let digest_of = |at: usize, with: &[u8]| {
        let mut bad = good.clone();
        bad[head + 68 * at + 4..][..64].copy_from_slice(with);
        bad
    };
    let count = (good.len() - head) / 68;
    // A chunk that is here in place of one that is not.
    let known = map(&old);
    let chunk_of_old = &known[known.iter().position(|byte| *byte == b'\n').unwrap() + 1..][..68];
    let changed_first = {
        let line = String::from_utf8(good[..head].to_vec()).unwrap();
        let own = u32::from_be_bytes(good[head..head + 4].try_into().unwrap());
        let its = u32::from_be_bytes(chunk_of_old[..4].try_into().unwrap());
        let sum = new.len() as i64 - i64::from(own) + i64::from(its);
        let line = line.replace(&format!("\"bytes\":{}", new.len()), &format!("\"bytes\":{sum}"));
        [line.as_bytes(), chunk_of_old, &good[head + 68..]].concat()
    };
    for (case, bad) in [
        ("nothing", Vec::new()),
        ("a page", b"<html>not found</html>\n".to_vec()),
        ("cut off", good[..good.len() - 1].to_vec()),
        ("a chunk too few", good[..good.len() - 68].to_vec()),
        ("of what was there before", known.clone()),
        ("of another that nobody has", map(&other)),
        ("a digest of nothing", digest_of(count / 2, &[0; 64])),
        ("the last digest", digest_of(count - 1, &[0; 64])),
        ("a chunk that is here", changed_first),
        (
            "all digests",
            [&good[..head], &good[head..].chunks(68).flat_map(|c| [&c[..4], &[7; 64]].concat()).collect::<Vec<_>>()]
                .concat(),
        ),
        ("lengths that come to more", [&good[..], &good[head..]].concat()),
        ("a huge one", vec![b'{'; (16 << 20) + 1]),
    ] {
        let shelf = Shelf::default();
        let server = shelf.serve();
        let host = Host::beside(&server);
        shelf.publish(&old);
        succeeds(&host, &UNSIGNED);
        shelf.publish(&new);
        shelf.put(MAP, bad);
        let (id, told) = succeeds(&host, &UNSIGNED);
        has(&host, &id, &new);
        assert!(!told.contains("the rest was here") || case == "a chunk that is here", "{case}: {told}");
    }
}

#[test]
fn a_server_that_turns_bad_on_the_way_costs_a_transfer_and_nothing_else() {
    let garbage = |reply: Reply| {
        let body = vec![7; reply.body.len()];
        Reply { body, ..reply }
    };
    let is_part =
        |request: &Seen| request.path == ACI && request.headers.get("range").is_some_and(|r| r != "bytes=0-0");
    let count = || Arc::new(Mutex::new(0));
    let third = |count: &Arc<Mutex<usize>>| {
        *count.lock().unwrap() += 1;
        *count.lock().unwrap() > 2
    };
    let cases: Vec<(&str, Box<Twist>)> = vec![
        ("garbage", Box::new(move |r, reply| if is_part(r) { garbage(reply) } else { reply })),
        ("garbage later", {
            let count = count();
            Box::new(move |r, reply| if is_part(r) && third(&count) { garbage(reply) } else { reply })
        }),
        ("none later", {
            let count = count();
            Box::new(move |r, reply| if is_part(r) && third(&count) { Reply::status(404) } else { reply })
        }),
        ("416", Box::new(move |r, reply| if is_part(r) { Reply::status(416) } else { reply })),
        ("another part", {
            let count = count();
            Box::new(move |r, mut reply| {
                if is_part(r) && third(&count) {
                    reply.headers.retain(|(name, _)| name != "Content-Range");
                    return reply.header("Content-Range", "bytes 5-9/100");
                }
                reply
            })
        }),
        ("another file", {
            let count = count();
            Box::new(move |r, mut reply| {
                if is_part(r) && third(&count) {
                    reply.headers.retain(|(name, _)| name != "ETag");
                    return reply.header("ETag", "\"other\"");
                }
                reply
            })
        }),
        ("more than was asked for", {
            Box::new(move |r, mut reply| {
                if is_part(r) {
                    reply.body.extend([0; 1000]);
                }
                reply
            })
        }),
        ("no range in the answer", {
            Box::new(move |r, mut reply| {
                if is_part(r) {
                    reply.headers.clear();
                }
                reply
            })
        }),
    ];
    for (case, twist) in cases {
        let (shelf, server, host, _, new) = rebuilt();
        shelf.twisted(twist);
        let before = server.seen().len();
        let (id, told) = succeeds(&host, &UNSIGNED);
        has(&host, &id, &new);
        assert!(!told.contains("the rest was here"), "{case}: {told}");
        assert!(parts(&server, before).contains(&None), "{case}");
        assert!(
            told.contains("is fetched whole: ") || ["416", "no range in the answer"].contains(&case),
            "{case}: {told}"
        );
    }
}

#[test]
fn connections_that_break_are_made_again() {
    let (shelf, server, host, _, new) = rebuilt();
    let count = Mutex::new(0);
    shelf.twisted(move |request, reply| {
        let mut count = count.lock().unwrap();
        *count += usize::from(request.path == ACI);
        match request.path == ACI && count.is_multiple_of(3) {
            true => {
                let half = reply.body.len() / 2;
                reply.manner(Manner::Cut(half))
            }
            false => reply,
        }
    });
    let (id, told) = succeeds(&host, &UNSIGNED);
    has(&host, &id, &new);
    assert!(told.contains("the rest was here"), "{told}");
    assert!(!parts(&server, 0)[1..].contains(&None));
}

#[test]
fn an_archive_of_the_store_that_is_damaged_gives_what_is_sound_of_it() {
    let (_shelf, server, host, old, new) = rebuilt();
    let images = fs::read_dir(host.directory.path().join("root/images")).unwrap();
    let archive = images.flatten().next().unwrap().path().join("archive");
    let mut bytes = old;
    bytes[1_000_000] ^= 1;
    bytes.truncate(3_000_000);
    fs::write(archive, bytes).unwrap();
    let before = server.seen().len();
    let (id, told) = succeeds(&host, &UNSIGNED);
    has(&host, &id, &new);
    assert!(told.contains("the rest was here") && !parts(&server, before).contains(&None), "{told}");
}

#[test]
fn one_that_is_killed_goes_on_by_chunks_where_it_was() {
    let (shelf, server, host, _, new) = rebuilt();
    shelf.twisted(|request, reply| match request.path == ACI {
        true => reply.manner(Manner::Paced(Duration::from_millis(60))),
        false => reply,
    });
    let come = || {
        let entries = fs::read_dir(host.directory.path().join("root/partial")).ok();
        let archive = entries.into_iter().flatten().flatten().map(|entry| entry.path().join("archive")).next();
        archive.and_then(|path| fs::metadata(path).ok()).map_or(0, |about| about.len())
    };
    let port = format!("--port={}", host.port);
    for target in [1_000_000, 3_000_000] {
        let mut command = host.command(&[&["fetch", &port][..], &UNSIGNED].concat());
        let mut fetch = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while come() < target {
            assert!(begun.elapsed() < Duration::from_secs(60) && fetch.try_wait().unwrap().is_none());
            thread::sleep(Duration::from_millis(1));
        }
        fetch.kill().unwrap();
        fetch.wait().unwrap();
    }
    *shelf.twist.lock().unwrap() = None;
    let (before, held) = (server.seen().len(), come());
    let (id, told) = succeeds(&host, &[&["-v"][..], &UNSIGNED].concat());
    has(&host, &id, &new);
    assert!(told.contains("are there from before") && told.contains("the rest was here"), "{told}");
    let parts: Vec<_> = parts(&server, before).into_iter().map(Option::unwrap).collect();
    assert!(parts[1..].iter().all(|(from, _)| *from + (1 << 20) > held), "{held} {parts:?}");
}

#[test]
fn two_at_once_share_what_is_transferred() {
    let (shelf, server, host, _, new) = rebuilt();
    shelf.twisted(|request, reply| match request.path == ACI {
        true => reply.manner(Manner::Paced(Duration::from_millis(60))),
        false => reply,
    });
    let before = server.seen().len();
    let port = format!("--port={}", host.port);
    let begin = || {
        let mut command = host.command(&[&["fetch", &port][..], &UNSIGNED].concat());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let both = [begin(), begin()].map(|fetch| fetch.wait_with_output().unwrap());
    for output in &both {
        assert!(output.status.success(), "{}", stderr(output));
        has(&host, stdout(output).trim(), &new);
    }
    let mut parts = parts(&server, before);
    parts.retain(|part| *part != Some((0, 1)));
    let all = parts.len();
    parts.sort();
    parts.dedup();
    assert_eq!(parts.len(), all);
}
