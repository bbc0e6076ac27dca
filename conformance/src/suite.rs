//! The suite as it stands on disk: clauses, cases, reasons, targets.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::Failure;
use crate::case::Case;
use crate::catalogue::{self, Clause};
use crate::target::Target;

/// Everything that a run needs to know before it asks anybody.
pub struct Suite {
    /// Where `cases` and `targets` stand.
    pub dir: PathBuf,
    /// Clauses by id.
    pub clauses: BTreeMap<String, Clause>,
    /// Cases by name.
    pub cases: Vec<Case>,
    /// Clauses that no case can check, with the reason.
    pub untestable: BTreeMap<String, String>,
    /// Base documents by name.
    pub bases: BTreeMap<String, Value>,
}

impl Suite {
    /// Reads the suite; `dir` is the directory that holds `cases` and `targets`, beside `spec`.
    pub fn read(dir: &Path) -> Result<Suite, Failure> {
        let cases_dir = dir.join("cases");
        let mut cases = Vec::new();
        for area in directories(&cases_dir)? {
            let area_name = area.file_name().unwrap_or_default().to_string_lossy().into_owned();
            for path in toml_files(&area)? {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                cases.push(Case::read(&path, format!("{area_name}/{stem}"))?);
            }
        }
        let suite = Suite {
            clauses: catalogue::read(&dir.join("../spec"))?,
            untestable: untestable(&cases_dir.join("untestable.toml"))?,
            bases: bases(&cases_dir.join("base"))?,
            dir: dir.to_owned(),
            cases,
        };
        suite.check()?;
        Ok(suite)
    }

    /// Cases and reasons name clauses that exist, and no clause has both.
    fn check(&self) -> Result<(), Failure> {
        for case in &self.cases {
            for clause in case.action.clauses() {
                if !self.clauses.contains_key(clause) {
                    return Err(Failure::new(format!(
                        "case {} names a clause that is not in the catalogue: {clause}",
                        case.name
                    )));
                }
            }
        }
        for clause in self.untestable.keys() {
            if !self.clauses.contains_key(clause) {
                return Err(Failure::new(format!(
                    "untestable.toml names a clause that is not in the catalogue: {clause}"
                )));
            }
            if let Some(case) = self.cases.iter().find(|case| case.action.clauses().contains(&clause.as_str())) {
                return Err(Failure::new(format!("{clause} is called untestable, yet {} tests it", case.name)));
            }
        }
        Ok(())
    }

    /// Clauses with neither case nor reason.
    pub fn uncovered(&self) -> Vec<&Clause> {
        let covered: Vec<&str> = self.cases.iter().flat_map(|case| case.action.clauses()).collect();
        self.clauses
            .values()
            .filter(|clause| !covered.contains(&clause.id.as_str()) && !self.untestable.contains_key(&clause.id))
            .collect()
    }

    /// The targets that stand in `targets/`, by name.
    pub fn targets(&self) -> Result<Vec<Target>, Failure> {
        toml_files(&self.dir.join("targets"))?.iter().map(|path| Target::read(path)).collect()
    }

    /// A target by its name, or by the path of a file.
    pub fn target(&self, name: &str) -> Result<Target, Failure> {
        let path = if name.ends_with(".toml") {
            PathBuf::from(name)
        } else {
            self.dir.join("targets").join(format!("{name}.toml"))
        };
        if !path.is_file() {
            return Err(Failure::usage(format!("there is no target {name}: {} is not there", path.display())));
        }
        let target = Target::read(&path)?;
        for named in target.unsupported.keys().chain(target.elsewhere.keys()).chain(target.expected_fail.keys()) {
            let known = match named.strip_suffix('*') {
                Some(front) => self.clauses.keys().any(|id| id.starts_with(front)),
                None => self.clauses.contains_key(named),
            };
            if !known {
                return Err(Failure::file(&path, format!("names a clause that is not in the catalogue: {named}")));
            }
        }
        Ok(target)
    }
}

fn untestable(path: &Path) -> Result<BTreeMap<String, String>, Failure> {
    #[derive(Deserialize)]
    struct Reasons {
        untestable: BTreeMap<String, String>,
    }
    let text = fs::read_to_string(path).map_err(|e| Failure::file(path, e))?;
    toml::from_str::<Reasons>(&text).map(|reasons| reasons.untestable).map_err(|e| Failure::file(path, e))
}

fn bases(dir: &Path) -> Result<BTreeMap<String, Value>, Failure> {
    let mut bases = BTreeMap::new();
    for path in sorted(dir)?.into_iter().filter(|path| path.extension().is_some_and(|end| end == "json")) {
        let text = fs::read(&path).map_err(|e| Failure::file(&path, e))?;
        let value = serde_json::from_slice(&text).map_err(|e| Failure::file(&path, e))?;
        bases.insert(path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), value);
    }
    Ok(bases)
}

/// The TOML files of a directory, sorted.
pub fn toml_files(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    Ok(sorted(dir)?
        .into_iter()
        .filter(|path| path.is_file() && path.extension().is_some_and(|end| end == "toml"))
        .collect())
}

fn directories(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    Ok(sorted(dir)?.into_iter().filter(|path| path.is_dir()).collect())
}

fn sorted(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = fs::read_dir(dir).map_err(|e| Failure::file(dir, e))?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| Failure::file(dir, e))?;
    paths.sort();
    Ok(paths)
}
