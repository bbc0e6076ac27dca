//! From a bundle to steps. Pure: same bundle, same facts, same steps.
//!
//! What is FreeBSD's own of a configuration stands in its member `freebsd` (version 1.3 of the specification), or in annotations as
//! `org.freebsd.jail.vnet`, which engines gave before there was one and ocijail takes. What a configuration asks for that only Linux has
//! is told.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::limits;
use crate::executor::freebsd::facts;
use crate::executor::freebsd::steps::{Place, Step};
use crate::executor::freebsd::system::{System, Value};
use crate::executor::isolation::{Outcome, Report};
use crate::executor::{Compiled, Error, Kind};
use crate::id::Id;
use crate::oci::bundle::{Allow, Bundle, Config, Jail, Mount, Process};

/// What has to be known of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Whether jails and mounts can be made, as by root.
    pub privileged: bool,
    /// Major and minor release.
    pub release: (u32, u32),
    /// Whether resources are accounted (`kern.racct.enable`).
    pub racct: bool,
    /// Whether jails can have networks of their own.
    pub vnet: bool,
    /// The root file system on the host, without links.
    pub rootfs: PathBuf,
    /// Where the places of mounts are in the rootfs once its own links are followed, one for each mount; none: as they are named.
    pub targets: Vec<PathBuf>,
}

/// Symbolic links that are followed on the way to one place.
const LINKS: usize = 40;

impl Facts {
    /// Of a host, for a bundle.
    pub fn detect(system: &mut impl System, bundle: &Bundle) -> Self {
        let root = bundle.directory.join(bundle.config.root.clone().unwrap_or_default().path);
        let root = std::fs::canonicalize(&root).unwrap_or(root);
        Self {
            privileged: system.privileged(),
            release: facts::release_of(&system.version()),
            racct: facts::is_on(system, "kern.racct.enable"),
            vnet: facts::is_on(system, "kern.features.vimage"),
            targets: bundle.config.mounts.iter().map(|mount| within(&root, &mount.destination)).collect(),
            rootfs: root,
        }
    }
}

/// The place that `path` names in `root`: its links are followed as they lead inside. What is mounted there is mounted without
/// following any, so a link that comes later leads nowhere.
fn within(root: &Path, path: &Path) -> PathBuf {
    let mut left: Vec<_> = path.components().rev().map(|part| part.as_os_str().to_owned()).collect();
    let (mut place, mut links) = (PathBuf::from("/"), 0);
    while let Some(part) = left.pop() {
        match part.to_str() {
            Some("/") => place = PathBuf::from("/"),
            Some(".") => {}
            Some("..") => drop(place.pop()),
            _ => {
                let next = place.join(&part);
                match std::fs::read_link(root.join(next.strip_prefix("/").unwrap_or(&next))) {
                    Ok(to) if links < LINKS => {
                        links += 1;
                        left.extend(to.components().rev().map(|part| part.as_os_str().to_owned()));
                    }
                    _ => place = next,
                }
            }
        }
    }
    place
}

fn refused(member: &str, why: impl Into<String>) -> Error {
    Error::new(Kind::Refused, format!("use {member} of config.json")).because(why.into())
}

/// The name of a container's jail: its id, below that of its parent. A dot would make it another's child, and a number another's id.
fn jail_name(id: &str, parent: Option<&str>) -> String {
    let plain = id.replace('.', "_");
    let plain = if plain.bytes().all(|byte| byte.is_ascii_digit()) { format!("oci-{plain}") } else { plain };
    parent.map_or_else(|| plain.clone(), |parent| format!("{parent}.{plain}"))
}

