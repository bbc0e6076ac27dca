//! D-Bus, as much of it as a call to systemd takes: one connection, calls that wait for their answer, signals that are waited for.
//!
//! A library for it brings a runtime of its own, and its threads, which a process that clones must not have.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long an answer may take: as long as D-Bus itself waits.
const PATIENCE: Duration = Duration::from_secs(25);

/// The longest message that is read; what we ask for is answered in a line.
const LONGEST: usize = 1 << 20;

/// The type of a message.
const CALL: u8 = 1;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

const LITTLE: bool = cfg!(target_endian = "little");

/// A value in a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `b`
    Flag(bool),
    /// `t`
    Long(u64),
    /// `s`
    Text(&'a str),
    /// `au`
    Numbers(&'a [u32]),
    /// `a(sv)`
    Properties(&'a [(&'a str, Value<'a>)]),
    /// `a(sa(sv))` without entries
    NoUnits,
}

impl Value<'_> {
    fn signature(&self) -> &'static str {
        match self {
            Self::Flag(_) => "b",
            Self::Long(_) => "t",
            Self::Text(_) => "s",
            Self::Numbers(_) => "au",
            Self::Properties(_) => "a(sv)",
            Self::NoUnits => "a(sa(sv))",
        }
    }

    fn write(&self, to: &mut Marshal) {
        match self {
            Self::Flag(value) => to.number(u32::from(*value)),
            Self::Long(value) => {
                to.align(8);
                to.0.extend(value.to_ne_bytes());
            }
            Self::Text(value) => to.text(value),
            Self::Numbers(values) => to.array(4, |to| values.iter().for_each(|value| to.number(*value))),
            Self::Properties(values) => to.array(8, |to| {
                for (name, value) in *values {
                    to.align(8);
                    to.text(name);
                    to.signature(value.signature());
                    value.write(to);
                }
            }),
            Self::NoUnits => to.array(8, |_| {}),
        }
    }
}

/// A message that is being written.
#[derive(Default)]
struct Marshal(Vec<u8>);

impl Marshal {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn number(&mut self, value: u32) {
        self.align(4);
        self.0.extend(value.to_ne_bytes());
    }

    /// What is written here is far from the 4 GiB that a length counts.
    fn length(value: usize) -> u32 {
        u32::try_from(value).unwrap_or(u32::MAX)
    }

    fn text(&mut self, value: &str) {
        self.number(Self::length(value.len()));
        self.0.extend(value.bytes().chain([0]));
    }

    /// Of fewer than 256 characters, as all here are.
    fn signature(&mut self, value: &str) {
        self.0.push(value.len() as u8);
        self.0.extend(value.bytes().chain([0]));
    }

    /// The length counts what stands between the elements, and not what stands before the first.
    fn array(&mut self, alignment: usize, elements: impl FnOnce(&mut Self)) {
        self.number(0);
        let at = self.0.len() - 4;
        self.align(alignment);
        let begin = self.0.len();
        elements(self);
        let length = Self::length(self.0.len() - begin);
        self.0[at..at + 4].copy_from_slice(&length.to_ne_bytes());
    }
}

/// A method, and what it is called with.
pub struct Call<'a> {
    /// Whose.
    pub destination: &'a str,
    /// The object's.
    pub path: &'a str,
    /// The interface's.
    pub interface: &'a str,
    /// Its name.
    pub member: &'a str,
    /// The arguments.
    pub arguments: &'a [Value<'a>],
}

impl Call<'_> {
    fn bytes(&self, serial: u32) -> Vec<u8> {
        let mut body = Marshal::default();
        self.arguments.iter().for_each(|argument| argument.write(&mut body));
        let signature: String = self.arguments.iter().map(Value::signature).collect();
        let mut message = Marshal(vec![if LITTLE { b'l' } else { b'B' }, CALL, 0, 1]);
        message.number(Marshal::length(body.0.len()));
        message.number(serial);
        message.array(8, |to| {
            for (code, kind, text) in [
                (1, "o", self.path),
                (2, "s", self.interface),
                (3, "s", self.member),
                (6, "s", self.destination),
                (8, "g", &signature),
            ] {
                if text.is_empty() {
                    continue;
                }
                to.align(8);
                to.0.push(code);
                to.signature(kind);
                if kind == "g" { to.signature(text) } else { to.text(text) }
            }
        });
        message.align(8);
        message.0.extend(body.0);
        message.0
    }
}

