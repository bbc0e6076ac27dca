//! Registries: images by name over HTTPS, by the existing transport.
//!
//! ```text
//!  name -> ping -> manifest (list -> by platform) -> configuration -> layers: as they are read, kept by digest
//!            '-> 401: who is asked for what -> credentials -> token, for this host and name alone
//! ```
//! Invariants: what a registry says is believed as far as digests go; a right to read is shown to the server that it is for and to nobody
//! it sends us to; plain http is spoken only where the operator allowed it.

mod auth;
mod cosign;
mod mirrors;
mod push;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use url::Url;

use super::digest::{Checked, Verdict};
use super::format::{self, Descriptor, Platform};
use super::source::{self, Blob, Blobs, Layers};
use super::{Digest, Error, Kind, Result};
use crate::discovery::RegistryName;
use crate::store::{Partial, Partials};
use crate::transport::{self, Answer, Authorization, Client, Held, Request, Response, Sending, Validators, Watch};

pub use auth::Accounts;
use auth::Challenge;
use mirrors::Endpoint;
pub use mirrors::Mirrors;

const ACCEPT: [&str; 4] = [format::MANIFEST, format::INDEX, format::DOCKER_MANIFEST, format::DOCKER_LIST];

/// A registry, as far as one name in it goes. Cheap to clone.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    client: Client,
    accounts: Accounts,
    /// What is asked for there.
    name: RegistryName,
    /// What it is called, wherever it is asked for.
    known_as: RegistryName,
    base: Url,
    /// What is shown with requests, once it was asked for.
    right: Mutex<Option<Authorization>>,
    actions: &'static str,
    watch: Option<Watch>,
    /// Blobs that were kept.
    kept: Mutex<Vec<PathBuf>>,
}

/// A manifest as it stands under a tag or digest.
pub struct Found {
    /// Byte for byte.
    manifest: Vec<u8>,
    /// Of the list that it stands in, else its own.
    top: Digest,
    second: Option<Platform>,
}

impl Found {
    /// All digests by which it may have been signed: that of the list that it stands in, and its own.
    pub(crate) fn digests(&self) -> Vec<Digest> {
        let mut digests = vec![self.top.clone(), self.digest()];
        digests.dedup();
        digests
    }

    /// Its digest: of the image for the platform, not of a list that it stands in.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }
}

/// How registries are reached.
#[derive(Clone)]
pub struct Ways {
    /// Speaks to them.
    pub client: Client,
    /// Speaks to those that are to be spoken to without protection.
    pub unprotected: Client,
    /// Who we are to them.
    pub accounts: Accounts,
    /// Where they are asked for.
    pub mirrors: Mirrors,
}

impl Ways {
    /// The manifest that `name` means on one of these platforms, from the first place that gives it; `told` of those that do not.
    ///
    /// # Errors
    /// Those of [`Registry::find`], of the last place; [`Kind::Refused`] where the registry is blocked.
    pub fn find(
        &self,
        name: &RegistryName,
        platforms: &[Platform],
        watch: Option<&Watch>,
        told: &dyn Fn(&RegistryName, &Error),
    ) -> Result<(Registry, Found)> {
        let mut failed: Option<(RegistryName, Error)> = None;
        for endpoint in self.mirrors.endpoints(name)? {
            if let Some((place, error)) = failed.take() {
                told(&place, &error);
            }
            let registry = self.open(&endpoint, name, false, watch.cloned());
            match registry.and_then(|registry| Ok((registry.find(platforms)?, registry))) {
                Ok((found, registry)) => return Ok((registry, found)),
                Err(error) => failed = Some((endpoint.name, error)),
            }
        }
        Err(failed.map_or_else(|| Error::new(Kind::Missing, format!("ask for {name}")), |(_, error)| error))
    }

    /// The registry that an image of this name is put into.
    ///
    /// # Errors
    /// [`Kind::Io`], [`Kind::Refused`].
    pub fn to_push(&self, name: &RegistryName) -> Result<Registry> {
        self.open(&self.mirrors.target(name)?, name, true, None)
    }

    fn open(&self, at: &Endpoint, known_as: &RegistryName, write: bool, watch: Option<Watch>) -> Result<Registry> {
        let client = if at.insecure { &self.unprotected } else { &self.client };
        Registry::open(client.clone(), self.accounts.clone(), &at.name, known_as, write, watch)
    }
}

