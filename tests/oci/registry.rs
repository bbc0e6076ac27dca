//! `jetpack fetch docker://...` and `jetpack push` against registries made up here, kind and unkind.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::world::{Image, Layer, digest};
use crate::support::https::{Manner, Reply, Seen, Server};

/// What a registry has: manifests and blobs by path.
type Shelf = BTreeMap<String, Vec<u8>>;

/// Puts an image on the shelf under a name and tag.
fn shelve(shelf: &mut Shelf, image: &Image, name: &str, tag: &str) -> String {
    let (config, manifest) = image.documents();
    let mut blob = |bytes: &[u8]| shelf.insert(format!("/v2/{name}/blobs/{}", digest(bytes)), bytes.to_vec());
    blob(&config);
    for bytes in image.blobs.values() {
        blob(bytes);
    }
    shelf.insert(format!("/v2/{name}/manifests/{tag}"), manifest.clone());
    shelf.insert(format!("/v2/{name}/manifests/{}", digest(&manifest)), manifest.clone());
    digest(&manifest)
}

fn serve(shelf: &Shelf, request: &Seen) -> Reply {
    match shelf.get(&request.path) {
        _ if request.path == "/v2/" => Reply::ok("{}"),
        Some(bytes) if request.path.contains("/blobs/") => Reply::file(request, bytes, "\"tag\""),
        Some(bytes) => Reply::ok(bytes.clone()),
        None => Reply::status(404),
    }
}

fn registry(shelf: Shelf) -> Server {
    Server::https(move |request| serve(&shelf, request))
}

/// A store and a home of its own.
struct Host {
    directory: tempfile::TempDir,
    bundle: PathBuf,
}

impl Host {
    fn beside(server: &Server) -> Self {
        Self { directory: tempfile::tempdir().unwrap(), bundle: server.bundle() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jetpack"));
        command
            .arg("--root")
            .arg(self.directory.path().join("root"))
            .args(arguments)
            .env("SSL_CERT_FILE", &self.bundle);
        command.env("XDG_CONFIG_HOME", self.directory.path().join("config")).env("HOME", self.directory.path());
        for name in ["REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "DOCKER_CONFIG", "CONTAINERS_REGISTRIES_CONF"] {
            command.env_remove(name);
        }
        let path = format!("{}:{}", self.directory.path().display(), std::env::var("PATH").unwrap_or_default());
        command.env("PATH", path).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn done(&self, arguments: &[&str]) -> (String, String) {
        let output = self.run(arguments);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments:?}: {told}");
        (String::from_utf8(output.stdout).unwrap(), told)
    }

    /// What is said of an image that is refused; the store is as it was.
    fn refused(&self, arguments: &[&str]) -> String {
        let before = self.kept();
        let output = self.run(arguments);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {told}");
        assert_eq!(self.kept(), before, "{arguments:?} left something");
        told
    }

    /// Images, trees, work in progress and blobs.
    fn kept(&self) -> Vec<String> {
        let mut kept = Vec::new();
        for name in ["images", "trees", "incoming", "blobs"] {
            let entries = fs::read_dir(self.directory.path().join("root").join(name));
            for entry in entries.into_iter().flatten() {
                kept.push(format!("{name}/{}", entry.unwrap().file_name().to_string_lossy()));
            }
        }
        kept.sort();
        kept
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn small(content: &str) -> Image {
    let layers = [Layer::new().file("a", content).file("b", "1"), Layer::new().file(".wh.b", "")];
    let mut image = Image::of(layers);
    image.config["architecture"] = json!(match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    });
    image
}

#[test]
fn an_image_is_fetched_pinned_and_asked_for_again() {
    let shelf = Arc::new(Mutex::new(Shelf::new()));
    let first = shelve(&mut shelf.lock().unwrap(), &small("1"), "team/app", "1.2");
    let on = shelf.clone();
    let server = Server::https(move |request| serve(&on.lock().unwrap(), request));
    let host = Host::beside(&server);
    let name = format!("docker://localhost:{}/team/app:1.2", server.port);
    let (id, told) = host.done(&["fetch", &name]);
    assert!(told.contains("nobody has signed it"), "{told}");
    let (manifest, _) = host.done(&["image", "cat-manifest", id.trim()]);
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["name"], format!("localhost-{}/team/app", server.port));
    let origin = fs::read_to_string(host.directory.path().join("root/images").join(id.trim()).join("origin")).unwrap();
    assert!(origin.contains(&format!("{name}@{first}")), "{origin}");

    // What is there of that digest is not transferred again, and a run asks nobody.
    let blobs = |server: &Server| server.paths().iter().filter(|path| path.contains("/blobs/")).count();
    let before = blobs(&server);
    assert_eq!(host.done(&["fetch", &name]).0, id);
    assert_eq!(blobs(&server), before);
    let asked = server.paths().len();
    assert_eq!(host.done(&["fetch", "--pull", "new", &name]).0, id);
    assert_eq!(host.done(&["fetch", "--pull", "never", &name]).0, id);
    assert_eq!(server.paths().len(), asked);

    // The tag moves: what was pinned stays until it is asked for.
    shelve(&mut shelf.lock().unwrap(), &small("2"), "team/app", "1.2");
    assert_eq!(host.done(&["fetch", "--pull", "new", &name]).0, id);
    let (other, _) = host.done(&["fetch", "--pull", "update", &name]);
    assert_ne!(other, id);
    // Into a file, by whoever has no store.
    let output = Command::new(env!("CARGO_BIN_EXE_actool"))
        .args(["import", &name, "a.aci", "--compression", "none"])
        .current_dir(host.directory.path())
        .env("SSL_CERT_FILE", &host.bundle)
        .env("HOME", host.directory.path())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), other, "{output:?}");
    // By digest the first is had still.
    let (again, _) = host.done(&["fetch", &format!("docker://localhost:{}/team/app@{first}", server.port)]);
    let shown = host.done(&["image", "cat-manifest", again.trim()]).0;
    assert!(shown.contains("appc.io/oci/config"), "{shown}");
}

