//! Findings as SARIF 2.1.0, as code scanning services take them.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::{Diagnostic, FileReport, FileType, Severity, visible};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// Writes one run with all findings, and a newline. `describe` says what a clause demands.
pub fn write(out: &mut dyn Write, files: &[FileReport], describe: impl Fn(&str) -> Option<String>) -> io::Result<()> {
    // Rules in the order of their names, each once.
    let mut rules: BTreeMap<&str, usize> = BTreeMap::new();
    for diagnostic in files.iter().flat_map(|file| &file.diagnostics) {
        rules.insert(&diagnostic.clause, 0);
    }
    for (index, place) in rules.values_mut().enumerate() {
        *place = index;
    }
    let described: Vec<Value> = rules
        .keys()
        .map(|id| {
            let text = describe(id).unwrap_or_else(|| (*id).to_owned());
            json!({
                "id": id,
                "name": id,
                "shortDescription": { "text": text },
                "fullDescription": { "text": text },
                "help": { "text": format!("actool explain {id}") },
                "defaultConfiguration": { "level": "error" },
            })
        })
        .collect();
    let found = files.iter().flat_map(|file| file.diagnostics.iter().map(move |diagnostic| (file, diagnostic)));
    let log = Log {
        schema: SCHEMA,
        version: "2.1.0",
        runs: [Run {
            tool: json!({ "driver": {
                "name": "actool",
                "version": env!("CARGO_PKG_VERSION"),
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "informationUri": "https://github.com/appc/spec",
                "rules": described,
            } }),
            column_kind: "unicodeCodePoints",
            results: Results(
                found.map(|(file, diagnostic)| result(file, diagnostic, rules[diagnostic.clause.as_ref()])),
            ),
        }],
    };
    visible::write_json(out, &log)
}

#[derive(Serialize)]
struct Log<R: Serialize> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run<R>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run<R: Serialize> {
    tool: Value,
    column_kind: &'static str,
    results: R,
}

/// Results that are made while they are written: a document may have a million faults.
struct Results<I>(I);

impl<I: Iterator<Item = Value> + Clone> Serialize for Results<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.clone())
    }
}

fn result(file: &FileReport, diagnostic: &Diagnostic, rule: usize) -> Value {
    let place = &diagnostic.place;
    let level = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let mut message = diagnostic.message.clone();
    if let Some(help) = &diagnostic.help {
        message.push_str(&format!(" ({help})"));
    }
    let mut uri = if file.path == "-" { "stdin".to_owned() } else { uri(&file.path) };
    let mut region = json!({ "startLine": 1 });
    let lined = place.line.zip(place.column);
    // A line of a manifest within an archive is no line of the archive: it goes into the message.
    if file.file_type == FileType::Image {
        if let Some(entry) = &place.entry {
            let at = lined.map(|(line, column)| format!(":{line}:{column}")).unwrap_or_default();
            message.push_str(&format!(" [{entry}{at}]"));
        }
    } else {
        if let (FileType::Layout, Some(entry)) = (file.file_type, &place.entry) {
            uri = format!("{}/{}", uri.trim_end_matches('/'), self::uri(entry));
        }
        if let Some((line, column)) = lined {
            let end = column.saturating_add(place.length.unwrap_or(1));
            region = json!({ "startLine": line, "startColumn": column, "endColumn": end });
        }
    }
    let mut location = json!({ "physicalLocation": { "artifactLocation": { "uri": uri }, "region": region } });
    if let Some(pointer) = &place.pointer {
        location["logicalLocations"] = json!([{ "fullyQualifiedName": pointer, "kind": "value" }]);
    }
    // What stays the same when lines move: where in the document which clause is broken.
    let lasting = format!(
        "{}:{}:{}",
        diagnostic.clause,
        place.entry.as_deref().unwrap_or_default(),
        place.pointer.as_deref().unwrap_or_default()
    );
    json!({
        "ruleId": diagnostic.clause,
        "ruleIndex": rule,
        "level": level,
        "message": { "text": message },
        "locations": [location],
        "partialFingerprints": { "clauseAndPlace/v1": lasting },
    })
}

/// A path as a URI reference: what such a one cannot hold is percent-encoded.
fn uri(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    if path.starts_with('/') {
        out.push_str("file://");
    }
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