impl Registry {
    /// The registry that holds `name`, asked whether it is there. `write` asks for the right to push.
    ///
    /// # Errors
    /// [`Kind::Io`] where it does not answer as a registry does.
    fn open(
        client: Client,
        accounts: Accounts,
        name: &RegistryName,
        known_as: &RegistryName,
        write: bool,
        watch: Option<Watch>,
    ) -> Result<Self> {
        let mut refusal = None;
        for scheme in ["https", "http"] {
            if scheme == "http" && !client.allows_http() {
                break;
            }
            let base = Url::parse(&format!("{scheme}://{}/v2/", name.server()))
                .map_err(|error| Error::new(Kind::Refused, format!("ask {}", name.host)).because(error))?;
            match client.send(&Request::document(base.clone())) {
                Ok(answer) if matches!(answer.status, 200 | 401) => {
                    let actions = if write { "pull,push" } else { "pull" };
                    let challenge = answer.header("www-authenticate").map(str::to_owned);
                    let inner = Inner {
                        client,
                        accounts,
                        name: name.clone(),
                        known_as: known_as.clone(),
                        base,
                        right: Mutex::default(),
                        actions,
                        watch,
                        kept: Mutex::default(),
                    };
                    let registry = Self(Arc::new(inner));
                    if answer.status == 401 {
                        registry.authorize(challenge.as_deref())?;
                    }
                    return Ok(registry);
                }
                Ok(answer) => {
                    let why = format!("it answers {} where a registry says 200 or 401", answer.status);
                    refusal =
                        refusal.or(Some(Error::new(Kind::Io, format!("ask the registry {}", name.host)).because(why)));
                }
                Err(error) => {
                    let failed = Error::new(Kind::Io, format!("ask the registry {}", name.host)).because(error);
                    refusal = refusal.or(Some(failed));
                }
            }
        }
        Err(refusal.unwrap_or_else(|| Error::new(Kind::Io, format!("ask the registry {}", name.host))))
    }

    /// The manifest that the name means on one of these platforms.
    ///
    /// # Errors
    /// [`Kind::Missing`], [`Kind::Corrupt`], [`Kind::Io`].
    pub fn find(&self, platforms: &[Platform]) -> Result<Found> {
        let name = &self.0.name;
        let first = self.manifest(name.reference())?;
        if let Some(digest) = &name.digest {
            digest.parse::<Digest>()?.check(&first)?;
        }
        let descriptor = Descriptor {
            media_type: String::new(),
            digest: Digest::of(&first),
            size: first.len() as u64,
            platform: None,
            annotations: BTreeMap::new(),
        };
        let top = descriptor.digest.clone();
        let read = |descriptor: &Descriptor| {
            if descriptor.digest == top {
                return Ok(first.clone());
            }
            source::check_document(descriptor.digest.as_str(), descriptor.size)?;
            let bytes = self.manifest(descriptor.digest.as_str())?;
            source::check_blob(descriptor, &bytes)?;
            Ok(bytes)
        };
        let (manifest, second) = source::resolve(descriptor, platforms, &read)?;
        Ok(Found { manifest, top, second })
    }

    /// The image of a manifest. Its layers are fetched when they are read, and kept on `shelf`.
    ///
    /// # Errors
    /// [`Kind::Invalid`], [`Kind::Corrupt`], [`Kind::Unsupported`], [`Kind::Io`].
    pub fn image(&self, found: Found, shelf: Shelf) -> Result<Layers> {
        let manifest = source::read_manifest(&found.manifest)?;
        let config = self.small_blob(&manifest.config)?;
        let layers = source::layers(&manifest, &config, Digest::to_string)?;
        fs::create_dir_all(&shelf.whole)
            .map_err(|error| Error::new(Kind::Io, format!("make {}", shelf.whole.display())).because(error))?;
        let name = &self.0.known_as;
        let reference = match &name.tag {
            Some(tag) => format!("{}:{tag}", name.place()),
            None => name.place(),
        };
        let blobs = Kept { registry: self.clone(), shelf, known: Mutex::default() };
        Ok(Layers {
            manifest: Some(found.manifest),
            config,
            layers,
            reference: Some(reference),
            second: found.second,
            blobs: Box::new(blobs),
        })
    }

