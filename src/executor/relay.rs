//! Between a process of a pod and whoever started it. A process of a pod never has a terminal of the host's open, nor a file that
//! was opened outside: what it does to them others would find done. It has pipes and a terminal of its own; their other ends are
//! here.
//!
//! Nothing here waits for one side only: each end says what it waits for, and goes on when that has come.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, SeekFrom, fstat};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::stdio;

use super::supervise::{End, Streams};
use crate::sys::output::{PIECE, Voice, has_room};
use crate::sys::signals::{FORWARDED, Watch};
use crate::sys::terminal::{self, Raw};

/// As much is read at once.
const TURN: usize = 16 << 10;

/// With so much in an outlet no more is read for it.
const FULL: usize = 64 << 10;

/// Between looks whether the caller's terminal is ours, or whether a file system has room again.
const LATER: Duration = Duration::from_millis(500);

/// How soon the end of what is typed is told again, at first and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// What was read while there was something to read, a turn's worth of it.
pub(crate) enum Turn {
    /// So much; there may be more.
    Some(usize),
    /// Nothing now.
    None,
    /// Nothing any more.
    End,
}

/// Reads once, without waiting, from one that does not block.
///
/// # Errors
/// The system's.
pub(crate) fn turn(from: &OwnedFd, bytes: &mut [u8]) -> io::Result<Turn> {
    match rustix::io::read(from, bytes) {
        Ok(0) => Ok(Turn::End),
        Ok(length) => Ok(Turn::Some(length)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(Turn::None),
        // A terminal that nobody has open any more.
        Err(Errno::IO) => Ok(Turn::End),
        Err(error) => Err(error.into()),
    }
}

/// What is typed to get away from a terminal that is shown through ours: control P, control Q.
const LEAVE: [u8; 2] = [0x10, 0x11];

/// Our standard input, or what is handed over in its place, on its way to a process.
#[derive(Debug)]
pub struct Input {
    /// What is read in place of our standard input; it never ends.
    from: Option<OwnedFd>,
    /// Nothing when nobody reads there, or, unless that is a terminal, when the end was passed on.
    to: Option<OwnedFd>,
    /// Whether it goes into a terminal.
    typed: bool,
    /// The other end of a pipe, which knows what was not read.
    far: Option<OwnedFd>,
    pending: Vec<u8>,
    ended: bool,
    /// Of one that can be left, how much of [`LEAVE`] was typed.
    leaving: Option<usize>,
    /// When the end is told again, and how long after that.
    again: Option<(Instant, Duration)>,
}

impl Input {
    /// What `from`, or we are given, goes to `to`, which does not block.
    fn new(from: Option<OwnedFd>, to: OwnedFd) -> Self {
        let (far, leaving) = (None, None);
        Self { from, to: Some(to), typed: false, far, pending: Vec::new(), ended: false, leaving, again: None }
    }

    /// What is typed into the terminal with this near end: into ours, or handed over by `from`.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn typed(near: OwnedFd, from: Option<OwnedFd>) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&near, true)?;
        let mut input = Self::new(from, near);
        input.typed = true;
        Ok(input)
    }

    /// Our standard input on its way to whoever hands it over, by `to`, which does not block. What is typed into a terminal
    /// that is raw can end it.
    pub fn handed_over(to: OwnedFd, raw: bool) -> Self {
        let mut input = Self::new(None, to);
        input.leaving = raw.then_some(0);
        input
    }

    /// Whether whoever types has asked to get away.
    pub fn is_left(&self) -> bool {
        self.leaving == Some(LEAVE.len())
    }

    /// What a process has as our standard input: that itself where it is a pipe, so that it takes no more from it than it reads,
    /// else a pipe, and what is to be passed on into it.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn piped() -> io::Result<(OwnedFd, Option<Self>)> {
        let stdin = stdio::stdin();
        if is_pipe(stdin) {
            return Ok((rustix::io::fcntl_dupfd_cloexec(stdin, 3)?, None));
        }
        Self::through_pipe(None).map(|(far, input)| (far, Some(input)))
    }

    /// A pipe, and what `from`, or we are given, that is to be passed on into it.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn through_pipe(from: Option<OwnedFd>) -> io::Result<(OwnedFd, Self)> {
        let (far, to) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&to, true)?;
        let mut input = Self::new(from, to);
        input.far = Some(far.try_clone()?);
        Ok((far, input))
    }

    fn source(&self) -> BorrowedFd<'_> {
        self.from.as_ref().map_or_else(|| stdio::stdin(), AsFd::as_fd)
    }

    /// What has to come for this to go on.
    pub fn waits_for(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let to = self.to.as_ref()?;
        if !self.pending.is_empty() {
            Some((to.as_fd(), PollFlags::OUT))
        } else if self.ended || self.is_left() || terminal::is_others(self.source()) {
            None
        } else {
            Some((self.source(), PollFlags::IN))
        }
    }

    /// When to go on without that.
    pub(crate) fn wakes(&self) -> Option<Instant> {
        let later = || (self.waits_for().is_none() && !self.ended).then(|| Instant::now() + LATER);
        self.to.as_ref().and_then(|_| self.again.map(|(at, _)| at).or_else(later))
    }

    /// Goes on; `ready` says that what it waits for has come.
    pub fn go_on(&mut self, ready: bool) {
        if ready && self.pending.is_empty() && !self.ended {
            let mut bytes = [0_u8; TURN];
            match rustix::io::read(self.source(), &mut bytes) {
                Ok(length) if length > 0 => self.take(&bytes[..length]),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Ok(_) | Err(_) => self.ended = true,
            }
        }
        if let (Some(to), false) = (&self.to, self.pending.is_empty()) {
            match rustix::io::write(to, &self.pending) {
                Ok(length) => drop(self.pending.drain(..length)),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => self.to = None,
            }
        }
        if self.ended && self.pending.is_empty() {
            self.pass_end_on();
        }
    }

    /// What may begin the words that lead away is kept until the next byte tells.
    fn take(&mut self, bytes: &[u8]) {
        let Some(mut typed) = self.leaving else { return self.pending.extend_from_slice(bytes) };
        for byte in bytes {
            if *byte == LEAVE[typed] {
                typed += 1;
                if typed == LEAVE.len() {
                    break;
                }
            } else {
                self.pending.extend_from_slice(&LEAVE[..typed]);
                typed = usize::from(*byte == LEAVE[0]);
                if typed == 0 {
                    self.pending.push(*byte);
                }
            }
        }
        self.leaving = Some(typed);
    }

    /// The end of a pipe stays the end. That of a terminal is read once, and lost where the one who reads changes how the
    /// terminal works meanwhile, as shells do with each line: it is told until nobody is there to read it.
    fn pass_end_on(&mut self) {
        let Some(to) = self.to.as_ref().filter(|_| self.typed) else {
            self.to = None;
            return;
        };
        let now = Instant::now();
        let (at, pause) = self.again.unwrap_or((now, AGAIN.0));
        if at <= now {
            let _ = rustix::io::write(to, &[terminal::end_of_input(to)]);
            self.again = Some((now + pause, (pause * 2).min(AGAIN.1)));
        }
    }
}

