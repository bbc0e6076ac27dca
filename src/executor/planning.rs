//! From a reified pod manifest to a plan: isolators in base units, environments complete, ports and volumes matched.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use uuid::Uuid;

use super::host_name::HostName;
use super::level::Level;
use super::plan::{
    AppPlan, AppPort, Cni, Consent, Dns, Isolation, Metadata, MountPlan, Network, PodPlan, PortForward, Restart, Stdio,
    VolumeKind, VolumePlan,
};
use super::{Error, Kind};
use crate::id::Id;
use crate::oci::STOP_SIGNAL;
use crate::pod::reify::effective;
use crate::schema::{self, App, EventHandlerName, ImageManifest, IsolatorValue, PodManifest};

/// The search path of every process that does not set its own (`env.path`).
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What processes find in the variable `container` (`env.container`).
pub(crate) const CONTAINER: &str = "jetpack";

/// What the command line decides about a pod, beyond its manifest.
#[derive(Clone, Debug)]
pub struct Choices {
    /// The pod's UUID.
    pub uuid: Uuid,
    /// Its name.
    pub name: Option<String>,
    /// Its host name, where it has one of its own, else the host's; nothing: made of name or UUID.
    pub hostname: Option<HostName>,
    /// Its directory.
    pub directory: PathBuf,
    /// What it is connected to.
    pub network: Network,
    /// Where networks are described and made.
    pub cni: Cni,
    /// What `/etc/resolv.conf` says.
    pub dns: Dns,
    /// Lines added to `/etc/hosts`.
    pub hosts_entries: Vec<(IpAddr, Vec<HostName>)>,
    /// Who answers the apps' questions about the pod.
    pub metadata: Metadata,
    /// Whether symbolic links in sources of host volumes are followed (decision 46).
    pub follow_links: bool,
    /// How far it is kept apart from the host.
    pub level: Level,
    /// Whether the pod is refused where something that it asks for does not hold.
    pub strict: bool,
    /// Which of its apps are started again when they have ended.
    pub restart: Restart,
    /// Devices of the host that volumes may be.
    pub devices: Vec<PathBuf>,
    /// The standard streams of the apps, one entry an app; missing ones: the default.
    pub stdio: Vec<Stdio>,
    /// What the operator consents to, one entry an app; missing ones: nothing.
    pub consent: Vec<Consent>,
    /// The file that keeps the model of a host to run in; nothing: this system.
    pub model: Option<PathBuf>,
    /// What the configuration says about a FreeBSD host.
    pub freebsd: super::freebsd::facts::Configured,
}

impl Choices {
    /// What holds when the command line says nothing.
    pub fn new(uuid: Uuid, directory: PathBuf) -> Self {
        Self {
            uuid,
            name: None,
            hostname: None,
            directory,
            network: Network::None,
            cni: Cni::default(),
            dns: Dns::default(),
            hosts_entries: Vec::new(),
            metadata: Metadata::Own,
            follow_links: false,
            level: Level::Default,
            strict: false,
            restart: Restart::No,
            devices: Vec::new(),
            stdio: Vec::new(),
            consent: Vec::new(),
            model: None,
            freebsd: super::freebsd::facts::Configured::default(),
        }
    }
}

/// The image of an app, rendered.
#[derive(Clone, Debug)]
pub struct AppImage {
    /// Its ID, as text.
    pub id: String,
    /// Its manifest.
    pub manifest: ImageManifest,
    /// Its layers, lowest first.
    pub layers: Vec<PathBuf>,
    /// Whose owners could not be kept when it was imported, in words.
    pub lost_owners: Option<String>,
}

