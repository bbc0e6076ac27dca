//! Whole outputs of the suite's own commands, good and bad, over a suite of one clause. How implementations misbehave is in the
//! other tests.

#[path = "../../tests/support/transcript.rs"]
mod transcript;

use transcript::{Scene, assert_helps, assert_shown};

const PROGRAM: (&str, &str) = ("appc-conformance", env!("CARGO_BIN_EXE_appc-conformance"));

/// Two clauses, a case of one of them, a validator that does it and one that does not, a way to break it.
fn suite() -> Scene {
    let mut scene = Scene::new(&[PROGRAM]);
    scene.changing(r"\d+\.\d s\b", "[TIME]");
    let clause = |id: &str, statement: &str| {
        format!(
            "[[clause]]\nid = \"{id}\"\nstrength = \"MUST\"\nstatement = \"{statement}\"\n\
             source = {{ document = \"types.md\", section = \"Names\" }}\n"
        )
    };
    scene.write(
        "spec/names.toml",
        clause("names.lower", "A name has no capital letters") + &clause("names.short", "A name is short"),
    );
    scene.write("suite/cases/untestable.toml", "[untestable]\n");
    for (name, kind) in [("image", "ImageManifest"), ("smallest", "ImageManifest"), ("pod", "PodManifest")] {
        let manifest = format!(r#"{{"acKind": "{kind}", "acVersion": "0.8.11", "name": "example.com/worker"}}"#);
        scene.write(&format!("suite/cases/base/{name}.json"), manifest);
    }
    let expect = |name: &str, verdict: &str| {
        format!("[[expect]]\nclause = \"names.lower\"\nset = {{ \"/name\" = \"{name}\" }}\nverdict = \"{verdict}\"\n")
    };
    let case = "about = \"letters of names\"\ndo = \"validate\"\n".to_owned();
    scene.write(
        "suite/cases/names/letters.toml",
        case + &expect("example.com/worker", "valid") + &expect("example.com/Worker", "invalid"),
    );
    for (name, pattern) in [("careful", "example.com/[A-Z]"), ("careless", "nothing")] {
        let target = format!(
            "about = \"a {name} validator\"\nplatform = \"linux\"\n[commands]\n\
             validate = [\"/bin/sh\", \"-c\", \"! grep -q {pattern} $0\", \"{{file}}\"]\n"
        );
        scene.write(&format!("suite/targets/{name}.toml"), target);
    }
    scene.write(
        "suite/mutants/validator.toml",
        "[[mutant]]\nname = \"picky\"\nabout = \"refuses a good name\"\nbreaks = [\"names.lower\"]\nrefuse = \"com/worker\"\n",
    );
    scene
}

#[test]
fn every_command_helps() {
    assert_helps(&Scene::new(&[PROGRAM]), &[PROGRAM.0]);
}

#[test]
#[cfg(target_os = "linux")]
fn implementations_are_held_against_the_suite() {
    let mut scene = suite();
    scene
        .line("appc-conformance run --suite suite --target careful --clause names.lower")
        .line("appc-conformance run --suite suite --target careful --all --report before")
        .line("appc-conformance run --suite suite --target careless --report after")
        .line("sed -i s/careful/careless/ before/report.json")
        .line("appc-conformance compare before before")
        .line("appc-conformance compare before after")
        .line("appc-conformance mutants --suite suite --target careful")
        .is("run");
}

#[test]
fn what_there_is_is_listed_and_explained() {
    suite()
        .line("appc-conformance list --suite suite")
        .line("appc-conformance list --suite suite clauses")
        .line("appc-conformance list --suite suite targets")
        .line("appc-conformance explain --suite suite names.lower")
        .line("appc-conformance explain --suite suite names/letters")
        .line("appc-conformance coverage --suite suite")
        .line("echo '\"names.short\" = \"nobody counts\"' >>suite/cases/untestable.toml")
        .line("appc-conformance coverage --suite suite")
        .is("list");
}

#[test]
fn what_is_wrong_is_told() {
    suite()
        .line("appc-conformance --bogus")
        .line("appc-conformance list --suite nowhere")
        .line("appc-conformance list --suite suite areas")
        .line("appc-conformance explain --suite suite names.long")
        .line("appc-conformance explain")
        .line("appc-conformance coverage --suite nowhere")
        .line("appc-conformance run --suite suite --target unheard-of")
        .line("appc-conformance run --suite suite --target careful --case nothing")
        .line("appc-conformance run --suite suite --target careful --jobs 0")
        .line("appc-conformance run --suite suite --executor plan9")
        .line("appc-conformance compare nowhere nowhere")
        .line("appc-conformance mutants --suite suite --target careful --name nothing")
        .line("appc-conformance probe")
        .line("echo 'do = \"dance\"' >suite/cases/names/letters.toml")
        .line("appc-conformance run --suite suite --target careful")
        .is("faults");
}

#[test]
fn every_command_is_shown_when_all_is_well_and_when_not() {
    // Writing the probe needs cargo, and a build.
    assert_shown(&Scene::new(&[PROGRAM]), &[PROGRAM.0], &["appc-conformance probe"]);
}
