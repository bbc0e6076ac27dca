//! gzip (RFC 1952): members one after the other, each with its checksum.
//!
//! The libraries' readers of several members take zero bytes behind the last for a broken one.

use std::io::{self, Read};

use appc_codec::{AHEAD, Inflate};
#[cfg(not(all(feature = "run", unix)))]
use flate2::Crc;
#[cfg(all(feature = "run", unix))]
use libdeflater::Crc;

/// The bytes that a member begins with.
const MAGIC: [u8; 2] = [0x1f, 0x8b];
/// The only way of compressing that there is.
const DEFLATE: u8 = 8;
/// Flags of a header: it has a checksum, more fields, a name, a comment; what is left is reserved.
const CHECKSUM: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;
const RESERVED: u8 = 0xe0;
/// Bytes of the source that are held.
const WINDOW: usize = 256 << 10;

/// A gzip file's content.
pub(super) struct Gzip<R> {
    source: Window<R>,
    state: State,
    inflate: Inflate,
    /// Of what this member's header or content gave so far.
    sum: Crc,
    size: u32,
    /// What went wrong behind the bytes that are not given yet.
    failed: Option<io::Error>,
    padded: bool,
}

enum State {
    /// Before the first member, which must be there.
    First,
    /// Before another.
    Between,
    Member,
    End,
}

impl<R: Read> Gzip<R> {
    pub(super) fn new(source: R) -> Self {
        Self {
            source: Window { source, bytes: vec![0; WINDOW], at: 0, end: 0, ended: false },
            state: State::First,
            inflate: Inflate::new(),
            sum: Crc::new(),
            size: 0,
            failed: None,
            padded: false,
        }
    }

    /// Whether zero bytes follow the last member.
    pub(super) fn padded(&self) -> bool {
        self.padded
    }

    pub(super) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.state {
                State::End => return Ok(0),
                State::First => self.begin()?,
                State::Between => match self.source.ahead(1)?.first() {
                    None => self.state = State::End,
                    Some(0) => {
                        self.padded = true;
                        self.zeros()?;
                        self.state = State::End;
                    }
                    Some(byte) if *byte != MAGIC[0] => return Err(follows()),
                    Some(_) => self.begin()?,
                },
                State::Member => {
                    let decoded = self.inflate.decoded();
                    if !decoded.is_empty() {
                        let count = into.len().min(decoded.len());
                        into[..count].copy_from_slice(&decoded[..count]);
                        self.inflate.take(count);
                        return Ok(count);
                    }
                    if let Some(error) = self.failed.take() {
                        return Err(error);
                    }
                    if self.inflate.done() { self.finish()? } else { self.decode()? }
                }
            }
        }
    }

    fn decode(&mut self) -> io::Result<()> {
        let input = self.source.ahead(AHEAD)?;
        let ended = input.len() < AHEAD;
        let (used, result) = self.inflate.decode(input, ended);
        self.source.consume(used);
        let decoded = self.inflate.decoded();
        self.sum.update(decoded);
        // The size is kept modulo 2^32.
        self.size = self.size.wrapping_add(decoded.len() as u32);
        self.failed = result.err();
        Ok(())
    }

    /// Reads a member's header.
    fn begin(&mut self) -> io::Result<()> {
        self.sum = Crc::new();
        let [magic @ .., method, flags, _, _, _, _, _, _] = self.header::<10>()?;
        if magic != MAGIC {
            return Err(broken("a gzip member does not begin as one"));
        }
        if method != DEFLATE {
            return Err(broken("a gzip member is compressed in a way that there is none"));
        }
        if flags & RESERVED != 0 {
            return Err(broken("a gzip member has flags that there are none"));
        }
        if flags & EXTRA != 0 {
            for _ in 0..u16::from_le_bytes(self.header()?) {
                self.header::<1>()?;
            }
        }
        for text in [NAME, COMMENT] {
            while flags & text != 0 && self.header()? != [0] {}
        }
        if flags & CHECKSUM != 0 {
            // The lower half of what the checksum would be.
            let sum = self.sum.sum().to_le_bytes();
            if self.header()? != [sum[0], sum[1]] {
                return Err(broken("a gzip member's header does not match its checksum"));
            }
        }
        (self.sum, self.size) = (Crc::new(), 0);
        self.inflate.reset();
        self.state = State::Member;
        Ok(())
    }

    fn header<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let bytes = self.source.take()?;
        self.sum.update(&bytes);
        Ok(bytes)
    }

    /// Reads what stands behind a member's content, and checks the content with it.
    fn finish(&mut self) -> io::Result<()> {
        if u32::from_le_bytes(self.source.take()?) != self.sum.sum() {
            return Err(broken("a gzip member's content does not match its checksum"));
        }
        if u32::from_le_bytes(self.source.take()?) != self.size {
            return Err(broken("a gzip member's content is not as long as it says"));
        }
        self.state = State::Between;
        Ok(())
    }

    fn zeros(&mut self) -> io::Result<()> {
        loop {
            let ready = self.source.ahead(1)?;
            if ready.is_empty() {
                return Ok(());
            }
            if ready.iter().any(|&byte| byte != 0) {
                return Err(follows());
            }
            let count = ready.len();
            self.source.consume(count);
        }
    }
}

fn broken(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn follows() -> io::Error {
    broken("something else follows the last gzip member")
}

/// A buffered source that can be asked to hold so many bytes at least.
struct Window<R> {
    source: R,
    bytes: Vec<u8>,
    at: usize,
    end: usize,
    ended: bool,
}

impl<R: Read> Window<R> {
    /// What is held of what comes: `least` bytes at least, less only where there is no more.
    fn ahead(&mut self, least: usize) -> io::Result<&[u8]> {
        while self.end - self.at < least && !self.ended {
            self.bytes.copy_within(self.at..self.end, 0);
            (self.at, self.end) = (0, self.end - self.at);
            match self.source.read(&mut self.bytes[self.end..]) {
                Ok(count) => {
                    self.ended = count == 0;
                    self.end += count;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(&self.bytes[self.at..self.end])
    }

    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let bytes = *self
            .ahead(N)?
            .first_chunk()
            .ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "the compressed data ends too early"))?;
        self.consume(N);
        Ok(bytes)
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}
