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
use rustix::pipe::{PipeFlags, pipe_with};

use super::plan::{PodPlan, Stream};
use super::relay::{Input, Outlet, Turn, turn};
use super::supervise::Streams;
use super::{Error, Kind};
use crate::diagnostic::visible;
use crate::sys::output::Voice;
use crate::sys::signals::Watch;

/// A log file larger than this, in bytes, is moved aside where nobody says otherwise. One older file is kept.
pub const LIMIT: u64 = 16 << 20;

/// The longest part of a line that is kept in memory, in bytes.
const LINE: usize = 16 << 10;

/// As much is read of a stream at once: what one app says keeps nobody from being heard, nor the supervisor from anything else.
const TURN: usize = 16 << 10;

/// How the supervisor is connected to an app's output.
struct Source {
    app: usize,
    name: &'static str,
    /// Nothing once nothing more comes.
    near: Option<OwnedFd>,
    pending: Vec<u8>,
    logged: bool,
    /// Where it is passed on to as well.
    outlet: Option<usize>,
    terminal: bool,
}

/// The logs of a pod's apps and where they come from.
pub(crate) struct Logs {
    files: Vec<LogFile>,
    sources: Vec<Source>,
    outlets: [Outlet; 2],
    voice: Voice,
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
    /// Makes the standard streams of all apps of `plan`, their logs below `directory`; gives what is passed on to those that have
    /// ours as their input, or, in the background, what is `handed` over. In the foreground, what is logged is passed to the
    /// supervisor's own output too. A log of more than `limit` bytes is moved aside.
    pub(crate) fn open(
        plan: &PodPlan,
        directory: &Path,
        foreground: bool,
        handed: Option<&OwnedFd>,
        limit: u64,
        voice: Voice,
    ) -> Result<(Self, Vec<Streams>, Option<Input>), Error> {
        let failed = |error: io::Error| Error::new(Kind::Io, "make the apps' standard streams").because(error);
        let some = |(far, input)| (far, Some(input));
        let mut logs = Self { files: Vec::new(), sources: Vec::new(), outlets: Outlet::both(voice), voice };
        let mut all = Vec::with_capacity(plan.apps.len());
        let (mut read, mut input) = (None, None);
        for (index, app) in plan.apps.iter().enumerate() {
            logs.files.push(LogFile { path: directory.join(&app.name), limit, ..LogFile::default() });
            let stdin = match app.stdio.stdin {
                Stream::Stream if foreground || handed.is_some() => {
                    if read.is_none() {
                        let passed = match handed {
                            None => Input::piped(),
                            Some(from) => from.try_clone().and_then(|from| Input::through_pipe(Some(from))).map(some),
                        };
                        let (far, passed) = passed.map_err(failed)?;
                        (read, input) = (Some(far), passed);
                    }
                    // Whoever reads first has it.
                    read.as_ref().map_or_else(|| null(OFlags::RDONLY), OwnedFd::try_clone)
                }
                _ => null(OFlags::RDONLY),
            };
            let stdout = logs.output(index, app.stdio.stdout, 0, foreground).map_err(failed)?;
            let stderr = logs.output(index, app.stdio.stderr, 1, foreground).map_err(failed)?;
            all.push(Streams {
                stdin: stdin.map_err(failed)?,
                stdout,
                stderr,
                terminal: app.stdio.stdout == Stream::Tty,
            });
        }
        Ok((logs, all, input))
    }

    fn output(&mut self, app: usize, stream: Stream, outlet: usize, foreground: bool) -> io::Result<OwnedFd> {
        match stream {
            // A terminal is put in its place inside the pod. Nobody has ours when we are behind.
            Stream::Null | Stream::Tty => null(OFlags::WRONLY),
            Stream::Stream if !foreground => null(OFlags::WRONLY),
            Stream::Stream | Stream::Log => {
                let (near, far) = pipe_with(PipeFlags::CLOEXEC)?;
                rustix::io::ioctl_fionbio(&near, true)?;
                self.sources.push(Source {
                    app,
                    name: ["stdout", "stderr"][outlet],
                    near: Some(near),
                    pending: Vec::new(),
                    logged: stream == Stream::Log,
                    outlet: foreground.then_some(outlet),
                    terminal: false,
                });
                Ok(far)
            }
        }
    }

    /// Adds the near end of an app's terminal: what the app shows there is logged as its output.
    pub(crate) fn add_terminal(&mut self, app: usize, near: OwnedFd, foreground: bool) -> Result<(), Error> {
        let failed = |error| Error::new(Kind::Io, "read the terminal").because(io::Error::from(error));
        rustix::io::ioctl_fionbio(&near, true).map_err(failed)?;
        self.sources.push(Source {
            app,
            name: "stdout",
            near: Some(near),
            pending: Vec::new(),
            logged: true,
            outlet: foreground.then_some(0),
            terminal: true,
        });
        Ok(())
    }

    /// Standard output and standard error.
    pub(crate) fn outlets(&self) -> &[Outlet; 2] {
        &self.outlets
    }

    /// Says something to whoever watches, in the order in which it happens.
    pub(crate) fn tell(&mut self, words: &str) {
        self.outlets[1].give(format!("{}\n", (self.voice)(&visible::line(words))).as_bytes());
    }

    /// The streams that can be read now: their numbers and descriptors. Those for an outlet that is full wait until it is not, and
    /// so does who writes there.
    pub(crate) fn readable(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let open = |source: &Source| source.outlet.is_none_or(|outlet| self.outlets[outlet].has_room());
        let sources = self.sources.iter().enumerate().filter(move |(_, source)| open(source));
        sources.filter_map(|(number, source)| Some((number, source.near.as_ref()?.as_fd())))
    }

