//! Images that are refused, by the name of the fault, with nothing left.

use std::fs;

use serde_json::json;

use super::world::{Codec, Image, Layer, Place, blob, digest};

/// What `import` says of an image in both forms, which must name the same fault.
fn refused(image: &Image) -> String {
    let place = Place::new();
    image.layout(&place.path("layout"), "latest");
    let told = place.refused(&["import", "layout", "out.aci", "--name", "example.com/a"]);
    let other = place.refused(&["import", "--layers", "layout", "out", "--name", "example.com/a"]);
    let clause = |told: &str| Some(told.split_once('[')?.1.split_once(']')?.0.to_owned());
    assert_eq!(clause(&other), clause(&told), "{other}{told}");
    told
}

fn layer_is_refused(layers: Vec<Layer>, clause: &str) {
    let told = refused(&Image::of(layers));
    assert!(told.contains(&format!("[{clause}]")), "{clause}: {told}");
}

#[test]
fn layers_that_lead_out_or_make_no_sense_are_refused() {
    layer_is_refused(vec![Layer::new().file("../escape", "")], "x.aci.entry-name");
    layer_is_refused(vec![Layer::new().file("a/../../escape", "")], "x.aci.entry-name");
    layer_is_refused(vec![Layer::new().file("a", "").hard("b", "../../etc/passwd")], "x.aci.hardlink");
    layer_is_refused(vec![Layer::new().hard("b", "etc/passwd")], "x.oci.hardlink");
    layer_is_refused(vec![Layer::new().directory("d", 0o755).hard("b", "d")], "x.oci.hardlink");
    layer_is_refused(vec![Layer::new().file("a", ""), Layer::new().file("a/x", "")], "x.oci.parent");
    layer_is_refused(vec![Layer::new().link("a", "b").link("b", "a").file("a/x", "")], "x.oci.parent");
    layer_is_refused(vec![Layer::new().file("a/.wh...", "")], "x.oci.whiteout");
    layer_is_refused(vec![Layer::new().file("a/.wh..", "")], "x.oci.whiteout");
    layer_is_refused(vec![Layer::new().file(".wh.", "")], "x.oci.whiteout");
    layer_is_refused(vec![Layer::new().file(".wh.a/x", "")], "x.oci.whiteout");
    layer_is_refused(vec![Layer::new().entry("a", tar::EntryType::new(b'Q'), 0o644, "", b"")], "x.aci.entry-type");
}

#[test]
fn a_blob_that_is_not_what_it_is_called_is_refused() {
    let image = Image::of([Layer::new().file("a", "1")]);
    let name = image.blobs.keys().next().unwrap().clone();
    let other = super::world::packed(&Layer::new().file("a", "2").tar(), Codec::Gzip).0;
    let bent = |bytes: Vec<u8>| {
        let mut image = Image::of([Layer::new().file("a", "1")]);
        image.layers[0]["size"] = bytes.len().into();
        image.blobs.insert(name.clone(), bytes);
        refused(&image)
    };
    assert!(bent(other).contains("[x.oci.digest]"));
    assert!(
        bent(b"not a layer".to_vec()).contains("[x.oci.digest]") || bent(b"not a layer".to_vec()).contains("[aci.tar]")
    );
    for size in [0_u64, 10, 1 << 40] {
        let mut image = Image::of([Layer::new().file("a", "1")]);
        image.layers[0]["size"] = json!(size);
        let told = refused(&image);
        assert!(told.contains("[x.oci.size]"), "{size}: {told}");
    }
    let mut image = Image::of([Layer::new().file("a", "1")]);
    image.diff_ids[0] = digest(b"something else");
    assert!(refused(&image).contains("[x.oci.diff-id]"));
    image.diff_ids.clear();
    assert!(refused(&image).contains("[x.oci.diff-id]"));
    let mut image = Image::of([Layer::new().file("a", "1")]);
    image.layers[0]["digest"] = json!("sha256:../../../../etc/passwd");
    assert!(refused(&image).contains("x.oci.digest"));
}

#[test]
fn manifest_and_configuration_are_held_against_their_digests() {
    let image = Image::of([Layer::new().file("a", "1")]);
    let (config, manifest) = image.documents();
    for document in [config, manifest] {
        let place = Place::new();
        image.layout(&place.path("layout"), "latest");
        let mut bytes = document.clone();
        *bytes.last_mut().unwrap() = b' ';
        fs::write(blob(&place.path("layout"), &digest(&document)), bytes).unwrap();
        let told = place.refused(&["import", "layout", "out.aci"]);
        assert!(told.contains("[x.oci.digest]"), "{told}");
    }
}