#[test]
fn a_layer_that_was_damaged_where_it_is_kept_is_fetched_anew() {
    let mut shelf = Shelf::new();
    shelve(&mut shelf, &small("1"), "app", "1");
    let server = registry(shelf);
    let host = Host::beside(&server);
    let name = format!("docker://localhost:{}/app:1", server.port);
    let (id, _) = host.done(&["fetch", &name]);
    let blobs: Vec<PathBuf> =
        fs::read_dir(host.directory.path().join("root/blobs")).unwrap().map(|blob| blob.unwrap().path()).collect();
    let content: Vec<Vec<u8>> = blobs.iter().map(|blob| fs::read(blob).unwrap()).collect();
    assert_eq!(blobs.len(), 2);
    let last = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        bytes
    };
    fs::write(&blobs[1], last(&content[1])).unwrap();
    host.done(&["image", "rm", id.trim()]);
    let before = server.paths().len();
    assert_eq!(host.done(&["fetch", &name]).0, id);
    let asked = server.paths().split_off(before).into_iter().filter(|path| path.contains("/blobs/")).count();
    assert_eq!(asked, 2, "the configuration, and one of two layers");
    assert!(blobs.iter().zip(&content).all(|(blob, content)| fs::read(blob).unwrap() == *content));
}

#[test]
fn a_pod_manifest_names_images_of_registries() {
    let mut shelf = Shelf::new();
    let run = json!({ "Entrypoint": ["/a"], "Volumes": { "/data": {} } });
    shelve(&mut shelf, &small("1").config(run), "team/app", "latest");
    let server = registry(shelf);
    let host = Host::beside(&server);
    let pod = json!({
        "acKind": "PodManifest", "acVersion": "0.8.11",
        "apps": [{
            "name": "a", "image": { "name": "example.com/a" },
            "annotations": [{ "name": "appc.io/oci/reference", "value": format!("docker://localhost:{}/team/app", server.port) }],
        }],
    });
    host.write("pod.json", &pod.to_string());
    let file = host.directory.path().join("pod.json");
    let (_, told) = host.done(&["plan", "--net", "none", "--pod-manifest", file.to_str().unwrap()]);
    assert!(told.contains("an empty volume at /data"), "{told}");
}

