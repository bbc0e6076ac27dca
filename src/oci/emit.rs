//! Images written out of layers: entries copied from one archive into the other.

use std::collections::BTreeSet;
use std::io::{Read, Write};

use super::merge::{Emission, Source};
use super::{Error, Result, archive};
use crate::aci::{self, ArchiveWriter, Compression, Data, Each, Entry, EntryKind, ReadOptions, Time, write_archive};

/// Where entries come from.
pub(super) trait Origin {
    /// Hands all entries of a layer to `sink`, with their numbers, and checks the layer at its end.
    fn read(&self, layer: usize, sink: &mut Taker<'_>) -> Result<()>;
}

/// Takes the entry of a number.
pub(super) type Taker<'t> = dyn FnMut(u32, &Entry, &mut Data<'_, '_>) -> aci::Result<()> + 't;

/// What was written.
pub(super) struct Written<D> {
    pub(super) digest: D,
    pub(super) size: u64,
    pub(super) entries: u64,
}

/// Writes an image: the manifest, `rootfs` and its directories, and what is in them, that of the layer `first` before that of others.
pub(super) fn image<H: aci::Hash>(
    manifest: (&[u8], i64),
    emission: &Emission,
    first: usize,
    origin: &dyn Origin,
    compression: Compression,
    out: impl Write + Send,
) -> Result<Written<H::Digest>> {
    write::<H>(compression, out, |writer| {
        writer.manifest(manifest.0, manifest.1).map_err(archive)?;
        entries(writer, b"rootfs", emission, first, origin)
    })
}

/// Writes a layer, all entries relative to the root.
pub(super) fn layer(
    emission: &Emission,
    first: usize,
    origin: &dyn Origin,
    compression: Compression,
    out: impl Write + Send,
) -> Result<Written<[u8; 32]>> {
    write::<aci::Sha256>(compression, out, |writer| entries(writer, b"", emission, first, origin))
}

/// Writes an archive by work that may fail in ways of this module.
pub(super) fn write<H: aci::Hash>(
    compression: Compression,
    out: impl Write + Send,
    work: impl FnOnce(&mut ArchiveWriter<'_, '_>) -> Result<()>,
) -> Result<Written<H::Digest>> {
    let mut failed: Option<Error> = None;
    let written = write_archive::<H, _>(compression, None, out, |writer| {
        work(writer).map_err(|error| {
            failed = Some(error);
            aci::Error::new(aci::Kind::Io, "write the archive")
        })
    });
    match (written, failed) {
        // What stopped the work may be that nobody takes what is written; then that is the reason.
        (Err(error), Some(_)) if std::error::Error::source(&error).is_some() => Err(archive(error)),
        (_, Some(failed)) => Err(failed),
        (Err(error), None) => Err(archive(error)),
        (Ok((_, written)), None) => {
            Ok(Written { digest: written.digest, size: written.size, entries: written.entries })
        }
    }
}

fn entries(
    writer: &mut ArchiveWriter<'_, '_>,
    root: &[u8],
    emission: &Emission,
    first: usize,
    origin: &dyn Origin,
) -> Result<()> {
    for (path, entry) in &emission.directories {
        let name = below(root, path);
        if name.is_empty() {
            continue;
        }
        let entry = entry
            .as_deref()
            .map_or_else(|| directory(name.clone()), |entry| Entry { name: name.clone(), ..entry.clone() });
        writer.empty(&entry).map_err(archive)?;
    }
    let layers: BTreeSet<usize> = emission.files.keys().map(|source| source.layer).collect();
    let first = layers.contains(&first).then_some(first);
    for layer in first.into_iter().chain(layers.iter().copied().filter(|layer| Some(*layer) != first)) {
        let mut left = emission.files.range(Source { layer, number: 0 }..=Source { layer, number: u32::MAX }).count();
        origin.read(layer, &mut |number, entry, data| {
            let Some(names) = emission.files.get(&Source { layer, number }) else { return Ok(()) };
            let mut names = names.iter().map(|name| below(root, name));
            let Some(name) = names.next() else { return Ok(()) };
            left -= 1;
            writer.entry(&Entry { name: name.clone(), ..entry.clone() }, data)?;
            for other in names {
                let link = Entry {
                    name: other,
                    kind: EntryKind::Hardlink,
                    target: name.clone(),
                    size: 0,
                    xattrs: Vec::new(),
                    extents: None,
                    ..entry.clone()
                };
                writer.empty(&link)?;
            }
            Ok(())
        })?;
        if left > 0 {
            return Err(Error::new(super::Kind::Corrupt, "read a layer again")
                .because("it has changed since it was read first"));
        }
    }
    Ok(())
}

fn below(root: &[u8], path: &[u8]) -> Vec<u8> {
    match (root.is_empty(), path.is_empty()) {
        (true, _) => path.to_vec(),
        (_, true) => root.to_vec(),
        _ => [root, b"/", path].concat(),
    }
}

/// A directory that only names of others tell of.
fn directory(name: Vec<u8>) -> Entry {
    Entry {
        name,
        kind: EntryKind::Directory,
        target: Vec::new(),
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: Time::default(),
        size: 0,
        device: (0, 0),
        xattrs: Vec::new(),
        extents: None,
    }
}

/// Reads the entries of a source as a layer's, with their numbers.
pub(super) fn numbered(
    source: impl Read + Send,
    options: &ReadOptions,
    sink: &mut Taker<'_>,
) -> aci::Result<aci::Layer> {
    let mut number = 0;
    let mut each = Each(|entry: &Entry, data: &mut Data<'_, '_>| {
        let this = number;
        // More than this many were refused before.
        number = u32::saturating_add(number, 1);
        sink(this, entry, data)
    });
    aci::read_layer(source, options, false, &mut each)
}
