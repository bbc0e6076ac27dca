//! The socket's side: connections, their limits, and the thread they live on.
//!
//! One thread, one event queue. A connection is given up when a request takes too long from its first byte to the
//! last byte of its answer, when it idles too long, and, once there are as many as may be, when a new one comes and
//! it is the one that has kept us waiting longest.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, oneshot};
use tokio_rustls::TlsAcceptor;

use super::answer::{self, Answer, Route};
use super::connections::{Clock, Connections, Watched};
use super::{Error, Kind, Pods};

/// How much a service gives to all its clients together.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// Bytes of a request's head. A larger one is answered with 431.
    pub head: usize,
    /// Bytes of a form. A larger one is answered with 413.
    pub body: usize,
    /// From the first byte of a request to the last one of its answer.
    pub request: Duration,
    /// Between requests.
    pub idle: Duration,
}

/// Forms up to this size are read without waiting for their turn.
const SMALL_BODY: usize = 4 << 10;

/// How many connections share one turn to have a larger form in memory.
const SHARE_A_TURN: usize = 32;

impl Limits {
    /// For a service that has a process to itself.
    pub fn of_a_domain() -> Self {
        Self { connections: 4096, ..Self::of_one_pod() }
    }

    /// For the service inside a supervisor, which has to stay below 5 MB whatever the pod's apps do.
    pub fn of_one_pod() -> Self {
        Self {
            connections: 80,
            head: 8 << 10,
            body: 64 << 10,
            request: Duration::from_secs(10),
            idle: Duration::from_secs(60),
        }
    }
}

/// A service at work. Dropping it ends the service and its connections.
#[derive(Debug)]
pub struct Serving {
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // The thread holds nothing that its panic could have spoilt.
            let _ = thread.join();
        }
    }
}

/// Answers for `pods` on `listener`, on a thread of its own.
///
/// # Errors
/// [`Kind::Io`] when there can be no thread or no event queue.
pub fn serve(listener: TcpListener, pods: Arc<Pods>, limits: Limits) -> Result<Serving, Error> {
    let io = |error| Error::new(Kind::Io, "start the metadata service").because(error);
    let runtime = runtime().map_err(io)?;
    let listener = {
        let _inside = runtime.enter();
        self::listener(listener).map_err(io)?
    };
    let (stop, stopped) = oneshot::channel();
    let work = move || {
        runtime.block_on(async {
            if BEFOREHAND {
                rehearse(&pods, limits).await;
            }
            tokio::select! {
                () = accept(listener, None, pods, limits) => {}
                _ = stopped => {}
            }
        });
    };
    let thread = std::thread::Builder::new().name("metadata".into()).stack_size(256 << 10).spawn(work).map_err(io)?;
    Ok(Serving { stop: Some(stop), thread: Some(thread) })
}

/// One thread's event queue.
pub(super) fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()
}

