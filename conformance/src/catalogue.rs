//! The clauses of the specification, as they stand in `spec/`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Failure;

/// One demand of the specification.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Clause {
    /// Its lasting name.
    pub id: String,
    /// MUST, MUST~ (implied by the text), SHOULD, MAY, MUST-NOT, ..., REF (reference code only).
    pub strength: String,
    /// The demand in our words.
    pub statement: String,
    /// The file of `spec/` in which it stands.
    #[serde(default)]
    pub area: String,
    /// Decisions on the text that touch it, by number.
    #[serde(default)]
    pub decisions: Vec<toml::Value>,
}

/// How strong a clause is, for `--level` and the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Level {
    /// MUST and MUST NOT, said or implied
    Must,
    /// SHOULD and SHOULD NOT
    Should,
    /// MAY, and what only the reference code has
    May,
}

impl Clause {
    /// The clause's level.
    pub fn level(&self) -> Level {
        match self.strength.trim_end_matches('~').split('-').next() {
            Some("MUST") => Level::Must,
            Some("SHOULD") => Level::Should,
            _ => Level::May,
        }
    }
}

/// Reads `spec/*.toml`; the project's own rules (`x.`) are no clauses of the specification and are left out.
pub fn read(dir: &Path) -> Result<BTreeMap<String, Clause>, Failure> {
    #[derive(Deserialize)]
    struct Area {
        #[serde(default)]
        clause: Vec<Clause>,
    }
    let mut clauses = BTreeMap::new();
    for path in crate::suite::toml_files(dir)? {
        let text = fs::read_to_string(&path).map_err(|e| Failure::file(&path, e))?;
        let area: Area = toml::from_str(&text).map_err(|e| Failure::file(&path, e))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for mut clause in area.clause.into_iter().filter(|clause| !clause.id.starts_with("x.")) {
            clause.area.clone_from(&name);
            clauses.insert(clause.id.clone(), clause);
        }
    }
    Ok(clauses)
}
