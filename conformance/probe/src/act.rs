//! Verbs that change something or play a part.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, FileType, Mode};
use serde_json::{Value, json};

use crate::{http, say};

/// How long one app waits for another.
const PATIENCE: Duration = Duration::from_secs(10);

/// Does the verb, `None` when there is none of that name.
pub fn act(who: &str, verb: &str, argument: &str) -> Option<Value> {
    let (first, second) = argument.split_once(':').unwrap_or((argument, ""));
    Some(match verb {
        "write" => say::done(fs::File::create(first).and_then(|mut file| file.write_all(second.as_bytes()))),
        "append" => say::done(
            fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(first)
                .and_then(|mut file| file.write_all(second.as_bytes())),
        ),
        "poke" => say::done(
            fs::OpenOptions::new().write(true).open(first).and_then(|mut file| file.write_all(second.as_bytes())),
        ),
        "peek" => peek(first, second),
        "mkdir" => say::done(fs::create_dir(first)),
        "unlink" => say::done(fs::remove_file(first)),
        "chmod" => say::done(rustix::fs::chmod(first, Mode::from_raw_mode(0o777)).map_err(Into::into)),
        "chown" => say::done(std::os::unix::fs::chown(first, Some(1), Some(1))),
        "mknod" => say::done(
            rustix::fs::mknodat(
                CWD,
                first,
                FileType::CharacterDevice,
                Mode::from_raw_mode(0o600),
                rustix::fs::makedev(1, 3),
            )
            .map_err(Into::into),
        ),
        "chroot" => say::done(rustix::process::chroot(first).map_err(Into::into)),
        "sethostname" => say::done(rustix::system::sethostname(first.as_bytes()).map_err(Into::into)),
        "bind" => say::done(TcpListener::bind(argument)),
        "connect" => talk(argument),
        "serve" => serve(argument),
        "pty" => pty(),
        "get" => http::request("GET", argument, None),
        "post" => http::request("POST", first, Some(second)),
        "hmac" => hmac(first, second),
        "foreign-token" => foreign_token(argument),
        "cross" => cross(Path::new(argument)),
        "wait" => wait(Path::new(argument)),
        "sleep" => {
            sleep(Duration::from_millis(argument.parse().unwrap_or(0)));
            json!({ "ok": true })
        }
        "stdout" => shout(&mut io::stdout(), argument),
        "stderr" => shout(&mut io::stderr(), argument),
        "child" => child(who, argument),
        "orphan" => say::done(Command::new(program()).args([who, "child:sleep:60000"]).stdin(Stdio::null()).spawn()),
        "alloc" => alloc(argument.parse().unwrap_or(0)),
        "machine" => machine(who),
        "segment" => say::done(crate::sys::segment(argument.parse().unwrap_or(0), true)),
        "find-segment" => say::done(crate::sys::segment(argument.parse().unwrap_or(0), false)),
        "spin" => spin(Duration::from_millis(argument.parse().unwrap_or(0))),
        "fill" => fill(first, second.parse().unwrap_or(0)),
        "call" => call(argument),
        "exit" => std::process::exit(argument.parse().unwrap_or(1)),
        "abort" => std::process::abort(),
        _ => return None,
    })
}

fn program() -> std::path::PathBuf {
    std::env::current_exe().unwrap_or_else(|_| "/probe".into())
}

/// The first bytes of a file or device in hexadecimal.
fn peek(path: &str, count: &str) -> Value {
    let mut bytes = vec![0; count.parse().unwrap_or(8)];
    match fs::File::open(path).and_then(|mut file| file.read(&mut bytes)) {
        Ok(read) => {
            json!({ "read": read, "bytes": bytes[..read].iter().map(|byte| format!("{byte:02x}")).collect::<String>() })
        }
        Err(e) => say::error(&e),
    }
}

fn shout(out: &mut dyn Write, text: &str) -> Value {
    say::done(writeln!(out, "{text}").and_then(|()| out.flush()))
}

fn wait(path: &Path) -> Value {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if path.exists() {
            return json!({ "ok": true });
        }
        sleep(Duration::from_millis(5));
    }
    json!({ "error": "did not appear" })
}

/// Answers one connection on an address, or on the first descriptor handed over when the address is `handed-over`.
fn serve(address: &str) -> Value {
    let listener = if address == "handed-over" { Ok(crate::sys::handed_over(3)) } else { TcpListener::bind(address) };
    say::done(listener.and_then(|listener| {
        let (mut stream, _) = listener.accept()?;
        stream.write_all(b"hello from the probe")
    }))
}

