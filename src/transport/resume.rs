//! Broken transfers, taken up again where they broke.

use std::io::{self, Read};
use std::ops;
use std::thread;
use std::time::Instant;

use ureq::http::{HeaderMap, StatusCode, header};

use super::Client;
use super::client::content_length;
use super::message::{Part, Request, Validators};
use super::wire::Counted;

/// Bytes after which a broken transfer counts as going well again: a TLS record. Servers that give so much between any two
/// breaks are still far above the rate below which transfers are given up.
const PROGRESS: u64 = 16 << 10;

/// A part of a body: the rest from a byte on, or up to another.
pub(super) struct Range {
    pub(super) from: u64,
    /// The byte behind it, where that is not the end.
    pub(super) to: Option<u64>,
    /// What tells that it is still the same.
    pub(super) if_range: Option<String>,
}

impl Range {
    pub(super) fn of(part: &Part) -> Self {
        Self { from: part.bytes.start, to: Some(part.bytes.end), if_range: part.of.if_range() }
    }
}

/// How a broken transfer is taken up again: same request, from where it broke, if it is still the same. Servers that
/// know no ranges give it from its beginning; what has come already is then passed over.
pub struct Reopen {
    client: Client,
    request: Request,
    validators: Validators,
    failures: u32,
    since: u64,
    /// The server refuses ranges.
    whole: bool,
}

impl Reopen {
    /// For the body of the answer to `request`, which had these validators.
    pub(super) fn new(client: Client, request: Request, validators: Validators) -> Self {
        Self { client, request, validators, failures: 0, since: 0, whole: false }
    }

    /// That so many bytes have come.
    pub(super) fn progressed(&mut self, bytes: u64) {
        self.since += bytes;
        if self.since >= PROGRESS {
            self.failures = 0;
        }
    }

    /// The rest of the body.
    pub(super) fn reopen(
        &mut self,
        from: u64,
        total: Option<u64>,
        broken: &io::Error,
    ) -> Result<Box<dyn Read + Send>, String> {
        let limits = self.client.limits();
        if self.failures >= limits.retries {
            return Err(format!("taken up again {} times without success", self.failures));
        }
        if matches!(broken.kind(), io::ErrorKind::InvalidData) {
            return Err("that is no reason to try again".to_owned());
        }
        thread::sleep(limits.back_off * 2u32.saturating_pow(self.failures.min(8)));
        self.failures += 1;
        self.since = 0;
        let range = Range { from, to: None, if_range: self.validators.if_range() };
        let follow =
            |range| self.client.follow(&self.request, range, None).map_err(|error| crate::error::chain(&error));
        let mut hop = follow((!self.whole).then_some(&range))?;
        if hop.response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            self.whole = true;
            hop = follow(None)?;
        }
        let headers = hop.response.headers();
        if self.validators.differ(headers) {
            return Err("it changed in between".to_owned());
        }
        let pass_over = match hop.response.status().as_u16() {
            206 => {
                let (start, whole) = content_range(headers).unwrap_or_default();
                if start != from || matches!((whole, total), (Some(whole), Some(total)) if whole != total) {
                    return Err("the server gave another part than the one asked for".to_owned());
                }
                0
            }
            200 if content_length(headers) == total => from,
            200 => return Err("it changed in between".to_owned()),
            status => return Err(format!("the server answered {status} to the request for the rest")),
        };
        let source = hop.response.into_body().into_with_config().limit(u64::MAX).reader();
        let limits = self.client.limits();
        let mut source = Counted::new(source, limits.image_bytes, limits.idle, None);
        self.pass_over(&mut source, pass_over)?;
        Ok(Box::new(source))
    }

    /// Reads what has come already, no slower than anything else.
    fn pass_over(&self, source: &mut impl Read, bytes: u64) -> Result<(), String> {
        let limits = self.client.limits();
        let begun = Instant::now();
        let mut left = source.take(bytes);
        let mut buffer = vec![0; 64 << 10];
        while left.limit() > 0 {
            match left.read(&mut buffer) {
                Ok(0) => return Err("what came again was shorter".to_owned()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
            let least = u128::from(limits.slow_rate) * begun.elapsed().as_millis() / 1000;
            if begun.elapsed() > limits.slow_window && u128::from(bytes - left.limit()) < least {
                return Err("it came again too slowly".to_owned());
            }
        }
        Ok(())
    }
}

/// First byte and length of the whole, as the header has them.
pub(super) fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    part_of(headers).map(|(bytes, whole)| (bytes.start, whole))
}

/// Which bytes an answer has, and the length of the whole, as the header has them.
pub(super) fn part_of(headers: &HeaderMap) -> Option<(ops::Range<u64>, Option<u64>)> {
    range_of(headers.get(header::CONTENT_RANGE)?.to_str().ok()?)
}

/// `bytes 5-9/10`.
fn range_of(text: &str) -> Option<(ops::Range<u64>, Option<u64>)> {
    let (range, whole) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, end) = range.split_once('-')?;
    let end = end.trim().parse::<u64>().ok()?.checked_add(1)?;
    Some((start.trim().parse().ok()?..end, whole.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_is_read() {
        assert_eq!(range_of("bytes 5-9/10"), Some((5..10, Some(10))));
        assert_eq!(range_of("bytes 5-9/*"), Some((5..10, None)));
        assert_eq!(range_of("items 5-9/10"), None);
        assert_eq!(range_of("bytes 5-18446744073709551615/10"), None);
    }
}
