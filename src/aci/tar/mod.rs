//! The tar format: blocks, extended headers, sparse maps, entries.
//!
//! The `tar` crate hides what the decisions on archives need (which end-of-archive blocks there were, what follows them,
//! base-256 numbers that do not fit, doubled extended headers), so the blocks are read here, and strictly: where readers are
//! known to disagree on what a header means, it is an error and not a guess.

mod attributes;
mod header;
mod pax;
mod sparse;

use super::rules::{Form, Rules};
use super::stream::Stream;
use super::{Error, Kind as Fault, ReadOptions, Result, Sink};
use crate::diagnostic::Diagnostic;
use crate::diagnostic::visible::obeyed;
#[cfg(all(feature = "run", unix))]
pub(crate) use attributes::escaped;
use header::{BLOCK, Header};

/// Bytes of extended headers before one entry: names and xattrs. 64 KiB is the most an xattr can have on Linux.
const MAX_EXTENDED: u64 = 1 << 20;

/// A point in time: seconds since 1970 and nanoseconds after them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub seconds: i64,
    /// Nanoseconds after that second, below 1,000,000,000.
    pub nanos: u32,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link to [`Entry::target`].
    Symlink,
    /// A hard link to the entry named in [`Entry::target`].
    Hardlink,
    /// A character device.
    Character,
    /// A block device.
    Block,
    /// A named pipe.
    Fifo,
}

/// One entry of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name without `./`, doubled or trailing slashes; `.` for the archive's own directory. Bytes, not always UTF-8.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Where a link points: as it stands for a symbolic link, tidied as `name` is for a hard link.
    pub target: Vec<u8>,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last modification.
    pub mtime: Time,
    /// Bytes of the content, holes counted.
    pub size: u64,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Extended attributes in the archive's order.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the data of a sparse file is: offset and length, ascending. The rest is holes.
    pub extents: Option<Vec<(u64, u64)>>,
}

impl Entry {
    /// The name for people: what is not UTF-8 or would move a terminal's cursor is escaped.
    pub fn display_name(&self) -> String {
        printable(&self.name)
    }

    /// The target of a link for people, escaped as the name is.
    pub fn display_target(&self) -> String {
        printable(&self.target)
    }

    /// The name below `rootfs/`: empty for `rootfs` itself, nothing for what is elsewhere.
    pub fn in_rootfs(&self) -> Option<&[u8]> {
        match self.name.strip_prefix(b"rootfs")? {
            [] => Some(b""),
            [b'/', rest @ ..] => Some(rest),
            _ => None,
        }
    }
}

/// `bytes` for people: what is not UTF-8 and control characters are escaped.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            if obeyed(char) { text.extend(char.escape_default()) } else { text.push(char) }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// What a pass over the entries found.
#[derive(Default)]
pub(super) struct Pass {
    pub(super) manifest: Option<Vec<u8>>,
    pub(super) entries: u64,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Why the pass ended before the archive did.
    pub(super) failed: Option<Error>,
    /// The entry that was being read when it failed.
    pub(super) failed_at: Option<String>,
}

/// Reads all entries, holds them against the rules, keeps the manifest and hands the rest to `sink`.
pub(super) fn pass(stream: &mut Stream, options: &ReadOptions, form: Form, sink: &mut dyn Sink) -> Pass {
    let mut rules = Rules::new(options, form);
    let mut pass = Pass::default();
    let mut archive =
        Archive { stream, name: None, rest: 0, padding: 0, globals: pax::Globals::default(), ended: false };
    pass.failed = entries(&mut archive, &mut rules, sink, &mut pass).err();
    pass.failed_at = archive.name.filter(|_| pass.failed.is_some()).map(|name| printable(&name));
    pass.diagnostics = rules.found;
    pass
}

fn entries(archive: &mut Archive<'_>, rules: &mut Rules, sink: &mut dyn Sink, pass: &mut Pass) -> Result<()> {
    while let Some(mut entry) = archive.next(rules)? {
        pass.entries += 1;
        let sound = rules.entry(&mut entry)?;
        let mut data = archive.data(&entry);
        if sound && entry.name == b"manifest" && rules.form == Form::Image {
            // Bounded by the rules, and read before the sink could.
            let mut manifest = vec![0; usize::try_from(entry.size).unwrap_or(0)];
            while let Some((offset, bytes)) = data.next()? {
                let offset = usize::try_from(offset).unwrap_or(usize::MAX);
                manifest[offset..offset + bytes.len()].copy_from_slice(bytes);
            }
            pass.manifest = Some(manifest);
        }
        sink.entry(&entry, &mut data)?;
    }
    archive.trailer(rules)?;
    rules.end()
}

