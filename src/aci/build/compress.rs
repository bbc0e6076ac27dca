//! Compression, in the order of the stream.
//!
//! gzip is one member of deflate blocks that were made side by side: each begins with the end of the one before as its
//! dictionary and ends on a byte, so that they can be put together, and any gzip reads the whole. Where blocks end depends on the
//! stream alone: the result is the same on one core and on many.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use flate2::{Compress, Crc, FlushCompress, Status};

use crate::aci::ring::Chunk;
use crate::aci::{Compression, Error, Kind, Result};

/// As far back as deflate can look.
const WINDOW: usize = 32 << 10;
/// Pieces on their way to the compressors.
const QUEUE: usize = 2;

/// A codec and how hard it works.
pub(super) struct Codec {
    compression: Compression,
    level: u32,
}

impl Codec {
    pub(super) fn new(compression: Compression, level: Option<u32>) -> Result<Self> {
        let (levels, standard) = match compression {
            Compression::None => (0..=0, 0),
            Compression::Gzip => (1..=9, 6),
            Compression::Bzip2 => (1..=9, 9),
            Compression::Xz => (0..=9, 6),
            Compression::Zstd => (1..=19, 3),
        };
        let level = level.unwrap_or(standard);
        if !levels.contains(&level) {
            let range = format!("its levels are {} to {}", levels.start(), levels.end());
            return Err(Error::new(Kind::Refused, format!("compress by {compression} at level {level}")).because(range));
        }
        Ok(Self { compression, level })
    }
}

/// What comes to the writer: pieces, and the sign that they were all.
enum Piece {
    Data(Arc<Chunk>),
    End,
}

/// The way to the writer.
pub(super) struct Sealed(SyncSender<Piece>);

pub(super) struct Queue(Receiver<Piece>);

pub(super) fn queue() -> (Sealed, Queue) {
    let (to, from) = sync_channel(QUEUE);
    (Sealed(to), Queue(from))
}

impl Sealed {
    /// Hands a piece over; tells whether there is somebody to take it.
    pub(super) fn send(&self, chunk: Arc<Chunk>) -> bool {
        self.0.send(Piece::Data(chunk)).is_ok()
    }

    /// Says that the stream is whole.
    pub(super) fn end(&self) {
        // Without a writer there is an error already.
        let _ = self.0.send(Piece::End);
    }
}

/// Compresses what comes and writes it, until the end comes or the sender goes away.
pub(super) fn run(codec: &Codec, queue: Queue, out: &mut (dyn Write + Send)) -> io::Result<()> {
    match codec.compression {
        Compression::None => serial(queue, out, |out, bytes| out.write_all(bytes), |out| Ok(out)),
        Compression::Gzip => gzip(codec.level, queue, out),
        Compression::Bzip2 => {
            let encoder = bzip2::write::BzEncoder::new(out, bzip2::Compression::new(codec.level));
            serial(queue, encoder, |encoder, bytes| encoder.write_all(bytes), |encoder| encoder.finish())
        }
        Compression::Xz => {
            let encoder = liblzma::write::XzEncoder::new(out, codec.level);
            serial(queue, encoder, |encoder, bytes| encoder.write_all(bytes), |encoder| encoder.finish())
        }
        Compression::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(out, i32::try_from(codec.level).unwrap_or(0))?;
            encoder.include_checksum(true)?;
            serial(queue, encoder, |encoder, bytes| encoder.write_all(bytes), |encoder| encoder.finish())
        }
    }?
    .flush()
}

fn serial<E, W>(
    queue: Queue,
    mut encoder: E,
    write: impl Fn(&mut E, &[u8]) -> io::Result<()>,
    finish: impl FnOnce(E) -> io::Result<W>,
) -> io::Result<W> {
    for piece in queue.0 {
        match piece {
            Piece::Data(chunk) => write(&mut encoder, &chunk)?,
            Piece::End => break,
        }
    }
    finish(encoder)
}

/// A piece to be compressed by one of the compressors, and where the result is awaited.
struct Job {
    chunk: Arc<Chunk>,
    before: Option<Arc<Chunk>>,
    last: bool,
    done: SyncSender<io::Result<Block>>,
}

/// A compressed piece.
struct Block {
    bytes: Vec<u8>,
    crc: Crc,
}

