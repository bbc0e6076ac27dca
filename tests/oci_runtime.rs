//! `jetpack-oci` with real processes: the life of a container, what holds in it, and what its root file system cannot do to the host.

#![cfg(target_os = "linux")]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use appc_needs::{Need, skip};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A bundle of the host's own programs, with a root for containers of its own.
struct Bed {
    directory: TempDir,
    id: String,
}

impl Bed {
    /// Nothing, with the reason printed, where no containers can be made.
    fn new(name: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skip(Need::Root, "needs root");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let bed = Self { directory, id: format!("jetpack-test-{name}-{}", std::process::id()) };
        fs::create_dir_all(bed.rootfs("")).unwrap();
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].iter().map(Path::new).find(|path| path.exists());
        let Some(busybox) = busybox else {
            skip(Need::Pods, "there is no busybox");
            return None;
        };
        fs::create_dir(bed.rootfs("bin")).unwrap();
        fs::copy(busybox, bed.rootfs("bin/busybox")).unwrap();
        for name in ["sh", "cat", "id", "ls", "sleep", "true", "hostname", "mkdir", "touch", "readlink", "pwd", "kill"]
        {
            symlink("busybox", bed.rootfs("bin").join(name)).unwrap();
        }
        bed.write(&["true"], |_| {});
        let probe = bed.call(&["run", &bed.id]);
        if probe.status.success() {
            return Some(bed);
        }
        skip(Need::Pods, format_args!("no containers can be made here: {}", words(&probe.stderr)));
        None
    }

    fn bundle(&self) -> PathBuf {
        self.directory.path().join("bundle")
    }

    fn rootfs(&self, name: &str) -> PathBuf {
        self.bundle().join("rootfs").join(name)
    }

    /// The configuration of a bundle that runs `args`, changed by `change`.
    fn write(&self, args: &[&str], change: impl FnOnce(&mut Value)) {
        let mut config = appc::oci::bundle::template(None);
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(args);
        config["linux"]["cgroupsPath"] = json!(format!("/{}", self.id));
        change(&mut config);
        fs::write(self.bundle().join("config.json"), config.to_string()).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jetpack"));
        command.arg0("jetpack-oci").current_dir(self.bundle()).arg("--root").arg(self.directory.path().join("root"));
        command.args(arguments);
        command
    }

    fn call(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// What the container `run` with `sh -c` says; it has to succeed.
    fn says(&self, script: &str, change: impl FnOnce(&mut Value)) -> String {
        self.write(&["sh", "-c", script], change);
        let done = self.call(&["run", &self.id]);
        assert!(done.status.success(), "{}{}", words(&done.stdout), words(&done.stderr));
        words(&done.stdout)
    }

    /// What is said of a container that cannot be made.
    fn refuses(&self, change: impl FnOnce(&mut Value)) -> String {
        self.write(&["true"], change);
        let done = self.call(&["run", &self.id]);
        assert!(!done.status.success(), "it ran");
        assert!(!self.directory.path().join("root").join(&self.id).exists(), "something of it is left");
        words(&done.stderr)
    }

    fn state(&self) -> Value {
        serde_json::from_slice(&self.call(&["state", &self.id]).stdout).unwrap()
    }

    /// Without what a container inherits, so that nobody waits for its end.
    fn quietly(&self, arguments: &[&str]) {
        let mut command = self.command(arguments);
        let log = self.directory.path().join("said");
        let file = || fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let done = command.stdin(Stdio::null()).stdout(file()).stderr(file()).status().unwrap();
        assert!(done.success(), "{arguments:?}: {}", fs::read_to_string(&log).unwrap());
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = self.call(&["delete", "--force", &self.id]);
        let left =
            fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|tree| tree.path().join(&self.id));
        let left: Vec<PathBuf> = left.filter(|path| path.exists()).collect();
        assert!(std::thread::panicking() || left.is_empty(), "{left:?} are left");
    }
}

