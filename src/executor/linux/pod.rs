//! A pod that runs, as its supervisor has it: the pod's first process at the other end of a channel.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};

use super::carrier::Carrying;
use super::inside;
use super::isolators::cgroup::killed_for_memory;
use super::message::{Order, Report};
use super::steps::{ProcessStep, Step};
use crate::executor::supervise::{End, Event, Pod};
use crate::executor::{Error, Kind, Phase};
use crate::sys::linux::channel::Channel;
use crate::sys::linux::process::Child;

/// A running pod. Dropping it kills the pod and waits for its end.
pub struct LinuxPod {
    channel: Channel,
    init: Child,
    listener: Option<TcpListener>,
    terminal: Option<OwnedFd>,
    ready: bool,
    gone: bool,
    /// One entry an app.
    memory: Vec<Memory>,
    /// What carries its packets, as long as that runs.
    carrying: Option<Carrying>,
    /// What tells of the channel and of the carrier, where there is one.
    all: Option<OwnedFd>,
    /// What holds ports of the host.
    _held: Vec<OwnedFd>,
}

/// The most events that are taken at once.
const TURN: usize = 64;

/// What tells when an app has run out of memory.
struct Memory {
    groups: Vec<PathBuf>,
    /// Processes that had been killed when it was last looked at.
    killed: u64,
}

impl Memory {
    /// Whether `end` was the kernel's doing: it looks like it, and the kernel has killed since the last time.
    fn ran_out(&mut self, end: End) -> bool {
        if end.code() != End::Signal(libc::SIGKILL).code() {
            return false;
        }
        let killed = self.groups.iter().filter_map(|group| killed_for_memory(group)).sum();
        std::mem::replace(&mut self.killed, killed) < killed
    }
}

impl Drop for LinuxPod {
    fn drop(&mut self) {
        self.kill();
        let _ = waitid(WaitId::PidFd(self.init.handle.as_fd()), WaitIdOptions::EXITED);
    }
}

/// Readable when either is.
fn both(channel: &Channel, carrying: &Carrying) -> io::Result<OwnedFd> {
    use rustix::event::epoll;
    let all = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for one in [channel.as_fd(), carrying.descriptor()] {
        epoll::add(&all, one, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
    }
    Ok(all)
}

/// The control groups that an app's processes join.
fn groups_of(app: usize, steps: &[Step]) -> Vec<PathBuf> {
    let joined = steps.iter().filter_map(|step| match step {
        Step::Process { app: of, step: ProcessStep::JoinGroups { paths } } if *of == app => Some(paths),
        _ => None,
    });
    joined.flatten().cloned().collect()
}

impl LinuxPod {
    /// The pod of so many apps whose first process is `init`, at the other end of `channel`, made by `steps`; `held` holds ports of the host.
    pub(super) fn new(
        channel: Channel,
        init: Child,
        apps: usize,
        steps: &[Step],
        carrying: Option<Carrying>,
        held: Vec<OwnedFd>,
    ) -> io::Result<Self> {
        let all = carrying.as_ref().map(|carrying| both(&channel, carrying)).transpose()?;
        let memory = (0..apps).map(|app| Memory { groups: groups_of(app, steps), killed: 0 }).collect();
        let (listener, terminal, ready, gone) = (None, None, false, false);
        Ok(Self { channel, init, listener, terminal, ready, gone, memory, carrying, all, _held: held })
    }

    fn order(&self, order: &Order) -> Result<(), Error> {
        let bytes = serde_json::to_vec(order).map_err(|e| Error::new(Kind::Io, "tell the pod").because(e))?;
        match self.channel.send(&bytes, &[]) {
            Ok(()) => Ok(()),
            // The pod has ended meanwhile, which comes as an event.
            Err(error) if inside::is(&error, rustix::io::Errno::PIPE) => Ok(()),
            Err(error) => Err(Error::new(Kind::Io, "tell the pod").because(error)),
        }
    }

    fn wait_until_ready(&mut self) -> Result<Vec<Event>, Error> {
        let mut events = Vec::new();
        while !self.ready {
            let failed = |error: io::Error| Error::new(Kind::Io, "hear from the pod").because(error);
            let Some(message) = self.channel.receive(true).map_err(failed)? else {
                return Err(Error::new(Kind::Io, "set up the pod").because("its first process ended without a word"));
            };
            match read(&message.bytes)? {
                Report::Ready { listener, terminal } => {
                    self.ready = true;
                    let mut descriptors = message.descriptors.into_iter();
                    self.listener = if listener { descriptors.next().map(TcpListener::from) } else { None };
                    self.terminal = if terminal { descriptors.next() } else { None };
                }
                Report::Broken(complaint) => return Err(complaint.into()),
                Report::Warning(text) => events.push(Event::Warning(text)),
                _ => {}
            }
        }
        Ok(events)
    }
}

/// Ends the first process of the pod that this process supervises, and with that all of the pod.
pub(crate) fn end_pod_of(supervisor: i32) -> io::Result<()> {
    use rustix::process::{PidfdFlags, pidfd_open};
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else {
            continue;
        };
        // Looked at twice, as the number may be another process's before there is a descriptor.
        if !is_first_of(pid.as_raw_pid(), supervisor) {
            continue;
        }
        let process = pidfd_open(pid, PidfdFlags::empty())?;
        if is_first_of(pid.as_raw_pid(), supervisor) {
            pidfd_send_signal(&process, Signal::KILL)?;
        }
    }
    Ok(())
}

