//! What differs between two images.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::tar::printable;
use super::{Data, Entry, EntryKind, ReadOptions, Result, Sink, Time, read};
use crate::diagnostic::visible;

/// What differs between two images, the first taken for the older one.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Their IDs.
    pub image_ids: [String; 2],
    /// Values of the manifest that differ.
    pub manifest: Vec<ValueChange>,
    /// Entries that differ, sorted by name.
    pub entries: Vec<EntryChange>,
}

impl Comparison {
    /// Whether nothing that an image means differs. The IDs may: order and padding of an archive mean nothing.
    pub fn is_empty(&self) -> bool {
        self.manifest.is_empty() && self.entries.is_empty()
    }
}

/// A value of the manifest that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ValueChange {
    /// Where it is: a JSON pointer.
    pub pointer: String,
    /// What it was; nothing where it is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What it is; nothing where it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// An entry that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EntryChange {
    /// Its name, bytes that are not UTF-8 escaped.
    pub name: String,
    /// How it differs.
    pub change: Change,
    /// What of it, where it is in both.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<&'static str>,
}

/// How an entry differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Only in the second image.
    Added,
    /// Only in the first.
    Removed,
    /// In both.
    Changed,
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.manifest {
            let shown = |value: &Option<Value>| {
                value
                    .as_ref()
                    .map_or_else(|| "nothing".to_owned(), |value| visible::json(&value.to_string()).into_owned())
            };
            let (before, after) = (shown(&change.before), shown(&change.after));
            writeln!(f, "~ manifest {}: {before} -> {after}", visible::line(&change.pointer))?;
        }
        self.entries.iter().try_for_each(|entry| writeln!(f, "{entry}"))
    }
}

impl fmt::Display for EntryChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.change {
            Change::Added => write!(f, "+ {}", self.name),
            Change::Removed => write!(f, "- {}", self.name),
            Change::Changed => write!(f, "~ {}: {}", self.name, self.fields.join(", ")),
        }
    }
}

/// Compares two images: entries with all that is kept of them, and manifests value by value.
pub fn compare(before: impl Read + Send, after: impl Read + Send, options: &ReadOptions) -> Result<Comparison> {
    let mut gathered = Gathered::default();
    let old = read(before, options, &mut gathered)?;
    let mut compared = Compared { before: gathered.0, changes: Vec::new() };
    let new = read(after, options, &mut compared)?;
    let mut entries = compared.changes;
    entries.extend(compared.before.into_keys().map(|name| (name, Change::Removed, Vec::new())));
    entries.sort_by(|one, other| one.0.cmp(&other.0));
    let mut manifest = Vec::new();
    match (serde_json::from_slice(&old.manifest), serde_json::from_slice(&new.manifest)) {
        (Ok(before), Ok(after)) => values(Some(&before), Some(&after), &mut String::new(), &mut manifest),
        _ if old.manifest == new.manifest => {}
        _ => {
            let text = |bytes: &[u8]| Some(Value::String(String::from_utf8_lossy(bytes).into_owned()));
            let (before, after) = (text(&old.manifest), text(&new.manifest));
            manifest.push(ValueChange { pointer: String::new(), before, after });
        }
    }
    Ok(Comparison {
        image_ids: [old.image_id.to_string(), new.image_id.to_string()],
        manifest,
        entries: entries
            .into_iter()
            .map(|(name, change, fields)| EntryChange { name: printable(&name), change, fields })
            .collect(),
    })
}

/// The entries of the first image.
#[derive(Default)]
struct Gathered(BTreeMap<Vec<u8>, Kept>);