/// What nobody has read of a file is given back to it: whoever started us may go on reading there.
impl Drop for Input {
    fn drop(&mut self) {
        let stdin = self.source();
        let file = fstat(stdin).is_ok_and(|about| FileType::from_raw_mode(about.st_mode).is_file());
        if let (true, Some(far)) = (file, &self.far) {
            let unread = rustix::io::ioctl_fionread(far).unwrap_or(0) + self.pending.len() as u64;
            let _ = rustix::fs::seek(stdin, SeekFrom::Current(-i64::try_from(unread).unwrap_or(0)));
        }
    }
}

/// A pipe without a name, which has nothing that could be opened or changed through it.
fn is_pipe(stream: BorrowedFd<'_>) -> bool {
    #[cfg(target_os = "linux")]
    let nameless = rustix::fs::fstatfs(stream).is_ok_and(|system| system.f_type == 0x5049_5045);
    #[cfg(not(target_os = "linux"))]
    let nameless = fstat(stream).is_ok_and(|about| about.st_nlink == 0);
    nameless && fstat(stream).is_ok_and(|about| FileType::from_raw_mode(about.st_mode).is_fifo())
}

/// One of our own outputs, and what was not taken yet of what goes there.
#[derive(Debug)]
pub(crate) struct Outlet {
    to: BorrowedFd<'static>,
    pending: Vec<u8>,
    gone: bool,
    /// Until when there is no sense in trying: its file system is full.
    full_until: Option<Instant>,
    told: bool,
    voice: Voice,
}

impl Outlet {
    /// Standard output and standard error.
    pub(crate) fn both(voice: Voice) -> [Self; 2] {
        [stdio::stdout(), stdio::stderr()].map(|to| Self {
            to,
            pending: Vec::new(),
            gone: false,
            full_until: None,
            told: false,
            voice,
        })
    }

    /// Whether nobody reads there any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Whether more may be given to it.
    pub(crate) fn has_room(&self) -> bool {
        self.pending.len() < FULL
    }

    /// Takes something on its way.
    pub(crate) fn give(&mut self, bytes: &[u8]) {
        if !self.gone {
            self.pending.extend_from_slice(bytes);
            self.go_on();
        }
    }

