//! Who is connected, how long each has kept us waiting, and who has to go.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// A connection is not given up for another when its request came, or may still come, within this time.
const GRACE: Duration = Duration::from_millis(500);

/// The connections of one service.
pub struct Connections {
    most: usize,
    request: Duration,
    idle: Duration,
    start: Instant,
    live: Arc<Mutex<HashMap<u64, Live>>>,
    next: AtomicU64,
}

struct Live {
    clock: Clock,
    task: AbortHandle,
}

impl Live {
    /// Ends the connection: by its own doing where a request has begun, as that has an answer coming, and else at once.
    fn give_up(&self) {
        if !self.clock.expire() {
            self.task.abort();
        }
    }
}

impl Connections {
    /// None yet; at most `most` at once, `request` for a request with its answer, `idle` between two.
    pub fn new(most: usize, request: Duration, idle: Duration) -> Self {
        Self { most, request, idle, start: Instant::now(), live: Arc::default(), next: AtomicU64::new(0) }
    }

    /// Runs `work` for a new connection, which is in the books until `work` lets go of its seat.
    pub fn spawn<F>(&self, work: impl FnOnce(Seat) -> F)
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let clock = Clock::new(self.start);
        // Held until the entry is there, so that a task which ends at once finds it.
        let mut live = lock(&self.live);
        let seat = Seat { id, live: Arc::clone(&self.live), clock: clock.clone() };
        let task = tokio::spawn(work(seat)).abort_handle();
        live.insert(id, Live { clock, task });
    }

    /// Waits until there is room for one more, making it if need be.
    pub async fn room(&self) {
        while lock(&self.live).len() >= self.most {
            self.give_up_slowest();
            // Lets aborted tasks go; where nobody could be given up, lets time pass.
            tokio::task::yield_now().await;
            if lock(&self.live).len() >= self.most {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        lock(&self.live).is_empty()
    }

    /// Gives up all that took longer than they may.
    pub fn sweep(&self) {
        let now = self.start.elapsed();
        for live in lock(&self.live).values() {
            let (since, busy) = live.clock.read();
            let allowed = if busy { self.request } else { self.idle };
            if now.saturating_sub(since) > allowed {
                live.give_up();
            }
        }
    }

    /// One between two requests goes first: its client can come again and has lost nothing. Then the one that has kept
    /// us waiting longest.
    fn give_up_slowest(&self) {
        let now = self.start.elapsed();
        let live = lock(&self.live);
        let slowest = live.values().min_by_key(|live| {
            let (since, busy) = live.clock.read();
            (busy, since)
        });
        let Some(slowest) = slowest else { return };
        let (since, busy) = slowest.clock.read();
        if !busy || now.saturating_sub(since) > GRACE {
            slowest.give_up();
        }
    }
}

/// A connection's entry in the books, which goes when this does, however the connection ends.
pub struct Seat {
    id: u64,
    live: Arc<Mutex<HashMap<u64, Live>>>,
    clock: Clock,
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.live).remove(&self.id);
    }
}

fn lock(live: &Mutex<HashMap<u64, Live>>) -> MutexGuard<'_, HashMap<u64, Live>> {
    // A panic leaves the map whole: every change of it is one step.
    live.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Since when a connection has been doing what it does.
#[derive(Debug, Clone)]
pub struct Clock {
    start: Instant,
    shared: Arc<Hands>,
}

#[derive(Debug, Default)]
struct Hands {
    /// Milliseconds above the flags.
    state: AtomicU64,
    /// Who waits for the client.
    waiting: Mutex<Option<Waker>>,
}

/// A request is on its way, or its answer.
const BUSY: u64 = 1;
/// The answer is known and has only to be written.
const ANSWERED: u64 = 2;
/// Our half is closed.
const CLOSING: u64 = 4;
/// A byte of the request has come.
const BEGUN: u64 = 8;
/// It took too long.
const EXPIRED: u64 = 16;
const FLAGS: u32 = 5;

/// What a client gets whose request took too long to come.
const TOO_SLOW: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: text/plain; charset=us-ascii\r\ncontent-length: 35\r\n\
connection: close\r\n\r\nthe request took too long to arrive";

