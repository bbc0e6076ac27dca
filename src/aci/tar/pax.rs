//! Extended headers: PAX records, and GNU's long names.

use std::collections::HashSet;

use super::header::owner;
use super::{Entry, Result, Time, attributes, invalid, place, printable, sparse};

const CLAUSE: &str = "x.aci.pax";

/// What the extended headers before one entry say.
#[derive(Default)]
pub(super) struct Extended {
    seen: bool,
    pax: Option<Records>,
    long_name: Option<Vec<u8>>,
    long_target: Option<Vec<u8>>,
}

/// Where the map of a sparse file is.
pub(super) enum Map {
    None,
    /// In the header (formats 0.0 and 0.1).
    Given {
        size: u64,
        extents: Vec<(u64, u64)>,
    },
    /// Before the content (format 1.0).
    InContent {
        size: u64,
    },
}

impl Extended {
    pub(super) fn is_empty(&self) -> bool {
        !self.seen
    }

    pub(super) fn pax(&mut self, content: &[u8], at: u64) -> Result<()> {
        self.seen = true;
        if self.pax.is_some() {
            return Err(invalid(CLAUSE, place(at), "two PAX headers stand before one entry"));
        }
        self.pax = Some(Records::parse(content, at)?);
        Ok(())
    }

    pub(super) fn long_name(&mut self, content: Vec<u8>, at: u64) -> Result<()> {
        self.seen = true;
        once(&mut self.long_name, ended(content), at)
    }

    pub(super) fn long_target(&mut self, content: Vec<u8>, at: u64) -> Result<()> {
        self.seen = true;
        once(&mut self.long_target, ended(content), at)
    }

    /// Puts what is said here, or else by global headers, in place of the header's fields; `stored` is the size of the content.
    pub(super) fn apply(self, globals: &Globals, entry: &mut Entry, stored: &mut u64, at: u64) -> Result<Map> {
        let records = self.pax.unwrap_or_default();
        entry.name = agreed(self.long_name, records.name, at)?.unwrap_or_else(|| std::mem::take(&mut entry.name));
        entry.target =
            agreed(self.long_target, records.target, at)?.unwrap_or_else(|| std::mem::take(&mut entry.target));
        *stored = records.size.unwrap_or(*stored);
        entry.uid = records.uid.unwrap_or(globals.uid).unwrap_or(entry.uid);
        entry.gid = records.gid.unwrap_or(globals.gid).unwrap_or(entry.gid);
        entry.mtime = records.mtime.unwrap_or(globals.mtime).unwrap_or(entry.mtime);
        entry.xattrs = records.xattrs;
        records.sparse.map(at)
    }
}

fn once(slot: &mut Option<Vec<u8>>, value: Vec<u8>, at: u64) -> Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(invalid(CLAUSE, place(at), "two long names stand before one entry")),
    }
}

/// GNU's long names end with a NUL.
fn ended(mut content: Vec<u8>) -> Vec<u8> {
    if content.last() == Some(&0) {
        content.pop();
    }
    content
}

/// Readers do not agree on which of the two wins, so they must say the same.
fn agreed(gnu: Option<Vec<u8>>, pax: Option<Vec<u8>>, at: u64) -> Result<Option<Vec<u8>>> {
    match (gnu, pax) {
        (Some(gnu), Some(pax)) if gnu != pax => {
            let (gnu, pax) = (printable(&gnu), printable(&pax));
            Err(invalid(CLAUSE, place(at), format!("the GNU long name and the PAX header differ: `{gnu}`, `{pax}`")))
        }
        (gnu, pax) => Ok(pax.or(gnu)),
    }
}

/// What a global header says about all entries after it.
#[derive(Default)]
pub(super) struct Globals {
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<Time>,
}