    /// What has to come for this to go on.
    pub(crate) fn waits_for(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let waits = !self.pending.is_empty() && self.full_until.is_none();
        waits.then_some((self.to, PollFlags::OUT))
    }

    /// When to go on without that.
    pub(crate) fn wakes(&self) -> Option<Instant> {
        self.full_until
    }

    /// Writes as much as can be without waiting.
    pub(crate) fn go_on(&mut self) {
        if self.full_until.is_some_and(|until| until > Instant::now()) {
            return;
        }
        self.full_until = None;
        let mut written = 0;
        while written < self.pending.len() && has_room(self.to, Some(&AT_ONCE)).unwrap_or(true) {
            let piece = &self.pending[written..];
            match rustix::io::write(self.to, &piece[..piece.len().min(PIECE)]) {
                Ok(length) => written += length,
                Err(Errno::AGAIN | Errno::INTR) => break,
                Err(error @ (Errno::NOSPC | Errno::DQUOT)) => {
                    self.full_until = Some(Instant::now() + LATER);
                    if !std::mem::replace(&mut self.told, true) {
                        // Where that cannot be written either, nobody is to be told.
                        use io::Write as _;
                        let words = format!("warning: what apps say waits: {}", io::Error::from(error));
                        let _ = writeln!(crate::sys::output::stderr(), "{}", (self.voice)(&words));
                    }
                    break;
                }
                Err(_) => {
                    self.gone = true;
                    self.pending = Vec::new();
                    return;
                }
            }
        }
        self.pending.drain(..written);
    }

    /// Waits until all is taken, or a signal comes of whoever has waited for long enough.
    pub(crate) fn finish(&mut self, watch: &Watch) {
        while !self.pending.is_empty() {
            // A file system that is full now will be so in a moment.
            let Some((to, flags)) = self.waits_for() else { return };
            let mut waiting = [PollFd::from_borrowed_fd(to, flags), PollFd::new(watch, PollFlags::IN)];
            if poll(&mut waiting, None).is_ok() && !waiting[1].revents().is_empty() && watch.next().is_some_and(ends) {
                return;
            }
            self.go_on();
        }
    }
}

fn ends(signal: i32) -> bool {
    matches!(signal, libc::SIGINT | libc::SIGTERM | libc::SIGHUP | libc::SIGQUIT)
}

const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// How long poll(2) may wait so that nothing is late that is due at one of `times`.
pub(crate) fn until(times: impl IntoIterator<Item = Option<Instant>>) -> Option<Timespec> {
    let left = times.into_iter().flatten().min()?.saturating_duration_since(Instant::now());
    // Rounded up: who wakes too early does nothing and asks again.
    let left = left + Duration::from_micros(100);
    Some(Timespec { tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() })
}

/// The streams of a command that is run beside an app, as far as they lead to ours.
#[derive(Debug)]
pub struct Relay {
    input: Option<Input>,
    /// What the command writes to, by the number of the outlet that it is for.
    ends: Vec<(OwnedFd, usize)>,
    outlets: [Outlet; 2],
    /// The near end of its terminal.
    near: Option<OwnedFd>,
}

impl Relay {
    /// Streams for a command. It gets a terminal of its own where `tty` says so, and else where our standard input and output are
    /// one; `make` makes that, the near end first.
    ///
    /// # Errors
    /// The system's.
    pub fn new(
        tty: bool,
        voice: Voice,
        make: impl FnOnce() -> io::Result<(OwnedFd, OwnedFd)>,
    ) -> io::Result<(Self, Streams)> {
        let ours = terminal::own();
        let mut relay = Self { input: None, ends: Vec::new(), outlets: Outlet::both(voice), near: None };
        let shown = tty || (ours[0] && ours[1]);
        if !shown {
            let (stdin, input) = Input::piped()?;
            relay.input = input;
            let streams = Streams { stdin, stdout: relay.pipe(0)?, stderr: relay.pipe(1)?, terminal: false };
            return Ok((relay, streams));
        }
        let (near, far) = make()?;
        rustix::io::ioctl_fionbio(&near, true)?;
        terminal::copy_size(stdio::stdin(), &near);
        relay.ends.push((near.try_clone()?, 0));
        relay.input = Some(Input::typed(near.try_clone()?, None)?);
        relay.near = Some(near);
        // What was redirected is not for the terminal.
        let stderr = if tty || ours[2] { far.try_clone()? } else { relay.pipe(1)? };
        Ok((relay, Streams { stdin: far.try_clone()?, stdout: far, stderr, terminal: true }))
    }

