//! Processes of the model: each records the context that it would have, which is what the conformance probe would tell.

use std::collections::VecDeque;
use std::io::{self, BufRead, Write as _};
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::pipe::{PipeFlags, pipe_with};
use serde::Serialize;

use super::files::Node;
use super::{Model, Value};
use crate::executor::decided::{self, Moment};
use crate::executor::freebsd::system::Mounted;
use crate::executor::freebsd::{Context, FreeBsd, Step};
use crate::executor::plan::PodPlan;
use crate::executor::supervise::{End, Event, Launch, Pod, Streams};
use crate::executor::users::{Identity, Rootfs};
use crate::executor::{Error, Kind, Phase};
use crate::id::Id;

/// A process that ran, as it would have found itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Process {
    /// Its process id.
    pub pid: i32,
    /// The app's name.
    pub app: String,
    /// Which of the app's processes.
    pub phase: Phase,
    /// What it was before it became its program.
    pub context: Context,
    /// Its root, on the host.
    pub root: PathBuf,
    /// User, group and further groups.
    pub ids: (Id, Id, Vec<Id>),
    /// Program and arguments.
    pub command: Vec<String>,
    /// Its whole environment.
    pub environment: Vec<(String, String)>,
    /// Its working directory, in its root, links followed.
    pub directory: PathBuf,
    /// The name that its jail has.
    pub hostname: String,
    /// Whether nothing can be written to its root file system.
    pub read_only: bool,
    /// The mounts of its rootfs, by where it sees them.
    pub mounts: Vec<Mounted>,
}

/// A pod in the model: its processes end as soon as they have told what they are.
pub struct ModelPod {
    model: Model,
    plan: PodPlan,
    steps: Vec<Step>,
    streams: Vec<Streams>,
    events: VecDeque<Event>,
    ready: OwnedFd,
    bell: OwnedFd,
}

impl Launch for FreeBsd<Model> {
    type Pod = ModelPod;

    fn launch(&mut self, plan: &PodPlan, steps: &[Step], streams: Vec<Streams>) -> Result<ModelPod, Error> {
        let (ready, bell) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)
            .map_err(|e| Error::new(Kind::Io, "watch the pod").because(io::Error::from(e)))?;
        Ok(ModelPod {
            model: self.system.clone(),
            plan: plan.clone(),
            steps: steps.to_vec(),
            streams,
            events: self.warnings.drain(..).map(Event::Warning).collect(),
            ready,
            bell,
        })
    }
}

impl Pod for ModelPod {
    fn prepare(&mut self) -> Result<Vec<Event>, Error> {
        Ok(self.events.drain(..).collect())
    }

    fn metadata_listener(&mut self) -> Result<Option<TcpListener>, Error> {
        // The model has no network that anything could come from.
        Ok(None)
    }

    fn start(&mut self, app: usize, phase: Phase, metadata_url: Option<&str>) -> Result<(), Error> {
        match self.model.start(&self.plan, &self.steps, app, phase, metadata_url) {
            Ok(pid) => {
                self.events.push_back(Event::Started { app, phase, pid });
                self.events.push_back(Event::Ended { app, phase, end: self.model.next_end(phase) });
                if let Some(process) = self.model.history().into_iter().find(|process| process.pid == pid) {
                    tell(&process, &self.streams[app])?;
                }
                self.model.end(pid);
            }
            Err(error) => {
                self.events.push_back(Event::Failed { app, phase, error });
                self.events.push_back(Event::Ended { app, phase, end: End::Status(125) });
            }
        }
        rustix::io::write(&self.bell, b".")
            .map_err(|e| Error::new(Kind::Io, "watch the pod").because(io::Error::from(e)))?;
        Ok(())
    }

    fn signal(&mut self, _: usize, _: i32) -> Result<(), Error> {
        Ok(())
    }

    fn clear(&mut self, _: usize) -> Result<(), Error> {
        Ok(())
    }

    fn kill(&mut self) {}

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }

    fn events(&mut self) -> Result<Vec<Event>, Error> {
        let mut rung = [0; 64];
        while rustix::io::read(&self.ready, &mut rung).is_ok_and(|read| read > 0) {}
        Ok(self.events.drain(..).collect())
    }
}

/// What the process was is its output: there is no program that could say anything else.
fn tell(process: &Process, streams: &Streams) -> Result<(), Error> {
    let failed = |error: io::Error| Error::new(Kind::Io, "tell what a process was").because(error);
    let line = serde_json::to_string(process).map_err(|error| failed(error.into()))?;
    let mut out = std::fs::File::from(streams.stdout.try_clone().map_err(failed)?);
    writeln!(out, "{RECORDED}{line}").map_err(failed)
}