/// The blocks of an archive as entries.
struct Archive<'s> {
    stream: &'s mut Stream,
    /// The current entry's name.
    name: Option<Vec<u8>>,
    /// Bytes of the current entry's content that were not read.
    rest: u64,
    /// Bytes after them up to the next block.
    padding: u64,
    globals: pax::Globals,
    /// Whether the first end-of-archive block was seen.
    ended: bool,
}

impl<'s> Archive<'s> {
    /// The next entry, its content about to be read; nothing at the first end-of-archive block.
    fn next(&mut self, rules: &mut Rules) -> Result<Option<Entry>> {
        self.skip_content()?;
        self.name = None;
        let mut extended = pax::Extended::default();
        loop {
            let at = self.stream.offset();
            let mut block = [0; BLOCK];
            match self.stream.take(&mut block)? {
                0 if rules.form == Form::Layer && extended.is_empty() => return Ok(None),
                0 if at == 0 => return Err(invalid("aci.tar", "read the archive", "it is empty")),
                0 if extended.is_empty() => {
                    rules.broken("x.aci.end", None, "there are no end-of-archive blocks")?;
                    return Ok(None);
                }
                BLOCK => {}
                _ if at == 0 => {
                    return Err(invalid(
                        "aci.tar",
                        "read the archive",
                        "it is no tar archive: it is shorter than a header",
                    ));
                }
                _ => return Err(truncated(at)),
            }
            if block == [0; BLOCK] {
                if !extended.is_empty() {
                    return Err(invalid("x.aci.pax", "read the last extended header", "no entry follows it"));
                }
                self.ended = true;
                return Ok(None);
            }
            let header = Header::parse(&block, at)?;
            match header.flag {
                b'x' => extended.pax(&self.small(&header, at)?, at)?,
                b'L' => extended.long_name(self.small(&header, at)?, at)?,
                b'K' => extended.long_target(self.small(&header, at)?, at)?,
                b'g' => {
                    if !extended.is_empty() {
                        return Err(invalid(
                            "x.aci.pax",
                            place(at),
                            "a global header stands between a header and its entry",
                        ));
                    }
                    let records = self.small(&header, at)?;
                    self.globals.take(&records, at)?;
                    rules.warn(Diagnostic::warning("x.aci.pax-global", "the archive has a PAX global header"));
                }
                _ => return self.entry(header, &block, extended, at, rules).map(Some),
            }
        }
    }

    /// The content of an extended header.
    fn small(&mut self, header: &Header, at: u64) -> Result<Vec<u8>> {
        if header.size > MAX_EXTENDED {
            return Err(invalid("x.aci.limits", place(at), format!("an extended header of {} bytes", header.size)));
        }
        // Bounded just above.
        let mut content = vec![0; usize::try_from(header.size).unwrap_or(0)];
        if self.stream.take(&mut content)? < content.len() {
            return Err(truncated(at));
        }
        self.padding = padding(header.size);
        self.skip_content()?;
        Ok(content)
    }

    fn entry(
        &mut self,
        header: Header,
        block: &[u8; BLOCK],
        extended: pax::Extended,
        at: u64,
        rules: &mut Rules,
    ) -> Result<Entry> {
        let mut stored = header.size;
        let flag = header.flag;
        let mut entry = Entry {
            name: header.name,
            kind: Kind::File,
            target: header.target,
            mode: header.mode,
            uid: header.uid,
            gid: header.gid,
            mtime: header.mtime,
            size: stored,
            device: header.device,
            xattrs: Vec::new(),
            extents: None,
        };
        let map = extended.apply(&self.globals, &mut entry, &mut stored, at)?;
        self.name = Some(entry.name.clone());
        entry.kind = match flag {
            b'0' | 0 | b'7' | b'S' if entry.name.ends_with(b"/") => Kind::Directory,
            b'0' | 0 | b'7' | b'S' => Kind::File,
            b'1' => Kind::Hardlink,
            b'2' => Kind::Symlink,
            b'3' => Kind::Character,
            b'4' => Kind::Block,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => {
                let what = format!("it is of the unknown type `{}`", printable(&[other]));
                rules.broken("x.aci.entry-type", Some(&entry), what)?;
                // POSIX has readers take it for a file, so that they find the next one.
                Kind::File
            }
        };
        // POSIX, and all readers that extract: what is no file has no content, whatever its header says. Directories may have what a
        // system would allot them, links the size of what they name.
        let bare = matches!(flag, b'1'..=b'6') || flag == 0 && entry.kind == Kind::Directory;
        if bare && stored != 0 {
            let what =
                format!("{} has a size in its header, {stored}, where it has no content", printable(&entry.name));
            rules.warn(Diagnostic::warning("x.aci.entry-size", what).entry(printable(&entry.name)));
            stored = 0;
        }
        if entry.kind != Kind::File && stored != 0 {
            // Some readers skip such content, others take it for headers.
            return Err(invalid(
                "x.aci.entry-size",
                format!("read {}", printable(&entry.name)),
                format!("{stored} bytes of content where there can be none"),
            ));
        }
        entry.size = stored;
        self.rest = stored;
        self.padding = padding(stored);
        match map {
            pax::Map::None if flag == b'S' => {
                let (size, extents) = sparse::old_gnu(self, block, (at, &entry.name))?;
                entry.size = size;
                entry.extents = Some(extents);
            }
            pax::Map::None => {}
            _ if flag == b'S' || entry.kind != Kind::File => {
                let doing = format!("read {}", printable(&entry.name));
                return Err(invalid("x.aci.sparse", doing, "two sparse maps, or one of what is no file"));
            }
            pax::Map::Given { size, extents } => {
                entry.size = size;
                entry.extents = Some(extents);
            }
            pax::Map::InContent { size } => {
                entry.extents = Some(sparse::in_content(self, (at, &entry.name))?);
                entry.size = size;
            }
        }
        if let Some(extents) = &entry.extents {
            sparse::check(extents, entry.size, self.rest)
                .map_err(|what| invalid("x.aci.sparse", format!("read {}", printable(&entry.name)), what))?;
        }
        Ok(entry)
    }