impl Globals {
    pub(super) fn take(&mut self, content: &[u8], at: u64) -> Result<()> {
        let records = Records::parse(content, at)?;
        if records.name.is_some() || records.target.is_some() || records.size.is_some() || !records.xattrs.is_empty() {
            return Err(invalid(
                CLAUSE,
                place(at),
                "a global header gives all entries one name, target, size or xattr",
            ));
        }
        if !matches!(records.sparse.map(at)?, Map::None) {
            return Err(invalid(CLAUSE, place(at), "a global header gives all entries one sparse map"));
        }
        self.uid = records.uid.unwrap_or(self.uid);
        self.gid = records.gid.unwrap_or(self.gid);
        self.mtime = records.mtime.unwrap_or(self.mtime);
        Ok(())
    }
}

/// The records of one PAX header that mean something here. An empty value takes back what was said before, by global headers too:
/// of what those may say, that is `Some(None)`.
#[derive(Default)]
struct Records {
    name: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<Option<u32>>,
    gid: Option<Option<u32>>,
    mtime: Option<Option<Time>>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Attributes in forms of other writers. Many of them write those of `xattrs` too.
    others: Vec<(Vec<u8>, Vec<u8>)>,
    sparse: Sparse,
}

/// The `GNU.sparse.*` records.
#[derive(Default)]
struct Sparse {
    major: Option<u64>,
    minor: Option<u64>,
    name: Option<Vec<u8>>,
    size: Option<u64>,
    /// How many extents there are.
    count: Option<u64>,
    extents: Vec<(u64, u64)>,
    /// An offset that waits for its length (format 0.0).
    offset: Option<u64>,
}

impl Sparse {
    fn map(self, at: u64) -> Result<Map> {
        let wrong = |what: &str| invalid("x.aci.sparse", place(at), what);
        let size = |size: Option<u64>| size.ok_or_else(|| wrong("a sparse file without its size"));
        if self.count.is_some_and(|count| count != self.extents.len() as u64) {
            return Err(wrong("a sparse map of another length than it says"));
        }
        match (self.major, self.minor) {
            (None | Some(0), _) if self.extents.is_empty() && self.offset.is_none() => match self.size {
                None => Ok(Map::None),
                // All of it is a hole.
                Some(size) => Ok(Map::Given { size, extents: Vec::new() }),
            },
            (None | Some(0), _) if self.offset.is_none() => {
                Ok(Map::Given { size: size(self.size)?, extents: self.extents })
            }
            (Some(1), Some(0) | None) if self.extents.is_empty() && self.offset.is_none() => {
                Ok(Map::InContent { size: size(self.size)? })
            }
            _ => Err(wrong("a sparse map of an unknown form")),
        }
    }
}

impl Records {
    fn parse(mut content: &[u8], at: u64) -> Result<Self> {
        let mut records = Self::default();
        while !content.is_empty() {
            let (key, value, rest) =
                record(content).ok_or_else(|| invalid(CLAUSE, place(at), "the PAX header holds a broken record"))?;
            records.take(key, value, at)?;
            content = rest;
        }
        if let Some(name) = records.sparse.name.take() {
            records.name = Some(name);
        }
        if !records.others.is_empty() {
            let known: HashSet<_> = records.xattrs.iter().map(|(name, _)| name.clone()).collect();
            records.xattrs.extend(records.others.drain(..).filter(|(name, _)| !known.contains(name)));
        }
        Ok(records)
    }

