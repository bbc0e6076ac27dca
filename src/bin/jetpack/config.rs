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
        // What is printed is a configuration again, and it has no word for nothing.
        match value {
            Value::Null => print!("# {about}\n#{key} =  # {origin}\n"),
            value => print!("# {about}\n{key} = {value}  # {origin}\n"),
        }
    }
    Ok(ExitCode::SUCCESS)
}