fn words(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

#[test]
fn a_container_is_created_started_entered_paused_killed_and_deleted() {
    let Some(bed) = Bed::new("life") else { return };
    bed.write(&["sleep", "1000"], |_| {});
    let pid_file = bed.directory.path().join("pid");
    bed.quietly(&["create", "--pid-file", pid_file.to_str().unwrap(), &bed.id]);
    let state = bed.state();
    assert_eq!((&state["status"], &state["id"]), (&json!("created"), &json!(bed.id)));
    assert_eq!(state["pid"].to_string(), fs::read_to_string(&pid_file).unwrap());
    let again = bed.call(&["create", &bed.id]);
    assert!(words(&again.stderr).contains("container with id exists already"), "{}", words(&again.stderr));
    bed.quietly(&["start", &bed.id]);
    assert_eq!(bed.state()["status"], "running");
    assert!(words(&bed.call(&["start", &bed.id]).stderr).contains("cannot start a container in the running state"));
    let inside = bed.call(&["exec", &bed.id, "sh", "-c", "echo $$ >/dev/null; cat /proc/1/cmdline; exit 7"]);
    assert_eq!((inside.status.code(), inside.stdout.as_slice()), (Some(7), b"sleep\x001000\0".as_slice()));
    assert_eq!(words(&bed.call(&["ps", "--format", "json", &bed.id]).stdout), format!("[{}]", state["pid"]));
    bed.quietly(&["pause", &bed.id]);
    assert_eq!(bed.state()["status"], "paused");
    assert!(words(&bed.call(&["exec", &bed.id, "true"]).stderr).contains("cannot exec in a paused container"));
    bed.quietly(&["resume", &bed.id]);
    bed.quietly(&["update", "--pids-limit", "9", &bed.id]);
    let stats: Value = serde_json::from_slice(&bed.call(&["events", "--stats", &bed.id]).stdout).unwrap();
    assert_eq!((&stats["type"], &stats["data"]["pids"]["limit"]), (&json!("stats"), &json!(9)));
    assert!(words(&bed.call(&["delete", &bed.id]).stderr).contains("that is not stopped"));
    bed.quietly(&["kill", &bed.id, "KILL"]);
    for _ in 0..1000 {
        if bed.state()["status"] == "stopped" {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(words(&bed.call(&["kill", &bed.id, "9"]).stderr).contains("container not running"));
    bed.quietly(&["delete", &bed.id]);
    assert!(words(&bed.call(&["state", &bed.id]).stderr).contains("container does not exist"));
}

/// Engines make groups before the container, and several roots know nothing of each other.
#[test]
fn a_group_that_is_there_is_used_when_nobody_is_in_it_and_left_alone_otherwise() {
    let Some(bed) = Bed::new("groups") else { return };
    let trees = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].map(Path::new);
    let group = trees.into_iter().find(|tree| tree.join("cgroup.procs").exists()).unwrap().join(&bed.id);
    fs::create_dir(&group).unwrap();
    bed.write(&["sleep", "1000"], |_| {});
    bed.quietly(&["run", "--detach", &bed.id]);
    let other = bed.directory.path().join("another-root");
    let elsewhere = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jetpack"));
        command.arg0("jetpack-oci").current_dir(bed.bundle()).arg("--root").arg(&other).args(arguments);
        command.stdin(Stdio::null()).output().unwrap()
    };
    let refused = words(&elsewhere(&["create", "second"]).stderr);
    assert!(refused.contains("container's cgroup is not empty: 1 process(es) found"), "{refused}");
    elsewhere(&["delete", "--force", "second"]);
    assert_eq!(bed.state()["status"], "running");
    bed.quietly(&["delete", "--force", &bed.id]);
    assert!(!group.exists());
}

/// 4294967295 is `(uid_t)-1`, which leaves files and processes whose they are.
#[test]
fn the_number_that_is_nobodys_is_refused_wherever_it_stands() {
    let Some(bed) = Bed::new("nobody") else { return };
    let none = json!(u32::MAX);
    let changes: [&dyn Fn(&mut Value); 4] = [
        &|config| config["process"]["user"]["uid"] = none.clone(),
        &|config| config["process"]["user"]["gid"] = none.clone(),
        &|config| config["process"]["user"]["additionalGids"] = json!([none]),
        &|config| {
            config["linux"]["devices"] =
                json!([{ "type": "c", "path": "/dev/mine", "major": 1, "minor": 3, "uid": none }]);
        },
    ];
    let expected = "users and groups have numbers from 0 to 4294967294";
    for change in changes {
        let said = bed.refuses(change);
        assert!(said.contains(expected), "{said}");
    }
    bed.write(&["sleep", "1000"], |_| {});
    bed.quietly(&["run", "--detach", &bed.id]);
    for user in ["4294967295", "0:4294967295"] {
        let said = words(&bed.call(&["exec", "--user", user, &bed.id, "true"]).stderr);
        assert!(said.contains(expected) && said.contains("--user"), "{said}");
    }
    let said = words(&bed.call(&["exec", "--additional-gids", "4294967295", &bed.id, "true"]).stderr);
    assert!(said.contains(expected), "{said}");
    bed.quietly(&["delete", "--force", &bed.id]);
}

#[test]
fn options_are_those_that_engines_give() {
    let Some(bed) = Bed::new("options") else { return };
    let log = bed.directory.path().join("log.json");
    let (id, log_name) = (bed.id.as_str(), log.to_str().unwrap());
    // One by one as conmon and containerd's shim call, but for the terminal.
    let global = ["--log", log_name, "--log-format", "json", "--rootless=false"];
    fn after<'a>(global: &[&'a str], arguments: &[&'a str]) -> Vec<&'a str> {
        [global, arguments].concat()
    }
    bed.write(&["sh", "-c", "cat /proc/1/cgroup; sleep 1000"], |_| {});
    let (elsewhere, bundle) = (bed.directory.path().join("other.json"), bed.bundle());
    fs::rename(bed.bundle().join("config.json"), &elsewhere).unwrap();
    let (bundle, pid_file) = (bundle.to_str().unwrap(), bed.directory.path().join("pid"));
    let pid_file = pid_file.to_str().unwrap();
    let create =
        ["create", "--bundle", bundle, "--config", elsewhere.to_str().unwrap(), "--no-pivot", "--no-new-keyring"];
    bed.quietly(&after(
        &global,
        &[&create[..], &["--no-subreaper", "--preserve-fds", "0", "--pid-file", pid_file, id]].concat(),
    ));
    bed.quietly(&after(&global, &["start", id]));
    let process = bed.directory.path().join("process.json");
    fs::write(
        &process,
        r#"{ "args": ["sleep", "1000"], "cwd": "/", "env": ["PATH=/bin"], "user": { "uid": 5, "gid": 6 } }"#,
    )
    .unwrap();
    bed.quietly(&after(
        &global,
        &["exec", "--process", process.to_str().unwrap(), "--pid-file", pid_file, "--detach", id],
    ));
    let second = fs::read_to_string(pid_file).unwrap();
    assert!(fs::read_to_string(format!("/proc/{second}/status")).unwrap().contains("\nUid:\t5\t"));
    let tree = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].map(Path::new).into_iter().find(|tree| tree.join(id).exists());
    let tree = tree.unwrap().join(id);
    if tree.ends_with(Path::new("pids").join(id)) {
        fs::create_dir(tree.join("below")).unwrap();
        let inside = bed.call(&after(&global, &["exec", "--cgroup", "pids:/below", id, "cat", "/proc/self/cgroup"]));
        assert!(words(&inside.stdout).contains(":pids:/below"), "{}", words(&inside.stderr));
    }
    let out = bed.call(&after(&global, &["exec", "--cgroup", "../..", id, "true"]));
    assert!(words(&out.stderr).contains("it leads out of the container's"), "{}", words(&out.stderr));
    let mut update = bed.command(&after(&global, &["update", "--resources", "-", id]));
    let mut update = update.stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut update.stdin.take().unwrap(), br#"{ "pids": { "limit": 33 } }"#).unwrap();
    assert!(update.wait().unwrap().success());
    assert_eq!(fs::read_to_string(tree.join("pids.max")).unwrap().trim(), "33");
    bed.quietly(&after(&global, &["update", "--memory", "64M", "--memory-swap", "-1", id]));
    bed.quietly(&after(&global, &["kill", "--all", id, "SIGKILL"]));
    bed.quietly(&after(&global, &["delete", "--force", id]));
    bed.quietly(&after(&global, &["delete", "--force", id]));
    // Without groups of its own.
    bed.write(&["cat", "/proc/self/cgroup"], |_| {});
    let done = bed.call(&after(&global, &["--cgroup-manager", "disabled", "run", id]));
    assert!(done.status.success() && !words(&done.stdout).contains(id), "{}", words(&done.stderr));
    for (wrong, expected) in [
        (&["checkpoint", "--image-path", "x", id][..], "failed to make a checkpoint: this runtime makes none"),
        (&["restore", "--work-path", "x", id], "failed to restore a checkpoint: this runtime makes none"),
        (&["update", "--mem-bw-schema", "x", id], "--mem-bw-schema"),
        (&["kill", "--regex", "x"], "--regex"),
        (&["update", "--memory", "many", id], "`many` is no number of bytes"),
    ] {
        let refused = bed.call(&after(&global, wrong));
        assert!(!refused.status.success() && words(&refused.stderr).contains(expected), "{}", words(&refused.stderr));
        let told = fs::read_to_string(&log).unwrap();
        let last: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
        assert!(last["level"] == "error" && last["msg"].as_str().unwrap().contains(expected), "{expected}: {last}");
    }
}

