//! Image files in chunks: what of one is in another already.
//!
//! ```text
//! app.aci          a member of gzip | a member | ...      cut by content when it was built (aci::build)
//! app.aci.chunks   {"chunks":1,"image":"sha512-…","sha512":"…","bytes":N}\n, then for each chunk, in order:
//!                  its length (4 bytes, big-endian), its SHA-512 (64 bytes)
//! ```
//! A map says of which chunks a file is made, byte for byte as it is served. Whoever has some of them takes the others, and has the very
//! file: what is signed and what is hashed is what it was, so nothing is believed of a map. It is a hint; a wrong one costs a transfer.
//!
//! Chunks of a gzip file end where a member begins, of any other where its bytes say. Both sides cut by the same rule, so that nobody
//! needs to know how an image was built that is there: `cut` it and look.
//!
//! Invariants: chunks of a map are as long as the file, none is empty or longer than `MOST`; a map has no more than `MAX_MAP` bytes.

use std::io::{self, BufRead, Read};
use std::ops::ControlFlow;

use appc_codec::{Cutter, Sha512};
use serde::{Deserialize, Serialize};

use crate::error::Failure;
use crate::schema::ImageId;

/// What the name of a map ends in, behind that of the image.
pub(crate) const ENDING: &str = ".chunks";
/// The most bytes of a chunk.
pub(crate) const MOST: u32 = 1 << 20;
/// The least, but for the last: files of many small members have no more chunks for that.
const LEAST: usize = 4 << 10;
/// Of what is cut by its content, as a power of two.
const USUAL: u32 = 17;
/// The most bytes of a map: chunks of 30 GB as they are mostly.
pub(crate) const MAX_MAP: u64 = 16 << 20;
/// The most bytes before the chunks in a map.
const MAX_HEAD: usize = 1024;
/// Bytes of a chunk in a map.
const RECORD: usize = 4 + 64;
/// The form that is written and read.
const FORMAT: u32 = 1;
/// Bytes of a file that are looked at at once.
const WINDOW: usize = 256 << 10;

/// Why a map is none.
pub type Error = Failure<Kind>;

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// It is no map, of another form, or says what cannot be.
    Malformed,
    /// The file is in more chunks than a map can have.
    TooMany,
    /// The file could not be read.
    Io,
}

/// A SHA-512.
pub type Digest = [u8; 64];

/// Some bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// How many.
    pub length: u32,
    /// Their SHA-512.
    pub digest: Digest,
}

/// Of which chunks an image file is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// Which image it is.
    pub image: ImageId,
    /// The SHA-512 of the file in hex digits.
    pub sha512: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// One behind the other.
    pub chunks: Vec<Chunk>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    chunks: u32,
    image: ImageId,
    sha512: String,
    bytes: u64,
}

