//! Isolators, as the kernel tells of them.

use appc::executor::Step as _;
use appc::executor::linux::delegation::Home;
use appc::executor::linux::isolators::cgroup::{Controller, Controllers, Hierarchy};
use appc::executor::linux::systemd::Manager;
use appc::executor::linux::{HostFacts, compile};
use appc::executor::plan::{Isolation, PodPlan};
use appc_needs::{Need, skip};

use super::bed::Bed;

/// What would be run, as data.
fn planned(bed: &Bed, line: &[&str]) -> PodPlan {
    let outline: serde_json::Value = serde_json::from_str(&bed.say(&[&["plan", "--json"], line].concat())).unwrap();
    serde_json::from_value(outline["plan"].clone()).unwrap()
}

#[test]
fn where_security_modules_are_on_programs_are_labelled_and_missing_profiles_refused() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("labelled", "true");
    let context = r#"os/linux/selinux-context={"user":"u","role":"r","type":"t","level":"s0"}"#;
    // Where AppArmor is on the plan of a profile that is not loaded is refused.
    let mut plan = planned(&bed, &["--isolator", context, &image]);
    plan.apps[0].isolators.push(Isolation::ApparmorProfile { profile: "known".to_owned() });
    let mut facts = HostFacts::detect(&plan);
    (facts.apparmor, facts.selinux) = (true, true);
    facts.apparmor_profiles = Some(vec!["known".to_owned()]);
    let words: Vec<String> = compile(&plan, &facts).unwrap().steps.iter().map(|step| step.describe()).collect();
    let place = |what: &str| words.iter().position(|word| word == what).unwrap_or_else(|| panic!("{what}: {words:?}"));
    let user = words.iter().position(|word| word.starts_with("become user")).unwrap();
    assert!(place("apply the AppArmor profile known") < user && place("apply the SELinux context u:r:t:s0") < user);
    facts.apparmor_profiles = Some(vec!["other".to_owned()]);
    assert_eq!(compile(&plan, &facts).unwrap_err().clause_id(), Some("iso.apparmor.missing"));
}

#[test]
fn in_version_2_controllers_are_enabled_from_the_root_down_before_a_group_is_set() {
    let Some(bed) = Bed::new() else { return };
    let plan = planned(&bed, &["--memory", "64M", "--cpu", "500m", &bed.script("unified", "true")]);
    let mut facts = HostFacts::detect(&plan);
    facts.privileged = true;
    let place = || Hierarchy { root: "/cg".into(), unified: true };
    let hierarchies = [(Controller::Cpu, place()), (Controller::Memory, place())].into_iter().collect();
    facts.controllers = Controllers { hierarchies, ..Controllers::default() };
    let pod = format!("/cg/jetpack-{}", plan.uuid);
    let app = format!("{pod}/app-unified");
    let words: Vec<String> = compile(&plan, &facts).unwrap().steps.iter().map(|step| step.describe()).collect();
    let wanted = [
        "enable controllers below /cg".to_owned(),
        format!("make the control group {pod}"),
        format!("enable controllers below {pod}"),
        format!("make the control group {app}"),
    ];
    let places: Vec<Option<usize>> = wanted.iter().map(|what| words.iter().position(|word| word == what)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?} {words:?}");
    for set in ["64000000 into {}/memory.max", "50000 100000 into {}/cpu.max"] {
        let set = format!("write {}", set.replace("{}", &app));
        assert!(words.iter().position(|word| *word == set) > places[3], "{set}: {words:?}");
    }
}

#[test]
fn limits_of_an_app_do_not_bind_what_is_said_of_it_before_it_runs() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("silent", "echo ran; sleep 30");
    let out = bed.say(&["run", "--rm", "--seccomp", "mode=remove,sendmsg", &image, "--", "-c", "echo ran"]);
    assert_eq!(out, "ran\n");
    bed.say(&["run", "-d", "--name", "silent", "--seccomp", "mode=remove,sendmsg", &image]);
    assert_eq!(bed.say(&["exec", "silent", "/bin/sh", "-c", "echo in"]), "in\n");
    bed.say(&["stop", "--force", "silent"]);
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}

#[test]
fn an_app_that_may_have_no_memory_at_all_is_told_not_to_have_started() {
    let Some(bed) = Bed::of_root() else { return };
    let (code, out, err) = bed.tell(&["run", "--rm", "--memory", "0", &bed.script("starved", "echo ran")]);
    assert_ne!(code, 0, "{out}");
    assert!(err.contains("memory"), "{err}");
    bed.assert_nothing_left();
}

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

