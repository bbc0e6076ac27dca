//! The configuration of an image as an image manifest's `app`, labels and annotations. Pure.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::format::{Config, Platform, Run};
use super::users::Users;
use crate::diagnostic::Diagnostic;
use crate::schema::{AbsPath, EnvName};
use crate::sys::signals;

/// What the names of annotations begin with that keep what a manifest has no place for. Export restores it from there.
pub const PREFIX: &str = "appc.io/oci/";

/// The configuration, byte for byte.
pub(super) const CONFIG: &str = "appc.io/oci/config";
/// The manifest, byte for byte.
pub(super) const MANIFEST: &str = "appc.io/oci/manifest";
/// The name that the image had; on an app of a pod manifest, the name that its image has in a registry.
pub const REFERENCE: &str = "appc.io/oci/reference";
/// By which signal an app wants to be asked to end, by name or number.
pub const STOP_SIGNAL: &str = "appc.io/executor/stop-signal";
/// Which layer an image is made of (JSON).
pub(super) const LAYER: &str = "appc.io/oci/layer";

/// What old writers put into each configuration; it is about how a container was made, and says nothing.
const IDLE: [&str; 10] = [
    "Hostname",
    "Domainname",
    "AttachStdin",
    "AttachStdout",
    "AttachStderr",
    "Tty",
    "OpenStdin",
    "StdinOnce",
    "Image",
    "ArgsEscaped",
];

/// What a configuration came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Converted {
    /// The manifest's `app`.
    pub app: Value,
    /// `os` and `arch`, as far as they are said.
    pub labels: Vec<(&'static str, String)>,
    /// Annotations that every image may have.
    pub annotations: Vec<(&'static str, String)>,
    /// What appc has no place for, and what was left out.
    pub told: Vec<Diagnostic>,
}

/// Converts a configuration, with what the image says about users.
pub(super) fn convert(config: &Config, users: &Users) -> Converted {
    let mut told = Vec::new();
    let mut tell = |what: String| told.push(Diagnostic::note("x.oci.config", what));
    let run = &config.config;
    let found = users.look_up(&run.user);
    if let Some(unknown) = &found.unknown {
        tell(format!("{unknown} is not in the image's `etc/passwd` or `etc/group`, and so cannot be run as"));
    }
    let mut app = Map::new();
    let exec: Vec<&String> = run.entrypoint.iter().chain(&run.cmd).collect();
    app.insert("exec".to_owned(), json!(exec));
    app.insert("user".to_owned(), json!(found.user));
    app.insert("group".to_owned(), json!(found.group));
    let mut put = |name: &str, value: Value, empty: bool| {
        if !empty {
            app.insert(name.to_owned(), value);
        }
    };
    put("supplementaryGIDs", json!(found.supplementary), found.supplementary.is_empty());
    put("workingDirectory", json!(directory(run, &mut tell)), false);
    let environment = environment(run, &mut tell);
    put("environment", json!(environment), environment.is_empty());
    let mounts = mount_points(run, &mut tell);
    put("mountPoints", json!(mounts), mounts.is_empty());
    let ports = ports(run, &mut tell);
    put("ports", json!(ports), ports.is_empty());
    put("userLabels", json!(run.labels), run.labels.is_empty());
    if exec.is_empty() {
        tell("it says no program: an app of it needs one to be given".to_owned());
    }
    let stop = run.others.get("StopSignal").and_then(Value::as_str).filter(|text| signals::named(text).is_some());
    let stop = stop.map(str::to_owned);
    let has_a_place = |name: &str| IDLE.contains(&name) || name == "StopSignal" && stop.is_some();
    for (name, value) in run.others.iter().filter(|(name, value)| !has_a_place(name) && says(value)) {
        let value: String = value.to_string().chars().take(60).collect();
        tell(format!("`{}` ({value}) is kept for export; appc has no place for it", name.escape_debug()));
    }
    let created =
        config.created.as_ref().filter(|created| created.parse::<jiff::Timestamp>().is_ok() && created.contains('T'));
    let label = |key: &str| run.labels.get(key).filter(|value| !value.is_empty());
    let url = |key: &str| {
        label(key).filter(|value| url::Url::parse(value).is_ok_and(|url| matches!(url.scheme(), "http" | "https")))
    };
    let annotations = [
        ("created", created),
        ("authors", config.author.as_ref().filter(|author| !author.is_empty())),
        ("homepage", url("org.opencontainers.image.url")),
        ("documentation", url("org.opencontainers.image.documentation")),
        (STOP_SIGNAL, stop.as_ref()),
    ];
    Converted {
        app: Value::Object(app),
        labels: labels(&config.platform),
        annotations: annotations.into_iter().filter_map(|(name, value)| Some((name, value?.clone()))).collect(),
        told,
    }
}

/// Whether a value says anything.
fn says(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    }
}

