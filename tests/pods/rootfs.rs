//! The root file system as an app sees it: what its images made it, by an overlay or by a copy.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use appc::aci::build::{BuildOptions, Overwrite, build_file};
use appc_needs::{Need, skip};
use serde_json::json;

use super::bed::Bed;

/// Two images, the upper with a file where the lower has a directory, and a rootfs that is neither root's nor open to all.
fn images(bed: &Bed) -> [String; 2] {
    let below = bed.layout("base").join("thing/below");
    fs::create_dir_all(&below).unwrap();
    let lower = bed.image("lower", "base", json!(null));
    fs::remove_dir_all(bed.layout("base").join("thing")).unwrap();

    let rootfs = bed.layout("upper");
    fs::create_dir_all(rootfs.join("other")).unwrap();
    fs::write(rootfs.join("thing"), "a file\n").unwrap();
    fs::set_permissions(rootfs.join("thing"), fs::Permissions::from_mode(0o4750)).unwrap();
    fs::set_permissions(&rootfs, fs::Permissions::from_mode(0o711)).unwrap();
    chown(&rootfs, Some(5), Some(7)).unwrap();
    let script =
        "cat /thing; ls -ldn / /thing | while read mode links user group rest; do echo $mode $user $group; done";
    let manifest = json!({
        "acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/upper",
        "dependencies": [{ "imageName": "example.com/lower" }],
        "app": { "exec": ["/bin/sh", "-c", script], "user": "0", "group": "0" },
    });
    let layout = rootfs.parent().unwrap();
    fs::write(layout.join("manifest"), manifest.to_string()).unwrap();
    let upper = bed.path("upper.aci");
    build_file(layout, &BuildOptions::default(), &upper, Overwrite::Replace).expect("an image");
    [lower, upper.to_str().unwrap().to_owned()]
}

const SEEN: &str = "a file\ndrwx--x--x 5 7\n-rwsr-x--- 0 0\n";

#[test]
fn the_directory_of_the_rootfs_is_what_the_image_made_it() {
    let Some(bed) = Bed::of_root() else { return };
    let [lower, upper] = images(&bed);
    bed.say(&["fetch", "--pull", "never", &lower]);
    assert_eq!(bed.say(&["run", "--rm", &upper]), SEEN);
    bed.assert_nothing_left();
}

#[test]
fn where_no_overlay_can_be_written_to_the_rootfs_is_a_copy_of_all_layers() {
    let Some(bed) = Bed::of_root() else { return };
    let [lower, upper] = images(&bed);
    // As in most containers: the root directory is on an overlay itself. It goes with the mount namespace.
    let script = "set -e; mount -t tmpfs tmpfs \"$0\"; cd \"$0\"; mkdir l u w m; \
        mount -t overlay overlay -o lowerdir=l,upperdir=u,workdir=w m; \
        \"$JETPACK\" --root \"$PWD/m/root\" fetch --pull never \"$1\" >/dev/null; \
        \"$JETPACK\" --root \"$PWD/m/root\" run --rm \"$2\"";
    let place = bed.path("overlay");
    fs::create_dir(&place).unwrap();
    let output = Command::new("unshare")
        .args(["-m", "/bin/sh", "-c", script])
        .args([&place, Path::new(&lower), Path::new(&upper)])
        .env("JETPACK", env!("CARGO_BIN_EXE_jetpack"))
        .output()
        .unwrap();
    let (seen, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if said.contains("mount:") {
        skip(Need::Overlay, format_args!("no overlay can be mounted on a tmpfs here: {said}"));
        return;
    }
    assert!(output.status.success() && seen == SEEN, "{seen}{said}");
    bed.assert_nothing_left();
}
