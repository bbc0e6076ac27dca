//! The hashes of streams: SHA-512, which names images, and SHA-256, which names what other formats have.

pub(crate) use appc_codec::Sha512;
use sha2::Digest as _;

/// A hash in progress.
pub(crate) trait Hash: Send {
    /// What it comes to.
    type Digest: Send;

    fn new() -> Self;
    fn update(&mut self, bytes: &[u8]);
    fn finish(self) -> Self::Digest;
}

impl Hash for Sha512 {
    type Digest = [u8; 64];

    fn new() -> Self {
        Self::new()
    }

    fn update(&mut self, bytes: &[u8]) {
        self.update(bytes);
    }

    fn finish(self) -> [u8; 64] {
        self.finish()
    }
}

/// No hash, where somebody else makes one.
impl Hash for () {
    type Digest = ();

    fn new() -> Self {}

    fn update(&mut self, _: &[u8]) {}

    fn finish(self) {}
}

/// SHA-256 in progress.
pub(crate) struct Sha256(sha2::Sha256);

impl Hash for Sha256 {
    type Digest = [u8; 32];

    fn new() -> Self {
        Self(sha2::Sha256::new())
    }

    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}
