//! `completions` and `man`, which both binaries have: made from the command line's own definition, so never stale.

use std::path::PathBuf;
use std::{fs, io};

use clap::Command;
use clap_complete::env::{CompleteEnv, Shells};

/// Print a script for a shell that has it complete this program's command lines.
///
/// In bash: source <(PROGRAM completions bash). The program itself is asked what fits, so what there is now is offered too.
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

/// The variable by which a shell's script asks.
const VARIABLE: &str = "_APPC_COMPLETE";

/// Answers a shell that asks how a command line may go on, and ends the program then.
pub fn complete(command: impl Fn() -> Command) {
    if std::env::var_os(VARIABLE).is_some() {
        CompleteEnv::with_factory(command).var(VARIABLE).complete();
    }
}

pub fn completions(args: &CompletionsArgs, name: &str) -> io::Result<()> {
    let mut script = Vec::new();
    let shell = args.shell.to_string();
    let shells = Shells::builtins();
    let shell = shells.completer(&shell).ok_or(io::ErrorKind::Unsupported)?;
    shell.write_registration(VARIABLE, name, name, name, &mut script)?;
    print!("{}", String::from_utf8_lossy(&script));
    Ok(())
}

/// Writes the pages; an error is what could not be done, in words that read on after "failed to".
pub fn man(args: &ManArgs, command: Command) -> Result<(), String> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let command = with_usage(command);
    let written = fs::create_dir_all(&args.directory).and_then(|()| clap_mangen::generate_to(command, &args.directory));
    written.map_err(|error| format!("write manual pages into {}: {error}", args.directory.display()))
}

/// The `--` before an app's arguments, which pages lack by themselves.
fn with_usage(mut command: Command) -> Command {
    let behind = command.get_positionals().any(clap::Arg::is_last_set);
    if behind && let Some(usage) = command.render_usage().to_string().strip_prefix("Usage: ") {
        command = command.override_usage(usage.to_owned());
    }
    command.mut_subcommands(with_usage)
}
