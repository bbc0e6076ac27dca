//! `jetpack plan`: what running a pod would do, without doing it.

use std::process::ExitCode;

use appc::executor::local::Executor;

use crate::assemble;
use crate::context::Context;
use crate::error::CommandError;

/// Show the steps that would be taken to run a pod, and what of its isolation would hold.
///
/// Images come into the store for it; nothing else is made. The exit code is 125 where the pod could not be made.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    pod: assemble::PodArgs,
    /// For which system [default: that of --host, this one unless told]
    #[arg(long, value_enum)]
    executor: Option<Executor>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let (draft, _held) = assemble::draft(&args.pod, context).map_err(CommandError::before_start)?;
    let host = if context.model.is_some() { Executor::Freebsd } else { Executor::THIS };
    let outline = draft.outline(args.executor.unwrap_or(host));
    let outline = outline.map_err(|error| CommandError::from(error).before_start())?;
    let judged = outline.report.judge(outline.plan.strict);
    judged.map_err(|error| CommandError::from(error).before_start())?;
    if args.json {
        crate::output::json(&outline)?;
        return Ok(ExitCode::SUCCESS);
    }
    for (number, step) in outline.words.iter().enumerate() {
        println!("{number:4}  {step}");
    }
    println!();
    println!("isolation {}", outline.report.level);
    for verdict in &outline.report.verdicts {
        println!("{verdict}");
    }
    Ok(ExitCode::SUCCESS)
}
