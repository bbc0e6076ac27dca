//! Implementations that are broken on purpose, to prove that the checks bite.
//!
//! A mutant is a sound target with a fault between it and the suite: it executes another pod than it was given, reads other pages, leaves out
//! diagnostics, or runs its apps behind a shim that spoils their surroundings. `mutants/*.toml` describes them; `files`, `pages` and
//! `documents` do what is described. The programs under test hold nothing of it.

mod documents;
mod files;
mod pages;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::Failure;
use crate::case::Page;
use crate::driver::{Answer, Values};
use crate::fault::Fault;
use crate::make::files::Entry;

/// A way to be broken, as its file describes it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Mutant {
    /// Its name.
    pub name: String,
    /// What is wrong with it.
    pub about: String,
    /// Clauses that it breaks; it has to be caught on the first.
    pub breaks: Vec<String>,
    /// Clauses, by their beginnings, whose diagnostics the validator does not know.
    drop_diagnostics: Vec<String>,
    /// Documents and archives that match are refused for no good reason.
    refuse: Option<String>,
    /// The changes to manifests are made to this image alone.
    image: Option<String>,
    /// Taken out of image manifests, by pointers in which `*` stands for any step.
    unset: Vec<String>,
    /// Replaced in image manifests where it stands already.
    set: BTreeMap<String, Value>,
    /// Put into the manifests of images that have an app.
    put: BTreeMap<String, Value>,
    /// Taken out of the pod manifest.
    pod_unset: Vec<String>,
    /// Replaced in the pod manifest where it stands already.
    pod_set: BTreeMap<String, Value>,
    /// Put into every app of the pod manifest.
    pod_app_put: BTreeMap<String, Value>,
    /// Options of the target that every pod is started with besides the case's own.
    options: Vec<String>,
    /// Isolators, by the beginnings of their names, that are not applied.
    drop_isolators: Vec<String>,
    /// Keys of isolators' values that are not looked at, by the name of the isolator.
    isolator_unset: BTreeMap<String, String>,
    /// Values that isolators get in place of theirs, by the name of the isolator.
    isolator_put: BTreeMap<String, Map<String, Value>>,
    /// An isolator that every app gets that has none of its family.
    isolator_add: Option<Value>,
    /// Dependencies in the reverse order.
    reverse_dependencies: bool,
    /// The main process runs as this user and group, the handlers as root.
    main_as: Option<(u32, u32)>,
    /// What a shim does before every process of an app.
    shim: Vec<String>,
    /// What a shim does before the main process.
    shim_main: Vec<String>,
    /// What a shim does before handlers.
    shim_handlers: Vec<String>,
    /// Symbolic links in sources of volumes are followed.
    follow_links: bool,
    /// Sources of volumes that are missing are made.
    make_sources: bool,
    /// What is done in place of an action.
    instead: BTreeMap<String, String>,
    /// Exit codes by action, whatever really happened.
    code: BTreeMap<String, i32>,
    /// Actions whose output is lost.
    silent: Vec<String>,
    /// Text that is lost from the output of every action: a regular expression with what stands for it.
    replace: Vec<(String, String)>,
    /// How the resolver misreads pages.
    pages: Option<pages::Misread>,
    /// How files are mistaken.
    files: Option<files::Mistake>,
}

/// Reads `mutants/*.toml`.
pub fn read(dir: &Path) -> Result<Vec<Mutant>, Failure> {
    #[derive(Deserialize)]
    struct List {
        mutant: Vec<Mutant>,
    }
    let mut mutants: Vec<Mutant> = Vec::new();
    for path in crate::suite::toml_files(dir)? {
        let text = fs::read_to_string(&path).map_err(|e| Failure::file(&path, e))?;
        let list: List = toml::from_str(&text).map_err(|e| Failure::file(&path, e))?;
        mutants.extend(list.mutant);
    }
    for mutant in &mutants {
        if mutant.name.is_empty() || mutant.breaks.is_empty() {
            return Err(Failure::new(format!(
                "a mutant without a name or a clause: {:?} {}",
                mutant.name, mutant.about
            )));
        }
    }
    Ok(mutants)
}

impl Fault for Mutant {
    fn manifest(&self, image: &str, manifest: &mut Value) {
        if self.image.as_ref().is_some_and(|only| only != image) {
            return;
        }
        documents::unset(manifest, &self.unset);
        documents::set(manifest, &self.set);
        if manifest.get("app").is_some() {
            for (pointer, value) in &self.put {
                // A pointer that leads nowhere is a fault of the mutant's file, and shows: nothing is caught.
                let _ = crate::make::document::set(manifest, pointer, value.clone());
            }
        }
        if self.reverse_dependencies
            && let Some(list) = manifest.get_mut("dependencies").and_then(Value::as_array_mut)
        {
            list.reverse();
        }
        if let Some(app) = manifest.get_mut("app") {
            self.app(app);
        }
    }

    fn files(&self, image: &str, files: &mut Vec<Entry>) {
        if self.image.as_ref().is_none_or(|only| only == image)
            && let Some(mistake) = &self.files
        {
            mistake.make(files);
        }
    }

    fn layout(&self, files: &mut Vec<Entry>) {
        self.files("", files);
    }