/// Holds the entries of the second image against those of the first as they come by: only one image is ever kept.
struct Compared {
    /// What the second one did not have so far.
    before: BTreeMap<Vec<u8>, Kept>,
    changes: Vec<(Vec<u8>, Change, Vec<&'static str>)>,
}

/// What is kept of an entry.
struct Kept {
    kind: EntryKind,
    mode: u32,
    owner: (u32, u32),
    mtime: Time,
    size: u64,
    device: (u32, u32),
    target: Vec<u8>,
    /// Their hash; nothing without any.
    xattrs: Option<Box<[u8; 32]>>,
    content: [u8; 32],
}

impl Sink for Gathered {
    fn entry(&mut self, entry: &Entry, data: &mut Data<'_, '_>) -> Result<()> {
        if let Some(kept) = Kept::of(entry, data)? {
            self.0.insert(entry.name.clone(), kept);
        }
        Ok(())
    }
}

impl Sink for Compared {
    fn entry(&mut self, entry: &Entry, data: &mut Data<'_, '_>) -> Result<()> {
        let Some(kept) = Kept::of(entry, data)? else { return Ok(()) };
        match self.before.remove(&entry.name) {
            None => self.changes.push((entry.name.clone(), Change::Added, Vec::new())),
            Some(before) => {
                let fields = before.differences(&kept);
                if !fields.is_empty() {
                    self.changes.push((entry.name.clone(), Change::Changed, fields));
                }
            }
        }
        Ok(())
    }
}

impl Kept {
    fn of(entry: &Entry, data: &mut Data<'_, '_>) -> Result<Option<Self>> {
        // The manifest is compared by its values, and its time is that of the build.
        if entry.in_rootfs().is_none() {
            return Ok(None);
        }
        let mut hash = Sha256::new();
        let mut end = 0;
        while let Some((offset, bytes)) = data.next()? {
            zeros(&mut hash, offset - end);
            hash.update(bytes);
            end = offset + bytes.len() as u64;
        }
        zeros(&mut hash, entry.size.saturating_sub(end));
        Ok(Some(Self {
            kind: entry.kind,
            mode: entry.mode,
            owner: (entry.uid, entry.gid),
            mtime: entry.mtime,
            size: entry.size,
            device: entry.device,
            target: entry.target.clone(),
            xattrs: (!entry.xattrs.is_empty()).then(|| Box::new(attributes(entry))),
            content: hash.finalize().into(),
        }))
    }

    fn differences(&self, other: &Self) -> Vec<&'static str> {
        [
            ("kind", self.kind != other.kind),
            ("mode", self.mode != other.mode),
            ("owner", self.owner != other.owner),
            ("mtime", self.mtime != other.mtime),
            ("size", self.size != other.size),
            ("device", self.device != other.device),
            ("target", self.target != other.target),
            ("xattrs", self.xattrs != other.xattrs),
            ("content", self.content != other.content),
        ]
        .into_iter()
        .filter_map(|(field, differs)| differs.then_some(field))
        .collect()
    }
}

/// A hash of the attributes, whatever their order.
fn attributes(entry: &Entry) -> [u8; 32] {
    let mut xattrs: Vec<_> = entry.xattrs.iter().collect();
    xattrs.sort();
    let mut hash = Sha256::new();
    for part in xattrs.into_iter().flat_map(|(name, value)| [name, value]) {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// A hole reads as zeros, so that it does not matter whether an archive has it as one.
fn zeros(hash: &mut Sha256, mut count: u64) {
    const ZEROS: [u8; 4096] = [0; 4096];
    while count > 0 {
        let step = count.min(ZEROS.len() as u64);
        hash.update(&ZEROS[..usize::try_from(step).unwrap_or(ZEROS.len())]);
        count -= step;
    }
}

fn values(before: Option<&Value>, after: Option<&Value>, pointer: &mut String, found: &mut Vec<ValueChange>) {
    if before == after {
        return;
    }
    let length = pointer.len();
    match (before, after) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            for key in old.keys().chain(new.keys().filter(|key| !old.contains_key(*key))) {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
                values(old.get(key), new.get(key), pointer, found);
                pointer.truncate(length);
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => {
            for index in 0..old.len().max(new.len()) {
                pointer.push_str(&format!("/{index}"));
                values(old.get(index), new.get(index), pointer, found);
                pointer.truncate(length);
            }
        }
        _ => found.push(ValueChange { pointer: pointer.clone(), before: before.cloned(), after: after.cloned() }),
    }
}
