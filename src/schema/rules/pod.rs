//! Pods: names across apps, references between mounts, volumes and ports, and what being reified means.

use std::collections::HashMap;

use super::{Place, app, each, isolators, lists, paths, unique};
use crate::diagnostic::Severity;
use crate::schema::AbsPath;
use crate::schema::findings::Findings;
use crate::schema::json::{Node, Span, Value};
use crate::schema::validate::Profile;
use crate::schema::walk::short;

/// Rules for a pod manifest.
pub(super) fn check(root: &Node<'_>, profile: Profile, findings: &mut Findings) {
    let apps = root.list("apps");
    if let Some(node) = root.get("apps")
        && matches!(&node.value, Value::Array(items) if items.is_empty())
    {
        let severity = match profile {
            Profile::Template => Severity::Warning,
            Profile::Reified => Severity::Error,
        };
        findings.add(severity, "pm.apps", node.span, "the pod has no apps");
    }
    unique(each(apps, "name"), findings, "pm.apps.name", "app");
    unique(each(root.list("volumes"), "name"), findings, "pm.volumes.name", "volume");
    for volume in root.list("volumes") {
        self::volume(volume, findings);
    }
    let volumes = Named::new(root.list("volumes"));
    for app in apps {
        pod_app(app, &volumes, profile, findings);
    }
    port_names(apps, findings);
    exposed(root.list("ports"), apps, findings);
    isolators::check(root.list("isolators"), Place::Pod, findings);
    lists::annotations(root.list("annotations"), "pm.ann", findings);
}

/// The objects of lists by their names, the first of each. Documents may be long, and are searched for every reference.
#[derive(Default)]
struct Named<'n, 'd>(HashMap<&'n str, &'n Node<'d>>);

impl<'n, 'd> Named<'n, 'd> {
    fn new(items: impl IntoIterator<Item = &'n Node<'d>>) -> Self {
        let mut named = HashMap::new();
        for item in items {
            if let Some(name) = item.text("name") {
                named.entry(name).or_insert(item);
            }
        }
        Self(named)
    }

    fn get(&self, name: &str) -> Option<&'n Node<'d>> {
        self.0.get(name).copied()
    }

    /// In an order of their own, as maps have none.
    fn names(&self) -> Vec<&'n str> {
        let mut names: Vec<&str> = self.0.keys().copied().collect();
        names.sort_unstable();
        names
    }
}

fn pod_app(pod_app: &Node<'_>, volumes: &Named<'_, '_>, profile: Profile, findings: &mut Findings) {
    if let Some(image) = pod_app.get("image") {
        lists::labels(image.list("labels"), findings);
        if image.get("id").is_none() && matches!(image.value, Value::Object(_)) {
            if profile == Profile::Reified {
                findings
                    .error("pod.reified.ids", start(image), "a reified pod names its images by id")
                    .help("add `id`: `sha512-` and 128 hex digits");
            } else if image.get("name").is_none() {
                findings
                    .error("pm.apps.image.id", start(image), "the image is named neither by `id` nor by `name`")
                    .help("add `name`, by which it can be found, or `id`");
            }
        }
    }
    lists::annotations(pod_app.list("annotations"), "pm.apps.ann", findings);
    if let Some(section) = pod_app.get("app") {
        app::check(section, findings);
    }
    let mounts = pod_app.list("mounts");
    paths::targets(each(mounts, "path"), findings);
    for mount in mounts {
        self::mount(mount, volumes, profile, findings);
    }
    let mut targets: HashMap<String, &Node<'_>> = HashMap::new();
    for mount in mounts {
        if let Some(path) = mount.text("path").and_then(|text| text.parse::<AbsPath>().ok()) {
            targets.entry(path.clean().to_string()).or_insert(mount);
        }
    }
    for point in pod_app.get("app").map_or(&[][..], |section| section.list("mountPoints")) {
        mount_point(point, &targets, volumes, profile, findings);
    }
}

/// A mount's volume: its own or one of the pod's.
fn mount(mount: &Node<'_>, volumes: &Named<'_, '_>, profile: Profile, findings: &mut Findings) {
    if let Some(own) = mount.get("appVolume") {
        volume(own, findings);
        return;
    }
    let Some(node) = mount.get("volume") else { return };
    let Some(name) = node.as_str().filter(|name| !name.is_empty()) else { return };
    if volumes.get(name).is_none() {
        let (severity, message) = match profile {
            Profile::Reified => (Severity::Error, format!("the pod has no volume `{}`", short(name))),
            Profile::Template => {
                (Severity::Note, format!("volume `{}` must be given before the pod runs", short(name)))
            }
        };
        findings.add(severity, "pm.apps.mounts.volume", node.span, message).meant_one_of(name, || volumes.names());
    }
}

/// pod.reified.mounts, pm.apps.mounts.map: a mount with the mount point's path, on a volume that suits.
fn mount_point(
    point: &Node<'_>,
    mounts: &HashMap<String, &Node<'_>>,
    volumes: &Named<'_, '_>,
    profile: Profile,
    findings: &mut Findings,
) {
    let Some(node) = point.get("path") else { return };
    let Some(path) = node.as_str().and_then(|text| text.parse::<AbsPath>().ok()) else { return };
    let Some(mount) = mounts.get(&path.clean().to_string()) else {
        if profile == Profile::Reified {
            let message = format!("no mount satisfies the mount point at `{}`", short(&path));
            findings.error("pod.reified.mounts", node.span, message);
        }
        return;
    };
    let volume = mount.get("appVolume").or_else(|| volumes.get(mount.text("volume")?));
    let flag = |node: &Node<'_>| node.get("readOnly").is_some_and(|flag| flag.value == Value::Bool(true));
    if let Some(volume) = volume
        && flag(volume)
        && !flag(point)
    {
        let place = mount.get("volume").unwrap_or(mount);
        findings
            .note(
                "pm.apps.mounts.map",
                place.span,
                format!("the app writes at `{}`, the volume is read-only", short(&path)),
            )
            .related(node.span, "the mount point stands");
    }
}

