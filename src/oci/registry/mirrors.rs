//! Where the images of a registry are asked for: `containers-registries.conf(5)`, in the parts that say so.
//!
//! ```toml
//! [[registry]]
//! prefix = "docker.io"              # what this is about: a host, one with names below it, or *.DOMAIN; the longest that fits counts
//! location = "hub.example.com/hub"  # what stands in its place
//! blocked = false
//! insecure = false                  # plain http, and certificates that nobody vouches for
//! mirror-by-digest-only = false
//! [[registry.mirror]]               # asked before, in this order
//! location = "mirror.example.com:5000"
//! insecure = true
//! pull-from-mirror = "all"          # or digest-only, tag-only
//! ```
//! Everything else in such a file is about other programs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::super::{Error, Kind, Result};
use crate::discovery::RegistryName;

/// What the files say.
#[derive(Clone, Debug, Default)]
pub struct Mirrors {
    registries: Vec<Entry>,
}

/// One place to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// The image's name there.
    pub(super) name: RegistryName,
    pub(super) insecure: bool,
}

#[derive(Default, Deserialize)]
struct Document {
    #[serde(default)]
    registry: Vec<Entry>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Entry {
    prefix: Option<String>,
    location: Option<String>,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<Mirror>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Mirror {
    location: String,
    #[serde(default)]
    insecure: bool,
    pull_from_mirror: Option<Pull>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Pull {
    All,
    DigestOnly,
    TagOnly,
}

impl Mirrors {
    /// Reads the first of these files that is there, and what stands in the directory of its name with `.d` behind it.
    ///
    /// # Errors
    /// [`Kind::Refused`] with file and line where one of them does not read: nobody asks elsewhere than they say.
    pub fn load(files: &[PathBuf]) -> Result<Self> {
        let mut registries: Vec<Entry> = Vec::new();
        for file in files {
            let mut found = false;
            if let Some(text) = read(file)? {
                registries.extend(parse(file, &text)?);
                found = true;
            }
            let mut directory = file.clone().into_os_string();
            directory.push(".d");
            for file in drop_ins(Path::new(&directory))? {
                let Some(text) = read(&file)? else { continue };
                for entry in parse(&file, &text)? {
                    // What comes later about the same stands for what came before.
                    registries.retain(|other| other.prefix() != entry.prefix());
                    registries.push(entry);
                }
                found = true;
            }
            if found {
                break;
            }
        }
        Ok(Self { registries })
    }

    /// Where an image is asked for, in this order.
    ///
    /// # Errors
    /// [`Kind::Refused`] where its registry is blocked, or a place is none.
    pub(super) fn endpoints(&self, name: &RegistryName) -> Result<Vec<Endpoint>> {
        let Some((entry, rest)) = self.entry(name)? else {
            return Ok(vec![Endpoint { name: name.clone(), insecure: false }]);
        };
        let asked = |mirror: &&Mirror| match mirror.pull_from_mirror {
            _ if entry.mirror_by_digest_only => name.digest.is_some(),
            None | Some(Pull::All) => true,
            Some(Pull::DigestOnly) => name.digest.is_some(),
            Some(Pull::TagOnly) => name.digest.is_none(),
        };
        let mut endpoints = Vec::new();
        for mirror in entry.mirror.iter().filter(asked) {
            endpoints.push(Endpoint { name: moved(name, &mirror.location, rest)?, insecure: mirror.insecure });
        }
        endpoints.push(entry.place(name, rest)?);
        Ok(endpoints)
    }

    /// Where an image is put, which is no mirror.
    ///
    /// # Errors
    /// As [`Mirrors::endpoints`].
    pub(super) fn target(&self, name: &RegistryName) -> Result<Endpoint> {
        match self.entry(name)? {
            Some((entry, rest)) => entry.place(name, rest),
            None => Ok(Endpoint { name: name.clone(), insecure: false }),
        }
    }

    /// What the longest prefix says of a name, and what of the name stands behind it.
    fn entry<'n>(&self, name: &'n RegistryName) -> Result<Option<(&Entry, Rest<'n>)>> {
        let fitting = self.registries.iter().filter_map(|entry| Some((entry, entry.rest(name)?)));
        let Some((entry, rest)) = fitting.max_by_key(|(entry, _)| entry.prefix().len()) else { return Ok(None) };
        if entry.blocked {
            let error = Error::new(Kind::Refused, format!("ask for {name}"));
            return Err(error.because(format!("registries.conf blocks {}", entry.prefix())));
        }
        Ok(Some((entry, rest)))
    }
}

/// What of a name stands behind a prefix.
#[derive(Clone, Copy)]
enum Rest<'n> {
    /// Of a wildcard: all below the host.
    BelowHost(&'n str),
    Below(&'n str),
}

impl Entry {
    fn prefix(&self) -> &str {
        self.prefix.as_deref().or(self.location.as_deref()).unwrap_or_default().trim_end_matches('/')
    }

    fn rest<'n>(&self, name: &'n RegistryName) -> Option<Rest<'n>> {
        let prefix = self.prefix();
        if let Some(domain) = prefix.strip_prefix("*.") {
            let host = name.host.split(':').next().unwrap_or_default();
            let below = host.strip_suffix(domain).is_some_and(|label| label.len() > 1 && label.ends_with('.'));
            return below.then_some(Rest::BelowHost(&name.name));
        }
        let (host, below) = prefix.split_once('/').unwrap_or((prefix, ""));
        if host.is_empty() || !host.eq_ignore_ascii_case(&name.host) {
            return None;
        }
        let rest = name.name.strip_prefix(below)?;
        match (below.is_empty(), rest.strip_prefix('/')) {
            (true, _) => Some(Rest::Below(&name.name)),
            (false, Some(rest)) => Some(Rest::Below(rest)),
            (false, None) => rest.is_empty().then_some(Rest::Below("")),
        }
    }

    fn place(&self, name: &RegistryName, rest: Rest<'_>) -> Result<Endpoint> {
        let name = match &self.location {
            Some(location) => moved(name, location, rest)?,
            None => name.clone(),
        };
        Ok(Endpoint { name, insecure: self.insecure })
    }
}

/// The reference of an image at another place than its own.
fn moved(name: &RegistryName, location: &str, rest: Rest<'_>) -> Result<RegistryName> {
    let (Rest::BelowHost(rest) | Rest::Below(rest)) = rest;
    let location = location.trim_end_matches('/');
    let mut text = format!("docker://{location}");
    if !rest.is_empty() {
        text = format!("{text}/{rest}");
    }
    name.digest.iter().for_each(|digest| text = format!("{text}@{digest}"));
    let wrong = |why: String| {
        Error::new(Kind::Refused, format!("ask for {name} at {}, as registries.conf has it", location.escape_debug()))
            .because(why)
    };
    let mut moved: RegistryName = text.parse().map_err(|error| wrong(crate::error::chain(&error)))?;
    let host = location.to_ascii_lowercase().starts_with(&moved.host);
    if !host || !moved.host.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[') {
        return Err(wrong("a location begins with a host".to_owned()));
    }
    moved.tag.clone_from(&name.tag);
    Ok(moved)
}

fn read(file: &Path) -> Result<Option<String>> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unread(file).because(error)),
    }
}

