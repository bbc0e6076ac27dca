//! What the command line of both programs says about changes of a manifest.

use appc::schema::patch::{Edit, List};
use serde_json::{Map, Value, json};

use crate::error::CommandError;

const CAPABILITIES: &[&str] = &["os/linux/capabilities-remove-set", "os/linux/capabilities-retain-set"];
const SECCOMP: &[&str] = &["os/linux/seccomp-remove-set", "os/linux/seccomp-retain-set"];

/// Options that change a manifest.
#[derive(clap::Args)]
pub struct Edits {
    /// The image's name
    #[arg(long)]
    name: Option<String>,
    /// The command line, words separated by spaces
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    exec: Option<String>,
    /// Whom the app runs as
    #[arg(long)]
    user: Option<String>,
    /// The group the app runs as
    #[arg(long)]
    group: Option<String>,
    /// Further groups, separated by commas
    #[arg(long, value_name = "GIDS")]
    supplementary_groups: Option<String>,
    /// The only capabilities left, separated by commas
    #[arg(long, value_name = "CAPS", conflicts_with = "revoke_capability")]
    capability: Option<String>,
    /// Capabilities taken away, separated by commas
    #[arg(long, value_name = "CAPS")]
    revoke_capability: Option<String>,
    /// Mount points: work,path=/opt,readOnly=true:work2,...
    #[arg(long, value_name = "LIST")]
    mounts: Option<String>,
    /// Ports: query,protocol=tcp,port=8080:query2,...
    #[arg(long, value_name = "LIST")]
    ports: Option<String>,
    /// Isolators: resource/cpu,request=50m,limit=100m:resource/memory,...
    #[arg(long, value_name = "LIST")]
    isolators: Option<String>,
    /// remove or retain, with ,errno=CODE
    #[arg(long, value_name = "MODE", requires = "seccomp_set")]
    seccomp_mode: Option<String>,
    /// System calls, separated by commas
    #[arg(long, value_name = "CALLS", requires = "seccomp_mode")]
    seccomp_set: Option<String>,
    /// A label
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// An annotation
    #[arg(long, value_name = "NAME=VALUE")]
    annotation: Vec<String>,
    /// An environment variable
    #[arg(long, value_name = "NAME=VALUE")]
    environment: Vec<String>,
    /// A dependency: NAME[,imageID=ID][,size=N][,label.N=V]...
    #[arg(long, value_name = "SPEC")]
    dependency: Vec<String>,
    /// A path of the whitelist
    #[arg(long, value_name = "PATH")]
    path_whitelist: Vec<String>,
    /// Take a label away
    #[arg(long, value_name = "NAME")]
    remove_label: Vec<String>,
    /// Take an annotation away
    #[arg(long, value_name = "NAME")]
    remove_annotation: Vec<String>,
    /// Take an environment variable away
    #[arg(long, value_name = "NAME")]
    remove_environment: Vec<String>,
    /// Take a dependency away
    #[arg(long, value_name = "NAME")]
    remove_dependency: Vec<String>,
    /// Take a path of the whitelist away
    #[arg(long, value_name = "PATH")]
    remove_path_whitelist: Vec<String>,
    /// Take an isolator away
    #[arg(long, value_name = "NAME")]
    remove_isolator: Vec<String>,
}

impl Edits {
    /// All changes that the options ask for: what is taken away first, so that it can be put again.
    pub fn edits(&self) -> Result<Vec<Edit>, CommandError> {
        edits(self)
    }
}

