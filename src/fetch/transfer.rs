//! An image's way from a server into the store: whole, or by the chunks that are not here; from its beginning, or behind what came before.

use std::io::{self, Read};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use url::Url;

use super::cached::{self, Known};
use super::chunked::{Assembly, Parts, Plan};
use super::remote::{Event, Last, Remote, signers_count};
use super::source::{Outcome, Watched};
use super::{Error, Kind};
use crate::chunks::{MAX_MAP, Map};
use crate::schema::{AcIdentifier, ImageId};
use crate::store::{Accept, Image, Import, Partial, Store, Wanted};
use crate::transport::{self, Entry, Held, Part, Request, Response, Validators};
use crate::trust::{Keyring, Verifier};

/// Archives that are looked through for chunks at most.
const MOST_ARCHIVES: usize = 16;

impl Remote {
    pub(super) fn transfer(
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
    pub(super) fn transfer_unless_known(
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
                return self.receive_somehow(
                    &Fetching { place, wanted, keyring, accept: &accept, store },
                    known,
                    &mut partial,
                );
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

    /// Transfers, by chunks and from where it came to before as far as either leads to something.
    fn receive_somehow(
        &self,
        fetch: &Fetching<'_>,
        known: Option<Known>,
        partial: &mut Partial,
    ) -> Result<Image, Error> {
        let url = fetch.place.image;
        let mut chunks = Chunks::May;
        let error = match self.receive(fetch, known, partial, &mut chunks) {
            Err(error) => error,
            received => return received,
        };
        // Which part of it was wrong cannot be told; nobody is to be stuck with what came before, or was here.
        let wrong = matches!(error.kind(), Kind::Refused | Kind::Untrusted);
        let unfit = match &chunks {
            Chunks::Were(parts) => parts.is_unfit().or(wrong.then(|| crate::error::chain(&error))),
            _ => None,
        };
        if let Some(why) = &unfit {
            (self.tell)(&Event::Whole(url, why));
        }
        if unfit.is_none() && !(wrong && partial.is_resumed()) {
            return Err(error);
        }
        partial.begin(None).map_err(|error| unkept(url, error))?;
        self.receive(fetch, None, partial, &mut Chunks::Not)
    }

    /// Transfers, from where it came to before if the server still has the same.
    fn receive(
        &self,
        fetch: &Fetching<'_>,
        known: Option<Known>,
        partial: &mut Partial,
        chunks: &mut Chunks,
    ) -> Result<Image, Error> {
        let Fetching { place, wanted, keyring, accept, store } = *fetch;
        let url = place.image;
        let mut request = Request { named_by: place.page.cloned(), ..Request::image(url.clone()) };
        request.watch.clone_from(&self.watch);
        request.held =
            partial.held().and_then(|(bytes, note)| Some(Held { bytes, validators: cached::validators(note)? }));
        let may = matches!(chunks, Chunks::May);
        let ask = |request: &Request, partial: &mut Partial| {
            // A server that is not there now may be there again.
            self.ask(request).inspect_err(|_| partial.keep())
        };
        let mut response = None;
        if let Some(known) = known {
            let unless = Some(known.entry.validators.clone());
            // Should it be another by now, a part of it may be enough: not all is asked for yet.
            let part = may.then(|| Part { bytes: 0..1, of: Validators::default() });
            let answer = ask(&Request { unless, part, ..request.clone() }, partial)?;
            if answer.status == 304 {
                let entry = Entry::of(&answer).map(|new| Entry { fresh_until: new.fresh_until, ..known.entry });
                self.cache.remember(vec![(url.clone(), entry)]);
                (self.tell)(&Event::Unchanged(url));
                return Ok(known.image);
            }
            // 416: it has not even one byte, says the server.
            response = Some(answer).filter(|answer| !may || !matches!(answer.status, 206 | 416));
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
        let mut coming = None;
        if may && response.is_none() {
            match self.by_chunks(fetch, &request, partial)? {
                ByChunks::Some(some, parts) => {
                    *chunks = Chunks::Were(parts);
                    coming = Some(*some);
                }
                ByChunks::All(answer) => response = Some(*answer),
                ByChunks::No => {}
            }
        }
        let mut coming = match (coming, response) {
            (Some(coming), _) => coming,
            (None, Some(response)) => Coming::whole(response, wanted)?,
            (None, None) => Coming::whole(ask(&request, partial)?, wanted)?,
        };
        match coming.from {
            0 => partial.begin(coming.note.as_deref()).map_err(|error| unkept(url, error))?,
            from => {
                partial.resume();
                (self.tell)(&Event::Resumed(url, from));
            }
        }
        let import = Import { wanted: wanted.clone(), ..Import::new(url.as_str()) };
        let (rest, verifier): (Box<dyn Read + Send>, _) = match keyring.filter(|_| verifier.is_none()) {
            None => (coming.source, verifier),
            Some(keyring) => {
                let filled = partial.fill(&mut coming.source).map_err(|error| {
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
        if let Some((fetched, bytes)) = coming.saved {
            (self.tell)(&Event::Assembled { url, fetched, bytes });
        }
        let entry = coming.entry.map(|entry| Entry { note: cached::note(&image, &signed_by), ..entry });
        self.cache.remember(vec![(url.clone(), entry)]);
        Ok(image)
    }

    /// Where archives may have some of it, asks for the map of the image's chunks, and for the first part of what they lack.
    fn by_chunks(&self, fetch: &Fetching<'_>, request: &Request, partial: &mut Partial) -> Result<ByChunks, Error> {
        let Fetching { place, wanted, store, .. } = *fetch;
        let url = place.image;
        let archives = archives(place, store);
        if archives.is_empty() {
            return Ok(ByChunks::No);
        }
        let Some((map, bytes)) = self.map(place) else { return Ok(ByChunks::No) };
        let most = wanted.size.unwrap_or(u64::MAX).min(self.client.limits().image_bytes);
        if map.bytes > most || wanted.id.as_ref().is_some_and(|id| *id != map.image) {
            return Ok(ByChunks::No);
        }
        let held = request.held.as_ref();
        let files = archives.iter().filter_map(|id| store.try_image(id).ok()??.archive().ok());
        let Some(plan) = Plan::of(&map, held.map_or(0, |held| held.bytes), files) else { return Ok(ByChunks::No) };
        let part = Some(Part { bytes: plan.first(), of: Validators::default() });
        // What is wrong with the server is told by whoever asks for all.
        let Ok(response) = self.ask(&Request { part, held: None, ..request.clone() }) else { return Ok(ByChunks::No) };
        match (response.status, response.part_of) {
            (206, Some(bytes)) if bytes == map.bytes => {}
            (200, _) => {
                (self.tell)(&Event::Whole(url, "the server gives no parts"));
                return Ok(ByChunks::All(Box::new(response)));
            }
            _ => return Ok(ByChunks::No),
        }
        if plan.from > 0 {
            if held.is_none_or(|held| held.validators != response.validators) {
                return Ok(ByChunks::No);
            }
            partial.hold(plan.from).map_err(|error| unkept(url, error))?;
        }
        let (from, note, entry) = (plan.from, cached::resumable(&response.validators), Entry::of(&response));
        let saved = Some((plan.there + bytes, plan.bytes));
        let assembly = Assembly::new(plan, response, &self.client, request, self.watch.clone());
        let parts = assembly.parts();
        let coming = Coming { source: Box::new(assembly), from, note, entry, saved };
        Ok(ByChunks::Some(Box::new(coming), parts))
    }

    /// The map of an image's chunks and its size, where there is a usable one.
    fn map(&self, place: &Place<'_>) -> Option<(Map, u64)> {
        (self.tell)(&Event::Chunks(place.chunks));
        let request = Request { named_by: place.page.cloned(), ..Request::image(place.chunks.clone()) };
        let mut response = self.client.send(&request).ok().filter(|response| response.status == 200)?;
        response.body.limit(MAX_MAP);
        let map = response.body.take_all().map_err(|error| crate::error::chain(&error));
        let map = map.and_then(|bytes| match Map::parse(&bytes) {
            Ok(map) => Ok((map, bytes.len() as u64)),
            Err(error) => Err(crate::error::chain(&error)),
        });
        map.inspect_err(|why| (self.tell)(&Event::NoMap(place.chunks, why))).ok()
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

    pub(super) fn import<R>(
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
}

/// Where an image is.
pub(super) struct Place<'p> {
    pub(super) image: &'p Url,
    /// By OpenPGP, by signify, by minisign.
    pub(super) signatures: [&'p Url; 3],
    /// The map of its chunks.
    pub(super) chunks: &'p Url,
    pub(super) page: Option<&'p Url>,
    /// What it has to be called.
    pub(super) name: Option<&'p AcIdentifier>,
}

/// What names of signatures end in, behind that of the image: the specification's, and those that signify and minisign give.
pub(super) const ASC: &str = ".asc";
pub(super) const SIGNIFY: [&str; 2] = [".sig", ".minisig"];

/// The first signature that a key of the ring may have made, of OpenPGP first unless all keys are of signify. Where only OpenPGP's
/// are trusted no other is looked for.
pub(super) fn first_that_counts<P, V>(
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

/// Whether an image is fetched by chunks.
enum Chunks {
    /// It may be.
    May,
    /// It was.
    Were(Arc<Parts>),
    /// It shall come whole.
    Not,
}

/// What came of asking for chunks.
enum ByChunks {
    Some(Box<Coming>, Arc<Parts>),
    /// The server gives all of it.
    All(Box<Response>),
    No,
}

/// An image on its way.
struct Coming {
    source: Box<dyn Read + Send>,
    /// The byte that `source` begins with.
    from: u64,
    /// What to note of it, should it be cut off.
    note: Option<String>,
    entry: Option<Entry>,
    /// Bytes that are fetched, of how many, where that is not all.
    saved: Option<(u64, u64)>,
}

impl Coming {
    fn whole(response: Response, wanted: &Wanted) -> Result<Self, Error> {
        let mut response = response.success().map_err(|error| unavailable("image", error))?;
        if let Some(size) = wanted.size {
            response.body.limit(size);
        }
        let (note, entry) = (cached::resumable(&response.validators), Entry::of(&response));
        Ok(Self { from: response.from, source: Box::new(response.body), note, entry, saved: None })
    }
}

/// Images whose archives may have chunks of this one, the likeliest first: those of its name, and those of the same server. What the
/// store has of others is nobody's business: by what is asked for a server learns what is here.
fn archives(place: &Place<'_>, store: &Store) -> Vec<ImageId> {
    let mut ranked = Vec::new();
    // A store that cannot be listed is looked at by whoever imports into it.
    for listed in store.list().unwrap_or_default() {
        let source = listed.source.parse::<Url>().ok();
        let rank = match source {
            _ if place.name == Some(&listed.name) => 0,
            Some(source) if source == *place.image => 1,
            Some(source) if source.has_host() && source.origin() == place.image.origin() => 2,
            _ => continue,
        };
        ranked.push((rank, listed.id));
    }
    // Stable: of one rank the newest first.
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().take(MOST_ARCHIVES).map(|(_, id)| id).collect()
}

pub(super) fn unavailable(what: &str, error: transport::Error) -> Error {
    Error::new(Kind::Unavailable, format!("fetch the {what}")).because(error)
}

fn unkept(url: &Url, error: io::Error) -> Error {
    Error::new(Kind::Local, format!("keep what comes of {url}")).because(error)
}

pub(super) fn untrusted(what: &dyn std::fmt::Display, error: crate::trust::Error) -> Error {
    Error::new(Kind::Untrusted, format!("check {what}")).because(error)
}

pub(super) fn refused(error: crate::store::Error) -> Error {
    let kind = if *error.kind() == crate::store::Kind::Io { Kind::Local } else { Kind::Refused };
    error.of_kind(kind)
}
