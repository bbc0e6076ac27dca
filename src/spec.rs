//! The clauses of the specification and the decisions on its text, as they stand in `spec/`.
//!
//! The files are part of the program; they are parsed when first asked for.

use std::sync::LazyLock;

use serde::Deserialize;

/// One demand of the specification, or a rule of ours (`x.*`).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clause {
    /// Its name, which never changes.
    pub id: String,
    /// The text's word (`MUST`, `SHOULD-NOT`); with `~` the text demands it without the word; `REF` for what only the
    /// reference code has, `OURS` for a rule of ours.
    pub strength: String,
    /// What is demanded, in our words.
    pub statement: String,
    /// Where the text says it.
    pub source: Source,
    /// How it can be checked: `static`, `archive`, `build`, `render`, `discovery`, `metadata`, `execution` or `doc`.
    pub check: String,
    /// Where it holds: `any`, `linux`, `freebsd`.
    pub platforms: Vec<String>,
    /// The version that has it.
    pub since: String,
    /// The decisions that touch it, by number.
    #[serde(default)]
    pub decisions: Vec<u32>,
    /// What the Go tools do, where it was looked at.
    pub go: Option<String>,
    /// The file of `spec/` in which it stands.
    #[serde(skip)]
    pub area: &'static str,
}

/// A place in the text.
#[derive(Clone, Debug, Deserialize)]
pub struct Source {
    /// The document.
    pub document: String,
    /// The section in it.
    pub section: String,
}

/// How the text is read where it can be read in two ways.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Its number.
    pub number: u32,
    /// What is decided.
    pub text: String,
    /// The clauses that it touches.
    pub clauses: Vec<String>,
}

macro_rules! areas {
    ($($name:literal),* $(,)?) => {
        const AREAS: &[(&str, &str)] = &[$(($name, include_str!(concat!("../spec/", $name, ".toml")))),*];
    };
}

areas!(
    "types",
    "image-manifest",
    "image-archive",
    "dependencies",
    "render",
    "volumes",
    "network",
    "logging",
    "environment",
    "isolators",
    "isolators-linux",
    "isolators-resource",
    "isolators-unix",
    "metadata-service",
    "pods",
    "discovery",
    "os-linux",
    "x-manifest",
    "x-archive",
    "x-oci",
);

static CLAUSES: LazyLock<Vec<Clause>> = LazyLock::new(|| {
    #[derive(Deserialize)]
    struct Area {
        clause: Vec<Clause>,
    }
    let mut clauses = Vec::new();
    for (area, text) in AREAS {
        let read: Area = toml::from_str(text).expect("the catalogue is tested to be well-formed");
        clauses.extend(read.clause.into_iter().map(|clause| Clause { area, ..clause }));
    }
    clauses
});

static DECISIONS: LazyLock<Vec<Decision>> = LazyLock::new(|| {
    let mut decisions: Vec<Decision> = Vec::new();
    for line in include_str!("../spec/decisions.md").lines() {
        if let Some(number) = line.strip_prefix("### ").and_then(|number| number.trim().parse().ok()) {
            decisions.push(Decision { number, text: String::new(), clauses: Vec::new() });
        } else if let Some(decision) = decisions.last_mut().filter(|_| !line.starts_with('#')) {
            if let Some(ids) = line.strip_prefix("Clauses: ") {
                decision.clauses = ids.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            } else {
                decision.text.push_str(line);
                decision.text.push('\n');
            }
        }
    }
    for decision in &mut decisions {
        decision.text = decision.text.trim().to_owned();
    }
    decisions
});

/// All clauses, area by area.
pub fn clauses() -> &'static [Clause] {
    &CLAUSES
}

/// The clause of a name.
pub fn clause(id: &str) -> Option<&'static Clause> {
    CLAUSES.iter().find(|clause| clause.id == id)
}

/// All decisions, in the order of their numbers.
pub fn decisions() -> &'static [Decision] {
    &DECISIONS
}

/// The decision of a number.
pub fn decision(number: u32) -> Option<&'static Decision> {
    DECISIONS.iter().find(|decision| decision.number == number)
}

/// The areas, which are the files of `spec/`.
pub fn areas() -> impl Iterator<Item = &'static str> {
    AREAS.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_catalogue_holds_the_whole_specification_once() {
        let ids: HashSet<&str> = clauses().iter().map(|clause| clause.id.as_str()).collect();
        assert_eq!(ids.len(), clauses().len());
        assert_eq!(clauses().iter().filter(|clause| !clause.id.starts_with("x.")).count(), 358);
        assert_eq!(decisions().len(), 54);
        let on_disk = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/spec")).unwrap();
        let files = on_disk.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == "toml"));
        assert_eq!(files.count(), areas().count());
    }

    #[test]
    fn clauses_and_decisions_name_each_other() {
        for decision in decisions() {
            assert!(!decision.text.is_empty(), "{}", decision.number);
            for id in &decision.clauses {
                let clause = clause(id).unwrap_or_else(|| panic!("decision {} names {id}", decision.number));
                assert!(clause.decisions.contains(&decision.number), "{id} does not name {}", decision.number);
            }
        }
        for clause in clauses() {
            for number in &clause.decisions {
                let decision = decision(*number).unwrap_or_else(|| panic!("{} names decision {number}", clause.id));
                assert!(decision.clauses.contains(&clause.id), "{number} does not name {}", clause.id);
            }
        }
    }

    #[test]
    fn rules_of_ours_and_clauses_are_told_apart() {
        for clause in clauses() {
            assert_eq!(clause.id.starts_with("x."), clause.strength == "OURS", "{}", clause.id);
            assert_eq!(clause.id.starts_with("x."), clause.area.starts_with("x-"), "{}", clause.id);
            assert!(!clause.statement.is_empty() && !clause.source.document.is_empty(), "{}", clause.id);
        }
    }
}