/// What a server says, waiting until there is one.
fn talk(address: &str) -> Value {
    let begun = Instant::now();
    loop {
        match TcpStream::connect(address) {
            Ok(mut stream) => {
                let mut text = String::new();
                let read = stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.read_to_string(&mut text));
                return read.map_or_else(|e| say::error(&e), |_| json!({ "said": text }));
            }
            Err(e) if begun.elapsed() > PATIENCE => return say::error(&e),
            Err(_) => sleep(Duration::from_millis(10)),
        }
    }
}

/// Opens a terminal of this rootfs through /dev/ptmx and looks for its other side.
fn pty() -> Value {
    use rustix::fs::OFlags;
    let opened = rustix::fs::open("/dev/ptmx", OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).and_then(|master| {
        rustix::pty::unlockpt(&master)?;
        let name = rustix::pty::ptsname(&master, Vec::new())?;
        rustix::fs::open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty())?;
        Ok(name.to_string_lossy().into_owned())
    });
    match opened {
        Ok(name) => json!({ "ok": true, "name": name }),
        Err(e) => say::error(&e.into()),
    }
}

/// Signs a text and asks for the verification of what the second argument says: the text itself, another text, another pod, a broken signature.
fn hmac(text: &str, how: &str) -> Value {
    let signed =
        http::request("POST", "/acMetadata/v1/pod/hmac/sign", Some(&format!("content={}", http::encoded(text))));
    let Some(signature) = signed["body"].as_str().map(str::to_owned) else { return json!({ "sign": signed }) };
    let own = http::request("GET", "/acMetadata/v1/pod/uuid", None);
    let uuid = match how {
        "other-pod" => "11111111-2222-4333-8444-555555555555".to_owned(),
        _ => own["body"].as_str().unwrap_or_default().to_owned(),
    };
    let content = if how == "other-text" { format!("{text}!") } else { text.to_owned() };
    let shown = match how {
        // Well-formed, but another one: neither letter sets the bits that the last place may not have.
        "broken" => signature
            .chars()
            .map(|c| {
                if c == 'A' {
                    'Q'
                } else if c == '=' {
                    '='
                } else {
                    'A'
                }
            })
            .collect(),
        "malformed" => "no signature at all".into(),
        "empty" => String::new(),
        _ => signature,
    };
    let form = format!(
        "content={}&uuid={}&signature={}",
        http::encoded(&content),
        http::encoded(&uuid),
        http::encoded(&shown)
    );
    json!({ "sign": signed, "uuid": uuid, "verify": http::request("POST", "/acMetadata/v1/pod/hmac/verify", Some(&form)) })
}

/// Asks with the token in the metadata URL replaced: by `none`, by the pod's `uuid`, by something `random` of the same length.
fn foreign_token(how: &str) -> Value {
    let Ok(url) = std::env::var("AC_METADATA_URL") else { return json!({ "error": "AC_METADATA_URL is not set" }) };
    let begins = url.find("://").map_or(0, |at| at + 3);
    let Some(slash) = url[begins..].find('/').map(|at| begins + at) else {
        return json!({ "error": "no token in the URL" });
    };
    let token = url[slash + 1..].trim_end_matches('/');
    let other = match how {
        "none" => String::new(),
        "uuid" => {
            let own = http::request("GET", "/acMetadata/v1/pod/uuid", None);
            format!("/{}", own["body"].as_str().unwrap_or_default())
        }
        _ => format!("/{}", token.chars().rev().map(|c| if c == '0' { '1' } else { '0' }).collect::<String>()),
    };
    let asked = http::ask("GET", &format!("{}{other}/acMetadata/v1/pod/uuid", &url[..slash]), None);
    json!({ "characters": token.len(), "answer": asked.unwrap_or_else(|e| say::error(&e)) })
}

/// Leaves a signed text in a directory for the next pod, or verifies what an earlier one left.
fn cross(dir: &Path) -> Value {
    let kept = dir.join("signed");
    if let Ok(form) = fs::read_to_string(&kept) {
        return json!({ "verify": http::request("POST", "/acMetadata/v1/pod/hmac/verify", Some(&form)) });
    }
    let signed = http::request("POST", "/acMetadata/v1/pod/hmac/sign", Some("content=across"));
    let own = http::request("GET", "/acMetadata/v1/pod/uuid", None);
    let text = |value: &Value| http::encoded(value["body"].as_str().unwrap_or_default());
    say::done(fs::write(kept, format!("content=across&uuid={}&signature={}", text(&own), text(&signed))))
}

