//! From a command line to a pod that could be made: images found and rendered, the manifest reified, the plan compiled.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use appc::config;
use appc::diagnostic::{FileReport, FileType, Severity, human};
use appc::discovery::{ImageName, RegistryName};
use appc::executor::consent::Allowance;
use appc::executor::host_name::{HostName, NoHostName};
use appc::executor::isolation::Report;
use appc::executor::level::Level;
use appc::executor::local::{self, Damage, Draft, Executor};
use appc::executor::plan::{Consent, Dns, Restart, Stdio, Stream};
use appc::executor::planning::{AppImage, Choices};
use appc::pod::{Pods, ResolvedImage, State, names, reify};
use appc::render::{Pull, Rendered};
use appc::schema::{
    self, AcName, Annotations, App, ExposedPort, ImageId, Ipv4, PodApp, PodImage, PodManifest, Purpose, validate,
};
use appc::store::{Image, ImageRef, Store};
use appc::trust::Scope;
use appc::validate::MAX_MANIFEST;
use uuid::Uuid;

use crate::adapt::{self, adapt, once, stdio, volume, word, wrong};
use crate::context::Context;
use crate::error::{CommandError, hint_of_verdict};
use crate::familiar;
use crate::meant;
use crate::obtain::{Obtained, obtain};
use crate::options::{ImageWords, Images};
use crate::stop;
use crate::surroundings;

/// What a pod is made of.
#[derive(clap::Args)]
pub struct PodArgs {
    #[command(flatten)]
    images: Images,
    /// Arguments in place of those of the last image's app
    #[arg(last = true, value_name = "ARGS", conflicts_with = "pod_manifest")]
    arguments: Vec<String>,
    /// Run the pod that this manifest describes; `-` reads standard input
    #[arg(long, value_name = "FILE", conflicts_with = "images")]
    pod_manifest: Option<PathBuf>,
    #[command(flatten)]
    pod: PodOptions,
}

/// What is said about a pod, whatever it is made of.
#[derive(clap::Args)]
pub struct PodOptions {
    /// Give the pod a name, unique among living pods
    #[arg(long, value_name = "NAME", value_parser = pod_name)]
    pod_name: Option<String>,
    /// Add a volume: HOST:PATH[:ro], mounted into the only app, for which -v will do too, or NAME[,kind=empty|host][,source=PATH][,readOnly=BOOL][,recursive=BOOL][,mode=MODE][,uid=N][,gid=N]
    #[arg(long, value_name = "NAME,...")]
    volume: Vec<String>,
    /// Make a port of an app reachable on the host, by its name or by number: [IP:]HOSTPORT:PORT[/udp]
    #[arg(short = 'p', long, value_name = "NAME=[IP:]HOSTPORT")]
    port: Vec<String>,
    /// How far the pod is kept apart from the host [default: as configured, default unless it says otherwise]
    #[arg(long, value_enum, value_name = "LEVEL")]
    isolation: Option<Level>,
    /// Networks: none, host, default, or names of configured networks
    #[arg(long, value_name = "NETWORK", value_delimiter = ',')]
    net: Vec<String>,
    /// Name servers in /etc/resolv.conf
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    dns: Vec<IpAddr>,
    /// Search domains in /etc/resolv.conf
    #[arg(long, value_name = "DOMAIN", value_delimiter = ',')]
    dns_search: Vec<HostName>,
    /// Options in /etc/resolv.conf
    #[arg(long, value_name = "OPTION", value_delimiter = ',', value_parser = dns_option)]
    dns_opt: Vec<String>,
    /// Add a line to /etc/hosts
    #[arg(long, value_name = "IP=NAME[,NAME...]", value_parser = hosts_entry)]
    hosts_entry: Vec<(IpAddr, Vec<HostName>)>,
    /// The pod's host name
    #[arg(long, value_name = "NAME")]
    hostname: Option<HostName>,
    /// Annotate the pod
    #[arg(long, value_name = "NAME=VALUE")]
    pod_annotation: Vec<String>,
    /// When to ask elsewhere for images [default: as configured, new unless it says otherwise]
    #[arg(long, value_enum)]
    pull: Option<Pull>,
    /// Let apps have capabilities beyond the default set that they ask for; behind APP= one app
    #[arg(long, value_name = "[APP=]CAP,...|all")]
    caps_allow: Vec<Allowance>,
    /// Let apps use system calls that pods have no need of
    #[arg(long, value_name = "[APP=]CALL,...|all")]
    seccomp_allow: Vec<Allowance>,
    /// Let a volume be this device of the host
    #[arg(long, value_name = "PATH")]
    device: Vec<PathBuf>,
    /// Refuse to run unless everything asked for is enforced
    #[arg(long)]
    strict: bool,
    /// Start apps again that have ended, after a while that grows: no, on-failure[:N] (at most N times) or always
    #[arg(long, value_name = "WHEN", default_value = "no", hide_default_value = true)]
    restart: Restart,
    /// Follow symbolic links in sources of host volumes
    #[arg(long)]
    follow_links: bool,
    /// Who answers the apps' questions about the pod [default: as configured, own unless it says otherwise]
    #[arg(long, value_enum, value_name = "WHO")]
    mds: Option<config::Metadata>,
    /// Offer no metadata service, as --mds=off
    #[arg(long, conflicts_with = "mds")]
    no_metadata: bool,
    /// Give the (first) app a terminal: the one that jetpack runs in
    #[arg(short = 't', long)]
    tty: bool,
    /// Pass standard input on to the (first) app
    #[arg(short = 'i', long)]
    interactive: bool,
}

