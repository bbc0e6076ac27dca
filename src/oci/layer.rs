//! A layer read once for what it says: digests, names, and what is needed to make its very bytes again.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::merge::{Item, MAX_NODES, What};
use super::source::{Blob, Blobs};
use super::{Digest, Error, Kind, Result, archive};
use crate::aci::{self, Data, Each, Entry, EntryKind, ReadOptions, printable};
use crate::diagnostic::Diagnostic;

/// Bytes of names, and of what directories are like, in all layers together.
const MAX_NAMES: u64 = 256 << 20;
/// Bytes of `passwd` and `group` that are looked at.
const MAX_USERS: u64 = 1 << 20;
/// Bytes that a recipe may have when it is compressed: of a layer with some 50,000 entries.
const MAX_RECIPE: usize = 2 << 20;

/// What of one image's layers was read so far.
#[derive(Default)]
pub(super) struct Budget {
    names: AtomicU64,
    entries: AtomicUsize,
}

/// What a layer says.
#[derive(Clone, Default)]
pub(super) struct Index {
    pub(super) items: Vec<Item>,
    /// `etc/passwd` and `etc/group` by the number of their entry.
    pub(super) users: HashMap<u32, Vec<u8>>,
    /// Entries that have content, in order.
    pub(super) contents: Vec<u32>,
    /// All of the layer but its contents, compressed; nothing where it is too long or nobody asked.
    pub(super) recipe: Option<Vec<u8>>,
    pub(super) told: Vec<Diagnostic>,
}

/// Reads a layer, and holds it against its digests and its size.
///
/// # Errors
/// [`Kind::Corrupt`], [`Kind::Invalid`], [`Kind::TooBig`], and those of opening it.
pub(super) fn index(
    blobs: &dyn Blobs,
    blob: &Blob,
    options: &ReadOptions,
    recipe: bool,
    budget: &Budget,
) -> Result<Index> {
    let doing = doing(blob);
    let (source, verdict) = blobs.open(blob)?;
    let mut index = Index::default();
    let mut cook = recipe.then(Recipe::new);
    let mut number = 0_u32;
    let mut sink = Each(|entry: &Entry, data: &mut Data<'_, '_>| {
        let this = number;
        number = number.checked_add(1).ok_or_else(too_many)?;
        index.take(entry, data, this, cook.as_mut(), budget)
    });
    let read = aci::read_layer(source, options, recipe, &mut sink);
    let read = read.map_err(|error| named(verdict.or(&doing, archive(error)), &doing))?;
    if blob.digest.is_some() || blob.size.is_some() {
        verdict.of(&doing)?;
    }
    let found = Digest::sha256(&read.sha256);
    if found != blob.diff_id {
        let error = Error::new(Kind::Corrupt, doing).clause("x.oci.diff-id");
        return Err(error.because(format!("decompressed it is {found}, and the configuration says {}", blob.diff_id)));
    }
    index.recipe = cook.and_then(|cook| cook.finish(read.tail));
    Ok(index)
}

/// What is done to a layer, in words that read on after "failed to".
pub(super) fn doing(blob: &Blob) -> String {
    format!("read the layer {}", blob.digest.as_ref().map_or(blob.name.as_str(), Digest::as_str).escape_debug())
}

/// The error with the layer that it is about.
fn named(error: Error, doing: &str) -> Error {
    if error.doing() == doing {
        return error;
    }
    let kind = *error.kind();
    let clause = error.clause_id();
    let error = Error::new(kind, doing).because(error);
    match clause {
        Some(clause) => error.clause(clause),
        None => error,
    }
}

fn too_many() -> aci::Error {
    let error = aci::Error::new(aci::Kind::TooBig, "read the layers").clause("x.oci.limits");
    error.because(format!("they have more than {MAX_NODES} entries"))
}

impl Index {
    fn take(
        &mut self,
        entry: &Entry,
        data: &mut Data<'_, '_>,
        number: u32,
        cook: Option<&mut Recipe>,
        budget: &Budget,
    ) -> aci::Result<()> {
        let xattrs: usize = entry.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
        let directory = entry.kind == EntryKind::Directory;
        let bytes = entry.name.len() + entry.target.len() + if directory { xattrs + entry.name.len() } else { 0 };
        if budget.entries.fetch_add(1, Ordering::Relaxed) >= MAX_NODES {
            return Err(too_many());
        }
        if budget.names.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64 > MAX_NAMES {
            let error = aci::Error::new(aci::Kind::TooBig, "read the layers").clause("x.oci.limits");
            return Err(error.because(format!("their names have more than {MAX_NAMES} bytes")));
        }
        let stored = stored(entry);
        let wanted = matches!(entry.name.as_slice(), b"etc/passwd" | b"etc/group")
            && entry.kind == EntryKind::File
            && entry.size <= MAX_USERS;
        if stored > 0 {
            self.contents.push(number);
            if let Some(cook) = cook {
                cook.content(data.before(), stored);
                let kept = content(data, entry.size, wanted)?;
                self.users.extend(kept.map(|kept| (number, kept)));
            } else if wanted {
                let kept = content(data, entry.size, true)?;
                self.users.extend(kept.map(|kept| (number, kept)));
            }
        }
        if let Some(what) = self.what(entry)? {
            let name = match what {
                What::Whiteout | What::Opaque => hidden(&entry.name),
                _ => entry.name.clone(),
            };
            self.items.push(Item { name, what, number });
        }
        Ok(())
    }

