//! Implementations under test, as `targets/*.toml` describe them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::Failure;

/// Everything that a target may be asked to do.
pub const ACTIONS: [&str; 18] = [
    "prepare",
    "validate",
    "validate-reified",
    "build",
    "id",
    "discover",
    "discover-secure",
    "fetch",
    "fetch-name",
    "fetch-signed",
    "run",
    "run-image",
    "logs",
    "status",
    "isolation",
    "list",
    "clean",
    "discard",
];

/// The values that commands may use.
const VALUES: [&str; 17] = [
    "file",
    "type",
    "work",
    "dir",
    "out",
    "name",
    "port",
    "root",
    "dataset",
    "pod",
    "host",
    "image",
    "options",
    "words",
    "uuid",
    "uuid-file",
    "app",
];

/// An implementation: what it can do and how to ask it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Target {
    /// The file's stem.
    #[serde(skip)]
    pub name: String,
    /// Where the file stands; programs may be named relative to it.
    #[serde(skip)]
    pub dir: PathBuf,
    /// What it is, one line.
    pub about: String,
    /// The system on which its apps run: `linux`, `freebsd`.
    pub platform: String,
    /// The system that images are for, where that is another: `linux` on FreeBSD.
    pub images: Option<String>,
    /// Programs by the name that commands use: a path, or `cargo:NAME` for a binary of this workspace.
    #[serde(default)]
    pub programs: BTreeMap<String, String>,
    /// What the host must have for anything to work.
    #[serde(default)]
    pub needs: Vec<String>,
    /// What the target is run as: `user` for an ordinary user even when the suite runs as root.
    #[serde(default)]
    pub run_as: Option<String>,
    /// Command lines by action, each word a template.
    #[serde(default)]
    pub commands: BTreeMap<String, Vec<String>>,
    /// Words that `{options}` stands for, by the option names that cases use.
    #[serde(default)]
    pub options: BTreeMap<String, Vec<String>>,
    /// A program that speaks the protocol, in place of commands.
    pub program: Option<Vec<String>>,
    /// The actions that a `program` can do.
    #[serde(default)]
    pub can: Vec<String>,
    /// How diagnostics are written: `json` (an array or lines of objects with `clause` and `severity`) or nothing.
    pub diagnostics: Option<String>,
    /// Whether it runs no programs but records what each would find, on lines that begin with `@recorded `. What such a
    /// record cannot answer counts as unsupported.
    #[serde(default)]
    pub recorded: bool,
    /// What the host has by the implementation's own account and cases may need.
    #[serde(default)]
    pub has: Vec<String>,
    /// Clauses (or a prefix with `*`) that it does not claim, with the reason.
    #[serde(default)]
    pub unsupported: BTreeMap<String, String>,
    /// Why cases of another system are none of the target's, by clause (or a prefix with `*`). A case that is done is judged as any.
    #[serde(default)]
    pub elsewhere: BTreeMap<String, String>,
    /// Clauses that it is known to fail, with the reason.
    #[serde(default)]
    pub expected_fail: BTreeMap<String, String>,
    /// The longest that one command may take, in seconds.
    #[serde(default = "patience")]
    pub patience: u64,
}

fn patience() -> u64 {
    30
}

impl Target {
    /// Reads one target file.
    pub fn read(path: &Path) -> Result<Target, Failure> {
        let text = fs::read_to_string(path).map_err(|e| Failure::file(path, e))?;
        let mut target: Target = toml::from_str(&text).map_err(|e| Failure::file(path, e))?;
        target.check().map_err(|why| Failure::file(path, why))?;
        target.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        // Commands are run elsewhere, so that the place has to be told from the root.
        let path = std::path::absolute(path).map_err(|e| Failure::file(path, e))?;
        target.dir = path.parent().unwrap_or(Path::new("/")).to_owned();
        Ok(target)
    }

    /// Whether what the file says can be meant: a slip in a name would else show as something that the target lacks.
    fn check(&self) -> Result<(), String> {
        let known = |what: &str, said: &str, all: &[&str]| match all.contains(&said) {
            true => Ok(()),
            false => Err(format!("{what} `{said}` is none of {}", all.join(", "))),
        };
        known("platform", &self.platform, &["linux", "freebsd"])?;
        self.images.as_deref().map_or(Ok(()), |os| known("images", os, &["linux"]))?;
        self.run_as.as_deref().map_or(Ok(()), |who| known("run-as", who, &["user"]))?;
        self.diagnostics.as_deref().map_or(Ok(()), |form| known("diagnostics", form, &["json"]))?;
        match (&self.program, self.commands.is_empty(), self.can.is_empty()) {
            (None, true, _) => return Err("neither `commands` nor a `program` says how to ask it".into()),
            (None, false, false) => return Err("`can` belongs to a `program`".into()),
            (Some(_), false, _) => return Err("it is asked by `commands` or by a `program`, not by both".into()),
            (Some(_), true, true) => return Err("`can` has to say what the program can do".into()),
            (Some(words), ..) if words.is_empty() => return Err("`program` is empty".into()),
            _ => {}
        }
        self.can.iter().try_for_each(|action| known("action", action, &ACTIONS))?;
        for (action, words) in &self.commands {
            known("action", action, &ACTIONS)?;
            if words.is_empty() {
                return Err(format!("the command for `{action}` is empty"));
            }
            for name in words.iter().filter_map(|word| word.strip_prefix('{')?.strip_suffix('}')) {
                if !self.programs.contains_key(name) && !VALUES.contains(&name) {
                    return Err(format!("`{{{name}}}` in the command for `{action}` is neither a program nor a value"));
                }
            }
        }
        Ok(())
    }

    /// The system that apps are made for, the probe too.
    pub fn os(&self) -> &str {
        self.images.as_deref().unwrap_or(&self.platform)
    }

    /// What cases call it in `platforms` and `on`: the system, or `linux-on-freebsd` where images are for another.
    pub fn called(&self) -> String {
        match &self.images {
            Some(images) if *images != self.platform => format!("{images}-on-{}", self.platform),
            _ => self.platform.clone(),
        }
    }

    /// Why the target does not claim a clause.
    pub fn not_claimed(&self, clause: &str) -> Option<&str> {
        listed(&self.unsupported, clause)
    }

    /// Why a case of another system is none of the target's.
    pub fn elsewhere(&self, clause: &str) -> Option<&str> {
        listed(&self.elsewhere, clause)
    }

    /// Why the target is known to fail a clause.
    pub fn known_to_fail(&self, clause: &str) -> Option<&str> {
        listed(&self.expected_fail, clause)
    }
}

fn listed<'a>(list: &'a BTreeMap<String, String>, clause: &str) -> Option<&'a str> {
    let exact = list.get(clause);
    exact
        .or_else(|| {
            list.iter()
                .find(|(id, _)| id.strip_suffix('*').is_some_and(|front| clause.starts_with(front)))
                .map(|(_, why)| why)
        })
        .map(String::as_str)
}
