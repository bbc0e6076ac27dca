//! Another manifest for an image: every other byte of its archive stays.

use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::output::{self, Output};
use super::{Built, Overwrite, compress};
use crate::aci::hash::Sha512;
use crate::aci::open::Raw;
use crate::aci::{Compression, Error, ImageId, Kind, Nothing, ReadOptions, Result, Summary};
use crate::whole::Draft;

const BLOCK: usize = 512;
/// Bytes of headers before one entry that are accepted; reading has checked them by then.
const MAX_HEADERS: u64 = 16 << 20;

/// Writes the image in `input` to the file `out` with another manifest, which `change` makes of the old one. Attributes, times and
/// order of all entries stay as they are; the manifest's too, but for its size.
///
/// `out` is written beside its place and renamed when all is there. Where it is `input` itself, it keeps mode and, as far as the
/// host allows, owner.
///
/// # Errors
/// Those of reading, the archive being checked first; [`Kind::Encrypted`] for an encrypted image; [`Kind::Exists`] where `out`
/// is there and shall not be replaced; whatever `change` gives.
pub fn patch_file<E: From<Error>>(
    input: &Path,
    out: &Path,
    overwrite: Overwrite,
    compression: Option<Compression>,
    change: impl FnOnce(&Summary) -> std::result::Result<Vec<u8>, E>,
) -> std::result::Result<Built, E> {
    let options = ReadOptions::default();
    let failed = |error: io::Error| Error::new(Kind::Io, format!("read {}", input.display())).because(error);
    let mut file = File::open(input).map_err(failed)?;
    let summary = crate::aci::read(&file, &options, &mut Nothing)?;
    if summary.encrypted {
        let error = Error::new(Kind::Encrypted, format!("patch {}", input.display()));
        return Err(error.because("the result would not be encrypted any more").into());
    }
    let manifest = change(&summary)?;
    file.rewind().map_err(failed)?;
    let before = file.metadata().map_err(failed)?;

    let written = |error: io::Error| Error::new(Kind::Io, format!("write {}", out.display())).because(error);
    let there = fs::metadata(out).ok();
    if there.is_some() && overwrite == Overwrite::Refuse {
        return Err(Error::new(Kind::Exists, format!("write {}", out.display())).because("it is there already").into());
    }
    // A link stays one: what it points to is replaced.
    let place = out.canonicalize().unwrap_or_else(|_| out.to_owned());
    let itself = there.filter(|there| (there.dev(), there.ino()) == (before.dev(), before.ino()));
    let mode = if itself.is_some() { 0o600 } else { 0o666 };
    let mut target = Draft::new(&place, mode).map_err(written)?;
    let codec = compress::Codec::new(compression.unwrap_or(summary.compression), None)?;
    let (entries, digest) = output::run::<Sha512, _>(&codec, None, target.file(), |output| {
        copy(&mut Raw::new(&file, &options)?, output, &manifest)
    })?;
    if let Some(itself) = itself {
        // Owner first: changing it takes special bits away. Only root can give files away.
        let _ = std::os::unix::fs::fchown(target.file(), Some(itself.uid()), Some(itself.gid()));
        target.file().set_permissions(itself.permissions()).map_err(written)?;
    }
    target.publish(overwrite).map_err(written)?;
    Ok(Built {
        image_id: ImageId::from_digest(&digest),
        size: entries.size,
        entries: entries.count,
        diagnostics: Vec::new(),
    })
}

struct Copied {
    size: u64,
    count: u64,
}

