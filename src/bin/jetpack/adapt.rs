//! What the command line says about an app, applied to a pod manifest.

use std::path::Path;

use appc::diagnostic::{Diagnostic, Severity};
use appc::executor::plan::{Stdio, Stream};
use appc::id::Id;
use appc::schema::validate::isolator as isolator_of;
use appc::schema::{
    AbsPath, AcIdentifier, AcName, Annotation, Annotations, App, EnvName, Isolator, Mount, OctalMode, PodApp, Quantity,
    Volume, why_not,
};
use serde_json::{Map, Value, json};

use crate::error::CommandError;
use crate::options::ImageWords;

type Result<T> = std::result::Result<T, CommandError>;

/// A word that is not what an option takes: exit code 2.
pub fn wrong(option: &str, value: &str, why: impl std::fmt::Display) -> CommandError {
    CommandError::usage(format!("--{option} {value}: {why}"))
}

/// `a=b,c=d` as pairs.
pub fn pairs<'a>(option: &str, text: &'a str) -> Result<Vec<(&'a str, &'a str)>> {
    let pair =
        |part: &'a str| part.split_once('=').ok_or_else(|| wrong(option, text, format!("`{part}` is not KEY=VALUE")));
    text.split(',').map(pair).collect()
}

fn pair<'a>(option: &str, text: &'a str) -> Result<(&'a str, &'a str)> {
    text.split_once('=').ok_or_else(|| wrong(option, text, "it is not NAME=VALUE"))
}

/// Through the schema's own types, so that what the command line says is checked as a manifest is.
pub fn typed<T: serde::de::DeserializeOwned>(option: &str, text: &str, value: Value) -> Result<T> {
    serde_json::from_value(value).map_err(|error| wrong(option, text, error))
}

/// A part of an option's value, of the kind that a definition of the schemas describes.
pub fn word<T: std::str::FromStr>(option: &str, text: &str, definition: &str, part: &str) -> Result<T> {
    part.parse().map_err(|_| wrong(option, text, why_not(definition, part)))
}

fn id(option: &str, text: &str, part: &str) -> Result<u32> {
    part.parse().map(Id::get).map_err(|no| wrong(option, text, format!("`{part}` is none: {no}")))
}

/// Annotations `NAME=VALUE`, each name once.
pub fn annotations<'a>(option: &str, texts: impl Iterator<Item = &'a str>) -> Result<Vec<Annotation>> {
    let mut annotations: Vec<Annotation> = Vec::new();
    for text in texts {
        let (name, value) = pair(option, text)?;
        let name: AcIdentifier = word(option, text, "acIdentifier", name)?;
        let annotation: Annotation = typed(option, text, json!({"name": name, "value": value}))?;
        once(option, text, &annotation.name, annotations.iter().map(|other| &other.name))?;
        annotations.push(annotation);
    }
    Ok(annotations)
}

/// Refuses a name that was given before.
pub fn once<'a, T: PartialEq + 'a>(
    option: &str,
    text: &str,
    name: &T,
    mut before: impl Iterator<Item = &'a T>,
) -> Result<()> {
    if before.any(|other| other == name) { Err(wrong(option, text, "that name is given twice")) } else { Ok(()) }
}

