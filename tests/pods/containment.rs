//! What an image or an app may try to get out.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::bed::Bed;

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
