//! Bringing an image in: one pass that copies, hashes, checks and unpacks, then one rename.

use std::error::Error as StdError;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use crate::aci::{self, ExtractOptions, Owners, Summary};
use crate::diagnostic::{Diagnostic, Severity};
use crate::schema::{self, ImageId, ImageManifest};

use super::incoming::Incoming;
use super::layout::{Held, Store};
use super::{Draft, Error, Image, Kind, Origin, Partial, Result, TreeName, Wanted};

/// How to bring an image in.
#[derive(Clone, Debug)]
pub struct Import {
    /// Where it comes from; sizes, compression and notes are filled in.
    pub origin: Origin,
    /// What it has to be, if that is known.
    pub wanted: Wanted,
    /// How it is unpacked.
    pub extract: ExtractOptions,
    /// A check of the caller's own.
    pub accept: Option<Accept>,
}

type Check = dyn Fn(&ImageManifest, &mut Origin) -> Result<(), Box<dyn StdError + Send + Sync>> + Send + Sync;

/// A check that is made when all of the archive was read and before the image is published. It may add to the origin
/// what is known only then.
#[derive(Clone)]
pub struct Accept(Arc<Check>);

impl Accept {
    /// Takes an image that `check` has nothing against.
    pub fn new(
        check: impl Fn(&ImageManifest, &mut Origin) -> Result<(), Box<dyn StdError + Send + Sync>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(check))
    }
}

impl fmt::Debug for Accept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Accept(..)")
    }
}

impl Import {
    /// Whatever `source` (a path or URL, for people) turns out to be.
    pub fn new(source: impl Into<String>) -> Self {
        Self {
            origin: Origin::new(source),
            wanted: Wanted::default(),
            extract: ExtractOptions { owners: Owners::of_pods(), ..ExtractOptions::default() },
            accept: None,
        }
    }
}

impl Store {
    /// Reads an image archive to its end and publishes it. An image that is there already stays; it counts
    /// as imported now, and its archive is kept as it came now. Two processes that import the same image at once both get it.
    ///
    /// Nothing is visible before all is checked, and nothing stays after a failure.
    ///
    /// # Errors
    /// [`Kind::Refused`] with the clause where the archive is not valid or not the one wanted, [`Kind::Io`].
    pub fn import(&self, source: impl Read + Send, import: Import) -> Result<Image> {
        self.bring_in(source, import, None)
    }

    /// Imports an image out of a transfer: `source` gives what `partial` holds and then the rest, which is kept there until the image is
    /// published.
    ///
    /// # Errors
    /// Those of [`Store::import`].
    pub fn import_partial(&self, source: impl Read + Send, import: Import, partial: &Partial) -> Result<Image> {
        self.bring_in(source, import, Some(partial))
    }

    fn bring_in(&self, source: impl Read + Send, import: Import, partial: Option<&Partial>) -> Result<Image> {
        let Import { mut origin, wanted, extract, accept } = import;
        // All of it is on disk before it has its name, not the tree alone: see `aci::sync` for where that is less.
        let (sync, extract) = (extract.sync, ExtractOptions { sync: false, ..extract });
        let doing = format!("import {}", origin.source);
        let failed = |error: io::Error| Error::new(Kind::Io, doing.clone()).because(error);
        self.prepare()?;
        self.tidy()?;
        let (work, draft) = {
            let _held = self.hold_shared()?;
            (Incoming::new(self.root(), "image")?, self.trees().draft(None)?)
        };
        let archive = work.path().join("archive");
        let (kept, there) = match partial {
            Some(partial) => partial.writer(),
            None => File::create_new(&archive).map(|file| (file, 0)),
        }
        .map_err(failed)?;
        let target = File::open(draft.path()).map_err(failed)?;
        let copy = Copying { source, kept, there, left: wanted.size };
        let summary = aci::import(copy, target.as_fd(), &extract).map_err(|error| refused(&doing, error))?;
        let (manifest, told) = manifest(&summary.manifest, &doing)?;
        wanted.check(&summary.image_id, &manifest, summary.transferred, &origin.source)?;
        if let Some(Accept(check)) = accept {
            check(&manifest, &mut origin).map_err(|why| Error::new(Kind::Refused, doing.clone()).because(why))?;
        }
        let below = summary.implied.iter().filter_map(|name| Some(name.strip_prefix(b"rootfs/")?.to_vec()));
        let implied = below.collect();
        origin.notes.extend(summary.diagnostics.iter().map(|found| found.message.clone()));
        if let Some(partial) = partial {
            partial.give(&archive).map_err(failed)?;
        }
        // Sealing may unmount the tree to move it, which an open directory forbids.
        drop(target);
        self.publish(New { work, draft, summary, implied, manifest, told, origin }, sync, &doing)
    }

