//! Targets that run no programs: what a record of a process says in place of its probe.
//!
//! ```text
//! @recorded {"command":["/probe","main","cwd","env"],"environment":[["PATH","/bin"]],"directory":"/",...}
//! ```
//! A record answers the verbs that look at what a process was given. Whatever a program would have to be run for is left
//! open, and a check that needs it counts as unsupported: never as passed.

use serde_json::{Map, Value, json};

use crate::case::Expectation;
use crate::see;

const MARK: &str = "@recorded ";

/// The record on a line, if it is one.
pub fn line(line: &str) -> Option<Value> {
    serde_json::from_str(line.split_once(MARK)?.1.trim_end()).ok()
}

/// Whether the program would have ended otherwise than the record has it, so that all later records are void.
pub fn ends_all(record: &Value) -> bool {
    let words = record["command"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let fails = |word: &str| word == "abort" || word.strip_prefix("exit:").is_some_and(|code| code != "0");
    record["phase"] == "pre-start" && words.into_iter().any(fails)
}

/// What the probe would have told of what the record says, by path.
pub fn findings(record: &Value) -> Vec<(Vec<String>, Value)> {
    let words: Vec<&str> = record["command"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let [_, who, verbs @ ..] = words.as_slice() else { return Vec::new() };
    let mut found = Vec::new();
    for word in verbs.iter().take_while(|word| **word != "--") {
        let (verb, argument) = word.split_once(':').unwrap_or((word, ""));
        if let Some(value) = answer(record, verb, argument) {
            let path = [*who, verb, argument].into_iter().filter(|step| !step.is_empty());
            found.push((path.map(str::to_owned).collect(), value));
        }
    }
    found
}

fn answer(record: &Value, verb: &str, argument: &str) -> Option<Value> {
    Some(match verb {
        "env" => {
            let pairs = record["environment"].as_array()?.iter();
            let pairs = pairs.filter_map(|pair| Some((pair[0].as_str()?.to_owned(), pair[1].clone())));
            Value::Object(pairs.collect::<Map<_, _>>())
        }
        "argv" => record["command"].clone(),
        "cwd" => record["directory"].clone(),
        "hostname" => record["hostname"].clone(),
        "ids" => ids(record)?,
        // Success would need more than a place that can be written to.
        "write" if ids(record)?["uid"] == 0 && read_only(record, argument.split(':').next()?) => {
            json!({ "error": "EROFS" })
        }
        _ => return None,
    })
}

fn ids(record: &Value) -> Option<Value> {
    let (uid, gid) = (record["ids"][0].as_u64()?, record["ids"][1].as_u64()?);
    let mut groups: Vec<u64> = record["ids"][2].as_array()?.iter().filter_map(Value::as_u64).chain([gid]).collect();
    groups.sort_unstable();
    groups.dedup();
    Some(json!({ "uid": uid, "euid": uid, "gid": gid, "egid": gid, "groups": groups }))
}

/// Whether the mount that a path is on, the last of the deepest, is read-only.
fn read_only(record: &Value, path: &str) -> bool {
    let above =
        |on: &str| path == on || path.strip_prefix(on.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'));
    let mounts = record["mounts"].as_array().into_iter().flatten();
    let mounts = mounts.filter_map(|mount| Some((mount["on"].as_str()?, mount["read_only"].as_bool()?)));
    let deepest = mounts.filter(|(on, _)| above(on)).max_by_key(|(on, _)| on.len());
    deepest.map_or(record["read_only"] == true, |(_, read_only)| read_only)
}

/// Whether what was seen can answer an expectation; why not.
pub fn answers(one: &Expectation, seen: &Value) -> Result<(), String> {
    let paths = [Some(one.see.as_str()), one.demand.same.as_deref(), one.demand.differs.as_deref()];
    match paths.into_iter().flatten().all(|path| there(path, seen)) {
        true => Ok(()),
        false => Err("nothing is run, so that nothing can tell".into()),
    }
}

fn there(path: &str, seen: &Value) -> bool {
    let mut steps = see::steps(path);
    let mut seen = seen;
    if steps.first().is_some_and(|step| step == "runs") && steps.len() > 2 {
        let Some(one) = seen["runs"].get(&steps[1]) else { return false };
        (seen, steps) = (one, steps.split_off(2));
    }
    // Refused before anything could run: a program would change nothing.
    let refused = seen["exit"].as_i64().is_some_and(|exit| (125..128).contains(&exit)) || seen["refused"].is_string();
    match steps[0].as_str() {
        "exit" | "stderr" => refused,
        "isolation" | "refused" | "fetched" | "cleaned" | "left" | "id" => true,
        "host" | "here" | "stdout" | "logs" | "other" | "dialled" | "status" | "list" => false,
        // Of what a service would say nothing is recorded.
        _ if steps.iter().any(|step| step == "AC_METADATA_URL") => false,
        who => steps.get(1).is_some_and(|verb| {
            // With an argument the finding stands below the verb.
            match seen[who].get(verb) {
                Some(Value::Object(map)) if ["write"].contains(&verb.as_str()) => {
                    steps.get(2).is_some_and(|argument| map.contains_key(argument))
                }
                found => found.is_some(),
            }
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Value {
        line(concat!(
            r#"main: @recorded {"command":["/probe","main","cwd","ids","write:/x:a","write:/rw/x:a","exit:3"],"#,
            r#""environment":[["A","b"]],"directory":"/srv","hostname":"pod","ids":[0,5,[7]],"read_only":true,"#,
            r#""mounts":[{"on":"/rw","read_only":false}]}"#
        ))
        .unwrap()
    }

    #[test]
    fn a_record_answers_what_the_process_was_given_and_nothing_else() {
        let mut seen = json!({ "exit": 0 });
        for (path, value) in findings(&record()) {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            see::keep(&mut seen, &path, value);
        }
        assert_eq!(see::at(&seen, "main.cwd"), Some(&json!("/srv")));
        assert_eq!(see::at(&seen, "main.ids.groups"), Some(&json!([5, 7])));
        assert_eq!(see::at(&seen, r#"main.write."/x:a".error"#), Some(&json!("EROFS")));
        for open in [r#"main.write."/rw/x:a".error"#, "main.exit", "exit", "main.env.A", "host.x"] {
            assert!(!there(open, &seen), "{open}");
        }
        assert!(there("main.cwd", &seen));
    }

    #[test]
    fn an_exit_status_is_an_answer_where_nothing_could_run_anyway() {
        assert!(there("exit", &json!({ "exit": 125 })));
        assert!(there("exit", &json!({ "exit": 1, "refused": "fetch" })));
        assert!(!there("exit", &json!({ "exit": 0 })));
    }
}