/// A pod of one image that runs something else than its app.
pub struct Instead<'a> {
    /// What runs.
    pub app: &'a dyn Fn(&Image) -> Result<App, CommandError>,
    /// What else the pod has.
    pub pod: &'a dyn Fn(&mut PodManifest) -> Result<(), CommandError>,
}

impl PodArgs {
    /// Those of a pod of one image.
    pub fn of_image(image: ImageWords, pod: PodOptions) -> Self {
        let images = Images { images: vec![image], pod_name: None };
        Self { images, arguments: Vec::new(), pod_manifest: None, pod }
    }
}

/// Finds everything that `args` name, and what keeps the images from being collected until the pod's directory says that it
/// stands on them. Makes nothing but images in the store.
pub fn draft(args: &PodArgs, context: &Context) -> Result<(Draft, Vec<Rendered>), CommandError> {
    draft_of(args, None, context)
}

/// The pod manifest of a pod in which something runs instead of its image's app.
pub fn draft_of(
    args: &PodArgs,
    instead: Option<&Instead<'_>>,
    context: &Context,
) -> Result<(Draft, Vec<Rendered>), CommandError> {
    let level = surroundings::level(args.pod.isolation, instead.is_some(), context)?;
    let strict = args.pod.strict || level.strict();
    let network = crate::remote::Network { strict, ..context.network.clone() };
    let context = &Context { network, ..context.clone() };
    let store = context.store()?;
    let mut found = BTreeMap::new();
    let template = match &args.pod_manifest {
        Some(file) => with_images(read_manifest(file, strict)?, args, context, &store, &mut found)?,
        None => from_images(args, instead, context, &store, &mut found)?,
    };
    let template = with_volumes_of_their_own(with_pod_options(template, args, &found)?, &found);
    if args.images.images.iter().any(|words| !words.options.is_empty()) {
        check(&template)?;
    }
    let find = |wanted: &PodImage| -> Result<ResolvedImage, CommandError> {
        let obtained = match wanted.id.as_ref().and_then(|id| found.remove(id)) {
            Some(obtained) => obtained,
            None => obtain(context, &store, &reference(wanted)?, args.pod.pull.unwrap_or(context.config.pull.value))?,
        };
        let id = obtained.image.id().clone();
        let resolved = ResolvedImage { id: id.clone(), manifest: obtained.image.manifest().clone() };
        found.insert(id, obtained);
        Ok(resolved)
    };
    let (manifest, resolved) = reify(template, find)?;
    let uuid = Uuid::new_v4();
    let mut choices = choices(args, level, context, uuid, &manifest)?;
    choices.consent = consents(args, context, &manifest, |id| &found[id].image)?;
    let mut app_images = Vec::new();
    let mut image_manifests = Vec::new();
    for resolved in resolved {
        let Obtained { image, rendered } = &found[&resolved.id];
        let id = resolved.id.to_string();
        app_images.push(AppImage {
            id,
            manifest: resolved.manifest,
            layers: rendered.layers.clone(),
            lost_owners: image.origin().lost_owners().map(str::to_owned),
        });
        image_manifests.push(image.manifest_bytes().to_vec());
    }
    let held = found.into_values().map(|obtained| obtained.rendered).collect();
    Ok((Draft { manifest, images: app_images, image_manifests, choices }, held))
}

