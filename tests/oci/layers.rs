//! Layers come to the tree that they mean, in one image and in one a layer.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::world::{Codec, Image, Layer, Place, tree};

/// The image squashed, and the same from one image a layer, laid on each other by the store's own rendering: both must be the tree.
fn come_to(layers: Vec<Layer>, expected: &[(&str, &str)]) -> Place {
    let place = Place::new();
    Image::of(layers).layout(&place.path("layout"), "latest");
    place.done(&["import", "layout", "one.aci", "--name", "example.com/a"]);
    let one = tree(&place.path("one.aci"));
    let expected: BTreeMap<String, String> =
        expected.iter().map(|(path, what)| ((*path).to_owned(), (*what).to_owned())).collect();
    let shown: BTreeMap<String, String> = one.into_iter().filter(|(path, _)| !path.is_empty()).collect();
    assert_eq!(shown, expected);
    place.done(&["import", "--layers", "layout", "layers", "--name", "example.com/a"]);
    for image in place_images(&place) {
        place.done(&["validate", "-q", &image]);
    }
    // As one tree again, through what an image of layers would be.
    place.done(&["export", "docker-archive", &last(&place), "again.tar", "--tag", "a:b"]);
    place.done(&["import", "again.tar", "again.aci", "--name", "example.com/a"]);
    assert_eq!(tree(&place.path("again.aci")), tree(&place.path("one.aci")));
    // And with the layers made anew, as whitelists leave them.
    for image in place_images(&place) {
        place.done(&[
            "patch-manifest",
            "--overwrite",
            "--name",
            "example.com/b",
            &image,
            &image.replace("layers/", "patched-"),
        ]);
    }
    place
}

fn place_images(place: &Place) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(place.path("layers"))
        .unwrap()
        .map(|entry| format!("layers/{}", entry.unwrap().file_name().into_string().unwrap()))
        .collect();
    names.sort();
    names
}

fn last(place: &Place) -> String {
    place_images(place).pop().unwrap()
}

#[test]
fn whiteouts_hide_what_lower_layers_brought_and_nothing_of_their_own() {
    come_to(
        vec![
            Layer::new().directory("a", 0o755).file("a/x", "1").file("a/y", "1").file("b", "1"),
            Layer::new().file("a/.wh.x", "").file("a/z", "2").file(".wh.b", "").file("b", "2"),
            Layer::new().file("c/.wh.none", "").file("c/d", "3"),
        ],
        &[
            ("a", "directory 755"),
            ("a/y", "Regular 644 1"),
            ("a/z", "Regular 644 2"),
            ("b", "Regular 644 2"),
            ("c", "directory 755"),
            ("c/d", "Regular 644 3"),
        ],
    );
}

#[test]
fn an_opaque_directory_is_emptied_of_lower_layers_wherever_the_mark_stands() {
    come_to(
        vec![
            Layer::new().directory("a", 0o755).file("a/x", "1").directory("a/d", 0o755).file("a/d/y", "1"),
            Layer::new().directory("a", 0o700).file("a/z", "2").file("a/.wh..wh..opq", ""),
        ],
        &[("a", "directory 700"), ("a/z", "Regular 644 2")],
    );
}

#[test]
fn a_directory_becomes_a_file_and_a_directory_again() {
    come_to(
        vec![
            Layer::new().directory("a", 0o755).file("a/x", "1"),
            Layer::new().file("a", "2"),
            Layer::new().directory("a", 0o711).file("a/y", "3"),
        ],
        &[("a", "directory 711"), ("a/y", "Regular 644 3")],
    );
}

#[test]
fn hard_links_lead_across_layers_and_to_names_that_go() {
    come_to(
        vec![
            Layer::new().file("a", "1").hard("b", "a"),
            Layer::new().hard("c", "/b").file(".wh.a", "").file(".wh.b", ""),
            Layer::new().hard("d", "c").file("e", "3").file(".wh.e", "").hard("f", "e"),
        ],
        &[("c", "Regular 644 1"), ("d", "same as c"), ("e", "Regular 644 3"), ("f", "same as e")],
    );
}

#[test]
fn parents_that_are_links_lead_within_the_tree() {
    come_to(
        vec![
            Layer::new().directory("usr/lib", 0o755).link("lib", "usr/lib").link("out", "../../usr"),
            Layer::new().file("lib/x", "2").file("out/y", "2"),
            Layer::new().file("lib/.wh.x", "").directory("lib", 0o755).file("lib/z", "3"),
        ],
        &[
            ("lib", "directory 755"),
            ("lib/z", "Regular 644 3"),
            ("out", "link to ../../usr"),
            ("usr", "directory 755"),
            ("usr/lib", "directory 755"),
            ("usr/y", "Regular 644 2"),
        ],
    );
}

#[test]
fn names_are_taken_as_writers_of_layers_write_them() {
    let layer = Layer::new()
        .directory("./", 0o755)
        .directory("/a/", 0o555)
        .file("/a/x", "absolute")
        .file("./a/y", "dotted")
        .file("a//z", "doubled")
        .sized_directory("sized")
        .file("sized/x", "behind");
    come_to(
        vec![layer],
        &[
            ("a", "directory 555"),
            ("a/x", "Regular 644 absolute"),
            ("a/y", "Regular 644 dotted"),
            ("a/z", "Regular 644 doubled"),
            ("sized", "directory 755"),
            ("sized/x", "Regular 644 behind"),
        ],
    );
}

