//! What an app may do once it runs: capabilities, system calls, keyrings, control groups, devices.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use appc_needs::{Need, skip};
use serde_json::{Value, json};

use super::bed::Bed;

/// Makes system calls: `NUMBER,ARGUMENT...` each, and says what became of them.
const CALLS: &str = "for (@ARGV) { my ($n, @a) = split /,/; $! = 0; my $r = syscall($n + 0, map { $_ + 0 } @a); \
     print $r < 0 ? $! + 0 : 'ok', qq(\\n) }";

/// An image whose app makes these calls, with these isolators; nothing where the host has no perl.
fn calling(bed: &Bed, name: &str, calls: &[(i64, &[u64])], isolators: Value) -> Option<String> {
    if !bed.add_program("base", "perl") {
        return None;
    }
    let mut exec = vec!["/bin/perl".to_owned(), "-e".to_owned(), CALLS.to_owned()];
    exec.extend(calls.iter().map(|(number, arguments)| {
        let words = arguments.iter().map(|argument| format!(",{argument}"));
        format!("{number}{}", words.collect::<String>())
    }));
    Some(bed.image(name, "base", json!({"exec": exec, "isolators": isolators})))
}

fn answers(out: &str) -> Vec<&str> {
    out.lines().collect()
}

fn retain(set: &[&str]) -> Value {
    json!([{"name": "os/linux/capabilities-retain-set", "value": {"set": set}}])
}

/// With a user namespace of its own, a program that is root nowhere else mounts the control groups of all pods.
#[test]
fn new_namespaces_mounts_and_keyrings_are_refused() {
    let Some(bed) = Bed::new() else { return };
    let user = libc::CLONE_NEWUSER as u64;
    let refused: [(i64, &[u64]); 9] = [
        (libc::SYS_unshare, &[user]),
        (libc::SYS_clone, &[user | 17, 0, 0, 0, 0]),
        (libc::SYS_setns, &[0, 0]),
        (libc::SYS_mount, &[0, 0, 0, 0, 0]),
        (libc::SYS_keyctl, &[0, u64::MAX - 2, 0]),
        (libc::SYS_add_key, &[0, 0, 0, 0, 0]),
        (libc::SYS_request_key, &[0, 0, 0, 0]),
        (libc::SYS_io_uring_setup, &[1, 0]),
        (libc::SYS_bpf, &[0, 0, 0]),
    ];
    let rest: [(i64, &[u64]); 4] = [
        (libc::SYS_clone3, &[0, 0]),
        (libc::SYS_socket, &[libc::AF_VSOCK as u64, 1, 0]),
        (libc::SYS_unshare, &[libc::CLONE_FILES as u64]),
        (100_000, &[]),
    ];
    let calls: Vec<_> = refused.into_iter().chain(rest).collect();
    let Some(image) = calling(&bed, "calls", &calls, json!([])) else { return };
    let mut expected = vec![libc::EPERM.to_string(); refused.len()];
    expected.extend([libc::ENOSYS.to_string(), libc::EAFNOSUPPORT.to_string(), "ok".to_owned()]);
    expected.push(libc::ENOSYS.to_string());
    assert_eq!(answers(&bed.say(&["run", "--rm", "--strict", &image])), expected);
    bed.assert_nothing_left();
}

/// An image's own set of calls gives none back; the operator's word does.
#[test]
fn only_the_operator_gives_back_calls_that_a_pod_has_no_need_of() {
    let Some(bed) = Bed::new() else { return };
    let key: &[(i64, &[u64])] = &[(libc::SYS_keyctl, &[0, u64::MAX - 2, 0])];
    let all = json!([{"name": "os/linux/seccomp-retain-set", "value": {"set": ["@appc.io/all"]}}]);
    let Some(image) = calling(&bed, "keys", key, all) else { return };
    let (code, out, err) = bed.tell(&["run", "--rm", &image]);
    assert_eq!((code, out.as_str()), (0, "1\n"), "{err}");
    assert!(err.contains("seccomp-retain-set modified: the operator does not allow"), "{err}");
    assert_eq!(bed.tell(&["run", "--rm", "--strict", &image]).0, 125);
    for line in
        [["--seccomp-allow", "keyctl"], ["--seccomp-allow", "keys=all"], ["--seccomp", "mode=retain,set=@appc.io/all"]]
    {
        assert_eq!(bed.say(&["run", "--rm", line[0], line[1], &image]), "ok\n", "{line:?}");
    }
    let (code, _, err) = bed.tell(&["run", "--rm", "--seccomp-allow", "nobody=keyctl", &image]);
    assert_eq!(code, 125);
    assert!(err.contains("the pod has no such app"), "{err}");
    bed.assert_nothing_left();
}

