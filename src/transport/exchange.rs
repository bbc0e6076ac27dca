//! Sending: what is put on a server, or asked of it otherwise than by getting.

use std::io;
use std::thread;
use std::time::Instant;

use ureq::http::{HeaderMap, header};
use url::Url;

use super::Error;
use super::body::Body;
use super::client::{Client, explain, may_pass, passing_status};
use super::message::{Authorization, Request};
use super::proxy::Route;

/// Something that is sent.
pub struct Sending<'s> {
    /// What is done: `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE`, those of WebDAV.
    pub method: &'static str,
    /// To what.
    pub url: Url,
    /// Headers.
    pub headers: Vec<(&'static str, String)>,
    /// The `Authorization` header for the server.
    pub authorization: Option<Authorization>,
    /// Opens what is sent, and tells how many bytes it has.
    pub content: Option<&'s Content<'s>>,
}

/// Opens a content from its beginning.
pub type Content<'c> = dyn Fn() -> io::Result<(Box<dyn io::Read>, u64)> + 'c;

/// What a server says to something that was sent.
pub struct Answer {
    /// HTTP status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
    headers: HeaderMap,
}

impl Answer {
    /// The text of a header, the first of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Client {
    /// Sends something, and again after errors that may pass. Redirects are not followed.
    pub fn exchange(&self, sending: &Sending<'_>) -> Result<Answer, Error> {
        let request =
            Request { authorization: sending.authorization.clone(), ..Request::document(sending.url.clone()) };
        self.check(&sending.url, None, false)?;
        let limits = self.limits();
        let mut pause = limits.back_off;
        let mut left = limits.retries;
        loop {
            let result = self.exchange_once(sending, &request);
            let passes = match &result {
                Ok(response) => passing_status(response.status()),
                Err(error) => may_pass(error),
            };
            if !passes || left == 0 {
                let response =
                    result.map_err(|error| explain(&sending.url, self.0.proxies.for_url(&sending.url), error))?;
                let (status, headers) = (response.status().as_u16(), response.headers().clone());
                let source = response.into_body().into_with_config().limit(u64::MAX).reader();
                let deadline = Some(Instant::now() + limits.document);
                let mut body = Body::new(Box::new(source), sending.url.clone(), None, limits.document_bytes, limits)
                    .until(deadline);
                // Of what was not done, the words do not matter.
                let body = if sending.method == "HEAD" { Vec::new() } else { body.take_all()? };
                return Ok(Answer { status, headers, body });
            }
            thread::sleep(pause);
            pause *= 2;
            left -= 1;
        }
    }

    fn exchange_once(
        &self,
        sending: &Sending<'_>,
        request: &Request,
    ) -> Result<ureq::http::Response<ureq::Body>, ureq::Error> {
        let (content, length) = match sending.content {
            Some(open) => open().map_err(ureq::Error::Io)?,
            None => (Box::new(io::empty()) as Box<dyn io::Read>, 0),
        };
        let mut builder = ureq::http::Request::builder().method(sending.method).uri(sending.url.as_str());
        if let Some(authorization) = self.authorization(&sending.url, request) {
            builder = builder.header(header::AUTHORIZATION, authorization);
        }
        if sending.method != "HEAD" {
            builder = builder.header(header::CONTENT_LENGTH, length);
        }
        for (name, value) in &sending.headers {
            builder = builder.header(*name, value);
        }
        let content = match sending.method {
            "HEAD" => ureq::SendBody::none(),
            _ => ureq::SendBody::from_owned_reader(content),
        };
        let message = builder.body(content)?;
        let agent = &self.0.open;
        match self.0.proxies.route_of(message.uri()) {
            Route::Tunnel(proxy) => {
                let proxy = Some(proxy.clone());
                agent.run(agent.configure_request(message).proxy(proxy).build())
            }
            _ => agent.run(message),
        }
    }
}
