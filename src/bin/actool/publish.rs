//! `actool publish`: the tree that a server needs for discovery.

use std::path::PathBuf;
use std::process::ExitCode;

use appc::site::Directory;

use crate::error::CommandError;
use crate::publishing::Options;

/// Publish images: put them into a directory that any web server can serve as its document root, with the pages, signatures and
/// keys that discovery asks for; print the ID and a URL of each.
///
/// Every file stands at the path of its URL. Run again, it adds and replaces; what is served is whole at any moment.
#[derive(clap::Args)]
pub struct Args {
    /// The document root
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    #[command(flatten)]
    options: Options,
    /// The images
    #[arg(value_name = "IMAGE", required_unless_present = "prune")]
    images: Vec<PathBuf>,
}

pub fn run(args: &Args) -> Result<ExitCode, CommandError> {
    if args.directory.is_file() {
        let what = format!("{} is no directory", args.directory.display());
        return Err(CommandError::usage(what).hint("the document root stands before the images"));
    }
    args.options.publish(&mut Directory::open(&args.directory)?, &args.images, None)?;
    Ok(ExitCode::SUCCESS)
}
