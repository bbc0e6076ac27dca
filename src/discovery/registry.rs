//! What a person writes to name an image in a registry of OCI images: `docker://[HOST[:PORT]/]NAME[:TAG][@DIGEST]`.

use std::fmt;
use std::str::FromStr;

use super::{Error, Kind};

/// The host that is meant where none is named, as everybody does.
const DEFAULT_HOST: &str = "docker.io";
/// Where that host's registry is.
const DEFAULT_SERVER: &str = "registry-1.docker.io";
/// What names without a slash are below there.
const DEFAULT_OWNER: &str = "library/";
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;

/// An image in a registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegistryName {
    /// The host, with its port where one is named.
    pub host: String,
    /// The name below it.
    pub name: String,
    /// The tag; `latest` where neither tag nor digest is named.
    pub tag: Option<String>,
    /// The digest of a manifest or list: it wins over the tag.
    pub digest: Option<String>,
}

impl RegistryName {
    /// Whether a text means a registry: `docker://` and `oci://`.
    pub fn is_meant(text: &str) -> bool {
        text.split_once("://")
            .is_some_and(|(scheme, _)| ["docker", "oci"].iter().any(|known| scheme.eq_ignore_ascii_case(known)))
    }

    /// The host that is asked.
    pub fn server(&self) -> &str {
        if self.host == DEFAULT_HOST { DEFAULT_SERVER } else { &self.host }
    }

    /// Tag or digest, as it stands in requests.
    pub fn reference(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or("latest")
    }

    /// `HOST/NAME`, what trust is said of.
    pub fn place(&self) -> String {
        format!("{}/{}", self.host, self.name)
    }
}

impl FromStr for RegistryName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |why: &str| {
            let shown: String = text.chars().take(300).flat_map(char::escape_debug).collect();
            Error::new(Kind::Name, format!("read the image reference `{shown}`")).because(why.to_owned())
        };
        let rest = text.split_once("://").filter(|_| Self::is_meant(text)).map_or(text, |(_, rest)| rest);
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.to_owned())),
            None => (rest, None),
        };
        if digest.as_deref().is_some_and(|digest| !is_digest(digest)) {
            return Err(refuse(
                "behind the `@` stands `sha256:` and 64 hexadecimal digits in lower case, or `sha512:` and 128",
            ));
        }
        let (rest, tag) = match rest.rsplit_once(':') {
            Some((rest, tag)) if !tag.contains('/') => (rest, Some(tag.to_owned())),
            _ => (rest, None),
        };
        // The first part is a host where it looks like one.
        let (host, name) = match rest.split_once('/') {
            Some((host, name)) if host.contains(['.', ':']) || host == "localhost" => {
                (host.to_ascii_lowercase(), name.to_owned())
            }
            _ => (DEFAULT_HOST.to_owned(), rest.to_owned()),
        };
        let name = if host == DEFAULT_HOST && !name.contains('/') { format!("{DEFAULT_OWNER}{name}") } else { name };
        if !is_host(&host) {
            return Err(refuse("the host is no host"));
        }
        if !is_name(&name) {
            return Err(refuse(
                "the name is made of small letters and digits, with `.`, `_`, `-` and `/` between them",
            ));
        }
        if tag.as_deref().is_some_and(|tag| !is_tag(tag)) {
            return Err(refuse("the tag is made of letters, digits, `_`, `.` and `-`, up to 128 of them"));
        }
        let tag = if digest.is_none() { Some(tag.unwrap_or("latest".to_owned())) } else { tag };
        Ok(Self { host, name, tag, digest })
    }
}

impl fmt::Display for RegistryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "docker://{}/{}", self.host, self.name)?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, digits)| {
        let length = match algorithm {
            "sha256" => 64,
            "sha512" => 128,
            _ => return false,
        };
        digits.len() == length && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

fn is_host(text: &str) -> bool {
    let url = url::Url::parse(&format!("https://{text}/"));
    url.is_ok_and(|url| {
        url.path() == "/" && url.username().is_empty() && url.password().is_none() && url.host().is_some()
    }) && !text.contains(['/', '@', '?', '#', '\\', '%'])
}

fn is_name(text: &str) -> bool {
    let part = |part: &str| {
        let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        edge(part.bytes().next())
            && edge(part.bytes().last())
            && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte))
            && !part.contains("..")
    };
    text.len() <= MAX_NAME && text.split('/').all(part)
}

fn is_tag(text: &str) -> bool {
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    first && text.len() <= MAX_TAG && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        text.parse::<RegistryName>().map_or_else(|_| "refused".to_owned(), |name| name.to_string())
    }

    #[test]
    fn names_are_read_as_everybody_does() {
        for (text, is) in [
            ("docker://nginx", "docker://docker.io/library/nginx:latest"),
            ("docker://nginx:1.27", "docker://docker.io/library/nginx:1.27"),
            ("docker://someone/x", "docker://docker.io/someone/x:latest"),
            ("oci://localhost:5000/a/b:c", "docker://localhost:5000/a/b:c"),
            ("docker://Example.com/a", "docker://example.com/a:latest"),
            ("localhost/a", "docker://localhost/a:latest"),
            ("docker://[::1]:5000/a", "docker://[::1]:5000/a:latest"),
        ] {
            assert_eq!(read(text), is);
        }
        let digest = format!("sha256:{}", "0".repeat(64));
        assert_eq!(read(&format!("docker://h.x/a@{digest}")), format!("docker://h.x/a@{digest}"));
        assert_eq!(read(&format!("docker://h.x/a:b@{digest}")), format!("docker://h.x/a:b@{digest}"));
    }

    #[test]
    fn what_would_lead_elsewhere_is_refused() {
        for text in [
            "docker://",
            "docker://h.x/",
            "docker://h.x/../a",
            "docker://h.x/a/../../b",
            "docker://h.x/A",
            "docker://h.x/a?b",
            "docker://h.x/a#b",
            "docker://u:p@h.x/a",
            "docker://h.x:99999/a",
            "docker://h.x/a:",
            "docker://h.x/a:b/c:d e",
            "docker://h.x/a@sha256:00",
            "docker://h.x/a@md5:00",
            "docker://h.x/a%2fb",
            "docker://h.x/-a",
        ] {
            assert_eq!(read(text), "refused", "{text}");
        }
    }
}
