//! A site: the static tree that discovery asks for images, made and kept by a publisher, served by any server.
//!
//! ```text
//! <document root>/index.html                                    pages of the prefix and its parents, with the tags of discovery
//!                 apps/index.html
//!                 aci/example.com/apps/app-1.0-linux-amd64.aci      images, where the template of the pages has them
//!                                      app-1.0-linux-amd64.aci.asc  .sig, .minisig: their signatures
//!                                      app-1.0-linux-amd64.aci.chunks   a map of its chunks, where that is wanted
//!                                      app-latest-linux-amd64.aci   the same file again
//!                                      keys.asc, keys.pub           public keys of OpenPGP, of signify
//!                 index.json                                    what there is, and what is being changed
//! ```
//! Every file stands at the path of its URL. [`publish`] is the one writer; it does the same in a directory and by HTTP ([`Place`]).
//!
//! Invariants: what a page or `index.json` names is there, at any moment and after any kill: a file is replaced whole, signatures come
//! before their image, and `index.json` leaves out (`moving`) what is being changed until it is done. Who comes next looks what became of
//! that. While an image is replaced its signature is a file of two, so that either of the images has one. No part of a name or a
//! label leads out of the tree: what is asked for and what is written come of the same template.
//!
//! Clauses: disc.meta.*, disc.subst, disc.ext, aci.sign.*; decisions 23, 30, 31.

mod directory;
mod http;
mod index;
mod names;
mod pages;
mod publish;
mod write;

pub use directory::Directory;
pub use http::Server;
pub use index::{Index, Published, Section};
pub use publish::{Addition, Outcome, Publication, Sign, publish};

use std::io::{self, Read};
use std::path::Path;

use appc_codec::Sha512;

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// An image, a signature, a name or a setting that cannot be published.
    Refused,
    /// There is something that is not ours.
    Exists,
    /// Somebody else publishes to the same place.
    Busy,
    /// What says what the site has cannot be understood.
    Corrupt,
    /// The place could not be read or written.
    Io,
}

/// Why a site could not be changed.
pub type Error = crate::error::Failure<Kind>;

/// The site's result.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Where a site is kept. Paths are relative to the document root, with `/`, and have been judged.
pub trait Place {
    /// A small file, `None` where there is none.
    fn read(&mut self, path: &str) -> Result<Option<Vec<u8>>>;
    /// The SHA-512 of a file in hex digits, `None` where there is none.
    fn digest(&mut self, path: &str) -> Result<Option<String>>;
    /// Puts a file there, whole or not at all.
    fn put(&mut self, path: &str, content: &Content<'_>) -> Result<()>;
    /// Gives what is at `from` a second name, whole or not at all. `content` is the same, where it is at hand.
    fn copy(&mut self, from: &str, path: &str, content: Option<&Content<'_>>) -> Result<()>;
    /// Takes a file away, if it is there.
    fn remove(&mut self, path: &str) -> Result<()>;
    /// Whether nobody else can write meanwhile.
    fn is_locked(&self) -> bool;
}

/// What is put into a file.
pub enum Content<'c> {
    /// These bytes.
    Bytes(&'c [u8]),
    /// A file with this SHA-512 (hex) and this many bytes; another than it was is an error.
    File(&'c Path, &'c str, u64),
}

impl Content<'_> {
    fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(.., bytes) => *bytes,
        }
    }

    fn open(&self) -> io::Result<Box<dyn Read>> {
        Ok(match self {
            Self::Bytes(bytes) => Box::new(io::Cursor::new(bytes.to_vec())),
            Self::File(path, digest, bytes) => Box::new(Unchanged {
                source: std::fs::File::open(path)?.take(*bytes),
                digest: (*digest).to_owned(),
                hash: Some(Sha512::new()),
            }),
        })
    }
}

/// Does not give its last bytes where it is not what it should be.
struct Unchanged {
    source: io::Take<std::fs::File>,
    digest: String,
    hash: Option<Sha512>,
}

impl Read for Unchanged {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        if let Some(hash) = &mut self.hash {
            hash.update(&buffer[..count]);
        }
        let ended = self.source.limit() == 0 || count == 0 && !buffer.is_empty();
        if ended && self.hash.take().is_some_and(|hash| hex(&hash.finish()) != self.digest) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it was changed while it was published"));
        }
        Ok(count)
    }
}

/// The SHA-512 of all that `source` gives, and how many bytes that was.
fn digest_of(mut source: impl Read) -> io::Result<(String, u64)> {
    let (mut hash, mut bytes) = (Sha512::new(), 0);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok((hex(&hash.finish()), bytes)),
            Ok(count) => {
                hash.update(&buffer[..count]);
                bytes += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
