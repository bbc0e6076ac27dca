//! The keys that an administrator trusts, on disk.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, DirBuilder};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::certificate::MAX_KEYRING;
use super::{Certificate, Error, Fingerprint, Keyring, Kind};
use crate::schema::AcIdentifier;
use crate::whole::{self, Durability};

/// For which names a key is trusted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// All names.
    Root,
    /// The name itself and all names below it, on `/` boundaries.
    Prefix(AcIdentifier),
}

impl Scope {
    /// Whether a key of this scope is trusted for `name`.
    pub fn covers(&self, name: &AcIdentifier) -> bool {
        match self {
            Self::Root => true,
            Self::Prefix(prefix) => match name.strip_prefix(prefix.as_str()) {
                Some(rest) => rest.is_empty() || rest.starts_with('/'),
                None => false,
            },
        }
    }

    fn directory(&self, base: &Path) -> PathBuf {
        match self {
            Self::Root => base.join("root.d"),
            Self::Prefix(prefix) => base.join("prefix.d").join(prefix.as_str()),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("all names"),
            Self::Prefix(prefix) => f.write_str(prefix.as_str()),
        }
    }
}

/// Whose file a trusted key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// It came with the system.
    System,
    /// This host's administrator put it there.
    Local,
}

/// A key and what it is trusted for.
#[derive(Clone, Debug)]
pub struct TrustedKey {
    /// For which names.
    pub scope: Scope,
    /// The key itself.
    pub certificate: Certificate,
    /// Whose file it is.
    pub origin: Origin,
    /// Its file.
    pub path: PathBuf,
}

/// The directories of trusted keys.
#[derive(Clone, Debug)]
pub struct KeyStore {
    local: PathBuf,
    system: Vec<PathBuf>,
}

/// A key's place: the same in every directory of the store.
type Slot = (Scope, Fingerprint);

impl KeyStore {
    /// `local` is the directory that is written to, `system` those that are only read. They need not exist.
    pub fn new(local: impl Into<PathBuf>, system: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { local: local.into(), system: system.into_iter().collect() }
    }

    /// The directory that is written to.
    pub(super) fn local_directory(&self) -> &Path {
        &self.local
    }

    /// The directories that are only read.
    pub(super) fn system_directories(&self) -> &[PathBuf] {
        &self.system
    }

    /// The keys trusted for `name`. The others are remembered for the error that tells where a key is trusted.
    pub fn keyring_for(&self, name: &AcIdentifier) -> Result<Keyring, Error> {
        let (here, elsewhere): (Vec<_>, Vec<_>) = self.list()?.into_iter().partition(|key| key.scope.covers(name));
        let mut keyring =
            here.into_iter().map(|key| key.certificate).collect::<Keyring>().for_purpose(name.to_string());
        for key in elsewhere {
            keyring.note_elsewhere(key.certificate, key.scope.to_string());
        }
        Ok(keyring)
    }

    /// The keys trusted for any name: for an image whose name is not known yet.
    pub fn keyring_of_all(&self) -> Result<Keyring, Error> {
        let keys = self.list()?.into_iter().map(|key| key.certificate);
        Ok(keys.collect::<Keyring>().for_purpose("any name".to_owned()))
    }

    /// All trusted keys, by scope and fingerprint. What one copy of a key says, a revocation before all, holds for all of them.
    pub fn list(&self) -> Result<Vec<TrustedKey>, Error> {
        let mut keys = Vec::new();
        for ((scope, fingerprint), (origin, path)) in self.slots()? {
            let bytes = read_bounded(&path).map_err(|error| failed("read trusted key", &path, error))?;
            if bytes.is_empty() {
                continue;
            }
            let wrong =
                |why: String| Error::new(Kind::Malformed, format!("read trusted key {}", path.display())).because(why);
            let certificate = Certificate::parse_many(&bytes)
                .map_err(|error| wrong(crate::error::chain(&error)))?
                .into_iter()
                .find(|certificate| certificate.fingerprint() == fingerprint)
                .ok_or_else(|| wrong("the file is not named by the fingerprint of the key in it".to_owned()))?;
            keys.push(TrustedKey { scope, certificate, origin, path });
        }
        let whole: Keyring = keys.iter().map(|key| key.certificate.clone()).collect();
        if whole.certificates().len() < keys.len() {
            for key in &mut keys {
                let fingerprint = key.certificate.fingerprint();
                if let Some(known) = whole.certificates().iter().find(|known| known.fingerprint() == fingerprint) {
                    key.certificate = known.clone();
                }
            }
        }
        Ok(keys)
    }

