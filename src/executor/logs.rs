//! What apps say: captured line by line with time stamps, passed through as it comes while in the foreground.
//!
//! ```text
//! <pod>/logs/APP     2026-11-23T18:40:00.123456Z stdout F text of the line
//!            APP.1   the same, older: a file that has grown beyond the limit is moved there
//! ```
//! `F` ends a line; `P` is a part of one that is longer than what is kept in memory, or was not ended.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::plan::{PodPlan, Stream};
use super::supervise::Streams;
use super::{Error, Kind};

/// A log file larger than this, in bytes, is moved aside where nobody says otherwise. One older file is kept.
pub const LIMIT: u64 = 16 << 20;

/// The longest part of a line that is kept in memory, in bytes.
const LINE: usize = 16 << 10;

/// How the supervisor is connected to an app's output.
pub struct Source {
    /// Index of the app.
    pub app: usize,
    name: &'static str,
    near: OwnedFd,
    pending: Vec<u8>,
    through: bool,
}

/// The logs of a pod's apps and where they come from.
pub struct Logs {
    files: Vec<LogFile>,
    /// One entry an open stream.
    pub sources: Vec<Source>,
}

#[derive(Default)]
struct LogFile {
    path: PathBuf,
    file: Option<File>,
    written: u64,
    limit: u64,
    /// What could not be written yet.
    waiting: Vec<u8>,
    /// How many bytes more there were than are kept waiting.
    lost: u64,
    /// Why it could not, until somebody asks.
    trouble: Option<Error>,
}

impl Logs {
    /// Makes the standard streams of all apps of `plan`, their logs below `directory`. With `through`, what is logged is
    /// passed to the supervisor's own output too. A log of more than `limit` bytes is moved aside.
    pub fn open(plan: &PodPlan, directory: &Path, through: bool, limit: u64) -> Result<(Self, Vec<Streams>), Error> {
        let failed = |error: io::Error| Error::new(Kind::Io, "make the apps' standard streams").because(error);
        let mut logs = Self { files: Vec::new(), sources: Vec::new() };
        let mut all = Vec::with_capacity(plan.apps.len());
        for (index, app) in plan.apps.iter().enumerate() {
            logs.files.push(LogFile { path: directory.join(&app.name), limit, ..LogFile::default() });
            let stdin = match app.stdio.stdin {
                Stream::Stream => own(&io::stdin()),
                _ => null(OFlags::RDONLY),
            };
            let stdout = logs.output(index, app.stdio.stdout, "stdout", through).map_err(failed)?;
            let stderr = logs.output(index, app.stdio.stderr, "stderr", through).map_err(failed)?;
            all.push(Streams {
                stdin: stdin.map_err(failed)?,
                stdout,
                stderr,
                terminal: app.stdio.stdout == Stream::Tty,
            });
        }
        Ok((logs, all))
    }

    fn output(&mut self, app: usize, stream: Stream, name: &'static str, through: bool) -> io::Result<OwnedFd> {
        match stream {
            Stream::Null => null(OFlags::WRONLY),
            Stream::Stream if name == "stdout" => own(&io::stdout()),
            Stream::Stream => own(&io::stderr()),
            // A terminal is put in its place inside the pod.
            Stream::Tty => null(OFlags::WRONLY),
            Stream::Log => {
                let (near, far) = pipe_with(PipeFlags::CLOEXEC)?;
                rustix::io::ioctl_fionbio(&near, true)?;
                self.sources.push(Source { app, name, near, pending: Vec::new(), through });
                Ok(far)
            }
        }
    }

    /// Adds the near end of an app's terminal: what the app shows there is logged as its output.
    pub fn add_terminal(&mut self, app: usize, near: OwnedFd, through: bool) -> Result<(), Error> {
        let failed = |error: Errno| Error::new(Kind::Io, "read the terminal").because(io::Error::from(error));
        rustix::io::ioctl_fionbio(&near, true).map_err(failed)?;
        self.sources.push(Source { app, name: "stdout", near, pending: Vec::new(), through });
        Ok(())
    }

