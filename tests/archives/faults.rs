//! Full disks, sudden ends, and memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use appc::aci::{self, BuildOptions, ExtractOptions, Kind, Overwrite};
use appc_needs::{Need, skip};

use super::fixtures::{MANIFEST, Tar};
use super::world::names;

/// A file system of some KiB, gone with the value. None where this user may not mount.
struct Small(tempfile::TempDir);

impl Small {
    fn new(size: &str) -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(place.path())
            .stderr(Stdio::null())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(place));
        }
        skip(Need::Mounts, "a small file system cannot be mounted");
        None
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // As soon as nobody uses it any more; FreeBSD has that at once only.
        let how = if cfg!(target_os = "linux") { "-l" } else { "-f" };
        Command::new("umount").arg(how).arg(self.0.path()).status().unwrap();
    }
}

fn noise(count: u32) -> Vec<u8> {
    (0..count).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

#[test]
fn a_full_disk_leaves_nothing_of_an_image() {
    let Some(small) = Small::new("1m") else { return };
    let bytes = Tar::image().file("rootfs/small", b"x").dir("rootfs/d").file("rootfs/d/large", &noise(1 << 19)).end();
    let error = aci::extract(&bytes[..], &small.0.path().join("image"), &ExtractOptions::default()).unwrap_err();
    assert_eq!(*error.kind(), Kind::Io);
    assert!(appc::error::chain(&error).contains("rootfs/d/large"), "{error:?}");
    assert_eq!(names(small.0.path()), [""; 0]);
    let layout = tempfile::tempdir().unwrap();
    fs::create_dir(layout.path().join("rootfs")).unwrap();
    fs::write(layout.path().join("manifest"), MANIFEST).unwrap();
    fs::write(layout.path().join("rootfs/large"), noise(1 << 19)).unwrap();
    let out = small.0.path().join("image.aci");
    let error = aci::build_file(layout.path(), &BuildOptions::default(), &out, Overwrite::Refuse).unwrap_err();
    assert_eq!(*error.kind(), Kind::Io, "{error:?}");
    assert_eq!(names(small.0.path()), [""; 0]);
}

#[test]
fn whenever_it_is_killed_an_image_is_there_whole_or_not_at_all() {
    let place = tempfile::tempdir().unwrap();
    let mut tar = Tar::image();
    let content = noise(2000);
    for number in 0..3000 {
        tar = tar.file(format!("rootfs/{number}"), &content);
    }
    let image = place.path().join("image.aci");
    fs::write(&image, tar.end()).unwrap();
    let (into, out) = (place.path().join("into"), place.path().join("out.aci"));
    let (mut whole, mut killed) = (0, 0);
    let mut run = |arguments: &[&Path], made: &PathBuf, delay: u64| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_actool"));
        let mut child = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        let _ = child.kill();
        let finished = child.wait().unwrap().success();
        let there = made.symlink_metadata().is_ok();
        assert!(there || !finished);
        if there {
            whole += 1
        } else {
            killed += 1
        }
        there
    };
    for delay in (0..60).map(|step| step * 5) {
        if run(&[Path::new("extract"), &image, &into], &into, delay) {
            assert_eq!(names(&into.join("rootfs")).len(), 3000);
            assert_eq!(fs::read(into.join("rootfs/2999")).unwrap(), content);
            fs::remove_dir_all(&into).unwrap();
        }
    }
    // What a killed one leaves is hidden, is not in the way of the next, and goes with it.
    assert!(aci::extract(fs::File::open(&image).unwrap(), &into, &ExtractOptions::default()).is_ok());
    for delay in (0..40).map(|step| step * 5) {
        if run(&[Path::new("build"), &into, &out], &out, delay) {
            let read = aci::read(fs::File::open(&out).unwrap(), &aci::ReadOptions::default(), &mut aci::Nothing);
            assert_eq!(read.unwrap().entries, 3002);
            fs::remove_file(&out).unwrap();
        }
    }
    assert!(killed > 0, "nothing was killed in time");
    // What the killed ones left went with the next, the last one's with this.
    assert!(aci::build_file(&into, &BuildOptions::default(), &out, Overwrite::Refuse).is_ok());
    assert_eq!(names(place.path()), ["image.aci", "into", "out.aci"]);
    println!("{whole} came whole, {killed} not at all");
}

#[test]
fn memory_stays_small_whatever_the_archive() {
    let measures = Command::new("/usr/bin/time").args(["-f", "%M", "true"]).output();
    if !measures.is_ok_and(|output| output.status.success()) {
        skip(Need::Program, "there is no /usr/bin/time of GNU to measure with");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let many = {
        let mut tar = Tar::image();
        for number in 0..400_000 {
            tar.0.extend(super::fixtures::Head::new(b'0', format!("rootfs/{number}")).block(0));
        }
        tar.end()
    };
    let long = "x/".repeat(30_000);
    let deep = Tar::image().pax([("path", format!("rootfs/{long}x").as_bytes())]).file("rootfs/x", b"").end();
    let large = Tar::image().file("rootfs/large", &vec![1; 200 << 20]).end();
    for (name, bytes) in [("many", many), ("deep", deep), ("large", large)] {
        let image = place.path().join(format!("{name}.aci"));
        fs::write(&image, bytes).unwrap();
        let output = Command::new("/usr/bin/time")
            .args(["-f", "%M", env!("CARGO_BIN_EXE_actool"), "id"])
            .arg(&image)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {said}");
        let peak: u64 = said.trim().parse().unwrap();
        assert!(peak < 64 << 10, "{name}: {peak} KiB");
    }
}
