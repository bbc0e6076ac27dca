//! The frames of a stream: a kind, a length, so many bytes.

use std::io::{self, Read, Write};

use super::{Error, Kind, Result};

/// What a stream of ours begins with.
pub const MAGIC: &[u8; 18] = b"appc zfs stream 1\n";
/// No frame is longer.
pub const LONGEST: usize = 1 << 20;

/// The index: what will come (JSON).
pub const INDEX: u8 = b'I';
/// A tree begins (JSON).
pub const TREE: u8 = b'T';
/// Bytes that `zfs send` gave.
pub const BLOCKS: u8 = b'Z';
/// Bytes of the archive.
pub const ARCHIVE: u8 = b'A';
/// The end of what came in several frames.
pub const END_OF_PART: u8 = b'.';
/// The end of all.
pub const END: u8 = b'E';
/// The sending side failed, and says why.
pub const FAILED: u8 = b'X';

/// Writes frames.
pub struct Writer<W> {
    to: W,
}

impl<W: Write> Writer<W> {
    /// Begins a stream.
    pub fn new(mut to: W) -> io::Result<Self> {
        to.write_all(MAGIC)?;
        Ok(Self { to })
    }

    /// One frame.
    pub fn frame(&mut self, kind: u8, content: &[u8]) -> io::Result<()> {
        let length = u32::try_from(content.len()).ok().filter(|length| *length as usize <= LONGEST);
        let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the frame is too long"))?;
        self.to.write_all(&[kind])?;
        self.to.write_all(&length.to_be_bytes())?;
        self.to.write_all(content)?;
        if matches!(kind, END | FAILED) { self.to.flush() } else { Ok(()) }
    }

    /// A part of unknown length.
    pub fn part(&mut self, kind: u8) -> PartWriter<'_, W> {
        PartWriter { writer: self, kind }
    }
}

/// Writes a part; [`PartWriter::end`] ends it.
pub struct PartWriter<'w, W> {
    writer: &'w mut Writer<W>,
    kind: u8,
}

impl<W: Write> PartWriter<'_, W> {
    pub fn end(self) -> io::Result<()> {
        self.writer.frame(END_OF_PART, &[])
    }
}

impl<W: Write> Write for PartWriter<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(LONGEST)];
        if !piece.is_empty() {
            self.writer.frame(self.kind, piece)?;
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.to.flush()
    }
}

/// Reads frames.
pub struct Reader<R> {
    from: R,
}

impl<R: Read> Reader<R> {
    /// Looks whether it is a stream of ours.
    pub fn new(mut from: R) -> Result<Self> {
        let mut magic = [0; MAGIC.len()];
        let refused = |why: &str| Err(Error::new(Kind::Malformed, "read the stream").because(why));
        match from.read_exact(&mut magic) {
            Ok(()) if magic == *MAGIC => Ok(Self { from }),
            Ok(()) if magic.starts_with(b"appc zfs stream ") => refused("a newer version wrote it"),
            Ok(()) => refused("it is no stream of images"),
            Err(error) => Err(broken(error)),
        }
    }

    /// The next frame.
    pub fn next(&mut self) -> Result<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.from.read_exact(&mut head).map_err(broken)?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if length > LONGEST {
            return Err(Error::new(Kind::Malformed, "read the stream").because("a frame of it is too long"));
        }
        let mut content = vec![0; length];
        self.from.read_exact(&mut content).map_err(broken)?;
        match head[0] {
            FAILED => {
                let why: String =
                    String::from_utf8_lossy(&content).chars().filter(|c| !c.is_control()).take(1000).collect();
                Err(Error::new(Kind::Interrupted, "read the stream").because(format!("the sending side failed: {why}")))
            }
            kind => Ok((kind, content)),
        }
    }

    /// The next frame, which has to be of this kind.
    pub fn expect(&mut self, kind: u8) -> Result<Vec<u8>> {
        match self.next()? {
            (found, content) if found == kind => Ok(content),
            (found, _) => Err(unexpected(found, kind)),
        }
    }

    /// The bytes of a part.
    pub fn part(&mut self, kind: u8) -> PartReader<'_, R> {
        PartReader { reader: self, kind, piece: Vec::new(), at: 0, ended: false }
    }
}

