//! `SECURITY.md` names what proves each promise: there has to be such a thing.

use std::fs;
use std::path::{Path, PathBuf};

fn below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { below(&path) } else { vec![path] }).collect()
}

/// The words in backticks of a text, each with what stands before it.
fn named(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let parts: Vec<&str> = text.split('`').collect();
    (1..parts.len()).step_by(2).map(move |at| (parts[at - 1], parts[at])).collect::<Vec<_>>().into_iter()
}

#[test]
fn what_is_said_to_prove_a_promise_is_there() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the suite is in the repository");
    let text = fs::read_to_string(top.join("SECURITY.md")).expect("SECURITY.md");
    let tests = [below(&top.join("tests")), below(&top.join("src"))].concat();
    let mutants: String =
        below(&top.join("conformance/mutants")).iter().filter_map(|path| fs::read_to_string(path).ok()).collect();
    let mut missing = Vec::new();
    let mut seen = 0;
    let mut list = "";
    for (before, word) in named(&text) {
        // A list goes on as long as nothing but a comma stands between its words.
        list = match before {
            ", " => list,
            _ if before.ends_with("mutants ") || before.ends_with("mutant ") => "mutant",
            _ if before.ends_with("fuzz targets ") || before.ends_with("fuzz target ") => "fuzz target",
            _ => "",
        };
        let there = match (list, word.split_once("::")) {
            ("mutant", _) => mutants.contains(&format!("name = \"{word}\"")),
            ("fuzz target", _) => top.join(format!("fuzz/fuzz_targets/{word}.rs")).is_file(),
            (_, Some((module, test))) => tests.iter().any(|path| {
                let own = if path.ends_with("mod.rs") { path.parent() } else { Some(path.as_path()) };
                own.and_then(Path::file_stem).is_some_and(|stem| stem == module)
                    && fs::read_to_string(path).is_ok_and(|text| text.contains(&format!("fn {test}(")))
            }),
            _ if word.starts_with("tests/") || word.starts_with("conformance/") => top.join(word).exists(),
            _ => continue,
        };
        seen += 1;
        if !there {
            missing.push(word.to_owned());
        }
    }
    assert_eq!(missing, Vec::<String>::new());
    assert!(seen > 40, "only {seen} names were understood");
}
