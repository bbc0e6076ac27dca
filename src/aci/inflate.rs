//! DEFLATE as a stream.

use std::io;

use flate2::{Decompress, FlushDecompress, Status};

#[cfg(all(feature = "run", unix))]
use crate::sys::inflate::{AHEAD as QUICK_AHEAD, Inflate as Quick};

/// Bytes of input that a decoder is to have where there is more to come.
#[cfg(all(feature = "run", unix))]
pub(super) const AHEAD: usize = QUICK_AHEAD;
#[cfg(not(all(feature = "run", unix)))]
pub(super) const AHEAD: usize = 1;
/// Bytes that are decoded at once.
const SPACE: usize = 64 << 10;

/// A stream being decoded.
// There is one an archive.
#[allow(clippy::large_enum_variant)]
pub(super) enum Inflate {
    /// By a library in safe code.
    Any(Any),
    /// By our own.
    #[cfg(all(feature = "run", unix))]
    Quick(Quick),
}

impl Inflate {
    pub(super) fn new() -> Self {
        // Without optimisation, dependencies are quicker than anything of ours: they are optimised all the same.
        #[cfg(all(feature = "run", unix))]
        if !cfg!(debug_assertions) {
            return Self::Quick(Quick::new());
        }
        Self::Any(Any { stream: Decompress::new(false), bytes: vec![0; SPACE], from: 0, to: 0, done: false })
    }

    /// Starts with another stream.
    pub(super) fn reset(&mut self) {
        match self {
            Self::Any(any) => any.reset(),
            #[cfg(all(feature = "run", unix))]
            Self::Quick(quick) => quick.reset(),
        }
    }

    /// Whether the stream has ended. What was decoded may still be there.
    pub(super) fn done(&self) -> bool {
        match self {
            Self::Any(any) => any.done,
            #[cfg(all(feature = "run", unix))]
            Self::Quick(quick) => quick.done(),
        }
    }

    /// What was decoded and not taken.
    pub(super) fn decoded(&self) -> &[u8] {
        match self {
            Self::Any(any) => &any.bytes[any.from..any.to],
            #[cfg(all(feature = "run", unix))]
            Self::Quick(quick) => quick.decoded(),
        }
    }

    /// Takes the first `count` bytes of what was decoded away.
    pub(super) fn take(&mut self, count: usize) {
        match self {
            Self::Any(any) => any.from += count,
            #[cfg(all(feature = "run", unix))]
            Self::Quick(quick) => quick.take(count),
        }
    }

    /// Decodes more of the stream once all that was decoded is taken. It goes on with `input`, [`AHEAD`] bytes at least, and has
    /// `ended` with it where that is all there is. Tells how many bytes were used; what was decoded before an error is there.
    pub(super) fn decode(&mut self, input: &[u8], ended: bool) -> (usize, io::Result<()>) {
        match self {
            Self::Any(any) => any.decode(input, ended),
            #[cfg(all(feature = "run", unix))]
            Self::Quick(quick) => quick.decode(input, ended),
        }
    }
}

pub(super) struct Any {
    stream: Decompress,
    bytes: Vec<u8>,
    from: usize,
    to: usize,
    done: bool,
}

impl Any {
    fn reset(&mut self) {
        self.stream.reset(false);
        (self.from, self.to, self.done) = (0, 0, false);
    }

    fn decode(&mut self, input: &[u8], ended: bool) -> (usize, io::Result<()>) {
        let (read, written) = (self.stream.total_in(), self.stream.total_out());
        let result = self.stream.decompress(input, &mut self.bytes, FlushDecompress::None);
        // No more than what was given in each case.
        let used = usize::try_from(self.stream.total_in() - read).unwrap_or(input.len());
        (self.from, self.to) = (0, usize::try_from(self.stream.total_out() - written).unwrap_or_default());
        self.done = matches!(result, Ok(Status::StreamEnd));
        let result = match result {
            Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            Ok(_) if ended && used == 0 && self.to == 0 && !self.done => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the compressed data ends too early"))
            }
            Ok(_) => Ok(()),
        };
        (used, result)
    }
}
