//! The ring of chunks and the threads around it.
//!
//! The decoder fills chunks, the hasher and the tar reader read the same ones, and the last of the two sends a chunk's
//! memory home. The decoder waits for memory, never for a queue, so a stuck reader stops the source.

use std::io::Read;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::hash::Hash;
use super::open::Decoder;
use super::ring::{Chunk, Ring};
use super::{Compression, ReadOptions, Result};
use crate::diagnostic::Diagnostic;

/// Large enough that waking a thread costs nothing beside the work on it, small enough to stay in a core's cache.
const CHUNK: usize = 512 << 10;
/// Enough that none of the three threads waits for a short hiccup of another.
const CHUNKS: usize = 16;
/// Bytes of headers that are kept between two contents: those of some 60,000 entries.
const MAX_KEPT: usize = 64 << 20;

/// What is known once the stream has ended.
pub(super) struct End {
    pub(super) compression: Compression,
    pub(super) encrypted: bool,
    pub(super) transferred: u64,
    pub(super) size: u64,
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// Runs `work` over the decompressed stream of `source` while it is read, decompressed and hashed on two other threads.
/// There is no [`End`], and no digest of the stream, where `work` did not read to the end.
pub(super) fn run<H: Hash, T>(
    source: impl Read + Send,
    options: &ReadOptions,
    work: impl FnOnce(&mut Stream) -> T,
) -> (T, Option<(End, H::Digest)>) {
    thread::scope(|scope| {
        let ring = Ring::new(CHUNKS, CHUNK);
        let (parsing, incoming) = channel();
        let (hashing, to_hash) = channel::<Arc<Chunk>>();
        let decoder = scope.spawn(move || decode(source, options, &ring, &parsing, &hashing));
        let hasher = scope.spawn(move || {
            let mut hash = H::new();
            for chunk in to_hash {
                hash.update(&chunk);
            }
            hash.finish()
        });

        let mut stream = Stream { incoming, current: None, at: 0, offset: 0, kept: None };
        let worked = work(&mut stream);
        drop(stream);
        let decoded = decoder.join().unwrap_or_else(|panic| resume_unwind(panic));
        let digest = hasher.join().unwrap_or_else(|panic| resume_unwind(panic));
        (worked, decoded.map(|end| (end, digest)))
    })
}

/// The decoder's thread. Gives nothing where it was stopped, by an error (which goes down the stream) or by its reader.
fn decode(
    source: impl Read + Send,
    options: &ReadOptions,
    ring: &Ring,
    parsing: &Sender<Result<Arc<Chunk>>>,
    hashing: &Sender<Arc<Chunk>>,
) -> Option<End> {
    let mut decoder = match Decoder::open(source, options) {
        Ok(decoder) => decoder,
        Err(error) => {
            let _ = parsing.send(Err(error));
            return None;
        }
    };
    loop {
        let mut bytes = ring.take();
        match decoder.fill(&mut bytes) {
            Ok(0) => return Some(decoder.end()),
            Ok(filled) => {
                let chunk = ring.chunk(bytes, filled);
                if parsing.send(Ok(Arc::clone(&chunk))).is_err() || hashing.send(chunk).is_err() {
                    return None;
                }
            }
            Err(error) => {
                let _ = parsing.send(Err(error));
                return None;
            }
        }
    }
}

/// The decompressed stream, as its reader sees it.
pub(super) struct Stream {
    incoming: Receiver<Result<Arc<Chunk>>>,
    current: Option<Arc<Chunk>>,
    at: usize,
    offset: u64,
    /// What was moved past and is no piece of content, where somebody wants to have it.
    kept: Option<Vec<u8>>,
}

impl Stream {
    /// What can be read without waiting, at least one byte; empty at the end.
    pub(super) fn fill(&mut self) -> Result<&[u8]> {
        if self.current.as_ref().is_none_or(|chunk| self.at == chunk.len()) {
            self.current = None;
            self.at = 0;
            match self.incoming.recv() {
                Ok(chunk) => self.current = Some(chunk?),
                Err(_) => return Ok(&[]),
            }
        }
        Ok(self.current.as_ref().map_or(&[], |chunk| &chunk[self.at..]))
    }

    /// Moves past `count` bytes of what [`Self::fill`] gave.
    pub(super) fn consume(&mut self, count: usize) {
        if let (Some(kept), Some(chunk)) = (&mut self.kept, &self.current) {
            kept.extend_from_slice(&chunk[self.at..self.at + count]);
            if kept.len() > MAX_KEPT {
                self.kept = None;
            }
        }
        self.advance(count);
    }

    fn advance(&mut self, count: usize) {
        self.at += count;
        self.offset += count as u64;
    }

    /// Keeps, from now on, all bytes but those of contents that are read piece by piece.
    pub(super) fn keep(&mut self) {
        self.kept = Some(Vec::new());
    }

    /// What was kept since this was asked before; nothing where it was more than is kept.
    pub(super) fn kept(&mut self) -> Option<Vec<u8>> {
        self.kept.as_mut().map(std::mem::take)
    }

    /// Bytes of the stream before the next one.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next bytes, `most` at most, moving past them; empty at the end.
    pub(super) fn piece(&mut self, most: u64) -> Result<&[u8]> {
        let count = self.fill()?.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        self.advance(count);
        Ok(self.current.as_ref().map_or(&[], |chunk| &chunk[self.at - count..self.at]))
    }

    /// Fills `into` as far as there are bytes and tells how many.
    pub(super) fn take(&mut self, into: &mut [u8]) -> Result<usize> {
        let mut taken = 0;
        while taken < into.len() {
            let ready = self.fill()?;
            if ready.is_empty() {
                break;
            }
            let count = ready.len().min(into.len() - taken);
            into[taken..taken + count].copy_from_slice(&ready[..count]);
            taken += count;
            self.consume(count);
        }
        Ok(taken)
    }

    /// Moves past up to `count` bytes and tells how many there were.
    pub(super) fn skip(&mut self, count: u64) -> Result<u64> {
        let mut skipped = 0;
        while skipped < count {
            let ready = self.fill()?.len();
            if ready == 0 {
                break;
            }
            let step = usize::try_from(count - skipped).unwrap_or(usize::MAX).min(ready);
            self.consume(step);
            skipped += step as u64;
        }
        Ok(skipped)
    }
}
