//! Steps carried out on a FreeBSD system.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::facts::RULES_MARK;
use super::steps::{CloneOf, Step};
use super::system::{Found, Hidden, Mounted, NewMount, Program, System};
use crate::executor::{Error, Host, Kind, Step as _};
use crate::pod::Bounds;

/// A host that runs FreeBSD, real or modelled.
#[derive(Debug)]
pub struct FreeBsd<S> {
    /// The system beneath.
    pub system: S,
    /// What the user is to be told of what was done.
    pub warnings: Vec<String>,
}

impl<S: System> FreeBsd<S> {
    /// On this system.
    pub fn new(system: S) -> Self {
        Self { system, warnings: Vec::new() }
    }

    /// The jail of the pod, in words, as long as it is there: it does not end with the pod's supervisor.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn lingers(&mut self, pod: Uuid) -> Result<Option<String>, Error> {
        let name = format!("jetpack-{pod}");
        let found = self.system.find_jail(&name);
        let found = found.map_err(|e| Error::new(Kind::Io, format!("look for the jail {name}")).because(e))?;
        Ok(found.map(|_| format!("its jail {name} still runs")))
    }

    /// Takes away, by what they are called, the jail of a pod and what is mounted below its directory, when its journal no longer
    /// tells: who removes the directory must not reach anything through it.
    ///
    /// # Errors
    /// What cannot be unmounted.
    pub(crate) fn let_go(&mut self, pod: &Bounds) -> Result<(), Error> {
        let failed = |error: io::Error| {
            Error::new(Kind::Io, format!("take away what is mounted below {}", pod.directory.display())).because(error)
        };
        if let Some(id) = self.system.find_jail(&format!("jetpack-{}", pod.uuid)).map_err(failed)? {
            gone(self.system.remove_jail(id)).map_err(failed)?;
        }
        let mounts = self.system.mounts().map_err(failed)?;
        for mount in mounts.iter().rev().filter(|mount| pod.has(&mount.on)) {
            self.system.unmount(&mount.on, true).map_err(failed)?;
        }
        Ok(())
    }

    fn run(&mut self, program: Program, arguments: &[&str]) -> io::Result<String> {
        self.system.run(program, arguments, "")?.success()
    }

    fn perform(&mut self, step: &Step) -> io::Result<()> {
        match step {
            Step::CheckSource { path, follow_links } => match self.system.look(path, *follow_links)? {
                Found::Directory | Found::File => Ok(()),
                Found::Other => Err(neither()),
            },
            Step::MakeDirectory { path, mode, owner } => self.system.make_directory(path, *mode, *owner),
            Step::CloneRootfs { uuid, clones, .. } => clones.iter().try_for_each(|one| self.clone_rootfs(uuid, one)),
            Step::CopyRootfs { layers, into } => layers.iter().try_for_each(|layer| self.system.copy_tree(layer, into)),
            Step::MakeDeviceRules { number, mark } => self.make_device_rules(*number, mark),
            Step::Mount { kind, from, root, target, options, read_only, .. } => {
                self.mount(kind, from, root, target, options, *read_only)
            }
            Step::ProvideFile { root, path, content, replace } => {
                self.system.write_file(root, path, content, *replace).map(drop)
            }
            Step::MakePlaces { root, places } => {
                places.iter().try_for_each(|place| self.make_place(root, &place.target, place.source.as_deref()))
            }
            Step::FreezeRootfs { on } => self.freeze(on),
            Step::ClaimAddress { file, uuid } => match self.system.claim(file, uuid) {
                // It was reserved for this pod as its network was looked at.
                Err(error)
                    if error.kind() == io::ErrorKind::AlreadyExists
                        && self.system.read_text(file).is_ok_and(|owner| owner == *uuid) =>
                {
                    Ok(())
                }
                done => done,
            },
            Step::MakeBridge { name, addresses } => self.make_bridge(name, addresses),
            Step::MakeEpair { unit, bridge, description } => self.make_epair(*unit, bridge, description),
            Step::CreateJail { parameters, .. } => self.system.create_jail(parameters).map(drop),
            Step::MoveInterface { interface, jail } => {
                let jail = self.jail(jail)?;
                self.system.move_interface(interface, jail)
            }
            Step::SetUpNetwork { jail, settings } => {
                let jail = self.jail(jail)?;
                self.system.configure(jail, settings)
            }
            Step::AllowChild { jail } => self.system.allow_child(jail),
            Step::ApplyDeviceRules { root, target, rules } => {
                let on = below(root, target).to_string_lossy().into_owned();
                rules.iter().try_for_each(|rule| {
                    let words = ["-m", &on, "rule", "apply"].into_iter().chain(rule.split_ascii_whitespace());
                    self.run(Program::Devfs, &words.collect::<Vec<_>>()).map(drop)
                })
            }
            // Done where the apps are started: a socket is nothing that others could take back.
            Step::Listen { .. } | Step::Process { .. } => Ok(()),
            Step::AddRules { subject, rules } => {
                rules.iter().try_for_each(|rule| self.system.add_rule(&format!("{subject}:{rule}")))
            }
            Step::LoadAnchor { anchor, rules } => {
                let _turn = self.system.turn()?;
                patiently(|| self.system.run(Program::Pfctl, &["-a", anchor, "-f", "-"], rules)?.success()).map(drop)
            }
        }
    }

    fn take_back(&mut self, step: &Step) -> io::Result<()> {
        match step {
            Step::MakeDirectory { path, .. } => self.remove_directory(path),
            Step::CopyRootfs { into, .. } => self.remove_directory(into),
            Step::CloneRootfs { dataset, .. } => self.destroy(dataset),
            Step::Mount { kind, root, target, .. } => self.unmount(kind, &below(root, target)),
            Step::ClaimAddress { file, uuid } => self.system.release(file, uuid),
            Step::MakeEpair { unit, description, .. } => self.destroy_epair(*unit, description),
            Step::CreateJail { name, .. } => match self.system.find_jail(name)? {
                Some(id) => gone(self.system.remove_jail(id)),
                None => Ok(()),
            },
            Step::AddRules { subject, .. } => self.system.remove_rules(subject),
            // An anchor that is not there is flushed with success, and with a complaint that means nothing.
            Step::LoadAnchor { anchor, .. } => {
                let _turn = self.system.turn()?;
                patiently(|| self.run(Program::Pfctl, &["-a", anchor, "-F", "all"])).map(drop)
            }
            // The clone is as the pod leaves it; what changed nothing has nothing to take back; what all pods share
            // stays; an interface in a jail comes back when the jail goes.
            Step::FreezeRootfs { .. }
            | Step::CheckSource { .. }
            | Step::ProvideFile { .. }
            | Step::MakePlaces { .. }
            | Step::MakeDeviceRules { .. }
            | Step::AllowChild { .. }
            | Step::ApplyDeviceRules { .. }
            | Step::MakeBridge { .. }
            | Step::MoveInterface { .. }
            | Step::SetUpNetwork { .. }
            | Step::Process { .. }
            | Step::Listen { .. } => Ok(()),
        }
    }

    fn jail(&mut self, name: &str) -> io::Result<i32> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("the jail {name} is gone"));
        self.system.find_jail(name)?.ok_or_else(missing)
    }

    fn clone_rootfs(&mut self, uuid: &str, clone: &CloneOf) -> io::Result<()> {
        let mountpoint = format!("mountpoint={}", clone.mountpoint.display());
        let property = format!("appc:pod={uuid}");
        // `-p` makes the dataset above those of several apps on the way: one program an app.
        let arguments = ["clone", "-p", "-o", &mountpoint, "-o", &property, &clone.snapshot, &clone.dataset];
        self.run(Program::Zfs, &arguments).map(drop)
    }

    fn destroy(&mut self, dataset: &str) -> io::Result<()> {
        match self.run(Program::Zfs, &["destroy", "-r", dataset]) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            // What still holds it is nobody's, or looks at it and lets it go.
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                gone(patiently(|| self.run(Program::Zfs, &["destroy", "-r", "-f", dataset])).map(drop))
            }
            done => done.map(drop),
        }
    }

    /// Nothing is removed through a mount: what was mounted below and could not be unmounted is somebody's data.
    fn remove_directory(&mut self, path: &Path) -> io::Result<()> {
        if let Some(mount) = self.system.mounts()?.iter().find(|mount| mount.on.starts_with(path)) {
            let why = format!("{} is still mounted on {}", mount.from, mount.on.display());
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, why));
        }
        self.system.remove_directory(path)
    }

    fn make_device_rules(&mut self, number: u16, mark: &Path) -> io::Result<()> {
        let set = number.to_string();
        // Basic and login devices of the default rule sets; then what those show too much and too little. The number of
        // each makes adding it again an error that means nothing, so that of two pods that come here at once neither
        // mounts with half of the rules, and one that was killed here leaves no harm.
        for (number, rule) in DEVICE_RULES.iter().enumerate() {
            let number = ((number + 1) * 100).to_string();
            let words: Vec<&str> = ["rule", "-s", &set, "add", &number].into_iter().chain(rule.split(' ')).collect();
            match self.run(Program::Devfs, &words) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                done => drop(done?),
            }
        }
        match self.system.claim(mark, &set) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            done => done,
        }
    }

    /// Makes the place of a mount; with a source, a volume's, what it hides is told (`vol.target.warn`).
    fn make_place(&mut self, root: &Path, target: &Path, source: Option<&Path>) -> io::Result<()> {
        let file = match source {
            Some(source) => match self.system.look(source, true)? {
                Found::Directory => false,
                Found::File => true,
                Found::Other => return Err(neither()),
            },
            None => false,
        };
        let made = self.system.make_target(root, target, file);
        let made = made.map_err(|error| if file { on_directory(error) } else { error });
        let hidden = made?.filter(|_| source.is_some());
        let what = match hidden {
            None => return Ok(()),
            Some(Hidden::File) => "a file",
            Some(Hidden::Content) => "a directory that is not empty",
        };
        let warning = format!("a volume masks {what} at {} [vol.target.warn]", target.display());
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
        Ok(())
    }

    fn mount(
        &mut self,
        kind: &str,
        from: &str,
        root: &Path,
        target: &Path,
        options: &[(String, String)],
        read_only: bool,
    ) -> io::Result<()> {
        let on = below(root, target);
        let mut options = options.to_vec();
        if kind == "nullfs" {
            options.push(("target".to_owned(), from.to_owned()));
            self.make_place(root, target, Some(Path::new(from)))?;
        } else if !super::compile::in_devices(target) {
            self.system.make_target(root, target, false)?;
        }
        let before = self.system.mounts()?;
        if let Err(error) = self.system.mount(NewMount { kind, on: &on, options: &options, read_only, update: false }) {
            // The kernel loads what it lacks by itself, and gives the error of that where it cannot: EPERM above secure level 0,
            // ENOENT without the file, as if the place were not there.
            let known = self.system.has_module(&format!("{kind}.ko"), kind);
            return Err(if known { error } else { io::Error::new(io::ErrorKind::Unsupported, error) });
        }
        // The kernel follows a link that was put there meanwhile: the mount table tells where the mount really is.
        let mounts = self.system.mounts()?;
        let same = |mount: &&Mounted| mount.kind == kind && (kind != "nullfs" || mount.from == from);
        if mounts.iter().filter(same).any(|mount| mount.on == on) {
            return if kind == "devfs" { self.see_to_devices(&on, &options) } else { Ok(()) };
        }
        // Other pods mount at the same time, the same volumes too: theirs stand below their own directories.
        let pods = root.ancestors().nth(PODS_ABOVE_ROOTFS).unwrap_or(root);
        let foreign = |on: &Path| on.starts_with(pods) && !on.starts_with(root);
        let new = |mount: &&Mounted| !before.contains(mount) && !foreign(&mount.on);
        let strays: Vec<_> = mounts.iter().filter(same).filter(new).map(|mount| mount.on.clone()).collect();
        match strays.as_slice() {
            [stray] => {
                self.system.unmount(stray, false)?;
                let why = format!("it came to {} instead, which was undone", stray.display());
                Err(io::Error::new(io::ErrorKind::InvalidInput, why))
            }
            _ => Err(io::Error::new(io::ErrorKind::NotFound, "the mount is not where it was meant to be")),
        }
    }

    /// A rule set that nobody has made is taken for an empty one, which hides nothing: the mark that says that ours is there
    /// may have outlived it.
    fn see_to_devices(&mut self, on: &Path, options: &[(String, String)]) -> io::Result<()> {
        let shows_all = |system: &mut S| system.look(&on.join("mem"), false).is_ok();
        // Who names no rule set wants all devices: only an operator's own configuration can.
        let Some((_, named)) = options.iter().find(|(name, _)| name == "ruleset") else { return Ok(()) };
        if !shows_all(&mut self.system) {
            return Ok(());
        }
        self.system.unmount(on, false)?;
        let number: u16 = named.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
        if self.system.read_text(Path::new(RULES_MARK)).ok().as_deref() != Some(named) {
            let why = format!("the devfs rule set {number} does not hide the host's memory: service devfs restart");
            return Err(io::Error::other(why));
        }
        self.make_device_rules(number, Path::new(RULES_MARK))?;
        self.system.mount(NewMount { kind: "devfs", on, options, read_only: false, update: false })?;
        if shows_all(&mut self.system) {
            self.system.unmount(on, false)?;
            return Err(io::Error::other(format!("the devfs rule set {number} does not hide the host's memory")));
        }
        Ok(())
    }

    fn unmount(&mut self, kind: &str, on: &Path) -> io::Result<()> {
        let there = |mounts: Vec<Mounted>| mounts.iter().rev().find(|m| m.on == on).is_some_and(|m| m.kind == kind);
        if !there(self.system.mounts()?) {
            return Ok(());
        }
        match self.system.unmount(on, false) {
            // No app is alive any more: what still holds it is nobody's.
            Err(_) => self.system.unmount(on, true),
            done => done,
        }
    }

    fn freeze(&mut self, on: &Path) -> io::Result<()> {
        let there = |mounts: Vec<Mounted>| mounts.into_iter().rev().find(|mount| mount.on == on && mount.kind == "zfs");
        let from = there(self.system.mounts()?).map(|mount| ("from".to_owned(), mount.from));
        let options: Vec<_> = from.into_iter().collect();
        let new = NewMount { kind: "zfs", on, options: &options, read_only: true, update: true };
        let updated = self.system.mount(new);
        match there(self.system.mounts()?) {
            Some(mount) if updated.is_ok() && mount.read_only => Ok(()),
            // An update that the file system refuses, or passes over in silence: the property decides then.
            Some(mount) => self.run(Program::Zfs, &["set", "readonly=on", &mount.from]).map(drop),
            None => Err(io::Error::new(io::ErrorKind::NotFound, "nothing is mounted there")),
        }
    }

    fn make_bridge(&mut self, name: &str, addresses: &[String]) -> io::Result<()> {
        // Two bridges of one name, or of one address, there cannot be: who comes second finds the first whole.
        let _turn = self.system.turn()?;
        if addresses.iter().all(|address| self.has_address(name, address)) {
            return Ok(());
        }
        let made = self.run(Program::Ifconfig, &["bridge", "create"])?;
        let made = made.trim();
        if let Err(error) = self.run(Program::Ifconfig, &[made, "name", name]) {
            self.run(Program::Ifconfig, &[made, "destroy"])?;
            if error.kind() != io::ErrorKind::AlreadyExists {
                return Err(error);
            }
            // Another was killed half way: what is there already is given again.
        }
        for address in addresses {
            let family = if address.contains(':') { "inet6" } else { "inet" };
            match self.run(Program::Ifconfig, &[name, family, address, "alias"]) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.has_address(name, address) => {}
                done => drop(done?),
            }
        }
        self.run(Program::Ifconfig, &[name, "up"]).map(drop)
    }

    fn has_address(&mut self, interface: &str, address: &str) -> bool {
        let address = address.split('/').next().unwrap_or(address);
        self.run(Program::Ifconfig, &[interface])
            .is_ok_and(|shown| shown.split_whitespace().any(|word| word == address))
    }

    fn make_epair(&mut self, unit: u32, bridge: &str, description: &str) -> io::Result<()> {
        let near = format!("epair{unit}a");
        self.run(Program::Ifconfig, &[&format!("epair{unit}"), "create", "descr", description, "up"])?;
        self.run(Program::Ifconfig, &[bridge, "addm", &near]).map(drop)
    }

    /// Waits for an interface to come back from a jail that is gone. The jail's network is taken down after the jail itself
    /// (`vnet_destroy` in `prison_deref`), and to destroy an interface while that hands it back is a race within the kernel.
    fn wait_for_interface(&mut self, name: &str) {
        let patience = Instant::now() + HANDING_BACK;
        while !self.system.has_interface(name) && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn destroy_epair(&mut self, unit: u32, description: &str) -> io::Result<()> {
        let near = format!("epair{unit}a");
        match self.run(Program::Ifconfig, &[&near]) {
            // Either end takes the other with it.
            Ok(shown) if shown.contains(description) => {
                self.wait_for_interface(&format!("epair{unit}b"));
                gone(self.run(Program::Ifconfig, &[&near, "destroy"]).map(drop))
            }
            Ok(_) => Ok(()),
            Err(error) => gone(Err(error)),
        }
    }
}

