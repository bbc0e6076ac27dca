//! Configurations, references and platforms.

use std::fs;

use serde_json::json;

use super::world::{Codec, Image, Layer, Place, digest, tree};

#[test]
fn a_configuration_becomes_an_app_and_comes_back() {
    let place = Place::new();
    let run = json!({
        "Entrypoint": ["/bin/a"], "Cmd": ["b"], "User": "web", "Env": ["A=1", "1bad=x"], "WorkingDir": "/srv",
        "ExposedPorts": { "80/tcp": {} }, "Volumes": { "/data": {} }, "Labels": { "k": "v" }, "StopSignal": "SIGINT",
        "Healthcheck": { "Test": ["CMD", "true"] }, "OnBuild": ["RUN x"],
    });
    let layer = Layer::new().file("etc/passwd", "web:x:33:34::/:\n").file("etc/group", "log:x:4:web\n");
    Image::of([layer]).config(run).layout(&place.path("layout"), "1.2");
    let (_, told) = place.done(&["import", "layout", "a.aci", "--name", "example.com/a"]);
    for lost in ["Healthcheck", "OnBuild", "1bad"] {
        assert!(told.contains(lost), "{lost}: {told}");
    }
    assert!(!told.contains("StopSignal"), "{told}");
    place.done(&["validate", "-q", "--strict", "a.aci"]);
    let manifest = place.manifest("a.aci");
    let app = &manifest["app"];
    assert_eq!((&app["user"], &app["group"], &app["supplementaryGIDs"]), (&json!("web"), &json!("34"), &json!([4])));
    assert_eq!(manifest["labels"][0], json!({ "name": "version", "value": "1.2" }));
    let annotations = manifest["annotations"].as_array().unwrap();
    assert!(
        annotations.contains(&json!({ "name": "appc.io/executor/stop-signal", "value": "SIGINT" })),
        "{annotations:?}"
    );

    place.done(&["export", "oci", "a.aci", "out"]);
    place.done(&["import", "out", "again.aci", "--name", "example.com/a"]);
    assert_eq!(place.manifest("again.aci")["app"], *app);
    // What is changed is changed, and what has no place stays.
    place.done(&["patch-manifest", "--exec", "/bin/other", "a.aci", "changed.aci"]);
    place.done(&["export", "oci", "changed.aci", "changed"]);
    place.done(&["import", "changed", "changed-again.aci", "--name", "example.com/a"]);
    let changed = place.manifest("changed-again.aci");
    assert_eq!(changed["app"]["exec"], json!(["/bin/other"]));
    let annotations = changed["annotations"].as_array().unwrap();
    let kept = annotations.iter().find(|annotation| annotation["name"] == "appc.io/oci/config").unwrap();
    assert!(kept["value"].as_str().unwrap().contains("SIGINT"));
}

#[test]
fn any_image_becomes_one_of_layers() {
    let place = Place::new();
    fs::write(place.path("a.aci"), crate::support::image::image("example.com/a", &[("version", "1")], 1000)).unwrap();
    let (_, told) = place.done(&["export", "oci", "a.aci", "out"]);
    assert!(told.contains("does not say what it runs on"), "{told}");
    place.done(&["import", "out:1", "again.aci", "--name", "example.com/a"]);
    assert_eq!(tree_names(&place, "again.aci"), ["", "noise"]);
    place.done(&["export", "docker-archive", "a.aci", "out.tar"]);
    place.done(&["import", "out.tar", "saved.aci"]);
    assert_eq!(place.manifest("saved.aci")["name"], "example.com/a");
    assert!(place.refused(&["export", "docker-archive", "a.aci", "out.tar"]).contains("there already"));
}

fn tree_names(place: &Place, image: &str) -> Vec<String> {
    let out = place.done(&["ls", image]).0;
    let names = out.lines().filter_map(|line| line.strip_prefix("rootfs"));
    names.map(|name| name.trim_start_matches('/').to_owned()).collect()
}

#[test]
fn one_of_several_is_taken_by_tag_or_digest() {
    let place = Place::new();
    let image = |content: &str| Image::of([Layer::new().file("a", content)]);
    image("1").layout(&place.path("layout"), "one");
    image("2").layout(&place.path("layout"), "two");
    let told = place.refused(&["import", "layout", "a.aci"]);
    assert!(told.contains("one, two"), "{told}");
    place.done(&["import", "layout:two", "two.aci"]);
    assert_eq!(tree(&place.path("two.aci"))["a"], "Regular 644 2");
    let digest = digest(&image("1").documents().1);
    place.done(&["import", &format!("layout@{digest}"), "one.aci"]);
    assert_eq!(tree(&place.path("one.aci"))["a"], "Regular 644 1");
    assert!(place.refused(&["import", "layout:three", "x.aci"]).contains("find three"));
}

#[test]
fn a_list_gives_the_image_for_the_platform() {
    let place = Place::new();
    let mut list = Vec::new();
    for (os, arch) in [("linux", "amd64"), ("linux", "arm64"), ("freebsd", "amd64")] {
        let mut image = Image::of([Layer::new().file("a", &format!("{os}/{arch}"))]);
        (image.config["os"], image.config["architecture"]) = (os.into(), arch.into());
        image.layout(&place.path("layout"), "x");
        let manifest = image.documents().1;
        list.push(json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(&manifest), "size": manifest.len(),
            "platform": { "os": os, "architecture": arch },
        }));
    }
    list.push(json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(b""), "size": 0,
        "platform": { "os": "unknown", "architecture": "unknown" },
    }));
    let bytes = json!({ "schemaVersion": 2, "manifests": list }).to_string().into_bytes();
    fs::write(super::world::blob(&place.path("layout"), &digest(&bytes)), &bytes).unwrap();
    let index = json!({ "schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest(&bytes), "size": bytes.len(),
    }] });
    fs::write(place.path("layout/index.json"), index.to_string()).unwrap();
    for platform in ["linux/arm64", "freebsd/amd64"] {
        place.done(&["import", "layout", "a.aci", "--overwrite", "--platform", platform]);
        assert_eq!(tree(&place.path("a.aci"))["a"], format!("Regular 644 {platform}"));
    }
    let (_, told) = place.done(&[
        "import",
        "layout",
        "a.aci",
        "--overwrite",
        "--platform",
        "freebsd/arm64",
        "--platform",
        "linux/arm64",
    ]);
    assert!(told.contains("for linux/arm64"), "{told}");
    let told = place.refused(&["import", "layout", "b.aci", "--platform", "linux/s390x"]);
    assert!(told.contains("linux/amd64") && told.contains("[x.oci.platform]"), "{told}");
}

#[test]
fn archives_are_read_plain_compressed_and_from_a_pipe() {
    let place = Place::new();
    let tar = Layer::new().file("a", "1").tar();
    let image = Image::new().layer(&tar, Codec::Gzip);
    image.docker_save(std::slice::from_ref(&tar), &place.path("saved.tar"), "example.com/a:1");
    let (plain, _) = place.done(&["import", "saved.tar", "plain.aci"]);
    let saved = fs::read(place.path("saved.tar")).unwrap();
    fs::write(place.path("saved.tar.gz"), super::world::packed(&saved, Codec::Gzip).0).unwrap();
    assert_eq!(place.done(&["import", "saved.tar.gz", "gzip.aci"]).0, plain);
    let piped = std::process::Command::new("sh")
        .args(["-c", "cat saved.tar.gz | \"$0\" import - piped.aci", env!("CARGO_BIN_EXE_actool")])
        .current_dir(place.path("."))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&piped.stdout), plain, "{piped:?}");
}