#[test]
fn the_process_is_what_the_configuration_says() {
    let Some(bed) = Bed::new("process") else { return };
    let script = "id -u; id -g; id -G; pwd; hostname; echo $A; cat /proc/self/status; cat /proc/self/limits; touch /x || echo frozen";
    let said = bed.says(script, |config| {
        let process = &mut config["process"];
        process["user"] = json!({ "uid": 7, "gid": 8, "additionalGids": [9, 10], "umask": 63 });
        process["cwd"] = json!("/made/for/it");
        process["env"] = json!(["PATH=/bin", "A=b c"]);
        process["oomScoreAdj"] = json!(321);
        process["capabilities"]["ambient"] = json!(["CAP_KILL"]);
        process["capabilities"]["inheritable"] = json!(["CAP_KILL"]);
        config["root"]["readonly"] = json!(false);
        config["hostname"] = json!("box");
    });
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..6], ["7", "8", "8 9 10", "/made/for/it", "box", "b c"]);
    for expected in ["NoNewPrivs:\t1", "CapEff:\t0000000000000020", "CapBnd:\t0000000020000420", "Umask:\t0077"] {
        assert!(lines.contains(&expected), "{expected}: {said}");
    }
    assert!(lines.iter().any(|line| line.starts_with("Max open files            1024                 1024")), "{said}");
    assert_eq!(lines.last(), Some(&"frozen"));
}