/// Changes `app` as `words` say. `image_app` is what its image says.
pub fn adapt(app: &mut PodApp, image_app: Option<&App>, words: &ImageWords, arguments: &[String]) -> Result<()> {
    match words.last("readonly-rootfs") {
        None | Some("false") => {}
        Some("true") => app.read_only_root_fs = true,
        Some(other) => return Err(wrong("readonly-rootfs", other, "it is neither true nor false")),
    }
    for text in words.all("mount") {
        app.mounts.push(mount(text)?);
    }
    let annotations = annotations("annotation", words.all("annotation"))?;
    if !annotations.is_empty() {
        app.annotations = Some(Annotations(annotations));
    }
    let Some(mut own) = app.app.clone().or_else(|| image_app.cloned()) else { return Ok(()) };
    let before = own.clone();
    if let Some(program) = words.last("exec") {
        if program.is_empty() {
            return Err(wrong("exec", program, "it is empty"));
        }
        own.exec = vec![program.to_owned()];
    }
    if !arguments.is_empty() {
        if own.exec.is_empty() {
            own.exec = arguments.to_vec();
        } else {
            own.exec.truncate(1);
            own.exec.extend(arguments.iter().cloned());
        }
    }
    let user = words.last("user").map(|text| {
        let (user, group) = user_and_group(text);
        (text, user, group)
    });
    let group = words.last("group").map(|text| (text, text));
    let group = group.or_else(|| user.and_then(|(text, _, group)| Some((text, group?))));
    if let Some((text, user, _)) = user {
        own.user = user.parse().map_err(|_| wrong("user", text, "it is empty"))?;
    }
    if let Some((text, group)) = group {
        own.group = group.parse().map_err(|_| wrong("group", text, "it is empty"))?;
    }
    if let Some(text) = words.last("supplementary-gids") {
        let gids = text.split(',').filter(|gid| !gid.is_empty());
        own.supplementary_gids = gids.map(|gid| id("supplementary-gids", text, gid)).collect::<Result<_>>()?;
    }
    if let Some(text) = words.last("workdir") {
        own.working_directory = word("workdir", text, "absPath", text)?;
    }
    environment(&mut own, words)?;
    isolators(&mut own.isolators, words)?;
    if own != before {
        app.app = Some(own);
    }
    Ok(())
}

/// `USER:GROUP` says both, unless it is a path.
pub fn user_and_group(text: &str) -> (&str, Option<&str>) {
    match text.split_once(':') {
        Some((user, group)) if !text.starts_with('/') => (user, Some(group)),
        _ => (text, None),
    }
}

/// `NAME=VALUE`, or `NAME` with the value that it has here.
pub fn variable(option: &str, said: &str, text: &str) -> Result<(EnvName, String)> {
    let (name, value) = match text.split_once('=') {
        Some(pair) => (pair.0, pair.1.to_owned()),
        None => {
            let unset = || wrong(option, said, format!("`{text}` is not NAME=VALUE, and not set here"));
            (text, std::env::var(text).map_err(|_| unset())?)
        }
    };
    Ok((word(option, said, "envName", name)?, value))
}

fn environment(app: &mut App, words: &ImageWords) -> Result<()> {
    // `said` is what the user wrote, where `text` was found in it.
    let mut set = |option: &str, said: &str, text: &str| -> Result<()> {
        let (name, value) = variable(option, said, text)?;
        let variable: appc::schema::EnvironmentVariable = typed(option, said, json!({"name": name, "value": value}))?;
        app.environment.retain(|other| other.name != variable.name);
        app.environment.push(variable);
        Ok(())
    };
    for file in words.all("env-file") {
        let text = std::fs::read_to_string(file).map_err(|error| wrong("env-file", file, error))?;
        for (number, line) in text.lines().map(str::trim).enumerate() {
            if !line.is_empty() && !line.starts_with('#') {
                set("env-file", &format!("{file}:{}", number + 1), line)?;
            }
        }
    }
    words.all("env").try_for_each(|text| set("env", text, text))
}