/// What the steps shall be for a container called `id`, whose files are in `directory`.
///
/// # Errors
/// [`Kind::Refused`], naming the member of the configuration that cannot be; [`Kind::Unsupported`] without root.
pub fn compile(bundle: &Bundle, id: &str, directory: &Path, facts: &Facts) -> Result<Compiled<Step>, Error> {
    if !facts.privileged {
        return Err(Error::new(Kind::Unsupported, format!("make the container {id}"))
            .because("FreeBSD lets only root make jails and mounts"));
    }
    let config = &bundle.config;
    let mut report = Report::new();
    let mut steps = Vec::new();
    let jail = jail(config)?;
    let root = file_systems(bundle, directory, facts, &mut steps, &mut report)?;
    let name = jail_name(id, jail.parent.as_deref());
    if let Some(parent) = &jail.parent {
        steps.push(Step::AllowChild { jail: parent.clone() });
    }
    let parameters = parameters(config, &jail, &name, &root, facts)?;
    steps.push(Step::CreateJail { name: name.clone(), parameters });
    if let Some(resources) = config.linux.as_ref().and_then(|linux| linux.resources.as_ref()) {
        let rules = limits::rules(resources, facts.racct, &mut report);
        if !rules.is_empty() {
            steps.push(Step::AddRules { subject: format!("jail:{name}"), rules });
        }
    }
    told(config, facts, &mut report);
    Ok(Compiled { steps, report })
}

/// The jail's name and its root on the host, among the steps of a container.
#[cfg(target_os = "freebsd")]
pub(super) fn made(steps: &[Step]) -> Option<(String, PathBuf)> {
    steps.iter().find_map(|step| match step {
        Step::CreateJail { name, parameters } => {
            let path = parameters.iter().find_map(|(name, value)| match value {
                Value::Text(path) if name == "path" => Some(PathBuf::from(path)),
                _ => None,
            });
            path.map(|path| (name.clone(), path))
        }
        _ => None,
    })
}

/// What the configuration says of the jail, by its own member or by annotations.
fn jail(config: &Config) -> Result<Jail, Error> {
    if let Some(freebsd) = &config.freebsd {
        return Ok(freebsd.jail.clone().unwrap_or_default());
    }
    let annotation = |name: &str| config.annotations.get(&format!("org.freebsd.{name}")).cloned();
    let is =
        |name: &str| annotation(&format!("jail.allow.{name}")).is_some_and(|value| value == "true" || value == "1");
    let mounts = ["devfs", "fdescfs", "nullfs", "procfs", "tmpfs", "zfs"].map(str::to_owned);
    Ok(Jail {
        parent: annotation("parentJail"),
        vnet: annotation("jail.vnet"),
        sysvmsg: annotation("jail.sysvmsg"),
        sysvsem: annotation("jail.sysvsem"),
        sysvshm: annotation("jail.sysvshm"),
        ip4_addr: addresses("org.freebsd.jail.ip4.addr", annotation("jail.ip4.addr"))?,
        ip6_addr: addresses("org.freebsd.jail.ip6.addr", annotation("jail.ip6.addr"))?,
        enforce_statfs: Some(1),
        allow: Some(Allow {
            // As engines expect that know of annotations only.
            raw_sockets: Some(true),
            chflags: Some(true),
            quotas: is("quotas"),
            socket_af: is("socket_af"),
            mlock: is("mlock"),
            sysvipc: is("sysvipc"),
            mount: mounts.into_iter().filter(|kind| is(&format!("mount.{kind}"))).collect(),
            ..Allow::default()
        }),
        ..Jail::default()
    })
}

fn addresses(member: &str, list: Option<String>) -> Result<Vec<IpAddr>, Error> {
    let each = |text: &str| text.trim().parse().map_err(|_| refused(member, format!("`{text}` is no address")));
    list.iter().flat_map(|list| list.split(',')).filter(|text| !text.trim().is_empty()).map(each).collect()
}

/// `new`, `inherit` or `disable`.
fn share(member: &str, word: Option<&str>, default: Value) -> Result<Value, Error> {
    match word {
        None | Some("") => Ok(default),
        Some("new") => Ok(Value::New),
        Some("inherit") => Ok(Value::Inherit),
        Some("disable") => Ok(Value::Number(0)),
        Some(other) => Err(refused(member, format!("`{}` is none of new, inherit, disable", other.escape_debug()))),
    }
}

