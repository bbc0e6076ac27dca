//! The metadata service: what a pod may ask about itself, and the identity it can prove.
//!
//! ```text
//! $AC_METADATA_URL = http://127.0.0.1:PORT/<token>         token: 256 random bits, one a pod
//!   /acMetadata/v1/pod/{annotations,manifest,uuid}         GET
//!   /acMetadata/v1/apps/NAME/annotations                   GET
//!   /acMetadata/v1/apps/NAME/image/{manifest,id}           GET
//!   /acMetadata/v1/pod/hmac/{sign,verify}                  POST, a form
//!
//!  socket -> serve (limits, time) -> Pods (whose token?) -> answer (pure) -> bytes
//! ```
//!
//! Invariants: every answer is rendered when the pod is made known, so that a request can only choose among byte
//! strings of the pod whose token it carries; nothing of a request is read beyond the limits in [`Limits`]; a
//! request body is not read before the token was right; the key of the administrative domain ([`HmacKey`]) is never
//! part of an answer.
//! Clauses: mds.*, pod.exposed, pm.ann

mod answer;
mod connections;
mod domain;
mod form;
mod key;
mod pods;
mod register;
mod serve;
mod tls;
mod token;

pub use answer::{Answer, Asked, Facts, Pod};
pub use domain::{Domain, Options, socket};
pub use form::{Form, FormError};
pub use key::HmacKey;
pub use pods::Pods;
pub use register::Registration;
pub use serve::{Limits, Serving, exchange, serve};
pub use token::Token;

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

/// What went wrong in the metadata service's own affairs. Mistakes of clients are answers, not errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A manifest handed over is not what it should be.
    Manifest,
    /// The key file is damaged, readable by others, or not a plain file.
    Key,
    /// Another key, or another service, is there already.
    Exists,
    /// No domain service listens where one is expected.
    Absent,
    /// A domain service does not take the pod.
    Refused,
    /// A certificate or its key cannot be used.
    Tls,
    /// No URL follows from an address.
    Address,
    /// The system refused: no randomness, no thread, no file.
    Io,
}

/// An error of the metadata service.
pub type Error = crate::error::Failure<Kind>;

/// The service of one pod, as its supervisor runs it.
pub(crate) struct Service {
    token: Token,
    pods: Arc<Pods>,
}

impl Service {
    /// A service that tells `facts` to whoever has their token. `key` is the administrative domain's.
    ///
    /// # Errors
    /// [`Kind::Manifest`] when a manifest does not parse or an app of the pod has no image manifest.
    pub fn new(facts: Facts, key: HmacKey) -> Result<Self, Error> {
        let token = facts.token.clone();
        let pods = Pods::new(key);
        pods.insert(Pod::new(facts)?);
        Ok(Self { token, pods: Arc::new(pods) })
    }

    /// The value of `AC_METADATA_URL` when the listener is bound to `address` (mds.token).
    pub(crate) fn url(&self, address: SocketAddr) -> String {
        format!("http://{address}/{}", self.token.as_str())
    }

    /// Answers on `listener` from a thread of its own, until the handle that it gives back is dropped.
    ///
    /// The thread has the signal mask of the caller.
    ///
    /// # Errors
    /// [`Kind::Io`] when there can be no thread or no event queue.
    pub fn serve(self, listener: TcpListener) -> Result<Serving, Error> {
        serve(listener, self.pods, Limits::of_one_pod())
    }
}

/// How a supervisor is going to have its apps' questions answered.
pub struct Offer {
    /// What is told.
    pub facts: Facts,
    /// By whom.
    pub by: By,
    /// Gives the pod's addresses once it is connected; they are told as its annotation `ip-address`.
    pub addresses: Box<dyn FnOnce() -> Vec<IpAddr>>,
}

/// Who answers for a pod.
pub enum By {
    /// Its supervisor, inside the pod's network, with the key of the administrative domain.
    Itself(HmacKey),
    /// The domain service with this unix socket.
    Domain(PathBuf),
}

/// Who answers, for as long as this lives.
pub(crate) enum Answering {
    /// The supervisor, whom nobody has asked yet: most pods never ask, and the thread that answers is started when one does.
    Unasked(TcpListener, Service),
    /// The supervisor.
    Own(#[expect(dead_code, reason = "serves until it is dropped")] Serving),
    /// A domain service.
    Domain(#[expect(dead_code, reason = "registered until it is dropped")] Registration),
}

/// An [`Offer`] for which all is done that can be done before there is a socket.
pub(crate) enum Prepared {
    /// By its supervisor.
    Itself(Service),
    /// By the domain service with this unix socket.
    Domain(PathBuf, Facts),
}

impl Offer {
    /// Renders what will be told.
    ///
    /// # Errors
    /// What [`Service::new`] says.
    pub(crate) fn prepare(mut self) -> Result<Prepared, Error> {
        self.facts.tell_addresses(&(self.addresses)())?;
        Ok(match self.by {
            By::Itself(key) => Prepared::Itself(Service::new(self.facts, key)?),
            By::Domain(socket) => Prepared::Domain(socket, self.facts),
        })
    }
}

impl Prepared {
    /// Begins; gives the value of `AC_METADATA_URL` too. `listener` is bound inside the pod's network.
    ///
    /// # Errors
    /// What [`Registration::new`] says; [`Kind::Io`] where a listener is due and there is none.
    pub(crate) fn begin(self, listener: Option<TcpListener>) -> Result<(String, Answering), Error> {
        match self {
            Self::Itself(service) => {
                let doing = || Error::new(Kind::Io, "listen inside the pod's network");
                let listener = listener.ok_or_else(|| doing().because("there is no socket"))?;
                let url = service.url(listener.local_addr().map_err(|error| doing().because(error))?);
                // From here on: before, a process without privileges could not have set up its user namespaces.
                crate::sys::secret::never_dump()
                    .map_err(|error| Error::new(Kind::Io, "keep the key out of core dumps").because(error))?;
                Ok((url, Answering::Unasked(listener, service)))
            }
            Self::Domain(socket, facts) => {
                let registration = Registration::new(&socket, facts)?;
                Ok((registration.url().to_owned(), Answering::Domain(registration)))
            }
        }
    }
}

impl Answering {
    /// Readable when somebody asks for the first time.
    pub(crate) fn unasked(&self) -> Option<&TcpListener> {
        match self {
            Self::Unasked(listener, _) => Some(listener),
            _ => None,
        }
    }

    /// Whether it is better begun before anybody asks.
    pub(crate) fn is_eager(&self) -> bool {
        serve::BEFOREHAND && matches!(self, Self::Unasked(..))
    }

    /// Somebody asks.
    ///
    /// # Errors
    /// What [`Service::serve`] says.
    pub(crate) fn asked(self) -> Result<Self, Error> {
        match self {
            Self::Unasked(listener, service) => service.serve(listener).map(Self::Own),
            other => Ok(other),
        }
    }
}

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;