#[test]
fn what_is_no_layer_of_ours_is_refused_with_the_reason() {
    for (kind, clause) in [
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "x.oci.foreign"),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "x.oci.foreign"),
        ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", "x.oci.media-type"),
        ("application/vnd.cncf.helm.chart.content.v1.tar+gzip", "x.oci.media-type"),
    ] {
        let mut image = Image::of([Layer::new().file("a", "1")]);
        image.layers[0]["mediaType"] = kind.into();
        let told = refused(&image);
        assert!(told.contains(&format!("[{clause}]")), "{kind}: {told}");
    }
}

#[test]
fn what_is_too_much_is_refused_before_it_is_read() {
    let layer = Layer::new().file("a", "1").tar();
    let image = (0..10_000).fold(Image::new(), |image, _| image.layer(&layer, Codec::Plain));
    assert!(refused(&image).contains("10000 layers"));
    let mut image = Image::of([Layer::new().file("a", "1")]);
    image.config["comment"] = "x".repeat(5 << 20).into();
    assert!(refused(&image).contains("[x.oci.limits]"));
    let place = Place::new();
    Image::of([Layer::new().file("a", "1")]).layout(&place.path("layout"), "latest");
    fs::write(place.path("layout/index.json"), vec![b' '; 5 << 20]).unwrap();
    assert!(place.refused(&["import", "layout", "out.aci"]).contains("[x.oci.limits]"));
    let deep = "a/".repeat(20_000);
    let mut name = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    header.set_size(0);
    header.set_entry_type(tar::EntryType::Regular);
    name.append_pax_extensions([("path", deep.trim_end_matches('/').as_bytes())]).unwrap();
    header.set_path("x").unwrap();
    header.set_cksum();
    name.append(&header, &b""[..]).unwrap();
    let image = Image::new().layer(&name.into_inner().unwrap(), Codec::Gzip);
    assert!(refused(&image).contains("[x.oci.limits]"));
    let place = Place::new();
    Image::of([Layer::new().file("a", &"x".repeat(100_000))]).layout(&place.path("layout"), "latest");
    let told = place.refused(&["import", "layout", "out.aci", "--max-size", "10k"]);
    assert!(told.contains("[x.aci.limits]"), "{told}");
}

#[test]
fn broken_layers_are_refused() {
    let tar = Layer::new().file("a", &"1".repeat(2000)).tar();
    let cut = Image::new().layer(&tar[..1000], Codec::Gzip);
    assert!(refused(&cut).contains("[aci.tar]"));
    let image = Image::new().layer(b"this is no tar stream at all, whatever it says", Codec::Plain);
    assert!(refused(&image).contains("[aci.tar]"));
    let packed = super::world::packed(&tar, Codec::Gzip).0;
    let mut image = Image::new().layer(&tar, Codec::Gzip);
    let cut = packed[..packed.len() - 10].to_vec();
    image.layers[0] = json!({ "mediaType": "", "digest": digest(&cut), "size": cut.len() });
    image.blobs.insert(digest(&cut), cut);
    assert!(refused(&image).contains("[aci.compress]"));
}

#[test]
fn layouts_that_lead_elsewhere_are_not_followed() {
    let place = Place::new();
    let image = Image::of([Layer::new().file("a", "1")]);
    image.layout(&place.path("layout"), "latest");
    let layer = blob(&place.path("layout"), image.blobs.keys().next().unwrap());
    fs::rename(&layer, place.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink(place.path("elsewhere"), &layer).unwrap();
    assert!(place.refused(&["import", "layout", "out.aci"]).contains("failed to open"));
    fs::remove_file(&layer).unwrap();
    assert!(place.refused(&["import", "layout", "out.aci"]).contains("find the layer"));
    let status = std::process::Command::new("mkfifo").arg(&layer).status().unwrap();
    assert!(status.success());
    assert!(place.refused(&["import", "layout", "out.aci"]).contains("not a file"));
}

#[test]
fn what_is_no_image_is_told_apart() {
    let place = Place::new();
    fs::create_dir(place.path("empty")).unwrap();
    assert!(place.refused(&["import", "empty", "out.aci"]).contains("neither `index.json`"));
    fs::write(place.path("text"), "text").unwrap();
    assert!(place.refused(&["import", "text", "out.aci"]).contains("[aci.tar]"));
    assert!(place.refused(&["import", "nothing", "out.aci"]).contains("open nothing"));
    let both = json!({ "schemaVersion": 2, "manifests": [], "layers": [], "config": {} }).to_string();
    Image::of([]).layout(&place.path("layout"), "latest");
    fs::write(blob(&place.path("layout"), &digest(both.as_bytes())), &both).unwrap();
    let index = json!({ "manifests": [{ "digest": digest(both.as_bytes()), "size": both.len() }] });
    fs::write(place.path("layout/index.json"), index.to_string()).unwrap();
    assert!(place.refused(&["import", "layout", "out.aci"]).contains("[x.oci.manifest]"));
}
