//! `jetpack metadata-service`: one metadata service for many pods.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use appc::metadata::{Domain, Error, HmacKey, Kind, Limits, Options, socket};
use appc::sys::account::Account;
use appc::sys::secret::never_dump;

use crate::context::Context;
use crate::error::CommandError;

/// Serve metadata to many pods on one address
///
/// Pods have a metadata service of their own inside their network; this one is for those who want one address for all.
/// Supervisors make their pods known over a unix socket: `run --mds=domain`, or `metadata = "domain"` in the
/// configuration. Runs in the foreground.
#[derive(clap::Args)]
pub struct Args {
    /// The address for apps: ADDRESS:PORT, where port 0 is any free one
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,
    /// Certificate chain (PEM): serve over TLS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// What the URLs of pods begin with [default: http(s):// and the address]
    #[arg(long, value_name = "URL")]
    advertise: Option<String>,
    /// The unix socket for supervisors [default: as configured, else metadata.sock in the root]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// The account to run as when started by root
    #[arg(long, value_name = "NAME", default_value = "nobody")]
    user: String,
    /// Connections at once; more make the slowest ones go
    #[arg(long, value_name = "NUMBER", default_value_t = Limits::of_a_domain().connections, value_parser = connections)]
    max_connections: usize,
}

pub fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let root = context.root()?;
    let account = account(&args.user)?;
    let options = Options {
        listen: args.listen,
        advertise: args.advertise,
        tls: args.tls_cert.zip(args.tls_key),
        socket: args.socket.or_else(|| context.config.metadata_socket.value.clone()).unwrap_or_else(|| socket(&root)),
        limits: Limits { connections: args.max_connections, ..Limits::of_a_domain() },
    };
    let domain = Domain::open(options, HmacKey::load_or_create(&root)?)?;
    let io = |doing: String| move |error| Error::new(Kind::Io, doing).because(error);
    if let Some(account) = account {
        account.become_for_good().map_err(io(format!("become {}", args.user)))?;
    }
    never_dump().map_err(io("keep the key out of core dumps".into()))?;
    let mut out = appc::sys::output::stdout();
    let said = writeln!(out, "listening on {}", domain.base()).and_then(|()| out.flush());
    said.map_err(io("write to standard output".into()))?;
    domain.run()?;
    Ok(ExitCode::SUCCESS)
}

/// Whom to become: nobody else, unless root starts the service.
fn account(name: &str) -> Result<Option<Account>, CommandError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let doing = format!("look up the account {name}");
    match Account::named(name).map_err(|error| Error::new(Kind::Io, doing).because(error))? {
        Some(account) => Ok(Some(account)),
        None => Err(CommandError::usage(format!("there is no account {name}")).hint("--user names one that exists")),
    }
}

fn connections(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=1_000_000) => Ok(number),
        _ => Err("it is a number from 1 to 1000000".into()),
    }
}