    fn data<'a>(&'a mut self, entry: &'a Entry) -> Data<'a, 's> {
        match &entry.extents {
            None => Data { offset: 0, length: self.rest, extents: &[], archive: self },
            Some(extents) => Data { offset: 0, length: 0, extents, archive: self },
        }
    }

    /// Moves to the next header.
    fn skip_content(&mut self) -> Result<()> {
        let due = self.rest + self.padding;
        let at = self.stream.offset();
        if self.stream.skip(due)? < due {
            return Err(truncated(at));
        }
        (self.rest, self.padding) = (0, 0);
        Ok(())
    }

    /// What follows the first end-of-archive block: another, then zeros to the end of the stream.
    fn trailer(&mut self, rules: &mut Rules) -> Result<()> {
        let at = self.stream.offset();
        loop {
            let ready = match self.stream.fill() {
                Ok(ready) => ready,
                Err(error) => return rules.broken_behind(error),
            };
            if ready.is_empty() {
                break;
            }
            if ready.iter().any(|&byte| byte != 0) {
                rules.broken("x.aci.trailing", None, "something else follows the end-of-archive blocks")?;
                return self.stream.skip(u64::MAX).map(drop).or_else(|error| rules.broken_behind(error));
            }
            let count = ready.len();
            self.stream.consume(count);
        }
        let zeros = self.stream.offset() - at;
        // Without even the first one there was an error already.
        if self.ended && zeros < BLOCK as u64 {
            rules.warn(Diagnostic::warning(
                "x.aci.end",
                "the archive ends with one end-of-archive block instead of two",
            ));
        }
        Ok(())
    }
}

/// The content of one entry, piece by piece.
pub struct Data<'a, 's> {
    archive: &'a mut Archive<'s>,
    /// Extents that are still to come.
    extents: &'a [(u64, u64)],
    /// Offset of the next byte, and how many follow without a hole.
    offset: u64,
    length: u64,
}

impl Data<'_, '_> {
    /// Where in the decompressed stream the next byte stands.
    #[cfg(feature = "run")]
    pub(crate) fn place(&self) -> u64 {
        self.archive.stream.offset()
    }

    /// All that stands between the content before this one and this one, where it is kept.
    #[cfg(feature = "run")]
    pub(crate) fn before(&mut self) -> Option<Vec<u8>> {
        self.archive.stream.kept()
    }

    /// The next piece and where in the file it belongs; nothing at the end. Holes are left out.
    #[allow(clippy::should_implement_trait)] // a piece borrows from the stream
    pub fn next(&mut self) -> Result<Option<(u64, &[u8])>> {
        while self.length == 0 {
            let [(offset, length), rest @ ..] = self.extents else { return Ok(None) };
            (self.offset, self.length, self.extents) = (*offset, *length, rest);
        }
        let at = self.archive.stream.offset();
        let bytes = self.archive.stream.piece(self.length)?;
        if bytes.is_empty() {
            return Err(truncated(at));
        }
        let count = bytes.len() as u64;
        let offset = self.offset;
        self.archive.rest -= count;
        self.offset += count;
        self.length -= count;
        Ok(Some((offset, bytes)))
    }
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

fn place(at: u64) -> String {
    format!("read the tar header at byte {at}")
}

fn invalid(clause: &'static str, doing: impl Into<String>, what: impl Into<String>) -> Error {
    Error::new(Fault::Invalid, doing).clause(clause).because(what.into())
}

fn truncated(at: u64) -> Error {
    invalid("aci.tar", "read the archive", format!("it is cut off in the entry at byte {at}"))
}
