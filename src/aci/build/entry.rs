//! Tar entries as they are written: ustar headers, PAX where they cannot say it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use tar::{EntryType, Header};

use super::output::Output;
use super::walk::Found;
use crate::aci::tar::{Kind as EntryKind, Time, escaped, printable};
use crate::aci::{Data, Error, Kind, Result};
use crate::diagnostic::Diagnostic;

const BLOCK: u64 = 512;
/// Archives are padded to this, as tar's always were.
const RECORD: u64 = 20 * BLOCK;
/// The largest number of seven octal digits.
const MAX_ID: u32 = 0o7_777_777;
/// The largest number of eleven octal digits.
const MAX_SIZE: u64 = 0o77_777_777_777;

/// What was written.
pub(super) struct Written {
    pub(super) size: u64,
    pub(super) entries: u64,
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// Writes entries to a stream.
pub(super) struct Entries<'a, 'o> {
    output: &'a mut Output<'o>,
    owner_root: bool,
    entries: u64,
    diagnostics: Vec<Diagnostic>,
}

impl<'a, 'o> Entries<'a, 'o> {
    pub(super) fn new(output: &'a mut Output<'o>, owner_root: bool) -> Self {
        Self { output, owner_root, entries: 0, diagnostics: Vec::new() }
    }

    /// Keeps what the user shall know.
    pub(super) fn tell(&mut self, told: Diagnostic) {
        self.diagnostics.push(told);
    }

    pub(super) fn manifest(&mut self, bytes: &[u8], seconds: i64) -> Result<()> {
        let found = Found {
            name: b"manifest".to_vec(),
            kind: EntryKind::File,
            mode: 0o644,
            mtime: Time { seconds, nanos: 0 },
            size: bytes.len() as u64,
            ..Found::default()
        };
        self.header(&found, found.size, Vec::new())?;
        self.output.write(bytes)?;
        self.output.pad(BLOCK)
    }

    /// Writes an entry without content.
    pub(super) fn empty(&mut self, found: &Found) -> Result<()> {
        self.header(found, 0, Vec::new())
    }

    /// Writes a regular file with its content; `extents` where it is sparse.
    pub(super) fn file(&mut self, found: &Found, file: &mut File, extents: Option<&[(u64, u64)]>) -> Result<()> {
        let failed =
            |error: io::Error| Error::new(Kind::Io, format!("read `{}`", printable(&found.name))).because(error);
        let whole = [(0, found.size)];
        self.begin(found, extents)?;
        for &(offset, length) in extents.unwrap_or(&whole) {
            if extents.is_some() {
                file.seek(SeekFrom::Start(offset)).map_err(failed)?;
            }
            let copied = self.output.copy(file, length)?.map_err(failed)?;
            if copied < length {
                return Err(Error::new(Kind::Io, format!("read `{}`", printable(&found.name)))
                    .because("it became shorter while it was read"));
            }
        }
        self.output.pad(BLOCK)
    }

    /// Writes a regular file with the content that an entry of another archive has.
    pub(super) fn content(
        &mut self,
        found: &Found,
        data: &mut Data<'_, '_>,
        extents: Option<&[(u64, u64)]>,
    ) -> Result<()> {
        self.begin(found, extents)?;
        while let Some((_, bytes)) = data.next()? {
            self.output.write(bytes)?;
        }
        self.output.pad(BLOCK)
    }

    /// Writes a regular file with what is read.
    pub(super) fn copied(&mut self, found: &Found, content: &mut dyn Read) -> Result<()> {
        let failed =
            |error: io::Error| Error::new(Kind::Io, format!("read `{}`", printable(&found.name))).because(error);
        self.begin(found, None)?;
        if self.output.copy(content, found.size)?.map_err(failed)? < found.size {
            return Err(failed(io::Error::other("it became shorter while it was read")));
        }
        self.output.pad(BLOCK)
    }

    /// Writes what stands before a file's content.
    fn begin(&mut self, found: &Found, extents: Option<&[(u64, u64)]>) -> Result<()> {
        let Some(extents) = extents else { return self.header(found, found.size, Vec::new()) };
        let map = map(extents);
        let stored = map.len() as u64 + extents.iter().map(|(_, length)| length).sum::<u64>();
        let mut records = Vec::new();
        record(&mut records, b"GNU.sparse.major", b"1");
        record(&mut records, b"GNU.sparse.minor", b"0");
        record(&mut records, b"GNU.sparse.name", &found.name);
        record(&mut records, b"GNU.sparse.realsize", found.size.to_string().as_bytes());
        self.header(found, stored, records)?;
        self.output.write(&map)
    }

    /// Writes bytes as they are.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.output.write(bytes)
    }

    /// What was written so far, where its end was written too.
    pub(super) fn written(self) -> Written {
        Written { size: self.output.size(), entries: self.entries, diagnostics: self.diagnostics }
    }

    /// Two blocks of zeros, and zeros to the end of the record.
    pub(super) fn finish(self) -> Result<Written> {
        self.output.write(&[0; 2 * BLOCK as usize])?;
        self.output.pad(RECORD)?;
        Ok(self.written())
    }

