//! The first record of what `zfs send` gives, which says what the rest is. It is read before anything is handed to
//! `zfs receive`: a stream of another kind could bring properties (`mountpoint`, `canmount`, `sharenfs`), further datasets and
//! snapshots.
//!
//! Numbers are as the sending machine has them; the magic tells which way round that is (`zfs_ioctl.h` of OpenZFS 2.1).

use std::collections::BTreeSet;

/// How long the record is.
pub const LENGTH: usize = 312;

const MAGIC: u64 = 0x2_F5BA_CBAC;
/// One snapshot of one dataset, and nothing else: properties come with packages only.
const SINGLE: u64 = 1;
/// A file system: no volume.
const FILE_SYSTEM: u32 = 2;
/// Where the name of the snapshot begins, which ends with a NUL.
const NAME: usize = 56;

/// The most bytes that the record may bring along, which the kernel keeps at once: a place to go on at is some hundred.
const LONGEST_PAYLOAD: u32 = 64 << 10;

/// What a pool has to have for what a stream holds.
const NEEDS: [(u32, &str); 7] = [
    (16, "embedded_data"),
    (17, "lz4_compress"),
    (19, "large_blocks"),
    (23, "large_dnode"),
    (25, "zstd_compress"),
    (28, "longname"),
    (29, "large_microzap"),
];
/// What every pool understands: spilled attributes, resuming, compressed records, a note on block sizes.
const COMMON: [u32; 4] = [2, RESUMING, 22, 27];
/// That it goes on where another one broke.
const RESUMING: u32 = 20;
/// What is not taken: it could not be looked at, or is not all of the snapshot.
const REFUSED: [(u32, &str); 3] =
    [(0, "it is deduplicated"), (21, "parts of it were left out (redacted)"), (24, "it is encrypted (a raw stream)")];

/// The record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begin {
    /// Bits of what it makes use of.
    pub features: u32,
    /// The snapshot that it becomes, by its GUID.
    pub to: u64,
    /// The one that it is the difference to; 0 of a whole one.
    pub from: u64,
    /// The snapshot's name where it was sent.
    pub name: String,
    /// Bytes behind the record that belong to it.
    pub payload: u32,
}

impl Begin {
    /// Reads it. What is not a plain stream of one file system is refused, in words that read on after "because".
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn read(record: &[u8; LENGTH]) -> Result<Self, String> {
        let eight = |at: usize| -> [u8; 8] { std::array::from_fn(|n| record[at + n]) };
        let four = |at: usize| -> [u8; 4] { std::array::from_fn(|n| record[at + n]) };
        let swapped = match eight(8) {
            magic if u64::from_le_bytes(magic) == MAGIC => false,
            magic if u64::from_be_bytes(magic) == MAGIC => true,
            _ => return Err("it is not what zfs send gives".to_owned()),
        };
        let long = |at| if swapped { u64::from_be_bytes(eight(at)) } else { u64::from_le_bytes(eight(at)) };
        let short = |at| if swapped { u32::from_be_bytes(four(at)) } else { u32::from_le_bytes(four(at)) };
        if short(0) != 0 {
            return Err("it is not what zfs send gives".to_owned());
        }
        let version = long(16);
        if version & 3 != SINGLE {
            return Err("it is a package of datasets or brings properties; one snapshot is wanted".to_owned());
        }
        if short(32) != FILE_SYSTEM {
            return Err("it is not of a file system".to_owned());
        }
        let features = u32::try_from(version >> 2 & 0x3FFF_FFFF).unwrap_or(u32::MAX);
        if let Some((_, why)) = REFUSED.iter().find(|(bit, _)| features >> bit & 1 == 1) {
            return Err((*why).to_owned());
        }
        let known = |bit: u32| COMMON.contains(&bit) || NEEDS.iter().any(|(need, _)| *need == bit);
        if let Some(bit) = (0..30).find(|bit| features >> bit & 1 == 1 && !known(*bit)) {
            return Err(format!("it makes use of something that is not known here (bit {bit})"));
        }
        let name = &record[NAME..];
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        let name = String::from_utf8_lossy(&name[..end]).into_owned();
        let payload = short(4);
        if payload > LONGEST_PAYLOAD {
            return Err("what it says of itself is too long".to_owned());
        }
        Ok(Self { features, to: long(40), from: long(48), name, payload })
    }

    /// The record of this machine, as the model sends it.
    pub fn record(&self) -> [u8; LENGTH] {
        let mut record = [0; LENGTH];
        let mut put = |at: usize, bytes: &[u8]| record[at..at + bytes.len()].copy_from_slice(bytes);
        put(4, &self.payload.to_le_bytes());
        put(8, &MAGIC.to_le_bytes());
        put(16, &(u64::from(self.features) << 2 | SINGLE).to_le_bytes());
        put(32, &FILE_SYSTEM.to_le_bytes());
        put(40, &self.to.to_le_bytes());
        put(48, &self.from.to_le_bytes());
        let name = self.name.as_bytes();
        put(NAME, &name[..name.len().min(LENGTH - NAME - 1)]);
        record
    }

    /// Whether it goes on where another one broke.
    pub fn resumes(&self) -> bool {
        self.features >> RESUMING & 1 == 1
    }

    /// The features that a pool lacks which has these.
    pub fn lacking(&self, pool: &BTreeSet<String>) -> Vec<&'static str> {
        let needed = NEEDS.iter().filter(|(bit, _)| self.features >> bit & 1 == 1);
        needed.map(|(_, name)| *name).filter(|name| !pool.contains(*name)).collect()
    }
}

/// The bits for features of a pool by their names, and for going on.
pub fn bits<'n>(names: impl IntoIterator<Item = &'n str>, resumes: bool) -> u32 {
    let bit = |name: &str| NEEDS.iter().find(|(_, need)| *need == name).map_or(0, |(bit, _)| 1 << bit);
    names.into_iter().map(bit).fold(u32::from(resumes) << RESUMING, |all, bit| all | bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Begin {
        let features = bits(["large_blocks", "zstd_compress"], false) | 1 << 22;
        Begin { features, to: 7, from: 0, name: "zroot/jetpack/images/a@sealed".to_owned(), payload: 0 }
    }

    #[test]
    fn what_is_written_is_read_either_way_round() {
        let record = example().record();
        assert_eq!(Begin::read(&record).unwrap(), example());
        let mut swapped = record;
        for (at, length) in [(0, 4), (4, 4), (8, 8), (16, 8), (24, 8), (32, 4), (36, 4), (40, 8), (48, 8)] {
            swapped[at..at + length].reverse();
        }
        assert_eq!(Begin::read(&swapped).unwrap(), example());
    }

    #[test]
    fn packages_volumes_raw_and_unknown_streams_are_refused() {
        let with = |at: usize, byte: u8| {
            let mut record = example().record();
            record[at] = byte;
            Begin::read(&record).unwrap_err()
        };
        assert!(with(16, 2).contains("brings properties"));
        assert!(with(32, 3).contains("not of a file system"));
        assert!(with(8, 0).contains("not what zfs send gives"));
        assert!(with(0, 1).contains("not what zfs send gives"));
        // Bit 24 of the features is bit 26 of the number, bit 18 is bit 20.
        assert!(with(19, 1 << 2).contains("encrypted"));
        assert!(with(18, 1 << 4).contains("bit 18"));
    }

    #[test]
    fn what_a_pool_lacks_is_named() {
        let pool = BTreeSet::from(["large_blocks".to_owned()]);
        assert_eq!(example().lacking(&pool), ["zstd_compress"]);
        assert!(!example().resumes());
    }
}
