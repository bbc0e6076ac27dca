//! The tables that tell what a code is, from as many of its first bits as are looked up at once.

use std::io;

use super::broken;

/// Bits of a literal or length that are looked up at once.
pub(super) const LITERAL_BITS: u32 = 11;
/// Bits of a distance that are looked up at once.
pub(super) const DISTANCE_BITS: u32 = 8;
/// The most entries that tables with that many bits and their subtables have, for 288 and for 32 codes of up to 15 bits.
pub(super) const LITERALS: usize = 2342;
pub(super) const DISTANCES: usize = 402;

// An entry: the bits to take away with it (its code's rest and its extra bits) in bits 0 to 5, the code's rest alone in 8 to 11, its
// value from bit 16 on.
/// The value is a byte.
pub(super) const LITERAL: u32 = 1 << 31;
/// There is no value: the code ends the block, goes on in a subtable, or is none.
pub(super) const SPECIAL: u32 = 1 << 15;
/// With `SPECIAL`: the value is a subtable's place, and bits 8 to 11 how many bits choose in it.
pub(super) const SUBTABLE: u32 = 1 << 14;
/// With `SPECIAL`: the block ends.
pub(super) const END: u32 = 1 << 13;

/// Base and extra bits of lengths, from code 257 on.
pub(super) const LENGTHS: [(u16, u8); 29] = {
    let mut table = [(258, 0); 29];
    let (mut code, mut base) = (0, 3);
    while code < 28 {
        let extra = if code < 8 { 0 } else { code as u8 / 4 - 1 };
        table[code] = (base, extra);
        base += 1 << extra;
        code += 1;
    }
    table
};

/// Base and extra bits of distances.
pub(super) const OFFSETS: [(u16, u8); 30] = {
    let mut table = [(0, 0); 30];
    let (mut code, mut base) = (0, 1_u32);
    while code < 30 {
        let extra = if code < 4 { 0 } else { code as u8 / 2 - 1 };
        table[code] = (base as u16, extra);
        base += 1 << extra;
        code += 1;
    }
    table
};

/// Makes a table of `bits` bits with subtables behind it.
pub(super) fn build(
    table: &mut [u32],
    bits: u32,
    lengths: &[u8],
    sparse: bool,
    entry: impl Fn(usize) -> u32,
) -> io::Result<()> {
    let mut counts = [0_u16; 16];
    for length in lengths {
        counts[usize::from(*length)] += 1;
    }
    let longest = (1..16).rev().find(|length| counts[*length] > 0).unwrap_or(0);
    let mut free = 1_i32;
    for count in &counts[1..] {
        free = 2 * free - i32::from(*count);
        if free < 0 {
            return Err(broken("a block has more codes than there can be"));
        }
    }
    // Codes may be missing only where there is none or one.
    if free > 0 && !(sparse && longest <= 1) {
        return Err(broken("codes are missing in a block"));
    }
    let mut places = [0_u16; 16];
    for length in 1..15 {
        places[length + 1] = places[length] + counts[length];
    }
    let mut symbols = [0_u16; 288];
    for (symbol, length) in lengths.iter().enumerate().filter(|(_, length)| **length > 0) {
        let place = &mut places[usize::from(*length)];
        symbols[usize::from(*place)] = symbol as u16;
        *place += 1;
    }
    let with = |symbol: u16, length: u32| {
        let entry = entry(usize::from(symbol));
        // The extra bits are there already.
        entry + length + (length << 8)
    };
    let mut symbols = symbols.iter();
    let mut code = 0_u32;
    table[0] = SPECIAL;
    for length in 1..=bits {
        // Shorter codes stand before any bit that comes.
        let half = 1 << (length - 1);
        table.copy_within(..half, half);
        for _ in 0..counts[length as usize] {
            let symbol = symbols.next().copied().unwrap_or_default();
            table[(code.reverse_bits() >> (32 - length)) as usize] = with(symbol, length);
            code += 1;
        }
        code <<= 1;
    }
    // `code` has bits + 1 bits now. Codes that begin with the same `bits` bits follow each other, the longest last.
    let mut next = 1_usize << bits;
    let mut group = (u32::MAX, 0_usize, 0_u32);
    for length in bits + 1..=longest as u32 {
        let rest = length - bits;
        for done in 0..counts[length as usize] {
            let prefix = code >> rest;
            if prefix != group.0 {
                // How long the codes of this group get: until they fill what they begin with.
                let mut most = rest;
                let mut room = (1_i32 << rest) - i32::from(counts[length as usize] - done);
                while room > 0 && bits + most < 15 {
                    most += 1;
                    room = 2 * room - i32::from(counts[(bits + most) as usize]);
                }
                group = (prefix, next, most);
                table[(prefix.reverse_bits() >> (32 - bits)) as usize] =
                    SPECIAL | SUBTABLE | (next as u32) << 16 | most << 8 | bits;
                next += 1 << most;
            }
            let symbol = symbols.next().copied().unwrap_or_default();
            let first = (code.reverse_bits() >> (32 - length) >> bits) as usize;
            let entry = with(symbol, rest);
            for place in (group.1 + first..group.1 + (1 << group.2)).step_by(1 << rest) {
                table[place] = entry;
            }
            code += 1;
        }
        code <<= 1;
    }
    Ok(())
}
