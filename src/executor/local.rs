//! Pods on this system: prepared, started, collected, by the executor that this system has.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::freebsd::facts::Configured;
use super::freebsd::{self, FreeBsd};
use super::isolation::Report;
use super::journal::Fault;
use super::lifecycle::{self, Ending, Supervision};
use super::model::freebsd::Saved;
use super::plan::{Metadata, PodPlan};
use super::planning::{AppImage, Choices};
use super::supervise::End;
use super::users::Otherwise;
use super::{Compiled, Error, Kind, Step as _, copy, journal};
use crate::metadata::{By, Facts, HmacKey, Offer, Token};
use crate::pod::{Bounds, Part, PodDir, Pods, State};
use crate::schema::PodManifest;
use crate::store::ground;
use crate::sys::output::Voice;

#[cfg(target_os = "linux")]
mod this {
    pub(super) use super::super::linux::steps::Step;
    pub(super) use super::super::linux::{HostFacts, LinuxHost as Host, compile};
    pub(super) const NAME: &str = super::super::linux::NAME;
    pub(super) fn facts(plan: &super::PodPlan, _: &super::Configured) -> Result<HostFacts, super::Error> {
        Ok(HostFacts::detect(plan))
    }
    /// What the pod starts with, made for it alone, when `judge` has nothing against it.
    pub(super) fn started(
        plan: &super::PodPlan,
        _: &super::Configured,
        judge: impl FnOnce(&super::Report) -> Result<(), super::Error>,
    ) -> Result<super::Compiled<Step>, super::Error> {
        let compiled = compile(plan, &HostFacts::detect(plan))?;
        judge(&compiled.report).map(|()| compiled)
    }
    pub(super) fn host(fault: super::Fault) -> Host {
        Host { fault, ..Host::default() }
    }
    /// A pod's processes end with its supervisor here, whose first child is their init.
    pub(super) fn lingers(_: uuid::Uuid) -> Result<Option<String>, super::Error> {
        Ok(None)
    }
    /// The kernel removes nothing that something is mounted on, and what is mounted for a pod is in its own mount namespace.
    pub(super) fn mounted_below(_: &std::path::Path) -> Result<Option<String>, super::Error> {
        Ok(None)
    }
    /// Nothing of the host's holds the pod's directory: what is mounted for a pod goes with its mount namespace.
    pub(super) fn let_go(_: &super::Bounds) -> Result<(), super::Error> {
        Ok(())
    }
    /// Every pod has a loopback for its metadata service.
    pub(super) fn answers(_: &super::PodPlan, _: &[Step]) -> bool {
        true
    }
    /// The addresses that the networks gave, which is known once they have.
    pub(super) fn addresses(pod: &super::PodDir, _: &[Step]) -> Box<dyn FnOnce() -> Vec<std::net::IpAddr>> {
        let results = pod.place(super::Part::Networks);
        Box::new(move || super::super::linux::cni::addresses(&results))
    }
}

#[cfg(target_os = "freebsd")]
mod this {
    use super::super::freebsd::{FreeBsd, Real};

