//! App Container Images as archives: read, check, hash, extract, build.
//!
//! ```text
//!  source -> sniff, decrypt, decompress -> 512 KiB chunks -+-> SHA-512 (own thread)
//!           (own thread)                                 '-> tar entries -> rules -> manifest, sink
//! ```
//! One pass does it all: [`read`] takes any byte source, reads it to its very end and gives a [`Summary`]. What is done with
//! the entries is up to a [`Sink`]: nothing ([`validate::image`]), a comparison ([`compare`]), a tree on disk
//! (`import`).
//!
//! Invariants: a chunk goes back to the ring when both readers are done with it, so memory is bounded whatever the archive;
//! names, sizes, maps and headers are bounded before anything is kept; with [`Findings::Fail`] a sink never sees an entry
//! that breaks a rule, nor anything after it. The image ID is that of the whole decompressed stream, padding included.
//!
//! Clauses: `aci.*`; rules of ours: `x.aci.*`.

#[cfg(feature = "run")]
pub mod build;
mod compare;
#[cfg(feature = "net")]
mod decrypt;
#[cfg(feature = "run")]
mod extract;
mod gzip;
mod hash;
mod layer;
mod open;
#[cfg(feature = "cli")]
pub mod program;
#[cfg(feature = "run")]
mod publish;
mod ring;
mod rules;
mod stream;
mod tar;
pub mod validate;

use std::fmt;
use std::io::Read;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Severity};
use crate::error::Failure;
use crate::schema::ImageId;
#[cfg(not(feature = "run"))]
use hash::Sha512;
use rules::Form;

#[cfg(feature = "run")]
pub(crate) use build::{ArchiveWriter, write_archive};
#[cfg(feature = "run")]
pub use build::{BuildOptions, Built, Overwrite, build, build_file, patch_file};
pub use compare::{Change, Comparison, EntryChange, ValueChange, compare};
#[cfg(feature = "run")]
pub use extract::{Devices, ExtractOptions, Owners, import};
#[cfg(feature = "run")]
pub(crate) use extract::{LEFT_OUT, OWNERS_LEFT_OUT, XATTRS_LEFT_OUT, sync};
#[cfg(feature = "run")]
pub(crate) use hash::{Hash, Sha256, Sha512};
#[cfg(feature = "run")]
pub(crate) use layer::Each;
pub use layer::{Layer, read_layer};
#[cfg(feature = "run")]
pub(crate) use open::Raw;
#[cfg(feature = "run")]
pub use publish::extract;
#[cfg(feature = "run")]
pub(crate) use tar::printable;
pub use tar::{Data, Entry, Kind as EntryKind, Time};

/// Errors of this module. Those with a clause id are the archive's fault.
pub type Error = Failure<Kind>;

/// Result with this module's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of error it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The archive or layout breaks a rule; the clause is given.
    Invalid,
    /// The archive passes a limit of size, ratio or count.
    TooBig,
    /// The archive is encrypted, and no passphrase or a wrong one was given.
    Encrypted,
    /// The codec is not part of this build.
    Unsupported,
    /// What shall be made is there already.
    Exists,
    /// The host or the arguments do not allow it.
    Refused,
    /// Reading or writing failed.
    Io,
}

/// How an archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// A plain tar.
    None,
    /// gzip, of one or more members.
    Gzip,
    /// bzip2, of one or more streams.
    Bzip2,
    /// xz, of one or more streams.
    Xz,
    /// Zstandard: an extension, the text does not know it.
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        })
    }
}

/// What to do when the archive breaks a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Findings {
    /// Stop with the first error. What anything is written by must use this.
    Fail,
    /// Go on as far as the tar can be followed and give all of them in [`Summary::diagnostics`].
    Collect,
}

