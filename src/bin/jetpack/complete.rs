//! What a shell may complete a word of jetpack's command line to: pods, images, signals.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::{Arg, Command, CommandFactory};
use clap_complete::engine::{
    ArgValueCandidates, ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter,
};

use crate::Cli;
use crate::context::Context;
use crate::insecure::Insecure;

/// The commands, with what their arguments can be.
pub fn command() -> Command {
    known(Cli::command())
}

fn known(command: Command) -> Command {
    let copies = command.get_name() == "cp";
    command.mut_args(|argument| with_values(argument, copies)).mut_subcommands(known)
}

/// An argument is what its name says, in every command.
fn with_values(argument: Arg, copies: bool) -> Arg {
    match argument.get_id().as_str() {
        "pod" | "pods" => argument.add(ArgValueCandidates::new(pods)),
        "image" | "images" => argument.add(ArgValueCompleter::new(images)),
        "signal" => argument.add(ArgValueCandidates::new(signals)),
        "source" | "target" if copies => argument.add(ArgValueCompleter::new(places)),
        _ => argument,
    }
}

/// What holds for the command line that is being completed.
fn context() -> Option<Context> {
    // The words stand behind `--`.
    let words: Vec<OsString> = std::env::args_os().skip_while(|word| word != "--").skip(1).collect();
    let matches = Cli::command().ignore_errors(true).try_get_matches_from(words).ok()?;
    let path = |name: &str| matches.try_get_one::<PathBuf>(name).ok().flatten().cloned();
    Context::new(path("root"), path("config").as_deref(), Insecure::default()).ok()
}

fn names() -> Vec<String> {
    let pods = context().and_then(|context| context.pods().ok()?.list().ok()).unwrap_or_default();
    pods.iter().map(|pod| pod.given_name().unwrap_or_else(|| pod.uuid().to_string())).collect()
}

fn pods() -> Vec<CompletionCandidate> {
    names().into_iter().map(CompletionCandidate::new).collect()
}

fn images(begun: &OsStr) -> Vec<CompletionCandidate> {
    let begun_text = begun.to_string_lossy();
    let there = || -> Option<Vec<CompletionCandidate>> {
        let context = context()?;
        // Completing makes no store.
        if !context.root().ok()?.exists() {
            return None;
        }
        let images = context.store().ok()?.list().ok()?;
        let titles = images.iter().map(crate::images::title).filter(|title| title.starts_with(&*begun_text));
        Some(titles.map(CompletionCandidate::new).collect())
    };
    let mut found = there().unwrap_or_default();
    found.extend(PathCompleter::any().complete(begun));
    found
}

/// Paths here, and pods with a colon behind.
fn places(begun: &OsStr) -> Vec<CompletionCandidate> {
    let begun_text = begun.to_string_lossy();
    let pods = names().into_iter().filter(|name| name.starts_with(&*begun_text));
    let mut found: Vec<_> = pods.map(|name| CompletionCandidate::new(format!("{name}:"))).collect();
    found.extend(PathCompleter::any().complete(begun));
    found
}

fn signals() -> Vec<CompletionCandidate> {
    appc::sys::signals::NAMES.iter().map(|(name, _)| CompletionCandidate::new(*name)).collect()
}
