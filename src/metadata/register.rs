//! How a supervisor makes its pod known to a domain service on its host, and keeps it known.
//!
//! Over a unix socket that only the administrator may open: the supervisor sends one line of JSON, the service answers
//! with one line. The pod is known for as long as the connection lasts, so that the end of a supervisor, whatever ends
//! it, is the end of what is told about its pod.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Error, Facts, Kind, Token};

/// The longest line, larger than the manifests of any pod that this program runs.
pub(super) const MAX_LINE: usize = 32 << 20;

/// How long a supervisor waits for the service, and the service for a supervisor.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// What a supervisor sends.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Hello {
    uuid: Uuid,
    token: String,
    pod_manifest: String,
    image_manifests: BTreeMap<String, String>,
}

/// What the service sends back.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Reply {
    /// The pod is known; this is its `AC_METADATA_URL`.
    Url(String),
    /// It is not, for this reason.
    Error(String),
}

impl Hello {
    fn new(facts: Facts) -> Result<Self, Error> {
        let text = |bytes| {
            let not_text = |error| Error::new(Kind::Manifest, "register a pod").because(error);
            String::from_utf8(bytes).map_err(not_text)
        };
        let images = facts.image_manifests.into_iter().map(|(name, bytes)| Ok((name, text(bytes)?)));
        Ok(Self {
            uuid: facts.uuid,
            token: facts.token.as_str().to_owned(),
            pod_manifest: text(facts.pod_manifest)?,
            image_manifests: images.collect::<Result<_, Error>>()?,
        })
    }

    /// The facts, `None` when the token is none.
    pub(super) fn facts(self) -> Option<Facts> {
        Some(Facts {
            uuid: self.uuid,
            token: Token::parse(&self.token)?,
            pod_manifest: self.pod_manifest.into(),
            image_manifests: self.image_manifests.into_iter().map(|(name, text)| (name, text.into())).collect(),
        })
    }
}

/// A pod known to the domain service, until this is dropped. When the service is started anew, it is told again.
pub struct Registration {
    url: String,
    line: Arc<Line>,
    keeper: Option<JoinHandle<()>>,
}

/// The connection and what is said over it.
struct Line {
    socket: PathBuf,
    hello: Vec<u8>,
    /// `None` once the pod is to be forgotten.
    stream: Mutex<Option<UnixStream>>,
}

impl Registration {
    /// Makes a pod known to the service that listens on `socket`.
    ///
    /// # Errors
    /// [`Kind::Absent`] when there is no service; [`Kind::Refused`] when it does not take the pod, with its reason;
    /// [`Kind::Io`] when the talk with it breaks off.
    pub fn new(socket: &Path, facts: Facts) -> Result<Self, Error> {
        let mut hello = serde_json::to_vec(&Hello::new(facts)?)
            .map_err(|error| Error::new(Kind::Manifest, "register a pod").because(error))?;
        hello.push(b'\n');
        let (url, stream) = introduce(socket, &hello)?;
        let line = Arc::new(Line { socket: socket.into(), hello, stream: Mutex::new(Some(stream)) });
        let kept = Arc::clone(&line);
        let keeper = std::thread::Builder::new().name("registration".into()).stack_size(128 << 10);
        let keeper = keeper.spawn(move || kept.keep()).map_err(|error| doing(socket).because(error))?;
        Ok(Self { url, line, keeper: Some(keeper) })
    }

    /// The value of `AC_METADATA_URL`.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let stream = self.line.stream().take();
        let Some(keeper) = self.keeper.take() else { return };
        // Ends the keeper's read; a connection that is gone already needs no end.
        let _ = stream.map(|stream| stream.shutdown(Shutdown::Both));
        keeper.thread().unpark();
        // It holds nothing that its panic could have spoilt.
        let _ = keeper.join();
    }
}

impl Line {
    fn stream(&self) -> MutexGuard<'_, Option<UnixStream>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the service's end and introduces the pod to the next one.
    fn keep(&self) {
        loop {
            let Some(stream) = self.stream().as_ref().map(UnixStream::try_clone) else { return };
            if let Ok(mut stream) = stream {
                // The service says nothing more, so whatever comes is its end.
                let _ = stream.read(&mut [0]);
            }
            if self.stream().is_none() {
                return;
            }
            std::thread::park_timeout(Duration::from_secs(1));
            if let Ok((_, fresh)) = introduce(&self.socket, &self.hello)
                && let Some(stream) = self.stream().as_mut()
            {
                *stream = fresh;
            }
        }
    }
}

fn introduce(socket: &Path, hello: &[u8]) -> Result<(String, UnixStream), Error> {
    let io = |error: std::io::Error| doing(socket).because(error);
    let mut stream =
        UnixStream::connect(socket).map_err(|error| Error::new(Kind::Absent, doing(socket).doing()).because(error))?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(io)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(io)?;
    stream.write_all(hello).map_err(io)?;
    let mut reply = Vec::new();
    BufReader::new((&stream).take(64 << 10)).read_until(b'\n', &mut reply).map_err(io)?;
    stream.set_read_timeout(None).map_err(io)?;
    match serde_json::from_slice(&reply) {
        Ok(Reply::Url(url)) => Ok((url, stream)),
        Ok(Reply::Error(why)) => Err(Error::new(Kind::Refused, "register a pod").because(why)),
        Err(error) => Err(doing(socket).because(error)),
    }
}

fn doing(socket: &Path) -> Error {
    Error::new(Kind::Io, format!("register a pod at {}", socket.display()))
}
