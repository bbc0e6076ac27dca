//! An image file put together: chunks that archives of the store have, and parts of the file that the server gives.
//!
//! ```text
//! map ─┬─ archives of the store, cut ─▶ which chunks are here ─▶ segments, in the order of the file
//!      └─ what is not: parts of 2 MiB at most ─▶ up to 4 connections, 8 parts ahead ─▶ checked ─▶ in order ─▶ Read
//! ```
//! What comes out is the file's own bytes, to be checked like any that came over a network. Parts are held against the map when they
//! come: what does not fit is known before it is mixed with anything.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read};
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::FileExt as _;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use appc_codec::Sha512;
use url::Url;

use crate::chunks::{self, Chunk, Digest, Map};
use crate::transport::{self, Client, Kind, Part, Progress, Request, Response, Validators, Watch};

/// Connections at once.
const CONNECTIONS: usize = 4;
/// The most bytes that are asked for at once; a chunk has no more than half of it.
const RUN: u64 = 2 << 20;
/// Parts that may have come before the one that is wanted next.
const AHEAD: usize = 8;
/// Of archives so many times the size of what is fetched is read to find chunks.
const READ: u64 = 2;
/// Less than this part of a file is not worth asking for the rest in pieces.
const WORTH: u64 = 16;

/// Where the bytes of a file come from, in its order.
#[derive(Debug)]
pub(super) struct Plan {
    segments: Vec<Segment>,
    runs: Vec<Run>,
    archives: Vec<File>,
    /// Bytes of the file before the first segment.
    pub(super) from: u64,
    /// Bytes of the file.
    pub(super) bytes: u64,
    /// Bytes of it that the server has to give.
    pub(super) there: u64,
}

/// Bytes one behind the other.
#[derive(Debug)]
enum Segment {
    Here {
        archive: usize,
        at: u64,
        bytes: u64,
    },
    /// The run with this number.
    There(usize),
}

/// Chunks one behind the other that are asked for at once.
#[derive(Debug)]
struct Run {
    bytes: Range<u64>,
    chunks: Vec<Chunk>,
}

