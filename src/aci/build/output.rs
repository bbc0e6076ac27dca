//! The stream that is built: chunks for the hasher and the compressors.

use std::io::{self, Read, Write};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use appc_codec::Cutter;

use super::compress::{self, Codec, Sealed};
use crate::aci::hash::Hash;
use crate::aci::ring::{Chunk, Ring};
use crate::aci::{Error, Kind, Result};

/// Bytes that a compressor gets at once mostly, as a power of two: part of the format, since it decides where members end. Where they
/// end is decided by what stands there, so that an image that is built again with some other files is the same but around those.
const USUAL: u32 = 17;
/// The most that is written before it is looked through.
const STEP: usize = 64 << 10;
/// Some for each compressor and some on their way.
const CHUNKS: usize = 16;

/// Runs `work`, which writes the tar stream, while others hash, compress and write it to `out`. Gives the digest of the stream.
pub(super) fn run<H: Hash, T>(
    codec: &Codec,
    progress: Option<&AtomicU64>,
    mut out: impl Write + Send,
    work: impl FnOnce(&mut Output<'_>) -> Result<T>,
) -> Result<(T, H::Digest)> {
    thread::scope(|scope| {
        let (hashing, to_hash) = channel::<Arc<Chunk>>();
        let (sealing, to_seal) = compress::queue();
        let hasher = scope.spawn(move || {
            let mut hash = H::new();
            for chunk in to_hash {
                hash.update(&chunk);
            }
            hash.finish()
        });
        let writer = scope.spawn(move || compress::run(codec, to_seal, &mut out));
        let cutter = Cutter::new(USUAL);
        let ring = Ring::new(CHUNKS, cutter.most());
        let current = ring.take();
        let mut output = Output { ring, current, filled: 0, seen: 0, cutter, size: 0, hashing, sealing, progress };
        let worked = work(&mut output);
        // Without its end the stream is seen to be broken, and nobody asks for it.
        let ended = worked.is_ok().then(|| output.end());
        drop(output);
        let written = writer.join().unwrap_or_else(|panic| resume_unwind(panic));
        let digest = hasher.join().unwrap_or_else(|panic| resume_unwind(panic));
        // A writer that fails stops the work: its error is the reason.
        written.map_err(|error| Error::new(Kind::Io, "write the image").because(error))?;
        let worked = worked?;
        if let Some(ended) = ended {
            ended?;
        }
        Ok((worked, digest))
    })
}

/// Where the tar stream is written to.
pub(super) struct Output<'a> {
    ring: Ring,
    current: Vec<u8>,
    filled: usize,
    /// How much of that was looked through.
    seen: usize,
    cutter: Cutter,
    size: u64,
    hashing: Sender<Arc<Chunk>>,
    sealing: Sealed,
    progress: Option<&'a AtomicU64>,
}

impl Output<'_> {
    /// Bytes written so far.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let space = self.space()?;
            let count = space.len().min(bytes.len());
            space[..count].copy_from_slice(&bytes[..count]);
            self.advance(count);
            bytes = &bytes[count..];
        }
        Ok(())
    }

    /// Writes zeros up to the next multiple of `size`.
    pub(super) fn pad(&mut self, size: u64) -> Result<()> {
        let mut rest = self.size.wrapping_neg() % size;
        while rest > 0 {
            let space = self.space()?;
            let count = space.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
            space[..count].fill(0);
            self.advance(count);
            rest -= count as u64;
        }
        Ok(())
    }

    /// Copies `length` bytes from `source`, straight into the chunk. Tells how many there were.
    pub(super) fn copy(&mut self, source: &mut dyn Read, length: u64) -> Result<io::Result<u64>> {
        let mut copied = 0;
        while copied < length {
            let space = self.space()?;
            let count = space.len().min(usize::try_from(length - copied).unwrap_or(usize::MAX));
            match source.read(&mut space[..count]) {
                Ok(0) => break,
                Ok(count) => {
                    self.advance(count);
                    copied += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(copied))
    }

    /// Where the next bytes go, at least one.
    fn space(&mut self) -> Result<&mut [u8]> {
        self.cut()?;
        let end = self.current.len().min(self.filled + STEP);
        Ok(&mut self.current[self.filled..end])
    }

    /// Delivers the pieces that have come to their ends. A full one has.
    fn cut(&mut self) -> Result<()> {
        while let Some(count) = self.cutter.cut(&self.current[self.seen..self.filled]) {
            self.deliver(self.seen + count)?;
        }
        self.seen = self.filled;
        Ok(())
    }

    fn advance(&mut self, count: usize) {
        self.filled += count;
        self.size += count as u64;
        if let Some(progress) = self.progress {
            progress.fetch_add(count as u64, Ordering::Relaxed);
        }
    }

    fn deliver(&mut self, length: usize) -> Result<()> {
        let mut next = self.ring.take();
        let rest = self.filled - length;
        next[..rest].copy_from_slice(&self.current[length..self.filled]);
        let chunk = self.ring.chunk(std::mem::replace(&mut self.current, next), length);
        (self.filled, self.seen) = (rest, 0);
        let gone = self.hashing.send(Arc::clone(&chunk)).is_err() | !self.sealing.send(chunk);
        if gone { Err(Error::new(Kind::Io, "write the image")) } else { Ok(()) }
    }

    fn end(&mut self) -> Result<()> {
        self.cut()?;
        if self.filled > 0 {
            self.deliver(self.filled)?;
        }
        self.sealing.end();
        Ok(())
    }
}
