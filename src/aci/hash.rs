//! SHA-512.

#[cfg(all(feature = "run", target_arch = "x86_64"))]
use crate::sys::sha512::Sha512 as Quick;
use sha2::Digest;

/// SHA-512 in progress.
// There is one an archive.
#[allow(clippy::large_enum_variant)]
pub(super) enum Sha512 {
    /// By whatever processor.
    Any(sha2::Sha512),
    /// By those that can do better.
    #[cfg(all(feature = "run", target_arch = "x86_64"))]
    Quick(Quick),
}

impl Sha512 {
    pub(super) fn new() -> Self {
        // Without optimisation, dependencies are quicker than anything of ours: they are optimised all the same.
        #[cfg(all(feature = "run", target_arch = "x86_64"))]
        if let (false, Some(quick)) = (cfg!(debug_assertions), Quick::new()) {
            return Self::Quick(quick);
        }
        Self::Any(sha2::Sha512::new())
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Any(hash) => hash.update(bytes),
            #[cfg(all(feature = "run", target_arch = "x86_64"))]
            Self::Quick(hash) => hash.update(bytes),
        }
    }

    pub(super) fn finish(self) -> [u8; 64] {
        match self {
            Self::Any(hash) => hash.finalize().into(),
            #[cfg(all(feature = "run", target_arch = "x86_64"))]
            Self::Quick(hash) => hash.finish(),
        }
    }
}
