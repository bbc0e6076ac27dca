//! The schemas, read two ways: by the validator and by a full implementation of JSON Schema. They must agree.

use appc::diagnostic::Severity;
use appc::schema::{Kind, Options, image_manifest, pod_manifest, validate_manifest};
use proptest::prelude::*;
use serde_json::{Value, json};

const FILES: [(&str, &str); 4] = [
    ("urn:appc:0.8.11:types.json", include_str!("../schema/types.json")),
    ("urn:appc:0.8.11:isolators.json", include_str!("../schema/isolators.json")),
    ("urn:appc:0.8.11:image-manifest.json", include_str!("../schema/image-manifest.json")),
    ("urn:appc:0.8.11:pod-manifest.json", include_str!("../schema/pod-manifest.json")),
];

/// Both manifests' schemas in one document, the references pointing into it.
fn reference(definition: &str) -> jsonschema::Validator {
    let mut defs = serde_json::Map::new();
    for (_, text) in FILES {
        let text = ["types.json", "isolators.json", "image-manifest.json", "pod-manifest.json"]
            .iter()
            .fold(text.to_owned(), |text, file| text.replace(&format!("{file}#/"), "#/"));
        let Value::Object(file) = serde_json::from_str(&text).unwrap() else { panic!("a schema is an object") };
        defs.extend(file["$defs"].as_object().unwrap().clone());
    }
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": format!("#/$defs/{definition}"),
        "$defs": defs,
    });
    jsonschema::validator_for(&schema).unwrap()
}

#[test]
fn the_schemas_are_schemas_and_every_clause_in_them_exists() {
    for (id, text) in FILES {
        let schema: Value = serde_json::from_str(text).unwrap();
        assert!(jsonschema::meta::is_valid(&schema), "{id}");
        assert_eq!(schema["$id"], id);
        for (name, definition) in schema["$defs"].as_object().unwrap() {
            assert!(definition["description"].as_str().is_some_and(|text| !text.is_empty()), "{name}");
            assert!(definition["x-clauses"].as_array().is_some_and(|clauses| !clauses.is_empty()), "{name}");
        }
        clauses(&schema);
    }
}

fn clauses(schema: &Value) {
    match schema {
        Value::Object(members) => {
            for (key, value) in members {
                for id in value.as_array().into_iter().flatten().filter(|_| key == "x-clauses") {
                    let id = id.as_str().unwrap();
                    assert!(appc::spec::clause(id).is_some(), "{id}");
                }
                clauses(value);
            }
        }
        Value::Array(items) => items.iter().for_each(clauses),
        _ => {}
    }
}

/// What is put somewhere into a good manifest.
fn values() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        Just(String::new()),
        Just("/a/../b".to_owned()),
        Just("/a".to_owned()),
        Just("EPERM".to_owned()),
        Just("ImageManifest".to_owned()),
        Just("0755".to_owned()),
        Just("1Gi".to_owned()),
        Just("127.0.0.1".to_owned()),
        Just("empty".to_owned()),
        Just("os/linux/seccomp-retain-set".to_owned()),
        Just("resource/cpu".to_owned()),
        Just("os/unix/sysctl".to_owned()),
        "[a-z0-9./~_-]{0,8}",
        "[A-Z_]{1,8}",
        "\\PC{0,6}",
    ];
    let number = prop_oneof![any::<i32>().prop_map(Value::from), any::<u64>().prop_map(Value::from), Just(json!(1.5))];
    let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), number, text.prop_map(Value::from)];
    leaf.prop_recursive(2, 8, 4, |inner| {
        let key = prop_oneof![
            Just("name".to_owned()),
            Just("value".to_owned()),
            Just("set".to_owned()),
            Just("limit".to_owned()),
            Just("path".to_owned()),
            "[a-z]{1,3}",
        ];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map(key, inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// All places in a document.
fn pointers(value: &Value, at: String, into: &mut Vec<String>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(key, value)| {
            pointers(value, format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), into);
        }),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| pointers(item, format!("{at}/{index}"), into));
        }
        _ => {}
    }
    into.push(at);
}

/// Whether the validator finds what a schema can tell: an error, but not by a rule beyond the schema.
fn is_valid(text: &[u8], kind: Kind) -> bool {
    let options = Options { kind: Some(kind), ..Options::default() };
    validate_manifest(text, &options).diagnostics.iter().all(|found| found.severity != Severity::Error)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn what_has_no_error_fits_the_schema_and_the_types(pod in any::<bool>(), place in any::<prop::sample::Index>(), value in values()) {
        thread_local! {
            static REFERENCE: [jsonschema::Validator; 2] = [reference("imageManifest"), reference("podManifest")];
        }
        let (mut manifest, kind) = if pod {
            (serde_json::from_str::<Value>(include_str!("../fixtures/manifests/good/pod.json")).unwrap(), Kind::Pod)
        } else {
            (serde_json::from_str(include_str!("../fixtures/manifests/good/image.json")).unwrap(), Kind::Image)
        };
        let mut places = Vec::new();
        pointers(&manifest, String::new(), &mut places);
        let place: &String = place.get(&places);
        *manifest.pointer_mut(place).unwrap() = value;

        let text = manifest.to_string();
        let fits = REFERENCE.with(|both| both[usize::from(pod)].is_valid(&manifest));
        let valid = is_valid(text.as_bytes(), kind);
        // Rules may refuse more than the schema, never less.
        prop_assert!(fits || !valid, "passed against the schema: {text}");
        if valid {
            let typed = match kind {
                Kind::Image => image_manifest(text.as_bytes(), &Options::default()).map(|_| ()),
                Kind::Pod => pod_manifest(text.as_bytes(), &Options::default()).map(|_| ()),
            };
            prop_assert!(typed.is_ok(), "{typed:?}: {text}");
        }
    }
}

#[test]
fn no_bad_manifest_that_the_schema_refuses_passes() {
    let validators = [reference("imageManifest"), reference("podManifest")];
    for directory in ["bad", "good"] {
        let path = format!("{}/fixtures/manifests/{directory}", env!("CARGO_MANIFEST_DIR"));
        for entry in std::fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read(&path).unwrap();
            let Ok(manifest) = serde_json::from_slice::<Value>(&text) else { continue };
            let kind = validate_manifest(&text, &Options::default()).kind.unwrap();
            let fits = validators[usize::from(kind == Kind::Pod)].is_valid(&manifest);
            assert!(fits || directory == "bad", "{}", path.display());
        }
    }
}
