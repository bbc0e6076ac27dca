//! `jetpack-oci`: the command line of runtimes for OCI bundles, as container engines call it. It is this program by another name, a link
//! to it; `jetpack oci` is the same.

mod make;
mod manage;
mod process;
mod show;

use std::ffi::OsString;
use std::fmt;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use appc::executor::container::{self, Container, Groups, Root};
#[cfg(target_os = "freebsd")]
use appc::executor::freebsd::container as system;
#[cfg(target_os = "linux")]
use appc::executor::linux::container as system;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// The name that it is called by.
const NAME: &str = "jetpack-oci";

/// Runs containers of OCI bundles, for container engines and by hand.
#[derive(Parser)]
#[command(name = NAME, disable_version_flag = true, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What stands before the command.
#[derive(Args)]
struct Global {
    /// Where containers are kept [default: /run/jetpack-oci, without root below XDG_RUNTIME_DIR]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// The file that errors and warnings are added to
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// How they read there
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
    /// Tell more in the log
    #[arg(long)]
    debug: bool,
    /// Control groups are named `SLICE:PREFIX:NAME`, as with systemd
    #[arg(long)]
    systemd_cgroup: bool,
    /// Who keeps the control groups: `disabled` makes none, and gives what is asked of them up
    #[arg(long, value_name = "MANAGER", default_value = "cgroupfs")]
    cgroup_manager: Manager,
    /// Taken as others take it, and not needed: whether there is root is seen
    #[arg(long, value_name = "auto|true|false", hide = true, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    rootless: Option<String>,
    /// Taken as others take it; checkpoints are not made here
    #[arg(long, value_name = "FILE", hide = true)]
    criu: Option<PathBuf>,
    /// The version of this program and of the specification
    #[arg(short, long)]
    version: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Manager {
    Cgroupfs,
    Systemd,
    Disabled,
}

#[derive(Subcommand)]
enum Command {
    /// Make a container, up to where its program starts
    Create(make::CreateArgs),
    /// Start the program of a container that was made
    Start(make::StartArgs),
    /// Make a container and start its program
    Run(make::RunArgs),
    /// Remove a container that has stopped
    Delete(manage::DeleteArgs),
    /// Show what a container is doing
    State(show::StateArgs),
    /// List the containers
    List(show::ListArgs),
    /// Show the processes of a container
    Ps(show::PsArgs),
    /// Send a signal to a container's process
    Kill(manage::KillArgs),
    /// Run a further process in a container
    Exec(process::ExecArgs),
    /// Make a container's processes stand still
    Pause(manage::IdArgs),
    /// Let a container's processes go on that stand still
    Resume(manage::IdArgs),
    /// Change what bounds a container
    Update(Box<manage::UpdateArgs>),
    /// Show what a container uses, and when it has no more memory
    Events(show::EventsArgs),
    /// Show what this runtime can do
    Features,
    /// Write a configuration to start from
    Spec(show::SpecArgs),
    /// Refused
    #[command(hide = true)]
    Checkpoint(manage::Refused),
    /// Refused
    #[command(hide = true)]
    Restore(manage::Refused),
}

/// Why a command did not do what was asked: a line.
struct Failed(String);

impl<E: std::error::Error> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(format!("failed to {}", appc::error::chain(&error)))
    }
}

impl Failed {
    fn new(doing: impl fmt::Display) -> Self {
        Self(format!("failed to {doing}"))
    }
}

/// What holds for this call.
struct Context {
    root: Root,
    log: Option<(PathBuf, LogFormat)>,
    groups: Groups,
}

impl Context {
    fn new(global: Global) -> Result<Self, Failed> {
        let root = match global.root {
            Some(root) => std::path::absolute(&root).map_err(|error| Failed::new(format!("use --root: {error}")))?,
            None if rustix::process::geteuid().is_root() => {
                PathBuf::from(if cfg!(target_os = "freebsd") { "/var/run/jetpack-oci" } else { "/run/jetpack-oci" })
            }
            None => match std::env::var_os("XDG_RUNTIME_DIR") {
                Some(directory) => Path::new(&directory).join(NAME),
                None => return Err(Failed::new("find a place for containers: --root or XDG_RUNTIME_DIR names one")),
            },
        };
        let log = global.log.map(|file| (file, global.log_format));
        let groups = match global.cgroup_manager {
            Manager::Disabled => Groups::None,
            Manager::Cgroupfs if !global.systemd_cgroup => Groups::Plain,
            _ => Groups::Systemd,
        };
        let root = Root(root);
        root.look()?;
        Ok(Self { root, log, groups })
    }

    fn container(&self, id: &str) -> Result<Container, Failed> {
        Ok(self.root.open(id)?)
    }

