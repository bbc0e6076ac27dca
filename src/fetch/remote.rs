//! The way from a name to an image.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use url::Url;

use super::cached::Known;
use super::source::{Outcome, Watched};
use super::transfer::{ASC, Place, SIGNIFY, first_that_counts, refused, unavailable, untrusted};
use super::{Error, Kind};
use crate::aci::Progress;
use crate::chunks;
use crate::config::Signatures;
use crate::discovery::{
    self, Discovered, Endpoint, Fetch, ImageName, Link, Options, Page, Platform, RegistryName, Seek, Step,
};
use crate::oci::registry::Ways;
use crate::render::Fetcher;
use crate::schema::ImageManifest;
use crate::store::{Image, Import, Origin, Store, Wanted, open_file};
use crate::transport::{self, Cache, Client, News, Request, Watch};
use crate::trust::{KeyStore, Keyring, MAX_SIGNATURE, Verifier};

/// What a person may want to know while something is fetched.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'e> {
    /// A step of discovery.
    Discovery(&'e Step<'e>),
    /// A place where an image or keys should be did not deliver; the next is tried.
    Skipped(&'e Link, &'e Error),
    /// A signature is asked for.
    Signature(&'e Url),
    /// A signature is still being made; the image is transferred, and it is asked for again.
    Unready(&'e Url),
    /// An image is asked for.
    Image(&'e Url),
    /// Another process is fetching the same.
    Waiting(&'e str),
    /// So many bytes are there from before and are not transferred again.
    Resumed(&'e Url, u64),
    /// What the server has is what the store has.
    Unchanged(&'e Url),
    /// A map of chunks is asked for.
    Chunks(&'e Url),
    /// What is there is no map, and why.
    NoMap(&'e Url, &'e str),
    /// The image is fetched whole though there is a map of its chunks, and why.
    Whole(&'e Url, &'e str),
    /// The image was put together.
    Assembled {
        /// From where.
        url: &'e Url,
        /// Bytes that were transferred, those of the map among them.
        fetched: u64,
        /// Bytes that it has.
        bytes: u64,
    },
    /// A place where an image of a registry may be did not give it; the next is asked.
    Unreached(&'e RegistryName, &'e crate::oci::Error),
}

/// A file of fewer bytes is read in a moment.
const LONG: u64 = 64 << 20;

/// Who is told.
pub type Tell = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

/// Fetches images. Cheap to clone.
#[derive(Clone)]
pub struct Remote {
    /// Gets things from servers.
    pub client: Client,
    /// What servers said before.
    pub cache: Cache,
    /// Whose signatures count.
    pub keys: KeyStore,
    /// Of what signatures are wanted.
    pub policy: Signatures,
    /// The port of discovery URLs, if another than usual.
    pub port: Option<u16>,
    /// Whether plain http is tried where https gives nothing.
    pub http: bool,
    /// What `os` and `arch` are where a name does not say.
    pub platform: Platform,
    /// How registries are reached.
    pub registries: Ways,
    /// Where layers of registries are kept as they came.
    pub blobs: PathBuf,
    /// Whether images of registries that nobody trusts are refused, and not just told.
    pub strict: bool,
    /// Who is told how far transfers have come.
    pub watch: Option<Watch>,
    /// Who is told of steps.
    pub tell: Tell,
}

impl Remote {
    /// Brings the image of this name into the store. Of what else is wanted, the ID and the size count.
    ///
    /// # Errors
    /// [`Kind::NotFound`], [`Kind::Unavailable`] where no endpoint delivered, [`Kind::Untrusted`],
    /// [`Kind::Refused`] where what came is not what was asked for; the store is then as it was.
    pub fn by_name(&self, name: &ImageName, wanted: &Wanted, store: &Store) -> Result<Image, Error> {
        let (found, news) = self.discover(name, Seek::Endpoints)?;
        let keyring = match self.policy {
            Signatures::None => None,
            _ => Some(self.keys.keyring_for(&name.name).map_err(|error| local(name, error))?),
        };
        let mut skipped = Vec::new();
        for (number, endpoint) in found.endpoints.iter().enumerate() {
            match self.endpoint_image(endpoint, name, wanted, keyring.as_ref(), store) {
                Err(error) if matches!(error.kind(), Kind::Unavailable | Kind::Unsigned) => {
                    if number + 1 < found.endpoints.len() {
                        (self.tell)(&Event::Skipped(&endpoint.aci, &error));
                    }
                    skipped.push(error);
                }
                Ok(image) => {
                    self.cache.remember(news);
                    return Ok(image);
                }
                Err(error) => return Err(error),
            }
        }
        match <[Error; 1]>::try_from(skipped) {
            Ok([only]) => Err(only),
            Err(several) => {
                let why: Vec<String> = several.iter().map(|error| crate::error::chain(error)).collect();
                let unsigned = several.iter().all(|error| *error.kind() == Kind::Unsigned);
                let kind = if unsigned { Kind::Unsigned } else { Kind::Unavailable };
                Err(Error::new(kind, format!("fetch {name} from any endpoint")).because(why.join("; ")))
            }
        }
    }

    /// Brings the image at this URL into the store. Its signature is at the URL with `.asc` added (aci.sign.suffix), one by
    /// signify with `.sig` or `.minisig`; the key must be trusted for the name that the image turns out to have.
    ///
    /// # Errors
    /// As for names.
    pub fn by_url(&self, url: &Url, wanted: &Wanted, store: &Store) -> Result<Image, Error> {
        if url.scheme() == "file" {
            let path = url.to_file_path().map_err(|()| {
                Error::new(Kind::Local, format!("open {url}")).because("it is not the path of a file on this host")
            })?;
            return self.by_file(&path, wanted, store);
        }
        let keyring = match self.policy {
            Signatures::None => None,
            _ => Some(self.keys.keyring_of_all().map_err(|error| local(url, error))?),
        };
        let beside = |ending: &str| {
            let mut signature = url.clone();
            signature.set_path(&format!("{}{ending}", url.path()));
            signature
        };
        let signatures = [beside(ASC), beside(SIGNIFY[0]), beside(SIGNIFY[1])];
        let chunks = beside(chunks::ENDING);
        let place = Place { image: url, signatures: signatures.each_ref(), chunks: &chunks, page: None, name: None };
        self.transfer(&place, wanted, keyring.as_ref(), self.accept_signed(), store)
    }

    /// Brings a file into the store. A signature beside it, named as those of URLs, is wanted only where the policy says so.
    ///
    /// # Errors
    /// As for names.
    pub fn by_file(&self, path: &Path, wanted: &Wanted, store: &Store) -> Result<Image, Error> {
        let shown = path.display();
        let mut import = Import { wanted: wanted.clone(), ..Import::new(shown.to_string()) };
        import.extract.read.progress = self.progress_of(path);
        if self.policy != Signatures::All {
            return store.import_file(path, import).map_err(refused);
        }
        let keyring = self.keys.keyring_of_all().map_err(|error| local(&shown, error))?;
        let verifier = first_that_counts(&keyring, [ASC, SIGNIFY[0], SIGNIFY[1]], |ending| {
            let mut beside = path.as_os_str().to_owned();
            beside.push(ending);
            let unsigned = |why: &dyn std::fmt::Display| {
                let why = format!("the configuration wants signatures of files, and {}: {why}", beside.display());
                Error::new(Kind::Unsigned, format!("check {shown}")).clause("disc.sigpolicy").because(why)
            };
            let file = open_file(Path::new(&beside)).map_err(|error| match error.source() {
                Some(why) => unsigned(&why),
                None => unsigned(&error),
            })?;
            let mut signature = Vec::new();
            // One more than is taken of one, so that more is seen.
            file.take(MAX_SIGNATURE as u64 + 1).read_to_end(&mut signature).map_err(|error| unsigned(&error))?;
            Verifier::new(&keyring, &signature).map_err(|error| untrusted(&shown, error))
        })
        // Nobody vouches for it either way.
        .map_err(|error| error.of_kind(Kind::Untrusted))?;
        let file = open_file(path).map_err(refused)?;
        let (source, outcome) = Watched::new(file, Some(verifier));
        let import = |source, accept| store.import(source, Import { accept: Some(accept), ..import });
        self.import(source, outcome, &self.accept_signed(), import).map(|(image, _)| image)
    }

    /// Whoever watches transfers is told how far a long file is read.
    fn progress_of(&self, path: &Path) -> Option<Progress> {
        let watch = self.watch.clone()?;
        let total = std::fs::metadata(path).ok().map(|about| about.len()).filter(|length| *length >= LONG)?;
        let url = Url::from_file_path(std::path::absolute(path).ok()?).ok()?;
        Some(Progress::new(move |received| watch(transport::Progress { url: &url, received, total: Some(total) })))
    }

    /// Where the keys for this name are, and their bytes. Of several places those that give nothing are passed over.
    ///
    /// # Errors
    /// [`Kind::NotFound`], [`Kind::Unavailable`].
    pub fn keys_of(&self, name: &ImageName) -> Result<Vec<(Url, Vec<u8>)>, Error> {
        let (found, _) = self.discover(name, Seek::Keys)?;
        let mut keys = Vec::new();
        let mut refusal = None;
        for (link, page) in &found.keys {
            match self.keys_at(link.url(), Some(page)) {
                Ok(bytes) => keys.push((link.url().clone(), bytes)),
                Err(error) => {
                    if found.keys.len() > 1 {
                        (self.tell)(&Event::Skipped(link, &error));
                    }
                    refusal = refusal.or(Some(error));
                }
            }
        }
        match refusal {
            Some(refusal) if keys.is_empty() => Err(refusal),
            _ => Ok(keys),
        }
    }

    /// The keys at a URL, as bytes.
    ///
    /// # Errors
    /// [`Kind::Unavailable`].
    pub fn keys_at(&self, url: &Url, page: Option<&Url>) -> Result<Vec<u8>, Error> {
        let request = Request { named_by: page.cloned(), ..Request::document(url.clone()) };
        let (response, bytes) = self.client.document(&request).map_err(|error| unavailable("keys", error))?;
        response.success().map_err(|error| unavailable("keys", error))?;
        Ok(bytes)
    }

    /// What was found, and what the pages on the way leave to remember.
    fn discover(&self, name: &ImageName, seek: Seek) -> Result<(Discovered, News), Error> {
        let options =
            Options { platform: self.platform.clone(), port: self.port, http: self.http, walk_on_errors: false, seek };
        let mut pages = Pages { client: &self.client, cache: &self.cache, news: News::new() };
        let mut watch = |step: &Step<'_>| (self.tell)(&Event::Discovery(step));
        let found = discovery::discover(name, &options, &mut pages, &mut watch).map_err(|error| {
            let kind = match error.kind() {
                discovery::Kind::Unreachable => Kind::Unavailable,
                _ => Kind::NotFound,
            };
            let what = match seek {
                Seek::Keys => "discover where the keys are",
                _ => "discover where the image is",
            };
            Error::new(kind, what).because(error)
        })?;
        Ok((found, pages.news))
    }

    fn endpoint_image(
        &self,
        endpoint: &Endpoint,
        name: &ImageName,
        wanted: &Wanted,
        keyring: Option<&Keyring>,
        store: &Store,
    ) -> Result<Image, Error> {
        let signatures = [&endpoint.asc, &endpoint.signify[0], &endpoint.signify[1]].map(Link::url);
        let place = Place {
            image: endpoint.aci.url(),
            signatures,
            chunks: endpoint.chunks.url(),
            page: Some(&endpoint.page),
            name: Some(&name.name),
        };
        let accept = {
            let (name, platform, signed) = (name.clone(), self.platform.clone(), keyring.is_some());
            Arc::new(move |manifest: &ImageManifest, origin: &mut Origin, outcome: &Outcome| {
                check(&name, &platform, manifest)?;
                sign(origin, outcome, signed)
            }) as Last
        };
        // Name and labels are those of `name`, and judged with it.
        let wanted = Wanted { name: None, labels: BTreeMap::new(), ..wanted.clone() };
        let still_fits = |known: &Known| check(name, &self.platform, known.image.manifest()).is_ok();
        self.transfer_unless_known(&place, &wanted, keyring, accept, store, &still_fits)
    }

    /// Takes an image of any name whose signer is trusted for just that name.
    fn accept_signed(&self) -> Last {
        let (keys, policy) = (self.keys.clone(), self.policy);
        Arc::new(move |manifest, origin, outcome| {
            let signed = policy != Signatures::None;
            sign(origin, outcome, signed)?;
            if signed {
                let keyring = keys.keyring_for(&manifest.name)?;
                if !signers_count(&origin.signed_by, &keyring) {
                    let why = format!("key {} is not trusted for {}", origin.signed_by.join(", "), manifest.name);
                    let error = crate::trust::Error::new(crate::trust::Kind::Untrusted, "verify the signature");
                    return Err(error.clause("disc.sigpolicy").because(why).into());
                }
            }
            Ok(())
        })
    }
}

impl Fetcher for Remote {
    fn fetch(&self, wanted: &Wanted, store: &Store) -> Result<Image, Box<dyn StdError + Send + Sync>> {
        let Some(name) = wanted.name.clone() else { return Err("an image without name cannot be looked for".into()) };
        Ok(self.by_name(&ImageName { name, labels: wanted.labels.clone() }, wanted, store)?)
    }
}

/// What has to be settled when all was read: about the manifest, the origin, and the signature.
pub(super) type Last =
    Arc<dyn Fn(&ImageManifest, &mut Origin, &Outcome) -> Result<(), Box<dyn StdError + Send + Sync>> + Send + Sync>;

/// That the signature holds; notes whose it is.
fn sign(origin: &mut Origin, outcome: &Outcome, wanted: bool) -> Result<(), Box<dyn StdError + Send + Sync>> {
    match outcome.signer() {
        Some(signer) => super::streamed::signed(origin, signer?),
        None if wanted => return Err("the signature was not checked: the archive was not read to its end".into()),
        None => {}
    }
    Ok(())
}

fn check(name: &ImageName, platform: &Platform, manifest: &ImageManifest) -> Result<(), discovery::Error> {
    let labels = manifest.labels().iter().map(|label| (label.name.as_str(), label.value.as_str()));
    name.check(platform, &manifest.name, labels)
}

/// Whether one of these keys is still a key that counts.
pub(super) fn signers_count(fingerprints: &[String], keyring: &Keyring) -> bool {
    let now = std::time::SystemTime::now();
    keyring.certificates().iter().any(|certificate| {
        fingerprints.iter().any(|known| *known == certificate.fingerprint().as_str()) && certificate.usable(now).is_ok()
    })
}

fn local(what: &dyn std::fmt::Display, error: crate::trust::Error) -> Error {
    Error::new(Kind::Local, format!("find the keys that are trusted for {what}")).because(error)
}

/// Pages, from the cache where that is allowed.
struct Pages<'p> {
    client: &'p Client,
    cache: &'p Cache,
    news: News,
}

impl Fetch for Pages<'_> {
    fn page(&mut self, url: &Url) -> Result<Page, Box<dyn StdError + Send + Sync>> {
        let (status, body, url) = self.cache.document(self.client, &Request::document(url.clone()), &mut self.news)?;
        Ok(Page { status, body, url })
    }
}