impl Map {
    /// The map of the file that `source` gives, which has this SHA-512 in hex digits.
    ///
    /// # Errors
    /// [`Kind::TooMany`], [`Kind::Io`].
    pub fn of(source: impl Read, image: ImageId, sha512: String) -> Result<Self, Error> {
        let failed = || Error::new(Kind::Io, "cut the image into chunks");
        let (mut chunks, mut bytes, most) = (Vec::new(), 0, (MAX_MAP as usize - MAX_HEAD) / RECORD);
        cut(source, &mut |_, chunk| {
            chunks.push(chunk);
            bytes += u64::from(chunk.length);
            if chunks.len() > most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .map_err(|error| failed().because(error))?;
        if chunks.len() > most {
            return Err(failed().of_kind(Kind::TooMany).because(format!("it has more than {most}")));
        }
        Ok(Self { image, sha512, bytes, chunks })
    }

    /// The map that these bytes are.
    ///
    /// # Errors
    /// [`Kind::Malformed`].
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let malformed = || Error::new(Kind::Malformed, "read the map of chunks");
        if bytes.len() as u64 > MAX_MAP {
            return Err(malformed().because(format!("more than {MAX_MAP} bytes")));
        }
        let end = bytes.iter().take(MAX_HEAD).position(|byte| *byte == b'\n');
        let end = end.ok_or_else(|| malformed().because("it does not begin as one"))?;
        let head: Head = serde_json::from_slice(&bytes[..end]).map_err(|error| malformed().because(error))?;
        if head.chunks != FORMAT {
            return Err(malformed().because(format!("of form {}, and {FORMAT} is known here", head.chunks)));
        }
        let (records, rest) = bytes[end + 1..].as_chunks::<RECORD>();
        if !rest.is_empty() {
            return Err(malformed().because("its end is missing"));
        }
        let (mut chunks, mut sum) = (Vec::with_capacity(records.len()), 0);
        for record in records {
            let [a, b, c, d, digest @ ..] = *record;
            let length = u32::from_be_bytes([a, b, c, d]);
            if !(1..=MOST).contains(&length) {
                return Err(malformed().because(format!("a chunk of {length} bytes")));
            }
            sum += u64::from(length);
            chunks.push(Chunk { length, digest });
        }
        if sum != head.bytes || chunks.is_empty() {
            return Err(malformed().because(format!("chunks of {sum} bytes, and it says {}", head.bytes)));
        }
        Ok(Self { image: head.image, sha512: head.sha512, bytes: sum, chunks })
    }

    /// The bytes that it is.
    pub fn write(&self) -> Vec<u8> {
        let head = Head { chunks: FORMAT, image: self.image.clone(), sha512: self.sha512.clone(), bytes: self.bytes };
        // A number, two texts and a number more: there is nothing in it that JSON has no form for.
        let mut bytes = serde_json::to_vec(&head).unwrap_or_default();
        bytes.push(b'\n');
        for chunk in &self.chunks {
            bytes.extend(chunk.length.to_be_bytes());
            bytes.extend(chunk.digest);
        }
        bytes
    }

    /// Whether most of it was cut by what stands there, so that another file can have the same.
    pub(crate) fn is_by_content(&self) -> bool {
        let full = self.chunks.iter().filter(|chunk| chunk.length == MOST).count() as u64;
        full * u64::from(MOST) * 2 <= self.bytes
    }
}

/// Cuts what `source` gives into chunks; `each` is told where each begins, until it has enough.
///
/// # Errors
/// Those of reading.
pub(crate) fn cut(source: impl Read, each: &mut dyn FnMut(u64, Chunk) -> ControlFlow<()>) -> io::Result<()> {
    let mut source = source;
    let mut first = Vec::new();
    source.by_ref().take(2).read_to_end(&mut first)?;
    let mut ends = match first == MEMBER[..2] {
        true => Ends::Members { matched: 0, length: 0 },
        false => Ends::Content(Cutter::new(USUAL)),
    };
    let mut source = io::BufReader::with_capacity(WINDOW, io::Cursor::new(first).chain(source));
    let (mut from, mut length, mut hash) = (0, 0u32, Sha512::new());
    loop {
        let bytes = match source.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            bytes => bytes?,
        };
        if bytes.is_empty() {
            break;
        }
        let end = ends.next(bytes);
        let count = end.unwrap_or(bytes.len());
        hash.update(&bytes[..count]);
        // No chunk is longer than MOST.
        length += count as u32;
        source.consume(count);
        if end.is_some() {
            let digest = std::mem::replace(&mut hash, Sha512::new()).finish();
            if each(from, Chunk { length, digest }).is_break() {
                return Ok(());
            }
            from += u64::from(std::mem::take(&mut length));
        }
    }
    if length > 0 {
        let _ = each(from, Chunk { length, digest: hash.finish() });
    }
    Ok(())
}

/// What a member of gzip begins with that was made without name and time. Behind it stand how hard it was compressed, and `UNKNOWN`.
const MEMBER: [u8; 8] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0];
/// On what host: what libraries say. The program gzip says another, and files of it in an image are seen through.
const UNKNOWN: u8 = 0xff;

/// Finds where chunks end.
enum Ends {
    /// Behind the first ten bytes of a member: what comes before depends on nothing else then, and nothing has to be looked at twice.
    Members {
        /// Bytes of a member's first ten that stand before the next.
        matched: usize,
        length: usize,
    },
    /// Where the bytes say.
    Content(Cutter),
}

