//! `completions` and `man`, which both binaries have: made from the command line's own definition, so never stale.

use std::fs;
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
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    print!("{}", String::from_utf8_lossy(&script));
}

/// Writes the pages; an error is what could not be done, in words that read on after "failed to".
pub fn man(args: &ManArgs, command: Command) -> Result<(), String> {
    let written = fs::create_dir_all(&args.directory).and_then(|()| clap_mangen::generate_to(command, &args.directory));
    written.map_err(|error| format!("write manual pages into {}: {error}", args.directory.display()))
}
