//! Datasets of the model, and the `zfs` program in front of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Inner;
use super::disk::{Content, Receiving};
use super::files::Node;
use crate::executor::freebsd::system::Mounted;

/// A dataset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dataset {
    /// Where it is mounted.
    pub mountpoint: Option<PathBuf>,
    /// The snapshot that it was cloned from.
    pub origin: Option<String>,
    /// What was set on it.
    pub properties: BTreeMap<String, String>,
    /// What its snapshots hold, by name.
    pub snapshots: BTreeMap<String, BTreeMap<PathBuf, Node>>,
    /// When it was made, in seconds, of one that is kept in directories.
    #[serde(default)]
    pub(super) created: u64,
    /// The directory with what it holds, likewise.
    #[serde(default)]
    pub(super) content: Option<Content>,
    /// Which its snapshots are, by name, likewise.
    #[serde(default)]
    pub(super) guids: BTreeMap<String, u64>,
    /// What has come of a stream that is to make it.
    #[serde(default)]
    pub(super) receiving: Option<Receiving>,
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Inner {
    pub(super) fn add_dataset(&mut self, name: &str, mountpoint: Option<PathBuf>) {
        let dataset = Dataset { mountpoint: mountpoint.clone(), ..Dataset::default() };
        self.state.datasets.insert(name.to_owned(), dataset);
        if let Some(on) = mountpoint {
            self.mount_dataset(name, &on);
        }
    }

    fn mount_dataset(&mut self, name: &str, on: &Path) {
        let mut at = PathBuf::from("/");
        for component in on.components().skip(1) {
            at.push(component);
            self.state.files.entry(at.clone()).or_insert(Node::Directory);
        }
        let mounted = Mounted { kind: "zfs".to_owned(), from: name.to_owned(), on: on.to_owned(), read_only: false };
        self.state.mounts.push(mounted);
    }

    pub(super) fn seal(&mut self, name: &str) {
        let content = self.content(name);
        if let Some(dataset) = self.state.datasets.get_mut(name) {
            dataset.snapshots.insert("sealed".to_owned(), content);
        }
        for mount in self.state.mounts.iter_mut().filter(|mount| mount.kind == "zfs" && mount.from == name) {
            mount.read_only = true;
        }
    }

    fn content(&self, name: &str) -> BTreeMap<PathBuf, Node> {
        let Some(on) = self.state.datasets.get(name).and_then(|dataset| dataset.mountpoint.clone()) else {
            return BTreeMap::new();
        };
        let inside = self.state.files.iter().filter_map(|(path, node)| {
            let path = path.strip_prefix(&on).ok()?;
            (!path.as_os_str().is_empty()).then(|| (path.to_owned(), node.clone()))
        });
        inside.collect()
    }

    pub(super) fn zfs(&mut self, arguments: &[&str]) -> Result<String, String> {
        let (options, names) = split(arguments.get(1..).unwrap_or_default());
        let properties: Vec<(&str, &str)> =
            options.iter().filter_map(|(flag, value)| (*flag == "-o").then_some(*value)?.split_once('=')).collect();
        let flag = |name: &str| options.iter().any(|(flag, _)| *flag == name);
        if !self.state.modules.contains("zfs") {
            return Err("Unable to open /dev/zfs: No such file or directory".to_owned());
        }
        match (arguments.first().copied(), names.as_slice()) {
            (Some("clone"), [snapshot, name]) => self.clone_dataset(snapshot, name, &properties, flag("-p")),
            (Some("create"), [name]) => self.create_dataset(name, &properties, flag("-p")),
            (Some("destroy"), [name]) => self.destroy_dataset(name, flag("-r"), flag("-f")),
            (Some("snapshot"), [name]) => {
                let (dataset, snapshot) = name.split_once('@').ok_or("missing '@' delimiter")?;
                self.there(dataset)?;
                if self.state.datasets[dataset].snapshots.contains_key(snapshot) {
                    return Err(format!("cannot create snapshot '{name}': dataset already exists"));
                }
                let (content, guid) = (self.content(dataset), self.keep_content(dataset)?);
                let of = self.state.datasets.get_mut(dataset).ok_or_else(|| missing(dataset))?;
                of.snapshots.insert(snapshot.to_owned(), content);
                of.guids.extend(guid.map(|guid| (snapshot.to_owned(), guid)));
                Ok(String::new())
            }
            (Some("diff"), [snapshot, name]) => self.diff(snapshot, name),
            (Some("mount"), [name]) => {
                self.there(name)?;
                let dataset = &self.state.datasets[*name];
                let on =
                    dataset.mountpoint.clone().ok_or_else(|| format!("cannot mount '{name}': no mountpoint set"))?;
                if self.is_mounted(dataset) {
                    return Err(format!("cannot mount '{name}': filesystem already mounted"));
                }
                self.mount_dataset(name, &on);
                Ok(String::new())
            }
            (Some("rename"), [from, to]) => self.rename_dataset(from, to),
            (Some("set"), [settings @ .., name]) => self.set(name, settings),
            (Some("get"), [what, name]) => {
                if let Some((_, label)) = name.split_once('@') {
                    let guid = self.snapshot_guid(name).ok_or_else(|| missing(name))?;
                    let clones =
                        self.state.datasets.iter().filter(|(_, dataset)| dataset.origin.as_deref() == Some(*name));
                    return match *what {
                        "guid" => Ok(format!("{guid}\n")),
                        "clones" => Ok(clones.map(|(clone, _)| clone.as_str()).collect::<Vec<_>>().join(",") + "\n"),
                        _ => Err(format!("the model knows no {what} of @{label}")),
                    };
                }
                self.there(name)?;
                let values = self.below(name, flag("-r")).flat_map(|(found, dataset)| {
                    what.split(',').map(|what| self.property(found, dataset, what) + "\n")
                });
                Ok(values.collect())
            }
            (Some("inherit"), [property, name]) => {
                self.there(name)?;
                if let Some(dataset) = self.state.datasets.get_mut(*name) {
                    dataset.properties.remove(*property);
                }
                Ok(String::new())
            }
            (Some("list"), [name]) => {
                self.there(name)?;
                let wanted =
                    options.iter().find(|(flag, _)| *flag == "-o").map_or("name,mountpoint", |(_, value)| value);
                let line = |(found, dataset): (&String, &Dataset)| {
                    let values: Vec<_> = wanted.split(',').map(|what| self.property(found, dataset, what)).collect();
                    values.join("\t") + "\n"
                };
                Ok(self.below(name, flag("-r")).map(line).collect())
            }
            (Some("receive"), [name]) if flag("-A") => match self.state.datasets.get(*name) {
                Some(dataset) if dataset.receiving.is_some() => {
                    self.state.datasets.remove(*name);
                    Ok(String::new())
                }
                Some(_) => Err(format!("'{name}' does not have any resumable receive state to abort")),
                None => Err(missing(name)),
            },
            _ => Err(format!("the model knows no `zfs {}`", arguments.join(" "))),
        }
    }

    pub(super) fn zpool(&self, arguments: &[&str]) -> Result<String, String> {
        match arguments {
            ["list", "-H", "-o", "name"] => {
                let pools = self.state.datasets.keys().filter(|name| !name.contains('/'));
                Ok(pools.map(|name| format!("{name}\n")).collect())
            }
            ["get", "-H", "-o", "property,value", "all", pool] if self.state.datasets.contains_key(*pool) => {
                let features = self.state.features.iter().map(|name| format!("feature@{name}\tactive\n"));
                Ok(std::iter::once("size\t9.50G\n".to_owned()).chain(features).collect())
            }
            _ => Err(format!("the model knows no `zpool {}`", arguments.join(" "))),
        }
    }

    /// A dataset, and those below it where they are asked for.
    fn below<'i>(&'i self, name: &'i str, all: bool) -> impl Iterator<Item = (&'i String, &'i Dataset)> {
        let under = move |found: &str| found.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'));
        self.state.datasets.iter().filter(move |(found, _)| *found == name || all && under(found))
    }

    fn property(&self, name: &str, dataset: &Dataset, what: &str) -> String {
        match what {
            "name" => name.to_owned(),
            "mountpoint" => dataset.mountpoint.as_ref().map_or("none".into(), |on| on.display().to_string()),
            "mounted" if self.is_mounted(dataset) => "yes".to_owned(),
            "mounted" => "no".to_owned(),
            "origin" => dataset.origin.clone().unwrap_or_else(|| "-".to_owned()),
            "creation" => dataset.created.to_string(),
            "receive_resume_token" => self.resume_token(name, dataset),
            other => {
                let by_itself = match other {
                    "casesensitivity" => "sensitive",
                    "normalization" => "none",
                    "utf8only" => "off",
                    _ => "-",
                };
                dataset.properties.get(other).cloned().unwrap_or_else(|| by_itself.to_owned())
            }
        }
    }

    fn is_mounted(&self, dataset: &Dataset) -> bool {
        let on = |mount: &&Mounted| mount.kind == "zfs" && Some(&mount.on) == dataset.mountpoint.as_ref();
        self.state.mounts.iter().find(on).is_some()
    }

    fn there(&self, name: &str) -> Result<(), String> {
        if self.state.datasets.contains_key(name) { Ok(()) } else { Err(missing(name)) }
    }

    fn make(&mut self, name: &str, properties: &[(&str, &str)], parents: bool, of: Option<u64>) -> Result<(), String> {
        if self.state.datasets.contains_key(name) {
            return Err(format!("cannot create '{name}': dataset already exists"));
        }
        let pool = name.split('/').next().unwrap_or(name);
        if !self.state.datasets.contains_key(pool) {
            return Err(format!("cannot create '{name}': no such pool '{pool}'"));
        }
        if self.state.free == 0 {
            return Err(format!("cannot create '{name}': out of space"));
        }
        if let Some((parent, _)) = name.rsplit_once('/')
            && !self.state.datasets.contains_key(parent)
        {
            if !parents || !parent.contains('/') {
                return Err(format!("cannot create '{name}': parent does not exist"));
            }
            self.make(parent, &[], true, None)?;
        }
        let content = self.make_content(name, of)?;
        let created = if content.is_some() { now() } else { 0 };
        let mut dataset = Dataset { content, created, ..Dataset::default() };
        for (key, value) in properties {
            if *key == "mountpoint" && *value != "none" {
                dataset.mountpoint = Some(PathBuf::from(value));
            } else {
                dataset.properties.insert((*key).to_owned(), (*value).to_owned());
            }
        }
        let mounted = !properties.contains(&("canmount", "off"));
        let on = dataset.mountpoint.clone();
        self.state.datasets.insert(name.to_owned(), dataset);
        if let Some(on) = on.filter(|_| mounted) {
            self.mount_dataset(name, &on);
        }
        Ok(())
    }

    fn create_dataset(&mut self, name: &str, properties: &[(&str, &str)], parents: bool) -> Result<String, String> {
        self.make(name, properties, parents, None).map(|()| String::new())
    }

    fn clone_dataset(
        &mut self,
        snapshot: &str,
        name: &str,
        properties: &[(&str, &str)],
        parents: bool,
    ) -> Result<String, String> {
        let (dataset, label) = snapshot.split_once('@').ok_or_else(|| missing(snapshot))?;
        let of = self.state.datasets.get(dataset).and_then(|dataset| dataset.snapshots.get(label));
        let content = of.cloned().ok_or_else(|| missing(snapshot))?;
        let guid = self.snapshot_guid(snapshot);
        self.make(name, properties, parents, guid)?;
        if let Some(made) = self.state.datasets.get_mut(name) {
            made.origin = Some(snapshot.to_owned());
            if let Some(on) = made.mountpoint.clone() {
                self.state.files.extend(content.into_iter().map(|(path, node)| (on.join(path), node)));
            }
        }
        Ok(String::new())
    }

    /// As `zfs diff -H` tells it: in no order that would mean anything, names of directories' entries not apart.
    fn diff(&self, snapshot: &str, name: &str) -> Result<String, String> {
        self.there(name)?;
        let (dataset, label) = snapshot.split_once('@').ok_or_else(|| missing(snapshot))?;
        let before = self.state.datasets.get(dataset).and_then(|dataset| dataset.snapshots.get(label));
        let before = before.ok_or_else(|| missing(snapshot))?;
        let of = &self.state.datasets[name];
        if of.origin.as_deref() != Some(snapshot) && dataset != name {
            return Err(format!("Unable to obtain diffs: Not an earlier snapshot from the same fs: {snapshot}"));
        }
        let on = of.mountpoint.clone().ok_or_else(|| format!("Cannot diff an unmounted snapshot: {name}"))?;
        let after = self.content(name);
        let mut told = BTreeSet::new();
        let mut tell = |sign: char, path: &Path| {
            told.insert(format!("{sign}\t{}\n", escaped(&on.join(path))));
            if sign != 'M' {
                told.insert(format!("M\t{}\n", escaped(&on.join(path.parent().unwrap_or(Path::new(""))))));
            }
        };
        for (path, node) in &after {
            match before.get(path) {
                None => tell('+', path),
                Some(was) if was != node => tell('M', path),
                Some(_) => {}
            }
        }
        before.keys().filter(|path| !after.contains_key(*path)).for_each(|path| tell('-', path));
        Ok(told.into_iter().collect())
    }

    fn destroy_dataset(&mut self, name: &str, below: bool, force: bool) -> Result<String, String> {
        self.there(name)?;
        let inside = format!("{name}/");
        let doomed: BTreeSet<String> =
            self.state.datasets.keys().filter(|found| *found == name || found.starts_with(&inside)).cloned().collect();
        if doomed.len() > 1 && !below {
            return Err(format!("cannot destroy '{name}': filesystem has children"));
        }
        for (found, dataset) in self.state.datasets.iter().filter(|(found, _)| !doomed.contains(*found)) {
            let origin = dataset.origin.as_deref().and_then(|origin| origin.split_once('@'));
            if let Some((of, label)) = origin.filter(|(of, _)| doomed.contains(*of)) {
                return Err(format!("cannot destroy '{of}@{label}': snapshot has dependent clones: {found}"));
            }
        }
        for one in &doomed {
            let dataset = &self.state.datasets[one];
            if !below && !dataset.snapshots.is_empty() {
                return Err(format!("cannot destroy '{one}': filesystem has children"));
            }
            let Some(on) = dataset.mountpoint.clone() else { continue };
            let position = self.state.mounts.iter().rposition(|mount| mount.kind == "zfs" && mount.from == *one);
            let Some(position) = position else { continue };
            // Even by force nothing goes away below another mount.
            let covered = self.state.mounts[position + 1..].iter().any(|mount| mount.on.starts_with(&on));
            if covered || self.busy(&on, position) && !force {
                return Err(format!("cannot unmount '{}': pool or dataset is busy", on.display()));
            }
        }
        for one in doomed {
            self.hide_content(&one)?;
            let Some(dataset) = self.state.datasets.remove(&one) else { continue };
            self.state.mounts.retain(|mount| mount.kind != "zfs" || mount.from != one);
            if let Some(on) = dataset.mountpoint {
                self.state.files.retain(|path, _| !path.starts_with(&on));
            }
        }
        Ok(String::new())
    }

    fn rename_dataset(&mut self, from: &str, to: &str) -> Result<String, String> {
        self.there(from)?;
        if self.state.datasets.contains_key(to) {
            return Err(format!("cannot rename '{from}': dataset already exists"));
        }
        if let Some(dataset) = self.state.datasets.remove(from) {
            self.state.datasets.insert(to.to_owned(), dataset);
        }
        let snapshots = format!("{from}@");
        for dataset in self.state.datasets.values_mut() {
            let label = dataset.origin.as_deref().and_then(|origin| origin.strip_prefix(&snapshots));
            if let Some(label) = label {
                dataset.origin = Some(format!("{to}@{label}"));
            }
        }
        for mount in self.state.mounts.iter_mut().filter(|mount| mount.kind == "zfs" && mount.from == from) {
            to.clone_into(&mut mount.from);
        }
        Ok(String::new())
    }

    fn set(&mut self, name: &str, settings: &[&str]) -> Result<String, String> {
        self.there(name)?;
        for setting in settings {
            let (key, value) = setting.split_once('=').ok_or("missing '='")?;
            let Some(dataset) = self.state.datasets.get_mut(name) else { continue };
            dataset.properties.insert(key.to_owned(), value.to_owned());
            match (key, dataset.mountpoint.clone()) {
                ("mountpoint", Some(old)) if value == "none" => {
                    dataset.mountpoint = None;
                    self.state.files.retain(|path, _| !path.starts_with(&old));
                    self.state.mounts.retain(|mount| mount.kind != "zfs" || mount.from != name);
                }
                ("mountpoint", Some(old)) => {
                    let new = PathBuf::from(value);
                    dataset.mountpoint = Some(new.clone());
                    let content = self.state.files.iter().filter(|(path, _)| path.starts_with(&old));
                    let content: Vec<_> = content.map(|(path, node)| (path.clone(), node.clone())).collect();
                    for (path, node) in content {
                        self.state.files.remove(&path);
                        let rest = path.strip_prefix(&old).unwrap_or(&path).to_owned();
                        self.state.files.insert(new.join(rest), node);
                    }
                    let mounts = self.state.mounts.iter_mut();
                    for mount in mounts.filter(|mount| mount.kind == "zfs" && mount.from == name) {
                        mount.on.clone_from(&new);
                    }
                }
                ("mountpoint", None) if value != "none" => {
                    let on = PathBuf::from(value);
                    dataset.mountpoint = Some(on.clone());
                    self.mount_dataset(name, &on);
                }
                ("readonly", _) => {
                    let mounts = self.state.mounts.iter_mut();
                    for mount in mounts.filter(|mount| mount.kind == "zfs" && mount.from == name) {
                        mount.read_only = value == "on";
                    }
                }
                _ => {}
            }
        }
        Ok(String::new())
    }
}

/// A path as `zfs diff` prints it.
fn escaped(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let mut text = String::new();
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'\\' | 0..=b' ' | 0x7f.. => text.push_str(&format!("\\{byte:04o}")),
            _ => text.push(char::from(byte)),
        }
    }
    text
}

pub(super) fn missing(name: &str) -> String {
    format!("cannot open '{name}': dataset does not exist")
}

/// Options with their values, and the rest.
pub(super) fn split<'a>(arguments: &[&'a str]) -> (Vec<(&'a str, &'a str)>, Vec<&'a str>) {
    let mut options = Vec::new();
    let mut rest = Vec::new();
    let mut all = arguments.iter().copied();
    while let Some(argument) = all.next() {
        match argument {
            "-o" | "-d" | "-i" | "-x" => options.push((argument, all.next().unwrap_or_default())),
            // A type where datasets are listed, a token where one is sent.
            "-t" => options.push((argument, all.next().unwrap_or_default())),
            flag if flag.starts_with('-') => options.push((flag, "")),
            name => rest.push(name),
        }
    }
    (options, rest)
}
