//! Plain http through a proxy: the proxy is asked for the whole URL, as all of them know it, while many let nothing but
//! TLS through a tunnel.

use std::fmt;
use std::io;
use std::sync::Arc;

use base64::Engine;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, Either, NextTimeout, Transport};

use super::proxy::{Proxies, Route};

/// Sends requests as a proxy wants them, over connections that lead to one.
pub struct Forward(pub Arc<Proxies>);

impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Forward").finish_non_exhaustive()
    }
}

impl<In: Transport> Connector<In> for Forward {
    type Out = Either<In, Forwarded<In>>;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(inner) = chained else { return Ok(None) };
        let (Route::Forward(proxy), Some(authority)) = (self.0.route_of(details.uri), details.uri.authority()) else {
            return Ok(Some(Either::A(inner)));
        };
        let user = proxy.username().map(|user| {
            let pair = format!("{user}:{}", proxy.password().unwrap_or_default());
            format!("Proxy-Authorization: Basic {}\r\n", base64::engine::general_purpose::STANDARD.encode(pair))
        });
        Ok(Some(Either::B(Forwarded { inner, server: authority.to_string(), user: user.unwrap_or_default() })))
    }
}

/// A connection to a proxy that forwards.
pub struct Forwarded<T> {
    inner: T,
    /// Host and port of the server behind it.
    server: String,
    /// The header that says who asks, if the proxy wants to know.
    user: String,
}

impl<T: Transport> Transport for Forwarded<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let output = self.inner.buffers().output();
        // Requests of ours have no bodies, and their heads come in one piece.
        let Some(head) = output[..amount].strip_prefix(b"GET /") else {
            return self.inner.transmit_output(amount, timeout);
        };
        let end = head.iter().position(|byte| *byte == b'\n').map_or(head.len(), |at| at + 1);
        let (line, headers) = head.split_at(end);
        let start = format!("GET http://{}/", self.server);
        let whole = [start.as_bytes(), line, self.user.as_bytes(), headers].concat();
        let room = output.get_mut(..whole.len()).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        room.copy_from_slice(&whole);
        self.inner.transmit_output(whole.len(), timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }
}

impl<T> fmt::Debug for Forwarded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarded").field("server", &self.server).finish_non_exhaustive()
    }
}
