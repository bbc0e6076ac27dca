//! What fetches images for the commands of this program.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use appc::discovery::{Platform, Step};
use appc::fetch::{Event, Policy, Remote, Tell};
use appc::render::Fetcher;
use appc::store::{Image, Store, Wanted};
use appc::transport::{Cache, Client, Credentials, Settings, credential_directories};
use appc::trust::KeyStore;

use crate::context::Context;
use crate::error::CommandError;
use crate::insecure::{Insecure, Protection};
use crate::progress;

/// What a command line says about the network.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// Which protections are switched off.
    pub insecure: Insecure,
    /// The port of discovery URLs.
    pub port: Option<u16>,
    /// Whether steps are told.
    pub verbose: bool,
}

/// The keys that are trusted on this host.
pub fn key_store() -> KeyStore {
    let (host, shipped) = match cfg!(target_os = "freebsd") {
        true => ("/usr/local/etc/jetpack", "/usr/local/share/jetpack"),
        false => ("/etc/jetpack", "/usr/lib/jetpack"),
    };
    let (host, shipped) = (PathBuf::from(host).join("trust"), PathBuf::from(shipped).join("trust"));
    match own_directory() {
        Some(own) => KeyStore::new(own.join("trust"), [shipped, host]),
        None => KeyStore::new(host, [shipped]),
    }
}

/// The user's own configuration, where he asks for one or is not the host's administrator.
fn own_directory() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let own = set("XDG_CONFIG_HOME");
    let own = own.or_else(|| Some(set("HOME")?.join(".config")).filter(|_| !rustix::process::geteuid().is_root()));
    own.map(|own| own.join("jetpack"))
}

/// What fetches, as the command line and this host's files say.
pub fn remote(context: &Context) -> Result<Remote, CommandError> {
    let network = &context.network;
    let directories = credential_directories();
    let credentials = Credentials::load(directories.iter().map(PathBuf::as_path))?;
    let mut settings = Settings { credentials, ..Settings::default() };
    network.insecure.apply("jetpack", &mut settings);
    // What was said without protection must not be believed later with it.
    let cache = if settings.insecure_tls || settings.insecure_http { "http-insecure" } else { "http" };
    let http = settings.insecure_http;
    Ok(Remote {
        client: Client::new(settings)?,
        cache: Cache::new(context.root()?.join(cache)),
        keys: key_store(),
        policy: if network.insecure.is(Protection::Signature) { Policy::None } else { Policy::Network },
        port: network.port,
        http,
        platform: Platform::host(),
        watch: progress::bars(),
        tell: tell(network.verbose),
    })
}

fn tell(verbose: bool) -> Tell {
    Arc::new(move |event| match event {
        Event::Discovery(Step::Told(told)) => eprintln!("jetpack: warning[{}]: {}", told.clause, told.message),
        Event::Skipped(link, error) => eprintln!("jetpack: {link} gives nothing: {}", appc::error::chain(*error)),
        _ if !verbose => {}
        Event::Discovery(step) => eprintln!("jetpack: {step}"),
        Event::Signature(url) => eprintln!("jetpack: getting the signature {url}"),
        Event::Image(url) => eprintln!("jetpack: getting the image {url}"),
        Event::Unchanged(url) => eprintln!("jetpack: unchanged since it was fetched: {url}"),
        _ => {}
    })
}

/// The same, for those who may never need it: what is wrong with it is told when they do.
pub struct Deferred(pub Result<Remote, String>);

impl Fetcher for Deferred {
    fn fetch(&self, wanted: &Wanted, store: &Store) -> Result<Image, Box<dyn Error + Send + Sync>> {
        match &self.0 {
            Ok(remote) => remote.fetch(wanted, store),
            Err(why) => Err(why.clone().into()),
        }
    }
}
