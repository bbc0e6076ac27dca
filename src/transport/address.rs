//! Which addresses are private, and a resolver that knows.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use super::proxy::{Proxies, Route};

/// Whether an address means something only on this host or in this network.
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_private_v4(address),
        IpAddr::V6(address) => is_private_v6(address),
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || matches!((a, b, c), (0, ..) | (100, 64..=127, _) | (192, 0, 0) | (198, 18..=19, _) | (240.., ..))
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_private_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        // Mapped, compatible, and translated forms mean the address inside.
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => embedded(high, low),
        [0x64, 0xff9b, 1, ..] => true,
        // Unique local, link local, site local, multicast.
        [first, ..] => {
            first & 0xfe00 == 0xfc00 || first & 0xff80 == 0xfe80 || first & 0xffc0 == 0xfec0 || first >= 0xff00
        }
    }
}

/// What names stood for when they were looked up.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<HashMap<String, bool>>>);

impl Seen {
    /// Whether this host's addresses were private. Hosts never looked up here, as behind a proxy, are judged by how
    /// they are written.
    pub fn is_private(&self, host: &str) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(host).copied();
        known.unwrap_or_else(|| written_private(host))
    }

    /// What was known of this host before, unless it was looked up since.
    pub fn recall(&self, host: &str, private: bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(host.to_owned()).or_insert(private);
    }

    fn note(&self, host: &str, private: bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(host.to_owned(), private);
    }
}

/// Whether a host is private by the way it is written: an address, or a name for this host.
fn written_private(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(address) => is_private(address),
        Err(_) => bare == "localhost" || bare.ends_with(".localhost"),
    }
}

/// Looks names up, remembers what they stood for, and where only public addresses may be used gives no others: the
/// very addresses that were checked are connected to.
pub struct Guard {
    inner: DefaultResolver,
    seen: Seen,
    proxies: Arc<Proxies>,
    public_only: bool,
}

impl Guard {
    pub fn new(seen: Seen, proxies: Arc<Proxies>, public_only: bool) -> Self {
        Self { inner: DefaultResolver::default(), seen, proxies, public_only }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("public_only", &self.public_only).finish_non_exhaustive()
    }
}

impl Resolver for Guard {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        // The operator chose the proxy; where it is says nothing about the server.
        if config.proxy().is_some_and(|proxy| proxy.uri() == uri) {
            return self.inner.resolve(uri, config, timeout);
        }
        // One that asks for us looks the server up itself: we go to the proxy.
        if let Route::Forward(proxy) = self.proxies.route_of(uri) {
            return self.inner.resolve(proxy.uri(), config, timeout);
        }
        let addresses = self.inner.resolve(uri, config, timeout)?;
        let private = addresses.iter().any(|address| is_private(address.ip()));
        let host = uri.host().unwrap_or_default();
        self.seen.note(host, private);
        if private && self.public_only {
            return Err(ureq::Error::Other(Box::new(PrivateAddress(host.to_owned()))));
        }
        Ok(addresses)
    }
}

/// A host that has a private address where only public ones may be used.
#[derive(Debug)]
pub struct PrivateAddress(pub String);

impl fmt::Display for PrivateAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a public server names {}, which has a private address", self.0)
    }
}

impl std::error::Error for PrivateAddress {}

/// Whether a redirect from a public server to this host must be refused without looking anything up.
pub fn refused_as_written(host: &str) -> bool {
    written_private(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_mean_something_only_here_are_private() {
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "255.255.255.255",
            "224.0.0.1",
            "192.0.0.1",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "fec0::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "::127.0.0.1",
        ] {
            assert!(is_private(address.parse().unwrap()), "{address}");
        }
        for address in ["8.8.8.8", "100.128.0.1", "172.32.0.1", "2606:4700::1", "::ffff:8.8.8.8", "64:ff9b::808:808"] {
            assert!(!is_private(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn hosts_never_looked_up_are_judged_by_how_they_are_written() {
        let seen = Seen::default();
        assert!(seen.is_private("[::1]") && seen.is_private("127.0.0.1") && seen.is_private("a.localhost"));
        assert!(!seen.is_private("example.com") && !seen.is_private("8.8.8.8"));
        seen.note("example.com", true);
        assert!(seen.is_private("example.com"));
    }
}