fn parameters(
    config: &Config,
    jail: &Jail,
    name: &str,
    root: &Path,
    facts: &Facts,
) -> Result<Vec<(String, Value)>, Error> {
    let text = |value: &str| Value::Text(value.to_owned());
    let mut all = vec![("name", text(name)), ("path", text(&root.to_string_lossy())), ("persist", Value::Flag)];
    let statfs = jail.enforce_statfs.unwrap_or(2);
    if !(0..=2).contains(&statfs) {
        return Err(refused("freebsd.jail.enforceStatfs", format!("{statfs} is none of 0, 1, 2")));
    }
    all.push(("enforce_statfs", Value::Number(statfs)));
    let hostname = config.hostname.as_deref().filter(|name| !name.is_empty());
    let domainname = config.domainname.as_deref().filter(|name| !name.is_empty());
    let own = if hostname.or(domainname).is_some() { Value::New } else { Value::Inherit };
    let mut named = false;
    match share("freebsd.jail.host", jail.host.as_deref(), own)? {
        Value::New => {
            named = true;
            all.push(("host", Value::New));
            all.extend(hostname.map(|name| ("host.hostname", text(name))));
            all.extend(domainname.map(|name| ("host.domainname", text(name))));
        }
        Value::Inherit if hostname.or(domainname).is_none() || jail.host.is_some() => {
            all.push(("host", Value::Inherit))
        }
        _ => return Err(refused("freebsd.jail.host", "it is new or inherit")),
    }
    for (parameter, member, word) in [
        ("sysvmsg", "freebsd.jail.sysvmsg", &jail.sysvmsg),
        ("sysvsem", "freebsd.jail.sysvsem", &jail.sysvsem),
        ("sysvshm", "freebsd.jail.sysvshm", &jail.sysvshm),
    ] {
        all.push((parameter, share(member, word.as_deref(), Value::New)?));
    }
    match share("freebsd.jail.vnet", jail.vnet.as_deref(), Value::Inherit)? {
        Value::New if facts.vnet => all.push(("vnet", Value::New)),
        Value::New => return Err(refused("freebsd.jail.vnet", "this kernel has no VIMAGE, which GENERIC has")),
        Value::Inherit => {
            for (kind, word, only) in [("ip4", &jail.ip4, &jail.ip4_addr), ("ip6", &jail.ip6, &jail.ip6_addr)] {
                match only.as_slice() {
                    [] => all.push((kind, share(&format!("freebsd.jail.{kind}"), word.as_deref(), Value::Inherit)?)),
                    only => {
                        all.push((kind, Value::New));
                        all.push((
                            if kind == "ip4" { "ip4.addr" } else { "ip6.addr" },
                            Value::Addresses(only.to_vec()),
                        ));
                    }
                }
            }
        }
        _ => return Err(refused("freebsd.jail.vnet", "it is new or inherit")),
    }
    let allow = jail.allow.clone().unwrap_or_default();
    for (name, no, wanted, default) in [
        // In a jail with the host's name it would be the host that gets another.
        (
            "allow.set_hostname",
            "allow.noset_hostname",
            allow.set_hostname.filter(|_| named).or(named.then_some(true)).or(Some(false)),
            true,
        ),
        ("allow.raw_sockets", "allow.noraw_sockets", allow.raw_sockets, false),
        ("allow.chflags", "allow.nochflags", allow.chflags, false),
        ("allow.quotas", "allow.noquotas", Some(allow.quotas), false),
        ("allow.socket_af", "allow.nosocket_af", Some(allow.socket_af), false),
        ("allow.mlock", "allow.nomlock", Some(allow.mlock), false),
        ("allow.sysvipc", "allow.nosysvipc", Some(allow.sysvipc), false),
        ("allow.reserved_ports", "allow.noreserved_ports", allow.reserved_ports, true),
        ("allow.suser", "allow.nosuser", allow.suser, true),
    ] {
        let wanted = wanted.unwrap_or(default);
        if wanted != default {
            all.push((if wanted { name } else { no }, Value::Flag));
        }
    }
    let mut all: Vec<(String, Value)> = all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    if !allow.mount.is_empty() {
        all.push(("allow.mount".to_owned(), Value::Flag));
    }
    for kind in &allow.mount {
        if !kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(refused("freebsd.jail.allow.mount", format!("`{}` is no file system", kind.escape_debug())));
        }
        all.push((format!("allow.mount.{kind}"), Value::Flag));
    }
    Ok(all)
}

