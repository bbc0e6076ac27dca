//! Layers of OCI images: tar streams of changes, read by the reader of images under other rules.

use std::io::Read;

use super::hash::Sha256;
use super::rules::Form;
use super::{Compression, Error, Findings, Kind, ReadOptions, Result, Sink, stream, tar};
#[cfg(feature = "run")]
use super::{Data, Entry};
use crate::diagnostic::Diagnostic;

/// What one pass over a layer found.
#[derive(Clone, Debug)]
pub struct Layer {
    /// SHA-256 of the whole decompressed stream, in hexadecimal digits.
    pub sha256: String,
    /// How it was compressed.
    pub compression: Compression,
    /// Bytes read from the source.
    pub transferred: u64,
    /// Bytes of the decompressed stream.
    pub size: u64,
    /// Number of entries.
    pub entries: u64,
    /// Where it was asked for: all bytes of the stream after the last content.
    pub tail: Option<Vec<u8>>,
    /// Warnings and notes.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads a layer once, from its first byte to its last, as [`super::read`] reads an image: names are tidied, those that leave the
/// tree refused; what a name means, and whether it may stand there, is the sink's to say. `keep` keeps what is no content, for
/// the sink and [`Layer::tail`].
///
/// # Errors
/// As for images. An empty stream is an empty layer, and one without end-of-archive blocks is whole.
pub fn read_layer(source: impl Read + Send, options: &ReadOptions, keep: bool, sink: &mut dyn Sink) -> Result<Layer> {
    let options = ReadOptions { findings: Findings::Fail, ..options.clone() };
    let ((pass, tail), end) = stream::run::<Sha256, _>(source, &options, |stream| {
        if keep {
            stream.keep();
        }
        let pass = tar::pass(stream, &options, Form::Layer, sink);
        (pass, stream.kept())
    });
    if let Some(error) = pass.failed {
        return Err(error);
    }
    // The pass read to the end of the stream, so the stream has one.
    let (end, digest) = end.ok_or_else(|| Error::new(Kind::Io, "read the layer to its end"))?;
    let mut diagnostics = pass.diagnostics;
    diagnostics.extend(end.diagnostics);
    // It is usual here.
    diagnostics.retain(|found| found.clause != "x.aci.zstd");
    Ok(Layer {
        sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        compression: end.compression,
        transferred: end.transferred,
        size: end.size,
        entries: pass.entries,
        tail,
        diagnostics,
    })
}

/// A sink that is a closure.
#[cfg(feature = "run")]
pub(crate) struct Each<F>(pub(crate) F);

#[cfg(feature = "run")]
impl<F: FnMut(&Entry, &mut Data<'_, '_>) -> Result<()>> Sink for Each<F> {
    fn entry(&mut self, entry: &Entry, data: &mut Data<'_, '_>) -> Result<()> {
        self.0(entry, data)
    }
}