    /// What an entry does; nothing for remarks of old storage drivers.
    fn what(&mut self, entry: &Entry) -> aci::Result<Option<What>> {
        let wrong = |what: &str| {
            let error = aci::Error::new(aci::Kind::Invalid, format!("read the entry `{}`", entry.display_name()));
            Err(error.clause("x.oci.whiteout").because(what.to_owned()))
        };
        let mut parts = entry.name.split(|&byte| byte == b'/').rev();
        let last = parts.next().unwrap_or_default();
        let above: Vec<&[u8]> = parts.collect();
        if last == OPAQUE && !above.iter().any(|part| part.starts_with(META)) {
            return Ok(Some(What::Opaque));
        }
        if last.starts_with(META) || above.iter().any(|part| part.starts_with(META)) {
            self.told.push(
                Diagnostic::note("x.oci.whiteout", "a remark of a storage driver was left out")
                    .entry(entry.display_name()),
            );
            return Ok(None);
        }
        if above.iter().any(|part| part.starts_with(WHITEOUT)) {
            return wrong("it lies in what is hidden");
        }
        if let Some(name) = last.strip_prefix(WHITEOUT) {
            return match name {
                b"" | b"." | b".." => wrong("it hides nothing that can be in a directory"),
                _ => Ok(Some(What::Whiteout)),
            };
        }
        Ok(Some(match entry.kind {
            EntryKind::Directory => What::Directory(Arc::new(entry.clone())),
            EntryKind::Symlink => What::Symlink(entry.target.clone()),
            EntryKind::Hardlink => What::Hardlink(entry.target.clone()),
            EntryKind::File | EntryKind::Character | EntryKind::Block | EntryKind::Fifo => What::File,
        }))
    }
}

const WHITEOUT: &[u8] = b".wh.";
const META: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What a whiteout's name hides: the name without its mark, or the directory.
fn hidden(name: &[u8]) -> Vec<u8> {
    let slash = name.iter().rposition(|&byte| byte == b'/');
    let (above, last) = slash.map_or((&b""[..], name), |slash| (&name[..slash], &name[slash + 1..]));
    match last.strip_prefix(WHITEOUT) {
        Some(_) if last == OPAQUE && above.is_empty() => b".".to_vec(),
        Some(_) if last == OPAQUE => above.to_vec(),
        Some(name) if above.is_empty() => name.to_vec(),
        Some(name) => [above, b"/", name].concat(),
        None => name.to_vec(),
    }
}

/// Bytes of content in the archive, holes left out.
pub(super) fn stored(entry: &Entry) -> u64 {
    match (&entry.extents, entry.kind) {
        (Some(extents), _) => extents.iter().map(|(_, length)| length).sum(),
        (None, EntryKind::File) => entry.size,
        _ => 0,
    }
}

/// Reads a content to its end, and keeps it where it is wanted.
fn content(data: &mut Data<'_, '_>, size: u64, wanted: bool) -> aci::Result<Option<Vec<u8>>> {
    // Bounded by the caller where it is kept.
    let mut kept = wanted.then(|| vec![0; usize::try_from(size).unwrap_or(0)]);
    while let Some((offset, bytes)) = data.next()? {
        if let Some(kept) = &mut kept {
            let offset = usize::try_from(offset).unwrap_or(usize::MAX);
            kept[offset..offset + bytes.len()].copy_from_slice(bytes);
        }
    }
    Ok(kept)
}

/// All of a tar stream but its contents: `length, bytes, length of the content` over and over, little-endian, 32, 64 bits.
struct Recipe {
    out: Option<zstd::stream::write::Encoder<'static, Vec<u8>>>,
}

impl Recipe {
    fn new() -> Self {
        Self { out: zstd::stream::write::Encoder::new(Vec::new(), 12).ok() }
    }

    /// What stands before a content, and how long that is.
    fn content(&mut self, before: Option<Vec<u8>>, length: u64) {
        let Some((out, before)) = self.out.as_mut().zip(before) else {
            self.out = None;
            return;
        };
        let length_before = u32::try_from(before.len()).unwrap_or(u32::MAX);
        let written = [&length_before.to_le_bytes()[..], &before, &length.to_le_bytes()]
            .iter()
            .try_for_each(|part| out.write_all(part));
        if written.is_err() || out.get_ref().len() > MAX_RECIPE {
            self.out = None;
        }
    }

    fn finish(mut self, tail: Option<Vec<u8>>) -> Option<Vec<u8>> {
        self.content(tail, 0);
        self.out?.finish().ok().filter(|recipe| recipe.len() <= MAX_RECIPE)
    }
}

/// The parts of a recipe again: bytes, and the length of the content that follows them.
pub(super) struct Steps(Box<dyn std::io::Read>);

impl Steps {
    pub(super) fn of(recipe: Vec<u8>) -> std::io::Result<Self> {
        let mut decoder = zstd::stream::read::Decoder::new(std::io::Cursor::new(recipe))?;
        decoder.window_log_max(25)?;
        Ok(Self(Box::new(decoder)))
    }

    /// The next part; nothing where there is none.
    pub(super) fn next(&mut self) -> std::io::Result<Option<(Vec<u8>, u64)>> {
        use std::io::Read;
        let (mut length, mut content) = ([0; 4], [0; 8]);
        match self.0.read_exact(&mut length) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let mut bytes = Vec::new();
        let length = u64::from(u32::from_le_bytes(length));
        if self.0.by_ref().take(length.min(MAX_STEP)).read_to_end(&mut bytes)? as u64 != length {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        self.0.read_exact(&mut content)?;
        Ok(Some((bytes, u64::from_le_bytes(content))))
    }
}

/// Bytes between two contents, as many as are kept.
const MAX_STEP: u64 = 64 << 20;

/// For messages.
pub(super) fn shown(path: &[u8]) -> String {
    format!("/{}", printable(path))
}
