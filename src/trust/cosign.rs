//! Keys by which cosign(1) signs images of registries, by what they are trusted for: `cosign`, one a line.
//!
//! ```text
//! registry.example.com/team MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE...    the prefix, and the key as it stands in its file
//! ```

use std::fs;
use std::io;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};

use super::registries::{checked_prefix, registry_is_trusted};
use super::store::{failed, publish};
use super::{Error, KeyStore, Kind};

const FILE: &str = "cosign";

/// What stands before the point of a public key of P-256 (RFC 5480).
const OF_P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// A point as it is, and not compressed.
const POINT: usize = 65;

/// A public key and what it is trusted for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CosignKey {
    prefix: String,
    document: Vec<u8>,
}

impl CosignKey {
    /// From a file as `cosign generate-key-pair` writes it, trusted for a registry or what is below a name in it.
    ///
    /// # Errors
    /// [`Kind::Malformed`]; [`Kind::Unfit`] where it is a key of another kind than ECDSA on P-256.
    pub fn parse(prefix: &str, text: &str) -> Result<Self, Error> {
        let doing = || "read the public key".to_owned();
        let malformed = || Error::new(Kind::Malformed, doing()).because("it is no PEM file with one `PUBLIC KEY`");
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let [first, body @ .., last] = lines.as_slice() else { return Err(malformed()) };
        if (*first, *last) != ("-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----") {
            return Err(malformed());
        }
        let document = STANDARD.decode(body.concat()).map_err(|_| malformed())?;
        Self::of(checked_prefix(prefix)?, document).ok_or_else(|| {
            Error::new(Kind::Unfit, doing()).because("it is no key of ECDSA on P-256, the only kind known here")
        })
    }

    fn of(prefix: String, document: Vec<u8>) -> Option<Self> {
        let whole = document.len() == OF_P256.len() + POINT && document.starts_with(&OF_P256);
        (whole && document[OF_P256.len()] == 4).then_some(Self { prefix, document })
    }

    /// What it is trusted for.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What it is called: the hash of it.
    pub fn id(&self) -> String {
        let digits: String = Sha256::digest(&self.document).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{digits}")
    }

    /// Whether it is trusted for images of a place, `HOST/NAME`.
    pub fn covers(&self, place: &str) -> bool {
        registry_is_trusted(std::slice::from_ref(&self.prefix), place)
    }

    /// Whether it made this signature, over just these bytes.
    pub fn has_signed(&self, bytes: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.document[OF_P256.len()..])
            .verify(bytes, signature)
            .is_ok()
    }
}

impl KeyStore {
    /// The keys that are trusted.
    ///
    /// # Errors
    /// [`Kind::Malformed`] where a line is none: nobody is to be trusted less than an administrator wanted, unnoticed.
    pub fn cosign_keys(&self) -> Result<Vec<CosignKey>, Error> {
        let mut keys = Vec::new();
        for base in self.system_directories().iter().map(PathBuf::as_path).chain([self.local_directory()]) {
            let path = base.join(FILE);
            let text = match fs::read_to_string(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed("read keys of cosign", &path, error)),
            };
            for (number, line) in
                text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
            {
                let key = line.split_once(' ').and_then(|(prefix, key)| Self::of_line(prefix, key));
                let key = key.ok_or_else(|| {
                    Error::new(Kind::Malformed, format!("read {}:{}", path.display(), number + 1))
                        .because("it is not a prefix and a key of P-256")
                })?;
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
        }
        Ok(keys)
    }

    fn of_line(prefix: &str, key: &str) -> Option<CosignKey> {
        CosignKey::of(checked_prefix(prefix).ok()?, STANDARD.decode(key.trim()).ok()?)
    }

    /// Trusts a key. Tells whether that is news.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn add_cosign_key(&self, key: &CosignKey) -> Result<bool, Error> {
        let mut keys = self.cosign_keys()?;
        if keys.contains(key) {
            return Ok(false);
        }
        keys.push(key.clone());
        self.write_cosign_keys(&keys).map(|()| true)
    }

    /// Trusts a key no more: of this name, for `prefix` or for all that it is trusted for. Gives what that was.
    ///
    /// # Errors
    /// [`Kind::Missing`] where it was not.
    pub fn remove_cosign_key(&self, id: &str, prefix: Option<&str>) -> Result<Vec<String>, Error> {
        let prefix = prefix.map(checked_prefix).transpose()?;
        let meant = |key: &CosignKey| key.id() == id && prefix.as_ref().is_none_or(|prefix| *prefix == key.prefix);
        let (gone, stay): (Vec<_>, Vec<_>) = self.cosign_keys()?.into_iter().partition(meant);
        if gone.is_empty() {
            return Err(Error::new(Kind::Missing, format!("find the key {}", id.escape_debug())));
        }
        self.write_cosign_keys(&stay)?;
        Ok(gone.into_iter().map(|key| key.prefix).collect())
    }

    fn write_cosign_keys(&self, keys: &[CosignKey]) -> Result<(), Error> {
        let path = self.local_directory().join(FILE);
        let line = |key: &CosignKey| format!("{} {}\n", key.prefix, STANDARD.encode(&key.document));
        let text: String = keys.iter().map(line).collect();
        publish(self.local_directory(), &path, text.as_bytes())
            .map_err(|error| failed("write keys of cosign", &path, error))
    }
}
