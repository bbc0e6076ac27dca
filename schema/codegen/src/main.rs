//! Writes `src/schema/generated.rs` from the JSON Schemas under `schema/`.
//!
//! ```text
//! cargo run -p schema-codegen               write it
//! cargo run -p schema-codegen -- --check    fail when what is there differs
//! ```

use std::path::Path;
use std::process::ExitCode;

use serde_json::{Map, Value};
use typify::{TypeSpace, TypeSpaceImpl, TypeSpaceSettings};

const FILES: [&str; 4] = ["types.json", "isolators.json", "image-manifest.json", "pod-manifest.json"];

/// Definitions whose types are written by hand: the generator cannot say what they are.
const BY_HAND: [(&str, &str); 2] =
    [("Isolator", "crate::schema::isolator::Isolator"), ("Quantity", "crate::schema::quantity::Quantity")];

/// Definitions that are plain values in Rust, within the isolator that has them.
const NO_TYPE: [&str; 5] = ["noNewPrivileges", "oomScoreAdj", "cpuShares", "maxProcesses", "oomGroup"];

const HEAD: &str = "\
// Generated from the JSON Schemas under `schema/` by `cargo run -p schema-codegen`. Do not edit.
";

type Failed = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let check = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => {
            eprintln!("usage: schema-codegen [--check]");
            return ExitCode::from(2);
        }
    };
    match run(check) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("schema-codegen: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(check: bool) -> Result<ExitCode, Failed> {
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = schemas.join("../src/schema/generated.rs");
    let code = generate(&schemas)?;
    if !check {
        std::fs::write(&target, code)?;
        return Ok(ExitCode::SUCCESS);
    }
    if std::fs::read_to_string(&target).unwrap_or_default() == code {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("schema-codegen: src/schema/generated.rs is stale: run `cargo run -p schema-codegen`");
    Ok(ExitCode::FAILURE)
}

/// The Rust source of the types in the schemas of a directory.
fn generate(schemas: &Path) -> Result<String, Failed> {
    let root: schemars::schema::RootSchema = serde_json::from_value(bundle(schemas)?)?;
    let mut settings = TypeSpaceSettings::default();
    settings.with_derive("PartialEq".into()).with_derive("Eq".into()).with_map_type("::std::collections::BTreeMap");
    for (name, rust) in BY_HAND {
        settings.with_replacement(name, rust, std::iter::empty::<TypeSpaceImpl>());
    }
    let mut types = TypeSpace::new(&settings);
    types.add_root_schema(root)?;
    let code = prettyplease::unparse(&syn::parse2(types.to_stream())?);
    // The generator takes the plural of an abbreviation for two words.
    Ok(format!("{HEAD}{}", plain_first(&code.replace("supplementary_gi_ds", "supplementary_gids"))))
}

/// Asks the plain check before the regular expression: compiling and running those is most of the cost of reading a manifest.
fn plain_first(code: &str) -> String {
    let mut definition = String::new();
    let mut out = String::with_capacity(code.len());
    for line in code.lines() {
        if let Some(name) = line.strip_prefix("impl ::std::str::FromStr for ").and_then(|rest| rest.strip_suffix(" {"))
        {
            definition = name[..1].to_lowercase() + &name[1..];
        }
        let asks = "if PATTERN.find(value).is_none() {";
        let plain = format!(
            "if !crate::schema::text::fits_plainly(\"{definition}\", value) && PATTERN.find(value).is_none() {{"
        );
        out.push_str(&line.replace(asks, &plain));
        out.push('\n');
    }
    out
}

/// All definitions in one document of the draft that the generator reads: it takes one document at a time.
fn bundle(schemas: &Path) -> Result<Value, Failed> {
    let mut definitions = Map::new();
    for file in FILES {
        let text = std::fs::read_to_string(schemas.join(file)).map_err(|error| format!("{file}: {error}"))?;
        let schema: Value = serde_json::from_str(&text).map_err(|error| format!("{file}: {error}"))?;
        let definitions_here = schema["$defs"].as_object().into_iter().flatten();
        for (name, definition) in definitions_here.filter(|(name, _)| !NO_TYPE.contains(&name.as_str())) {
            if definitions.insert(name.clone(), plain(definition)).is_some() {
                return Err(format!("{file}: {name} is defined twice").into());
            }
        }
    }
    Ok(serde_json::json!({ "$schema": "http://json-schema.org/draft-07/schema#", "definitions": definitions }))
}

/// A definition without what the generator cannot use: annotations of ours, conditions, constants beside a type;
/// references point into the one document.
fn plain(schema: &Value) -> Value {
    match schema {
        Value::Object(members) => Value::Object(
            members
                .iter()
                .filter(|(key, _)| !key.starts_with("x-") && *key != "allOf" && *key != "not")
                .filter(|(key, _)| !(*key == "const" && members.contains_key("type")))
                .map(|(key, value)| match (key.as_str(), value) {
                    ("$ref", Value::String(target)) => {
                        let name = target.rsplit('/').next().unwrap_or_default();
                        (key.clone(), Value::String(format!("#/definitions/{name}")))
                    }
                    _ => (key.clone(), plain(value)),
                })
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(plain).collect()),
        other => other.clone(),
    }
}