    /// Writes down what is known of an image whose tree and archive were checked, and gives both their names.
    pub(super) fn publish(&self, new: New, sync: bool, doing: &str) -> Result<Image> {
        let New { mut work, draft, summary, implied, manifest, told, mut origin } = new;
        let failed = |error: io::Error| Error::new(Kind::Io, doing.to_owned()).because(error);
        let id = summary.image_id;
        origin.compression = summary.compression.to_string();
        origin.archive_bytes = summary.transferred;
        origin.tree_bytes = summary.size;
        origin.notes.extend(told.iter().filter(|found| is_worth_a_note(found)).map(note));
        fs::write(work.path().join("manifest"), &summary.manifest).map_err(failed)?;
        if !implied.is_empty() {
            let text: Vec<u8> = implied.iter().flat_map(|name| name.iter().copied().chain([0])).collect();
            fs::write(work.path().join("implied"), text).map_err(failed)?;
        }
        origin.write(work.path())?;
        if sync {
            aci::sync(work.as_fd()).map_err(|error| failed(error.into()))?;
        }

        let _held = self.hold_to_publish(&id)?;
        draft.seal(&TreeName::image(&id))?;
        let directory = self.image_directory(&id);
        self.note(&id, &manifest, &origin, work.path())?;
        let archive = work.path().join("archive");
        let new = work.publish(&directory)?;
        if !new {
            // The tree is the one that was there.
            origin.keep_lost(&self.image(&id)?.origin().clone());
            self.note(&id, &manifest, &origin, &directory)?;
            // The same image, perhaps compressed in another way: what is kept is what the origin tells of.
            fs::rename(&archive, directory.join("archive")).map_err(failed)?;
            origin.write(&directory)?;
        }
        // Its lock is on what is the image now.
        drop(work);
        self.image(&id).map(|image| image.brought_in(new))
    }

    /// The lock to publish an image under. What has its name and is none, as a crash of the host may leave it, is put out of
    /// the way, while nobody publishes.
    fn hold_to_publish(&self, id: &ImageId) -> Result<Held> {
        let damaged = || self.try_image(id).is_err_and(|error| *error.kind() == Kind::Corrupt);
        let shared = self.hold_shared()?;
        if !damaged() {
            return Ok(shared);
        }
        drop(shared);
        let held = self.hold_exclusive()?;
        if damaged() {
            let aside = Incoming::new(self.root(), "gone")?;
            fs::rename(self.image_directory(id), aside.path().join("image")).map_err(|error| {
                Error::new(Kind::Io, format!("put the damaged image {id} out of the way")).because(error)
            })?;
        }
        Ok(held)
    }

    /// Imports the file at `path`.
    ///
    /// # Errors
    /// Those of [`Store::import`].
    pub fn import_file(&self, path: &Path, import: Import) -> Result<Image> {
        self.import(open_file(path)?, import)
    }
}

/// Opens the file at `path` that is to be an image, or belongs to one. Nothing is waited for: a FIFO is none.
///
/// # Errors
/// [`Kind::Io`]; [`Kind::Refused`] where it is no file.
pub(crate) fn open_file(path: &Path) -> Result<File> {
    let failed = |error: io::Error| Error::new(Kind::Io, format!("open {}", path.display())).because(error);
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(Error::new(Kind::Refused, format!("import {}", path.display())).because("it is not a file"));
    }
    Ok(file)
}

/// An image that was checked and is not published yet.
pub(super) struct New {
    /// Holds the archive.
    pub(super) work: Incoming,
    pub(super) draft: Box<dyn Draft>,
    pub(super) summary: Summary,
    /// Directories without an entry of their own, relative to the root file system.
    pub(super) implied: Vec<Vec<u8>>,
    pub(super) manifest: ImageManifest,
    /// What is said of the manifest.
    pub(super) told: Vec<Diagnostic>,
    pub(super) origin: Origin,
}

/// What the notes of an image begin with that are about its manifest: whoever runs it may want to know them.
pub const OF_MANIFEST: &str = "manifest:";

fn is_worth_a_note(found: &Diagnostic) -> bool {
    found.severity == Severity::Warning && !schema::is_told_by_executor(&found.clause)
}

fn note(found: &Diagnostic) -> String {
    let (line, column) = (found.place.line.unwrap_or(1), found.place.column.unwrap_or(1));
    let help = found.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
    format!("{OF_MANIFEST}{line}:{column}: {} [{}]{help}", found.message, found.clause)
}

/// The manifest, if it is valid, and what else is said of it.
pub(super) fn manifest(text: &[u8], doing: &str) -> Result<(ImageManifest, Vec<Diagnostic>)> {
    let options = schema::Options { purpose: schema::Purpose::Pod, ..schema::Options::default() };
    schema::image_manifest_and_findings(text, &options)
        .map_err(|found| Error::new(Kind::Refused, doing).manifest(&found))
}

pub(super) fn refused(doing: &str, error: aci::Error) -> Error {
    let kind = if matches!(error.kind(), aci::Kind::Io) { Kind::Io } else { Kind::Refused };
    let refused = Error::new(kind, doing);
    match error.clause_id() {
        Some(clause) => refused.clause(clause).because(error),
        None => refused.because(error),
    }
}

/// Hands on what it reads and keeps a copy; ends with an error behind the size that was promised.
struct Copying<R> {
    source: R,
    kept: File,
    /// Bytes that are kept already.
    there: u64,
    left: Option<u64>,
}

impl<R: Read> Read for Copying<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(read as u64).ok_or_else(|| {
                io::Error::new(io::ErrorKind::FileTooLarge, "it goes on behind the size that was promised")
            })?;
        }
        let known = usize::try_from(self.there).unwrap_or(usize::MAX).min(read);
        self.there -= known as u64;
        self.kept.write_all(&buffer[known..read])?;
        Ok(read)
    }
}
