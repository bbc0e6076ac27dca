//! `jetpack wait`: until pods have ended.

use std::process::ExitCode;

use appc::pod::State;

use crate::context::Context;
use crate::error::CommandError;
use crate::output;

/// Wait until pods have ended, and print the exit code of each.
///
/// Fails where one was lost with its supervisor, so that nobody knows how it ended, or was removed meanwhile.
#[derive(clap::Args)]
pub struct Args {
    /// UUIDs, beginnings of UUIDs, or names
    #[arg(required = true, value_name = "POD")]
    pods: Vec<String>,
    /// Print JSON, when the last has ended
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let known = context.pods()?;
    // All are found before any is waited for: a name may be another's by then.
    let pods = args.pods.iter().map(|text| known.find(text)).collect::<Result<Vec<_>, _>>()?;
    for pod in &pods {
        if matches!(pod.state(), State::Prepared | State::Embryo) {
            let why = "nobody has started it";
            return Err(CommandError::failed(format!("wait for pod {}: {why}", pod.uuid())));
        }
    }
    let mut exit = ExitCode::SUCCESS;
    let mut ended = Vec::new();
    for pod in &pods {
        pod.wait()?;
        let code = pod.status().and_then(|status| status.exit_code);
        ended.push(serde_json::json!({ "uuid": pod.uuid(), "name": pod.given_name(), "exit_code": code }));
        match code {
            Some(_) if args.json => {}
            Some(code) => println!("{code}"),
            None => {
                let why = "how it ended is not known";
                exit = CommandError::failed(format!("wait for pod {}: {why}", pod.uuid())).report();
            }
        }
    }
    if args.json {
        output::json(ended)?;
    }
    Ok(exit)
}