/// A message that was read.
#[derive(Debug, Default)]
pub struct Message {
    kind: u8,
    member: String,
    error: String,
    reply_to: u32,
    body: Vec<u8>,
    little: bool,
}

impl Message {
    /// Reads its arguments, in their order.
    pub fn arguments(&self) -> Arguments<'_> {
        Arguments { bytes: &self.body, at: 0, little: self.little }
    }

    /// Whether it is a signal of this name.
    pub fn signals(&self, member: &str) -> bool {
        self.kind == SIGNAL && self.member == member
    }
}

/// A place in a message.
pub struct Arguments<'a> {
    bytes: &'a [u8],
    at: usize,
    little: bool,
}

impl<'a> Arguments<'a> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    /// `u`
    pub fn number(&mut self) -> Option<u32> {
        self.align(4);
        let bytes = self.take(4)?.try_into().ok()?;
        Some(if self.little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    /// `s`, `o`
    pub fn text(&mut self) -> Option<&'a str> {
        let length = self.number()? as usize;
        let text = std::str::from_utf8(self.take(length)?).ok()?;
        self.take(1)?;
        Some(text)
    }

    /// `g`
    pub fn signature(&mut self) -> Option<&'a str> {
        let length = self.take(1)?[0].into();
        let text = std::str::from_utf8(self.take(length)?).ok()?;
        self.take(1)?;
        Some(text)
    }
}

/// A connection to a bus.
pub struct Bus {
    stream: UnixStream,
    serial: u32,
}

impl Bus {
    /// To the bus that listens at `path`, as this process's user.
    ///
    /// # Errors
    /// The system's; why the bus does not want us.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut bus = Self { stream, serial: 0 };
        let uid = rustix::process::geteuid().as_raw().to_string();
        let identity: String = uid.bytes().map(|byte| format!("{byte:02x}")).collect();
        bus.stream.write_all(format!("\0AUTH EXTERNAL {identity}\r\n").as_bytes())?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n") && answer.len() < 512 {
            let mut byte = [0];
            bus.stream.read_exact(&mut byte)?;
            answer.push(byte[0]);
        }
        if !answer.starts_with(b"OK ") {
            let said = String::from_utf8_lossy(&answer);
            return Err(io::Error::other(format!("the bus says {}", said.trim().escape_debug())));
        }
        bus.stream.write_all(b"BEGIN\r\n")?;
        bus.daemon("Hello", &[])?;
        Ok(bus)
    }

    fn daemon(&mut self, member: &str, arguments: &[Value<'_>]) -> io::Result<Message> {
        let name = "org.freedesktop.DBus";
        self.call(&Call { destination: name, path: "/org/freedesktop/DBus", interface: name, member, arguments })
    }

    /// Has the bus pass on signals that fit `rule`.
    ///
    /// # Errors
    /// The system's, the bus's.
    pub fn listen(&mut self, rule: &str) -> io::Result<()> {
        self.daemon("AddMatch", &[Value::Text(rule)]).map(drop)
    }

    /// Calls, and waits for the answer. Signals that come before are given to `signal`.
    ///
    /// # Errors
    /// The system's; what the other side answers when it is an error.
    pub fn call_hearing(&mut self, call: &Call<'_>, mut signal: impl FnMut(Message)) -> io::Result<Message> {
        self.serial += 1;
        let serial = self.serial;
        self.stream.write_all(&call.bytes(serial))?;
        loop {
            let message = self.next()?;
            if message.kind == SIGNAL {
                signal(message);
            } else if message.kind == ERROR && message.reply_to == serial {
                let why = message.arguments().text().filter(|why| !why.is_empty()).unwrap_or(&message.error);
                return Err(io::Error::other(why.to_owned()));
            } else if message.reply_to == serial {
                return Ok(message);
            }
        }
    }

    /// Calls, and waits for the answer.
    ///
    /// # Errors
    /// The system's; what the other side answers when it is an error.
    pub fn call(&mut self, call: &Call<'_>) -> io::Result<Message> {
        self.call_hearing(call, drop)
    }

    /// The next message, whatever it is.
    ///
    /// # Errors
    /// The system's; one that says that it is no message.
    pub fn next(&mut self) -> io::Result<Message> {
        let broken = || io::Error::new(io::ErrorKind::InvalidData, "the bus says what is no D-Bus");
        let late = |error: io::Error| match error.kind() {
            io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, "there is no answer"),
            io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "the bus has hung up"),
            _ => error,
        };
        let mut head = [0; 16];
        self.stream.read_exact(&mut head).map_err(late)?;
        let little = head[0] == b'l';
        if !(little || head[0] == b'B') || head[3] != 1 {
            return Err(broken());
        }
        let mut numbers = Arguments { bytes: &head, at: 4, little };
        let body = numbers.number().ok_or_else(broken)? as usize;
        let (_, fields) = (numbers.number(), numbers.number().ok_or_else(broken)? as usize);
        let header = fields.next_multiple_of(8);
        if body > LONGEST || header > LONGEST {
            return Err(broken());
        }
        let mut bytes = vec![0; header + body];
        self.stream.read_exact(&mut bytes).map_err(late)?;
        let mut message = Message { kind: head[1], little, ..Message::default() };
        message.body = bytes.split_off(header);
        // From the beginning of a message 16 bytes are gone: all that is aligned is so here too.
        let mut place = Arguments { bytes: &bytes[..fields], at: 0, little };
        while place.at < fields {
            field(&mut place, &mut message).ok_or_else(broken)?;
            place.align(8);
        }
        Ok(message)
    }
}

