//! The body of an answer as it streams in: limited, watched for slowness, taken up again where it broke.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use url::Url;

use super::resume::Reopen;
use super::{Error, Kind, Limits};

/// How far a transfer has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'p> {
    /// What is transferred.
    pub url: &'p Url,
    /// Bytes so far.
    pub received: u64,
    /// Bytes in all, where the server says so.
    pub total: Option<u64>,
}

/// Who is told how far a transfer has come.
pub type Watch = Arc<dyn Fn(Progress<'_>) + Send + Sync>;

/// A body. Ends well only when all of it has come: what breaks off earlier and cannot be resumed is an error.
pub struct Body {
    source: Box<dyn Read + Send>,
    url: Url,
    received: u64,
    total: Option<u64>,
    limit: u64,
    deadline: Option<Instant>,
    pace: Pace,
    reopen: Option<Reopen>,
    watch: Option<Watch>,
}

impl Body {
    pub(super) fn new(source: Box<dyn Read + Send>, url: Url, total: Option<u64>, limit: u64, limits: &Limits) -> Self {
        let pace = Pace { rate: limits.slow_rate, window: limits.slow_window, waited: Duration::ZERO, bytes: 0 };
        Self { source, url, received: 0, total, limit, deadline: None, pace, reopen: None, watch: None }
    }

    /// That this is what comes behind so many bytes.
    #[must_use]
    pub(super) fn behind(mut self, bytes: u64) -> Self {
        self.received = bytes;
        self
    }

    #[must_use]
    pub(super) fn resumed_by(mut self, reopen: Option<Reopen>) -> Self {
        self.reopen = reopen;
        self
    }

    #[must_use]
    pub(super) fn until(mut self, deadline: Option<Instant>) -> Self {
        self.deadline = deadline;
        self
    }

    #[must_use]
    pub(super) fn watched_by(mut self, watch: Option<Watch>) -> Self {
        self.watch = watch;
        self
    }

    /// Bytes in all, where the server says so.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// Takes no more than this many bytes, which a dependency's `size` may demand (im.deps.size).
    pub fn limit(&mut self, bytes: u64) {
        self.limit = self.limit.min(bytes);
    }

    /// All of it.
    pub fn take_all(&mut self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes).map_err(|error| self.translate(error))?;
        Ok(bytes)
    }

    fn translate(&self, error: io::Error) -> Error {
        match error.downcast::<Error>() {
            Ok(error) => error,
            Err(error) => self.error(Kind::Unreachable).because(error),
        }
    }

    fn error(&self, kind: Kind) -> Error {
        Error::new(kind, format!("transfer {}", self.url))
    }

    fn step(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        if let Some(total) = self.total.filter(|total| *total > self.limit) {
            return Err(self.error(Kind::TooLarge).because(format!("{total} bytes, {} are allowed", self.limit)));
        }
        loop {
            if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(self.error(Kind::Timeout).because("it took too long as a whole"));
            }
            let begun = Instant::now();
            let result = self.source.read(buffer);
            let broken: io::Error = match result {
                Ok(0) if self.total.is_none_or(|total| self.received == total) => return Ok(0),
                Ok(0) => {
                    let total = self.total.unwrap_or_default();
                    let why = format!("it ended after {} of {total} bytes", self.received);
                    io::Error::new(io::ErrorKind::UnexpectedEof, why)
                }
                Ok(count) => {
                    self.account(count, begun.elapsed())?;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    let of = self.total.map(|total| format!(" of {total}")).unwrap_or_default();
                    let why = format!("the connection ended after {}{of} bytes", self.received);
                    io::Error::new(io::ErrorKind::UnexpectedEof, why)
                }
                Err(error) => error,
            };
            self.resume(broken)?;
        }
    }

    fn account(&mut self, count: usize, waited: Duration) -> Result<(), Error> {
        self.received += count as u64;
        if self.received > self.limit {
            return Err(self.error(Kind::TooLarge).because(format!("more than {} bytes", self.limit)));
        }
        if let Some(reopen) = &mut self.reopen {
            reopen.progressed(count as u64);
        }
        if let Some(rate) = self.pace.too_slow(count as u64, waited) {
            let why = format!("{rate} bytes a second, at least {} are wanted", self.pace.rate);
            return Err(self.error(Kind::Timeout).because(why));
        }
        if let Some(watch) = &self.watch {
            watch(Progress { url: &self.url, received: self.received, total: self.total });
        }
        Ok(())
    }

    /// Goes on where the connection broke, or says why not.
    fn resume(&mut self, broken: io::Error) -> Result<(), Error> {
        let inner = broken.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
        let timed_out = broken.kind() == io::ErrorKind::TimedOut || matches!(inner, Some(ureq::Error::Timeout(_)));
        if let Some(ureq::Error::BodyExceedsLimit(_)) = inner {
            let why = "the server sends much that is no part of it: chunks of nothing, trailers";
            return Err(self.error(Kind::TooLarge).because(why));
        }
        let kind = if timed_out { Kind::Timeout } else { Kind::Unreachable };
        let what = match timed_out {
            true => format!("nothing more came after {} bytes", self.received),
            false => broken.to_string(),
        };
        let Some(reopen) = &mut self.reopen else { return Err(self.error(kind).because(what)) };
        match reopen.reopen(self.received, self.total, &broken) {
            Ok(source) => {
                self.source = source;
                Ok(())
            }
            Err(why) => Err(self.error(kind).because(format!("{what}; {why}"))),
        }
    }
}