/// What they name has to be enough for the C library of today.
#[test]
fn ordinary_programs_run_with_the_calls_that_the_documented_sets_allow() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("ordinary", "ls -d / && mkdir /x && mv /x /y && rm -r /y && id -u");
    for set in ["@docker/default-whitelist", "@rkt/default-whitelist"] {
        assert_eq!(bed.say(&["run", "--rm", "--seccomp", &format!("mode=retain,set={set}"), &image]), "/\n0\n");
    }
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
        skip(Need::Limits, format_args!("{memory}"));
        return;
    }
    let group = super::groups::of_app(&status, 0).expect("a control group");
    let limit = ["memory.limit_in_bytes", "memory.max"].map(|file| group.join(file));
    let limit = limit.iter().find_map(|path| std::fs::read_to_string(path).ok()).expect("a limit");
    assert_eq!(limit.trim(), "64000000".parse::<u64>().map(|n| (n / 4096 * 4096).to_string()).unwrap());
    bed.say(&["stop", "--force", "bounded"]);
    // The name of a file that the kernel has in each group.
    bed.say(&["run", "--rm", "--name", "tasks", "--memory", "64M", &bed.script("tasks", "true")]);
    let hungry = bed.script("hungry", "x=aaaaaaaa; while :; do x=$x$x; done");
    let (code, _, err) = bed.tell(&["run", "--name", "hungry", "--memory", "16M", &hungry]);
    let app = &bed.status("hungry")["apps"][0];
    assert_eq!((code, &app["cause"]), (137, &serde_json::json!("oom")), "{err}{app}");
    assert!(err.contains("app hungry: killed for lack of memory"), "{err}");
    assert!(bed.say(&["status", "hungry"]).contains("killed for lack of memory"));
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
        "isolators": [{"name": "os/unix/sysctl", "value": {"net.ipv4.tcp_keepalive_time": "321", "kernel.panic": "9"}},
            {"name": "os/linux/no-new-privileges", "value": true}]});
    std::fs::write(&manifest, pod.to_string()).unwrap();
    let before = std::fs::read_to_string("/proc/sys/kernel/panic").unwrap();
    let (code, out, err) = bed.tell(&["run", "--rm", "--pod-manifest", manifest.to_str().unwrap()]);
    assert_eq!((code, out.as_str()), (0, "321\n"), "{err}");
    assert!(err.contains("sysctl modified: all is set but kernel.panic"), "{err}");
    assert!(err.contains("no-new-privileges ignored: it belongs to an app"), "{err}");
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/panic").unwrap(), before);
}

#[test]
fn where_systemd_manages_the_groups_a_pod_is_a_scope_with_its_limits_and_its_first_process_in_a_leaf() {
    let Some(bed) = Bed::new() else { return };
    let plan = planned(&bed, &["--memory", "64M", &bed.script("scope", "true")]);
    let mut facts = HostFacts::detect(&plan);
    let root = Hierarchy { root: "/cg/user".into(), unified: true };
    let manager = Manager { bus: "/bus".into(), slice: "app.slice".into(), group: "/cg/user".into() };
    facts.controllers = Controllers {
        hierarchies: [(Controller::Memory, root)].into(),
        home: Some(Home::Systemd(manager)),
        withheld: [(Controller::Cpu, "the controller cpu is not delegated to /cg/user".to_owned())].into(),
        ..Controllers::default()
    };
    let compiled = compile(&plan, &facts).unwrap();
    let words: Vec<String> = compiled.steps.iter().map(|step| step.describe()).collect();
    let scope = format!("/cg/user/app.slice/jetpack-{}.scope", plan.uuid);
    let wanted = [
        format!("have systemd start the scope jetpack-{}.scope", plan.uuid),
        format!("make the control group {scope}/first"),
        format!("move the pod's first process to {scope}/first"),
        format!("enable controllers below {scope}"),
        format!("make the control group {scope}/app-scope"),
        format!("write 64000000 into {scope}/app-scope/memory.max"),
        format!("enable controllers below {scope}/app-scope"),
        format!("make the control group {scope}/app-scope/processes"),
        format!("write 64000000 into {scope}/app-scope/processes/memory.max"),
    ];
    let places: Vec<Option<usize>> = wanted.iter().map(|what| words.iter().position(|word| word == what)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?} {words:?}");
    assert!(!words.iter().any(|word| word == "enable controllers below /cg/user"), "{words:?}");
}