/// One field of a message's header.
fn field(place: &mut Arguments<'_>, message: &mut Message) -> Option<()> {
    let code = place.take(1)?[0];
    match (code, place.signature()?) {
        (3, "s") => message.member = place.text()?.to_owned(),
        (4, "s") => message.error = place.text()?.to_owned(),
        (5, "u") => message.reply_to = place.number()?,
        (_, "s" | "o") => drop(place.text()?),
        (_, "g") => drop(place.signature()?),
        (_, "u") => drop(place.number()?),
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_written_as_the_specification_of_d_bus_lays_it_out() {
        let call =
            Call { destination: "d", path: "/p", interface: "i", member: "M", arguments: &[Value::Numbers(&[7, 8])] };
        let bytes = call.bytes(5);
        if !LITTLE {
            return;
        }
        // The length of the body, the serial number, the length of the fields.
        assert_eq!(&bytes[..16], b"l\x01\0\x01\x0c\0\0\0\x05\0\0\0\x48\0\0\0");
        // Each field begins at a multiple of eight.
        let fields = &bytes[16..];
        for (at, code) in [(0, 1), (16, 2), (32, 3), (48, 6), (64, 8)] {
            assert_eq!(fields[at], code, "{bytes:?}");
        }
        assert_eq!(&bytes[bytes.len() - 12..], [8, 0, 0, 0, 7, 0, 0, 0, 8, 0, 0, 0]);
        assert_eq!(bytes.len() % 4, 0);
    }

    #[test]
    fn whatever_a_bus_says_is_read_or_refused() {
        let answer = |bytes: &[u8]| {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(bytes).unwrap();
            drop(theirs);
            Bus { stream: ours, serial: 0 }.next()
        };
        let call = Call { destination: "d", path: "/p", interface: "i", member: "M", arguments: &[Value::Text("x")] };
        let whole = call.bytes(1);
        let read = answer(&whole).unwrap();
        assert_eq!((read.member.as_str(), read.arguments().text()), ("M", Some("x")));
        for cut in 0..whole.len() {
            assert!(answer(&whole[..cut]).is_err(), "{cut}");
        }
        for at in 0..whole.len() {
            for value in [0, 0x7f, 0xff] {
                let mut bad = whole.clone();
                bad[at] = value;
                // Refused or read as something else; the test is that it ends.
                let _ = answer(&bad).map(|message| message.arguments().text().map(str::to_owned));
            }
        }
        assert!(answer(b"HTTP/1.1 400 Bad Request\r\n\r\n").is_err());
    }
}
