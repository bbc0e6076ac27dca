//! `actool validate`: the formats, the exit codes, and input that nobody should send.
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use appc_needs::{Need, skip};
use serde_json::{Value, json};

fn actool(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_actool")).args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap()
}

const GOOD: &str = "fixtures/manifests/good/image.json";
const BAD: &str = "fixtures/manifests/bad/im.labels.unique.json";
const WARNED: &str = "fixtures/manifests/strict/im.name.urllike.json";

#[test]
fn the_exit_code_tells_valid_invalid_and_usage_apart() {
    for (args, code) in [
        (&["validate", GOOD][..], 0),
        (&["validate", WARNED], 0),
        (&["validate", "--strict", WARNED], 1),
        (&["validate", GOOD, BAD], 1),
        (&["validate", "/nonexistent"], 1),
        (&["validate", "--type", "manifest", "fixtures"], 1),
        (&["validate", "--profile", "reified", "fixtures/manifests/reified/pod.reified.ids.json"], 1),
        (&["validate"], 2),
        (&["validate", "--type", "bogus", GOOD], 2),
        (&["explain", "im.labels.unique"], 0),
        (&["explain", "no.such.clause"], 2),
    ] {
        let done = actool(args);
        assert_eq!(done.status.code(), Some(code), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

#[test]
fn what_is_nearly_right_is_a_warning_and_an_error_where_those_are_wanted() {
    let app = |inside: &str| {
        format!(
            r#"{{"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/a",
                "app": {{"exec": ["/a"], "user": "0", "group": "0", {inside}}}}}"#
        )
    };
    let memory =
        |limit: &str| app(&format!(r#""isolators": [{{"name": "resource/memory", "value": {{"limit": "{limit}"}}}}]"#));
    let cpu = app(r#""isolators": [{"name": "resource/cpu", "value": {"limit": "300m"}}]"#);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("manifest");
    let file = file.to_str().unwrap();
    let cases = [
        (
            app(r#""isolaters": [{"name": "resource/memory", "value": {"limit": "1G"}}]"#),
            Some("did you mean `isolators`?"),
        ),
        (app(r#""suplementaryGIDs": [1]"#), Some("did you mean `supplementaryGIDs`?")),
        (memory("16m"), Some("did you mean \"16M\"")),
        (memory("0.5"), Some("`0.5` is not a whole number")),
        // Of others the text allows any, and these mean what they say.
        (app(r#""com.example.extension": 1, "restart": "always", "x": 2"#), None),
        (memory("1.5Ki"), None),
        (cpu, None),
    ];
    for (text, told) in cases {
        std::fs::write(file, &text).unwrap();
        let said = actool(&["validate", file]);
        let output = String::from_utf8_lossy(&said.stdout);
        assert_eq!(said.status.code(), Some(0), "{output}");
        assert_eq!(
            (output.contains("warning["), told.is_none_or(|told| output.contains(told))),
            (told.is_some(), true),
            "{output}"
        );
        for more in [&[][..], &["--quiet"]] {
            let strict = actool(&[&["validate", "--strict"], more, &[file]].concat());
            assert_eq!(strict.status.code(), Some(i32::from(told.is_some())), "{text}");
        }
    }
}

#[test]
fn an_image_that_is_none_is_told_as_an_image() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("x.aci");
    let file = file.to_str().unwrap();
    for (bytes, why) in [
        (&b""[..], "it is empty"),
        (b"<html>not found</html>", "it is no tar archive: it is shorter"),
        (b"{", "im.json.valid"),
    ] {
        std::fs::write(file, bytes).unwrap();
        let output = String::from_utf8(actool(&["validate", file]).stdout).unwrap();
        assert!(output.contains(why), "{output}");
        assert_eq!(output.contains("invalid image"), why != "im.json.valid", "{output}");
    }
}

#[test]
fn a_listing_that_nobody_reads_ends_without_a_word() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_actool"))
        .args(["explain", "--list"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let done = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&done.stderr), "");
    assert_ne!(done.status.code(), Some(101), "it panicked");
}

#[test]
fn json_tells_every_file_and_every_place() {
    let done = actool(&["validate", "--format", "json", BAD, "/nonexistent", GOOD]);
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    let files = report["files"].as_array().unwrap();
    assert_eq!(files.iter().map(|file| file["valid"].as_bool().unwrap()).collect::<Vec<_>>(), [false, false, true]);
    // What has no place in a manifest says so.
    let unreadable = files[1]["diagnostics"][0].as_object().unwrap();
    for key in ["pointer", "line", "column"] {
        assert_eq!(unreadable.get(key), Some(&Value::Null), "{key}");
    }
    let found = &files[0]["diagnostics"][0];
    assert_eq!(found["clause"], "im.labels.unique");
    assert_eq!((&found["severity"], &found["pointer"]), (&json!("error"), &json!("/labels/1/name")));
    assert!(found["line"].is_u64() && found["column"].is_u64() && found["message"].is_string());
    assert_eq!(files[1]["diagnostics"][0]["clause"], "x.file.unreadable");
}

/// What the standard's schema demands of the parts that are written here, in our words; nothing else may be there.
fn sarif_schema() -> Value {
    let text = json!({"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}, "additionalProperties": false});
    let line = json!({"type": "integer", "minimum": 1});
    let rule = json!({
        "type": "object", "required": ["id"], "additionalProperties": false,
        "properties": {"id": {"type": "string"}, "name": {"type": "string"}, "shortDescription": text, "fullDescription": text, "help": text,
            "defaultConfiguration": {"type": "object", "properties": {"level": {"enum": ["none", "note", "warning", "error"]}}, "additionalProperties": false}},
    });
    let place = json!({
        "type": "object", "additionalProperties": false,
        "properties": {
            "artifactLocation": {"type": "object", "properties": {"uri": {"type": "string", "pattern": "^[A-Za-z0-9._~:/%-]+$"}}, "additionalProperties": false},
            "region": {"type": "object", "properties": {"startLine": line, "startColumn": line, "endColumn": line}, "additionalProperties": false},
        },
    });
    let location = json!({
        "type": "object", "additionalProperties": false,
        "properties": {"physicalLocation": place, "logicalLocations": {"type": "array", "uniqueItems": true, "items": {
            "type": "object", "properties": {"fullyQualifiedName": {"type": "string"}, "kind": {"type": "string"}}, "additionalProperties": false}}},
    });
    let result = json!({
        "type": "object", "required": ["message"], "additionalProperties": false,
        "properties": {"ruleId": {"type": "string"}, "ruleIndex": {"type": "integer", "minimum": -1}, "message": text,
            "level": {"enum": ["none", "note", "warning", "error"]}, "locations": {"type": "array", "items": location},
            "partialFingerprints": {"type": "object", "additionalProperties": {"type": "string"}}},
    });
    let driver = json!({
        "type": "object", "required": ["name"], "additionalProperties": false,
        "properties": {"name": {"type": "string"}, "version": {"type": "string"}, "semanticVersion": {"type": "string"},
            "informationUri": {"type": "string", "pattern": "^https://"}, "rules": {"type": "array", "uniqueItems": true, "items": rule}},
    });
    let run = json!({
        "type": "object", "required": ["tool", "results"], "additionalProperties": false,
        "properties": {"tool": {"type": "object", "required": ["driver"], "properties": {"driver": driver}, "additionalProperties": false},
            "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]}, "results": {"type": "array", "items": result}},
    });
    json!({
        "type": "object", "required": ["version", "runs"], "additionalProperties": false,
        "properties": {"$schema": {"type": "string"}, "version": {"enum": ["2.1.0"]}, "runs": {"type": "array", "items": run}},
    })
}

#[test]
fn sarif_is_what_the_standard_demands_and_points_into_its_rules() {
    let done = actool(&["validate", "--format", "sarif", BAD, WARNED, GOOD, "/nonexistent dir/ä"]);
    let log: Value = serde_json::from_slice(&done.stdout).unwrap();
    let validator = jsonschema::validator_for(&sarif_schema()).unwrap();
    let errors: Vec<String> =
        validator.iter_errors(&log).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert_eq!(errors, [""; 0]);
    // The standard's own schema is not ours to pass on; where somebody has it, it must agree.
    match std::env::var_os("SARIF_SCHEMA") {
        Some(path) => {
            // Its pattern of languages has a bracket too many.
            let text = fs::read_to_string(path).unwrap().replace("[a-zA-Z]{2}]?$", "[a-zA-Z]{2}$");
            let whole: Value = serde_json::from_str(&text).unwrap();
            let validator = jsonschema::validator_for(&whole).unwrap();
            let errors: Vec<String> =
                validator.iter_errors(&log).map(|error| format!("{}: {error}", error.instance_path())).collect();
            assert_eq!(errors, [""; 0]);
        }
        None => skip(Need::SarifSchema, "the standard's whole schema: SARIF_SCHEMA names no file"),
    }
    let run = &log["runs"][0];
    for result in run["results"].as_array().unwrap() {
        let rule = &run["tool"]["driver"]["rules"][usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()];
        assert_eq!(rule["id"], result["ruleId"]);
    }
    assert_eq!(run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], BAD);
}

#[test]
fn the_human_format_shows_the_place_and_quiet_nothing_of_valid_files() {
    let shown = String::from_utf8(actool(&["validate", BAD]).stdout).unwrap();
    assert!(shown.starts_with("error[im.labels.unique]: label `version` is given twice\n"), "{shown}");
    assert!(shown.contains(&format!("--> {BAD}:")) && shown.contains("^^^^^^^^^ given first on line"), "{shown}");
    assert!(shown.contains("explain: actool explain im.labels.unique"));
    assert!(actool(&["validate", "-q", GOOD, WARNED]).stdout.is_empty());
    let told = |more: &[&str]| -> Value {
        let args = [&["validate", "--format", "json", WARNED, BAD], more].concat();
        serde_json::from_slice(&actool(&args).stdout).unwrap()
    };
    let (full, quiet) = (told(&[]), told(&["-q"]));
    assert_eq!(full["files"][0]["diagnostics"][0]["severity"], "warning");
    assert_eq!((&quiet["files"][0]["diagnostics"], &quiet["files"][0]["valid"]), (&json!([]), &json!(true)));
    assert_eq!(quiet["files"][1], full["files"][1]);
}

#[test]
fn a_manifest_comes_by_standard_input_too() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_actool"))
        .args(["validate", "--format", "json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"{\"acKind\": \"ImageManifest\"").unwrap();
    let report: Value = serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(report["files"][0]["path"], "-");
    assert_eq!(report["files"][0]["diagnostics"][0]["clause"], "im.json.valid");
}

#[test]
fn hostile_input_is_told_and_the_other_files_are_still_checked() {
    let directory = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let manifest = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(GOOD)).unwrap();
    let mut bom = b"\xef\xbb\xbf".to_vec();
    bom.extend(&manifest);
    let files = [
        (put("nested", &b"[".repeat(10 << 20)), "x.json.depth"),
        (put("bom", &bom), "x.json.encoding"),
        (put("latin1", b"{\"acKind\": \"\xe4\"}"), "x.json.encoding"),
        (put("huge", &vec![b' '; (16 << 20) + 2]), "x.aci.limits"),
        (put("utf16", b"{\0}\0"), "x.json.encoding"),
        (put("empty", b""), "im.json.valid"),
        (put("twice", b"{\"a\": 1, \"a\": 2}"), "x.json.duplicate-key"),
        (put("range", b"{\"apps\": [], \"uid\": 1e400}"), "x.json.number"),
        (directory.path().join("missing"), "x.file.unreadable"),
    ];
    let mut args: Vec<&str> = vec!["validate", "--type", "manifest", "--format", "json"];
    args.extend(files.iter().map(|(path, _)| path.to_str().unwrap()));
    args.push(GOOD);
    let done = actool(&args);
    assert_eq!(done.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    for (file, (path, clause)) in report["files"].as_array().unwrap().iter().zip(&files) {
        let found: Vec<&str> =
            file["diagnostics"].as_array().unwrap().iter().map(|found| found["clause"].as_str().unwrap()).collect();
        assert!(found.contains(clause), "{}: {found:?}", path.display());
    }
    assert_eq!(report["files"][files.len()]["valid"], true);
}

/// Anything that takes each finding, reference or duplicate through the whole document again does not end.
#[test]
fn work_and_memory_stay_in_proportion_to_a_long_line_of_faults() {
    const MANY: usize = 10_000;
    let list = |item: &dyn Fn(usize) -> String| (0..MANY).map(item).collect::<Vec<_>>().join(",");
    let image = |body: String| format!(r#"{{"acKind":"ImageManifest","acVersion":"0.8.11","name":"a.b/c",{body}}}"#);
    let id = "sha512-".to_owned() + &"0".repeat(128);
    let documents = [
        ("labels", image(format!(r#""labels":[{}]"#, list(&|n| format!(r#"{{"name":"é{n}","value":"x"}}"#))))),
        ("keys", image(list(&|n| format!(r#""pathWhitelst{n}":1"#)))),
        (
            "isolators",
            image(format!(
                r#""app":{{"user":"0","group":"0","isolators":[{}]}}"#,
                list(&|_| r#"{"name":"os/linux/capabilities-remove-set","value":{"set":["CAP_X"]}}"#.to_owned())
            )),
        ),
        (
            "mounts",
            format!(
                r#"{{"acKind":"PodManifest","acVersion":"0.8.11","apps":[{{"name":"a","image":{{"id":"{id}"}},"mounts":[{}]}}],"volumes":[{}]}}"#,
                list(&|n| format!(r#"{{"volume":"v{n}","path":"/p{n}"}}"#)),
                list(&|n| format!(r#"{{"name":"w{n}","kind":"empty"}}"#)),
            ),
        ),
    ];
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in documents {
        let file = directory.path().join(name);
        fs::write(&file, &text).unwrap();
        for format in ["human", "sarif"].into_iter().filter(|_| name == "labels") {
            assert!(!actool(&["validate", "--format", format, file.to_str().unwrap()]).stdout.is_empty());
        }
        let done = actool(&["validate", "--format", "json", file.to_str().unwrap()]);
        let report: Value = serde_json::from_slice(&done.stdout).unwrap();
        let found = report["files"][0]["diagnostics"].as_array().unwrap();
        assert!(found.len() >= MANY - 1, "{name}");
        let last = found.last().unwrap();
        let column = usize::try_from(last["column"].as_u64().unwrap()).unwrap();
        assert_eq!(text.chars().nth(column - 1), Some('"'), "{name}: {last}");
    }
}

#[test]
fn places_in_the_manifest_of_an_image_are_those_of_the_manifest() {
    let directory = tempfile::tempdir().unwrap();
    let layout = directory.path().join("layout");
    fs::create_dir_all(layout.join("rootfs")).unwrap();
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(BAD), layout.join("manifest")).unwrap();
    let done = actool(&["validate", "--format", "json", layout.to_str().unwrap()]);
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    let found = &report["files"][0]["diagnostics"][0];
    assert_eq!((&found["entry"], &found["clause"]), (&json!("manifest"), &json!("im.labels.unique")));
    assert!(found["line"].as_u64() > Some(1));
    assert_eq!(report["files"][0]["type"], "layout");
}

/// An image whose manifest is `text`.
fn archive(text: &[u8]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, "manifest", text).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_size(0);
    header.set_mode(0o755);
    archive.append_data(&mut header, "rootfs", &b""[..]).unwrap();
    archive.into_inner().unwrap()
}

#[test]
fn places_in_the_manifest_of_an_archive_are_those_of_the_manifest() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("a.aci");
    let text = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(BAD)).unwrap();
    fs::write(&image, archive(&text)).unwrap();
    let told = |file: &str| {
        let done = actool(&["validate", "--format", "json", file]);
        serde_json::from_slice::<Value>(&done.stdout).unwrap()["files"][0].clone()
    };
    let (alone, inside) = (told(BAD), told(image.to_str().unwrap()));
    assert_eq!((&inside["type"], &inside["valid"]), (&json!("image"), &json!(false)));
    assert!(inside["image_id"].as_str().unwrap().starts_with("sha512-"));
    assert_eq!(inside["diagnostics"][0]["entry"], "manifest");
    for key in ["clause", "pointer", "line", "column", "message"] {
        assert_eq!(inside["diagnostics"][0][key], alone["diagnostics"][0][key], "{key}");
    }
}

#[test]
fn a_manifest_entry_beyond_the_limit_is_told_and_the_limit_can_be_moved() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("a.aci");
    let mut text = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(GOOD)).unwrap();
    text.resize((16 << 20) + 1, b' ');
    fs::write(&image, archive(&text)).unwrap();
    let told = |more: &[&str]| {
        let args = [&["validate", "--format", "json"], more, &[image.to_str().unwrap(), GOOD]].concat();
        let report: Value = serde_json::from_slice(&actool(&args).stdout).unwrap();
        assert_eq!(report["files"][1]["valid"], true);
        report["files"][0].clone()
    };
    let refused = told(&[]);
    assert_eq!(refused["diagnostics"][0]["clause"], "x.aci.limits");
    assert_eq!(refused["diagnostics"][0]["entry"], "manifest");
    assert_eq!(told(&["--max-manifest", "17000000"])["valid"], true);
}

#[test]
fn a_file_that_cannot_be_read_is_told_and_the_others_are_still_checked() {
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    std::os::unix::fs::symlink("loop", place("loop")).unwrap();
    fs::write(place("file"), "{").unwrap();
    let long = place(&"x".repeat(300));
    let below = format!("{}/below", place("file"));
    let done = actool(&["validate", "--format", "json", &place("loop"), GOOD, &long, &below, BAD]);
    assert_eq!(done.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    let clauses: Vec<Option<&str>> =
        report["files"].as_array().unwrap().iter().map(|file| file["diagnostics"][0]["clause"].as_str()).collect();
    let unreadable = Some("x.file.unreadable");
    assert_eq!(clauses, [unreadable, None, unreadable, unreadable, Some("im.labels.unique")]);
}

#[test]
fn a_layout_whose_manifest_cannot_be_read_is_told_with_its_other_faults() {
    let directory = tempfile::tempdir().unwrap();
    let layout = directory.path().join("layout");
    fs::create_dir_all(layout.join("rootfs")).unwrap();
    fs::write(layout.join("manifest"), "{}").unwrap();
    fs::write(layout.join("stray"), "").unwrap();
    fs::set_permissions(layout.join("manifest"), fs::Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_actool"));
    if fs::read(layout.join("manifest")).is_ok() {
        // Root reads everything; nobody does not.
        command.uid(65534);
    }
    let done = match command.args(["validate", "--format", "json"]).arg(&layout).output() {
        Err(error) => return skip(Need::OrdinaryUser, format_args!("another user cannot start actool: {error}")),
        Ok(done) => done,
    };
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    let told: Vec<_> = report["files"][0]["diagnostics"].as_array().unwrap().iter().collect();
    let told: Vec<_> = told.iter().map(|found| (found["entry"].as_str(), found["clause"].as_str().unwrap())).collect();
    assert_eq!(told, [(Some("manifest"), "x.file.unreadable"), (Some("stray"), "aci.toplevel.noextra")]);
}
