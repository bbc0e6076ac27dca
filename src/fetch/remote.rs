//! The way from a name to an image.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use url::Url;

use super::cached::{self, Known};
use super::source::{Outcome, Watched};
use super::{Error, Kind};
use crate::aci::Progress;
use crate::config::Signatures;
use crate::discovery::{
    self, Discovered, Endpoint, Fetch, ImageName, Link, Options, Page, Platform, RegistryName, Seek, Step,
};
use crate::oci::registry::Ways;
use crate::render::Fetcher;
use crate::schema::ImageManifest;
use crate::store::{Accept, Image, Import, Origin, Partial, Store, Wanted};
use crate::transport::{self, Cache, Client, Entry, Held, News, Request, Response, Watch};
use crate::trust::{KeyStore, Keyring, Verifier};

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
    /// Errors: [`Kind::NotFound`], [`Kind::Unavailable`] where no endpoint delivered, [`Kind::Untrusted`],
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
    /// Errors: as for names.
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
        let place = Place { image: url, signatures: signatures.each_ref(), page: None };
        self.transfer(&place, wanted, keyring.as_ref(), self.accept_signed(), store)
    }

    /// Brings a file into the store. A signature beside it, named as those of URLs, is wanted only where the policy says so.
    ///
    /// Errors: as for names.
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
            let signature = std::fs::read(&beside).map_err(|error| {
                let why = format!("the configuration wants signatures of files, and {}: {error}", beside.display());
                Error::new(Kind::Unsigned, format!("check {shown}")).clause("disc.sigpolicy").because(why)
            })?;
            Verifier::new(&keyring, &signature).map_err(|error| untrusted(&shown, error))
        })
        // Nobody vouches for it either way.
        .map_err(|error| error.of_kind(Kind::Untrusted))?;
        let file = File::open(path).map_err(|error| Error::new(Kind::Local, format!("open {shown}")).because(error))?;
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
    /// Errors: [`Kind::NotFound`], [`Kind::Unavailable`].
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
    /// Errors: [`Kind::Unavailable`].
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
        let place = Place { image: endpoint.aci.url(), signatures, page: Some(&endpoint.page) };
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

    fn transfer(
        &self,
        place: &Place<'_>,
        wanted: &Wanted,
        keyring: Option<&Keyring>,
        accept: Last,
        store: &Store,
    ) -> Result<Image, Error> {
        // Which name a key must be trusted for is known from the image that is there.
        let still_fits = |known: &Known| match (keyring, self.keys.keyring_for(&known.image.manifest().name)) {
            (None, _) => true,
            (Some(_), Ok(for_name)) => signers_count(&known.signed_by, &for_name),
            (Some(_), Err(_)) => false,
        };
        self.transfer_unless_known(place, wanted, keyring, accept, store, &still_fits)
    }

    /// Transfers, unless the server says that what it has is what the store has already.
    fn transfer_unless_known(
        &self,
        place: &Place<'_>,
        wanted: &Wanted,
        keyring: Option<&Keyring>,
        accept: Last,
        store: &Store,
        still_fits: &dyn Fn(&Known) -> bool,
    ) -> Result<Image, Error> {
        let url = place.image;
        let recall = || {
            cached::recall(&self.cache, url, store).filter(|known| {
                let same_wanted = wanted
                    .check(known.image.id(), known.image.manifest(), known.image.origin().archive_bytes, url.as_str())
                    .is_ok();
                same_wanted
                    && still_fits(known)
                    && keyring.is_none_or(|keyring| signers_count(&known.signed_by, keyring))
            })
        };
        let mut known = recall();
        if known.as_ref().is_none_or(|known| !known.entry.is_fresh()) {
            let before = self.cache.get(url);
            let (mut partial, waited) = self.partial(url, store)?;
            if waited {
                known = recall();
            }
            // What another process fetched while this one waited for it is as good as fetched now.
            if known.is_none() || !waited || self.cache.get(url) == before {
                let fetch = Fetching { place, wanted, keyring, accept: &accept, store };
                let first = self.receive(&fetch, known, &mut partial);
                return match first {
                    // Which part of it was wrong cannot be told; nobody is to be stuck with what came before.
                    Err(error) if partial.is_resumed() && matches!(error.kind(), Kind::Refused | Kind::Untrusted) => {
                        partial.begin(None).map_err(|error| unkept(url, error))?;
                        self.receive(&fetch, None, &mut partial)
                    }
                    other => other,
                };
            }
        }
        let known = known.ok_or_else(|| Error::new(Kind::Local, format!("find what {url} gave")))?;
        (self.tell)(&Event::Unchanged(url));
        Ok(known.image)
    }

    /// The transfer of `url`, which this process alone is at then, as far as it has come before.
    fn partial(&self, url: &Url, store: &Store) -> Result<(Partial, bool), Error> {
        // What came without protection must not be taken up with it.
        let key = if self.client.is_protected() { url.to_string() } else { format!("unprotected {url}") };
        let partials = store.partials().map_err(refused)?;
        partials.open(&key, &|| (self.tell)(&Event::Waiting(url.as_str()))).map_err(|error| unkept(url, error))
    }

    /// Transfers, from where it came to before if the server still has the same.
    fn receive(&self, fetch: &Fetching<'_>, known: Option<Known>, partial: &mut Partial) -> Result<Image, Error> {
        let Fetching { place, wanted, keyring, accept, store } = *fetch;
        let url = place.image;
        let mut request = Request { named_by: place.page.cloned(), ..Request::image(url.clone()) };
        request.watch.clone_from(&self.watch);
        request.held =
            partial.held().and_then(|(bytes, note)| Some(Held { bytes, validators: cached::validators(note)? }));
        let ask = |request: &Request, partial: &mut Partial| {
            // A server that is not there now may be there again.
            self.ask(request).inspect_err(|_| partial.keep())
        };
        let mut response = None;
        if let Some(known) = known {
            let unless = Some(known.entry.validators.clone());
            let answer = ask(&Request { unless, ..request.clone() }, partial)?;
            if answer.status == 304 {
                let entry = Entry::of(&answer).map(|new| Entry { fresh_until: new.fresh_until, ..known.entry });
                self.cache.remember(vec![(url.clone(), entry)]);
                (self.tell)(&Event::Unchanged(url));
                return Ok(known.image);
            }
            response = Some(answer);
        }
        let verifier = match keyring.map(|keyring| self.verifier(place, keyring)) {
            // Where nobody but the user says that there is an image, there may be none.
            Some(Err(error)) if *error.kind() == Kind::Unsigned && place.page.is_none() => {
                self.ask(&request)?.success().map_err(|error| unavailable("image", error))?;
                return Err(error);
            }
            Some(verifier) => verifier.inspect_err(|error| {
                if *error.kind() == Kind::Unavailable {
                    partial.keep();
                }
            })?,
            None => None,
        };
        let response = match response {
            Some(response) => response,
            None => ask(&request, partial)?,
        };
        let mut response = response.success().map_err(|error| unavailable("image", error))?;
        if let Some(size) = wanted.size {
            response.body.limit(size);
        }
        match response.from {
            0 => {
                partial.begin(cached::resumable(&response.validators).as_deref()).map_err(|error| unkept(url, error))?
            }
            from => {
                partial.resume();
                (self.tell)(&Event::Resumed(url, from));
            }
        }
        let entry = Entry::of(&response);
        let import = Import { wanted: wanted.clone(), ..Import::new(url.as_str()) };
        let (rest, verifier): (Box<dyn Read + Send>, _) = match keyring.filter(|_| verifier.is_none()) {
            None => (Box::new(response.body), verifier),
            Some(keyring) => {
                let filled = partial.fill(&mut response.body).map_err(|error| {
                    if transport::may_go_on(&error) {
                        partial.keep();
                    }
                    Error::new(Kind::Unavailable, "fetch the image").because(error)
                })?;
                filled.map_err(|error| unkept(url, error))?;
                (Box::new(io::empty()), Some(self.late_verifier(place, keyring).inspect_err(|_| partial.keep())?))
            }
        };
        let before = partial.reader().map_err(|error| unkept(url, error))?;
        let (source, outcome) = Watched::new(before.chain(rest), verifier);
        let imported = self.import(source, outcome.clone(), accept, |source, accept| {
            store.import_partial(source, Import { accept: Some(accept), ..import }, partial)
        });
        if outcome.may_go_on() {
            partial.keep();
        }
        let (image, signed_by) = imported?;
        let entry = entry.map(|entry| Entry { note: cached::note(&image, &signed_by), ..entry });
        self.cache.remember(vec![(url.clone(), entry)]);
        Ok(image)
    }

    fn ask(&self, request: &Request) -> Result<Response, Error> {
        (self.tell)(&Event::Image(&request.url));
        self.client.send(request).map_err(|error| unavailable("image", error))
    }

    /// The check by a signature that was not made when the image was asked for: servers may make it meanwhile.
    fn late_verifier(&self, place: &Place<'_>, keyring: &Keyring) -> Result<Verifier, Error> {
        let patience = self.client.limits().idle;
        let (begun, mut pause) = (Instant::now(), Duration::from_millis(100));
        loop {
            if let Some(verifier) = self.verifier(place, keyring)? {
                return Ok(verifier);
            }
            if begun.elapsed() + pause > patience {
                let why = format!(
                    "the server has answered 202 Accepted for {} s: it is still being made",
                    patience.as_secs()
                );
                let doing = format!("get the signature of {}", place.image);
                return Err(Error::new(Kind::Unavailable, doing).clause("disc.sigpolicy").because(why));
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }

    /// The signature of an image, and a check by keys that may count. None where it is still being made.
    fn verifier(&self, place: &Place<'_>, keyring: &Keyring) -> Result<Option<Verifier>, Error> {
        first_that_counts(keyring, place.signatures, |signature| self.verifier_by(place, signature, keyring))
    }

    fn verifier_by(&self, place: &Place<'_>, signature: &Url, keyring: &Keyring) -> Result<Option<Verifier>, Error> {
        (self.tell)(&Event::Signature(signature));
        let request = Request { named_by: place.page.cloned(), ..Request::document(signature.clone()) };
        let (response, bytes) = self.client.document(&request).map_err(|error| unavailable("signature", error))?;
        if response.status == 202 {
            (self.tell)(&Event::Unready(signature));
            return Ok(None);
        }
        response.success().map_err(|error| {
            let missing = matches!(error.kind(), transport::Kind::Status(404 | 410));
            let kind = if missing { Kind::Unsigned } else { Kind::Unavailable };
            let doing = format!("get the signature of {}", place.image);
            Error::new(kind, doing).clause("disc.sigpolicy").because(error)
        })?;
        Verifier::new(keyring, &bytes).map(Some).map_err(|error| untrusted(&place.image, error))
    }

    fn import<R>(
        &self,
        source: Watched<R>,
        outcome: Outcome,
        accept: &Last,
        import: impl FnOnce(Watched<R>, Accept) -> crate::store::Result<Image>,
    ) -> Result<(Image, Vec<String>), Error> {
        let (seen, accept) = (outcome.clone(), accept.clone());
        let accept = Accept::new(move |manifest, origin| accept(manifest, origin, &seen));
        let image = import(source, accept).map_err(|error| match outcome.broken() {
            true => error.of_kind(Kind::Unavailable),
            false => refused(error),
        })?;
        let signed_by = image.origin().signed_by.clone();
        Ok((image, signed_by))
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

/// Where an image is.
struct Place<'p> {
    image: &'p Url,
    /// By OpenPGP, by signify, by minisign.
    signatures: [&'p Url; 3],
    page: Option<&'p Url>,
}

/// What names of signatures end in, behind that of the image: the specification's, and those that signify and minisign give.
const ASC: &str = ".asc";
const SIGNIFY: [&str; 2] = [".sig", ".minisig"];

/// The first signature that a key of the ring may have made, of OpenPGP first unless all keys are of signify. Where only OpenPGP's
/// are trusted no other is looked for.
fn first_that_counts<P, V>(
    keyring: &Keyring,
    [asc, sig, minisig]: [P; 3],
    get: impl Fn(P) -> Result<V, Error>,
) -> Result<V, Error> {
    let order = match keyring.forms() {
        (_, false) => vec![asc],
        (true, true) => vec![asc, sig, minisig],
        (false, true) => vec![sig, minisig, asc],
    };
    let mut refusal: Option<Error> = None;
    for place in order {
        match get(place) {
            Err(error) if matches!(error.kind(), Kind::Unsigned | Kind::Untrusted) => {
                // One that was refused says more than one that is not there.
                if refusal
                    .as_ref()
                    .is_none_or(|known| (known.kind(), error.kind()) == (&Kind::Unsigned, &Kind::Untrusted))
                {
                    refusal = Some(error);
                }
            }
            found => return found,
        }
    }
    Err(refusal.unwrap_or_else(|| Error::new(Kind::Unsigned, "find a signature").clause("disc.sigpolicy")))
}

/// An image that is fetched.
#[derive(Clone, Copy)]
struct Fetching<'f> {
    place: &'f Place<'f>,
    wanted: &'f Wanted,
    keyring: Option<&'f Keyring>,
    accept: &'f Last,
    store: &'f Store,
}

/// What has to be settled when all was read: about the manifest, the origin, and the signature.
type Last =
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
fn signers_count(fingerprints: &[String], keyring: &Keyring) -> bool {
    let now = std::time::SystemTime::now();
    keyring.certificates().iter().any(|certificate| {
        fingerprints.iter().any(|known| *known == certificate.fingerprint().as_str()) && certificate.usable(now).is_ok()
    })
}

fn unavailable(what: &str, error: transport::Error) -> Error {
    Error::new(Kind::Unavailable, format!("fetch the {what}")).because(error)
}

fn unkept(url: &Url, error: io::Error) -> Error {
    Error::new(Kind::Local, format!("keep what comes of {url}")).because(error)
}

fn untrusted(what: &dyn std::fmt::Display, error: crate::trust::Error) -> Error {
    Error::new(Kind::Untrusted, format!("check {what}")).because(error)
}

fn refused(error: crate::store::Error) -> Error {
    let kind = if *error.kind() == crate::store::Kind::Io { Kind::Local } else { Kind::Refused };
    error.of_kind(kind)
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
