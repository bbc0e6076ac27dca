//! Archives written entry by entry, out of other archives and out of trees: images, and the layers of other formats.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::fd::BorrowedFd;

use rustix::fs::Stat;

use super::entry::Entries;
use super::walk::{Found, Packer};
use super::{compress, output};
use crate::aci::hash::Hash;
use crate::aci::tar::{Data, Entry, Kind as EntryKind, Time};
use crate::aci::{Compression, Result};
use crate::diagnostic::Diagnostic;

/// What was written.
pub(crate) struct Archive<D> {
    /// The hash of the uncompressed archive.
    pub(crate) digest: D,
    /// Bytes of it.
    pub(crate) size: u64,
    /// Number of entries.
    pub(crate) entries: u64,
    /// What was left out.
    pub(crate) diagnostics: Vec<Diagnostic>,
}

/// Writes an archive to `out`: what `work` writes, and what ends an archive unless that were bytes as they are.
///
/// # Errors
/// Those of `work`; [`super::Kind::Io`] where `out` cannot be written. What was written by then is of no use.
pub(crate) fn write_archive<H: Hash, T>(
    compression: Compression,
    level: Option<u32>,
    out: impl Write + Send,
    work: impl FnOnce(&mut ArchiveWriter<'_, '_>) -> Result<T>,
) -> Result<(T, Archive<H::Digest>)> {
    let codec = compress::Codec::new(compression, level)?;
    let ((done, written), digest) = output::run::<H, _>(&codec, None, out, |output| {
        let mut writer =
            ArchiveWriter { entries: Entries::new(output, false), packer: Packer::thorough(), whole: false };
        let done = work(&mut writer)?;
        let written = if writer.whole { writer.entries.written() } else { writer.entries.finish()? };
        Ok((done, written))
    })?;
    let (size, entries, diagnostics) = (written.size, written.entries, written.diagnostics);
    Ok((done, Archive { digest, size, entries, diagnostics }))
}

/// Writes entries that are of another archive, or of a tree.
pub(crate) struct ArchiveWriter<'a, 'o> {
    entries: Entries<'a, 'o>,
    packer: Packer,
    /// Its end comes with what is written.
    whole: bool,
}

impl ArchiveWriter<'_, '_> {
    /// Writes the manifest of an image.
    pub(crate) fn manifest(&mut self, bytes: &[u8], seconds: i64) -> Result<()> {
        self.entries.manifest(bytes, seconds)
    }

    /// Writes an entry with its content.
    pub(crate) fn entry(&mut self, entry: &Entry, data: &mut Data<'_, '_>) -> Result<()> {
        let found = found(entry);
        match entry.kind {
            EntryKind::File => self.entries.content(&found, data, entry.extents.as_deref()),
            _ => self.entries.empty(&found),
        }
    }

    /// Writes what is at `name` in `directory` under the name `path`, as building a layout does: the second name of a file becomes a
    /// hard link. Its time is what `when` makes of it.
    pub(crate) fn place(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &OsStr,
        stat: &Stat,
        path: &[u8],
        when: impl Fn(Time) -> Time,
    ) -> Result<()> {
        self.packer.pack(&mut self.entries, directory, name, stat, path, when)
    }

    /// Writes an entry that has no content.
    pub(crate) fn empty(&mut self, entry: &Entry) -> Result<()> {
        self.entries.empty(&found(entry))
    }

    /// Writes a file of this name, size and content.
    pub(crate) fn member(&mut self, name: &str, size: u64, content: &mut dyn Read) -> Result<()> {
        let found = Found { name: name.as_bytes().to_vec(), mode: 0o644, size, ..Found::default() };
        self.entries.copied(&found, content)
    }

    /// Writes bytes as they are; the end of the archive is among them.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.whole = true;
        self.entries.raw(bytes)
    }
}

fn found(entry: &Entry) -> Found {
    Found {
        name: entry.name.clone(),
        kind: entry.kind,
        target: entry.target.clone(),
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        mtime: entry.mtime,
        size: if entry.kind == EntryKind::File { entry.size } else { 0 },
        device: entry.device,
        xattrs: entry.xattrs.clone(),
    }
}