/// Reads a part to its end.
pub struct PartReader<'r, R> {
    reader: &'r mut Reader<R>,
    kind: u8,
    piece: Vec<u8>,
    at: usize,
    ended: bool,
}

impl<R: Read> PartReader<'_, R> {
    /// Passes over what nobody wants.
    pub fn skip(mut self) -> Result<u64> {
        io::copy(&mut self, &mut io::sink()).map_err(of_part)
    }
}

impl<R: Read> Read for PartReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() && !self.ended {
            match self.reader.next() {
                Ok((kind, piece)) if kind == self.kind => (self.piece, self.at) = (piece, 0),
                Ok((END_OF_PART, piece)) if piece.is_empty() => self.ended = true,
                Ok((found, _)) => return Err(io::Error::other(unexpected(found, self.kind))),
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        let count = buffer.len().min(self.piece.len() - self.at);
        buffer[..count].copy_from_slice(&self.piece[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// The error of a part, which travelled as one of the system.
pub fn of_part(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(ours) => ours,
        Err(error) => Error::new(Kind::Local, "read the stream").because(error),
    }
}

fn unexpected(found: u8, wanted: u8) -> Error {
    let (found, wanted) = (char::from(found).escape_default(), char::from(wanted));
    Error::new(Kind::Malformed, "read the stream").because(format!("there is a frame {found} in the place of {wanted}"))
}

fn broken(error: io::Error) -> Error {
    let broken = Error::new(Kind::Interrupted, "read the stream");
    match error.kind() {
        io::ErrorKind::UnexpectedEof => broken.because("it ends in the middle"),
        _ => broken.because(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes).unwrap();
        writer.frame(INDEX, b"{}").unwrap();
        let mut part = writer.part(BLOCKS);
        part.write_all(&vec![7; LONGEST + 3]).unwrap();
        part.end().unwrap();
        writer.frame(END, b"").unwrap();
        bytes
    }

    fn read(bytes: &[u8]) -> Result<usize> {
        let mut reader = Reader::new(bytes)?;
        assert_eq!(reader.expect(INDEX)?, b"{}");
        let mut part = Vec::new();
        reader.part(BLOCKS).read_to_end(&mut part).map_err(of_part)?;
        reader.expect(END)?;
        Ok(part.len())
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(read(&written()).unwrap(), LONGEST + 3);
    }

    #[test]
    fn an_end_in_any_place_is_told_and_so_is_a_foreign_stream() {
        let bytes = written();
        for end in [0, 5, MAGIC.len(), MAGIC.len() + 3, MAGIC.len() + 9, 500_000, bytes.len() - 6, bytes.len() - 1] {
            assert_eq!(*read(&bytes[..end]).unwrap_err().kind(), Kind::Interrupted, "{end}");
        }
        assert_eq!(*read(&[0; 4096]).unwrap_err().kind(), Kind::Malformed);
        let mut long = bytes.clone();
        long[MAGIC.len() + 1] = 255;
        assert_eq!(*read(&long).unwrap_err().kind(), Kind::Malformed);
        let mut wrong = bytes;
        wrong[MAGIC.len() + 7] = ARCHIVE;
        assert_eq!(*read(&wrong).unwrap_err().kind(), Kind::Malformed);
    }

    #[test]
    fn the_sending_sides_failure_is_told() {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes).unwrap();
        writer.frame(FAILED, b"dataset is busy").unwrap();
        let error = Reader::new(bytes.as_slice()).unwrap().next().unwrap_err();
        assert!(crate::error::chain(&error).contains("dataset is busy"));
    }
}