#[test]
fn mounts_devices_and_paths_are_what_the_configuration_says() {
    let Some(bed) = Bed::new("mounts") else { return };
    let data = bed.directory.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("f"), "of the host\n").unwrap();
    fs::create_dir(bed.rootfs("filled")).unwrap();
    fs::write(bed.rootfs("filled/f"), "of the rootfs\n").unwrap();
    let script = "cat /filled/f; ls -ld /filled; touch /filled/g; cat /data/f; touch /data/g || echo bound; cat /proc/kcore | head -c 1; touch /proc/sys/x 2>/dev/null || echo kept; \
                  cat /late/../dev/null; echo x > /dev/full || echo full; ls /hidden; touch /tmp/x && echo written; cat /proc/self/mountinfo";
    let said = bed.says(script, |config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.push(
            json!({ "destination": "/data", "type": "bind", "source": data, "options": ["rbind", "ro", "nosuid"] }),
        );
        mounts
            .push(json!({ "destination": "/tmp", "type": "tmpfs", "source": "t", "options": ["size=64k", "noexec"] }));
        mounts.push(
            json!({ "destination": "/filled", "type": "tmpfs", "source": "t", "options": ["tmpcopyup", "mode=750"] }),
        );
        mounts.push(json!({ "destination": "/late", "type": "tmpfs", "source": "t", "options": ["ro"] }));
        config["root"]["readonly"] = json!(false);
        config["linux"]["maskedPaths"].as_array_mut().unwrap().push(json!("/data/f/none"));
        config["process"]["capabilities"] = Value::Null;
    });
    assert!(said.contains("drwxr-x--- ") && !bed.rootfs("filled/g").exists(), "{said}");
    for expected in ["of the rootfs", "of the host", "bound", "kept", "full", "written"] {
        assert!(said.lines().any(|line| line == expected), "{expected}: {said}");
    }
    let of =
        |target: &str| said.lines().find(|line| line.contains(&format!(" {target} "))).unwrap_or_default().to_owned();
    assert!(of("/data").contains(" ro,nosuid"), "{}", of("/data"));
    assert!(of("/tmp").contains("noexec") && of("/late").contains(" ro,"), "{said}");
}

