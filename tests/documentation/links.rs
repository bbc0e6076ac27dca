//! Links between documents.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use regex::Regex;

use super::pages::{files, root};

/// Where a link leads.
pub struct Link {
    /// The line that it stands on, from 1.
    pub number: usize,
    pub target: String,
}

/// The lines that are text, and no code.
fn text(document: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut code = false;
    document.lines().enumerate().filter_map(move |(number, line)| {
        if line.trim_start().starts_with("```") {
            code = !code;
            return None;
        }
        (!code).then_some((number + 1, line))
    })
}

/// The links of a document.
pub fn of(document: &str) -> Vec<Link> {
    let pattern = Regex::new(r"\]\(([^()\s]+)\)").expect("a pattern");
    let quoted = Regex::new("`[^`]*`").expect("a pattern");
    let mut all = Vec::new();
    for (number, line) in text(document) {
        let line = quoted.replace_all(line, "");
        all.extend(pattern.captures_iter(&line).map(|found| Link { number, target: found[1].to_owned() }));
    }
    all
}

/// The names by which headings are linked to.
fn anchors(document: &str) -> BTreeSet<String> {
    let headings = text(document)
        .filter_map(|(_, line)| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')));
    let name = |heading: &str| {
        let kept = heading.trim().to_lowercase().replace(' ', "-");
        kept.chars().filter(|letter| letter.is_alphanumeric() || "-_".contains(*letter)).collect()
    };
    headings.map(name).collect()
}

/// Those that lead nowhere.
pub fn broken() -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files() {
        let document = fs::read_to_string(&file).expect("a document");
        let name = file.strip_prefix(root()).expect("a path of the repository").display();
        for Link { number, target } in of(&document) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let to = if path.is_empty() { file.clone() } else { file.parent().unwrap_or(Path::new("")).join(path) };
            if !to.exists() {
                wrong.push(format!("{name}:{number}: {target}: there is no such file"));
            } else if !anchor.is_empty() && !anchors(&fs::read_to_string(&to).unwrap_or_default()).contains(anchor) {
                wrong.push(format!("{name}:{number}: {target}: there is no such heading"));
            }
        }
    }
    wrong
}
