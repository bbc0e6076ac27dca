//! What a target leaves behind on the host, told and taken away.
//!
//! What belongs to a case is known by the case's directory: mounts below it, processes that name it or stand in it.

#[cfg(not(target_os = "freebsd"))]
use std::fs;
use std::path::Path;

/// The variable that names a case's directory to all that is started for it, so that a daemon is found whatever it calls itself.
pub const MARK: &str = "APPC_CONFORMANCE_CASE";

/// Mounts below a directory and processes of the case that it belongs to.
///
/// `own` says of a mount, by what is mounted and where, whether it is not the target's to take away.
pub fn behind(work: &Path, own: &dyn Fn(&str, &str) -> bool) -> Vec<String> {
    let mut trouble = Vec::new();
    let place = work.display().to_string();
    for process in processes(&place) {
        trouble.push(format!("left a process behind: {}", process.1));
        if let Some(pid) = rustix::process::Pid::from_raw(process.0) {
            // It may have ended meanwhile.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    #[cfg(target_os = "linux")]
    {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mut targets: Vec<&str> = table
            .lines()
            .filter_map(|line| {
                let kind = line.split_once(" - ").and_then(|(_, rest)| rest.split(' ').next()).unwrap_or_default();
                Some((kind, line.split(' ').nth(4)?))
            })
            .filter(|(kind, target)| target.starts_with(&place) && !own(kind, target))
            .map(|(_, target)| target)
            .collect();
        targets.sort_unstable();
        for target in targets.iter().rev() {
            trouble.push(format!("left a mount behind: {}", target.trim_start_matches(&place)));
            // Detached, so that a busy one goes as soon as it can.
            let _ = rustix::mount::unmount(*target, rustix::mount::UnmountFlags::DETACH);
        }
    }
    #[cfg(target_os = "freebsd")]
    {
        let table = said("/sbin/mount", &["-p"]);
        let mounts = table.lines().filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            Some((fields.next()?, fields.next()?))
        });
        let left = mounts.filter(|(target, kind)| target.starts_with(&place) && !own(kind, target));
        let targets: Vec<&str> = left.map(|(target, _)| target).collect();
        // Backwards: what was mounted last lies on top.
        for target in targets.iter().rev() {
            trouble.push(format!("left a mount behind: {}", target.trim_start_matches(&place)));
            said("/sbin/umount", &["-f", target]);
        }
    }
    trouble
}

/// What a program of the base system says.
#[cfg(target_os = "freebsd")]
fn said(program: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new(program).args(arguments).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

/// There is no `/proc` unless somebody mounts it.
#[cfg(target_os = "freebsd")]
fn processes(place: &str) -> Vec<(i32, String)> {
    let own = std::process::id();
    let listed = said("/bin/ps", &["-axww", "-o", "pid=,command="]);
    let found = listed.lines().filter_map(|line| {
        let (pid, command) = line.trim().split_once(' ')?;
        let pid: i32 = pid.parse().ok()?;
        (command.contains(place) && u32::try_from(pid) != Ok(own)).then(|| (pid, command.trim().to_owned()))
    });
    found.collect()
}

/// What a process calls itself. It has no words for a moment while it becomes another program.
#[cfg(not(target_os = "freebsd"))]
fn called(text: &impl Fn(&str) -> String) -> String {
    for _ in 0..20 {
        let line = text("cmdline");
        if !line.is_empty() {
            return line.trim().to_owned();
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    text("comm").trim().to_owned()
}

#[cfg(not(target_os = "freebsd"))]
fn processes(place: &str) -> Vec<(i32, String)> {
    let mut found = Vec::new();
    let own = std::process::id();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let text = |name: &str| {
            let bytes = fs::read(entry.path().join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).replace('\0', " ")
        };
        let line = text("cmdline");
        let stands_there = || fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(place));
        let marked = || text("environ").contains(&format!("{MARK}={place}"));
        if u32::try_from(pid) != Ok(own) && (line.contains(place) || stands_there() || marked()) {
            found.push((pid, called(&text)));
        }
    }
    found
}
