//! Checks of images and layouts that give all findings instead of the first.

use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::hash::Sha512;
use super::rules::Form;
use super::tar::printable;
use super::{Compression, Error, Findings, Kind, Nothing, ReadOptions, Result, rules, stream, tar};
use crate::diagnostic::Diagnostic;
use crate::schema::ImageId;

/// What a check of an image or layout found. The manifest's own rules are not part of it.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// All findings about the archive or layout, in the order in which they were met.
    pub diagnostics: Vec<Diagnostic>,
    /// The manifest, where there is one to be read.
    pub manifest: Option<Vec<u8>>,
    /// The image ID, where the archive could be read to its end.
    pub image_id: Option<ImageId>,
    /// How the archive is compressed, where it could be read to its end.
    pub compression: Option<Compression>,
}

/// Holds an image archive against all rules on archives. The source is read to its end, if it can be.
///
/// # Errors
/// Only where the source or the host fails: what is wrong with the archive is in the diagnostics.
pub fn image(source: impl Read + Send, options: &ReadOptions) -> Result<Checked> {
    let options = ReadOptions { findings: Findings::Collect, ..options.clone() };
    let (pass, end) =
        stream::run::<Sha512, _>(source, &options, |stream| tar::pass(stream, &options, Form::Image, &mut Nothing));
    let mut diagnostics = pass.diagnostics;
    if let Some(error) = pass.failed {
        let Some(found) = rules::told(&error) else { return Err(error) };
        diagnostics.push(match pass.failed_at {
            Some(entry) => found.entry(entry),
            None => found,
        });
        return Ok(Checked { diagnostics, manifest: pass.manifest, ..Checked::default() });
    }
    let mut checked = Checked { diagnostics, manifest: pass.manifest, ..Checked::default() };
    if let Some((end, digest)) = end {
        checked.diagnostics.extend(end.diagnostics);
        checked.image_id = Some(ImageId::from_digest(&digest));
        checked.compression = Some(end.compression);
    }
    Ok(checked)
}

/// What the name of an image file says: it ends in `.aci` whatever the compression.
pub fn file_name(path: &Path) -> Option<Diagnostic> {
    let ends = path.file_name().is_some_and(|name| name.as_bytes().ends_with(b".aci"));
    (!ends).then(|| Diagnostic::warning("aci.ext", "the name of an image file ends in `.aci`"))
}

/// Holds an image layout, a directory of `manifest` and `rootfs`, against the same rules. Nothing below `rootfs` is read.
///
/// # Errors
/// Only where the directory cannot be read.
pub fn layout(directory: &Path, options: &ReadOptions) -> Result<Checked> {
    let failed = |error| Error::new(Kind::Io, format!("read {}", directory.display())).because(error);
    let mut checked = Checked::default();
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        names.push((entry.file_name(), entry.file_type().map_err(failed)?));
    }
    names.sort_by(|one, other| one.0.cmp(&other.0));
    let mut there = [false; 2];
    for (name, kind) in names {
        let shown = printable(name.as_bytes());
        let mut wrong =
            |clause, what: &str| checked.diagnostics.push(Diagnostic::error(clause, what).entry(shown.clone()));
        match name.as_bytes() {
            b"manifest" => {
                there[0] = true;
                if !kind.is_file() {
                    wrong("aci.manifest.regular", "`manifest` is not a regular file");
                    continue;
                }
                let mut manifest = Vec::new();
                let read = fs::File::open(directory.join("manifest"))
                    .and_then(|file| file.take(options.max_manifest + 1).read_to_end(&mut manifest));
                match read {
                    Err(error) => wrong("x.file.unreadable", &format!("cannot be read: {error}")),
                    Ok(_) if manifest.len() as u64 > options.max_manifest => {
                        wrong("x.aci.limits", &format!("the manifest is larger than {} bytes", options.max_manifest));
                    }
                    Ok(_) => checked.manifest = Some(manifest),
                }
            }
            b"rootfs" => {
                there[1] = true;
                if !kind.is_dir() {
                    wrong("aci.rootfs.dir", "`rootfs` is not a directory");
                }
            }
            _ => wrong("aci.toplevel.noextra", "only `manifest` and `rootfs` may be at the top"),
        }
    }
    for (there, clause, name) in [(there[0], "aci.toplevel.two", "manifest"), (there[1], "aci.rootfs.dir", "rootfs")] {
        if !there {
            checked.diagnostics.push(Diagnostic::error(clause, format!("there is no entry `{name}`")));
        }
    }
    Ok(checked)
}
