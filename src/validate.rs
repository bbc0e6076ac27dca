//! The validator: images, layouts and manifests, each with all its findings.
//!
//! Takes bytes or a reader, gives a [`FileReport`]; only [`layout`] reads files of its own. Nothing stops at the first fault.

use std::io::{Cursor, ErrorKind, Read};
use std::path::Path;

use crate::aci::{self, ReadOptions};
use crate::diagnostic::{Diagnostic, FileReport, FileType, UNREADABLE};
use crate::schema::{self, Kind, validate::judge};

/// Bytes of a manifest that are read unless told otherwise.
pub const MAX_MANIFEST: u64 = 16 << 20;

/// How files are checked.
#[derive(Clone, Debug)]
pub struct Options {
    /// How manifests are checked.
    pub manifest: schema::Options,
    /// Bytes of a manifest that are read.
    pub max_manifest: u64,
    /// How images are read: size and passphrase.
    pub reading: ReadOptions,
    /// What the file is; seen from its first bytes where it is not said.
    pub file_type: Option<FileType>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            manifest: schema::Options::default(),
            max_manifest: MAX_MANIFEST,
            reading: ReadOptions::default(),
            file_type: None,
        }
    }
}

/// Checks what a reader gives: an image or a manifest. `path` is what the report calls it.
pub fn reader(path: &str, mut source: impl Read + Send, options: &Options) -> FileReport {
    let unreadable = |error| unreadable(path, options.file_type.unwrap_or_else(|| called(path)), &error);
    // A manifest comes whole with the first call, and its end with the second.
    let mut text = vec![0; FIRST];
    let mut read = 0;
    while read < HEAD {
        match source.read(&mut text[read..]) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return unreadable(error),
        }
    }
    text.truncate(read);
    let looks = || match sniff(&text[..read.min(HEAD)]) {
        // What is called an image and has none of a manifest's looks is a broken image.
        FileType::Manifest if text.trim_ascii_start().first() != Some(&b'{') => called(path),
        looks => looks,
    };
    match options.file_type.unwrap_or_else(looks) {
        FileType::Image => image(path, Cursor::new(text).chain(source), options),
        FileType::Layout => FileReport::new(path, FileType::Layout)
            .with([Diagnostic::error("x.file.type", "a layout is a directory, this is a file")]),
        FileType::Manifest => {
            if read >= HEAD {
                let most = (options.max_manifest + 1).saturating_sub(read as u64);
                if let Err(error) = source.take(most).read_to_end(&mut text) {
                    return unreadable(error);
                }
            }
            manifest(path, text, options)
        }
    }
}

/// Checks the text of a manifest.
pub fn manifest(path: &str, text: Vec<u8>, options: &Options) -> FileReport {
    let mut report = FileReport::new(path, FileType::Manifest);
    if text.len() as u64 > options.max_manifest {
        let message = format!("the manifest is larger than {} bytes", options.max_manifest);
        return report.with([Diagnostic::error("x.aci.limits", message)]);
    }
    let checked = schema::validate_manifest(&text, &options.manifest);
    // Only what is told needs its source, and files may be many.
    if !checked.diagnostics.is_empty() {
        report.source = text;
    }
    report.with(checked.diagnostics)
}

/// Checks an image archive and the manifest in it.
pub fn image(path: &str, source: impl Read + Send, options: &Options) -> FileReport {
    let reading = ReadOptions { max_manifest: options.max_manifest, ..options.reading.clone() };
    let report = FileReport::new(path, FileType::Image);
    let name = aci::validate::file_name(Path::new(path)).filter(|_| path != "-");
    match aci::validate::image(source, &reading) {
        Ok(checked) => finish(report, checked, name, options),
        Err(error) => report.with([failed(&error)]),
    }
}