    /// Reads once what the stream of this number has to say.
    pub(crate) fn pump(&mut self, source: usize) -> Result<(), Error> {
        let Self { files, sources, outlets, .. } = self;
        let source = &mut sources[source];
        source.pump(&mut files[source.app], outlets).map(drop)
    }

    /// Writes on. Gives the apps whose terminal nobody looks at from now on; what goes nowhere else has nobody to go to then, and who
    /// writes it is told so by the system.
    pub(crate) fn write_on(&mut self) -> Vec<usize> {
        self.outlets.iter_mut().for_each(Outlet::go_on);
        let mut unseen = Vec::new();
        for source in &mut self.sources {
            if !source.outlet.is_some_and(|outlet| self.outlets[outlet].is_gone()) {
                continue;
            }
            source.outlet = None;
            if source.terminal {
                unseen.push(source.app);
            } else {
                source.near = None;
            }
        }
        unseen
    }

    /// Reads what is there of all that was said, ends unfinished lines, and waits until it is taken or a signal comes. What is said from
    /// now on by whoever is still on its way out is not waited for.
    ///
    /// # Errors
    /// The first stream's that could not be read to its end; the others were, for all that.
    pub(crate) fn finish(&mut self, watch: &Watch) -> Result<(), Error> {
        let Self { files, sources, outlets, .. } = self;
        let mut first = Ok(());
        for source in sources {
            let there = |near: &OwnedFd| rustix::io::ioctl_fionread(near).unwrap_or(0);
            // A terminal tells the length of one piece of several; there is no more in it than this.
            let most = if source.terminal { MOST_OF_TERMINAL } else { source.near.as_ref().map_or(0, there) };
            let mut read = 0;
            while read < most {
                match source.pump(&mut files[source.app], outlets) {
                    Ok(0) => break,
                    Ok(length) => read += length as u64,
                    Err(error) => {
                        first = first.and(Err(error));
                        break;
                    }
                }
                if let Some(outlet) = source.outlet.map(|outlet| &mut outlets[outlet]).filter(|one| !one.has_room()) {
                    outlet.finish(watch);
                }
            }
            source.flush(&mut files[source.app], true);
        }
        outlets.iter_mut().for_each(|outlet| outlet.finish(watch));
        first
    }

    /// Writes what could not be written before. Says whether nothing waits any more.
    pub(crate) fn catch_up(&mut self) -> bool {
        self.files.iter_mut().map(LogFile::catch_up).filter(|done| !done).count() == 0
    }

    /// What could not be written since somebody asked, one entry a log: what fails again for the same reason is not news.
    pub(crate) fn troubles(&mut self) -> Vec<Error> {
        self.files.iter_mut().filter_map(|file| file.trouble.take()).collect()
    }
}

/// More than a terminal holds of what was not read.
const MOST_OF_TERMINAL: u64 = 256 << 10;

impl Source {
    /// Reads once. Says how much there was.
    fn pump(&mut self, log: &mut LogFile, outlets: &mut [Outlet; 2]) -> Result<usize, Error> {
        let Some(near) = &self.near else { return Ok(0) };
        let mut bytes = [0_u8; TURN];
        let failed = |error| Error::new(Kind::Io, "read what an app says").because(error);
        let length = match turn(near, &mut bytes) {
            Ok(Turn::Some(length)) => length,
            Ok(Turn::None) => return Ok(0),
            Ok(Turn::End) => {
                self.near = None;
                return Ok(0);
            }
            Err(error) => {
                self.near = None;
                return Err(failed(error));
            }
        };
        if let Some(outlet) = self.outlet {
            outlets[outlet].give(&bytes[..length]);
        }
        if self.logged {
            self.pending.extend_from_slice(&bytes[..length]);
            // Whoever sees a terminal by its log is to see what has no end of line: what is typed, and prompts.
            self.flush(log, self.terminal && self.outlet.is_none());
        }
        Ok(length)
    }

    fn flush(&mut self, log: &mut LogFile, all: bool) {
        let mut text = Vec::with_capacity(self.pending.len() + 64);
        // Once for all of them: they were read at once, and there may be thousands.
        let now = format!("{:.6} {}", jiff::Timestamp::now(), self.name);
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
            let _ = write!(text, "{now} {mark} ");
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

fn null(flags: OFlags) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open("/dev/null", flags | OFlags::CLOEXEC, Mode::empty())?)
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
        let (outlet, near) = (None, Some(near));
        let sources =
            vec![Source { app: 0, name: "stdout", near, pending: Vec::new(), logged: true, outlet, terminal: false }];
        let mut logs = Logs { files, sources, outlets: Outlet::both(str::to_owned), voice: str::to_owned };
        let mut long = vec![b'x'; LINE + 10];
        long.extend_from_slice(b"\nshort\nopen");
        rustix::io::write(&far, &long).unwrap();
        logs.pump(0).unwrap();
        drop(far);
        logs.finish(&Watch::new(&[]).unwrap()).unwrap();
        let text = std::fs::read(path).unwrap();
        let lines: Vec<(bool, usize)> =
            text.split(|&byte| byte == b'\n').filter_map(parse).map(|entry| (entry.whole, entry.text.len())).collect();
        assert_eq!(lines, [(false, LINE), (true, 10), (true, 5), (false, 4)]);
    }
}