fn parse(file: &Path, text: &str) -> Result<Vec<Entry>> {
    let document: Document = toml::from_str(text).map_err(|error| unread(file).because(error))?;
    for entry in &document.registry {
        if entry.prefix().is_empty() {
            return Err(unread(file).because("a registry has neither prefix nor location"));
        }
    }
    Ok(document.registry)
}

fn unread(file: &Path) -> Error {
    Error::new(Kind::Refused, format!("read {}", file.display()))
}

/// In the order of their names.
fn drop_ins(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(unread(directory).because(error)),
    };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "conf"));
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirrors(text: &str) -> Mirrors {
        Mirrors { registries: parse(Path::new("registries.conf"), text).unwrap() }
    }

    fn asked(mirrors: &Mirrors, name: &str) -> Vec<String> {
        let endpoints = mirrors.endpoints(&name.parse().unwrap()).unwrap();
        let shown =
            |endpoint: &Endpoint| format!("{}{}", endpoint.name, if endpoint.insecure { " insecure" } else { "" });
        endpoints.iter().map(shown).collect()
    }

    #[test]
    fn the_longest_prefix_says_where_an_image_is_asked_for() {
        let mirrors = mirrors(
            r#"
            unqualified-search-registries = ["docker.io"]
            [[registry]]
            prefix = "docker.io"
            [[registry.mirror]]
            location = "m.example.com:5000/hub"
            insecure = true
            [[registry.mirror]]
            location = "by-digest.example.com"
            pull-from-mirror = "digest-only"
            [[registry]]
            prefix = "docker.io/library"
            location = "lib.example.com/l"
            [[registry]]
            prefix = "*.example.org"
            location = "all.example.com/org"
            [[registry]]
            location = "bad.example.com"
            blocked = true
            "#,
        );
        assert_eq!(
            asked(&mirrors, "docker://team/app:1"),
            ["docker://m.example.com:5000/hub/team/app:1 insecure", "docker://docker.io/team/app:1"]
        );
        let digest = format!("sha256:{}", "0".repeat(64));
        let of_digest = asked(&mirrors, &format!("docker://team/app@{digest}"));
        assert_eq!((of_digest.len(), &of_digest[1]), (3, &format!("docker://by-digest.example.com/team/app@{digest}")));
        assert_eq!(asked(&mirrors, "docker://nginx:1"), ["docker://lib.example.com/l/nginx:1"]);
        assert_eq!(asked(&mirrors, "docker://a.example.org/x"), ["docker://all.example.com/org/x:latest"]);
        assert_eq!(asked(&mirrors, "docker://example.org/x"), ["docker://example.org/x:latest"]);
        assert_eq!(asked(&mirrors, "docker://docker.iox/a/b"), ["docker://docker.iox/a/b:latest"]);
        let name: RegistryName = "docker://bad.example.com/x".parse().unwrap();
        assert!(crate::error::chain(&mirrors.endpoints(&name).unwrap_err()).contains("blocks bad.example.com"));
        assert!(mirrors.target(&name).is_err());
        // What is put there goes where it says, and to no mirror.
        assert_eq!(mirrors.target(&"docker://team/app:1".parse().unwrap()).unwrap().name.host, "docker.io");
    }

    #[test]
    fn the_first_file_that_is_there_counts_with_what_is_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        fs::write(place("b.conf"), "[[registry]]\nlocation = \"b.example.com\"\nblocked = true\n").unwrap();
        fs::create_dir(place("b.conf.d")).unwrap();
        fs::write(place("b.conf.d/1.conf"), "[[registry]]\nlocation = \"b.example.com\"\ninsecure = true\n").unwrap();
        fs::write(place("c.conf"), "[[registry]]\nprefix = \"c.example.com\"\nblocked = true\n").unwrap();
        let files = [place("a.conf"), place("b.conf"), place("c.conf")];
        let mirrors = Mirrors::load(&files).unwrap();
        assert_eq!(asked(&mirrors, "docker://b.example.com/x:1"), ["docker://b.example.com/x:1 insecure"]);
        assert_eq!(asked(&mirrors, "docker://c.example.com/x:1"), ["docker://c.example.com/x:1"]);
        for wrong in ["[[registry]]\nblocked = 1\n", "[[registry]]\n", "x"] {
            fs::write(place("b.conf"), wrong).unwrap();
            assert!(crate::error::chain(&Mirrors::load(&files).unwrap_err()).contains("b.conf"), "{wrong}");
        }
        let odd = mirrors_at("[[registry]]\nprefix = \"x.example.com\"\nlocation = \"../x\"\n");
        assert!(odd.endpoints(&"docker://x.example.com/a".parse().unwrap()).is_err());
    }

    fn mirrors_at(text: &str) -> Mirrors {
        mirrors(text)
    }
}
