//! The documents, and the blocks of command lines in them.

use std::fs;
use std::path::{Path, PathBuf};

/// A document.
pub struct Page {
    /// Its path in the repository.
    pub name: String,
    pub blocks: Vec<Block>,
}

/// Command lines that belong together.
pub struct Block {
    /// What it wants beyond an ordinary host.
    pub wants: Option<String>,
    /// What prepares it.
    pub before: Vec<String>,
    pub lines: Vec<Line>,
}

/// What is typed, and what is shown to come of it.
pub struct Line {
    /// Where it stands, from 1.
    pub number: usize,
    pub command: String,
    pub shown: Vec<String>,
}

impl Block {
    /// Whether something of it is run that starts pods.
    pub fn runs_pods(&self) -> bool {
        let starts =
            |line: &Line| ["jetpack run", "jetpack build", "jetpack-oci"].iter().any(|of| line.command.contains(of));
        self.wants.is_none() && self.lines.iter().any(starts)
    }
}

/// The repository's directory.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every document of the repository.
pub fn files() -> Vec<PathBuf> {
    let mut all = Vec::new();
    for (directory, deep) in
        [("", false), ("docs", false), ("conformance", false), ("contrib", true), ("spec", false), ("share", true)]
    {
        walk(&root().join(directory), deep, &mut all);
    }
    all.sort();
    all
}

fn walk(at: &Path, deep: bool, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(at).into_iter().flatten().flatten() {
        let path = entry.path();
        if deep && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&path, deep, all);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            all.push(path);
        }
    }
}

/// The documents with command lines.
pub fn pages() -> Vec<Page> {
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a document");
        let name = path.strip_prefix(root()).expect("a path of the repository").display().to_string();
        Page { blocks: blocks(&name, &text), name }
    };
    files().into_iter().map(read).filter(|page| !page.blocks.is_empty()).collect()
}

fn blocks(page: &str, text: &str) -> Vec<Block> {
    let mut all = Vec::new();
    let mut before = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(command) = line.trim().strip_prefix("<!-- before: ").and_then(|rest| rest.strip_suffix(" -->")) {
            before.push(command.to_owned());
            continue;
        }
        let Some(word) = line.trim_start().strip_prefix("```") else { continue };
        let body: Vec<(usize, &str)> =
            lines.by_ref().take_while(|(_, line)| line.trim() != "```").map(|(at, line)| (at + 1, line)).collect();
        let Some(wants) = word.strip_prefix("console") else { continue };
        let wants = Some(wants.trim()).filter(|wants| !wants.is_empty()).map(str::to_owned);
        let known = ["root", "debian", "freebsd", "elsewhere", "checkout"];
        let fits = wants.as_deref().is_none_or(|wants| known.contains(&wants));
        assert!(fits, "{page}:{}: a block wants one of {}", number + 1, known.join(", "));
        all.push(Block { wants, before: std::mem::take(&mut before), lines: typed(&body) });
    }
    all
}

/// What is typed begins with a prompt; it goes on where it has to, to the end of a here-document.
fn typed(body: &[(usize, &str)]) -> Vec<Line> {
    let mut all: Vec<Line> = Vec::new();
    let mut until: Option<String> = None;
    let mut goes_on = false;
    for &(number, text) in body {
        let prompted = text.strip_prefix("$ ").or_else(|| text.strip_prefix("# "));
        match (all.last_mut(), prompted) {
            (Some(last), _) if goes_on || until.is_some() => {
                last.command.push('\n');
                last.command.push_str(text);
                if until.as_deref() == Some(text) {
                    until = None;
                }
                goes_on = until.is_none() && text.ends_with('\\');
            }
            (_, Some(command)) => {
                goes_on = command.ends_with('\\');
                let word = command.split_once("<<").map(|(_, word)| word.split(' ').next().unwrap_or_default());
                until = word.map(|word| word.trim_matches('\'').to_owned());
                all.push(Line { number, command: command.to_owned(), shown: Vec::new() });
            }
            (Some(last), None) => last.shown.push(text.to_owned()),
            (None, None) => panic!("line {number}: output without a command: {text}"),
        }
    }
    all
}
