//! The key of the administrative domain, and what is signed with it.
//!
//! `<dir>/metadata.key`: one line, 64 random bytes in base64; 0600; made at first use. Two processes that make it at
//! once agree on one: each writes a file of its own, and one of them gets the name.
//!
//! A pod signs with a key derived from the domain's key and its UUID, so any service of the domain can verify what
//! any pod signed, and no pod can sign as another.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha512;
use subtle::ConstantTimeEq;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{Error, Kind};
use crate::sys::secret::Secret;
use crate::whole::{Draft, Overwrite};

const NO_KEY: &str = "it does not hold 64 bytes in base64 on one line";

const FILE: &str = "metadata.key";
const BYTES: usize = 64;
/// Keeps a pod's key apart from anything else that may ever be derived from the domain's.
const PURPOSE: &[u8] = b"appc metadata: hmac key of pod\0";

/// The longest text that a key may have: base64 and a newline.
const TEXT: usize = BYTES.div_ceil(3) * 4 + 1;

/// The secret of an administrative domain: pods of one domain can verify each other's signatures.
///
/// It is on a page that is in no core dump, and that no forked child inherits: a process signs and verifies with
/// keys that it loaded itself.
#[derive(Clone)]
pub struct HmacKey(Arc<Secret<BYTES>>);

impl HmacKey {
    /// The key kept in the directory `dir`, made when there is none.
    ///
    /// # Errors
    /// [`Kind::Key`] when the file is no key, not a plain file, or open to others; [`Kind::Io`].
    pub fn load_or_create(dir: &Path) -> Result<Self, Error> {
        if let Some(key) = Self::load(dir)? {
            return Ok(key);
        }
        let failed = |error| Error::new(Kind::Io, "make a key").because(error);
        let fresh =
            Secret::new(|bytes: &mut [u8; BYTES]| getrandom::fill(bytes).map_err(io::Error::from)).map_err(failed)?;
        put(&Self(Arc::new(fresh)), dir, Overwrite::Refuse)?;
        Self::load(dir)?
            .ok_or_else(|| Error::new(Kind::Key, doing("read", &dir.join(FILE))).because("it was removed just now"))
    }

    /// The key kept in `dir`, if there is one.
    ///
    /// # Errors
    /// As [`HmacKey::load_or_create`].
    pub(crate) fn load(dir: &Path) -> Result<Option<Self>, Error> {
        let path = dir.join(FILE);
        let io = |error: io::Error| Error::new(Kind::Io, doing("read", &path)).because(error);
        let bad = |why: &str| Error::new(Kind::Key, doing("use", &path)).because(why.to_owned());
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let flags = i32::try_from(flags.bits()).map_err(|_| bad("the flags for opening it do not fit"))?;
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        let facts = file.metadata().map_err(io)?;
        if !facts.is_file() {
            return Err(bad("it is not a plain file"));
        }
        if facts.mode() & 0o077 != 0 {
            return Err(bad("its mode lets others read or change it (it must be 0600)"));
        }
        let owner = facts.uid();
        if owner != rustix::process::geteuid().as_raw() && owner != 0 {
            return Err(bad("it belongs to another user"));
        }
        Self::read(file)
            .map_err(|error| match error.kind() {
                ErrorKind::InvalidData => bad(NO_KEY),
                _ => io(error),
            })
            .map(Some)
    }

    /// Puts this key into `dir` for the pods to come.
    ///
    /// # Errors
    /// [`Kind::Exists`] when another key is there and `overwrite` does not allow to put this one in its place.
    pub fn store(&self, dir: &Path, overwrite: Overwrite) -> Result<(), Error> {
        put(self, dir, overwrite)?;
        match Self::load(dir)? {
            Some(there) if there.is(self) => Ok(()),
            _ => Err(Error::new(Kind::Exists, doing("write", &dir.join(FILE))).because("another key is there already")),
        }
    }

    /// Reads a key's text form: 64 bytes in base64 and a newline.
    ///
    /// # Errors
    /// The reader's; `InvalidData` when it is not one.
    pub fn read(mut from: impl Read) -> io::Result<Self> {
        let mut text = Zeroizing::new([0_u8; TEXT + 1]);
        let mut length = 0;
        while length < text.len() {
            match from.read(&mut text[length..]) {
                Ok(0) => break,
                Ok(more) => length += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let line = text[..length].strip_suffix(b"\n").unwrap_or(&text[..length]);
        // As large as the decoder thinks that this much text may need.
        let mut decoded = Zeroizing::new([0_u8; TEXT]);
        if STANDARD.decode_slice(line, &mut decoded[..]) != Ok(BYTES) {
            return Err(io::Error::new(ErrorKind::InvalidData, NO_KEY));
        }
        let secret = Secret::new(|bytes: &mut [u8; BYTES]| {
            bytes.copy_from_slice(&decoded[..BYTES]);
            Ok::<_, io::Error>(())
        })?;
        Ok(Self(Arc::new(secret)))
    }

    /// Writes the text form. It is the key itself: for a file or a pipe of the administrator only.
    ///
    /// # Errors
    /// The writer's.
    pub fn write(&self, mut to: impl Write) -> io::Result<()> {
        let mut text = Zeroizing::new([b'\n'; TEXT]);
        let bytes = self.0.bytes().ok_or(ErrorKind::NotFound)?;
        STANDARD.encode_slice(bytes, &mut text[..TEXT - 1]).map_err(io::Error::other)?;
        to.write_all(&text[..])
    }

    /// The signature of the pod `uuid` over `content`: HMAC-SHA512 (RFC 2104) in base64 (mds.hmac.sign).
    ///
    /// `None` in a process that did not load the key itself.
    pub(crate) fn sign(&self, uuid: Uuid, content: &[u8]) -> Option<String> {
        Some(STANDARD.encode(self.of_pod(uuid)?.chain_update(content).finalize().into_bytes()))
    }

    /// Whether `signature` is what the pod `uuid` signs `content` with (mds.hmac.verify), in constant time.
    ///
    /// `None` in a process that did not load the key itself.
    pub fn verify(&self, uuid: Uuid, content: &[u8], signature: &[u8]) -> Option<bool> {
        Some(self.of_pod(uuid)?.chain_update(content).verify_slice(signature).is_ok())
    }

    /// Whether both are the same key.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let (Some(one), Some(other)) = (self.0.bytes(), other.0.bytes()) else { return false };
        one.ct_eq(other).into()
    }

    fn of_pod(&self, uuid: Uuid) -> Option<Hmac<Sha512>> {
        let derived = keyed(self.0.bytes()?).chain_update(PURPOSE).chain_update(uuid.as_bytes()).finalize();
        Some(keyed(&derived.into_bytes()))
    }
}

impl fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HmacKey(secret)")
    }
}