/// A volume of the pod or of one mount: what its kind needs and what its kind has no use for.
fn volume(volume: &Node<'_>, findings: &mut Findings) {
    let source = volume.get("source");
    if let Some(source) = source {
        paths::clean(source, findings);
    }
    let idle: &[(&str, &'static str)] = match volume.text("kind") {
        Some("host") => {
            if source.is_none() {
                findings.error("pm.volumes.source", start(volume), "a host volume needs a `source`");
            }
            &[("mode", "pm.volumes.mode"), ("uid", "pm.volumes.uid"), ("gid", "pm.volumes.gid")]
        }
        Some("empty") => {
            if let Some(source) = source {
                findings
                    .error("pm.volumes.source", source.span, "an empty volume has no source")
                    .help("leave it out, or make the volume one of kind `host`");
            }
            &[("recursive", "pm.volumes.recursive")]
        }
        _ => &[],
    };
    for (key, clause) in idle {
        if let Some(member) = volume.members().iter().find(|member| member.key == *key) {
            let kind = volume.text("kind").unwrap_or_default();
            findings.warning(clause, member.key_span, format!("`{key}` means nothing for a volume of kind `{kind}`"));
        }
    }
}

/// pm.ports.name.unique, across apps; within one the app's own rule has told it.
fn port_names(apps: &[Node<'_>], findings: &mut Findings) {
    let mut seen: HashMap<&str, (usize, Span)> = HashMap::new();
    for (index, app) in apps.iter().enumerate() {
        let ports = app.get("app").map_or(&[][..], |section| section.list("ports"));
        for node in each(ports, "name") {
            let Some(name) = node.as_str() else { continue };
            match seen.get(name) {
                Some((first, span)) if *first != index => {
                    findings
                        .error(
                            "pm.ports.name.unique",
                            node.span,
                            format!("port `{}` is given by two apps", short(name)),
                        )
                        .related(*span, "given first");
                }
                Some(_) => {}
                None => {
                    seen.insert(name, (index, node.span));
                }
            }
        }
    }
}

/// The pod's list of ports that the host shows.
fn exposed(ports: &[Node<'_>], apps: &[Node<'_>], findings: &mut Findings) {
    let sections = || apps.iter().filter_map(|app| app.get("app"));
    let known = Named::new(sections().flat_map(|section| section.list("ports")));
    // What ports an app has is only seen where the pod says how it is run, and says it well.
    let legible = |section: &Node<'_>| {
        matches!(section.value, Value::Object(_))
            && section.get("ports").is_none_or(|ports| matches!(ports.value, Value::Array(_)))
            && section.list("ports").iter().all(|port| port.text("name").is_some())
    };
    let complete = !apps.is_empty() && sections().filter(|section| legible(section)).count() == apps.len();
    let mut taken: Vec<Taken<'_>> = Vec::new();
    for port in ports {
        if let Some(own) = port.get("podPort") {
            app::port(own, findings);
        }
        let Some(node) = port.get("name") else { continue };
        let name = node.as_str().unwrap_or_default();
        let target = port.get("podPort").or_else(|| known.get(name));
        if target.is_none() && complete && !name.is_empty() {
            findings
                .add(Severity::Error, "pm.ports.name", node.span, format!("no app has a port `{}`", short(name)))
                .meant_one_of(name, || known.names());
        }
        host_range(port, target, &mut taken, findings);
    }
}

/// Host ports that an entry has taken. Nothing known about address or protocol means all of them.
struct Taken<'n> {
    address: Option<&'n str>,
    protocol: Option<&'n str>,
    first: i128,
    last: i128,
    span: Span,
}

impl Taken<'_> {
    fn clashes(&self, other: &Self) -> bool {
        let meet = |a: Option<&str>, b: Option<&str>| a.zip(b).is_none_or(|(a, b)| a == b);
        meet(self.address, other.address)
            && self.protocol == other.protocol
            && self.first <= other.last
            && other.first <= self.last
    }
}

/// pm.ports.hostport: a range maps one to one and ends at 65535; no two share a host port.
fn host_range<'n>(
    port: &'n Node<'_>,
    target: Option<&'n Node<'_>>,
    taken: &mut Vec<Taken<'n>>,
    findings: &mut Findings,
) {
    let Some(node) = port.get("hostPort") else { return };
    let Some(first) = node.as_integer().filter(|first| (1..=65535).contains(first)) else { return };
    let count = target.and_then(|target| target.get("count")).and_then(Node::as_integer);
    let last = first + count.filter(|count| (1..=65535).contains(count)).unwrap_or(1) - 1;
    if last > 65535 {
        findings.error("pm.ports.hostport", node.span, format!("host ports {first} to {last} pass 65535"));
        return;
    }
    let protocol = target.and_then(|target| target.text("protocol"));
    let entry = Taken { address: port.text("hostIP"), protocol, first, last, span: node.span };
    if let Some(other) = taken.iter().find(|other| other.clashes(&entry)) {
        findings
            .warning("x.ports.host-conflict", node.span, format!("host port {first} is taken by another entry"))
            .related(other.span, "given first");
    }
    // The work must stay bounded.
    if taken.len() < 1000 {
        taken.push(entry);
    }
}

/// The brace that opens an object: where something that is missing is missed.
fn start(node: &Node<'_>) -> Span {
    Span { start: node.span.start, end: node.span.start + 1 }
}
