//! Where a stream is cut into pieces, by what stands in it and not by how far it has come: two streams that are the same but for some
//! places are cut the same but around those.
//!
//! A hash of the last 64 bytes rolls along (Gear); where its upper bits are all zero a piece ends. Until a piece is of usual length more
//! bits have to be, and fewer from then on, which keeps most pieces near it (FastCDC, Xia et al. 2016). The numbers below are part
//! of what is written: with others a rebuilt image shares nothing with what came before.

/// The bytes that the hash knows of.
const WINDOW: usize = 64;
/// How many bits decide less or more than those of the usual length.
const NORMAL: u32 = 2;

/// What each byte does to the hash: splitmix64 from zero on.
const TABLE: [u64; 256] = {
    let mut table = [0; 256];
    let (mut at, mut state) = (0, 0u64);
    while at < 256 {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        table[at] = mixed ^ (mixed >> 31);
        at += 1;
    }
    table
};

/// Finds the ends of pieces.
#[derive(Clone, Debug)]
pub struct Cutter {
    usual: usize,
    hash: u64,
    /// Bytes of this piece so far.
    length: usize,
}

impl Cutter {
    /// For pieces of `2^usual` bytes mostly, a quarter of that at least and four times as much at most. `usual` is from 10 to 24.
    pub fn new(usual: u32) -> Self {
        Self { usual: 1 << usual.clamp(10, 24), hash: 0, length: 0 }
    }

    /// The most bytes that a piece has.
    pub fn most(&self) -> usize {
        4 * self.usual
    }

    /// Goes on through `bytes` to the end of the piece, if that is in them: how many of them are still of it. What is behind it is
    /// for the next call.
    pub fn cut(&mut self, bytes: &[u8]) -> Option<usize> {
        let least = self.usual / 4;
        let bits = self.usual.trailing_zeros();
        let mut at = 0;
        while at < bytes.len() {
            // Up to where the same holds, and what holds there of a hash that ends the piece.
            let (until, ends) = match self.length {
                // What the hash need not know is not looked at.
                length if length < least - WINDOW => (least - WINDOW, None),
                length if length < least => (least, Some(u64::MAX)),
                length if length < self.usual => (self.usual, Some(u64::MAX << (64 - bits - NORMAL))),
                _ => (self.most(), Some(u64::MAX << (64 - bits + NORMAL))),
            };
            let zone = &bytes[at..bytes.len().min(at + (until - self.length))];
            let ended = ends.and_then(|mask| self.roll(zone, mask));
            let passed = ended.unwrap_or(zone.len());
            at += passed;
            self.length += passed;
            if ended.is_some() || self.length == self.most() {
                (self.hash, self.length) = (0, 0);
                return Some(at);
            }
        }
        None
    }

    fn roll(&mut self, bytes: &[u8], mask: u64) -> Option<usize> {
        let mut hash = self.hash;
        for (at, byte) in bytes.iter().enumerate() {
            hash = (hash << 1).wrapping_add(TABLE[usize::from(*byte)]);
            if hash & mask == 0 {
                return Some(at + 1);
            }
        }
        self.hash = hash;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of no order, the same for the same seed.
    fn noise(mut seed: u64, length: usize) -> Vec<u8> {
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 56) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    /// Where pieces end, when the stream comes `step` bytes at a time.
    fn ends(bytes: &[u8], step: usize) -> Vec<usize> {
        let (mut cutter, mut ends, mut at) = (Cutter::new(10), Vec::new(), 0);
        for part in bytes.chunks(step) {
            let mut rest = part;
            while let Some(count) = cutter.cut(rest) {
                at += count;
                ends.push(at);
                rest = &rest[count..];
            }
            at += rest.len();
        }
        ends
    }

    #[test]
    fn pieces_are_the_same_however_the_stream_comes_and_neither_short_nor_long() {
        let bytes = noise(1, 300_000);
        let whole = ends(&bytes, bytes.len());
        for step in [1, 7, 63, 64, 1000, 4096] {
            assert_eq!(ends(&bytes, step), whole, "{step}");
        }
        let lengths = whole.iter().scan(0, |from, to| Some(to - std::mem::replace(from, *to)));
        assert!(lengths.clone().all(|length| (256..=4096).contains(&length)));
        assert!((150..=500).contains(&lengths.count()));
        // Where nothing tells a place from another pieces are long.
        assert_eq!(ends(&[0; 10_000], 10_000), [4096, 8192]);
    }

    #[test]
    fn what_is_changed_somewhere_is_cut_otherwise_only_there() {
        let bytes = noise(2, 400_000);
        let old = ends(&bytes, bytes.len());
        for (number, at) in (0..390_000).step_by(13_001).enumerate() {
            let mut new = bytes.clone();
            let with = noise(number as u64, number * 37 % 900);
            new.splice(at..at + number * 53 % 700, with.iter().copied());
            let shift = new.len() as isize - bytes.len() as isize;
            let ends = ends(&new, new.len());
            let before = old.iter().take_while(|end| **end <= at).count();
            assert_eq!(ends[..before], old[..before], "changed at {at}");
            let mut behind = old.iter().filter(|end| **end > at + 30_000);
            assert!(behind.all(|end| ends.contains(&end.saturating_add_signed(shift))), "changed at {at}");
        }
    }

    #[test]
    fn pieces_end_where_they_did_in_earlier_versions() {
        assert_eq!(ends(&noise(3, 10_000), 10_000), [453, 1494, 2636, 3767, 4313, 5152, 6364, 7444, 8489, 9650]);
    }
}