    pub(super) use super::super::freebsd::{HostFacts, Step, answers, compile};
    pub(super) type Host = FreeBsd<Real>;
    pub(super) const NAME: &str = super::super::freebsd::NAME;
    pub(super) fn facts(plan: &super::PodPlan, configured: &super::Configured) -> Result<HostFacts, super::Error> {
        HostFacts::for_pod(&mut Real, plan, configured, false)
    }
    /// What the pod starts with, its address taken, when `judge` has nothing against it.
    pub(super) fn started(
        plan: &super::PodPlan,
        configured: &super::Configured,
        judge: impl FnOnce(&super::Report) -> Result<(), super::Error>,
    ) -> Result<super::Compiled<Step>, super::Error> {
        let facts = HostFacts::for_pod(&mut Real, plan, configured, true)?;
        let compiled = compile(plan, &facts).and_then(|compiled| judge(&compiled.report).map(|()| compiled));
        compiled.inspect_err(|_| facts.release(&mut Real, plan))
    }
    pub(super) fn host(_: super::Fault) -> Host {
        FreeBsd::new(Real)
    }
    /// The jail of a pod, which outlives its supervisor.
    pub(super) fn lingers(pod: uuid::Uuid) -> Result<Option<String>, super::Error> {
        FreeBsd::new(Real).lingers(pod)
    }
    /// What is mounted there, through which others' files would be removed.
    pub(super) fn mounted_below(path: &std::path::Path) -> Result<Option<String>, super::Error> {
        use super::super::freebsd::System as _;
        let mounts = Real.mounts();
        let mounts = mounts.map_err(|e| super::Error::new(super::Kind::Io, "read the mount table").because(e))?;
        Ok(mounts.into_iter().find(|mount| mount.on.starts_with(path)).map(|mount| mount.on.display().to_string()))
    }
    /// Takes the jail and the mounts of a pod away.
    pub(super) fn let_go(pod: &super::Bounds) -> Result<(), super::Error> {
        FreeBsd::new(Real).let_go(pod)
    }
    /// The addresses that the plan's steps claim.
    pub(super) fn addresses(_: &super::PodDir, steps: &[Step]) -> Box<dyn FnOnce() -> Vec<std::net::IpAddr>> {
        let claimed = steps.iter().filter_map(|step| match step {
            Step::ClaimAddress { file, .. } => file.file_name()?.to_str()?.parse().ok(),
            _ => None,
        });
        let claimed: Vec<_> = claimed.collect();
        Box::new(move || claimed)
    }
}

/// A pod that says everything, before anything of it exists.
#[derive(Debug)]
pub struct Draft {
    /// The reified manifest.
    pub manifest: PodManifest,
    /// The apps' images, one entry an app.
    pub images: Vec<AppImage>,
    /// Their manifests, byte for byte.
    pub image_manifests: Vec<Vec<u8>>,
    /// What the command line decides.
    pub choices: Choices,
}

/// For which system something is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Executor {
    /// Linux.
    Linux,
    /// FreeBSD.
    Freebsd,
}

impl Executor {
    /// This system's.
    pub const THIS: Self = if cfg!(target_os = "freebsd") { Self::Freebsd } else { Self::Linux };
}

/// What running a pod would do.
#[derive(Debug, Serialize)]
pub struct Outline {
    /// What shall be true.
    pub plan: PodPlan,
    /// The steps, as data.
    pub steps: serde_json::Value,
    /// The steps, in words that read on after "failed to".
    #[serde(skip)]
    pub words: Vec<String>,
    /// What would be enforced, modified and ignored.
    pub report: Report,
}

impl Outline {
    fn of<S: super::Step>(plan: PodPlan, compiled: Compiled<S>) -> Result<Self, Error> {
        let steps = serde_json::to_value(&compiled.steps)
            .map_err(|error| Error::new(Kind::Io, "put steps into words").because(error))?;
        let words = compiled.steps.iter().map(super::Step::describe).collect();
        Ok(Self { plan, steps, words, report: compiled.report })
    }
}

impl Draft {
    /// What running the pod would do on a system. Touches nothing.
    ///
    /// # Errors
    /// [`Kind::Refused`], [`Kind::Unsupported`]: it could not run there.
    pub fn outline(&self, executor: Executor) -> Result<Outline, Error> {
        let plan = super::planning::plan(&self.manifest, &self.images, &self.choices)?;
        if let (Executor::Freebsd, Some(file)) = (executor, &self.choices.model) {
            let compiled = Saved::open(file)?.compile(&plan, &self.choices.freebsd)?;
            return Outline::of(plan, compiled);
        }
        match executor {
            Executor::THIS => {
                let compiled = this::compile(&plan, &this::facts(&plan, &self.choices.freebsd)?)?;
                Outline::of(plan, compiled)
            }
            #[cfg(not(target_os = "freebsd"))]
            Executor::Freebsd => {
                // A model that nobody keeps, with everything there, stands for the system that is not here.
                let root = plan.directory.ancestors().nth(2).unwrap_or(Path::new("/"));
                let mut compiled = Saved::passing(root).compile(&plan, &self.choices.freebsd)?;
                for app in plan.apps.iter().filter(|app| app.os.as_deref() == Some("linux")) {
                    let needs =
                        super::isolation::Outcome::modified("by the linuxulator; the host needs it: kldload linux64");
                    compiled.report.promised(Some(&app.name), "Linux programs", "im.labels.osarch.known", needs);
                }
                Outline::of(plan, compiled)
            }
            #[cfg(not(target_os = "linux"))]
            Executor::Linux => Err(Error::new(Kind::Unsupported, "plan for Linux elsewhere than on Linux")),
        }
    }