    fn pipe(&mut self, outlet: usize) -> io::Result<OwnedFd> {
        let (near, far) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&near, true)?;
        self.ends.push((near, outlet));
        Ok(far)
    }

    /// Passes on what is typed, said and signalled until `ended` says how the command has ended. `signal` sends it one.
    ///
    /// # Errors
    /// The system's, and those of `ended`.
    pub fn run(
        mut self,
        watch: &Watch,
        mut ended: impl FnMut() -> io::Result<Option<End>>,
        mut signal: impl FnMut(i32),
    ) -> io::Result<End> {
        let mut raw = if self.near.is_some() { Raw::new(stdio::stdin())? } else { None };
        loop {
            if let Some(end) = ended()? {
                self.finish(watch)?;
                return Ok(end);
            }
            self.wait(watch)?;
            while let Some(came) = watch.next() {
                match (came, &self.near) {
                    (libc::SIGCHLD, _) => {}
                    (libc::SIGWINCH, Some(near)) => terminal::copy_size(stdio::stdin(), near),
                    // The window has another size, which is nothing to a command that does not see it.
                    (libc::SIGWINCH, None) if terminal::own().contains(&true) => {}
                    (libc::SIGCONT, near) => {
                        // Whoever stopped us has had the terminal meanwhile.
                        if near.is_some() && raw.is_none() {
                            raw = Raw::new(stdio::stdin())?;
                        } else if let Some(raw) = &raw {
                            raw.again();
                        }
                        signal(came);
                    }
                    (came, _) => signal(came),
                }
            }
        }
    }

    /// Until something has come, which is passed on.
    fn wait(&mut self, watch: &Watch) -> io::Result<()> {
        let [out, err] = &self.outlets;
        let times = [self.input.as_ref().and_then(Input::wakes), out.wakes(), err.wakes()];
        let mut waiting = vec![PollFd::new(watch, PollFlags::IN)];
        let open: Vec<bool> = self.ends.iter().map(|(_, outlet)| self.outlets[*outlet].has_room()).collect();
        let ends = self.ends.iter().zip(&open).filter(|(_, open)| **open);
        waiting.extend(ends.map(|((end, _), _)| PollFd::new(end, PollFlags::IN)));
        let outlets = self.outlets.iter().filter_map(Outlet::waits_for);
        waiting.extend(outlets.map(|(to, flags)| PollFd::from_borrowed_fd(to, flags)));
        let typing = self.input.as_ref().and_then(Input::waits_for);
        waiting.extend(typing.map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags)));
        match poll(&mut waiting, until(times).as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let came = typing.is_some() && waiting.last().is_some_and(|last| !last.revents().is_empty());
        drop(waiting);
        if let Some(input) = &mut self.input {
            input.go_on(came);
        }
        self.outlets.iter_mut().for_each(Outlet::go_on);
        self.take_turns()
    }

    /// Reads once of each.
    fn take_turns(&mut self) -> io::Result<()> {
        let Self { ends, outlets, near, input, .. } = self;
        let mut kept = Vec::with_capacity(ends.len());
        let mut bytes = [0_u8; TURN];
        for (end, number) in ends.drain(..) {
            let outlet = &mut outlets[number];
            let mut open = !outlet.is_gone();
            if open && outlet.has_room() {
                match turn(&end, &mut bytes)? {
                    Turn::Some(length) => outlet.give(&bytes[..length]),
                    Turn::None => {}
                    Turn::End => open = false,
                }
            }
            // Who writes where nobody reads any more is told so by the system.
            if open && !outlet.is_gone() {
                kept.push((end, number));
            } else if number == 0 && near.take().is_some() {
                *input = None;
            }
        }
        *ends = kept;
        Ok(())
    }

    /// What the command has said until its end is all there is: what it has left behind may go on, unheard.
    fn finish(&mut self, watch: &Watch) -> io::Result<()> {
        self.input = None;
        let mut bytes = [0_u8; TURN];
        for (end, number) in std::mem::take(&mut self.ends) {
            // A terminal tells the length of one piece of several; there is no more in it than this.
            let terminal = self.near.is_some() && number == 0;
            let length = rustix::io::ioctl_fionread(&end).unwrap_or(0);
            let mut left = if terminal { FULL as u64 } else { length };
            while left > 0 {
                match turn(&end, &mut bytes)? {
                    Turn::Some(length) => {
                        left = left.saturating_sub(length as u64);
                        self.outlets[number].give(&bytes[..length]);
                        if !self.outlets[number].has_room() {
                            self.outlets[number].finish(watch);
                        }
                    }
                    Turn::None | Turn::End => break,
                }
            }
            self.outlets[number].finish(watch);
        }
        Ok(())
    }
}

/// The signals that [`Relay::run`] is to be called with a watch for.
pub fn watched() -> Vec<i32> {
    FORWARDED.iter().copied().chain([libc::SIGCHLD]).collect()
}
