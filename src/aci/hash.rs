//! SHA-512.

use sha2::Digest;

/// SHA-512 in progress.
pub(super) struct Sha512(sha2::Sha512);

impl Sha512 {
    pub(super) fn new() -> Self {
        Self(sha2::Sha512::new())
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn finish(self) -> [u8; 64] {
        self.0.finalize().into()
    }
}
