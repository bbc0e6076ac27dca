//! Archives: valid ones, and valid ones with one fault from a list.

use std::io::Write;

use flate2::write::GzEncoder;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;
use tar::{Builder, EntryType, Header};

use crate::Case;
use crate::manifests::image;

const FAULTS: [&str; 17] = [
    "nothing",
    "no manifest",
    "no rootfs",
    "rootfs a file",
    "manifest a directory",
    "extra entry",
    "entry beside rootfs that begins like it",
    "manifest twice",
    "entry twice",
    "dots before names",
    "parent name",
    "absolute name",
    "no end",
    "cut off",
    "junk behind",
    "bad manifest",
    "pax global header",
];

/// Archives.
pub fn archives() -> BoxedStrategy<Case> {
    (image(), select(FAULTS.to_vec()), any::<bool>())
        .prop_map(|(manifest, fault, gzip)| {
            let mut bytes = archive(&manifest, fault);
            if gzip {
                let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
                // Writing to memory cannot fail.
                let _ = encoder.write_all(&bytes);
                bytes = encoder.finish().unwrap_or_default();
            }
            match fault {
                "cut off" => bytes.truncate(bytes.len() * 2 / 3),
                "junk behind" => bytes.extend(b"junk".repeat(300)),
                _ => {}
            }
            Case { made: format!("{} with {fault}", if gzip { "gzip archive" } else { "archive" }), bytes }
        })
        .boxed()
}

fn archive(manifest: &Value, fault: &str) -> Vec<u8> {
    let mut tar = Tar(Builder::new(Vec::new()));
    let text = if fault == "bad manifest" { "{".to_owned() } else { manifest.to_string() };
    let dots = if fault == "dots before names" { "./" } else { "" };
    if fault == "pax global header" {
        tar.entry("pax_global_header", EntryType::XGlobalHeader, b"20 comment=generated");
    }
    match fault {
        "no manifest" => {}
        "manifest a directory" => tar.entry("manifest", EntryType::Directory, b""),
        _ => tar.entry(&format!("{dots}manifest"), EntryType::Regular, text.as_bytes()),
    }
    match fault {
        "no rootfs" => {}
        "rootfs a file" => tar.entry("rootfs", EntryType::Regular, b"x"),
        _ => tar.entry(&format!("{dots}rootfs"), EntryType::Directory, b""),
    }
    if fault != "rootfs a file" && fault != "no rootfs" {
        tar.entry(&format!("{dots}rootfs/bin"), EntryType::Directory, b"");
        tar.entry(&format!("{dots}rootfs/bin/app"), EntryType::Regular, b"content");
    }
    match fault {
        "extra entry" => tar.entry("readme", EntryType::Regular, b"x"),
        "entry beside rootfs that begins like it" => tar.entry("rootfs.bak", EntryType::Regular, b"x"),
        "manifest twice" => tar.entry("manifest", EntryType::Regular, b"{}"),
        "entry twice" => tar.entry("rootfs/bin/app", EntryType::Regular, b"again"),
        "parent name" => tar.entry("rootfs/bin/../other", EntryType::Regular, b"x"),
        "absolute name" => tar.entry("/rootfs/other", EntryType::Regular, b"x"),
        _ => {}
    }
    let mut bytes = tar.0.into_inner().unwrap_or_default();
    if fault == "no end" {
        bytes.truncate(bytes.len() - 1024);
    }
    bytes
}

struct Tar(Builder<Vec<u8>>);

impl Tar {
    fn entry(&mut self, name: &str, kind: EntryType, content: &[u8]) {
        let mut header = Header::new_ustar();
        // The crate refuses names that a fault is about.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
        header.set_mtime(1);
        header.set_uid(0);
        header.set_gid(0);
        header.set_cksum();
        // Writing to memory cannot fail.
        let _ = self.0.append(&header, content);
    }
}
