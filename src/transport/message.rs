//! What a server is asked for, and what it answers.

use std::ops::Range;
use std::time::Duration;

use ureq::http::{HeaderMap, StatusCode, header};
use url::Url;

use super::body::{Body, Watch};
use super::{Error, Kind};

/// What is asked for.
#[derive(Clone)]
pub struct Request {
    /// From where.
    pub url: Url,
    /// The page that named this URL, whose reach bounds ours.
    pub named_by: Option<Url>,
    /// Taken only if it is another than these say: entity tag, date.
    pub unless: Option<Validators>,
    /// Whether it is an image, which may be large and is resumed, or a document, which is small and soon there.
    pub image: bool,
    /// What is there of an image: the rest is enough if it is still the same.
    pub held: Option<Held>,
    /// Only this part of an image is asked for.
    pub part: Option<Part>,
    /// Who is told how far it has come.
    pub watch: Option<Watch>,
    /// The kinds of documents that are taken, as the `Accept` header has them.
    pub accept: Option<String>,
    /// The `Authorization` header for the server of this URL and for no other, in place of what is known of its host.
    pub authorization: Option<Authorization>,
}

/// An `Authorization` header; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorization(pub(super) String);

impl Authorization {
    /// A user and his password.
    pub fn basic(user: &str, password: &str) -> Self {
        use base64::Engine as _;
        Self(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"))))
    }

    /// A token, unless it cannot stand in a header.
    pub fn bearer(token: &str) -> Option<Self> {
        let plain = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        plain.then(|| Self(format!("Bearer {token}")))
    }
}

impl std::fmt::Debug for Authorization {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authorization(..)")
    }
}

impl Request {
    /// A small document: a page, a signature, keys.
    pub fn document(url: Url) -> Self {
        Self {
            url,
            named_by: None,
            unless: None,
            image: false,
            held: None,
            part: None,
            watch: None,
            accept: None,
            authorization: None,
        }
    }

    /// An image.
    pub fn image(url: Url) -> Self {
        Self { image: true, ..Self::document(url) }
    }

    /// That `page` named the URL.
    #[must_use]
    pub fn named_by(mut self, page: &Url) -> Self {
        self.named_by = Some(page.clone());
        self
    }
}

/// What tells one state of a resource from another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    /// The `ETag` header as it came.
    pub etag: Option<String>,
    /// The `Last-Modified` header as it came.
    pub(crate) last_modified: Option<String>,
}

impl Validators {
    /// What asks for a part if it is one of the same. Weak tags promise nothing about bytes, so they cannot be asked for.
    pub(crate) fn if_range(&self) -> Option<String> {
        let strong = self.etag.clone().filter(|etag| !etag.starts_with("W/"));
        strong.or_else(|| self.last_modified.clone())
    }

    pub(super) fn of(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Self { etag: text(header::ETAG), last_modified: text(header::LAST_MODIFIED) }
    }

    /// Whether an answer says that it is of another state. What it does not say does not tell.
    pub(super) fn differ(&self, headers: &HeaderMap) -> bool {
        let now = Self::of(headers);
        let changed =
            |old: &Option<String>, new: &Option<String>| matches!((old, new), (Some(old), Some(new)) if old != new);
        changed(&self.etag, &now.etag) || changed(&self.last_modified, &now.last_modified)
    }
}

/// The first bytes of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// How many; not all of it.
    pub bytes: u64,
    /// What they are of.
    pub validators: Validators,
}

/// Some bytes of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which; at least one.
    pub bytes: Range<u64>,
    /// What they are to be of; the whole is asked for where it is another by now.
    pub of: Validators,
}

/// An answer after all redirects.
pub struct Response {
    /// HTTP status code: 2xx, 304, 4xx or 5xx.
    pub status: u16,
    /// The byte that the body begins with: zero, or the first one that was not held, or of the part that was asked for.
    pub from: u64,
    /// Bytes of the whole, where the body is just the part that was asked for. A status of 206 without is of another part, or of
    /// something else; all of it is there where a server gives no parts.
    pub part_of: Option<u64>,
    /// Where it came from in the end.
    pub url: Url,
    /// Whether that has a public address.
    pub public: bool,
    /// What tells this state of it from others.
    pub validators: Validators,
    /// How long it may be used without asking again; none when it must not be kept at all.
    pub(crate) max_age: Option<Duration>,
    /// The body.
    pub body: Body,
    pub(super) headers: HeaderMap,
}

impl Response {
    /// The text of a header, the first of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body of an answer that has one: anything but 2xx is an error, and what is not there yet.
    pub fn success(self) -> Result<Self, Error> {
        match self.status {
            // 202: it is not made yet; 204 and 205: there is none.
            200..=299 if !matches!(self.status, 202 | 204 | 205) => Ok(self),
            status => {
                let phrase = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
                let mut why = format!("the server answered {status} {}", phrase.unwrap_or_default());
                if status == 401 || status == 403 {
                    why.push_str(" (credentials for a host stand in a file of mode 0600 in `auth.d`)");
                }
                Err(Error::new(Kind::Status(status), format!("get {}", self.url)).because(why))
            }
        }
    }
}
