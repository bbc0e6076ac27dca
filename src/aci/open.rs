//! What a file is, by its first bytes, and its decoder.

use std::io::{self, BufReader, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::gzip::Gzip;
use super::stream::End;
use super::{Compression, Error, Kind, ReadOptions, Result};
use crate::diagnostic::Diagnostic;

/// Bytes looked at to tell what a file is.
const MAGIC: usize = 8;
/// Buffer before a decoder.
const BUFFER: usize = 128 << 10;
/// Below this many decompressed bytes any ratio is fine.
const RATIO_FROM: u64 = 1 << 30;
/// More than this many bytes out of one is a bomb.
const RATIO: u64 = 1000;
/// An xz dictionary of 256 MiB and what the decoder needs beside it.
#[cfg(feature = "xz")]
const XZ_MEMORY: u64 = (256 << 20) + (1 << 20);
/// log2 of the zstd window that is accepted: 32 MiB, more than `zstd -19` takes.
#[cfg(feature = "zstd")]
const ZSTD_WINDOW: u32 = 25;

/// What the first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Codec(Compression),
    OpenPgp,
}

fn sniff(magic: &[u8]) -> Form {
    match magic {
        [0x1f, 0x8b, ..] => Form::Codec(Compression::Gzip),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Form::Codec(Compression::Bzip2),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Form::Codec(Compression::Xz),
        // The second is a skippable frame, which may come first.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Form::Codec(Compression::Zstd),
        // Packets that an encrypted message begins with, in the old and the new way of writing their tags:
        // session key for a key (1), for a passphrase (3), data encrypted (9, 18, 20); a marker (10) may stand before.
        [0x84..=0x87 | 0x8c..=0x8f | 0xa4..=0xab | 0xc1 | 0xc3 | 0xc9 | 0xca | 0xd2 | 0xd4, ..] => Form::OpenPgp,
        _ if magic.starts_with(b"-----BEG") => Form::OpenPgp,
        _ => Form::Codec(Compression::None),
    }
}

/// Decrypts and decompresses, bounded in size and ratio.
pub(super) struct Decoder<'a> {
    codec: Codec<'a>,
    source: Watch,
    compression: Compression,
    encrypted: bool,
    max_size: u64,
    size: u64,
    /// What went wrong behind the bytes that were given last.
    failed: Option<Error>,
}

type Bytes<'a> = Box<dyn Read + Send + 'a>;
type Source<'a> = BufReader<Bytes<'a>>;

