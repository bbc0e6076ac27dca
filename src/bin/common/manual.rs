//! `completions` and `man`, which both binaries have: made from the command line's own definition, so never stale.

use std::fs;
use std::io;
use std::path::PathBuf;

use clap::Command;

/// Print a completion script for a shell.
#[derive(clap::Args)]
pub struct CompletionsArgs {
    /// The shell that is to complete
    shell: clap_complete::Shell,
}

/// Write the manual pages, one for the program and one a subcommand.
#[derive(clap::Args)]
pub struct ManArgs {
    /// Where to write them; made when missing
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub fn completions(args: &CompletionsArgs, mut command: Command) {
    let name = command.get_name().to_owned();
    clap_complete::generate(args.shell, &mut command, name, &mut io::stdout());
}

pub fn man(args: &ManArgs, command: Command) -> io::Result<()> {
    fs::create_dir_all(&args.directory)?;
    clap_mangen::generate_to(command, &args.directory)
}