    /// Makes the pod's directory with all that is needed to start it, its lock held. Nothing stays after a failure.
    ///
    /// What the pod is made by, and what of it holds, is decided when it is started. Of one that is started later it is looked
    /// at now too, by today's facts, so that who prepares it learns what it comes to.
    ///
    /// # Errors
    /// [`Kind::Refused`], [`Kind::Unsupported`]: it cannot run here.
    pub fn prepare(&self, pods: &Pods, begin: Begin) -> Result<(PodDir, Option<Report>), Error> {
        let plan = super::planning::plan(&self.manifest, &self.images, &self.choices)?;
        let foreseen = match begin {
            Begin::AtOnce => None,
            Begin::Later => {
                let system = if self.choices.model.is_some() { Executor::Freebsd } else { Executor::THIS };
                let report = self.outline(system)?.report;
                report.judge(plan.strict)?;
                Some(report)
            }
        };
        let failed = |error: crate::pod::Error| {
            let kind = if *error.kind() == crate::pod::Kind::Busy { Kind::Busy } else { Kind::Io };
            Error::new(kind, "prepare the pod").because(crate::error::chain(&error))
        };
        let pod = pods.create(self.choices.uuid).map_err(failed)?;
        let filled = self.fill(pods, &pod, &plan, foreseen.as_ref()).map_err(failed);
        match filled {
            Ok(()) => Ok((pod, foreseen)),
            Err(error) => Err(error.and(pods.remove(pod))),
        }
    }

    fn fill(
        &self,
        pods: &Pods,
        pod: &PodDir,
        plan: &PodPlan,
        foreseen: Option<&Report>,
    ) -> Result<(), crate::pod::Error> {
        match foreseen {
            Some(report) => pod.write_json(Part::Report, report)?,
            None => pod.mark_begun()?,
        }
        if let Some(name) = &self.choices.name {
            pods.name(pod, name)?;
        }
        pod.write_json(Part::Manifest, &self.manifest)?;
        pod.make_directory(Part::Images)?;
        for (app, manifest) in self.manifest.apps.iter().zip(&self.image_manifests) {
            pod.write_in(Part::Images, &app.name, manifest)?;
        }
        if cfg!(target_os = "freebsd") || self.choices.model.is_some() {
            pod.write_json(Part::Configured, &self.choices.freebsd)?;
        }
        if let Some(file) = &self.choices.model {
            pod.write_json(Part::Model, file)?;
        }
        // Last: with it the pod is prepared.
        pod.write_json(Part::Plan, plan)
    }
}

/// When a pod that is being prepared is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// By the process that prepares it: should that end before, the pod has ended.
    AtOnce,
    /// By somebody, some time.
    Later,
}

/// Runs a prepared pod, its lock held, until its apps have ended. `tell` is given what of it holds, before it starts. The
/// caller has one thread.
///
/// # Errors
/// What kept it from being started; a strict one so by what does not hold. Nothing of it but its directory is left then.
pub fn start(pod: &PodDir, root: &Path, supervision: Supervision, tell: impl FnOnce(&Report)) -> Result<Ending, Error> {
    let unreadable = |error: crate::pod::Error| Error::new(Kind::Corrupt, "read the prepared pod").because(error);
    let plan: PodPlan = pod.read_json(Part::Plan).map_err(unreadable)?;
    // Pods of earlier versions have no such file.
    let configured: Configured = pod.read_json_if_there(Part::Configured).map_err(unreadable)?.unwrap_or_default();
    let known = ground::identify(root).map_err(|error| Error::new(Kind::Refused, "start the pod").because(error))?;
    let supervision = Supervision { root: Some(known), ..supervision };
    let voice = supervision.voice;
    let judge = |report: &Report| {
        report.judge(plan.strict)?;
        pod.write_json(Part::Report, report)
            .map_err(|error| Error::new(Kind::Io, "keep what holds for the pod").because(error))?;
        tell(report);
        Ok(())
    };
    if let Some(file) = model_of(pod)? {
        let mut saved = Saved::open(&file)?;
        let compiled = saved.compile(&plan, &configured)?;
        judge(&compiled.report)?;
        let mut host = FreeBsd::new(saved.model.clone());
        let ended = lifecycle::run(&mut host, pod, &plan, &compiled, || Ok(None), supervision, MODEL);
        // A pod that has run is not undone for it.
        match (ended, saved.save()) {
            (Err(error), _) => return Err(error),
            (Ok(ending), Ok(())) => return Ok(ending),
            (Ok(ending), Err(error)) => {
                lifecycle::tell(voice, &error);
                return Ok(ending);
            }
        }
    }
    let compiled = this::started(&plan, &configured, judge)?;
    let metadata = || offer(pod, &plan, &compiled.steps, root);
    lifecycle::run(&mut this::host(supervision.fault), pod, &plan, &compiled, metadata, supervision, this::NAME)
}

