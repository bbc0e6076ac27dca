//! Manifests: valid ones, and valid ones with one change that may be a fault.

use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use serde_json::{Value, json};

use crate::Case;

/// Image manifests.
pub fn images() -> BoxedStrategy<Case> {
    changed("image", image())
}

/// Pod manifests.
pub fn pods() -> BoxedStrategy<Case> {
    changed("pod", pod())
}

/// A valid image manifest.
pub fn image() -> BoxedStrategy<Value> {
    let parts =
        (labels(), prop::option::of(app()), prop::collection::vec(dependency(), 0..3), annotations(), any::<u8>());
    (identifier(), parts)
        .prop_map(|(name, (labels, app, dependencies, annotations, which))| {
            let mut manifest = json!({"acKind": "ImageManifest", "acVersion": "0.8.11", "name": name});
            let mut put = |bit: u8, key: &str, value: Value| {
                if which & bit != 0 {
                    manifest[key] = value;
                }
            };
            put(1, "labels", labels);
            put(2, "dependencies", json!(dependencies));
            put(4, "pathWhitelist", json!(["/etc/passwd", "/bin/app"]));
            put(8, "annotations", annotations);
            if let Some(app) = app {
                manifest["app"] = app;
            }
            manifest
        })
        .boxed()
}

fn pod() -> BoxedStrategy<Value> {
    (subsequence(vec!["front", "back", "third"], 1..=3), prop::collection::vec(app(), 3), annotations(), any::<u8>())
        .prop_map(|(names, apps, annotations, which)| {
            let apps: Vec<Value> = names
                .iter()
                .zip(apps)
                .map(|(name, mut app)| {
                    // A port's name stands once in a pod.
                    for port in app.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
                        port["name"] = json!(format!("{name}-{}", port["name"].as_str().unwrap_or_default()));
                    }
                    let mut entry = json!({"name": name, "image": {"id": id(), "name": "example.com/app"}});
                    if which & 1 != 0 {
                        entry["app"] = app;
                        entry["mounts"] = json!([{"volume": "data", "path": "/data"}]);
                        entry["readOnlyRootFS"] = json!(true);
                    }
                    if which & 2 != 0 {
                        entry["annotations"] = annotations.clone();
                    }
                    entry
                })
                .collect();
            let mut manifest = json!({"acVersion": "0.8.11", "acKind": "PodManifest", "apps": apps});
            if which & 5 != 0 {
                manifest["volumes"] = json!([
                    {"name": "data", "kind": "empty", "mode": "0755", "uid": 0, "gid": 0},
                    {"name": "host", "kind": "host", "source": "/srv", "readOnly": true},
                ]);
            }
            if which & 8 != 0 {
                manifest["isolators"] = json!([{"name": "resource/memory", "value": {"limit": "1G"}}]);
                manifest["annotations"] = annotations;
            }
            if which & 16 != 0 {
                manifest["ports"] =
                    json!([{"name": "x", "hostPort": 8080, "podPort": {"name": "x", "protocol": "tcp", "port": 80}}]);
            }
            manifest
        })
        .boxed()
}

fn app() -> BoxedStrategy<Value> {
    let isolators = subsequence(
        vec![
            json!({"name": "resource/cpu", "value": {"request": "250m", "limit": "1"}}),
            json!({"name": "resource/memory", "value": {"limit": "1Gi"}}),
            json!({"name": "resource/block-iops", "value": {"default": true, "limit": "100"}}),
            json!({"name": "os/linux/capabilities-retain-set", "value": {"set": ["CAP_KILL"]}}),
            json!({"name": "os/linux/no-new-privileges", "value": true}),
            json!({"name": "os/linux/seccomp-retain-set", "value": {"set": ["read", "write"], "errno": "EPERM"}}),
            json!({"name": "os/linux/oom-score-adj", "value": -5}),
            json!({"name": "os/linux/cpu-shares", "value": 512}),
            json!({"name": "os/linux/selinux-context", "value": {"user": "u", "role": "r", "type": "t", "level": "s0"}}),
        ],
        0..=4,
    );
    (select(vec!["0", "app", "/bin/sh"]), isolators, any::<u16>())
        .prop_map(|(user, isolators, which)| {
            let mut app = json!({"user": user, "group": "0"});
            let mut put = |bit: u16, key: &str, value: Value| {
                if which & bit != 0 {
                    app[key] = value;
                }
            };
            put(1, "exec", json!(["/bin/app", "--flag"]));
            put(2, "supplementaryGIDs", json!([1, 2]));
            put(4, "workingDirectory", json!("/opt"));
            put(8, "environment", json!([{"name": "A", "value": "1"}, {"name": "B.c-d", "value": ""}]));
            put(16, "eventHandlers", json!([{"name": "pre-start", "exec": ["/bin/a"]}, {"name": "post-stop", "exec": ["/b"]}]));
            put(32, "mountPoints", json!([{"name": "data", "path": "/data"}, {"name": "more", "path": "/more", "readOnly": true}]));
            put(64, "ports", json!([{"name": "http", "protocol": "tcp", "port": 80}, {"name": "rpc", "protocol": "udp", "port": 9000, "count": 3, "socketActivated": true}]));
            put(128, "userAnnotations", json!({"a": "b"}));
            put(256, "userLabels", json!({"a": "b"}));
            put(512, "isolators", json!(isolators));
            app
        })
        .boxed()
}