fn gzip<'o>(level: u32, queue: Queue, out: &'o mut (dyn Write + Send)) -> io::Result<&'o mut (dyn Write + Send)> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let (jobs, waiting) = sync_channel::<Job>(cores);
        let waiting = Arc::new(Mutex::new(waiting));
        let workers: Vec<_> = (0..cores)
            .map(|_| {
                let waiting = Arc::clone(&waiting);
                scope.spawn(move || {
                    let mut compress = Compress::new(flate2::Compression::new(level), false);
                    loop {
                        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
                        let Ok(job) = job else { break };
                        let block = deflate(&mut compress, &job.chunk, job.before.as_deref(), job.last);
                        // Nobody waits where writing failed.
                        let _ = job.done.send(block);
                    }
                })
            })
            .collect();
        drop(waiting);
        let written = in_order(queue, jobs, cores + 1, level, out);
        for worker in workers {
            worker.join().unwrap_or_else(|panic| resume_unwind(panic));
        }
        written
    })
}

/// Hands pieces to the compressors and writes what comes back, never more than `most` of them on their way.
fn in_order<'o>(
    queue: Queue,
    jobs: SyncSender<Job>,
    most: usize,
    level: u32,
    out: &'o mut (dyn Write + Send),
) -> io::Result<&'o mut (dyn Write + Send)> {
    // No name, no time, an unknown system, as `gzip -n` does: the same input gives the same bytes.
    let effort = match level {
        9 => 2,
        1 => 4,
        _ => 0,
    };
    out.write_all(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, effort, 0xff])?;
    let mut crc = Crc::new();
    let mut ahead: VecDeque<Receiver<io::Result<Block>>> = VecDeque::new();
    let mut held: Option<Arc<Chunk>> = None;
    let mut before: Option<Arc<Chunk>> = None;
    let mut write = |ahead: &mut VecDeque<Receiver<io::Result<Block>>>| -> io::Result<()> {
        if let Some(next) = ahead.pop_front() {
            // A compressor that is gone has panicked, which its join tells.
            let block = next.recv().map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))??;
            crc.combine(&block.crc);
            out.write_all(&block.bytes)?;
        }
        Ok(())
    };
    // A piece waits until it is known whether it is the last.
    loop {
        let piece = queue.0.recv();
        let (next, last) = match piece {
            Ok(Piece::Data(chunk)) => (Some(chunk), false),
            Ok(Piece::End) => (None, true),
            // The stream was given up: so is this.
            Err(_) => return Err(io::ErrorKind::BrokenPipe.into()),
        };
        if let Some(chunk) = std::mem::replace(&mut held, next) {
            let (done, result) = sync_channel(1);
            let job = Job { chunk: Arc::clone(&chunk), before: before.replace(chunk), last, done };
            jobs.send(job).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
            ahead.push_back(result);
        }
        if last {
            break;
        }
        if ahead.len() >= most {
            write(&mut ahead)?;
        }
    }
    drop(jobs);
    while !ahead.is_empty() {
        write(&mut ahead)?;
    }
    let (sum, amount) = (crc.sum(), crc.amount());
    out.write_all(&sum.to_le_bytes())?;
    out.write_all(&amount.to_le_bytes())?;
    Ok(out)
}

fn deflate(compress: &mut Compress, bytes: &[u8], before: Option<&Chunk>, last: bool) -> io::Result<Block> {
    compress.reset();
    if let Some(before) = before {
        compress.set_dictionary(&before[before.len().saturating_sub(WINDOW)..])?;
    }
    let mut crc = Crc::new();
    crc.update(bytes);
    // Deflate falls back to stored blocks, which take a few bytes in 16 KiB.
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 1024 + 64);
    let flush = if last { FlushCompress::Finish } else { FlushCompress::Sync };
    loop {
        let taken = usize::try_from(compress.total_in()).unwrap_or(usize::MAX);
        match compress.compress_vec(&bytes[taken..], &mut out, flush)? {
            Status::StreamEnd => break,
            // The flush is complete when there was room left after it.
            _ if !last && out.len() < out.capacity() => break,
            _ => out.reserve(4096),
        }
    }
    Ok(Block { bytes: out, crc })
}
