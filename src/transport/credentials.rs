//! Names and passwords by host.
//!
//! Files of mode 0600 in `auth.d` directories, each any number of
//! ```toml
//! [[credential]]
//! host = "example.com"        # or on one port: "example.com:8443"
//! user = "me"                 # basic: user and password
//! password = "secret"
//! # token = "..."             # or bearer
//! ```
//! Nothing of it stands in messages; it is sent over TLS only, and to that host only.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use serde::Deserialize;
use url::Url;

use super::{Error, Kind};

/// The most that a file may hold, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Names and passwords by host.
#[derive(Clone, Default)]
pub struct Credentials(BTreeMap<String, String>);

impl Credentials {
    /// From files and from the `*.toml` files of directories; a later one wins. What is not there has none.
    pub fn load<'p>(paths: impl IntoIterator<Item = &'p Path>) -> Result<Self, Error> {
        let mut all = Self::default();
        for path in paths {
            match files(path).map_err(|error| failed(path, error))? {
                Found::File(file) => all.read(&file, File::open(&file).map_err(|error| failed(&file, error))?)?,
                Found::Directory(files) => {
                    for file in files {
                        // The host's credentials are its administrator's; other users do without.
                        match File::open(&file) {
                            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                            opened => all.read(&file, opened.map_err(|error| failed(&file, error))?)?,
                        }
                    }
                }
            }
        }
        Ok(all)
    }

    fn read(&mut self, path: &Path, file: File) -> Result<(), Error> {
        let refuse =
            |why: String| Error::new(Kind::Credentials, format!("read credentials {}", path.display())).because(why);
        let mode = file.metadata().map_err(|error| failed(path, error))?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(refuse(format!("its mode is {mode:04o}: others could read or change it; 0600 is wanted")));
        }
        let mut text = String::new();
        file.take(MAX_FILE).read_to_string(&mut text).map_err(|error| failed(path, error))?;
        // The parser's own message would quote the line with the secret.
        let parsed: Parsed = toml::from_str(&text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let line = text.get(..at).unwrap_or_default().matches('\n').count() + 1;
            refuse(format!(
                "line {line} is not as it should be: [[credential]] with host, and user and password, or token"
            ))
        })?;
        for entry in parsed.credential {
            let header = match (entry.user, entry.password, entry.token) {
                (Some(user), Some(password), None) if !user.contains(':') => {
                    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
                }
                (None, None, Some(token)) if token.bytes().all(|byte| byte.is_ascii_graphic()) => {
                    format!("Bearer {token}")
                }
                _ => {
                    let why = "is neither a user (without colon) and a password, nor a token";
                    return Err(refuse(format!("the credential for {} {why}", entry.host)));
                }
            };
            self.0.insert(entry.host.to_ascii_lowercase(), header);
        }
        Ok(())
    }

    /// The `Authorization` header for `url`, over TLS only. A host without port is meant on all its ports.
    pub(super) fn header_for(&self, url: &Url) -> Option<&str> {
        if url.scheme() != "https" {
            return None;
        }
        let host = url.host_str()?;
        let port = url.port_or_known_default()?;
        self.0.get(&format!("{host}:{port}")).or_else(|| self.0.get(host)).map(String::as_str)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parsed {
    #[serde(default)]
    credential: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    host: String,
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
}

enum Found {
    File(PathBuf),
    Directory(Vec<PathBuf>),
}

fn files(path: &Path) -> io::Result<Found> {
    match fs::read_dir(path) {
        Ok(entries) => {
            let mut files = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
            files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
            files.sort();
            Ok(Found::Directory(files))
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
            Ok(Found::Directory(Vec::new()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(Found::File(path.to_owned())),
        Err(error) => Err(error),
    }
}

fn failed(path: &Path, error: io::Error) -> Error {
    Error::new(Kind::Credentials, format!("read credentials {}", path.display())).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn load(text: &str, mode: u32) -> Result<Credentials, Error> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.toml");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        Credentials::load([directory.path()])
    }

    const BOTH: &str = "[[credential]]\nhost = 'Example.com'\nuser = 'u'\npassword = 'p'\n\
                        [[credential]]\nhost = 'example.com:8443'\ntoken = 't'\n";

    #[test]
    fn credentials_go_to_their_host_and_port_over_tls_only() {
        let all = load(BOTH, 0o600).unwrap();
        let header = |url: &str| all.header_for(&url.parse().unwrap()).map(str::to_owned);
        assert_eq!(header("https://example.com/x").unwrap(), "Basic dTpw");
        assert_eq!(header("https://example.com:444/x").unwrap(), "Basic dTpw");
        assert_eq!(header("https://example.com:8443/x").unwrap(), "Bearer t");
        for other in ["http://example.com/", "https://sub.example.com/", "https://example.com.evil/"] {
            assert_eq!(header(other), None, "{other}");
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        assert!(format!("{:?}", load(BOTH, 0o640).unwrap_err()).contains("0640"));
    }

    #[test]
    fn no_message_repeats_a_secret() {
        for text in
            ["[[credential]]\nhost='h'\npassword = 'hush", "[[credential]]\nhost='h'\nuser='a:hush'\npassword='hush'"]
        {
            assert!(!format!("{:?}", load(text, 0o600).unwrap_err()).contains("hush"));
        }
        assert!(!format!("{:?}", load(BOTH, 0o600).unwrap()).contains("dTpw"));
    }

    #[test]
    fn no_directory_is_no_credentials() {
        let nowhere = tempfile::tempdir().unwrap().path().join("nowhere");
        assert!(Credentials::load([nowhere.as_path()]).unwrap().0.is_empty());
    }
}