#[test]
fn a_registry_that_takes_nothing_is_told() {
    let shelf = Arc::new(Mutex::new(Shelf::new()));
    let first = shelve(&mut shelf.lock().unwrap(), &small("1"), "team/app", "1.2");
    let on = shelf.clone();
    let server = Server::https(move |request| serve(&on.lock().unwrap(), request));
    let host = Host::beside(&server);
    let (id, _) = host.done(&["fetch", &format!("docker://localhost:{}/team/app:1.2", server.port)]);
    // This one takes nothing, and says so in its own words.
    let told = host.refused(&["push", id.trim(), &format!("docker://localhost:{}/team/app:2", server.port)]);
    assert!(told.contains("push to docker://localhost") && told.contains("404"), "{told}");
    drop(first);
}

#[test]
fn trust_is_said_of_registries_and_wanted_where_it_is_strict() {
    let mut shelf = Shelf::new();
    shelve(&mut shelf, &small("1"), "team/app", "latest");
    let server = registry(shelf);
    let host = Host::beside(&server);
    let name = format!("docker://localhost:{}/team/app", server.port);
    let told = host.refused(&["fetch", "--strict", &name]);
    assert!(told.contains("trust add --registry") && told.contains("[disc.sigpolicy]"), "{told}");
    let place = format!("localhost:{}/team", server.port);
    host.done(&["trust", "add", "--registry", &place]);
    assert!(host.done(&["trust", "list"]).0.contains(&place));
    let (_, told) = host.done(&["fetch", "--strict", &name]);
    assert!(!told.contains("signed"), "{told}");
    host.done(&["trust", "remove", "--registry", &place]);
    host.refused(&["fetch", "--strict", &format!("{name}:other")]);
}

/// Puts a signature of cosign beside an image: by `key`, that `digest` is an image of `named`.
fn sign(shelf: &mut Shelf, name: &str, digest_of: &str, signed: &str, named: &str, key: &rcgen::KeyPair) {
    use base64::Engine as _;
    use rcgen::SigningKey as _;
    let payload = json!({
        "critical": {
            "identity": { "docker-reference": named }, "image": { "docker-manifest-digest": signed },
            "type": "cosign container image signature",
        },
        "optional": { "creator": "somebody" },
    });
    let payload = payload.to_string().into_bytes();
    let signature = base64::engine::general_purpose::STANDARD.encode(key.sign(&payload).unwrap());
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(b"{}"), "size": 2 },
        "layers": [{
            "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json", "digest": digest(&payload), "size": payload.len(),
            "annotations": { "dev.cosignproject.cosign/signature": signature },
        }],
    });
    shelf.insert(format!("/v2/{name}/blobs/{}", digest(&payload)), payload);
    let tag = format!("{}.sig", digest_of.replace(':', "-"));
    shelf.insert(format!("/v2/{name}/manifests/{tag}"), manifest.to_string().into_bytes());
}

#[test]
fn where_a_key_of_cosign_is_trusted_those_images_alone_are_taken_that_it_signed() {
    let key = || rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let (ours, theirs) = (key(), key());
    let shelf = Arc::new(Mutex::new(Shelf::new()));
    let first = shelve(&mut shelf.lock().unwrap(), &small("1"), "team/app", "latest");
    let on = shelf.clone();
    let server = Server::https(move |request| serve(&on.lock().unwrap(), request));
    let host = Host::beside(&server);
    let place = format!("localhost:{}/team", server.port);
    let name = format!("docker://{place}/app");
    host.write("ours.pub", &ours.public_key_pem());
    let file = host.directory.path().join("ours.pub").display().to_string();
    let trust = ["trust", "add", "--cosign", &file, "--registry", &place];
    let (told, _) = host.done(&trust);
    let id = told.split_whitespace().next().unwrap().to_owned();
    assert!(id.starts_with("sha256:") && told.ends_with(&format!("trusted for {place}\n")), "{told}");
    assert!(host.done(&trust).0.contains("trusted already"));
    assert!(host.done(&["trust", "list"]).0.contains(&format!("cosign  {place}  {id}")));

    // None at all, one of somebody else, one for another digest, one for another name.
    let told = host.refused(&["fetch", &name]);
    assert!(told.contains("no signature of it") && told.contains(&id) && told.contains("[disc.sigpolicy]"), "{told}");
    let full = format!("{place}/app");
    let other = digest(b"other");
    for (signed, named, by) in [(&first, &full, &theirs), (&other, &full, &ours), (&first, &place, &ours)] {
        sign(&mut shelf.lock().unwrap(), "team/app", &first, signed, named, by);
        assert!(host.refused(&["fetch", &name]).contains("no signature of it"));
    }
    // The word of the registry does not stand for it.
    host.done(&["trust", "add", "--registry", &place]);
    host.refused(&["fetch", &name]);
    sign(&mut shelf.lock().unwrap(), "team/app", &first, &first, &full, &ours);
    let (_, told) = host.done(&["fetch", "--strict", &name]);
    assert!(told.contains(&format!("signed by the key {id}, trusted for {place}")), "{told}");
    // A payload that was changed behind its signature.
    let changed = |path: &String, bytes: &Vec<u8>| path.contains("/blobs/") && bytes.starts_with(b"{\"critical");
    shelf
        .lock()
        .unwrap()
        .iter_mut()
        .filter(|(path, bytes)| changed(path, bytes))
        .for_each(|(_, bytes)| bytes.push(b' '));
    let told = host.refused(&["fetch", "--pull", "update", &name]);
    assert!(told.contains("[x.oci."), "{told}");
    // Not asked for where the operator says so; and no more, once it is trusted no more.
    host.done(&["--insecure=signature", "fetch", &name]);
    host.done(&["trust", "remove", "--cosign", &id]);
    host.done(&["fetch", &name]);
    assert_eq!(host.run(&["trust", "remove", "--cosign", &id]).status.code(), Some(1));
    let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    host.write("ours.pub", &other.public_key_pem());
    let refused = host.run(&trust);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no key of ECDSA on P-256"), "{refused:?}");
    host.write("ours.pub", "no key");
    assert_eq!(host.run(&trust).status.code(), Some(1));
}