impl Plan {
    /// For the file of `map`, whose first `held` bytes are there; nothing where the archives have too little of the rest. Of what
    /// `archives` gives no more is opened than is needed.
    pub(super) fn of(map: &Map, held: u64, archives: impl Iterator<Item = File>) -> Option<Self> {
        let (mut from, mut whole) = (0, 0);
        while let Some(end) =
            map.chunks.get(whole).map(|chunk| from + u64::from(chunk.length)).filter(|end| *end <= held)
        {
            (from, whole) = (end, whole + 1);
        }
        let chunks = &map.chunks[whole..];
        let mut places: HashMap<Digest, Option<(usize, u64)>> =
            chunks.iter().map(|chunk| (chunk.digest, None)).collect();
        let (mut left, mut missing) = (map.bytes.saturating_mul(READ), places.len());
        let mut opened = Vec::new();
        for archive in archives {
            if missing == 0 || left == 0 {
                break;
            }
            // One that cannot be read to its end has nothing from there on.
            let _ = chunks::cut(&archive, &mut |at, chunk| {
                if let Some(place @ None) = places.get_mut(&chunk.digest) {
                    *place = Some((opened.len(), at));
                    missing -= 1;
                }
                left = left.saturating_sub(chunk.length.into());
                if missing == 0 || left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            opened.push(archive);
        }
        let mut plan =
            Self { segments: Vec::new(), runs: Vec::new(), archives: opened, from, bytes: map.bytes, there: 0 };
        let mut at = from;
        let last = map.chunks.last().map_or(0, |chunk| map.bytes - u64::from(chunk.length));
        let mut any = false;
        for chunk in chunks {
            let place = places.get(&chunk.digest).copied().flatten();
            // What the server has can be known of something that comes from there only.
            match place.filter(|_| at != last || any) {
                Some(place) => plan.here(place, chunk.length.into()),
                None => plan.there(at, *chunk),
            }
            any |= plan.there > 0;
            at += u64::from(chunk.length);
        }
        let saved = map.bytes - from - plan.there;
        (saved > map.bytes / WORTH || from > 0).then_some(plan)
    }

    fn here(&mut self, (archive, at): (usize, u64), length: u64) {
        if let Some(Segment::Here { archive: same, at: before, bytes }) = self.segments.last_mut()
            && *same == archive
            && *before + *bytes == at
        {
            *bytes += length;
            return;
        }
        self.segments.push(Segment::Here { archive, at, bytes: length });
    }

    fn there(&mut self, at: u64, chunk: Chunk) {
        let end = at + u64::from(chunk.length);
        self.there += u64::from(chunk.length);
        if let (Some(Segment::There(_)), Some(run)) = (self.segments.last(), self.runs.last_mut())
            && end - run.bytes.start <= RUN
        {
            run.bytes.end = end;
            run.chunks.push(chunk);
            return;
        }
        self.segments.push(Segment::There(self.runs.len()));
        self.runs.push(Run { bytes: at..end, chunks: vec![chunk] });
    }

    /// What is asked for first; what answers says whether the file is that of the map.
    pub(super) fn first(&self) -> Range<u64> {
        // There is one: the last chunk if no other.
        self.runs.first().map_or(0..1, |run| run.bytes.clone())
    }
}

impl Run {
    /// Takes its bytes, if they are those of the map.
    fn take(&self, response: Response) -> Result<Vec<u8>, Trouble> {
        let mut body = response.body;
        let bytes = body.take_all().map_err(Trouble::Transfer)?;
        let mut rest = &bytes[..];
        for chunk in &self.chunks {
            let (piece, behind) = rest
                .split_at_checked(chunk.length as usize)
                .ok_or_else(|| Trouble::Unfit("the server gave less than was asked for".to_owned()))?;
            rest = behind;
            let mut hash = Sha512::new();
            hash.update(piece);
            if hash.finish() != chunk.digest {
                return Err(Trouble::Unfit("what the server has is not what its map of chunks says".to_owned()));
            }
        }
        Ok(bytes)
    }
}

/// Why a part did not come.
enum Trouble {
    Transfer(transport::Error),
    /// The whole has to be asked for.
    Unfit(String),
}

/// The file, as it is put together.
pub(super) struct Assembly {
    plan: Plan,
    parts: Arc<Parts>,
    workers: Vec<JoinHandle<()>>,
    coming: Receiver<Come>,
    /// Runs that came before they were wanted.
    come: BTreeMap<usize, io::Result<Vec<u8>>>,
    segment: usize,
    /// Bytes of the segment that were given.
    given: u64,
    /// The run that the segment is.
    current: Vec<u8>,
    received: u64,
    watch: Option<(Url, Watch)>,
}

/// A run by its number, and its bytes.
type Come = (usize, io::Result<Vec<u8>>);

/// What the connections share.
pub(super) struct Parts {
    client: Client,
    request: Request,
    of: Validators,
    bytes: u64,
    runs: Vec<Run>,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// What answers the first run already.
    first: Option<Response>,
    /// The run to be asked for next.
    next: usize,
    /// Runs that were given.
    given: usize,
    stopped: bool,
    unfit: Option<String>,
}

impl Assembly {
    /// By `plan`, whose first part is `response`'s; the others are asked for as `request` asks. `watch` is told how far it has come.
    pub(super) fn new(
        mut plan: Plan,
        response: Response,
        client: &Client,
        request: &Request,
        watch: Option<Watch>,
    ) -> Self {
        let parts = Arc::new(Parts {
            client: client.clone(),
            request: Request { unless: None, held: None, part: None, watch: None, ..request.clone() },
            of: response.validators.clone(),
            bytes: plan.bytes,
            runs: std::mem::take(&mut plan.runs),
            state: Mutex::new(State { first: Some(response), next: 0, given: 0, stopped: false, unfit: None }),
            changed: Condvar::new(),
        });
        let (telling, coming) = channel();
        let start = |_| {
            let (parts, telling) = (Arc::clone(&parts), telling.clone());
            thread::Builder::new().spawn(move || parts.work(&telling)).ok()
        };
        let workers = (0..CONNECTIONS.min(parts.runs.len())).filter_map(start).collect();
        let watch = watch.map(|watch| (request.url.clone(), watch));
        let (come, current, received) = (BTreeMap::new(), Vec::new(), plan.from);
        Self { plan, parts, workers, coming, come, segment: 0, given: 0, current, received, watch }
    }

    /// For who wants to know later why it came to nothing.
    pub(super) fn parts(&self) -> Arc<Parts> {
        Arc::clone(&self.parts)
    }

    /// The bytes of a run, which is the next one.
    fn wait_for(&mut self, number: usize) -> io::Result<Vec<u8>> {
        loop {
            if let Some(come) = self.come.remove(&number) {
                self.parts.state().given = number + 1;
                self.parts.changed.notify_all();
                return come;
            }
            let (number, come) =
                self.coming.recv().map_err(|_| self.parts.unfit("no thread is left that transfers".to_owned()))?;
            self.come.insert(number, come);
        }
    }

    /// The next bytes, of one segment; none where it has no more.
    fn step(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (left, count) = match self.plan.segments.get(self.segment) {
            None => return Ok(0),
            Some(Segment::Here { archive, at, bytes }) => {
                let left = bytes - self.given;
                let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                // Numbers of archives are those of this plan.
                let count = self.plan.archives[*archive].read_at(&mut buffer[..most], at + self.given)?;
                if count == 0 {
                    return Err(self.parts.unfit("an archive of the store has become shorter".to_owned()));
                }
                (left, count)
            }
            Some(&Segment::There(number)) => {
                if self.given == 0 {
                    self.current = self.wait_for(number)?;
                }
                // No run is longer than memory.
                let rest = &self.current[self.given as usize..];
                let count = buffer.len().min(rest.len());
                buffer[..count].copy_from_slice(&rest[..count]);
                (rest.len() as u64, count)
            }
        };
        self.given += count as u64;
        if count as u64 == left {
            (self.segment, self.given) = (self.segment + 1, 0);
        }
        Ok(count)
    }
}

impl Read for Assembly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = self.step(buffer)?;
        self.received += count as u64;
        if let Some((url, watch)) = &self.watch {
            watch(Progress { url, received: self.received, total: Some(self.plan.bytes) });
        }
        Ok(count)
    }
}