impl Clock {
    fn new(start: Instant) -> Self {
        let clock = Self { start, shared: Arc::default() };
        clock.set(BUSY);
        clock
    }

    /// The answer is known: once it is written, the connection idles.
    pub fn answered(&self) {
        self.shared.state.fetch_or(ANSWERED, Ordering::Relaxed);
    }

    fn flags(&self) -> u64 {
        self.shared.state.load(Ordering::Relaxed)
    }

    fn read_something(&self) {
        match self.flags() & (BUSY | BEGUN) {
            0 => self.set(BUSY | BEGUN),
            // Time runs from the connection's beginning.
            BUSY => drop(self.shared.state.fetch_or(BEGUN, Ordering::Relaxed)),
            _ => {}
        }
    }

    fn written_all(&self) {
        if self.flags() & ANSWERED != 0 {
            self.set(0);
        }
    }

    fn closing(&self) {
        if self.flags() & CLOSING == 0 {
            self.set(BUSY | CLOSING);
        }
    }

    /// Has the connection tell its client that a request took too long. False when there is nothing to tell, or when it
    /// was told before.
    fn expire(&self) -> bool {
        if self.flags() & (BEGUN | ANSWERED | CLOSING | EXPIRED) != BEGUN {
            return false;
        }
        self.shared.state.fetch_or(EXPIRED, Ordering::Relaxed);
        let waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        waiting.map(Waker::wake).is_some()
    }

    fn expired(&self) -> bool {
        self.flags() & EXPIRED != 0
    }

    /// Has whoever waits for the client woken when time is up.
    fn wait(&self, cx: &Context<'_>) {
        let mut waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waiting = Some(cx.waker().clone());
        }
    }

    fn set(&self, flags: u64) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX >> FLAGS);
        self.shared.state.store(now << FLAGS | flags, Ordering::Relaxed);
    }

    fn read(&self) -> (Duration, bool) {
        let state = self.flags();
        (Duration::from_millis(state >> FLAGS), state & BUSY != 0)
    }
}

/// A stream that keeps its connection's clock, between tokio and hyper.
pub struct Watched<S> {
    stream: S,
    clock: Clock,
    _seat: Option<Seat>,
}

impl<S> Watched<S> {
    /// The stream of the connection that has `seat`.
    pub fn new(stream: S, seat: Seat) -> Self {
        Self { stream, clock: seat.clock.clone(), _seat: Some(seat) }
    }

    /// A stream that is in nobody's books.
    pub fn unlisted(stream: S) -> Self {
        Self { stream, clock: Clock::new(Instant::now()), _seat: None }
    }

    /// The clock, for whoever knows the answers.
    pub fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// After the client was told that it is too late, nothing else is said.
    fn still_wanted(&self) -> io::Result<()> {
        if self.clock.expired() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Read for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if self.clock.expired() {
            // Nothing was written for this request, so it fits; a client that cannot take it has lost nothing.
            let _ = Pin::new(&mut self.stream).poll_write(cx, TOO_SLOW);
            let _ = Pin::new(&mut self.stream).poll_flush(cx);
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        // Copied by way of the stack: handing out hyper's uninitialised memory takes `unsafe`.
        let mut bytes = [0_u8; 4096];
        let most = bytes.len().min(into.remaining());
        let mut buffer = ReadBuf::new(&mut bytes[..most]);
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut buffer);
        if read.is_pending() {
            self.clock.wait(cx);
        }
        ready!(read)?;
        if !buffer.filled().is_empty() {
            self.clock.read_something();
            into.put_slice(buffer.filled());
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Write for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.still_wanted()?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.still_wanted()?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Called by hyper when everything it had was written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.clock.written_all();
        Poll::Ready(Ok(()))
    }

    /// Closes our half, then reads what the client still sends: closing over unread bytes makes the kernel reset the
    /// connection, and the client would lose an answer that is on its way (a 413 to a large body, say).
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        self.clock.closing();
        let mut bytes = [0_u8; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