    fn between_builds(&self, layout: &Path) {
        if let Some(mistake) = &self.files {
            mistake.between(layout);
        }
    }

    fn pod(&self, pod: &mut Value) {
        documents::unset(pod, &self.pod_unset);
        documents::set(pod, &self.pod_set);
        self.isolators(pod);
        for app in pod.get_mut("apps").and_then(Value::as_array_mut).into_iter().flatten() {
            for (name, value) in &self.pod_app_put {
                app[name] = value.clone();
            }
            if let Some(own) = app.get_mut("app") {
                self.app(own);
            }
        }
        for volume in pod.get_mut("volumes").and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(source) = volume.get("source").and_then(Value::as_str).map(str::to_owned) else { continue };
            if self.make_sources {
                // Made or there already: a broken executor does not ask.
                let _ = fs::create_dir_all(&source);
            }
            if let Some(real) = fs::canonicalize(&source).ok().filter(|_| self.follow_links) {
                volume["source"] = json!(real.display().to_string());
            }
        }
    }

    fn options(&self, options: &mut Vec<String>) {
        options.extend(self.options.iter().filter(|own| !options.contains(own)).cloned().collect::<Vec<_>>());
    }

    fn page(&self, path: &str, names: &[&str], page: &mut Page) {
        if let Some(misread) = &self.pages {
            misread.page(path, names, page);
        }
    }

    fn action<'a>(&'a self, action: &'a str) -> &'a str {
        self.instead.get(action).map_or(action, String::as_str)
    }

    fn answer(&self, action: &str, values: &Values, answer: &mut Answer) {
        if action.starts_with("validate") {
            documents::forget(answer, &self.drop_diagnostics);
            let content = values.get("file").and_then(|file| fs::read(file).ok()).unwrap_or_default();
            let pattern = self.refuse.as_ref().and_then(|pattern| regex::Regex::new(pattern).ok());
            if pattern.is_some_and(|pattern| pattern.is_match(&String::from_utf8_lossy(&content))) {
                *answer = Answer { code: Some(1), stderr: "no".into(), ..Answer::default() };
            }
        }
        if let Some(code) = self.code.get(action).filter(|_| answer.orderly()) {
            answer.code = Some(*code);
        }
        if self.silent.iter().any(|one| one == action) {
            answer.stdout.clear();
            answer.stderr.clear();
        }
        for (pattern, other) in &self.replace {
            if let Ok(pattern) = regex::Regex::new(pattern) {
                answer.stdout = pattern.replace_all(&answer.stdout, other).into_owned();
                answer.stderr = pattern.replace_all(&answer.stderr, other).into_owned();
            }
        }
    }
}

impl Mutant {
    /// What becomes of an app's section.
    fn app(&self, app: &mut Value) {
        self.isolators(app);
        if let Some((uid, gid)) = self.main_as {
            app["user"] = json!("0");
            app["group"] = json!("0");
            behind(app.get_mut("exec"), &[format!("gid={gid}"), format!("uid={uid}")]);
        }
        behind(app.get_mut("exec"), &self.shim_main);
        behind(app.get_mut("exec"), &self.shim);
        for handler in app.get_mut("eventHandlers").and_then(Value::as_array_mut).into_iter().flatten() {
            behind(handler.get_mut("exec"), &self.shim_handlers);
            behind(handler.get_mut("exec"), &self.shim);
        }
    }

    /// What becomes of the isolators of an app or a pod.
    fn isolators(&self, holder: &mut Value) {
        let is_app = holder.get("user").is_some();
        let names = |list: &[Value], family: &str| {
            list.iter().any(|one| one["name"].as_str().is_some_and(|name| name.starts_with(family)))
        };
        if let Some(added) = self.isolator_add.as_ref().filter(|_| is_app) {
            let family = added["name"]
                .as_str()
                .map(|name| name.split('-').next().unwrap_or(name).to_owned())
                .unwrap_or_default();
            let list = holder.get("isolators").and_then(Value::as_array).cloned().unwrap_or_default();
            if !names(&list, &family) {
                holder["isolators"] = list.into_iter().chain([added.clone()]).collect();
            }
        }
        let Some(list) = holder.get_mut("isolators").and_then(Value::as_array_mut) else { return };
        list.retain(|one| {
            !self
                .drop_isolators
                .iter()
                .any(|front| one["name"].as_str().is_some_and(|name| name.starts_with(front.as_str())))
        });
        for one in list {
            let name = one["name"].as_str().unwrap_or_default().to_owned();
            if let (Some(key), Some(value)) = (self.isolator_unset.get(&name), one["value"].as_object_mut()) {
                value.shift_remove(key);
            }
            if let (Some(put), Some(value)) = (self.isolator_put.get(&name), one["value"].as_object_mut()) {
                value.extend(put.clone());
            }
        }
    }
}

/// Puts a process behind the probe's shim.
fn behind(exec: Option<&mut Value>, shim: &[String]) {
    let Some(Value::Array(words)) = exec else { return };
    if shim.is_empty() || words.first() != Some(&json!("/probe")) {
        return;
    }
    let front = ["/probe", "shim"].into_iter().chain(shim.iter().map(String::as_str)).chain(["--"]).map(Value::from);
    *words = front.chain(words.iter().cloned()).collect();
}