/// Copies a tar stream that was checked before, with another content for its manifest.
fn copy(source: &mut Raw<'_>, output: &mut Output<'_>, manifest: &[u8]) -> Result<Copied> {
    let mut count = 0;
    loop {
        let headers = Headers::read(source)?;
        let Some(headers) = headers else {
            copy_rest(source, output)?;
            return Ok(Copied { size: output.size(), count });
        };
        count += 1;
        if headers.is_manifest() {
            let (raw, size) = headers.with_size(manifest.len() as u64);
            output.write(&raw)?;
            output.write(manifest)?;
            output.pad(BLOCK as u64)?;
            io::copy(&mut source.take(size.next_multiple_of(BLOCK as u64)), &mut io::sink()).map_err(broken)?;
        } else {
            output.write(&headers.raw)?;
            let size = headers.size.next_multiple_of(BLOCK as u64);
            if output.copy(source, size)?.map_err(broken)? != size {
                return Err(broken(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }
}

/// The end of the archive: a block of zeros, which was read, and whatever follows.
fn copy_rest(source: &mut Raw<'_>, output: &mut Output<'_>) -> Result<()> {
    output.write(&[0; BLOCK])?;
    output.copy(source, u64::MAX)?.map_err(broken)?;
    Ok(())
}

fn broken(error: io::Error) -> Error {
    Error::new(Kind::Io, "read the archive again").because(error)
}

/// The headers of one entry as they stand: extended ones first, its own last.
struct Headers {
    raw: Vec<u8>,
    /// Where its own begins.
    own: usize,
    /// The content of the PAX header before it, if there is one.
    pax: Option<std::ops::Range<usize>>,
    name: Vec<u8>,
    size: u64,
}

impl Headers {
    /// The next entry's headers; `None` at the end of the archive.
    fn read(source: &mut Raw<'_>) -> Result<Option<Self>> {
        let mut headers = Self { raw: Vec::new(), own: 0, pax: None, name: Vec::new(), size: 0 };
        let (mut long, mut pax_name, mut pax_size) = (None, None, None);
        loop {
            headers.own = headers.raw.len();
            if !headers.append(source, BLOCK as u64)? {
                return Ok(None);
            }
            let block = &headers.raw[headers.own..];
            if block.iter().all(|byte| *byte == 0) {
                return Ok(None);
            }
            let kind = block[156];
            let size = number(&block[124..136]);
            if !matches!(kind, b'x' | b'g' | b'L' | b'K') {
                headers.size = match kind {
                    b'1'..=b'6' => 0,
                    _ => pax_size.unwrap_or(size),
                };
                headers.name = pax_name.or(long).unwrap_or_else(|| name(block));
                let mut more = kind == b'S' && block[482] != 0;
                while more {
                    if !headers.append(source, BLOCK as u64)? {
                        return Err(broken(io::ErrorKind::UnexpectedEof.into()));
                    }
                    more = headers.raw[headers.raw.len() - BLOCK + 504] != 0;
                }
                return Ok(Some(headers));
            }
            if headers.raw.len() as u64 + size > MAX_HEADERS {
                return Err(broken(io::Error::other("headers too large")));
            }
            let start = headers.raw.len();
            headers.append(source, size.next_multiple_of(BLOCK as u64))?;
            let length = usize::try_from(size).unwrap_or(usize::MAX).min(headers.raw.len() - start);
            let content = start..start + length;
            match kind {
                b'L' => long = Some(headers.raw[content].split(|byte| *byte == 0).next().unwrap_or_default().to_vec()),
                b'x' => {
                    for (key, value) in records(&headers.raw[content.clone()]) {
                        match key {
                            b"path" => pax_name = Some(value.to_vec()),
                            b"size" => pax_size = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()),
                            _ => {}
                        }
                    }
                    headers.pax = Some(content);
                }
                _ => {}
            }
        }
    }

    /// Appends so many bytes; `false` where there is none left at all.
    fn append(&mut self, source: &mut Raw<'_>, length: u64) -> Result<bool> {
        let read = source.take(length).read_to_end(&mut self.raw).map_err(broken)?;
        if read as u64 == length || read == 0 {
            Ok(read > 0 || length == 0)
        } else {
            Err(broken(io::ErrorKind::UnexpectedEof.into()))
        }
    }

    fn is_manifest(&self) -> bool {
        let kind = self.raw[self.own + 156];
        let mut parts = self.name.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
        matches!(kind, 0 | b'0' | b'7') && parts.next() == Some(b"manifest") && parts.next().is_none()
    }

    /// The headers for content of another size, and the size it had.
    fn with_size(self, size: u64) -> (Vec<u8>, u64) {
        let mut own = self.raw[self.own..self.own + BLOCK].to_vec();
        own[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
        checksum(&mut own);
        let mut raw = self.raw[..self.own].to_vec();
        if let Some(pax) = self.pax {
            // A size in the PAX header would win: the records are written again without it.
            let mut kept = Vec::new();
            for (key, value) in records(&self.raw[pax.clone()]).filter(|(key, _)| *key != b"size") {
                kept.extend(record(key, value));
            }
            if kept.len() != pax.len() {
                let mut header = self.raw[pax.start - BLOCK..pax.start].to_vec();
                header[124..136].copy_from_slice(format!("{:011o}\0", kept.len()).as_bytes());
                checksum(&mut header);
                kept.resize(kept.len().next_multiple_of(BLOCK), 0);
                let end = pax.start + pax.len().next_multiple_of(BLOCK);
                raw.splice(pax.start - BLOCK..end, header.into_iter().chain(kept));
            }
        }
        raw.extend(own);
        (raw, self.size)
    }
}

/// A number in a header field: octal digits, or binary where the first bit is set.
fn number(field: &[u8]) -> u64 {
    if field[0] & 0x80 != 0 {
        return field[4..].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    }
    let digits = field.iter().skip_while(|byte| **byte == b' ').take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number: u64, digit| number.wrapping_mul(8).wrapping_add(u64::from(digit - b'0')))
}

fn name(block: &[u8]) -> Vec<u8> {
    let text = |range: std::ops::Range<usize>| block[range].split(|byte| *byte == 0).next().unwrap_or_default();
    let prefix = if block[257..263] == *b"ustar\0" { text(345..500) } else { &[] };
    if prefix.is_empty() { text(0..100).to_vec() } else { [prefix, b"/", text(0..100)].concat() }
}

/// The records of a PAX header.
fn records(mut content: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        let space = content.iter().position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(&content[..space]).ok()?.parse().ok()?;
        let record = content.get(space + 1..length.checked_sub(1)?)?;
        content = content.get(length..)?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        Some((&record[..equals], &record[equals + 1..]))
    })
}

/// A PAX record; its length counts itself.
fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

fn checksum(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_its_own_length() {
        for length in 0..300 {
            let value = vec![b'v'; length];
            let record = record(b"key", &value);
            assert_eq!(records(&record).collect::<Vec<_>>(), [(&b"key"[..], &value[..])], "{length}");
        }
    }
}
