//! This host: applies and undoes steps, and launches pods.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};

use super::carrier::Carrying;
use super::container::devices;
use super::filesystem::host_directory;
use super::init::Init;
use super::inside;
use super::pod::LinuxPod;
use super::ports;
use super::steps::{IdMap, Step};
use super::systemd::Scope;
use crate::executor::journal::Fault;
use crate::executor::listening::{self, Listening};
use crate::executor::plan::PodPlan;
use crate::executor::supervise::{Launch, Streams};
use crate::executor::{Error, Host, Kind, Step as _};
use crate::sys::linux::channel;
use crate::sys::linux::mount;
use crate::sys::linux::process::{self as sys, Child, namespace};

/// This host.
#[derive(Debug, Default)]
pub struct LinuxHost {
    /// What goes wrong on purpose inside the pods that it starts.
    pub fault: Fault,
    /// What holds ports of the host for the pod that is started next.
    pub(crate) held: Vec<OwnedFd>,
    /// What carries the packets of the pod that is started next.
    pub(crate) carrying: Option<Carrying>,
    /// What waits for the first process of the pod that is started next: its scope, and the groups in it.
    pub(crate) waiting: Vec<Step>,
}

impl Host for LinuxHost {
    type Step = Step;

    fn apply(&mut self, step: &Step) -> Result<(), Error> {
        let failed = |error: io::Error| Error::new(Kind::Io, step.describe()).because(error);
        if self.waits(step) {
            self.waiting.push(step.clone());
            return Ok(());
        }
        match step {
            Step::CheckSource { path, follow_links } => check_source(path, *follow_links),
            Step::MakeDirectory { path, mode, owner } => {
                fs::DirBuilder::new().mode(0o700).create(path).map_err(failed)?;
                if let Some((uid, gid)) = owner {
                    std::os::unix::fs::lchown(path, Some(uid.get()), Some(gid.get())).map_err(failed)?;
                }
                fs::set_permissions(path, fs::Permissions::from_mode(*mode)).map_err(failed)
            }
            Step::LeaveGroup { from: _, to } => {
                let made = fs::create_dir(to).or_else(|error| match error.kind() {
                    io::ErrorKind::AlreadyExists => Ok(()),
                    _ => Err(error),
                });
                made.and_then(|()| write_there(&to.join("cgroup.procs"), "0")).map_err(failed)
            }
            // They wait.
            Step::StartScope(_) | Step::PlaceFirst { .. } | Step::Carry(_) => Ok(()),
            Step::CheckGroup { path } => match processes_in(path).map_err(failed)? {
                0 => Ok(()),
                count => Err(Error::new(Kind::Busy, step.describe())
                    .because(format!("container's cgroup is not empty: {count} process(es) found"))),
            },
            Step::MakeGroup { path } => make_group(path).map_err(failed),
            Step::MakeGroupsAbove { path } => make_groups_above(path).map_err(failed),
            Step::EnableControllers { path, controllers } => {
                let words: Vec<String> = controllers.iter().map(|controller| format!("+{controller}")).collect();
                write_there(&path.join("cgroup.subtree_control"), &words.join(" ")).map_err(failed)
            }
            Step::SetGroup { path, value, optional } => match write_there(path, value) {
                Err(error) if *optional && error.kind() == io::ErrorKind::NotFound => Ok(()),
                done => done.map_err(failed),
            },
            Step::FilterDevices { path, rules } => devices::filter(path, rules).map_err(failed),
            Step::MakeNetwork { path } => make_network(path).map_err(failed),
            Step::HoldPorts { forward } => {
                let taken = |error| Error::new(Kind::Busy, step.describe()).clause("pm.ports.expose").because(error);
                self.held.extend(ports::hold(forward).map_err(taken)?);
                Ok(())
            }
            Step::Connect { connection } => connection.add(),
            Step::MakeMountPoints { path } => make_mount_points(path).map_err(failed),
            Step::ShowRootfs { at, .. } => show_rootfs(at).map_err(failed),
            // These are carried out inside, when the pod is launched.
            Step::ListenOnHost { .. }
            | Step::JoinNamespace { .. }
            | Step::SetClocks { .. }
            | Step::MakeNamespaces { .. }
            | Step::Pod(_)
            | Step::App { .. }
            | Step::Process { .. } => Ok(()),
        }
    }