impl Ends {
    /// How many of `bytes` are still of this chunk, where its end is in them.
    fn next(&mut self, bytes: &[u8]) -> Option<usize> {
        let (matched, length) = match self {
            Self::Content(cutter) => return cutter.cut(bytes),
            Self::Members { matched, length } => (matched, length),
        };
        let bytes = &bytes[..bytes.len().min(MOST as usize - *length)];
        let mut at = 0;
        while at < bytes.len() {
            if *matched == 0 {
                at += bytes[at..].iter().position(|byte| *byte == MEMBER[0]).unwrap_or(bytes.len() - at);
                *matched = usize::from(at < bytes.len());
                at += *matched;
                continue;
            }
            let byte = bytes[at];
            at += 1;
            *matched = match *matched {
                8 => 9,
                9 if byte == UNKNOWN => 10,
                known if known < 8 && byte == MEMBER[known] => known + 1,
                _ => usize::from(byte == MEMBER[0]),
            };
            if *matched == 10 {
                *matched = 0;
                if *length + at >= LEAST {
                    *length = 0;
                    return Some(at);
                }
            }
        }
        *length += bytes.len();
        (*length == MOST as usize).then(|| {
            *length = 0;
            bytes.len()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn noise(mut seed: u64, length: usize) -> Vec<u8> {
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 56) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    /// The file that these members are, none of which has anything else of one.
    fn members(contents: &[Vec<u8>]) -> Vec<u8> {
        contents.iter().flat_map(|content| [&MEMBER[..], &[4, UNKNOWN], content].concat()).collect()
    }

    fn chunks(bytes: &[u8]) -> Vec<Chunk> {
        let mut found = Vec::new();
        cut(bytes, &mut |from, chunk| {
            assert_eq!(from, found.iter().map(|chunk: &Chunk| u64::from(chunk.length)).sum::<u64>());
            let mut hash = Sha512::new();
            hash.update(&bytes[from as usize..][..chunk.length as usize]);
            assert_eq!(chunk.digest, hash.finish());
            found.push(chunk);
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(found.iter().map(|chunk| chunk.length as usize).sum::<usize>(), bytes.len());
        found
    }

    fn map(bytes: &[u8]) -> Map {
        Map::of(bytes, ImageId::from_digest(&[1; 64]), "00".to_owned()).unwrap()
    }

    #[test]
    fn a_file_of_members_has_a_chunk_of_each_and_another_shares_all_but_the_others() {
        let mut contents: Vec<_> = (0..40).map(|number| noise(number, 5000 + 977 * number as usize)).collect();
        let old = chunks(&members(&contents));
        assert_eq!(old.len(), contents.len());
        contents[7] = noise(100, 30_000);
        contents.insert(20, noise(101, 10_000));
        let new: HashSet<_> = chunks(&members(&contents)).iter().map(|chunk| chunk.digest).collect();
        assert_eq!(old.iter().filter(|chunk| !new.contains(&chunk.digest)).count(), 1);
    }

    #[test]
    fn chunks_are_the_same_however_a_file_is_read_and_never_longer_than_they_may_be() {
        struct Slowly<'b>(&'b [u8], usize);
        impl Read for Slowly<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let count = self.1.min(buffer.len());
                self.0.read(&mut buffer[..count])
            }
        }
        let contents: Vec<_> = (0..9).map(|number| noise(number, 9000)).collect();
        let many: Vec<_> = (0..900).map(|number| noise(number, 20)).collect();
        let long = [members(&[noise(1, 3_500_000)]), MEMBER.repeat(3)].concat();
        for bytes in
            [members(&contents), members(&many), long, noise(5, 3_000_000), vec![0; 3_000_000], vec![0x1f; 9000]]
        {
            let whole = chunks(&bytes);
            assert!(whole.iter().all(|chunk| chunk.length <= MOST));
            assert!(whole.len() <= bytes.len() / LEAST + 1);
            for step in [1, 9, 1000] {
                let mut again = Vec::new();
                cut(Slowly(&bytes[..bytes.len().min(200_000)], step), &mut |_, chunk| {
                    again.push(chunk);
                    ControlFlow::Continue(())
                })
                .unwrap();
                again.pop();
                assert_eq!(again, whole[..again.len()]);
            }
        }
        assert!(map(&members(&contents)).is_by_content());
        assert!(!map(&members(&[noise(1, 3_500_000)])).is_by_content());
    }

    #[test]
    fn a_map_is_what_was_written() {
        for bytes in [noise(1, 1), noise(2, 1_000_000), members(&[noise(3, 9000)])] {
            let map = map(&bytes);
            assert_eq!(Map::parse(&map.write()).unwrap(), map);
        }
    }

    #[test]
    fn what_is_no_map_is_refused_and_none_of_it_believed() {
        let good = map(&noise(2, 1_000_000)).write();
        let head = good.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let with = |at: usize, bytes: &[u8]| {
            let mut bad = good.clone();
            bad[at..at + bytes.len()].copy_from_slice(bytes);
            bad
        };
        let text = |from: &str, to: &str| {
            let line = String::from_utf8(good[..head].to_vec()).unwrap().replace(from, to);
            [line.as_bytes(), &good[head..]].concat()
        };
        for (bad, why) in [
            (Vec::new(), "it does not begin as one"),
            (b"<html>".repeat(1000), "it does not begin as one"),
            (b"{}\n".to_vec(), "missing field"),
            (good[..good.len() - 1].to_vec(), "its end is missing"),
            (good[..good.len() - RECORD].to_vec(), "and it says 1000000"),
            ([&good[..], &[0; RECORD]].concat(), "a chunk of 0 bytes"),
            (with(head, &[0xff; 4]), "a chunk of 4294967295 bytes"),
            (with(head, &(MOST + 1).to_be_bytes()), "a chunk of 1048577 bytes"),
            (with(head, &1u32.to_be_bytes()), "and it says 1000000"),
            (good[..head].to_vec(), "chunks of 0 bytes"),
            (text("1000000", "18446744073709551615"), "and it says 18446744073709551615"),
            (text("1000000", "0"), "and it says 0"),
            (text("\"chunks\":1", "\"chunks\":2"), "of form 2"),
            (text("sha512-01", "sha513-01"), "match pattern"),
            (text("\"bytes\"", "\"more\":1,\"bytes\""), "unknown field"),
            (vec![b'\n'; MAX_MAP as usize + 1], "more than 16777216 bytes"),
        ] {
            let error = Map::parse(&bad).expect_err(why);
            assert!(*error.kind() == Kind::Malformed && crate::error::chain(&error).contains(why), "{error:?} {why}");
        }
    }
}
