//! Archives that hold images: their members by name, each to be read where it lies.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::{Error, Kind, Result, archive};
use crate::aci::{self, Compression, Each, EntryKind, ReadOptions};

/// Members that are looked at; an image has a few for each layer.
const MAX_MEMBERS: usize = 100_000;
/// Links on the way to one member.
const MAX_LINKS: usize = 8;
const BUFFER: usize = 256 << 10;

/// A tar archive whose members are found by name.
pub(super) struct Tarball {
    file: Arc<File>,
    members: HashMap<String, Member>,
}

enum Member {
    File { at: u64, size: u64 },
    Link(String),
}

impl Tarball {
    /// Looks through the archive in `file`, which is decompressed into a file without name first where it is compressed, or
    /// copied where it cannot be read twice.
    ///
    /// # Errors
    /// [`Kind::Invalid`], [`Kind::TooBig`] where it is no archive to be read; [`Kind::Io`].
    pub(super) fn open(mut file: File, shown: &str, options: &ReadOptions) -> Result<Self> {
        let failed = |error: io::Error| Error::new(Kind::Io, format!("read {shown}")).because(error);
        if !file.metadata().map_err(failed)?.is_file() {
            file = spooled(file, options).map_err(failed)?;
        }
        let (members, compression) = members(&file, options)?;
        if compression == Compression::None {
            return Ok(Self { file: Arc::new(file), members });
        }
        file.rewind().map_err(failed)?;
        let plain = aci::Raw::new(file, options).map_err(archive)?;
        let file = spooled(plain, options).map_err(failed)?;
        let (members, _) = self::members(&file, options)?;
        Ok(Self { file: Arc::new(file), members })
    }

    /// A member's content and size; nothing where there is no such file.
    pub(super) fn member(&self, name: &str) -> Option<(Box<dyn Read + Send>, u64)> {
        let mut name = name.to_owned();
        for _ in 0..MAX_LINKS {
            match self.members.get(&name)? {
                Member::File { at, size } => {
                    let piece = Piece { file: Arc::clone(&self.file), at: *at, left: *size };
                    return Some((Box::new(BufReader::with_capacity(BUFFER, piece)), *size));
                }
                Member::Link(target) => name.clone_from(target),
            }
        }
        None
    }
}

fn spooled(mut source: impl Read, options: &ReadOptions) -> io::Result<File> {
    let mut copy = tempfile::tempfile()?;
    let copied = io::copy(&mut (&mut source).take(options.max_size.saturating_add(1)), &mut copy)?;
    if copied > options.max_size {
        return Err(io::Error::other(format!("it has more than {} bytes", options.max_size)));
    }
    copy.rewind()?;
    Ok(copy)
}

fn members(mut file: &File, options: &ReadOptions) -> Result<(HashMap<String, Member>, Compression)> {
    let mut members = HashMap::new();
    let mut sink = Each(|entry: &aci::Entry, data: &mut aci::Data<'_, '_>| {
        let Ok(name) = String::from_utf8(entry.name.clone()) else { return Ok(()) };
        let member = match entry.kind {
            EntryKind::File if entry.extents.is_none() => Member::File { at: data.place(), size: entry.size },
            EntryKind::Symlink | EntryKind::Hardlink => match linked(&name, entry) {
                Some(target) => Member::Link(target),
                None => return Ok(()),
            },
            _ => return Ok(()),
        };
        members.insert(name, member);
        if members.len() > MAX_MEMBERS {
            let error = aci::Error::new(aci::Kind::TooBig, "look through the archive").clause("x.oci.limits");
            return Err(error.because(format!("more than {MAX_MEMBERS} members")));
        }
        Ok(())
    });
    file.rewind().map_err(|error| Error::new(Kind::Io, "read the archive").because(error))?;
    let read = aci::read_layer(BufReader::with_capacity(BUFFER, file), options, false, &mut sink).map_err(archive)?;
    Ok((members, read.compression))
}

/// The name that a link among the members leads to; nothing where it leads elsewhere.
fn linked(name: &str, entry: &aci::Entry) -> Option<String> {
    let target = std::str::from_utf8(&entry.target).ok()?;
    if entry.kind == EntryKind::Hardlink {
        return Some(target.to_owned());
    }
    let mut parts: Vec<&str> = name.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    (!target.starts_with('/')).then(|| parts.join("/"))
}

/// A part of a file that others read from too.
struct Piece {
    file: Arc<File>,
    at: u64,
    left: u64,
}

impl Read for Piece {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        let count = self.file.read_at(&mut into[..most], self.at)?;
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}
