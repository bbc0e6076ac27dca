//! Making a case's images and pod manifest.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::Bench;
use crate::Failure;
use crate::case::{App, Image, Run};
use crate::driver::{Answer, Values};
use crate::make::archive::{self as make, Tar};
use crate::make::document;
use crate::make::files::{self, Entry};

/// An image on disk.
pub struct Made {
    /// Its short name.
    pub short: String,
    /// The archive.
    pub file: PathBuf,
    /// Its image ID, by definition.
    pub id: String,
}

/// Why there is no image.
pub enum Unmade {
    /// The suite could not make it.
    Failed(Failure),
    /// The target was asked to pack it and did not.
    Refused(Answer),
}

impl From<Failure> for Unmade {
    fn from(failure: Failure) -> Unmade {
        Unmade::Failed(failure)
    }
}

/// The name of the image with this short name.
pub fn full(short: &str) -> String {
    format!("conformance.test/{short}")
}

/// Makes all images, those that others depend on first.
pub fn images(
    all: &BTreeMap<String, Image>,
    bench: &Bench<'_>,
    work: &Path,
    values: &BTreeMap<String, String>,
) -> Result<Vec<Made>, Unmade> {
    let dir = work.join("images");
    fs::create_dir_all(&dir).map_err(|e| Failure::file(&dir, e))?;
    if bench.target.run_as.as_deref() == Some("user") {
        // What the target builds it writes here itself.
        super::run::give_away(&dir)?;
    }
    let mut known = values.clone();
    let mut made = Vec::new();
    for (short, image) in by_depth(all) {
        let one = self::image(short, image, bench, work, &known)?;
        known.insert(format!("id:{short}"), one.id.clone());
        made.push(one);
    }
    Ok(made)
}

/// Dependencies before those that name them. A cycle comes out in any order: refusing it is the target's business.
fn by_depth(all: &BTreeMap<String, Image>) -> Vec<(&String, &Image)> {
    fn depth(short: &str, all: &BTreeMap<String, Image>, left: usize) -> usize {
        let Some(image) = all.get(short).filter(|_| left > 0) else { return 0 };
        let names = image.manifest.get("dependencies").and_then(Value::as_array).into_iter().flatten();
        let shorts = names.filter_map(|one| one["imageName"].as_str()?.rsplit('/').next());
        shorts.map(|short| depth(short, all, left - 1) + 1).max().unwrap_or(0)
    }
    let mut list: Vec<_> = all.iter().collect();
    list.sort_by_key(|(short, _)| depth(short, all, all.len()));
    list
}

/// The manifest of an image.
pub fn manifest(short: &str, image: &Image, values: &BTreeMap<String, String>) -> Value {
    let mut app = Map::new();
    let words = |who: &str, verbs: &[String]| -> Value {
        ["/probe", who].into_iter().map(Value::from).chain(verbs.iter().map(|verb| json!(verb))).collect()
    };
    if let Some(verbs) = &image.main {
        app.insert("exec".into(), words(short, verbs));
    }
    let handlers: Vec<Value> = [("pre-start", &image.pre_start), ("post-stop", &image.post_stop)]
        .into_iter()
        .filter_map(|(name, verbs)| verbs.as_ref().map(|verbs| json!({ "name": name, "exec": words(name, verbs) })))
        .collect();
    if !handlers.is_empty() {
        app.insert("eventHandlers".into(), json!(handlers));
    }
    let mut manifest = json!({ "acKind": "ImageManifest", "acVersion": "0.8.11", "name": full(short) });
    if !app.is_empty() || !image.app.is_empty() {
        let mut whole = json!({ "user": "0", "group": "0" });
        document::overlay(&mut whole, &Value::Object(app));
        document::overlay(&mut whole, &Value::Object(image.app.clone()));
        manifest["app"] = whole;
    }
    document::overlay(&mut manifest, &Value::Object(image.manifest.clone()));
    document::filled(&mut manifest, values);
    manifest
}

/// Says for which system the image is, where it does not.
fn labelled(manifest: &mut Value, os: &str) {
    let Some(manifest) = manifest.as_object_mut() else { return };
    let labels = manifest.entry("labels").or_insert_with(|| json!([]));
    if let Some(labels) = labels.as_array_mut().filter(|labels| labels.iter().all(|label| label["name"] != "os")) {
        labels.push(json!({ "name": "os", "value": os }));
    }
}

