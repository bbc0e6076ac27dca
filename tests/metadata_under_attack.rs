//! A thousand clients at once, half of them hostile: the other half is answered and memory stays bounded.
#![cfg(target_os = "linux")]

use std::path::Path;
use std::time::Duration;

use appc_needs::{Need, skip};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::service::{Service, facts, jetpack, kilobytes};

/// As many as the service inside a supervisor takes.
const CONNECTIONS: &str = "80";

/// What 80 connections and their forms may cost on top of an idle service.
const MEMORY_KB: u64 = 3072;

/// What a supervisor may have of memory, the pages of its program among it. One that is not optimised has twice as many of those as
/// others, and counts here.
const SUPERVISOR_KB: u64 = 10_000;

#[test]
fn the_other_half_is_answered_and_memory_stays_bounded() {
    let service = Service::start(&["--max-connections", CONNECTIONS]);
    let facts = facts();
    let uuid = facts.uuid.to_string();
    let pod = service.register(facts).unwrap();
    let before = service.kilobytes("RssAnon:");
    let mut peak = before;
    let stormed = storm(pod.url(), &uuid, || peak = peak.max(service.kilobytes("RssAnon:")));
    println!("memory: {before} kB before, {peak} kB at the most");
    assert!(!stormed || peak < before + MEMORY_KB, "{before} kB before, {peak} kB at the most");
}

#[test]
fn a_supervisor_stays_below_five_megabytes_whoever_asks_it() {
    if !rustix::process::geteuid().is_root() || !Path::new("/bin/busybox").exists() {
        return skip(Need::Root, "it takes root to run a pod in the host's network, and a busybox to run");
    }
    let root = tempfile::tempdir().unwrap();
    let image = crate::support::service::busybox(root.path(), "echo $AC_METADATA_URL; exec /bin/busybox sleep 1000");
    let said = |line: &[&str]| String::from_utf8(jetpack(root.path(), line).output().unwrap().stdout).unwrap();
    let uuid = said(&["run", "-d", "--net=host", image.to_str().unwrap()]).trim().to_owned();
    let _ended = Ended(root.path(), &uuid);
    let status: serde_json::Value = serde_json::from_str(&said(&["status", "--json", &uuid])).unwrap();
    let supervisor = u32::try_from(status["pid"].as_u64().unwrap()).unwrap();
    let mut url = String::new();
    while !url.ends_with('\n') {
        url = said(&["logs", &uuid]);
    }
    let resident = || kilobytes(supervisor, "VmRSS:");
    // It has let go of what it took to start the pod.
    while resident() > SUPERVISOR_KB {
        std::thread::sleep(Duration::from_millis(50));
    }
    let (before, mut peak) = (resident(), 0);
    let stormed = storm(url.trim(), &uuid, || peak = peak.max(resident()));
    let after = resident();
    println!("resident: {before} kB before, {peak} kB at the most, {after} kB after");
    assert!(!stormed || peak.max(after) < SUPERVISOR_KB, "{before} kB before, {peak} kB at the most, {after} kB after");
}

/// A pod that does not outlive the test.
struct Ended<'a>(&'a Path, &'a str);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        for line in [&["stop", "--force", self.1][..], &["rm", self.1]] {
            jetpack(self.0, line).output().unwrap();
        }
    }
}

/// A thousand clients at once, each of whose honest half is answered; `look` is called again and again meanwhile. Says
/// whether there were as many.
fn storm(url: &str, uuid: &str, mut look: impl FnMut()) -> bool {
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let all = rustix::process::Rlimit { current: descriptors.maximum, ..descriptors };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, all).unwrap();
    if descriptors.maximum.is_some_and(|most| most < 2200) {
        skip(Need::Connections, "a process may not have a thousand connections here");
        return false;
    }
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let base = format!("/{path}/acMetadata/v1");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (mut hostile, mut honest) = (tokio::task::JoinSet::new(), tokio::task::JoinSet::new());
        for number in 0..500 {
            hostile.spawn(attack(host.to_owned(), base.clone(), number));
            honest.spawn(visit(host.to_owned(), base.clone(), uuid.to_owned(), number));
        }
        while let Some(answered) = honest.join_next().await {
            answered.unwrap();
            look();
        }
        hostile.abort_all();
    });
    true
}

async fn visit(host: String, base: String, uuid: String, number: usize) {
    let form = "content=Old+MacDonald";
    let post = format!("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n", form.len());
    let (request, length) = match number % 3 {
        0 => (format!("GET {base}/pod/uuid HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), Some(36)),
        1 => (format!("GET {base}/pod/manifest HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), None),
        _ => (
            format!("POST {base}/pod/hmac/sign HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{post}\r\n{form}"),
            Some(88),
        ),
    };
    let mut stream = TcpStream::connect(host).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(length.is_none_or(|length| length == body.len()), "{body}");
    assert!(!number.is_multiple_of(3) || body == uuid, "{body}");
}

/// Does what it can and takes no answer for an answer: errors are what it is after.
async fn attack(host: String, base: String, number: usize) {
    let Ok(mut stream) = TcpStream::connect(host).await else { return };
    match number % 5 {
        // Slowly, a head that never ends.
        0 => {
            for byte in format!("GET {base}/pod/uuid HTTP/1.1\r\nX: ").bytes().chain(std::iter::repeat(b'x')) {
                if stream.write_all(&[byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        // A form that is larger than any, then one that stops in the middle.
        1 => {
            let head = format!("POST {base}/pod/hmac/sign HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
            let chunk = [b"8000\r\n".as_slice(), &[b'x'; 0x8000], b"\r\n"].concat();
            let _ = stream.write_all(head.as_bytes()).await;
            for _ in 0..if number.is_multiple_of(2) { 64 } else { 1 } {
                if stream.write_all(&chunk).await.is_err() {
                    return;
                }
            }
        }
        // A head that is larger than any.
        2 => {
            let _ = stream.write_all(&[b'G'; 1 << 20]).await;
        }
        // No HTTP.
        3 => {
            let _ = stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n").await;
        }
        // Wrong tokens, for ever.
        _ => {
            let request = format!("GET /{}/acMetadata/v1/pod/uuid HTTP/1.1\r\nHost: x\r\n\r\n", "0".repeat(64));
            let mut answer = [0; 512];
            while stream.write_all(request.as_bytes()).await.is_ok() {
                match stream.read(&mut answer).await {
                    Ok(1..) => assert!(answer.starts_with(b"HTTP/1.1 401 ")),
                    _ => return,
                }
            }
        }
    }
    // Holds on to what it has.
    let _ = stream.read_to_end(&mut Vec::new()).await;
    std::future::pending::<()>().await;
}