#[test]
fn a_signature_of_the_list_is_one_of_the_image_in_it() {
    let ours = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut shelf = Shelf::new();
    let image = small("1");
    let manifest = shelve(&mut shelf, &image, "app", "one");
    let platform = json!({ "os": "linux", "architecture": image.config["architecture"] });
    let list = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{ "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": manifest,
            "size": image.documents().1.len(), "platform": platform }],
    });
    let list = list.to_string().into_bytes();
    let top = digest(&list);
    shelf.insert("/v2/app/manifests/latest".to_owned(), list);
    let shelf = Arc::new(Mutex::new(shelf));
    let on = shelf.clone();
    let server = Server::https(move |request| serve(&on.lock().unwrap(), request));
    let host = Host::beside(&server);
    let place = format!("localhost:{}/app", server.port);
    sign(&mut shelf.lock().unwrap(), "app", &top, &top, &place, &ours);
    host.write("ours.pub", &ours.public_key_pem());
    let file = host.directory.path().join("ours.pub").display().to_string();
    host.done(&["trust", "add", "--cosign", &file, "--registry", &place]);
    let (_, told) = host.done(&["fetch", &format!("docker://{place}")]);
    assert!(told.contains("signed by the key"), "{told}");
}

#[test]
fn images_are_asked_for_where_registries_conf_says() {
    let mut shelf = Shelf::new();
    shelve(&mut shelf, &small("1"), "hub/team/app", "1");
    let mirror = registry(shelf);
    let mut shelf = Shelf::new();
    shelve(&mut shelf, &small("1"), "team/app", "1");
    shelve(&mut shelf, &small("2"), "team/app", "2");
    let plain = Server::http(move |request| serve(&shelf, request));
    let host = Host::beside(&mirror);
    let conf = format!(
        "[[registry]]\nprefix = \"r.example.com\"\nlocation = \"127.0.0.1:{}\"\ninsecure = true\n\
         [[registry.mirror]]\nlocation = \"localhost:{}/hub\"\n\
         [[registry]]\nprefix = \"r.example.com/bad\"\nblocked = true\n",
        plain.port, mirror.port
    );
    host.write("config/containers/registries.conf", &conf);
    let (id, told) = host.done(&["fetch", "docker://r.example.com/team/app:1"]);
    assert!(plain.seen().is_empty(), "{:?}", plain.paths());
    let (manifest, _) = host.done(&["image", "cat-manifest", id.trim()]);
    assert!(manifest.contains("\"r.example.com/team/app\""), "{manifest} {told}");
    // The mirror has no such image: the next is asked, over plain http, as the file says.
    let (_, told) = host.done(&["fetch", "docker://r.example.com/team/app:2"]);
    assert!(told.contains(&format!("docker://localhost:{}/hub/team/app:2 gives nothing", mirror.port)), "{told}");
    let told = host.refused(&["fetch", "docker://r.example.com/bad/app:1"]);
    assert!(told.contains("registries.conf blocks r.example.com/bad"), "{told}");
    host.write("config/containers/registries.conf", "[[registry]]\nlocation = 1\n");
    let told = host.refused(&["fetch", "docker://r.example.com/team/app:1"]);
    assert!(told.contains("registries.conf") && told.contains("line 2"), "{told}");
    // Our own configuration names other files.
    host.write("own.conf", "[[registry]]\nlocation = \"r.example.com\"\nblocked = true\n");
    host.write("config/jetpack.toml", &format!("registry-files = [{:?}]\n", host.directory.path().join("own.conf")));
    let told = host.refused(&["fetch", "docker://r.example.com/team/app:1"]);
    assert!(told.contains("blocks r.example.com"), "{told}");
}

