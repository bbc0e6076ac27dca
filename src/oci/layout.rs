//! A staged image as a layout, or as an archive of one that `docker load` takes too.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use super::digest::Digest;
use super::emit;
use super::export::Staged;
use super::format::{self, INDEX, REF_NAME, Saved};
use super::source::blob_path;
use super::{Error, Kind, Result, archive};
use crate::aci::{Compression, Sha256};
use crate::whole::Overwrite;

const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// Adds a staged image under a tag to the layout in `directory`, which is made one where it is none yet. An image that had
/// the tag loses it.
///
/// # Errors
/// [`Kind::Io`]; [`Kind::Invalid`] where there is a layout that cannot be read.
pub fn into_layout(staged: &Staged, directory: &Path, tag: &str) -> Result<()> {
    let failed =
        |path: &Path, error: io::Error| Error::new(Kind::Io, format!("write {}", path.display())).because(error);
    for descriptor in [&staged.manifest, &staged.parts.config].into_iter().chain(&staged.parts.layers) {
        let target = directory.join(blob_path(&descriptor.digest));
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(|error| failed(parent, error))?;
        }
        let source = staged.directory.join(blob_path(&descriptor.digest));
        // The same layer may be listed twice, and then is there already.
        if source != target && source.exists() {
            fs::rename(&source, &target).map_err(|error| failed(&target, error))?;
        }
    }
    let index = directory.join("index.json");
    let mut manifests: Vec<Value> = match fs::read(&index) {
        Ok(bytes) => {
            let value: Value = format::parse(&bytes, &index.display().to_string(), "x.oci.layout")?;
            value.get("manifests").and_then(Value::as_array).cloned().unwrap_or_default()
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(Error::new(Kind::Io, format!("read {}", index.display())).because(error)),
    };
    manifests.retain(|manifest| manifest["annotations"][REF_NAME] != json!(tag));
    let mut descriptor = staged.manifest.clone();
    descriptor.annotations.insert(REF_NAME.to_owned(), tag.to_owned());
    manifests.push(serde_json::to_value(&descriptor).unwrap_or_default());
    let text = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests }).to_string();
    super::write_file(&index, Overwrite::Replace, |file| {
        io::Write::write_all(file, text.as_bytes()).map_err(|error| failed(&index, error))
    })?;
    let layout = directory.join("oci-layout");
    super::write_file(&layout, Overwrite::Replace, |file| {
        io::Write::write_all(file, LAYOUT.as_bytes()).map_err(|error| failed(&layout, error))
    })
}

/// Writes a staged image as an archive: a layout, and beside it what `docker load` looks for.
///
/// # Errors
/// [`Kind::Io`].
pub fn into_archive(staged: &Staged, out: &mut File, tag: &str) -> Result<()> {
    let mut manifest = staged.manifest.clone();
    manifest.annotations.insert(REF_NAME.to_owned(), tag_of(tag).to_owned());
    manifest.annotations.insert("io.containerd.image.name".to_owned(), tag.to_owned());
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest] }).to_string();
    let saved = [Saved {
        config: blob_path(&staged.parts.config.digest),
        repo_tags: vec![tag.to_owned()],
        layers: staged.parts.layers.iter().map(|layer| blob_path(&layer.digest)).collect(),
    }];
    let saved = serde_json::to_string(&saved).unwrap_or_default();
    let mut digests: Vec<&Digest> = [&staged.manifest, &staged.parts.config]
        .into_iter()
        .chain(&staged.parts.layers)
        .map(|descriptor| &descriptor.digest)
        .collect();
    digests.sort();
    digests.dedup();
    emit::write::<Sha256>(Compression::None, out, |writer| {
        for (name, text) in [("oci-layout", LAYOUT), ("index.json", &index), ("manifest.json", &saved)] {
            writer.member(name, text.len() as u64, &mut text.as_bytes()).map_err(archive)?;
        }
        for digest in &digests {
            let path = staged.directory.join(blob_path(digest));
            let open = || -> io::Result<(File, u64)> {
                let file = File::open(&path)?;
                let size = file.metadata()?.len();
                Ok((file, size))
            };
            let (mut file, size) =
                open().map_err(|error| Error::new(Kind::Io, format!("read {}", path.display())).because(error))?;
            writer.member(&blob_path(digest), size, &mut file).map_err(archive)?;
        }
        Ok(())
    })?;
    Ok(())
}

/// The tag of a name, or the whole of it where it is a tag.
pub fn tag_of(reference: &str) -> &str {
    match reference.rsplit_once(':') {
        Some((_, tag)) if !tag.contains('/') => tag,
        _ if reference.contains('/') => "latest",
        _ => reference,
    }
}
