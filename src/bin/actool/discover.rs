//! `actool discover`: where images, signatures and keys are.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use appc::config::Config;
use appc::diagnostic::visible;
use appc::discovery::{Discovered, ImageName, Options, Seek, Step, discover};
use appc::transport::{Client, Credentials, Settings};
use serde::Serialize;

use crate::error::CommandError;
use crate::insecure::{Insecure, Protection};

/// Find out where images, signatures and keys are.
#[derive(clap::Args)]
pub struct Args {
    /// Names: NAME[:VERSION][,label=value]...
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    insecure: Insecure,
    /// The port to ask
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// Answer as another implementation does: go goes on to the parent after any error
    #[arg(long, value_name = "WHOSE", value_parser = ["go"])]
    compat: Option<String>,
    /// A file with credentials by host, mode 0600: TOML tables `[[credential]]` with `host` and either `user` and `password`, or `token`
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// Tell each step on stderr
    #[arg(short, long)]
    verbose: bool,
}

pub fn run(args: &Args) -> Result<ExitCode, CommandError> {
    let mut names = Vec::new();
    for text in &args.names {
        names.push(read_name(text, &args.insecure)?);
    }
    let mut settings = settings(args.credentials.as_ref())?;
    args.insecure.apply("actool", &mut settings);
    let options = Options {
        port: args.port.filter(|port| *port != 0),
        http: settings.insecure_http,
        walk_on_errors: args.compat.is_some(),
        seek: Seek::Both,
        ..Options::default()
    };
    let mut client = Client::new(settings)?;
    let mut code = ExitCode::SUCCESS;
    for name in &names {
        let found = discover(name, &options, &mut client, &mut |step| match step {
            Step::Told(told) => eprintln!("actool: warning[{}]: {}", told.clause, told.message),
            step if args.verbose => eprintln!("actool: {name}: {step}"),
            _ => {}
        });
        match found {
            Ok(found) => print(&found, args)?,
            Err(error) => code = CommandError::from(error).report(),
        }
    }
    Ok(code)
}

fn read_name(text: &str, insecure: &Insecure) -> Result<ImageName, CommandError> {
    if let Some((_, name)) = text.split_once("://") {
        return Err(CommandError::usage(format!("{text} is a URL; discovery asks by name, as {name}")));
    }
    let listed = |word: &str| <Protection as clap::ValueEnum>::from_str(word, true).is_ok();
    let name = text.parse().map_err(|error| CommandError::usage(format!("failed to {}", appc::error::chain(&error))));
    match text.split(',').all(listed) && insecure.is(Protection::Tls) {
        true => Err(CommandError::usage(format!("`{text}` stands where a name should"))
            .hint(format!("the list follows an equals sign: --insecure={text}"))),
        false => name,
    }
}

/// What a variable of the environment says.
pub fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// What this host's files say about the network, and `file` about who we are there.
pub fn settings(file: Option<&PathBuf>) -> Result<Settings, CommandError> {
    let config = Config::load(None, &variable)?;
    if let Some(file) = file.filter(|file| !file.is_file()) {
        return Err(CommandError::usage(format!("there is no file {}", file.display())));
    }
    let paths = config.credential_directories.value.iter().chain(file).map(PathBuf::as_path);
    Ok(Settings { credentials: Credentials::load(paths)?, proxies: config.proxies(), ..Settings::default() })
}

/// The Go tool's form.
#[derive(Serialize)]
struct Printed<'f> {
    #[serde(rename = "ACIEndpoints")]
    endpoints: Vec<PrintedEndpoint<'f>>,
    #[serde(rename = "PublicKeys")]
    keys: Vec<&'f str>,
}

#[derive(Serialize)]
struct PrintedEndpoint<'f> {
    #[serde(rename = "ACI")]
    aci: &'f str,
    #[serde(rename = "ASC")]
    asc: &'f str,
}

fn print(found: &Discovered, args: &Args) -> Result<(), CommandError> {
    let keys: Vec<&str> = found.keys.iter().map(|(link, _)| link.as_str()).collect();
    if args.json {
        let endpoints = found.endpoints.iter().map(|e| PrintedEndpoint { aci: e.aci.as_str(), asc: e.asc.as_str() });
        let printed = Printed { endpoints: endpoints.collect(), keys };
        let mut text = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        printed.serialize(&mut serde_json::Serializer::with_formatter(&mut text, formatter))?;
        print!("{}\n", visible::json(&String::from_utf8_lossy(&text)));
        return Ok(());
    }
    for endpoint in &found.endpoints {
        println!("ACI: {}, ASC: {}", endpoint.aci, endpoint.asc);
    }
    if !keys.is_empty() {
        println!("PublicKeys: {}", keys.join(","));
    }
    Ok(())
}