/// In the specification's names.
fn labels(platform: &Platform) -> Vec<(&'static str, String)> {
    if platform.os.is_empty() {
        return Vec::new();
    }
    let arch = arch(platform);
    let arch = (!arch.is_empty()).then_some(("arch", arch));
    [("os", platform.os.clone())].into_iter().chain(arch).collect()
}

fn arch(platform: &Platform) -> String {
    let variant = platform.variant.as_deref().unwrap_or_default();
    let arch = match (platform.os.as_str(), platform.architecture.as_str()) {
        ("darwin", "amd64") => "x86_64",
        (_, "386") => "i386",
        (_, "arm64") => "aarch64",
        (_, "arm64be") => "aarch64_be",
        ("linux", "arm") if matches!(variant, "v5" | "v6") => "armv6l",
        ("linux", "arm") => "armv7l",
        ("linux", "armbe") => "armv7b",
        (_, other) => other,
    };
    arch.to_owned()
}

/// The platform that `os` and `arch` of a manifest name, in Go's names.
pub(super) fn platform(os: &str, arch: &str) -> Platform {
    let (architecture, variant) = match (os, arch) {
        ("darwin", "x86_64") => ("amd64", None),
        (_, "i386") => ("386", None),
        (_, "aarch64") => ("arm64", None),
        (_, "aarch64_be") => ("arm64be", None),
        (_, "armv6l") => ("arm", Some("v6")),
        (_, "armv7l") => ("arm", Some("v7")),
        (_, "armv7b") => ("armbe", Some("v7")),
        (_, other) => (other, None),
    };
    Platform { os: os.to_owned(), architecture: architecture.to_owned(), variant: variant.map(str::to_owned) }
}

fn directory(run: &Run, tell: &mut impl FnMut(String)) -> String {
    let given = run.working_dir.as_str();
    let absolute = if given.starts_with('/') { given.to_owned() } else { format!("/{given}") };
    match absolute.parse::<AbsPath>() {
        Ok(path) => path.clean().to_string(),
        Err(_) => {
            tell(format!("the working directory `{}` leads out of its root and is left out", given.escape_debug()));
            "/".to_owned()
        }
    }
}

/// Of a name that stands twice the last one counts.
fn environment(run: &Run, tell: &mut impl FnMut(String)) -> Vec<Value> {
    let mut seen = BTreeSet::new();
    let mut variables = Vec::new();
    for variable in run.env.iter().rev() {
        let (name, value) = match variable.split_once('=') {
            Some((name, value)) if name.parse::<EnvName>().is_ok() && !value.contains('\0') => (name, value),
            _ => {
                let name = variable.split('=').next().unwrap_or_default();
                tell(format!("the variable `{}` has no name that appc allows and is left out", name.escape_debug()));
                continue;
            }
        };
        if seen.insert(name) {
            variables.push(json!({ "name": name, "value": value }));
        }
    }
    variables.reverse();
    variables
}

/// Places for volumes, none within another.
fn mount_points(run: &Run, tell: &mut impl FnMut(String)) -> Vec<Value> {
    let mut places: Vec<AbsPath> = Vec::new();
    for path in run.volumes.keys() {
        match path.parse::<AbsPath>().map(|path| path.clean()) {
            Ok(place) if place != *"/" => places.push(place),
            _ => tell(format!("the volume `{}` is left out: it is no place for one", path.escape_debug())),
        }
    }
    places.sort_by_key(|place| place.components().count());
    let mut kept: Vec<AbsPath> = Vec::new();
    for place in places {
        match kept.iter().find(|above| above.contains(&place)) {
            Some(above) if *above == place => {}
            Some(above) => tell(format!("the volume `{place}` is left out: it lies within `{above}`")),
            None => kept.push(place),
        }
    }
    kept.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    let mut names = BTreeSet::new();
    let points = kept.iter().map(|place| {
        let name = volume_name(place);
        let mut unique = name.clone();
        let mut number = 2;
        while !names.insert(unique.clone()) {
            unique = format!("{name}-{number}");
            number += 1;
        }
        json!({ "name": unique, "path": place.as_str() })
    });
    points.collect()
}

fn volume_name(place: &AbsPath) -> String {
    let plain: String =
        place.as_str().chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let parts: Vec<&str> = ["volume"].into_iter().chain(plain.split('-')).filter(|part| !part.is_empty()).collect();
    parts.join("-")
}

