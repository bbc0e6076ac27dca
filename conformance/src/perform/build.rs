//! `do = "build"`: what the target packs is read by an independent reader.

use std::fs;
use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Bench, Outcome, hold};
use crate::Failure;
use crate::case::Build;
use crate::driver::{Answer, Values};
use crate::make::archive as make;
use crate::make::{document, files};

pub fn perform(case: &Build, bench: &Bench<'_>, work: &Path) -> Result<Outcome, Failure> {
    let layout = work.join("layout");
    let base = bench.suite.bases.get("smallest").ok_or_else(|| Failure::new("no base document named smallest"))?;
    let mut manifest = document::changed(base, &case.set, &[], &[]).map_err(Failure::new)?;
    bench.fault.manifest("", &mut manifest);
    let mut listed = case.files.clone();
    bench.fault.layout(&mut listed);
    let laid = fs::create_dir_all(layout.join("rootfs"))
        .and_then(|()| fs::write(layout.join("manifest"), make::bytes(&manifest)))
        .and_then(|()| files::lay_out(&layout.join("rootfs"), &listed));
    laid.map_err(|e| Failure::file(&layout, e))?;
    let mut outcome = Outcome::default();
    let mut seen = pack(&layout, &work.join(&case.file), bench, work, &mut outcome)?;
    let again = work.join("again");
    fs::create_dir(&again).map_err(|e| Failure::file(&again, e))?;
    bench.fault.between_builds(&layout);
    seen["again"] = pack(&layout, &again.join(&case.file), bench, work, &mut outcome)?;
    outcome.checks = hold(&case.expect, &seen, bench);
    Ok(outcome)
}

fn pack(layout: &Path, out: &Path, bench: &Bench<'_>, work: &Path, outcome: &mut Outcome) -> Result<Value, Failure> {
    let values = Values::from([
        ("dir".into(), layout.display().to_string()),
        ("out".into(), out.display().to_string()),
        ("work".into(), work.display().to_string()),
    ]);
    let answer: Answer = bench.driver.ask("build", &values)?;
    outcome.watch("build", &answer);
    let mut seen = json!({ "exit": answer.code, "stderr": answer.stderr, "written": out.exists() });
    if let Ok(bytes) = fs::read(out) {
        let tar = plain(&bytes);
        seen["id"] = json!(make::image_id(&tar));
        match entries(&tar) {
            Ok(entries) => seen["entries"] = entries,
            Err(e) => seen["unreadable"] = json!(e.to_string()),
        }
    }
    Ok(seen)
}

fn plain(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut plain) {
        Ok(_) => plain,
        Err(_) => bytes.to_vec(),
    }
}

/// Entries by name with what the headers and PAX records say.
fn entries(tar: &[u8]) -> std::io::Result<Value> {
    let mut seen = Map::new();
    for entry in tar::Archive::new(tar).entries()? {
        let mut entry = entry?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).trim_end_matches('/').to_owned();
        let header = entry.header().clone();
        let mut one = json!({
            "type": (header.entry_type().as_byte() as char).to_string(),
            "mode": format!("{:04o}", header.mode()? & 0o7777),
            "uid": header.uid()?,
            "gid": header.gid()?,
            "mtime": header.mtime()?.to_string(),
        });
        if let Some(link) = entry.link_name_bytes() {
            one["to"] = json!(String::from_utf8_lossy(&link));
        }
        if let Some(records) = entry.pax_extensions()? {
            for record in records {
                let record = record?;
                let (key, value) = (
                    String::from_utf8_lossy(record.key_bytes()).into_owned(),
                    String::from_utf8_lossy(record.value_bytes()).into_owned(),
                );
                match key.strip_prefix("SCHILY.xattr.") {
                    Some(name) => one["xattrs"][name] = json!(value),
                    None if key == "mtime" => one["mtime"] = json!(value),
                    None => one["pax"][key] = json!(value),
                }
            }
        }
        let mut text = String::new();
        if entry.size() < 4096 && entry.read_to_string(&mut text).is_ok() {
            one["text"] = json!(text);
        }
        seen.insert(name, one);
    }
    Ok(Value::Object(seen))
}
