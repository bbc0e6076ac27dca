//! The fixtures under `fixtures/manifests`: the good ones pass, each bad one breaks the clause it is named for and no other.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use appc::diagnostic::Severity;
use appc::schema::{Kind, Options, Profile, Report, image_manifest, pod_manifest, validate_manifest};
use appc::spec;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/manifests")
}

/// The fixtures of a directory: name and text.
fn fixtures(directory: &str) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<_> = fs::read_dir(root().join(directory))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap())
        })
        .collect();
    found.sort();
    assert!(!found.is_empty());
    found
}

fn errors(report: &Report) -> BTreeSet<&str> {
    let errors = report.diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
    errors.map(|diagnostic| diagnostic.clause.as_ref()).collect()
}

const STRICT: Options = Options {
    strict: true,
    profile: Profile::Template,
    compat: appc::schema::Compat::None,
    kind: None,
    purpose: appc::schema::Purpose::Verdict,
};
const REIFIED: Options = Options { strict: false, profile: Profile::Reified, ..STRICT };

#[test]
fn good_manifests_have_no_error_and_become_typed_values() {
    for (name, text) in fixtures("good") {
        let report = validate_manifest(&text, &Options::default());
        assert!(report.is_valid(), "{name}: {:?}", report.diagnostics);
        match report.kind {
            Some(Kind::Image) => {
                drop(image_manifest(&text, &Options::default()).unwrap_or_else(|e| panic!("{name}: {e:?}")))
            }
            Some(Kind::Pod) => {
                drop(pod_manifest(&text, &Options::default()).unwrap_or_else(|e| panic!("{name}: {e:?}")))
            }
            None => panic!("{name} has no kind"),
        }
    }
}

#[test]
fn the_complete_good_manifests_raise_no_warning_either() {
    for (name, text) in fixtures("good").into_iter().filter(|(name, _)| name == "image" || name == "pod") {
        for options in [STRICT, REIFIED] {
            assert_eq!(validate_manifest(&text, &options).diagnostics, [], "{name}");
        }
    }
}

#[test]
fn each_bad_manifest_breaks_the_clause_it_is_named_for_and_no_other() {
    for (name, text) in fixtures("bad") {
        let report = validate_manifest(&text, &Options::default());
        assert_eq!(errors(&report), BTreeSet::from([name.as_str()]), "{:?}", report.diagnostics);
    }
}

#[test]
fn what_is_only_doubtful_is_an_error_when_strict() {
    for (name, text) in fixtures("strict") {
        let report = validate_manifest(&text, &Options::default());
        assert!(report.is_valid(), "{name}: {:?}", report.diagnostics);
        let report = validate_manifest(&text, &STRICT);
        assert_eq!(errors(&report), BTreeSet::from([name.as_str()]), "{:?}", report.diagnostics);
    }
}

#[test]
fn what_a_template_may_leave_open_a_reified_pod_may_not() {
    for (name, text) in fixtures("reified") {
        let report = validate_manifest(&text, &Options::default());
        assert!(report.is_valid(), "{name}: {:?}", report.diagnostics);
        let report = validate_manifest(&text, &REIFIED);
        assert_eq!(errors(&report), BTreeSet::from([name.as_str()]), "{:?}", report.diagnostics);
    }
}

/// `edits.jsonl`: two good manifests, then a line a case: what is changed in one of them, and what must be told of it and where.
#[test]
fn each_change_of_a_good_manifest_is_told_under_its_clause_and_at_its_place() {
    use serde_json::Value;

    let text = fs::read_to_string(root().join("edits.jsonl")).unwrap();
    let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let (image, pod) = (lines.next().unwrap()["image"].clone(), lines.next().unwrap()["pod"].clone());
    let mut cases = 0;
    for case in lines {
        let mut manifest = if case["base"] == "image" { image.clone() } else { pod.clone() };
        for edit in case["edits"].as_array().unwrap() {
            let (parent, key) = edit[0].as_str().unwrap().rsplit_once('/').unwrap();
            match (manifest.pointer_mut(parent).unwrap(), edit.get(1)) {
                (Value::Object(members), Some(value)) => drop(members.insert(key.to_owned(), value.clone())),
                (Value::Object(members), None) => drop(members.shift_remove(key).unwrap()),
                (Value::Array(items), Some(value)) if key == "-" => items.push(value.clone()),
                (Value::Array(items), Some(value)) => items[key.parse::<usize>().unwrap()] = value.clone(),
                (Value::Array(items), None) => drop(items.remove(key.parse().unwrap())),
                (other, _) => panic!("{other} has no `{key}`"),
            }
        }
        let options = match case["options"].as_str() {
            Some("strict") => STRICT,
            Some("reified") => REIFIED,
            _ => Options::default(),
        };
        let report = validate_manifest(manifest.to_string().as_bytes(), &options);
        for (severity, key) in [(Severity::Error, "errors"), (Severity::Warning, "warnings")] {
            let told: Vec<[&str; 2]> = report
                .diagnostics
                .iter()
                .filter(|diagnostic| diagnostic.severity == severity)
                .map(|diagnostic| [diagnostic.clause.as_ref(), diagnostic.place.pointer.as_deref().unwrap()])
                .collect();
            let expected = case.get(key).unwrap_or(&Value::Null).as_array().map_or(&[][..], Vec::as_slice);
            assert_eq!(serde_json::json!(told), serde_json::json!(expected), "{key} of {case}");
        }
        cases += 1;
    }
    assert!(cases > 1000, "only {cases} cases");
}

