//! `probe escape VERB ARGUMENT...`: what a hostile image, or another user of the host, would do.
//!
//! `conformance/peers/escapes.sh` runs these, some inside pods and some beside them. Each says in plain lines what came of
//! it; whether that is right is for the script to say. What is attacked are files that the script made for it. Every one
//! ends by itself.

#[cfg(target_os = "linux")]
mod linux;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio, exit};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::unistd::{Gid, Uid, getgroups, setgid, setgroups, setuid};
use rustix::fs::{CWD, FileType, Mode};

use crate::sys;

/// What stands where an attack came through.
#[cfg(target_os = "linux")]
const MARK: &[u8] = b"TAKEN\n";
/// Nothing here goes on for longer.
const LONGEST: Duration = Duration::from_secs(60);

/// Does what the first word says and ends the process.
pub fn run(words: impl Iterator<Item = OsString>) -> ! {
    let words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    let Some((verb, rest)) = words.split_first() else { wrong("no verb") };
    let argument = |at: usize| rest.get(at).map_or("", String::as_str);
    let done = match verb.as_str() {
        "as" => become_user(rest),
        "facts" => facts(),
        "wait" => {
            sleep(LONGEST);
            Ok(())
        }
        "flood" => flood(argument(0).parse().unwrap_or(1)),
        "flood-one" => flood_one(),
        "on-terminal" => on_terminal(argument(0), rest.get(1..).unwrap_or_default()),
        "leave-reader" => leave_reader(argument(0)),
        "read-terminal" => read_terminal(argument(0)),
        "mknod" => mknod(argument(0), FileType::CharacterDevice),
        "fifo" => mknod(argument(0), FileType::Fifo),
        "mode" => fs::metadata(argument(0)).map(|about| println!("mode {:o}", about.permissions().mode() & 0o7777)),
        "swap" => swap(Path::new(argument(0)), argument(1)),
        "dig" => dig(Path::new(argument(0))),
        "spoil" => spoil(),
        "trailers" => trailers(Path::new(argument(0))),
        #[cfg(target_os = "linux")]
        other => linux::run(other, rest).unwrap_or_else(|| wrong(&format!("no such verb: {other}"))),
        #[cfg(not(target_os = "linux"))]
        other => wrong(&format!("no such verb here: {other}")),
    };
    if let Err(error) = done {
        println!("{verb}: {error}");
    }
    exit(0)
}

fn wrong(why: &str) -> ! {
    eprintln!("probe escape: {why}");
    exit(2)
}

/// Becomes a user and then a program: `UID GID GROUP,... PROGRAM...`.
fn become_user(words: &[String]) -> io::Result<()> {
    let [uid, gid, groups, program, arguments @ ..] = words else { wrong("as UID GID GROUP,... PROGRAM...") };
    let number = |text: &str| text.parse::<u32>().unwrap_or_else(|_| wrong(&format!("no number: {text}")));
    let groups: Vec<Gid> = groups.split(',').filter(|g| !g.is_empty()).map(|g| Gid::from_raw(number(g))).collect();
    #[cfg(not(target_vendor = "apple"))]
    setgroups(&groups)?;
    setgid(Gid::from_raw(number(gid)))?;
    setuid(Uid::from_raw(number(uid)))?;
    Err(Command::new(program).args(arguments).exec())
}

/// Who this process is, and what it has open.
fn facts() -> io::Result<()> {
    let groups = getgroups()?.iter().map(|gid| gid.to_string()).collect::<Vec<_>>();
    println!("uid {} gid {} groups {}", Uid::current(), Gid::current(), groups.join(","));
    let open: Vec<String> = (3..1024).filter(|number| sys::is_open(*number)).map(|number| number.to_string()).collect();
    println!("descriptors {}", open.join(","));
    println!("terminal {}", rustix::termios::isatty(io::stdin().as_fd()));
    let kind =
        |stream: &dyn AsFd| rustix::fs::fstat(stream.as_fd()).map(|about| FileType::from_raw_mode(about.st_mode));
    let kinds = [kind(&io::stdin()), kind(&io::stdout()), kind(&io::stderr())];
    println!("streams {:?}", kinds.map(|kind| kind.unwrap_or(FileType::Unknown)));
    // A directory among them leads everywhere.
    if rustix::fs::openat(io::stdin(), "../../../../../..", rustix::fs::OFlags::RDONLY, Mode::empty()).is_ok() {
        println!("standard input is a way out");
    }
    #[cfg(target_os = "linux")]
    linux::facts();
    Ok(())
}

/// Processes that write empty lines as fast as they can, and do not want to end.
fn flood(count: usize) -> io::Result<()> {
    let own = std::env::current_exe()?;
    for _ in 0..count {
        Command::new(&own).args(["escape", "flood-one"]).spawn()?;
    }
    flood_one()
}

fn flood_one() -> io::Result<()> {
    sys::ignore_requests_to_end();
    let begun = Instant::now();
    let lines = [b'\n'; 4096];
    while begun.elapsed() < LONGEST {
        // Whoever reads may be gone; the loop does not care.
        let _ = io::stdout().write_all(&lines);
    }
    Ok(())
}

