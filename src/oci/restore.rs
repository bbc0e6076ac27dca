//! An image manifest as the configuration of an image. Pure.
//!
//! Where annotations keep the configuration that a manifest was made from, that one is the base: byte for byte where the manifest
//! still says what it came to, and with what differs put in its place where it does not.

use serde_json::{Map, Value, json};

use super::config::{self, Converted};
use super::digest::Digest;
use super::format::{Config, Platform, host_platforms};
use super::users::Users;
use crate::diagnostic::Diagnostic;
use crate::schema::{App, ImageManifest};

/// What a manifest came to.
pub(super) struct Restored {
    /// The configuration.
    pub(super) config: Vec<u8>,
    /// What the image runs on.
    pub(super) platform: Platform,
    /// What there is no place for.
    pub(super) told: Vec<Diagnostic>,
}

/// The configuration of layers, the lowest first, that are run as `manifest` says.
pub(super) fn restore(manifest: &ImageManifest, layers: &[Digest], users: &Users) -> Restored {
    let mut told = Vec::new();
    let kept = manifest.annotations.as_ref().and_then(|annotations| annotations.value(config::CONFIG));
    let base = kept.and_then(|text| {
        let value: Map<String, Value> = serde_json::from_str(text).ok()?;
        let config: Config = serde_json::from_str(text).ok()?;
        Some((text, value, config))
    });
    let (mut value, was) = match base {
        None => (Map::new(), None),
        Some((text, value, base)) => {
            let was = config::convert(&base, users);
            let same = same_app(manifest.app.as_ref(), &was)
                && same_labels(manifest, &was)
                && stop_signal(manifest, &base.config.others).is_none()
                && base.rootfs.diff_ids == layers;
            if same {
                return Restored { config: text.as_bytes().to_vec(), platform: base.platform, told };
            }
            (value, Some(was))
        }
    };
    let platform = platform(manifest, &mut value, was.as_ref(), &mut told);
    let mut run = match value.remove("config") {
        Some(Value::Object(run)) => run,
        _ => Map::new(),
    };
    if let Some(app) = &manifest.app {
        put_app(app, was.as_ref(), &mut run, &mut told);
    }
    if let Some(signal) = stop_signal(manifest, &run) {
        run.insert("StopSignal".to_owned(), json!(signal));
    }
    value.insert("config".to_owned(), Value::Object(run));
    let annotation = |name: &str| manifest.annotations.as_ref().and_then(|annotations| annotations.value(name));
    for (from, to) in [("created", "created"), ("authors", "author")] {
        if let (Some(text), false) = (annotation(from), value.contains_key(to)) {
            value.insert(to.to_owned(), json!(text));
        }
    }
    let same_layers = value.get("rootfs").and_then(|rootfs| rootfs.get("diff_ids")) == Some(&json!(layers));
    if !same_layers {
        value.insert("rootfs".to_owned(), json!({ "type": "layers", "diff_ids": layers }));
        let history: Vec<Value> =
            layers.iter().map(|_| json!({ "created_by": format!("appc: {}", manifest.name) })).collect();
        value.insert("history".to_owned(), Value::Array(history));
    }
    Restored { config: serde_json::to_vec(&value).unwrap_or_default(), platform, told }
}

/// The signal by which it wants to be asked to end, where the base says another.
fn stop_signal<'a>(manifest: &'a ImageManifest, base: &Map<String, Value>) -> Option<&'a str> {
    let said = manifest.annotations.as_ref().and_then(|annotations| annotations.value(config::STOP_SIGNAL));
    said.filter(|said| base.get("StopSignal").and_then(Value::as_str) != Some(said))
}

fn same_app(app: Option<&App>, was: &Converted) -> bool {
    let typed: Option<App> = serde_json::from_value(was.app.clone()).ok();
    matches!((app.map(serde_json::to_value), typed.map(serde_json::to_value)), (Some(Ok(now)), Some(Ok(then))) if now == then)
}

