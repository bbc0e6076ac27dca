//! Pieces of a stream that several threads read, and whose memory comes back.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// A piece of a stream. Its memory goes home to the ring when the last reader is done with it.
pub(super) struct Chunk {
    /// All of its memory, which the next piece is not to have cleared again.
    bytes: Vec<u8>,
    length: usize,
    home: Sender<Vec<u8>>,
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // The ring is gone at the end: then the memory is not needed any more.
        let _ = self.home.send(std::mem::take(&mut self.bytes));
    }
}

/// A fixed number of pieces. Who fills them waits for memory, so a slow reader holds up the source.
pub(super) struct Ring {
    size: usize,
    home: Sender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
}

impl Ring {
    /// A ring of `count` pieces of `size` bytes.
    pub(super) fn new(count: usize, size: usize) -> Self {
        let (home, empty) = channel();
        for _ in 0..count {
            let _ = home.send(Vec::new());
        }
        Self { size, home, empty }
    }

    /// Memory for the next piece, of full size; what it holds is of no meaning. Waits until there is some.
    pub(super) fn take(&self) -> Vec<u8> {
        // Never fails: the ring itself holds a sender.
        let mut bytes = self.empty.recv().unwrap_or_default();
        bytes.resize(self.size, 0);
        bytes
    }

    /// The first `length` bytes of what [`Self::take`] gave, to be read by many.
    pub(super) fn chunk(&self, bytes: Vec<u8>, length: usize) -> Arc<Chunk> {
        Arc::new(Chunk { bytes, length, home: self.home.clone() })
    }
}
