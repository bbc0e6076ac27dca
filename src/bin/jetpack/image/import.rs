//! `jetpack image import`: images from another pool.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use appc::store::OF_MANIFEST;
use appc::stream::{self, Import, Outcome};

use crate::context::Context;
use crate::error::CommandError;
use crate::remote;

/// Take images out of a stream that `jetpack image export --zfs` wrote on another host; prints the IDs of those that are new
///
/// Each image is held against its ID, and its files against its archive, before it is one of this host.
#[derive(clap::Args)]
pub struct Args {
    /// A ZFS stream is read; archives are what `jetpack fetch` takes
    #[arg(long, required = true)]
    zfs: bool,
    /// Print what the sending side goes on with, for streams that broke: `jetpack image export --zfs --resume TOKEN`
    #[arg(long, conflicts_with = "file")]
    token: bool,
    /// The stream [default: standard input]
    file: Option<PathBuf>,
}

pub fn run(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let store = context.store()?;
    if args.token {
        let tokens = stream::tokens(&store)?;
        tokens.iter().for_each(|token| println!("{token}"));
        return Ok(if tokens.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    }
    let from: Box<dyn Read> = match &args.file {
        Some(file) => {
            let opened = File::open(file);
            Box::new(opened.map_err(|error| CommandError::failed(format!("open {}: {error}", file.display())))?)
        }
        None if io::stdin().is_terminal() => {
            return Err(
                CommandError::usage("a stream does not come from a terminal").hint("name a file, or pipe it in")
            );
        }
        None => Box::new(io::stdin().lock()),
    };
    // `zfs receive` may end before it has read all.
    appc::sys::signals::outlive_broken_pipes();
    let remote = remote::remote(context)?;
    let import = Import { vouch: &|manifest, archive, origin| remote.vouch(manifest, archive, origin), tell: &tell };
    store.import_stream(from, &import)?;
    Ok(ExitCode::SUCCESS)
}

fn tell(outcome: &Outcome<'_>) {
    match outcome {
        Outcome::Taken(image) => {
            println!("{}", image.id());
            for note in image.origin().notes.iter().filter(|note| !note.starts_with(OF_MANIFEST)) {
                eprintln!("jetpack: {}: {note}", image.manifest().name);
            }
        }
        Outcome::Known(id) => eprintln!("jetpack: {id} is there already"),
        Outcome::NotRendered(id, why) => {
            eprintln!(
                "jetpack: the root file system of {id} is not taken as it came, and made when the image is run: {why}"
            );
        }
        Outcome::Waiting(tree) => eprintln!("jetpack: another process receives {tree}; waiting for it"),
        _ => {}
    }
}
