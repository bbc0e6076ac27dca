//! Kernels, and filters of containers, that lack a call: done the older way, or told and nothing left.

use std::process::Command;

use appc_needs::{Need, skip};

use super::bed::Bed;

/// Has itself and all that comes of it find that the kernel has no such call, and becomes the rest of the line. Takes root.
const LACK: &str = r#"
    my ($prctl, $call) = (shift() + 0, shift() + 0);
    my $filter = join "", map { pack "SCCL", @$_ }
        [0x20, 0, 0, 0], [0x15, 0, 1, $call], [6, 0, 0, 0x50000 | 38], [6, 0, 0, 0x7fff0000];
    syscall($prctl, 22, 2, pack "S x6 P", 4, $filter) == 0 or die "no filter: $!";
    exec { $ARGV[0] } @ARGV or die "no program: $!";
"#;

fn without(jetpack: &Command, call: libc::c_long) -> Command {
    let mut command = Command::new("perl");
    command.args(["-e", LACK, &libc::SYS_prctl.to_string(), &call.to_string()]);
    command.arg(jetpack.get_program()).args(jetpack.get_args());
    command
}

fn bed() -> Option<Bed> {
    let bed = Bed::of_root()?;
    let perl = Command::new("perl").args(["-e", "1"]).status().is_ok_and(|status| status.success());
    if !perl {
        skip(Need::Program, "the host has no perl");
    }
    perl.then_some(bed)
}

#[test]
fn a_call_that_is_not_there_is_done_the_older_way_or_told_and_leaves_nothing() {
    let Some(bed) = bed() else { return };
    let image = bed.script("older", "echo it runs");
    bed.say(&["fetch", &image]);
    let older = [
        ("clone3", libc::SYS_clone3),
        ("faccessat2", libc::SYS_faccessat2),
        ("keyctl", libc::SYS_keyctl),
        ("statx", libc::SYS_statx),
        ("copy_file_range", libc::SYS_copy_file_range),
        ("openat2", libc::SYS_openat2),
    ];
    for (name, call) in older {
        let output = without(&bed.command(&["run", "--rm", &image]), call).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!((output.status.code(), &*out), (Some(0), "it runs\n"), "{name}: {err}");
    }
    // What Linux 5.12 has all of, which pods need.
    let needed = [
        ("mount_setattr", libc::SYS_mount_setattr),
        ("open_tree", libc::SYS_open_tree),
        ("move_mount", libc::SYS_move_mount),
        ("fsopen", libc::SYS_fsopen),
        ("close_range", libc::SYS_close_range),
    ];
    for (name, call) in needed {
        let output = without(&bed.command(&["run", "--rm", &image]), call).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{name}: {err}");
        assert!(err.contains("failed to") && err.contains("Function not implemented"), "{name}: {err}");
        bed.say(&["gc"]);
        bed.assert_nothing_left();
    }
}

#[test]
fn commands_enter_a_pod_where_there_is_no_clone3() {
    let Some(bed) = bed() else { return };
    let image = bed.script("enters", "sleep 1000");
    let clone3 = libc::SYS_clone3;
    let run = without(&bed.command(&["run", "-d", "--name", "enters", &image]), clone3).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let inside = without(&bed.command(&["exec", "enters", "/bin/sh", "-c", "echo inside"]), clone3).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&inside.stdout), "inside\n", "{}", String::from_utf8_lossy(&inside.stderr));
    bed.say(&["stop", "--force", "enters"]);
    bed.say(&["rm", "enters"]);
    bed.assert_nothing_left();
}