/// Tells what does not hold as it should.
pub fn tell_report(report: &Report) {
    for verdict in report.weaker() {
        eprintln!("jetpack: {verdict}");
        if let Some(hint) = hint_of_verdict(verdict) {
            eprintln!("  hint: {hint}");
        }
    }
}

fn read_manifest(file: &Path, strict: bool) -> Result<PodManifest, CommandError> {
    let failed = |error: std::io::Error| CommandError::failed(format!("read {}: {error}", file.display()));
    let source: Box<dyn Read> = match file.to_str() {
        Some("-") => Box::new(std::io::stdin()),
        _ => Box::new(File::open(file).map_err(failed)?),
    };
    let mut bytes = Vec::new();
    source.take(MAX_MANIFEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_MANIFEST {
        return Err(CommandError::failed(format!("read {}: it is larger than {MAX_MANIFEST} bytes", file.display())));
    }
    let read = validate::pod_manifest_and_findings(&bytes, &validate::Options { strict, ..for_a_pod() });
    let (manifest, mut found) = match read {
        Ok((manifest, found)) => (Some(manifest), found),
        Err(found) => (None, found),
    };
    found.retain(|found| {
        manifest.is_none() || found.severity == Severity::Warning && !schema::is_told_by_executor(&found.clause)
    });
    if !found.is_empty() {
        let mut report = FileReport::new(file.display().to_string(), FileType::Manifest).with(found);
        report.source = bytes;
        // Nobody may be there to read it; the exit code says enough then.
        let _ = human::write(&mut appc::sys::output::stderr(), &report, human::Style::default());
    }
    manifest.ok_or_else(|| CommandError::failed(format!("read the pod manifest {}: it is not valid", file.display())))
}

fn pod_name(text: &str) -> Result<String, &'static str> {
    if names::fit_name(text) { Ok(text.to_owned()) } else { Err(names::NAMES) }
}

fn for_a_pod() -> validate::Options {
    validate::Options { purpose: Purpose::Pod, ..validate::Options::default() }
}

/// Removes the pod whose place this one shall take, once it is known that this one can be made.
pub fn make_way(draft: &Draft, pods: &Pods, context: &Context) -> Result<(), CommandError> {
    let Some(name) = &draft.choices.name else {
        return Err(CommandError::usage("--replace is about a pod of the same name, and this one has none")
            .hint("--pod-name gives it one"));
    };
    let Some(mut other) = pods.named(name)? else { return Ok(()) };
    let system = if context.model.is_some() { Executor::Freebsd } else { Executor::THIS };
    draft.outline(system)?.report.judge(draft.choices.strict)?;
    if other.is_lost() && local::lingers(&other)?.is_some() {
        local::end_remains(pods, &mut other)?;
    } else if other.state() == State::Running {
        stop::politely(pods, &mut other, context)?;
    }
    let uuid = other.uuid();
    for left in local::remove(pods, other, Damage::Told)? {
        eprintln!("jetpack: warning: pod {uuid}: not undone: {left}");
    }
    Ok(())
}

