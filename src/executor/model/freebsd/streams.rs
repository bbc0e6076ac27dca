//! `zfs send` and `zfs receive` of the model. The first record is the real one's; what follows is the model's own: entries
//! of a tree, or those that differ and what has gone, and a hash at the end.
//!
//! What it refuses, and in which words, is as in `libzfs_sendrecv.c` of OpenZFS 2.1.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::disk::{Content, Receiving, number};
use super::filed::reader;
use super::tree;
use super::zfs::{Dataset, missing, split};
use super::{Inner, Model};
use crate::executor::copy;
use crate::executor::freebsd::begin::{self, Begin};

/// Behind the record of a stream that goes on: where.
const OFFSET: usize = 8;

/// A stream that is about to be written.
pub struct Sending {
    begin: Begin,
    to: PathBuf,
    from: Option<PathBuf>,
    skip: u64,
}

impl Sending {
    /// Writes it.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, target: &mut dyn Write) -> io::Result<()> {
        target.write_all(&self.begin.record())?;
        if self.begin.resumes() {
            target.write_all(&self.skip.to_le_bytes())?;
        }
        let mut hashing = Hashing { target, skip: self.skip, hash: Sha256::new() };
        tree::write(&self.to, self.from.as_deref(), &mut hashing)?;
        let hash = hashing.hash.clone().finalize();
        hashing.hand(&hash)?;
        target.flush()
    }
}

/// Hashes all and hands on what lies behind the beginning that is left out.
struct Hashing<'t> {
    target: &'t mut dyn Write,
    skip: u64,
    hash: Sha256,
}

impl Hashing<'_> {
    fn hand(&mut self, bytes: &[u8]) -> io::Result<()> {
        let passed = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
        self.skip -= passed as u64;
        self.target.write_all(&bytes[passed..])
    }
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hash.update(bytes);
        self.hand(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.target.flush()
    }
}

impl Model {
    /// What `zfs send` with these arguments would write.
    ///
    /// # Errors
    /// What it would complain of.
    pub(crate) fn begin_send(&self, arguments: &[&str]) -> Result<Sending, String> {
        self.lock().begin_send(arguments)
    }

    /// Reads the beginning of a stream for `zfs receive`; gives the dataset, and the file for the rest of it.
    ///
    /// # Errors
    /// What the source says; the inner ones are what it would complain of.
    pub(crate) fn begin_receive(
        &self,
        arguments: &[&str],
        source: &mut dyn Read,
    ) -> io::Result<Result<(String, PathBuf), String>> {
        let mut record = [0; begin::LENGTH];
        if source.read_exact(&mut record).is_err() {
            return Ok(Err("cannot receive: failed to read from stream".to_owned()));
        }
        let begin = match Begin::read(&record) {
            Ok(begin) => begin,
            Err(why) => return Ok(Err(format!("cannot receive: invalid stream ({why})"))),
        };
        let mut offset = [0; OFFSET];
        if begin.resumes() {
            source.read_exact(&mut offset)?;
        }
        Ok(self.lock().begin_receive(arguments, begin, u64::from_le_bytes(offset)))
    }

    /// Makes a dataset of what has come, when it is all.
    ///
    /// # Errors
    /// What `zfs receive` would complain of; what has come is kept then.
    pub(crate) fn end_receive(&self, dataset: &str) -> Result<(), String> {
        self.lock().end_receive(dataset)
    }
}