#[test]
fn what_stands_twice_in_a_layer_is_what_it_is_the_second_time() {
    come_to(
        vec![Layer::new().file("a", "1").hard("b", "a").file("a", "2").directory("d", 0o700).directory("d", 0o755)],
        &[("a", "Regular 644 2"), ("b", "Regular 644 1"), ("d", "directory 755")],
    );
}

#[test]
fn empty_layers_and_layers_listed_twice_are_layers() {
    let place = Place::new();
    let layer = Layer::new().file("a", "1").tar();
    let removal = Layer::new().file(".wh.a", "").tar();
    let empty = Layer::new().tar();
    let tars = [layer.clone(), empty, removal, layer, Vec::new()];
    let image = tars.iter().fold(Image::new(), |image, tar| image.layer(tar, Codec::Gzip));
    image.layout(&place.path("layout"), "latest");
    image.docker_save(&tars, &place.path("saved.tar"), "example.com/a:1");
    for (source, form) in [("layout", "--squash"), ("saved.tar", "--squash")] {
        place.done(&["import", form, source, "out.aci", "--name", "example.com/a", "--overwrite"]);
        assert_eq!(tree(&place.path("out.aci"))["a"], "Regular 644 1");
    }
    let (ids, _) = place.done(&["import", "--layers", "saved.tar", "out"]);
    assert_eq!(ids.lines().count(), 5);
    let top = place.manifest("out/005.aci");
    assert_eq!((&top["name"], &top["labels"][0]["value"]), (&"example.com/a".into(), &"1".into()));
}

#[test]
fn attributes_and_capabilities_come_along() {
    let place = Place::new();
    let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let layer = Layer::new().with_xattr("ping", "security.capability", capability).with_xattr("x", "user.a", b"b\0c\n");
    Image::of([layer]).layout(&place.path("layout"), "latest");
    place.done(&["import", "layout", "a.aci", "--compression", "none"]);
    let archive = fs::read(place.path("a.aci")).unwrap();
    let has = |part: &[u8]| archive.windows(part.len()).any(|window| window == part);
    assert!(
        has(&[b"SCHILY.xattr.security.capability=", &capability[..]].concat()) && has(b"SCHILY.xattr.user.a=b\0c\n")
    );
}

#[test]
fn unchanged_layers_come_out_as_they_went_in() {
    let place = Place::new();
    let image = Image::of([
        Layer::new().directory("a", 0o755).file("a/x", &"x".repeat(5000)).hard("a/y", "a/x").file("e", ""),
        Layer::new().file("a/.wh.x", "").with_xattr("b", "user.a", b"b").file("a/n", "new"),
        Layer::new().hard("c", "a/y"),
    ]);
    image.layout(&place.path("layout"), "latest");
    place.done(&["import", "--layers", "layout", "layers", "--name", "example.com/a"]);
    place.done(&["export", "oci", "layers/003.aci", "out"]);
    let documents = |layout: &Path| {
        let index: serde_json::Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
        let read = |digest: &serde_json::Value| fs::read(super::world::blob(layout, digest.as_str().unwrap())).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&read(&index["manifests"][0]["digest"])).unwrap();
        (read(&manifest["config"]["digest"]), manifest["layers"].clone())
    };
    let ((config, layers), (again, others)) = (documents(&place.path("layout")), documents(&place.path("out")));
    assert_eq!(config, again);
    // What was not compressed is the same blob; of the others what is in them is.
    assert_eq!(layers[2]["digest"], others[2]["digest"]);
    let (_, told) = place.done(&["import", "--layers", "out", "layers-again", "--name", "example.com/a"]);
    assert!(!told.contains("byte for byte"), "{told}");
    // With the blobs at hand all of it is.
    place.done(&["export", "oci", "layers/003.aci", "same", "--blobs", "layout"]);
    let compared =
        Command::new("diff").args(["-r", "layout/blobs", "same/blobs"]).current_dir(place.path(".")).output().unwrap();
    assert!(compared.status.success(), "{compared:?}");
}

#[test]
fn the_same_import_is_the_same_image() {
    let place = Place::new();
    Image::of([Layer::new().file("b", "1").file("a", "1"), Layer::new().hard("c", "a")])
        .layout(&place.path("layout"), "latest");
    let (one, _) = place.done(&["import", "layout", "one.aci"]);
    let (two, _) = place.done(&["import", "layout", "two.aci", "--compression", "zstd"]);
    assert_eq!(one, two);
}

#[test]
fn a_name_that_no_list_can_hold_wants_one_image() {
    let place = Place::new();
    let mut odd = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..2].copy_from_slice(b"\xff\xfe");
    header.set_mode(0o644);
    header.set_size(0);
    header.set_cksum();
    odd.append(&header, &b""[..]).unwrap();
    let image = Image::new().layer(&odd.into_inner().unwrap(), Codec::Gzip);
    let image = image
        .layer(&Layer::new().file("a", "").tar(), Codec::Gzip)
        .layer(&Layer::new().file(".wh.a", "").tar(), Codec::Gzip);
    image.layout(&place.path("layout"), "latest");
    let told = place.refused(&["import", "--layers", "layout", "out", "--name", "example.com/a"]);
    assert!(told.contains("--squash") && told.contains("[x.oci.layers]"), "{told}");
    place.done(&["import", "--squash", "layout", "out.aci", "--name", "example.com/a"]);
}