/// What journals of pods in the model begin with.
pub(super) const MODEL: &str = "model:freebsd";

/// The file that keeps the model which a pod runs in, when it runs in one.
pub(super) fn model_of(pod: &PodDir) -> Result<Option<PathBuf>, Error> {
    let failed = |error| Error::new(Kind::Corrupt, format!("tell where pod {} runs", pod.uuid())).because(error);
    pod.read_json_if_there(Part::Model).map_err(failed)
}

/// The addresses that a running pod has in its networks.
pub fn addresses(pod: &PodDir) -> Vec<std::net::IpAddr> {
    if pod.state() != State::Running {
        return Vec::new();
    }
    // Where addresses stand in steps, not in what the networks said.
    let steps = if cfg!(target_os = "freebsd") {
        journal::read(&pod.place(Part::Journal), this::NAME).unwrap_or_default()
    } else {
        Vec::new()
    };
    this::addresses(pod, &steps)()
}

/// Who shall answer the apps' questions, and what they shall be told.
fn offer(pod: &PodDir, plan: &PodPlan, steps: &[this::Step], root: &Path) -> Result<Option<Offer>, Error> {
    if plan.metadata == Metadata::Off || plan.metadata == Metadata::Own && !this::answers(plan, steps) {
        return Ok(None);
    }
    let failed = |error: crate::metadata::Error| Error::new(Kind::Io, "offer the metadata service").because(error);
    let unreadable = |error: crate::pod::Error| Error::new(Kind::Corrupt, "read the prepared pod").because(error);
    let mut image_manifests = BTreeMap::new();
    for app in &plan.apps {
        image_manifests.insert(app.name.clone(), pod.read_in(Part::Images, &app.name).map_err(unreadable)?);
    }
    let facts = Facts {
        uuid: plan.uuid,
        token: Token::generate().map_err(failed)?,
        pod_manifest: pod.read(Part::Manifest).map_err(unreadable)?,
        image_manifests,
    };
    let by = match &plan.metadata {
        Metadata::Domain(socket) => By::Domain(socket.clone()),
        _ => By::Itself(HmacKey::load_or_create(root).map_err(failed)?),
    };
    Ok(Some(Offer { facts, by, addresses: this::addresses(pod, steps) }))
}

/// How a pod whose journal is damaged is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Not at all.
    Keeps,
    /// What can be undone is, and the rest is told.
    Told,
}

/// Takes a pod away that no longer runs: what its journal names is undone, then its directory goes. Gives in words what could
/// not be undone. One that is gone already is removed already.
///
/// # Errors
/// [`Kind::Busy`] when it runs; [`Kind::Corrupt`] when its journal does not read and [`Damage::Keeps`] it.
pub fn remove(pods: &Pods, mut pod: PodDir, damage: Damage) -> Result<Vec<String>, Error> {
    let doing = format!("remove pod {}", pod.uuid());
    let failed = |error: crate::pod::Error| {
        let kind = if *error.kind() == crate::pod::Kind::Busy { Kind::Busy } else { Kind::Io };
        Error::new(kind, doing.clone()).because(error)
    };
    let going = pod.state() == State::Removing;
    match pod.lock() {
        Err(error) if *error.kind() == crate::pod::Kind::Missing => {
            if !going {
                return Ok(Vec::new());
            }
        }
        locked => locked.map_err(failed)?,
    }
    // What is on its way out was undone before.
    let left = if going { Vec::new() } else { undo(pods, &pod, damage)? };
    pods.remove(pod).map_err(failed)?;
    Ok(left)
}

