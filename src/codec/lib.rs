//! DEFLATE, SHA-512 and cutting by content: the inner loops of reading and writing an image.
//!
//! A crate of its own because it is optimised in every profile, so that tests meet the code that users get, and because it is,
//! beside the system calls, the only one with `unsafe`. Bytes come in, bytes go out; nothing here knows of archives.

mod cut;
mod inflate;
mod sha512;

pub use cut::Cutter;
pub use inflate::{AHEAD, Inflate};
pub use sha512::Sha512;
