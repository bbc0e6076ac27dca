//! Writes `fixtures/manifests`: valid manifests, and one for each clause that breaks just that clause.
//!
//! ```text
//! cargo run --example fixtures               write them
//! cargo run --example fixtures -- --check    fail when what is there differs
//! ```
//! `good/` has no error; `bad/` has errors, `strict/` has them under `--strict` only, `reified/` under `--profile reified`
//! only. A bad one is named for the clause, and no other is broken in it.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

fn image() -> Value {
    json!({
        "acKind": "ImageManifest",
        "acVersion": "0.8.11",
        "name": "example.com/app",
        "labels": [
            {"name": "version", "value": "1.0.0"},
            {"name": "os", "value": "linux"},
            {"name": "arch", "value": "amd64"},
        ],
        "app": {
            "exec": ["/bin/app", "--serve"],
            "user": "100",
            "group": "app",
            "supplementaryGIDs": [400, 500],
            "eventHandlers": [
                {"name": "pre-start", "exec": ["/bin/prepare"]},
                {"name": "post-stop", "exec": ["/bin/clean"]},
            ],
            "workingDirectory": "/opt/work",
            "environment": [{"name": "REDUCE.DEBUG", "value": "true"}],
            "isolators": [
                {"name": "resource/cpu", "value": {"request": "250m", "limit": "1"}},
                {"name": "resource/memory", "value": {"limit": "1Gi"}},
                {"name": "os/linux/capabilities-retain-set", "value": {"set": ["CAP_NET_ADMIN"]}},
                {"name": "os/linux/no-new-privileges", "value": true},
            ],
            "mountPoints": [{"name": "work", "path": "/opt/data", "readOnly": false}],
            "ports": [{"name": "health", "port": 4000, "protocol": "tcp", "socketActivated": true}],
            "userAnnotations": {"any key": "value"},
            "userLabels": {"tier": "back end"},
        },
        "dependencies": [{
            "imageName": "example.com/base",
            "imageID": id(),
            "labels": [{"name": "os", "value": "linux"}],
            "size": 22_017_258,
        }],
        "pathWhitelist": ["/etc/ca", "/usr/bin/app"],
        "annotations": [
            {"name": "authors", "value": "A <a@example.com>, B <b@example.com>"},
            {"name": "created", "value": "2014-10-27T19:32:27.67021798Z"},
            {"name": "documentation", "value": "https://example.com/docs"},
            {"name": "homepage", "value": "https://example.com"},
            {"name": "appc.io/executor/supports-systemd-notify", "value": "true"},
        ],
    })
}

fn pod() -> Value {
    json!({
        "acVersion": "0.8.11",
        "acKind": "PodManifest",
        "apps": [
            {
                "name": "front",
                "image": {"name": "example.com/front", "id": id(), "labels": [{"name": "version", "value": "1"}]},
                "app": {
                    "exec": ["/bin/front"],
                    "user": "0",
                    "group": "0",
                    "mountPoints": [{"name": "data", "path": "/data"}],
                    "ports": [{"name": "http", "port": 8080, "protocol": "tcp"}],
                },
                "readOnlyRootFS": true,
                "mounts": [{"volume": "shared", "path": "/data"}],
                "annotations": [{"name": "team", "value": "x"}],
            },
            {
                "name": "back",
                "image": {"name": "example.com/back", "id": id()},
                "app": {"exec": ["/bin/back"], "user": "0", "group": "0",
                    "ports": [{"name": "rpc", "port": 9000, "protocol": "udp", "count": 10}]},
                "mounts": [
                    {"volume": "shared", "path": "/shared"},
                    {"volume": "own", "path": "/own", "appVolume": {"name": "own", "kind": "host", "source": "/srv"}},
                ],
            },
        ],
        "volumes": [
            {"name": "shared", "kind": "empty", "mode": "0750", "uid": 0, "gid": 1},
            {"name": "certificates", "kind": "host", "source": "/etc/ssl", "readOnly": true, "recursive": false},
        ],
        "isolators": [
            {"name": "resource/memory", "value": {"limit": "4G"}},
            {"name": "os/unix/sysctl", "value": {"net.ipv4.ip_forward": "0"}},
        ],
        "annotations": [{"name": "ip-address", "value": "10.1.2.3"}],
        "ports": [
            {"name": "http", "hostPort": 80, "hostIP": "127.0.0.1"},
            {"name": "other", "hostPort": 81, "podPort": {"name": "other", "protocol": "tcp", "port": 1234}},
        ],
        "userAnnotations": {"a": "b"},
        "userLabels": {"c": "d"},
    })
}