fn same_labels(manifest: &ImageManifest, was: &Converted) -> bool {
    let then = |name: &str| was.labels.iter().find(|(label, _)| *label == name).map(|(_, value)| value.as_str());
    ["os", "arch"].iter().all(|name| manifest.label(name) == then(name))
}

fn platform(
    manifest: &ImageManifest,
    value: &mut Map<String, Value>,
    was: Option<&Converted>,
    told: &mut Vec<Diagnostic>,
) -> Platform {
    let text = |value: &Map<String, Value>, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    if was.is_some_and(|was| same_labels(manifest, was)) && text(value, "os").is_some() {
        return Platform {
            os: text(value, "os").unwrap_or_default(),
            architecture: text(value, "architecture").unwrap_or_default(),
            variant: text(value, "variant"),
        };
    }
    let platform = match (manifest.label("os"), manifest.label("arch")) {
        (Some(os), Some(arch)) => config::platform(os, arch),
        (os, _) => {
            let host = host_platforms().into_iter().next().unwrap_or_default();
            let platform = Platform { os: os.map_or(host.os, str::to_owned), ..host };
            told.push(Diagnostic::note(
                "x.oci.config",
                format!("the image does not say what it runs on: {platform} is written"),
            ));
            platform
        }
    };
    value.insert("os".to_owned(), json!(platform.os));
    value.insert("architecture".to_owned(), json!(platform.architecture));
    match &platform.variant {
        Some(variant) => drop(value.insert("variant".to_owned(), json!(variant))),
        None => drop(value.remove("variant")),
    }
    platform
}

/// Puts in place what the app says otherwise than the base did.
fn put_app(app: &App, was: Option<&Converted>, run: &mut Map<String, Value>, told: &mut Vec<Diagnostic>) {
    let then: Option<App> = was.and_then(|was| serde_json::from_value(was.app.clone()).ok());
    let differs = |same: &dyn Fn(&App) -> bool| !then.as_ref().is_some_and(same);
    let mut put = |key: &str, value: Value, empty: bool| {
        match empty {
            true => drop(run.remove(key)),
            false => drop(run.insert(key.to_owned(), value)),
        };
    };
    if differs(&|then| then.exec == app.exec) {
        // Words that are given when it is run are added to it, as they are here.
        put("Entrypoint", json!(app.exec), app.exec.is_empty());
        put("Cmd", Value::Null, true);
    }
    if differs(&|then| then.user == app.user && then.group == app.group) {
        put("User", json!(format!("{}:{}", app.user, app.group)), false);
        if app.user.starts_with('/') || app.group.starts_with('/') {
            told.push(lost(
                "a user or group that is the owner of a path is written as it is, which nobody else understands",
            ));
        }
    }
    if differs(&|then| then.environment == app.environment) {
        let words: Vec<String> =
            app.environment.iter().map(|variable| format!("{}={}", variable.name, variable.value)).collect();
        put("Env", json!(words), words.is_empty());
    }
    if differs(&|then| then.working_directory == app.working_directory) {
        put("WorkingDir", json!(app.working_directory), false);
    }
    if differs(&|then| then.mount_points == app.mount_points) {
        let places: Map<String, Value> =
            app.mount_points.iter().map(|point| (point.path.to_string(), json!({}))).collect();
        put("Volumes", Value::Object(places), app.mount_points.is_empty());
        if app.mount_points.iter().any(|point| point.read_only) {
            told.push(lost("mount points that are read-only are places for volumes like others"));
        }
    }
    if differs(&|then| then.ports == app.ports) {
        let ports: Map<String, Value> = app
            .ports
            .iter()
            .flat_map(|port| {
                let numbers = port.range().into_iter().flatten();
                numbers.map(|number| (format!("{number}/{}", port.protocol), json!({})))
            })
            .collect();
        put("ExposedPorts", Value::Object(ports), app.ports.is_empty());
        if app.ports.iter().any(|port| port.socket_activated) {
            told.push(lost("ports that are handed to the app open are ports like others"));
        }
    }
    if differs(&|then| then.user_labels == app.user_labels) {
        let labels = serde_json::to_value(&app.user_labels).unwrap_or_default();
        put("Labels", labels, app.user_labels.is_none());
    }
    for (what, there) in [
        ("isolators", !app.isolators.is_empty()),
        ("eventHandlers", !app.event_handlers.is_empty()),
        (
            "supplementaryGIDs",
            differs(&|then| then.supplementary_gids == app.supplementary_gids) && !app.supplementary_gids.is_empty(),
        ),
        ("userAnnotations", app.user_annotations.is_some()),
    ] {
        if there {
            told.push(lost(&format!("`{what}` of the app: an OCI image has no place for them")));
        }
    }
}

