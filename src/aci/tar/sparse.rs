//! Maps of sparse files: GNU's old header form, and the form before the content (PAX 1.0).

use super::header::{BLOCK, number};
use super::pax::decimal;
use super::{Archive, Result, invalid, printable, truncated};

/// Pieces of one file that are accepted: 4 MiB of map, which no honest file below 1 GiB of data needs.
pub(super) const MAX_EXTENTS: usize = 256 << 10;

const CLAUSE: &str = "x.aci.sparse";

/// Where the header of a sparse file stands, and its name.
type Of<'a> = (u64, &'a [u8]);

fn reading((_, name): Of<'_>) -> String {
    format!("read {}", printable(name))
}

/// Pieces ascend without overlap, stay below `size`, and their data is the `stored` bytes of the content.
pub(super) fn check(extents: &[(u64, u64)], size: u64, stored: u64) -> Result<(), &'static str> {
    let mut end = 0u64;
    let mut data = 0u64;
    for &(offset, length) in extents {
        if offset < end {
            return Err("the sparse map is not in order");
        }
        // Both are below 2^63, so the sum fits.
        end = offset + length;
        data += length;
        if end > size {
            return Err("the sparse map goes past the end of the file");
        }
    }
    if data != stored {
        return Err("the sparse map and the content are of different size");
    }
    Ok(())
}

/// The map in an old GNU header of type `S`, and in the blocks that continue it.
pub(super) fn old_gnu(archive: &mut Archive<'_>, block: &[u8; BLOCK], of: Of<'_>) -> Result<(u64, Vec<(u64, u64)>)> {
    let wrong = || invalid(CLAUSE, reading(of), "the sparse map holds something else than numbers");
    let value = |field: &[u8]| {
        number(field)
            .and_then(|number| u64::try_from(number).ok())
            .filter(|&size| size <= i64::MAX as u64)
            .ok_or_else(wrong)
    };
    let mut extents = Vec::new();
    let mut take = |fields: &[u8]| -> Result<()> {
        for pair in fields.chunks_exact(24) {
            if pair[0] == 0 {
                break;
            }
            extents.push((value(&pair[..12])?, value(&pair[12..])?));
        }
        if extents.len() > MAX_EXTENTS {
            return Err(invalid("x.aci.limits", reading(of), "a sparse map of too many pieces"));
        }
        Ok(())
    };
    let size = value(&block[483..495])?;
    take(&block[386..482])?;
    let mut more = block[482] != 0;
    while more {
        let mut next = [0; BLOCK];
        if archive.stream.take(&mut next)? < BLOCK {
            return Err(truncated(of.0));
        }
        take(&next[..504])?;
        more = next[504] != 0;
    }
    Ok((size, extents))
}

/// The map before the content: a count, then offset and length in turn, each on a line, filled up to a block.
pub(super) fn in_content(archive: &mut Archive<'_>, of: Of<'_>) -> Result<Vec<(u64, u64)>> {
    let mut lines = Lines { archive, block: [0; BLOCK], next: BLOCK, of };
    let count = lines.number()?;
    if count > MAX_EXTENTS as u64 {
        return Err(invalid("x.aci.limits", reading(of), "a sparse map of too many pieces"));
    }
    (0..count).map(|_| Ok((lines.number()?, lines.number()?))).collect()
}

/// Numbers on lines, read from whole blocks of an entry's content.
struct Lines<'a, 's> {
    archive: &'a mut Archive<'s>,
    block: [u8; BLOCK],
    next: usize,
    of: Of<'a>,
}

impl Lines<'_, '_> {
    fn number(&mut self) -> Result<u64> {
        let wrong = |of| invalid(CLAUSE, reading(of), "the sparse map holds something else than numbers");
        let mut digits = Vec::new();
        loop {
            if self.next == BLOCK {
                if self.archive.rest < BLOCK as u64 {
                    return Err(invalid(CLAUSE, reading(self.of), "the sparse map is longer than the content"));
                }
                if self.archive.stream.take(&mut self.block)? < BLOCK {
                    return Err(truncated(self.of.0));
                }
                self.archive.rest -= BLOCK as u64;
                self.next = 0;
            }
            let byte = self.block[self.next];
            self.next += 1;
            match byte {
                b'\n' => return decimal(&digits).ok_or_else(|| wrong(self.of)),
                _ if digits.len() < 20 => digits.push(byte),
                _ => return Err(wrong(self.of)),
            }
        }
    }
}
