//! A thousand clients at once, half of them hostile: the other half is answered and memory stays bounded.
#![cfg(target_os = "linux")]

#[path = "common/service.rs"]
mod service;

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use service::{Service, facts};

/// As many as the service inside a supervisor takes.
const CONNECTIONS: &str = "80";

/// What 80 connections and their forms may cost on top of an idle service.
const MEMORY_KB: u64 = 3072;

#[test]
fn the_other_half_is_answered_and_memory_stays_bounded() {
    let service = Service::start(&["--max-connections", CONNECTIONS]);
    let facts = facts();
    let uuid = facts.uuid.to_string();
    let pod = service.register(facts).unwrap();
    let (host, path) = pod.url().strip_prefix("http://").unwrap().split_once('/').unwrap();
    let base = format!("/{path}/acMetadata/v1");
    let before = service.kilobytes("RssAnon:");
    let mut peak = before;

    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let all = rustix::process::Rlimit { current: descriptors.maximum, ..descriptors };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, all).unwrap();
    if descriptors.maximum.is_some_and(|most| most < 1100) {
        return println!("skipped: a process may not have a thousand connections here");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (mut hostile, mut honest) = (tokio::task::JoinSet::new(), tokio::task::JoinSet::new());
        for number in 0..500 {
            hostile.spawn(attack(host.to_owned(), base.clone(), number));
            honest.spawn(visit(host.to_owned(), base.clone(), uuid.clone(), number));
        }
        while let Some(answered) = honest.join_next().await {
            answered.unwrap();
            peak = peak.max(service.kilobytes("RssAnon:"));
        }
        hostile.abort_all();
    });

    println!("memory: {before} kB before, {peak} kB at the most");
    assert!(peak < before + MEMORY_KB, "{before} kB before, {peak} kB at the most");
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
