//! Every byte that a server sends, counted: what is no part of a body (heads, answers before the answer, sizes and extensions
//! of chunks, trailers, records of TLS) is waited for no longer and taken no further than the body itself.
//!
//! ```text
//! Counted (a body) ─ sets what is allowed ─▶ this thread's allowance ◀─ asks and counts ─ Metered (a connection)
//! ```
//! Connections are kept and used again by other requests, so that none of them can know for whom it works; but whoever waits for
//! one does so in his own thread.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use ureq::Timeout;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

/// Bytes that may come before there is any of a body: head, certificates, what was read ahead.
pub const HEAD: u64 = 1 << 20;
/// Bytes on the wire for each of a body: a record of TLS around a chunk of one byte has less than half.
const OVERHEAD: u64 = 64;

thread_local! {
    static ALLOWANCE: Cell<Option<Allowance>> = const { Cell::new(None) };
}

#[derive(Clone, Copy)]
struct Allowance {
    until: Instant,
    bytes: u64,
    left: u64,
}

/// Does `work`, for which no more than so many bytes are taken from any connection, and none after `until`. Says how many were.
pub fn within<T>(bytes: u64, until: Instant, work: impl FnOnce() -> T) -> (T, u64) {
    let before = ALLOWANCE.replace(Some(Allowance { until, bytes, left: bytes }));
    let _restored = Restored(before);
    let done = work();
    let left = ALLOWANCE.get().map_or(0, |allowance| allowance.left);
    (done, bytes - left)
}

struct Restored(Option<Allowance>);

impl Drop for Restored {
    fn drop(&mut self) {
        ALLOWANCE.set(self.0);
    }
}

/// A body, none of whose reads can take longer or more than it is worth.
pub struct Counted<R> {
    inner: R,
    limit: u64,
    idle: Duration,
    deadline: Option<Instant>,
    received: u64,
    wire: u64,
}

impl<R> Counted<R> {
    /// Of `limit` bytes at most, each piece of which comes within `idle` and all of it before `deadline`.
    pub fn new(inner: R, limit: u64, idle: Duration, deadline: Option<Instant>) -> Self {
        Self { inner, limit, idle, deadline, received: 0, wire: 0 }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let allowed = HEAD + OVERHEAD.saturating_mul(self.received).min(self.limit.saturating_mul(2));
        let until = self.deadline.unwrap_or_else(|| Instant::now() + self.idle);
        let (count, wire) = within(allowed.saturating_sub(self.wire).min(HEAD), until, || self.inner.read(buffer));
        self.wire += wire;
        self.received += *count.as_ref().unwrap_or(&0) as u64;
        count
    }
}

/// Puts each connection under the allowance of whoever waits for it.
#[derive(Debug)]
pub struct Meter;

impl<In: Transport> Connector<In> for Meter {
    type Out = Metered<In>;

    fn connect(&self, _: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, ureq::Error> {
        Ok(chained.map(Metered))
    }
}

/// A connection whose bytes are counted.
pub struct Metered<T>(T);

impl<T: Transport> Transport for Metered<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.0.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.0.transmit_output(amount, shortened(timeout)?)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let timeout = shortened(timeout)?;
        let before = self.0.buffers().input().len();
        let more = self.0.await_input(timeout)?;
        let came = self.0.buffers().input().len().saturating_sub(before) as u64;
        if let Some(mut allowance) = ALLOWANCE.get() {
            let enough = came <= allowance.left;
            allowance.left = allowance.left.saturating_sub(came);
            ALLOWANCE.set(Some(allowance));
            if !enough {
                return Err(ureq::Error::BodyExceedsLimit(allowance.bytes));
            }
        }
        Ok(more)
    }

    fn is_open(&mut self) -> bool {
        self.0.is_open()
    }

    fn is_tls(&self) -> bool {
        self.0.is_tls()
    }
}

/// No longer than the allowance lasts.
fn shortened(mut timeout: NextTimeout) -> Result<NextTimeout, ureq::Error> {
    let Some(allowance) = ALLOWANCE.get() else { return Ok(timeout) };
    let left = allowance.until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(ureq::Error::Timeout(Timeout::Global));
    }
    if left < *timeout.after {
        (timeout.after, timeout.reason) = (left.into(), Timeout::Global);
    }
    Ok(timeout)
}

impl<T: Transport> fmt::Debug for Metered<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Metered").field(&self.0).finish()
    }
}
