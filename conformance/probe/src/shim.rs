//! `probe shim OPERATION... -- PROGRAM...`: spoils a process's surroundings, then becomes the program.
//!
//! The suite's mutants put it before an app's processes, to play an executor that sets them up wrongly.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Does the operations and becomes the program; ends the process when that fails.
pub fn run(words: impl Iterator<Item = std::ffi::OsString>) -> ! {
    let words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    if words.first().is_some_and(|word| word == "serve-proxy") {
        serve(&words[1..]);
    }
    let at = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let rest = words.get(at + 1..).unwrap_or_default();
    let Some((program, arguments)) = rest.split_first() else { end("no program") };
    let mut command = Command::new(program);
    command.args(arguments);
    let mut lenient = false;
    for operation in &words[..at] {
        let (name, argument) = operation.split_once('=').unwrap_or((operation, ""));
        let (first, second) = argument.split_once('=').unwrap_or((argument, ""));
        match name {
            "unset" => drop(command.env_remove(first)),
            "set" => drop(command.env(first, second)),
            "cd" => drop(command.current_dir(first)),
            "uid" => drop(command.uid(first.parse().unwrap_or(0))),
            "gid" => drop(command.gid(first.parse().unwrap_or(0))),
            // What cannot be spoilt shows, because the mutant is not caught.
            "write" => drop(std::fs::write(first, second)),
            "remove" => drop(std::fs::remove_file(first)),
            #[cfg(target_os = "linux")]
            "unmount" => drop(rustix::mount::unmount(first, rustix::mount::UnmountFlags::DETACH)),
            "mode" => drop(rustix::fs::chmod(
                first,
                rustix::fs::Mode::from_raw_mode(u32::from_str_radix(second, 8).unwrap_or(0) as _),
            )),
            "expand" => {
                command = Command::new(program);
                command.args(arguments.iter().map(|word| word.replace("$HOME", "/root")));
            }
            "ignore-status" => lenient = true,
            "proxy" => drop(command.env("AC_METADATA_URL", proxy(argument))),
            other => end(&format!("no such operation: {other}")),
        }
    }
    if lenient {
        // Its end does not matter to the executor that is played.
        let _ = command.status();
        std::process::exit(0);
    }
    end(&format!("failed to become {program}: {}", command.exec()))
}

fn end(why: &str) -> ! {
    eprintln!("probe shim: {why}");
    std::process::exit(2);
}

/// Starts a metadata service that passes on what the real one says, spoilt; gives its URL.
fn proxy(how: &str) -> String {
    let upstream = std::env::var("AC_METADATA_URL").unwrap_or_default();
    let mut command = Command::new(std::env::current_exe().unwrap_or_else(|_| "/probe".into()));
    command.args(["shim", "serve-proxy", how, &upstream]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut port = [0_u8; 5];
    let started = command
        .spawn()
        .and_then(|mut child| child.stdout.take().ok_or_else(|| io::Error::other("no pipe"))?.read_exact(&mut port));
    if let Err(e) = started {
        end(&format!("failed to start the proxy: {e}"));
    }
    // The token stays where it was, so that requests without it look the same.
    let token = upstream.splitn(4, '/').nth(3).unwrap_or_default().to_owned();
    format!("http://127.0.0.1:{}/{token}", String::from_utf8_lossy(&port).trim_start_matches('0'))
}

fn serve(words: &[String]) -> ! {
    let (how, upstream) =
        (words.first().map(String::as_str).unwrap_or_default(), words.get(1).map(String::as_str).unwrap_or_default());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|e| end(&format!("failed to listen: {e}")));
    let port = listener.local_addr().map_or(0, |address| address.port());
    print!("{port:05}");
    // The parent reads the port and nothing more.
    let _ = io::stdout().flush();
    for stream in listener.incoming().flatten() {
        // A client that goes away is its own business.
        let _ = pass(stream, how, upstream);
    }
    std::process::exit(0);
}

fn pass(mut client: TcpStream, how: &str, upstream: &str) -> io::Result<()> {
    let mut request = Vec::new();
    let mut part = [0; 4096];
    let (mut head, mut length) = (None, 0);
    while head.is_none_or(|head| request.len() < head + length) {
        let read = client.read(&mut part)?;
        if read == 0 {
            break;
        }
        request.extend_from_slice(&part[..read]);
        if head.is_none() {
            head = request.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
            let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
            length =
                text.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok()).unwrap_or(0);
        }
    }
    let mut text = String::from_utf8_lossy(&request).into_owned();
    let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut parts = upstream.splitn(4, '/');
    let (address, token) = (parts.nth(2).unwrap_or_default().to_owned(), parts.next().unwrap_or_default().to_owned());
    if how == "any-token" {
        let rest = path.find("/acMetadata").map_or("", |at| &path[at..]);
        text = text.replacen(&path, &format!("/{token}{rest}"), 1);
    }
    let mut server = TcpStream::connect(&address)?;
    server.write_all(text.as_bytes())?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let (head, body) = spoil(how, &path, head, body);
    let fields: Vec<&str> =
        head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("content-length")).collect();
    write!(client, "{}\r\nContent-Length: {}\r\n\r\n{body}", fields.join("\r\n"), body.len())
}

fn spoil(how: &str, path: &str, head: &str, body: &str) -> (String, String) {
    let (mut head, mut body) = (head.to_owned(), body.to_owned());
    let status = |head: &str, status: &str| {
        head.split_once(' ').map_or(head.to_owned(), |(version, rest)| {
            format!("{version} {status}{}", rest.get(3..).unwrap_or_default())
        })
    };
    match how {
        "newline" if path.ends_with("/uuid") || path.ends_with("/id") => body.push('\n'),
        "charset" => head = head.replace("application/json", "application/json; charset=utf-8"),
        "plain" => head = head.replace("text/plain; charset=us-ascii", "text/plain"),
        "verify-good" if path.ends_with("/verify") => head = status(&head, "200"),
        "verify-bad" if path.ends_with("/verify") => head = status(&head, "403"),
        "same-uuid" if path.ends_with("/uuid") => body = "11111111-2222-4333-8444-555555555555".into(),
        "bare-uuid" if path.ends_with("/uuid") => body = body.replace('-', ""),
        "empty-list" if path.ends_with("/annotations") && body.trim() == "null" => body = "[]".into(),
        "no-annotations" if path.ends_with("/annotations") => body = "null".into(),
        "image-annotations" if path.ends_with("/annotations") => body = body.replace("\"pod\"", "\"image\""),
        "short-id" if path.ends_with("/id") => body.truncate(19),
        "changed-manifest" if path.ends_with("/image/manifest") => body = body.replace("1.2.3", "3.2.1"),
        "no-ids" if path.ends_with("/pod/manifest") => body = body.replace("\"id\"", "\"identity\""),
        "hex-signature" if path.ends_with("/sign") => body = "0123456789abcdef".repeat(8),
        "found" => head = status(&head, "200"),
        "missing" => head = status(&head, "404"),
        "other-type" if path.ends_with("/sign") => head = head.replace("text/plain", "application/octet-stream"),
        _ => {}
    }
    (head, body)
}
