//! `jetpack`: fetch images, run pods.

#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "of an option they are the help that it gives, where brackets stand for what may be left out"
)]
#![forbid(unsafe_code)]

#[macro_use]
#[path = "../common/output.rs"]
mod output;

#[path = "../common/progress.rs"]
mod reading;

mod adapt;
mod assemble;
mod attach;
mod build;
mod cat_manifest;
mod commit;
mod complete;
mod config;
mod context;
mod cp;
mod diff;
mod doctor;
#[path = "../common/edits.rs"]
mod edits;
mod error;
mod events;
mod exec;
mod export;
mod familiar;
mod fetch;
mod gc;
mod image;
mod images;
mod init;
#[path = "../common/insecure.rs"]
mod insecure;
mod inspect;
mod key;
mod kill;
mod list;
mod logs;
mod made;
#[path = "../common/manual.rs"]
mod manual;
mod meant;
mod metadata_service;
mod metrics;
mod obtain;
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
mod oci;
mod options;
mod pause;
mod plan;
mod prepare;
mod progress;
mod ps;
#[path = "../common/publishing.rs"]
mod publishing;
mod push;
mod remote;
mod rename;
mod rm;
mod run;
mod run_prepared;
#[path = "../common/signing.rs"]
mod signing;
mod start;
mod status;
mod stop;
mod surroundings;
mod trust;
mod version;
mod wait;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use appc::executor::model::freebsd::Saved;
use clap::{ArgMatches, Args as _, CommandFactory, FromArgMatches, Parser, Subcommand};

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 a wrong command line; run, run-prepared, start, attach, exec and build end as the app did, and with 125 \
                          to 127 where it was not started (jetpack run --help).";

/// Fetch App Container Images and run pods of them (appc 0.8.11).
#[derive(Parser)]
#[command(name = "jetpack", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options that every subcommand takes, before or after its name.
#[derive(clap::Args)]
#[command(next_help_heading = "Options of all commands")]
struct Global {
    /// Where images and pods are kept [default: as configured, see `jetpack config`]
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,
    /// The configuration, instead of the system's and the user's
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    insecure: insecure::Insecure,
    /// The host to work on: `model:freebsd` is FreeBSD as the project knows it, kept in a file under the root
    #[arg(long, global = true, value_name = "HOST", value_parser = ["model:freebsd"])]
    host: Option<String>,
    /// Tell each step of what is discovered and fetched, and the state of the model that --host names before and after
    #[arg(short, long, global = true)]
    verbose: bool,
    /// Show no progress; of lists UUIDs or IDs alone
    #[arg(short, long, global = true)]
    quiet: bool,
}

/// The commands by their names. What a command takes is made when somebody asks for it: all together are half a megabyte.
macro_rules! commands {
    ($($name:ident($args:ty) = $text:literal $([$($alias:literal),*])?,)*) => {
        enum Command {
            $($name($args),)*
        }

        impl Command {
            /// The command line as it is understood: the same commands, each made when it is met.
            fn lean(jetpack: clap::Command) -> clap::Command {
                jetpack$(.subcommand(
                    clap::Command::new($text)$(.visible_aliases([$($alias),*]))?.defer(<$args as clap::Args>::augment_args),
                ))*
            }

            fn name(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => $text,)*
                }
            }
        }

        impl Subcommand for Command {
            fn augment_subcommands(jetpack: clap::Command) -> clap::Command {
                jetpack$(.subcommand(
                    <$args as clap::Args>::augment_args(clap::Command::new($text)$(.visible_aliases([$($alias),*]))?),
                ))*
            }

            fn augment_subcommands_for_update(jetpack: clap::Command) -> clap::Command {
                Self::augment_subcommands(jetpack)
            }

            fn has_subcommand(name: &str) -> bool {
                [$($text),*].contains(&name)
            }
        }

        impl FromArgMatches for Command {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
                match matches.subcommand() {
                    $(Some(($text, given)) => <$args>::from_arg_matches(given).map(Self::$name),)*
                    _ => Err(clap::Error::new(clap::error::ErrorKind::MissingSubcommand)),
                }
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
                *self = Self::from_arg_matches(matches)?;
                Ok(())
            }
        }
    };
}

