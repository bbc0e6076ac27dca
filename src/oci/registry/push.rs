//! Pushing: what the registry does not have yet, then the manifest.

use std::fs::File;
use std::io::{self, Read};

use url::Url;

use super::Registry;
use crate::oci::export::Staged;
use crate::oci::format::Descriptor;
use crate::oci::source::blob_path;
use crate::oci::{Digest, Error, Kind, Result};
use crate::transport::Sending;

impl Registry {
    /// Puts a staged image under the name's tag, or its digest. Blobs that are there are not sent again. Gives the digest.
    ///
    /// # Errors
    /// [`Kind::Refused`], [`Kind::Io`].
    pub fn push(&self, staged: &Staged) -> Result<Digest> {
        let name = &self.0.name;
        let mut done = Vec::new();
        for blob in [&staged.parts.config].into_iter().chain(&staged.parts.layers) {
            if !done.contains(&&blob.digest) {
                self.put_blob(staged, blob)?;
                done.push(&blob.digest);
            }
        }
        let digest = &staged.manifest.digest;
        let path = staged.directory.join(blob_path(digest));
        let bytes = std::fs::read(&path)
            .map_err(|error| Error::new(Kind::Io, format!("read {}", path.display())).because(error))?;
        let open = || Ok((Box::new(io::Cursor::new(bytes.clone())) as Box<dyn Read>, bytes.len() as u64));
        let under = name.tag.as_deref().unwrap_or(digest.as_str());
        let answer = self.exchange(Sending {
            method: "PUT",
            url: self.url(&format!("manifests/{under}"))?,
            headers: vec![("content-type", staged.manifest.media_type.clone())],
            authorization: None,
            content: Some(&open),
        })?;
        self.success(answer.status).map_err(|error| refused(error, &answer.body))?;
        Ok(digest.clone())
    }

    fn put_blob(&self, staged: &Staged, blob: &Descriptor) -> Result<()> {
        let head = self.exchange(Sending {
            method: "HEAD",
            url: self.url(&format!("blobs/{}", blob.digest))?,
            headers: Vec::new(),
            authorization: None,
            content: None,
        })?;
        if head.status == 200 {
            return Ok(());
        }
        let begun = self.exchange(Sending {
            method: "POST",
            url: self.url("blobs/uploads/")?,
            headers: Vec::new(),
            authorization: None,
            content: None,
        })?;
        self.success(begun.status).map_err(|error| refused(error, &begun.body))?;
        let place = begun.header("location").and_then(|location| self.0.base.join(location).ok());
        let failed = |why: &str| Error::new(Kind::Io, format!("push to {}", self.0.name)).because(why.to_owned());
        let mut place: Url = place.ok_or_else(|| failed("the registry says no place for a blob"))?;
        place.query_pairs_mut().append_pair("digest", blob.digest.as_str());
        let path = staged.directory.join(blob_path(&blob.digest));
        let open = || {
            let file = File::open(&path)?;
            Ok((Box::new(file) as Box<dyn Read>, blob.size))
        };
        let put = self.exchange(Sending {
            method: "PUT",
            url: place,
            headers: vec![("content-type", "application/octet-stream".to_owned())],
            authorization: None,
            content: Some(&open),
        })?;
        self.success(put.status).map_err(|error| refused(error, &put.body))
    }
}

/// With the first words of the registry about it.
fn refused(error: Error, body: &[u8]) -> Error {
    let text: String = String::from_utf8_lossy(body).chars().take(200).flat_map(char::escape_debug).collect();
    if text.trim().is_empty() {
        return error;
    }
    let kind = *error.kind();
    Error::new(kind, crate::error::chain(&error)).because(text)
}
