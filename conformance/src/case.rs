//! A case: what is built, what is done with it, what shall be seen, and for which clause.
//!
//! One TOML file a case under `cases/<area>/`. `do` names the action; each action has keys of its own, told at its type
//! here and, with examples, in `conformance/README.md`. Unknown keys are errors, so that a slip cannot switch a check off.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::Failure;
use crate::make::files::{Entry, Listed};
use crate::see::Demand;

/// A case with its name, `<area>/<file stem>`.
#[derive(Clone, Debug)]
pub struct Case {
    /// Area and file name.
    pub name: String,
    /// What it is about, one line.
    pub about: String,
    /// Systems on which it can be done at all: empty for any.
    pub platforms: Vec<String>,
    /// What the host must have, by the names of `host.rs`.
    pub needs: Vec<String>,
    /// What is done.
    pub action: Action,
}

/// What a case does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Manifests are judged, each expectation its own.
    Validate(Validate),
    /// Archives are judged, each expectation its own.
    Archive(Archive),
    /// A layout is packed and the archive looked into.
    Build(Build),
    /// Names are resolved against a server on this host.
    Discover(Discover),
    /// Images are fetched and a pod of them is run, with the probe inside.
    Run(Box<Run>),
}

impl Action {
    /// What a target has to be able to do for this.
    pub fn asks(&self) -> Vec<&str> {
        match self {
            Action::Validate(_) | Action::Archive(_) => vec!["validate"],
            Action::Build(_) => vec!["build"],
            Action::Discover(discover) => vec![&discover.ask],
            Action::Run(run) => {
                let mut asks = vec![if run.words.is_some() { "run-image" } else { "run" }];
                if run.image.values().any(|image| image.built) {
                    asks.extend(["build", "id"]);
                }
                asks
            }
        }
    }

    /// The clauses that the case checks, in order, once each.
    pub fn clauses(&self) -> Vec<&str> {
        let all: Vec<&str> = match self {
            Action::Validate(case) => case.expect.iter().map(|one| one.clause.as_str()).collect(),
            Action::Archive(case) => case.expect.iter().map(|one| one.clause.as_str()).collect(),
            Action::Build(case) => case.expect.iter().map(|one| one.clause.as_str()).collect(),
            Action::Discover(case) => case.expect.iter().map(|one| one.clause.as_str()).collect(),
            Action::Run(case) => case.expect.iter().map(|one| one.clause.as_str()).collect(),
        };
        let mut once = Vec::new();
        for clause in all {
            if !once.contains(&clause) {
                once.push(clause);
            }
        }
        once
    }
}

/// How a document or archive shall be judged.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Accepted.
    Valid,
    /// Accepted, with a warning where the implementation names clauses.
    Warned,
    /// Refused in good order.
    Invalid,
}

/// `do = "validate"`: base documents with changes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validate {
    /// The document that the changes are made to: a file of `cases/base/`.
    #[serde(default = "image_base")]
    pub base: String,
    /// One document each.
    pub expect: Vec<Document>,
}

fn image_base() -> String {
    "image".into()
}

/// A manifest and its verdict.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The clause that decides.
    pub clause: String,
    /// The verdict that is due.
    pub verdict: Verdict,
    /// Another base than the case's.
    pub base: Option<String>,
    /// Values by JSON pointer; `/list/-` adds to a list.
    #[serde(default)]
    pub set: BTreeMap<String, Value>,
    /// Pointers whose values are taken out.
    #[serde(default)]
    pub unset: Vec<String>,
    /// Pointers set to JSON's null, which TOML cannot write.
    #[serde(default)]
    pub null: Vec<String>,
    /// The whole document as text, in place of base and changes.
    pub raw: Option<String>,
    /// Clauses, or their beginnings, under which a refusal counts as one for this clause, because they say the same of a part that is shared.
    #[serde(default)]
    pub under: Vec<String>,
    /// Judged as a resolved pod manifest.
    #[serde(default)]
    pub reified: bool,
    /// The line of expectation.
    pub say: Option<String>,
}

/// `do = "archive"`: image archives made entry by entry.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// One archive each.
    pub expect: Vec<Packed>,
}