/// Makes a root that was copied, moved or restored one of its own. Gives the pods that are forgotten.
///
/// # Errors
/// [`Kind::Busy`] where one of them runs here, or something is still mounted for it.
pub fn adopt(pods: &Pods) -> Result<Vec<uuid::Uuid>, Error> {
    let failed = |error: crate::pod::Error| Error::new(Kind::Busy, "adopt the root").because(error);
    for pod in pods.list().map_err(failed)? {
        if let Some(what) = this::mounted_below(pod.path())? {
            return Err(Error::new(Kind::Busy, "adopt the root").because(format!("{what} is still mounted")));
        }
    }
    pods.adopt().map_err(failed)
}

/// Takes back a start that failed: the pod is prepared as it was before.
///
/// # Errors
/// What could not be undone. The pod has ended then, and is for [`remove`].
pub fn unstart(pods: &Pods, pod: &PodDir) -> Result<(), Error> {
    undo(pods, pod, Damage::Keeps)?;
    pod.forget_start().map_err(|error| Error::new(Kind::Io, format!("prepare pod {} again", pod.uuid())).because(error))
}

/// What outlives a pod's supervisor and runs still, in words: its jail.
///
/// # Errors
/// The system's.
pub fn lingers(pod: &PodDir) -> Result<Option<String>, Error> {
    match model_of(pod)? {
        Some(file) => FreeBsd::new(Saved::open(&file)?.model).lingers(pod.uuid()),
        None => this::lingers(pod.uuid()),
    }
}

/// Ends what outlives a pod's supervisor. Its files stay, until it is removed.
///
/// # Errors
/// [`Kind::Busy`] when its supervisor lives; what could not be undone.
pub fn end_remains(pods: &Pods, pod: &mut PodDir) -> Result<(), Error> {
    let doing = format!("end what is left of pod {}", pod.uuid());
    pod.lock().map_err(|error| Error::new(Kind::Busy, doing.clone()).because(error))?;
    let bounds = pods.bounds(pod).map_err(|error| Error::new(Kind::Refused, doing).because(error))?;
    let journal = pod.place(Part::Journal);
    if let Some(file) = model_of(pod)? {
        let mut saved = Saved::open(&file)?;
        let (mut steps, _) = journal::to_undo::<freebsd::Step>(&journal, MODEL, &bounds, false)?;
        steps.retain(|step| !step.outlives_apps());
        journal::undo_all(&mut FreeBsd::new(saved.model.clone()), &steps)?;
        return saved.save();
    }
    let (mut steps, _) = journal::to_undo::<this::Step>(&journal, this::NAME, &bounds, false)?;
    steps.retain(|step| !step.outlives_apps());
    journal::undo_all(&mut this::host(Fault::None), &steps)
}

/// Undoes what the pod's journal names, on the host that it was done on. Gives what is left, in words.
fn undo(pods: &Pods, pod: &PodDir, damage: Damage) -> Result<Vec<String>, Error> {
    let journal = pod.place(Part::Journal);
    if !journal.exists() {
        return Ok(Vec::new());
    }
    let doing = || format!("undo what pod {} has", pod.uuid());
    let bounds = pods.bounds(pod).map_err(|error| Error::new(Kind::Refused, doing()).because(error))?;
    let forced = damage == Damage::Told;
    let model = match model_of(pod) {
        Err(_) if forced => None,
        model => model?,
    };
    if let Some(file) = model {
        let mut saved = Saved::open(&file)?;
        let mut host = FreeBsd::new(saved.model.clone());
        let left = undo_on(&mut host, &journal, MODEL, &bounds, forced)?;
        if !left.is_empty() {
            host.let_go(&bounds)?;
        }
        saved.save().map(|()| left)
    } else {
        let left = undo_on(&mut this::host(Fault::None), &journal, this::NAME, &bounds, forced)?;
        if !left.is_empty() {
            // The directory goes next, and nothing of others may be reached from it.
            this::let_go(&bounds)?;
        }
        Ok(left)
    }
}

