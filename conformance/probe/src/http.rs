//! The smallest HTTP client that can ask a metadata service: one request a connection.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::say;

/// `get:PATH` below the metadata URL; `post:PATH:BODY` sends a form. `@NAME@` in a body is the environment's NAME or the text of the file /NAME.
pub fn request(method: &str, path: &str, form: Option<&str>) -> Value {
    let Ok(base) = std::env::var("AC_METADATA_URL") else { return json!({ "error": "AC_METADATA_URL is not set" }) };
    match ask(method, &(base + path), form) {
        Ok(value) => value,
        Err(e) => say::error(&e),
    }
}

/// Asks a whole URL.
pub fn ask(method: &str, url: &str, form: Option<&str>) -> io::Result<Value> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what.to_owned());
    let rest = url.strip_prefix("http://").ok_or_else(|| bad("not an http URL"))?;
    let (host, path) =
        rest.split_once('/').map_or((rest, String::from("/")), |(host, path)| (host, format!("/{path}")));
    let address = if host.rsplit(']').next().is_some_and(|tail| tail.contains(':')) {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    let begun = std::time::Instant::now();
    let mut stream = TcpStream::connect(&address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let body = form.unwrap_or("");
    let kind = if form.is_some() { "Content-Type: application/x-www-form-urlencoded\r\n" } else { "" };
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nMetadata-Flavor: AppContainer\r\nConnection: close\r\n{kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.take(1 << 20).read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(|| bad("no end of the headers"))?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let mut lines = head.lines();
    let status: u16 =
        lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok()).unwrap_or(0);
    let headers: Map<String, Value> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), json!(value.trim())))
        .collect();
    let mut body = answer[end + 4..].to_vec();
    if headers.get("transfer-encoding").is_some_and(|value| value == "chunked") {
        body = joined(&body).ok_or_else(|| bad("broken chunks"))?;
    }
    let text = String::from_utf8_lossy(&body).into_owned();
    let mut seen = json!({ "status": status, "type": headers.get("content-type"), "body": text, "milliseconds": begun.elapsed().as_millis() as u64 });
    if let Ok(value) = serde_json::from_slice::<Value>(&body) {
        seen["json"] = value;
    }
    Ok(seen)
}

fn joined(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n")?;
        let length =
            usize::from_str_radix(std::str::from_utf8(&rest[..line]).ok()?.split(';').next()?.trim(), 16).ok()?;
        rest = rest.get(line + 2..)?;
        if length == 0 {
            return Some(whole);
        }
        whole.extend_from_slice(rest.get(..length)?);
        rest = rest.get(length + 2..)?;
    }
}

/// Text as a form's value.
pub fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                (byte as char).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}