/// Options that the kernel has no need of, as what they are about is not there.
const NOTHING: [&str; 18] = [
    "bind",
    "rbind",
    "private",
    "rprivate",
    "slave",
    "rslave",
    "shared",
    "rshared",
    "unbindable",
    "runbindable",
    "dev",
    "nodev",
    "relatime",
    "strictatime",
    "rw",
    "z",
    "Z",
    "defaults",
];

/// A mount in FreeBSD's terms.
struct Asked {
    kind: String,
    from: String,
    target: PathBuf,
    options: Vec<(String, String)>,
    read_only: bool,
    device_rules: Vec<String>,
}

fn asked(number: usize, mount: &Mount, facts: &Facts, report: &mut Report) -> Result<Asked, Error> {
    let bound = mount.options.iter().any(|option| option == "bind" || option == "rbind");
    let kind = match mount.kind.as_deref() {
        None | Some("" | "bind") => "nullfs",
        Some("none") if bound => "nullfs",
        Some("proc") => "procfs",
        Some(kind) => kind,
    };
    let source = mount.source.as_ref().map(|source| source.to_string_lossy().into_owned());
    let from = match (kind, source) {
        ("nullfs", None) => return Err(refused(&format!("mounts[{number}].source"), "it is missing")),
        ("nullfs", Some(source)) => source,
        _ => kind.to_owned(),
    };
    let named = facts.targets.get(number).unwrap_or(&mount.destination);
    let target = Path::new("/").join(named.strip_prefix("/").unwrap_or(named));
    let mut asked =
        Asked { kind: kind.to_owned(), from, target, options: Vec::new(), read_only: false, device_rules: Vec::new() };
    for option in &mount.options {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name {
            "ro" | "rdonly" => asked.read_only = true,
            _ if NOTHING.contains(&name) => {}
            "rule" if kind == "devfs" => asked.device_rules.push(value.to_owned()),
            "tmpcopyup" => {
                let why = "the file system is empty: what the image has there is not copied into it";
                report.asked(None, &format!("mounts[{number}] ({option})"), "x.oci.runtime", Outcome::ignored(why));
            }
            "fstype" | "fspath" | "target" | "from" | "errmsg" | "update" | "export" => {
                return Err(refused(&format!("mounts[{number}].options"), format!("`{name}` is no option of a mount")));
            }
            _ => asked.options.push((name.to_owned(), value.to_owned())),
        }
    }
    Ok(asked)
}