    /// Trusts a key. Returns its file, and whether that is news.
    pub fn add(&self, scope: &Scope, certificate: &Certificate) -> Result<(PathBuf, bool), Error> {
        let directory = scope.directory(&self.local);
        let path = directory.join(certificate.fingerprint().as_str());
        let old = read_bounded(&path).unwrap_or_default();
        // What the copy that is there knows, a revocation before all, another must not make forgotten.
        let mut certificate = certificate.clone();
        for known in Certificate::parse_many(&old).unwrap_or_default() {
            if known.fingerprint() == certificate.fingerprint() {
                certificate.merge(known);
            }
        }
        let bytes = certificate.armoured()?;
        let news = old.is_empty();
        publish(&directory, &path, &bytes).map_err(|error| failed("write trusted key", &path, error))?;
        Ok((path, news))
    }

    /// Trusts a key no more: for `scope`, or for anything. A key that came with the system is masked. Returns for
    /// what it was trusted.
    pub fn remove(&self, scope: Option<&Scope>, fingerprint: &Fingerprint) -> Result<Vec<Scope>, Error> {
        let mut removed = Vec::new();
        for ((have, print), (origin, path)) in self.slots()? {
            let asked_for = print == *fingerprint && scope.is_none_or(|scope| *scope == have);
            if !asked_for || fs::metadata(&path).is_ok_and(|metadata| metadata.len() == 0) {
                continue;
            }
            let failed = |error| failed("remove trusted key", &path, error);
            if origin == Origin::Local {
                fs::remove_file(&path).map_err(failed)?;
            }
            if self.system.iter().any(|base| slot_path(base, &have, &print).is_some()) {
                let directory = have.directory(&self.local);
                publish(&directory, &directory.join(print.as_str()), b"").map_err(failed)?;
            }
            removed.push(have);
        }
        match removed.is_empty() {
            false => Ok(removed),
            true => {
                let of = scope.map(|scope| format!(" for {scope}")).unwrap_or_default();
                Err(Error::new(Kind::Missing, format!("find trusted key {fingerprint}{of}"))
                    .because("no such key is trusted"))
            }
        }
    }

    /// The file that counts for each key: the local one, else the system's.
    fn slots(&self) -> Result<BTreeMap<Slot, (Origin, PathBuf)>, Error> {
        let mut slots = BTreeMap::new();
        let bases = self.system.iter().map(|base| (Origin::System, base)).chain([(Origin::Local, &self.local)]);
        for (origin, base) in bases {
            let root = Scope::Root.directory(base);
            walk(&root, &root, origin, &mut slots)?;
            let prefixes = base.join("prefix.d");
            walk(&prefixes, &prefixes, origin, &mut slots)?;
        }
        Ok(slots)
    }
}

/// Files below `directory` that are named by a fingerprint; the way to them from `top` is the prefix.
fn walk(
    top: &Path,
    directory: &Path,
    origin: Origin,
    slots: &mut BTreeMap<Slot, (Origin, PathBuf)>,
) -> Result<(), Error> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("read trusted keys in", directory, error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| failed("read trusted keys in", directory, error))?;
        let path = entry.path();
        let is_root = top.file_name().is_some_and(|name| name == "root.d");
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if !is_root {
                walk(top, &path, origin, slots)?;
            }
            continue;
        }
        let Some(fingerprint) = entry.file_name().to_str().and_then(|name| name.parse::<Fingerprint>().ok()) else {
            // Editors' and package managers' left-overs are no keys.
            continue;
        };
        let scope = match directory.strip_prefix(top).ok().and_then(Path::to_str) {
            Some("") if is_root => Scope::Root,
            Some(prefix) if !is_root => match prefix.parse() {
                Ok(prefix) => Scope::Prefix(prefix),
                Err(_) => continue,
            },
            _ => continue,
        };
        slots.insert((scope, fingerprint), (origin, path));
    }
    Ok(())
}

fn slot_path(base: &Path, scope: &Scope, fingerprint: &Fingerprint) -> Option<PathBuf> {
    let directory = scope.directory(base);
    let names = [fingerprint.to_string(), fingerprint.to_string().to_ascii_lowercase()];
    names.into_iter().map(|name| directory.join(name)).find(|path| path.exists())
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_KEYRING as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a file whole or not at all.
pub(super) fn publish(directory: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    whole::replace(path, 0o644, bytes, Durability::Synced)
}

pub(super) fn failed(doing: &str, path: &Path, error: io::Error) -> Error {
    Error::new(Kind::Io, format!("{doing} {}", path.display())).because(error)
}
