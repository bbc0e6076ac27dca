//! What an image or an app may try to get out.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;

use serde_json::json;

use super::bed::Bed;

/// CVE-2026-41579: the image has links where the kernel's trees go.
#[test]
fn an_image_with_links_in_place_of_system_directories_is_refused() {
    let Some(bed) = Bed::new() else { return };
    let outside = bed.path("outside");
    fs::create_dir(&outside).unwrap();
    for name in ["dev", "proc", "sys"] {
        bed.fill_rootfs(name);
        symlink(&outside, bed.layout(name).join(name)).unwrap();
        let (code, out, err) =
            bed.tell(&["run", &bed.image(name, name, json!({"exec": ["/bin/sh", "-c", "echo ran"]}))]);
        assert_eq!((code, out.as_str()), (125, ""), "{err}");
        assert!(err.contains("symbolic link"), "{err}");
    }
    assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
    bed.assert_nothing_left();
}

/// The image's `/etc` leads elsewhere: what is provided there stays inside.
#[test]
fn files_are_provided_inside_whatever_links_the_image_has() {
    let Some(bed) = Bed::new() else { return };
    let outside = bed.path("outside");
    fs::create_dir(&outside).unwrap();
    bed.fill_rootfs("etc");
    fs::remove_dir_all(bed.layout("etc").join("etc")).unwrap();
    symlink(&outside, bed.layout("etc").join("etc")).unwrap();
    bed.tell(&["run", "--rm", "--dns", "10.0.0.1", &bed.image("etc", "etc", json!({"exec": ["/bin/true"]}))]);
    assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}

/// CVE-2024-21626: no descriptor of the host's, and no working directory outside.
#[test]
fn no_descriptor_and_no_directory_of_the_hosts_reaches_an_app() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("fds", "ls /proc/self/fd");
    let file = fs::File::open("/").unwrap();
    // Inherited on purpose.
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
    assert_eq!(bed.say(&["run", "--rm", &image]), "0\n1\n2\n3\n");
    let app = json!({"exec": ["/bin/ls"], "workingDirectory": format!("/proc/self/fd/{}", file.as_raw_fd())});
    let (code, out, _) = bed.tell(&["run", &bed.image("cwd", "base", app)]);
    assert_eq!((code, out.as_str()), (125, ""));
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}

/// CVE-2019-5736: the pod's first process is the host's program; nothing inside may reach it.
#[test]
fn the_first_process_gives_away_neither_program_nor_root_nor_arguments() {
    let Some(bed) = Bed::new() else { return };
    let script = "for f in /proc/1/exe /proc/1/root /proc/1/cwd /proc/1/fd/*; do readlink $f && echo reached; done 2>/dev/null; \
        ls /proc/1/root/ 2>/dev/null; cat /proc/1/environ 2>/dev/null; cat /proc/1/cmdline";
    let out = bed.say(&["run", "--rm", &bed.script("first", script)]);
    assert_eq!(out.trim_end_matches('\0'), "jetpack-init");
    bed.assert_nothing_left();
}

/// CVE-2019-5736: even who may look into the first process cannot change the host's program, which the supervisor runs.
#[test]
fn the_hosts_program_cannot_be_written_through_a_process_of_the_pod() {
    let Some(bed) = Bed::new() else { return };
    let program = bed.path("jetpack");
    crate::support::copy_jetpack(&program);
    let before = (fs::read(&program).unwrap().len(), fs::metadata(&program).unwrap().modified().unwrap());
    let script = "for p in /proc/[0-9]*; do { echo x > $p/exe; } 2>/dev/null && test $p != /proc/$$ && echo wrote $p; done; true";
    // The app becomes the host's program first: what it finds as its own program must be safe too.
    let again = json!({"exec": ["/proc/self/exe", "--version"]});
    for (name, app) in [("write", json!({"exec": ["/bin/sh", "-c", script]})), ("become", again)] {
        let image = bed.image(name, "base", app);
        let line = ["run", "--rm", "--caps-retain", "CAP_SYS_PTRACE,CAP_DAC_OVERRIDE", &image];
        let output =
            std::process::Command::new(&program).arg("--root").arg(bed.path("root")).args(line).output().unwrap();
        assert!(!String::from_utf8_lossy(&output.stdout).contains("wrote"), "{output:?}");
    }
    let after = (fs::read(&program).unwrap().len(), fs::metadata(&program).unwrap().modified().unwrap());
    assert_eq!(before, after);
    bed.assert_nothing_left();
}

/// CVE-2025-52565: what the image has in the place of the console, or of terminals, is not used.
#[test]
fn a_console_is_the_apps_own_whatever_the_image_has_in_its_place() {
    let Some(bed) = Bed::new() else { return };
    let outside = bed.path("outside");
    fs::write(&outside, "the host's").unwrap();
    bed.fill_rootfs("console");
    let dev = bed.layout("console").join("dev");
    fs::create_dir(&dev).unwrap();
    for name in ["console", "ptmx", "pts", "null"] {
        symlink(&outside, dev.join(name)).unwrap();
    }
    let script = "test -c /dev/console && test -c /dev/null && test -d /dev/pts && echo x > /dev/console && echo fine";
    assert_eq!(
        bed.say(&["run", "--rm", &bed.image("console", "console", json!({"exec": ["/bin/sh", "-c", script]}))]),
        "fine\n"
    );
    assert_eq!(fs::read_to_string(outside).unwrap(), "the host's");
    bed.assert_nothing_left();
}