fn undo_on<H: super::Host>(
    host: &mut H,
    journal: &Path,
    name: &str,
    bounds: &Bounds,
    forced: bool,
) -> Result<Vec<String>, Error> {
    let (steps, mut left) = journal::to_undo::<H::Step>(journal, name, bounds, forced)?;
    match journal::undo_all(host, &steps) {
        Err(error) if forced => left.push(format!("failed to {}", crate::error::chain(&error))),
        undone => undone?,
    }
    Ok(left)
}

/// Ends the processes of a running pod without its supervisor, which then finds that they are gone.
///
/// # Errors
/// The system's. That nothing runs is none.
pub fn end_processes(pod: &PodDir) -> Result<(), Error> {
    let failed = |error: std::io::Error| Error::new(Kind::Io, format!("end pod {}", pod.uuid())).because(error);
    if model_of(pod)?.is_some() {
        return Ok(());
    }
    #[cfg(target_os = "linux")]
    let ended = pod.supervisor().map_or(Ok(()), super::linux::end_pod_of);
    #[cfg(target_os = "freebsd")]
    let ended = {
        use super::freebsd::{Real, System as _};
        let name = super::freebsd::jail_name(pod.uuid());
        Real.find_jail(&name).and_then(|jail| jail.map_or(Ok(()), |jail| Real.remove_jail(jail)))
    };
    ended.map_err(failed)
}

/// Sends a signal to the main processes of a pod's apps, or of one app.
///
/// # Errors
/// [`Kind::Missing`] when no such app runs.
pub fn signal(pod: &PodDir, app: Option<&str>, signal: i32) -> Result<(), Error> {
    use rustix::process::Pid;
    let doing = || format!("signal pod {}", pod.uuid());
    let missing = |why: &str| Error::new(Kind::Missing, doing()).because(why.to_owned());
    let status = pod.status().filter(|_| pod.state() == State::Running).ok_or_else(|| missing("it does not run"))?;
    let running = status.apps.iter().filter(|known| app.is_none_or(|app| known.name == app));
    let pids: Vec<Pid> = running.filter_map(|app| Pid::from_raw(app.pid?)).collect();
    if pids.is_empty() {
        return Err(missing("no such app of it runs"));
    }
    for pid in pids {
        crate::sys::signals::send(pid, signal)
            .map_err(|e| Error::new(Kind::Io, doing()).because(std::io::Error::from(e)))?;
    }
    Ok(())
}

/// Sends a signal to every process of a running pod.
///
/// # Errors
/// [`Kind::Missing`] when it does not run; the system's.
#[cfg(target_os = "freebsd")]
pub fn signal_everything(pod: &PodDir, signal: i32) -> Result<(), Error> {
    use super::freebsd::{Real, System as _};
    let doing = || format!("signal pod {}", pod.uuid());
    let failed = |error: std::io::Error| Error::new(Kind::Io, doing()).because(error);
    let jail = Real.find_jail(&super::freebsd::jail_name(pod.uuid())).map_err(failed)?;
    let jail = jail.ok_or_else(|| Error::new(Kind::Missing, doing()).because("it has no jail"))?;
    // Twice: one that was being made may have escaped the first time.
    super::freebsd::signal_all(jail, signal).and_then(|()| super::freebsd::signal_all(jail, signal)).map_err(failed)
}

/// Starts this program anew from where no pod can write it, unless it runs from there: for programs that are about to enter pods, before
/// they have done anything.
///
/// # Errors
/// That cannot be had, and a pod could write the program as it is.
pub fn run_apart() -> Result<(), Error> {
    // Elsewhere no process is asked for the file that it runs: FreeBSD's links to it in procfs are paths, resolved where they are read.
    #[cfg(target_os = "linux")]
    crate::sys::linux::program::run_apart()
        .map_err(|error| Error::new(Kind::Io, "run from where no pod can write this program").because(error))?;
    Ok(())
}

/// Ends this process as `kill -9` would.
pub fn die() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    std::process::abort()
}

#[cfg(target_os = "freebsd")]
use super::freebsd::enter::Entrance;
#[cfg(target_os = "linux")]
use super::linux::enter::Entrance;