#[test]
fn the_kernel_lists_mounts_in_the_order_of_the_configuration() {
    let Some(bed) = Bed::new("order") else { return };
    let targets = ["/a", "/b", "/c", "/d"];
    let said = bed.says("cat /proc/self/mountinfo", |config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        for (number, target) in targets.iter().enumerate() {
            mounts.push(match number % 2 {
                0 => json!({ "destination": target, "type": "tmpfs", "source": "t" }),
                _ => json!({ "destination": target, "source": "/etc", "options": ["bind", "slave"] }),
            });
        }
        config["root"]["readonly"] = json!(false);
    });
    let listed: Vec<&str> = said.lines().filter_map(|line| line.split(' ').nth(4)).collect();
    let listed: Vec<&str> = listed.into_iter().filter(|at| targets.contains(at)).collect();
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut release = release.split('.').map_while(|part| part.parse::<u32>().ok());
    if ((6, 8)..(6, 15)).contains(&(release.next().unwrap_or(0), release.next().unwrap_or(0))) {
        return skip(Need::Mounts, "this kernel lists mounts by their age, and copies none that is mounted nowhere");
    }
    assert_eq!(listed, targets, "{said}");
}

#[test]
fn a_container_whose_mounts_are_the_hosts_is_kept_in_its_root_and_leaves_none() {
    let Some(bed) = Bed::new("shared") else { return };
    bed.write(&["sleep", "1000"], |config| {
        config["linux"]["namespaces"] = json!([]);
        config["hostname"] = Value::Null;
    });
    let mounts = || {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let below = fs::canonicalize(bed.rootfs("")).unwrap().display().to_string();
        table.lines().filter(|line| line.split(' ').nth(4).unwrap().starts_with(&below)).count()
    };
    bed.quietly(&["run", "--detach", &bed.id]);
    assert!(mounts() > 1, "they show on the host");
    let pid = bed.state()["pid"].to_string();
    for kind in ["mnt", "pid", "net", "uts", "ipc"] {
        let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        assert_eq!(of(&pid), of("self"), "{kind}");
    }
    let inside = bed.call(&["exec", &bed.id, "sh", "-c", "ls /; cat /proc/$$/root/bin/../../../nothing; ls /../.."]);
    assert_eq!(words(&inside.stdout), "bin\ndev\nproc\nsys\nbin\ndev\nproc\nsys", "{}", words(&inside.stderr));
    bed.quietly(&["delete", "--force", &bed.id]);
    assert_eq!(mounts(), 0);
    assert!(fs::read_link(format!("/proc/{pid}/exe")).is_err(), "it still runs");
}

