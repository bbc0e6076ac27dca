//! A site on a server that takes files by HTTP: `PUT`, `DELETE`, and `MKCOL` where directories have to be made.

use std::collections::BTreeSet;
use std::io;

use url::Url;

use super::{Content, Error, Kind, Place, Result, digest_of};
use crate::transport::{self, Answer, Client, Request, Sending};

/// The most of a small file that is read.
const MAX_SMALL: u64 = 64 << 20;

/// A server, by the URL of its document root.
pub struct Server {
    client: Client,
    root: Url,
    made: BTreeSet<String>,
}

impl Server {
    /// The document root at `root`; credentials are those of the client.
    ///
    /// # Errors
    /// [`Kind::Refused`].
    pub fn new(client: Client, root: &Url) -> Result<Self> {
        if root.cannot_be_a_base() || root.query().is_some() || root.fragment().is_some() {
            return Err(
                Error::new(Kind::Refused, format!("publish to {root}")).because("it is no place below a server")
            );
        }
        Ok(Self { client, root: root.clone(), made: BTreeSet::new() })
    }

    fn url(&self, path: &str) -> Result<Url> {
        let mut url = self.root.clone();
        // No part of a path is a dot or two (names).
        url.path_segments_mut()
            .map_err(|()| Error::new(Kind::Refused, format!("publish to {}", self.root)))?
            .pop_if_empty()
            .extend(path.split('/'));
        Ok(url)
    }

    fn exchange(&self, method: &'static str, url: &Url, content: Option<&transport::Content<'_>>) -> Result<Answer> {
        self.exchange_with(method, url, Vec::new(), content)
    }

    fn exchange_with(
        &self,
        method: &'static str,
        url: &Url,
        headers: Vec<(&'static str, String)>,
        content: Option<&transport::Content<'_>>,
    ) -> Result<Answer> {
        let sending = Sending { method, url: url.clone(), headers, authorization: None, content };
        self.client.exchange(&sending).map_err(|error| Error::new(Kind::Io, format!("{method} {url}")).because(error))
    }

    /// Makes the directories above a path, on servers that want that.
    fn make_directories(&mut self, path: &str) -> Result<()> {
        for (at, _) in path.match_indices('/') {
            let directory = &path[..at];
            if self.made.contains(directory) {
                continue;
            }
            let mut url = self.url(directory)?;
            url.set_path(&format!("{}/", url.path()));
            let answer = self.exchange("MKCOL", &url, None)?;
            // 405: it is there.
            if !matches!(answer.status, 200..=299 | 301 | 405) {
                return Err(refused("MKCOL", &url, answer.status));
            }
            self.made.insert(directory.to_owned());
        }
        Ok(())
    }

    fn get(&self, path: &str, image: bool) -> Result<Option<transport::Body>> {
        let url = self.url(path)?;
        let failed = |error| Error::new(Kind::Io, format!("read {url}")).because(error);
        let request = Request { image, ..Request::document(url.clone()) };
        let response = self.client.send(&request).map_err(failed)?;
        match response.status {
            404 | 410 => Ok(None),
            _ => Ok(Some(response.success().map_err(failed)?.body)),
        }
    }
}

fn refused(method: &str, url: &Url, status: u16) -> Error {
    let mut why = format!("the server answered {status}");
    match status {
        401 | 403 => why.push_str(" (credentials for a host stand in a file of mode 0600 in `auth.d`)"),
        405 | 501 => why.push_str(": it takes no files"),
        413 => why.push_str(": it takes none as large"),
        _ => {}
    }
    Error::new(Kind::Io, format!("{method} {url}")).because(why)
}

impl Place for Server {
    fn read(&mut self, path: &str) -> Result<Option<Vec<u8>>> {
        // Large for a document: what an index says of thousands of images.
        let Some(mut body) = self.get(path, true)? else { return Ok(None) };
        body.limit(MAX_SMALL);
        let failed = |error| Error::new(Kind::Io, format!("read {path} of the site")).because(error);
        body.take_all().map(Some).map_err(failed)
    }

    fn digest(&mut self, path: &str) -> Result<Option<String>> {
        let Some(body) = self.get(path, true)? else { return Ok(None) };
        let failed = |error: io::Error| Error::new(Kind::Io, format!("read {path} of the site")).because(error);
        digest_of(body).map(|(digest, _)| Some(digest)).map_err(failed)
    }

    fn put(&mut self, path: &str, content: &Content<'_>) -> Result<()> {
        let url = self.url(path)?;
        let bytes = content.len();
        let open = || Ok((content.open()?, bytes));
        let mut answer = self.exchange("PUT", &url, Some(&open))?;
        if answer.status == 409 {
            self.make_directories(path)?;
            answer = self.exchange("PUT", &url, Some(&open))?;
        }
        match answer.status {
            200 | 201 | 204 => Ok(()),
            status => Err(refused("PUT", &url, status)),
        }
    }

    fn copy(&mut self, from: &str, path: &str, content: Option<&Content<'_>>) -> Result<()> {
        let (source, target) = (self.url(from)?, self.url(path)?);
        let answer = self.exchange_with("COPY", &source, vec![("destination", target.to_string())], None)?;
        if matches!(answer.status, 200..=299) {
            return Ok(());
        }
        if let Some(content) = content {
            return self.put(path, content);
        }
        let failed = |error: io::Error| Error::new(Kind::Io, format!("copy {source}")).because(error);
        let mut body = self.get(from, true)?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        let mut file = tempfile::NamedTempFile::new().map_err(failed)?;
        io::copy(&mut body, &mut file).map_err(failed)?;
        let (digest, bytes) = digest_of(file.reopen().map_err(failed)?).map_err(failed)?;
        self.put(path, &Content::File(file.path(), &digest, bytes))
    }

    fn remove(&mut self, path: &str) -> Result<()> {
        let url = self.url(path)?;
        match self.exchange("DELETE", &url, None)?.status {
            200..=299 | 404 | 410 => Ok(()),
            status => Err(refused("DELETE", &url, status)),
        }
    }

    fn is_locked(&self) -> bool {
        false
    }
}