    fn header(&mut self, found: &Found, stored: u64, mut records: Vec<u8>) -> Result<()> {
        self.entries += 1;
        let (uid, gid) = if self.owner_root { (0, 0) } else { (found.uid, found.gid) };
        let mut name = found.name.clone();
        if found.kind == EntryKind::Directory {
            name.push(b'/');
        }
        let mut header = Header::new_ustar();
        header.set_entry_type(match found.kind {
            EntryKind::File => EntryType::Regular,
            EntryKind::Directory => EntryType::Directory,
            EntryKind::Symlink => EntryType::Symlink,
            EntryKind::Hardlink => EntryType::Link,
            EntryKind::Character => EntryType::Char,
            EntryKind::Block => EntryType::Block,
            EntryKind::Fifo => EntryType::Fifo,
        });
        let sparse = !records.is_empty();
        if sparse {
            // Who cannot read sparse files shall not take the map for content under the real name.
            put_name(&mut header, b"GNUSparseFile.0/entry");
        } else if !put_name(&mut header, &name) {
            record(&mut records, b"path", &name);
        }
        if !put_target(&mut header, &found.target) {
            record(&mut records, b"linkpath", &found.target);
        }
        header.set_mode(found.mode);
        number(&mut records, b"uid", uid.into(), MAX_ID.into(), |uid| header.set_uid(uid));
        number(&mut records, b"gid", gid.into(), MAX_ID.into(), |gid| header.set_gid(gid));
        number(&mut records, b"size", stored, MAX_SIZE, |size| header.set_size(size));
        let seconds = u64::try_from(found.mtime.seconds).ok().filter(|&seconds| seconds <= MAX_SIZE);
        header.set_mtime(seconds.unwrap_or(0));
        if found.mtime.nanos != 0 || seconds.is_none() {
            record(&mut records, b"mtime", time(found.mtime).as_bytes());
        }
        if matches!(found.kind, EntryKind::Character | EntryKind::Block) {
            let (major, minor) = found.device;
            let wide = |_| {
                Error::new(Kind::Refused, format!("pack `{}`", printable(&found.name)))
                    .because("its device number does not fit into a tar header")
            };
            // The format has seven octal digits, and PAX no record for more.
            if major.max(minor) > MAX_ID {
                return Err(wide(()));
            }
            header.set_device_major(major).map_err(|_| wide(()))?;
            header.set_device_minor(minor).map_err(|_| wide(()))?;
        }
        for (attribute, value) in &found.xattrs {
            record(&mut records, &[b"SCHILY.xattr.", &escaped(attribute)[..]].concat(), value);
        }
        if !records.is_empty() {
            let mut extended = Header::new_ustar();
            extended.set_entry_type(EntryType::XHeader);
            put_name(&mut extended, b"PaxHeaders/entry");
            extended.set_mode(0o644);
            extended.set_size(records.len() as u64);
            extended.set_cksum();
            self.output.write(extended.as_bytes())?;
            self.output.write(&records)?;
            self.output.pad(BLOCK)?;
        }
        header.set_cksum();
        self.output.write(header.as_bytes())
    }
}

/// A number where it fits, and in a record where it does not.
fn number(records: &mut Vec<u8>, key: &[u8], value: u64, most: u64, set: impl FnOnce(u64)) {
    set(if value <= most { value } else { 0 });
    if value > most {
        record(records, key, value.to_string().as_bytes());
    }
}

/// Puts the name where ustar has it: 100 bytes, or 155 and a slash before them. What is not ASCII is in a record too, since
/// readers take the header's bytes for all kinds of things.
fn put_name(header: &mut Header, name: &[u8]) -> bool {
    let bytes = header.as_mut_bytes();
    let last = name.strip_suffix(b"/").unwrap_or(name);
    let split = if name.len() <= 100 {
        None
    } else {
        last.iter().enumerate().position(|(at, &byte)| byte == b'/' && at <= 155 && name.len() - at - 1 <= 100)
    };
    match split {
        None => {
            let count = name.len().min(100);
            bytes[..count].copy_from_slice(&name[..count]);
            name.len() <= 100
        }
        Some(at) => {
            bytes[..name.len() - at - 1].copy_from_slice(&name[at + 1..]);
            bytes[345..345 + at].copy_from_slice(&name[..at]);
            true
        }
    }
}

fn put_target(header: &mut Header, target: &[u8]) -> bool {
    let count = target.len().min(100);
    header.as_mut_bytes()[157..157 + count].copy_from_slice(&target[..count]);
    target.len() <= 100
}

/// Appends `LENGTH KEY=VALUE\n`; the length counts itself.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(length.to_string().as_bytes());
    for part in [b" ", key, b"=", value, b"\n"] {
        records.extend_from_slice(part);
    }
}

/// Decimal seconds; before 1970 the fraction counts away from it, too.
fn time(time: Time) -> String {
    let (sign, seconds, nanos) = match (time.seconds, time.nanos) {
        (seconds @ 0.., nanos) => ("", seconds.unsigned_abs(), nanos),
        (seconds, 0) => ("-", seconds.unsigned_abs(), 0),
        (seconds, nanos) => ("-", (seconds + 1).unsigned_abs(), 1_000_000_000 - nanos),
    };
    if nanos == 0 {
        return format!("{sign}{seconds}");
    }
    format!("{sign}{seconds}.{nanos:09}").trim_end_matches('0').to_owned()
}

/// The map of a sparse file as it stands before its content.
fn map(extents: &[(u64, u64)]) -> Vec<u8> {
    let mut map = format!("{}\n", extents.len());
    for (offset, length) in extents {
        map.push_str(&format!("{offset}\n{length}\n"));
    }
    let mut map = map.into_bytes();
    map.resize(map.len().next_multiple_of(BLOCK as usize), 0);
    map
}