/// With the unified tree alone, as on hosts of today: what is ours there goes with the mount namespace.
#[test]
fn devices_are_filtered_in_version_2_of_control_groups() {
    let Some(bed) = Bed::new("devices") else { return };
    let unified = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        let script =
            "umount -R -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup || exit 99; exec \"$0\" oci \"$@\"";
        command.args(["--mount", "--propagation", "private", "sh", "-c", script, env!("CARGO_BIN_EXE_jetpack")]);
        command.arg("--root").arg(bed.directory.path().join("root")).args(arguments);
        command.current_dir(bed.bundle()).stdin(Stdio::null()).output().unwrap()
    };
    for (rules, expected) in [
        (json!([{ "allow": false, "access": "rwm" }]), "Operation not permitted"),
        (json!([{ "allow": true, "type": "c", "major": 250, "minor": 8 }]), "Operation not permitted"),
        // There is no driver for it.
        (json!([{ "allow": true, "type": "c", "major": 250, "minor": 7, "access": "r" }]), "No such device or address"),
    ] {
        bed.write(&["sh", "-c", "cat /dev/null && echo usual; cat /dev/odd"], |config| {
            config["linux"]["devices"] = json!([{ "type": "c", "path": "/dev/odd", "major": 250, "minor": 7 }]);
            config["linux"]["resources"]["devices"] = rules;
        });
        let done = unified(&["run", &bed.id]);
        if done.status.code() == Some(99) {
            return skip(Need::Mounts, "the unified tree cannot be mounted");
        }
        let said = words(&done.stderr);
        assert!(words(&done.stdout) == "usual" && said.contains(expected), "{said}");
        assert!(!said.contains("devices"), "{said}");
    }
}

#[test]
fn calls_are_filtered_by_their_arguments() {
    let Some(bed) = Bed::new("seccomp") else { return };
    let said = bed.says("mkdir /tmp/a 2>&1; kill -0 1 && echo sent; kill -s USR1 1 2>&1; true", |config| {
        config["mounts"].as_array_mut().unwrap().push(json!({ "destination": "/tmp", "type": "tmpfs", "source": "t" }));
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [
                { "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28 },
                { "names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "args": [{ "index": 1, "value": 10, "op": "SCMP_CMP_EQ" }] },
            ]
        });
    });
    assert!(
        said.contains("No space left on device") && said.contains("sent") && said.contains("not permitted"),
        "{said}"
    );
}

#[test]
fn hooks_run_where_and_when_they_should() {
    let Some(bed) = Bed::new("hooks") else { return };
    let log = bed.directory.path().join("hooks");
    let hook = |name: &str| json!([{ "path": "/bin/sh", "args": ["sh", "-c", format!("cat >/dev/null; echo {name} >> {}", log.display())] }]);
    bed.says("true", |config| {
        for name in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
            config["hooks"][name] = hook(name);
        }
    });
    assert_eq!(fs::read_to_string(&log).unwrap(), "prestart\ncreateRuntime\ncreateContainer\npoststart\npoststop\n");
    // What each is told that the container is doing.
    let go = bed.rootfs("go");
    bed.says("until [ -e /go ]; do sleep 1; done", |config| {
        for name in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
            let script = format!("sed -E 's/.*\"status\":\"([a-z]+)\".*/{name} \\1\\n/' >> {}", log.display());
            let script = if name == "poststart" { format!("{script}; touch {}", go.display()) } else { script };
            config["hooks"][name] =
                json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"] }]);
        }
    });
    let told = fs::read_to_string(&log).unwrap();
    let told: Vec<&str> = told.lines().skip(5).filter(|line| !line.is_empty()).collect();
    assert_eq!(
        told,
        [
            "prestart created",
            "createRuntime creating",
            "createContainer creating",
            "poststart running",
            "poststop stopped"
        ]
    );
    let said = bed.refuses(|config| config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/false" }] }));
    assert!(said.contains("run createRuntime hook #0"), "{said}");
}