/// Whether what single options say makes a valid manifest together.
fn check(template: &PodManifest) -> Result<(), CommandError> {
    let failed = |why: String| CommandError::failed(format!("make a pod of these options: {why}"));
    let bytes = serde_json::to_vec(template).map_err(|error| failed(error.to_string()))?;
    let checked = validate::pod_manifest(&bytes, &for_a_pod());
    checked.map(drop).map_err(|found| failed(adapt::told(&found)))
}

/// What the command line decides beyond the manifest.
fn choices(
    args: &PodArgs,
    level: Level,
    context: &Context,
    uuid: Uuid,
    manifest: &PodManifest,
) -> Result<Choices, CommandError> {
    let mut choices = Choices::new(uuid, context.root()?.join("pods").join(uuid.to_string()));
    choices.model.clone_from(&context.model);
    choices.freebsd = context.freebsd();
    // An app's name may be longer than a pod's.
    let of_app = args.images.pod_name.clone().filter(|name| args.pod_manifest.is_some() || names::fit_name(name));
    choices.name = args.pod.pod_name.clone().or(of_app);
    choices.level = level;
    choices.hostname = surroundings::hostname(args.pod.hostname.as_ref(), level)?;
    choices.follow_links = args.pod.follow_links;
    choices.strict = args.pod.strict;
    choices.restart = args.pod.restart;
    choices.devices = context.config.devices.value.iter().chain(&args.pod.device).cloned().collect();
    choices.cni = context.cni();
    choices.network = surroundings::network(&args.pod.net, level, context, manifest, &choices.cni)?;
    let who = if args.pod.no_metadata { Some(config::Metadata::Off) } else { args.pod.mds };
    choices.metadata = surroundings::metadata(who, context, &choices.network)?;
    choices.dns =
        Dns { servers: args.pod.dns.clone(), search: args.pod.dns_search.clone(), options: args.pod.dns_opt.clone() };
    choices.hosts_entries.clone_from(&args.pod.hosts_entry);
    for app in 0..manifest.apps.len() {
        let mut base = Stdio::default();
        if app == 0 && args.pod.interactive {
            base.stdin = Stream::Stream;
        }
        if app == 0 && args.pod.tty {
            base = Stdio { stdin: Stream::Tty, stdout: Stream::Tty, stderr: Stream::Tty };
        }
        choices.stdio.push(match args.images.images.get(app) {
            Some(words) => stdio(words, base)?,
            None => base,
        });
    }
    Ok(choices)
}

/// What the operator allows each app beyond what every app may.
fn consents<'a>(
    args: &PodArgs,
    context: &Context,
    pod: &PodManifest,
    image: impl Fn(&ImageId) -> &'a Image,
) -> Result<Vec<Consent>, CommandError> {
    for (option, allowances) in [("caps-allow", &args.pod.caps_allow), ("seccomp-allow", &args.pod.seccomp_allow)] {
        let nobodys = allowances.iter().find(|allowance| {
            allowance.whom.as_ref().is_some_and(|whom| pod.apps.iter().all(|app| app.name.as_str() != whom.as_str()))
        });
        if let Some(allowance) = nobodys {
            return Err(wrong(option, &allowance.to_string(), "the pod has no such app"));
        }
    }
    let mut consents = Vec::new();
    for (index, app) in pod.apps.iter().enumerate() {
        let image = app.image.id.as_ref().map(&image);
        let named =
            |allowance: &&Allowance| allowance.whom.as_ref().is_none_or(|whom| whom.as_str() == app.name.as_str());
        // A name is anybody's word until somebody who is trusted for it has signed.
        let configured = |allowance: &&Allowance| match (&allowance.whom, image) {
            (None, _) => true,
            (Some(prefix), Some(image)) => {
                !image.origin().signed_by.is_empty() && Scope::Prefix(prefix.clone()).covers(&image.manifest().name)
            }
            (Some(_), None) => false,
        };
        let config = &context.config;
        let mut consent = Consent::default();
        let capabilities = args.pod.caps_allow.iter().filter(named);
        capabilities
            .chain(config.caps_allow.value.iter().filter(configured))
            .for_each(|allowance| consent.allow_capabilities(allowance));
        let calls = args.pod.seccomp_allow.iter().filter(named);
        calls
            .chain(config.seccomp_allow.value.iter().filter(configured))
            .for_each(|allowance| consent.allow_calls(allowance));
        let says = |option: &str, isolator: &str| match args.images.images.get(index) {
            // What stands in a pod manifest is the operator's own word, as an option is.
            None => app.app.is_some(),
            Some(words) => {
                words.options.iter().any(|(name, _)| name.starts_with(option))
                    || words.all("isolator").any(|text| text.starts_with(isolator))
            }
        };
        consent.own_capabilities = says("caps-", "os/linux/capabilities-");
        consent.own_calls = says("seccomp", "os/linux/seccomp-");
        consents.push(consent);
    }
    Ok(consents)
}

