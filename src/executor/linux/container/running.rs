//! A container's processes, by their numbers and by its control groups.

use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::executor::container::{Container, Group, Started};
use crate::executor::linux::{LinuxHost, NAME};
use crate::executor::{Error, Kind};

impl Started {
    /// The process of this number, as long as it has not ended.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // Its name may hold anything but ends at the last parenthesis.
        let mut fields = stat.rsplit(')').next()?.split_ascii_whitespace();
        let state = fields.next()?;
        let at = fields.nth(18)?.parse().ok()?;
        (!["Z", "X", "x"].contains(&state)).then_some(Self { pid, at })
    }

    /// Sends it a signal.
    pub(crate) fn send(self, signal: i32) -> io::Result<()> {
        let pid = Pid::from_raw(self.pid).ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
        let handle = pidfd_open(pid, PidfdFlags::empty())?;
        // Now that it can be no other's, whether it is the one that was meant.
        if !self.alive() {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        crate::sys::linux::process::send_signal(handle.as_fd(), signal)
    }
}

impl Container {
    fn freezer(&self) -> Option<(&Group, &'static str)> {
        let of = |group: &Group| group.unified || group.controllers.iter().any(|name| name == "freezer");
        let group = self.kept.groups.iter().find(|group| of(group))?;
        Some((group, if group.unified { "cgroup.freeze" } else { "freezer.state" }))
    }

    pub(crate) fn frozen(&self) -> bool {
        let Some((group, file)) = self.freezer() else { return false };
        let state = fs::read_to_string(group.path.join(file)).unwrap_or_default();
        matches!(state.trim(), "FROZEN" | "FREEZING" | "1")
    }

    /// Makes all its processes stand still, or go on.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] without a group for that.
    pub fn freeze(&self, freeze: bool) -> Result<(), Error> {
        let doing = if freeze { "pause" } else { "resume" };
        let doing = || format!("{doing} the container {}", self.kept.id);
        let (group, file) = self
            .freezer()
            .ok_or_else(|| Error::new(Kind::Unsupported, doing()).because("it has no control group for that"))?;
        let failed = |error: io::Error| Error::new(Kind::Io, doing()).because(error);
        let (word, reached) = match (group.unified, freeze) {
            (true, true) => ("1", "frozen 1"),
            (true, false) => ("0", "frozen 0"),
            (false, true) => ("FROZEN", "FROZEN"),
            (false, false) => ("THAWED", "THAWED"),
        };
        let seen = group.path.join(if group.unified { "cgroup.events" } else { file });
        for _ in 0..1000 {
            fs::write(group.path.join(file), word).map_err(failed)?;
            let state = fs::read_to_string(&seen).map_err(failed)?;
            if state.lines().any(|line| line == reached) {
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        // What cannot be stopped whole is not left half stopped.
        if freeze {
            let _ = fs::write(group.path.join(file), if group.unified { "0" } else { "THAWED" });
        }
        Err(failed(io::Error::other("some process does not follow")))
    }

    /// The numbers of all its processes, those in groups below too.
    pub fn processes(&self) -> Vec<i32> {
        fn collect(path: &Path, all: &mut Vec<i32>) {
            let text = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
            all.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
            for entry in fs::read_dir(path).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    collect(&entry.path(), all);
                }
            }
        }
        let mut all = Vec::new();
        let last =
            |group: &&Group| group.unified || group.controllers.iter().any(|name| name == "pids" || name == "devices");
        match self.kept.groups.iter().find(last).or(self.kept.groups.first()) {
            Some(group) => collect(&group.path, &mut all),
            None => all.extend(self.kept.process.filter(|process| process.alive()).map(|process| process.pid)),
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Sends a signal to all its processes.
    pub fn signal_all(&self, signal: i32) {
        for pid in self.processes() {
            if let Some(process) = Started::of(pid) {
                let _ = process.send(signal);
            }
        }
    }

    /// Takes back what was done to the host for it, and forgets it, as [`Container::remove_by`] does.
    ///
    /// # Errors
    /// What could not be taken back: it is still known then.
    pub(crate) fn remove(&self, salvage: bool) -> Result<Vec<Error>, Error> {
        self.remove_by(&mut LinuxHost::default(), NAME, salvage)
    }
}