/// A listener as the event queue wants it, with room for a burst.
pub(super) fn listener(listener: TcpListener) -> io::Result<tokio::net::TcpListener> {
    rustix::net::listen(&listener, 1024)?;
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

/// Answers whoever connects, for ever.
pub(super) async fn accept(
    listener: tokio::net::TcpListener,
    tls: Option<TlsAcceptor>,
    pods: Arc<Pods>,
    limits: Limits,
) {
    let shared = Arc::new(Shared::new(pods, limits));
    let connections = Connections::new(limits.connections, limits.request, limits.idle);
    let http = http(&limits);
    let mut sweep = tokio::time::interval(Duration::from_secs(1));
    let mut asked = false;
    loop {
        connections.room().await;
        let accepted = tokio::select! {
            _ = sweep.tick() => {
                connections.sweep();
                // Not more often: it takes a millisecond to find again what is in use.
                if asked || !connections.is_empty() {
                    crate::sys::memory::trim();
                    asked = false;
                }
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        asked = true;
        let Ok((stream, _)) = accepted else {
            // Out of descriptors, or a client that was gone again: neither is mended by asking at once.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        // Without it the kernel may hold back small answers; where it cannot be set they are merely slower.
        let _ = stream.set_nodelay(true);
        match &tls {
            None => connections.spawn(|seat| talk(&http, Watched::new(stream, seat), &shared)),
            Some(tls) => {
                let (http, shared, handshake) = (http.clone(), Arc::clone(&shared), tls.accept(stream));
                connections.spawn(|seat| async move {
                    let Ok(stream) = handshake.await else { return };
                    // What ends a connection early is the client's affair, and there is nobody to tell.
                    let _ = Box::pin(talk(&http, Watched::new(stream, seat), &shared)).await;
                });
            }
        }
    }
}

fn http(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    // Time is kept by `Connections`. A client that has said all it will say may still wait for its answer.
    http.max_buf_size(limits.head).header_read_timeout(None).half_close(true);
    http
}

/// What a client gets to read that sends `request` and then listens: a connection without a socket.
///
/// # Errors
/// The system's, when it has no event queue.
pub fn exchange(pods: &Arc<Pods>, limits: Limits, request: &[u8]) -> io::Result<Vec<u8>> {
    runtime()?.block_on(spoken(pods, limits, request))
}

async fn spoken(pods: &Arc<Pods>, limits: Limits, request: &[u8]) -> io::Result<Vec<u8>> {
    let shared = Arc::new(Shared::new(Arc::clone(pods), limits));
    let (client, server) = tokio::io::duplex(64 << 10);
    let (mut from, mut to) = tokio::io::split(client);
    let mut response = Vec::new();
    let send = async {
        // A server that has had enough does not read to the end.
        let _ = to.write_all(request).await;
        to.shutdown().await
    };
    let http = http(&limits);
    let serve = talk(&http, Watched::unlisted(server), &shared);
    let (sent, _, received) = tokio::join!(send, serve, from.read_to_end(&mut response));
    sent.and(received.map(drop))?;
    Ok(response)
}

/// Whether the thread that answers is started with the pod, before anybody asks, and answers itself once. The first answer takes three times
/// what later ones take, as all of the way to it is new to the processor, and there are clients that wait a tenth of a second. On Linux memory counts
/// more, and what lies idle is let go of all the same.
pub(super) const BEFOREHAND: bool = cfg!(target_os = "freebsd");

/// A request with a token that nobody has.
pub(super) const REHEARSAL: &[u8] =
    b"GET /-/acMetadata/v1/pod/manifest HTTP/1.1\r\nHost: -\r\nConnection: close\r\n\r\n";

/// Goes the way of a request once.
async fn rehearse(pods: &Arc<Pods>, limits: Limits) {
    // Nobody is told.
    let _ = spoken(pods, limits, REHEARSAL).await;
}

/// One connection, request after request. Not an `async` function: what that would move into its future is paid for by
/// every connection, and bounds how many a supervisor can have.
fn talk<S>(http: &http1::Builder, stream: Watched<S>, shared: &Arc<Shared>) -> impl Future<Output: Send> + use<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (clock, shared) = (stream.clock(), Arc::clone(shared));
    let service = service_fn(move |request| respond(Arc::clone(&shared), clock.clone(), request));
    http.serve_connection(stream, service)
}

/// After how many answers whoever waits for this processor may have it. Clients on the same one would wait for their answers until the
/// kernel takes it from us, four milliseconds later.
const TURN: u64 = 32;

struct Shared {
    pods: Arc<Pods>,
    answered: AtomicU64,
    limits: Limits,
    large: Semaphore,
}

impl Shared {
    fn new(pods: Arc<Pods>, limits: Limits) -> Self {
        Self {
            pods,
            answered: AtomicU64::new(0),
            limits,
            large: Semaphore::new(limits.connections.div_ceil(SHARE_A_TURN)),
        }
    }
}

async fn respond(
    shared: Arc<Shared>,
    clock: Clock,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let answer = match answer::route(&shared.pods, request.method(), request.uri().path()) {
        Route::Done(answer) => answer,
        Route::Form(pod, action) => match form(&shared, request).await {
            Ok(body) => answer::act(shared.pods.key(), &pod, action, &body),
            Err(refusal) => refusal,
        },
    };
    clock.answered();
    if shared.answered.fetch_add(1, Ordering::Relaxed) % TURN == TURN - 1 {
        std::thread::yield_now();
    }
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    if let Some(allow) = answer.allow {
        headers.insert(ALLOW, HeaderValue::from_static(allow));
    }
    if answer.status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("AC_METADATA_URL"));
    }
    Ok(response)
}

/// The body of a request that has to be a form.
async fn form(shared: &Shared, request: Request<Incoming>) -> Result<Vec<u8>, Answer> {
    let refused = |status, reason: &str| Err(Answer::refused(status, reason));
    let headers = request.headers();
    if !answer::is_form(headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes)) {
        return Err(answer::not_a_form());
    }
    let size = request.body().size_hint();
    if size.exact() == Some(0) && !headers.contains_key(CONTENT_LENGTH) {
        return refused(StatusCode::LENGTH_REQUIRED, "the request has no body with a length");
    }
    let limit = shared.limits.body;
    let too_large = || refused(StatusCode::PAYLOAD_TOO_LARGE, &format!("the form has more than {limit} bytes"));
    if size.lower() > limit as u64 {
        return too_large();
    }
    let mut body = request.into_body();
    let mut bytes = Vec::new();
    let mut turn = None;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return refused(StatusCode::BAD_REQUEST, "the body ends early or is malformed") };
        let Some(data) = frame.data_ref() else { continue };
        if bytes.len() + data.len() > limit {
            return too_large();
        }
        if turn.is_none() && bytes.len() + data.len() > SMALL_BODY {
            // The semaphore is never closed.
            turn = shared.large.acquire().await.ok();
        }
        bytes.extend_from_slice(data);
    }
    Ok(bytes)
}