impl Inner {
    fn begin_send(&self, arguments: &[&str]) -> Result<Sending, String> {
        let (options, names) = split(arguments.get(1..).unwrap_or_default());
        let value = |flag: &str| options.iter().find(|(name, _)| *name == flag).map(|(_, value)| *value);
        let place = self.state.disk.as_ref().map(|disk| disk.place.clone()).ok_or("the model keeps no files")?;
        let at = |guid: u64| place.join(format!("snapshot-{guid}"));
        if let Some(token) = value("-t") {
            let (to, from, features, skip) =
                read_token(token).ok_or("cannot resume send: resume token is corrupt (invalid checksum)")?;
            let (name, _) = self.snapshot_by_guid(to).ok_or("cannot resume send: the snapshot no longer exists")?;
            let features = features | begin::bits([], true);
            let begin = Begin { features, to, from, name, payload: OFFSET as u32 };
            return Ok(Sending { begin, to: at(to), from: (from != 0).then(|| at(from)), skip });
        }
        let [snapshot] = names.as_slice() else { return Err("missing snapshot argument".to_owned()) };
        let to = self.snapshot_guid(snapshot).ok_or_else(|| missing(snapshot))?;
        let from = value("-i").map(|from| self.snapshot_guid(from).ok_or_else(|| missing(from))).transpose()?;
        if from.is_some() {
            let (dataset, _) = snapshot.split_once('@').unwrap_or((snapshot, ""));
            let origin = self.state.datasets.get(dataset).and_then(|dataset| dataset.origin.as_deref());
            if origin != value("-i") {
                return Err(format!("cannot send '{snapshot}': not an earlier snapshot from the same fs"));
            }
        }
        // Blocks go as they lie in the pool where that is asked for, and the other pool has to have the like.
        let kept = ["-L", "-e", "-c"].map(|flag| options.iter().any(|(name, _)| *name == flag));
        let mut needs = Vec::new();
        for (wanted, feature) in kept.into_iter().zip(["large_blocks", "embedded_data", "zstd_compress"]) {
            if wanted && self.state.features.contains(feature) {
                needs.push(feature);
            }
        }
        let begin = Begin {
            features: begin::bits(needs, false),
            to,
            from: from.unwrap_or(0),
            name: (*snapshot).to_owned(),
            payload: 0,
        };
        Ok(Sending { begin, to: at(to), from: from.map(at), skip: 0 })
    }

    fn begin_receive(&mut self, arguments: &[&str], begin: Begin, offset: u64) -> Result<(String, PathBuf), String> {
        let (options, names) = split(arguments.get(1..).unwrap_or_default());
        let [name] = names.as_slice() else { return Err("missing dataset argument".to_owned()) };
        if !options.iter().any(|(flag, _)| *flag == "-s") {
            return Err("the model keeps what breaks: receive -s".to_owned());
        }
        if !begin.lacking(&self.state.features).is_empty() {
            return Err(
                "cannot receive new filesystem stream: pool must be upgraded to receive this stream.".to_owned()
            );
        }
        let place = self.place_of(name).ok_or("the model keeps no files")?;
        let file = |id: u64| place.join(format!("receiving-{id}"));
        let there = self.state.datasets.get(*name);
        if begin.resumes() {
            let of = there.and_then(|dataset| dataset.receiving.as_ref());
            let of =
                of.filter(|of| of.to == begin.to && fs::metadata(file(of.id)).is_ok_and(|about| about.len() == offset));
            let of = of.ok_or_else(|| {
                format!("cannot receive resume stream: destination '{name}' contains no partially-complete state or another one")
            })?;
            return Ok(((*name).to_owned(), file(of.id)));
        }
        if there.is_some() {
            return Err(format!(
                "cannot receive new filesystem stream: destination '{name}' exists\nmust specify -F to overwrite it"
            ));
        }
        if begin.from != 0 && self.snapshot_by_guid(begin.from).is_none() {
            return Err(format!("cannot receive: local origin for clone {name}@sealed does not exist"));
        }
        let id = number();
        fs::write(file(id), []).map_err(|error| format!("internal error: {error}"))?;
        let receiving = Receiving { id, to: begin.to, from: begin.from, features: begin.features, name: begin.name };
        // Where it would be mounted is what its parent says.
        let parent = name.rsplit_once('/').and_then(|(parent, last)| Some((self.state.datasets.get(parent)?, last)));
        let mountpoint = parent.and_then(|(parent, last)| Some(parent.mountpoint.as_ref()?.join(last)));
        let dataset =
            Dataset { mountpoint, receiving: Some(receiving), created: super::zfs::now(), ..Dataset::default() };
        self.state.datasets.insert((*name).to_owned(), dataset);
        Ok(((*name).to_owned(), file(id)))
    }

