//! What a signal to the supervisor means, and how its apps are asked to stop.

use std::io;
use std::time::{Duration, Instant};

use super::{Life, Phase, Raw, Stream, terminal};
use crate::executor::supervise::{Event, Pod};
use crate::pod::Part;
use crate::sys::signals;

impl<P: Pod> Life<'_, P> {
    /// What a signal to the supervisor means, as `jetpack run --help` has it.
    pub(super) fn interrupted(&mut self, signal: i32) {
        match signal {
            libc::SIGTERM => self.stop(libc::SIGTERM),
            // Who asks again does not want to wait.
            libc::SIGINT if self.stopping.is_some() => self.kill_all(),
            libc::SIGINT => self.stop(libc::SIGINT),
            libc::SIGHUP if self.has_lost_its_terminal() => self.stop(libc::SIGHUP),
            libc::SIGWINCH if self.terminal.is_some() => self.resize(),
            // The window has another size, which is nothing to who does not see it; to some servers it is a word of command.
            libc::SIGWINCH if self.terminals.contains(&true) => {}
            libc::SIGCONT => {
                // Whoever stopped us has had the terminal meanwhile.
                if let Some((_, raw)) = self.terminal.as_mut().filter(|_| self.awaited) {
                    match raw {
                        Some(raw) => raw.again(),
                        None => *raw = Raw::new(io::stdin()).ok().flatten(),
                    }
                }
                self.pass_on(signal)
            }
            _ => self.pass_on(signal),
        }
    }

    /// Gives the pod's terminal the size of ours, or of that of whoever has attached to the pod.
    pub(super) fn resize(&self) {
        let Some((near, _)) = &self.terminal else { return };
        if self.awaited {
            terminal::copy_size(io::stdin(), near);
        } else if let Some(size) = self.directory.window() {
            terminal::set_size(near, size);
        }
    }

    pub(super) fn pass_on(&mut self, signal: i32) {
        for app in 0..self.running.len() {
            if self.running[app] == Some(Phase::Main) {
                self.send(app, signal);
            }
        }
    }

    /// What was a terminal of ours and is none any more has been hung up.
    pub(super) fn has_lost_its_terminal(&self) -> bool {
        self.terminals.into_iter().zip(terminal::own()).any(|(before, now)| before && !now)
    }

    /// Asks the apps to stop, by `signal` the first time. Each time brings its own time; the shortest counts.
    pub(super) fn stop(&mut self, signal: i32) {
        let grace = self.directory.read_json(Part::Grace).map_or(self.grace, Duration::from_secs);
        let end = Instant::now() + grace;
        if let Some(until) = &mut self.stopping {
            *until = (*until).min(end);
            return;
        }
        self.stopping = Some(end);
        self.end_restarts();
        for app in 0..self.running.len() {
            if matches!(self.running[app], Some(Phase::PreStart | Phase::Main)) {
                self.status.apps[app].stopped = true;
                // An interactive shell heeds the loss of its terminal only.
                let shell = self.plan.apps[app].stdio.stdin == Stream::Tty;
                let signal = match signal {
                    libc::SIGHUP if shell => signal,
                    libc::SIGHUP | libc::SIGTERM => {
                        let own = self.plan.apps[app].stop_signal.as_deref().and_then(signals::named);
                        own.unwrap_or(libc::SIGTERM)
                    }
                    signal => signal,
                };
                // Without time none is asked.
                if !grace.is_zero() {
                    self.send(app, signal);
                }
            }
        }
        self.save();
    }

    pub(super) fn kill_all(&mut self) {
        self.end_restarts();
        self.answering = None;
        self.pod.kill();
        self.happen(vec![Event::Gone]);
    }

    pub(super) fn send(&mut self, app: usize, signal: i32) {
        if let Err(error) = self.pod.signal(app, signal) {
            self.trouble(&error);
        }
    }
}
