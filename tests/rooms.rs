//! The rooms of `src/lib.rs`: who uses whom.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Every file of the library, with what is code in it, line by line.
fn library() -> Vec<(PathBuf, Vec<(usize, String)>)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut files, mut left) = (Vec::new(), vec![src.clone()]);
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).expect("read a directory of src") {
            let path = entry.expect("read an entry of src").path();
            let inside = path.strip_prefix(&src).expect("below src");
            if path.is_dir() {
                if !["bin", "codec"].iter().any(|other| inside == Path::new(other)) {
                    left.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("read a file of src");
                let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim().to_owned()));
                let code = lines.filter(|(_, line)| !line.starts_with("//")).collect();
                files.push((inside.to_owned(), code));
            }
        }
    }
    files
}

/// The rooms in the order in which `src/lib.rs` has them in its second drawing.
fn rooms() -> Vec<String> {
    let map = include_str!("../src/lib.rs");
    let drawing =
        map.split("```text").nth(2).and_then(|rest| rest.split("```").next()).expect("a drawing of the rooms");
    drawing.split_whitespace().filter(|word| *word != "//!").map(str::to_owned).collect()
}

#[test]
fn a_room_uses_only_those_before_it() {
    let rooms = rooms();
    let place = |room: &str| rooms.iter().position(|known| known == room);
    let mut wrong = Vec::new();
    for (file, lines) in library() {
        let name = file.components().next().expect("a name").as_os_str().to_string_lossy();
        let own = name.trim_end_matches(".rs");
        if own == "lib" {
            continue;
        }
        let Some(at) = place(own) else { panic!("the drawing of src/lib.rs lacks {own}") };
        // A child of the crate's root is as far up as `super` is to lead.
        let depth = file.components().count() + usize::from(!file.ends_with("mod.rs")) - 1;
        for (number, line) in lines {
            let up = line.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
            let up = up.map(|path| path.matches("super::").count()).max().unwrap_or(0);
            // Tests and others within a file are modules of their own.
            if up > depth {
                wrong.push(format!("{}:{number} leaves its room by `super`: {line}", file.display()));
            }
            for used in line.split("crate::").skip(1) {
                let used = used.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default();
                if used.is_empty() {
                    wrong.push(format!("{}:{number} names more than one room at once: {line}", file.display()));
                } else if used.starts_with(char::is_lowercase) && place(used).is_none_or(|used| used > at) {
                    wrong.push(format!("{}:{number} uses {used}, which comes after {own}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_of_the_architecture_says_what_each_room_knows_of() {
    let (rooms, shared) = (rooms(), ["error", "id"]);
    let mut used = BTreeMap::<String, BTreeSet<String>>::new();
    for (file, lines) in library() {
        let own = file.iter().next().expect("a name").to_string_lossy().trim_end_matches(".rs").to_owned();
        let named = lines.iter().flat_map(|(_, line)| line.split("crate::").skip(1));
        let named = named.filter_map(|used| used.split(|c: char| !(c.is_alphanumeric() || c == '_')).next());
        let others =
            named.filter(|name| rooms.iter().any(|room| room == name) && *name != own && !shared.contains(name));
        used.entry(own.clone()).or_default().extend(others.map(str::to_owned));
    }
    let words = |cell: &str| -> Vec<String> {
        cell.split('`')
            .skip(1)
            .step_by(2)
            .map(|word| word.trim_end_matches('/').trim_end_matches(".rs").to_owned())
            .collect()
    };
    let table = include_str!("../docs/architecture.md").lines().filter(|line| line.starts_with("| `"));
    let mut told = 0;
    for row in table {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [first, .., last] = cells[..] else { continue };
        let [room] = &words(first)[..] else { continue };
        let Some(used) = used.get(room).filter(|_| cells.len() == 3 && rooms.contains(room)) else { continue };
        assert_eq!(words(last).into_iter().collect::<BTreeSet<_>>(), *used, "what {room} knows of");
        told += 1;
    }
    // `validate` stands behind the table.
    assert_eq!(told, rooms.len() - shared.len() - 1, "rooms in the table");
}

#[test]
fn unsafe_code_is_in_sys_alone() {
    // The compiler finds it where nobody allows it.
    let allows = |(file, lines): (PathBuf, Vec<(usize, String)>)| {
        let at = lines.into_iter().find(|(_, line)| line.contains("unsafe_code)]") && !line.contains("forbid("))?;
        Some(format!("{}:{}", file.display(), at.0))
    };
    let wrong: Vec<String> =
        library().into_iter().filter(|(file, _)| !file.starts_with("sys")).filter_map(allows).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_library_speaks_for_no_program_and_reads_no_environment() {
    let commands =
        ["config", "doctor", "exec", "fetch", "gc", "image", "init", "key", "kill", "list", "logs", "plan", "prepare"];
    let more = ["ps", "push", "rm", "run", "status", "stop", "trust", "metadata-service"];
    let hints = commands.iter().chain(&more).map(|command| format!("jetpack {command}"));
    let others = ["println!(", "print!(", "dbg!(", "env::var", "env::args", "\"jetpack: "].map(str::to_owned);
    let never: Vec<String> = hints.chain(others).collect();
    // What our terminal is, and where the bus of our session, only the environment knows; and who starts itself anew does it as
    // it was started.
    let excused = [
        ("sys/terminal.rs", "env::var"),
        ("executor/linux/systemd.rs", "env::var"),
        ("sys/linux/program.rs", "env::args"),
    ];
    let mut wrong = Vec::new();
    for (file, lines) in library() {
        let tests = file.file_name().is_some_and(|name| name == "tests.rs");
        let library = lines.iter().take_while(|(_, line)| !tests && !line.starts_with("mod tests {"));
        for (number, line) in library {
            let found = never.iter().find(|never| {
                let excused = excused.contains(&(file.to_str().unwrap_or_default(), never.as_str()));
                line.contains(never.as_str()) && !excused
            });
            wrong.extend(found.map(|found| format!("{}:{number} has `{found}`", file.display())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