/// What the caller possesses is not possessed by an app, even one that may use keys.
#[test]
fn a_pod_has_a_session_keyring_of_its_own() {
    let Some(bed) = Bed::new() else { return };
    // KEYCTL_GET_KEYRING_ID of the session keyring prints nothing but its serial number.
    let script = "print syscall($ARGV[0] + 0, 0, -3, 0), qq(\\n)";
    if !bed.add_program("base", "perl") {
        return;
    }
    let number = libc::SYS_keyctl.to_string();
    let ours = Command::new("perl").args(["-e", script, &number]).output().unwrap();
    let ours = String::from_utf8(ours.stdout).unwrap();
    let image = bed.image("ring", "base", json!({"exec": ["/bin/perl", "-e", script, number]}));
    let theirs = bed.say(&["run", "--rm", "--seccomp-allow", "keyctl", &image]);
    assert_ne!(ours, theirs);
    bed.say(&["run", "-d", "--name", "ring", "--seccomp-allow", "keyctl", &bed.script("sleep", "sleep 60")]);
    let entered = bed.say(&["exec", "ring", "/bin/perl", "-e", script, &number]);
    assert_ne!(ours, entered);
    bed.say(&["stop", "--force", "ring"]);
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}

fn bounding(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap_or_else(|| panic!("{status}"));
    u64::from_str_radix(line.trim(), 16).unwrap()
}

const CHOWN: u64 = 1;
const NET_ADMIN: u64 = 1 << 12;
const SYS_ADMIN: u64 = 1 << 21;

#[test]
fn capabilities_beyond_the_default_set_need_the_operators_word() {
    let Some(bed) = Bed::of_root() else { return };
    let app = |set: &[&str]| json!({"exec": ["/bin/cat", "/proc/self/status"], "isolators": retain(set)});
    let image = bed.image("asks", "base", app(&["CAP_CHOWN", "CAP_NET_ADMIN", "CAP_SYS_ADMIN"]));
    let of = |line: &[&str]| bounding(&bed.say(&[&["run", "--rm"], line].concat()));
    let (code, out, err) = bed.tell(&["run", "--rm", &image]);
    assert_eq!((code, bounding(&out)), (0, CHOWN), "{err}");
    assert!(
        err.contains("capabilities-retain-set modified: the operator does not allow CAP_NET_ADMIN, CAP_SYS_ADMIN"),
        "{err}"
    );
    let (code, out, _) = bed.tell(&["run", "--rm", "--strict", &image]);
    assert_eq!((code, out.as_str()), (125, ""));
    assert_eq!(of(&["--caps-allow", "net_admin", &image]), CHOWN | NET_ADMIN);
    assert_eq!(of(&["--strict", "--caps-allow", "asks=all", &image]), CHOWN | NET_ADMIN | SYS_ADMIN);
    assert_eq!(of(&["--caps-retain", "CAP_SYS_ADMIN", &image]), SYS_ADMIN);
    // What else is said of the app is not said of its capabilities.
    assert_eq!(of(&["--user", "0", "--env", "A=b", &image]), CHOWN);
    // Allowing is not giving.
    let modest = bed.image("modest", "base", app(&["CAP_CHOWN"]));
    assert_eq!(of(&["--caps-allow", "all", &modest]), CHOWN);
    // A pod manifest is the operator's own document; the manifests of images that it names are not.
    bed.say(&["fetch", &image]);
    let manifest = bed.path("pod.json");
    let run = ["run", "--rm", "--pod-manifest", manifest.to_str().unwrap()];
    let mut named = json!({"name": "a", "image": {"name": "example.com/asks"}});
    let write = |app: &Value| {
        let pod = json!({"acKind": "PodManifest", "acVersion": "0.8.11", "apps": [app]});
        fs::write(&manifest, pod.to_string()).unwrap();
    };
    write(&named);
    assert_eq!(bounding(&bed.say(&run)), CHOWN);
    assert_eq!(bounding(&bed.say(&[&run[..], &["--caps-allow", "a=SYS_ADMIN"]].concat())), CHOWN | SYS_ADMIN);
    named["app"] = app(&["CAP_NET_ADMIN"]);
    named["app"]["user"] = json!("0");
    named["app"]["group"] = json!("0");
    write(&named);
    assert_eq!(bounding(&bed.say(&run)), NET_ADMIN);
    bed.assert_nothing_left();
}

