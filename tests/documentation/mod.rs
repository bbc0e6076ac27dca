//! What the documents say can be done is done: command lines exist, those that can be run here are run, links lead somewhere.
//!
//! A block of command lines opens with ```` ```console ````, and a word behind that says what it wants beyond an ordinary host:
//!
//! | word | the block wants |
//! | --- | --- |
//! | `root` | to be root |
//! | `debian` | a fresh Debian and an image of a registry: `conformance/vm/debian.sh` does what it says |
//! | `freebsd` | a FreeBSD host |
//! | `elsewhere` | another host: a site, a registry, a service manager, another engine |
//! | `checkout` | the source code, and minutes: CI does what it says |
//!
//! All others are run, a document's in the order in which they stand, in one new directory, and end with status 0. What stands below a command
//! is what it prints, with `…` for any characters, and for any lines where it stands alone. `<!-- before: COMMAND -->` above a block prepares what a
//! reader has anyway.

mod json;
mod links;
mod pages;
mod words;

use std::fs;
use std::path::Path;

use appc_needs::{Need, met, skip};
use regex::Regex;

use self::pages::{Block, Line, pages};
use self::words::{Index, calls};
use crate::support::transcript::Scene;

const PROGRAMS: [(&str, &str); 3] = [
    ("actool", env!("CARGO_BIN_EXE_actool")),
    ("jetpack", env!("CARGO_BIN_EXE_jetpack")),
    ("jetpack-oci", env!("CARGO_BIN_EXE_jetpack")),
];

/// A directory with the programs at hand; the suite's too where it was built.
fn scene() -> Scene {
    let mut programs = PROGRAMS.to_vec();
    let suite = Path::new(env!("CARGO_BIN_EXE_jetpack")).with_file_name("appc-conformance");
    let suite = suite.to_str().unwrap_or_default();
    if Path::new(suite).exists() {
        programs.push(("appc-conformance", suite));
    }
    Scene::new(&programs)
}

#[test]
fn every_command_line_shown_has_the_commands_and_options_that_there_are() {
    let scene = scene();
    let mut index = Index::new(&scene);
    for invented in [
        "jetpack runs x",
        "jetpack run --nothing x",
        "actool build -Z a b",
        "jetpack image --all",
        "x | jetpack nothing",
    ] {
        assert!(calls(invented).iter().all(|call| index.judge(call).is_some()), "{invented}");
    }
    let mut wrong = Vec::new();
    let mut known = 0;
    for page in pages() {
        for block in &page.blocks {
            for line in &block.lines {
                for call in calls(&line.command) {
                    known += 1;
                    let why = index.judge(&call);
                    wrong.extend(why.map(|why| format!("{}:{}: {}: {why}", page.name, line.number, line.command)));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(known > 100, "only {known} command lines were found");
}

#[test]
#[cfg(target_os = "linux")]
fn what_the_documents_show_is_what_happens() {
    let mut wrong = Vec::new();
    let mut ran = 0;
    for page in pages() {
        if page.blocks.iter().all(|block| block.wants.is_some()) {
            tell_of(&page.name, &page.blocks);
            continue;
        }
        let scene = Ended(scene());
        if page.blocks.iter().any(Block::runs_pods) && !runs_pods(&scene.0) {
            continue;
        }
        tell_of(&page.name, &page.blocks);
        for block in &page.blocks {
            let here = match block.wants.as_deref() {
                None => true,
                Some("root") => rustix::process::geteuid().is_root(),
                Some(_) => false,
            };
            if !here {
                continue;
            }
            block.before.iter().for_each(|line| scene.0.prepare(line));
            for line in &block.lines {
                ran += 1;
                let why = done(&scene.0, line);
                wrong.extend(why.map(|why| format!("{}:{}: {}\n{why}", page.name, line.number, line.command)));
            }
        }
    }
    let hint = "a block that wants more than an ordinary host says so behind ```console: tests/documentation/mod.rs";
    assert!(wrong.is_empty(), "{}\n({hint})", wrong.join("\n"));
    assert!(ran > 30, "only {ran} command lines were run");
}

/// A scene that leaves no pod.
struct Ended(Scene);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.output("for pod in $(jetpack list -q); do jetpack rm --force $pod; done");
    }
}

fn runs_pods(scene: &Scene) -> bool {
    scene.prepare(
        "actool init probe --from /bin/sh --name example.com/probe 2>/dev/null && actool build probe probe.aci",
    );
    let output = scene.output("jetpack run --rm probe.aci -- -c true");
    scene.prepare("rm -r probe probe.aci");
    let why = String::from_utf8_lossy(&output.stderr);
    met(Need::Pods, output.status.success(), format_args!("no pods can be run here: {why}"))
}

/// What of a page is not run, by what it wants.
fn tell_of(page: &str, blocks: &[Block]) {
    for (word, need, what) in [
        ("root", Need::Root, "root"),
        ("debian", Need::Elsewhere, "a fresh Debian, and are what conformance/vm/debian.sh does"),
        ("freebsd", Need::Elsewhere, "a FreeBSD host"),
        ("elsewhere", Need::Elsewhere, "another host"),
        ("checkout", Need::Elsewhere, "the source code, and are what CI does"),
    ] {
        let count = blocks.iter().filter(|block| block.wants.as_deref() == Some(word)).count();
        if count > 0 && !(need == Need::Root && rustix::process::geteuid().is_root()) {
            skip(need, format_args!("{page}: {count} blocks want {what}; their command lines were looked at"));
        }
    }
}

/// Why a line does not do what is said of it.
fn done(scene: &Scene, line: &Line) -> Option<String> {
    // Nobody is there to edit anything.
    let output = scene.output(&format!("export EDITOR=true\n{}", line.command));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        return Some(format!("{}: {out}{err}", output.status));
    }
    if line.shown.is_empty() {
        return None;
    }
    let pattern: String = line.shown.iter().map(|shown| pattern(shown)).collect();
    let pattern = Regex::new(&format!("^{pattern}$")).expect("a pattern");
    let ended =
        |text: &str| if text.is_empty() || text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") };
    let all = format!("{}{}", ended(&err), ended(&out));
    let same = [ended(&out), ended(&err), all].iter().any(|text| pattern.is_match(text));
    (!same).then(|| format!("shown:\n{}\nsaid:\n{out}{err}", line.shown.join("\n")))
}

/// What a line that is shown stands for.
fn pattern(shown: &str) -> String {
    match shown.trim() {
        "…" => "(?s:.*\n)??".to_owned(),
        _ => {
            let parts: Vec<String> = shown.trim_end().split('…').map(regex::escape).collect();
            format!("{} *\n", parts.join("[^\n]*"))
        }
    }
}

#[test]
fn every_page_of_the_site_is_in_its_table_of_contents() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let summary = fs::read_to_string(root.join("docs/SUMMARY.md")).expect("docs/SUMMARY.md");
    let listed: Vec<String> = links::of(&summary).into_iter().map(|link| link.target).collect();
    let mut pages: Vec<String> = fs::read_dir(root.join("docs"))
        .expect("docs")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".md") && name != "SUMMARY.md")
        .collect();
    let mut sorted = listed.clone();
    sorted.sort();
    pages.sort();
    assert_eq!(sorted, pages, "docs/SUMMARY.md lists each page once");
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_are_there() {
    let wrong = links::broken();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