/// Runs verbs in a child and tells how it ended, with the last value that it told.
fn child(who: &str, verbs: &str) -> Value {
    let words = verbs.split(" + ");
    match Command::new(program())
        .arg(format!("{who}-child"))
        .args(words)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
    {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout);
            let last = said.lines().filter_map(|line| line.strip_prefix("@probe ")).next_back();
            let value =
                last.and_then(|line| serde_json::from_str::<Value>(line).ok()).map(|line| line["value"].clone());
            json!({ "code": output.status.code(), "signal": output.status.signal(), "value": value })
        }
        Err(e) => say::error(&e),
    }
}

/// Takes memory and writes to every page.
fn alloc(bytes: usize) -> Value {
    let mut memory: Vec<u8> = Vec::new();
    if memory.try_reserve_exact(bytes).is_err() {
        return json!({ "error": "ENOMEM" });
    }
    for at in 0..bytes {
        memory.push(u8::from(at % 4096 == 0));
    }
    // FreeBSD's kernel looks once a second at what a process holds.
    #[cfg(target_os = "freebsd")]
    if bytes > 64 << 20 {
        sleep(Duration::from_secs(3));
    }
    json!({ "ok": true, "pages": std::hint::black_box(&memory).iter().map(|byte| usize::from(*byte)).sum::<usize>() })
}

/// What the machine takes to start a process and see it end, in milliseconds: the median of some. Bounds of time mean nothing
/// without it.
fn machine(who: &str) -> Value {
    let mut took = Vec::new();
    for _ in 0..9 {
        let begun = Instant::now();
        if let Err(e) = Command::new(program()).args([who, "exit:0"]).stdin(Stdio::null()).status() {
            return say::error(&e);
        }
        took.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    took.sort_by(f64::total_cmp);
    json!({ "milliseconds": took[took.len() / 2] })
}

/// Burns a processor and tells which share of it the process got: for a time, and for as long again as shares still change by
/// more than a fifth, ten times at most. Limits take hold over periods, and slow machines count in large pieces.
fn spin(time: Duration) -> Value {
    let mut shares: Vec<f64> = Vec::new();
    while shares.len() < 10 {
        let (begun, used) = (Instant::now(), processor_time());
        let mut count = 0_u64;
        while begun.elapsed() < time {
            for _ in 0..10_000 {
                count = std::hint::black_box(count + 1);
            }
        }
        shares.push((processor_time() - used) / begun.elapsed().as_secs_f64());
        if let [.., before, last] = shares.as_slice()
            && (before - last).abs() <= last.max(0.01) / 5.0
        {
            break;
        }
    }
    json!({ "share": shares.last(), "shares": shares })
}

/// What this process used of processors, in seconds.
fn processor_time() -> f64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

/// Writes this many bytes to a file, synchronously, and tells how many came through a second.
fn fill(path: &str, bytes: usize) -> Value {
    let begun = Instant::now();
    let block = vec![7_u8; 64 * 1024];
    let done = fs::File::create(path).and_then(|mut file| {
        for _ in 0..bytes.div_ceil(block.len()) {
            file.write_all(&block)?;
        }
        file.sync_all()
    });
    match done {
        Ok(()) => json!({ "ok": true, "per-second": bytes as f64 / begun.elapsed().as_secs_f64() }),
        Err(e) => say::error(&e),
    }
}

/// One system call each, so that filters can be tried one by one.
fn call(name: &str) -> Value {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{MemfdFlags, inotify};
        let done = match name {
            "uname" => {
                rustix::system::uname();
                Ok(())
            }
            "sync" => {
                rustix::fs::sync();
                Ok(())
            }
            "sethostname" => rustix::system::sethostname(b"renamed"),
            "mkdirat" => rustix::fs::mkdirat(CWD, "/made-by-probe", Mode::from_raw_mode(0o755)),
            "chroot" => rustix::process::chroot("/"),
            "inotify_init1" => inotify::init(inotify::CreateFlags::CLOEXEC).map(drop),
            "memfd_create" => rustix::fs::memfd_create("probe", MemfdFlags::CLOEXEC).map(drop),
            "getpriority" => rustix::process::getpriority_process(None).map(drop),
            "eventfd2" => rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).map(drop),
            "umount2" => rustix::mount::unmount("/proc", rustix::mount::UnmountFlags::empty()),
            "sched_yield" => {
                rustix::thread::sched_yield();
                Ok(())
            }
            "fchownat" => rustix::fs::chownat(CWD, "/probe", None, None, AtFlags::empty()),
            _ => return json!({ "error": "the probe knows no such call" }),
        };
        say::done(done.map_err(io::Error::from))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (name, AtFlags::empty());
        json!({ "unknown": "system calls are tried one by one on Linux only" })
    }
}
