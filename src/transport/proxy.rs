//! Proxies, by the scheme of what is asked for: `https_proxy`, `http_proxy`, `all_proxy`, and `no_proxy` for the hosts that
//! are reached without one; from the settings, else from the environment's variables in lower or upper case.

use std::collections::BTreeMap;

use ureq::Proxy;
use url::Url;

use super::{Error, Kind};

/// Which proxy is used for what.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    https: Option<Proxy>,
    http: Option<Proxy>,
    direct: Vec<String>,
}

impl Proxies {
    /// As `settings` say, and where they say nothing, the environment. A proxy that cannot be understood is an error: going
    /// round it may be what its user wanted to prevent.
    pub fn new(settings: &BTreeMap<&'static str, String>) -> Result<Self, Error> {
        Self::from_lookup(|name| settings.get(name).cloned().or_else(|| variable(name)))
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let proxy = |name: &str| {
            let candidates = [name, "all_proxy"];
            let Some((name, value)) = candidates.iter().find_map(|name| Some((name, lookup(name)?))) else {
                return Ok(None);
            };
            // The value may hold a password and is not repeated.
            Proxy::new(&value)
                .map(Some)
                .map_err(|_| Error::new(Kind::Address, format!("understand the proxy that `{name}` names")))
        };
        let direct = lookup("no_proxy").unwrap_or_default();
        let direct = direct.split([',', ' ']).map(|entry| entry.trim().to_ascii_lowercase());
        Ok(Self {
            https: proxy("https_proxy")?,
            http: proxy("http_proxy")?,
            direct: direct.filter(|entry| !entry.is_empty()).collect(),
        })
    }

    /// The proxy for `url`, if it has one.
    pub fn for_url(&self, url: &Url) -> Option<&Proxy> {
        let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']');
        let proxy = if url.scheme() == "https" { &self.https } else { &self.http };
        proxy.as_ref().filter(|_| !self.direct.iter().any(|entry| covers(entry, host)))
    }
}

/// What the environment says under this name, in lower or upper case.
fn variable(name: &str) -> Option<String> {
    let names = [name.to_owned(), name.to_ascii_uppercase()];
    names.iter().find_map(|name| std::env::var(name).ok()).filter(|value| !value.is_empty())
}

/// Whether an entry of `no_proxy` means this host: itself, a domain it is in, or `*`.
fn covers(entry: &str, host: &str) -> bool {
    let domain = entry.trim_start_matches('*').trim_start_matches('.');
    entry == "*"
        || host == domain
        || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.') && !domain.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Result<Proxies, Error> {
        Proxies::from_lookup(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
    }

    fn port(proxies: &Proxies, url: &str) -> Option<u16> {
        proxies.for_url(&url.parse().unwrap()).map(Proxy::port)
    }

    #[test]
    fn each_scheme_has_its_proxy_and_all_proxy_stands_in() {
        let both = proxies(&[("https_proxy", "http://p:1"), ("all_proxy", "q:2")]).unwrap();
        assert_eq!(port(&both, "https://a/"), Some(1));
        assert_eq!(port(&both, "http://a/"), Some(2));
        assert_eq!(port(&proxies(&[]).unwrap(), "https://a/"), None);
    }

    #[test]
    fn no_proxy_names_hosts_and_domains() {
        let some =
            proxies(&[("all_proxy", "http://p:1"), ("no_proxy", "localhost, .example.com,127.0.0.1,corp")]).unwrap();
        for direct in ["http://localhost:8080/", "https://a.example.com/", "https://127.0.0.1/", "https://x.corp/"] {
            assert_eq!(port(&some, direct), None, "{direct}");
        }
        assert_eq!(port(&some, "https://notexample.com/"), Some(1));
        let none = proxies(&[("all_proxy", "http://p:1"), ("no_proxy", "*")]).unwrap();
        assert_eq!(port(&none, "https://anything/"), None);
    }

    #[test]
    fn a_proxy_that_cannot_be_understood_is_an_error_without_its_password() {
        let error = proxies(&[("https_proxy", "nonsense://user:secret@p:1")]).unwrap_err();
        assert!(!format!("{error:?}").contains("secret"));
    }
}
