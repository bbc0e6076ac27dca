//! Whole outputs: the help of every command, and what each says when all is well and when it is not.

mod actool;
mod images;
mod pods;

use crate::support::transcript::{Scene, assert_helps, assert_shown, commands, takes_json};

/// The names that programs are called by. An engine's runtime is jetpack by another name.
const PROGRAMS: [(&str, &str); 3] = [
    ("actool", env!("CARGO_BIN_EXE_actool")),
    ("jetpack", env!("CARGO_BIN_EXE_jetpack")),
    ("jetpack-oci", env!("CARGO_BIN_EXE_jetpack")),
];

const MANIFEST: &str = r#"{
  "acKind": "ImageManifest",
  "acVersion": "0.8.11",
  "name": "example.com/web",
  "labels": [{"name": "version", "value": "1.2"}, {"name": "os", "value": "linux"}, {"name": "arch", "value": "amd64"}],
  "app": {"exec": ["/bin/web"], "user": "0", "group": "0"}
}
"#;

/// A directory with a layout and the image that it makes, and another manifest that is wrong in three places.
fn scene() -> Scene {
    let scene = Scene::new(&PROGRAMS);
    scene.write("layout/manifest", MANIFEST);
    scene.write("layout/rootfs/etc/motd", "Welcome\n");
    scene
        .write("bad.json", MANIFEST.replace("\"version\"", "\"os\"").replace("/web\"", "/Web\"").replace("\"0\"", "0"));
    scene.prepare("touch -d @1000000000 layout/rootfs/etc/motd layout/rootfs/etc layout/rootfs");
    scene.prepare("actool build --owner-root layout web.aci");
    scene
}

#[test]
fn every_command_helps() {
    assert_helps(&Scene::new(&PROGRAMS), &PROGRAMS.map(|(name, _)| name));
}

#[test]
fn every_command_is_shown_when_all_is_well_and_when_not() {
    // Streams are made and taken where there is ZFS.
    let excused = ["jetpack image import"];
    assert_shown(&Scene::new(&PROGRAMS), &PROGRAMS.map(|(name, _)| name), &excused);
}

#[test]
fn every_document_of_json_is_described() {
    let described = include_str!("../../docs/json.md");
    for (command, help) in PROGRAMS.iter().flat_map(|(name, _)| commands(&Scene::new(&PROGRAMS), name)) {
        // An engine knows from its own specification what its runtime prints.
        if takes_json(&help) && !command.starts_with("jetpack-oci") && command != "jetpack image list" {
            assert!(described.contains(&format!("`{command} --json`")), "docs/json.md lacks {command}");
        }
    }
}