commands! {
    Attach(attach::Args) = "attach",
    Build(build::Args) = "build",
    CatManifest(cat_manifest::Args) = "cat-manifest",
    Commit(commit::Args) = "commit",
    Completions(manual::CompletionsArgs) = "completions",
    Config(config::Args) = "config",
    Cp(cp::Args) = "cp",
    Diff(diff::Args) = "diff",
    Doctor(doctor::Args) = "doctor",
    Events(events::Args) = "events",
    Exec(exec::Args) = "exec" ["enter", "console"],
    Export(export::Args) = "export",
    Fetch(fetch::Args) = "fetch",
    Gc(gc::Args) = "gc",
    Image(image::Args) = "image",
    Images(images::Args) = "images",
    Init(init::Args) = "init",
    Inspect(inspect::Args) = "inspect",
    Key(key::Args) = "key",
    Kill(kill::Args) = "kill",
    List(list::Args) = "list",
    Logs(logs::Args) = "logs",
    Man(manual::ManArgs) = "man",
    MetadataService(metadata_service::Args) = "metadata-service",
    Metrics(metrics::Args) = "metrics",
    Pause(pause::Args) = "pause",
    Plan(plan::Args) = "plan",
    Prepare(prepare::Args) = "prepare",
    Ps(ps::Args) = "ps",
    Push(Box<push::Args>) = "push",
    Rename(rename::Args) = "rename",
    Resume(pause::ResumeArgs) = "resume" ["unpause"],
    Rm(rm::Args) = "rm",
    Run(run::Args) = "run",
    RunPrepared(run_prepared::Args) = "run-prepared",
    Start(start::Args) = "start",
    Status(status::Args) = "status",
    Stop(stop::Args) = "stop",
    Top(ps::TopArgs) = "top" ["stats"],
    Trust(trust::Args) = "trust",
    Version(version::Args) = "version",
    Wait(wait::Args) = "wait",
}

fn main() -> ExitCode {
    manual::complete(complete::command);
    #[cfg(any(target_os = "linux", target_os = "freebsd"))]
    if let Some(words) = oci::called(&std::env::args_os().collect::<Vec<_>>()) {
        return oci::main(words);
    }
    let words = meant::volumes(std::env::args_os());
    if may_enter_pods(&words)
        && let Err(error) = appc::executor::local::run_apart()
    {
        return error::CommandError::from(error).before_start().report();
    }
    match understood(&words) {
        Ok(cli) => run(cli).unwrap_or_else(error::CommandError::report),
        Err(error) => meant::of_parser(error, Cli::command(), &words),
    }
}

/// Whether the command may be one that has this program, or a child of it, in reach of what runs in a pod. That a word only looks like one
/// costs a start, and no more.
fn may_enter_pods(words: &[OsString]) -> bool {
    const OTHERS: [&str; 6] = ["enter", "console", "cp", "export", "commit", "diff"];
    words.iter().filter_map(|word| word.to_str()).any(|word| meant::STARTING.contains(&word) || OTHERS.contains(&word))
}

/// What is wrong, or whatever help is asked for, is told by the whole of the commands.
fn understood(words: &[OsString]) -> Result<Cli, clap::Error> {
    let lean = Command::lean(Global::augment_args(clap::Command::new("jetpack"))).subcommand_required(true);
    match lean.try_get_matches_from(words) {
        Ok(matches) => Cli::from_arg_matches(&matches).or_else(|_| Cli::try_parse_from(words)),
        Err(_) => Cli::try_parse_from(words),
    }
}

