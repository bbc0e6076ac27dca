//! Verbs that look and change nothing.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::say;

/// The most of one file that is told: a longer line may be cut by what captures it.
const SHOWN: u64 = 6000;

/// Does the verb, `None` when it is none of these.
pub fn look(verb: &str, argument: &str) -> Option<Value> {
    Some(match verb {
        "env" => env(),
        "argv" => std::env::args_os().map(|word| Value::from(word.to_string_lossy())).collect(),
        "cwd" => told(std::env::current_dir().map(|dir| json!(dir.to_string_lossy()))),
        "ids" => ids(),
        "umask" => umask(),
        "hostname" => json!(rustix::system::uname().nodename().to_string_lossy()),
        "uname" => json!(rustix::system::uname().sysname().to_string_lossy()),
        "stat" => told(stat(Path::new(argument))),
        "read" => told(read(Path::new(argument))),
        "list" => told(list(Path::new(argument))),
        "tree" => told(tree(Path::new(argument))),
        "mounts" => mounts(),
        "status" => status(),
        "ns" => namespaces(),
        "interfaces" => interfaces(),
        "processes" => processes(),
        #[cfg(target_os = "freebsd")]
        "sysctl" => told(crate::sys::kernel_variable(argument).map(|value| json!(value))),
        "descriptors" => descriptors(),
        "limits" => told(read(Path::new("/proc/self/limits"))),
        "pid" => json!(std::process::id()),
        "listening" => listening(),
        _ => return None,
    })
}

fn told(result: io::Result<Value>) -> Value {
    result.unwrap_or_else(|e| say::error(&e))
}

/// The environment, in the order in which it came; a name given twice shows its first value, as getenv does.
fn env() -> Value {
    let mut seen = Map::new();
    for (name, value) in std::env::vars_os() {
        seen.entry(name.to_string_lossy()).or_insert_with(|| json!(value.to_string_lossy()));
    }
    Value::Object(seen)
}

fn ids() -> Value {
    let mut groups: Vec<u32> = match rustix::process::getgroups() {
        Ok(groups) => groups.iter().map(|group| group.as_raw()).collect(),
        Err(e) => return say::error(&e.into()),
    };
    groups.sort_unstable();
    groups.dedup();
    json!({
        "uid": rustix::process::getuid().as_raw(),
        "euid": rustix::process::geteuid().as_raw(),
        "gid": rustix::process::getgid().as_raw(),
        "egid": rustix::process::getegid().as_raw(),
        "groups": groups,
    })
}

fn umask() -> Value {
    let mask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o22));
    rustix::process::umask(mask);
    json!(format!("{:04o}", mask.bits()))
}

fn kind(kind: fs::FileType) -> &'static str {
    match kind {
        k if k.is_dir() => "directory",
        k if k.is_file() => "file",
        k if k.is_symlink() => "symlink",
        k if k.is_char_device() => "character",
        k if k.is_block_device() => "block",
        k if k.is_fifo() => "fifo",
        _ => "socket",
    }
}

fn stat(path: &Path) -> io::Result<Value> {
    let entry = fs::symlink_metadata(path)?;
    let mut seen = json!({
        "kind": kind(entry.file_type()),
        "mode": format!("{:04o}", entry.mode() & 0o7777),
        "uid": entry.uid(),
        "gid": entry.gid(),
        "size": entry.size(),
        "links": entry.nlink(),
        "inode": entry.ino(),
        "mtime": format!("{}.{:09}", entry.mtime(), entry.mtime_nsec()),
    });
    let device = entry.rdev();
    if entry.file_type().is_char_device() || entry.file_type().is_block_device() {
        seen["device"] = json!(format!("{}:{}", rustix::fs::major(device as _), rustix::fs::minor(device as _)));
    }
    if entry.file_type().is_symlink() {
        seen["to"] = json!(fs::read_link(path)?.to_string_lossy());
    }
    // The file system is told of what a link leads to.
    #[cfg(target_os = "linux")]
    if let Ok(system) = rustix::fs::statfs(path) {
        seen["filesystem"] = json!(match system.f_type as u64 {
            0x9fa0 => "proc",
            0x6265_6572 => "sysfs",
            0x0102_1994 => "tmpfs",
            0x1cd1 => "devpts",
            0x794c_7630 => "overlay",
            _ => "other",
        });
    }
    if let Ok(names) = xattrs(path)
        && !names.is_empty()
    {
        seen["xattrs"] = json!(names);
    }
    Ok(seen)
}

