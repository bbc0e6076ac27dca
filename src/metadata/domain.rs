//! One service for many pods, on an address that they all reach.
//!
//! ```text
//!  supervisors --unix socket--> registrar --> Pods <-- answers <--http(s)-- apps of any pod, on any host
//! ```
//! `<socket>.lock` is locked while a service lives: a socket whose lock is free is left over and is replaced.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use uuid::Uuid;

use super::register::{Hello, MAX_LINE, PATIENCE, Reply};
use super::{Error, HmacKey, Kind, Limits, Pod, Pods, serve, tls};
use crate::sys::private_socket::PrivateSocket;

/// Where a domain service listens, and as what.
#[derive(Debug)]
pub struct Options {
    /// The address for apps. Port 0 is a port of the kernel's choice.
    pub listen: SocketAddr,
    /// What URLs begin with, where it is not `http://` or `https://` and the address.
    pub advertise: Option<String>,
    /// Certificate chain and key, PEM, for TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The unix socket for supervisors.
    pub socket: PathBuf,
    /// How much is given to clients.
    pub limits: Limits,
}

/// The unix socket for supervisors where nobody says another.
pub fn socket(root: &Path) -> PathBuf {
    root.join("metadata.sock")
}

/// A service that listens and does not answer yet: privileges can be dropped between the two.
pub struct Domain {
    pods: Arc<Pods>,
    base: String,
    http: TcpListener,
    tls: Option<TlsAcceptor>,
    registrar: UnixListener,
    owner: u32,
    limits: Limits,
    _lock: File,
}

/// Supervisors that are listened to at once; the others wait.
const INTRODUCTIONS: usize = 8;

impl Domain {
    /// Opens the address and the socket.
    ///
    /// # Errors
    /// [`Kind::Exists`] when a service has the socket already; [`Kind::Tls`] for a certificate or key that cannot be
    /// used; [`Kind::Address`] when no URL follows from the address; [`Kind::Io`].
    pub fn open(options: Options, key: HmacKey) -> Result<Self, Error> {
        let doing = || Error::new(Kind::Io, format!("listen on {}", options.listen));
        let tls = options.tls.map(|(chain, key)| tls::acceptor(&chain, &key)).transpose()?;
        let PrivateSocket { listener: registrar, lock } = PrivateSocket::open(&options.socket).map_err(|error| {
            let doing = format!("listen on {}", options.socket.display());
            match error.kind() {
                ErrorKind::AddrInUse => Error::new(Kind::Exists, doing).because("another metadata service does"),
                _ => Error::new(Kind::Io, doing).because(error),
            }
        })?;
        let http = TcpListener::bind(options.listen).map_err(|error| doing().because(error))?;
        let address = http.local_addr().map_err(|error| doing().because(error))?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let base = match options.advertise {
            Some(base) => base.trim_end_matches('/').to_owned(),
            None if address.ip().is_unspecified() => {
                let why = "pods cannot reach an unspecified address; say what their URLs begin with";
                return Err(Error::new(Kind::Address, format!("listen on {address}")).because(why));
            }
            None => format!("{scheme}://{address}"),
        };
        let (pods, owner) = (Arc::new(Pods::new(key)), rustix::process::geteuid().as_raw());
        Ok(Self { pods, base, http, tls, registrar, owner, limits: options.limits, _lock: lock })
    }

    /// What the URLs of pods begin with.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Answers until the process ends.
    ///
    /// # Errors
    /// [`Kind::Io`] when it cannot begin.
    pub fn run(self) -> Result<(), Error> {
        let io = |error: io::Error| Error::new(Kind::Io, "start the metadata service").because(error);
        self.registrar.set_nonblocking(true).map_err(io)?;
        let runtime = serve::runtime().map_err(io)?;
        runtime.block_on(async {
            let http = serve::listener(self.http).map_err(io)?;
            let supervisors = tokio::net::UnixListener::from_std(self.registrar).map_err(io)?;
            let registrar = Arc::new(Registrar {
                pods: Arc::clone(&self.pods),
                base: self.base,
                owner: self.owner,
                turns: Semaphore::new(INTRODUCTIONS),
            });
            tokio::join!(serve::accept(http, self.tls, self.pods, self.limits), registrar.accept(supervisors));
            Ok(())
        })
    }
}

struct Registrar {
    pods: Arc<Pods>,
    base: String,
    owner: u32,
    turns: Semaphore,
}

impl Registrar {
    async fn accept(self: Arc<Self>, supervisors: tokio::net::UnixListener) {
        loop {
            match supervisors.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(Arc::clone(&self).attend(stream))),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Makes one supervisor's pod known until the supervisor goes.
    async fn attend(self: Arc<Self>, mut stream: UnixStream) {
        let known = match tokio::time::timeout(PATIENCE, self.introduced(&mut stream)).await {
            Ok(Ok(known)) => known,
            Ok(Err(why)) => return tell(&mut stream, &Reply::Error(why)).await,
            Err(_) => return tell(&mut stream, &Reply::Error("it took too long".into())).await,
        };
        let reply = Reply::Url(format!("{}/{}", self.base, known.token));
        tell(&mut stream, &reply).await;
        // A supervisor says nothing more; whatever comes is its end.
        let _ = stream.read(&mut [0]).await;
    }

    async fn introduced(&self, stream: &mut UnixStream) -> Result<Known, String> {
        // Permissions of the socket say the same; systems differ in whether they heed them.
        let peer = stream.peer_cred().map_err(|error| error.to_string())?.uid();
        if peer != 0 && peer != self.owner {
            return Err("only root and the service's owner register pods".into());
        }
        let _turn = self.turns.acquire().await.map_err(|error| error.to_string())?;
        let mut line = Vec::new();
        let mut limited = BufReader::new(stream.take(MAX_LINE as u64));
        limited.read_until(b'\n', &mut line).await.map_err(|error| error.to_string())?;
        if line.pop() != Some(b'\n') {
            return Err(format!("no line of at most {MAX_LINE} bytes came"));
        }
        let hello: Hello = serde_json::from_slice(&line).map_err(|error| error.to_string())?;
        let facts = hello.facts().ok_or("the token is not 64 lower-case hexadecimal digits")?;
        let pod = Pod::new(facts).map_err(|error| crate::error::chain(&error))?;
        let (uuid, token) = (pod.uuid(), pod.token().as_str().to_owned());
        if !self.pods.insert(pod) {
            return Err("a pod of this UUID or token is known already".into());
        }
        Ok(Known { pods: Arc::clone(&self.pods), uuid, token })
    }
}

/// A pod that is forgotten when this goes.
struct Known {
    pods: Arc<Pods>,
    uuid: Uuid,
    token: String,
}

impl Drop for Known {
    fn drop(&mut self) {
        self.pods.remove(self.uuid);
    }
}

async fn tell(stream: &mut UnixStream, reply: &Reply) {
    let Ok(mut line) = serde_json::to_vec(reply) else { return };
    line.push(b'\n');
    // A supervisor that does not listen finds out when it reads.
    let _ = tokio::time::timeout(PATIENCE, stream.write_all(&line)).await;
}
