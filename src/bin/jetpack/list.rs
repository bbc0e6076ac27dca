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
    /// Whether its supervisor was gone before it could write down how the pod ended.
    lost: bool,
    /// What of its files does not read.
    damage: Option<String>,
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
                lost: pod.is_lost(),
                damage: pod.read_status().err().map(|error| appc::error::chain(&error)),
            }
        })
        .collect();
    lines.sort_by(|a, b| a.started.cmp(&b.started).then_with(|| a.uuid.cmp(&b.uuid)));
    if args.json {
        crate::output::json(lines)?;
        return Ok(ExitCode::SUCCESS);
    }
    if !args.no_legend && !lines.is_empty() {
        println!("{:36}  {:16}  {:9}  {:7}  {:27}  APPS", "UUID", "NAME", "STATE", "EXIT", "STARTED");
    }
    for line in lines {
        let (name, started) = (line.name.unwrap_or_default(), line.started.unwrap_or_default());
        let exit = match line.exit_code {
            Some(code) => code.to_string(),
            None if line.damage.is_some() => "damaged".to_owned(),
            None if line.lost => "lost".to_owned(),
            None => String::new(),
        };
        println!("{:36}  {name:16}  {:9}  {exit:7}  {started:27}  {}", line.uuid, line.state, line.apps.join(","));
    }
    Ok(ExitCode::SUCCESS)
}