/// Does again what another writer keeps from being done, as `service pf reload` does: the packet filter knows one that
/// begins to load rules, and tells who began before that it is busy (`ticket_pabuf` of pf_ioctl.c).
pub(super) fn patiently<T>(mut what: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut pause = Duration::from_millis(5);
    while pause < Duration::from_secs(1) {
        match what() {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => std::thread::sleep(pause),
            done => return done,
        }
        pause *= 2;
    }
    what()
}

/// What nullfs refuses as an invalid argument.
fn neither() -> io::Error {
    let why = "it is neither a file nor a directory, and nullfs shows nothing else; mount the directory that it is in";
    io::Error::new(io::ErrorKind::Unsupported, why)
}

/// A file has a directory as its place.
fn on_directory(error: io::Error) -> io::Error {
    if error.kind() != io::ErrorKind::IsADirectory {
        return error;
    }
    io::Error::new(error.kind(), "the volume's source is a file, and the image has a directory there")
}

/// How long an interface may take to come back. A connection that was closed a moment ago keeps a jail's network for a minute,
/// which nothing waits for.
const HANDING_BACK: Duration = Duration::from_millis(500);

/// What the devfs rule set of pods is made of.
const DEVICE_RULES: [&str; 7] = [
    "include 1",
    "include 2",
    "include 3",
    "path zfs hide",
    "path full unhide",
    "path console unhide",
    // The directory that linux64 makes for a file system to be mounted on.
    "path shm unhide",
];

