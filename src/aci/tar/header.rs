//! One header block.

use super::{Result, Time, invalid, place, printable};

/// Bytes of a block.
pub(super) const BLOCK: usize = 512;

/// The fields of a header block, numbers read.
pub(super) struct Header {
    pub(super) name: Vec<u8>,
    pub(super) target: Vec<u8>,
    pub(super) flag: u8,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    pub(super) mtime: Time,
    pub(super) device: (u32, u32),
}

impl Header {
    /// Reads the block at byte `at` of the stream.
    pub(super) fn parse(block: &[u8; BLOCK], at: u64) -> Result<Self> {
        let wrong = |what: &str| {
            if at == 0 {
                invalid("aci.tar", "read the archive", format!("it is no tar archive: {what}"))
            } else {
                invalid("x.aci.entry-header", place(at), what)
            }
        };
        let sum = number(&block[148..156]).ok_or_else(|| wrong("the checksum is no number"))?;
        if !checksums(block).contains(&sum) {
            return Err(wrong("the checksum is wrong"));
        }
        let flag = block[156];
        let posix = &block[257..263] == b"ustar\0";
        let gnu = &block[257..265] == b"ustar  \0";
        let mut name = text(&block[0..100]).to_vec();
        if posix {
            // The star tool keeps times in the last bytes of the prefix and signs that at the end of the block.
            let prefix = text(if &block[508..512] == b"tar\0" { &block[345..476] } else { &block[345..500] });
            if !prefix.is_empty() {
                name = [prefix, b"/", &name].concat();
            }
        }
        let wrong = |what: &str| {
            let doing = format!("{} (`{}`)", place(at), printable(&name));
            invalid("x.aci.entry-header", doing, what)
        };
        let field = |range: std::ops::Range<usize>, what: &str| {
            number(&block[range]).ok_or_else(|| wrong(&format!("the {what} is no number")))
        };
        // Only devices have numbers, and only since ustar is there room for them.
        let device = if matches!(flag, b'3' | b'4') && (posix || gnu) {
            let part = |range, what| {
                u32::try_from(field(range, what)?).map_err(|_| wrong(&format!("the {what} is out of range")))
            };
            (part(329..337, "major device number")?, part(337..345, "minor device number")?)
        } else {
            (0, 0)
        };
        Ok(Self {
            target: text(&block[157..257]).to_vec(),
            flag,
            // Some writers put the file type in front.
            mode: u32::try_from(field(100..108, "mode")? & 0o7777).unwrap_or(0),
            uid: owner(field(108..116, "owner")?).ok_or_else(|| wrong("the owner is out of range"))?,
            gid: owner(field(116..124, "group")?).ok_or_else(|| wrong("the group is out of range"))?,
            size: u64::try_from(field(124..136, "size")?)
                .ok()
                .filter(|&size| size <= i64::MAX as u64)
                .ok_or_else(|| wrong("the size is out of range"))?,
            mtime: Time {
                seconds: i64::try_from(field(136..148, "modification time")?)
                    .map_err(|_| wrong("the modification time is out of range"))?,
                nanos: 0,
            },
            device,
            name,
        })
    }
}

/// A user or group.
pub(super) fn owner(number: i128) -> Option<u32> {
    crate::id::Id::try_from(u32::try_from(number).ok()?).ok().map(crate::id::Id::get)
}

/// The bytes before the first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or(field)
}

/// Octal digits among spaces and NULs, or two's complement base 256 behind a set first bit. An empty field is zero.
pub(super) fn number(field: &[u8]) -> Option<i128> {
    if field.first()? & 0x80 != 0 {
        let negative = field[0] & 0x40 != 0;
        let (filler, start) = if negative { (0xff, -1) } else { (0, 0) };
        let first = if negative { field[0] } else { field[0] & 0x7f };
        let (high, low) = field.split_at(field.len().saturating_sub(8));
        // More than eight bytes of value are no number that means anything here.
        let fits = match high {
            [] => true,
            [_, rest @ ..] => first == filler && rest.iter().all(|&byte| byte == filler),
        };
        if !fits {
            return None;
        }
        let low = low.iter().enumerate().map(|(index, &byte)| if high.is_empty() && index == 0 { first } else { byte });
        return Some(low.fold(start, |value: i128, byte| value << 8 | i128::from(byte)));
    }
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !blank(byte)).unwrap_or(field.len());
    let digits = &field[start..];
    let end = digits.iter().position(blank).unwrap_or(digits.len());
    if !digits[end..].iter().all(blank) {
        return None;
    }
    digits[..end]
        .iter()
        .try_fold(0, |value: i128, &digit| matches!(digit, b'0'..=b'7').then(|| value << 3 | i128::from(digit - b'0')))
}

/// The sum of all bytes, the checksum's own taken for spaces; old writers summed signed bytes.
fn checksums(block: &[u8; BLOCK]) -> [i128; 2] {
    let own = 8 * i128::from(b' ');
    let (before, after) = (&block[..148], &block[156..]);
    let unsigned: u32 = before.iter().chain(after).map(|&byte| u32::from(byte)).sum();
    let high = before.iter().chain(after).filter(|&&byte| byte >= 0x80).count();
    let unsigned = i128::from(unsigned) + own;
    [unsigned, unsigned - 256 * high as i128]
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_read_as_writers_write_them_and_nothing_else() {
        for (field, value) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"77777777", Some(0o77777777)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"0000648\0", None),
            (b"644 7\0\0\0", None),
            (b"-1\0\0\0\0\0\0", None),
            (b"\x80\0\0\0\0\0\0\x05", Some(5)),
            (b"\x80\0\0\0\0\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\0\0\x01\0\0\0\0\0\0\0\0", None),
        ] {
            assert_eq!(number(field), value, "{field:?}");
        }
    }
}