/// The plan of the reified `pod`. `images` has one entry an app.
///
/// # Errors
/// [`Kind::Refused`] when the manifest is not reified or names what is not there.
pub(crate) fn plan(pod: &PodManifest, images: &[AppImage], choices: &Choices) -> Result<PodPlan, Error> {
    let mut volumes: Vec<VolumePlan> = pod
        .volumes
        .iter()
        .map(|volume| volume_plan(volume, volume.name.to_string(), choices))
        .collect::<Result<_, _>>()?;
    let mut apps = Vec::with_capacity(pod.apps.len());
    for (index, (app, image)) in pod.apps.iter().zip(images).enumerate() {
        let effective = effective(app, &image.manifest)
            .map_err(|error| Error::new(Kind::Refused, "plan the pod").because(crate::error::chain(&error)))?;
        let mut mounts = Vec::new();
        for mount in &app.mounts {
            let volume = match &mount.app_volume {
                Some(own) => {
                    volumes.push(volume_plan(own, format!("{}.{}", &*app.name, volumes.len()), choices)?);
                    volumes.len() - 1
                }
                None => {
                    let position = pod.volumes.iter().position(|volume| volume.name == mount.volume);
                    position.ok_or_else(|| {
                        Error::new(Kind::Refused, format!("mount volume {}", &*mount.volume))
                            .clause("pm.apps.mounts.volume")
                            .because("the pod has no such volume")
                    })?
                }
            };
            let target = mount.path.clean();
            let point = effective.mount_points.iter().find(|point| point.path.clean() == target);
            mounts.push(MountPlan {
                volume,
                target: target.as_path().to_owned(),
                read_only: volumes[volume].read_only || point.is_some_and(|point| point.read_only),
            });
        }
        let mut isolators = isolations(&effective.isolators);
        choices.level.add_to(&mut isolators);
        apps.push(AppPlan {
            name: app.name.to_string(),
            image_id: image.id.clone(),
            os: image.manifest.label("os").map(str::to_owned),
            arch: image.manifest.label("arch").map(str::to_owned),
            os_release: image.manifest.label("osrelease").map(str::to_owned),
            layers: image.layers.clone(),
            lost_owners: image.lost_owners.clone(),
            read_only_rootfs: app.read_only_root_fs || choices.level.read_only(),
            exec: effective.exec.clone(),
            user: effective.user.to_string(),
            group: effective.group.to_string(),
            supplementary_gids: effective
                .supplementary_gids
                .iter()
                .map(|gid| id(*gid, "im.app.supgids.applied", || format!("give app {} group {gid}", *app.name)))
                .collect::<Result<_, _>>()?,
            working_directory: effective.working_directory.as_path().to_owned(),
            environment: environment(&app.name, effective),
            pre_start: effective.handler(EventHandlerName::PreStart).map(|handler| handler.exec.clone()),
            post_stop: effective.handler(EventHandlerName::PostStop).map(|handler| handler.exec.clone()),
            mounts,
            isolators,
            consent: choices.consent.get(index).cloned().unwrap_or_default(),
            stdio: choices.stdio.get(index).copied().unwrap_or_default(),
            ports: app_ports(effective)?,
            notifies: annotated(app, &image.manifest, NOTIFIES) == Some("true"),
            stop_signal: annotated(app, &image.manifest, STOP_SIGNAL).map(str::to_owned),
        });
    }
    let uuid = choices.uuid;
    let hostname = choices.hostname.clone().map(String::from);
    let hostname = match choices.level.own_name() {
        true => hostname.or_else(|| choices.name.clone()).unwrap_or_else(|| uuid.to_string()),
        // What the host is called.
        false => hostname.unwrap_or_default(),
    };
    Ok(PodPlan {
        uuid,
        name: choices.name.clone(),
        hostname,
        directory: choices.directory.clone(),
        ports: ports(pod, images)?,
        apps,
        volumes,
        devices: choices.devices.clone(),
        isolators: isolations(&pod.isolators),
        network: choices.network.clone(),
        cni: choices.cni.clone(),
        dns: choices.dns.clone(),
        hosts_entries: choices.hosts_entries.clone(),
        metadata: choices.metadata.clone(),
        level: choices.level,
        strict: choices.strict || choices.level.strict(),
        restart: choices.restart,
    })
}

fn id(number: u32, clause: &'static str, doing: impl Fn() -> String) -> Result<Id, Error> {
    Id::try_from(number).map_err(|no| Error::new(Kind::Refused, doing()).clause(clause).because(no))
}