/// `IP=NAME[,NAME...]`.
fn hosts_entry(text: &str) -> Result<(IpAddr, Vec<HostName>), String> {
    let (address, names) = text.split_once('=').ok_or("it is not IP=NAME[,NAME...]")?;
    let address = address.parse().map_err(|_| format!("`{}` is no IP address", address.escape_debug()))?;
    let names = names.split(',').map(str::parse).collect::<Result<_, _>>();
    Ok((address, names.map_err(|error: NoHostName| error.to_string())?))
}

/// One word, as it stands in a line among others.
fn dns_option(text: &str) -> Result<String, String> {
    let fits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(text.to_owned()) } else { Err("an option is one word, as in `ndots:2`".to_owned()) }
}

fn with_pod_options(
    mut pod: PodManifest,
    args: &PodArgs,
    found: &BTreeMap<ImageId, Obtained>,
) -> Result<PodManifest, CommandError> {
    let mut given: Vec<AcName> = Vec::new();
    for text in args.pod.volume.iter().filter(|text| !familiar::is_volume(text)) {
        let volume = volume(text)?;
        once("volume", text, &volume.name, given.iter())?;
        given.push(volume.name.clone());
        // Late-bound: what the command line says stands for what the manifest says.
        pod.volumes.retain(|other| other.name != volume.name);
        pod.volumes.push(volume);
    }
    given.clear();
    for text in args.pod.port.iter().filter(|text| !familiar::is_port(text)) {
        let (name, place) = text.split_once('=').ok_or_else(|| wrong("port", text, "it is not NAME=[IP:]HOSTPORT"))?;
        let (ip, number) = place.rsplit_once(':').map_or((None, place), |(ip, number)| (Some(ip), number));
        let number: std::num::NonZeroU16 =
            number.parse().map_err(|_| wrong("port", text, format!("`{number}` is no number from 1 to 65535")))?;
        let name: AcName = word("port", text, "acName", name)?;
        once("port", text, &name, given.iter())?;
        given.push(name.clone());
        let mut value = serde_json::json!({"name": name, "hostPort": number});
        if let Some(ip) = ip {
            value["hostIP"] = serde_json::json!(word::<Ipv4>("port", text, "ipv4", ip)?);
        }
        let port: ExposedPort = serde_json::from_value(value).map_err(|error| wrong("port", text, error))?;
        pod.ports.retain(|other| other.name != port.name);
        pod.ports.push(port);
    }
    for text in args.pod.volume.iter().filter(|text| familiar::is_volume(text)) {
        familiar::volume(&mut pod, text)?;
    }
    for text in args.pod.port.iter().filter(|text| familiar::is_port(text)) {
        familiar::port(&mut pod, text, found)?;
    }
    let mut annotations = pod.annotations.take().map(|list| list.0).unwrap_or_default();
    for annotation in adapt::annotations("pod-annotation", args.pod.pod_annotation.iter().map(String::as_str))? {
        annotations.retain(|other| other.name != annotation.name);
        annotations.push(annotation);
    }
    pod.annotations = (!annotations.is_empty()).then_some(Annotations(annotations));
    Ok(pod)
}

