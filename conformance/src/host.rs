//! What this host can give to a case, by name. A case whose need is not met is skipped with the reason told here.

use std::fs;
use std::path::Path;

/// The ordinary user that `run-as = "user"` means.
pub const ORDINARY: u32 = 65534;

/// Whether a need is met; if not, why. `own` is what the target file says that it brings along.
pub fn meets(need: &str, own: &[String], as_user: bool) -> Result<(), String> {
    if own.iter().any(|one| one == need) {
        return Ok(());
    }
    match need {
        "root" if as_user => Err("the target runs as an ordinary user".into()),
        "root" if !rustix::process::geteuid().is_root() => Err("needs root".into()),
        "root" => Ok(()),
        "linux" => given(cfg!(target_os = "linux"), "needs Linux"),
        "freebsd" => given(cfg!(target_os = "freebsd"), "needs FreeBSD"),
        "zfs" => pool(),
        "user-namespaces" => user_namespaces(),
        "cgroup-memory" => controller("memory", as_user),
        "cgroup-cpu" => controller("cpu", as_user),
        "cgroup-io" => controller(if v2() { "io" } else { "blkio" }, as_user),
        "xattr" => attributes(),
        "linux64" => linux64(),
        "ptmx" => given(Path::new("/dev/ptmx").exists(), "there is no /dev/ptmx: kldload pty"),
        "selinux" => given(Path::new("/sys/fs/selinux/enforce").exists(), "this kernel runs without SELinux"),
        "no-selinux" => given(!Path::new("/sys/fs/selinux/enforce").exists(), "this kernel runs with SELinux"),
        "apparmor" => given(apparmor(), "this kernel runs without AppArmor"),
        "no-apparmor" => given(!apparmor(), "this kernel runs with AppArmor"),
        "seccomp" => given(Path::new("/proc/sys/kernel/seccomp").exists(), "this kernel has no seccomp filters"),
        other => Err(format!("the suite knows no need named {other}")),
    }
}

/// Whether there is the pool that datasets of cases are made in.
fn pool() -> Result<(), String> {
    let pool = crate::perform::ground::pool();
    let listed = std::process::Command::new("/sbin/zpool").args(["list", "-H", "-o", "name", &pool]).output();
    let there = listed.is_ok_and(|output| output.status.success());
    given(there, &format!("there is no pool {pool}: APPC_POOL names another"))
}

fn given(there: bool, why: &str) -> Result<(), String> {
    if there { Ok(()) } else { Err(why.into()) }
}

fn apparmor() -> bool {
    fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with('Y'))
}

fn user_namespaces() -> Result<(), String> {
    let most = fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap_or_default();
    given(most.trim().parse::<u64>().is_ok_and(|most| most > 0), "user namespaces are switched off")
}

/// Whether FreeBSD's kernel runs Linux programs, those too that do not say that they are: the probe is one.
fn linux64() -> Result<(), String> {
    let loaded = std::process::Command::new("/sbin/kldstat").args(["-q", "-n", "linux64.ko"]).status();
    given(loaded.is_ok_and(|status| status.success()), "linux64 is not loaded: kldload linux64")?;
    let asked = std::process::Command::new("/sbin/sysctl").args(["-n", "kern.elf64.fallback_brand"]).output();
    let taken = asked.is_ok_and(|output| output.stdout.trim_ascii() == b"3");
    given(taken, "programs without a mark are not taken for Linux's: sysctl kern.elf64.fallback_brand=3")
}

/// Whether files of cases can have extended attributes: FreeBSD's tmpfs, for one, has none.
fn attributes() -> Result<(), String> {
    let tried = tempfile::NamedTempFile::new().and_then(|file| xattr::set(file.path(), "user.tried", b"1"));
    tried.map_err(|error| format!("no extended attributes where the suite works: {error}"))
}

/// Whether FreeBSD's kernel counts what is used.
fn accounted() -> Result<(), String> {
    let asked = std::process::Command::new("/sbin/sysctl").args(["-n", "kern.racct.enable"]).output();
    let on = asked.is_ok_and(|output| output.stdout.trim_ascii() == b"1");
    given(on, "the kernel does not account resources: kern.racct.enable=1 in /boot/loader.conf")
}

/// Whether the controllers are on the unified hierarchy.
fn v2() -> bool {
    fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").is_ok_and(|text| !text.trim().is_empty())
}

/// Whether the caller's sessions have the controller, by systemd.
fn delegated(name: &str) -> Result<(), String> {
    let uid = rustix::process::geteuid().as_raw();
    let group = format!("/sys/fs/cgroup/user.slice/user-{uid}.slice/user@{uid}.service/cgroup.controllers");
    let has = fs::read_to_string(group).is_ok_and(|text| text.split_whitespace().any(|one| one == name));
    given(has, "this user has no such cgroup controller")
}

fn controller(name: &str, as_user: bool) -> Result<(), String> {
    let root = !as_user && rustix::process::geteuid().is_root();
    if !root && as_user == rustix::process::geteuid().is_root() {
        return Err("resource limits of another user are not looked for".into());
    }
    if cfg!(target_os = "freebsd") {
        return if root { accounted() } else { Err("resource limits need root here".into()) };
    }
    if !root {
        return delegated(name);
    }
    let unified = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    let listed = fs::read_to_string("/proc/cgroups").unwrap_or_default();
    let in_v1 = listed.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.first() == Some(&name) && fields.get(1) != Some(&"0") && fields.last() == Some(&"1")
    });
    given(unified.split_whitespace().any(|one| one == name) || in_v1, "no such cgroup controller on this host")
}
