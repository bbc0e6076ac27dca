//! An implementation by command lines.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::{Answer, Driver, Patience, Values, process};
use crate::make::document::fill;
use crate::perform::left::MARK;
use crate::target::Target;
use crate::{Failure, interrupt};

/// The commands of a target file with the programs that they name.
pub struct Commands {
    commands: BTreeMap<String, Vec<String>>,
    options: BTreeMap<String, Vec<String>>,
    programs: BTreeMap<String, String>,
    user: bool,
    patience: Patience,
}

impl Commands {
    /// Takes over what the target file says.
    pub fn new(target: &Target, programs: BTreeMap<String, String>, patience: Patience) -> Commands {
        Commands {
            commands: target.commands.clone(),
            options: target.options.clone(),
            programs,
            user: target.run_as.as_deref() == Some("user"),
            patience,
        }
    }

    fn words(&self, action: &str, values: &Values) -> Option<Vec<String>> {
        let template = self.commands.get(action)?;
        let mut words = Vec::new();
        for word in template {
            match word.as_str() {
                // Lists come as several words, one a line.
                "{options}" => {
                    let named = values.get("options").map(String::as_str).unwrap_or_default();
                    words.extend(named.lines().flat_map(|name| self.options.get(name).cloned().unwrap_or_default()));
                }
                "{words}" => {
                    let list = values.get("words").map(String::as_str).unwrap_or_default();
                    words.extend(list.lines().map(str::to_owned));
                }
                _ => words.push(fill(&fill(word, values), &self.programs)),
            }
        }
        Some(words)
    }
}

impl Driver for Commands {
    fn can(&self, action: &str) -> bool {
        self.commands.contains_key(action)
    }

    fn missing(&self) -> Option<String> {
        // Commands are run in directories that are made for them: nothing stands there yet.
        let lacks = |program: &String| !process::there(program, Path::new("/nonexistent"));
        let first = self.commands.values().filter_map(|words| Some(fill(words.first()?, &self.programs)));
        first.chain(self.programs.values().cloned()).find(lacks)
    }

    fn ask(&self, action: &str, values: &Values) -> Result<Answer, Failure> {
        interrupt::allows(action)?;
        let words = self
            .words(action, values)
            .ok_or_else(|| Failure::new(format!("the target has no command for {action}")))?;
        let Some((program, rest)) = words.split_first() else {
            return Err(Failure::new(format!("the target's command for {action} is empty")));
        };
        let mut command = Command::new(program);
        command.args(rest).env("LC_ALL", "C.UTF-8").env_remove("SOURCE_DATE_EPOCH");
        if let Some(dir) = values.get("work") {
            command.current_dir(dir).env(MARK, dir);
        }
        if self.user && rustix::process::geteuid().is_root() {
            use std::os::unix::process::CommandExt;
            command.uid(crate::host::ORDINARY).gid(crate::host::ORDINARY).env("HOME", "/nonexistent");
        }
        process::run(command, self.patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Answer {
        let target: Target = toml::from_str(&format!(
            "about = 'test'\nplatform = 'linux'\npatience = 1\n[commands]\nx = ['/bin/sh', '-c', '''{script}''', '{{file}}']\n"
        ))
        .expect("a target");
        let driver = Commands::new(&target, BTreeMap::new(), Patience(std::time::Duration::from_secs(1)));
        driver.ask("x", &Values::from([("file".into(), "it's".into())])).expect("a shell")
    }

    #[test]
    fn a_target_that_hangs_is_killed_and_told() {
        let answer = shell("sleep 60 & sleep 60");
        assert!(answer.hung && !answer.orderly(), "{answer:?}");
    }

    #[test]
    fn a_target_that_crashes_or_prints_garbage_is_told() {
        assert_eq!(shell("kill -SEGV $$").signal, Some(11));
        assert_eq!(shell("printf '\\377\\376'; exit 3").code, Some(3));
    }

    #[test]
    fn values_are_never_split_into_words() {
        assert_eq!(shell("printf %s \"$0\"").stdout, "it's");
    }
}
