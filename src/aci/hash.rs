//! SHA-512, and how an image ID is written.

use std::fmt::Write;

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

/// `sha512-` and the digest in lower-case hexadecimal.
pub(super) fn image_id(digest: &[u8; 64]) -> String {
    let mut text = String::with_capacity(7 + 128);
    text.push_str("sha512-");
    for byte in digest {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