/// An archive and its verdict.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packed {
    /// The clause that decides.
    pub clause: String,
    /// The verdict that is due.
    pub verdict: Verdict,
    /// All entries in order; `"manifest"` and `"rootfs"` stand for the usual ones.
    pub entries: Option<Vec<Listed>>,
    /// Entries after the usual two.
    #[serde(default)]
    pub add: Vec<Listed>,
    /// Values by JSON pointer, changed in the manifest.
    #[serde(default)]
    pub set: BTreeMap<String, Value>,
    /// `gzip`, `bzip2`, `xz`; plain without.
    pub compress: Option<String>,
    /// Bytes cut off the end of the finished file.
    #[serde(default)]
    pub cut: usize,
    /// Text put after the end of the finished file.
    #[serde(default)]
    pub append: String,
    /// The whole file as text, in place of an archive.
    pub raw: Option<String>,
    /// The file's name.
    #[serde(default = "archive_name")]
    pub file: String,
    /// Clauses, or their beginnings, under which a refusal counts as one for this clause, because they say the same of a part that is shared.
    #[serde(default)]
    pub under: Vec<String>,
    /// Demands on what `id` prints, for archives that are accepted: `{sha512}` stands for the true hash of the tar.
    pub id: Option<String>,
    /// The line of expectation.
    pub say: Option<String>,
}

fn archive_name() -> String {
    "image.aci".into()
}

/// `do = "build"`: a layout on disk, packed by the implementation.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// What stands under `rootfs` in the layout.
    #[serde(default)]
    pub files: Vec<Entry>,
    /// Values by JSON pointer, changed in the manifest.
    #[serde(default)]
    pub set: BTreeMap<String, Value>,
    /// The output's name.
    #[serde(default = "archive_name")]
    pub file: String,
    /// What shall be seen: `exit`, `entries."rootfs/x".mode`, `id`, `again.id`, ...
    pub expect: Vec<Expectation>,
}

/// `do = "discover"`: pages served on this host and names resolved against them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Discover {
    /// Answers by path.
    #[serde(default)]
    pub pages: BTreeMap<String, Page>,
    /// Names to resolve, by the name under which the outcome is seen.
    pub names: BTreeMap<String, String>,
    /// What is asked for: `discover` (addresses) or `fetch` (the image itself, whole).
    #[serde(default = "discover")]
    pub ask: String,
    /// Images that pages can hand out as `aci = "NAME"`.
    #[serde(default)]
    pub image: BTreeMap<String, Image>,
    /// What shall be seen.
    pub expect: Vec<Expectation>,
}

fn discover() -> String {
    "discover".into()
}

/// One answer of the server.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Page {
    /// Status, 200 by default.
    pub status: Option<u16>,
    /// The HTML page.
    pub html: String,
    /// Discovery tags, each `PREFIX TEMPLATE`; `{server}` is this server.
    pub discovery: Vec<String>,
    /// Key tags, each `PREFIX URL`.
    pub keys: Vec<String>,
    /// Where a redirect leads.
    pub location: Option<String>,
    /// The name of an image whose archive is the body.
    pub aci: Option<String>,
    /// Headers that the request must bring, else 401.
    pub demands: Option<String>,
}

/// `do = "run"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Images by short name; the image is called `conformance.test/<short name>`.
    #[serde(default)]
    pub image: BTreeMap<String, Image>,
    /// The pod's apps; one for each image when not given.
    #[serde(default)]
    pub app: Vec<App>,
    /// The rest of the pod manifest.
    #[serde(default)]
    pub pod: Map<String, Value>,
    /// Files made on the host before, under `{host}`.
    #[serde(default)]
    pub host: Vec<Entry>,
    /// How often the pod is run, one after the other.
    #[serde(default = "once")]
    pub times: u32,
    /// The second pod runs at the same time as the first.
    #[serde(default)]
    pub together: bool,
    /// An address of the host that is connected to while the pod runs; what is said there is seen as `dialled`.
    pub dial: Option<String>,
    /// Options for the implementation, by the names of its target file.
    #[serde(default)]
    pub options: Vec<String>,
    /// The first image is run by itself, without a pod manifest, with these words after `--`.
    pub words: Option<Vec<String>>,
    /// What shall be seen.
    pub expect: Vec<Expectation>,
}

fn once() -> u32 {
    1
}