/// Finds the images of a pod manifest's apps, as what is asked of the pod depends on what stands in them: its ports, its mount points. Those
/// of registries are named by an annotation, since names of appc are others.
fn with_images(
    mut pod: PodManifest,
    args: &PodArgs,
    context: &Context,
    store: &Store,
    found: &mut BTreeMap<ImageId, Obtained>,
) -> Result<PodManifest, CommandError> {
    let pull = args.pod.pull.unwrap_or(context.config.pull.value);
    for app in &mut pod.apps {
        let annotation = app.annotations.as_ref().and_then(|annotations| annotations.value(appc::oci::REFERENCE));
        let in_registry = annotation.filter(|text| app.image.id.is_none() && RegistryName::is_meant(text));
        let wanted = match in_registry {
            Some(text) => text.parse()?,
            None => reference(&app.image)?,
        };
        let obtained = obtain(context, store, &wanted, pull)?;
        app.image.id = Some(obtained.image.id().clone());
        found.insert(obtained.image.id().clone(), obtained);
    }
    Ok(pod)
}

/// Gives apps of images that were OCI images an empty volume of their own at each mount point for which nobody gave one, as
/// whoever made such an image expects; it is told.
fn with_volumes_of_their_own(mut pod: PodManifest, found: &BTreeMap<ImageId, Obtained>) -> PodManifest {
    let names: Vec<AcName> = pod.volumes.iter().map(|volume| volume.name.clone()).collect();
    for app in &mut pod.apps {
        let Some(obtained) = app.image.id.as_ref().and_then(|id| found.get(id)) else { continue };
        let image = obtained.image.manifest();
        let converted = image.annotations().iter().any(|annotation| annotation.name.starts_with(appc::oci::PREFIX));
        let Some(effective) = app.app.as_ref().or(image.app.as_ref()).filter(|_| converted) else { continue };
        for point in effective.mount_points.clone() {
            let given = app.mounts.iter().any(|mount| mount.path.clean() == point.path.clean());
            let volume = serde_json::json!({ "name": point.name, "kind": "empty" });
            if let (false, false, Ok(volume)) = (given, names.contains(&point.name), serde_json::from_value(volume)) {
                eprintln!(
                    "jetpack: {} gets an empty volume at {}; --volume {} gives another",
                    *app.name, *point.path, *point.name
                );
                app.mounts.push(appc::schema::Mount {
                    app_volume: Some(volume),
                    path: point.path,
                    volume: point.name,
                    extra: serde_json::Map::new(),
                });
            }
        }
    }
    pod
}

/// A pod of one app an image, each named after its image.
fn from_images(
    args: &PodArgs,
    instead: Option<&Instead<'_>>,
    context: &Context,
    store: &Store,
    found: &mut BTreeMap<ImageId, Obtained>,
) -> Result<PodManifest, CommandError> {
    let mut apps: Vec<PodApp> = Vec::new();
    for (index, words) in args.images.images.iter().enumerate() {
        let obtained = image_of(words, index == 0, args, context, store)?;
        let image = &obtained.image;
        check_labels(image, words)?;
        let name = match words.last("name") {
            Some(name) => word("name", name, "acName", name)?,
            None => app_name(image, &apps)?,
        };
        if apps.iter().any(|app| app.name == name) {
            return Err(wrong("name", &name, "two apps cannot have one name"));
        }
        let mut app = PodApp {
            annotations: None,
            app: instead.map(|instead| (instead.app)(image)).transpose()?,
            image: PodImage {
                id: Some(image.id().clone()),
                name: Some(image.manifest().name.clone()),
                labels: image.manifest().labels.clone(),
                extra: serde_json::Map::new(),
            },
            mounts: Vec::new(),
            name,
            read_only_root_fs: false,
            extra: serde_json::Map::new(),
        };
        let last = index + 1 == args.images.images.len();
        let arguments = if last { args.arguments.as_slice() } else { &[] };
        adapt(&mut app, image.manifest().app.as_ref(), words, arguments)?;
        apps.push(app);
        found.insert(image.id().clone(), obtained);
    }
    let mut pod = PodManifest {
        ac_kind: appc::schema::PodManifestKind::PodManifest,
        ac_version: appc::schema::AcVersion::current(),
        annotations: None,
        apps,
        isolators: Vec::new(),
        ports: Vec::new(),
        user_annotations: None,
        user_labels: None,
        volumes: Vec::new(),
        extra: serde_json::Map::new(),
    };
    if let Some(instead) = instead {
        (instead.pod)(&mut pod)?;
    }
    Ok(pod)
}

