//! The probe: the one file inside the suite's test images.
//!
//! ```text
//! /probe WHO VERB[:ARGUMENT...] ...
//! ```
//! Verbs are done in order. Each tells what it found on a line of its own on standard output, `@probe ` and then a JSON
//! object: `who` as given, `see` the path under which the finding is kept, `value` the finding. A failing verb tells
//! `{"error": "ENOENT"}` and the next one goes on, since a failure is what many a check waits for. Verbs that look are
//! in `look`, verbs that change something or play a part in `act`, the HTTP client of the metadata verbs in `http`.
//!
//! It is linked statically, so that a root file system needs nothing else.

#[cfg(unix)]
mod act;
#[cfg(unix)]
mod escape;
#[cfg(unix)]
mod http;
#[cfg(unix)]
mod look;
#[cfg(unix)]
mod say;
#[cfg(unix)]
mod shim;
#[cfg(unix)]
mod sys;

#[cfg(unix)]
fn main() {
    let mut words = std::env::args_os().skip(1);
    let Some(who) = words.next().and_then(|word| word.into_string().ok()) else {
        eprintln!("usage: probe WHO VERB[:ARGUMENT...]...");
        std::process::exit(2);
    };
    match who.as_str() {
        "shim" => shim::run(words),
        "escape" => escape::run(words),
        _ => {}
    }
    for word in words {
        let Some(word) = word.to_str() else {
            say::finding(&who, &["argument"], "not UTF-8".into());
            continue;
        };
        if word == "--" {
            return;
        }
        let (verb, argument) = word.split_once(':').unwrap_or((word, ""));
        match look::look(verb, argument).or_else(|| act::act(&who, verb, argument)) {
            Some(value) => {
                let path: Vec<&str> = if argument.is_empty() { vec![verb] } else { vec![verb, argument] };
                say::finding(&who, &path, value);
            }
            None => {
                eprintln!("probe: no such verb: {verb}");
                std::process::exit(2);
            }
        }
    }
}

#[cfg(not(unix))]
fn main() {
    eprintln!("the probe runs on Unix only");
    std::process::exit(2);
}
