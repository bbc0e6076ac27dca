//! What fetches images for the commands of this program.

use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use appc::config::Signatures;
use appc::discovery::{Platform, Step};
use appc::fetch::{Event, Remote, Tell};
use appc::oci::registry::{Accounts, Mirrors, Ways};
use appc::render::Fetcher;
use appc::store::{Image, Store, Wanted};
use appc::transport::{Cache, Client, Credentials, Limits, Settings};
use appc::trust::KeyStore;

use crate::context::{Context, variable};
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
    /// Whether what nobody vouches for is refused.
    pub strict: bool,
}

/// The keys that are trusted on this host.
pub fn key_store(context: &Context) -> Result<KeyStore, CommandError> {
    let config = &context.config;
    match &config.trust_directory.value {
        Some(own) => Ok(KeyStore::new(own, config.system_trust_directories.value.iter().cloned())),
        None => Err(CommandError::usage("there is no home directory to keep keys in")
            .hint("`trust-directory` in the configuration names a place")),
    }
}

/// Where below the root is kept what servers said, and what they said without protection.
const CACHES: [&str; 2] = ["http", "http-insecure"];

/// Where layers of registries are kept as they came.
const BLOBS: &str = "blobs";

/// Forgets all that servers said. Says how many bytes that frees.
pub fn forget(context: &Context) -> Result<u64, CommandError> {
    let root = context.root()?;
    let mut freed = 0;
    for cache in CACHES {
        freed += Cache::new(root.join(cache)).clear()?;
    }
    freed += context.store()?.sweep_partials(Duration::ZERO)?;
    Ok(freed + appc::oci::registry::clear(&root.join(BLOBS))?)
}

/// What fetches, as the command line and this host's files say.
pub fn remote(context: &Context) -> Result<Remote, CommandError> {
    let network = &context.network;
    let config = &context.config;
    let credentials = Credentials::load(config.credential_directories.value.iter().map(PathBuf::as_path))?;
    let limits = Limits {
        connect: config.connect_timeout.value,
        idle: config.idle_timeout.value,
        slow_window: config.idle_timeout.value,
        retries: config.retries.value,
        image_bytes: config.transfer_limit.value,
        ..Limits::default()
    };
    let private_redirects = config.private_redirects.value;
    let proxies = config.proxies();
    let mut settings = Settings { limits, credentials, private_redirects, proxies, ..Settings::default() };
    network.insecure.apply("jetpack", &mut settings);
    // What was said without protection must not be believed later with it.
    let cache = CACHES[usize::from(settings.insecure_tls || settings.insecure_http)];
    let http = settings.insecure_http;
    let client = Client::new(settings.clone())?;
    Ok(Remote {
        registries: Ways {
            client: client.clone(),
            unprotected: Client::new(Settings { insecure_tls: true, insecure_http: true, ..settings })?,
            accounts: Accounts::of_user(&variable),
            mirrors: Mirrors::load(&config.registry_files.value)?,
        },
        client,
        cache: Cache::new(context.root()?.join(cache)),
        keys: key_store(context)?,
        policy: match network.insecure.is(Protection::Signature) {
            true => Signatures::None,
            false => config.signatures.value,
        },
        port: network.port,
        http,
        platform: Platform::host(),
        blobs: context.root()?.join(BLOBS),
        strict: network.strict,
        watch: progress::bars(),
        tell: tell(network.verbose),
    })
}

fn tell(verbose: bool) -> Tell {
    Arc::new(move |event| match event {
        Event::Discovery(Step::Told(told)) => eprintln!("jetpack: warning[{}]: {}", told.clause, told.message),
        Event::Unreached(place, error) => {
            eprintln!("jetpack: {place} gives nothing: {}", appc::error::chain(*error));
        }
        Event::Skipped(link, error) => eprintln!("jetpack: {link} gives nothing: {}", appc::error::chain(*error)),
        Event::Waiting(what) => eprintln!("jetpack: waiting for another process that is fetching {what}"),
        Event::Whole(url, why) => eprintln!("jetpack: {url} is fetched whole: {why}"),
        Event::Assembled { url, fetched, bytes } => {
            let (fetched, bytes) = (megabytes(*fetched), megabytes(*bytes));
            eprintln!("jetpack: {fetched} of {bytes} of {url} fetched, the rest was here");
        }
        _ if !verbose => {}
        Event::Chunks(url) => eprintln!("jetpack: getting the map of chunks {url}"),
        Event::NoMap(url, why) => eprintln!("jetpack: no map of chunks at {url}: {why}"),
        Event::Resumed(url, bytes) => eprintln!("jetpack: {bytes} bytes of {url} are there from before"),
        Event::Discovery(step) => eprintln!("jetpack: {step}"),
        Event::Signature(url) => eprintln!("jetpack: getting the signature {url}"),
        Event::Unready(url) => eprintln!("jetpack: still being made: {url}"),
        Event::Image(url) => eprintln!("jetpack: getting the image {url}"),
        Event::Unchanged(url) => eprintln!("jetpack: unchanged since it was fetched: {url}"),
        _ => {}
    })
}

fn megabytes(bytes: u64) -> String {
    match bytes {
        0..100_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// A remote that is made when it is first needed: what is wrong with it is told then, and costs nobody who needs none.
pub struct Deferred<'c> {
    context: &'c Context,
    remote: OnceLock<Result<Remote, String>>,
}

impl<'c> Deferred<'c> {
    /// For what `context` says.
    pub fn new(context: &'c Context) -> Self {
        Self { context, remote: OnceLock::new() }
    }
}

impl Fetcher for Deferred<'_> {
    fn fetch(&self, wanted: &Wanted, store: &Store) -> Result<Image, Box<dyn Error + Send + Sync>> {
        match self.remote.get_or_init(|| remote(self.context).map_err(CommandError::into_message)) {
            Ok(remote) => remote.fetch(wanted, store),
            Err(why) => Err(why.clone().into()),
        }
    }
}