fn volume_plan(volume: &schema::Volume, name: String, choices: &Choices) -> Result<VolumePlan, Error> {
    let kind = match (&volume.kind, &volume.source) {
        (schema::VolumeKind::Empty, _) => {
            let (uid, gid) = volume.owner();
            let doing = || format!("give volume {name} to {uid}:{gid}");
            VolumeKind::Empty {
                mode: volume.mode_bits(),
                uid: id(uid, "pm.volumes.uid", doing)?,
                gid: id(gid, "pm.volumes.gid", doing)?,
            }
        }
        (schema::VolumeKind::Host, Some(source)) => VolumeKind::Host {
            source: source.as_path().to_owned(),
            recursive: volume.is_recursive(),
            follow_links: choices.follow_links,
        },
        (schema::VolumeKind::Host, None) => {
            return Err(Error::new(Kind::Refused, format!("use volume {name}"))
                .clause("pm.volumes.source")
                .because("a host volume needs a source"));
        }
    };
    Ok(VolumePlan { name, kind, read_only: volume.read_only })
}

/// The app's own variables over the specification's; three are always the executor's (decisions 38, 39).
fn environment(name: &str, app: &App) -> Vec<(String, String)> {
    let mut environment = vec![("PATH".to_owned(), PATH.to_owned())];
    let mut set = |name: &str, value: &str| match environment.iter_mut().find(|(known, _)| known == name) {
        Some((_, old)) => value.clone_into(old),
        None => environment.push((name.to_owned(), value.to_owned())),
    };
    for variable in &app.environment {
        set(&variable.name, &variable.value);
    }
    set("AC_APP_NAME", name);
    set("container", CONTAINER);
    environment.retain(|(name, _)| name != "AC_METADATA_URL");
    environment
}

/// The annotation by which an app says that it tells when it is ready.
const NOTIFIES: &str = "appc.io/executor/supports-systemd-notify";

/// What the pod says about the app counts before what its image says.
fn annotated<'a>(app: &'a schema::PodApp, image: &'a ImageManifest, name: &str) -> Option<&'a str> {
    [&app.annotations, &image.annotations].into_iter().flatten().find_map(|annotations| annotations.value(name))
}

fn app_ports(app: &App) -> Result<Vec<AppPort>, Error> {
    let port = |port: &schema::Port| {
        let range = port.range().ok_or_else(|| {
            Error::new(Kind::Refused, format!("use the port {}", &*port.name))
                .clause("im.app.ports.count")
                .because("its numbers pass 65535")
        })?;
        Ok(AppPort {
            name: port.name.to_string(),
            protocol: port.protocol.to_string(),
            port: *range.start(),
            count: (range.end() - range.start()).saturating_add(1),
            socket_activated: port.socket_activated,
        })
    };
    app.ports.iter().map(port).collect()
}

fn ports(pod: &PodManifest, images: &[AppImage]) -> Result<Vec<PortForward>, Error> {
    let mut forwards = Vec::with_capacity(pod.ports.len());
    for exposed in &pod.ports {
        let apps = pod.apps.iter().zip(images);
        let owner = apps.filter_map(|(app, image)| {
            let effective = effective(app, &image.manifest).ok()?;
            Some((app.name.to_string(), effective.port(&exposed.name)?))
        });
        let owner = owner.take(1).next();
        let wrong = |why: &str| {
            Error::new(Kind::Refused, format!("expose the port {}", &*exposed.name))
                .clause("pm.ports.name")
                .because(why.to_owned())
        };
        let port = exposed.pod_port.as_ref().or(owner.as_ref().map(|(_, port)| *port));
        let Some(port) = port else { return Err(wrong("no app of the pod has a port of that name")) };
        let range = port.range().ok_or_else(|| wrong("its numbers pass 65535"))?;
        let count = range.end() - range.start();
        let host_port = exposed.host_port.get();
        if host_port.checked_add(count).is_none() {
            return Err(wrong("its numbers on the host pass 65535"));
        }
        let host_ip = exposed.host_ip.as_ref().map(|ip| ip.parse::<Ipv4Addr>()).transpose();
        forwards.push(PortForward {
            name: exposed.name.to_string(),
            protocol: port.protocol.to_string(),
            host_port,
            host_ip: host_ip.map_err(|error| wrong(&error.to_string()))?,
            pod_port: *range.start(),
            count: count.saturating_add(1),
            socket_activated: owner.filter(|_| port.socket_activated).map(|(app, _)| app),
        });
    }
    Ok(forwards)
}