/// CVE-2018-15664: what is copied in and out stays the app's while the app changes the path under the copier.
#[test]
fn copies_never_leave_the_app_however_it_swaps_its_paths() {
    let Some(bed) = Bed::new() else { return };
    let outside = bed.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("word"), "the host's").unwrap();
    // Another directory of the name that the host has too, and a link to it, take turns.
    let script = format!(
        "mkdir -p {0} /a; echo mine > {0}/word; echo mine > /a/word; ln -s {0} /link; ln -s /proc/1/root{0} /deep; \
         while :; do mv -T /a /b; mv -T /link /a; mv -T /a /link; mv -T /deep /a; mv -T /a /deep; mv -T /b /a; done",
        outside.display()
    );
    bed.say(&["run", "-d", "--name", "swap", &bed.script("swap", &script)]);
    let (back, new) = (bed.path("back"), bed.path("new"));
    fs::write(&new, "new").unwrap();
    bed.wait_for("the first copy", || bed.tell(&["cp", "swap:/a/word", back.to_str().unwrap()]).0 == 0);
    for _ in 0..40 {
        if bed.tell(&["cp", "swap:/a/word", back.to_str().unwrap()]).0 == 0 {
            assert_ne!(fs::read_to_string(&back).unwrap(), "the host's");
        }
        bed.tell(&["cp", new.to_str().unwrap(), "swap:/a/word2"]);
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    bed.say(&["stop", "--force", "swap"]);
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}

/// CVE-2017-1002101: a volume's target is a link that the image made, and leads outside.
#[test]
fn a_volume_is_mounted_inside_whatever_the_target_leads_to() {
    let Some(bed) = Bed::new() else { return };
    let outside = bed.path("outside");
    fs::create_dir(&outside).unwrap();
    bed.fill_rootfs("target");
    symlink(&outside, bed.layout("target").join("data")).unwrap();
    let app = json!({"exec": ["/bin/sh", "-c", "echo x > /data/written"], "mountPoints": [{"name": "data", "path": "/data"}]});
    bed.tell(&["run", "--rm", "--volume", "data,kind=empty", &bed.image("target", "target", app)]);
    bed.say(&["gc"]);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    bed.assert_nothing_left();
}

/// CVE-2025-31133, CVE-2025-52881: what is masked is masked by the null device, and procfs is procfs.
#[test]
fn what_tells_too_much_is_masked_or_read_only() {
    let Some(bed) = Bed::new() else { return };
    let script = "cat /proc/kcore /proc/keys /proc/timer_list; ls /sys/firmware; \
        for f in /proc/sysrq-trigger /proc/sys/kernel/panic /sys/kernel/uevent_helper; do \
        test -e $f && { echo 0 > $f; } 2>/dev/null && echo wrote $f; done; true";
    assert_eq!(bed.say(&["run", "--rm", &bed.script("masked", script)]), "");
    bed.assert_nothing_left();
}

#[test]
fn the_devices_of_every_app_are_there_and_no_others() {
    let Some(bed) = Bed::new() else { return };
    let script = "ls /dev; for d in null zero full random urandom tty console; do test -c /dev/$d || echo $d; done; \
        readlink /dev/ptmx; test -d /dev/pts && test -d /dev/shm && echo fine";
    let out = bed.say(&["run", "--rm", &bed.script("dev", script)]);
    let names = "console fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero";
    assert_eq!(out, names.replace(' ', "\n") + "\npts/ptmx\nfine\n");
    bed.assert_nothing_left();
}

/// An app may make nodes, as it has the capability by default; the host's disks are not to be had by them.
#[test]
fn a_device_node_that_an_app_makes_opens_no_device() {
    let Some(bed) = Bed::of_root() else { return };
    if !bed.add_program("base", "mknod") {
        return;
    }
    let script = "for place in / /dev/ /dev/shm/; do mknod ${place}node c 1 3 && { echo x > ${place}node; } 2>/dev/null \
        && echo opened $place; done; echo x > /dev/null && echo fine";
    assert_eq!(bed.say(&["run", "--rm", &bed.script("node", script)]), "fine\n");
    bed.assert_nothing_left();
}

#[test]
fn an_apps_user_can_open_its_own_streams_and_console_by_name() {
    let Some(bed) = Bed::of_root() else { return };
    let script = "echo out > /dev/stdout; echo err > /dev/stderr; echo x > /dev/console && id -u";
    let (code, out, err) =
        bed.tell(&["run", "--rm", "--user", "web", "--group", "web", &bed.script("streams", script)]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "out\n33\n", "err\n"));
    bed.assert_nothing_left();
}

#[test]
fn a_read_only_rootfs_is_read_only_and_a_written_one_is_fresh_each_time() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("fresh", "test -e /x && echo stale; touch /x 2>/dev/null && echo written; true");
    for _ in 0..2 {
        assert_eq!(bed.say(&["run", "--rm", &image]), "written\n");
    }
    assert_eq!(bed.say(&["run", "--rm", "--readonly-rootfs", &image]), "");
    bed.assert_nothing_left();
}