/// A name is anybody's word: what the configuration allows a prefix, it allows to images that are signed.
#[test]
fn the_configuration_allows_all_images_or_signed_ones_of_a_prefix() {
    let Some(bed) = Bed::of_root() else { return };
    let app = json!({"exec": ["/bin/cat", "/proc/self/status"], "isolators": retain(&["CAP_NET_ADMIN"])});
    let image = bed.image("asks", "base", app);
    let config = bed.path("jetpack.toml");
    for (text, expected) in [
        ("caps-allow = \"NET_ADMIN\"", NET_ADMIN),
        ("caps-allow = [\"CAP_SYS_ADMIN\", \"example.com=CAP_NET_ADMIN\"]", 0),
    ] {
        fs::write(&config, text).unwrap();
        let line = ["--config", config.to_str().unwrap(), "run", "--rm", &image];
        assert_eq!(bounding(&bed.say(&line)), expected, "{text}");
    }
    fs::write(&config, "caps-allow = [\"CAP-NET-ADMIN\"]").unwrap();
    let (code, _, err) = bed.tell(&["--config", config.to_str().unwrap(), "run", "--rm", &image]);
    assert!(code != 0 && err.contains("jetpack.toml:1"), "{err}");
    bed.assert_nothing_left();
}

/// CAP_SYS_PTRACE would be enough to look into the pod's first process, which can start programs outside of all filters.
#[test]
fn who_may_trace_does_not_reach_the_pods_first_process() {
    let Some(bed) = Bed::of_root() else { return };
    // PTRACE_SEIZE of the first process, PTRACE_TRACEME of its own.
    let calls: [(i64, &[u64]); 4] = [
        (libc::SYS_ptrace, &[0x4206, 1, 0, 0]),
        (libc::SYS_process_vm_readv, &[1, 0, 0, 0, 0, 0]),
        (libc::SYS_pidfd_open, &[1, 0]),
        (libc::SYS_ptrace, &[0, 0, 0, 0]),
    ];
    let Some(image) = calling(&bed, "trace", &calls, retain(&["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"])) else { return };
    let out = bed.say(&["run", "--rm", "--caps-allow", "SYS_PTRACE", &image]);
    assert_eq!(answers(&out), ["1", "1", "1", "ok"]);
    let script = "ls /proc/1; cat /proc/1/environ /proc/1/mem /proc/1/task/1/mem 2>/dev/null; echo $?";
    let line = ["run", "--rm", "--caps-retain", "SYS_PTRACE,DAC_OVERRIDE", &bed.script("look", script)];
    assert_eq!(bed.say(&line), "1\n");
    bed.assert_nothing_left();
}