/// Runs a command beside a running app; gives how it ended.
///
/// # Errors
/// The app does not run, or the command cannot be started.
pub fn execute(
    pod: &PodDir,
    app: Option<&str>,
    command: &[String],
    otherwise: &Otherwise,
    tty: bool,
    voice: Voice,
) -> Result<End, Error> {
    not_modelled(pod)?;
    if pod.state() != State::Running {
        let why = match lingers(pod)? {
            Some(what) => format!("its supervisor is gone, though {what}"),
            None => "it does not run".to_owned(),
        };
        return Err(Error::new(Kind::Missing, format!("enter pod {}", pod.uuid())).because(why));
    }
    if pod.is_paused() {
        let why = "it is paused: `jetpack resume` lets it go on";
        return Err(Error::new(Kind::Busy, format!("enter pod {}", pod.uuid())).because(why));
    }
    Entrance::new(pod, app)?.execute(command, otherwise, tty, voice)
}

/// Copies from an app to the host.
///
/// # Errors
/// The system's, naming the path.
pub fn copy_out(
    pod: &PodDir,
    app: Option<&str>,
    from: &Path,
    to: &Path,
    options: &copy::Options<'_>,
) -> Result<(), Error> {
    has_files(pod)?;
    Entrance::new(pod, app)?.copy_out(from, to, options)
}

/// Copies from the host to an app.
///
/// # Errors
/// The system's, naming the path.
pub fn copy_in(
    pod: &PodDir,
    app: Option<&str>,
    from: &Path,
    to: &Path,
    options: &copy::Options<'_>,
) -> Result<(), Error> {
    has_files(pod)?;
    Entrance::new(pod, app)?.copy_in(from, to, options)
}

/// Makes an image of an app's files, with the pod in hand.
///
/// # Errors
/// [`Kind::Busy`] while it runs, or somebody else has it in hand.
pub fn export(pod: &mut PodDir, app: Option<&str>, out: &Path, overwrite: bool) -> Result<(), Error> {
    use crate::aci::build::Overwrite;
    not_modelled(pod)?;
    super::changed::take(pod)?;
    Entrance::new(pod, app)?.export(out, Overwrite::asked(overwrite))
}

/// What a pod is connected to when nobody says: the network named `default` where one is configured, be it by a file or by
/// an address block that was `set`, else nothing. Where root is not needed for it, a pod that `publishes` ports is connected too.
///
/// # Errors
/// [`Kind::Refused`] when what is configured cannot be understood.
pub fn default_network(set: bool, publishes: bool, cni: &super::plan::Cni) -> Result<super::plan::Network, Error> {
    let default = || super::plan::Network::Named(vec!["default".to_owned()]);
    if Executor::THIS == Executor::Freebsd && set {
        return Ok(default());
    }
    #[cfg(target_os = "linux")]
    if rustix::process::geteuid().is_root() {
        let networks = super::linux::cni::Networks::detect(cni);
        networks.whole()?;
        if set || networks.described.contains_key("default") {
            return Ok(default());
        }
    } else if (set || publishes) && super::linux::carries(cni) {
        return Ok(default());
    }
    let _ = (cni, publishes);
    Ok(super::plan::Network::None)
}

/// Whether the pod's apps have files of their own: they are made when it is started.
fn has_files(pod: &PodDir) -> Result<(), Error> {
    not_modelled(pod)?;
    has_left(pod)
}

/// Whether the apps of the pod, be it the model's, have left something.
pub(super) fn has_left(pod: &PodDir) -> Result<(), Error> {
    let why = match pod.state() {
        State::Running => return Ok(()),
        State::Exited if pod.has_started() => return Ok(()),
        State::Removing => "it is being removed",
        _ => "it has never run, and its apps have files from then on",
    };
    Err(Error::new(Kind::Missing, format!("reach the files of pod {}", pod.uuid())).because(why))
}

fn not_modelled(pod: &PodDir) -> Result<(), Error> {
    match model_of(pod)? {
        None => Ok(()),
        Some(_) => Err(Error::new(Kind::Unsupported, format!("reach into pod {}", pod.uuid()))
            .because("it ran in the model, where apps leave nothing behind")),
    }
}
