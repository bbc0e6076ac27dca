//! Building: a layout becomes an archive, the same one bit for bit whenever the layout is the same.
//!
//! ```text
//!  walk (sorted) -> tar blocks -> pieces, by content -+-> SHA-512 (own thread)
//!                                                     '-> compressors (gzip: all cores) -> in order -> out
//! ```
//! Entries stand in byte order of their names, directories before what is in them. The manifest's time is `SOURCE_DATE_EPOCH`,
//! else the newest one under `rootfs`; no file's time is later than that. Names of owners are left out: they are the host's. What a ustar header cannot say is in
//! a PAX header before it: long names, large numbers, fractions of seconds, xattrs, sparse maps.
//!
//! Clauses: `aci.preserve.*`, `aci.ext`.

mod compress;
mod entry;
mod output;
mod patch;
mod pattern;
mod sparse;
mod walk;
mod written;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

pub use crate::whole::Overwrite;
pub use patch::patch_file;
pub(crate) use walk::{attributes, time};
pub(crate) use written::{ArchiveWriter, write_archive};

use super::hash::Sha512;
use super::{Compression, Error, ImageId, Kind, Result};
use crate::diagnostic::Diagnostic;
use crate::whole::Draft;

/// How to build.
#[derive(Clone, Debug)]
pub struct BuildOptions {
    /// How the archive is compressed.
    pub compression: Compression,
    /// How hard: 1 to 9 for gzip and bzip2, 0 to 9 for xz, 1 to 19 for zstd; the codec's own choice unless told.
    pub level: Option<u32>,
    /// Whether all belongs to root, whoever owns the files.
    pub owner_root: bool,
    /// Patterns of names below `rootfs` that are left out, directories with all in them. `*` and `?` match within a name, `**`
    /// any number of directories; a pattern without slash matches at any depth.
    pub exclude: Vec<String>,
    /// A manifest instead of the layout's own.
    pub manifest: Option<Vec<u8>>,
    /// Whether the directory is the root file system itself and no layout; `manifest` is needed then.
    pub bare: bool,
    /// `SOURCE_DATE_EPOCH`, in seconds since 1970: the time of the manifest and of all files that have a later one.
    pub epoch: Option<i64>,
    /// Counts the bytes of the uncompressed archive as it is made.
    pub progress: Option<Arc<AtomicU64>>,
}

impl Default for BuildOptions {
    fn default() -> Self {
        Self {
            compression: Compression::Gzip,
            level: None,
            owner_root: false,
            exclude: Vec::new(),
            manifest: None,
            bare: false,
            epoch: None,
            progress: None,
        }
    }
}

/// What was built.
#[derive(Clone, Debug)]
pub struct Built {
    /// The ID of the image, whatever the compression.
    pub image_id: ImageId,
    /// Bytes of the uncompressed archive.
    pub size: u64,
    /// Number of entries.
    pub entries: u64,
    /// What was left out, and what the specification does not know.
    pub diagnostics: Vec<Diagnostic>,
}

/// Builds an archive from the layout `directory` and writes it to `out`. Whether the layout is valid is the caller's to ask first
/// ([`super::validate::layout`]).
///
/// # Errors
/// [`Kind::Io`] where a file cannot be read or `out` not be written; [`Kind::Refused`] for a level or pattern that makes
/// no sense. What was written to `out` by then is of no use.
pub fn build(directory: &Path, options: &BuildOptions, out: impl Write + Send) -> Result<Built> {
    let codec = compress::Codec::new(options.compression, options.level)?;
    let layout = File::open(directory)
        .map_err(|error| Error::new(Kind::Io, format!("open {}", directory.display())).because(error))?;
    let rootfs = if options.bare { "." } else { "rootfs" };
    let walk = walk::Walk::new(layout.as_fd(), OsStr::new(rootfs), options)?;
    let manifest = match &options.manifest {
        Some(manifest) => manifest.clone(),
        None => walk.manifest()?,
    };
    let epoch = match options.epoch {
        Some(epoch) => epoch,
        None => walk.newest()?,
    };
    let (written, digest) = output::run::<Sha512, _>(&codec, options.progress.as_deref(), out, |output| {
        let mut entries = entry::Entries::new(output, options.owner_root);
        entries.manifest(&manifest, epoch)?;
        walk.run(&mut entries, options.epoch)?;
        entries.finish()
    })?;
    let mut diagnostics = written.diagnostics;
    if options.compression == Compression::Zstd {
        diagnostics.push(Diagnostic::warning("x.aci.zstd", "zstd is an extension: the specification does not know it"));
    }
    Ok(Built { image_id: ImageId::from_digest(&digest), size: written.size, entries: written.entries, diagnostics })
}

/// Builds an archive into the file `out`: written beside it under another name, and renamed when all is there.
///
/// # Errors
/// [`Kind::Refused`] where `out` is not named `.aci` or lies inside the layout; [`Kind::Exists`] where it is there and
/// `overwrite` was not asked for; those of [`build`]. Nothing is left then.
pub fn build_file(directory: &Path, options: &BuildOptions, out: &Path, overwrite: Overwrite) -> Result<Built> {
    let failed = |error: io::Error| Error::new(Kind::Io, format!("write {}", out.display())).because(error);
    let refused = |what: &str| Error::new(Kind::Refused, format!("write {}", out.display())).because(what);
    if !out.file_name().is_some_and(|name| name.as_bytes().ends_with(b".aci") && name.len() > 4) {
        return Err(refused("the name of an image file ends in `.aci`").clause("aci.ext"));
    }
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let inside = parent.canonicalize().map_err(failed)?.starts_with(
        directory
            .canonicalize()
            .map_err(|error| Error::new(Kind::Io, format!("open {}", directory.display())).because(error))?,
    );
    if inside {
        return Err(refused("it is inside the layout that it is built from"));
    }
    if overwrite == Overwrite::Refuse && out.symlink_metadata().is_ok() {
        return Err(Error::new(Kind::Exists, format!("write {}", out.display())).because("it is there already"));
    }
    let mut draft = Draft::new(out, 0o666).map_err(failed)?;
    let built = build(directory, options, draft.file())?;
    draft.publish(overwrite).map_err(failed)?;
    Ok(built)
}