/// Checks a layout: a directory with `manifest` and `rootfs`.
pub fn layout(path: &str, directory: &Path, options: &Options) -> FileReport {
    let reading = ReadOptions { max_manifest: options.max_manifest, ..options.reading.clone() };
    let report = FileReport::new(path, FileType::Layout);
    match aci::validate::layout(directory, &reading) {
        Ok(checked) => finish(report, checked, None, options),
        Err(error) => report.with([failed(&error)]),
    }
}

/// A report that says why a file cannot be read.
pub fn unreadable(path: &str, file_type: FileType, error: &std::io::Error) -> FileReport {
    FileReport::new(path, file_type).with([Diagnostic::error(UNREADABLE, format!("cannot be read: {error}"))])
}

/// What a file is by its name, where nothing is known of its content.
pub fn called(path: &str) -> FileType {
    if path.ends_with(".aci") { FileType::Image } else { FileType::Manifest }
}

fn failed(error: &aci::Error) -> Diagnostic {
    Diagnostic::error(error.clause_id().unwrap_or(UNREADABLE), format!("failed to {}", crate::error::chain(error)))
}

fn finish(
    mut report: FileReport,
    checked: aci::validate::Checked,
    name: Option<Diagnostic>,
    options: &Options,
) -> FileReport {
    let mut found = checked.diagnostics;
    found.extend(name);
    judge(&mut found, &options.manifest);
    if let Some(manifest) = checked.manifest {
        let kind = schema::Options { kind: Some(Kind::Image), ..options.manifest };
        let inner = schema::validate_manifest(&manifest, &kind);
        found.extend(inner.diagnostics.into_iter().map(|diagnostic| diagnostic.entry("manifest")));
        report.source = manifest;
    }
    report.image_id = checked.image_id.map(|id| id.to_string());
    report.with(found)
}

/// Bytes looked at to tell an image from a manifest: up to the end of a tar header.
const HEAD: usize = 512;
/// Bytes asked for at first: more than nearly all manifests have.
const FIRST: usize = 16 << 10;

/// An image is what an archive or its compression begins with, or anything else that is no text.
fn sniff(head: &[u8]) -> FileType {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    let starts_like_json = matches!(first, None | Some(b'{' | b'[' | b'"'));
    let tar = head.get(257..262) == Some(b"ustar");
    let magic = matches!(
        head,
        [0x1f, 0x8b, ..]
            | [b'B', b'Z', b'h', b'1'..=b'9', ..]
            | [0xfd, b'7', b'z', b'X', b'Z', 0, ..]
            | [0x28, 0xb5, 0x2f, 0xfd, ..]
            | [0x80..=0xd4, ..]
    );
    let armoured = head.starts_with(b"-----BEGIN PGP");
    let utf16 = matches!(head, [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, b'{', ..]);
    if tar || magic || armoured || (!starts_like_json && !utf16 && head.contains(&0)) {
        FileType::Image
    } else {
        FileType::Manifest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_and_manifests_are_told_apart_by_their_first_bytes() {
        let mut tar = [0; 512];
        tar[..8].copy_from_slice(b"manifest");
        assert_eq!(sniff(&tar), FileType::Image);
        tar[257..262].copy_from_slice(b"ustar");
        assert_eq!(sniff(&tar), FileType::Image);
        assert_eq!(sniff(b"\x1f\x8b\x08"), FileType::Image);
        assert_eq!(sniff(b"\x8c\x0d\x04"), FileType::Image);
        for text in
            [&b""[..], b"{}", b" \n{", b"\xef\xbb\xbf{}", b"hello", b"{\"a\": \"\0\"}", b"\xff\xfe{\0}\0", b"\0{\0}"]
        {
            assert_eq!(sniff(text), FileType::Manifest, "{text:?}");
        }
    }

    #[test]
    fn a_manifest_over_the_limit_is_refused_unread() {
        let options = Options { max_manifest: 1000, ..Options::default() };
        let report = reader("-", std::io::repeat(b' '), &options);
        assert_eq!(report.diagnostics[0].clause, "x.aci.limits");
    }
}