#[test]
fn the_pods_first_process_holds_no_more_than_it_needs() {
    let Some(bed) = Bed::of_root() else { return };
    let kept = bounding(&bed.say(&["run", "--rm", &bed.script("init", "cat /proc/1/status")]));
    for (name, number) in
        [("SYS_MODULE", 16), ("SYS_RAWIO", 17), ("SYS_PTRACE", 19), ("SYS_BOOT", 22), ("SYS_TIME", 25)]
    {
        assert_eq!(kept >> number & 1, 0, "{name} in {kept:x}");
    }
    bed.assert_nothing_left();
}

#[test]
fn limits_stand_above_what_an_app_takes_for_the_root_of_its_groups() {
    let Some(bed) = Bed::of_root() else { return };
    bed.say(&["run", "-d", "--name", "below", "--memory", "64M", &bed.script("below", "sleep 60")]);
    let status = bed.status("below");
    let verdicts = status["isolation"]["verdicts"].as_array().unwrap();
    let memory = verdicts.iter().find(|verdict| verdict["subject"] == "resource/memory").unwrap();
    if memory["outcome"] != "enforced" {
        skip(Need::Limits, format_args!("{memory}"));
        return;
    }
    let bounding = super::groups::of_app(&status, 0).expect("a control group");
    assert!(bounding.join("memory.limit_in_bytes").exists() || bounding.join("memory.max").exists());
    assert_eq!(fs::read_to_string(bounding.join("cgroup.procs")).unwrap(), "");
    assert_ne!(fs::read_to_string(bounding.join("processes/cgroup.procs")).unwrap(), "");
    // Its own group is the root of its view.
    let view = bed.say(&["exec", "below", "/bin/cat", "/proc/self/cgroup"]);
    assert!(!view.contains("jetpack-"), "{view}");
    bed.say(&["stop", "--force", "below"]);
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}

#[test]
fn a_device_is_a_volume_only_where_the_operator_allows_it() {
    let Some(bed) = Bed::of_root() else { return };
    let script = "( exec 3</mnt/zero ) 2>/dev/null && echo opened; true";
    let image = bed.script("device", script);
    let volume = ["--volume", "v,kind=host,source=/dev/zero", "--mount", "volume=v,target=/mnt/zero"];
    let run = |more: &[&str]| bed.tell(&[&["run", "--rm"], &volume[..], more, &[&image]].concat());
    let (code, out, err) = run(&[]);
    assert_eq!((code, out.as_str()), (0, ""), "{err}");
    assert!(err.contains("volume v ignored: it is a device, which the operator does not allow"), "{err}");
    assert_eq!(run(&["--strict"]).0, 125);
    assert_eq!(run(&["--strict", "--device", "/dev/full"]).0, 125);
    let (code, out, err) = run(&["--strict", "--device", "/dev/zero"]);
    assert_eq!((code, out.as_str()), (0, "opened\n"), "{err}");
    // Beside the devices of every app, in place of none.
    let beside = bed.script("beside", "exec 3</dev/zero2 && ls /dev/zero2");
    let line = |target: &str| format!("volume=v,target={target}");
    let run = |target: &str| {
        let mount = line(target);
        bed.tell(&["run", "--rm", "--device", "/dev/zero", "--volume", volume[1], "--mount", &mount, &beside])
    };
    assert_eq!(run("/dev/zero2").1, "/dev/zero2\n");
    for taken in ["/dev/zero", "/dev/pts/0", "/dev"] {
        let (code, _, err) = run(taken);
        assert_eq!(code, 125);
        assert!(err.contains("vol.target.overlap"), "{err}");
    }
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}

/// Both systems' compilers, on the same pod.
#[test]
fn places_of_the_executor_take_no_volume_on_either_system() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("target", "true");
    for target in ["/", "/proc", "/sys/fs", "/dev"] {
        for executor in ["linux", "freebsd"] {
            let mount = format!("volume=v,target={target}");
            let (code, _, err) =
                bed.tell(&["plan", "--executor", executor, "--volume", "v,kind=empty", "--mount", &mount, &image]);
            assert_ne!(code, 0, "{target} on {executor}");
            assert!(err.contains("vol.target.overlap"), "{target} on {executor}: {err}");
        }
    }
}