    fn undo(&mut self, step: &Step) -> Result<(), Error> {
        match step {
            Step::MakeDirectory { path, .. } => crate::executor::remove_tree(path),
            // Those in a scope may be gone with it already.
            Step::MakeGroup { path } => remove_group(path),
            Step::StartScope(scope) => end_scope(scope),
            Step::LeaveGroup { from, to } => come_back(from, to),
            Step::MakeNetwork { path } => {
                match rustix::mount::unmount(path, rustix::mount::UnmountFlags::DETACH) {
                    Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
                    Err(error) => return Err(Error::new(Kind::Io, step.describe()).because(io::Error::from(error))),
                }
                match fs::remove_file(path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        Err(Error::new(Kind::Io, step.describe()).because(error))
                    }
                    _ => Ok(()),
                }
            }
            Step::Connect { connection } => connection.delete(),
            Step::ShowRootfs { at, below } => {
                hide_rootfs(at, *below).map_err(|error| Error::new(Kind::Io, step.describe()).because(error))
            }
            Step::HoldPorts { .. } => {
                self.held.clear();
                Ok(())
            }
            Step::Carry(_) => {
                self.carrying = None;
                Ok(())
            }
            Step::CheckSource { .. }
            | Step::CheckGroup { .. }
            | Step::PlaceFirst { .. }
            | Step::EnableControllers { .. }
            | Step::SetGroup { .. }
            | Step::FilterDevices { .. }
            | Step::MakeMountPoints { .. }
            | Step::ListenOnHost { .. }
            | Step::MakeGroupsAbove { .. }
            | Step::JoinNamespace { .. }
            | Step::SetClocks { .. }
            | Step::MakeNamespaces { .. }
            | Step::Pod(_)
            | Step::App { .. }
            | Step::Process { .. } => Ok(()),
        }
    }
}

/// What is mounted in it later shows nowhere else.
fn show_rootfs(at: &Path) -> io::Result<()> {
    let copy = mount::copy(host_directory(at)?.as_fd(), true)?;
    mount::attach(copy.as_fd(), host_directory(at)?.as_fd())?;
    mount::make_private(copy.as_fd())
}

/// Takes away what has been mounted on a directory beyond the first `below`, with all that is mounted in it.
fn hide_rootfs(at: &Path, below: usize) -> io::Result<()> {
    while mounted_on(at) > below {
        rustix::mount::unmount(at, rustix::mount::UnmountFlags::DETACH)?;
    }
    Ok(())
}

/// How many mounts are on top of each other at a directory.
pub fn mounted_on(at: &Path) -> usize {
    let Ok(at) = fs::canonicalize(at) else { return 0 };
    // As the kernel writes them: what would end a word stands by its number.
    let mut name = Vec::new();
    for byte in at.as_os_str().as_encoded_bytes() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => name.extend(format!("\\{byte:03o}").into_bytes()),
            byte => name.push(*byte),
        }
    }
    let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
    table.split(|byte| *byte == b'\n').filter(|line| line.split(|byte| *byte == b' ').nth(4) == Some(&name[..])).count()
}

