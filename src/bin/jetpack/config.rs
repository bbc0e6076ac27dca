//! `jetpack config`: what holds, and who said so.

use std::process::ExitCode;

use serde_json::{Map, Value, json};

use crate::context::Context;
use crate::error::CommandError;

/// Print the configuration that holds, and where each value came from.
#[derive(clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let facts = context.config.facts();
    if args.json {
        let facts = facts.into_iter().map(|(key, value, origin, about)| {
            (key.to_owned(), json!({ "value": value, "origin": origin.to_string(), "about": about }))
        });
        crate::output::json(facts.collect::<Map<_, _>>())?;
        return Ok(ExitCode::SUCCESS);
    }
    for (key, value, origin, about) in facts {
        let about = comment(about);
        // What is printed is a configuration again, and it has no word for nothing.
        match value {
            Value::Null => print!("{about}#{key} =  # {origin}\n"),
            value => print!("{about}{key} = {value}  # {origin}\n"),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Words as lines of a comment that a terminal and a file have room for.
fn comment(words: &str) -> String {
    const WIDTH: usize = 80;
    let (mut lines, mut line) = (String::new(), String::from("#"));
    for word in words.split(' ') {
        if line.len() > 1 && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push_str(&line);
            lines.push('\n');
            line.truncate(1);
        }
        line.push(' ');
        line.push_str(word);
    }
    lines + &line + "\n"
}
