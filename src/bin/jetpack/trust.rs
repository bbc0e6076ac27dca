//! `jetpack trust`: whose images are taken.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use appc::discovery::ImageName;
use appc::schema::AcIdentifier;
use appc::trust::{Certificate, CosignKey, Fingerprint, KeyStore, Origin, Scope};
use serde_json::{Value, json};
use url::Url;

use crate::context::Context;
use crate::error::CommandError;
use crate::remote;

/// Say whose images are taken.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Add(AddArgs),
    List(ListArgs),
    Remove(RemoveArgs),
}

/// Trust keys: of a file, at a URL, or those that a name's own pages offer.
#[derive(clap::Args)]
struct AddArgs {
    /// Trust them for this name and what is below it
    #[arg(long, value_name = "PREFIX", conflicts_with = "all_names")]
    prefix: Option<String>,
    /// Trust them for all names
    #[arg(long)]
    all_names: bool,
    /// Take the key with this fingerprint alone, without asking
    #[arg(long, value_name = "FINGERPRINT")]
    fingerprint: Option<String>,
    /// The port of discovery
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// Take images of this registry, or of what is below a name in it, without a signature: its word is all there is; with --cosign, those alone that the
    /// key has signed
    #[arg(long, value_name = "HOST[/PREFIX]", conflicts_with_all = ["prefix", "all_names", "fingerprint", "source"])]
    registry: Option<String>,
    /// A public key of ECDSA on P-256, as `cosign generate-key-pair` writes it: of images of the registry, those alone are taken that a key for them
    /// has signed
    #[arg(long, value_name = "FILE", requires = "registry")]
    cosign: Option<PathBuf>,
    /// FILE, URL or NAME
    #[arg(value_name = "SOURCE", required_unless_present = "registry")]
    source: Option<String>,
}

/// List the keys that are trusted.
#[derive(clap::Args)]
struct ListArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Trust keys no more.
#[derive(clap::Args)]
struct RemoveArgs {
    /// For this prefix only
    #[arg(long, value_name = "PREFIX", conflicts_with = "all_names")]
    prefix: Option<String>,
    /// As a key for all names only
    #[arg(long)]
    all_names: bool,
    /// Trust this registry no more
    #[arg(long, value_name = "HOST[/PREFIX]", conflicts_with_all = ["prefix", "all_names", "fingerprints"])]
    registry: Option<String>,
    /// Trust this key of cosign no more, sha256:..., as `jetpack trust list` shows it; with --registry, for that alone
    #[arg(long, value_name = "KEY", conflicts_with_all = ["prefix", "all_names", "fingerprints"])]
    cosign: Option<String>,
    /// The fingerprints
    #[arg(required_unless_present_any = ["registry", "cosign"], value_name = "FINGERPRINT")]
    fingerprints: Vec<String>,
}

pub fn run(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    match &args.command {
        Command::Add(args) => add(args, context),
        Command::List(args) => list(args, context),
        Command::Remove(args) => remove(args, context),
    }
}

/// What the names of files with keys end in, which no name of an image does.
const KEY_FILES: [&str; 4] = [".asc", ".gpg", ".pub", ".key"];

/// Where keys come from.
enum Source {
    File(PathBuf),
    Url(Url),
    Name(ImageName),
}

impl Source {
    fn read(text: &str) -> Result<Self, CommandError> {
        if text.starts_with("https://") || text.starts_with("http://") {
            return Ok(Self::Url(text.parse()?));
        }
        // A file that is there is meant; what has the look of a path is no name.
        let of_keys = KEY_FILES.iter().any(|ending| text.ends_with(ending));
        if text.starts_with(['/', '.']) || of_keys || Path::new(text).is_file() {
            return Ok(Self::File(PathBuf::from(text)));
        }
        match text.parse() {
            Ok(name) => Ok(Self::Name(name)),
            Err(error) => Err(CommandError::usage(format!("failed to {}", appc::error::chain(&error)))
                .hint("keys come from a file, a URL, or the pages of a name")),
        }
    }
}