/// Has systemd take away what it has made, and waits for it: of a group that others remove it does not hear.
fn end_scope(scope: &Scope) -> Result<(), Error> {
    if !scope.path.exists() {
        return Ok(());
    }
    // It stops by itself once it is empty, so that there may be nothing to stop any more.
    let _ = scope.stop();
    for _ in 0..200 {
        if !scope.path.exists() {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    remove_group(&scope.path)
}

/// Back into the group that was left for `to`, so that nothing is left of that. Whoever is not in it, as the pod's supervisor is
/// gone, has nothing to come back from.
fn come_back(from: &Path, to: &Path) -> Result<(), Error> {
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    if own.lines().any(|line| line.starts_with("0::") && line.ends_with(&format!("/{name}"))) {
        // With controllers for its children a group takes no processes.
        let enabled = fs::read_to_string(from.join("cgroup.subtree_control")).unwrap_or_default();
        let words: Vec<String> = enabled.split_ascii_whitespace().map(|name| format!("-{name}")).collect();
        let _ = write_there(&from.join("cgroup.subtree_control"), &words.join(" "));
        if write_there(&from.join("cgroup.procs"), "0").is_err() {
            // Another pod's groups stand there. The one who stays in its own is the last to leave it.
            return Ok(());
        }
    }
    remove_group(to)
}

/// Writes a file that has to be there: asked to make one, the kernel's own file systems speak of permissions.
fn write_there(path: &Path, text: &str) -> io::Result<()> {
    io::Write::write_all(&mut fs::OpenOptions::new().write(true).open(path)?, text.as_bytes())
}

/// Published by a rename, so that it is never seen unfinished.
pub(super) fn make_mount_points(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let directory = |path: &Path| {
        fs::create_dir(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))
    };
    let fresh = path.with_extension(format!("{}.new", std::process::id()));
    directory(&fresh)?;
    for name in ["dev", "etc", "proc", "sys"] {
        directory(&fresh.join(name))?;
    }
    match fs::rename(&fresh, path) {
        // Another pod was faster.
        Err(error) if path.exists() => {
            fs::remove_dir_all(&fresh)?;
            let _ = error;
            Ok(())
        }
        done => done,
    }
}

/// The namespace outlives the process that it was made in as long as it is mounted.
fn make_network(path: &Path) -> io::Result<()> {
    fs::OpenOptions::new().write(true).create_new(true).open(path)?;
    let parent = rustix::process::getpid();
    let child = sys::clone(namespace::NET, || {
        let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
        // Who went before that sends no signal.
        while rustix::process::getppid() == Some(parent) {
            rustix::event::pause();
        }
        0
    })?;
    let source = format!("/proc/{}/ns/net", child.pid.as_raw_nonzero());
    let mounted = rustix::mount::mount_bind(source, path);
    pidfd_send_signal(&child.handle, Signal::KILL)?;
    waitid(WaitId::PidFd(child.handle.as_fd()), WaitIdOptions::EXITED)?;
    Ok(mounted?)
}

/// How many processes are in a group and those below it. One that is not there, or goes meanwhile, has none.
fn processes_in(path: &Path) -> io::Result<usize> {
    let gone = |error: &io::Error| matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV));
    let mut count = 0;
    let mut groups = vec![path.to_owned()];
    while let Some(group) = groups.pop() {
        match fs::read_to_string(group.join("cgroup.procs")) {
            Err(error) if gone(&error) => continue,
            processes => count += processes?.lines().count(),
        }
        let below = fs::read_dir(&group).into_iter().flatten().flatten();
        groups
            .extend(below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()));
    }
    Ok(count)
}

/// Processors and memory a group of version 1 does not have from the one above, and without them nothing can be in it.
fn make_group(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let (own, above) = (path.join(name), path.with_file_name(name));
        let empty = fs::read_to_string(&own).is_ok_and(|text| text.trim().is_empty());
        // In version 2 an empty one means all.
        if empty && !path.join("cgroup.controllers").exists() {
            write_there(&own, fs::read_to_string(above)?.trim())?;
        }
    }
    Ok(())
}

fn make_groups_above(path: &Path) -> io::Result<()> {
    let mut missing: Vec<&Path> = path.ancestors().skip(1).take_while(|above| !above.exists()).collect();
    missing.reverse();
    missing.into_iter().try_for_each(make_group)
}

/// Ends what is left in the group; the kernel takes a moment to let go of it.
fn remove_group(path: &Path) -> Result<(), Error> {
    let mut patience = 200;
    loop {
        match fs::remove_dir(path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && patience > 0 => {
                // Groups of its own, which whoever is in it may have made.
                for entry in fs::read_dir(path).into_iter().flatten().flatten() {
                    if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                        remove_group(&entry.path())?;
                    }
                }
                // Whoever tells how a command in the pod ended is on its way out.
                if patience < 190 {
                    for pid in fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default().lines() {
                        if let Some(pid) = pid.parse().ok().and_then(rustix::process::Pid::from_raw) {
                            let _ = rustix::process::kill_process(pid, Signal::KILL);
                        }
                    }
                }
                patience -= 1;
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            Err(error) => {
                let doing = format!("remove the control group {}", path.display());
                return Err(Error::new(Kind::Io, doing).because(error));
            }
        }
    }
}