/// How to read, and how far to trust.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// What to do when the archive breaks a rule.
    pub findings: Findings,
    /// Bytes after decompression, and of all files together (holes counted), that are accepted. 16 GiB unless told.
    pub max_size: u64,
    /// Bytes of the manifest that are accepted. 16 MiB unless told.
    pub max_manifest: u64,
    /// The passphrase for encrypted images.
    pub passphrase: Option<Passphrase>,
    /// Who is told how many bytes of the source were read.
    pub progress: Option<Progress>,
}

/// Who is told how many bytes of a source were read so far.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(u64) + Send + Sync>);

impl Progress {
    /// Tells `told`, from whatever thread reads.
    pub fn new(told: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self(Arc::new(told))
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { findings: Findings::Fail, max_size: 16 << 30, max_manifest: 16 << 20, passphrase: None, progress: None }
    }
}

/// A passphrase; never printed.
#[derive(Clone)]
pub struct Passphrase(
    #[cfg_attr(not(feature = "net"), allow(dead_code, reason = "decrypting is a part of `net`"))] String,
);

impl Passphrase {
    /// The passphrase as it was typed, or the first line of a file.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// What one pass over an archive found.
#[derive(Clone, Debug)]
pub struct Summary {
    /// SHA-512 of the whole decompressed stream.
    pub image_id: ImageId,
    /// The manifest, byte for byte. Empty where it is missing, which only [`Findings::Collect`] lets pass.
    pub manifest: Vec<u8>,
    /// How it was compressed.
    pub compression: Compression,
    /// Whether it was encrypted.
    pub encrypted: bool,
    /// Bytes read from the source.
    pub transferred: u64,
    /// Bytes of the decompressed stream.
    pub size: u64,
    /// Number of entries in the archive.
    pub entries: u64,
    /// Directories below `rootfs` that were made though they have no entry of their own, named as an entry would; known after
    /// [`import`] only. Laid over another tree they leave its directories' metadata alone.
    pub implied: Vec<Vec<u8>>,
    /// Warnings and notes, and the errors where they are collected.
    pub diagnostics: Vec<Diagnostic>,
}

impl Summary {
    /// Whether no error was found.
    pub fn is_valid(&self) -> bool {
        self.diagnostics.iter().all(|found| found.severity < Severity::Error)
    }
}

/// Takes the entries of an archive one by one, in its order.
pub trait Sink {
    /// An entry and its content. What is not read of the content is skipped.
    fn entry(&mut self, entry: &Entry, data: &mut Data<'_, '_>) -> Result<()>;
}

/// Takes nothing: hash and check alone.
pub struct Nothing;

impl Sink for Nothing {
    fn entry(&mut self, _: &Entry, _: &mut Data<'_, '_>) -> Result<()> {
        Ok(())
    }
}

/// Reads an archive once, from its first byte to its last: decrypts, decompresses, hashes, checks and hands out entries.
///
/// To keep the raw bytes, let `source` copy what it reads: it is read to its end whenever this succeeds.
///
/// # Errors
/// [`Kind::Invalid`] with the clause where the archive breaks a rule ([`Findings::Fail`]) or cannot be followed any
/// further; [`Kind::TooBig`], [`Kind::Encrypted`], [`Kind::Unsupported`]; [`Kind::Io`] from the source or the sink.
pub fn read(source: impl Read + Send, options: &ReadOptions, sink: &mut dyn Sink) -> Result<Summary> {
    let (pass, end) = stream::run::<Sha512, _>(source, options, |stream| tar::pass(stream, options, Form::Image, sink));
    if let Some(error) = pass.failed {
        return Err(error);
    }
    // The pass read to the end of the stream, so the stream has one.
    let (end, digest) = end.ok_or_else(|| Error::new(Kind::Io, "read the archive to its end"))?;
    let mut diagnostics = pass.diagnostics;
    diagnostics.extend(end.diagnostics);
    Ok(Summary {
        image_id: ImageId::from_digest(&digest),
        manifest: pass.manifest.unwrap_or_default(),
        compression: end.compression,
        encrypted: end.encrypted,
        transferred: end.transferred,
        size: end.size,
        entries: pass.entries,
        implied: Vec::new(),
        diagnostics,
    })
}