    fn end_receive(&mut self, name: &str) -> Result<(), String> {
        let words = |error: io::Error| format!("internal error: {error}");
        let place = self.place_of(name).ok_or("the model keeps no files")?;
        let receiving = self.state.datasets.get(name).and_then(|dataset| dataset.receiving.clone());
        let receiving = receiving.ok_or_else(|| missing(name))?;
        let file = place.join(format!("receiving-{}", receiving.id));
        if !is_whole(&file).map_err(words)? {
            return Err(format!(
                "cannot receive new filesystem stream: checksum mismatch or incomplete stream.\nPartially received snapshot is saved.\n\
                 A resuming stream can be generated on the sending system by running:\n    zfs send -t {}",
                token(&receiving, &place)
            ));
        }
        let id = number();
        let directory = place.join(format!("data-{id}"));
        fs::create_dir_all(&directory).map_err(words)?;
        let origin =
            if receiving.from == 0 { None } else { self.snapshot_by_guid(receiving.from).map(|(name, _)| name) };
        if origin.is_some() {
            copy::tree(&place.join(format!("snapshot-{}", receiving.from)), &directory).map_err(words)?;
        }
        let length = fs::metadata(&file).map_err(words)?.len() - HASH;
        tree::read(&mut reader(&file).map_err(words)?.take(length), &directory).map_err(words)?;
        let kept = place.join(format!("snapshot-{}", receiving.to));
        fs::create_dir_all(&kept).map_err(words)?;
        copy::tree(&directory, &kept).map_err(words)?;
        let inode = std::os::unix::fs::MetadataExt::ino(&fs::metadata(&directory).map_err(words)?);
        let label = receiving.name.split_once('@').map_or("sealed", |(_, label)| label).to_owned();
        if let Some(dataset) = self.state.datasets.get_mut(name) {
            dataset.receiving = None;
            dataset.origin = origin;
            dataset.content = Some(Content { id, inode });
            dataset.snapshots.insert(label.clone(), Default::default());
            dataset.guids.insert(label, receiving.to);
        }
        Ok(())
    }

    /// What `zfs get receive_resume_token` says.
    pub(super) fn resume_token(&self, name: &str, dataset: &Dataset) -> String {
        match (&dataset.receiving, self.place_of(name)) {
            (Some(receiving), Some(place)) => token(receiving, &place),
            _ => "-".to_owned(),
        }
    }

    pub(super) fn snapshot_guid(&self, snapshot: &str) -> Option<u64> {
        let (dataset, label) = snapshot.split_once('@')?;
        self.state.datasets.get(dataset)?.guids.get(label).copied()
    }

    fn snapshot_by_guid(&self, guid: u64) -> Option<(String, &Dataset)> {
        self.state.datasets.iter().find_map(|(name, dataset)| {
            let (label, _) = dataset.guids.iter().find(|(_, of)| **of == guid)?;
            Some((format!("{name}@{label}"), dataset))
        })
    }
}

/// The hash at the end of a stream.
const HASH: u64 = 32;

fn is_whole(file: &Path) -> io::Result<bool> {
    let mut bytes = reader(file)?;
    let length = fs::metadata(file)?.len();
    let Some(content) = length.checked_sub(HASH) else { return Ok(false) };
    let mut hash = Sha256::new();
    io::copy(&mut bytes.by_ref().take(content), &mut Hashed(&mut hash))?;
    let mut end = Vec::new();
    bytes.read_to_end(&mut end)?;
    Ok(hash.finalize().as_slice() == end)
}

struct Hashed<'h>(&'h mut Sha256);

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `1-SUM-SNAPSHOT-FROM-FEATURES-BYTES`
fn token(receiving: &Receiving, place: &Path) -> String {
    let bytes = File::open(place.join(format!("receiving-{}", receiving.id))).and_then(|file| file.metadata());
    let bytes = bytes.map_or(0, |about| about.len());
    let text = format!("{:x}-{:x}-{:x}-{bytes:x}", receiving.to, receiving.from, receiving.features);
    format!("1-{}-{text}", sum(&text))
}

fn sum(text: &str) -> String {
    Sha256::digest(text).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

fn read_token(token: &str) -> Option<(u64, u64, u32, u64)> {
    let (said, text) = token.strip_prefix("1-")?.split_once('-')?;
    let words: Vec<&str> = text.split('-').collect();
    let [to, from, features, bytes] = words.as_slice() else { return None };
    let number = |word: &str| u64::from_str_radix(word, 16).ok();
    let features = u32::from_str_radix(features, 16).ok()?;
    (said == sum(text)).then_some((number(to)?, number(from)?, features, number(bytes)?))
}