// There is one decoder an archive, on the stack of its pass.
#[allow(clippy::large_enum_variant)]
enum Codec<'a> {
    None(Source<'a>),
    Gzip(Gzip<Bytes<'a>>),
    Bzip2(bzip2::bufread::MultiBzDecoder<Source<'a>>),
    #[cfg(feature = "xz")]
    Xz(liblzma::bufread::XzDecoder<Source<'a>>),
    #[cfg(feature = "zstd")]
    Zstd(zstd::stream::read::Decoder<'static, Source<'a>>),
}

impl<'a> Decoder<'a> {
    pub(super) fn open(source: impl Read + Send + 'a, options: &ReadOptions) -> Result<Self> {
        let watch = Watch::default();
        let mut source: Box<dyn Read + Send + 'a> =
            Box::new(Watched { source, watch: watch.clone(), progress: options.progress.clone() });
        let (mut magic, mut form);
        (magic, form) = peek(&mut source)?;
        let encrypted = form == Form::OpenPgp;
        if encrypted {
            let passphrase = options.passphrase.as_ref().ok_or_else(|| {
                Error::new(Kind::Encrypted, "read an encrypted archive")
                    .clause("aci.encrypt")
                    .because("it is an OpenPGP message, and no passphrase was given")
            })?;
            source = decrypt(Box::new(Cursor::new(magic).chain(source)), passphrase)?;
            (magic, form) = peek(&mut source)?;
        }
        let Form::Codec(compression) = form else {
            return Err(Error::new(Kind::Encrypted, "read an archive that is encrypted twice").clause("aci.encrypt"));
        };
        let source: Box<dyn Read + Send + 'a> = Box::new(Cursor::new(magic).chain(source));
        let codec = Codec::new(compression, source)?;
        Ok(Self { codec, source: watch, compression, encrypted, max_size: options.max_size, size: 0, failed: None })
    }

    /// Fills `into` as far as the stream goes, and tells how far. Nothing only at its end.
    ///
    /// What stands before a broken place is given first: it may have faults of its own, or be all that is asked for.
    pub(super) fn fill(&mut self, into: &mut [u8]) -> Result<usize> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let mut filled = 0;
        while filled < into.len() {
            match self.codec.read(&mut into[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if filled == 0 => return Err(self.failure(error)),
                Err(error) => {
                    self.failed = Some(self.failure(error));
                    break;
                }
            }
        }
        self.size += filled as u64;
        if self.size > self.max_size {
            return Err(Error::new(Kind::TooBig, format!("read more than {} bytes of the archive", self.max_size))
                .clause("x.aci.limits")
                .because("it is larger than allowed when decompressed"));
        }
        if self.size > RATIO_FROM && self.size / RATIO > self.source.0.bytes.load(Ordering::Relaxed) {
            return Err(Error::new(Kind::TooBig, "read an archive that decompresses to over 1000 times its size")
                .clause("x.aci.limits"));
        }
        Ok(filled)
    }

    /// What is known when [`Self::fill`] gave nothing more.
    pub(super) fn end(self) -> End {
        let mut diagnostics = Vec::new();
        if self.compression == Compression::Zstd {
            diagnostics
                .push(Diagnostic::warning("x.aci.zstd", "zstd is an extension: the specification does not know it"));
        }
        if matches!(&self.codec, Codec::Gzip(gzip) if gzip.padded()) {
            diagnostics.push(Diagnostic::warning("aci.compress", "zero bytes follow the last gzip member"));
        }
        End {
            compression: self.compression,
            encrypted: self.encrypted,
            transferred: self.source.0.bytes.load(Ordering::Relaxed),
            size: self.size,
            diagnostics,
        }
    }

    /// A source that fails and a stream that is broken are different faults.
    fn failure(&self, error: io::Error) -> Error {
        if self.source.0.failed.load(Ordering::Relaxed) || self.compression == Compression::None {
            if self.encrypted && !self.source.0.failed.load(Ordering::Relaxed) {
                return Error::new(Kind::Invalid, "decrypt the archive").clause("aci.encrypt").because(error);
            }
            return Error::new(Kind::Io, "read the archive").because(error);
        }
        let what = if error.kind() == io::ErrorKind::UnexpectedEof {
            format!("decompress the archive: its {} stream is cut off", self.compression)
        } else {
            format!("decompress the archive: its {} stream is broken", self.compression)
        };
        Error::new(Kind::Invalid, what).clause("aci.compress").because(error)
    }
}

fn peek(source: &mut dyn Read) -> Result<(Vec<u8>, Form)> {
    let mut magic = Vec::with_capacity(MAGIC);
    source
        .take(MAGIC as u64)
        .read_to_end(&mut magic)
        .map_err(|error| Error::new(Kind::Io, "read the archive").because(error))?;
    let form = sniff(&magic);
    Ok((magic, form))
}

#[cfg(feature = "net")]
use super::decrypt::decrypt;

/// OpenPGP comes with the feature `net`.
#[cfg(not(feature = "net"))]
fn decrypt<'a>(_: Box<dyn Read + Send + 'a>, _: &super::Passphrase) -> Result<Box<dyn Read + Send + 'a>> {
    Err(Error::new(Kind::Unsupported, "decrypt the archive").clause("aci.encrypt").because("this build cannot"))
}

impl<'a> Codec<'a> {
    fn new(compression: Compression, source: Bytes<'a>) -> Result<Self> {
        if compression == Compression::Gzip {
            return Ok(Self::Gzip(Gzip::new(source)));
        }
        let source = BufReader::with_capacity(BUFFER, source);
        Ok(match compression {
            Compression::None => Self::None(source),
            Compression::Bzip2 => Self::Bzip2(bzip2::bufread::MultiBzDecoder::new(source)),
            #[cfg(feature = "xz")]
            Compression::Xz => {
                use liblzma::stream::{CONCATENATED, Stream};
                let stream = Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED)
                    .map_err(|error| Error::new(Kind::Io, "start the xz decoder").because(error))?;
                Self::Xz(liblzma::bufread::XzDecoder::new_stream(source, stream))
            }
            #[cfg(feature = "zstd")]
            Compression::Zstd => {
                let started = |error| Error::new(Kind::Io, "start the zstd decoder").because(error);
                let mut decoder = zstd::stream::read::Decoder::with_buffer(source).map_err(started)?;
                decoder.window_log_max(ZSTD_WINDOW).map_err(started)?;
                Self::Zstd(decoder)
            }
            #[allow(unreachable_patterns)] // with all codecs there is none left
            missing => {
                return Err(Error::new(Kind::Unsupported, format!("decompress a {missing} archive"))
                    .because("this build is without that codec"));
            }
        })
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::None(source) => source.read(into),
            Self::Gzip(decoder) => decoder.read(into),
            Self::Bzip2(decoder) => decoder.read(into),
            #[cfg(feature = "xz")]
            Self::Xz(decoder) => decoder.read(into),
            #[cfg(feature = "zstd")]
            Self::Zstd(decoder) => decoder.read(into),
        }
    }
}

