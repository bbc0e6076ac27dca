//! Command lines that are nearly right: what was probably meant.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::error::{BEFORE_START, USAGE};

/// The commands that end as apps do, and so have other codes of their own.
pub const STARTING: [&str; 6] = ["run", "run-prepared", "start", "exec", "attach", "build"];

/// The commands that make pods.
const MAKING: [&str; 3] = ["run", "prepare", "plan"];
const EXEC: [&str; 1] = ["exec"];

/// Options that other programs have, of which commands, and how the same is said here.
const OTHERS: [(&[&str], &[&str], &str); 14] = [
    (&MAKING, &["--publish"], "--port NAME=[IP:]HOSTPORT makes the port NAME of an app reachable"),
    (&MAKING, &["--working-dir"], "--workdir DIR is the working directory"),
    (&MAKING, &["-m"], "--memory BYTES limits memory, as 256M"),
    (&MAKING, &["-d"], "`jetpack run -d` leaves a pod running"),
    (&MAKING, &["-h"], "--hostname NAME is the pod's host name"),
    (&MAKING, &["--cpus"], "--cpu CORES limits processor time, as 500m"),
    (&MAKING, &["--network"], "--net NETWORK names networks"),
    (&MAKING, &["--cap-add"], "--caps-retain CAP,... is the whole set of capabilities"),
    (&MAKING, &["--cap-drop"], "--caps-remove CAP,... takes capabilities from the default set"),
    (&MAKING, &["--read-only"], "--readonly-rootfs makes the root file system read-only"),
    (&MAKING, &["--add-host"], "--hosts-entry IP=NAME adds a line to /etc/hosts"),
    (&EXEC, &["--app"], "one app of several is POD:APP"),
    (&["stop"], &["-t"], "--time TIME says how long apps may take, as 10s"),
    (&["list"], &["-a", "--all"], "all pods are listed, whatever their state"),
];

/// `-v HOST:PATH` behind a command that makes pods is the volume that fingers mean by it; else -v is --verbose.
pub fn volumes(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = words.into_iter().collect();
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let making = words.iter().position(|word| MAKING.iter().any(|command| word == command)).unwrap_or(end);
    for place in making..end.saturating_sub(1) {
        let volume = words[place + 1].to_str().is_some_and(crate::familiar::is_volume);
        if words[place] == "-v" && volume {
            words[place] = "--volume".into();
        }
    }
    words
}

/// What the parser has to say about a command line: help, or a mistake.
pub fn of_parser(mut error: clap::Error, jetpack: Command, words: &[OsString]) -> ExitCode {
    // As far as it is understood.
    let matches = jetpack.ignore_errors(true).try_get_matches_from(words).ok();
    let command = matches.as_ref().and_then(clap::ArgMatches::subcommand_name).unwrap_or_default();
    if let Some(tip) = tip(&error, command, words) {
        error.remove(ContextKind::SuggestedArg);
        error.remove(ContextKind::TrailingArg);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    let _ = error.print();
    match u8::try_from(error.exit_code()).unwrap_or(USAGE) {
        USAGE if STARTING.contains(&command) => ExitCode::from(BEFORE_START),
        code => ExitCode::from(code),
    }
}

fn tip(error: &clap::Error, command: &str, words: &[OsString]) -> Option<String> {
    let Some(ContextValue::String(given)) = error.get(ContextKind::InvalidArg) else {
        let keys = command == "trust" && error.kind() == ErrorKind::MissingRequiredArgument;
        let root = words.iter().any(|word| word == "--root");
        return (keys && root).then(|| {
            "--root names the directory of images and pods; --all-names trusts a key for all names".to_owned()
        });
    };
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let fits = |(commands, options, _): &&(&[&str], &[&str], &str)| {
        commands.contains(&command) && options.contains(&given.as_str())
    };
    OTHERS.iter().find(fits).map(|(.., how)| (*how).to_owned())
}

/// What a word may be that was taken for an image: the `first` one, or one behind others.
pub fn by_image(word: &str, first: bool) -> Option<String> {
    let path = Path::new(word);
    if path.join("manifest").is_file() {
        return Some(format!("{word} is an image layout: `actool build {word} IMAGE.aci` makes an image of it"));
    }
    if let Some((source, target)) = word.split_once(':').filter(|_| !path.exists())
        && source.starts_with(['/', '.'])
        && target.starts_with('/')
    {
        return Some(format!("--volume {word} gives the only app a directory of the host"));
    }
    let program =
        !first && !word.ends_with(".aci") && !word.contains("://") && (path.is_absolute() || !word.contains('.'));
    program.then(|| {
        format!("--exec {word} before the image runs that program; arguments for the image's own stand behind `--`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v_before_a_volume_means_it_and_is_verbose_elsewhere() {
        let read = |line: &str| volumes(line.split(' ').map(OsString::from)).join(std::ffi::OsStr::new(" "));
        assert_eq!(read("jetpack run -v /srv:/data a.aci"), "jetpack run --volume /srv:/data a.aci");
        assert_eq!(read("jetpack plan a.aci -v cache:/c:ro"), "jetpack plan a.aci --volume cache:/c:ro");
        for same in [
            "jetpack run -v docker://nginx",
            "jetpack run a -- -v /a:/b",
            "jetpack -v run a",
            "jetpack exec p -v /a:/b",
        ] {
            assert_eq!(read(same), same);
        }
    }
}
