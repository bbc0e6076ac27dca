//! Proxies, by the scheme of what is asked for: `https_proxy`, `http_proxy`, `all_proxy`, and `no_proxy` for the hosts that
//! are reached without one.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ureq::http::Uri;
use ureq::http::uri::Scheme;
use ureq::{Proxy, ProxyProtocol};
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
    /// As `settings` say. A proxy that cannot be understood is an error: going
    /// round it may be what its user wanted to prevent.
    pub fn new(settings: &BTreeMap<&'static str, String>) -> Result<Self, Error> {
        Self::from_lookup(|name| settings.get(name).cloned())
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
        let port = url.port_or_known_default().unwrap_or_default();
        self.find(url.scheme() == "https", url.host_str()?, port)
    }

    /// How what is at `uri` is reached.
    pub fn route_of(&self, uri: &Uri) -> Route<'_> {
        let https = uri.scheme() == Some(&Scheme::HTTPS);
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        match uri.host().and_then(|host| self.find(https, host, port)) {
            None => Route::Direct,
            Some(proxy) if !https && proxy.protocol() == ProxyProtocol::Http => Route::Forward(proxy),
            Some(proxy) => Route::Tunnel(proxy),
        }
    }

    fn find(&self, https: bool, host: &str, port: u16) -> Option<&Proxy> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let proxy = if https { &self.https } else { &self.http };
        proxy.as_ref().filter(|_| !self.direct.iter().any(|entry| covers(entry, host, port)))
    }
}

/// How a server is reached.
#[derive(Debug)]
pub enum Route<'p> {
    /// Without a proxy.
    Direct,
    /// Through a connection that the proxy makes.
    Tunnel(&'p Proxy),
    /// The proxy itself asks.
    Forward(&'p Proxy),
}

/// Whether an entry of `no_proxy` means this host: itself, a domain or a block of addresses it is in, or `*`; on one port
/// where it names one.
fn covers(entry: &str, host: &str, port: u16) -> bool {
    let with_port = entry.rsplit_once(':').filter(|(name, _)| !name.contains(':') || name.ends_with(']'));
    let (name, only) = match with_port {
        Some((name, digits)) => (name, digits.parse::<u16>().ok()),
        None => (entry, None),
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    if only.is_some_and(|only| only != port) {
        return false;
    }
    let domain = name.trim_start_matches('*').trim_start_matches('.');
    name == "*"
        || host == domain
        || is_within(name, host)
        || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.') && !domain.is_empty())
}

/// Whether `host` is an address in a block, as `10.0.0.0/8`.
fn is_within(block: &str, host: &str) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let parsed = block.split_once('/').and_then(|(first, length)| {
        Some((first.parse::<IpAddr>().ok()?, length.parse::<u32>().ok()?, host.parse::<IpAddr>().ok()?))
    });
    parsed.is_some_and(|(first, length, host)| {
        let ((first, size), (host, host_size)) = (bits(first), bits(host));
        size == host_size && length <= size && (first ^ host).checked_shr(128 - length).unwrap_or(0) == 0
    })
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
            proxies(&[("all_proxy", "http://p:1"), ("no_proxy", "localhost, .example.com,127.0.0.1,corp,h:81,[::1]")])
                .unwrap();
        for direct in [
            "http://localhost:8080/",
            "https://a.example.com/",
            "https://127.0.0.1/",
            "https://x.corp/",
            "http://h:81/",
            "https://[::1]/",
        ] {
            assert_eq!(port(&some, direct), None, "{direct}");
        }
        for by_proxy in ["https://notexample.com/", "http://h/", "https://h/", "https://127.0.0.2/"] {
            assert_eq!(port(&some, by_proxy), Some(1), "{by_proxy}");
        }
        let blocks = proxies(&[("all_proxy", "p:1"), ("no_proxy", "10.0.0.0/8,fd00::/8,192.0.2.4/31")]).unwrap();
        for direct in ["https://10.200.0.1/", "https://[fd12::1]/", "https://192.0.2.5/"] {
            assert_eq!(port(&blocks, direct), None, "{direct}");
        }
        for by_proxy in ["https://11.0.0.1/", "https://[fe80::1]/", "https://192.0.2.6/", "https://h10.example/"] {
            assert_eq!(port(&blocks, by_proxy), Some(1), "{by_proxy}");
        }
        let none = proxies(&[("all_proxy", "http://p:1"), ("no_proxy", "*")]).unwrap();
        assert_eq!(port(&none, "https://anything/"), None);
    }

    #[test]
    fn a_proxy_that_cannot_be_understood_is_an_error_without_its_password() {
        let error = proxies(&[("https_proxy", "nonsense://user:secret@p:1")]).unwrap_err();
        assert!(!format!("{error:?}").contains("secret"));
    }
}