fn check_source(path: &Path, follow_links: bool) -> Result<(), Error> {
    let doing = || format!("use {} as a volume", path.display());
    match inside::open_source(path, follow_links) {
        Ok(_) => Ok(()),
        Err(error) if inside::is(&error, rustix::io::Errno::NOENT) => {
            Err(Error::new(Kind::Missing, doing()).clause("vol.host.missing").because("there is no such path"))
        }
        Err(error) if inside::is(&error, rustix::io::Errno::LOOP) => Err(Error::new(Kind::Refused, doing())
            .clause("vol.host.symlink")
            .because("a symbolic link stands in the path")),
        Err(error) => Err(Error::new(Kind::Io, doing()).because(error)),
    }
}

impl LinuxHost {
    /// Whether the step takes the pod's first process to be there, as those of a scope do.
    fn waits(&self, step: &Step) -> bool {
        let scope = self.waiting.iter().find_map(|waiting| match waiting {
            Step::StartScope(scope) => Some(&scope.path),
            _ => None,
        });
        let within = |path: &Path| scope.is_some_and(|scope| path.starts_with(scope));
        match step {
            Step::StartScope(_) | Step::Carry(_) => true,
            Step::PlaceFirst { path }
            | Step::MakeGroup { path }
            | Step::EnableControllers { path, .. }
            | Step::SetGroup { path, .. } => within(path),
            _ => false,
        }
    }

    /// Does what has waited for the pod's first process.
    fn catch_up(&mut self, waiting: &[Step], first: &Child) -> Result<(), Error> {
        let pid = first.pid.as_raw_pid();
        for step in waiting {
            match step {
                Step::StartScope(scope) => {
                    scope.start(pid).map_err(|e| Error::new(Kind::Unsupported, step.describe()).because(e))?;
                }
                Step::PlaceFirst { path } => write_there(&path.join("cgroup.procs"), &pid.to_string())
                    .map_err(|e| Error::new(Kind::Io, step.describe()).because(e))?,
                Step::Carry(carrier) => self.carrying = Some(carrier.start(pid)?),
                other => self.apply(other)?,
            }
        }
        Ok(())
    }
}

impl Launch for LinuxHost {
    type Pod = LinuxPod;

    fn launch(&mut self, plan: &PodPlan, steps: &[Step], streams: Vec<Streams>) -> Result<LinuxPod, Error> {
        let failed = |error: io::Error| Error::new(Kind::Io, "make the pod's namespaces").because(error);
        let (flags, ids) = namespaces_of(steps);
        let (near, far) = channel::pair().map_err(failed)?;
        let sockets = host_sockets(steps)?;
        let fault = if let Fault::Fail(at) = self.fault { steps.get(at) } else { None };
        let init = Init { plan, steps, streams, channel: far, sockets, shared: Vec::new(), fault };
        let (mut near, mut init) = (Some(near), Some(init));
        let waiting = std::mem::take(&mut self.waiting);
        let child = clone_for(
            flags,
            ids,
            !waiting.is_empty(),
            |child| self.catch_up(&waiting, child),
            || {
                // Held here too, it would hide that the supervisor has gone; who went before this process could ask for a signal
                // shows in nothing else.
                drop(near.take());
                init.take().map_or(125, Init::run)
            },
        )?;
        drop(init);
        // The child's copy is gone, this one is not.
        let Some(channel) = near else { return Err(failed(io::ErrorKind::BrokenPipe.into())) };
        let held = std::mem::take(&mut self.held);
        LinuxPod::new(channel, child, plan.apps.len(), steps, self.carrying.take(), held).map_err(failed)
    }
}

/// The host's own listening sockets that apps are to find open.
fn host_sockets(steps: &[Step]) -> Result<Vec<Listening>, Error> {
    let mut sockets = Vec::new();
    for step in steps {
        if let Step::ListenOnHost { listen, address } = step {
            let opened = listening::open(listen, address.map(Into::into));
            sockets.extend(opened.map_err(|e| Error::new(Kind::Busy, step.describe()).because(e))?);
        }
    }
    Ok(sockets)
}

