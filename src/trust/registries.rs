//! The registries whose images are taken without a signature, by host and what is below it: `registries`, one a line.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::store::{failed, publish};
use super::{Error, KeyStore, Kind};

const FILE: &str = "registries";

impl KeyStore {
    /// What is trusted: hosts, and names below them.
    pub fn registries(&self) -> Result<Vec<String>, Error> {
        let mut all = Vec::new();
        for base in self.system_directories().iter().map(PathBuf::as_path).chain([self.local_directory()]) {
            let path = base.join(FILE);
            match fs::read_to_string(&path) {
                Ok(text) => {
                    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
                    all.extend(lines.map(str::to_owned));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed("read trusted registries", &path, error)),
            }
        }
        all.sort();
        all.dedup();
        Ok(all)
    }

    /// Trusts a registry, or what is below a name in it. Tells whether that is news.
    ///
    /// # Errors
    /// [`Kind::Malformed`] where it is none.
    pub fn add_registry(&self, prefix: &str) -> Result<bool, Error> {
        let prefix = checked_prefix(prefix)?;
        let mut all = self.registries()?;
        if all.contains(&prefix) {
            return Ok(false);
        }
        all.push(prefix);
        self.write_registries(&all).map(|()| true)
    }

    /// Trusts a registry no more.
    ///
    /// # Errors
    /// [`Kind::Missing`] where it was not.
    pub fn remove_registry(&self, prefix: &str) -> Result<(), Error> {
        let prefix = prefix.trim_end_matches('/');
        let mut all = self.registries()?;
        let before = all.len();
        all.retain(|known| known != prefix);
        if all.len() == before {
            return Err(Error::new(Kind::Missing, format!("find the trusted registry {}", prefix.escape_debug())));
        }
        self.write_registries(&all)
    }

    fn write_registries(&self, all: &[String]) -> Result<(), Error> {
        let path = self.local_directory().join(FILE);
        let text: String = all.iter().map(|line| format!("{line}\n")).collect();
        publish(self.local_directory(), &path, text.as_bytes())
            .map_err(|error| failed("write trusted registries", &path, error))
    }
}

/// A host, or a name below one.
///
/// # Errors
/// [`Kind::Malformed`] where it is none.
pub(super) fn checked_prefix(prefix: &str) -> Result<String, Error> {
    let plain = |char: char| char.is_ascii_alphanumeric() || "-._:/[]".contains(char);
    let prefix = prefix.trim_end_matches('/');
    if prefix.is_empty() || prefix.starts_with('/') || prefix.contains("//") || !prefix.chars().all(plain) {
        let error = Error::new(Kind::Malformed, format!("trust the registry `{}`", prefix.escape_debug()));
        return Err(error.because("it is HOST[:PORT], or HOST[:PORT]/NAME"));
    }
    Ok(prefix.to_owned())
}

/// Whether `place` (`HOST/NAME`) is one of those, or below one.
pub fn registry_is_trusted(registries: &[String], place: &str) -> bool {
    registries
        .iter()
        .any(|prefix| place.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_trusted_with_what_is_below_and_nothing_beside() {
        let directory = tempfile::tempdir().unwrap();
        let store = KeyStore::new(directory.path(), []);
        assert!(store.add_registry("h.x:5000/team/").unwrap());
        assert!(!store.add_registry("h.x:5000/team").unwrap());
        let all = store.registries().unwrap();
        for (place, trusted) in [
            ("h.x:5000/team", true),
            ("h.x:5000/team/a", true),
            ("h.x:5000/teams", false),
            ("h.x/team/a", false),
            ("h.x:5000/other", false),
        ] {
            assert_eq!(registry_is_trusted(&all, place), trusted, "{place}");
        }
        for wrong in ["", "/", "a b", "h.x\n/a", "h.x//a"] {
            assert!(store.add_registry(wrong).is_err(), "{wrong}");
        }
        store.remove_registry("h.x:5000/team").unwrap();
        assert!(store.registries().unwrap().is_empty() && store.remove_registry("h.x").is_err());
    }
}