/// How a line begins that tells what a process of the model was.
const RECORDED: &str = "@recorded ";

impl Model {
    /// Starts a process of an app. It runs until [`Model::end`].
    ///
    /// # Errors
    /// What keeps it from becoming its program, in the order in which a real one would find out.
    pub(crate) fn start(
        &self,
        plan: &PodPlan,
        steps: &[Step],
        app: usize,
        phase: Phase,
        metadata_url: Option<&str>,
    ) -> Result<i32, Error> {
        let of = &plan.apps[app];
        let context = Context::among(steps, app)?.clone();
        let mut inner = self.lock();
        let jail = inner.state.jails.get(&context.jail);
        let path = jail.and_then(|jail| match jail.parameters.get("path") {
            Some(Value::Text(path)) => Some(PathBuf::from(path)),
            _ => None,
        });
        let path = path.ok_or_else(|| {
            Error::new(Kind::Missing, format!("attach to the jail {}", context.jail)).because("there is no such jail")
        })?;
        let root = path.join(context.root.strip_prefix("/").unwrap_or(&context.root));
        let inside = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
        let found = |path: &Path| inner.resolve(&inside(path)).ok();
        if !inner.is_directory(&root) {
            return Err(Error::new(Kind::Missing, format!("change the root to {}", context.root.display()))
                .because("there is no such directory"));
        }
        if !found(&context.working_directory).is_some_and(|path| inner.is_directory(&path)) {
            return Err(decided::no_directory(&context.working_directory));
        }
        let file = |path: &str| match found(Path::new(path)).and_then(|path| inner.node(&path)) {
            Some(Node::File(text)) => Some(text.into_bytes()),
            _ => None,
        };
        let (passwd, group) = (file("/etc/passwd"), file("/etc/group"));
        let owner = |path: &Path| match found(path) {
            Some(_) => Ok((0, 0)),
            None => Err(Error::new(Kind::Missing, format!("find {}", path.display()))),
        };
        let (mut passwd, mut group) = (passwd.as_deref(), group.as_deref());
        let rootfs = Rootfs {
            passwd: passwd.as_mut().map(|file| file as &mut dyn BufRead),
            group: group.as_mut().map(|file| file as &mut dyn BufRead),
            owner: &owner,
        };
        let user = Identity::find(&context.user, &context.group, rootfs)?;
        let command = decided::command(of, phase).to_vec();
        let environment =
            decided::environment(&context.environment, &user, &Moment { metadata_url, ..Moment::default() });
        let candidates = decided::program(&command, &environment)?;
        if !candidates.iter().any(|program| found(program).is_some()) {
            return Err(match candidates.as_slice() {
                [path] if command[0].contains('/') => decided::not_executed(path, io::ErrorKind::NotFound.into()),
                _ => decided::nowhere(&command),
            });
        }
        let environment = environment.into_iter().collect();
        let directory = found(&context.working_directory).unwrap_or_default();
        let directory = Path::new("/").join(directory.strip_prefix(&root).unwrap_or(Path::new("")));
        let hostname = match jail.and_then(|jail| jail.parameters.get("host.hostname")) {
            Some(Value::Text(name)) => name.clone(),
            _ => String::new(),
        };
        let read_only = inner.read_only(&root);
        let seen = |mount: &Mounted| {
            let on = Path::new("/").join(mount.on.strip_prefix(&root).ok()?);
            Some(Mounted { on, ..mount.clone() })
        };
        let mounts = inner.state.mounts.iter().filter_map(seen).collect();
        let pid = 1000 + i32::try_from(inner.history.len()).unwrap_or(0);
        let process = Process {
            pid,
            app: of.name.clone(),
            phase,
            ids: (user.uid, user.gid, context.supplementary_gids.clone()),
            context,
            root,
            command,
            environment,
            directory,
            hostname,
            read_only,
            mounts,
        };
        inner.state.processes.push(process.clone());
        inner.history.push(process);
        Ok(pid)
    }

    /// How main processes end from now on, one after the other; those behind the last succeed.
    #[cfg(test)]
    pub(crate) fn ends_with(&self, ends: impl IntoIterator<Item = End>) {
        self.lock().ends.extend(ends);
    }

    fn next_end(&self, phase: Phase) -> End {
        let next = if phase == Phase::Main { self.lock().ends.pop_front() } else { None };
        next.unwrap_or(End::Status(0))
    }

    /// Ends a process.
    pub(crate) fn end(&self, pid: i32) {
        self.lock().state.processes.retain(|process| process.pid != pid);
    }

    /// All processes that ever ran, in the order of their starting.
    pub(crate) fn history(&self) -> Vec<Process> {
        self.lock().history.clone()
    }
}