/// Mounts what the bundle wants to have mounted; gives the jail's root.
fn file_systems(
    bundle: &Bundle,
    directory: &Path,
    facts: &Facts,
    steps: &mut Vec<Step>,
    report: &mut Report,
) -> Result<PathBuf, Error> {
    let config = &bundle.config;
    let own = facts.rootfs.clone();
    let mounts = config.mounts.iter().enumerate().map(|(number, mount)| asked(number, mount, facts, report));
    let mut mounts = mounts.collect::<Result<Vec<_>, _>>()?;
    let devices: Vec<_> = config.freebsd.iter().flat_map(|freebsd| &freebsd.devices).collect();
    if !devices.is_empty() {
        let devfs = mounts.iter_mut().find(|mount| mount.kind == "devfs" && mount.target == Path::new("/dev"));
        let devfs = devfs.ok_or_else(|| refused("freebsd.devices", "no devfs is mounted at /dev"))?;
        for (number, device) in devices.into_iter().enumerate() {
            let plain = |c: char| c.is_ascii_alphanumeric() || "._-/*?".contains(c);
            if device.path.is_empty()
                || !device.path.chars().all(plain)
                || device.path.split('/').any(|part| part == "..")
            {
                return Err(refused(&format!("freebsd.devices[{number}].path"), "it is no device below /dev"));
            }
            let mode = device.mode.map_or(String::new(), |mode| format!(" mode {:04o}", mode & 0o7777));
            devfs.device_rules.push(format!("path {} unhide{mode}", device.path));
        }
    }
    let root = if config.root.as_ref().is_some_and(|root| root.readonly) {
        // Where nothing can be made any more, the places of mounts have to be there before.
        let places = mounts.iter().filter(|mount| !super::super::compile::in_devices(&mount.target)).map(|mount| {
            Place { target: mount.target.clone(), source: (mount.kind == "nullfs").then(|| PathBuf::from(&mount.from)) }
        });
        steps.push(Step::MakePlaces { root: own.clone(), places: places.collect() });
        let seen = directory.join("root");
        steps.push(Step::MakeDirectory { path: seen.clone(), mode: 0o755, owner: Some((Id::ROOT, Id::ROOT)) });
        steps.push(Step::Mount {
            kind: "nullfs".to_owned(),
            from: own.to_string_lossy().into_owned(),
            root: directory.to_owned(),
            target: PathBuf::from("/root"),
            file: false,
            options: Vec::new(),
            read_only: true,
        });
        seen
    } else {
        own
    };
    for mount in mounts {
        let Asked { kind, from, target, options, read_only, device_rules } = mount;
        let on = target.clone();
        steps.push(Step::Mount { kind, from, root: root.clone(), target, file: false, options, read_only });
        if !device_rules.is_empty() {
            steps.push(Step::ApplyDeviceRules { root: root.clone(), target: on, rules: device_rules });
        }
    }
    Ok(root)
}

/// Tells what FreeBSD has nothing of.
fn told(config: &Config, facts: &Facts, report: &mut Report) {
    let mut ignored = |subject: &str, why: &str| report.asked(None, subject, "x.oci.runtime", Outcome::ignored(why));
    if let Some(linux) = &config.linux {
        let only = "only Linux has it";
        for (there, subject) in [
            (!linux.namespaces.is_empty(), "linux.namespaces"),
            (!linux.uid_mappings.is_empty() || !linux.gid_mappings.is_empty(), "linux.uidMappings"),
            (!linux.devices.is_empty(), "linux.devices"),
            (linux.seccomp.is_some(), "linux.seccomp"),
            (!linux.sysctl.is_empty(), "linux.sysctl"),
            (!linux.masked_paths.is_empty(), "linux.maskedPaths"),
            (!linux.readonly_paths.is_empty(), "linux.readonlyPaths"),
            (linux.mount_label.is_some(), "linux.mountLabel"),
            (linux.personality.is_some(), "linux.personality"),
            (linux.intel_rdt.is_some(), "linux.intelRdt"),
        ] {
            if there {
                ignored(subject, only);
            }
        }
    }
    if let Some(process) = &config.process {
        for (subject, why) in of_process(process, facts.release) {
            ignored(subject, why);
        }
    }
}

/// What a process asks for in vain, and why.
pub(super) fn of_process(process: &Process, release: (u32, u32)) -> Vec<(&'static str, &'static str)> {
    let only = "only Linux has it";
    let mut all = Vec::new();
    for (there, subject) in [
        (process.capabilities.is_some(), "process.capabilities"),
        (process.apparmor_profile.is_some(), "process.apparmorProfile"),
        (process.selinux_label.is_some(), "process.selinuxLabel"),
        (process.oom_score_adj.is_some(), "process.oomScoreAdj"),
        (process.io_priority.is_some(), "process.ioPriority"),
        (process.scheduler.is_some(), "process.scheduler"),
    ] {
        if there {
            all.push((subject, only));
        }
    }
    if process.no_new_privileges && release.0 < 14 {
        all.push(("process.noNewPrivileges", "FreeBSD has it from release 14.0 on"));
    }
    if process.rlimits.iter().any(|limit| limits::known(&limit.kind).is_none()) {
        all.push(("process.rlimits", "some are limits that only Linux has"));
    }
    all
}
