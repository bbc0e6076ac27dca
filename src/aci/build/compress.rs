//! Compression, in the order of the stream.
//!
//! gzip is a member for each piece, made side by side, as the format allows and any gzip reads. Where members end depends on the
//! stream alone: the result is the same on one core and on many, and what two streams have in common is mostly the same bytes when
//! compressed, too. A member begins without knowledge of what came before, which
//! costs less than libdeflate gains over zlib at the same effort; that is also why it is used here.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use libdeflater::{CompressionLvl, Compressor};

use crate::aci::ring::Chunk;
use crate::aci::{Compression, Error, Kind, Result};

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
            // libdeflate's 5 packs as well as zlib's 6.
            Compression::Gzip => (1..=9, 5),
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
        Compression::None => serial(queue, out, |out, bytes| out.write_all(bytes), Ok),
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
    done: SyncSender<io::Result<Vec<u8>>>,
}

fn gzip(level: u32, queue: Queue, out: &mut (dyn Write + Send)) -> io::Result<&mut (dyn Write + Send)> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let (jobs, waiting) = sync_channel::<Job>(cores);
        let waiting = Arc::new(Mutex::new(waiting));
        let workers: Vec<_> = (0..cores)
            .map(|_| {
                let waiting = Arc::clone(&waiting);
                scope.spawn(move || {
                    // The codec has checked the level.
                    let level = CompressionLvl::new(i32::try_from(level).unwrap_or(0)).unwrap_or_default();
                    let mut compressor = Compressor::new(level);
                    loop {
                        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
                        let Ok(Job { chunk, done }) = job else { break };
                        let mut member = vec![0; compressor.gzip_compress_bound(chunk.len())];
                        let length = compressor.gzip_compress(&chunk, &mut member);
                        drop(chunk);
                        let member = length.map_err(|error| io::Error::other(error.to_string())).map(|length| {
                            member.truncate(length);
                            member
                        });
                        // Nobody waits where writing failed.
                        let _ = done.send(member);
                    }
                })
            })
            .collect();
        drop(waiting);
        let written = in_order(queue, jobs, cores + 1, out);
        for worker in workers {
            worker.join().unwrap_or_else(|panic| resume_unwind(panic));
        }
        written
    })
}

/// Hands pieces to the compressors and writes what comes back, never more than `most` of them on their way.
fn in_order(
    queue: Queue,
    jobs: SyncSender<Job>,
    most: usize,
    out: &mut (dyn Write + Send),
) -> io::Result<&mut (dyn Write + Send)> {
    let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
    let mut ahead: VecDeque<Receiver<io::Result<Vec<u8>>>> = VecDeque::new();
    let mut write = |next: Receiver<io::Result<Vec<u8>>>| -> io::Result<()> {
        // A compressor that is gone has panicked, which its join tells.
        out.write_all(&next.recv().map_err(|_| gone())??)
    };
    loop {
        match queue.0.recv() {
            Ok(Piece::Data(chunk)) => {
                let (done, result) = sync_channel(1);
                jobs.send(Job { chunk, done }).map_err(|_| gone())?;
                ahead.push_back(result);
            }
            Ok(Piece::End) => break,
            // The stream was given up: so is this.
            Err(_) => return Err(gone()),
        }
        if ahead.len() >= most {
            ahead.pop_front().map_or(Ok(()), &mut write)?;
        }
    }
    drop(jobs);
    ahead.into_iter().try_for_each(&mut write)?;
    Ok(out)
}