#[cfg(target_os = "linux")]
fn xattrs(path: &Path) -> io::Result<BTreeMap<String, String>> {
    let mut names = [0_u8; 4096];
    let filled = rustix::fs::llistxattr(path, &mut names[..])?;
    let mut seen = BTreeMap::new();
    for name in names[..filled].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = [0_u8; 1024];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..])?;
        seen.insert(String::from_utf8_lossy(name).into_owned(), String::from_utf8_lossy(&value[..length]).into_owned());
    }
    Ok(seen)
}

#[cfg(not(target_os = "linux"))]
fn xattrs(_: &Path) -> io::Result<BTreeMap<String, String>> {
    Ok(BTreeMap::new())
}

fn read(path: &Path) -> io::Result<Value> {
    let mut text = Vec::new();
    fs::File::open(path)?.take(SHOWN).read_to_end(&mut text)?;
    Ok(json!(String::from_utf8_lossy(&text)))
}

fn list(path: &Path) -> io::Result<Value> {
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(path)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(json!(names))
}

/// Everything below a path on the same file system, the probe and the executor's own directories left out: each path with its kind, and
/// for files their text, for links their target.
fn tree(top: &Path) -> io::Result<Value> {
    let mut seen = Map::new();
    walk(top, &mut seen)?;
    Ok(Value::Object(seen))
}

fn walk(dir: &Path, seen: &mut Map<String, Value>) -> io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(dir)?.collect::<io::Result<_>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if matches!(path.as_os_str().as_bytes(), b"/proc" | b"/sys" | b"/dev" | b"/probe") {
            continue;
        }
        let found = entry.metadata()?;
        let value = match kind(found.file_type()) {
            "file" => read(&path).unwrap_or_else(|e| say::error(&e)),
            "symlink" => json!({ "to": fs::read_link(&path)?.to_string_lossy() }),
            kind => json!(kind.to_owned() + "/"),
        };
        seen.insert(path.to_string_lossy().into_owned(), value);
        if found.is_dir() {
            walk(&path, seen)?;
        }
    }
    Ok(())
}

/// Mounts by target: the file system, whether it is read-only (here or in the file system), all options.
#[cfg(target_os = "linux")]
fn mounts() -> Value {
    let text = match fs::read_to_string("/proc/self/mountinfo") {
        Ok(text) => text,
        Err(e) => return say::error(&e),
    };
    let mut seen = Map::new();
    for line in text.lines() {
        let (front, back) = line.split_once(" - ").unwrap_or((line, ""));
        let front: Vec<&str> = front.split(' ').collect();
        let back: Vec<&str> = back.split(' ').collect();
        let (Some(target), Some(options)) = (front.get(4), front.get(5)) else { continue };
        let own = back.get(2).copied().unwrap_or("");
        let readonly = options.split(',').chain(own.split(',')).any(|option| option == "ro");
        seen.insert(
            target.replace("\\040", " "),
            json!({ "filesystem": back.first(), "readonly": readonly, "options": options, "propagation": front[6..].join(" ") }),
        );
    }
    Value::Object(seen)
}

#[cfg(not(target_os = "linux"))]
fn mounts() -> Value {
    json!({ "unknown": "the probe reads no mount table on this system" })
}

/// What the kernel keeps about the process: capabilities by name, no_new_privs, seccomp mode.
#[cfg(target_os = "linux")]
fn status() -> Value {
    let text = match fs::read_to_string("/proc/self/status") {
        Ok(text) => text,
        Err(e) => return say::error(&e),
    };
    let mut seen = Map::new();
    for (name, value) in text.lines().filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        let set = |value: &str| capabilities(u64::from_str_radix(value, 16).unwrap_or(0));
        match name {
            "CapBnd" => seen.insert("bounding".into(), set(value)),
            "CapEff" => seen.insert("effective".into(), set(value)),
            "CapPrm" => seen.insert("permitted".into(), set(value)),
            "CapInh" => seen.insert("inheritable".into(), set(value)),
            "CapAmb" => seen.insert("ambient".into(), set(value)),
            "NoNewPrivs" => seen.insert("no-new-privileges".into(), json!(value == "1")),
            "Seccomp" => seen.insert("seccomp".into(), json!(value)),
            _ => continue,
        };
    }
    Value::Object(seen)
}

#[cfg(not(target_os = "linux"))]
fn status() -> Value {
    json!({ "unknown": "this system keeps no such thing" })
}

