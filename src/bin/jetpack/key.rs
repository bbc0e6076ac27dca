//! `jetpack key`: take the key of an administrative domain from host to host.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::ExitCode;

use appc::metadata::{Error, HmacKey, Kind};
use appc::whole::Overwrite;

use crate::context::Context;
use crate::error::CommandError;

/// Take the key that pods sign with from host to host
///
/// Hosts with the same key are one administrative domain: each verifies what the other's pods signed.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Write this host's key, making one if there is none
    Export {
        /// A new file, readable by its owner only [default: standard output, if it is no terminal]
        file: Option<PathBuf>,
    },
    /// Take another host's key
    Import {
        /// What `export` wrote [default: standard input]
        file: Option<PathBuf>,
        /// Replace this host's own key: what its pods signed is void
        #[arg(long)]
        replace: bool,
    },
}

pub fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let root = context.root()?;
    match args.command {
        Command::Export { file } => {
            if file.is_none() && io::stdout().is_terminal() {
                let error = CommandError::usage("the key is not shown on a terminal");
                return Err(error.hint("name a file, or send the output into a pipe"));
            }
            let key = HmacKey::load_or_create(&root)?;
            match file {
                Some(path) => {
                    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
                    let doing = format!("write the key to {}", path.display());
                    file.and_then(|file| key.write(file)).map_err(|error| failure(doing, error))?;
                }
                None => {
                    key.write(appc::sys::output::stdout()).map_err(|error| failure("write the key".into(), error))?
                }
            }
        }
        Command::Import { file, replace } => {
            let key = match file {
                Some(path) => {
                    let doing = format!("read a key from {}", path.display());
                    File::open(&path).and_then(HmacKey::read).map_err(|error| failure(doing, error))?
                }
                None => {
                    let doing = "read a key from standard input".to_owned();
                    HmacKey::read(io::stdin()).map_err(|error| failure(doing, error))?
                }
            };
            key.store(&root, Overwrite::asked(replace))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn failure(doing: String, error: io::Error) -> Error {
    Error::new(Kind::Io, doing).because(error)
}
