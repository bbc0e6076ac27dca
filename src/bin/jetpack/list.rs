//! `jetpack list`: which pods there are.

use std::process::ExitCode;

use serde::Serialize;

use crate::context::Context;
use crate::error::CommandError;

/// List pods.
#[derive(clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Leave the head line out
    #[arg(long)]
    no_legend: bool,
}

#[derive(Serialize)]
struct Line {
    uuid: String,
    name: Option<String>,
    state: appc::pod::State,
    apps: Vec<String>,
    started: Option<String>,
    exit_code: Option<i32>,
}

pub fn run(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let mut lines: Vec<Line> = context
        .pods()?
        .list()?
        .iter()
        .map(|pod| {
            let status = pod.status_or_plan();
            Line {
                uuid: pod.uuid().to_string(),
                name: pod.given_name(),
                state: pod.state(),
                apps: status.apps.iter().map(|app| app.name.clone()).collect(),
                started: status.started,
                exit_code: status.exit_code,
            }
        })
        .collect();
    lines.sort_by(|a, b| a.started.cmp(&b.started).then_with(|| a.uuid.cmp(&b.uuid)));
    if args.json {
        crate::output::json(lines)?;
        return Ok(ExitCode::SUCCESS);
    }
    if !args.no_legend && !lines.is_empty() {
        println!("{:36}  {:16}  {:9}  {:27}  APPS", "UUID", "NAME", "STATE", "STARTED");
    }
    for line in lines {
        let (name, started) = (line.name.unwrap_or_default(), line.started.unwrap_or_default());
        println!("{:36}  {name:16}  {:9}  {started:27}  {}", line.uuid, line.state, line.apps.join(","));
    }
    Ok(ExitCode::SUCCESS)
}
