//! A web server for one case: pages with discovery tags, images, redirects, refusals. Plain HTTP on loopback.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::case::Page;

/// The first byte of a TLS connection: the record type of a handshake (RFC 8446).
const TLS_HANDSHAKE: u8 = 22;

/// A running server.
pub struct Server {
    /// The port.
    pub port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    over: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

/// What it serves.
pub struct Site {
    /// Pages by path.
    pub pages: BTreeMap<String, Page>,
    /// Archives by the name that pages use.
    pub archives: BTreeMap<String, Vec<u8>>,
}

impl Server {
    /// Starts it.
    pub fn start(listener: TcpListener, site: Site) -> io::Result<Server> {
        let port = listener.local_addr()?.port();
        listener.set_nonblocking(true)?;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let over = Arc::new(AtomicBool::new(false));
        let (log, end) = (asked.clone(), over.clone());
        let thread = thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                match listener.accept() {
                    // A client that goes away in the middle is its own business.
                    Ok((stream, _)) => drop(answer(&stream, &site, port, &log)),
                    Err(_) => thread::sleep(Duration::from_millis(2)),
                }
            }
        });
        Ok(Server { port, asked, over, thread: Some(thread) })
    }

    /// The requests so far, path and query.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().map(|list| list.clone()).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It ends with the flag; a panic in it shows as missing answers.
            let _ = thread.join();
        }
    }
}

fn answer(mut stream: &TcpStream, site: &Site, port: u16, log: &Mutex<Vec<String>>) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    // A client that tries https first learns at once that nobody speaks TLS here, as from any web server.
    let mut first = [0];
    if stream.peek(&mut first)? == 1 && first[0] == TLS_HANDSHAKE {
        return stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let mut headers = Vec::new();
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        headers.push(line.to_ascii_lowercase());
    }
    let target = first.split(' ').nth(1).unwrap_or_default().to_owned();
    if let Ok(mut log) = log.lock() {
        log.push(target.clone());
    }
    let path = target.split('?').next().unwrap_or_default();
    let (status, location, body) = match site.pages.get(path) {
        None => (404, None, b"not here".to_vec()),
        Some(page) if page.demands.as_ref().is_some_and(|wanted| !headers.contains(&wanted.to_ascii_lowercase())) => {
            (401, None, b"who are you?".to_vec())
        }
        Some(page) => (page.status.unwrap_or(200), page.location.clone(), body(page, site, port)),
    };
    let location = location
        .map(|place| format!("Location: {}\r\n", place.replace("{server}", &format!("http://localhost:{port}"))))
        .unwrap_or_default();
    let challenge = if status == 401 { "WWW-Authenticate: Basic realm=\"test\"\r\n" } else { "" };
    write!(
        stream,
        "HTTP/1.1 {status} Answer\r\nContent-Length: {}\r\nConnection: close\r\n{location}{challenge}\r\n",
        body.len()
    )?;
    stream.write_all(&body)
}

fn body(page: &Page, site: &Site, port: u16) -> Vec<u8> {
    if let Some(name) = &page.aci {
        return site.archives.get(name).cloned().unwrap_or_default();
    }
    let server = format!("http://localhost:{port}");
    let tag = |name: &str, content: &String| {
        format!("<meta name=\"{name}\" content=\"{}\">\n", content.replace("{server}", &server))
    };
    let tags: String = page
        .discovery
        .iter()
        .map(|one| tag("ac-discovery", one))
        .chain(page.keys.iter().map(|one| tag("ac-discovery-pubkeys", one)))
        .collect();
    format!(
        "<!DOCTYPE html>\n<html><head>\n<title>discovery</title>\n{tags}</head><body>{}</body></html>\n",
        page.html.replace("{server}", &server)
    )
    .into_bytes()
}