#[cfg(target_os = "linux")]
fn capabilities(set: u64) -> Value {
    const NAMES: [&str; 41] = [
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
        "MAC_OVERRIDE",
        "MAC_ADMIN",
        "SYSLOG",
        "WAKE_ALARM",
        "BLOCK_SUSPEND",
        "AUDIT_READ",
        "PERFMON",
        "BPF",
        "CHECKPOINT_RESTORE",
    ];
    let mut names: Vec<String> = NAMES
        .iter()
        .enumerate()
        .filter(|(bit, _)| set >> bit & 1 == 1)
        .map(|(_, name)| format!("CAP_{name}"))
        .collect();
    names.sort();
    json!(names)
}

fn namespaces() -> Value {
    let mut seen = Map::new();
    for name in ["pid", "net", "ipc", "uts", "mnt", "user", "cgroup"] {
        if let Ok(link) = fs::read_link(format!("/proc/self/ns/{name}")) {
            seen.insert(name.into(), json!(link.to_string_lossy()));
        }
    }
    if seen.is_empty() { json!({ "unknown": "this system has no namespaces" }) } else { Value::Object(seen) }
}

/// Interfaces with their addresses, link-level ones left out.
fn interfaces() -> Value {
    let all = match nix::ifaddrs::getifaddrs() {
        Ok(all) => all,
        Err(e) => return say::error(&io::Error::from(e)),
    };
    let mut seen: Map<String, Value> = Map::new();
    for one in all {
        let entry = seen.entry(one.interface_name.clone()).or_insert_with(|| json!({ "up": false, "addresses": [] }));
        entry["up"] = json!(one.flags.contains(nix::net::if_::InterfaceFlags::IFF_UP));
        let Some(address) = one.address else { continue };
        let text = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
            (Some(v4), _) => v4.ip().to_string(),
            (_, Some(v6)) => v6.ip().to_string(),
            _ => continue,
        };
        if let Some(list) = entry["addresses"].as_array_mut() {
            list.push(json!(text));
        }
    }
    Value::Object(seen)
}

/// The command lines that the kernel shows, sorted.
#[cfg(target_os = "freebsd")]
fn processes() -> Value {
    match crate::sys::command_lines() {
        Ok(mut lines) => {
            lines.sort();
            json!(lines)
        }
        Err(e) => say::error(&e),
    }
}

/// The command lines that show in /proc, sorted.
#[cfg(not(target_os = "freebsd"))]
fn processes() -> Value {
    let mut seen = Vec::new();
    let Ok(entries) = fs::read_dir("/proc") else { return json!({ "unknown": "no /proc" }) };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_none_or(|name| name.parse::<u32>().is_err()) {
            continue;
        }
        if let Ok(line) = fs::read(entry.path().join("cmdline")) {
            let words: Vec<_> =
                line.split(|byte| *byte == 0).filter(|word| !word.is_empty()).map(String::from_utf8_lossy).collect();
            if !words.is_empty() {
                seen.push(words.join(" "));
            }
        }
    }
    seen.sort();
    json!(seen)
}

/// Open descriptors with what they are, the one used for looking left out.
fn descriptors() -> Value {
    let place = if Path::new("/proc/self/fd").exists() { "/proc/self/fd" } else { "/dev/fd" };
    let Ok(entries) = fs::read_dir(place) else { return json!({ "unknown": "neither /proc/self/fd nor /dev/fd" }) };
    let mut seen = Map::new();
    for entry in entries.flatten() {
        if let Ok(link) = fs::read_link(entry.path())
            && !(link.starts_with("/proc/") && link.ends_with("fd"))
        {
            seen.insert(entry.file_name().to_string_lossy().into_owned(), json!(link.to_string_lossy()));
        }
    }
    Value::Object(seen)
}

/// Descriptors handed over by the sd_listen_fds protocol, with the port that each is bound to and the names given.
fn listening() -> Value {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<i32>().ok());
    let count = number("LISTEN_FDS").unwrap_or(0).clamp(0, 64);
    let ports: Vec<Value> = (3..3 + count)
        .map(|number| {
            // Kept open: the checks that follow look at the same descriptor.
            let socket = std::mem::ManuallyDrop::new(crate::sys::handed_over(number));
            match (socket.local_addr(), rustix::net::sockopt::socket_acceptconn(&*socket)) {
                (Ok(address), Ok(true)) => json!(address.port()),
                (Ok(_), _) => json!({ "error": "does not listen" }),
                (Err(e), _) => say::error(&e),
            }
        })
        .collect();
    let for_us = number("LISTEN_PID").is_some_and(|pid| u32::try_from(pid) == Ok(std::process::id()));
    json!({ "count": count, "for-us": for_us, "ports": ports, "names": std::env::var("LISTEN_FDNAMES").ok() })
}
