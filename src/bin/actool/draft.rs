//! Image manifests that nobody needs to write: begun from what lies in a root file system, changed by options.

use std::ffi::OsStr;
use std::path::Path;

use appc::aci::program::{self, Needs};
use appc::schema::patch::{self, Edit};
use appc::whole::{Draft, Overwrite};
use serde_json::{Value, json};

use crate::error::CommandError;

/// A manifest for the tree at `rootfs` under `name`: labels and app are what the program says which `edits` have the app run.
/// What that program needs and the tree lacks is told.
pub fn of(rootfs: &Path, name: &str, edits: &[Edit]) -> Result<Vec<u8>, CommandError> {
    let exec = edits.iter().find_map(|edit| match edit {
        Edit::SetApp("exec", words) => words.get(0)?.as_str(),
        _ => None,
    });
    let needs = exec.map(|exec| look(rootfs, Path::new(exec))).transpose()?;
    write(name, exec, needs.as_ref())
}

/// What the program at `path` of the tree needs; told is what of it is not there.
pub fn look(rootfs: &Path, path: &Path) -> Result<Needs, CommandError> {
    if !path.is_absolute() {
        return Err(CommandError::usage(format!("the program {} must begin with / (im.app.exec.abs)", path.display())));
    }
    let needs = program::needs(rootfs, path)?;
    for (what, of) in &needs.missing {
        eprintln!("warning: {} needs {what}, which is not below {}", of.display(), rootfs.display());
    }
    Ok(needs)
}

/// The manifest.
pub fn write(name: &str, exec: Option<&str>, needs: Option<&Needs>) -> Result<Vec<u8>, CommandError> {
    let (os, arch) = needs.map_or((None, None), |needs| (needs.program.os, needs.program.arch));
    // Of a static program in no known form this system's are as good as any, and can be changed.
    let here = if cfg!(target_os = "freebsd") { "freebsd" } else { "linux" };
    let labels: Vec<Value> = [("os", os.or(exec.map(|_| here))), ("arch", arch)]
        .into_iter()
        .filter_map(|(name, value)| Some(json!({"name": name, "value": value?})))
        .collect();
    let mut manifest = json!({"acKind": "ImageManifest", "acVersion": appc::SPEC_VERSION, "name": name});
    if !labels.is_empty() {
        manifest["labels"] = json!(labels);
    }
    if let Some(exec) = exec {
        manifest["app"] = json!({"exec": [exec], "user": "0", "group": "0"});
    }
    text(&manifest)
}

/// The manifest with the changes.
pub fn edited(old: &[u8], edits: &[Edit]) -> Result<Vec<u8>, CommandError> {
    let mut manifest: Value =
        serde_json::from_slice(old).map_err(|error| CommandError::failed(format!("read the manifest: {error}")))?;
    patch::apply(&mut manifest, edits)?;
    let pretty = old.iter().filter(|byte| **byte == b'\n').count() > 1;
    let made = if pretty { serde_json::to_vec_pretty(&manifest) } else { serde_json::to_vec(&manifest) };
    let mut made = made.map_err(|error| CommandError::failed(error.to_string()))?;
    made.push(b'\n');
    Ok(made)
}

fn text(manifest: &Value) -> Result<Vec<u8>, CommandError> {
    let mut text = serde_json::to_vec_pretty(manifest).map_err(|error| CommandError::failed(error.to_string()))?;
    text.push(b'\n');
    Ok(text)
}

/// A name that an image can have, out of a file's.
pub fn named(file: Option<&OsStr>) -> String {
    let file = file.unwrap_or_default().to_string_lossy().to_lowercase();
    let mut name = String::new();
    for letter in file.chars() {
        match letter {
            'a'..='z' | '0'..='9' => name.push(letter),
            // Nothing but letters and digits may stand at either end, nor two others side by side.
            _ if !name.is_empty() && !name.ends_with('-') => name.push('-'),
            _ => {}
        }
    }
    let name = name.trim_end_matches('-');
    if name.is_empty() { "image".to_owned() } else { name.to_owned() }
}

/// Writes a file whole, or not at all.
pub fn put(path: &Path, content: &[u8], overwrite: Overwrite) -> Result<(), CommandError> {
    use std::io::Write as _;
    let failed = |error: std::io::Error| CommandError::failed(format!("write {}: {error}", path.display()));
    let there = std::fs::metadata(path).ok();
    let mut draft = Draft::new(path, 0o666).map_err(failed)?;
    if let Some(there) = there {
        draft.file().set_permissions(there.permissions()).map_err(failed)?;
    }
    draft.file().write_all(content).and_then(|()| draft.file().sync_all()).map_err(failed)?;
    draft.publish(overwrite).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_a_name_for_an_image() {
        for (file, name) in [("Site_2.0", "site-2-0"), ("..", "image"), ("-a-", "a"), ("ö", "image"), ("x", "x")] {
            assert_eq!(named(Some(OsStr::new(file))), name, "{file}");
            assert!(name.parse::<appc::schema::AcIdentifier>().is_ok());
        }
    }
}