#[test]
fn what_cannot_be_is_refused_by_its_name_and_leaves_nothing() {
    let Some(bed) = Bed::new("refusals") else { return };
    for (member, value, expected) in [
        ("/process/args", json!(["no-such-program"]), "executable file not found in $PATH"),
        ("/process/args", json!(["/no/such/program"]), "no such file or directory"),
        ("/vm", json!({}), "vm: this runtime makes no virtual machines"),
        ("/linux/namespaces", json!([{ "type": "moon" }]), "use linux.namespaces of config.json: `moon` is none"),
        ("/linux/sysctl", json!({ "kernel.panic": "1" }), "linux.sysctl of config.json: kernel.panic"),
        ("/process/rlimits", json!([{ "type": "RLIMIT_X", "soft": 1, "hard": 1 }]), "`RLIMIT_X` is none"),
        ("/mounts/0/type", json!("moonfs"), "mount moonfs at /proc"),
    ] {
        let said = bed.refuses(|config| {
            let (above, name) = member.rsplit_once('/').unwrap();
            config.pointer_mut(above).unwrap()[name] = value;
        });
        assert!(said.to_lowercase().contains(&expected.to_lowercase()), "{expected}: {said}");
    }
    let log = bed.directory.path().join("log.json");
    let failed = bed.call(&["--log", log.to_str().unwrap(), "--log-format", "json", "state", "none"]);
    assert_eq!(failed.status.code(), Some(1));
    let line: Value = serde_json::from_slice(&fs::read(&log).unwrap()).unwrap();
    assert_eq!((&line["level"], line["msg"].as_str().unwrap().contains("does not exist")), (&json!("error"), true));
}

/// CVE-2019-19921, CVE-2021-30465, CVE-2023-27561, CVE-2025-31133, CVE-2025-52565, CVE-2025-52881.
#[test]
fn links_of_the_root_file_system_lead_no_mount_out_of_it() {
    let Some(bed) = Bed::new("links") else { return };
    let outside = bed.directory.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let up = format!("../../../../../../../../..{}", outside.display());
    symlink(&up, bed.rootfs("data")).unwrap();
    symlink(&outside, bed.rootfs("abs")).unwrap();
    let said = bed.says("cat /proc/self/mountinfo; echo inside > /data/f", |config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        for target in ["/data", "/abs/deeper"] {
            mounts.push(json!({ "destination": target, "type": "tmpfs", "source": "t" }));
        }
        config["root"]["readonly"] = json!(false);
        config["linux"]["maskedPaths"] = json!(["/abs/deeper"]);
    });
    let at = outside.display().to_string();
    assert!(said.lines().any(|line| line.contains(&format!(" {at} "))), "mounted where the link leads, inside: {said}");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "nothing of it is on the host");
    // The kernel's own trees go where no link leads.
    fs::remove_dir_all(bed.rootfs("proc")).unwrap();
    fs::create_dir(bed.rootfs("elsewhere")).unwrap();
    symlink("elsewhere", bed.rootfs("proc")).unwrap();
    let said = bed.refuses(|_| {});
    assert!(said.contains("mount proc at /proc in the rootfs: a symbolic link stands in the way"), "{said}");
}