/// An image made for a case.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Image {
    /// What the main process does: verbs of the probe.
    pub main: Option<Vec<String>>,
    /// What the pre-start handler does.
    pub pre_start: Option<Vec<String>>,
    /// What the post-stop handler does.
    pub post_stop: Option<Vec<String>>,
    /// More of the manifest's `app`; wins over what the verbs make.
    pub app: Map<String, Value>,
    /// More of the manifest.
    pub manifest: Map<String, Value>,
    /// The root file system besides the probe.
    pub files: Vec<Entry>,
    /// No probe inside.
    pub bare: bool,
    /// Packed by the implementation's own `build`.
    pub built: bool,
    /// `gzip`, `bzip2`, `xz`; plain without.
    pub compress: Option<String>,
}

/// An app of the pod.
#[derive(Clone, Debug, Deserialize)]
pub struct App {
    /// Its name.
    pub name: String,
    /// The short name of its image.
    pub image: String,
    /// What its main process does, in place of the image's.
    pub main: Option<Vec<String>>,
    /// The rest of the pod manifest's entry.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// What shall be seen.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "toml::Table")]
pub struct Expectation {
    /// The clause that it proves.
    pub clause: String,
    /// The path of the finding.
    pub see: String,
    /// The line of expectation.
    pub say: Option<String>,
    /// Systems on which it is expected: empty for any.
    pub on: Vec<String>,
    /// What the host must have for this one.
    pub needs: Vec<String>,
    /// The finding that says what this machine takes for work of the same kind, in the same run: what misses a bound by less than
    /// [`TELLING`] times that tells nothing of the target.
    pub beside: Option<String>,
    /// The demand.
    pub demand: Demand,
}

/// So many times what the machine takes anyway has to be missed by who misses a bound.
pub const TELLING: f64 = 10.0;

impl TryFrom<toml::Table> for Expectation {
    type Error = toml::de::Error;

    fn try_from(mut table: toml::Table) -> Result<Self, Self::Error> {
        let missing = |key: &str| serde::de::Error::custom(format!("an expectation lacks `{key}`"));
        let mut take = |key: &str| table.remove(key).map(toml::Value::try_into::<Value>).transpose();
        let clause =
            take("clause")?.and_then(|value| value.as_str().map(str::to_owned)).ok_or_else(|| missing("clause"))?;
        let see = take("see")?.and_then(|value| value.as_str().map(str::to_owned)).ok_or_else(|| missing("see"))?;
        let say = take("say")?.and_then(|value| value.as_str().map(str::to_owned));
        let beside = take("beside")?.and_then(|value| value.as_str().map(str::to_owned));
        let list = |value: Option<Value>| -> Vec<String> {
            value.and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default()
        };
        let on = list(take("on")?);
        let needs = list(take("needs")?);
        let demand: Demand = toml::Value::Table(table).try_into()?;
        if demand.is_empty() {
            return Err(missing("a demand"));
        }
        Ok(Expectation { clause, see, say, on, needs, beside, demand })
    }
}

impl Expectation {
    /// The expectation as a line.
    pub fn line(&self) -> String {
        self.say.clone().unwrap_or_else(|| format!("{} {}", self.see, self.demand.words()))
    }
}

impl Case {
    /// Reads one case.
    pub fn read(path: &Path, name: String) -> Result<Case, Failure> {
        let text = fs::read_to_string(path).map_err(|e| Failure::file(path, e))?;
        Case::parse(&text, name).map_err(|e| Failure::file(path, e))
    }

    fn parse(text: &str, name: String) -> Result<Case, toml::de::Error> {
        let mut table: toml::Table = toml::from_str(text)?;
        let mut take = |key: &str| table.remove(key);
        let about = take("about").map(toml::Value::try_into).transpose()?.unwrap_or_default();
        let platforms = take("platforms").map(toml::Value::try_into).transpose()?.unwrap_or_default();
        let needs = take("needs").map(toml::Value::try_into).transpose()?.unwrap_or_default();
        let action: String = take("do").map(toml::Value::try_into).transpose()?.unwrap_or_default();
        let rest = toml::Value::Table(table);
        let action = match action.as_str() {
            "validate" => Action::Validate(rest.try_into()?),
            "archive" => Action::Archive(rest.try_into()?),
            "build" => Action::Build(rest.try_into()?),
            "discover" => Action::Discover(rest.try_into()?),
            "run" => Action::Run(Box::new(rest.try_into()?)),
            other => return Err(serde::de::Error::custom(format!("`do` names no action: {other:?}"))),
        };
        Ok(Case { name, about, platforms, needs, action })
    }
}