/// Whether a body that ended with this error may be taken up again at another time.
pub fn may_go_on(error: &io::Error) -> bool {
    let ours = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    ours.is_some_and(|error| matches!(error.kind(), Kind::Unreachable | Kind::Timeout))
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.step(buffer).map_err(io::Error::other)
    }
}

/// Watches for servers that give so little that they would be waited for without end. Only waiting counts: a slow
/// reader is no slow server.
struct Pace {
    rate: u64,
    window: Duration,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// The rate in bytes a second, when it was too low for a whole window.
    fn too_slow(&mut self, bytes: u64, waited: Duration) -> Option<u64> {
        self.bytes += bytes;
        self.waited += waited;
        if self.waited < self.window {
            return None;
        }
        let rate = u64::try_from(u128::from(self.bytes) * 1000 / self.waited.as_millis().max(1)).unwrap_or(u64::MAX);
        (self.bytes, self.waited) = (0, Duration::ZERO);
        (rate < self.rate).then_some(rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(bytes: &[u8], total: Option<u64>, limit: u64) -> Body {
        let source = Box::new(io::Cursor::new(bytes.to_vec()));
        Body::new(source, "https://h/a".parse().unwrap(), total, limit, &Limits::default())
    }

    #[test]
    fn a_body_that_ends_early_is_an_error_that_says_where() {
        let error = body(b"abc", Some(5), 100).take_all().unwrap_err();
        assert_eq!(*error.kind(), Kind::Unreachable);
        assert!(format!("{error:?}").contains("after 3 of 5"));
        assert_eq!(body(b"abc", Some(3), 100).take_all().unwrap(), b"abc");
    }

    #[test]
    fn more_than_is_allowed_is_refused_before_or_while_it_comes() {
        assert_eq!(*body(b"abcdef", Some(6), 5).take_all().unwrap_err().kind(), Kind::TooLarge);
        assert_eq!(*body(b"abcdef", None, 5).take_all().unwrap_err().kind(), Kind::TooLarge);
        assert_eq!(body(b"abcde", None, 5).take_all().unwrap(), b"abcde");
    }

    #[test]
    fn only_a_whole_slow_window_is_too_slow() {
        let mut pace = Pace { rate: 100, window: Duration::from_secs(10), waited: Duration::ZERO, bytes: 0 };
        for _ in 0..9 {
            assert_eq!(pace.too_slow(1, Duration::from_secs(1)), None);
        }
        assert_eq!(pace.too_slow(1, Duration::from_secs(1)), Some(1));
        assert_eq!(pace.too_slow(10_000, Duration::from_secs(11)), None);
    }
}