fn dependency() -> BoxedStrategy<Value> {
    (identifier(), labels(), any::<u8>())
        .prop_map(|(name, labels, which)| {
            let mut dependency = json!({"imageName": name});
            if which & 1 != 0 {
                dependency["imageID"] = json!(id());
            }
            if which & 2 != 0 {
                dependency["labels"] = labels;
            }
            if which & 4 != 0 {
                dependency["size"] = json!(which);
            }
            dependency
        })
        .boxed()
}

fn labels() -> BoxedStrategy<Value> {
    select(vec![
        json!([]),
        json!([{"name": "version", "value": "1.0"}]),
        json!([{"name": "os", "value": "linux"}, {"name": "arch", "value": "amd64"}]),
        json!([{"name": "os", "value": "freebsd"}, {"name": "arch", "value": "i386"}, {"name": "x", "value": ""}]),
    ])
    .boxed()
}

fn annotations() -> BoxedStrategy<Value> {
    select(vec![
        json!([]),
        json!([{"name": "created", "value": "2015-06-01T12:00:00.5+02:00"}]),
        json!([{"name": "authors", "value": "x"}, {"name": "homepage", "value": "https://example.com/a"}]),
        json!([{"name": "documentation", "value": "http://example.com"}]),
    ])
    .boxed()
}

fn identifier() -> BoxedStrategy<String> {
    "example\\.com/[a-z0-9]{1,6}([-._/][a-z0-9]{1,3}){0,2}".boxed()
}

fn id() -> String {
    format!("sha512-{}", "0123456789abcdef".repeat(8))
}

/// What may be done to one place of a manifest.
#[derive(Clone, Debug)]
enum Change {
    Nothing,
    Remove,
    Put(Value),
    Again,
    Key(&'static str),
}

fn changed(what: &'static str, manifests: BoxedStrategy<Value>) -> BoxedStrategy<Case> {
    let text = prop_oneof![
        select(vec![
            "",
            "a",
            "A",
            "a--b",
            "a//b",
            "-a",
            "a/",
            "a b",
            "/",
            "/a",
            "/a/../b",
            "a/b",
            "EPERM",
            "EACCESS",
            "E",
            "CAP_KILL",
            "CAP_PONIES",
            "CAP_kill",
            "tcp",
            "quic",
            "pre-start",
            "host",
            "empty",
            "linux",
            "plan9",
            "amd64",
            "x86_64",
            "0",
            "-1",
            "1K",
            "1k",
            "1Ki",
            "1.5G",
            "1e3",
            "1n",
            "300m",
            "2X",
            "0.8.11",
            "1.0.0",
            "0.9.0",
            "01.2.3",
            "0.8.11-",
            "99",
            "sha512-",
            "sha512-zz",
            "sha256-ab",
            "sha512",
            "2015-06-01",
            "2015-06-01T12:00:00Z",
            "2015-06-01 12:00:00Z",
            "2015-02-30T00:00:00Z",
            "http:",
            "ftp://a",
            "https://example.com",
            "true",
            "name",
            "os",
            "version",
            "0755",
            "8",
            "::1",
            "127.0.0.1",
            "@appc.io/all",
            "@x/y",
            "@x",
            "resource/cpu",
            "os/unix/sysctl",
            "example.com/novel",
            "ImageManifest",
            "Image!",
        ])
        .prop_map(str::to_owned),
        "[a-zA-Z0-9 ./_~-]{0,10}",
    ];
    let number = select(vec![
        json!(0),
        json!(1),
        json!(-1),
        json!(65535),
        json!(65536),
        json!(4_294_967_296_u64),
        json!(1.5),
        json!(80.0),
    ]);
    let value = prop_oneof![
        6 => text.prop_map(Value::from),
        2 => number,
        2 => select(vec![Value::Null, json!(true), json!(false), json!([]), json!({}), json!([{}]), json!([""]), json!({"a": 1})]),
    ];
    let change = prop_oneof![
        1 => Just(Change::Nothing),
        3 => Just(Change::Remove),
        8 => value.prop_map(Change::Put),
        2 => Just(Change::Again),
        2 => select(vec!["novel", "Name", "labels", "imageID", "default", "request", "errno"]).prop_map(Change::Key),
    ];
    (manifests, any::<Index>(), change)
        .prop_map(move |(mut manifest, place, change)| {
            let mut places = Vec::new();
            pointers(&manifest, String::new(), &mut places);
            let place: String = place.get(&places).clone();
            let made = format!("{what} with {change:?} at `{place}`");
            apply(&mut manifest, &place, change);
            Case { made, bytes: manifest.to_string().into_bytes() }
        })
        .boxed()
}

fn pointers(value: &Value, at: String, into: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(key, value)| pointers(value, format!("{at}/{key}"), into));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| pointers(item, format!("{at}/{index}"), into));
        }
        _ => {}
    }
    if !at.is_empty() {
        into.push(at);
    }
}

fn apply(manifest: &mut Value, place: &str, change: Change) {
    let (parent, key) = place.rsplit_once('/').unwrap_or_default();
    match (manifest.pointer_mut(parent), change) {
        (_, Change::Nothing) | (None, _) => {}
        (Some(Value::Object(members)), Change::Remove) => drop(members.shift_remove(key)),
        (Some(Value::Array(items)), Change::Remove) => drop(key.parse().map(|index: usize| items.remove(index))),
        (Some(Value::Array(items)), Change::Again) => {
            let item = key.parse().ok().and_then(|index: usize| items.get(index)).cloned();
            items.extend(item);
        }
        (Some(Value::Object(members)), Change::Key(name)) => drop(members.insert(name.to_owned(), json!("x"))),
        (Some(parent), Change::Put(value)) => {
            if let Some(there) = parent.pointer_mut(&format!("/{key}")) {
                *there = value;
            }
        }
        _ => {}
    }
}
