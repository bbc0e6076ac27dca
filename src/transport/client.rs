//! Requests: redirects by our own rules, repetition after errors that may pass, conditions.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::http::{HeaderMap, StatusCode, header};
use ureq::unversioned::transport::{ConnectProxyConnector, Connector, SocksConnector, TcpConnector};
use url::Url;

use super::address::{Guard, PrivateAddress, Seen, refused_as_written};
use super::body::Body;
use super::coding::Coding;
use super::forward::Forward;
use super::message::{Authorization, Held, Request, Response, Validators};
use super::proxy::{Proxies, Route};
use super::resume::{Range, Reopen, content_range, part_of};
use super::tls::{Tls, is_authority_as_server};
use super::wire::{self, Counted, Meter};
use super::{Error, Kind, Limits, Settings};
use crate::discovery;

/// The longest that a server may make us wait before a repetition.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(10);

/// Gets things from servers. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client(pub(super) Arc<Inner>);

pub(super) struct Inner {
    settings: Settings,
    pub(super) proxies: Arc<Proxies>,
    seen: Seen,
    pub(super) open: Agent,
    public_only: Agent,
}

impl Client {
    /// A client for these settings and the environment's certificates. Nothing is connected to yet.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let proxies = Arc::new(Proxies::new(&settings.proxies)?);
        let seen = Seen::default();
        let tls = Tls::new(settings.insecure_tls);
        let agent = |public_only: bool| {
            let config = Agent::config_builder()
                .http_status_as_error(false)
                .max_redirects(0)
                .allow_non_standard_methods(true)
                .max_redirects_will_error(false)
                .proxy(None)
                .user_agent(concat!("appc/", env!("CARGO_PKG_VERSION")))
                .timeout_connect(Some(settings.limits.connect))
                .timeout_resolve(Some(settings.limits.connect))
                .timeout_recv_response(Some(settings.limits.idle))
                .timeout_per_read(Some(settings.limits.idle))
                .timeout_per_write(Some(settings.limits.idle))
                .input_buffer_size(256 << 10)
                .build();
            let connector =
                ().chain(SocksConnector::default())
                    .chain(ConnectProxyConnector::default())
                    .chain(TcpConnector::default())
                    .chain(Meter)
                    .chain(Forward(proxies.clone()))
                    .chain(tls.clone());
            Agent::with_parts(config, connector, Guard::new(seen.clone(), proxies.clone(), public_only))
        };
        let (open, public_only) = (agent(false), agent(true));
        Ok(Self(Arc::new(Inner { settings, proxies, seen, open, public_only })))
    }

    /// Asks, follows redirects, repeats after errors that may pass.
    pub fn send(&self, request: &Request) -> Result<Response, Error> {
        let limits = self.limits();
        let deadline = (!request.image).then(|| Instant::now() + limits.document);
        let (hop, rest) = match (&request.part, request.held.as_ref().filter(|held| request.image && held.bytes > 0)) {
            (Some(part), _) => (self.follow(request, Some(&Range::of(part)), None)?, None),
            (None, Some(held)) => self.follow_behind(request, held)?,
            (None, None) => (self.follow(request, None, deadline)?, None),
        };
        let headers = hop.response.headers();
        let mut validators = Validators::of(headers);
        if let Some(held) = request.held.as_ref().filter(|_| rest.is_some()) {
            validators.etag = validators.etag.or_else(|| held.validators.etag.clone());
            validators.last_modified = validators.last_modified.or_else(|| held.validators.last_modified.clone());
        }
        let max_age = max_age(headers);
        let status = hop.response.status().as_u16();
        let refuse = |why: String| Err(Error::new(Kind::Unreachable, format!("get {}", hop.url)).because(why));
        let part = request.part.as_ref().filter(|_| status == 206);
        let part_of = part.and_then(|part| match part_of(headers)? {
            (bytes, whole) if bytes == part.bytes && !part.of.differ(headers) => whole,
            _ => None,
        });
        if status == 206 && rest.is_none() && part.is_none() {
            return refuse("the server gave a part, and the whole was asked for".to_owned());
        }
        // Of an image its very bytes are wanted: they are what was signed.
        let coding = match Coding::of(headers) {
            Ok(coding) if !request.image => coding,
            Err(why) if !request.image && (200..=299).contains(&status) => return refuse(why),
            _ => Coding::Plain,
        };
        // What the server says of lengths in answers without body means something else.
        let total = match (&rest, part) {
            (Some(rest), _) => rest.total,
            (None, Some(part)) => Some(part.bytes.end - part.bytes.start),
            (None, None) => (status == 200 && coding == Coding::Plain).then(|| content_length(headers)).flatten(),
        };
        let begins = rest.as_ref().map_or(0, |rest| rest.from);
        let from = part.map_or(begins, |part| part.bytes.start);
        let limit = match part {
            Some(part) => part.bytes.end - part.bytes.start,
            None if request.image => limits.image_bytes,
            None => limits.document_bytes,
        };
        let reopen = (request.image && (status == 200 || rest.is_some())).then(|| {
            let again = Request { unless: None, held: None, part: None, watch: None, ..request.clone() };
            Reopen::new(self.clone(), again, validators.clone())
        });
        let headers = headers.clone();
        let source = coding.decoded(hop.response.into_body().into_with_config().limit(u64::MAX).reader());
        let source = Counted::new(source, limit, limits.idle, deadline);
        let body = Body::new(Box::new(source), hop.url.clone(), total, limit, limits)
            .behind(begins)
            .resumed_by(reopen)
            .until(deadline)
            .watched_by(request.watch.clone());
        let public = hop.url.host_str().is_some_and(|host| !self.0.seen.is_private(host));
        Ok(Response { status, from, part_of, url: hop.url, public, validators, max_age, body, headers })
    }

    /// Asks for what comes behind what is held; for all of it where the server has another by now or gives no parts.
    fn follow_behind(&self, request: &Request, held: &Held) -> Result<(Hop, Option<Rest>), Error> {
        let range = Range { from: held.bytes, to: None, if_range: held.validators.if_range() };
        let hop = self.follow(request, Some(&range), None)?;
        let headers = hop.response.headers();
        let (start, whole) = content_range(headers).unwrap_or_default();
        match hop.response.status().as_u16() {
            206 if start == held.bytes && !held.validators.differ(headers) => {
                let total = whole.or_else(|| content_length(headers).map(|length| start.saturating_add(length)));
                Ok((hop, Some(Rest { from: start, total })))
            }
            206 | 416 => Ok((self.follow(request, None, None)?, None)),
            _ => Ok((hop, None)),
        }
    }

    /// Asks for a small document and takes it whole, again where the connection broke on the way. Answers other than
    /// 2xx come without body.
    pub(crate) fn document(&self, request: &Request) -> Result<(Response, Vec<u8>), Error> {
        let mut left = self.limits().retries;
        loop {
            let mut response = self.send(request)?;
            if !(200..=299).contains(&response.status) {
                return Ok((response, Vec::new()));
            }
            match response.body.take_all() {
                Ok(bytes) => return Ok((response, bytes)),
                Err(error) if *error.kind() == Kind::Unreachable && left > 0 => {
                    thread::sleep(self.limits().back_off);
                    left -= 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// That this URL had a public address, or had none, when it was asked before.
    pub(super) fn recall(&self, url: &Url, public: bool) {
        self.0.seen.recall(url.host_str().unwrap_or_default(), !public);
    }

    /// What is waited for and taken at most.
    pub(crate) fn limits(&self) -> &Limits {
        &self.0.settings.limits
    }

    /// Whether redirects from there must not lead to private addresses.
    fn is_public(&self, url: &Url) -> bool {
        !self.0.settings.private_redirects && url.host_str().is_some_and(|host| !self.0.seen.is_private(host))
    }

    pub(super) fn follow(
        &self,
        request: &Request,
        range: Option<&Range>,
        deadline: Option<Instant>,
    ) -> Result<Hop, Error> {
        let mut url = request.url.clone();
        url.set_fragment(None);
        let mut public_only = request.named_by.as_ref().is_some_and(|page| self.is_public(page));
        let mut been = Vec::new();
        loop {
            self.check(&url, been.last(), public_only)?;
            let response = self.repeat(&url, request, range, public_only, deadline)?;
            let location = match response.status().as_u16() {
                301 | 302 | 303 | 307 | 308 => response.headers().get(header::LOCATION),
                300..=399 if response.status() != StatusCode::NOT_MODIFIED => None,
                _ => return Ok(Hop { response, url }),
            };
            let refuse = |why: String| {
                Error::new(Kind::Redirect, format!("follow the redirect of {url}")).clause("disc.redirect").because(why)
            };
            // Some servers write letters beyond ASCII as they are.
            let location = location.and_then(|location| std::str::from_utf8(location.as_bytes()).ok());
            let location =
                location.ok_or_else(|| refuse(format!("{} without a usable location", response.status().as_u16())))?;
            let mut next = url.join(location).map_err(|error| refuse(error.to_string()))?;
            next.set_fragment(None);
            public_only |= self.is_public(&url);
            been.push(url.clone());
            if been.contains(&next) {
                return Err(refuse(format!("it leads back to {next}")));
            }
            if been.len() > self.limits().redirects {
                return Err(refuse(format!("more than {} redirects", self.limits().redirects)));
            }
            url = next;
        }
    }

    /// Whether this URL may be asked at all, coming from `before`.
    pub(super) fn check(&self, url: &Url, before: Option<&Url>, public_only: bool) -> Result<(), Error> {
        let doing = match before {
            Some(before) => format!("follow the redirect of {before}"),
            None => format!("get {}", without_user(url)),
        };
        match url.scheme() {
            "https" => {}
            "http" if self.0.settings.insecure_http => {}
            "http" if before.is_some_and(|before| before.scheme() == "https") => {
                let why = format!("it leads from https to {}, which --insecure=http would allow", without_user(url));
                return Err(Error::new(Kind::Downgrade, doing).clause("disc.redirect").because(why));
            }
            "http" => {
                let why = "plain http shows to all and proves nothing; --insecure=http allows it";
                return Err(Error::new(Kind::Downgrade, doing).clause("disc.https").because(why));
            }
            scheme => {
                return Err(Error::new(Kind::Address, doing).because(format!("`{scheme}` is no way to get it here")));
            }
        }
        if !url.username().is_empty() || url.password().is_some() {
            let why = "a user or password in a URL; they belong in a file of mode 0600 in `auth.d`";
            return Err(Error::new(Kind::Address, doing).because(why));
        }
        let host = url.host_str().unwrap_or_default();
        if public_only && refused_as_written(host) {
            return Err(Error::new(Kind::PrivateAddress, doing).because(PrivateAddress(host.to_owned())));
        }
        Ok(())
    }

    /// One URL, again where that may help.
    fn repeat(
        &self,
        url: &Url,
        request: &Request,
        range: Option<&Range>,
        public_only: bool,
        deadline: Option<Instant>,
    ) -> Result<ureq::http::Response<ureq::Body>, Error> {
        let limits = self.limits();
        let mut pause = limits.back_off;
        let mut left = limits.retries;
        loop {
            // Each of its parts has a time of its own, in which a server could go on beginning to answer.
            let most = Instant::now() + 2 * (limits.connect + limits.idle);
            let until = deadline.unwrap_or(most).min(most);
            let (result, _) = wire::within(wire::HEAD, until, || self.once(url, request, range, public_only));
            let wait = match &result {
                Ok(response) => {
                    passing_status(response.status()).then(|| seconds(response.headers(), header::RETRY_AFTER))
                }
                Err(error) => may_pass(error).then_some(None),
            };
            let Some(asked) = wait.filter(|_| left > 0) else {
                return result.map_err(|error| explain(url, self.0.proxies.for_url(url), error));
            };
            let wait = asked.unwrap_or(pause).min(MAX_RETRY_AFTER);
            if deadline.is_some_and(|deadline| Instant::now() + wait >= deadline) {
                return result.map_err(|error| explain(url, self.0.proxies.for_url(url), error));
            }
            thread::sleep(wait);
            pause = (pause * 2).min(MAX_RETRY_AFTER);
            left -= 1;
        }
    }

    fn once(
        &self,
        url: &Url,
        request: &Request,
        range: Option<&Range>,
        public_only: bool,
    ) -> Result<ureq::http::Response<ureq::Body>, ureq::Error> {
        let agent = if public_only { &self.0.public_only } else { &self.0.open };
        let mut builder = agent.get(url.as_str());
        if let Some(Route::Tunnel(proxy)) = builder.uri_ref().map(|uri| self.0.proxies.route_of(uri)) {
            builder = builder.config().proxy(Some(proxy.clone())).build();
        }
        if request.image {
            builder = builder.header(header::ACCEPT_ENCODING, "identity");
        }
        if let Some(authorization) = self.authorization(url, request) {
            builder = builder.header(header::AUTHORIZATION, authorization);
        }
        if let Some(accept) = &request.accept {
            builder = builder.header(header::ACCEPT, accept);
        }
        if let Some(unless) = &request.unless {
            let conditions =
                [(header::IF_NONE_MATCH, &unless.etag), (header::IF_MODIFIED_SINCE, &unless.last_modified)];
            for (name, value) in conditions {
                if let Some(value) = value {
                    builder = builder.header(name, value);
                }
            }
        }
        if let Some(range) = range {
            let last = range.to.map(|to| to.saturating_sub(1).to_string()).unwrap_or_default();
            builder = builder.header(header::RANGE, format!("bytes={}-{last}", range.from));
            if let Some(same) = &range.if_range {
                builder = builder.header(header::IF_RANGE, same);
            }
        }
        builder.call()
    }

    /// What `url` is shown of `request`'s rights: what it brings goes to its own server, over TLS.
    pub(super) fn authorization<'r>(&'r self, url: &Url, request: &'r Request) -> Option<&'r str> {
        match &request.authorization {
            Some(Authorization(header)) if url.origin() == request.url.origin() => {
                (url.scheme() == "https").then_some(header.as_str())
            }
            _ => self.0.settings.credentials.header_for(url),
        }
    }

    /// Whether what comes is from whom it says.
    pub fn is_protected(&self) -> bool {
        !self.0.settings.insecure_http && !self.0.settings.insecure_tls
    }

    /// Whether plain http may be used.
    pub fn allows_http(&self) -> bool {
        self.0.settings.insecure_http
    }
}

impl discovery::Fetch for Client {
    fn page(&mut self, url: &Url) -> Result<discovery::Page, Box<dyn StdError + Send + Sync>> {
        let (response, body) = self.document(&Request::document(url.clone()))?;
        Ok(discovery::Page { status: response.status, body, url: response.url })
    }
}

/// What a part is of something whole.
struct Rest {
    from: u64,
    total: Option<u64>,
}

/// An answer that is no redirect, and where it came from.
pub(super) struct Hop {
    pub(super) response: ureq::http::Response<ureq::Body>,
    url: Url,
}

pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// `Cache-Control`: how long an answer may be used without asking; zero where it must be asked every time.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let mut allowed = Duration::ZERO;
    for value in headers.get_all(header::CACHE_CONTROL) {
        for directive in value.to_str().ok()?.split(',') {
            let directive = directive.trim().to_ascii_lowercase();
            match directive.split_once('=') {
                None if directive == "no-store" => return None,
                None if directive == "no-cache" => return Some(Duration::ZERO),
                Some(("max-age", seconds)) => {
                    allowed = Duration::from_secs(seconds.trim_matches('"').parse::<u32>().unwrap_or(0).into());
                }
                _ => {}
            }
        }
    }
    // On its way through other caches it has grown old already.
    Some(allowed.saturating_sub(seconds(headers, header::AGE).unwrap_or_default()))
}

fn seconds(headers: &HeaderMap, name: header::HeaderName) -> Option<Duration> {
    let seconds = headers.get(name)?.to_str().ok()?.trim().parse::<u32>().ok()?;
    Some(Duration::from_secs(seconds.into()))
}

pub(super) fn passing_status(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 500 | 502 | 503 | 504)
}

/// Whether an error may pass by itself. Refusals and wrong names do not.
pub(super) fn may_pass(error: &ureq::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error {
        ureq::Error::Io(error) => {
            matches!(error.kind(), ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof)
        }
        ureq::Error::Protocol(_) => false,
        _ => false,
    }
}

/// The client's error in our words.
pub(super) fn explain(url: &Url, proxy: Option<&ureq::Proxy>, error: ureq::Error) -> Error {
    let through = proxy.map(|proxy| format!(" through the proxy {}:{}", proxy.host(), proxy.port()));
    let failed = |kind| Error::new(kind, format!("get {url}{}", through.as_deref().unwrap_or_default()));
    match error {
        ureq::Error::Timeout(_) => failed(Kind::Timeout).because("the server does not answer in time"),
        ureq::Error::BodyExceedsLimit(_) | ureq::Error::LargeResponseHeader(..) => {
            failed(Kind::TooLarge).because("what the server says before its answer has no end")
        }
        ureq::Error::HostNotFound => failed(Kind::Unreachable).because("no such host"),
        ureq::Error::Other(other) => match other.downcast::<PrivateAddress>() {
            Ok(private) => failed(Kind::PrivateAddress).because(private),
            Err(other) => failed(Kind::Tls).because(other),
        },
        ureq::Error::Io(error) if tls_error(&error).is_some() => {
            let words = tls_error(&error).and_then(tls_words);
            failed(Kind::Tls).because(words.map_or_else(|| error.to_string(), |words| format!("{words} ({error})")))
        }
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            failed(Kind::Unreachable).because("the server closed the connection without an answer")
        }
        ureq::Error::Io(error) => failed(Kind::Unreachable).because(error),
        error => failed(Kind::Unreachable).because(error),
    }
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// What an error of TLS means for whoever named the server.
fn tls_words(error: &rustls::Error) -> Option<&'static str> {
    use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};
    Some(match error {
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => "the server does not speak TLS at this port",
        Error::AlertReceived(AlertDescription::ProtocolVersion) => "the server knows no TLS from 1.2 on",
        Error::AlertReceived(AlertDescription::CertificateRequired) => "the server wants a certificate of its clients",
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "no authority that this host knows signed the certificate; SSL_CERT_FILE can name a bundle with others"
        }
        error if is_authority_as_server(error) => {
            "the certificate is an authority's, and SSL_CERT_FILE does not list it for the server itself"
        }
        _ => return None,
    })
}

fn without_user(url: &Url) -> Url {
    let mut shown = url.clone();
    // These fail for URLs that have no host only, which have no user either.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (header::CACHE_CONTROL, value.parse().unwrap())).collect()
    }

    #[test]
    fn cache_control_says_how_long() {
        let seconds = |values: &[&str]| max_age(&headers(values)).map(|age| age.as_secs());
        assert_eq!(seconds(&[]), Some(0));
        assert_eq!(seconds(&["public, max-age=60"]), Some(60));
        assert_eq!(seconds(&["max-age=60", "no-cache"]), Some(0));
        assert_eq!(seconds(&["max-age=60, no-store"]), None);
        assert_eq!(seconds(&["max-age=-1"]), Some(0));
        let mut aged = headers(&["max-age=60"]);
        aged.insert(header::AGE, header::HeaderValue::from_static("50"));
        assert_eq!(max_age(&aged), Some(Duration::from_secs(10)));
        aged.insert(header::AGE, header::HeaderValue::from_static("70"));
        assert_eq!(max_age(&aged), Some(Duration::ZERO));
    }
}