fn edits(args: &Edits) -> Result<Vec<Edit>, CommandError> {
    let mut edits = Vec::new();
    let texts = [("name", &args.name)];
    edits.extend(texts.into_iter().filter_map(|(key, text)| Some(Edit::Set(key, json!(text.as_ref()?)))));
    if let Some(exec) = &args.exec {
        edits.push(Edit::SetApp("exec", exec.split(' ').filter(|word| !word.is_empty()).collect()));
    }
    let texts = [("user", &args.user), ("group", &args.group)];
    edits.extend(texts.into_iter().filter_map(|(key, text)| Some(Edit::SetApp(key, json!(text.as_ref()?)))));
    if let Some(groups) = &args.supplementary_groups {
        let number =
            |text: &str| text.trim().parse::<u32>().map_err(|_| wrong("--supplementary-groups", text, "no group id"));
        let groups: Vec<u32> = groups.split(',').map(number).collect::<Result<_, _>>()?;
        edits.push(Edit::SetApp("supplementaryGIDs", json!(groups)));
    }
    removals(args, &mut edits);

    for (option, list, words) in [
        ("--label", List::Labels, &args.label),
        ("--annotation", List::Annotations, &args.annotation),
        ("--environment", List::Environment, &args.environment),
    ] {
        for word in words {
            let (name, value) = word.split_once('=').ok_or_else(|| wrong(option, word, "not NAME=VALUE"))?;
            edits.push(Edit::Put(list, json!({"name": name, "value": value})));
        }
    }
    for word in &args.dependency {
        edits.push(Edit::Put(List::Dependencies, dependency(word)?));
    }
    edits.extend(args.path_whitelist.iter().map(|path| Edit::Put(List::PathWhitelist, json!(path))));
    for item in items(args.mounts.as_deref()) {
        edits.push(Edit::Put(List::MountPoints, mount_point(item)?));
    }
    for item in items(args.ports.as_deref()) {
        edits.push(Edit::Put(List::Ports, port(item)?));
    }
    for item in items(args.isolators.as_deref()) {
        edits.push(Edit::Put(List::Isolators, isolator(item)?));
    }
    for (name, set) in [(CAPABILITIES[1], &args.capability), (CAPABILITIES[0], &args.revoke_capability)] {
        if let Some(set) = set {
            edits.push(Edit::Clear(CAPABILITIES));
            edits.push(Edit::Put(List::Isolators, json!({"name": name, "value": {"set": words(set)}})));
        }
    }
    if let (Some(mode), Some(set)) = (&args.seccomp_mode, &args.seccomp_set) {
        edits.push(Edit::Clear(SECCOMP));
        edits.push(Edit::Put(List::Isolators, seccomp(mode, set)?));
    }
    Ok(edits)
}

fn removals(args: &Edits, edits: &mut Vec<Edit>) {
    for (list, names) in [
        (List::Labels, &args.remove_label),
        (List::Annotations, &args.remove_annotation),
        (List::Environment, &args.remove_environment),
        (List::Dependencies, &args.remove_dependency),
        (List::PathWhitelist, &args.remove_path_whitelist),
        (List::Isolators, &args.remove_isolator),
    ] {
        edits.extend(names.iter().map(|name| Edit::Remove(list, name.clone())));
    }
}

fn wrong(option: &str, word: &str, why: &str) -> CommandError {
    CommandError::usage(format!("{option}: `{word}` is {why}"))
}

fn words(list: &str) -> Vec<&str> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty()).collect()
}

fn items(list: Option<&str>) -> impl Iterator<Item = &str> {
    list.into_iter().flat_map(|list| list.split(':')).filter(|item| !item.is_empty())
}

/// The first part, and the keys and values after it.
type Parts<'w> = (&'w str, Vec<(&'w str, &'w str)>);

/// `NAME,key=value,...`: the name and the pairs.
fn parts<'w>(option: &str, word: &'w str) -> Result<Parts<'w>, CommandError> {
    let mut parts = word.split(',');
    let name = parts.next().unwrap_or_default();
    let pairs = parts.map(|part| part.split_once('=').ok_or_else(|| wrong(option, part, "not KEY=VALUE")));
    Ok((name, pairs.collect::<Result<_, _>>()?))
}

fn number(option: &str, text: &str) -> Result<Value, CommandError> {
    text.parse::<u64>().map(Value::from).map_err(|_| wrong(option, text, "no number"))
}