/// CVE-2024-21626: a working directory by a descriptor of the runtime's; CVE-2019-5736: the runtime as an interpreter.
#[test]
fn nothing_of_the_runtime_is_in_reach_of_what_runs() {
    let Some(bed) = Bed::new("reach") else { return };
    for number in 3..12 {
        let cwd = format!("/proc/self/fd/{number}");
        let said = bed.refuses(|config| config["process"]["cwd"] = json!(cwd));
        let reason = said.strip_prefix(&format!(
            "jetpack-oci: failed to change to the working directory {cwd} [im.app.workdir.missing]: "
        ));
        // One that is open then is a link of the kernel's, which is not followed.
        let reasons = ["Too many levels of symbolic links (os error 40)", "No such file or directory (os error 2)"];
        assert!(reason.is_some_and(|reason| reasons.contains(&reason)), "{said}");
    }
    symlink("/proc/self/exe", bed.rootfs("bin/me")).unwrap();
    let said = bed.refuses(|config| config["process"]["args"] = json!(["/bin/me"]));
    let followed = "failed to execute /bin/me of the rootfs [im.app.exec.slash]: Too many levels of symbolic links";
    assert!(said.contains(followed), "{said}");
    assert_eq!(bed.says("ls /proc/self/fd | cat", |_| {}).lines().count(), 4);
    // What waits for the container's program is ours; and when nothing runs it any more, who could keep it from being written?
    bed.write(&["true"], |_| {});
    bed.quietly(&["create", &bed.id]);
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
    let program =
        rustix::fs::open(format!("/proc/{}/exe", bed.state()["pid"]), flags, rustix::fs::Mode::empty()).unwrap();
    bed.quietly(&["delete", "--force", &bed.id]);
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&program));
    let refused = fs::OpenOptions::new().write(true).open(path).expect_err("it can be written");
    assert!(matches!(refused.kind(), std::io::ErrorKind::ExecutableFileBusy), "{refused}");
}

#[test]
fn a_hook_has_its_time_and_no_more_however_long_the_state_is() {
    let Some(bed) = Bed::new("hook-time") else { return };
    // More than a pipe holds, so that who does not read keeps its teller waiting.
    let said = bed.refuses(|config| {
        config["annotations"] = json!({ "long": "x".repeat(200_000) });
        config["hooks"] = json!({ "prestart": [{ "path": "/bin/sleep", "args": ["sleep", "60"], "timeout": 1 }] });
    });
    assert!(said.contains("it took longer than it may"), "{said}");
    let length = bed.rootfs("length");
    bed.write(&["true"], |config| {
        config["annotations"] = json!({ "long": "x".repeat(200_000) });
        let script = format!("wc -c >{}", length.display());
        config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/sh", "args": ["sh", "-c", script] }] });
    });
    bed.quietly(&["run", &bed.id]);
    let length: usize = fs::read_to_string(length).unwrap().trim().parse().unwrap();
    assert!(length > 200_000, "{length}");
}

#[test]
fn a_root_that_others_can_write_to_is_refused_and_a_link_is_no_pid_file() {
    let Some(bed) = Bed::new("planted") else { return };
    let victim = bed.directory.path().join("victim");
    fs::write(&victim, "kept").unwrap();
    let pid_file = bed.directory.path().join("pid");
    symlink(&victim, &pid_file).unwrap();
    bed.write(&["sleep", "60"], |_| {});
    bed.quietly(&["create", "--pid-file", pid_file.to_str().unwrap(), &bed.id]);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "kept");
    assert!(fs::symlink_metadata(&pid_file).unwrap().is_file());
    let root = bed.directory.path().join("root");
    for mode in [0o777, 0o711] {
        fs::set_permissions(&root, PermissionsExt::from_mode(mode)).unwrap();
        let state = bed.call(&["state", &bed.id]);
        assert_eq!(state.status.success(), mode == 0o711, "{mode:o}");
        assert_eq!(words(&state.stderr).contains("lets others write to it"), mode == 0o777, "{mode:o}");
    }
}

#[test]
fn a_container_whose_files_are_damaged_can_be_taken_away() {
    let Some(bed) = Bed::new("damaged") else { return };
    bed.write(&["sleep", "60"], |_| {});
    bed.quietly(&["create", &bed.id]);
    let kept = bed.directory.path().join("root").join(&bed.id);
    fs::write(kept.join("config.json"), "{").unwrap();
    fs::OpenOptions::new().append(true).open(kept.join("journal")).unwrap().write_all(b"nonsense\n").unwrap();
    let refused = bed.call(&["delete", &bed.id]);
    assert!(!refused.status.success() && kept.exists());
    let forced = bed.call(&["delete", "--force", &bed.id]);
    assert!(forced.status.success(), "{}", words(&forced.stderr));
    assert!(words(&forced.stderr).contains("config"), "it is told: {}", words(&forced.stderr));
    assert!(!kept.exists());
}
