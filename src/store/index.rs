//! What `images` says about all images, without opening ten thousand files.
//!
//! A line is a record; the last one for an ID holds. A record counts only while `images/<id>` is the directory that it was
//! made for (its inode number), so that the file may be cut, lost or old: what it does not know is read from the
//! image and written behind. It grows by a line an import and is written anew when most of it is dead.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirEntryExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::schema::{AcIdentifier, ImageId, ImageManifest};

use super::layout::Store;
use super::{Error, Kind, Origin, Result, origin};

/// An image as `images` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its ID.
    pub id: ImageId,
    /// Its name.
    pub name: AcIdentifier,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// When it was last imported.
    pub imported: Timestamp,
    /// Size of its archive in bytes.
    pub archive_bytes: u64,
    /// Size of its archive without compression, in bytes.
    pub tree_bytes: u64,
    /// Where it came from.
    pub source: String,
    /// Whether it has dependencies or a whitelist, so that it has to be rendered.
    pub(crate) composed: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    id: String,
    inode: u64,
    name: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    /// Nanoseconds since 1970.
    imported: i64,
    archive: u64,
    tree: u64,
    source: String,
    composed: bool,
}

impl Store {
    /// All images, the newest import first.
    ///
    /// # Errors
    /// [`Kind::Io`]. An image whose files cannot be read is left out: `verify` finds it.
    pub fn list(&self) -> Result<Vec<Listed>> {
        let mut scan = self.scan()?;
        if scan.stale {
            // A cache: whoever may not write here, or not now, reads the images again the next time.
            if let Ok(Some(_held)) = self.try_hold_exclusive() {
                scan = self.scan()?;
                let lines = scan.records.iter().filter_map(|record| serde_json::to_string(record).ok());
                let text = lines.fold(String::new(), |text, line| text + &line + "\n");
                let _ = origin::replace(&self.index(), text.as_bytes());
            }
        }
        let mut images: Vec<Listed> = scan.records.into_iter().filter_map(Record::listed).collect();
        images.sort_by(|a, b| b.imported.cmp(&a.imported).then_with(|| a.id.cmp(&b.id)));
        Ok(images)
    }

    /// Writes down what `images` will say about an image. Call it before the image is published or changed, so that a kill
    /// between both leaves a line too many and not an image with an old line.
    pub(super) fn note(&self, id: &ImageId, manifest: &ImageManifest, origin: &Origin, directory: &Path) -> Result<()> {
        let failed = |error: io::Error| Error::new(Kind::Io, format!("note image {id} in the index")).because(error);
        let inode = fs::symlink_metadata(directory).map_err(failed)?.ino();
        let line =
            serde_json::to_string(&Record::new(id, inode, manifest, origin)).map_err(|error| failed(error.into()))?;
        let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(self.index());
        // One write a line: appends of two processes do not mix. The line break in front ends a line that a kill cut.
        opened.and_then(|mut file| file.write_all(format!("\n{line}\n").as_bytes())).map_err(failed)
    }

    fn index(&self) -> PathBuf {
        self.root().join("index")
    }

    fn scan(&self) -> Result<Scan> {
        let path = self.images();
        let failed = |error| Error::new(Kind::Io, format!("list {}", path.display())).because(error);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Scan::default()),
            Err(error) => return Err(failed(error)),
        };
        let (mut known, lines) = known(&self.index());
        let mut scan = Scan::default();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let record = known.remove(name).filter(|record| record.inode == entry.ino());
            if let Some(record) = record {
                scan.records.push(record);
            } else if let Some(record) = learn(name, &entry.path(), entry.ino()) {
                scan.stale = true;
                scan.records.push(record);
            }
        }
        scan.stale |= lines > 2 * scan.records.len() + 64;
        Ok(scan)
    }
}

#[derive(Default)]
struct Scan {
    records: Vec<Record>,
    /// The index should be written anew.
    stale: bool,
}

impl Record {
    fn new(id: &ImageId, inode: u64, manifest: &ImageManifest, origin: &Origin) -> Self {
        let labels = manifest.labels.iter().flat_map(|labels| &labels.0);
        Self {
            id: id.to_string(),
            inode,
            name: manifest.name.to_string(),
            labels: labels.map(|label| (label.name.to_string(), label.value.clone())).collect(),
            imported: i64::try_from(origin.imported.as_nanosecond()).unwrap_or(i64::MAX),
            archive: origin.archive_bytes,
            tree: origin.tree_bytes,
            source: origin.source.clone(),
            composed: !manifest.dependencies.is_empty() || !manifest.path_whitelist.is_empty(),
        }
    }

    /// `None` when the line was tampered with; then the image counts as unknown.
    fn listed(self) -> Option<Listed> {
        Some(Listed {
            id: self.id.parse().ok()?,
            name: self.name.parse().ok()?,
            labels: self.labels,
            imported: Timestamp::from_nanosecond(self.imported.into()).ok()?,
            archive_bytes: self.archive,
            tree_bytes: self.tree,
            source: self.source,
            composed: self.composed,
        })
    }
}

/// The last record for each ID, and the number of lines.
fn known(index: &Path) -> (HashMap<String, Record>, usize) {
    let text = fs::read(index).unwrap_or_default();
    let mut records = HashMap::new();
    let mut lines = 0;
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        lines += 1;
        if let Ok(record) = serde_json::from_slice::<Record>(line) {
            records.insert(record.id.clone(), record);
        }
    }
    (records, lines)
}

fn learn(name: &str, directory: &Path, inode: u64) -> Option<Record> {
    let id = name.parse::<ImageId>().ok()?;
    let manifest = serde_json::from_slice::<ImageManifest>(&fs::read(directory.join("manifest")).ok()?).ok()?;
    let origin = Origin::read(directory).ok()?;
    Some(Record::new(&id, inode, &manifest, &origin))
}