/// How far the directory of all pods is above a rootfs: `<pods>/<uuid>/root/<app>/rootfs`.
const PODS_ABOVE_ROOTFS: usize = 4;

/// The place `inside` a rootfs, on the host.
fn below(root: &Path, inside: &Path) -> std::path::PathBuf {
    root.join(inside.strip_prefix("/").unwrap_or(inside))
}

/// What was to go has gone already.
fn gone(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// What an administrator can do about a step that failed so.
fn advice(step: &Step, error: io::ErrorKind) -> Option<String> {
    use io::ErrorKind::{AlreadyExists, NotFound, PermissionDenied, ResourceBusy, StorageFull, Unsupported};
    Some(match (step, error) {
        (_, StorageFull) => "make room: zfs list -o space tells what takes it".to_owned(),
        (Step::MakeBridge { .. }, AlreadyExists) => {
            "the host has that address already: give freebsd.network in the configuration another block".to_owned()
        }
        (Step::MakeEpair { unit, .. }, AlreadyExists) => {
            format!("it is not this pod's: look at ifconfig epair{unit}a, and destroy it if it is nobody's")
        }
        (Step::MakeEpair { .. } | Step::MakeBridge { .. }, _) => {
            "look at ifconfig -l and kldstat -m if_epair".to_owned()
        }
        // `kern_jail_set` of kern_jail.c.
        (Step::CreateJail { name, .. }, PermissionDenied) if name.contains('.') => {
            "a child may have nothing that its parent has not (allow.*), and see no more (enforce_statfs)".to_owned()
        }
        (Step::CreateJail { name, .. }, AlreadyExists) => format!("look at jls -j {name}; jail -r {name} removes it"),
        (Step::CloneRootfs { dataset, .. }, NotFound) => {
            format!("look at zfs list -r {}", dataset.split("/pods").next().unwrap_or(dataset))
        }
        (Step::CloneRootfs { dataset, .. }, ResourceBusy | AlreadyExists) => {
            format!("a pod has left it: zfs destroy -r {dataset}")
        }
        (Step::Mount { kind, .. }, Unsupported) => {
            format!("load the file system: kldload {kind}, or at boot {kind}_load=YES in /boot/loader.conf")
        }
        (Step::AddRules { .. }, Unsupported) => {
            "the kernel does not account resources: kern.racct.enable=1 in /boot/loader.conf".to_owned()
        }
        (Step::LoadAnchor { .. }, _) => "look at pfctl -s info and /etc/pf.conf".to_owned(),
        (Step::MakeDeviceRules { .. }, _) => "service devfs restart makes the default rule sets anew".to_owned(),
        _ => return None,
    })
}

fn failed(step: &Step, error: io::Error) -> Error {
    let kind = match (step, error.kind()) {
        (Step::CheckSource { .. }, io::ErrorKind::Unsupported) => Kind::Unsupported,
        (Step::CheckSource { .. }, _) => Kind::Missing,
        (Step::Mount { .. } | Step::MakePlaces { .. }, io::ErrorKind::IsADirectory) => Kind::Refused,
        (_, io::ErrorKind::NotFound) => Kind::Missing,
        (_, io::ErrorKind::AlreadyExists | io::ErrorKind::ResourceBusy) => Kind::Busy,
        (_, io::ErrorKind::Unsupported) => Kind::Unsupported,
        _ => Kind::Io,
    };
    let why = match advice(step, error.kind()) {
        Some(advice) => io::Error::new(error.kind(), format!("{error}; {advice}")),
        None => error,
    };
    let failure = Error::new(kind, step.describe()).because(why);
    match step {
        Step::CheckSource { .. } if kind == Kind::Missing => failure.clause("vol.host.missing"),
        _ => failure,
    }
}

impl<S: System> Host for FreeBsd<S> {
    type Step = Step;

    fn apply(&mut self, step: &Step) -> Result<(), Error> {
        self.perform(step).map_err(|error| failed(step, error))
    }

    fn undo(&mut self, step: &Step) -> Result<(), Error> {
        self.take_back(step)
            .map_err(|error| Error::new(Kind::Undo, format!("undo: {}", step.describe())).because(error))
    }
}