/// A registry that wants a token from a server of its own, which wants a user's password.
fn guarded(shelf: Shelf, basic: &'static str) -> Server {
    Server::https(move |request| {
        let shown = request.headers.get("authorization").map_or("", String::as_str);
        let host = request.headers["host"].clone();
        if request.path.starts_with("/token?") {
            let right =
                shown == format!("Basic {basic}") && request.path.contains("scope=repository%3Ateam%2Fapp%3Apull");
            return if right { Reply::ok(r#"{"token":"secret-token"}"#) } else { Reply::status(401) };
        }
        if shown != "Bearer secret-token" {
            let challenge = format!(r#"Bearer realm="https://{host}/token",service="here""#);
            return Reply::status(401).header("WWW-Authenticate", challenge);
        }
        serve(&shelf, request)
    })
}

#[test]
fn tokens_are_got_with_the_accounts_of_docker_and_podman() {
    let mut shelf = Shelf::new();
    shelve(&mut shelf, &small("1"), "team/app", "latest");
    let server = guarded(shelf, "dTpw");
    let host = Host::beside(&server);
    let name = format!("docker://localhost:{}/team/app", server.port);
    let told = host.refused(&["fetch", &name]);
    assert!(told.contains("podman login"), "{told}");
    let auths = |key: &str| json!({ "auths": { key: { "auth": "dTpw" } } }).to_string();
    host.write(".docker/config.json", &auths(&format!("localhost:{}", server.port)));
    host.done(&["fetch", &name]);
    // podman's come first, and a helper is asked where one is named.
    let helped = json!({ "credHelpers": { format!("localhost:{}", server.port): "made-up" } }).to_string();
    host.write("config/containers/auth.json", &helped);
    host.write(
        "docker-credential-made-up",
        "#!/bin/sh\ncat >/dev/null\nprintf '{\"Username\":\"u\",\"Secret\":\"p\"}'\n",
    );
    let helper = host.directory.path().join("docker-credential-made-up");
    fs::set_permissions(helper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    host.done(&["fetch", &name]);
    host.write("config/containers/auth.json", "{ not json, secret-password }");
    let told = host.refused(&["fetch", &name]);
    assert!(told.contains("line 1") && !told.contains("secret-password"), "{told}");
}

#[test]
fn credentials_do_not_follow_a_redirect_to_another_host() {
    let mut shelf = Shelf::new();
    let image = small("1");
    shelve(&mut shelf, &image, "team/app", "latest");
    let blobs: Shelf = shelf
        .iter()
        .filter(|(path, _)| path.contains("/blobs/"))
        .map(|(path, bytes)| (path.clone(), bytes.clone()))
        .collect();
    let elsewhere = Server::http(move |request| match request.headers.contains_key("authorization") {
        true => Reply::status(400),
        false => serve(&blobs, request),
    });
    let to = format!("http://127.0.0.1:{}", elsewhere.port);
    let server = Server::https(move |request| {
        if request.headers.get("authorization").map(String::as_str) != Some("Basic dTpw") {
            return Reply::status(401).header("WWW-Authenticate", "Basic realm=\"x\"");
        }
        match request.path.contains("/blobs/") {
            true => Reply::redirect(format!("{to}{}", request.path)),
            false => serve(&shelf, request),
        }
    });
    let host = Host::beside(&server);
    host.write(
        ".docker/config.json",
        &json!({ "auths": { format!("localhost:{}", server.port): { "auth": "dTpw" } } }).to_string(),
    );
    let name = format!("docker://localhost:{}/team/app", server.port);
    // From https to http only where that is allowed.
    assert!(host.refused(&["fetch", &name]).contains("--insecure=http"));
    host.done(&["--insecure=http", "fetch", &name]);
    assert!(elsewhere.seen().iter().all(|seen| !seen.headers.contains_key("authorization")));
}

#[test]
fn plain_http_is_spoken_only_where_that_is_allowed() {
    let mut shelf = Shelf::new();
    shelve(&mut shelf, &small("1"), "app", "latest");
    let server = Server::http(move |request| serve(&shelf, request));
    let host =
        Host { directory: tempfile::tempdir().unwrap(), bundle: PathBuf::from("/etc/ssl/certs/ca-certificates.crt") };
    let name = format!("docker://localhost:{}/app", server.port);
    host.refused(&["fetch", &name]);
    host.done(&["--insecure=http", "fetch", &name]);
}

#[test]
fn registries_that_lie_are_found_out_and_nothing_is_kept() {
    let image = small(&"x".repeat(100_000));
    let layer = image.layers[0]["digest"].as_str().unwrap().to_owned();
    let with = |bend: &dyn Fn(&mut Shelf)| {
        let mut shelf = Shelf::new();
        shelve(&mut shelf, &image, "app", "latest");
        bend(&mut shelf);
        let server = registry(shelf);
        let host = Host::beside(&server);
        host.refused(&["fetch", &format!("docker://localhost:{}/app", server.port)])
    };
    let blob = format!("/v2/app/blobs/{layer}");
    let manifest = "/v2/app/manifests/latest";
    let told = with(&|shelf| *shelf.get_mut(&blob).unwrap().last_mut().unwrap() ^= 1);
    assert!(told.contains("[x.oci.digest]") || told.contains("[aci.compress]"), "{told}");
    let told = with(&|shelf| shelf.get_mut(&blob).unwrap().extend_from_slice(b"more"));
    assert!(told.contains("[x.oci.size]"), "{told}");
    let told = with(&|shelf| shelf.get_mut(&blob).unwrap().truncate(100));
    assert!(told.contains("[x.oci.size]"), "{told}");
    let told = with(&|shelf| drop(shelf.remove(&blob)));
    assert!(told.contains("no such image"), "{told}");
    let told = with(&|shelf| drop(shelf.insert(manifest.to_owned(), vec![b' '; 5 << 20])));
    assert!(told.contains("[x.oci.limits]"), "{told}");
    let told = with(&|shelf| drop(shelf.insert(manifest.to_owned(), b"{}".to_vec())));
    assert!(told.contains("[x.oci.manifest]"), "{told}");
    let many = json!({
        "schemaVersion": 2,
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(b"{}"), "size": 2 },
        "layers": vec![image.layers[0].clone(); 10_000],
    });
    let told = with(&|shelf| {
        shelf.insert(manifest.to_owned(), many.to_string().into_bytes());
        shelf.insert(format!("/v2/app/blobs/{}", digest(b"{}")), b"{}".to_vec());
    });
    assert!(told.contains("10000 layers"), "{told}");
    // Another manifest than the digest asks for.
    let mut shelf = Shelf::new();
    let right = shelve(&mut shelf, &image, "app", "latest");
    let other = small("other").documents().1;
    shelf.insert(format!("/v2/app/manifests/{right}"), other);
    let server = registry(shelf);
    let host = Host::beside(&server);
    let told = host.refused(&["fetch", &format!("docker://localhost:{}/app@{right}", server.port)]);
    assert!(told.contains("[x.oci.digest]"), "{told}");
}

#[test]
fn a_token_server_that_never_answers_is_not_waited_for() {
    let server = Server::https(|request| match request.path.starts_with("/token") {
        true => Reply::ok("{}").manner(Manner::Trickle(std::time::Duration::from_secs(600))),
        false => {
            let host = &request.headers["host"];
            Reply::status(401).header("WWW-Authenticate", format!("Bearer realm=\"https://{host}/token\""))
        }
    });
    let host = Host::beside(&server);
    host.write("config/jetpack.toml", "idle-timeout = \"1s\"\nretries = 0\n");
    let told = host.refused(&["fetch", &format!("docker://localhost:{}/app", server.port)]);
    assert!(told.contains("get a token"), "{told}");
}

#[test]
fn a_transfer_that_breaks_is_taken_up_again() {
    let mut shelf = Shelf::new();
    let image = small(&(0..200_000).map(|n: u32| n.wrapping_mul(2_654_435_761).to_string()).collect::<String>());
    shelve(&mut shelf, &image, "app", "latest");
    let broken = Mutex::new(false);
    let server = Server::https(move |request| {
        let reply = serve(&shelf, request);
        let mut broken = broken.lock().unwrap();
        if request.path.contains("/blobs/") && reply.body.len() > 100_000 && !*broken {
            *broken = true;
            return reply.manner(Manner::Cut(50_000));
        }
        reply
    });
    let host = Host::beside(&server);
    host.done(&["fetch", &format!("docker://localhost:{}/app", server.port)]);
    assert!(server.seen().iter().any(|seen| seen.headers.contains_key("range")));
}

/// A registry whose one layer comes in pieces; where each request for it began.
fn slow_registry(manner: Manner) -> (Server, String, impl Fn(&Server) -> Vec<u64>) {
    let mut state = 1u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'0' + (state >> 60) as u8)
    });
    let mut image = Image::of([Layer::new().file("noise", &noise.take(4 << 20).collect::<String>())]);
    image.config["architecture"] = small("").config["architecture"].clone();
    let layer = format!("/v2/app/blobs/{}", image.blobs.keys().next().unwrap());
    let mut shelf = Shelf::new();
    shelve(&mut shelf, &image, "app", "1");
    let slow = layer.clone();
    let server = Server::https(move |request| match serve(&shelf, request) {
        reply if request.path == slow => reply.manner(manner.clone()),
        reply => reply,
    });
    let name = format!("docker://localhost:{}/app:1", server.port);
    let starts = move |server: &Server| {
        let asked = server.seen().into_iter().filter(|seen| seen.path == layer);
        let start = |seen: Seen| {
            let range = seen.headers.get("range").cloned().unwrap_or("bytes=0-".to_owned());
            range["bytes=".len()..].trim_end_matches('-').parse().unwrap()
        };
        asked.map(start).collect()
    };
    (server, name, starts)
}

