//! Image archives, entry by entry, good and bad: a writer that checks nothing, because bad archives are its use.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::Value;
use sha2::{Digest, Sha512};

use super::files::{Entry, Listed};

/// The two entries of every image, the manifest with the given text.
pub fn usual(name: &str, manifest: &[u8]) -> Entry {
    match name {
        "manifest" => {
            Entry { path: name.into(), text: String::from_utf8_lossy(manifest).into_owned(), ..Entry::default() }
        }
        _ => Entry { path: name.into(), kind: "dir".into(), ..Entry::default() },
    }
}

/// The entries that a list means.
pub fn entries(list: &[Listed], manifest: &[u8]) -> Vec<Entry> {
    list.iter()
        .map(|one| match one {
            Listed::Usual(name) => usual(name, manifest),
            Listed::Entry(entry) => entry.clone(),
        })
        .collect()
}

/// A tar archive in memory.
#[derive(Default)]
pub struct Tar {
    bytes: Vec<u8>,
}

impl Tar {
    /// Adds an entry as it is described.
    pub fn add(&mut self, entry: &Entry) {
        self.add_bytes(entry, entry.text.as_bytes());
    }

    /// Adds an entry with bytes that are no text.
    pub fn add_bytes(&mut self, entry: &Entry, content: &[u8]) {
        let (seconds, nanoseconds) = entry.time();
        let mut pax = entry.pax.clone();
        if nanoseconds != 0 {
            pax.insert("mtime".into(), format!("{seconds}.{nanoseconds:09}"));
        }
        if entry.path.len() > 100 {
            pax.insert("path".into(), entry.path.clone());
        }
        for (name, value) in &entry.xattrs {
            pax.insert(format!("SCHILY.xattr.{name}"), value.clone());
        }
        let kind = match entry.kind.as_str() {
            "dir" => b'5',
            "symlink" => b'2',
            "hardlink" => b'1',
            "character" => b'3',
            "block" => b'4',
            "fifo" => b'6',
            "global" => b'g',
            "other" => b'Q',
            _ => b'0',
        };
        if kind == b'g' {
            let text = records(&pax);
            self.header(b"pax_global_header", kind, text.len() as u64, entry);
            self.content(text.as_bytes());
            return;
        }
        if !pax.is_empty() {
            let text = records(&pax);
            self.header(b"PaxHeaders/entry", b'x', text.len() as u64, entry);
            self.content(text.as_bytes());
        }
        let content = if kind == b'0' { content } else { b"" };
        self.header(entry.path.as_bytes(), kind, entry.size.unwrap_or(content.len() as u64), entry);
        self.content(content);
    }

    fn header(&mut self, name: &[u8], kind: u8, size: u64, entry: &Entry) {
        let mut block = [0_u8; 512];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &name[..name.len().min(100)]);
        put(100, format!("{:07o}\0", entry.bits()).as_bytes());
        put(108, format!("{:07o}\0", entry.uid).as_bytes());
        put(116, format!("{:07o}\0", entry.gid).as_bytes());
        put(124, format!("{size:011o}\0").as_bytes());
        put(136, format!("{:011o}\0", entry.time().0).as_bytes());
        put(148, b"        ");
        put(156, &[kind]);
        put(157, &entry.to.as_bytes()[..entry.to.len().min(100)]);
        put(257, b"ustar\x0000");
        if let Some((major, minor)) = entry.device {
            put(329, format!("{major:07o}\0").as_bytes());
            put(337, format!("{minor:07o}\0").as_bytes());
        }
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.bytes.extend_from_slice(&block);
    }

    fn content(&mut self, content: &[u8]) {
        self.bytes.extend_from_slice(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
    }

    /// The archive with its end marker.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&[0; 1024]);
        self.bytes
    }
}

fn records(pax: &BTreeMap<String, String>) -> String {
    pax.iter()
        .map(|(name, value)| {
            let rest = format!(" {name}={value}\n");
            // The length counts its own digits.
            let length =
                (1..).map(|digits| rest.len() + digits).find(|length| length.to_string().len() + rest.len() == *length);
            format!("{}{rest}", length.unwrap_or(rest.len()))
        })
        .collect()
}

/// Bytes under a compression's name.
pub fn compressed(bytes: Vec<u8>, how: Option<&str>) -> io::Result<Vec<u8>> {
    match how {
        None => Ok(bytes),
        Some("gzip") => {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            out.write_all(&bytes)?;
            out.finish()
        }
        Some("bzip2") => {
            let mut out = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            out.write_all(&bytes)?;
            out.finish()
        }
        Some("xz") => {
            let mut out = liblzma::write::XzEncoder::new(Vec::new(), 1);
            out.write_all(&bytes)?;
            out.finish()
        }
        Some(other) => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("no such compression: {other}"))),
    }
}

/// The image ID of a tar, by definition.
pub fn image_id(tar: &[u8]) -> String {
    let hash: String = Sha512::digest(tar).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha512-{hash}")
}

/// A manifest as bytes.
pub fn bytes(manifest: &Value) -> Vec<u8> {
    manifest.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_independent_reader_finds_what_was_written() {
        let mut tar = Tar::default();
        tar.add(&usual("manifest", b"{}"));
        let long = format!("rootfs/{}", "d/".repeat(80));
        let xattrs = BTreeMap::from([("user.a".to_owned(), "b".to_owned())]);
        tar.add(&Entry {
            path: long.clone() + "f",
            text: "hi".into(),
            mtime: Some("12.5".into()),
            xattrs,
            ..Entry::default()
        });
        let bytes = tar.finish();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut names = Vec::new();
        for entry in archive.entries().expect("just written") {
            let mut entry = entry.expect("just written");
            names.push(entry.path().expect("plain names").into_owned());
            for record in entry.pax_extensions().expect("well-formed").into_iter().flatten() {
                let record = record.expect("well-formed");
                assert!(["mtime", "path", "SCHILY.xattr.user.a"].contains(&record.key().expect("text")));
            }
        }
        assert_eq!(names, [std::path::PathBuf::from("manifest"), (long + "f").into()]);
    }
}
