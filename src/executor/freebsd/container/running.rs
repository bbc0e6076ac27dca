//! A container's processes, by their numbers and by its jail.

use std::io;

use rustix::process::Pid;

use super::limits;
use crate::executor::container::{Container, Started};
use crate::executor::freebsd::facts;
use crate::executor::freebsd::{FreeBsd, NAME, Real, System as _, signal_all};
use crate::executor::isolation::Report;
use crate::executor::{Error, Kind};
use crate::oci::bundle::Resources;
use crate::sys::freebsd::kernel::{self, State};
use crate::sys::signals;

impl Started {
    /// The process of this number, as long as it has not ended.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let process = kernel::process(pid).ok()??;
        (process.state != State::Ended).then_some(Self { pid, at: process.started })
    }

    /// Sends it a signal.
    pub(crate) fn send(self, signal: i32) -> io::Result<()> {
        let gone = || io::Error::from_raw_os_error(libc::ESRCH);
        let pid = Pid::from_raw(self.pid).filter(|_| self.alive()).ok_or_else(gone)?;
        Ok(signals::send(pid, signal)?)
    }
}

impl Container {
    /// The id of its jail, as long as that is there.
    pub(super) fn jail(&self) -> io::Result<Option<i32>> {
        self.kept.jail.as_deref().map_or(Ok(None), |name| Real.find_jail(name))
    }

    pub(crate) fn frozen(&self) -> bool {
        let process = self.kept.process.filter(|process| process.alive());
        let state = process.and_then(|process| kernel::process(process.pid).ok()?);
        state.is_some_and(|process| process.state == State::Stopped)
    }

    /// Makes all its processes stand still, or go on.
    ///
    /// # Errors
    /// The system's.
    pub fn freeze(&self, freeze: bool) -> Result<(), Error> {
        let doing = if freeze { "pause" } else { "resume" };
        let failed =
            |error: io::Error| Error::new(Kind::Io, format!("{doing} the container {}", self.kept.id)).because(error);
        match self.jail().map_err(failed)? {
            Some(jail) => signal_all(jail, if freeze { libc::SIGSTOP } else { libc::SIGCONT }).map_err(failed),
            None => Err(failed(io::ErrorKind::NotFound.into())),
        }
    }

    /// The numbers of all its processes.
    pub fn processes(&self) -> Vec<i32> {
        let jail = self.jail().ok().flatten();
        let mut all = jail.and_then(|jail| kernel::processes_in(jail).ok()).unwrap_or_default();
        all.sort_unstable();
        all
    }

    /// Sends a signal to all its processes.
    pub fn signal_all(&self, signal: i32) {
        if let Ok(Some(jail)) = self.jail() {
            let _ = signal_all(jail, signal);
        }
    }

    /// Takes back what was done to the host for it, and forgets it, as [`Container::remove_by`] does.
    ///
    /// # Errors
    /// What could not be taken back: it is still known then.
    pub(crate) fn remove(&self, salvage: bool) -> Result<Vec<Error>, Error> {
        self.remove_by(&mut FreeBsd::new(Real), NAME, salvage)
    }
}

/// Changes what bounds a container. Gives what of it does not hold.
///
/// # Errors
/// The system's.
pub fn update(container: &Container, resources: &Resources) -> Result<Vec<String>, Error> {
    let failed = |error: std::io::Error| {
        Error::new(Kind::Io, format!("update the container {}", container.kept.id)).because(error)
    };
    let racct = facts::is_on(&mut Real, "kern.racct.enable");
    let mut report = Report::new();
    let rules = limits::rules(resources, racct, &mut report);
    let name = container.kept.jail.as_deref().unwrap_or_default();
    for rule in rules {
        // A new number for a rule that kills is a second rule, of which the stricter holds; one that denies takes the other's place.
        let resource = rule.split('=').next().unwrap_or_default();
        Real.remove_rules(&format!("jail:{name}:{resource}")).map_err(failed)?;
        Real.add_rule(&format!("jail:{name}:{rule}")).map_err(failed)?;
    }
    Ok(report.unmet().map(ToString::to_string).collect())
}