#[test]
fn a_volume_that_no_app_mounts_is_told() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("idle", "true");
    let line = ["--volume", "spare,kind=empty", &image];
    let (code, _, err) = bed.tell(&[&["run", "--rm"], &line[..]].concat());
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("volume spare ignored: no app mounts it"), "{err}");
    assert_eq!(bed.tell(&[&["run", "--rm", "--strict"], &line[..]].concat()).0, 125);
    for executor in ["linux", "freebsd"] {
        let out = bed.say(&[&["plan", "--executor", executor], &line[..]].concat());
        assert!(out.contains("no app mounts it"), "{executor}: {out}");
    }
    let point = json!({"name": "data", "path": "/data"});
    let wants = bed.image("wants", "base", json!({"exec": ["/bin/true"], "mountPoints": [point]}));
    let (code, _, err) = bed.tell(&["run", "--rm", &wants]);
    assert_eq!(code, 125);
    assert!(err.contains("hint: --volume NAME,kind=empty"), "{err}");
    bed.assert_nothing_left();
}

#[test]
fn a_network_configuration_that_cannot_be_read_is_told() {
    let Some(bed) = Bed::of_root() else { return };
    let image = bed.script("wired", "true");
    let networks = bed.path("net.d");
    fs::create_dir(&networks).unwrap();
    let run = |line: &[&str]| {
        let output = bed.command(&[&["run", "--rm"], line].concat()).env("NETCONFPATH", &networks).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (text, why) in [
        ("{\n \"name\": \"default\"\n \"plugins\": []\n}", "line 3 column 2"),
        ("{\"name\": \"default\", \"plugins\": []}", "it has no plugins"),
        ("{\"plugins\": [{\"type\": \"bridge\"}]}", "it has no `name`"),
    ] {
        fs::write(networks.join("10-default.conflist"), text).unwrap();
        for line in [vec![image.as_str()], vec!["--net", "default", &image]] {
            let (code, err) = run(&line);
            assert_eq!(code, Some(125), "{err}");
            assert!(err.contains("10-default.conflist") && err.contains(why), "{err}");
        }
        let (code, err) = run(&["--net", "none", &image]);
        assert_eq!(code, Some(0), "{err}");
    }
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}

/// An ordinary user is root in its own pods: files of root's have lost nothing, others their owners.
#[test]
fn owners_that_an_ordinary_user_cannot_keep_are_told_and_strictly_refused() {
    let Some(bed) = Bed::of_root() else { return };
    const USER: u32 = 12_345;
    bed.script("owned", "true");
    let layout = bed.path("layouts/base");
    let home = bed.path("home");
    fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(USER), Some(USER)).unwrap();
    fs::set_permissions(bed.path("."), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jetpack"));
        command.uid(USER).gid(USER).env("HOME", &home).env_remove("XDG_DATA_HOME").arg("--root").arg(home.join("root"));
        let output = command.args(arguments).output().ok()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some((output.status.code(), text(&output.stdout), text(&output.stderr)))
    };
    for (owner, lost) in [("0", false), ("33", true)] {
        let image = bed.path(&format!("of-{owner}.aci"));
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(&layout).arg("-cf").arg(&image).args(["--numeric-owner", "--owner", owner, "--group", owner]);
        assert!(tar.args(["manifest", "rootfs"]).status().unwrap().success());
        let image = image.to_str().unwrap();
        let Some((code, _, err)) = run(&["run", "--rm", "--net", "none", image]) else {
            skip(Need::OrdinaryUser, format_args!("user {USER} cannot run the program from here"));
            return;
        };
        if code != Some(0) {
            skip(Need::UserPods, format_args!("no pods without root here: {err}"));
            return;
        }
        assert_eq!(err.contains("owners that were not applied"), lost, "{err}");
        let (code, _, err) = run(&["run", "--rm", "--net", "none", "--strict", image]).unwrap();
        assert_eq!(code == Some(125), lost, "{err}");
        assert_eq!(fs::metadata(home.join("root")).unwrap().uid(), USER);
    }
}