/// Isolators as executors understand them. Of one given twice the last counts (decision 9).
pub(crate) fn isolations(isolators: &[schema::Isolator]) -> Vec<Isolation> {
    let mut all: Vec<Isolation> = Vec::with_capacity(isolators.len());
    for isolator in isolators {
        let isolation = isolation(&isolator.value);
        all.retain(|other| other.name() != isolation.name());
        all.push(isolation);
    }
    all
}

fn isolation(value: &IsolatorValue) -> Isolation {
    let words = |set: &[schema::Capability]| set.iter().map(ToString::to_string).collect();
    let amount = |quantity: &Option<schema::Quantity>| quantity.as_ref().map(schema::Quantity::units);
    let errno = |set: &schema::SeccompSet| set.errno.as_ref().map(ToString::to_string).filter(|name| !name.is_empty());
    let calls = |set: &schema::SeccompSet| set.set.iter().map(ToString::to_string).collect();
    match value {
        IsolatorValue::SeccompRemoveSet(set) => Isolation::SeccompRemove { set: calls(set), errno: errno(set) },
        IsolatorValue::SeccompRetainSet(set) => Isolation::SeccompRetain { set: calls(set), errno: errno(set) },
        IsolatorValue::CapabilitiesRemoveSet(set) => Isolation::CapabilitiesRemove { set: words(&set.set) },
        IsolatorValue::CapabilitiesRetainSet(set) => Isolation::CapabilitiesRetain { set: words(&set.set) },
        IsolatorValue::NoNewPrivileges(value) => Isolation::NoNewPrivileges { value: *value },
        IsolatorValue::SelinuxContext(context) => Isolation::SelinuxContext {
            context: format!("{}:{}:{}:{}", &*context.user, &*context.role, &*context.type_, &*context.level),
        },
        IsolatorValue::ApparmorProfile(profile) => Isolation::ApparmorProfile { profile: profile.profile.to_string() },
        IsolatorValue::OomScoreAdj(value) => {
            Isolation::OomScoreAdj { value: i32::try_from(value.get()).unwrap_or_default() }
        }
        IsolatorValue::CpuShares(value) => {
            Isolation::CpuShares { value: u64::try_from(value.get()).unwrap_or_default() }
        }
        IsolatorValue::Cpu(resource) => Isolation::Cpu {
            request: resource.request.as_ref().map(schema::Quantity::millis),
            limit: resource.limit.as_ref().map(schema::Quantity::millis),
        },
        IsolatorValue::Memory(resource) => {
            Isolation::Memory { request: amount(&resource.request), limit: amount(&resource.limit) }
        }
        IsolatorValue::BlockBandwidth(limit) => Isolation::BlockBandwidth { limit: limit.limit.units() },
        IsolatorValue::BlockIops(limit) => Isolation::BlockIops { limit: limit.limit.units() },
        IsolatorValue::NetworkBandwidth(limit) => Isolation::NetworkBandwidth { limit: limit.limit.units() },
        IsolatorValue::Sysctl(sysctl) => {
            Isolation::Sysctl { values: sysctl.iter().map(|(key, value)| (key.to_string(), value.clone())).collect() }
        }
        IsolatorValue::MaxProcesses(limit) => {
            Isolation::MaxProcesses { limit: u64::try_from(limit.get()).unwrap_or_default() }
        }
        IsolatorValue::OomGroup(value) => Isolation::OomGroup { value: *value },
        IsolatorValue::Other(name, _) => Isolation::Unknown { name: name.to_string() },
    }
}