impl Host {
    fn begin(&self, arguments: &[&str]) -> std::process::Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn wait_for(&self, bytes: u64) {
        let come = || {
            let entries = fs::read_dir(self.directory.path().join("root/partial")).ok()?;
            entries.flatten().filter_map(|entry| Some(fs::metadata(entry.path().join("archive")).ok()?.len())).max()
        };
        while come().unwrap_or(0) < bytes {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}

#[test]
fn a_layer_whose_download_is_killed_goes_on_where_it_was() {
    let (server, name, starts) = slow_registry(Manner::Paced(std::time::Duration::from_millis(5)));
    let host = Host::beside(&server);
    for bytes in [300_000, 600_000, 900_000] {
        let mut fetch = host.begin(&["fetch", &name]);
        host.wait_for(bytes);
        fetch.kill().unwrap();
        fetch.wait().unwrap();
    }
    host.done(&["fetch", &name]);
    let starts = starts(&server);
    assert_eq!(starts.iter().filter(|start| **start == 0).count(), 1, "{starts:?}");
    assert!(starts.is_sorted() && starts.last() >= Some(&899_999), "{starts:?}");
    assert!(!host.directory.path().join("root/partial").exists());
}

#[test]
fn two_that_want_the_same_layer_share_its_download() {
    let open = Arc::new(AtomicBool::new(false));
    let (server, name, starts) = slow_registry(Manner::Gated(open.clone()));
    let host = Host::beside(&server);
    let first = host.begin(&["fetch", &name]);
    host.wait_for(1);
    let mut second = host.begin(&["fetch", &name]);
    crate::support::wait_for_line(&mut second, "waiting for another process");
    open.store(true, Ordering::SeqCst);
    let [first, second] = [first, second].map(|fetch| fetch.wait_with_output().unwrap());
    assert!(first.status.success() && second.status.success());
    assert_eq!(first.stdout, second.stdout);
    assert_eq!(starts(&server), [0]);
}