/// Writes the key to its file in `dir`, whole. Where nothing is to be replaced, and one came up meanwhile, that stays.
fn put(key: &HmacKey, dir: &Path, overwrite: Overwrite) -> Result<(), Error> {
    let path = dir.join(FILE);
    let write = || {
        std::fs::create_dir_all(dir)?;
        let mut draft = Draft::new(&path, 0o600)?;
        key.write(draft.file())?;
        draft.file().sync_all()?;
        draft.publish(overwrite)
    };
    match write() {
        Err(error) if overwrite == Overwrite::Refuse && error.kind() == ErrorKind::AlreadyExists => Ok(()),
        written => written.map_err(|error| Error::new(Kind::Io, doing("write", &path)).because(error)),
    }
}

fn doing(what: &str, path: &Path) -> String {
    format!("{what} the key file {}", path.display())
}

fn keyed(key: &[u8]) -> Hmac<Sha512> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_is_made_once_and_kept_from_others() {
        let dir = tempfile::tempdir().unwrap();
        let made = HmacKey::load_or_create(dir.path()).unwrap();
        assert!(HmacKey::load_or_create(dir.path()).unwrap().is(&made));
        let file = std::fs::metadata(dir.path().join(FILE)).unwrap();
        assert_eq!(file.mode() & 0o7777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no drafts left");
    }

    #[test]
    fn many_that_make_the_key_at_once_agree_on_it() {
        for _ in 0..20 {
            let dir = tempfile::tempdir().unwrap();
            let start = std::sync::Barrier::new(8);
            let keys: Vec<HmacKey> = std::thread::scope(|scope| {
                let make = || {
                    start.wait();
                    HmacKey::load_or_create(dir.path()).unwrap()
                };
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert!(keys.iter().all(|key| key.is(&keys[0])));
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no drafts left");
        }
    }

    #[test]
    fn a_key_file_that_is_not_ours_alone_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let refused = |why: &str| {
            let error = HmacKey::load_or_create(dir.path()).unwrap_err();
            assert!(crate::error::chain(&error).contains(why), "{}", crate::error::chain(&error));
        };
        HmacKey::load_or_create(dir.path()).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        refused("its mode lets others");
        let good = std::fs::read(&path).unwrap();
        for bad in [b"".as_slice(), b"AAAA\n", &good[..80], &[&good[..], b"\n"].concat(), &[b'x'; 5000]] {
            std::fs::write(&path, bad).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
            refused("base64");
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        refused("not a plain file");
        std::fs::remove_dir(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        refused("read the key file");
    }

    #[test]
    fn a_key_that_travels_stays_the_same_and_replaces_another_only_when_told() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let key = HmacKey::load_or_create(here.path()).unwrap();
        let mut text = Vec::new();
        key.write(&mut text).unwrap();
        let came = HmacKey::read(text.as_slice()).unwrap();
        came.store(there.path(), Overwrite::Refuse).unwrap();
        came.store(there.path(), Overwrite::Refuse).unwrap();
        assert!(HmacKey::load(there.path()).unwrap().unwrap().is(&key));
        let uuid = Uuid::new_v4();
        assert_eq!(key.sign(uuid, b"x"), came.sign(uuid, b"x"));
        let other = HmacKey::load_or_create(tempfile::tempdir().unwrap().path()).unwrap();
        assert_eq!(*other.store(there.path(), Overwrite::Refuse).unwrap_err().kind(), Kind::Exists);
        assert!(HmacKey::load(there.path()).unwrap().unwrap().is(&key));
        other.store(there.path(), Overwrite::Replace).unwrap();
        assert!(HmacKey::load(there.path()).unwrap().unwrap().is(&other));
    }

    #[test]
    fn pods_do_not_share_a_key() {
        let key = HmacKey::load_or_create(tempfile::tempdir().unwrap().path()).unwrap();
        let (one, other) = (Uuid::new_v4(), Uuid::new_v4());
        assert_ne!(key.sign(one, b"x"), key.sign(other, b"x"));
        let signature = STANDARD.decode(key.sign(one, b"x").unwrap()).unwrap();
        assert_eq!(key.verify(one, b"x", &signature), Some(true));
        assert_eq!(key.verify(other, b"x", &signature), Some(false));
        assert_eq!(key.verify(one, b"x", &signature[..63]), Some(false));
        assert!(!format!("{key:?}").contains(&STANDARD.encode(key.0.bytes().unwrap())));
    }
}
