//! What becomes a process in a pod: with which descriptors, ids and program.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use appc_needs::{Need, skip};
use serde_json::json;

use super::bed::Bed;

/// A program of the host's, which no pod is to execute.
fn victim(bed: &Bed) -> String {
    let victim = bed.path("victim");
    fs::write(&victim, "#!/bin/sh\necho reached\n").unwrap();
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o755)).unwrap();
    victim.to_str().unwrap().to_owned()
}

/// The lock of the image's directory, and whatever the caller leaves open: procfs makes paths of descriptors.
#[test]
fn no_program_and_no_interpreter_is_found_through_what_was_inherited() {
    let Some(bed) = Bed::new() else { return };
    let victim = victim(&bed);
    let leak = |bed: &Bed, arguments: &[&str]| {
        let output = bed.command_after("exec 9</", arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    };
    // From the directory of the image, and from the host's root.
    let paths: Vec<String> = (3..9)
        .map(|number| format!("/proc/self/fd/{number}/../../../victim"))
        .chain([format!("/proc/self/fd/9{victim}")])
        .collect();
    for path in &paths {
        let program = bed.image("program", "base", json!({"exec": [path]}));
        fs::write(bed.layout("base").join("script"), format!("#!{path}\n")).unwrap();
        fs::set_permissions(bed.layout("base").join("script"), fs::Permissions::from_mode(0o755)).unwrap();
        let handler = json!({"exec": ["/bin/true"], "eventHandlers": [{"name": "pre-start", "exec": [path]}]});
        let script = bed.image("script", "base", json!({"exec": ["/script"]}));
        let handler = bed.image("handler", "base", handler);
        for image in [&program, &script, &handler] {
            let (code, said) = leak(&bed, &["run", "--rm", image]);
            assert!(matches!(code, Some(125..=127)), "{path}: {code:?} {said}");
            assert!(!said.contains("reached"), "{path}: {said}");
        }
    }
    let (code, said) = leak(&bed, &["run", "-d", "--name", "running", &bed.script("running", "sleep 1000")]);
    assert_eq!(code, Some(0), "{said}");
    for path in paths.iter().map(String::as_str).chain(["/script", "/proc/self/exe", "/proc/1/exe"]) {
        let (code, said) = leak(&bed, &["exec", "running", "--", path]);
        assert!(matches!(code, Some(126 | 127)), "{path}: {code:?} {said}");
        assert!(!said.contains("reached"), "{path}: {said}");
    }
    let (_, said) = leak(&bed, &["exec", "running", "--", "/bin/sh", "-c", "ls /proc/self/fd"]);
    assert_eq!(said, "0\n1\n2\n3\n");
    bed.say(&["stop", "--force", "running"]);
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}

#[test]
fn scripts_and_what_interprets_them_are_found_as_the_kernel_finds_them() {
    let Some(bed) = Bed::new() else { return };
    let layout = bed.layout("base");
    let put = |name: &str, content: &str| {
        fs::write(layout.join(name), content).unwrap();
        fs::set_permissions(layout.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    };
    put("one", "#! /bin/sh -e\necho one $0 $1\n");
    put("two", "#!/one\n");
    put("none", "#!/there/is/none\n");
    symlink("one", layout.join("link")).unwrap();
    for (exec, out) in [
        (json!({"exec": ["/one", "x"]}), "one /one x\n"),
        (json!({"exec": ["/two"]}), "one /one /two\n"),
        (json!({"exec": ["/link", "y"]}), "one /link y\n"),
        (json!({"exec": ["./one"], "workingDirectory": "/"}), "one ./one\n"),
        (json!({"exec": ["../one"], "workingDirectory": "/bin"}), "one ../one\n"),
    ] {
        assert_eq!(bed.say(&["run", "--rm", &bed.image("scripts", "base", exec.clone())]), out, "{exec}");
    }
    let (code, _, err) = bed.tell(&["run", "--rm", &bed.image("none", "base", json!({"exec": ["/none"]}))]);
    assert_eq!(code, 127, "{err}");
    assert!(err.contains("the interpreter /there/is/none"), "{err}");
    bed.assert_nothing_left();
}

/// The program is looked for by the app's user, and not by whoever starts it.
#[test]
fn a_program_in_a_directory_that_is_closed_to_the_apps_user_is_not_executed() {
    let Some(bed) = Bed::of_root() else { return };
    let closed = bed.layout("base").join("closed");
    fs::create_dir(&closed).unwrap();
    fs::write(closed.join("program"), "#!/bin/sh\necho ran\n").unwrap();
    fs::set_permissions(closed.join("program"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    let app = json!({"exec": ["/closed/program"], "user": "web", "group": "web"});
    let (code, out, err) = bed.tell(&["run", "--rm", &bed.image("closed", "base", app)]);
    assert_eq!((code, out.as_str()), (126, ""), "{err}");
    bed.assert_nothing_left();
}

/// CVE-2019-5736: an upgrade has put another file in the program's place, so that the kernel no longer keeps it from being written
/// once nothing runs it.
#[test]
fn what_runs_in_a_pod_is_no_file_that_can_be_written() {
    let Some(bed) = Bed::new() else { return };
    let program = bed.path("jetpack");
    crate::support::copy_jetpack(&program);
    let image = bed.script("own", "sleep 1000");
    let mut command = std::process::Command::new(&program);
    let started =
        command.arg("--root").arg(bed.path("root")).args(["run", "-d", "--name", "own", &image]).output().unwrap();
    assert!(started.status.success(), "{started:?}");
    crate::support::copy_jetpack(&bed.path("new"));
    fs::rename(bed.path("new"), &program).unwrap();
    let (supervisor, first) = processes(&bed, "own");
    let handle = |process| {
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
        match rustix::fs::open(format!("/proc/{process}/exe"), flags, rustix::fs::Mode::empty()) {
            // Who is not root cannot even look.
            Err(rustix::io::Errno::ACCESS) if !rustix::process::geteuid().is_root() => None,
            opened => Some(opened.unwrap()),
        }
    };
    let handles: Vec<_> = [supervisor, first].into_iter().filter_map(handle).collect();
    bed.say(&["stop", "--force", "own"]);
    for handle in handles {
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&handle));
        fs::OpenOptions::new().write(true).open(path).expect_err("nobody can write it, though nothing runs it");
    }
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}

/// An app's process may leave for namespaces of its own, where it is root and its own file stands at `/etc/passwd`.
#[test]
fn exec_goes_by_what_was_at_the_start_whatever_the_app_has_made_of_its_namespaces() {
    let Some(bed) = Bed::of_root() else { return };
    if !bed.add_program("base", "unshare") || !bed.add_program("base", "mount") {
        return;
    }
    fs::create_dir(bed.layout("base").join("tmp")).unwrap();
    fs::set_permissions(bed.layout("base").join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    let script = "echo web:x:0:0::/tmp:/bin/sh > /tmp/passwd; mount --bind /tmp/passwd /etc/passwd && echo hostile; \
        touch /tmp/ready; sleep 1000";
    let hostile =
        format!("unshare -U -m -r /bin/sh -c '{script}' || {{ echo refused; touch /tmp/ready; sleep 1000; }}");
    let app = json!({"exec": ["/bin/sh", "-c", format!("exec 2>&1; {hostile}")], "user": "web", "group": "web"});
    let image = bed.image("hostile", "base", app);
    // Refused by default; an app that the operator lets do it makes the attack.
    for (allowed, said) in [(&[][..], "refused"), (&["--seccomp-allow", "all"], "hostile")] {
        bed.say(&[&["run", "-d", "--name", "hostile"], allowed, &[&image]].concat());
        bed.wait_for("the app", || bed.tell(&["exec", "hostile", "--", "/bin/cat", "/tmp/ready"]).0 == 0);
        let logs = bed.say(&["logs", "hostile"]);
        assert!(logs.lines().any(|line| line == said), "{said}: {logs}");
        assert_eq!(bed.say(&["exec", "hostile", "--", "/bin/id", "-u"]), "33\n");
        assert_eq!(bed.say(&["exec", "hostile", "--", "/bin/sh", "-c", "id -g; echo $HOME"]), "44\n/srv\n");
        let there = |path: &str| bed.say(&["exec", "hostile", "--", "/bin/readlink", path]);
        let init = fs::read_link("/proc/self/ns/user").unwrap();
        assert_eq!(there("/proc/self/ns/user").trim(), init.to_str().unwrap());
        let back = bed.path("back");
        let _ = fs::remove_file(&back);
        bed.say(&["cp", "hostile:/etc/passwd", back.to_str().unwrap()]);
        assert!(fs::read_to_string(back).unwrap().contains("web:x:33:44"));
        bed.say(&["stop", "--force", "hostile"]);
        bed.say(&["gc", "--grace", "0s"]);
    }
    bed.assert_nothing_left();
}

/// (uid_t)-1 means "leave it as it is": whoever had it stayed root.
#[test]
fn the_number_that_means_leave_it_is_nobodys() {
    let Some(bed) = Bed::new() else { return };
    bed.fill_rootfs("minus");
    let etc = bed.layout("minus").join("etc");
    fs::write(etc.join("passwd"), "root:x:0:0::/:\nsvc:x:4294967295:44::/:\n").unwrap();
    fs::write(etc.join("group"), "root:x:0:\nsvc:x:4294967295:\n").unwrap();
    for (user, group) in [("svc", "0"), ("0", "svc"), ("4294967295", "0"), ("0", "4294967295")] {
        let app = json!({"exec": ["/bin/id"], "user": user, "group": group});
        let (code, out, err) = bed.tell(&["run", "--rm", &bed.image("minus", "minus", app)]);
        assert_eq!((code, out.as_str()), (125, ""), "{user}:{group}: {err}");
        assert!(err.contains("4294967294"), "{err}");
    }
    let image = bed.image("plain", "base", json!({"exec": ["/bin/id"], "mountPoints": [{"name": "v", "path": "/v"}]}));
    for options in [["--volume", "v,kind=empty,uid=4294967295"], ["--volume", "v,kind=empty,gid=4294967295"]] {
        let (code, out, err) = bed.tell(&["run", options[0], options[1], &image]);
        assert_eq!(out, "", "{options:?}");
        assert!(code != 0 && err.contains("4294967294"), "{options:?}: {err}");
    }
    let app = json!({"exec": ["/bin/id"], "supplementaryGIDs": [4_294_967_295_u32]});
    let (code, out, err) = bed.tell(&["run", &bed.image("groups", "base", app)]);
    assert!(code != 0 && out.is_empty() && err.contains("4294967294"), "{out}{err}");
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}

#[test]
fn a_group_far_behind_in_a_long_file_is_the_one_that_stands_there() {
    let Some(bed) = Bed::of_root() else { return };
    bed.fill_rootfs("long");
    let mut group = String::from("root:x:0:\n");
    while group.len() < (1 << 20) - 9 {
        group.push_str("#\n");
    }
    group.truncate((1 << 20) - 9);
    let group = format!("{}\nvideo:x:4455:\n", &group[..group.len() - 1]);
    fs::write(bed.layout("long").join("etc/group"), group).unwrap();
    let app = json!({"exec": ["/bin/id", "-g"], "group": "video"});
    assert_eq!(bed.say(&["run", "--rm", &bed.image("long", "long", app)]), "4455\n");
    bed.assert_nothing_left();
}

/// Distributions have `/etc/resolv.conf` lead below `/run`, which is empty when a pod starts.
#[test]
fn a_file_is_provided_where_a_link_of_its_name_leads_to_nothing() {
    let Some(bed) = Bed::new() else { return };
    bed.fill_rootfs("dangling");
    fs::create_dir(bed.layout("dangling").join("run")).unwrap();
    symlink("../run/deep/hosts", bed.layout("dangling").join("etc/hosts")).unwrap();
    let app = json!({"exec": ["/bin/sh", "-c", "cat /etc/hosts; readlink /etc/hosts; true"],
        "mountPoints": [{"name": "run", "path": "/run"}]});
    let image = bed.image("dangling", "dangling", app);
    let out = bed.say(&["run", "--rm", "--hostname", "here", "--volume", "run,kind=empty", &image]);
    assert!(out.contains("127.0.0.1\tlocalhost\n") && out.contains("here"), "{out}");
    let app = json!({"exec": ["/bin/sh", "-c", "cat /run/deep/hosts; readlink /etc/hosts"]});
    let out = bed.say(&["run", "--rm", &bed.image("dangling", "dangling", app)]);
    assert!(out.starts_with("127.0.0.1\tlocalhost\n") && out.ends_with("../run/deep/hosts\n"), "{out}");
    bed.assert_nothing_left();
}

#[test]
fn an_app_whose_program_has_a_long_name_fails_alone_and_is_told_of() {
    let Some(bed) = Bed::new() else { return };
    let healthy = bed.script("healthy", "sleep 1; echo healthy");
    for length in [70_000, 400_000] {
        let long = bed.image("long", "base", json!({"exec": [format!("/{}end", "x".repeat(length))]}));
        let (code, out, err) = bed.tell(&["run", "--rm", &healthy, &long]);
        assert_eq!((code, out.as_str()), (126, "healthy\n"), "{err}");
        assert!(err.contains("failed to execute /xxx") && err.contains("end of the rootfs"), "{err}");
        assert!(err.len() < 20_000);
    }
    bed.assert_nothing_left();
}

/// A lock, a pipe: whoever waits for them waits for the pod's end in vain.
#[test]
fn a_pod_that_is_left_behind_keeps_nothing_of_its_callers_open() {
    let Some(bed) = Bed::new() else { return };
    let held = bed.path("held");
    let image = bed.script("left", "sleep 1000");
    let mut command =
        bed.command_after(&format!("exec 7>{0} 8>>{0}", held.display()), &["run", "-d", "--name", "left", &image]);
    let started = command.output().unwrap();
    assert!(started.status.success(), "{started:?}");
    let (supervisor, first) = processes(&bed, "left");
    for process in [supervisor, first] {
        let open = match fs::read_dir(format!("/proc/{process}/fd")) {
            Err(_) if !rustix::process::geteuid().is_root() => {
                skip(Need::Root, "what a process of a pod's own has open, only root sees");
                continue;
            }
            open => open.unwrap().flatten(),
        };
        let open = open.filter(|entry| fs::read_link(entry.path()).is_ok_and(|file| file == held));
        assert_eq!(open.map(|entry| entry.path()).collect::<Vec<_>>(), Vec::<std::path::PathBuf>::new());
    }
    bed.say(&["stop", "--force", "left"]);
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}

/// The supervisor of a running pod and the pod's first process.
fn processes(bed: &Bed, pod: &str) -> (String, String) {
    let uuid = bed.status(pod)["uuid"].as_str().unwrap().to_owned();
    let lock = fs::read_to_string(bed.path("root/pods").join(uuid).join("lock")).unwrap();
    let supervisor = lock.trim();
    let first = fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children")).unwrap();
    (supervisor.to_owned(), first.trim().to_owned())
}