    /// Something that keeps nothing from being done: into the log, or where there is none to standard error.
    fn warn(&self, words: &str) {
        match &self.log {
            Some((file, format)) => log(file, *format, "warning", words),
            None => eprintln!("{NAME}: warning: {words}"),
        }
    }
}

/// Adds a line to the log. That this fails has nowhere to be told but by whoever calls.
fn log(file: &Path, format: LogFormat, level: &str, words: &str) {
    let time = format!("{:.0}", jiff::Timestamp::now());
    let line = match format {
        LogFormat::Json => serde_json::json!({ "level": level, "msg": words, "time": time }).to_string(),
        LogFormat::Text => format!("time={time:?} level={level} msg={words:?}"),
    };
    if let Ok(mut open) = OpenOptions::new().append(true).create(true).open(file) {
        let _ = writeln!(open, "{line}");
    }
}

/// The words of the command line without `jetpack oci` before them, when that, or this program's other name, is what was called.
pub fn called(words: &[OsString]) -> Option<Vec<OsString>> {
    let name = words.first().and_then(|path| Path::new(path).file_name()).and_then(|name| name.to_str());
    if name == Some(NAME) {
        return Some(words.to_vec());
    }
    let rest = words.get(1..)?.split_first().filter(|(first, _)| **first == "oci")?.1;
    Some([OsString::from(NAME)].into_iter().chain(rest.iter().cloned()).collect())
}

/// The log that a command line names which is wrong elsewhere.
fn log_of(words: &[OsString]) -> Option<(PathBuf, LogFormat)> {
    let value = |name: &str| {
        let at =
            words.iter().position(|word| word.to_str().is_some_and(|word| word.split('=').next() == Some(name)))?;
        match words[at].to_str()?.split_once('=') {
            Some((_, value)) => Some(OsString::from(value)),
            None => words.get(at + 1).cloned(),
        }
    };
    let json = value("--log-format").is_some_and(|format| format == "json");
    Some((PathBuf::from(value("--log")?), if json { LogFormat::Json } else { LogFormat::Text }))
}

/// Does what `words` say.
pub fn main(words: Vec<OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(&words) {
        Ok(cli) => cli,
        Err(error) => {
            // Engines look into the log alone.
            if let Some((file, format)) = log_of(&words).filter(|_| error.use_stderr()) {
                let said = error.to_string();
                let what = said.lines().next().unwrap_or_default();
                log(&file, format, "error", what.strip_prefix("error: ").unwrap_or(what));
            }
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    if cli.global.version {
        print!("{NAME} version {}\nspec: {}\n", env!("CARGO_PKG_VERSION"), appc::oci::bundle::VERSION);
        return ExitCode::SUCCESS;
    }
    let told = cli.global.log.clone().map(|file| (file, cli.global.log_format));
    let Some(command) = cli.command else {
        use clap::CommandFactory as _;
        let _ = Cli::command().print_help();
        return ExitCode::FAILURE;
    };
    let done = Context::new(cli.global).and_then(|context| dispatch(command, &context));
    done.unwrap_or_else(|Failed(words)| {
        if let Some((file, format)) = told {
            log(&file, format, "error", &words);
        }
        eprintln!("{NAME}: {words}");
        ExitCode::FAILURE
    })
}

fn dispatch(command: Command, context: &Context) -> Result<ExitCode, Failed> {
    if matches!(command, Command::Create(_) | Command::Run(_) | Command::Exec(_)) {
        appc::executor::local::run_apart()?;
    }
    appc::sys::signals::begin_afresh();
    match command {
        Command::Create(args) => make::create(args, context),
        Command::Start(args) => make::start(&args, context),
        Command::Run(args) => make::run(args, context),
        Command::Delete(args) => manage::delete(&args, context),
        Command::State(args) => show::state(&args, context),
        Command::List(args) => show::list(&args, context),
        Command::Ps(args) => show::ps(&args, context),
        Command::Kill(args) => manage::kill(&args, context),
        Command::Exec(args) => process::exec(args, context),
        Command::Pause(args) => manage::freeze(&args, true, context),
        Command::Resume(args) => manage::freeze(&args, false, context),
        Command::Update(args) => manage::update(*args, context),
        Command::Events(args) => show::events(&args, context),
        Command::Features => show::features(),
        Command::Spec(args) => show::spec(&args),
        Command::Checkpoint(_) => Err(Failed::new("make a checkpoint: this runtime makes none")),
        Command::Restore(_) => Err(Failed::new("restore a checkpoint: this runtime makes none")),
    }
}

/// The socket that a terminal is to be sent to.
fn console(path: Option<&Path>) -> Result<Option<std::os::fd::OwnedFd>, Failed> {
    Ok(path.map(container::console).transpose()?)
}