fn add(args: &AddArgs, context: &Context) -> Result<ExitCode, CommandError> {
    if let (Some(registry), Some(file)) = (&args.registry, &args.cosign) {
        let failed = |error: std::io::Error| CommandError::failed(format!("read {}: {error}", file.display()));
        let key = CosignKey::parse(registry, &std::fs::read_to_string(file).map_err(failed)?)?;
        let news = remote::key_store(context)?.add_cosign_key(&key)?;
        println!("{} {} for {}", key.id(), if news { "trusted" } else { "trusted already" }, key.prefix());
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(registry) = &args.registry {
        let news = remote::key_store(context)?.add_registry(registry)?;
        println!("{registry} {}", if news { "trusted" } else { "trusted already" });
        return Ok(ExitCode::SUCCESS);
    }
    let source = Source::read(args.source.as_deref().unwrap_or_default())?;
    let fingerprint = args.fingerprint.as_deref().map(str::parse::<Fingerprint>).transpose()?;
    let name = match &source {
        Source::Name(name) => Some(&name.name),
        _ => None,
    };
    let scope = scope(args.prefix.as_deref(), args.all_names)?.or_else(|| name.cloned().map(Scope::Prefix));
    let Some(scope) = scope else {
        return Err(CommandError::usage("it is not said what the keys shall be trusted for")
            .hint("--prefix NAME trusts them for a name and what is below it, --all-names for all"));
    };
    let context =
        Context { network: remote::Network { port: args.port, ..context.network.clone() }, ..context.clone() };
    let found: Vec<(String, Vec<u8>)> = match &source {
        Source::File(path) => {
            let bytes = std::fs::read(path)
                .map_err(|error| CommandError::failed(format!("read {}: {error}", path.display())))?;
            vec![(path.display().to_string(), bytes)]
        }
        Source::Url(url) => vec![(url.to_string(), remote::remote(&context)?.keys_at(url, None)?)],
        Source::Name(name) => {
            let keys = remote::remote(&context)?.keys_of(name)?;
            keys.into_iter().map(|(url, bytes)| (url.to_string(), bytes)).collect()
        }
    };
    let mut certificates = Vec::new();
    for (from, bytes) in &found {
        let unread = |error| CommandError::failed(format!("take keys from {from}: {}", appc::error::chain(&error)));
        for certificate in Certificate::parse_many(bytes).map_err(unread)? {
            certificates.push((from.as_str(), certificate));
        }
    }
    if let Some(wanted) = &fingerprint {
        certificates.retain(|(_, certificate)| certificate.fingerprint() == *wanted);
        if certificates.is_empty() {
            let places: Vec<&str> = found.iter().map(|(from, _)| from.as_str()).collect();
            return Err(CommandError::failed(format!(
                "find key {wanted}: it is not among those of {}",
                places.join(", ")
            )));
        }
    }
    let ask = fingerprint.is_none() && !matches!(source, Source::File(_));
    take(&certificates, &scope, ask, &remote::key_store(&context)?)
}

/// Trusts those that can be used and, where there is somebody to `ask`, get a yes. None at all is a failure.
fn take(
    certificates: &[(&str, Certificate)],
    scope: &Scope,
    ask: bool,
    store: &KeyStore,
) -> Result<ExitCode, CommandError> {
    let mut trusted = false;
    let mut refusal = None;
    for (from, certificate) in certificates {
        describe(from, certificate, scope);
        if let Err(error) = certificate.usable(SystemTime::now()) {
            if certificates.len() > 1 {
                eprintln!("  passed over: failed to {}", appc::error::chain(&error));
            }
            refusal = refusal.or_else(|| Some(error.into()));
            continue;
        }
        if ask && !confirmed()? {
            let no = CommandError::failed("trust the key: there was no yes");
            refusal = refusal.or_else(|| Some(no.hint("--fingerprint names the key that is meant")));
            continue;
        }
        let (path, news) = store.add(scope, certificate)?;
        let what = if news { "trusted" } else { "trusted already" };
        println!("{} {what} for {scope}: {}", certificate.fingerprint(), path.display());
        trusted = true;
    }
    match refusal {
        Some(refusal) if !trusted => Err(refusal),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn describe(from: &str, certificate: &Certificate, scope: &Scope) {
    eprintln!("key of {from}, for {scope}:");
    eprintln!("  fingerprint {}", certificate.fingerprint());
    for user in certificate.users() {
        eprintln!("  user {user}");
    }
}

fn confirmed() -> Result<bool, CommandError> {
    eprint!("Compare the fingerprint with one from another source. Trust this key? [yes/no] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "yes" | "y"))
}

#[derive(serde::Serialize)]
struct Listed {
    kind: &'static str,
    fingerprint: String,
    /// None for all names.
    prefix: Option<String>,
    users: Vec<String>,
    origin: &'static str,
    path: String,
    /// Why it counts no more.
    unusable: Option<String>,
}

fn list(args: &ListArgs, context: &Context) -> Result<ExitCode, CommandError> {
    let now = SystemTime::now();
    let listed = remote::key_store(context)?.list()?.into_iter().map(|key| Listed {
        kind: "key",
        fingerprint: key.certificate.fingerprint().to_string(),
        prefix: match key.scope {
            Scope::Root => None,
            Scope::Prefix(prefix) => Some(prefix.to_string()),
        },
        users: key.certificate.users(),
        origin: if key.origin == Origin::Local { "local" } else { "system" },
        path: key.path.display().to_string(),
        unusable: key.certificate.usable(now).err().map(|error| appc::error::chain(&error)),
    });
    let listed: Vec<Listed> = listed.collect();
    let (registries, cosign) = (remote::key_store(context)?.registries()?, remote::key_store(context)?.cosign_keys()?);
    if args.json {
        let registries = registries.iter().map(|registry| json!({ "kind": "registry", "prefix": registry }));
        let cosign = cosign.iter().map(|key| json!({ "kind": "cosign", "prefix": key.prefix(), "key": key.id() }));
        let keys = listed.iter().map(|key| json!(key));
        crate::output::json(registries.chain(cosign).chain(keys).collect::<Vec<Value>>())?;
        return Ok(ExitCode::SUCCESS);
    }
    for registry in registries {
        println!("registry  {registry}");
    }
    for key in cosign {
        println!("cosign  {}  {}", key.prefix(), key.id());
    }
    for key in listed {
        let prefix = key.prefix.as_deref().unwrap_or("*");
        let unusable = key.unusable.map(|why| format!(" ({why})")).unwrap_or_default();
        println!("{}  {prefix}  {}  {}{unusable}", key.fingerprint, key.origin, key.users.join(", "));
    }
    Ok(ExitCode::SUCCESS)
}

fn remove(args: &RemoveArgs, context: &Context) -> Result<ExitCode, CommandError> {
    if let Some(key) = &args.cosign {
        for prefix in remote::key_store(context)?.remove_cosign_key(key, args.registry.as_deref())? {
            println!("{key} trusted no more for {prefix}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(registry) = &args.registry {
        remote::key_store(context)?.remove_registry(registry)?;
        println!("{registry} trusted no more");
        return Ok(ExitCode::SUCCESS);
    }
    let scope = scope(args.prefix.as_deref(), args.all_names)?;
    let fingerprints = args.fingerprints.iter().map(|text| text.parse()).collect::<Result<Vec<Fingerprint>, _>>()?;
    for fingerprint in fingerprints {
        for scope in remote::key_store(context)?.remove(scope.as_ref(), &fingerprint)? {
            println!("{fingerprint} trusted no more for {scope}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn scope(prefix: Option<&str>, root: bool) -> Result<Option<Scope>, CommandError> {
    let Some(prefix) = prefix else { return Ok(root.then_some(Scope::Root)) };
    match prefix.trim_end_matches('/').parse::<AcIdentifier>() {
        Ok(prefix) => Ok(Some(Scope::Prefix(prefix))),
        Err(_) => Err(CommandError::usage(format!("`{}` is no prefix of names", prefix.escape_debug()))),
    }
}