fn run(cli: Cli) -> Result<ExitCode, error::CommandError> {
    appc::sys::signals::begin_afresh();
    if looks_after_others(cli.command.name()) {
        // For as long as a pod runs, this process is to be small.
        appc::sys::memory::share_heap();
    } else if cli.command.name() != "attach" {
        // Who is attached learns of the pod's end from its files.
        appc::sys::signals::end_at_broken_pipe();
    }
    if cli.global.quiet {
        reading::hide();
    }
    let mut context = context::Context::new(cli.global.root, cli.global.config.as_deref(), cli.global.insecure)?;
    if cli.global.host.is_some() {
        context.model = Some(context.root()?.join("model-freebsd.json"));
    }
    context.quiet = cli.global.quiet;
    context.network.verbose = cli.global.verbose;
    let shown = if cli.global.verbose { context.model.clone() } else { None };
    if let Some(file) = &shown {
        eprint!("before:\n{}", Saved::open(file)?.model.state());
    }
    let done = dispatch(cli.command, &context);
    if let Some(file) = &shown {
        eprint!("after:\n{}", Saved::open(file)?.model.state());
    }
    done
}

/// Whether a pod, or those who talk to this process, depend on its going on when nobody reads its output.
fn looks_after_others(command: &str) -> bool {
    meant::STARTING.contains(&command) || command == "metadata-service"
}

fn dispatch(command: Command, context: &context::Context) -> Result<ExitCode, error::CommandError> {
    match command {
        Command::Completions(args) => {
            manual::completions(&args, Cli::command().get_name())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Build(args) => build::run(args, context),
        Command::Commit(args) => commit::run(&args, context),
        Command::Diff(args) => diff::run(&args, context),
        Command::Config(args) => config::run(args, context),
        Command::Fetch(args) => fetch::run(args, context),
        Command::Gc(args) => gc::run(&args, context),
        Command::Image(args) => image::run(args, context),
        Command::Images(args) => images::run(args, context),
        Command::Key(args) => key::run(args, context),
        Command::List(args) => list::run(&args, context),
        Command::Man(args) => {
            manual::man(&args, Cli::command()).map(|()| ExitCode::SUCCESS).map_err(error::CommandError::failed)
        }
        Command::MetadataService(args) => metadata_service::run(args, context),
        Command::Metrics(args) => metrics::run(&args, context),
        Command::Rm(args) => rm::run(&args, context),
        Command::Run(args) => run::run(args, context),
        Command::Trust(args) => trust::run(&args, context),
        Command::CatManifest(args) => cat_manifest::run(&args, context),
        Command::Cp(args) => cp::run(&args, context),
        Command::Doctor(args) => doctor::run(&args, context),
        Command::Init(args) => init::run(&args, context),
        Command::Ps(args) => ps::run(&args, context),
        Command::Push(args) => push::run(&args, context),
        Command::Top(args) => ps::top(&args, context),
        Command::Exec(args) => exec::run(args, context),
        Command::Export(args) => export::run(&args, context),
        Command::Kill(args) => kill::run(&args, context),
        Command::Logs(args) => logs::run(&args, context),
        Command::Plan(args) => plan::run(&args, context),
        Command::Prepare(args) => prepare::run(&args, context),
        Command::RunPrepared(args) => run_prepared::run(args, context),
        Command::Status(args) => status::run(&args, context),
        Command::Stop(args) => stop::run(&args, context),
        Command::Attach(args) => attach::run(&args, context),
        Command::Events(args) => events::run(&args, context),
        Command::Inspect(args) => inspect::run(&args, context),
        Command::Pause(args) => pause::run(&args, context),
        Command::Resume(args) => pause::resume(&args, context),
        Command::Rename(args) => rename::run(&args, context),
        Command::Start(args) => start::run(args, context),
        Command::Version(args) => version::run(&args, context),
        Command::Wait(args) => wait::run(&args, context),
    }
}
