//! Into the apps of a pod from outside: a command beside a running app, or its files, whether it runs or not.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::process::{
    DumpableBehavior, Signal, WaitId, WaitIdOptions, WaitOptions, dumpable_behavior, set_dumpable_behavior,
    set_parent_process_death_signal, waitid, waitpid,
};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};

use super::doors::Way;
use super::filesystem::Filesystem;
use super::groups::FIRST;
use super::host::{clone_mapped, make_mount_points, namespaces_of};
use super::inside::{self, Reach};
use super::process::{Process, join_groups, open_groups, separate_groups, with_rootfs};
use super::steps::{AppStep, ProcessStep, Step};
use crate::executor::complaint::Complaint;
use crate::executor::copy::{self, Copy, Source, Target, no_place};
use crate::executor::plan::PodPlan;
use crate::executor::relay::{self, Relay};
use crate::executor::supervise::End;
use crate::executor::users::Otherwise;
use crate::executor::{Error, Kind, journal};
use crate::layer::{Left, Level, Ours, Whence};
use crate::pod::{Part, PodDir, State};
use crate::sys::linux::channel;
use crate::sys::linux::process::{self as sys, namespace};
use crate::sys::output::Voice;
use crate::sys::signals::Watch;

/// An app of a pod on disk.
pub struct Entrance<'a> {
    pod: &'a PodDir,
    plan: PodPlan,
    steps: Vec<Step>,
    app: usize,
}

impl<'a> Entrance<'a> {
    /// The app of this name, or the only one.
    ///
    /// # Errors
    /// As of [`PodPlan::of`].
    pub fn new(pod: &'a PodDir, name: Option<&str>) -> Result<Self, Error> {
        let (plan, app) = PodPlan::of(pod, name)?;
        // What was done at the start, whatever this host would have done by now.
        let steps = journal::read_whole(&pod.place(Part::Journal), super::NAME)?;
        Ok(Self { pod, plan, steps, app })
    }

    /// The way to the app, as long as its main process runs.
    fn way(&self) -> Result<Way, Error> {
        let doing = || format!("enter app {}", self.plan.apps[self.app].name);
        let runs = self.pod.status().and_then(|status| status.apps.get(self.app)?.pid).is_some();
        if !runs || self.pod.state() != State::Running {
            return Err(Error::new(Kind::Missing, doing()).because("it does not run"));
        }
        Way::open(self.pod, self.app).map_err(|error| {
            let kind = if error.kind() == io::ErrorKind::NotFound { Kind::Missing } else { Kind::Io };
            Error::new(kind, doing()).because(error)
        })
    }