/// Packs one image.
pub fn image(
    short: &str,
    image: &Image,
    bench: &Bench<'_>,
    work: &Path,
    values: &BTreeMap<String, String>,
) -> Result<Made, Unmade> {
    let mut manifest = manifest(short, image, values);
    if let Some(os) = &bench.target.images {
        labelled(&mut manifest, os);
    }
    bench.fault.manifest(short, &mut manifest);
    let mut listed = image.files.clone();
    bench.fault.files(short, &mut listed);
    let file = work.join("images").join(format!("{short}.aci"));
    if image.built {
        return built(short, &manifest, &listed, bench, work, file);
    }
    let mut tar = Tar::default();
    tar.add(&make::usual("manifest", &make::bytes(&manifest)));
    tar.add(&make::usual("rootfs", b""));
    for entry in listed {
        let path = format!("rootfs/{}", entry.path.trim_start_matches('/'));
        // A hard link's target is an entry of the archive; a symbolic link's is a text.
        let to = if entry.kind == "hardlink" {
            format!("rootfs/{}", entry.to.trim_start_matches('/'))
        } else {
            entry.to.clone()
        };
        tar.add(&Entry { path, to, ..entry });
    }
    if !image.bare {
        tar.add_bytes(
            &Entry { path: "rootfs/probe".into(), mode: Some("0755".into()), ..Entry::default() },
            bench.probe,
        );
    }
    let tar = tar.finish();
    let id = make::image_id(&tar);
    let bytes = make::compressed(tar, image.compress.as_deref())
        .map_err(|e| Failure::new(format!("failed to compress: {e}")))?;
    fs::write(&file, bytes).map_err(|e| Failure::file(&file, e))?;
    Ok(Made { short: short.to_owned(), file, id })
}

/// Has the target pack the image from a layout.
fn built(
    short: &str,
    manifest: &Value,
    listed: &[Entry],
    bench: &Bench<'_>,
    work: &Path,
    file: PathBuf,
) -> Result<Made, Unmade> {
    let layout = work.join("layouts").join(short);
    let rootfs = layout.join("rootfs");
    let laid = fs::create_dir_all(&rootfs)
        .and_then(|()| fs::write(layout.join("manifest"), make::bytes(manifest)))
        .and_then(|()| files::lay_out(&rootfs, listed))
        .and_then(|()| fs::write(rootfs.join("probe"), bench.probe))
        .and_then(|()| fs::set_permissions(rootfs.join("probe"), std::os::unix::fs::PermissionsExt::from_mode(0o755)));
    laid.map_err(|e| Failure::file(&layout, e))?;
    if bench.target.run_as.as_deref() == Some("user") {
        super::run::give_away(&layout)?;
    }
    let values = Values::from([
        ("dir".into(), layout.display().to_string()),
        ("out".into(), file.display().to_string()),
        ("work".into(), work.display().to_string()),
    ]);
    let answer = bench.driver.ask("build", &values)?;
    if !answer.succeeded() {
        return Err(Unmade::Refused(answer));
    }
    let values =
        Values::from([("file".into(), file.display().to_string()), ("work".into(), work.display().to_string())]);
    let answer = bench.driver.ask("id", &values)?;
    if !answer.succeeded() {
        return Err(Unmade::Refused(answer));
    }
    Ok(Made { short: short.to_owned(), file, id: answer.stdout.trim().to_owned() })
}

/// The pod manifest.
pub fn pod(case: &Run, made: &[Made], values: &BTreeMap<String, String>) -> Value {
    let mut apps: Vec<Value> = case.app.iter().map(|one| app(one, made)).collect();
    if apps.is_empty() {
        let runnable = made.iter().filter(|one| {
            case.image.get(&one.short).is_some_and(|image| image.main.is_some() || !image.app.is_empty())
        });
        apps = runnable
            .map(|one| json!({ "name": one.short, "image": { "name": full(&one.short), "id": one.id } }))
            .collect();
    }
    let mut pod = json!({ "acKind": "PodManifest", "acVersion": "0.8.11", "apps": apps });
    document::overlay(&mut pod, &Value::Object(case.pod.clone()));
    document::filled(&mut pod, values);
    pod
}

fn app(one: &App, made: &[Made]) -> Value {
    let id = made.iter().find(|image| image.short == one.image).map(|image| image.id.clone());
    let mut app = json!({ "name": one.name, "image": { "name": full(&one.image), "id": id } });
    if let Some(verbs) = &one.main {
        let exec: Vec<&str> = ["/probe", &one.name].into_iter().chain(verbs.iter().map(String::as_str)).collect();
        app["app"] = json!({ "exec": exec, "user": "0", "group": "0" });
    }
    document::overlay(&mut app, &Value::Object(one.rest.clone()));
    app
}