/// A child in the new namespaces `flags`, which runs `body` when the ids of its user namespace, if it has one, are there.
///
/// # Errors
/// [`Kind::Unsupported`] where this host forbids it.
pub(super) fn clone_mapped(flags: u64, ids: Option<&IdMap>, body: impl FnOnce() -> i32) -> Result<Child, Error> {
    clone_for(flags, ids, false, |_| Ok(()), body)
}

/// A child as of [`clone_mapped`], whose `body` `waits` until `prepare` has done something with it.
fn clone_for(
    flags: u64,
    ids: Option<&IdMap>,
    waits: bool,
    prepare: impl FnOnce(&Child) -> Result<(), Error>,
    body: impl FnOnce() -> i32,
) -> Result<Child, Error> {
    let failed = |error: io::Error| Error::new(Kind::Io, "make the pod's namespaces").because(error);
    if ids.is_none() && !waits {
        return sys::clone(flags, body).map_err(|error| namespaces_refused(error, false));
    }
    let (wait_end, open_end) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|e| failed(e.into()))?;
    let (mut wait_end, mut open_end) = (Some(wait_end), Some(open_end));
    let child = sys::clone(flags, || {
        drop(open_end.take());
        let mut byte = [0_u8];
        match wait_end.take().map(|end| rustix::io::read(&end, &mut byte)) {
            Some(Ok(1)) => body(),
            _ => 125,
        }
    });
    let child = child.map_err(|error| namespaces_refused(error, ids.is_some()))?;
    drop(wait_end);
    let mapped = ids.map_or(Ok(()), |ids| map_own_ids(child.pid, ids)).and_then(|()| prepare(&child));
    if mapped.is_err() {
        drop(open_end.take());
        let _ = waitid(WaitId::PidFd(child.handle.as_fd()), WaitIdOptions::EXITED);
    }
    mapped?;
    if let Some(open_end) = open_end {
        rustix::io::write(&open_end, b"g").map_err(|e| failed(e.into()))?;
    }
    Ok(child)
}

/// The namespaces that `steps` make, as bits of clone(2), and the ids of the user namespace among them.
pub(super) fn namespaces_of(steps: &[Step]) -> (u64, Option<&IdMap>) {
    let mut found = (0, None);
    for step in steps {
        if let Step::MakeNamespaces { namespaces, ids } = step {
            found = (namespaces.iter().map(|namespace| namespace.bit()).fold(0, |all, one| all | one), ids.as_ref());
        }
    }
    found
}

fn namespaces_refused(error: io::Error, user: bool) -> Error {
    let doing = if user { "make a user namespace for the pod" } else { "make the pod's namespaces" };
    let forbidden = matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSPC | libc::EINVAL | libc::ENOSYS));
    Error::new(if forbidden { Kind::Unsupported } else { Kind::Io }, doing).because(if forbidden {
        io::Error::new(error.kind(), format!("this host forbids it: {error}"))
    } else {
        error
    })
}

/// Has ids of the new user namespace of the process `pid` mapped that are granted to the user.
pub(super) fn map_subordinate_ids(pid: i32, ids: &IdMap) -> Result<(), Error> {
    let failed = |why: String| Error::new(Kind::Unsupported, "map the subordinate ids of the pod").because(why);
    ids.write(pid).map_err(failed)
}

/// Maps ids of the new user namespace of the process `pid`, as whoever is not root may.
pub(super) fn map_own_ids(pid: Pid, ids: &IdMap) -> Result<(), Error> {
    let pid = pid.as_raw_nonzero();
    if ids.users.len() > 1 {
        return map_subordinate_ids(pid.get(), ids);
    }
    let write = |name: &str, text: &str| {
        let path = format!("/proc/{pid}/{name}");
        fs::write(&path, text)
            .map_err(|e| Error::new(Kind::Unsupported, "map the ids of the user namespace").because(e))
    };
    let lines = |map: &[(u32, u32, u32)]| -> String {
        map.iter().map(|(inside, outside, count)| format!("{inside} {outside} {count}\n")).collect()
    };
    write("uid_map", &lines(&ids.users))?;
    // Without this, groups could be dropped that deny access.
    write("setgroups", "deny")?;
    write("gid_map", &lines(&ids.groups))
}
