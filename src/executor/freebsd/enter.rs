//! Into the apps of a pod from outside: a command beside a running app, or its files, whether it runs or not.

use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Signal, WaitOptions, kill_process_group, waitpid};

use super::changed::{images, of_steps};
use super::launch::{Start, complained, ended, pseudo_terminal, tell};
use super::{Context, Real, Step, System as _};
use crate::aci::build::{BuildOptions, Overwrite, build_file};
use crate::executor::copy::{self, Copy, Source, Target, no_place};
use crate::executor::plan::PodPlan;
use crate::executor::relay::{self, Relay};
use crate::executor::supervise::End;
use crate::executor::users::Otherwise;
use crate::executor::{Error, Kind, journal, remove_tree};
use crate::layer::{Left, Level};
use crate::pod::{Part, PodDir, State};
use crate::sys::beneath;
use crate::sys::freebsd::process;
use crate::sys::output::Voice;
use crate::sys::signals::Watch;

/// An app of a pod on disk.
pub struct Entrance<'a> {
    pod: &'a PodDir,
    plan: PodPlan,
    app: usize,
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl<'a> Entrance<'a> {
    /// The app of this name, or the only one.
    ///
    /// # Errors
    /// As of [`PodPlan::of`].
    pub fn new(pod: &'a PodDir, name: Option<&str>) -> Result<Self, Error> {
        let (plan, app) = PodPlan::of(pod, name)?;
        Ok(Self { pod, plan, app })
    }

    /// Runs `command` beside the app, as the app's own processes run but for what `otherwise` says, and gives how it ended. With
    /// `tty`, or where the caller's input and output are a terminal, it gets one of its own, shown through the caller's. The caller has one
    /// thread.
    ///
    /// # Errors
    /// The pod does not run, or the command cannot be started.
    pub fn execute(&self, command: &[String], otherwise: &Otherwise, tty: bool, voice: Voice) -> Result<End, Error> {
        let failed = |error: io::Error| Error::new(Kind::Io, "enter the pod").because(error);
        // What was decided at the start, whatever this host would decide by now.
        let steps: Vec<Step> = journal::read_whole(&self.pod.place(Part::Journal), super::NAME)?;
        let mut context = Context::among(&steps, self.app)?.clone();
        otherwise.put_environment(&mut context.environment);
        if let Some(directory) = &otherwise.working_directory {
            context.working_directory.clone_from(directory);
        }
        if otherwise.user.is_some() {
            context.supplementary_gids.clear();
        }
        let running = self.pod.state() == State::Running;
        let jail = Real.find_jail(&context.jail).map_err(failed)?.filter(|_| running);
        let jail = jail.ok_or_else(|| {
            Error::new(Kind::Missing, format!("enter app {}", self.plan.apps[self.app].name)).because("it does not run")
        })?;
        let url = self.pod.metadata_url();
        let start = Start {
            plan: &self.plan,
            app: self.app,
            exec: command,
            context: &context,
            otherwise: Some(otherwise),
            jail,
            metadata_url: url.as_deref(),
            sockets: Vec::new(),
        };
        let watch = Watch::new(&relay::watched()).map_err(failed)?;
        let (relay, streams) = Relay::new(tty, voice, || Ok(pseudo_terminal()?)).map_err(failed)?;
        let (mut read, write) = io::pipe().map_err(failed)?;
        let pid = process::fork(|| tell(&start, &streams, write.as_fd())).map_err(failed)?;
        drop(write);
        drop(streams);
        let mut told = Vec::new();
        read.read_to_end(&mut told).map_err(failed)?;
        if let Some(error) = complained(&told) {
            let _ = waitpid(Some(pid), WaitOptions::empty());
            return Err(error);
        }
        let ended = || Ok(waitpid(Some(pid), WaitOptions::NOHANG)?.map(|(_, status)| ended(status)));
        // It leads a session of its own: what a terminal would send goes to all of its group.
        let signal = |signal| {
            if let Some(signal) = Signal::from_named_raw(signal) {
                let _ = kill_process_group(pid, signal);
            }
        };
        relay.run(&watch, ended, signal).map_err(failed)
    }

    /// The app's rootfs on the host, which is there until the pod is removed. A read-only copy is seen in its place only
    /// while the pod runs.
    fn rootfs(&self) -> PathBuf {
        self.rootfs_of(self.pod.state() == State::Running)
    }

    fn rootfs_of(&self, running: bool) -> PathBuf {
        let name = &self.plan.apps[self.app].name;
        let copy = self.pod.place(Part::Copies).join(name).join("rootfs");
        if copy.is_dir() && !running {
            return copy;
        }
        self.pod.place(Part::Root).join(name).join("rootfs")
    }

    /// Runs `body` with what the app left of its tree, while `beside` runs.
    ///
    /// # Errors
    /// Those of `body`, and when the files cannot be reached.
    pub fn with_left<T>(
        &self,
        body: impl FnOnce(&Left<'_>) -> Result<(), Error> + Send,
        beside: impl FnOnce() -> T,
    ) -> Result<T, Error> {
        let failed = |error: io::Error| Error::new(Kind::Io, "reach the app's files").because(error);
        let app = &self.plan.apps[self.app];
        let steps: Vec<Step> = journal::read_whole(&self.pod.place(Part::Journal), super::NAME)?;
        let root =
            rustix::fs::open(self.rootfs_of(false), DIRECTORY, Mode::empty()).map_err(|error| failed(error.into()))?;
        let layers = images(&app.layers, self.pod.path());
        let tree = Level::root(&layers).map_err(failed)?;
        let (ours, whence) = of_steps(&mut Real, &steps, &app.name, &tree)?;
        let left = Left { root: root.as_fd(), layers: &layers, whence: &whence, ours: &ours };
        crate::executor::changed::side_by_side(|| body(&left), beside)
    }

    /// Opens what the app has at a path, no link followed on the way.
    fn open(&self) -> impl Fn(&Path, OFlags) -> io::Result<OwnedFd> {
        let rootfs = self.rootfs();
        move |path, flags| {
            let root = rustix::fs::open(&rootfs, DIRECTORY, Mode::empty())?;
            let named = |part: &Component<'_>| !matches!(part, Component::RootDir | Component::CurDir);
            let relative: PathBuf = path.components().filter(named).collect();
            beneath::open(root.as_fd(), relative.as_os_str().as_bytes(), flags)
        }
    }

    /// Copies `from` of the app to `to` on the host.
    ///
    /// # Errors
    /// The system's, naming the path.
    pub fn copy_out(&self, from: &Path, to: &Path, options: &copy::Options<'_>) -> Result<(), Error> {
        let failed = |error: io::Error| Error::new(Kind::Io, format!("copy {}", from.display())).because(error);
        let copy = Copy::new(options, false).map_err(failed)?;
        let target = Target::on_host(to).map_err(|error| no_place(to, error))?;
        let source = Source::new(from, options.follow, self.open()).map_err(failed)?;
        copy.run(&source, &target).map_err(failed)
    }

    /// Copies `from` on the host to `to` of the app.
    ///
    /// # Errors
    /// The system's, naming the path.
    pub fn copy_in(&self, from: &Path, to: &Path, options: &copy::Options<'_>) -> Result<(), Error> {
        let failed = |error: io::Error| Error::new(Kind::Io, format!("copy {}", from.display())).because(error);
        let copy = Copy::new(options, true).map_err(failed)?;
        let source = Source::on_host(from, options.follow).map_err(failed)?;
        let target = Target::new(to, self.open()).map_err(|error| no_place(to, error))?;
        copy.run(&source, &target).map_err(failed)
    }

    /// Packs the app's files as they are now with its image's manifest. The caller has the pod in hand, and it does not run.
    ///
    /// # Errors
    /// The system's.
    pub fn export(&self, out: &Path, overwrite: Overwrite) -> Result<(), Error> {
        let doing = || format!("export app {} of pod {}", self.plan.apps[self.app].name, self.pod.uuid());
        let failed = |error: &dyn std::error::Error| Error::new(Kind::Io, doing()).because(crate::error::chain(error));
        let manifest = self.pod.read_in(Part::Images, &self.plan.apps[self.app].name).map_err(|e| failed(&e))?;
        let layout = self.pod.place(Part::Export);
        remove_tree(&layout)?;
        self.pod.make_in(Part::Export, "rootfs").map_err(|e| failed(&e))?;
        self.pod.write_in(Part::Export, "manifest", &manifest).map_err(|e| failed(&e))?;
        let done = copy::tree(&self.rootfs_of(false), &layout.join("rootfs")).map_err(|e| failed(&e)).and_then(|()| {
            build_file(&layout, &BuildOptions::default(), out, overwrite).map(drop).map_err(|e| failed(&e))
        });
        match (done, remove_tree(&layout)) {
            (Ok(()), removed) => removed,
            (Err(error), removed) => Err(error.and(removed)),
        }
    }
}