impl Drop for Assembly {
    fn drop(&mut self) {
        self.parts.state().stopped = true;
        self.parts.changed.notify_all();
        for worker in self.workers.drain(..) {
            // What one of them has to say it has said.
            let _ = worker.join();
        }
    }
}

impl Parts {
    /// Why the whole has to be asked for, if that is so.
    pub(super) fn is_unfit(&self) -> Option<String> {
        self.state().unfit.clone()
    }

    fn unfit(&self, why: String) -> io::Error {
        self.state().unfit.get_or_insert_with(|| why.clone());
        io::Error::other(why)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a connection does: one run after the other.
    fn work(&self, telling: &Sender<Come>) {
        while let Some((number, response)) = self.next() {
            let Some(run) = self.runs.get(number) else { return };
            // Who gave up does not listen.
            let _ = telling.send((number, self.get(run, response)));
        }
    }

    /// The run that is to be asked for, once it is not too far ahead, and what answers the first one.
    fn next(&self) -> Option<(usize, Option<Response>)> {
        let mut state = self.state();
        loop {
            if state.stopped || state.next >= self.runs.len() {
                return None;
            }
            if state.next < state.given + AHEAD {
                state.next += 1;
                return Some((state.next - 1, state.first.take()));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn get(&self, run: &Run, mut response: Option<Response>) -> io::Result<Vec<u8>> {
        let limits = self.client.limits();
        let mut failures = 0;
        loop {
            let taken = match response.take() {
                Some(response) => run.take(response),
                None => self.ask(run).and_then(|response| run.take(response)),
            };
            match taken {
                Ok(bytes) => return Ok(bytes),
                Err(Trouble::Transfer(error)) if matches!(error.kind(), Kind::Unreachable | Kind::Timeout) => {
                    if failures == limits.retries || self.state().stopped {
                        return Err(io::Error::other(error));
                    }
                    thread::sleep(limits.back_off * 2u32.saturating_pow(failures.min(8)));
                    failures += 1;
                }
                Err(Trouble::Transfer(error)) => return Err(self.unfit(crate::error::chain(&error))),
                Err(Trouble::Unfit(why)) => return Err(self.unfit(why)),
            }
        }
    }

    fn ask(&self, run: &Run) -> Result<Response, Trouble> {
        let part = Some(Part { bytes: run.bytes.clone(), of: self.of.clone() });
        let response = self.client.send(&Request { part, ..self.request.clone() }).map_err(Trouble::Transfer)?;
        match (response.status, response.part_of) {
            (206, Some(bytes)) if bytes == self.bytes => Ok(response),
            (200 | 206, _) => Err(Trouble::Unfit("the server has another by now, or another part".to_owned())),
            (status, _) => Err(Trouble::Unfit(format!("the server answered {status} to the request for a part"))),
        }
    }
}
