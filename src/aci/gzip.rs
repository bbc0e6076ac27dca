//! gzip members one after the other. The library's own multi-member reader takes zero bytes for a broken member.
//!
//! A member that fits into memory whole, as those of our own images and of other parallel compressors do, is decoded by
//! libdeflate in half the time that a stream takes; any other is read as a stream.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

/// The byte that a member begins with.
const MAGIC: u8 = 0x1f;
/// The flag of a header that has a checksum of its own.
#[cfg(feature = "run")]
const HEADER_CHECKSUM: u8 = 2;
/// Bytes of the source that are held.
const WINDOW: usize = 2 << 20;
/// Bytes of a member that is decoded at once: those of our builder have half of it.
#[cfg(feature = "run")]
const MEMBER: usize = 2 << 20;
/// So many members in a row that did not fit, and it is not tried any more.
#[cfg(feature = "run")]
const TRIES: u32 = 3;

/// A gzip file's content.
pub(super) struct Gzip<R> {
    state: State<R>,
    padded: bool,
    #[cfg(feature = "run")]
    whole: Whole,
}

// There is one an archive.
#[allow(clippy::large_enum_variant)]
enum State<R> {
    /// Before a member, the first or another.
    Between(Window<R>),
    Member(GzDecoder<Window<R>>),
    /// Serving what was decoded at once.
    #[cfg(feature = "run")]
    Decoded(Window<R>),
    End,
}

impl<R: Read> Gzip<R> {
    pub(super) fn new(source: R) -> Self {
        Self {
            state: State::Between(Window::new(source)),
            padded: false,
            #[cfg(feature = "run")]
            whole: Whole::default(),
        }
    }

    /// Whether zero bytes follow the last member.
    pub(super) fn padded(&self) -> bool {
        self.padded
    }

    pub(super) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut first = self.first();
        loop {
            match std::mem::replace(&mut self.state, State::End) {
                State::End => return Ok(0),
                State::Between(mut window) => match window.fill_buf()?.first() {
                    None if !first => return Ok(0),
                    Some(0) if !first => return self.zeros(window).map(|()| 0),
                    Some(byte) if !first && *byte != MAGIC => return Err(follows()),
                    _ => self.state = self.begin(window)?,
                },
                State::Member(mut member) => {
                    let count = member.read(into)?;
                    if count > 0 {
                        self.state = State::Member(member);
                        return Ok(count);
                    }
                    self.state = State::Between(member.into_inner());
                }
                #[cfg(feature = "run")]
                State::Decoded(window) => {
                    let count = self.whole.give(into);
                    if count > 0 {
                        self.state = State::Decoded(window);
                        return Ok(count);
                    }
                    self.state = State::Between(window);
                }
            }
            first = false;
        }
    }

    /// Whether nothing was read so far: then what comes must be a member.
    fn first(&self) -> bool {
        matches!(&self.state, State::Between(window) if !window.used)
    }

    #[cfg(feature = "run")]
    fn begin(&mut self, mut window: Window<R>) -> io::Result<State<R>> {
        if self.whole.misses < TRIES {
            let held = window.fill()?;
            // libdeflate does not look at a header's own checksum.
            let checked = held.get(3).is_some_and(|flags| flags & HEADER_CHECKSUM != 0);
            if let Some(read) = (!checked).then(|| self.whole.decode(held)).flatten() {
                window.consume(read);
                return Ok(State::Decoded(window));
            }
        }
        Ok(State::Member(GzDecoder::new(window)))
    }

    #[cfg(not(feature = "run"))]
    #[allow(clippy::unnecessary_wraps, reason = "as with libdeflate")]
    fn begin(&mut self, window: Window<R>) -> io::Result<State<R>> {
        Ok(State::Member(GzDecoder::new(window)))
    }

    fn zeros(&mut self, mut source: Window<R>) -> io::Result<()> {
        self.padded = true;
        loop {
            let ready = source.fill_buf()?;
            if ready.is_empty() {
                return Ok(());
            }
            if ready.iter().any(|&byte| byte != 0) {
                return Err(follows());
            }
            let count = ready.len();
            source.consume(count);
        }
    }
}

fn follows() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "something else follows the last gzip member")
}

/// The member that was decoded last.
#[cfg(feature = "run")]
#[derive(Default)]
struct Whole {
    inflater: Option<crate::sys::inflate::Inflater>,
    bytes: Vec<u8>,
    at: usize,
    end: usize,
    misses: u32,
}

#[cfg(feature = "run")]
impl Whole {
    /// Decodes the member that `held` begins with, and tells how long it is; nothing where it must be read as a stream, which
    /// also tells what is wrong with it.
    fn decode(&mut self, held: &[u8]) -> Option<usize> {
        if self.inflater.is_none() {
            self.inflater = crate::sys::inflate::Inflater::new();
            self.bytes = vec![0; MEMBER];
        }
        let decoded = self.inflater.as_mut()?.member(held, &mut self.bytes);
        self.misses = if decoded.is_some() { 0 } else { self.misses + 1 };
        let (read, written) = decoded?;
        (self.at, self.end) = (0, written);
        Some(read)
    }

    fn give(&mut self, into: &mut [u8]) -> usize {
        let count = into.len().min(self.end - self.at);
        into[..count].copy_from_slice(&self.bytes[self.at..self.at + count]);
        self.at += count;
        count
    }
}

/// A buffered source that can be asked to hold as much as fits.
struct Window<R> {
    source: R,
    bytes: Vec<u8>,
    at: usize,
    end: usize,
    ended: bool,
    used: bool,
}

impl<R: Read> Window<R> {
    fn new(source: R) -> Self {
        Self { source, bytes: vec![0; WINDOW], at: 0, end: 0, ended: false, used: false }
    }

    /// All that fits of what comes.
    #[cfg(feature = "run")]
    fn fill(&mut self) -> io::Result<&[u8]> {
        // Moving what is left is worth it only where it brings much.
        if self.end - self.at < WINDOW / 2 {
            self.bytes.copy_within(self.at..self.end, 0);
            (self.at, self.end) = (0, self.end - self.at);
            while self.end < WINDOW && !self.ended {
                self.more()?;
            }
        }
        Ok(&self.bytes[self.at..self.end])
    }

    fn more(&mut self) -> io::Result<()> {
        loop {
            match self.source.read(&mut self.bytes[self.end..]) {
                Ok(count) => {
                    self.ended = count == 0;
                    self.end += count;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl<R: Read> Read for Window<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut ready = self.fill_buf()?;
        let count = ready.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

impl<R: Read> BufRead for Window<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.end && !self.ended {
            (self.at, self.end) = (0, 0);
            self.more()?;
        }
        Ok(&self.bytes[self.at..self.end])
    }

    fn consume(&mut self, count: usize) {
        self.used |= count > 0;
        self.at += count;
    }
}