fn ports(run: &Run, tell: &mut impl FnMut(String)) -> Vec<Value> {
    let mut ports = Vec::new();
    let mut names = BTreeSet::new();
    for given in run.exposed_ports.keys() {
        let (range, protocol) = given.split_once('/').unwrap_or((given, "tcp"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let numbers = first.parse::<u16>().ok().zip(last.parse::<u16>().ok());
        let protocol = protocol.to_ascii_lowercase();
        let known = !protocol.is_empty() && protocol.bytes().all(|byte| byte.is_ascii_lowercase());
        let Some((first, last)) = numbers.filter(|(first, last)| *first > 0 && first <= last && known) else {
            tell(format!("the port `{}` is left out: it is none", given.escape_debug()));
            continue;
        };
        let name = match first == last {
            true => format!("{first}-{protocol}"),
            false => format!("{first}-{last}-{protocol}"),
        };
        if names.insert(name.clone()) {
            let mut port = json!({ "name": name, "protocol": protocol, "port": first });
            if first < last {
                port["count"] = json!(u32::from(last - first) + 1);
            }
            ports.push(port);
        }
    }
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(config: Value) -> Converted {
        let config: Config = serde_json::from_value(config).unwrap();
        convert(&config, &Users::new(Some(b"web:x:33:34::/:\n"), Some(b"log:x:4:web\n")))
    }

    #[test]
    fn all_that_appc_has_a_place_for_goes_there() {
        let converted = converted(json!({
            "architecture": "arm64", "os": "linux", "variant": "v8", "created": "2024-05-01T02:03:04.5Z", "author": "someone",
            "config": {
                "Entrypoint": ["/bin/a"], "Cmd": ["b", ""], "User": "web", "WorkingDir": "srv/./x/",
                "Env": ["A=1", "B=x=y", "A=2", "bad-name", "=", "C="],
                "ExposedPorts": { "80": {}, "80/tcp": {}, "53/UDP": {}, "8000-8010/tcp": {}, "0/tcp": {}, "x": {} },
                "Volumes": { "/data": {}, "/data/below": {}, "/Data/": {}, "relative": {} },
                "Labels": { "a": "b", "org.opencontainers.image.url": "https://example.com/" },
                "StopSignal": "SIGNONE", "Healthcheck": { "Test": ["NONE"] }, "OnBuild": [], "Tty": true,
            },
            "rootfs": { "type": "layers", "diff_ids": null }, "history": [],
        }));
        assert_eq!(
            converted.app,
            json!({
                "exec": ["/bin/a", "b", ""], "user": "web", "group": "34", "supplementaryGIDs": [4], "workingDirectory": "/srv/x",
                "environment": [{ "name": "B", "value": "x=y" }, { "name": "A", "value": "2" }, { "name": "C", "value": "" }],
                "mountPoints": [
                    { "name": "volume-data", "path": "/Data" }, { "name": "volume-data-2", "path": "/data" },
                ],
                "ports": [
                    { "name": "53-udp", "protocol": "udp", "port": 53 }, { "name": "80-tcp", "protocol": "tcp", "port": 80 },
                    { "name": "8000-8010-tcp", "protocol": "tcp", "port": 8000, "count": 11 },
                ],
                "userLabels": { "a": "b", "org.opencontainers.image.url": "https://example.com/" },
            })
        );
        assert_eq!(converted.labels, [("os", "linux".to_owned()), ("arch", "aarch64".to_owned())]);
        let names: Vec<&str> = converted.annotations.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["created", "authors", "homepage"]);
        let told: Vec<&str> = converted.told.iter().map(|told| told.message.as_str()).collect();
        for about in ["bad-name", "`0/tcp`", "`x`", "/data/below", "relative", "StopSignal", "Healthcheck"] {
            assert!(told.iter().any(|told| told.contains(about)), "{about}: {told:?}");
        }
        assert!(!told.iter().any(|told| told.contains("OnBuild") || told.contains("Tty")), "{told:?}");
    }

    #[test]
    fn an_empty_configuration_is_one_too() {
        let converted = converted(json!({ "config": { "Cmd": "/bin/sh", "Env": null, "User": null } }));
        assert_eq!(converted.app, json!({ "exec": ["/bin/sh"], "user": "0", "group": "0", "workingDirectory": "/" }));
        assert!(converted.labels.is_empty());
    }

    #[test]
    fn platforms_have_two_names_each_way() {
        for text in
            ["linux/amd64", "linux/386", "linux/arm64", "linux/arm/v7", "linux/arm/v6", "freebsd/amd64", "linux/s390x"]
        {
            let mut parts = text.split('/').map(str::to_owned);
            let platform =
                Platform { os: parts.next().unwrap(), architecture: parts.next().unwrap(), variant: parts.next() };
            assert_eq!(self::platform(&platform.os, &arch(&platform)), platform);
        }
    }
}