#[test]
fn every_finding_in_readable_json_has_a_place() {
    for directory in ["bad", "strict", "reified"] {
        for (name, text) in fixtures(directory) {
            for diagnostic in validate_manifest(&text, &STRICT).diagnostics {
                let place = &diagnostic.place;
                assert!(place.line.is_some() && place.column.is_some(), "{name}: {diagnostic:?}");
                let Ok(value) = serde_json::from_slice::<serde_json::Value>(&text) else { continue };
                let pointer = place.pointer.as_deref().unwrap();
                assert!(value.pointer(pointer).is_some(), "{name}: {pointer}");
            }
        }
    }
}

#[test]
fn every_clause_on_manifests_has_a_fixture() {
    let named: BTreeSet<String> = ["bad", "strict", "reified", "good"]
        .iter()
        .flat_map(|directory| fixtures(directory))
        .map(|(name, _)| name)
        .collect();
    let without: Vec<&str> = spec::clauses()
        .iter()
        .filter(|clause| clause.check == "static" && !clause.id.starts_with("x."))
        .map(|clause| clause.id.as_str())
        .filter(|id| !named.contains(*id))
        .collect();
    assert_eq!(without, [""; 0]);
}

/// Every text in the sources that looks like a clause of a known area.
fn named_in_sources() -> BTreeSet<String> {
    fn walk(directory: &Path, into: &mut BTreeSet<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, into);
            } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "json") {
                let text = fs::read_to_string(&path).unwrap();
                into.extend(text.split('"').skip(1).filter(|part| is_id(part)).map(str::to_owned));
            }
        }
    }
    fn is_id(text: &str) -> bool {
        let area = text.split('.').next().unwrap_or_default();
        let known = spec::clauses().iter().any(|clause| clause.id.split('.').next() == Some(area));
        known
            && text.matches('.').count() >= 1
            && text.len() < 60
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-') || b == b'T')
            && !text.ends_with(".json")
            && !text.ends_with(".toml")
            && !text.ends_with('.')
    }
    let mut found = BTreeSet::new();
    for directory in ["src", "schema"] {
        walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join(directory), &mut found);
    }
    found
}

/// Clauses on archives that no finding can name: what shows them.
const SHOWN_OTHERWISE: [(&str, &str); 7] = [
    (
        "im.json.location",
        "a manifest elsewhere is a missing one (aci.toplevel.two) and an extra entry (aci.toplevel.noextra)",
    ),
    ("aci.encrypt.order", "reading decrypts, then decompresses; what is encrypted twice is refused"),
    ("aci.sign", "verifying is a command of its own, and trust's tests show it"),
    ("aci.sign.armor", "as above"),
    ("aci.sign.suffix", "as above"),
    ("aci.sign.over", "as above"),
    ("aci.guide.recreate", "one image in every compression has one id, in the tests of archives"),
];

#[test]
fn every_clause_that_can_be_checked_on_files_is_named_by_the_code_or_shown_by_a_fixture() {
    let mut named = named_in_sources();
    // What a clause allows is checked by not being refused.
    named.extend(fixtures("good").into_iter().map(|(name, _)| name));
    for (id, why) in SHOWN_OTHERWISE {
        assert!(named.insert(id.to_owned()), "{id} is named by the code, not only shown: {why}");
    }
    let without: Vec<&str> = spec::clauses()
        .iter()
        .filter(|clause| matches!(clause.check.as_str(), "static" | "archive"))
        .map(|clause| clause.id.as_str())
        .filter(|id| !named.contains(*id))
        .collect();
    assert_eq!(without, [""; 0]);
}

#[test]
fn every_rule_of_ours_that_the_code_names_stands_in_the_catalogue() {
    for id in named_in_sources().iter().filter(|id| id.starts_with("x.")) {
        assert!(spec::clause(id).is_some(), "{id}");
    }
}
