//! Small images made on the spot.

use std::io::Write;

/// A gzip image of this name with these labels and this much incompressible content.
pub fn image(name: &str, labels: &[(&str, &str)], content: usize) -> Vec<u8> {
    with_dependencies(name, labels, &[], content)
}

/// A gzip image that depends on images of these names.
pub fn with_dependencies(name: &str, labels: &[(&str, &str)], below: &[&str], content: usize) -> Vec<u8> {
    let below: Vec<_> = below.iter().map(|name| serde_json::json!({ "imageName": name })).collect();
    let labels: Vec<_> =
        labels.iter().map(|(name, value)| serde_json::json!({ "name": name, "value": value })).collect();
    let manifest = serde_json::json!({
        "acKind": "ImageManifest",
        "acVersion": "0.8.11",
        "name": name,
        "labels": labels,
        "dependencies": below,
        "app": { "exec": ["/bin/true"], "user": "0", "group": "0" },
    });
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind: tar::EntryType, mode: u32, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(1_000_000_000);
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, path, bytes).unwrap();
    };
    add("manifest", tar::EntryType::Regular, 0o644, manifest.to_string().as_bytes());
    add("rootfs", tar::EntryType::Directory, 0o755, b"");
    // A linear congruence is as good as noise to a compressor.
    let mut state = 1u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
    .take(content)
    .collect();
    add("rootfs/noise", tar::EntryType::Regular, 0o644, &noise);
    let tar = archive.into_inner().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    gzip.finish().unwrap()
}