fn id() -> String {
    format!("sha512-{}", "0123456789abcdef".repeat(8))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Base {
    Image,
    Pod,
}
use Base::{Image, Pod};

/// A clause, the manifest it is broken in, and the change that breaks it: where, and what stands there then (`None`:
/// nothing does).
type Change = (&'static str, Base, &'static str, Option<Value>);

fn isolator(name: &str, value: Value) -> Option<Value> {
    Some(json!([{"name": name, "value": value}]))
}

fn twice(name: &str, value: &Value) -> Option<Value> {
    Some(json!([{"name": name, "value": value}, {"name": name, "value": value}]))
}

fn annotation(name: &str, value: &str) -> Option<Value> {
    Some(json!([{"name": name, "value": value}]))
}

const ISOLATORS: &str = "/app/isolators";

fn types() -> Vec<Change> {
    let long = "b".repeat(128);
    vec![
        ("types.acidentifier.charset", Image, "/name", Some(json!("example.com/App"))),
        ("types.acidentifier.nonempty", Image, "/dependencies/0/imageName", Some(json!(""))),
        ("types.acidentifier.edges", Image, "/name", Some(json!("example.com/app/"))),
        ("types.acidentifier.regex", Image, "/name", Some(json!("example.com//app"))),
        ("types.acname.charset", Image, "/app/mountPoints/0/name", Some(json!("my_work"))),
        ("types.acname.nonempty", Image, "/app/mountPoints/0/name", Some(json!(""))),
        ("types.acname.edges", Image, "/app/mountPoints/0/name", Some(json!("-work"))),
        ("types.acname.regex", Image, "/app/mountPoints/0/name", Some(json!("my--work"))),
        ("types.ackind.alnum", Image, "/acKind", Some(json!("Image Manifest"))),
        ("types.ackind.defined", Image, "/acKind", Some(json!("ImageManifests"))),
        ("types.acversion.nonempty", Image, "/acVersion", Some(json!(""))),
        ("types.acversion.semver", Image, "/acVersion", Some(json!("0.08.11"))),
        ("types.acversion.major", Image, "/acVersion", Some(json!("1.0.0"))),
        ("types.imageid.form", Image, "/dependencies/0/imageID", Some(json!("sha512"))),
        ("types.imageid.algo", Image, "/dependencies/0/imageID", Some(json!(format!("sha256-{long}")))),
        ("types.imageid.hex", Image, "/dependencies/0/imageID", Some(json!("sha512-0123"))),
        ("types.isolator.object", Image, ISOLATORS, Some(json!([{"name": "resource/cpu"}]))),
        ("types.isolator.name", Image, ISOLATORS, Some(json!([{"name": 1, "value": 1}]))),
        ("types.timestamp.rfc3339", Image, "/annotations", annotation("created", "2014-02-30T19:32:27Z")),
        ("types.timestamp.T", Image, "/annotations", annotation("created", "2014-02-20 19:32:27Z")),
    ]
}

fn images() -> Vec<Change> {
    let port = |name: Value, number: u32, count: u32| {
        Some(json!([{"name": name, "protocol": "tcp", "port": number, "count": count}]))
    };
    vec![
        ("im.ackind", Image, "/acKind", None),
        ("im.acversion", Image, "/acVersion", None),
        ("im.name", Image, "/name", None),
        ("im.labels.shape", Image, "/labels", Some(json!([{"name": "version"}]))),
        ("im.labels.name", Image, "/labels/0/name", Some(json!(1))),
        ("im.labels.value", Image, "/labels/0/value", Some(json!(1))),
        (
            "im.labels.unique",
            Image,
            "/labels",
            Some(json!([{"name": "version", "value": "1"}, {"name": "version", "value": "2"}])),
        ),
        ("im.labels.notname", Image, "/labels/0/name", Some(json!("name"))),
        ("im.app.optional", Image, "/app", Some(json!("app"))),
        ("im.app.exec.type", Image, "/app/exec", Some(json!("/bin/app --serve"))),
        ("im.app.user.required", Image, "/app/user", None),
        ("im.app.group.required", Image, "/app/group", Some(json!(""))),
        ("im.app.supgids", Image, "/app/supplementaryGIDs", Some(json!([-1]))),
        ("im.app.eventhandlers.shape", Image, "/app/eventHandlers/0/exec", None),
        ("im.app.eventhandlers.name", Image, "/app/eventHandlers/0/name", Some(json!("prestart"))),
        ("im.app.eventhandlers.unique", Image, "/app/eventHandlers/0/name", Some(json!("post-stop"))),
        ("im.app.workdir.abs", Image, "/app/workingDirectory", Some(json!("opt/work"))),
        ("im.app.env.shape", Image, "/app/environment/0/value", None),
        ("im.app.env.name", Image, "/app/environment/0/name", Some(json!("2FAST"))),
        ("im.app.isolators", Image, ISOLATORS, Some(json!({}))),
        ("im.app.mountpoints.shape", Image, "/app/mountPoints", Some(json!([{}]))),
        ("im.app.mountpoints.name", Image, "/app/mountPoints/0/name", Some(json!(["work"]))),
        ("im.app.mountpoints.path", Image, "/app/mountPoints/0/path", Some(json!("opt/../data"))),
        ("im.app.mountpoints.readonly", Image, "/app/mountPoints/0/readOnly", Some(json!("false"))),
        ("im.app.ports.name", Image, "/app/ports/0/name", None),
        ("im.app.ports.protocol", Image, "/app/ports/0/protocol", Some(json!(""))),
        ("im.app.ports.port", Image, "/app/ports/0/port", Some(json!(65536))),
        ("im.app.ports.count", Image, "/app/ports", port(json!("a"), 65000, 1000)),
        ("im.app.ports.socketactivated", Image, "/app/ports/0/socketActivated", Some(json!(1))),
        ("im.app.userannotations", Image, "/app/userAnnotations", Some(json!({"a": 1}))),
        ("im.app.userlabels", Image, "/app/userLabels", Some(json!({"a": null}))),
        ("im.deps.optional", Image, "/dependencies", Some(json!({"imageName": "example.com/base"}))),
        ("im.deps.imagename", Image, "/dependencies/0/imageName", None),
        ("im.deps.imageid", Image, "/dependencies/0/imageID", Some(json!(null))),
        ("im.deps.labels", Image, "/dependencies/0/labels", Some(json!({"os": "linux"}))),
        ("im.deps.size", Image, "/dependencies/0/size", Some(json!(-1))),
        ("im.pwl.type", Image, "/pathWhitelist/0", Some(json!("etc/ca"))),
        ("im.ann.shape", Image, "/annotations", Some(json!([{"value": "x"}]))),
        (
            "im.ann.unique",
            Image,
            "/annotations",
            Some(json!([{"name": "a", "value": "1"}, {"name": "a", "value": "2"}])),
        ),
        ("im.ann.created", Image, "/annotations", annotation("created", "yesterday")),
        ("im.ann.homepage", Image, "/annotations", annotation("homepage", "example.com")),
        ("im.ann.documentation", Image, "/annotations", annotation("documentation", "ftp://example.com/docs")),
        ("im.ann.sdnotify", Image, "/annotations", annotation("appc.io/executor/supports-systemd-notify", "yes")),
        (
            "vol.target.overlap",
            Image,
            "/app/mountPoints",
            Some(json!([{"name": "a", "path": "/a"}, {"name": "b", "path": "/a/b"}])),
        ),
    ]
}

fn isolators() -> Vec<Change> {
    let seccomp = |set: Value| json!({ "set": set });
    let remove = "os/linux/seccomp-remove-set";
    let retain = "os/linux/seccomp-retain-set";
    let calls = json!({"set": ["mount"]});
    let selinux = json!({"user": "u", "role": "r", "type": "t", "level": "s0:c1"});
    let profile = json!({"profile": "docker-default"});
    let caps = json!({"set": ["CAP_CHOWN"]});
    let sysctl = json!({"net.ipv4.ip_forward": "0"});
    let pair = |one: &str, other: &str, value: &Value| {
        Some(json!([{"name": one, "value": value}, {"name": other, "value": value}]))
    };
    let device = |default: Value, limit: &str| json!({"default": default, "limit": limit});
    let memory = |limit: Value| isolator("resource/memory", json!({ "limit": limit }));
    vec![
        ("iso.scope", Pod, "/isolators", isolator("os/linux/no-new-privileges", json!(true))),
        ("iso.seccomp-remove.set.nonempty", Image, ISOLATORS, isolator(remove, seccomp(json!([])))),
        ("iso.seccomp-remove.set.wildcard", Image, ISOLATORS, isolator(remove, seccomp(json!(["@empty"])))),
        (
            "iso.seccomp-remove.errno.form",
            Image,
            ISOLATORS,
            isolator(remove, json!({"set": ["mount"], "errno": "EACCESS"})),
        ),
        ("iso.seccomp-remove.single", Image, ISOLATORS, twice(remove, &calls)),
        ("iso.seccomp-remove.scope", Pod, "/isolators", isolator(remove, calls.clone())),
        ("iso.seccomp-retain.set.nonempty", Image, ISOLATORS, isolator(retain, seccomp(json!([""])))),
        ("iso.seccomp-retain.set.wildcard", Image, ISOLATORS, isolator(retain, seccomp(json!(["@/all"])))),
        (
            "iso.seccomp-retain.errno.form",
            Image,
            ISOLATORS,
            isolator(retain, json!({"set": ["read"], "errno": "eperm"})),
        ),
        ("iso.seccomp-retain.single", Image, ISOLATORS, pair(remove, retain, &calls)),
        ("iso.seccomp-retain.scope", Pod, "/isolators", isolator(retain, calls.clone())),
        ("iso.seccomp.scope-ns", Image, ISOLATORS, isolator(retain, seccomp(json!(["@appc.io/most"])))),
        (
            "iso.selinux.fields",
            Image,
            ISOLATORS,
            isolator("os/linux/selinux-context", json!({"user": "u:v", "role": "r", "type": "t", "level": "s0"})),
        ),
        ("iso.selinux.single", Pod, "/isolators", twice("os/linux/selinux-context", &selinux)),
        ("iso.apparmor.profile", Image, ISOLATORS, isolator("os/linux/apparmor-profile", json!({"profile": ""}))),
        ("iso.apparmor.single", Image, ISOLATORS, twice("os/linux/apparmor-profile", &profile)),
        (
            "iso.caps-remove.set",
            Image,
            ISOLATORS,
            isolator("os/linux/capabilities-remove-set", json!({"set": ["net_admin"]})),
        ),
        ("iso.caps-retain.set", Image, ISOLATORS, isolator("os/linux/capabilities-retain-set", json!(["CAP_CHOWN"]))),
        (
            "iso.caps.exclusive",
            Image,
            ISOLATORS,
            pair("os/linux/capabilities-remove-set", "os/linux/capabilities-retain-set", &caps),
        ),
        ("iso.caps.scope", Pod, "/isolators", isolator("os/linux/capabilities-retain-set", caps.clone())),
        ("iso.nnp.type", Image, ISOLATORS, isolator("os/linux/no-new-privileges", json!("true"))),
        ("iso.ref.oom-score-adj", Image, ISOLATORS, isolator("os/linux/oom-score-adj", json!(1001))),
        ("iso.ref.cpu-shares", Image, ISOLATORS, isolator("os/linux/cpu-shares", json!(1))),
        ("res.quantity.integer", Image, ISOLATORS, memory(json!("16Ei"))),
        ("res.quantity.metric", Image, ISOLATORS, memory(json!("1X"))),
        ("res.quantity.binary", Image, ISOLATORS, memory(json!("1gi"))),
        ("res.quantity.plain", Image, ISOLATORS, memory(json!("-1"))),
        ("res.quantity.small", Image, ISOLATORS, memory(json!("1.2.3"))),
        (
            "res.block-bandwidth.default",
            Image,
            ISOLATORS,
            isolator("resource/block-bandwidth", device(json!(false), "2M")),
        ),
        ("res.block-bandwidth.limit", Image, ISOLATORS, isolator("resource/block-bandwidth", json!({"default": true}))),
        ("res.block-iops.default", Image, ISOLATORS, isolator("resource/block-iops", json!({"limit": "1000"}))),
        (
            "res.block-iops.limit",
            Image,
            ISOLATORS,
            isolator("resource/block-iops", json!({"default": true, "limit": "1", "request": "1"})),
        ),
        (
            "res.network-bandwidth.default",
            Image,
            ISOLATORS,
            isolator("resource/network-bandwidth", device(json!("true"), "1G")),
        ),
        (
            "res.network-bandwidth.limit",
            Image,
            ISOLATORS,
            isolator("resource/network-bandwidth", json!({"default": true, "limit": null})),
        ),
        ("res.cpu.request", Image, ISOLATORS, isolator("resource/cpu", json!("1"))),
        ("res.cpu.limit", Image, ISOLATORS, isolator("resource/cpu", json!({"limit": true}))),
        ("res.memory.request", Image, ISOLATORS, isolator("resource/memory", json!({"request": {}}))),
        ("res.memory.limit", Image, ISOLATORS, isolator("resource/memory", json!({"limit": []}))),
        ("sysctl.shape", Pod, "/isolators", isolator("os/unix/sysctl", json!({"net.ipv4.ip_forward": 0}))),
        ("sysctl.scope", Image, ISOLATORS, isolator("os/unix/sysctl", sysctl.clone())),
        ("sysctl.single", Pod, "/isolators", twice("os/unix/sysctl", &sysctl)),
    ]
}

fn pods() -> Vec<Change> {
    vec![
        ("pm.acversion", Pod, "/acVersion", None),
        ("pm.ackind", Pod, "/acKind", None),
        ("pm.apps", Pod, "/apps", Some(json!({}))),
        ("pm.apps.name", Pod, "/apps/0/name", Some(json!("back"))),
        ("pm.apps.image", Pod, "/apps/0/image", None),
        ("pm.apps.image.id", Pod, "/apps/0/image/id", Some(json!(512))),
        ("pm.apps.image.name", Pod, "/apps/0/image/name", Some(json!(null))),
        ("pm.apps.image.labels", Pod, "/apps/0/image/labels", Some(json!("version=1"))),
        ("pm.apps.app", Pod, "/apps/0/app", Some(json!([]))),
        ("pm.apps.rorootfs", Pod, "/apps/0/readOnlyRootFS", Some(json!("true"))),
        ("pm.apps.mounts.volume", Pod, "/apps/0/mounts/0/volume", None),
        ("pm.apps.mounts.path", Pod, "/apps/1/mounts/0/path", Some(json!("shared"))),
        ("pm.apps.mounts.map", Pod, "/apps/1/mounts", Some(json!({}))),
        ("pm.apps.mounts.appvolume", Pod, "/apps/1/mounts/1/appVolume", Some(json!("/srv"))),
        ("pm.apps.ann", Pod, "/apps/0/annotations", Some(json!({"team": "x"}))),
        ("pod.volumes", Pod, "/volumes", Some(json!("shared"))),
        ("pm.volumes.name", Pod, "/volumes/1/name", Some(json!("shared"))),
        ("pm.volumes.readonly", Pod, "/volumes/1/readOnly", Some(json!(1))),
        ("pm.volumes.kind", Pod, "/volumes/0/kind", Some(json!("tmpfs"))),
        ("pm.volumes.source", Pod, "/volumes/1/source", None),
        ("pm.volumes.recursive", Pod, "/volumes/1/recursive", Some(json!("yes"))),
        ("pm.volumes.mode", Pod, "/volumes/0/mode", Some(json!("rwxr-xr-x"))),
        ("pm.volumes.uid", Pod, "/volumes/0/uid", Some(json!(-1))),
        ("pm.volumes.gid", Pod, "/volumes/0/gid", Some(json!("1"))),
        ("pm.isolators", Pod, "/isolators", Some(json!("none"))),
        ("pm.ann", Pod, "/annotations", Some(json!({"a": "b"}))),
        ("pm.ports.expose", Pod, "/ports", Some(json!({}))),
        ("pm.ports.name", Pod, "/ports/0/name", None),
        ("pm.ports.name.unique", Pod, "/apps/1/app/ports/0/name", Some(json!("http"))),
        ("pm.ports.hostport", Pod, "/ports/0/hostPort", Some(json!(0))),
        ("pm.ports.hostip", Pod, "/ports/0/hostIP", Some(json!("::1"))),
        ("pm.ports.podport", Pod, "/ports/1/podPort", Some(json!(1234))),
        ("pm.userannotations", Pod, "/userAnnotations", Some(json!([]))),
        ("pm.userlabels", Pod, "/userLabels", Some(json!({"a": true}))),
    ]
}

fn ours() -> Vec<Change> {
    vec![
        (
            "x.env.unique",
            Image,
            "/app/environment",
            Some(json!([{"name": "A", "value": "1"}, {"name": "A", "value": "2"}])),
        ),
        ("im.app.ports.informational", Image, "/app/ports", Some(json!({}))),
        (
            "x.mountpoints.unique",
            Image,
            "/app/mountPoints",
            Some(json!([{"name": "a", "path": "/a"}, {"name": "a", "path": "/b"}])),
        ),
        ("x.resource.empty", Image, ISOLATORS, isolator("resource/cpu", json!({}))),
        ("x.resource.order", Image, ISOLATORS, isolator("resource/memory", json!({"request": "2Gi", "limit": "2G"}))),
    ]
}

/// Broken under `--strict` only.
fn strict() -> Vec<Change> {
    vec![
        ("types.acversion.tagged", Image, "/acVersion", Some(json!("0.9.0"))),
        ("im.name.urllike", Image, "/name", Some(json!("app"))),
        ("im.labels.arch.needs-os", Image, "/labels", Some(json!([{"name": "arch", "value": "amd64"}]))),
        ("im.labels.osarch.known", Image, "/labels/2/value", Some(json!("x86_64"))),
        ("im.app.ports.protocol.l4", Image, "/app/ports/0/protocol", Some(json!("http"))),
        ("im.app.user.numeric", Image, "/app/user", Some(json!("4294967295"))),
        ("iso.unknown.ignore", Image, ISOLATORS, isolator("example.com/novel", json!(null))),
        (
            "iso.seccomp-remove.set.nonempty",
            Image,
            ISOLATORS,
            isolator("os/linux/seccomp-remove-set", json!({"set": ["reboot", "rebot"]})),
        ),
        (
            "iso.seccomp-remove.empty",
            Image,
            ISOLATORS,
            isolator("os/linux/seccomp-remove-set", json!({"set": ["@appc.io/empty", "reboot"]})),
        ),
        (
            "iso.seccomp-retain.all",
            Image,
            ISOLATORS,
            isolator("os/linux/seccomp-retain-set", json!({"set": ["@appc.io/all", "reboot"]})),
        ),
        (
            "iso.caps-retain.set",
            Image,
            ISOLATORS,
            isolator("os/linux/capabilities-retain-set", json!({"set": ["CAP_PONIES"]})),
        ),
        ("iso.caps-remove.set", Image, ISOLATORS, isolator("os/linux/capabilities-remove-set", json!({"set": []}))),
        ("pm.volumes.mode", Pod, "/volumes/1/mode", Some(json!("0755"))),
        ("pm.volumes.recursive", Pod, "/volumes/0/recursive", Some(json!(true))),
        ("pm.apps", Pod, "/apps", Some(json!([]))),
        ("x.isolator.duplicate", Image, ISOLATORS, twice("resource/cpu", &json!({"limit": "1"}))),
        ("x.json.key-case", Image, "/app/supplementaryGids", Some(json!([1]))),
        ("x.mount.system", Image, "/app/mountPoints/0/path", Some(json!("/proc/x"))),
        ("x.path.clean", Image, "/app/workingDirectory", Some(json!("/opt//work"))),
        ("x.ports.host-conflict", Pod, "/ports/1/hostPort", Some(json!(80))),
        ("x.quantity.form", Image, ISOLATORS, isolator("resource/memory", json!({"limit": "1e9"}))),
        ("x.quantity.part", Image, ISOLATORS, isolator("resource/memory", json!({"limit": "16m"}))),
    ]
}

/// Broken under `--profile reified` only.
fn reified() -> Vec<Change> {
    vec![
        ("pod.reified.ids", Pod, "/apps/0/image/id", None),
        ("pod.reified.mounts", Pod, "/apps/0/mounts", Some(json!([]))),
        ("pm.apps.mounts.volume", Pod, "/apps/1/mounts/0/volume", Some(json!("nowhere"))),
    ]
}

/// Valid, each showing what a clause allows.
fn good() -> Vec<Change> {
    vec![
        ("types.isolator.value", Image, ISOLATORS, isolator("example.com/any", json!([null, {"a": 1}]))),
        ("im.app.optional", Image, "/app", None),
        ("im.deps.optional", Image, "/dependencies", None),
        ("im.app.eventhandlers.optional", Image, "/app/eventHandlers", None),
        ("im.labels.osarch.absent", Image, "/labels", Some(json!([]))),
        ("im.ann.authors", Image, "/annotations", annotation("authors", "anyone; \u{2603}")),
        ("im.pwl.empty", Image, "/pathWhitelist", Some(json!([]))),
        ("aci.id.canonical", Image, "/dependencies/0/imageID", Some(json!(id()))),
        ("iso.unknown.ignore", Image, ISOLATORS, isolator("example.com/novel", json!(true))),
        (
            "iso.seccomp.scope-ns",
            Image,
            ISOLATORS,
            isolator("os/linux/seccomp-retain-set", json!({"set": ["@docker/default-whitelist"]})),
        ),
        (
            "iso.seccomp-retain.all",
            Image,
            ISOLATORS,
            isolator("os/linux/seccomp-retain-set", json!({"set": ["@appc.io/all"]})),
        ),
        (
            "iso.seccomp-remove.empty",
            Image,
            ISOLATORS,
            isolator("os/linux/seccomp-remove-set", json!({"set": ["@appc.io/empty"], "errno": ""})),
        ),
        ("iso.caps-retain.set", Image, ISOLATORS, isolator("os/linux/capabilities-retain-set", json!({"set": []}))),
        (
            "iso.selinux.single",
            Image,
            ISOLATORS,
            isolator("os/linux/selinux-context", json!({"user": "u", "role": "r", "type": "t", "level": "s0:c1,c2"})),
        ),
        (
            "res.quantity.equiv",
            Image,
            ISOLATORS,
            isolator("resource/memory", json!({"request": "128974848", "limit": "125952Ki"})),
        ),
        ("res.scope", Pod, "/isolators", isolator("resource/cpu", json!({"limit": "0.5"}))),
        ("pm.apps.mounts.volume", Pod, "/apps/0/mounts/0/volume", Some(json!("later"))),
        ("x.json.unknown-key", Image, "/novel", Some(json!({"a": 1}))),
    ]
}

/// Documents that no JSON library writes.
fn raw() -> Vec<(&'static str, Vec<u8>)> {
    let image =
        |name: &str| format!(r#"{{"acKind": "ImageManifest", "acVersion": "0.8.11", "name": {name}}}"#).into_bytes();
    let tail = |tail: &str| image(&format!(r#""example.com/a", {tail}"#));
    let mut bom = b"\xef\xbb\xbf".to_vec();
    bom.extend(image(r#""example.com/a""#));
    vec![
        ("bad/im.json.valid", image(r#""example.com/a","#)),
        ("bad/x.json.encoding", bom),
        ("bad/x.json.surrogate", tail(r#""novel": "\ud83d""#)),
        ("bad/x.json.duplicate-key", tail(r#""name": "example.com/b""#)),
        ("bad/x.json.depth", tail(&format!(r#""novel": {}{}"#, "[".repeat(200), "]".repeat(200)))),
        ("bad/x.json.number", tail(r#""novel": 1e999"#)),
        ("good/smallest-image", image(r#""example.com/a""#)),
        ("good/smallest-pod", br#"{"acKind": "PodManifest", "acVersion": "0.8.11", "apps": []}"#.to_vec()),
    ]
}

fn all() -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let bad = [types(), images(), isolators(), pods(), ours()].concat();
    for (directory, changes) in [("bad", bad), ("strict", strict()), ("reified", reified()), ("good", good())] {
        for (clause, base, pointer, value) in changes {
            let mut manifest = if base == Image { image() } else { pod() };
            set(&mut manifest, pointer, value);
            assert!(files.insert(format!("{directory}/{clause}"), pretty(&manifest)).is_none(), "{clause} twice");
        }
    }
    files.insert("good/image".to_owned(), pretty(&image()));
    files.insert("good/pod".to_owned(), pretty(&pod()));
    files.extend(raw().into_iter().map(|(name, text)| (name.to_owned(), text)));
    files
}

fn pretty(manifest: &Value) -> Vec<u8> {
    let mut text = format!("{manifest:#}").into_bytes();
    text.push(b'\n');
    text
}

/// Puts a value at a place, or takes away what is there.
fn set(manifest: &mut Value, pointer: &str, value: Option<Value>) {
    let (parent, key) = pointer.rsplit_once('/').expect("pointers begin with a slash");
    let parent = manifest.pointer_mut(parent).unwrap_or_else(|| panic!("{pointer} has no parent"));
    match (parent, value) {
        (Value::Object(members), Some(value)) => drop(members.insert(key.to_owned(), value)),
        (Value::Object(members), None) => assert!(members.shift_remove(key).is_some(), "{pointer} is not there"),
        (parent, Some(value)) => *parent.pointer_mut(&format!("/{key}")).expect("an item of a list") = value,
        (_, None) => panic!("{pointer}: items are not taken away"),
    }
}

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/manifests");
    let check = std::env::args().nth(1).is_some_and(|argument| argument == "--check");
    let mut stale = false;
    for (name, text) in all() {
        let path = root.join(format!("{name}.json"));
        if check {
            if std::fs::read(&path).ok().as_deref() != Some(&text) {
                eprintln!("fixtures: {} is stale: run `cargo run --example fixtures`", path.display());
                stale = true;
            }
        } else if let Err(error) =
            path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&path, text))
        {
            eprintln!("fixtures: {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    if stale { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