/// Whether the process is the first of a pid namespace that its parent `supervisor` is not in.
fn is_first_of(pid: i32, supervisor: i32) -> bool {
    let about = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| about.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let numbers = field("NSpid:").map(|numbers| numbers.split_whitespace().collect::<Vec<_>>());
    field("PPid:") == Some(supervisor.to_string().as_str())
        && numbers.is_some_and(|numbers| numbers.len() > 1 && numbers.last() == Some(&"1"))
}

fn read(bytes: &[u8]) -> Result<Report, Error> {
    serde_json::from_slice(bytes).map_err(|e| Error::new(Kind::Io, "understand the pod's first process").because(e))
}

impl Pod for LinuxPod {
    fn prepare(&mut self) -> Result<Vec<Event>, Error> {
        self.wait_until_ready()
    }

    fn metadata_listener(&mut self) -> Result<Option<TcpListener>, Error> {
        Ok(self.listener.take())
    }

    fn terminal(&mut self) -> Option<OwnedFd> {
        self.terminal.take()
    }

    fn start(&mut self, app: usize, phase: Phase, metadata_url: Option<&str>) -> Result<(), Error> {
        self.order(&Order::Start { app, phase, metadata_url: metadata_url.map(str::to_owned) })
    }

    fn signal(&mut self, app: usize, signal: i32) -> Result<(), Error> {
        self.order(&Order::Signal { app, signal })
    }

    fn clear(&mut self, app: usize) -> Result<(), Error> {
        self.order(&Order::Clear { app })
    }

    fn kill(&mut self) {
        if !self.gone {
            self.gone = true;
            // It cannot have been reaped by anyone else, so the descriptor still means it.
            let _ = pidfd_send_signal(&self.init.handle, Signal::KILL);
        }
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.all.as_ref().map_or(self.channel.as_fd(), AsFd::as_fd)
    }

    fn events(&mut self) -> Result<Vec<Event>, Error> {
        let mut events = Vec::new();
        if let Some(why) = self.carrying.as_mut().and_then(Carrying::ended) {
            if let Some(carrying) = self.carrying.take() {
                carrying.forget();
            }
            let error = Error::new(Kind::Io, "keep the pod connected to network default");
            events.push(Event::Trouble(error.because(why)));
        }
        // What more there is the next call gives.
        while events.len() < TURN {
            let message = match self.channel.receive(false) {
                Ok(Some(message)) => message,
                Ok(None) => {
                    events.push(Event::Gone);
                    return Ok(events);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(events),
                Err(error) if inside::is(&error, rustix::io::Errno::CONNRESET) => {
                    events.push(Event::Gone);
                    return Ok(events);
                }
                Err(error) => return Err(Error::new(Kind::Io, "hear from the pod").because(error)),
            };
            let report = match read(&message.bytes) {
                Ok(report) => report,
                Err(error) => {
                    events.push(Event::Trouble(error));
                    continue;
                }
            };
            match report {
                Report::Started { app, phase } => events.push(Event::Started { app, phase, pid: message.sender }),
                Report::Failed { app, phase, why } => events.push(Event::Failed { app, phase, error: why.into() }),
                Report::Ended { app, phase, end } => {
                    if self.memory.get_mut(app).is_some_and(|memory| memory.ran_out(end)) {
                        events.push(Event::OutOfMemory { app });
                    }
                    events.push(Event::Ended { app, phase, end });
                }
                Report::Warning(text) => events.push(Event::Warning(text)),
                Report::Notified { app, text } => events.push(Event::Notified { app, text }),
                Report::Ready { .. } => {}
                Report::Broken(complaint) => events.push(Event::Trouble(complaint.into())),
            }
        }
        Ok(events)
    }
}