fn lost(what: &str) -> Diagnostic {
    Diagnostic::warning("x.oci.config", what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(app: Value, annotations: Value) -> ImageManifest {
        serde_json::from_value(json!({
            "acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/a", "app": app, "annotations": annotations,
            "labels": [{ "name": "os", "value": "linux" }, { "name": "arch", "value": "aarch64" }],
        }))
        .unwrap()
    }

    const BASE: &str = r#"{ "os":"linux", "architecture":"arm64",  "variant":"v8",
        "config":{"Cmd":["b"],"Entrypoint":["/a"],"StopSignal":"SIGINT","User":"web","Env":["A=1"]},
        "rootfs":{"type":"layers","diff_ids":[]},"history":[{"empty_layer":true}] }"#;

    fn imported() -> (ImageManifest, Users) {
        let users = Users::new(Some(b"web:x:33:34::/:\n"), None);
        let config: Config = serde_json::from_str(BASE).unwrap();
        let app = config::convert(&config, &users).app;
        (manifest(app, json!([{ "name": config::CONFIG, "value": BASE }])), users)
    }

    #[test]
    fn a_configuration_that_nobody_changed_is_the_same_to_the_byte() {
        let (manifest, users) = imported();
        assert_eq!(restore(&manifest, &[], &users).config, BASE.as_bytes());
    }

    #[test]
    fn what_was_changed_is_changed_and_nothing_else() {
        let (mut manifest, users) = imported();
        manifest.app.as_mut().unwrap().environment.clear();
        let restored: Value = serde_json::from_slice(&restore(&manifest, &[], &users).config).unwrap();
        let mut expected: Value = serde_json::from_str(BASE).unwrap();
        expected["config"].as_object_mut().unwrap().remove("Env");
        assert_eq!(restored, expected);
        let layer = Digest::of(b"x");
        let restored: Value =
            serde_json::from_slice(&restore(&manifest, std::slice::from_ref(&layer), &users).config).unwrap();
        assert_eq!(restored["rootfs"]["diff_ids"], json!([layer]));
        assert_eq!(restored["history"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn a_manifest_from_anywhere_becomes_a_configuration() {
        let app = json!({
            "exec": ["/bin/a", "b"], "user": "1", "group": "/etc", "workingDirectory": "/srv",
            "environment": [{ "name": "A", "value": "1" }], "userLabels": { "x": "y" },
            "mountPoints": [{ "name": "data", "path": "/data", "readOnly": true }],
            "ports": [{ "name": "web", "protocol": "tcp", "port": 80, "count": 2 }],
            "isolators": [{ "name": "resource/memory", "value": { "limit": "1G" } }],
        });
        let stop = json!([{ "name": config::STOP_SIGNAL, "value": "SIGQUIT" }]);
        let restored = restore(&manifest(app, stop), &[], &Users::default());
        let config: Value = serde_json::from_slice(&restored.config).unwrap();
        assert_eq!(
            config,
            json!({
                "os": "linux", "architecture": "arm64",
                "config": {
                    "Entrypoint": ["/bin/a", "b"], "User": "1:/etc", "WorkingDir": "/srv", "Env": ["A=1"], "Labels": { "x": "y" },
                    "Volumes": { "/data": {} }, "ExposedPorts": { "80/tcp": {}, "81/tcp": {} },
                    "StopSignal": "SIGQUIT",
                },
                "rootfs": { "type": "layers", "diff_ids": [] }, "history": [],
            })
        );
        assert_eq!(restored.told.len(), 3, "{:?}", restored.told);
    }
}
