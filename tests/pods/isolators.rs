//! Isolators, as the kernel tells of them.

use std::path::Path;

use crate::bed::Bed;

fn of_status(out: &str, field: &str) -> String {
    let line = out.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_else(|| panic!("no {field} in {out}"));
    line.trim_start_matches(':').trim().to_owned()
}

#[test]
fn capabilities_are_bounded_for_root_and_for_others() {
    let Some(bed) = Bed::of_root() else { return };
    let image = bed.script("caps", "cat /proc/self/status");
    let sets = |out: &str| ["CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb"].map(|field| of_status(out, field));
    let none = "0000000000000000".to_owned();
    let out = bed.say(&["run", "--rm", &image]);
    let fourteen = "00000000a80425fb";
    // The specification's fourteen are those, with SYS_CHROOT, MKNOD, AUDIT_WRITE and SETFCAP among them.
    assert_eq!(sets(&out), [fourteen.to_owned(), fourteen.to_owned(), fourteen.to_owned(), none.clone(), none.clone()]);
    let one = "0000000000000001".to_owned();
    let out = bed.say(&["run", "--rm", "--caps-retain", "chown", &image]);
    assert_eq!(sets(&out), [one.clone(), one.clone(), one.clone(), none.clone(), none.clone()]);
    let out = bed.say(&["run", "--rm", "--caps-retain", "CAP_CHOWN", "--user", "web", "--group", "web", &image]);
    assert_eq!(sets(&out), [one, none.clone(), none.clone(), none.clone(), none]);
}

#[test]
fn blocked_calls_fail_with_the_error_or_kill() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("seccomp", "mkdir /x 2>&1; echo $?");
    let out = bed.say(&["run", "--rm", "--seccomp", "mode=remove,errno=ENOTSUP,mkdir,mkdirat", &image]);
    assert!(out.contains("not supported"), "{out}");
    let image = bed.image("sigsys", "base", serde_json::json!({"exec": ["/bin/mkdir", "/x"]}));
    assert_eq!(bed.tell(&["run", "--rm", "--seccomp", "mode=remove,mkdir,mkdirat", &image]).0, 128 + libc::SIGSYS);
    bed.assert_nothing_left();
}

#[test]
fn users_and_groups_come_from_the_rootfs() {
    let Some(bed) = Bed::of_root() else { return };
    let image = bed.script("user", "id -u; id -g; id -G; echo $USER $HOME");
    let line = ["run", "--rm", "--user", "web", "--group", "44", "--supplementary-gids", "7,8", &image];
    assert_eq!(bed.say(&line), "33\n44\n44 7 8\nweb /srv\n");
    let line = ["run", "--rm", "--user", "/etc/passwd", "--group", "/etc/passwd", &image];
    assert_eq!(bed.say(&line), "0\n0\n0\nroot /root\n");
}

#[test]
fn no_new_privileges_and_oom_scores_reach_the_process() {
    let Some(bed) = Bed::of_root() else { return };
    let image = bed.script("proc", "cat /proc/self/status /proc/self/oom_score_adj");
    let line = [
        "run",
        "--rm",
        "--isolator",
        "os/linux/no-new-privileges=true",
        "--isolator",
        "os/linux/oom-score-adj=600",
        &image,
    ];
    let out = bed.say(&line);
    assert_eq!(of_status(&out, "NoNewPrivs"), "1");
    assert!(out.ends_with("\n600\n"), "{out}");
}

#[test]
fn resources_are_bounded_by_control_groups_that_go_with_the_pod() {
    let Some(bed) = Bed::of_root() else { return };
    let image = bed.script("bounded", "while :; do sleep 1; done");
    bed.say(&["run", "-d", "--name", "bounded", "--memory", "64M", &image]);
    let status = bed.status("bounded");
    let verdicts = status["isolation"]["verdicts"].as_array().unwrap();
    let memory = verdicts.iter().find(|verdict| verdict["subject"] == "resource/memory").unwrap();
    if memory["outcome"] != "enforced" {
        println!("skipped: {memory}");
        return;
    }
    let uuid = status["uuid"].as_str().unwrap();
    let limit = [
        "memory/jetpack-U/bounded/memory.limit_in_bytes",
        "jetpack-U/bounded/memory.max",
        "unified/jetpack-U/bounded/memory.max",
    ]
    .map(|path| Path::new("/sys/fs/cgroup").join(path.replace('U', uuid)));
    let limit = limit.iter().find_map(|path| std::fs::read_to_string(path).ok()).expect("a control group");
    assert_eq!(limit.trim(), "64000000".parse::<u64>().map(|n| (n / 4096 * 4096).to_string()).unwrap());
    bed.say(&["stop", "--force", "bounded"]);
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}

#[test]
fn kernel_parameters_are_the_pods_own() {
    let Some(bed) = Bed::of_root() else { return };
    let manifest = bed.path("pod.json");
    bed.say(&["fetch", &bed.script("sysctl", "cat /proc/sys/net/ipv4/tcp_keepalive_time")]);
    let pod = serde_json::json!({"acKind": "PodManifest", "acVersion": "0.8.11",
        "apps": [{"name": "a", "image": {"name": "example.com/sysctl"}}],
        "isolators": [{"name": "os/unix/sysctl", "value": {"net.ipv4.tcp_keepalive_time": "321", "kernel.panic": "9"}}]});
    std::fs::write(&manifest, pod.to_string()).unwrap();
    let before = std::fs::read_to_string("/proc/sys/kernel/panic").unwrap();
    let (code, out, err) = bed.tell(&["run", "--rm", "--pod-manifest", manifest.to_str().unwrap()]);
    assert_eq!((code, out.as_str()), (0, "321\n"), "{err}");
    assert!(err.contains("kernel.panic"), "{err}");
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/panic").unwrap(), before);
}
