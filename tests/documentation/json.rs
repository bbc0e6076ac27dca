//! What the programs print as JSON is what `docs/json.md` says.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::Value;

use super::pages::root;
use super::{Ended, runs_pods, scene};
use crate::signify::{SIGNIFY_PUBLIC, SIGNIFY_SECRET};
use crate::support::transcript::Scene;

/// What is quoted from elsewhere, or has names that are data.
const QUOTED: [&str; 8] = ["labels", "annotations", "dependencies", "app", "manifest", "plan", "steps", "networks"];

/// The words of the rows that are about a document, and of those that these name.
fn described(document: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join("docs/json.md")).expect("docs/json.md");
    let rows: Vec<(&str, &str)> = text.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | ")).collect();
    let named = Regex::new(r"`((?:actool|jetpack) [a-z -]+)`").expect("a pattern");
    let word = Regex::new(r#"[`"]([a-zA-Z_]+)(?:\[\])*\??["`]"#).expect("a pattern");
    let mut words = BTreeSet::new();
    let mut wanted = vec![document.to_owned()];
    let mut seen = BTreeSet::new();
    while let Some(wanted_one) = wanted.pop().filter(|one| seen.insert(one.clone())) {
        let of_it =
            |(title, _): &&(&str, &str)| title.contains(&format!("`{wanted_one}`")) || title.starts_with(&wanted_one);
        for (_, about) in rows.iter().filter(of_it) {
            words.extend(word.captures_iter(about).map(|found| found[1].to_owned()));
            wanted.extend(named.captures_iter(about).map(|found| found[1].to_owned()));
            if about.contains("`isolation`") || about.contains("`report`") {
                wanted.push("isolation, in both".to_owned());
            }
        }
    }
    words
}

/// The keys of a document that are its own.
fn keys(value: &Value, all: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                all.insert(key.clone());
                if !QUOTED.contains(&key.as_str()) {
                    keys(value, all);
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| keys(value, all)),
        _ => {}
    }
}

/// What a line prints: a document, or several.
fn printed(scene: &Scene, line: &str) -> Vec<Value> {
    let output = scene.output(line);
    let documents = serde_json::Deserializer::from_slice(&output.stdout).into_iter().collect::<Result<Vec<Value>, _>>();
    let documents = documents.unwrap_or_else(|error| panic!("{line}: {error}: {output:?}"));
    assert!(!documents.is_empty(), "{line} printed nothing: {output:?}");
    documents
}

fn hold(scene: &Scene, lines: &[(&str, &str)]) {
    let mut wrong = Vec::new();
    for (document, line) in lines {
        let known = described(document);
        assert!(!known.is_empty(), "docs/json.md lacks {document}");
        let mut found = BTreeSet::new();
        printed(scene, line).iter().for_each(|value| keys(value, &mut found));
        // Names of pods are no keys.
        let uuid = |key: &String| uuid::Uuid::parse_str(key).is_ok();
        let lacks: Vec<String> = found.difference(&known).filter(|key| !uuid(key)).cloned().collect();
        if !lacks.is_empty() {
            wrong.push(format!("{document}: docs/json.md lacks {}", lacks.join(", ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_key_of_every_document_is_described() {
    let scene = scene();
    scene.prepare("actool init one --from /bin/sh --name example.com/one 2>/dev/null && actool build one one.aci");
    scene.prepare("actool init two --from /bin/sh --name example.com/two --label version=2 2>/dev/null && actool build two two.aci");
    scene.prepare("sed 's/acKind/acKindred/' one/manifest > wrong.json && jetpack fetch one.aci");
    scene.write("key.pub", SIGNIFY_PUBLIC);
    scene.write("key.sec", SIGNIFY_SECRET);
    scene.prepare("actool sign --signify-key key.sec one.aci");
    hold(
        &scene,
        &[
            ("actool validate --format json", "actool validate --format json one.aci wrong.json"),
            ("actool diff --json", "actool diff --json one.aci two.aci"),
            ("actool version --json", "actool version --json"),
            ("actool id --json", "actool id --json one.aci"),
            ("actool ls --json", "actool ls --json one.aci"),
            ("actool explain --json", "actool explain --json im.name"),
            ("actool explain --json", "actool explain --json --list"),
            ("actool verify --json", "actool verify --json --keyring key.pub one.aci"),
            (
                "actool publish --json",
                "actool publish --json site --prefix example.com --url https://example.com/ --public-key key.pub one.aci",
            ),
            (
                "jetpack push --json",
                "jetpack push --json example.com/one ./there --prefix example.com --url https://example.com/ --unsigned",
            ),
            ("jetpack fetch --json", "jetpack fetch --json one.aci"),
            ("jetpack version --json", "jetpack version --json"),
            ("jetpack images --json", "jetpack images --json"),
            ("jetpack image show --json", "jetpack image show --json example.com/one"),
            ("jetpack image inspect", "jetpack image inspect example.com/one"),
            ("jetpack image verify --json", "jetpack image verify --json --all"),
            ("jetpack image gc --json", "jetpack image gc --json --grace 0s"),
            ("jetpack gc --json", "jetpack gc --json"),
            ("jetpack doctor --json", "jetpack doctor --json"),
        ],
    );
}

#[test]
#[cfg(target_os = "linux")]
fn every_key_of_what_is_told_of_pods_is_described() {
    let scene = Ended(scene());
    if !runs_pods(&scene.0) {
        return;
    }
    scene.0.prepare("actool init one --from /bin/sh --name example.com/one 2>/dev/null && actool build one one.aci");
    scene.0.prepare("jetpack run --pod-name ended --isolation shared one.aci -- -c 'echo said; : >/new'");
    scene.0.prepare("actool init nap --from /bin/sleep --name example.com/nap 2>/dev/null && actool build nap nap.aci");
    scene.0.prepare("jetpack run -d --pod-name runs nap.aci -- 1000");
    hold(
        &scene.0,
        &[
            ("jetpack list --json", "jetpack list --json"),
            ("jetpack wait --json", "jetpack wait --json ended"),
            ("jetpack status --json", "jetpack status --json ended"),
            ("jetpack status --json", "jetpack status --json runs"),
            ("jetpack inspect", "jetpack inspect runs"),
            ("jetpack plan --json", "jetpack plan --json --isolation chroot one.aci"),
            ("jetpack diff --json", "jetpack diff --json ended"),
            ("jetpack ps --json", "jetpack ps --json runs"),
            ("jetpack top --json", "jetpack top --json runs"),
            ("jetpack logs --json", "jetpack logs --json ended"),
            ("jetpack events --json", "jetpack events --no-follow --since 1h --json"),
        ],
    );
}