    fn take(&mut self, key: &[u8], value: &[u8], at: u64) -> Result<()> {
        let wrong = || {
            let what = format!("the PAX record `{}` has no proper value", printable(key));
            invalid(CLAUSE, place(at), what)
        };
        let number = || decimal(value).ok_or_else(wrong);
        let id = || owner(i128::from(number()?)).ok_or_else(wrong);
        match key {
            b"path" => self.name = said(value).map(<[u8]>::to_vec),
            b"linkpath" => self.target = said(value).map(<[u8]>::to_vec),
            b"size" => self.size = said(value).map(|_| number()).transpose()?,
            b"uid" => self.uid = Some(said(value).map(|_| id()).transpose()?),
            b"gid" => self.gid = Some(said(value).map(|_| id()).transpose()?),
            b"mtime" => self.mtime = Some(said(value).map(|value| time(value).ok_or_else(wrong)).transpose()?),
            b"GNU.sparse.major" => self.sparse.major = Some(number()?),
            b"GNU.sparse.minor" => self.sparse.minor = Some(number()?),
            b"GNU.sparse.name" => self.sparse.name = said(value).map(<[u8]>::to_vec),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.sparse.size = Some(number()?),
            b"GNU.sparse.numblocks" => self.sparse.count = Some(number()?),
            b"GNU.sparse.offset" => {
                if self.sparse.offset.replace(number()?).is_some() {
                    return Err(wrong());
                }
            }
            b"GNU.sparse.numbytes" => {
                let offset = self.sparse.offset.take().ok_or_else(wrong)?;
                self.sparse.extents.push((offset, number()?));
            }
            b"GNU.sparse.map" => {
                let mut numbers = value.split(|&byte| byte == b',').map(decimal);
                while let Some(offset) = numbers.next() {
                    let (Some(offset), Some(Some(length))) = (offset, numbers.next()) else { return Err(wrong()) };
                    self.sparse.extents.push((offset, length));
                }
            }
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    if name.is_empty() || name.contains(&0) {
                        return Err(wrong());
                    }
                    self.xattrs.push((attributes::plain(name), value.to_vec()));
                } else if let Some(attribute) = attributes::xattr(key, value) {
                    self.others.push(attribute.map_err(|()| wrong())?);
                }
            }
        }
        if self.sparse.extents.len() > sparse::MAX_EXTENTS {
            return Err(invalid("x.aci.limits", place(at), "a sparse map of too many pieces"));
        }
        Ok(())
    }
}

/// A value, unless it is empty.
fn said(value: &[u8]) -> Option<&[u8]> {
    Some(value).filter(|value| !value.is_empty())
}

/// Cuts `LENGTH KEY=VALUE\n` off; the length counts itself.
fn record(content: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = content.iter().take(20).position(|&byte| byte == b' ')?;
    let length = usize::try_from(decimal(&content[..space])?).ok()?;
    let (record, rest) = content.split_at_checked(length)?;
    let text = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = text.iter().position(|&byte| byte == b'=')?;
    let (key, value) = (&text[..equals], &text[equals + 1..]);
    (!key.is_empty()).then_some((key, value, rest))
}

/// Decimal digits, and no more than a file can have bytes.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let number: u64 = digits.then(|| std::str::from_utf8(text).ok()?.parse().ok())??;
    (number <= i64::MAX as u64).then_some(number)
}

/// Seconds with an optional fraction, before 1970 with a sign. What is finer than nanoseconds is cut off.
fn time(text: &[u8]) -> Option<Time> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(text) => (true, text),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |&byte| byte == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
    let fraction = parts.next().unwrap_or(b"");
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().map(|digit| u32::from(digit - b'0')).chain(std::iter::repeat(0));
    let nanos = digits.take(9).fold(0, |nanos, digit| nanos * 10 + digit);
    Some(match (negative, nanos) {
        (false, nanos) => Time { seconds, nanos },
        (true, 0) => Time { seconds: -seconds, nanos },
        (true, nanos) => Time { seconds: -seconds - 1, nanos: 1_000_000_000 - nanos },
    })
}

#[cfg(test)]
mod tests {
    use super::{Time, time};

    #[test]
    fn times_keep_nanoseconds_on_both_sides_of_1970() {
        assert_eq!(time(b"12.5"), Some(Time { seconds: 12, nanos: 500_000_000 }));
        assert_eq!(time(b"12.0000000019"), Some(Time { seconds: 12, nanos: 1 }));
        assert_eq!(time(b"-1.25"), Some(Time { seconds: -2, nanos: 750_000_000 }));
        assert_eq!(time(b"-3"), Some(Time { seconds: -3, nanos: 0 }));
        for wrong in [&b""[..], b".5", b"1e3", b"--1", b"1.x"] {
            assert_eq!(time(wrong), None);
        }
    }
}
