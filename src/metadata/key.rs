//! The key of the administrative domain, and what is signed with it.
//!
//! `<dir>/metadata.key`: one line, 64 random bytes in base64; 0600; made at first use. Two processes that make it at
//! once agree on one: each writes a file of its own, and linking it to the name succeeds for one of them.
//!
//! A pod signs with a key derived from the domain's key and its UUID, so any service of the domain can verify what
//! any pod signed, and no pod can sign as another.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha512;
use uuid::Uuid;

use super::{Error, Kind};

const FILE: &str = "metadata.key";
const BYTES: usize = 64;
/// Keeps a pod's key apart from anything else that may ever be derived from the domain's.
const PURPOSE: &[u8] = b"appc metadata: hmac key of pod\0";

/// The secret of an administrative domain: pods of one domain can verify each other's signatures.
#[derive(Clone)]
pub struct HmacKey(Arc<[u8; BYTES]>);

impl HmacKey {
    /// The key kept in the directory `dir`, made when there is none.
    ///
    /// Load it after the pod's processes were forked, so that none of them has a copy.
    ///
    /// # Errors
    /// [`Kind::Key`] when the file is no key, not a plain file, or open to others; [`Kind::Io`].
    pub fn load_or_create(dir: &Path) -> Result<Self, Error> {
        if let Some(key) = Self::load(dir)? {
            return Ok(key);
        }
        let mut bytes = [0_u8; BYTES];
        getrandom::fill(&mut bytes).map_err(|error| Error::new(Kind::Io, "make a key").because(error))?;
        let fresh = Draft::write(dir, &Self(Arc::new(bytes)))?;
        fresh.publish_if_absent(&dir.join(FILE))?;
        Self::load(dir)?
            .ok_or_else(|| Error::new(Kind::Key, doing("read", &dir.join(FILE))).because("it was removed just now"))
    }

    /// The key kept in `dir`, if there is one.
    ///
    /// # Errors
    /// As [`HmacKey::load_or_create`].
    pub fn load(dir: &Path) -> Result<Option<Self>, Error> {
        let path = dir.join(FILE);
        let io = |error| Error::new(Kind::Io, doing("read", &path)).because(error);
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
        let mut text = String::new();
        file.take(4096).read_to_string(&mut text).map_err(io)?;
        Self::from_text(&text).map(Some).ok_or_else(|| bad("it does not hold 64 bytes in base64 on one line"))
    }

    /// Puts this key into `dir` for the pods to come.
    ///
    /// # Errors
    /// [`Kind::Exists`] when another key is there and `replace` does not allow to put this one in its place.
    pub fn store(&self, dir: &Path, replace: Replace) -> Result<(), Error> {
        let path = dir.join(FILE);
        let draft = Draft::write(dir, self)?;
        if replace == Replace::Yes {
            return draft.publish(&path);
        }
        draft.publish_if_absent(&path)?;
        match Self::load(dir)? {
            Some(there) if there == *self => Ok(()),
            _ => Err(Error::new(Kind::Exists, doing("write", &path)).because("another key is there already")),
        }
    }

    /// The key from its text form. `None` when the text is not one.
    pub fn from_text(text: &str) -> Option<Self> {
        let line = text.strip_suffix('\n').unwrap_or(text);
        let bytes: [u8; BYTES] = STANDARD.decode(line).ok()?.try_into().ok()?;
        Some(Self(Arc::new(bytes)))
    }

    /// The text form: base64 and a newline. The key itself: for a file or a pipe of the administrator only.
    pub fn to_text(&self) -> String {
        format!("{}\n", STANDARD.encode(self.0.as_slice()))
    }

    /// The signature of the pod `uuid` over `content`: HMAC-SHA512 (RFC 2104) in base64 (mds.hmac.sign).
    pub fn sign(&self, uuid: Uuid, content: &[u8]) -> String {
        STANDARD.encode(self.of_pod(uuid).chain_update(content).finalize().into_bytes())
    }

    /// Whether `signature` is what the pod `uuid` signs `content` with (mds.hmac.verify), in constant time.
    pub fn verify(&self, uuid: Uuid, content: &[u8], signature: &[u8]) -> bool {
        self.of_pod(uuid).chain_update(content).verify_slice(signature).is_ok()
    }

    fn of_pod(&self, uuid: Uuid) -> Hmac<Sha512> {
        let derived = keyed(self.0.as_slice()).chain_update(PURPOSE).chain_update(uuid.as_bytes()).finalize();
        keyed(&derived.into_bytes())
    }
}

impl PartialEq for HmacKey {
    fn eq(&self, other: &Self) -> bool {
        subtle::ConstantTimeEq::ct_eq(self.0.as_slice(), other.0.as_slice()).into()
    }
}

impl fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HmacKey(secret)")
    }
}

/// Whether a key may take the place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// What is there is replaced.
    Yes,
    /// What is there stays.
    No,
}

/// A key file that nobody finds yet. Dropped unpublished, it is gone.
struct Draft(PathBuf);

impl Draft {
    fn write(dir: &Path, key: &HmacKey) -> Result<Self, Error> {
        let path = dir.join(format!(".{FILE}.{}", Uuid::new_v4()));
        let io = |error| Error::new(Kind::Io, doing("write", &path)).because(error);
        let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(io)?;
        let draft = Self(path.clone());
        file.write_all(key.to_text().as_bytes()).and_then(|()| file.sync_all()).map_err(io)?;
        Ok(draft)
    }

    fn publish(self, path: &Path) -> Result<(), Error> {
        std::fs::rename(&self.0, path).map_err(|error| Error::new(Kind::Io, doing("write", path)).because(error))
    }

    fn publish_if_absent(self, path: &Path) -> Result<(), Error> {
        match std::fs::hard_link(&self.0, path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                Err(Error::new(Kind::Io, doing("write", path)).because(error))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After a rename there is nothing left to remove; any other failure leaves a file that only its owner reads.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn doing(what: &str, path: &Path) -> String {
    format!("{what} the key file {}", path.display())
}

fn keyed(key: &[u8]) -> Hmac<Sha512> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}
