//! Credentials for registries: where docker and podman keep them, their helpers, and the tokens that they are good for.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde::Deserialize;
use url::Url;

use crate::discovery::RegistryName;
use crate::oci::{Error, Kind, Result};
use crate::transport::{Authorization, Client, Request, Sending};

/// Bytes of a file with credentials, and of what a helper says.
const MAX_FILE: u64 = 1 << 20;
/// How long a helper may take: it may ask its user.
const HELPER: Duration = Duration::from_secs(60);
/// What Docker calls its own registry in its file.
const DOCKER_KEYS: [&str; 3] = ["https://index.docker.io/v1/", "index.docker.io", "docker.io"];

/// Where credentials are looked for.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    files: Vec<PathBuf>,
}

/// A user of a registry.
pub(super) struct Account {
    user: String,
    secret: String,
    /// The secret is a token that gives others.
    identity: bool,
}

impl Account {
    pub(super) fn basic(&self) -> Option<Authorization> {
        (!self.identity).then(|| Authorization::basic(&self.user, &self.secret))
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Stored {
    auths: BTreeMap<String, Auth>,
    creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

impl Accounts {
    /// Where people put them.
    pub(super) const PLACES: &str = "of `podman login`, `docker login`, or in `auth.d`";

    /// The files of podman and docker, as this user's environment names them, which `variable` gives.
    pub fn of_user(variable: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let path = |name: &str, below: &str| {
            variable(name).filter(|value| !value.is_empty()).map(|value| PathBuf::from(value).join(below))
        };
        let files = [
            path("REGISTRY_AUTH_FILE", ""),
            path("XDG_RUNTIME_DIR", "containers/auth.json"),
            path("XDG_CONFIG_HOME", "containers/auth.json"),
            path("HOME", ".config/containers/auth.json"),
            path("DOCKER_CONFIG", "config.json"),
            path("HOME", ".docker/config.json"),
        ];
        // Joined with nothing, a file's path would end in a slash.
        let files = files.into_iter().flatten().map(|path| path.components().collect());
        Self { files: files.collect() }
    }

    /// What is known for a name: the longest part of it that an account is for, in the first file that has one.
    pub(super) fn find(&self, name: &RegistryName) -> Result<Option<Account>> {
        for path in &self.files {
            let Ok(file) = fs::File::open(path) else { continue };
            let failed = |why: String| {
                Error::new(Kind::Refused, format!("read the credentials in {}", path.display())).because(why)
            };
            let mut text = String::new();
            file.take(MAX_FILE).read_to_string(&mut text).map_err(|error| failed(error.to_string()))?;
            // The parser's own message could quote a secret.
            let stored: Stored = serde_json::from_str(&text)
                .map_err(|error| failed(format!("line {} is not as it should be", error.line())))?;
            if let Some(account) = account(&stored, name)? {
                return Ok(Some(account));
            }
        }
        Ok(None)
    }
}

/// The keys that are for a name, the most particular first.
fn keys(name: &RegistryName) -> Vec<String> {
    let place = name.place();
    let mut keys: Vec<String> = vec![place.clone()];
    keys.extend(place.match_indices('/').rev().map(|(at, _)| place[..at].to_owned()));
    keys.extend([
        format!("https://{}", name.host),
        format!("https://{}/v1/", name.host),
        format!("https://{}/v2/", name.host),
    ]);
    if name.host == "docker.io" {
        keys.extend(DOCKER_KEYS.map(str::to_owned));
    }
    keys
}

fn account(stored: &Stored, name: &RegistryName) -> Result<Option<Account>> {
    for key in keys(name) {
        if let Some(helper) = stored.cred_helpers.get(&key) {
            return ask(helper, &key);
        }
        let Some(auth) = stored.auths.get(&key) else { continue };
        let wrong = || Error::new(Kind::Refused, format!("take the credentials for {}", key.escape_debug()));
        if let Some(token) = auth.identitytoken.clone().filter(|token| !token.is_empty()) {
            return Ok(Some(Account { user: String::new(), secret: token, identity: true }));
        }
        if let Some(encoded) = auth.auth.as_ref().filter(|auth| !auth.is_empty()) {
            let decoded = base64::engine::general_purpose::STANDARD.decode(encoded.trim()).ok();
            let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
            let parts = text.as_deref().and_then(|text| text.split_once(':'));
            let (user, secret) =
                parts.ok_or_else(|| wrong().because("they are not a user and a password in base64"))?;
            return Ok(Some(Account {
                user: user.to_owned(),
                secret: secret.trim_end_matches('\0').to_owned(),
                identity: false,
            }));
        }
        if let (Some(user), Some(secret)) = (auth.username.clone(), auth.password.clone()) {
            return Ok(Some(Account { user, secret, identity: false }));
        }
        // An entry without anything says that the store of all has it.
        if let Some(helper) = &stored.creds_store {
            return ask(helper, &key);
        }
    }
    match &stored.creds_store {
        Some(helper) if stored.auths.is_empty() => {
            let key = if name.host == "docker.io" { DOCKER_KEYS[0].to_owned() } else { name.host.clone() };
            ask(helper, &key)
        }
        _ => Ok(None),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Said {
    username: String,
    secret: String,
}

/// Asks `docker-credential-HELPER` for the account of a server; that it has none is no error.
fn ask(helper: &str, server: &str) -> Result<Option<Account>> {
    let failed = |why: String| {
        Error::new(Kind::Refused, format!("ask the credential helper `{}`", helper.escape_debug())).because(why)
    };
    if !helper.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) || helper.is_empty() {
        return Err(failed("that is no name of one".to_owned()));
    }
    let mut child = Command::new(format!("docker-credential-{helper}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that asks for nothing need not listen.
        let _ = stdin.write_all(server.as_bytes());
    }
    let stdout = child.stdout.take();
    let reading = thread::spawn(move || {
        let mut text = String::new();
        stdout.map(|out| out.take(MAX_FILE).read_to_string(&mut text));
        text
    });
    let begun = Instant::now();
    let status = loop {
        match child.try_wait().map_err(|error| failed(error.to_string()))? {
            Some(status) => break status,
            None if begun.elapsed() > HELPER => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(failed("it does not answer".to_owned()));
            }
            None => thread::sleep(Duration::from_millis(5)),
        }
    };
    let text = reading.join().unwrap_or_default();
    if !status.success() {
        return if text.contains("not found") { Ok(None) } else { Err(failed(format!("it ended with {status}"))) };
    }
    let said: Said = serde_json::from_str(&text).map_err(|_| failed("it says nothing that can be read".to_owned()))?;
    let identity = said.username == "<token>";
    Ok(Some(Account { user: said.username, secret: said.secret, identity }))
}

/// What a registry wants to see.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String> },
}

impl Challenge {
    /// From a `WWW-Authenticate` header.
    pub(super) fn parse(header: &str) -> Option<Self> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let mut parameters = BTreeMap::new();
        let mut rest = rest;
        while let Some((name, after)) = rest.split_once('=') {
            let name = name.trim().trim_start_matches(',').trim().to_ascii_lowercase();
            let (value, left) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => after.split_once(',').unwrap_or((after, "")),
            };
            parameters.insert(name, value.trim().to_owned());
            rest = left;
        }
        Some(Self::Bearer { realm: parameters.remove("realm")?, service: parameters.remove("service") })
    }
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

/// Asks the server at `realm` for a token.
pub(super) fn token(
    client: &Client,
    realm: &str,
    service: Option<&str>,
    scope: &str,
    account: Option<&Account>,
) -> Result<Authorization> {
    let shown: String = realm.chars().take(200).flat_map(char::escape_debug).collect();
    let failed = || Error::new(Kind::Refused, format!("get a token from {shown}"));
    let mut url = Url::parse(realm).map_err(|error| failed().because(error))?;
    let body = if let Some(account) = account.filter(|account| account.identity) {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "refresh_token")
            .append_pair("refresh_token", &account.secret)
            .append_pair("client_id", "appc")
            .append_pair("service", service.unwrap_or_default())
            .append_pair("scope", scope)
            .finish();
        let content = || {
            let form = form.clone().into_bytes();
            let length = form.len() as u64;
            Ok((Box::new(std::io::Cursor::new(form)) as Box<dyn std::io::Read>, length))
        };
        if url.scheme() != "https" {
            return Err(failed().because("a secret is not sent over plain http"));
        }
        let answer = client
            .exchange(&Sending {
                method: "POST",
                url,
                headers: vec![("content-type", "application/x-www-form-urlencoded".to_owned())],
                authorization: None,
                content: Some(&content),
            })
            .map_err(|error| failed().because(error))?;
        check(answer.status).map_err(|why| failed().because(why))?;
        answer.body
    } else {
        {
            let mut query = url.query_pairs_mut();
            query.extend_pairs(service.map(|service| ("service", service)));
            query.append_pair("scope", scope);
        }
        let authorization = account.and_then(Account::basic);
        let (response, body) = client
            .document(&Request { authorization, ..Request::document(url) })
            .map_err(|error| failed().because(error))?;
        check(response.status).map_err(|why| failed().because(why))?;
        body
    };
    // It would quote the token.
    let token: Token =
        serde_json::from_slice(&body).map_err(|_| failed().because("it says nothing that can be read"))?;
    let token = if token.token.is_empty() { token.access_token } else { token.token };
    Authorization::bearer(&token).ok_or_else(|| failed().because("it gives none"))
}

fn check(status: u16) -> std::result::Result<(), String> {
    match status {
        200..=299 => Ok(()),
        401 | 403 => Err(format!("it answers {status}: it wants credentials that it knows ({})", Accounts::PLACES)),
        status => Err(format!("it answers {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_as_servers_write_them() {
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) })
        };
        assert_eq!(
            Challenge::parse(r#"Bearer realm="https://a.x/token",service="reg,istry",scope="repository:a:pull""#),
            bearer("https://a.x/token", Some("reg,istry"))
        );
        assert_eq!(Challenge::parse("bearer service=s, realm=https://a.x/"), bearer("https://a.x/", Some("s")));
        assert_eq!(Challenge::parse(r#"Basic realm="x""#), Some(Challenge::Basic));
        for none in ["", "Bearer", "Digest realm=\"x\"", "Bearer realm=\"open"] {
            assert_eq!(Challenge::parse(none), None, "{none}");
        }
    }

    fn found(stored: &str, name: &str) -> Option<(String, String, bool)> {
        let stored: Stored = serde_json::from_str(stored).unwrap();
        let account = account(&stored, &name.parse().unwrap()).unwrap()?;
        Some((account.user, account.secret, account.identity))
    }

    #[test]
    fn accounts_are_for_the_longest_part_of_a_name() {
        let stored = r#"{"auths":{
            "h.x": {"auth": "dTpw"}, "h.x/team": {"auth": "dGVhbTpwOjI="}, "https://index.docker.io/v1/": {"auth": "ZDpk"},
            "t.x": {"auth": "", "identitytoken": "secret"}}}"#;
        let is = |user: &str, secret: &str, identity| Some((user.to_owned(), secret.to_owned(), identity));
        assert_eq!(found(stored, "docker://h.x/a"), is("u", "p", false));
        assert_eq!(found(stored, "docker://h.x/team/a"), is("team", "p:2", false));
        assert_eq!(found(stored, "docker://h.x/teams/a"), is("u", "p", false));
        assert_eq!(found(stored, "docker://nginx"), is("d", "d", false));
        assert_eq!(found(stored, "docker://t.x/a"), is("", "secret", true));
        assert_eq!(found(stored, "docker://h.x:5000/a"), None);
    }
}