fn flag(option: &str, text: &str) -> Result<Value, CommandError> {
    text.parse::<bool>().map(Value::from).map_err(|_| wrong(option, text, "neither `true` nor `false`"))
}

fn dependency(word: &str) -> Result<Value, CommandError> {
    const OPTION: &str = "--dependency";
    let (name, pairs) = parts(OPTION, word)?;
    let mut item = Map::from_iter([("imageName".to_owned(), json!(name))]);
    let mut labels = Vec::new();
    for (key, value) in pairs {
        match key {
            "imageID" => drop(item.insert(key.to_owned(), json!(value))),
            "size" => drop(item.insert(key.to_owned(), number(OPTION, value)?)),
            _ => match key.strip_prefix("label.") {
                Some(label) => labels.push(json!({"name": label, "value": value})),
                None => return Err(wrong(OPTION, key, "none of imageID, size, label.NAME")),
            },
        }
    }
    if !labels.is_empty() {
        item.insert("labels".to_owned(), Value::Array(labels));
    }
    Ok(Value::Object(item))
}

fn mount_point(word: &str) -> Result<Value, CommandError> {
    const OPTION: &str = "--mounts";
    let (name, pairs) = parts(OPTION, word)?;
    let mut item = Map::from_iter([("name".to_owned(), json!(name))]);
    for (key, value) in pairs {
        let value = match key {
            "path" => json!(value),
            "readOnly" => flag(OPTION, value)?,
            _ => return Err(wrong(OPTION, key, "none of path, readOnly")),
        };
        item.insert(key.to_owned(), value);
    }
    Ok(Value::Object(item))
}

fn port(word: &str) -> Result<Value, CommandError> {
    const OPTION: &str = "--ports";
    let (name, pairs) = parts(OPTION, word)?;
    let mut item = Map::from_iter([("name".to_owned(), json!(name))]);
    for (key, value) in pairs {
        let value = match key {
            "protocol" => json!(value),
            "port" | "count" => number(OPTION, value)?,
            "socketActivated" => flag(OPTION, value)?,
            _ => return Err(wrong(OPTION, key, "none of protocol, port, count, socketActivated")),
        };
        item.insert(key.to_owned(), value);
    }
    Ok(Value::Object(item))
}

/// `NAME,key=value,...` or, where the isolator's value is no object, `NAME,VALUE`.
fn isolator(word: &str) -> Result<Value, CommandError> {
    const OPTION: &str = "--isolators";
    if let Some((name, bare)) = word.split_once(',').filter(|(_, rest)| !rest.contains('=')) {
        let value: Value =
            serde_json::from_str(bare).map_err(|_| wrong(OPTION, bare, "not KEY=VALUE and no JSON value"))?;
        return Ok(json!({"name": name, "value": value}));
    }
    let (name, pairs) = parts(OPTION, word)?;
    if SECCOMP.contains(&name) || CAPABILITIES.contains(&name) {
        return Err(wrong(OPTION, name, "set by its own options: --seccomp-mode, --capability, --revoke-capability"));
    }
    let value: Map<String, Value> = pairs
        .into_iter()
        .map(|(key, text)| {
            let value = match (key, text) {
                ("default", "true" | "false") => json!(text == "true"),
                _ => json!(text),
            };
            (key.to_owned(), value)
        })
        .collect();
    Ok(json!({"name": name, "value": value}))
}

fn seccomp(mode: &str, set: &str) -> Result<Value, CommandError> {
    const OPTION: &str = "--seccomp-mode";
    let (mode, pairs) = parts(OPTION, mode)?;
    let name = match mode {
        "remove" => SECCOMP[0],
        "retain" => SECCOMP[1],
        _ => return Err(wrong(OPTION, mode, "neither `remove` nor `retain`")),
    };
    let mut value = json!({"set": words(set)});
    for (key, code) in pairs {
        if key != "errno" {
            return Err(wrong(OPTION, key, "not errno"));
        }
        value["errno"] = json!(code);
    }
    Ok(json!({"name": name, "value": value}))
}
