//! Bytes from servers and files, within limits.
//!
//! ```text
//! Client::send ── redirects (our loop) ── retries, back-off ── connection ── Response { status, validators, body }
//!                  | https only, downgrade refused            | addresses guarded     body: limited, watched for
//!                  | private addresses refused                | TLS roots             slowness, resumed by range
//! ```
//! Invariants: what a server sends is never waited for without end, in time or in bytes; a server with a public
//! address, or a page on one, cannot send us to a private address; plain http is used only where the operator allowed
//! it; credentials go to the host they are for, over TLS, and stand in no message.
//!
//! The roots of TLS are the system's bundle, or what `SSL_CERT_FILE` and `SSL_CERT_DIR` name instead, as for other
//! programs on the same host: who runs a private authority has already told the system. No roots are compiled in.
//!
//! Clauses: disc.url, disc.redirect, disc.https, disc.auth.*, im.deps.size; decisions 29, 33, 34.

mod address;
mod body;
mod cache;
mod client;
mod coding;
mod credentials;
mod exchange;
mod forward;
mod message;
mod proxy;
mod resume;
mod tls;
mod wire;

use std::collections::BTreeMap;
use std::time::Duration;

pub use body::{Body, Progress, Watch, may_go_on};
pub use cache::{Cache, Entry, News};
pub use client::Client;
pub use credentials::Credentials;
pub use exchange::{Answer, Content, Sending};
pub use message::{Authorization, Held, Part, Request, Response, Validators};

/// What went wrong with a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// No connection, or it broke and could not be taken up again.
    Unreachable,
    /// The server's certificate is not one to be trusted, or TLS failed otherwise.
    Tls,
    /// Too slow.
    Timeout,
    /// More than was allowed for.
    TooLarge,
    /// A redirect that is not followed: a loop, too many, to nowhere.
    Redirect,
    /// Plain http where only https is allowed.
    Downgrade,
    /// A private address where only a public one may stand.
    PrivateAddress,
    /// A status that says that there is nothing to be had.
    Status(u16),
    /// A file with credentials that cannot be used.
    Credentials,
    /// Not a URL that can be fetched.
    Address,
    /// Something on this host: a file, the cache, the bundle of certificates.
    Io,
}

/// Why a transfer failed.
pub type Error = crate::error::Failure<Kind>;

/// What is waited for and taken at most.
#[derive(Clone, Debug)]
pub struct Limits {
    /// For an address and a connection, TLS included.
    pub connect: Duration,
    /// From the request to the end of the response's header, and between any two pieces of its body.
    pub idle: Duration,
    /// For a whole small document: a page, a signature, keys.
    pub document: Duration,
    /// Bytes in a whole small document.
    pub document_bytes: u64,
    /// Bytes in an image as it is transferred.
    pub image_bytes: u64,
    /// Bytes a second below which a transfer is given up, as an average over `slow_window`.
    pub slow_rate: u64,
    /// How long a transfer may be slow.
    pub slow_window: Duration,
    /// Redirects followed.
    pub redirects: usize,
    /// How often a request is repeated after errors that may pass.
    pub retries: u32,
    /// Before the first repetition; doubled with each.
    pub back_off: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            idle: Duration::from_secs(30),
            document: Duration::from_secs(30),
            document_bytes: 4 << 20,
            image_bytes: 16 << 30,
            slow_rate: 1024,
            slow_window: Duration::from_secs(20),
            redirects: 10,
            retries: 3,
            back_off: Duration::from_millis(250),
        }
    }
}

/// How to behave on the network.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What is waited for and taken at most.
    pub limits: Limits,
    /// Take any certificate.
    pub insecure_tls: bool,
    /// Use plain http where https gives nothing or a URL says so.
    pub insecure_http: bool,
    /// Let public servers send us to private addresses.
    pub private_redirects: bool,
    /// Names and passwords by host.
    pub credentials: Credentials,
    /// Proxies by the names of the environment's variables in small letters: `https_proxy`, `http_proxy`, `all_proxy`,
    /// `no_proxy`.
    pub proxies: BTreeMap<&'static str, String>,
}
