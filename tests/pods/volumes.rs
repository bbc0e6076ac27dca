//! Volumes: where they come from, where they go, what they hide.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use serde_json::json;

use super::bed::Bed;

#[test]
fn a_host_volume_is_shared_and_read_only_where_either_side_says_so() {
    let Some(bed) = Bed::new() else { return };
    let source = bed.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("in"), "from the host\n").unwrap();
    let volume = |more: &str| format!("v,source={}{more}", source.display());
    let mount = |read_only: bool, script: &str| {
        let point = json!({"name": "v", "path": "/deep/down/v", "readOnly": read_only});
        bed.image("volume", "base", json!({"exec": ["/bin/sh", "-c", script], "mountPoints": [point]}))
    };
    let image = mount(false, "cat /deep/down/v/in; echo back > /deep/down/v/out");
    assert_eq!(bed.say(&["run", "--rm", "--volume", &volume(""), &image]), "from the host\n");
    assert_eq!(fs::read_to_string(source.join("out")).unwrap(), "back\n");
    let touch = "touch /deep/down/v/new 2>/dev/null && echo written; true";
    for (point, more) in [(true, ""), (false, ",readOnly=true")] {
        assert_eq!(bed.say(&["run", "--rm", "--volume", &volume(more), &mount(point, touch)]), "");
    }
    bed.assert_nothing_left();
}

#[test]
fn a_source_that_is_missing_or_reached_by_a_link_is_refused() {
    let Some(bed) = Bed::new() else { return };
    let real = bed.path("real");
    fs::create_dir_all(real.join("sub")).unwrap();
    symlink(&real, bed.path("link")).unwrap();
    let point = json!({"name": "v", "path": "/v"});
    let image = bed.image("source", "base", json!({"exec": ["/bin/true"], "mountPoints": [point]}));
    for (source, clause) in
        [("missing", "vol.host.missing"), ("link", "vol.host.symlink"), ("link/sub", "vol.host.symlink")]
    {
        let volume = format!("v,kind=host,source={}", bed.path(source).display());
        let (code, _, err) = bed.tell(&["run", "--volume", &volume, &image]);
        assert_eq!(code, 125, "{source}: {err}");
        assert!(err.contains(clause), "{source}: {err}");
        if source != "missing" {
            assert_eq!(bed.tell(&["run", "--rm", "--follow-links", "--volume", &volume, &image]).0, 0);
        }
    }
    bed.assert_nothing_left();
}

#[test]
fn what_a_volume_hides_is_told_and_what_it_makes_belongs_to_root() {
    let Some(bed) = Bed::new() else { return };
    let script = "ls -ldn /made/dir /made | while read a b c d e; do echo $a $c $d; done; ls /etc";
    let mounts = ["--mount", "volume=a,target=/made/dir/v", "--mount", "volume=b,target=/etc"];
    let image = bed.script("targets", script);
    let volumes = ["--volume", "a", "--volume", "b"];
    let line = [&["run", "--rm"][..], &volumes, &mounts, &[image.as_str()]].concat();
    let done = bed.command_after("umask 077", &line).output().unwrap();
    let err = String::from_utf8_lossy(&done.stderr);
    assert_eq!(String::from_utf8_lossy(&done.stdout), "drwxr-xr-x 0 0\ndrwxr-xr-x 0 0\n", "{err}");
    assert!(err.contains("vol.target.warn"), "{err}");
    bed.assert_nothing_left();
}

#[test]
fn overlapping_targets_and_the_kernels_places_are_refused() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("overlap", "true");
    for (one, two) in [("/a", "/a/b"), ("/a/", "/a"), ("/x", "/proc/fs"), ("/x", "/dev"), ("/x", "/")] {
        let mounts = [format!("volume=v,target={one}"), format!("volume=v,target={two}")];
        let line = ["run", "--volume", "v", "--mount", &mounts[0], "--mount", &mounts[1], &image];
        let (code, _, err) = bed.tell(&line);
        assert_eq!(code, 125, "{one} {two}: {err}");
        assert!(err.contains("vol.target.overlap"), "{err}");
    }
    bed.assert_nothing_left();
}

#[test]
fn an_empty_volume_has_the_mode_and_owner_that_it_is_given() {
    let Some(bed) = Bed::of_root() else { return };
    let script = "ls -ldn /v | while read a b c d e; do echo $a $c $d; done";
    let image = bed.script("empty", script);
    let line =
        ["run", "--rm", "--volume", "v,kind=empty,mode=1770,uid=5,gid=6", "--mount", "volume=v,target=/v", &image];
    assert_eq!(bed.say(&line), "drwxrwx--T 5 6\n");
    assert!(fs::metadata(bed.path("root")).unwrap().mode() & 0o7777 > 0);
    bed.assert_nothing_left();
}

/// As images have it whose `/etc/resolv.conf` a service writes, or whose `/var/run` is a link to what only a host has.
#[test]
fn a_target_behind_a_link_that_leads_to_nothing_is_made_where_it_leads() {
    let Some(bed) = Bed::new() else { return };
    let (file, directory) = (bed.path("file"), bed.path("directory"));
    fs::write(&file, "a file\n").unwrap();
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("in"), "a directory\n").unwrap();
    bed.fill_rootfs("links");
    let rootfs = bed.layout("links");
    symlink("../run/made/file", rootfs.join("etc/link")).unwrap();
    symlink("../../..", rootfs.join("up")).unwrap();
    symlink("/up/missing", rootfs.join("down")).unwrap();
    symlink("round", rootfs.join("round")).unwrap();
    let volumes = [format!("f,source={}", file.display()), format!("d,source={}", directory.display())];
    let run = |f: &str, d: &str| {
        let points = json!([{"name": "f", "path": f}, {"name": "d", "path": d}]);
        let script = "cat /run/made/file /missing/deep/in";
        let app = json!({"exec": ["/bin/sh", "-c", script], "mountPoints": points});
        bed.tell(&["run", "--rm", "--volume", &volumes[0], "--volume", &volumes[1], &bed.image("links", "links", app)])
    };
    let (code, out, err) = run("/etc/link", "/down/deep");
    assert_eq!((code, out.as_str()), (0, "a file\na directory\n"), "{err}");
    let (code, _, err) = run("/etc/link", "/round/deep");
    assert_eq!(code, 125);
    assert!(err.contains("symbolic link"), "{err}");
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}