    /// Runs `command` beside the app, as the app's own processes run but for what `otherwise` says, and gives how it ended. With
    /// `tty`, or where the caller's input and output are a terminal, it gets one of the app's, shown through the caller's. The caller has one
    /// thread and does not come back out.
    ///
    /// # Errors
    /// The app does not run, or the command cannot be started.
    pub fn execute(&self, command: &[String], otherwise: &Otherwise, tty: bool, voice: Voice) -> Result<End, Error> {
        let failed = |error: io::Error| Error::new(Kind::Io, "enter the pod").because(error);
        let way = self.way()?;
        let identity = way.identity.clone().ok_or_else(|| failed(io::Error::other("it is nobody's")))?;
        let url = self.pod.metadata_url();
        let watch = Watch::new(&relay::watched()).map_err(failed)?;
        // Before anything of the pod can see this process.
        set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|e| failed(e.into()))?;
        let steps = self.steps.iter().filter_map(|step| match step {
            Step::Process { app, step } if *app == self.app => Some(changed(step.clone(), otherwise)),
            _ => None,
        });
        let steps: Vec<ProcessStep> = steps.collect();
        let steps: Vec<&ProcessStep> = steps.iter().collect();
        let groups = open_groups(steps.iter().copied())?;
        if !rustix::process::geteuid().is_root()
            && let Some(Step::StartScope(scope)) = self.steps.iter().find(|step| matches!(step, Step::StartScope(_)))
        {
            scope.attach(FIRST).map_err(|error| Error::new(Kind::Io, "enter the pod's scope").because(error))?;
        }
        way.enter().map_err(failed)?;
        let (relay, streams) = Relay::new(tty, voice, pseudo_terminal).map_err(failed)?;
        let identity = with_rootfs(|rootfs| otherwise.identity(&identity, rootfs))?.unwrap_or(identity);
        let mut app = self.plan.apps[self.app].clone();
        otherwise.put_environment(&mut app.environment);
        let mut failure = None;
        let child = sys::lend(|| {
            let _ = set_parent_process_death_signal(Some(Signal::KILL));
            let ready = join_groups(&groups)
                .and_then(|()| separate_groups(steps.iter().copied()))
                .and_then(|()| Process::connect(&streams, &[]));
            failure = Some(match ready {
                Ok(()) => {
                    let process = Process {
                        fault: None,
                        has_keyring: false,
                        app: &app,
                        exec: command,
                        identity: &identity,
                        steps,
                        metadata_url: url.as_deref(),
                        listening: Vec::new(),
                        notify: None,
                    };
                    process.become_program()
                }
                Err(error) => error,
            });
            125
        });
        let child = child.map_err(failed)?;
        drop(streams);
        if let Some(error) = failure {
            let _ = waitid(WaitId::PidFd(child.handle.as_fd()), WaitIdOptions::EXITED);
            return Err(error);
        }
        let ended = || match waitpid(Some(child.pid), WaitOptions::NOHANG)? {
            Some((_, status)) => {
                let signal = status.terminating_signal().map(End::Signal);
                Ok(Some(signal.unwrap_or(End::Status(status.exit_status().unwrap_or(125)))))
            }
            None => Ok(None),
        };
        // It leads a session of its own: what a terminal would send goes to all of its group.
        let signal = |signal| {
            if let Some(signal) = Signal::from_named_raw(signal) {
                let _ = rustix::process::kill_process_group(child.pid, signal);
            }
        };
        relay.run(&watch, ended, signal).map_err(failed)
    }

    /// Runs `body` with the root directory of the app's files, in a process of its own.
    ///
    /// # Errors
    /// Those of `body`, and when the files cannot be reached.
    pub fn with_files(&self, body: impl FnOnce(BorrowedFd<'_>) -> Result<(), Error>) -> Result<(), Error> {
        let running = if self.pod.state() == State::Running { Some(self.way()?) } else { None };
        self.with_files_of(running.as_ref(), body)
    }

    /// Those as the running app has them, or as they were left.
    fn with_files_of(
        &self,
        running: Option<&Way>,
        body: impl FnOnce(BorrowedFd<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let failed = |error: io::Error| Error::new(Kind::Io, "reach the app's files").because(error);
        let work = || match running {
            Some(way) => {
                let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
                way.enter_files().and_then(|()| inside::root()).map_err(failed).and_then(|root| body(root.as_fd()))
            }
            None => self.stand(true).and_then(|files| body(files.root().map_err(failed)?)),
        };
        self.apart(running.is_none(), work, || ())
    }

    /// Runs `body` with what the app left of its tree, in a process of its own, while `beside` runs in this one.
    ///
    /// # Errors
    /// Those of `body`, and when the files cannot be reached.
    pub fn with_left<T>(
        &self,
        body: impl FnOnce(&Left<'_>) -> Result<(), Error> + Send,
        beside: impl FnOnce() -> T,
    ) -> Result<T, Error> {
        let failed = |error: io::Error| Error::new(Kind::Io, "reach the app's files").because(error);
        let work = || {
            let (own, layers): (Vec<PathBuf>, Vec<PathBuf>) =
                self.plan.apps[self.app].layers.iter().cloned().partition(|layer| layer.starts_with(self.pod.path()));
            let ours = self.ours(&Level::root(&layers).map_err(failed)?);
            // Before the tree stands, which hides the directory that the upper layer is in.
            let whence = self.whence(own).map_err(failed)?;
            let files = self.stand(false)?;
            body(&Left { root: files.root().map_err(failed)?, layers: &layers, whence: &whence, ours: &ours })
        };
        self.apart(true, work, beside)
    }

    /// Runs `work` in a process of its own, where `mounting` with mounts and ids as the pod has them, and `beside` in this one.
    fn apart<T>(
        &self,
        mounting: bool,
        work: impl FnOnce() -> Result<(), Error>,
        beside: impl FnOnce() -> T,
    ) -> Result<T, Error> {
        let failed = |error: io::Error| Error::new(Kind::Io, "reach the app's files").because(error);
        let (ours, theirs) = channel::pair().map_err(failed)?;
        let (mut beside, mut theirs) = (Some(beside), Some(theirs));
        let run = || {
            // What it holds is the other process's alone.
            drop(beside.take());
            if let Err(error) = work() {
                if let (Ok(bytes), Some(theirs)) = (serde_json::to_vec(&Complaint::from(&error)), &theirs) {
                    let _ = theirs.send(&bytes, &[]);
                }
                return 1;
            }
            0
        };
        let child = if mounting {
            // Whoever supervised the pod in this process had a secret; files of /proc are root's then, by which ids are mapped.
            let before = dumpable_behavior().map_err(|e| failed(e.into()))?;
            set_dumpable_behavior(DumpableBehavior::Dumpable).map_err(|e| failed(e.into()))?;
            let (flags, ids) = namespaces_of(&self.steps);
            let child = clone_mapped(flags & namespace::USER | namespace::MOUNT, ids, run);
            set_dumpable_behavior(before).map_err(|e| failed(e.into()))?;
            child?
        } else {
            sys::clone(0, run).map_err(failed)?
        };
        drop(theirs.take());
        let done = beside.take().map(|beside| beside());
        let complaint = ours.receive(true).map_err(failed)?;
        let status =
            waitid(WaitId::PidFd(child.handle.as_fd()), WaitIdOptions::EXITED).map_err(|e| failed(e.into()))?;
        match (complaint, done) {
            (Some(message), _) => Err(serde_json::from_slice::<Complaint>(&message.bytes)
                .map(Error::from)
                .unwrap_or_else(|e| failed(io::Error::other(e)))),
            (None, Some(done)) if status.and_then(|status| status.exit_status()) == Some(0) => Ok(done),
            _ => Err(failed(io::Error::other("the process that does it ended without a word"))),
        }
    }

    /// What the executor made in the app's tree, which is stacked on `tree`.
    fn ours(&self, tree: &Level) -> Ours {
        let mut ours = Ours::default();
        for step in &self.steps {
            let Step::App { app, step } = step else { continue };
            match step {
                _ if *app != self.app => {}
                AppStep::MountProc => ours.place(tree, Path::new("/proc")),
                AppStep::MountSys { .. } => ours.place(tree, Path::new("/sys")),
                AppStep::MountDev { .. } => ours.place(tree, Path::new("/dev")),
                AppStep::MountVolume { target, .. } => ours.place(tree, target),
                AppStep::ProvideFile { path, content, replace } => ours.file(tree, path, content, *replace),
                _ => {}
            }
        }
        ours
    }

    /// Where the app's tree may differ from its layers, of which `own` are no image's.
    fn whence(&self, own: Vec<PathBuf>) -> io::Result<Whence> {
        for step in &self.steps {
            match step {
                Step::App { app, step: AppStep::MountOverlay { upper, work, .. } } if *app == self.app => {
                    // With an index, a change to one name of a file shows under its others too, wherever they are.
                    if work.join("index").exists() {
                        return Ok(Whence::Everywhere);
                    }
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                    let open = |path: PathBuf| rustix::fs::open(path, flags, Mode::empty());
                    let uppers = own.into_iter().chain([upper.clone()]).map(open);
                    return Ok(Whence::Uppers(uppers.collect::<Result<_, _>>()?));
                }
                _ => {}
            }
        }
        Ok(Whence::Everywhere)
    }

    /// The rootfs as the app left it, in the calling process's own mount namespace, with `volumes` where they are still there.
    fn stand(&self, volumes: bool) -> Result<Filesystem, Error> {
        let failed = |error: io::Error| Error::new(Kind::Io, "reach the app's files").because(error);
        crate::sys::linux::mount::make_private(inside::root().map_err(failed)?.as_fd()).map_err(failed)?;
        let mut files = Filesystem::new(None);
        for step in &self.steps {
            match step {
                Step::MakeMountPoints { path } => make_mount_points(path).map_err(failed)?,
                Step::App { app, step: step @ AppStep::MountOverlay { work, .. } } if *app == self.app => {
                    // The mark of an overlay that was not synced; its file system has not crashed since.
                    let mark = work.join("work/incompat/volatile");
                    if mark.exists() {
                        crate::executor::remove_tree(&mark)?;
                    }
                    files.apply(step)?;
                }
                Step::App { app, step: AppStep::CopyRootfs { at, .. } } if *app == self.app => {
                    files.apply(&AppStep::CopyRootfs { lower: Vec::new(), at: at.clone() })?;
                }
                Step::App { app, step: step @ AppStep::MountVolume { .. } } if volumes && *app == self.app => {
                    let _ = files.apply(step);
                }
                _ => {}
            }
        }
        Ok(files)
    }

    /// Copies `from` of the app to `to` on the host.
    ///
    /// # Errors
    /// The system's, naming the path.
    pub fn copy_out(&self, from: &Path, to: &Path, options: &copy::Options<'_>) -> Result<(), Error> {
        let failed = |error: io::Error| Error::new(Kind::Io, format!("copy {}", from.display())).because(error);
        let copy = Copy::new(options, false).map_err(failed)?;
        let target = Target::on_host(to).map_err(|error| no_place(to, error))?;
        self.with_files(|root| {
            let open = |path: &Path, flags| inside::open(root, path, flags, Reach::Anywhere);
            Source::new(from, options.follow, open).and_then(|source| copy.run(&source, &target)).map_err(failed)
        })
    }

    /// Copies `from` on the host to `to` of the app.
    ///
    /// # Errors
    /// The system's, naming the path.
    pub fn copy_in(&self, from: &Path, to: &Path, options: &copy::Options<'_>) -> Result<(), Error> {
        let failed = |error: io::Error| Error::new(Kind::Io, format!("copy {}", from.display())).because(error);
        let copy = Copy::new(options, true).map_err(failed)?;
        let source = Source::on_host(from, options.follow).map_err(failed)?;
        self.with_files(|root| {
            let open = |path: &Path, flags| inside::open(root, path, flags, Reach::Anywhere);
            let target = Target::new(to, open).map_err(|error| no_place(to, error))?;
            copy.run(&source, &target).map_err(failed)
        })
    }

    /// Packs the app's files as they are now with its image's manifest. The caller has the pod in hand, and it does not run.
    ///
    /// # Errors
    /// The system's.
    pub fn export(&self, out: &Path, overwrite: crate::aci::build::Overwrite) -> Result<(), Error> {
        let doing = || format!("export app {} of pod {}", self.plan.apps[self.app].name, self.pod.uuid());
        let failed = |error: &dyn std::error::Error| Error::new(Kind::Io, doing()).because(crate::error::chain(error));
        let manifest = self.pod.read_in(Part::Images, &self.plan.apps[self.app].name).map_err(|e| failed(&e))?;
        let out = std::path::absolute(out).map_err(|e| failed(&e))?;
        let layout = self.pod.place(Part::Export);
        crate::executor::remove_tree(&layout)?;
        self.pod.make_in(Part::Export, "rootfs").map_err(|e| failed(&e))?;
        self.pod.write_in(Part::Export, "manifest", &manifest).map_err(|e| failed(&e))?;
        let rootfs = layout.join("rootfs");
        let done = self.with_files_of(None, |root| {
            let place = rustix::fs::open(&rootfs, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
            let place = place.map_err(|e| failed(&io::Error::from(e)))?;
            let copy = crate::sys::linux::mount::copy(root, false).map_err(|e| failed(&e))?;
            crate::sys::linux::mount::attach(copy.as_fd(), place.as_fd()).map_err(|e| failed(&e))?;
            let options = crate::aci::build::BuildOptions::default();
            crate::aci::build::build_file(&layout, &options, &out, overwrite).map(drop).map_err(|e| failed(&e))
        });
        match (done, crate::executor::remove_tree(&layout)) {
            (Ok(()), removed) => removed,
            (Err(error), removed) => Err(error.and(removed)),
        }
    }
}

/// A step towards one of the app's processes, as a command takes it that is run otherwise.
fn changed(mut step: ProcessStep, otherwise: &Otherwise) -> ProcessStep {
    match &mut step {
        ProcessStep::ChangeDirectory { path } => {
            otherwise.working_directory.iter().for_each(|other| path.clone_from(other));
        }
        ProcessStep::BecomeUser { supplementary, .. } if otherwise.user.is_some() => supplementary.clear(),
        _ => {}
    }
    step
}

/// A terminal of the app's own, which the calling process has entered: both its ends.
fn pseudo_terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let near = inside::open(inside::root()?.as_fd(), Path::new("/dev/pts/ptmx"), flags, Reach::NoLinks)?;
    unlockpt(&near)?;
    let far = ioctl_tiocgptpeer(&near, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    Ok((near, far))
}