    /// Removes the blobs that were kept: the image is none to be taken.
    pub(crate) fn forget(&self) {
        for path in self.0.kept.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // What stays is still what it is called.
            let _ = fs::remove_file(path);
        }
    }

    fn manifest(&self, reference: &str) -> Result<Vec<u8>> {
        let url = self.url(&format!("manifests/{reference}"))?;
        let mut response = self.get(&url, Some(ACCEPT.join(", ")))?;
        let claimed = response.header("docker-content-digest").and_then(|digest| digest.parse::<Digest>().ok());
        let doing = || format!("get the manifest of {}", self.0.name);
        let bytes = response.body.take_all().map_err(|error| {
            let kind = if *error.kind() == transport::Kind::TooLarge { Kind::TooBig } else { Kind::Io };
            let failed = Error::new(kind, doing()).because(error);
            if kind == Kind::TooBig { failed.clause("x.oci.limits") } else { failed }
        })?;
        // What a digest asks for is held against it by whoever asks.
        if let Some(claimed) = claimed {
            claimed.check(&bytes)?;
        }
        Ok(bytes)
    }

    /// A blob that is a document.
    fn small_blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        source::check_document(descriptor.digest.as_str(), descriptor.size)?;
        let mut response = self.get(&self.url(&format!("blobs/{}", descriptor.digest))?, None)?;
        let bytes = response.body.take_all().map_err(|error| failed(&descriptor.digest, error))?;
        source::check_blob(descriptor, &bytes)?;
        Ok(bytes)
    }

    fn url(&self, below: &str) -> Result<Url> {
        let path = format!("{}/{below}", self.0.name.name);
        self.0.base.join(&path).map_err(|error| Error::new(Kind::Refused, format!("ask for {path}")).because(error))
    }

    fn get(&self, url: &Url, accept: Option<String>) -> Result<Response> {
        self.ask(&Request { accept, ..Request::document(url.clone()) })
    }

    /// What comes behind what is held.
    fn get_blob(&self, url: &Url, held: Option<Held>) -> Result<Response> {
        self.ask(&Request { held, watch: self.0.watch.clone(), ..Request::image(url.clone()) })
    }

    /// Gets what is there, with the right that is asked for.
    fn ask(&self, request: &Request) -> Result<Response> {
        let send = |authorization| {
            self.0
                .client
                .send(&Request { authorization, ..request.clone() })
                .map_err(|error| Error::new(Kind::Io, format!("fetch {}", self.0.name)).because(error))
        };
        let mut response = send(self.right())?;
        if response.status == 401 {
            let challenge = response.header("www-authenticate").map(str::to_owned);
            self.authorize(challenge.as_deref())?;
            response = send(self.right())?;
        }
        self.success(response.status)?;
        Ok(response)
    }

    /// Whether an answer says that it is so.
    fn success(&self, status: u16) -> Result<()> {
        let doing = format!("{} {}", if self.0.actions == "pull" { "fetch" } else { "push to" }, self.0.name);
        match status {
            200..=299 => Ok(()),
            401 | 403 => Err(Error::new(Kind::Refused, doing).because(format!(
                "the registry answers {status}: it wants credentials that it knows ({})",
                Accounts::PLACES
            ))),
            404 if self.0.actions == "pull" => {
                Err(Error::new(Kind::Missing, doing).because("the registry has no such image"))
            }
            status => Err(Error::new(Kind::Io, doing).because(format!("the registry answers {status}"))),
        }
    }

    fn right(&self) -> Option<Authorization> {
        self.0.right.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Gets the right that a challenge asks for.
    fn authorize(&self, challenge: Option<&str>) -> Result<()> {
        let inner = &self.0;
        let account = inner.accounts.find(&inner.name)?;
        let right = match challenge.and_then(Challenge::parse) {
            Some(Challenge::Basic) => account.and_then(|account| account.basic()),
            Some(Challenge::Bearer { realm, service }) => {
                let scope = format!("repository:{}:{}", inner.name.name, inner.actions);
                Some(auth::token(&inner.client, &realm, service.as_deref(), &scope, account.as_ref())?)
            }
            None => None,
        };
        *inner.right.lock().unwrap_or_else(PoisonError::into_inner) = right;
        Ok(())
    }

    fn exchange(&self, mut sending: Sending<'_>) -> Result<Answer> {
        let mut send = |authorization| {
            // What is at another server is no business of this one's right.
            sending.authorization =
                Some(authorization).flatten().filter(|_| sending.url.origin() == self.0.base.origin());
            self.0
                .client
                .exchange(&sending)
                .map_err(|error| Error::new(Kind::Io, format!("push to {}", self.0.name)).because(error))
        };
        let answer = send(self.right())?;
        if answer.status != 401 {
            return Ok(answer);
        }
        self.authorize(answer.header("www-authenticate"))?;
        send(self.right())
    }
}

fn failed(digest: &Digest, error: transport::Error) -> Error {
    Error::new(Kind::Io, format!("fetch the blob {digest}")).because(error)
}

/// Removes all blobs that are kept in `cache`; gives their bytes. What is being fetched meanwhile loses its copy and nothing else.
///
/// # Errors
/// [`Kind::Io`].
pub fn clear(cache: &Path) -> Result<u64> {
    let failed = |error: io::Error| Error::new(Kind::Io, format!("clear {}", cache.display())).because(error);
    let entries = match fs::read_dir(cache) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(failed(error)),
    };
    let mut freed = 0;
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let size = entry.metadata().map_or(0, |metadata| metadata.len());
        match fs::remove_file(entry.path()) {
            Ok(()) => freed += size,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(freed)
}

