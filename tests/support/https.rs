//! A web server of its own authority, with the manners a test wants.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Path and query.
    pub path: String,
    /// Headers by lower-case name.
    pub headers: HashMap<String, String>,
}

/// How an answer's body is sent.
#[derive(Clone)]
pub enum Manner {
    /// As it should be.
    Whole,
    /// The connection is closed after so many bytes, though all were promised.
    Cut(usize),
    /// A byte at a time, with this pause between any two.
    Trickle(Duration),
    /// 64 KiB at a time, with this pause between any two.
    Paced(Duration),
    /// Half of it, and the rest when that is said.
    Gated(Arc<AtomicBool>),
    /// Without end.
    Endless,
    /// The connection is closed without an answer.
    Hangup,
}

/// An answer.
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub manner: Manner,
}

impl Reply {
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, headers: Vec::new(), body: body.into(), manner: Manner::Whole }
    }

    pub fn status(status: u16) -> Self {
        Self { status, ..Self::ok("") }
    }

    pub fn redirect(to: impl Into<String>) -> Self {
        Self::status(302).header("Location", to)
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn manner(mut self, manner: Manner) -> Self {
        self.manner = manner;
        self
    }

    /// The file with an entity tag: whole, the part asked for, or that it is unchanged.
    pub fn file(request: &Seen, bytes: &[u8], etag: &str) -> Self {
        if request.headers.get("if-none-match").is_some_and(|tag| tag == etag) {
            return Self::status(304).header("ETag", etag);
        }
        let part = request.headers.get("range").and_then(|range| {
            let (from, last) = range.strip_prefix("bytes=")?.split_once('-')?;
            let from: usize = from.parse().ok()?;
            let end = if last.is_empty() { bytes.len() } else { bytes.len().min(last.parse::<usize>().ok()? + 1) };
            (from < end).then_some(from..end)
        });
        let same = request.headers.get("if-range").is_none_or(|tag| tag == etag);
        match part.filter(|_| same) {
            Some(part) => {
                let range = format!("bytes {}-{}/{}", part.start, part.end - 1, bytes.len());
                let part = Self { status: 206, ..Self::ok(&bytes[part]) };
                part.header("Content-Range", range).header("ETag", etag)
            }
            None => Self::ok(bytes).header("ETag", etag),
        }
    }
}

type Handler = dyn Fn(&Seen) -> Reply + Send + Sync;

/// A server on loopback, stopped when it is dropped.
pub struct Server {
    pub port: u16,
    address: Ipv4Addr,
    scheme: &'static str,
    directory: tempfile::TempDir,
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Speaks TLS with a certificate for `localhost` and `127.0.0.1`.
    pub fn https(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (config, bundle) = authority();
        std::fs::write(directory.path().join("ca.pem"), bundle).unwrap();
        Self::start("https", Ipv4Addr::LOCALHOST, directory, Some(config), handler)
    }

    /// Speaks TLS with a certificate for `localhost` that signed itself and calls itself an authority, as those do
    /// that people make in a hurry; it is its own bundle.
    pub fn self_signed(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(directory.path().join("ca.pem"), certificate.pem()).unwrap();
        let config = config(certificate.der().clone(), &key);
        Self::start("https", Ipv4Addr::LOCALHOST, directory, Some(config), handler)
    }

    /// Speaks plain http.
    pub fn http(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::http_on(Ipv4Addr::LOCALHOST, handler)
    }

    /// Speaks plain http at an address of this host.
    pub fn http_on(address: Ipv4Addr, handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::start("http", address, tempfile::tempdir().unwrap(), None, handler)
    }

    fn start(
        scheme: &'static str,
        address: Ipv4Addr,
        directory: tempfile::TempDir,
        tls: Option<Arc<rustls::ServerConfig>>,
        handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let handler: Arc<Handler> = Arc::new(handler);
        let (log, ended) = (seen.clone(), stop.clone());
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(stream), tls, handler, log) = (stream, tls.clone(), handler.clone(), log.clone()) else {
                    continue;
                };
                thread::spawn(move || {
                    // What a client does to its connection is its own business.
                    let _ = match tls {
                        Some(config) => rustls::ServerConnection::new(config).map_err(std::io::Error::other).and_then(
                            |connection| serve(rustls::StreamOwned::new(connection, stream), &*handler, &log),
                        ),
                        None => serve(stream, &*handler, &log),
                    };
                });
            }
        });
        Self { port, address, scheme, directory, seen, stop, thread: Some(thread) }
    }

    /// The bundle with this server's authority, for `SSL_CERT_FILE`.
    pub fn bundle(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// A URL here.
    pub fn url(&self, path: &str) -> String {
        format!("{}://localhost:{}{path}", self.scheme, self.port)
    }

    /// What was asked for so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The paths asked for so far.
    pub fn paths(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.path).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect((self.address, self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// An authority made on the spot, a server's certificate by it, and the bundle that names it.
fn authority() -> (Arc<rustls::ServerConfig>, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let server_key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let server = CertificateParams::new(names).unwrap().signed_by(&server_key, &issuer).unwrap();
    (config(server.der().clone(), &server_key), certificate.pem())
}

fn config(certificate: CertificateDer<'static>, key: &KeyPair) -> Arc<rustls::ServerConfig> {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap())
}

fn serve(stream: impl Read + Write, handler: &Handler, log: &Mutex<Vec<Seen>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            match line.trim_end().split_once(':') {
                Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.trim().to_owned()),
                None => break,
            };
        }
        let request = Seen { path, headers };
        log.lock().unwrap().push(request.clone());
        let reply = handler(&request);
        if matches!(reply.manner, Manner::Hangup) {
            return Ok(());
        }
        let length = if matches!(reply.manner, Manner::Endless) { u64::MAX >> 1 } else { reply.body.len() as u64 };
        let mut head = format!("HTTP/1.1 {} X\r\n", reply.status);
        if reply.status != 304 {
            head.push_str(&format!("Content-Length: {length}\r\n"));
        }
        for (name, value) in &reply.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let stream = stream.get_mut();
        stream.write_all(head.as_bytes())?;
        match reply.manner {
            Manner::Whole => stream.write_all(&reply.body)?,
            Manner::Cut(after) => {
                stream.write_all(&reply.body[..after])?;
                stream.flush()?;
                return Ok(());
            }
            Manner::Trickle(pause) | Manner::Paced(pause) => {
                let piece = if matches!(reply.manner, Manner::Trickle(_)) { 1 } else { 64 << 10 };
                for bytes in reply.body.chunks(piece) {
                    stream.write_all(bytes)?;
                    stream.flush()?;
                    thread::sleep(pause);
                }
            }
            Manner::Gated(open) => {
                let (half, rest) = reply.body.split_at(reply.body.len() / 2);
                stream.write_all(half)?;
                stream.flush()?;
                while !open.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(1));
                }
                stream.write_all(rest)?;
            }
            Manner::Endless => loop {
                stream.write_all(&[b'x'; 1 << 16])?;
            },
            Manner::Hangup => {}
        }
        stream.flush()?;
    }
}
