//! SHA-512 (FIPS 180-4), by what the processor can do best.

#[cfg(target_arch = "x86_64")]
mod quick;

use sha2::Digest;

/// A hash in progress.
#[derive(Clone, Debug)]
pub struct Sha512(Way);

// There is one an archive.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug)]
enum Way {
    /// By whatever processor.
    Any(sha2::Sha512),
    /// By those that can do better.
    #[cfg(target_arch = "x86_64")]
    Quick(quick::Quick),
}

impl Default for Sha512 {
    fn default() -> Self {
        Self::new()
    }
}

impl Sha512 {
    /// A hash of nothing yet.
    pub fn new() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(quick) = quick::Quick::new() {
            return Self(Way::Quick(quick));
        }
        Self(Way::Any(sha2::Sha512::new()))
    }

    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Way::Any(hash) => hash.update(bytes),
            #[cfg(target_arch = "x86_64")]
            Way::Quick(hash) => hash.update(bytes),
        }
    }

    /// The digest of all that was taken.
    pub fn finish(self) -> [u8; 64] {
        match self.0 {
            Way::Any(hash) => hash.finalize().into(),
            #[cfg(target_arch = "x86_64")]
            Way::Quick(hash) => hash.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use appc_needs::{Need, skip};

    use super::*;

    #[test]
    fn any_length_in_any_pieces_has_the_digest_that_another_implementation_gives() {
        if matches!(Sha512::new().0, Way::Any(_)) {
            skip(Need::Avx2, "the processor has no AVX2");
            return;
        }
        let bytes: Vec<u8> = (0..2000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for length in (0..600).chain([1023, 1024, 1025, 2000]) {
            for piece in [1, 7, 111, 128, 200, 256, 300, 2000] {
                let mut hash = Sha512::new();
                bytes[..length].chunks(piece).for_each(|piece| hash.update(piece));
                assert_eq!(hash.finish()[..], sha2::Sha512::digest(&bytes[..length])[..], "{length} bytes by {piece}");
            }
        }
    }
}