/// Where blobs are kept.
#[derive(Clone)]
pub struct Shelf {
    /// Those that are whole, by digest.
    pub whole: PathBuf,
    /// Those that are not yet.
    pub partials: Partials,
    /// Who is told that another process is fetching a blob.
    pub waiting: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Shelf {
    fn path(&self, blob: &Blob) -> PathBuf {
        self.whole.join(blob.name.replace(':', "-"))
    }

    /// The blob, if it is here.
    fn find(&self, blob: &Blob) -> Option<File> {
        let file = File::open(self.path(blob)).ok()?;
        file.metadata().is_ok_and(|metadata| Some(metadata.len()) == blob.size).then_some(file)
    }

    /// Removes the blob if it is not what it is called any more: nobody is to find it so again and again.
    fn look_at(&self, blob: &Blob) {
        let Some(file) = self.find(blob) else { return };
        let (mut checked, verdict) = Checked::new(file, blob.digest.as_ref(), blob.size);
        let read = io::copy(&mut checked, &mut io::sink());
        if read.is_err() || blob.digest.is_some() && verdict.of("read it").is_err() {
            let _ = fs::remove_file(self.path(blob));
        }
    }
}

/// Blobs of a registry, kept as they come.
struct Kept {
    registry: Registry,
    shelf: Shelf,
    /// Those that were found on the shelf, and are what they are called.
    known: Mutex<BTreeSet<String>>,
}

impl Blobs for Kept {
    fn open(&self, blob: &Blob) -> Result<(Box<dyn Read + Send>, Verdict)> {
        let read = |file| {
            let (checked, verdict) =
                Checked::new(BufReader::with_capacity(256 << 10, file), blob.digest.as_ref(), blob.size);
            Ok((Box::new(checked) as Box<dyn Read + Send>, verdict))
        };
        // Each is read several times, and looked at once: by then it may have lain there for long.
        if self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(blob.name.clone()) {
            self.shelf.look_at(blob);
        }
        if let Some(file) = self.shelf.find(blob) {
            return read(file);
        }
        let unkept = |error: io::Error| {
            Error::new(Kind::Io, format!("keep a layer in {}", self.shelf.whole.display())).because(error)
        };
        let waiting = || (self.shelf.waiting)(&blob.name);
        let (mut partial, waited) = self.shelf.partials.open(&blob.name, &waiting).map_err(unkept)?;
        if let Some(file) = self.shelf.find(blob).filter(|_| waited) {
            return read(file);
        }
        // What a digest names is always the same.
        let held = partial.held().map(|(bytes, _)| Held { bytes, validators: Validators::default() });
        let url = self.registry.url(&format!("blobs/{}", blob.name))?;
        let mut response = self.registry.get_blob(&url, held).inspect_err(|_| partial.keep())?;
        if let (Some(size), Some(total)) = (blob.size, response.body.total())
            && size != total
        {
            let error = Error::new(Kind::Corrupt, format!("fetch the layer {}", blob.name)).clause("x.oci.size");
            return Err(error.because(format!("the registry gives {total} bytes, {size} were promised")));
        }
        if let Some(size) = blob.size {
            // One more is enough to know that it lies.
            response.body.limit(size.saturating_add(1));
        }
        if response.from == 0 {
            partial.begin(Some("")).map_err(unkept)?;
        }
        let source = partial.reader().map_err(unkept)?.chain(response.body);
        let (copy, there) = partial.writer().map_err(unkept)?;
        let (source, verdict) = Checked::new(source, blob.digest.as_ref(), blob.size);
        let kept = Some((partial, self.shelf.path(blob)));
        Ok((Box::new(Keeping { source, copy, there, kept, registry: self.registry.clone() }), verdict))
    }
}

/// Keeps a copy of what it reads; it gets its name when all of it was right.
struct Keeping<R> {
    source: R,
    copy: File,
    /// Bytes that are kept already.
    there: u64,
    kept: Option<(Partial, PathBuf)>,
    registry: Registry,
}

impl<R: Read> Read for Keeping<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(into).inspect_err(|error| match &mut self.kept {
            Some((partial, _)) if transport::may_go_on(error) => partial.keep(),
            _ => {}
        })?;
        if count > 0 {
            let known = usize::try_from(self.there).unwrap_or(usize::MAX).min(count);
            self.there -= known as u64;
            self.copy.write_all(&into[known..count])?;
        } else if !into.is_empty()
            && let Some((partial, path)) = self.kept.take()
        {
            // All of it is on disk before it has its name. One that somebody cleared away meanwhile is not kept.
            if self.copy.sync_data().and_then(|()| partial.give(&path)).is_ok() {
                self.registry.0.kept.lock().unwrap_or_else(PoisonError::into_inner).push(path);
            }
        }
        Ok(count)
    }
}
