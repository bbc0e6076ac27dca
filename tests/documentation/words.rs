//! Command lines as a shell reads them, as far as it takes to find our programs in them; and what these have, by their own help.

use std::collections::BTreeMap;

use regex::Regex;

use crate::support::transcript::Scene;

/// The programs that are ours.
const OURS: [&str; 4] = ["actool", "jetpack", "jetpack-oci", "appc-conformance"];

/// What may stand before a program that it starts.
const STARTERS: [&str; 8] = ["ssh", "sudo", "setsid", "nohup", "time", "exec", "do", "podman"];

/// The calls of our programs in a line, as words.
pub fn calls(line: &str) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for words in simple(line) {
        let first = words.iter().position(|word| !is_assignment(word)).unwrap_or(words.len());
        let words = &words[first..];
        let of_ours = |word: &String| OURS.contains(&word.rsplit('/').next().unwrap_or(word));
        let at = match words.first() {
            Some(word) if of_ours(word) => Some(0),
            Some(word) if STARTERS.contains(&word.as_str()) && word != "podman" => words.iter().position(of_ours),
            _ => None,
        };
        if let Some(at) = at {
            let mut call = words[at..].to_vec();
            call[0] = call[0].rsplit('/').next().unwrap_or_default().to_owned();
            all.push(call);
        }
    }
    all
}

fn is_assignment(word: &str) -> bool {
    let name = word.split_once('=').map(|(name, _)| name);
    name.is_some_and(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
}

/// Simple commands: what stands between `|`, `;`, `&`, parentheses and line ends, quotes taken off.
fn simple(line: &str) -> Vec<Vec<String>> {
    let mut all = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        let mut end = |word: &mut Option<String>| all.last_mut().expect("one at least").extend(word.take());
        match letter {
            '\'' => {
                let quoted: String = letters.by_ref().take_while(|next| *next != '\'').collect();
                word.get_or_insert_default().push_str(&quoted);
            }
            '"' => {
                let quoted: String = letters.by_ref().take_while(|next| *next != '"').collect();
                word.get_or_insert_default().push_str(&quoted);
            }
            '\\' => match letters.next() {
                Some('\n') | None => end(&mut word),
                Some(next) => word.get_or_insert_default().push(next),
            },
            '#' if word.is_none() => {
                let _ = letters.by_ref().take_while(|next| *next != '\n').count();
                all.push(Vec::new());
            }
            '$' if letters.peek() == Some(&'(') => {
                letters.next();
                word = None;
                all.push(Vec::new());
            }
            '|' | ';' | '&' | '(' | ')' | '\n' | '`' => {
                end(&mut word);
                all.push(Vec::new());
            }
            ' ' | '\t' => end(&mut word),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    all.last_mut().expect("one at least").extend(word);
    all.retain(|words| !words.is_empty());
    all
}

/// What commands have, by their own help, which is asked for once each.
pub struct Index<'a> {
    scene: &'a Scene,
    /// By path; nothing: there is no such command.
    known: BTreeMap<String, Option<String>>,
}

impl<'a> Index<'a> {
    pub fn new(scene: &'a Scene) -> Self {
        Self { scene, known: BTreeMap::new() }
    }

    fn help(&mut self, path: &str) -> Option<String> {
        let ask = || {
            let output = self.scene.output(&format!("{path} --help"));
            output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
        };
        self.known.entry(path.to_owned()).or_insert_with(ask).clone()
    }

    /// Why the call cannot be one.
    pub fn judge(&mut self, call: &[String]) -> Option<String> {
        let mut path = call[0].clone();
        // Built with the workspace.
        let Some(mut help) = self.help(&path).or_else(|| (path == "appc-conformance").then(String::new)) else {
            return Some(format!("there is no program {path}"));
        };
        if help.is_empty() {
            return None;
        }
        let mut words = call[1..].iter().peekable();
        let mut positional = 0;
        while let Some(word) = words.next() {
            match word.as_str() {
                "--" => return None,
                // What another program is given.
                _ if positional > 1 && help.contains("[COMMAND]...") => return None,
                option if option.len() > 1 && option.starts_with('-') => {
                    let Some(takes) = takes(&help, option) else { return Some(format!("{path} has no {option}")) };
                    if takes && !option.contains('=') {
                        words.next();
                    }
                }
                word if help.contains("\nCommands:\n") => {
                    path = format!("{path} {word}");
                    match self.help(&path) {
                        Some(found) => help = found,
                        // Those of the suite may be left out, and the first is told.
                        None => return Some(format!("there is no command {path}")),
                    }
                }
                _ => positional += 1,
            }
        }
        None
    }
}

/// Whether the option takes a value in the next word; nothing where there is no such option.
fn takes(help: &str, option: &str) -> Option<bool> {
    let name = option.split('=').next().unwrap_or(option);
    // Several letters behind one hyphen, or a letter with its value.
    let name = if name.starts_with("--") { name } else { &name[..2] };
    let pattern = format!(r"(?m)^ +(-\w, +)?{}( <| \[|\[=|$|,|  )(.*)$", regex::escape(name));
    let line = Regex::new(&pattern).expect("a pattern").captures(help);
    match line {
        Some(found) => {
            let rest = format!("{}{}", &found[2], &found[3]);
            Some(rest.contains('<') && !rest.starts_with("[=") && option.len() == name.len())
        }
        None => help.contains(&format!(": {name}]")).then_some(true).or_else(|| {
            let alias = Regex::new(&format!(r"alias(es)?: [^\]]*{}\b", regex::escape(name))).expect("a pattern");
            alias.is_match(help).then_some(true)
        }),
    }
}