fn isolators(list: &mut Vec<Isolator>, words: &ImageWords) -> Result<()> {
    let mut replace = |option: &str, text: &str, name: &str, value: Value, also: &[&str]| -> Result<()> {
        let isolator = json!({"name": name, "value": value}).to_string();
        let isolator = isolator_of(isolator.as_bytes()).map_err(|found| wrong(option, text, told(&found)))?;
        list.retain(|other| other.name() != name && !also.contains(&other.name()));
        list.push(isolator);
        Ok(())
    };
    const CAPABILITIES: [&str; 2] = ["os/linux/capabilities-retain-set", "os/linux/capabilities-remove-set"];
    const SECCOMP: [&str; 2] = ["os/linux/seccomp-retain-set", "os/linux/seccomp-remove-set"];
    if words.last("caps-retain").is_some()
        && let Some(text) = words.last("caps-remove")
    {
        return Err(wrong("caps-remove", text, "it cannot be used with --caps-retain"));
    }
    let mut filter = None;
    for (option, text) in &words.options {
        match *option {
            "memory" if text.ends_with('m') && text.trim_end_matches('m').parse::<f64>().is_ok() => {
                let number = text.trim_end_matches('m');
                let why = format!("m is a thousandth, here of a byte; `{number}M` or `{number}Mi` was probably meant");
                return Err(wrong(option, text, why));
            }
            "cpu" | "memory" => {
                let limit: Quantity = word(option, text, "quantity", text)?;
                replace(option, text, &format!("resource/{option}"), json!({"limit": limit}), &[])?;
            }
            "pids" => {
                let limit = text.parse().ok().filter(|limit| (1..=4_194_304).contains(limit));
                let limit: i64 = limit.ok_or_else(|| wrong(option, text, "it is no number from 1 to 4194304"))?;
                replace(option, text, "os/unix/max-processes", json!(limit), &[])?;
            }
            "caps-retain" | "caps-remove" => {
                let name = CAPABILITIES[usize::from(*option == "caps-remove")];
                let set: Vec<String> = text.split(',').filter(|word| !word.is_empty()).map(capability).collect();
                replace(option, text, name, json!({"set": set}), &CAPABILITIES)?;
            }
            "seccomp" => {
                let (name, value) = seccomp(text)?;
                if filter.replace(name).is_some_and(|other| other != name) {
                    return Err(wrong(option, text, "mode=retain and mode=remove cannot be used together"));
                }
                replace(option, text, SECCOMP[usize::from(name == "remove")], value, &SECCOMP)?;
            }
            "isolator" => {
                let (name, value) = pair(option, text)?;
                let _: AcIdentifier = word(option, text, "acIdentifier", name)?;
                let no_json =
                    |_| wrong(option, text, format!("`{value}` is not JSON, where a string stands in quotes"));
                let value = serde_json::from_str(value).map_err(no_json)?;
                replace(option, text, name, value, &[])?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The first error.
pub fn told(found: &[Diagnostic]) -> String {
    let Some(error) = found.iter().find(|found| found.severity == Severity::Error) else { return String::new() };
    let help = error.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
    format!("{} [{}]{help}", error.message, error.clause)
}

/// `chown` and `CAP_CHOWN` mean the same.
fn capability(word: &str) -> String {
    let upper = word.to_ascii_uppercase();
    if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") }
}

/// `mode=retain,errno=EPERM,set=read,write` or the set's words alone behind the mode.
fn seccomp(text: &str) -> Result<(&str, Value)> {
    let (mut mode, mut errno, mut set) = (None, None, Vec::new());
    for word in text.split(',').filter(|word| !word.is_empty()) {
        match word.split_once('=') {
            Some(("mode", value @ ("retain" | "remove"))) => mode = Some(value),
            Some(("errno", value)) => errno = Some(value),
            Some(("set", value)) => set.push(value),
            None => set.push(word),
            Some(_) => return Err(wrong("seccomp", text, format!("`{word}` is not known"))),
        }
    }
    let mode = mode.ok_or_else(|| wrong("seccomp", text, "mode=retain or mode=remove is missing"))?;
    let mut value = Map::new();
    value.insert("set".to_owned(), json!(set));
    if let Some(errno) = errno {
        value.insert("errno".to_owned(), json!(errno));
    }
    Ok((mode, Value::Object(value)))
}

fn mount(text: &str) -> Result<Mount> {
    let mut value = Map::new();
    for (key, part) in pairs("mount", text)? {
        match key {
            "volume" => value.insert("volume".to_owned(), json!(word::<AcName>("mount", text, "acName", part)?)),
            "target" | "path" => {
                value.insert("path".to_owned(), json!(word::<AbsPath>("mount", text, "absPath", part)?))
            }
            _ => return Err(wrong("mount", text, format!("`{key}` is neither volume nor target"))),
        };
    }
    for (key, what) in [("volume", "volume=NAME"), ("path", "target=PATH")] {
        if !value.contains_key(key) {
            return Err(wrong("mount", text, format!("{what} is missing")));
        }
    }
    typed("mount", text, Value::Object(value))
}

/// `NAME,kind=empty|host,source=PATH,readOnly=BOOL,recursive=BOOL,mode=MODE,uid=N,gid=N`.
pub fn volume(text: &str) -> Result<Volume> {
    let (name, rest) = text.split_once(',').unwrap_or((text, ""));
    let mut value = Map::new();
    value.insert("name".to_owned(), json!(word::<AcName>("volume", text, "acName", name)?));
    for (key, part) in if rest.is_empty() { Vec::new() } else { pairs("volume", rest)? } {
        let part = match (key, part) {
            ("readOnly" | "recursive", "true" | "false") => json!(part == "true"),
            ("readOnly" | "recursive", _) => {
                return Err(wrong("volume", text, format!("`{part}` is neither true nor false")));
            }
            ("uid" | "gid", _) => json!(id("volume", text, part)?),
            ("source", "") => return Err(wrong("volume", text, "the source is empty")),
            ("source", _) => json!(word::<AbsPath>("volume", text, "absPath", &absolute(part)?)?),
            ("mode", _) => json!(word::<OctalMode>("volume", text, "octalMode", part)?),
            ("kind", "empty" | "host") => json!(part),
            ("kind", _) => return Err(wrong("volume", text, format!("`{part}` is neither empty nor host"))),
            _ => return Err(wrong("volume", text, format!("`{key}` is not known"))),
        };
        value.insert(key.to_owned(), part);
    }
    if !value.contains_key("kind") {
        let kind = if value.contains_key("source") { "host" } else { "empty" };
        value.insert("kind".to_owned(), json!(kind));
    }
    if value["kind"] == "host" && !value.contains_key("source") {
        return Err(wrong("volume", text, "a host volume needs a source"));
    }
    if value["kind"] == "empty" && value.contains_key("source") {
        return Err(wrong("volume", text, "an empty volume has no source; one of kind=host has"));
    }
    let idle: &[&str] = if value["kind"] == "host" { &["mode", "uid", "gid"] } else { &["recursive"] };
    for key in idle.iter().filter(|key| value.contains_key(**key)) {
        eprintln!("jetpack: warning: --volume {text}: `{key}` means nothing for a volume of kind {}", value["kind"]);
    }
    typed("volume", text, Value::Object(value))
}

/// Seen from where we stand, no link resolved: a link on the way is for the executor to refuse.
pub fn absolute(path: &str) -> Result<String> {
    let absolute = std::path::absolute(Path::new(path)).map_err(|error| wrong("volume", path, error))?;
    Ok(absolute.to_string_lossy().into_owned())
}

/// The standard streams of an app. `base` holds where nothing is said.
pub fn stdio(words: &ImageWords, base: Stdio) -> Result<Stdio> {
    let stream = |option: &str, base: Stream, output: bool| match words.last(option) {
        None => Ok(base),
        Some("null") => Ok(Stream::Null),
        Some("tty") => Ok(Stream::Tty),
        Some("stream" | "inherit") => Ok(Stream::Stream),
        Some("log") if output => Ok(Stream::Log),
        Some(text) => {
            let log = if output { ", log" } else { "" };
            Err(wrong(option, text, format!("it is not one of null, tty, stream{log}")))
        }
    };
    Ok(Stdio {
        stdin: stream("stdin", base.stdin, false)?,
        stdout: stream("stdout", base.stdout, true)?,
        stderr: stream("stderr", base.stderr, true)?,
    })
}