    /// Reads what the source of this number has to say. Says whether it is still open.
    pub fn pump(&mut self, source: usize) -> Result<bool, Error> {
        let Self { files, sources } = self;
        let source = &mut sources[source];
        let mut bytes = [0_u8; 16 << 10];
        loop {
            match rustix::io::read(&source.near, &mut bytes) {
                Ok(0) => return Ok(false),
                Ok(length) => {
                    let bytes = &bytes[..length];
                    if source.through {
                        pass_through(source.name, bytes);
                    }
                    source.pending.extend_from_slice(bytes);
                    source.flush(&mut files[source.app], false);
                }
                Err(Errno::AGAIN) => return Ok(true),
                Err(Errno::INTR) => {}
                // A terminal that nobody has open any more.
                Err(Errno::IO) => return Ok(false),
                Err(error) => {
                    return Err(Error::new(Kind::Io, "read what an app says").because(io::Error::from(error)));
                }
            }
        }
    }

    /// Reads all that is left, and ends unfinished lines.
    ///
    /// # Errors
    /// The first stream's that could not be read to its end; the others were, for all that.
    pub fn finish(&mut self) -> Result<(), Error> {
        let mut first = Ok(());
        for index in 0..self.sources.len() {
            let pumped = self.pump(index).map(drop);
            first = first.and(pumped);
            let Self { files, sources } = self;
            let source = &mut sources[index];
            source.flush(&mut files[source.app], true);
        }
        first
    }

    /// Writes what could not be written before. Says whether nothing waits any more.
    pub fn catch_up(&mut self) -> bool {
        self.files.iter_mut().map(LogFile::catch_up).filter(|done| !done).count() == 0
    }

    /// What could not be written since somebody asked, one entry a log: what fails again for the same reason is not news.
    pub fn troubles(&mut self) -> Vec<Error> {
        self.files.iter_mut().filter_map(|file| file.trouble.take()).collect()
    }

    /// The descriptor of the source of this number.
    pub fn descriptor(&self, source: usize) -> BorrowedFd<'_> {
        self.sources[source].near.as_fd()
    }
}

impl Source {
    fn flush(&mut self, log: &mut LogFile, all: bool) {
        let mut text = Vec::with_capacity(self.pending.len() + 64);
        let now = jiff::Timestamp::now();
        let mut rest = self.pending.as_slice();
        while !rest.is_empty() {
            let end = rest.iter().position(|&byte| byte == b'\n');
            let (line, mark, next) = match end {
                Some(end) if end <= LINE => (&rest[..end], 'F', end + 1),
                _ if rest.len() > LINE => (&rest[..LINE], 'P', LINE),
                _ if all => (rest, 'P', rest.len()),
                _ => break,
            };
            // Writing to memory does not fail.
            let _ = write!(text, "{now:.6} {} {mark} ", self.name);
            text.extend_from_slice(line);
            text.push(b'\n');
            rest = &rest[next..];
        }
        let kept = rest.len();
        self.pending.drain(..self.pending.len() - kept);
        if !text.is_empty() {
            log.append(&text);
        }
    }
}

/// The most that is kept of a log that cannot be written, in bytes.
const WAITING: usize = 256 << 10;

impl LogFile {
    /// What cannot be written waits, whole lines of it: an app's log is no reason to end the app.
    fn append(&mut self, text: &[u8]) {
        if self.waiting.is_empty() {
            let mut rest = text;
            self.trouble = self.write(&mut rest).err();
            self.waiting.extend_from_slice(rest);
        } else if self.waiting.len() + text.len() <= WAITING {
            self.waiting.extend_from_slice(text);
        } else {
            self.lost += text.len() as u64;
        }
    }

    fn catch_up(&mut self) -> bool {
        let mut waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() {
            return true;
        }
        if self.lost > 0 {
            let now = jiff::Timestamp::now();
            let lost = std::mem::take(&mut self.lost);
            waiting.extend(
                format!("{now:.6} stderr F jetpack: {lost} bytes are lost that could not be written\n").bytes(),
            );
        }
        let mut rest = waiting.as_slice();
        // Why it failed was told when it did first.
        let _ = self.write(&mut rest);
        self.waiting = rest.to_vec();
        self.waiting.is_empty()
    }