/// Runs a program on a terminal of its own, and types something there when it has ended.
fn on_terminal(typed: &str, program: &[String]) -> io::Result<()> {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let [program, arguments @ ..] = program else { wrong("on-terminal TEXT PROGRAM...") };
    let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&near)?;
    unlockpt(&near)?;
    let name = ptsname(&near, Vec::new())?;
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    let far = rustix::fs::open(name.as_c_str(), flags, Mode::empty())?;
    let mut command = Command::new(program);
    command.args(arguments);
    command.stdin(far.try_clone()?).stdout(far.try_clone()?).stderr(far.try_clone()?);
    sys::control(&mut command, far.try_clone()?);
    let mut child = command.spawn()?;
    drop(command);
    let mut shown = fs::File::from(near.try_clone()?);
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(length @ 1..) = shown.read(&mut bytes) {
            if io::stdout().write_all(&bytes[..length]).is_err() {
                break;
            }
        }
    });
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if begun.elapsed() > LONGEST / 3 {
            println!("on-terminal: it does not end");
            child.kill()?;
        }
        sleep(Duration::from_millis(10));
    };
    sleep(Duration::from_millis(600));
    fs::File::from(near).write_all(format!("{typed}\n").as_bytes())?;
    sleep(Duration::from_millis(700));
    // What nobody took is still there.
    rustix::io::ioctl_fionbio(&far, true)?;
    let mut left = [0; 256];
    let length = rustix::io::read(&far, &mut left).unwrap_or(0);
    println!("on-terminal: {status}, left there: {:?}", String::from_utf8_lossy(&left[..length]).trim_end());
    Ok(())
}

/// Leaves a child behind that has the same terminal.
fn leave_reader(log: &str) -> io::Result<()> {
    let own = std::env::current_exe()?;
    let mut command = Command::new(own);
    command.args(["escape", "read-terminal", log]).stdout(Stdio::null());
    // In a group of its own, as a shell has it with what runs in the background.
    command.process_group(0).spawn()?;
    sleep(Duration::from_millis(200));
    Ok(())
}

/// Writes down whatever is typed, and tries to type something itself.
fn read_terminal(log: &str) -> io::Result<()> {
    let mut log = fs::File::create(log)?;
    sys::ignore_requests_to_end();
    sleep(Duration::from_millis(400));
    let (stdin, stderr) = (io::stdin(), io::stderr());
    let terminal = if rustix::termios::isatty(&stdin) { stdin.as_fd() } else { stderr.as_fd() };
    match sys::type_into(terminal, b'#') {
        Ok(()) => writeln!(log, "typed")?,
        Err(error) => writeln!(log, "not typed: {error}")?,
    }
    let begun = Instant::now();
    while begun.elapsed() < LONGEST / 6 {
        let mut bytes = [0; 256];
        match rustix::io::read(terminal, &mut bytes) {
            Ok(0) => break,
            Ok(length) => log.write_all(&bytes[..length])?,
            Err(_) => sleep(Duration::from_millis(20)),
        }
    }
    Ok(())
}

/// Empties what standard output leads to, where that has a content.
fn spoil() -> io::Result<()> {
    if rustix::fs::ftruncate(io::stdout(), 0).is_ok() {
        eprintln!("emptied");
    }
    #[cfg(target_os = "linux")]
    if fs::File::options().read(true).write(true).truncate(true).open("/proc/self/fd/1").is_ok() {
        eprintln!("opened again");
    }
    Ok(())
}

fn mknod(path: &str, kind: FileType) -> io::Result<()> {
    let mode = Mode::from_raw_mode(0o666);
    #[cfg(target_os = "freebsd")]
    if kind == FileType::Fifo {
        return nix::unistd::mkfifo(path, nix::sys::stat::Mode::from_bits_truncate(0o666)).map_err(Into::into);
    }
    // A disk that no machine has.
    Ok(rustix::fs::mknodat(CWD, path, kind, mode, rustix::fs::makedev(240, 77))?)
}

/// Lets the name `f` in a directory be a file, a fifo and a link to `target` in turn, faster than anyone looks twice, and
/// never missing for long.
fn swap(directory: &Path, target: &str) -> io::Result<()> {
    let (name, other) = (directory.join("f"), directory.join("g"));
    let begun = Instant::now();
    let mut turn = 0_u32;
    while begun.elapsed() < LONGEST / 2 {
        turn += 1;
        let made = match turn % 5 {
            0 => fs::write(&other, "file"),
            1 => mknod(&other.to_string_lossy(), FileType::Fifo),
            _ => symlink(target, &other),
        };
        // What somebody else has put there meanwhile goes.
        if made.is_err() || fs::rename(&other, &name).is_err() {
            let _ = fs::remove_file(&other);
        }
    }
    Ok(())
}

/// Directories in directories, more than a process may have open at once, none of which its owner may look into.
fn dig(at: &Path) -> io::Result<()> {
    std::env::set_current_dir(at)?;
    let mut depth = 0;
    while depth < 3000 && fs::create_dir("d").and_then(|()| std::env::set_current_dir("d")).is_ok() {
        depth += 1;
        rustix::fs::chmod("..", Mode::empty())?;
    }
    println!("dug: {depth}");
    Ok(())
}

/// A server that answers with trailers and never stops; its port is written to a file.
fn trailers(port: &Path) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    fs::write(port, listener.local_addr()?.port().to_string())?;
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || -> io::Result<()> {
            let mut stream = stream;
            let mut request = [0; 4096];
            let _ = stream.read(&mut request)?;
            stream.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n",
            )?;
            let begun = Instant::now();
            while begun.elapsed() < LONGEST * 3 {
                stream.write_all(b"X-More: and more\r\n")?;
                sleep(Duration::from_millis(50));
            }
            Ok(())
        });
    }
    Ok(())
}

/// Overwrites what `path` leads to with the mark; true when it did.
#[cfg(target_os = "linux")]
fn mark(path: impl AsRef<std::ffi::OsStr>) -> bool {
    let file = fs::OpenOptions::new().write(true).truncate(true).open(Path::new(path.as_ref()));
    file.and_then(|mut file| file.write_all(MARK)).is_ok()
}