/// The image that stands there, or what was probably meant by the word.
fn image_of(
    words: &ImageWords,
    first: bool,
    args: &PodArgs,
    context: &Context,
    store: &Store,
) -> Result<Obtained, CommandError> {
    let reference = named_image(words)?;
    let meant = || meant::by_image(&words.image, first);
    // No host has such a name: nobody is asked for it.
    if let ImageRef::Name(name) = &reference
        && !name.name.contains(['.', '/'])
        && name.name.as_str() != "localhost"
        && store.look_up(&reference).is_err()
        && let Some(hint) = meant()
    {
        return Err(CommandError::failed(format!("find image {reference}: the store has none of that name")).hint(hint));
    }
    obtain(context, store, &reference, args.pod.pull.unwrap_or(context.config.pull.value)).map_err(
        |error| match meant() {
            Some(hint) => error.hint(hint),
            None => error,
        },
    )
}

/// The image that a command line names, with the labels asked for.
fn named_image(words: &ImageWords) -> Result<ImageRef, CommandError> {
    let mut reference: ImageRef = words.image.parse()?;
    if let ImageRef::Name(name) = &reference
        && words.image.contains('/')
        && name.labels.is_empty()
        && std::path::Path::new(&words.image).is_file()
    {
        reference = ImageRef::File(PathBuf::from(&words.image));
    }
    for text in words.all("label") {
        let (name, value) = text.split_once('=').ok_or_else(|| wrong("label", text, "it is not NAME=VALUE"))?;
        let name = word("label", text, "acIdentifier", name)?;
        // Of an image that is named otherwise they are looked at when it is there.
        if let ImageRef::Name(wanted) = &mut reference {
            wanted.labels.insert(name, value.to_owned());
        }
    }
    Ok(reference)
}

/// Whether the image has the labels asked for.
fn check_labels(image: &Image, words: &ImageWords) -> Result<(), CommandError> {
    for text in words.all("label") {
        let Some((name, value)) = text.split_once('=') else { continue };
        let has = image.manifest().label(name);
        if has != Some(value) {
            let has = has.map_or_else(|| "it has no such label".to_owned(), |has| format!("it has {name}={has}"));
            return Err(CommandError::failed(format!("take image {} with the label {text}: {has}", words.image)));
        }
    }
    Ok(())
}

/// The last part of the image's name, made an AC name, with a number where another app has it.
fn app_name(image: &Image, apps: &[PodApp]) -> Result<AcName, CommandError> {
    let name = &*image.manifest().name;
    let last = name.rsplit('/').next().unwrap_or(name);
    let plain: String =
        last.chars().map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' }).collect();
    let words: Vec<&str> = plain.split('-').filter(|word| !word.is_empty()).collect();
    let plain = words.join("-");
    let taken = |name: &str| apps.iter().any(|app| app.name.as_str() == name);
    let mut fit = plain.clone();
    let mut number = 2;
    while taken(&fit) {
        fit = format!("{plain}-{number}");
        number += 1;
    }
    fit.parse().map_err(|_| CommandError::failed(format!("name the app of image {name}")))
}

/// What a pod manifest says about an image, as a reference.
fn reference(wanted: &PodImage) -> Result<ImageRef, CommandError> {
    let id = wanted.id.clone();
    match (id, &wanted.name) {
        (Some(id), _) => Ok(ImageRef::Id(id)),
        (None, Some(name)) => {
            let labels = wanted.labels.iter().flat_map(|labels| labels.iter());
            let labels = labels.map(|label| (label.name.clone(), label.value.clone())).collect();
            Ok(ImageRef::Name(ImageName { name: name.clone(), labels }))
        }
        (None, None) => Err(CommandError::failed("find the image of an app that names neither an ID nor a name")),
    }
}