/// Counts what a source gave, and remembers whether it failed.
#[derive(Clone, Default)]
struct Watch(Arc<Watching>);

#[derive(Default)]
struct Watching {
    bytes: AtomicU64,
    failed: AtomicBool,
}

struct Watched<R> {
    source: R,
    watch: Watch,
    progress: Option<super::Progress>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let watch = &self.watch.0;
        match self.source.read(into) {
            Ok(count) => {
                let before = watch.bytes.fetch_add(count as u64, Ordering::Relaxed);
                self.progress.iter().for_each(|progress| (progress.0)(before + count as u64));
                Ok(count)
            }
            Err(error) => {
                watch.failed.store(error.kind() != io::ErrorKind::Interrupted, Ordering::Relaxed);
                Err(error)
            }
        }
    }
}

/// The decompressed bytes of an archive.
#[cfg(feature = "run")]
pub(crate) struct Raw<'a>(Decoder<'a>);

#[cfg(feature = "run")]
impl<'a> Raw<'a> {
    /// Those of `source`.
    pub(crate) fn new(source: impl Read + Send + 'a, options: &ReadOptions) -> Result<Self> {
        Ok(Self(Decoder::open(source, options)?))
    }
}

#[cfg(feature = "run")]
impl Read for Raw<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.fill(into).map_err(io::Error::other)
    }
}

#[cfg(all(test, feature = "run"))]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::aci::Progress;

    #[test]
    fn who_watches_is_told_of_every_byte_of_the_source() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        io::Write::write_all(&mut packed, &vec![7; 1 << 20]).unwrap();
        let packed = packed.finish().unwrap();
        let told = Arc::new(AtomicU64::new(0));
        let telling = told.clone();
        let progress = Some(Progress::new(move |read| telling.store(read, Ordering::Relaxed)));
        let options = ReadOptions { progress, ..ReadOptions::default() };
        let mut unpacked = Vec::new();
        Raw::new(packed.as_slice(), &options).unwrap().read_to_end(&mut unpacked).unwrap();
        assert_eq!((unpacked.len(), told.load(Ordering::Relaxed)), (1 << 20, packed.len() as u64));
    }
}