    /// Takes from `text` what it has written.
    fn write(&mut self, text: &mut &[u8]) -> Result<(), Error> {
        let failed = |error: io::Error| Error::new(Kind::Io, format!("write {}", self.path.display())).because(error);
        if self.written > self.limit {
            let mut rotated = self.path.clone().into_os_string();
            rotated.push(".1");
            std::fs::rename(&self.path, rotated).map_err(failed)?;
            self.file = None;
            self.written = 0;
        }
        if self.file.is_none() {
            let open = || OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path);
            let file = match (open(), self.path.parent()) {
                // Made with the first word: most files are never read, and many apps say nothing.
                (Err(error), Some(directory)) if error.kind() == io::ErrorKind::NotFound => {
                    std::fs::DirBuilder::new().mode(0o700).recursive(true).create(directory).and_then(|()| open())
                }
                (file, _) => file,
            };
            self.file = Some(file.map_err(failed)?);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        while !text.is_empty() {
            match file.write(text) {
                Ok(0) => return Err(failed(io::ErrorKind::WriteZero.into())),
                Ok(length) => {
                    *text = &text[length..];
                    self.written += length as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }
}

/// Whoever reads our output may be gone; the log has it all the same.
fn pass_through(name: &str, bytes: &[u8]) {
    let _ = if name == "stdout" {
        let mut out = io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush())
    } else {
        io::stderr().lock().write_all(bytes)
    };
}

fn null(flags: OFlags) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open("/dev/null", flags | OFlags::CLOEXEC, Mode::empty())?)
}

fn own(stream: &impl AsFd) -> io::Result<OwnedFd> {
    stream.as_fd().try_clone_to_owned()
}

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Entry<'a> {
    /// When it was read, RFC 3339.
    pub time: &'a str,
    /// `stdout` or `stderr`.
    pub stream: &'a str,
    /// Whether the line ends here.
    pub whole: bool,
    /// What the app said.
    #[serde(serialize_with = "lossy")]
    pub text: &'a [u8],
}

fn lossy<S: serde::Serializer>(text: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(text))
}

/// Reads a line of a log, without its end.
pub fn parse(line: &[u8]) -> Option<Entry<'_>> {
    let mut fields = line.splitn(4, |&byte| byte == b' ');
    let time = std::str::from_utf8(fields.next()?).ok()?;
    let stream = std::str::from_utf8(fields.next()?).ok()?;
    let whole = fields.next()? == b"F";
    Some(Entry { time, stream, whole, text: fields.next()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_written_is_a_line_read() {
        let line = b"2026-11-23T18:40:00.123456Z stderr F two  words ";
        let entry = parse(line).unwrap();
        assert_eq!((entry.stream, entry.whole, entry.text), ("stderr", true, &b"two  words "[..]));
        assert_eq!(parse(b"rubbish"), None);
    }

    #[test]
    fn long_lines_and_unfinished_ones_are_kept_in_parts() {
        let directory = tempfile::tempdir().unwrap();
        let (near, far) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        rustix::io::ioctl_fionbio(&near, true).unwrap();
        let path = directory.path().join("app");
        let files = vec![LogFile { path: path.clone(), limit: LIMIT, ..LogFile::default() }];
        let sources = vec![Source { app: 0, name: "stdout", near, pending: Vec::new(), through: false }];
        let mut logs = Logs { files, sources };
        let mut long = vec![b'x'; LINE + 10];
        long.extend_from_slice(b"\nshort\nopen");
        rustix::io::write(&far, &long).unwrap();
        logs.pump(0).unwrap();
        drop(far);
        logs.finish().unwrap();
        let text = std::fs::read(path).unwrap();
        let lines: Vec<(bool, usize)> =
            text.split(|&byte| byte == b'\n').filter_map(parse).map(|entry| (entry.whole, entry.text.len())).collect();
        assert_eq!(lines, [(false, LINE), (true, 10), (true, 5), (false, 4)]);
    }
}
